"""Spaces under recipes: what transforms are fitted on, rescoring by whole vectors, room in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import whole_encoders
from captioned_pictures import captioned_library, order
from drawings import drawing
from kept_fits import words, words_library

from mmretrieval import catalog
from mmretrieval.bank import Bank
from mmretrieval.catalog import load
from mmretrieval.embedding import embed
from mmretrieval.engine import Engine
from mmretrieval.geometry import unit
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.reference import Reference
from mmretrieval.spaces import Spaces
from mmretrieval.store.exact import ExactStore
from mmretrieval.transforms import TRANSFORMS
from mmretrieval.types import Content, Part, Query


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return captioned_library(tmp_path)


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
    library = captioned_library(tmp_path, "hashing", name)
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
