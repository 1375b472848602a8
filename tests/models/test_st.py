"""Single vectors from sentence-transformers checkpoints: the library's own numbers, roles, prompts, instructions."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import st_checkpoints as tiny
from drawings import drawing
from PIL import Image
from safetensors.torch import load_file, save_file

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.errors import CannotRead, EncoderUnavailable
from mmretrieval.types import Content

TEXTS = ["a red cat", "", "the big blue dog is on a small tree in the photo of a house", "house", "Ünïcode 木 ?"]
PROMPTS = {"query": "query: ", "passage": "passage: "}
Own = Callable[[Path], Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.dense(tmp_path_factory.mktemp("dense"), prompts=PROMPTS)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.chat_embedder(tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.qwen3(tmp_path_factory.mktemp("bare"))


def own(place: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(place), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"})


def load(place: Path, *options: str, name: str = "tiny") -> Any:
    return catalog.load(";".join([f"st:{name}", f"checkpoint={place}", *options]))


def words(texts: list[str], instruction: str | None = None) -> list[Content]:
    return [Content(text=text, instruction=instruction) for text in texts]


def pictures() -> list[Image.Image]:
    sizes = [(40, 30), (16, 48), (1, 1), (200, 10)]
    return [drawing(seed).resize(size) for seed, size in enumerate(sizes)]


def test_texts_get_the_librarys_own_vectors_in_order(place: Path) -> None:
    encoder, model = load(place), own(place)
    assert encoder.card.dim == 32 and encoder.card.reads == {"text"} and not encoder.card.joint
    queries = encoder.encode(words(TEXTS), "query")
    np.testing.assert_allclose(queries, model.encode_query(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(words(TEXTS[::-1]), "query")[::-1], queries, atol=1e-5)
    assert queries.dtype == np.float32


def test_a_batch_gives_what_each_content_gives_alone(place: Path) -> None:
    encoder = load(place)
    for role in ("query", "item"):
        together = embed(encoder, words(TEXTS), role)
        alone = np.concatenate([embed(encoder, words([text]), role) for text in TEXTS])
        np.testing.assert_allclose(together, alone, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_each_role_stands_behind_its_own_prompt_even_one_that_the_library_overlooks(place: Path) -> None:
    encoder, model = load(place), own(place)
    items = encoder.encode(words(TEXTS), "item")
    np.testing.assert_allclose(items, model.encode(TEXTS, prompt="passage: "), atol=1e-5)
    assert np.abs(items - encoder.encode(words(TEXTS), "query")).max() > 0.01
    # the library itself gives a saved "passage" no effect; should that change, `prompts` in the card may go
    assert np.abs(model.encode_document(TEXTS) - model.encode(TEXTS, prompt="")).max() < 1e-6


def test_a_saved_document_prompt_gives_what_encode_document_gives(tmp_path: Path) -> None:
    place = tiny.dense(tmp_path, prompts={"query": "find ", "document": "the photo of "})
    encoder, model = load(place), own(place)
    np.testing.assert_allclose(encoder.encode(words(TEXTS), "item"), model.encode_document(TEXTS), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(words(TEXTS), "query"), model.encode_query(TEXTS), atol=1e-5)


def test_prompts_may_be_named_in_the_spec_and_are_known_for_e5(tmp_path: Path) -> None:
    place = tiny.dense(tmp_path)
    model = own(place)
    named = load(place, "query_prompt=find", "item_prompt=photo")
    np.testing.assert_allclose(named.encode(words(TEXTS), "query"), model.encode(TEXTS, prompt="find"), atol=1e-5)
    np.testing.assert_allclose(named.encode(words(TEXTS), "item"), model.encode(TEXTS, prompt="photo"), atol=1e-5)
    known = load(place, name="intfloat/e5-small-v2")
    np.testing.assert_allclose(known.encode(words(TEXTS), "item"), model.encode(TEXTS, prompt="passage: "), atol=1e-5)
    assert "'passage: '" in known.card.preprocessing


def test_an_instruction_takes_the_prompts_place_and_contents_may_differ_in_it(place: Path) -> None:
    encoder, model = load(place), own(place)
    told = encoder.encode([*words(TEXTS, "find a small drawing of"), *words(TEXTS)], "query")
    expected = model.encode(TEXTS, prompt="find a small drawing of ")
    np.testing.assert_allclose(told[: len(TEXTS)], expected, atol=1e-5)
    np.testing.assert_allclose(told[len(TEXTS) :], model.encode_query(TEXTS), atol=1e-5)


def test_an_instruction_fills_the_place_of_the_task(tmp_path: Path) -> None:
    place = tiny.dense(tmp_path, prompts={"query": "Instruct: find the house\nQuery:"})
    encoder, model = load(place), own(place)
    expected = model.encode(TEXTS, prompt="Instruct: find a cat\nQuery:")
    np.testing.assert_allclose(encoder.encode(words(TEXTS, "find a cat"), "query"), expected, atol=1e-5)


def test_a_dense_layer_and_shortened_vectors(tmp_path: Path) -> None:
    place = tiny.dense(tmp_path, project=8)
    assert load(place).card.dim == 8
    short = load(place, "dim=4")
    assert short.card.dim == 4
    np.testing.assert_allclose(
        short.encode(words(TEXTS), "query"), own(place).encode_query(TEXTS, truncate_dim=4), atol=1e-5
    )
    for wrong, said in (("dim=9", "more than the 8"), ("dim=x", "whole number"), ("max_length=0", "whole number")):
        with pytest.raises(EncoderUnavailable, match=said):
            load(place, wrong)


def test_a_shorter_length_cuts_texts(place: Path) -> None:
    short = load(place, "max_length=8")
    rows = short.encode(words(["a cat on the tree in the house", "a cat on the tree of a dog"]), "query")
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)


def test_bf16_stays_close(place: Path) -> None:
    exact, rough = load(place), load(place, "precision=bf16")
    cosines = np.sum(embed(exact, words(TEXTS), "query") * embed(rough, words(TEXTS), "query"), axis=1)
    assert cosines.min() > 0.999


def test_random_weights_are_the_same_each_time_and_not_the_checkpoints(tmp_path: Path) -> None:
    place = tiny.dense(tmp_path, project=8)
    made = load(place, "weights=random")
    assert made.card.revision.startswith("random") and made.card.dim == 8
    again = catalog.load(f"st:again;checkpoint={place};weights=random")
    rows = made.encode(words(TEXTS), "query")
    np.testing.assert_array_equal(rows, again.encode(words(TEXTS), "query"))
    assert np.abs(rows - load(place).encode(words(TEXTS), "query")).max() > 0.01


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "lacking"
    shutil.copytree(tiny.dense(tmp_path / "whole"), folder)
    file = next(folder.rglob("model.safetensors"))
    kept = {k: v for k, v in load_file(file).items() if "layer.0.output" not in k}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(EncoderUnavailable, match="lack .* weights of the model .*layer.0.output"):
        load(folder)


def test_many_threads_may_ask_at_once(place: Path) -> None:
    encoder = load(place)
    expected = encoder.encode(words(TEXTS), "query")
    found: list[Any] = []

    def ask(count: int) -> None:
        for _ in range(5):
            found.append((count, encoder.encode(words(TEXTS[:count]), "query")))

    threads = [threading.Thread(target=ask, args=(count,)) for count in (1, 2, 4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    for count, rows in found:
        np.testing.assert_allclose(rows, expected[:count], atol=1e-5)


def test_real_minilm_files_give_what_this_projects_own_network_gives() -> None:
    from models.minilm import MiniLM

    files = {
        name: catalog.data_files("lite", without={"classifier", "classes"})[name]
        for name in ("sentences", "config", "tokenizer")
    }
    encoder = load(files["config"].parent, name="sentence-transformers/all-MiniLM-L6-v2")
    assert (encoder.card.dim, encoder.card.reads) == (384, {"text"})
    texts = [*TEXTS, "A dog runs over the beach.", "word " * 400]
    expected = MiniLM(files["config"], files["sentences"], files["tokenizer"]).encode(texts).numpy()
    np.testing.assert_allclose(embed(encoder, words(texts), "query"), expected, atol=1e-5)


def test_clip_reads_texts_and_pictures_apart(tmp_path: Path) -> None:
    place = tiny.clip(tmp_path)
    encoder, model = load(place), own(place)
    assert encoder.card.reads == {"text", "image"} and not encoder.card.joint and encoder.card.dim == tiny.SIDE
    np.testing.assert_allclose(encoder.encode(words(TEXTS), "query"), model.encode(TEXTS), atol=1e-5)
    seen = encoder.encode([Content(image=p) for p in pictures()], "item")
    np.testing.assert_allclose(seen, model.encode([p.convert("RGB") for p in pictures()]), atol=1e-5)
    alone = np.concatenate([encoder.encode([Content(image=p)], "item") for p in pictures()])
    np.testing.assert_allclose(seen, alone, atol=1e-5)
    plain = load(tmp_path / "bare")
    assert plain.card.reads == {"text", "image"} and plain.card.dim == tiny.SIDE
    np.testing.assert_allclose(plain.encode([Content(image=p) for p in pictures()], "item"), seen, atol=1e-5)
    with pytest.raises(CannotRead, match="one at a time"):
        embed(encoder, [Content(text="cat", image=pictures()[0])], "query")


def test_a_text_that_names_a_picture_file_stays_a_text(tmp_path: Path) -> None:
    place = tiny.clip(tmp_path)
    drawing(3).save(tmp_path / "cat.png")
    text = str(tmp_path / "cat.png")
    row = load(place).encode([Content(text=text)], "query")
    assert np.abs(row - own(place).encode([drawing(3)])).max() > 0.01
    np.testing.assert_allclose(row, own(place).encode([{"text": text}]), atol=1e-5)


def test_pictures_of_any_mode_are_read_as_rgb(tmp_path: Path) -> None:
    encoder = load(tiny.clip(tmp_path))
    grey = drawing(5).convert("L")
    rows = encoder.encode([Content(image=grey), Content(image=grey.convert("RGB"))], "item")
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
    assert np.isfinite(encoder.encode([Content(image=drawing(5).convert("RGBA"))], "item")).all()


def chat_cases() -> dict[str, tuple[list[Content], list[Any], dict[str, Any]]]:
    """By name: contents, what the library is given for them, and its further arguments."""
    seen = pictures()
    clips = [
        tuple(drawing(s).resize((24, 16)) for s in range(first, first + count)) for first, count in ((0, 8), (9, 4))
    ]
    about = [{"fps": 1.0, "total_num_frames": len(c), "frames_indices": list(range(len(c)))} for c in clips]
    arrays = [np.stack([np.asarray(f.convert("RGB")).transpose(2, 0, 1) for f in clip]) for clip in clips]
    films = [{"video": {"array": a, "video_metadata": m}} for a, m in zip(arrays, about, strict=True)]
    kept = {"processing_kwargs": {"video": {"do_sample_frames": False}}}
    return {
        "text": (words(TEXTS), [{"text": t} for t in TEXTS], {}),
        "image": ([Content(image=p) for p in seen], [{"image": p.convert("RGB")} for p in seen], {}),
        "both": (
            [Content(text=t, image=p) for t, p in zip(TEXTS, seen, strict=False)],
            [{"image": p.convert("RGB"), "text": t} for t, p in zip(TEXTS, seen, strict=False)],
            {},
        ),
        "frames": ([Content(frames=c) for c in clips], films, kept),
    }


@pytest.mark.parametrize("name", ["text", "image", "both", "frames"])
def test_a_chat_model_reads_everything_and_several_at_once(chat: Path, name: str) -> None:
    encoder, model = load(chat), own(chat)
    assert encoder.card.reads == {"text", "image", "frames"} and encoder.card.joint
    contents, given, more = chat_cases()[name]
    asked = encoder.encode(contents, "query")
    np.testing.assert_allclose(asked, model.encode_query(given, **more), atol=1e-5)
    kept = encoder.encode(contents, "item")
    np.testing.assert_allclose(kept, model.encode_document(given, **more), atol=1e-5)
    assert np.abs(asked - kept).max() > 1e-3
    alone = np.concatenate([encoder.encode([content], "item") for content in contents])
    np.testing.assert_allclose(kept, alone, atol=1e-5)
    assert np.abs(kept[0] - kept[1]).max() > 1e-3


def test_a_chat_model_gets_the_instruction_as_the_systems_message(chat: Path) -> None:
    encoder, model = load(chat), own(chat)
    picture = pictures()[0]
    told = encoder.encode([Content(text="red", image=picture, instruction="find the same house")], "query")
    given = [{"image": picture.convert("RGB"), "text": "red"}]
    np.testing.assert_allclose(told, model.encode(given, prompt="find the same house"), atol=1e-5)
    untold = encoder.encode([Content(text="red", image=picture)], "query")
    assert np.abs(told - untold).max() > 1e-3


@pytest.mark.parametrize("name", ["text", "image", "both", "frames"])
def test_a_bare_qwen3_vl_reads_the_same(bare: Path, name: str) -> None:
    encoder, model = load(bare), own(bare)
    assert encoder.card.reads == {"text", "image", "frames"} and encoder.card.joint
    contents, given, more = chat_cases()[name]
    found = encoder.encode(contents, "item")
    np.testing.assert_allclose(found, model.encode_document(given, **more), atol=1e-5)
    alone = np.concatenate([encoder.encode([content], "item") for content in contents])
    np.testing.assert_allclose(found, alone, atol=1e-5)
