"""Raw vectors and feedback as parts of queries; reranking row by row with an encoder of the same library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import token_encoder
from composed_library import SAID, item, liked, make, picture, query, row, rows_of, unit, words
from PIL import Image

from ingest.pipeline import ingest
from ingest.walk import Source, walk
from mmretrieval import catalog
from mmretrieval.embedding import embed_multi
from mmretrieval.engine import Engine
from mmretrieval.errors import BadQuery, BadRecipe, UnknownName
from mmretrieval.library import Library
from mmretrieval.posed import Posed
from mmretrieval.types import Array, Content, Hit, Part, Query


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with make(tmp_path_factory.mktemp("parts")) as made:
        yield made


@pytest.fixture(scope="module")
def engine(library: Library) -> Engine:
    return Engine(library, exact=True)


def hits(engine: Engine, given: Query, recipe: str, k: int = 14) -> tuple[Hit, ...]:
    return engine.rank([given], recipe, k).rankings[0].hits


# --- raw vectors ---------------------------------------------------------------------------------------------------


def test_a_raw_vector_of_any_length_is_a_direction(library: Library, engine: Engine) -> None:
    vector = (7 * row(library, picture(40))).astype(np.float32)
    ids, rows = rows_of(library, "visual")
    mixed = rows @ unit(row(library, picture(40)) - 0.5 * row(library, words("sea")))
    for part in (Part(vector=vector), Part(vector=vector.astype(np.float64), modality="image")):  # type: ignore[arg-type]
        found = hits(engine, query(part, words("sea", -0.5)), "hashing@visual")
        assert [h.id for h in found] == [ids[i] for i in np.argsort(-mixed, kind="stable")]
        np.testing.assert_allclose([h.score for h in found], np.sort(mixed)[::-1], atol=1e-6)


def test_a_raw_vector_is_what_its_modality_says(engine: Engine, library: Library) -> None:
    """`center` takes the mean of pictures off one, and that of words off the other."""
    vector = row(library, picture(40)).astype(np.float32)
    whole = hits(engine, query(picture(40)), "hashing@visual,center")
    seen = hits(engine, query(Part(vector=vector, modality="image")), "hashing@visual,center")
    said = hits(engine, query(Part(vector=vector)), "hashing@visual,center")
    assert [h.score for h in seen] == pytest.approx([h.score for h in whole], abs=1e-6)
    assert [h.score for h in said] != pytest.approx([h.score for h in whole], abs=1e-3)


@pytest.mark.parametrize(
    ("vector", "says"),
    [
        (np.ones(7), r"query 'v'.*shape \(7,\) is no row of hashing, whose rows have \d+ numbers"),
        (np.ones((1, 512)), r"query 'v'.*shape \(1, 512\)"),
        (np.full(512, np.nan), "query 'v'.*finite"),
        (np.zeros(512), "query 'v'.*not only zeros"),
    ],
)
def test_a_vector_that_is_no_row_is_refused(engine: Engine, library: Library, vector: Array, says: str) -> None:
    dim = library.card("hashing").dim
    given = np.resize(vector, (1, dim)) if vector.ndim == 2 else vector[:dim]
    with pytest.raises(BadQuery, match=says.replace("512", str(dim))):
        engine.rank([query(words("fine")), query(Part(vector=given.astype(np.float32)), id="v")], "hashing")


def test_a_part_is_one_thing(engine: Engine, library: Library) -> None:
    ones = np.ones(library.card("hashing").dim, dtype=np.float32)
    for part in (Part(), Part(Content(text="x"), vector=ones), Part(item=item(library, "1.png"), vector=ones)):
        with pytest.raises(BadQuery, match="one of them"):
            engine.rank([query(part)], "hashing")
    with pytest.raises(BadQuery, match="only items are liked or disliked"):
        engine.rank([query(words("x"), Part(vector=ones, feedback=True))], "hashing")


def test_a_vector_belongs_to_one_space(tmp_path: Path, second_encoder: str) -> None:
    library = Library.create(tmp_path / "l", ["hashing", second_encoder])
    ingest(library, [Source(f"{n}", data=f"words {n}".encode()) for n in range(5)], workers=1)
    given = query(words("words"), Part(vector=np.ones(32, dtype=np.float32)))
    engine = Engine(library, exact=True)
    assert len(hits(engine, given, f"{second_encoder}@text")) == 5
    with pytest.raises(BadQuery, match=r"shape \(32,\) is no row of hashing"):
        engine.rank([given], f"{second_encoder}@text+hashing@text")


def test_an_item_that_was_liked_is_no_answer(engine: Engine, library: Library) -> None:
    good, bad = item(library, "7.png"), item(library, "9.png")
    found = {h.id for h in hits(engine, query(words("fox"), liked(good), liked(bad, -1)), "hashing,rocchio")}
    assert len(found) == 12 and not {good, bad} & found


def test_a_query_is_read_once_for_all_views_of_an_encoder(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    posed = engine.posed

    def counted(spec: str, *arguments: Any) -> Posed:
        asked.append(spec)
        return posed(spec, *arguments)

    monkeypatch.setattr(engine, "posed", counted)
    engine.rank([query(words("fox"))], "hashing@visual+hashing@text+bm25")
    assert asked == ["hashing", "bm25"]


# --- row by row ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Pictures of one colour, some in two halves, with captions; with `hashing` and an encoder of several rows."""
    root = tmp_path_factory.mktemp("two")
    with token_encoder.registered(root):
        folder = root / "in"
        folder.mkdir()
        for name, colour in token_encoder.COLOURS.items():
            Image.new("RGB", (64, 64), colour).save(folder / f"{name}.png")
            (folder / f"{name}.txt").write_text(f"a {name} square")
        half = Image.new("RGB", (64, 64), token_encoder.COLOURS["red"])
        half.paste(token_encoder.COLOURS["blue"], (0, 0, 32, 64))
        half.save(folder / "half.png")
        (folder / "note.md").write_text("red and blue, said nowhere else")
        with Library.create(root / "l", ["hashing", token_encoder.NAME]) as made:
            ingest(made, walk([folder]), workers=1)
            yield made


