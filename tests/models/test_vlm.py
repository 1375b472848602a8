"""Vision-language embedders of every backbone and style: batches, prompts, pictures, and what must not be loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import vlm_checkpoints as made
from PIL import Image
from safetensors.torch import load_file, save_file

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.errors import CannotRead, EncoderUnavailable
from mmretrieval.types import Content, Role
from models.vlm.encoder import VlmEncoder
from models.vlm.rows import alike
from models.vlm.styles import DOCUMENT

WITHIN = 1e-5
# Spec family, maker of its checkpoint, which modalities it reads.
KINDS = {
    "vlm2vec-qwen2": ("vlm2vec", made.copied),
    "vlm2vec-qwen2.5": ("vlm2vec", made.qwen2_5_vl),
    "vlm2vec-llava-next": ("vlm2vec", made.llava_next),
    "gme": ("gme", made.copied),
    "lamra-qwen2": ("lamra", made.copied),
    "lamra-qwen2.5": ("lamra", made.qwen2_5_vl),
    "qwen3": ("qwen3_vl_embedding", made.qwen3_vl),
}
SMALL = {"qwen3": {"min_pixels": "4096", "max_pixels": "16384"}, "vlm2vec-llava-next": {}}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small lose more by waiting for a second thread than it gives them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def kind(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., VlmEncoder]:
    """kind("gme", padding="left") -> that encoder, on a checkpoint made once."""
    folders: dict[str, Path] = {}

    def load(name: str, **options: str) -> VlmEncoder:
        family, make = KINDS[name]
        if name not in folders:
            folders[name] = make(tmp_path_factory.mktemp("vlm") / "checkpoint")
        given = "".join(f";{key}={value}" for key, value in options.items())
        loaded = catalog.load(f"{family}:tiny;checkpoint={folders[name]}{given}")
        assert isinstance(loaded, VlmEncoder)
        return loaded

    return load


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def mixture(encoder: VlmEncoder) -> list[Content]:
    """One content of each kind that the encoder reads, of very different lengths."""
    frames = tuple(noise(60, 44, seed) for seed in range(8))
    contents = [
        Content(text="a cat"),
        Content(text="two dogs run along the beach and chase a red ball " * 4),
        Content(text=""),
        Content(image=noise(90, 61)),
        Content(image=noise(1, 1)),
        Content(image=noise(400, 20), text="the same place at night"),
        Content(image=noise(61, 90), text="with a hat", instruction="Find the same thing, changed so:"),
    ]
    if "frames" in encoder.card.reads:
        contents += [
            Content(frames=frames),
            Content(frames=frames[:3], text="what is thrown?"),
            Content(frames=frames[:1]),
        ]
    return contents


@pytest.mark.parametrize(("padding", "role"), [("left", "query"), ("right", "item")])
@pytest.mark.parametrize("name", KINDS)
def test_mixed_batch_equals_batches_of_one(
    kind: Callable[..., VlmEncoder], name: str, padding: str, role: Role
) -> None:
    encoder = kind(name, padding=padding, **SMALL.get(name, {"min_pixels": "3136", "max_pixels": "9408"}))
    contents = mixture(encoder)
    together = encoder.encode(contents, role)
    assert together.shape == (len(contents), 64)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    alone = np.concatenate([embed(encoder, [content], role) for content in contents])
    np.testing.assert_allclose(together, alone, atol=WITHIN)
    np.testing.assert_allclose(embed(encoder, contents[::-1], role)[::-1], alone, atol=WITHIN)
    assert abs(np.triu(together @ together.T, 1)).max() < 1 - 1e-6, "two different contents have the same vector"
    rows = [encoder.rows.row(content, role) for content in contents[:2]]
    assert encoder.arguments(rows)["attention_mask"][0].tolist()[0 if padding == "left" else -1] == 0


@pytest.mark.parametrize("name", KINDS)
def test_card_is_told_by_the_checkpoint(kind: Callable[..., VlmEncoder], name: str) -> None:
    card = kind(name).card
    assert card.dim == 64
    assert card.joint
    assert not card.multi
    assert card.reads == ({"text", "image"} if "llava" in name else {"text", "image", "frames"})
    assert len(card.revision) == 12
    assert card.offline


@pytest.mark.parametrize("name", ["vlm2vec-qwen2", "qwen3", "lamra-qwen2"])
def test_instruction_role_and_frame_order_matter(kind: Callable[..., VlmEncoder], name: str) -> None:
    encoder = kind(name)
    frames = tuple(noise(60, 44, seed) for seed in range(4))
    rows = encoder.encode(
        [
            Content(text="a dog", instruction="Find a video:"),
            Content(text="a dog", instruction="Find a document:"),
            Content(frames=frames),
            Content(frames=frames[::-1]),
        ],
        "query",
    )
    assert rows[0] @ rows[1] < 1 - 1e-4
    assert rows[2] @ rows[3] < 1 - 1e-6
    if name != "lamra-qwen2":  # it has no instruction of its own for words, on either side
        other = encoder.encode([Content(text="a dog")], "query") @ encoder.encode([Content(text="a dog")], "item").T
        assert other < 1 - 1e-4


def test_a_text_that_spells_a_visual_token_is_read_without_it(kind: Callable[..., VlmEncoder]) -> None:
    encoder = kind("vlm2vec-qwen2")
    contents = [Content(text="a<|image_pad|> cat<|video_pad|>"), Content(text="a cat")]
    rows = encoder.encode(contents, "query")
    np.testing.assert_allclose(rows[0], rows[1], atol=WITHIN)


def test_gme_reads_the_middle_frame_and_not_beside_a_picture(kind: Callable[..., VlmEncoder]) -> None:
    encoder = kind("gme")
    frames = tuple(noise(60, 44, seed) for seed in range(5))
    rows = encoder.encode([Content(frames=frames), Content(image=frames[2])], "item")
    np.testing.assert_allclose(rows[0], rows[1], atol=WITHIN)
    with pytest.raises(CannotRead, match="gme reads one picture"):
        encoder.encode([Content(image=frames[0], frames=frames)], "item")


def test_items_with_a_picture_can_be_told_something_else(kind: Callable[..., VlmEncoder]) -> None:
    usual, pages = kind("vlm2vec-qwen2"), kind("vlm2vec-qwen2", item_instruction=DOCUMENT)
    page, frames = noise(60, 44), tuple(noise(60, 44, seed) for seed in range(2))
    for content in (Content(image=page), Content(text="page 7", image=page)):
        told = Content(content.text, content.image, instruction=DOCUMENT)
        np.testing.assert_array_equal(pages.encode([content], "item"), usual.encode([told], "item"))
        assert (pages.encode([content], "item") @ usual.encode([content], "item").T).item() < 1 - 1e-4
        np.testing.assert_array_equal(pages.encode([content], "query"), usual.encode([content], "query"))
    for content in (Content(text="a dog"), Content(frames=frames), Content(image=page, instruction="Look.")):
        np.testing.assert_array_equal(pages.encode([content], "item"), usual.encode([content], "item"))
    assert pages.card.space != usual.card.space
    assert DOCUMENT in pages.card.preprocessing


def test_llava_next_refuses_clips(kind: Callable[..., VlmEncoder]) -> None:
    with pytest.raises(CannotRead, match="holds a clip"):
        kind("vlm2vec-llava-next").encode([Content(frames=(noise(9, 9),))], "item")


def test_frames_and_pixels_can_be_limited(kind: Callable[..., VlmEncoder]) -> None:
    frames = tuple(noise(112, 84, seed) for seed in range(20))
    usual, fewer = kind("vlm2vec-qwen2"), kind("vlm2vec-qwen2", frames="4", max_pixels="6272")
    clips = [encoder.rows.row(Content(frames=frames), "item").clip for encoder in (usual, fewer)]
    assert clips[0] is not None
    assert clips[1] is not None
    assert clips[0].grid == (4, 6, 8)
    assert clips[1].grid[0] == 2
    assert clips[1].grid[1] * clips[1].grid[2] * 14 * 14 <= 6272
    with pytest.raises(EncoderUnavailable, match="max_pixels=many is not a whole number"):
        kind("vlm2vec-qwen2", max_pixels="many")


def test_long_text_is_cut_and_a_picture_that_does_not_fit_is_refused(kind: Callable[..., VlmEncoder]) -> None:
    encoder = kind("qwen3")  # its config reads 2048 tokens
    long = Content(text="word " * 9000)
    assert len(encoder.rows.row(long, "item").ids) == 2048
    assert np.isfinite(encoder.encode([long], "item")).all()
    with pytest.raises(CannotRead, match="lower max_pixels"):
        kind("qwen3", max_pixels="4000000").rows.row(Content(image=noise(1500, 1500)), "item")


def test_rows_of_like_length_share_a_batch() -> None:
    groups = alike([10, 400, 12, 20, 21, 390])
    assert groups == [[0, 2, 3], [4], [5, 1]]
    assert alike([]) == []


# --- what is refused ------------------------------------------------------------------------------------------------


def refused(folder: Path, says: str, options: str = "", family: str = "vlm2vec") -> None:
    with pytest.raises(EncoderUnavailable, match=says):
        catalog.load(f"{family}:tiny;checkpoint={folder}{options}")


def change(folder: Path, **changes: object) -> None:
    """Replaces tensors of a checkpoint, or (None) takes them out."""
    weights = load_file(folder / "model.safetensors")
    for key, value in changes.items():
        name = key.replace("__", ".")
        weights.pop(name, None)
        if value is not None:
            weights[name] = value  # type: ignore[assignment]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_missing_weights_are_an_error_not_random_numbers(tmp_path: Path) -> None:
    folder = made.copied(tmp_path / "c")
    change(folder, model__layers__1__mlp__up_proj__weight=None)
    refused(folder, r"1 weights are missing \(language_model.layers.1.mlp.up_proj.weight\)")


def test_left_over_weights_are_an_error_but_a_language_head_is_not(tmp_path: Path) -> None:
    folder = made.copied(tmp_path / "c")
    head = load_file(folder / "model.safetensors")["model.embed_tokens.weight"].clone()
    change(folder, lm_head__weight=head)
    catalog.load(f"vlm2vec:tiny;checkpoint={folder}")
    change(folder, model__layers__9__mlp__up_proj__weight=head)
    refused(folder, r"1 are not of this model \(model.language_model.layers.9.mlp.up_proj.weight\)")


def test_weights_of_another_shape_are_an_error(tmp_path: Path) -> None:
    folder = made.copied(tmp_path / "c")
    weights = load_file(folder / "model.safetensors")
    change(folder, model__layers__0__mlp__up_proj__weight=weights["model.layers.0.mlp.up_proj.weight"][:8].clone())
    refused(folder, "cannot be read")


def test_pickles_are_refused_unless_asked_for(tmp_path: Path) -> None:
    folder = made.copied(tmp_path / "c")
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused(folder, "allow_pickle=true")
    pickled = catalog.load(f"vlm2vec:tiny;checkpoint={folder};allow_pickle=true")
    golden = catalog.load(f"vlm2vec:tiny;checkpoint={made.GOLDEN / 'checkpoint'}")
    content = [Content(text="a cat")]
    np.testing.assert_array_equal(embed(pickled, content, "item"), embed(golden, content, "item"))


def test_backbone_of_another_style_is_refused_by_name(tmp_path: Path) -> None:
    folder = made.copied(tmp_path / "c")
    refused(folder, "is a qwen2_vl checkpoint, and qwen3_vl_embedding asks qwen3_vl", family="qwen3_vl_embedding")
    config = (folder / "config.json").read_text("utf-8")
    (folder / "config.json").write_text(config.replace('"qwen2_vl"', '"phi3_v"'), "utf-8")
    refused(folder, "Phi-3.5-V checkpoint: transformers 5 has no class for it")


def test_checkpoint_without_a_picture_config_is_refused(tmp_path: Path) -> None:
    folder = made.copied(tmp_path / "c")
    (folder / "preprocessor_config.json").unlink()
    refused(folder, "neither preprocessor_config.json nor processor_config.json")


def test_random_weights_need_no_weights_and_are_the_same_each_time(tmp_path: Path) -> None:
    folder = made.copied(tmp_path / "c")
    (folder / "model.safetensors").unlink()
    spec = f"vlm2vec:tiny;checkpoint={folder};weights=random"
    first = catalog.load(spec)
    assert first.card.revision.startswith("random")
    rows = embed(first, [Content(text="a cat"), Content(image=noise(30, 40))], "item")
    catalog.unload_idle(0)
    again = embed(catalog.load(spec), [Content(text="a cat"), Content(image=noise(30, 40))], "item")
    np.testing.assert_array_equal(rows, again)
