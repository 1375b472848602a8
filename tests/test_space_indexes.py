"""Indexes of transformed items: the scan's answers, one process at a time, and what no index can hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from captioned_pictures import captioned_library
from kept_fits import words, words_library

from ingest.pipeline import ingest
from ingest.walk import Source
from mmretrieval.engine import Engine
from mmretrieval.errors import BadRecipe
from mmretrieval.filters import parse_filter
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.spaces import Spaces
from mmretrieval.store.exact import ExactStore


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return captioned_library(tmp_path)


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
