"""Cross-encoders as rerankers: the library's own scores for pairs of texts, and of pictures where they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import st_checkpoints as tiny
from drawings import drawing

from mmretrieval import catalog
from mmretrieval.errors import CannotRead, EncoderError, EncoderUnavailable, OutOfMemory
from mmretrieval.types import Content

TEXTS = ["a red cat", "", "the big blue dog is on a small tree", "house"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.cross(tmp_path_factory.mktemp("cross"))


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.chat_reranker(tmp_path_factory.mktemp("chat"))


def own(place: Path) -> Any:
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(place), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"})


def load(place: Path, *options: str) -> Any:
    return catalog.load_reranker(";".join(["st_cross:tiny", f"checkpoint={place}", *options]))


def words(texts: list[str]) -> list[Content]:
    return [Content(text=text) for text in texts]


def test_pairs_of_texts_get_the_librarys_own_scores_in_order(place: Path) -> None:
    reranker = load(place)
    assert reranker.card.dim == 0 and reranker.card.reads == {"text"}
    query = Content(text="cat on a tree")
    found = reranker.score(query, words(TEXTS))
    assert found.shape == (len(TEXTS),)
    np.testing.assert_allclose(found, own(place).predict([("cat on a tree", t) for t in TEXTS]), atol=1e-5)
    np.testing.assert_allclose(found, [reranker.score(query, [item])[0] for item in words(TEXTS)], atol=1e-5)
    assert np.ptp(found) > 1e-4 and not len(reranker.score(query, []))
    # the two halves are not the same to it
    assert abs(reranker.score(words(["house"])[0], words(["a red cat"]))[0] - reranker.score(*pair())[0]) > 1e-5


def pair() -> tuple[Content, list[Content]]:
    return Content(text="a red cat"), words(["house"])


def test_a_bare_checkpoint_of_transformers_is_read_too(place: Path) -> None:
    bare = load(place.parent / "bare")
    found = bare.score(Content(text="cat"), words(TEXTS))
    np.testing.assert_allclose(found, load(place).score(Content(text="cat"), words(TEXTS)), atol=1e-5)


def test_an_instruction_is_the_prompt(place: Path) -> None:
    found = load(place).score(Content(text="cat", instruction="find"), words(TEXTS))
    expected = own(place).predict([("cat", t) for t in TEXTS], prompt="find ")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_pictures_are_read_where_the_model_reads_them(chat: Path) -> None:
    reranker, model = load(chat), own(chat)
    assert reranker.card.reads == {"text", "image", "frames"} and reranker.card.joint
    seen = [drawing(s).resize(size).convert("RGB") for s, size in enumerate([(40, 30), (16, 48), (1, 1)])]
    query = Content(text="red house", image=seen[0])
    given = {"image": seen[0], "text": "red house"}
    for items, halves in (
        (words(TEXTS), [{"text": t} for t in TEXTS]),
        ([Content(image=p) for p in seen], [{"image": p} for p in seen]),
        ([Content(image=p, text="dog") for p in seen], [{"image": p, "text": "dog"} for p in seen]),
    ):
        found = reranker.score(query, items)
        np.testing.assert_allclose(found, model.predict([(given, half) for half in halves]), atol=1e-5)
        np.testing.assert_allclose(found, [reranker.score(query, [item])[0] for item in items], atol=1e-5)
        assert np.ptp(found) > 1e-5


def test_a_text_that_looks_like_a_pictures_address_stays_a_text(chat: Path) -> None:
    found = load(chat).score(Content(text="https://example.org/cat.png"), words(["house"]))
    expected = own(chat).predict([({"text": "https://example.org/cat.png"}, {"text": "house"})])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_it_cannot_read_is_refused_with_both_sides_named(place: Path) -> None:
    with pytest.raises(CannotRead, match=r"reads text; it was given image"):
        load(place).score(Content(text="cat"), [Content(image=drawing(1))])
    with pytest.raises(CannotRead, match=r"it was given nothing"):
        load(place).score(Content(), words(TEXTS))


def test_a_batch_that_does_not_fit_is_halved(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = load(place)
    items = words([f"{text} {number}" for number in range(12) for text in TEXTS])
    expected = reranker.score(Content(text="cat"), items)
    sizes: list[int] = []
    real = reranker._model.predict

    def tight(pairs: list[Any], **more: Any) -> Any:
        sizes.append(len(pairs))
        if len(pairs) > limit:
            raise MemoryError("no room")
        return real(pairs, **more)

    monkeypatch.setattr(reranker._model, "predict", tight)
    limit = 10
    np.testing.assert_allclose(reranker.score(Content(text="cat"), items), expected, atol=1e-5)
    assert sizes[:3] == [32, 16, 8] and set(sizes[2:]) == {8}
    limit = 0
    with pytest.raises(OutOfMemory, match="tiny"):
        reranker.score(Content(text="cat"), items)


def test_a_classifier_of_several_labels_and_an_embedder_are_no_rerankers(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="gives 3 scores"):
        load(tiny.cross(tmp_path / "labels", labels=3))
    with pytest.raises(EncoderUnavailable, match="is an embedder, not a reranker: write st:"):
        load(tiny.dense(tmp_path / "dense"))


def test_a_reranker_is_no_encoder(place: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="write st_cross:"):
        catalog.load(f"st:tiny;checkpoint={place}")
    with pytest.raises(EncoderError, match="reranker"):
        catalog.load(f"st_cross:tiny;checkpoint={place}")
