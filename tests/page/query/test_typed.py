"""Filters from elsewhere, as somebody could have typed them or as the items that pass: the same items either way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from mmretrieval.conditions import restriction
from mmretrieval.filters import AllOf, facts, matches, parse_filter
from page.query.asking import Asked, query
from page.query.typed import NOTHING, as_typed, filtered
from page.state import Page

WRITTEN: list[tuple[Mapping[str, Any], tuple[tuple[str, ...], str]]] = [
    ({"kind": "image"}, ((), "kind = image")),
    ({"kind": ["image", "video"]}, (("image", "video"), "")),
    ({"kind": ["image"], "meta.subject": "food"}, (("image",), "subject = food")),
    ({"meta.year": {"gte": 2000, "lt": 2010}}, ((), "year >= 2000.0, year < 2010.0")),
    ({"meta.taken": {"gte": "2020-05"}}, ((), "taken >= 2020-05")),
    ({"meta.title": "a, b"}, ((), 'title = "a, b"')),
    ({"meta.title": 'one, "two"'}, ((), "title = 'one, \"two\"'")),
    ({"meta.year": "2005"}, ((), 'year = "2005"')),
    ({"path": {"glob": "cats/*.jpg"}}, ((), "path ~ cats/*.jpg")),
    ({"meta.tag": "blue"}, ((), "meta.tag = blue")),
    ({"meta.kind": "tame"}, ((), "meta.kind = tame")),
    ({"not": {"meta.subject": "food"}}, ((), "subject != food")),
    ({"all": []}, ((), "")),
]
# What no conditions say: they have no “or”, and a number that is typed is looked for as text too.
BEYOND: list[Mapping[str, Any]] = [
    {"any": [{"meta.subject": "food"}, {"kind": "text"}]},
    {"meta.year": 2005},
    {"meta.year": {"exists": True}},
    {"meta.subject": ["food", "animals"]},
    {"not": {"all": [{"kind": "image"}, {"meta.year": {"exists": False}}]}},
    {"meta.title": "both \", and '"},
    {"path": "cats"},
    {"meta.year": {"gte": 10**400}},
]


@pytest.mark.parametrize(("written", "typed"), WRITTEN)
def test_what_can_be_typed_is(written: Mapping[str, Any], typed: tuple[tuple[str, ...], str]) -> None:
    wanted = parse_filter(written)
    assert wanted is not None and as_typed(wanted) == typed
    assert restriction(*typed) == (None if wanted == AllOf(()) else wanted)


@pytest.mark.parametrize(
    "typed", ["year >= 2000", "year = 2005, subject != food", "tag = a, taken < 2021-03", "a ~ b*"]
)
def test_what_was_typed_comes_back_as_it_means(typed: str) -> None:
    wanted = restriction(("image", "text"), typed)
    assert wanted is not None and (found := as_typed(wanted)) is not None
    assert restriction(*found) == wanted and found[0] == ("image", "text")


@pytest.mark.parametrize("written", BEYOND)
def test_what_cannot_be_typed_is_not(written: Mapping[str, Any]) -> None:
    wanted = parse_filter(written)
    assert wanted is not None and as_typed(wanted) is None


@pytest.mark.parametrize("written", [*(one for one, _ in WRITTEN), *BEYOND[:-1]])
def test_either_way_the_same_items_pass(page: Page, written: Mapping[str, Any]) -> None:
    wanted = parse_filter(written)
    assert wanted is not None
    asked = query(page, filtered(page.library, Asked.of("red", kinds=("video",)), wanted))
    passing = {item.id for item in page.library.items() if matches(wanted, facts(item))}
    run = page.engine.rank([asked], "hashing@all", 50)
    assert {hit.id for hit in run.rankings[0].hits} == passing


def test_no_filter_is_none_and_one_that_nothing_passes_finds_nothing(page: Page) -> None:
    assert filtered(page.library, Asked.of("red", conditions="year > 3"), None) == Asked.of("red")
    nothing = filtered(page.library, Asked.of("red"), parse_filter({"meta.year": 1066}))
    assert nothing == Asked.of("red", conditions=NOTHING)
    assert not page.engine.rank([query(page, nothing)], "hashing@all", 50).rankings[0].hits
