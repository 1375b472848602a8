"""What the tabs do, as functions: no browser, no server, but the real library, engine and readers."""

from __future__ import annotations

import html
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from mmretrieval.errors import BadFilter, BadQuery, BadRecipe, MediaError
from mmretrieval.filters import matches
from mmretrieval.library import Library
from mmretrieval.types import Content, Contribution, Hit, Item, Mark, Part, Query
from page.compare import tab as compare
from page.jobs import Job
from page.library import tab as library
from page.notices import attempt, notice, table
from page.query import filtering, links, parts, recipes
from page.query.asking import Asked, AskedPart, query, restriction
from page.query.links import Link
from page.search import cards, detail, results
from page.search import tab as search
from page.search.handlers import SKIPPED, Handlers
from page.state import Page
from tests.page.conftest import HOSTILE, by_caption, captions, draw

TEXT = "hashing@text"


# --- searching -------------------------------------------------------------------------------------------------------


def test_words_find_the_caption_that_holds_them(page: Page) -> None:
    found = search.search(page, Asked.of("green frog"), TEXT, 4)
    assert captions(page, found)[0] == "a green frog by the pond"
    assert found.cards.count("data-item=") == 4
    assert "4 results" in found.line and "hashing@text,sum" in found.line


def test_what_is_avoided_moves_away(page: Page) -> None:
    plain = captions(page, search.search(page, Asked.of("red"), TEXT, 8))
    pushed = captions(page, search.search(page, Asked.of("red", avoid="apple table", avoid_weight=1.0), TEXT, 8))
    apple = "a red apple on a table"
    assert apple in plain
    assert apple not in pushed or pushed.index(apple) > plain.index(apple)


def test_a_zero_weight_is_as_if_the_part_were_not_there(page: Page) -> None:
    plain = search.search(page, Asked.of("red car"), TEXT, 8)
    silent = search.search(page, Asked.of("red car", avoid="car", avoid_weight=0.0), TEXT, 8)
    assert list(plain.hits) == list(silent.hits)


def test_a_picture_finds_its_like_and_not_its_own_file(page: Page, made: Path) -> None:
    file = made.parent / "media" / "red-apple.png"
    apple = by_caption(page, "red apple")
    results = search.search(page, Asked.of(picture=str(file)), "hashing@visual", 5)
    assert apple.id not in results.hits
    assert captions(page, results)[0].startswith("a red")


def test_a_picture_of_other_bytes_finds_every_file(page: Page, tmp_path: Path) -> None:
    draw(tmp_path / "other.png", (201, 21, 20))
    results = search.search(page, Asked.of(picture=str(tmp_path / "other.png")), "hashing@visual", 5)
    assert captions(page, results)[0] == "a red apple on a table"


def test_a_result_as_the_query_leaves_itself_out(page: Page) -> None:
    frog = by_caption(page, "green frog")
    results = search.search(page, Asked.of(item=frog.id), "hashing@visual", 5)
    assert frog.id not in results.hits
    assert captions(page, results)[0] == "a green tree on a hill"


def test_a_file_that_is_no_picture_is_refused_as_a_query(page: Page, made: Path) -> None:
    with pytest.raises(MediaError, match="not a picture"):
        query(page, Asked.of(picture=str(made.parent / "media" / "two_pages.pdf")))


@pytest.mark.parametrize(
    ("asked", "recipe", "says"),
    [
        (Asked.of(), TEXT, "nothing to look for"),
        (Asked.of("red"), "hashing@txt", "did you mean 'text'"),
        (Asked.of("red"), "nobody@text", "no encoder is called 'nobody'"),
        (Asked.of("red"), "lite-0@text", "has no vectors of 'lite-0'"),
        (Asked.of("red", conditions="subject = submarines"), TEXT, "clear the kinds or the metadata filter"),
        (Asked.of("red", conditions="subject ! food"), TEXT, "is no condition"),
        (Asked.of(item="00000000-0000-0000-0000-000000000000"), TEXT, "has no item"),
    ],
)
def test_what_cannot_be_asked_says_what_to_do(page: Page, asked: Asked, recipe: str, says: str) -> None:
    results = search.search(page, asked, recipe, 5)
    assert says in results.problem
    assert not results.cards


