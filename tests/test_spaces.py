"""Spaces under recipes: what is fitted on what, what is kept on disk, corrected scans, indexes of transformed items."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import whole_encoders
from drawings import drawing
from kept_fits import words_library

from ingest.pipeline import ingest
from ingest.walk import Source, walk
from mmretrieval import catalog, saved
from mmretrieval.bank import Bank, nulls
from mmretrieval.catalog import load
from mmretrieval.embedding import embed
from mmretrieval.engine import Engine
from mmretrieval.errors import BadRecipe
from mmretrieval.filters import parse_filter
from mmretrieval.geometry import Numbers, unit
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.reference import Reference
from mmretrieval.search import CORRECTIONS
from mmretrieval.search.correct import QueryBank
from mmretrieval.spaces import Space, Spaces
from mmretrieval.stages import StageRow
from mmretrieval.store.corrected import CorrectedStore, dots
from mmretrieval.store.exact import ExactStore, Matrix
from mmretrieval.transforms import TRANSFORMS
from mmretrieval.transforms.center import Centred
from mmretrieval.types import Array, Content, Part, Query, Selection, View

SAID = ["a red fox", "two red foxes", "a blue whale", "the tall lighthouse", "an old bridge", "fox and whale"]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Twelve pictures with captions, the hashing encoder."""
    folder = tmp_path / "files"
    folder.mkdir()
    for seed in range(12):
        drawing(seed).save(folder / f"{seed}.png")
        (folder / f"{seed}.json").write_text(json.dumps({"caption": f"{SAID[seed % 6]} {seed}", "number": seed}))
    made = Library.create(tmp_path / "l", ["hashing"])
    assert ingest(made, walk([folder]), workers=1).failed == 0
    return made


def words(text: str, **more: object) -> Query:
    return Query((Part(Content(text=text)),), **more)  # type: ignore[arg-type]


def order(engine: Engine, recipe: str, text: str = "red fox", **more: object) -> list[str]:
    return [hit.id for hit in engine.rank([words(text, **more)], recipe, 12).rankings[0].hits]


