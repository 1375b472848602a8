"""A tiny CLIP with random weights, made and saved here, goes through the same code as a real checkpoint."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.errors import EncoderUnavailable
from mmretrieval.types import Content
from models.clip import RANDOM_WEIGHTS, OpenClip, _unsaid
from models.plain import PLAIN

CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
TEXTS = ["a red apple", "", "the quick brown fox jumps over the lazy dog again and again and again"]


def pictures() -> list[Image.Image]:
    noise = np.random.default_rng(3)
    sizes = [(40, 30), (1, 1), (200, 10), (33, 64)]
    return [Image.fromarray(noise.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Any]:
    """The config's path, the weights' path, and the model that open_clip itself made of them."""
    folder = tmp_path_factory.mktemp("clip")
    config, weights = folder / "tiny.json", folder / "tiny.pt"
    config.write_text(json.dumps(CONFIG))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = open_clip.CLIP(**CONFIG).eval()
    torch.save(model.state_dict(), weights)
    return config, weights, model


def reference(model: Any) -> tuple[np.ndarray, np.ndarray]:
    prepare = image_transform_v2(PreprocessCfg(size=32), is_train=False)
    with torch.inference_mode():
        rows = model.encode_image(torch.stack([prepare(p) for p in pictures()]), normalize=True)
        words = model.encode_text(open_clip.tokenize(TEXTS, context_length=12), normalize=True)
    return rows.numpy(), words.numpy()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_vectors_equal_open_clips_own(tiny: tuple[Path, Path, Any], suffix: str) -> None:
    config, weights, model = tiny
    if suffix == ".safetensors":
        weights = weights.with_suffix(suffix)
        save_file(model.state_dict(), weights)
    encoder = catalog.load(f"clip-b32;config={config};checkpoint={weights};precision=fp32")
    rows, words = reference(model)
    np.testing.assert_allclose(embed(encoder, [Content(image=p) for p in pictures()], "item"), rows, atol=1e-5)
    np.testing.assert_allclose(embed(encoder, [Content(text=t) for t in TEXTS], "query"), words, atol=1e-5)
    alone = np.concatenate([embed(encoder, [Content(text=t)], "query") for t in TEXTS])
    np.testing.assert_allclose(alone, words, atol=1e-5)


def test_the_plain_way_hands_its_inputs_to_the_device(tiny: tuple[Path, Path, Any]) -> None:
    """`meta` stands for a GPU: a device that is not the processor, on which nothing is computed."""
    config, weights, _ = tiny
    block, card, settings = catalog.resolve(f"clip-b32;config={config};checkpoint={weights};precision=fp32")
    plain: Any = PLAIN[block.factory](card, {}, settings)
    where: list[str] = []

    def rows(given: torch.Tensor) -> torch.Tensor:
        where.append(given.device.type)
        return torch.ones(len(given), 24)

    plain._device, plain._model = torch.device("meta"), SimpleNamespace(encode_text=rows, encode_image=rows)
    assert plain.encode([Content(text="a")], "query").shape == (1, 24)
    assert plain.encode([Content(image=pictures()[0])], "item").shape == (1, 24)
    assert where == ["meta", "meta"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_the_plain_way_agrees_on_a_gpu(tiny: tuple[Path, Path, Any]) -> None:
    config, weights, model = tiny
    block, card, settings = catalog.resolve(f"clip-b32;config={config};checkpoint={weights};precision=fp32")
    plain = PLAIN[block.factory](card, {}, settings)
    rows, words = reference(model)
    np.testing.assert_allclose(embed(plain, [Content(image=p) for p in pictures()], "item"), rows, atol=1e-4)
    np.testing.assert_allclose(embed(plain, [Content(text=t) for t in TEXTS], "query"), words, atol=1e-4)


def test_random_weights_that_were_asked_for_are_no_warning(
    tiny: tuple[Path, Path, Any], caplog: pytest.LogCaptureFixture
) -> None:
    config, _, _ = tiny
    with _unsaid(*RANDOM_WEIGHTS):
        logging.warning("No pretrained weights loaded for model, says somebody else")
    assert len(caplog.records) == 1
    caplog.clear()
    catalog.load(f"clip-b32;config={config};weights=random;precision=fp32")
    assert [r.getMessage() for r in caplog.records] == []
    assert not logging.getLogger().filters


def test_bf16_is_the_default_and_near_fp32(tiny: tuple[Path, Path, Any]) -> None:
    config, weights, model = tiny
    spec = f"clip-b32;config={config};checkpoint={weights}"
    encoder = catalog.load(spec)
    assert encoder.card.space != catalog.card(f"{spec};precision=fp32").space
    assert "bf16" in encoder.card.runtime
    rows, words = reference(model)
    got = embed(encoder, [Content(image=p) for p in pictures()], "item")
    assert (got * rows).sum(axis=1).min() > 0.99
    assert (embed(encoder, [Content(text=t) for t in TEXTS], "item") * words).sum(axis=1).min() > 0.99


def test_random_weights_are_the_same_each_time_and_leave_torchs_state_alone(tiny: tuple[Path, Path, Any]) -> None:
    spec = f"clip-b32;config={tiny[0]};weights=random"
    before = torch.random.get_rng_state()
    settings = {"model": "ViT-B-32", "config": str(tiny[0]), "weights": "random"}
    rows = [embed(OpenClip(catalog.card(spec), {}, settings), [Content(text="a dog")], "item") for _ in range(2)]
    np.testing.assert_array_equal(*rows)
    assert torch.equal(before, torch.random.get_rng_state())


def test_without_weights_both_ways_to_get_them_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    # The network is out of reach and nothing is cached, whatever the machine that runs this has.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EncoderUnavailable, match=r"(?s)models pull.*;checkpoint=FILE"):
        catalog.load("clip-b32")


def test_files_that_hold_no_such_weights_are_refused(tiny: tuple[Path, Path, Any], tmp_path: Path) -> None:
    config = tiny[0]
    wrong = tmp_path / "wrong.pt"
    torch.save({"logit_scale": torch.zeros(())}, wrong)
    with pytest.raises(EncoderUnavailable, match="does not hold the weights"):
        catalog.load(f"clip-b32;config={config};checkpoint={wrong}")
    for name in ("text.pt", "text.safetensors"):
        (tmp_path / name).write_text("this is no file of weights at all")
        with pytest.raises(EncoderUnavailable, match="weights"):
            catalog.load(f"clip-b32;config={config};checkpoint={tmp_path / name}")


def test_code_in_a_checkpoint_is_not_run(tiny: tuple[Path, Path, Any], tmp_path: Path) -> None:
    evil, mark = tmp_path / "evil.pt", tmp_path / "mark"
    torch.save({"logit_scale": _Touch(mark)}, evil)
    with pytest.raises(EncoderUnavailable, match="never code"):
        catalog.load(f"clip-b32;config={tiny[0]};checkpoint={evil}")
    assert not mark.exists()


def test_a_config_without_weights_says_what_to_add(tiny: tuple[Path, Path, Any]) -> None:
    with pytest.raises(EncoderUnavailable, match="checkpoint=PATH"):
        catalog.load(f"clip-b32;config={tiny[0]}")


class _Touch:
    """Pickles as a call that would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)