def test_an_empty_library_says_how_to_fill_it(tmp_path: Path, temporary: Path) -> None:
    page = Page(Library.create(tmp_path / "library", ("hashing",)))
    try:
        assert "Library tab" in search.search(page, Asked.of("red"), TEXT, 5).problem
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
    assert recipes.complaint(recipe, page.library) == search.search(page, Asked.of("red"), recipe, 4).problem != ""


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (Asked.of("red", avoid="car"), "“red”, away from “car”"),
        (Asked.of("red", words_weight=-1, item="x"), "an item of the library, away from “red”"),
        (Asked.of("red", words_weight=-1.5, avoid="car"), "away from “red” (weight 1.5) and “car”"),
        (Asked.of("red", picture="p", picture_weight=0, avoid="car", avoid_weight=0), "“red”"),
        (Asked.of("red", kinds=("image", "video")), "“red”, only pictures and clips"),
        (Asked.of("red", conditions="year > 3"), "“red”, where year > 3"),
    ],
)
def test_the_sentence_says_what_is_asked(asked: Asked, sentence: str) -> None:
    assert asked.sentence == sentence


def test_words_and_items_can_be_pushed_away(page: Page) -> None:
    apple = by_caption(page, "red apple")
    turned = query(page, Asked.of("red car", item=apple.id, words_weight=-0.5, item_weight=-2))
    assert [part.weight for part in turned.parts] == [-0.5, -2]
    near = captions(page, search.search(page, Asked.of("red car"), TEXT, 20))
    far = captions(page, search.search(page, Asked.of("red car", words_weight=-1), TEXT, 20))
    assert near[0] == "a red car in the street" == far[-1]


