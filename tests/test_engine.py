"""What Engine.rank promises, checked against plain numpy over the library's own matrices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import drawing

from ingest.pipeline import ingest
from ingest.walk import Source, walk
from mmretrieval import catalog
from mmretrieval.bank import null_bank
from mmretrieval.catalog import load
from mmretrieval.embedding import embed
from mmretrieval.engine import Engine
from mmretrieval.errors import BadQuery, BadRecipe, UnknownName
from mmretrieval.filters import Condition, parse_filter
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.search import CORRECTIONS
from mmretrieval.transforms import TRANSFORMS
from mmretrieval.types import Content, Part, Query, Transform

ROOT = Path(__file__).parents[1]
SAID = ["a red fox", "two red foxes", "a blue whale", "the tall lighthouse", "an old bridge", "fox and whale"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Ten pictures, the first six with captions, and two passages; with the hashing encoder."""
    folder = tmp_path_factory.mktemp("files")
    for seed in range(10):
        drawing(seed).save(folder / f"{seed}.png")
    for seed, caption in enumerate(SAID):
        (folder / f"{seed}.json").write_text(f'{{"caption": "{caption}", "number": {seed}}}')
    (folder / "a.txt").write_text("The fox is red.")
    (folder / "b.txt").write_text("The whale is blue, and the sea is too.")
    library = Library.create(tmp_path_factory.mktemp("library") / "l", ["hashing"])
    counts = ingest(library, walk([folder]), workers=1)
    assert (counts.stored, counts.failed) == (12, 0)
    return library


@pytest.fixture(scope="module")
def engine(library: Library) -> Engine:
    return Engine(library, exact=True)


def words(text: str, **more: object) -> Query:
    return Query((Part(Content(text=text)),), **more)  # type: ignore[arg-type]


def vector(content: Content) -> np.ndarray:
    return embed(load("hashing"), [content], "query")[0].astype(np.float64)


def ids(engine: Engine, query: Query, recipe: str, k: int = 12) -> list[str]:
    return [hit.id for hit in engine.rank([query], recipe, k).rankings[0].hits]


def test_one_view_is_the_dot_product(library: Library, engine: Engine) -> None:
    matrix = library.matrices("hashing")["text"]
    scores = matrix.rows.astype(np.float64) @ vector(Content(text="red fox"))
    hits = engine.rank([words("red fox")], "hashing@text", 12).rankings[0].hits
    assert [h.id for h in hits] == [matrix.ids[i] for i in np.argsort(-scores, kind="stable")]
    assert np.allclose([h.score for h in hits], np.sort(scores)[::-1], atol=1e-6)
    assert [h.rank for h in hits] == list(range(1, len(hits) + 1))
    assert len(hits) == 8


def test_all_views_standardise_by_the_null_bank_and_take_the_best(library: Library, engine: Engine) -> None:
    bank = embed(load("hashing"), [Content(text=t) for t in null_bank()], "query").astype(np.float64)
    asked, best = vector(Content(text="blue whale")), {}
    for matrix in library.matrices("hashing").values():
        rows = matrix.rows.astype(np.float64)
        null = bank @ rows.T
        for ident, z in zip(matrix.ids, (rows @ asked - null.mean()) / null.std(), strict=True):
            best[ident] = max(best.get(ident, -np.inf), z)
    hits = engine.rank([words("blue whale")], "hashing", 12).rankings[0].hits
    assert [h.id for h in hits] == sorted(best, key=lambda i: -best[i])
    assert np.allclose([h.score for h in hits], sorted(best.values(), reverse=True), atol=1e-5)
    assert {m.stage for h in hits for m in h.trail} == {"hashing@visual", "hashing@text", "hashing@all"}