@dataclass(frozen=True, eq=False)
class Counted:
    """A correction that takes each item's place in the order of ids off its score: 0, 1, 2 ..."""

    weight: float
    transductive: bool = False
    item_bytes: float = 4.0

    def scores(self, view: View, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        shift = scores.sum(axis=0) if self.transductive else np.arange(scores.shape[1], dtype=np.float64)
        return scores - self.weight * shift


# --- scans that are corrected --------------------------------------------------------------------------------------


def units(count: int, seed: int, dim: int = 6) -> Array:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def test_a_corrected_scan_orders_by_the_corrected_scores_of_all_items() -> None:
    rows = units(40, 0)
    ids = tuple(f"{i:02d}" for i in range(40))
    store = CorrectedStore({"visual": Matrix(ids, rows)}, lambda _: frozenset(ids[::2]), Counted(0.1))
    asked = units(3, 1)
    expected = asked.astype(np.float64) @ rows.T.astype(np.float64) - 0.1 * np.arange(40)
    plain, filtered, without = store.search(
        "visual",
        asked,
        5,
        [Selection(), Selection(filter=parse_filter({"kind": "image"})), Selection(exclude=frozenset([ids[0]]))],
    )
    assert plain.ids == tuple(ids[i] for i in np.argsort(-expected[0])[:5])
    np.testing.assert_allclose(plain.scores, np.sort(expected[0])[::-1][:5], atol=1e-12)
    assert filtered.ids == tuple(i for i in (ids[j] for j in np.argsort(-expected[1])) if i in ids[::2])[:5]
    assert without.ids == tuple(i for i in (ids[j] for j in np.argsort(-expected[2])) if i != ids[0])[:5]
    assert store.search("text", asked[:1], 5, [Selection()])[0].ids == ()


def test_equal_rows_tie_exactly_and_a_query_does_not_notice_the_others() -> None:
    rows = np.repeat(units(5, 2, 640), 9, axis=0)
    store = CorrectedStore(
        {"visual": Matrix(tuple(f"{i:02d}" for i in range(45)), rows)}, lambda _: frozenset(), Counted(0.0)
    )
    asked = units(30, 3, 640)
    together = store.search("visual", asked, 45, [Selection()] * 30)
    for query, found in zip(asked, together, strict=True):
        (alone,) = store.search("visual", query[None], 45, [Selection()])
        assert alone.ids == found.ids
        np.testing.assert_array_equal(alone.scores, found.scores)
        assert len(set(found.scores.tolist())) == 5
        for start in range(0, 45, 9):
            assert list(found.ids[start : start + 9]) == sorted(found.ids[start : start + 9])


def test_a_transductive_correction_sees_all_queries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmretrieval.store.corrected.SCORES_AT_ONCE", 1)
    rows, asked = units(10, 4), units(7, 5)
    ids = tuple(map(str, range(10)))
    store = CorrectedStore({"visual": Matrix(ids, rows)}, lambda _: frozenset(), Counted(1.0, transductive=True))
    scores = dots(asked, rows)
    expected = scores - scores.sum(axis=0)
    for found, row in zip(store.search("visual", asked, 10, [Selection()] * 7), expected, strict=True):
        assert found.ids == tuple(ids[i] for i in np.argsort(-row, kind="stable"))


def test_a_recipe_with_a_correction_is_the_formula(library: Library) -> None:
    """nnn by hand: the bank's mean of the best k off each item's score."""
    engine = Engine(library, exact=True)
    matrix = library.matrices("hashing")["text"]
    rows = matrix.rows.astype(np.float64)
    bank = embed(load("hashing"), [q.parts[0].content for q in nulls().queries], "query").astype(np.float64)  # type: ignore[misc]
    bias = np.sort(bank @ rows.T, axis=0)[::-1][:7].mean(axis=0)
    asked = embed(load("hashing"), [Content(text="red fox")], "query")[0].astype(np.float64)
    expected = rows @ asked - 0.5 * bias
    run = engine.rank([words("red fox")], "hashing@text,nnn:7:0.5", 12)
    hits = run.rankings[0].hits
    np.testing.assert_allclose([h.score for h in hits], np.sort(expected)[::-1], atol=1e-6)
    assert hits[0].trail[0].stage == "hashing@text,nnn:7:0.5"
    assert run.meta["bank"] == {"name": "generic captions", "queries": len(nulls().queries), "digest": nulls().digest}
    assert "transductive" not in run.meta


def test_every_correction_runs_on_one_view_and_on_all(library: Library) -> None:
    engine = Engine(library, exact=True)
    for name in CORRECTIONS:
        for recipe in (f"hashing@visual,{name}", f"hashing,center,{name},gram"):
            run = engine.rank([words("red fox"), words("blue whale", id="r")], recipe, 12)
            assert all(len(r.hits) == 12 and np.isfinite([h.score for h in r.hits]).all() for r in run.rankings)
            assert run.meta.get("transductive", False) == parse(recipe).transductive


# --- banks ---------------------------------------------------------------------------------------------------------


def test_a_bank_of_ones_own_is_what_is_fitted_on(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Reference] = []
    row = TRANSFORMS["center"]
    monkeypatch.setitem(TRANSFORMS, "center", replace(row, run=lambda r, *a: (seen.append(r), row.run(r, *a))[1]))
    queries = (words("a heron"), Query((Part(Content(text="a gate")), Part(Content(image=drawing(90)), weight=-0.5))))
    engine = Engine(library, exact=True, bank=Bank("mine", queries))
    order(engine, "hashing@visual,center")
    (reference,) = seen
    assert [len(rows) for rows in (reference.parts["text"], reference.parts["image"], reference.queries)] == [2, 1, 2]
    np.testing.assert_allclose(np.linalg.norm(reference.queries, axis=1), 1, atol=1e-6)
    text, image = reference.parts["text"][1].astype(np.float64), reference.parts["image"][0].astype(np.float64)
    np.testing.assert_allclose(reference.queries[1], unit(text - 0.5 * image), atol=1e-6)


def test_a_bank_is_told_apart_by_all_that_it_holds() -> None:
    banks = [
        Bank("a", (words("x"),)),
        Bank("a", (words("y"),)),
        Bank("a", (words("x"), words("x"))),
        Bank("a", (Query((Part(Content(text="x"), weight=2.0),)),)),
        Bank("a", (Query((Part(Content(image=drawing(1))),)),)),
        Bank("a", (Query((Part(Content(image=drawing(2))),)),)),
    ]
    assert len({bank.digest for bank in banks}) == len(banks)
    assert Bank("another name", (words("x"),)).digest == banks[0].digest


def test_what_is_fitted_later_sees_what_earlier_transforms_made(library: Library) -> None:
    spaces = Spaces(library, exact=True)
    space = spaces.get("hashing", parse("hashing@visual,center,mrl:16"))
    reference = space.reference
    assert reference is not None
    assert reference.items["visual"].rows.shape[1] == reference.queries.shape[1] == 16
    first = spaces.get("hashing", parse("hashing@visual,center")).store
    assert isinstance(first, ExactStore)
    np.testing.assert_allclose(reference.items["visual"].rows, unit(first.matrices["visual"].rows[:, :16]), atol=1e-6)


# --- what is kept on disk ------------------------------------------------------------------------------------------


def test_a_fit_is_kept_and_taken_up_again_until_the_library_changes(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = 0
    row = TRANSFORMS["center"]

    def counted(*arguments: object) -> object:
        nonlocal fits
        fits += 1
        return row.run(*arguments)

    monkeypatch.setitem(TRANSFORMS, "center", StageRow(counted, row.promise))  # type: ignore[arg-type]
    first = order(Engine(library, exact=True), "hashing@visual,center")
    assert order(Engine(library, exact=True), "hashing@visual,center") == first
    assert fits == 1
    (kept,) = (library.path / "transforms").iterdir()
    about = json.loads((kept / "value.json").read_text())["about"]
    assert about["stage"] == "center"
    assert about["bank"] == {"name": "generic captions", "digest": nulls().digest, "queries": len(nulls().queries)}
    assert about["items"] == {"visual": 12, "text": 12}
    ingest(library, [Source("more", data=b"other words")], workers=1)
    order(Engine(library, exact=True), "hashing@visual,center")
    assert fits == 2
    assert len(list((library.path / "transforms").iterdir())) == 1


def test_a_spoilt_file_or_a_folder_that_cannot_be_written_is_no_loss(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = order(Engine(library, exact=True), "hashing@visual,center")
    (kept,) = (library.path / "transforms").iterdir()
    whole = (kept / "arrays.npz").read_bytes()
    turned = bytes([*whole[:150], whole[150] ^ 255, *whole[151:]])
    for spoilt in (b"nothing", b"", whole[:200], turned):
        (kept / "arrays.npz").write_bytes(spoilt)
        assert saved.restore(kept) is None
        assert order(Engine(library, exact=True), "hashing@visual,center") == first
        assert saved.restore(kept) is not None, "a spoilt fit is replaced by the next one"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmretrieval.saved.save", full)
    assert order(Engine(library, exact=True), "hashing@visual,center") == first


def test_a_page_keeps_transforms_for_a_while_and_leaves_nothing_of_that_on_disk(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few new items do not move a page's mean; what it corrects by then is its own, and drift adds up to a new fit."""
    monkeypatch.setattr("mmretrieval.spaces.DRIFT", 0.1)  # 24 vectors: two more are near, three are not
    recipe = "hashing@text,center,nnn:5"
    page = Spaces(library, exact=False)

    def mean(spaces: Spaces) -> Numbers:
        space = spaces.get("hashing", parse(recipe))
        assert isinstance(space, Space) and isinstance(made := space.transforms[0], Centred)
        return made.means.views["text"]

    first = mean(page)
    for more in range(2):
        ingest(library, [Source(f"more {more}", data=f"words of their own, {more}".encode())], workers=1)
        np.testing.assert_array_equal(mean(page), first)
    fresh = Engine(library, exact=True).rank([words("red fox")], recipe, 12).rankings[0].hits
    shutil.rmtree(library.path / "transforms")
    anew = Engine(library, exact=True).rank([words("red fox")], recipe, 12).rankings[0].hits
    assert [(h.id, h.score) for h in fresh] == [(h.id, h.score) for h in anew]
    ingest(library, [Source("one more", data=b"and the third")], workers=1)
    assert not np.array_equal(mean(page), first)


@pytest.mark.parametrize("name", [*TRANSFORMS, *CORRECTIONS])
def test_every_fitted_value_comes_back_from_disk_as_it_was(name: str, tmp_path: Path) -> None:
    ids = tuple(f"{i:03d}" for i in range(60))
    items: dict[View, Matrix] = {"visual": Matrix(ids, units(60, 1, 24)), "text": Matrix(ids, units(60, 2, 24))}
    target = Reference({v: Matrix(ids, units(60, 7, 16)) for v in items}, {"text": units(30, 8, 16)}, units(30, 8, 16))
    reference = Reference(items, {"text": units(30, 3, 24)}, units(30, 3, 24), target)
    row = {**TRANSFORMS, **CORRECTIONS}[name]
    made = row.run(reference, *small(name, [p.default for p in row.parameters]))
    saved.save(tmp_path / "kept", made, {"a": 1})
    again = saved.restore(tmp_path / "kept")
    assert type(again) is type(made)
    if name in CORRECTIONS:
        scores = np.random.default_rng(4).normal(size=(5, 60))
        np.testing.assert_array_equal(again.scores("visual", scores), made.scores("visual", scores))
        return
    asked = units(5, 5, 24)
    np.testing.assert_array_equal(again.query("text", asked), made.query("text", asked))
    base = target.items["visual"].rows if name.startswith("align") else items["visual"].rows
    np.testing.assert_array_equal(again.items("visual", base), made.items("visual", base))


def small(name: str, arguments: list[float]) -> list[float]:
    """Arguments that fit sixty items of 24 numbers."""
    return {"pca": [8.0], "mrl": [8.0], "whiten": [8.0]}.get(name, arguments)


def test_a_file_that_names_another_class_is_not_followed(tmp_path: Path) -> None:
    for named in ("os:system", "mmretrieval.library:Library", "mmretrieval.transforms.center:fit"):
        folder = tmp_path / named.replace(":", "-")
        folder.mkdir()
        np.savez(folder / "arrays.npz")
        value = {"class": named, "fields": {}}
        (folder / "value.json").write_text(json.dumps({"about": {}, "value": value}))
        assert saved.restore(folder) is None


# --- indexes of transformed items ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    ["hashing@visual,center", "hashing,center,mrl:32,gram", "hashing@text,center,nnn:5", "hashing,center,nnn:5:2"],
)
def test_an_index_of_transformed_items_gives_the_scan_s_answers(library: Library, recipe: str) -> None:
    scanned = Engine(library, exact=True).rank([words("red fox")], recipe, 12).rankings[0].hits
    assert Spaces(library, exact=False).materialise("hashing", parse(recipe)) == 12
    library.open_indexes()
    page = Engine(library)
    try:
        space = page.spaces.get("hashing", parse(recipe))
        assert not isinstance(space.store, ExactStore)
        found = page.rank([words("red fox")], recipe, 12).rankings[0].hits
        np.testing.assert_allclose([h.score for h in found], [h.score for h in scanned], atol=1e-5)
        assert [h.id for h in found] == [h.id for h in scanned]
        only = parse_filter({"meta.number": {"lt": 4}})
        few = page.rank([words("red fox", filter=only)], recipe, 12).rankings[0].hits
        assert {library.item(h.id).meta["number"] for h in few} == {0, 1, 2, 3}
        ingest(library, [Source("more", data=b"a red fox and more")], workers=1)
        assert isinstance(page.spaces.get("hashing", parse(recipe)).store, ExactStore)
    finally:
        page.spaces.close()
        library.close()


def test_an_index_that_another_process_has_is_scanned_instead(library: Library) -> None:
    recipe = parse("hashing@visual,center")
    Spaces(library, exact=False).materialise("hashing", recipe)
    library.open_indexes()
    first, second = Spaces(library, exact=False), Spaces(library, exact=False)
    assert not isinstance(first.get("hashing", recipe).store, ExactStore)
    assert isinstance(second.get("hashing", recipe).store, ExactStore)
    first.close()
    library.close()


@pytest.mark.parametrize(
    ("recipe", "said"),
    [("hashing@visual", "changes no vector"), ("hashing@visual,center,csls", "csls:10 needs all scores of a query")],
)
def test_what_no_index_can_hold_is_refused(library: Library, recipe: str, said: str) -> None:
    with pytest.raises(BadRecipe, match=said):
        Spaces(library, exact=False).materialise("hashing", parse(recipe))


# --- two stages ----------------------------------------------------------------------------------------------------


def test_rescoring_orders_what_short_vectors_found_by_whole_ones(library: Library) -> None:
    engine = Engine(library, exact=True)
    whole = engine.rank([words("red fox")], "hashing@visual", 12).rankings[0].hits
    twice = engine.rank([words("red fox")], "hashing@visual,pca:6,rescore:12", 12).rankings[0].hits
    assert [(h.id, h.score) for h in twice] == [(h.id, pytest.approx(h.score, abs=1e-6)) for h in whole]
    short = [h.id for h in engine.rank([words("red fox")], "hashing@visual,pca:6", 12).rankings[0].hits]
    three = [h.id for h in engine.rank([words("red fox")], "hashing@visual,pca:6,rescore:3", 12).rankings[0].hits]
    assert three[3:] == short[3:]
    assert three[:3] == [h.id for h in whole if h.id in short[:3]]


def test_transformed_spaces_make_room_for_the_last_that_were_asked(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaces = Spaces(library, exact=True)
    recipes = [parse(f"hashing@visual,gapshift:{share}") for share in (0.1, 0.2, 0.3)]
    first = spaces.get("hashing", recipes[0]).store
    assert isinstance(first, ExactStore)
    monkeypatch.setattr("mmretrieval.spaces.KEPT_BYTES", 2 * sum(m.rows.nbytes for m in first.matrices.values()))
    second = spaces.get("hashing", recipes[1]).store
    assert spaces.get("hashing", recipes[0]).store is first
    spaces.get("hashing", recipes[2])
    assert spaces.get("hashing", recipes[0]).store is first
    assert spaces.get("hashing", recipes[1]).store is not second


def test_a_map_between_encoders_is_fitted_on_the_same_parts_in_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one of them would read a reference query's words and picture together, and the other cannot."""
    table = whole_encoders.blocks()
    monkeypatch.setattr(catalog, "blocks", lambda: table)
    name = whole_encoders.JOINT
    folder = tmp_path / "files"
    folder.mkdir()
    for seed in range(12):
        drawing(seed).save(folder / f"{seed}.png")
        (folder / f"{seed}.json").write_text(json.dumps({"caption": f"{SAID[seed % 6]} {seed}"}))
    library = Library.create(tmp_path / "l", ["hashing", name])
    ingest(library, walk([folder]), workers=1)
    both = Query((Part(Content(text="a gate")), Part(Content(image=drawing(90)))), id="both")
    bank = Bank("mine", (words("a heron"), both, words("a mill")))
    seen: list[Reference] = []
    row = TRANSFORMS["align"]
    monkeypatch.setitem(TRANSFORMS, "align", replace(row, run=lambda r, *a: (seen.append(r), row.run(r, *a))[1]))
    engine = Engine(library, exact=True, bank=bank)
    for first, second in ((name, "hashing"), ("hashing", name)):
        assert order(engine, f"{first}@visual,align:{second}")
        reference = seen.pop()
        assert reference.target is not None
        for side, spec in ((reference, first), (reference.target, second)):
            said = embed(load(spec), [Content(text=t) for t in ("a heron", "a gate", "a mill")], "query")
            np.testing.assert_allclose(side.parts["text"], said, atol=1e-6)
            assert len(side.parts["image"]) == 1


def test_the_null_bank_s_scores_follow_the_space_that_a_transform_leads_to(tmp_path: Path, second_encoder: str) -> None:
    """The target's vectors change and the asking encoder's do not: as when a passage's words are embedded anew."""
    library = words_library(tmp_path / "l", "hashing", second_encoder)
    recipe = parse(f"hashing@text,align:{second_encoder}")
    spaces = Spaces(library, exact=True)

    def null() -> tuple[float, float]:
        return spaces.null(spaces.get("hashing", recipe), "text", recipe)

    before = null()
    space = library.card(second_encoder).space
    gone = library.ledger.items_with(space, "text")[:3]
    with library.ledger.transaction():
        for ident in gone:
            library.ledger.connection.execute("DELETE FROM vectors WHERE space = ? AND item = ?", (space, ident))
            library.ledger.connection.execute("INSERT INTO changes (space, item) VALUES (?, ?)", (space, ident))
    fresh = Spaces(library, exact=True)
    expected = fresh.null(fresh.get("hashing", recipe), "text", recipe)
    assert null() == expected != before


def test_the_null_bank_of_an_index_is_taken_against_the_items_that_are_searched(
    tmp_path: Path, second_encoder: str
) -> None:
    """Those of the space that the transform leads to, where the asking encoder has none of some of them."""
    library = words_library(tmp_path / "l", "hashing", second_encoder)
    recipe = parse(f"hashing@text,align:{second_encoder}")
    space = library.card("hashing").space
    with library.ledger.transaction():
        for ident in library.ledger.items_with(space, "text")[:3]:
            library.ledger.connection.execute("DELETE FROM vectors WHERE space = ? AND item = ?", (space, ident))
            library.ledger.connection.execute("INSERT INTO changes (space, item) VALUES (?, ?)", (space, ident))
    scanned = Spaces(library, exact=True)
    expected = scanned.null(scanned.get("hashing", recipe), "text", recipe)
    Spaces(library, exact=False).materialise("hashing", recipe)
    library.open_indexes()
    page = Spaces(library, exact=False)
    try:
        found = page.get("hashing", recipe)
        assert not isinstance(found.store, ExactStore)
        assert page.null(found, "text", recipe) == pytest.approx(expected, abs=1e-5)
    finally:
        page.close()
        library.close()


def test_what_a_query_may_not_find_opens_no_gate_of_qbnorm(tmp_path: Path) -> None:
    """An item as a query finds itself best, and is left out: whether that is a hub must not decide for the others."""
    library = words_library(tmp_path / "l")
    engine = Engine(library, exact=True)
    ids = library.ledger.ids()
    corrected = engine.spaces.get("hashing", parse("hashing@text,qbnorm")).store
    assert isinstance(corrected, CorrectedStore)
    made = corrected.correction
    assert isinstance(made, QueryBank)
    for place, ident in enumerate(sorted(ids)):
        hub = np.zeros(len(ids), dtype=np.bool_)
        hub[place] = True
        store = CorrectedStore(corrected.matrices, library.select, replace(made, active={"text": hub}))
        own = corrected.matrices["text"].rows[place : place + 1]
        plain = dots(own, corrected.matrices["text"].rows)[0]
        (alone,) = store.search("text", own, 6, [Selection(exclude=frozenset([ident]))])
        rest = [i for i in np.argsort(-plain, kind="stable") if i != place]
        assert alone.ids == tuple(sorted(ids)[i] for i in rest)
        np.testing.assert_array_equal(alone.scores, plain[rest])  # not corrected: no hub is among its answers
        (whole,) = store.search("text", own, 6, [Selection()])
        assert (whole.scores != np.sort(plain)[::-1]).any()