def by_hand(two: Library, given: Query, view: str) -> dict[str, float]:
    """By item that has the view: each row of a part finds its best row there; means of parts, by weight."""
    encoder, whole = catalog.load(token_encoder.NAME), sum(abs(p.weight) for p in given.parts)
    total: dict[str, float] = {}
    for part in given.parts:
        assert part.content is not None
        own = embed_multi(encoder, [part.content], "query")[0].astype(np.float64)
        held = two.bags(token_encoder.NAME)[view]  # type: ignore[index]
        for ident, bag in zip(held.ids, held.vectors, strict=True):
            best = (own @ bag.astype(np.float64).T).max(axis=1)
            total[ident] = total.get(ident, 0.0) + part.weight / whole * float(best.mean())
    return total


@pytest.mark.parametrize("first", ["hashing@visual", "hashing@text", "bm25@text"])
def test_what_anything_found_is_ordered_row_by_row(two: Library, first: str) -> None:
    engine, given = Engine(two, exact=True), query(words("red square"), words("blue", 0.4))
    recipe = f"{first},maxsim:{token_encoder.NAME}"
    listed, run = [h.id for h in hits(engine, given, first)], engine.rank([given], recipe, 14)
    found = run.rankings[0].hits
    right = by_hand(two, given, first.partition("@")[2])
    assert {h.id: h.score for h in found} == pytest.approx({i: right[i] for i in listed}, abs=1e-6)
    assert [h.id for h in found] == sorted(listed, key=lambda i: -right[i]) != listed
    assert run.meta["rerankers"][0]["spec"] == token_encoder.NAME


def test_only_the_first_are_put_in_order(two: Library) -> None:
    engine, given = Engine(two, exact=True), query(words("red blue"))
    plain = [h.id for h in hits(engine, given, "hashing@visual")]
    found = [h.id for h in hits(engine, given, f"hashing@visual,maxsim:{token_encoder.NAME}:4")]
    assert set(found[:4]) == set(plain[:4]) and found[4:] == plain[4:]


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("hashing@visual,maxsim:hashing", "gives one vector for each item: name a late-interaction encoder"),
        ("hashing,maxsim:word-cells", "name it, as in hashing@visual"),
        ("bm25,maxsim:word-cells", "name it, as in bm25@text"),
        ("word-cells@visual,slerp", "slerp:0.8 mixes one vector for each part"),
        ("word-cells@visual,late", "late:60 mixes one vector"),
        ("word-cells@visual,center", "center changes one vector"),
        ("word-cells@visual,mmr", "mmr:0.5:100 needs one vector"),
        ("word-cells@visual,cutoff", "needs an encoder that gives one vector"),
        ("bm25@text+word-cells@visual,cutoff", "needs an encoder that gives one vector"),
    ],
)
def test_what_rows_cannot_do_is_refused(two: Library, recipe: str, says: str) -> None:
    with pytest.raises(BadRecipe, match=says):
        Engine(two, exact=True).rank([query(words("red"))], recipe)


def test_a_raw_vector_is_no_bag_of_rows(two: Library) -> None:
    ones = Part(vector=np.ones(two.card("hashing").dim, dtype=np.float32))
    for recipe in (f"{token_encoder.NAME}@visual", f"hashing@visual,maxsim:{token_encoder.NAME}"):
        with pytest.raises(BadQuery, match="a raw vector is one row, and word-cells asks with several"):
            Engine(two, exact=True).rank([query(words("red"), ones)], recipe)


def test_an_encoder_that_the_library_lacks_cannot_rerank(library: Library, engine: Engine) -> None:
    with pytest.raises(UnknownName, match="add-encoder"):
        engine.rank([query(words(SAID[0]))], "hashing@visual,maxsim:lateon")