def test_where_best_views_tie_the_other_view_decides(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(6):  # one caption for all: their text vectors are the same
        drawing(seed).save(folder / f"{seed}.png")
        (folder / f"{seed}.txt").write_text("a red fox on a hill")
    with Library.create(tmp_path / "library", ["hashing"]) as same:
        ingest(same, walk([folder]), workers=1)
        hits = Engine(same, exact=True).rank([words("a red fox on a hill")], "hashing").rankings[0].hits
        assert len({h.score for h in hits}) == 1
        visual = [next(m.rank for m in h.trail if m.stage == "hashing@visual") for h in hits]
        assert visual == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("recipe", ["hashing@text", "hashing", "hashing@text+hashing@visual", "hashing,gram:5"])
def test_k_only_cuts(engine: Engine, recipe: str) -> None:
    whole = ids(engine, words("the red whale"), recipe, 12)
    for k in (1, 3, 7):
        assert ids(engine, words("the red whale"), recipe, k) == whole[:k]


def test_many_queries_are_each_alone(engine: Engine) -> None:
    queries = [words("red fox", id="a"), Query((Part(Content(image=drawing(3))),), id="b"), words("bridge", id="c")]
    together = engine.rank(queries, "hashing", 5).rankings
    assert [r.query for r in together] == ["a", "b", "c"]
    assert [engine.rank([q], "hashing", 5).rankings[0] for q in queries] == list(together)


def test_composing_adds_weighted_parts(library: Library, engine: Engine) -> None:
    parts = (Part(Content(image=drawing(4))), Part(Content(text="fox"), weight=-0.5))
    mixed = vector(Content(image=drawing(4))) - 0.5 * vector(Content(text="fox"))
    matrix = library.matrices("hashing")["visual"]
    scores = matrix.rows.astype(np.float64) @ (mixed / np.linalg.norm(mixed))
    hits = engine.rank([Query(parts)], "hashing@visual", 10).rankings[0].hits
    assert np.allclose([h.score for h in hits], np.sort(scores)[::-1], atol=1e-6)


def test_an_item_as_query_finds_itself_nowhere(library: Library, engine: Engine) -> None:
    ident = next(i.id for i in library.items() if i.kind == "image")
    found = ids(engine, Query((Part(item=ident),)), "hashing@visual")
    same = ids(engine, Query((Part(Content(image=drawing(_seed(library, ident)))),)), "hashing@visual")
    assert ident not in found
    assert [i for i in same if i != ident] == found


def _seed(library: Library, ident: str) -> int:
    return int(Path(library.item(ident).paths[0]).stem)


def test_filter_exclude_and_subset(library: Library, engine: Engine) -> None:
    numbered = [i.id for i in library.items() if i.meta.get("number", -1) >= 3]
    found = ids(engine, words("x", filter=parse_filter({"meta.number": {"gte": 3}})), "hashing")
    assert sorted(found) == sorted(numbered)
    assert ids(engine, words("x", filter=Condition("kind", "eq", "video")), "hashing") == []
    assert set(ids(engine, words("x", exclude=frozenset(numbered)), "hashing")) & set(numbered) == set()
    assert ids(engine, words("x", subset=frozenset(numbered[:1])), "hashing") == numbered[:1]


def test_an_item_lacking_a_view_is_never_moved_by_gram(library: Library, engine: Engine) -> None:
    both = {i.id for i in library.items() if set(i.views) == {"visual", "text"}}
    for text in ("red fox", "blue", "bridge over the sea"):
        before, after = ids(engine, words(text), "hashing"), ids(engine, words(text), "hashing,gram")
        assert [(p, i) for p, i in enumerate(before) if i not in both] == [
            (p, i) for p, i in enumerate(after) if i not in both
        ]
        assert {p for p, i in enumerate(after) if i in both} == {p for p, i in enumerate(before) if i in both}


def test_center_takes_the_mean_off_both_sides(library: Library, engine: Engine) -> None:
    matrix = library.matrices("hashing")["visual"]
    rows = matrix.rows.astype(np.float64)
    centred = rows - rows.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    asked = vector(Content(image=drawing(42))) - rows.mean(0)
    scores = centred @ (asked / np.linalg.norm(asked))
    hits = engine.rank([Query((Part(Content(image=drawing(42))),))], "hashing@visual,center", 10).rankings[0].hits
    assert [h.id for h in hits] == [matrix.ids[i] for i in np.argsort(-scores, kind="stable")]
    assert np.allclose([h.score for h in hits], np.sort(scores)[::-1], atol=1e-5)


def test_the_index_ranks_as_the_exact_scan(library: Library, engine: Engine) -> None:
    library.open_indexes()
    try:
        library.sync_indexes()
        through = Engine(library)
        for recipe in (
            "hashing@visual",
            "hashing",
            "hashing@visual+hashing@text,rrf:60",
            "hashing,center",
            "hashing,span",
        ):
            for query in (words("red fox"), words("sea", filter=Condition("kind", "eq", "image"))):
                scanned = engine.rank([query], recipe, 10).rankings[0].hits
                indexed = through.rank([query], recipe, 10).rankings[0].hits
                assert [h.id for h in indexed] == [h.id for h in scanned]
                assert np.allclose([h.score for h in indexed], [h.score for h in scanned], atol=1e-6)
    finally:
        library.close_indexes()


def test_what_cannot_be_answered_says_why(library: Library, engine: Engine) -> None:
    with pytest.raises(BadQuery, match="no parts"):
        engine.rank([Query(())], "hashing")
    with pytest.raises(BadQuery, match="no parts"):
        engine.rank([Query((Part(Content(text="x"), weight=0),))], "hashing")
    with pytest.raises(BadQuery, match="empty part"):
        engine.rank([words(" ")], "hashing")
    with pytest.raises(BadQuery, match="'opposed'.*cancel out"):
        engine.rank([Query((Part(Content(text="x")), Part(Content(text="x"), weight=-1)), id="opposed")], "hashing")
    with pytest.raises(BadQuery, match="depth"):
        engine.rank([words("x")], "hashing", k=5, depth=0)
    with pytest.raises(BadQuery, match="depth"):
        engine.rank([words("x")], "hashing", k=201)
    assert engine.rank([words("x")], "hashing", k=201, depth=300).meta["depth"] == 300
    with pytest.raises(UnknownName, match="add-encoder 'lite'"):
        engine.rank([words("x")], "lite@visual")
    with pytest.raises(UnknownName, match="Did you mean 'hashing'"):
        engine.rank([words("x")], "hashin@visual")
    with pytest.raises(BadRecipe):
        engine.rank([words("x")], "hashing,rrf")
    with pytest.raises(BadQuery, match="no vector"):
        engine.rank([Query((Part(item="0" * 32),))], "hashing")


def test_an_empty_library_finds_nothing(tmp_path: Path) -> None:
    with Library.create(tmp_path / "empty", ["hashing"]) as library:
        for recipe in ("hashing", "hashing@visual", "hashing,center", "hashing,gram"):
            assert Engine(library).rank([words("x")], recipe).rankings[0].hits == ()
        assert library.search("x").hits == ()


def test_a_run_says_what_made_it(library: Library, engine: Engine) -> None:
    run = engine.rank([words("x")], "hashing,center,gram:7", 3)
    assert run.recipe == run.meta["recipe"] == "hashing@all,center,sum,gram:7" == str(parse("hashing,center,gram:7"))
    assert run.meta["depth"] == 200
    (encoder,) = run.meta["encoders"]
    assert encoder["space"] == library.card("hashing").space
    assert encoder["items"] == {"visual": 10, "text": 8}
    assert {"python", "numpy", "torch"} <= set(run.meta["versions"])


def test_five_lines_for_a_notebook(library: Library) -> None:
    opened = Library.open(library.path)
    best = opened.search("two red foxes", recipe="hashing@text", k=1).hits[0]
    assert opened.item(best.id).text == "two red foxes"
    assert opened.search(image=drawing(7), recipe="hashing@visual", k=1).hits[0].score == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("more", "kind", "says"),
    [
        ({"k": 1.5}, BadQuery, r"k = 1\.5 .* whole number"),
        ({"k": "3"}, BadQuery, r"k = '3' .* whole number"),
        ({"k": None}, BadQuery, r"k = None .* whole number"),
        ({"k": 0}, BadQuery, r"k = 0 is outside"),
        ({"recipe": ""}, BadRecipe, "names no encoder"),
        ({"recipe": " "}, BadRecipe, "names no encoder"),
    ],
)
def test_a_search_that_cannot_be_is_refused_in_words(
    library: Library, more: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        library.search("fox", **more)
    assert len(library.search("fox", k=np.int64(3)).hits) == 3


def test_a_depth_is_a_whole_number(engine: Engine) -> None:
    with pytest.raises(BadQuery, match=r"depth = 20\.5 is not a whole number"):
        engine.rank([words("fox")], "hashing", 3, depth=20.5)  # type: ignore[arg-type]


def test_two_centred_spaces_are_each_fitted_once(
    tmp_path: Path, second_encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library.create(tmp_path / "l", ["hashing", second_encoder])
    ingest(library, [Source(f"{n}", data=f"words {n}".encode()) for n in range(5)], workers=1)
    fits = 0
    row = TRANSFORMS["center"]

    def counted(*arguments: object) -> Transform:
        nonlocal fits
        fits += 1
        return row.run(*arguments)

    monkeypatch.setitem(TRANSFORMS, "center", replace(row, run=counted))
    engine = Engine(library, exact=True)
    for _ in range(3):
        assert engine.rank([words("words")], f"hashing+{second_encoder},center").rankings[0].hits
    assert fits == 2
    ingest(library, [Source("more", data=b"other words")], workers=1)
    engine.rank([words("words")], f"hashing+{second_encoder},center")
    assert fits == 4
    assert len(engine.spaces._fits) == 2


def test_one_item_is_enough(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "l", ["hashing"])
    ingest(library, [Source("one", data=b"the only words")], workers=1)
    for recipe in ("hashing", "hashing@text", "hashing,center", "hashing,center,gram", "hashing@text+hashing@all,span"):
        (hit,) = Engine(library).rank([words("words")], recipe).rankings[0].hits
        assert np.isfinite(hit.score)


def test_many_queries_in_one_call(library: Library, engine: Engine) -> None:
    queries = [words(f"fox {n}", id=str(n)) for n in range(600)]
    run = engine.rank(queries, "hashing,gram", 3)
    assert [r.query for r in run.rankings] == [q.id for q in queries]
    assert run.rankings[-1] == engine.rank(queries[-1:], "hashing,gram", 3).rankings[0]
    json.dumps(run.meta)


def test_a_growing_library_keeps_its_null_statistics_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with Library.create(tmp_path / "library", ["hashing"]) as grown:
        page, judge = Engine(grown), Engine(grown, exact=True)
        for seed in range(4):
            drawing(seed).save(folder / f"{seed}.png")
        ingest(grown, walk([folder]), workers=1)
        first = [engine.rank([words("x")], "hashing").rankings[0].hits[0].score for engine in (page, judge)]
        assert first[0] == pytest.approx(first[1], abs=1e-6)
        monkeypatch.setattr("mmretrieval.spaces.DRIFT", 0.3)
        drawing(4).save(folder / "4.png")
        ingest(grown, walk([folder]), workers=1)
        page.rank([words("x")], "hashing")
        assert next(iter(page.spaces._nulls.values())).count == 4
        judge.rank([words("x")], "hashing")
        assert next(iter(judge.spaces._nulls.values())).count == 5
        drawing(5).save(folder / "5.png")
        ingest(grown, walk([folder]), workers=1)
        page.rank([words("x")], "hashing")
        assert next(iter(page.spaces._nulls.values())).count == 6


def test_an_encoder_of_another_revision_is_not_answered_with_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("The fox is red.")
    made = Library.create(tmp_path / "l", ["hashing"])
    assert made.search("fox").hits == ()  # nothing is in it: nothing is found
    ingest(made, walk([tmp_path / "a.txt"]), workers=1)
    block = catalog.blocks()["hashing"]
    newer = {**catalog.blocks(), "hashing": replace(block, facts={**block.facts, "version": 99})}
    monkeypatch.setattr(catalog, "blocks", lambda: newer)
    with pytest.raises(BadQuery, match=r"no vectors of hashing as it is now.*ingest add-encoder 'hashing'"):
        made.search("fox")
    ingest(made, (), encoders=("hashing",), workers=1)
    assert len(made.search("fox").hits) == 1


def test_csls_gives_the_order_of_half_nnn_within_one_view_alone(engine: Engine) -> None:
    asked = [words(said) for said in (*SAID, "fox", "whale", "the sea", "a bridge that is tall and red")]

    def orders(recipe: str) -> list[list[str]]:
        return [[hit.id for hit in ranking.hits] for ranking in engine.rank(asked, recipe, 12).rankings]

    for view in ("visual", "text"):
        assert orders(f"hashing@{view},csls:2") == orders(f"hashing@{view},nnn:2:0.5")
    assert orders("hashing@all,csls:2") != orders("hashing@all,nnn:2:0.5")
    assert "within one view the order is that of nnn:k:0.5" in CORRECTIONS["csls"].promise
    assert "within one view the order is that of nnn:k:0.5" in (ROOT / "docs" / "stages.md").read_text()