def test_a_part_of_weight_0_is_neither_read_nor_excluded(page: Page, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    asked = Asked.of("red", picture=str(tmp_path / "broken.png"), picture_weight=0)
    assert len(query(page, asked).parts) == 1
    with pytest.raises(BadQuery, match="weight 0"):
        query(page, replace(asked, parts=tuple(replace(part, weight=0.0) for part in asked.parts)))


def test_errors_of_the_engine_name_no_internal_query(page: Page) -> None:
    problem = search.search(page, Asked.of("red", avoid="red", avoid_weight=1.0), TEXT, 4).problem
    assert problem and "query '" not in problem


def test_what_scores_count_is_said_where_it_is_no_cosine(page: Page) -> None:
    joined, single = (search.search(page, Asked.of("red"), recipe, 4) for recipe in ("hashing@all", TEXT))
    assert "queries that mean nothing" in joined.line and "queries that mean nothing" not in single.line
    assert "queries that mean nothing" in search.show_detail(page, next(iter(joined.hits)), joined.hits)


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_foreign_words_are_shown_as_text_everywhere(page: Page) -> None:
    item = by_caption(page, "onerror")
    hit = search.search(page, Asked.of(f"violet {HOSTILE}"), TEXT, 3)
    shown = [
        hit.cards,
        detail.detail(page, item),
        parts.row(parts.Previews(page), Asked.of(HOSTILE, item=item.id, conditions=HOSTILE)),
        hit.line,
        notice(HOSTILE),
        table(HOSTILE, (HOSTILE,), [(HOSTILE,)]),
        compare.compare(page, Asked.of("violet"), (TEXT, "hashing@visual"), 4).columns,
        library.progress(Job(HOSTILE)),
    ]
    for drawn in shown:
        assert "<img src=x" not in drawn
        assert "&lt;img src=x" in drawn


def test_the_detail_of_a_clip_plays_from_its_time(page: Page) -> None:
    clip = next(item for item in page.library.items() if item.kind == "video")
    drawn = detail.detail(page, clip)
    assert re.search(rf'src="media/original/{clip.id}#t=0\.000,\d+\.\d{{3}}"', drawn)
    assert "numbers counting on a grey card" in drawn


def test_the_detail_has_the_trail(page: Page) -> None:
    results = search.search(page, Asked.of("red car"), "hashing@all", 4)
    first = next(iter(results.hits))
    drawn = search.show_detail(page, first, results.hits)
    assert "hashing@text" in drawn and "hashing@all" in drawn
    assert "removed since the search" in search.show_detail(page, "gone", results.hits)


def test_a_moved_and_a_changed_original_say_so(own: Page, tmp_path: Path) -> None:
    item = by_caption(own, "blue boat")
    file = Path(item.paths[0])
    file.rename(tmp_path / "elsewhere.png")
    assert "no longer there: put it back" in detail.detail(own, item)
    draw(file, (1, 2, 3))
    assert "has changed since it was ingested" in detail.detail(own, item)


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


def test_a_query_without_parts_is_refused_by_name(page: Page) -> None:
    with pytest.raises(BadQuery, match="write some words"):
        query(page, Asked.of(kinds=("image",)))


# --- how results are drawn -------------------------------------------------------------------------------------------


def hit(ident: str, rank: int, score: float, weak: bool = False, *brought: Contribution) -> Hit:
    return Hit(ident, rank, score, (Mark("x@visual", rank, score),), brought, 0.5 if weak else 0.001, weak)


def item(ident: str, kind: str = "image", content: str = "", paths: tuple[str, ...] = ("a.png",)) -> Item:
    return Item(ident, kind, content or ident, paths=paths, text=ident)


def test_bars_are_as_long_as_what_they_say() -> None:
    brought = [Contribution("x@visual", ("“a”", "−“b”"), values) for values in ((0.6, -0.3), (0.3, 0.1))]
    items = {"a": item("a"), "b": item("b", paths=("b.png", "c.png"))}
    first, second = results.drawable(items, [hit("a", 1, 0.3, False, brought[0]), hit("b", 2, 0.15, True, brought[1])])
    assert [bar.length for bar in first.brought] == [1.0, 0.5] and [bar.away for bar in first.brought] == [False, True]
    assert "“a” brought: +0.600 (x@visual)" in first.brought[0].says
    assert (first.bar, second.bar) == (1.0, 0.5)
    assert second.weak and second.mark == "in 2 files" and not first.mark
    assert 'class="mm-card mm-weak"' in cards.grid([second], "") and "no better than chance" in cards.grid([second], "")


def test_scores_of_parts_that_do_not_add_up_are_named_so(page: Page) -> None:
    found = search.search(page, Asked.of("red car", avoid="table"), "hashing@text,best", 4)
    assert not found.problem and "(by itself)" in found.cards and "they do not add up" in found.cards
    added = search.search(page, Asked.of("red car", avoid="table"), TEXT, 4)
    assert "(by itself)" not in added.cards and "brought:" in added.cards
    assert "mm-brought" not in search.search(page, Asked.of("red car"), TEXT, 4).cards


def test_the_line_says_of_which_kinds_the_first_ones_are(page: Page) -> None:
    line = search.search(page, Asked.of("red car lighthouse"), TEXT, 12).line
    assert re.search(r"First \d+: \d+ pictures, ", line) and "1 passage" in line


def test_there_is_more_until_there_is_not(page: Page) -> None:
    assert 'data-more="28"' in search.search(page, Asked.of("red"), TEXT, 4).cards
    assert "These are all" in search.search(page, Asked.of("red"), TEXT, 50).cards


def test_the_first_look_has_examples_that_are_searches(page: Page) -> None:
    addresses = re.findall(r'data-go="([^"]*)"', search.first_look(page)[1])
    asked = [links.parse(html.unescape(address)).asked for address in addresses]
    assert Asked.of("fruit", avoid="apple") in asked
    for one in asked:
        assert search.search(page, one, "hashing@all", 4).hits


# --- events ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def do(page: Page) -> Handlers:
    return Handlers(page, parts.Previews(page))


def test_words_become_parts_and_are_searched(do: Handlers) -> None:
    asked, seen, row, problem, line, *_ = do.words("red", Asked(), TEXT, True, [], "")
    assert problem == "" and asked == Asked.of("red") and seen == Link(asked, TEXT) and "results" in line
    assert f'data-link="text=red&amp;recipe={TEXT}"' in row
    asked = do.words("not car", asked, TEXT, True, ["image"], "year > 3")[0]
    assert asked == Asked.of("red", avoid="car", kinds=("image",), conditions="year > 3")
    assert "nothing to look for yet" in do.words(" ", Asked(), TEXT, True, [], "")[3]


def test_a_mistake_leaves_the_query_and_its_address_alone(do: Handlers) -> None:
    found = do.words("red", Asked(), "hashing@txt", False, [], "")
    assert found[0] == Asked.of("red") and "did you mean" in found[3] and "data-link" not in found[2]
    refused = do.told(
        lambda asked: parts.changed(asked, {"do": "remove", "part": 7}), Asked.of("a"), TEXT, True, [], ""
    )
    assert "not in the query any more" in refused[3] and not isinstance(refused[0], Asked)


def test_a_link_brings_a_search_back_with_its_widgets(do: Handlers, page: Page) -> None:
    link = "?text=red&text=-1.5*car&kind=image&where=year%20%3E%203&k=7&cut=0"
    found, (kinds, conditions, recipe, cut) = do.link(link), do.settle(link)
    assert found[0].parts == (AskedPart("words", "red"), AskedPart("words", "car", -1.5)) and found[1].k == 7
    assert (kinds, conditions, recipe, cut) == (["image"], "year > 3", page.library.default_recipe, False)
    assert "1 uploaded picture" in do.link("?text=red&uploads=1")[3]
    assert "Ask for something" in do.link("")[4]
    broken = do.link("?item=nonsense")
    assert "no item" in broken[3] and "Ask for something" in broken[4]


def test_more_keeps_the_query_and_the_detail(do: Handlers) -> None:
    found = do.more({"k": 9}, Asked.of("red"), TEXT, True)
    assert found[1].k == 9 and len(found[6]) == 9
    assert "whole number" in do.more({"k": "many"}, Asked.of("red"), TEXT, True)[3]


def test_stages_and_conditions_are_written_or_refused(do: Handlers) -> None:
    assert do.stage({"do": "add", "stage": "mmr:0.5:100"}, TEXT) == ("hashing@text,sum,mmr:0.5:100", "")
    assert "one view" in do.stage({"do": "add", "stage": "mmr:0.5:100"}, "hashing@all")[1]
    assert do.stage({"do": "remove", "place": 1}, "hashing@text,sum,mmr:0.5:100") == ("hashing@text,sum", "")
    empty = [""] * len(filtering.Form._fields)
    form = filtering.Form(*empty)._replace(path="cats/*.jpg", dated="taken", since="2020-05", tag="a, b")
    assert do.written("year > 3", *form) == ('year > 3, path = cats/*.jpg, taken >= 2020-05, tag = "a, b"', "")
    assert "no number" in do.written("", *form._replace(page="two"))[1]


@pytest.mark.parametrize(
    ("recipe", "weights", "said"),
    [
        ("lite-joint@visual,joint", (2.0, 1.0), True),
        ("lite-joint@visual,joint", (1.0, 1.0), False),
        ("lite-joint@visual,joint", (1.0, -0.5), False),
        ("lite-joint@visual,joint", (2.0,), False),
        ("lite-joint@visual,sum", (2.0, 1.0), False),
    ],
)
def test_a_slider_that_moves_nothing_says_so(recipe: str, weights: tuple[float, ...], said: bool) -> None:
    asked = tuple(Part(Content(text=f"word {i}"), weight=weight) for i, weight in enumerate(weights))
    assert ("weights change nothing" in results._unweighed(Query(asked), recipe)) is said


@pytest.mark.parametrize(
    ("parts_", "says"),
    [
        ([AskedPart("words", "castle " * 2000)] * 2, "28,000 characters, at most 20,000"),
        ([AskedPart("picture", "cat.png")] * 17, "17 uploaded pictures, at most 16"),
    ],
)
def test_one_query_cannot_keep_everybody_waiting(page: Page, parts_: list[AskedPart], says: str) -> None:
    with pytest.raises(BadQuery, match=says):
        query(page, Asked(tuple(parts_)))


def test_a_query_that_the_server_lost_leaves_no_results_of_another(do: Handlers) -> None:
    asked, _, _, problem, line, cards_, hits, _ = do.again(Link(), Asked(), "hashing@text,csls", True, ["image"], "")
    assert not asked.parts and (problem, hits) == ("", {}) and "Ask for something" in line and "mm-welcome" in cards_


def test_a_menu_that_is_left_as_it_was_asks_for_nothing(do: Handlers) -> None:
    found = do.link(f"?text=red&recipe={TEXT}&kind=image&k=7")
    asked, seen = found[:2]
    assert do.again(seen, asked, TEXT, True, ["image"], "") == SKIPPED
    for other in ((TEXT, False, ["image"], ""), (TEXT, True, [], ""), ("hashing@all", True, ["image"], "")):
        assert do.again(seen, asked, *other)[1] == Link(replace(asked, kinds=tuple(other[2])), other[0], cut=other[1])


def test_a_link_sets_its_widgets_before_it_searches(do: Handlers) -> None:
    link = f"?text=red&recipe={TEXT},csls:2&kind=image&where=year%20%3E%203"
    asked, seen = do.link(link)[:2]
    assert do.settle(link) == (list(asked.kinds), asked.conditions, seen.recipe, seen.cut)
    assert do.settle(link)[2].startswith(f"{TEXT},csls:2")


def test_a_read_only_page_takes_no_model_by_its_path(made: Path, temporary: Path) -> None:
    with_path = "hashing@text,cross:st_cross:/srv/secret:20"
    looking, writing = Page(Library.open(made), read_only=True), Page(Library.open(made))
    with pytest.raises(BadRecipe, match="only models that the catalogue names"):
        looking.permitted(with_path)
    assert str(writing.permitted(with_path).rerankers[0]).startswith("cross:")
    looking.close()
    writing.close()
