"""What the tabs do, as functions: no browser, no server, but the real library, engine and readers."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mmretrieval.errors import BadFilter, BadQuery, MediaError
from mmretrieval.filters import matches
from mmretrieval.library import Library
from page import cards, compare, library, recipes, search
from page.asking import Asked, query, restriction
from page.jobs import Job
from page.notices import attempt, notice, table
from page.state import Page
from tests.page.conftest import HOSTILE, by_caption, captions, draw

TEXT = "hashing@text"


# --- searching -------------------------------------------------------------------------------------------------------


def test_words_find_the_caption_that_holds_them(page: Page) -> None:
    found = search.search(page, Asked("green frog"), TEXT, 4)
    assert captions(page, found)[0] == "a green frog by the pond"
    assert found.cards.count("data-item=") == 4
    assert "4 results" in found.line and "hashing@text,sum" in found.line


def test_what_is_avoided_moves_away(page: Page) -> None:
    plain = captions(page, search.search(page, Asked("red"), TEXT, 8))
    pushed = captions(page, search.search(page, Asked("red", avoid="apple table", avoid_weight=1.0), TEXT, 8))
    apple = "a red apple on a table"
    assert apple in plain
    assert apple not in pushed or pushed.index(apple) > plain.index(apple)


def test_a_zero_weight_is_as_if_the_part_were_not_there(page: Page) -> None:
    plain = search.search(page, Asked("red car"), TEXT, 8)
    silent = search.search(page, Asked("red car", avoid="car", avoid_weight=0.0), TEXT, 8)
    assert list(plain.hits) == list(silent.hits)


def test_a_picture_finds_its_like_and_not_its_own_file(page: Page, made: Path) -> None:
    file = made.parent / "media" / "red-apple.png"
    apple = by_caption(page, "red apple")
    results = search.search(page, Asked(picture=str(file)), "hashing@visual", 5)
    assert apple.id not in results.hits
    assert captions(page, results)[0].startswith("a red")


def test_a_picture_of_other_bytes_finds_every_file(page: Page, tmp_path: Path) -> None:
    draw(tmp_path / "other.png", (201, 21, 20))
    results = search.search(page, Asked(picture=str(tmp_path / "other.png")), "hashing@visual", 5)
    assert captions(page, results)[0] == "a red apple on a table"


def test_a_result_as_the_query_leaves_itself_out(page: Page) -> None:
    frog = by_caption(page, "green frog")
    results = search.search(page, Asked(item=frog.id), "hashing@visual", 5)
    assert frog.id not in results.hits
    assert captions(page, results)[0] == "a green tree on a hill"


def test_a_file_that_is_no_picture_is_refused_as_a_query(page: Page, made: Path) -> None:
    with pytest.raises(MediaError, match="not a picture"):
        query(page, Asked(picture=str(made.parent / "media" / "two_pages.pdf")))


@pytest.mark.parametrize(
    ("asked", "recipe", "says"),
    [
        (Asked(), TEXT, "nothing to look for"),
        (Asked("red"), "hashing@txt", "did you mean 'text'"),
        (Asked("red"), "nobody@text", "no encoder is called 'nobody'"),
        (Asked("red"), "lite-0@text", "has no vectors of 'lite-0'"),
        (Asked("red", conditions="subject = submarines"), TEXT, "clear the kinds or the metadata filter"),
        (Asked("red", conditions="subject ~ food"), TEXT, "is no condition"),
        (Asked(item="00000000-0000-0000-0000-000000000000"), TEXT, "has no item"),
    ],
)
def test_what_cannot_be_asked_says_what_to_do(page: Page, asked: Asked, recipe: str, says: str) -> None:
    results = search.search(page, asked, recipe, 5)
    assert says in results.problem
    assert not results.cards


def test_an_empty_library_says_how_to_fill_it(tmp_path: Path, temporary: Path) -> None:
    page = Page(Library.create(tmp_path / "library", ("hashing",)))
    try:
        assert "Library tab" in search.search(page, Asked("red"), TEXT, 5).problem
        assert "Library tab" in search.first_look(page)[0]
        assert "nothing yet" in library.overview(page)
    finally:
        page.close()


@pytest.mark.parametrize(
    ("kinds", "conditions", "payload", "passes"),
    [
        ((), "", {"kind": "text"}, True),
        (("image", "video"), "", {"kind": "video"}, True),
        (("image",), "", {"kind": "video"}, False),
        ((), "subject = food", {"kind": "image", "meta": {"subject": "food"}}, True),
        ((), "year >= 2000, year < 2010", {"meta": {"year": 2005}}, True),
        ((), "year >= 2000, year < 2010", {"meta": {"year": 2010}}, False),
        ((), "year = 2005", {"meta": {"year": "2005"}}, True),
        ((), "year = 2005", {"meta": {"year": 2005}}, True),
        ((), "page = 2", {"page": 2}, True),
        ((), "generated = true", {"meta": {"generated": True}}, True),
        ((), 'author = "A. B."', {"meta": {"author": "A. B."}}, True),
        ((), 'title = "a, b", year = 3', {"meta": {"title": "a, b", "year": 3}}, True),
        ((), "title = 'a, b'", {"meta": {"title": "a"}}, False),
        ((), 'year = "2005"', {"meta": {"year": 2005}}, False),
        ((), 'year = "2005"', {"meta": {"year": "2005"}}, True),
        ((), "name = O'Brien, year = 3", {"meta": {"name": "O'Brien", "year": 3}}, True),
        ((), "unit = inf", {"meta": {"unit": "inf"}}, True),
        ((), " , subject = food, ", {"meta": {"subject": "food"}}, True),
    ],
)
def test_filters_mean_what_they_say(kinds: tuple[str, ...], conditions: str, payload: object, passes: bool) -> None:
    value = restriction(kinds, conditions)
    assert (value is None or matches(value, payload)) is passes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ("year < recent", "year"),
        ("year < nan", "year"),
        ("year = " + "9" * 400, "too large a number"),
        ("year < -" + "9" * 19, "too large a number"),
        ('title = "a, b', "put quotes around"),
        ("title = ", "is no condition"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(conditions: str, says: str) -> None:
    with pytest.raises(BadFilter, match=says):
        restriction((), conditions)


@pytest.mark.parametrize("recipe", ["lite-0@all", "nobody@all", "hashing@txt", "hashing@all,grm"])
def test_a_typed_recipe_is_refused_in_the_words_of_the_search(page: Page, recipe: str) -> None:
    assert recipes.complaint(recipe, page.library) == search.search(page, Asked("red"), recipe, 4).problem != ""


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (Asked("red", avoid="car"), "“red”, away from “car”"),
        (Asked("red", words_weight=-1, item="x"), "an item of the library, away from “red”"),
        (Asked("red", words_weight=-1.5, avoid="car"), "away from “red” (weight 1.5) and “car”"),
        (Asked("red", picture="p", picture_weight=0, avoid="car", avoid_weight=0), "“red”"),
        (Asked("red", kinds=("image", "video")), "“red”, only pictures and clips"),
        (Asked("red", conditions="year > 3"), "“red”, where year > 3"),
    ],
)
def test_the_sentence_says_what_is_asked(asked: Asked, sentence: str) -> None:
    assert asked.sentence == sentence


def test_words_and_items_can_be_pushed_away(page: Page) -> None:
    apple = by_caption(page, "red apple")
    turned = query(page, Asked("red car", item=apple.id, words_weight=-0.5, item_weight=-2))
    assert [part.weight for part in turned.parts] == [-0.5, -2]
    near = captions(page, search.search(page, Asked("red car"), TEXT, 20))
    far = captions(page, search.search(page, Asked("red car", words_weight=-1), TEXT, 20))
    assert near[0] == "a red car in the street" == far[-1]


def test_a_part_of_weight_0_is_neither_read_nor_excluded(page: Page, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    asked = Asked("red", picture=str(tmp_path / "broken.png"), picture_weight=0)
    assert len(query(page, asked).parts) == 1
    with pytest.raises(BadQuery, match="weight 0"):
        query(page, replace(asked, words_weight=0))


def test_errors_of_the_engine_name_no_internal_query(page: Page) -> None:
    problem = search.search(page, Asked("red", avoid="red", avoid_weight=1.0), TEXT, 4).problem
    assert problem and "query '" not in problem


def test_what_scores_count_is_said_where_it_is_no_cosine(page: Page) -> None:
    joined, single = (search.search(page, Asked("red"), recipe, 4) for recipe in ("hashing@all", TEXT))
    assert "queries that mean nothing" in joined.line and "queries that mean nothing" not in single.line
    assert "queries that mean nothing" in search.show_detail(page, next(iter(joined.hits)), joined.hits)


def test_what_is_compared_is_said(page: Page) -> None:
    frog = by_caption(page, "green frog")
    wanted = Asked("red", item=frog.id, item_weight=-1, kinds=("image",))
    summary = compare.compare(page, wanted, TEXT, "hashing@visual", 4).summary
    assert "“red”, away from an item of the library (“a green frog by the pond”), only pictures" in summary
    along = compare.brought(page, frog.id, (1.0, 1.0, -1.0, 0.5, ["image"], "year > 3"))
    assert "library item -1" in along and "only pictures, where year &gt; 3" in along and "green frog" in along
    assert compare.brought(page, None, search.EMPTY[4:]) == ""


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_foreign_words_are_shown_as_text_everywhere(page: Page) -> None:
    item = by_caption(page, "onerror")
    hit = search.search(page, Asked("violet"), TEXT, 3)
    shown = [
        hit.cards,
        cards.detail(page, item),
        search.chip(page, item.id),
        notice(HOSTILE),
        table(HOSTILE, (HOSTILE,), [(HOSTILE,)]),
        compare.compare(page, Asked("violet"), TEXT, "hashing@visual", 4).left,
        library.progress(Job(HOSTILE)),
    ]
    for html in shown:
        assert "<img src=x" not in html
        assert "&lt;img src=x" in html


def test_the_detail_of_a_clip_plays_from_its_time(page: Page) -> None:
    clip = next(item for item in page.library.items() if item.kind == "video")
    html = cards.detail(page, clip)
    assert re.search(rf'src="media/original/{clip.id}#t=0\.000,\d+\.\d{{3}}"', html)
    assert "numbers counting on a grey card" in html


def test_the_detail_has_the_trail(page: Page) -> None:
    results = search.search(page, Asked("red car"), "hashing@all", 4)
    first = next(iter(results.hits))
    html = search.show_detail(page, first, results.hits)
    assert "hashing@text" in html and "hashing@all" in html
    assert "removed since the search" in search.show_detail(page, "gone", results.hits)


def test_a_moved_and_a_changed_original_say_so(own: Page, tmp_path: Path) -> None:
    item = by_caption(own, "blue boat")
    file = Path(item.paths[0])
    file.rename(tmp_path / "elsewhere.png")
    assert "no longer there: put it back" in cards.detail(own, item)
    draw(file, (1, 2, 3))
    assert "has changed since it was ingested" in cards.detail(own, item)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (8.2, "0:08"), (61, "1:01"), (3599.7, "1:00:00"), (7265, "2:01:05")]
)
def test_clock(seconds: float, text: str) -> None:
    assert cards.clock(seconds) == text


def test_unexpected_errors_show_a_reference_that_the_log_has(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ZeroDivisionError("secret detail")

    with caplog.at_level(logging.ERROR, logger="page"):
        told = attempt(broken)
    reference = re.search(r"reference ([0-9a-f]{8})", told.problem)
    assert reference and "secret" not in told.problem
    assert reference.group(1) in caplog.text and "secret detail" in caplog.text


# --- comparing -------------------------------------------------------------------------------------------------------


def test_comparing_a_recipe_with_itself_moves_nothing(page: Page) -> None:
    found = compare.compare(page, Asked("red"), TEXT, TEXT, 5)
    assert "5 of the first 5" in found.summary and "overlap@5 1.00" in found.summary
    assert "Nothing moved" in found.moved
    assert found.left.count("same place") == 5


def test_comparing_marks_what_moved(page: Page) -> None:
    found = compare.compare(page, Asked("red car"), TEXT, "hashing@visual", 6)
    assert not found.problem
    left, right, _ = compare.ranks(page, Asked("red car"), (TEXT, "hashing@visual"))
    passage = next(h for h in left if not page.library.item(h.id).visual)
    assert passage.id not in {h.id for h in right}
    assert "What moved" in found.moved and "—" in found.moved
    assert "rank left" in found.moved


def test_comparing_with_a_broken_recipe_says_which(page: Page) -> None:
    assert "hashign" in compare.compare(page, Asked("red"), TEXT, "hashign@all", 5).problem


def test_a_query_without_parts_is_refused_by_name(page: Page) -> None:
    with pytest.raises(BadQuery, match="write some words"):
        query(page, Asked(kinds=("image",)))
