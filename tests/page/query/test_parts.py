"""The row of parts, the recipe's chips and the filter form, as functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmretrieval.conditions import restriction
from mmretrieval.errors import BadFilter, BadQuery, BadRecipe
from mmretrieval.filters import matches
from mmretrieval.recipe import parse
from page.query import filtering, parts, staging
from page.query.asking import Asked, AskedPart, query
from page.state import Page
from tests.page.conftest import by_caption, draw

IDENT = "8f14e45f-ceea-467f-a9d5-0c1d5a3b9c11"
ITEM, WORDS = AskedPart("item", IDENT), AskedPart("words", "red")
PICTURE = AskedPart("picture", "/nowhere/cat.png")


@pytest.mark.parametrize(
    ("typed", "part"),
    [
        ("red car", AskedPart("words", "red car")),
        ("  not red car ", AskedPart("words", "red car", -0.5)),
        ("NOT red", AskedPart("words", "red", -0.5)),
        ("-red", AskedPart("words", "red", -0.5)),
        ("− red", AskedPart("words", "red", -0.5)),
        ("nothing", AskedPart("words", "nothing")),
        ("not", AskedPart("words", "not")),
        ("-", AskedPart("words", "-")),
        (" ", None),
    ],
)
def test_typed_words_go_towards_or_away(typed: str, part: AskedPart | None) -> None:
    assert parts.heard(typed) == part


def test_words_that_are_there_already_get_the_new_weight() -> None:
    asked = parts.added(Asked((WORDS, ITEM)), AskedPart("words", "red", -0.5))
    assert asked.parts == (ITEM, AskedPart("words", "red", -0.5))
    assert parts.added(asked, None) is asked
    with pytest.raises(BadQuery, match="at most 64"):
        parts.added(Asked(tuple(AskedPart("words", str(n)) for n in range(64))), WORDS)


@pytest.mark.parametrize(
    ("part", "said", "after"),
    [
        (WORDS, {"do": "remove"}, None),
        (WORDS, {"do": "weight", "weight": -2}, AskedPart("words", "red", -2.0)),
        (WORDS, {"do": "words", "words": "blue"}, AskedPart("words", "blue")),
        (WORDS, {"do": "words", "words": "not blue"}, AskedPart("words", "blue", -0.5)),
        (WORDS, {"do": "words", "words": " "}, None),
        (ITEM, {"do": "mark", "mark": "disliked"}, AskedPart("item", IDENT, -1.0, feedback=True)),
        (AskedPart("item", IDENT, -0.4), {"do": "mark", "mark": "liked"}, AskedPart("item", IDENT, 0.4, feedback=True)),
        (AskedPart("item", IDENT, -0.4, feedback=True), {"do": "mark", "mark": ""}, AskedPart("item", IDENT, 0.4)),
        (ITEM, {"do": "crop", "region": "10, 20.5, 30, 40"}, AskedPart("item", IDENT, 1, "xywh=percent:10,20.5,30,40")),
        (ITEM, {"do": "crop", "region": "90 0 30 100"}, AskedPart("item", IDENT, 1, "xywh=percent:90,0,10,100")),
        (
            AskedPart("item", IDENT, 1, "t=3&xywh=percent:1,1,9,9"),
            {"do": "crop", "region": "0,0,50,50"},
            AskedPart("item", IDENT, 1, "t=3&xywh=percent:0,0,50,50"),
        ),
        (AskedPart("item", IDENT, 1, "t=3&xywh=percent:1,1,9,9"), {"do": "crop"}, AskedPart("item", IDENT, 1, "t=3")),
    ],
)
def test_what_is_done_to_a_part(part: AskedPart, said: dict[str, Any], after: AskedPart | None) -> None:
    other = AskedPart("words", "other")
    found = parts.changed(Asked((other, part, other), kinds=("image",)), said | {"part": 1})
    assert found == Asked((other, *([after] if after else []), other), kinds=("image",))


@pytest.mark.parametrize(
    ("part", "said", "says"),
    [
        (WORDS, {"do": "weight", "weight": 3}, "from -2 to 2"),
        (WORDS, {"do": "weight", "weight": "much"}, "number"),
        (WORDS, {"do": "crop", "region": "0,0,9,9"}, "words have no region"),
        (WORDS, {"do": "mark", "mark": "liked"}, "only whole items"),
        (ITEM, {"do": "mark", "mark": "adored"}, "no mark"),
        (ITEM, {"do": "crop", "region": "0,0,0,0"}, "no size"),
        (ITEM, {"do": "crop", "region": "1.2.3,0,1,1"}, "four numbers"),
        (ITEM, {"do": "crop", "region": "everything"}, "is no region"),
        (PICTURE, {"do": "words", "words": "/etc/passwd"}, "cannot be done"),
        (PICTURE, {"do": "explode"}, "cannot be done"),
        (PICTURE, {"do": "remove", "part": 1}, "not in the query any more"),
        (PICTURE, {"do": "remove", "part": None}, "whole number"),
    ],
)
def test_what_cannot_be_done_to_a_part_is_refused(part: AskedPart, said: Mapping[str, Any], says: str) -> None:
    with pytest.raises(BadQuery, match=says):
        parts.changed(Asked((part,)), {"part": 0, **said})


def test_everywhere_forgets_chosen_items() -> None:
    assert parts.changed(Asked((WORDS,), within=(IDENT,)), {"do": "everywhere"}) == Asked((WORDS,))


def test_a_crop_is_what_is_searched(page: Page, tmp_path: Path) -> None:
    draw(tmp_path / "own.png", (10, 20, 30), side=200)
    whole = AskedPart("picture", str(tmp_path / "own.png"))
    cropped = parts.changed(Asked((whole,)), {"do": "crop", "part": 0, "region": "50, 50, 25, 25"})
    (seen,) = query(page, cropped).parts
    assert seen.content is not None and seen.content.image is not None and seen.content.image.size == (50, 50)


def test_the_row_shows_pictures_and_where_they_are_cropped(page: Page, tmp_path: Path) -> None:
    draw(tmp_path / "own.png", (10, 20, 30), side=200)
    own = AskedPart("picture", str(tmp_path / "own.png"), -0.5, "xywh=percent:10,20,30,40")
    frog = by_caption(page, "green frog")
    row = parts.row(parts.Previews(page), Asked((own, AskedPart("item", frog.id, feedback=True), WORDS)))
    assert str(tmp_path) not in row
    assert row.count("data:image/webp;base64,") == 2 and "left:10%;top:20%;width:30%;height:40%" in row
    assert f"media/thumb/{frog.id}" in row and 'data-mark="" aria-pressed="true"' in row
    assert "away 0.5" in row and row.count('type="range"') == 3 and "data-link" not in row
    assert "that is gone" in parts.row(parts.Previews(page), Asked((ITEM,)))


# --- the recipe's chips ----------------------------------------------------------------------------------------------


def test_chips_can_be_taken_out_where_they_were_put_in() -> None:
    shown = staging.chips("lite@visual,center,mmr:0.5:100")
    assert re.findall(r'data-out="(\d)"', shown) == ["0", "2"]  # sum is there in any case
    chosen = parse("lite@visual,center,mmr:0.5:100")
    assert str(staging.without(chosen, 0)) == "lite@visual,sum,mmr:0.5:100"
    assert staging.chips("nonsense@@") == "" == staging.chips(None)
    with pytest.raises(BadRecipe, match="not in the recipe any more"):
        staging.without(chosen, 9)


def test_the_menu_has_what_this_library_can_use(page: Page) -> None:
    shown = staging.menu(page)
    assert 'data-for="mmr"' in shown and 'data-for="rocchio"' in shown and 'data-for="cutoff"' in shown
    assert 'data-for="maxsim"' not in shown and 'data-for="align"' not in shown  # one encoder, of single vectors
    for name in re.findall(r'data-for="([^"]+)"', shown):
        assert f'<option value="{name}">' in shown


# --- the filter form -------------------------------------------------------------------------------------------------


def form(**given: str) -> filtering.Form:
    return filtering.Form(*[""] * len(filtering.Form._fields))._replace(**given)


@pytest.mark.parametrize(
    ("given", "payload", "passes"),
    [
        ({"tag": "a, b"}, {"meta": {"tags": ["a, b"]}}, True),
        ({"tag": 'the "x"'}, {"meta": {"tags": ['the "x"']}}, True),
        ({"page": "2"}, {"page": 2}, True),
        ({"page": "2"}, {"page": 3}, False),
        ({"shortest": "2.5", "longest": "8"}, {"duration": 5.0}, True),
        ({"shortest": "2.5", "longest": "4"}, {"duration": 5.0}, False),
        ({"dated": "taken", "since": "2020", "until": "2021-05"}, {"meta": {"taken": "2020-12-24"}}, True),
        ({"dated": "taken", "since": "2020", "until": "2021-05"}, {"meta": {"taken": "2019-12-24"}}, False),
        ({"key": "year", "sign": ">=", "value": "2000"}, {"meta": {"year": 1999}}, False),
        ({"key": "title", "sign": "~", "value": "*fox*"}, {"meta": {"title": "a red fox here"}}, True),
        ({"key": "title", "sign": "!=", "value": "fox"}, {"meta": {"title": "fox"}}, False),
    ],
)
def test_the_form_writes_conditions_that_mean_it(given: dict[str, str], payload: Any, passes: bool) -> None:
    found = restriction((), filtering.written(form(**given)))
    assert found is not None and matches(found, payload) is passes


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"page": "two"}, "no number"),
        ({"since": "yesterday", "dated": "taken"}, "no date"),
        ({"since": "2020"}, "no name for the date"),
        ({"value": "x", "key": "a b"}, "no name for the metadata"),
        ({"tag": "\"'"}, "both kinds of quotes"),
    ],
)
def test_the_form_says_what_it_cannot_write(given: dict[str, str], says: str) -> None:
    with pytest.raises(BadFilter, match=says):
        filtering.written(form(**given))


def test_what_is_written_is_added_once(page: Page) -> None:
    assert (
        filtering.joined("year > 3,", "tag = x")
        == "year > 3, tag = x"
        == filtering.joined("year > 3, tag = x", "tag = x")
    )
    assert filtering.joined("", "") == "" == filtering.written(form())
    assert filtering.keys(page)[0] == "subject" and filtering.dated(page, filtering.keys(page)) == ["year"]


def test_a_part_is_found_by_its_key_wherever_it_stands(page: Page) -> None:
    item = AskedPart("item", by_caption(page, "red car").id)
    asked = Asked((AskedPart("words", "red"), item, replace(item, fragment="xywh=percent:0,0,50,50")))
    drawn = re.findall(r'data-key="(\w+)"', parts.row(parts.Previews(page), asked))
    assert len(set(drawn)) == 3, "an item and a place of it are two parts"
    for place, key in enumerate(drawn):
        for said in (0, place, 7):
            after = parts.changed(asked, {"do": "remove", "part": said, "key": key})
            assert after.parts == asked.parts[:place] + asked.parts[place + 1 :]
        assert parts.changed(asked, {"do": "remove", "part": place, "key": ""}) == after
    gone = replace(asked, parts=asked.parts[1:])
    with pytest.raises(BadQuery, match="not in the query any more"):
        parts.changed(gone, {"do": "remove", "part": 0, "key": drawn[0]})
    weighed = parts.changed(gone, {"do": "weight", "weight": 0.5, "part": 1, "key": drawn[1]})
    assert [part.weight for part in weighed.parts] == [0.5, 1.0]
