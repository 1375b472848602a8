"""Recipes with a correction of scores: the formula by hand, all of them, and what must open no gate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from captioned_pictures import captioned_library
from kept_fits import words, words_library

from mmretrieval.bank import nulls
from mmretrieval.catalog import load
from mmretrieval.embedding import embed
from mmretrieval.engine import Engine
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.search import CORRECTIONS
from mmretrieval.search.correct import QueryBank
from mmretrieval.store.corrected import CorrectedStore, dots
from mmretrieval.types import Content, Selection


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return captioned_library(tmp_path)


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


def test_a_correction_with_more_neighbours_than_there_are_says_so(library: Library) -> None:
    engine = Engine(library, exact=True)
    of = len(nulls().queries)
    few, many = (engine.rank([words("red fox")], f"hashing,nnn:{k}", 12) for k in (of, of + 1))
    assert "remarks" not in few.meta
    remark = f"nnn:{of + 1}:0.75: an item's mean is over all {of} reference queries, as there are no {of + 1}"
    assert many.meta["remarks"] == [remark]
    assert [h.id for h in few.rankings[0].hits] == [h.id for h in many.rankings[0].hits]


def test_every_correction_runs_on_one_view_and_on_all(library: Library) -> None:
    engine = Engine(library, exact=True)
    for name in CORRECTIONS:
        for recipe in (f"hashing@visual,{name}", f"hashing,center,{name},gram"):
            run = engine.rank([words("red fox"), words("blue whale", id="r")], recipe, 12)
            assert all(len(r.hits) == 12 and np.isfinite([h.score for h in r.hits]).all() for r in run.rankings)
            assert run.meta.get("transductive", False) == parse(recipe).transductive


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
