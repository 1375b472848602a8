"""Bags of vectors from late-interaction checkpoints: the library's own rows, and none of padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import st_checkpoints as tiny
from drawings import drawing

from mmretrieval import catalog
from mmretrieval.embedding import embed_multi
from mmretrieval.errors import BadVectors, EncoderUnavailable
from mmretrieval.types import Array, Content, Vectors

TEXTS = ["a red cat", "", "the big blue dog, is on a small tree!", "house", "?!"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.late_words(tmp_path_factory.mktemp("late"))


@pytest.fixture(scope="module", params=["colqwen2", "colpali"])
def pages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    return tiny.colpali(folder) if request.param == "colpali" else tiny.qwen(folder, "ColQwen2ForRetrieval")


def own(place: Path) -> Any:
    from sentence_transformers import MultiVectorEncoder

    return MultiVectorEncoder(str(place), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"})


def load(place: Path, *options: str) -> Any:
    return catalog.load(";".join(["st:tiny", f"checkpoint={place}", *options]))


def words(texts: list[str], instruction: str | None = None) -> list[Content]:
    return [Content(text=text, instruction=instruction) for text in texts]


def pictures() -> list[Content]:
    return [Content(image=drawing(s).resize(size)) for s, size in enumerate([(40, 30), (16, 48), (1, 1), (200, 10)])]


def assert_same(found: Vectors, expected: list[Array]) -> None:
    assert [len(found[i]) for i in range(len(found))] == [len(rows) for rows in expected]
    for place, rows in enumerate(expected):
        np.testing.assert_allclose(found[place], rows, atol=1e-5)


def test_queries_and_items_get_the_librarys_own_rows(place: Path) -> None:
    encoder, model = load(place), own(place)
    assert encoder.card.multi and encoder.card.dim == 16 and encoder.card.reads == {"text"}
    queries, items = (encoder.encode(words(TEXTS), role) for role in ("query", "item"))
    assert_same(queries, model.encode_query(TEXTS, convert_to_numpy=True))
    assert_same(items, model.encode_document(TEXTS, convert_to_numpy=True))
    # queries are lengthened to 12 tokens; items lose their punctuation and keep their border tokens
    assert np.diff(queries.offsets).tolist() == [12] * len(TEXTS)
    # [CLS] passage ... [SEP]; "passage" begins every item
    assert np.diff(items.offsets)[[1, 3, 4]].tolist() == [3, 4, 3]


def test_a_batch_gives_what_each_content_gives_alone_without_padding(place: Path) -> None:
    encoder = load(place)
    for role in ("query", "item"):
        together = embed_multi(encoder, words(TEXTS), role)
        assert_same(together, [embed_multi(encoder, words([text]), role)[0] for text in TEXTS])
        np.testing.assert_allclose(np.linalg.norm(together.rows, axis=1), 1, atol=1e-6)
        assert_same(embed_multi(encoder, words(TEXTS[::-1]), role), [together[i] for i in range(len(TEXTS))][::-1])


def test_an_instruction_stands_behind_the_mark_of_the_role(place: Path) -> None:
    found = load(place).encode(words(TEXTS, "find the photo of"), "query")
    expected = own(place).encode_query(TEXTS, prompt="query find the photo of ", convert_to_numpy=True)
    assert_same(found, expected)


def test_pooling_merges_the_rows_of_items_alone(place: Path) -> None:
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    encoder, pooled = load(place), load(place, "pool=2")
    assert_same(pooled.encode(words(TEXTS), "query"), list(bags(encoder.encode(words(TEXTS), "query"))))
    items = pooled.encode(words(TEXTS), "item")
    pooling = HierarchicalTokenPooling(2.0, num_protected_tokens=1)
    assert_same(items, own(place).encode_document(TEXTS, token_pooling=pooling, convert_to_numpy=True))
    whole = np.diff(encoder.encode(words(TEXTS), "item").offsets)
    assert np.diff(items.offsets).tolist() == [1 + max(1, (n - 1) // 2) for n in whole]
    with pytest.raises(EncoderUnavailable, match="pool=half"):
        load(place, "pool=half")
    with pytest.raises(EncoderUnavailable, match="shortens single vectors"):
        load(place, "dim=8")


def bags(vectors: Vectors) -> list[Array]:
    return [vectors[i] for i in range(len(vectors))]


def test_pages_are_read_as_pictures_of_any_size(pages: Path) -> None:
    encoder, model = load(pages), own(pages)
    assert encoder.card.multi and encoder.card.reads == {"text", "image"} and not encoder.card.joint
    items = encoder.encode(pictures(), "item")
    given = [{"image": c.image.convert("RGB")} for c in pictures() if c.image is not None]
    assert_same(items, model.encode_document(given, convert_to_numpy=True))
    assert_same(items, [encoder.encode([content], "item")[0] for content in pictures()])
    assert np.abs(items[0][-1] - items[1][-1]).max() > 1e-3
    queries = encoder.encode(words(TEXTS), "query")
    assert_same(queries, model.encode_query([{"text": t} for t in TEXTS], convert_to_numpy=True))
    assert_same(queries, [encoder.encode(words([text]), "query")[0] for text in TEXTS])
    # the rows are unit already: one of padding would be zero
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([queries.rows, items.rows]), axis=1), 1, atol=1e-5)


def test_every_row_of_a_picture_may_be_pooled(pages: Path) -> None:
    whole, pooled = (e.encode(pictures(), "item") for e in (load(pages), load(pages, "pool=4")))
    assert np.diff(pooled.offsets).tolist() == [n // 4 for n in np.diff(whole.offsets)]


def test_a_model_that_keeps_picture_tokens_alone_says_so_of_a_text(place: Path, tmp_path: Path) -> None:
    model = own(place)
    model[2].keep_only_token_ids = [4]
    kept = tiny.saved(model, tmp_path)
    encoder = load(kept)
    assert len(encoder.encode(words(TEXTS), "query")) == len(TEXTS)
    with pytest.raises(BadVectors, match=r"content 0 \(text\) as item"):
        encoder.encode(words(TEXTS), "item")


def test_random_weights_of_both_kinds(place: Path, pages: Path) -> None:
    for folder in (place, pages):
        made = load(folder, "weights=random")
        assert made.card.multi and made.card.revision.startswith("random")
        rows = embed_multi(made, words(TEXTS), "query").rows
        assert np.abs(rows - embed_multi(load(folder), words(TEXTS), "query").rows).max() > 0.01
