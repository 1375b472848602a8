"""Comparing recipes: on one query, on many, and blind; what is judged on the way, and what read-only pages refuse."""

from __future__ import annotations

import csv
import io
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.reading import load
from mmretrieval.errors import BadQuery, BadRecipe, RetrievalError, UnknownName
from mmretrieval.library import Library
from mmretrieval.library.judgements import Preference
from mmretrieval.timing import Spent
from mmretrieval.types import Hit
from page.compare import blind, blind_panel, columns, judging, query_set, saved, times
from page.compare import tab as compare
from page.compare.blind import Sitting, Tally, Turn, tally, wilson
from page.notices import notice
from page.query.asking import Asked, AskedPart, query
from page.state import Page
from tests.page.conftest import HOSTILE, by_caption, draw

TEXT, PIXELS = "hashing@text", "hashing@visual"
RED = Asked.of("red car")


# --- one query -------------------------------------------------------------------------------------------------------


def test_comparing_a_recipe_with_itself_moves_nothing(page: Page) -> None:
    found = compare.compare(page, Asked.of("red"), (TEXT, TEXT), 5)
    assert "5 of the first 5" in found.summary and "overlap@5 1.00" in found.summary
    assert "both recipes give the same first places" in found.moved
    assert found.columns.count("same place") == 10 and "mm-across" not in found.columns


def test_comparing_two_marks_what_moved(page: Page) -> None:
    found = compare.compare(page, RED, (TEXT, PIXELS), 12)
    assert not found.problem
    left, right = compare.ranks(page, RED, (TEXT, PIXELS))
    passage = next(h for h in left.hits if not page.library.item(h.id).visual)
    assert passage.id not in right.ids
    assert "What moved" in found.moved and "only A" in found.moved and "rank in B" in found.moved


def test_four_recipes_stand_beside_each_other_with_each_pair_said(page: Page) -> None:
    names = (TEXT, PIXELS, "hashing@all", "bm25")
    found = compare.compare(page, RED, names, 12)
    assert re.findall(r'<section class="mm-column" id="([a-z-]+)"', found.columns) == list(columns.NAMES)
    assert found.columns.count('<svg class="mm-curves"') == 3
    assert [f"{a}–{b}" in found.summary for a, b in ("AB", "AC", "AD", "BC", "BD", "CD")] == [True] * 6  # noqa: RUF001
    assert "only A and C<" in found.moved  # the passage has no pixels, and none of the words
    assert all(f'<code title="{recipe}' in found.columns for recipe in ("hashing@text", "hashing@visual", "bm25"))


def test_lines_lead_from_an_items_row_to_its_row(page: Page) -> None:
    found = compare.compare(page, RED, (TEXT, PIXELS), 8)
    left, right = (answer.ids[:8] for answer in compare.ranks(page, RED, (TEXT, PIXELS)))
    drawn = re.findall(r'<path data-line="([^"]+)" class="mm-(\w+)" d="M0 ([\d.]+) C50 [\d.]+ 50 [\d.]+ 100 ([\d.]+)"', found.columns)  # fmt: skip # noqa: E501
    assert [ident for ident, *_ in drawn] == [ident for ident in left if ident in right]
    for ident, tone, start, end in drawn:
        places = left.index(ident), right.index(ident)
        assert (float(start), float(end)) == (places[0] + 0.5, places[1] + 0.5)
        assert tone == ("level" if places[0] == places[1] else "across")


def test_each_recipe_says_where_its_time_went(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = {TEXT: (("encode hashing", 30.0), ("search hashing@text", 10.0), ("other", 0.0))}
    spent |= {PIXELS: (("encode hashing", 40.0), ("rerank gram:5", 1200.0), ("hash <b>", 2.5), ("other", 8.0))}
    plain = columns.answers

    def timed(*arguments: Any) -> list[columns.Answer]:
        found = []
        for answer, name in zip(plain(*arguments), (TEXT, PIXELS), strict=True):
            assert [one["stage"] for one in answer.stages][-2:] == [f"search {name}", "other"]
            stages: tuple[Spent, ...] = tuple({"stage": stage, "ms": ms} for stage, ms in spent[name])
            seconds = sum(one["ms"] for one in stages) / 1000
            found.append(replace(answer, stages=stages, seconds=seconds))
        return found

    monkeypatch.setattr(compare, "answers", timed)
    shown = compare.compare(page, RED, (TEXT, PIXELS), 4).columns
    bars = re.findall(r'<span class="mm-time" role="img" aria-label="([^"]+)"[^>]*>(.*?)</span>', shown)
    widths = [[float(n) for n in re.findall(r"width:([\d.]+)%", drawn)] for _, drawn in bars]
    # As wide as the slowest took long: 40 ms of 1,250.5.
    assert widths == [pytest.approx([2.4, 0.8, 0], abs=0.01), pytest.approx([3.2, 95.96, 0.2, 0.64], abs=0.01)]
    assert bars[0][0] == "0.040 s: encode hashing 30 ms, search hashing@text 10 ms, other 0.0 ms"
    cells = [re.findall(r"<t[hd][^>]*>(?:<i [^>]*></i>)?(.*?)</t[hd]>", row) for row in shown.split("<tr>")[1:]]
    assert cells[:7] == [
        ["stage", "A", "B"],
        ["encode hashing", "30 ms", "40 ms"],
        ["search hashing@text", "10 ms", "—"],
        ["rerank gram:5", "—", "1,200 ms"],
        ["other", "0.0 ms", "8.0 ms"],
        ["hash &lt;b&gt;", "—", "2.5 ms"],
        ["in all", "40 ms", "1,250 ms"],
    ]
    assert "<b>rerank</b>" in shown and "<b>fuse</b>" not in shown


def spent_on(**taken: float) -> tuple[Spent, ...]:
    return tuple({"stage": name.replace("_", " "), "ms": ms} for name, ms in taken.items())


def test_loading_is_not_charged_to_the_recipe_that_comes_first(page: Page) -> None:
    answered = compare.ranks(page, RED, ("hashing@all", "hashing@all"))
    items = page.library.items_by_id([hit.id for answer in answered for hit in answer.hits])
    search = {"encode_lite": 96.0, "search_lite@text": 48.0, "other": 6.0}
    cold = spent_on(prepare_lite=7483.0, **search, **{"scale_lite@all": 531.0})
    warm = spent_on(prepare_lite=1.0, **search, **{"scale_lite@all": 2.0})
    given = [
        replace(answer, stages=stages, seconds=sum(one["ms"] for one in stages) / 1000)
        for answer, stages in zip(answered, (cold, warm), strict=True)
    ]
    shown = columns.drawn(items, given, 4, {})
    said = re.findall(r'<small title="([^"]+)">([^<]+)</small>', shown)
    assert said == [(columns.TOOK, "0.15 s + 8.01 s to get ready, once"), (columns.TOOK, "0.15 s")]
    bars = re.findall(r'<span class="mm-time" role="img" aria-label="([^"]+)"[^>]*>(.*?)</span>', shown)
    widths = [[float(n) for n in re.findall(r"width:([\d.]+)%", drawn)] for _, drawn in bars]
    assert widths == [pytest.approx([64, 32, 4], abs=0.01)] * 2  # of 150 ms, and nothing of the eight seconds
    in_both = "0.150 s: encode lite 96 ms, search lite@text 48 ms, other 6.0 ms"
    assert [label for label, _ in bars] == [f"{in_both} + 8.01 s to get ready, once", in_both]
    assert "mm-compared mm-of-2 mm-readied" in shown
    assert "ready" not in columns.drawn(items, [given[1]] * 2, 4, {}) + columns.drawn(items, given, 4, {}, blind=True)

    table = times.table(given, "AB")
    rows = [re.findall(r"<t[hd][^>]*>(?:<i [^>]*></i>)?(.*?)</t[hd]>", row) for row in table.split("<tr>")[1:]]
    assert ["prepare lite", "7,483 ms", "1.0 ms"] in rows and ["scale lite@all", "531 ms", "2.0 ms"] in rows
    assert rows[-3:] == [
        ["the search", "150 ms", "150 ms"],
        ["to get ready, once", "8,014 ms", "3.0 ms"],
        ["in all", "8,164 ms", "153 ms"],
    ]
    assert times.LEFT_OUT in table and times.WAITING in table
    assert "the search<" not in times.table([given[1]] * 2, "AB")


@pytest.mark.parametrize(("seconds", "says"), [(0.05, ""), (0.051, "+ 0.05 s"), (1234.5, "+ 1,234.50 s")])
def test_getting_ready_is_said_from_a_twentieth_of_a_second_on(seconds: float, says: str) -> None:
    told = times.readied({"seconds": seconds, "stages": []})
    assert told == (f"{says} to get ready, once" if says else "")


def test_every_stage_of_a_search_has_a_colour_and_a_meaning(page: Page) -> None:
    recipes = ("hashing,center,csls:3,gram:5,cutoff:0.1", "hashing@text+bm25,zscore", "hashing@visual,late")
    verbs = set(times.STAGES)
    for answer in compare.ranks(page, RED, recipes):
        assert {one["stage"].partition(" ")[0] for one in answer.stages} <= verbs
    explained = page.engine.rank([query(page, RED)], TEXT, explain=True)
    assert "explain" in [one["stage"] for one in explained.meta["stages"]] and "explain" in verbs
    style = (Path(times.__file__).parents[1] / "style.css").read_text()
    assert all(f".mm-t-{tone} {{ --tone: " in style for tone, _ in times.STAGES.values())


def test_a_blind_comparison_says_nothing_of_time(page: Page) -> None:
    answered = compare.ranks(page, RED, (TEXT, PIXELS))
    items = page.library.items_by_id([hit.id for answer in answered for hit in answer.hits])
    assert "mm-time" in columns.drawn(items, answered, 4, {})
    assert "mm-time" not in columns.drawn(items, answered, 4, {}, blind=True)


LISTS = st.lists(st.permutations("abcdefgh").map(lambda p: p[:5]), min_size=2, max_size=4)


@given(LISTS, st.integers(1, 8))
def test_agreements_are_of_each_pair_and_the_same_both_ways(lists: list[list[str]], k: int) -> None:
    found = columns.agreements(lists, k)
    assert len(found) == len(lists) * (len(lists) - 1) // 2
    back = {(len(lists) - 1 - a.second, len(lists) - 1 - a.first): a for a in columns.agreements(lists[::-1], k)}
    for one in found:
        other = back[one.first, one.second]
        assert one.both == other.both and one.overlap == other.overlap
        assert one.rank_biased == pytest.approx(other.rank_biased)
        assert 0 <= one.overlap <= 1 and -1e-12 <= one.rank_biased <= 1 + 1e-12
        same = lists[one.first] == lists[one.second]
        assert not same or (one.overlap == 1 and one.rank_biased == pytest.approx(1))


def test_a_recipe_that_depends_on_the_other_queries_says_so_in_its_column(page: Page) -> None:
    found = compare.compare(page, RED, (TEXT, f"{TEXT},dualsoftmax"), 4)
    left, right = found.columns.split('id="compare-right"')
    assert "transductive" in right and "transductive" not in left


def test_comparing_with_a_broken_recipe_says_which(page: Page) -> None:
    assert "hashign" in compare.compare(page, Asked.of("red"), (TEXT, "hashign@all"), 5).problem


def test_what_is_compared_is_said_and_shown(page: Page, tmp_path: Path) -> None:
    frog = by_caption(page, "green frog")
    wanted = Asked.of("red", item=frog.id, item_weight=-1, kinds=("image",))
    summary = compare.compare(page, wanted, (TEXT, PIXELS), 4).summary
    assert "“red”, away from an item of the library (“a green frog by the pond”), only pictures" in summary
    assert f'<img src="media/thumb/{frog.id}"' in summary and "mm-away" in summary
    draw(tmp_path / "asked.png", (9, 8, 7))
    shown = compare.compare(page, Asked.of(picture=str(tmp_path / "asked.png")), (PIXELS, "hashing@all"), 4).summary
    assert 'src="data:image/webp;base64,' in shown


def test_a_query_of_another_tab_is_taken_apart_and_put_together_again(page: Page) -> None:
    frog = by_caption(page, "green frog")
    wanted = Asked(
        (AskedPart("words", "red"), AskedPart("item", frog.id, -1.0), AskedPart("words", "car", -0.5))
        + (AskedPart("words", "bright", 0.3),),
        ("image",),
        "year > 3",
    )
    words, avoid, rest = compare.split(wanted)
    assert (words, avoid, len(rest.parts)) == ("red", "car", 2)
    back = compare.joined(words, avoid, rest)
    assert set(back.parts) == set(wanted.parts) and replace(back, parts=()) == replace(wanted, parts=())
    shown = compare.along(page, rest)
    assert "green frog" in shown and "only pictures, where year &gt; 3" in shown and frog.id in shown
    assert compare.along(page, Asked()) == ""


def test_foreign_words_are_shown_as_text(page: Page) -> None:
    hostile = by_caption(page, "onerror")
    found = compare.compare(page, Asked.of("violet"), (TEXT, PIXELS), 8)
    rows, spent = query_set.disagreement(page, [Asked.of(HOSTILE)], (TEXT, PIXELS))
    sitting = Sitting("r", (TEXT, PIXELS), 8, (Turn(Asked.of(HOSTILE, item=hostile.id), TEXT, PIXELS, "left"),))
    answered = compare.ranks(page, Asked.of("violet"), (TEXT, PIXELS))
    shown = [
        found.columns,
        compare.compare(page, Asked.of(HOSTILE), (TEXT, PIXELS), 4).summary,
        compare.along(page, Asked.of(item=hostile.id)),
        query_set.drawn(rows, (TEXT, PIXELS), spent, "pasted"),
        blind.asking(page, sitting, answered, HOSTILE),
        blind.revealed(page, sitting),
    ]
    for html in shown:
        assert "<img src=x" not in html
        assert "&lt;img src=x" in html


def test_an_item_that_was_removed_keeps_its_row(page: Page) -> None:
    answer = columns.Answer(TEXT, (Hit("gone", 1, 0.5),), 0.1)
    assert "removed since" in columns.drawn({}, [answer, answer], 4, {})


# --- many queries ----------------------------------------------------------------------------------------------------


def test_many_queries_are_sorted_by_how_much_the_recipes_disagree(page: Page) -> None:
    asked = query_set.of_lines("red car\n\n  red   car \nblue boat\ngreen frog by the pond\n")
    assert [one.parts[0].value for one in asked] == ["red car", "blue boat", "green frog by the pond"]
    heard: list[int] = []
    rows, spent = query_set.disagreement(page, asked, (TEXT, PIXELS), heard.append)
    assert heard[-1] == 3 and len(spent) == 2 and min(one["seconds"] for one in spent) > 0
    assert sorted((-row.apart, row.rank_biased) for row in rows) == [(-row.apart, row.rank_biased) for row in rows]
    for row in rows:
        left, right = compare.ranks(page, row.asked, (TEXT, PIXELS))
        (alone,) = columns.agreements([left.ids, right.ids], query_set.FIRST)
        assert row.found == (alone,)
    html = query_set.drawn(rows, (TEXT, PIXELS), spent, "pasted")
    assert re.findall(r'data-place="(\d)"[^>]*>([^<]+)<', html) == [
        (str(place), row.asked.sentence) for place, row in enumerate(rows)
    ]


def test_queries_are_pasted_or_the_datasets(page: Page, things: Path, made: Path, temporary: Path) -> None:
    with pytest.raises(BadQuery, match="one a line"):
        query_set.chosen(page, "  \n")
    with pytest.raises(BadQuery, match="at most"):
        query_set.chosen(page, "\n".join(map(str, range(query_set.MOST_QUERIES + 1))))
    opened = Page(Library.open(made), dataset=load(things))
    asked, whence = query_set.chosen(opened, "")
    assert len(asked) == 48 and "things" in whence
    assert query_set.chosen(opened, "a red car")[0] == [Asked.of("a red car")]
    opened.close()


# --- blind -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(0, 300))
def test_the_interval_is_what_a_normal_test_does_not_refuse(wins: int, losses: int) -> None:
    number = wins + losses
    low, high = wilson(wins, number)
    assert 0 <= low <= high <= 1
    if number == 0:
        assert (low, high) == (0, 1)
        return
    share = wins / number
    assert low <= share <= high
    mirrored = wilson(losses, number)
    assert mirrored == (pytest.approx(1 - high), pytest.approx(1 - low))
    for end in (low, high):
        if 0 < end < 1:  # Wilson's equation: (share - p)^2 = z^2 p (1 - p) / n
            assert (share - end) ** 2 == pytest.approx(blind.Z**2 * end * (1 - end) / number, rel=1e-6, abs=1e-12)


def test_the_interval_of_a_published_example() -> None:
    # Newcombe 1998 (Two-sided confidence intervals for the single proportion), table I, method 3: 81 of 263, 15 of 148,
    # 0 of 20, 1 of 29.
    for wins, number, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)):  # fmt: skip # noqa: E501
        assert wilson(wins, number) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def said(name: str, left: str, right: str, choice: str, run: str = "r") -> Preference:
    return Preference(name, left, right, choice, run, "")  # type: ignore[arg-type]


def test_a_tally_counts_each_querys_last_choice_whichever_side() -> None:
    made = [
        said("1", "a", "b", "left"),
        said("2", "b", "a", "left"),
        said("3", "b", "a", "tie"),
        said("4", "a", "b", "tie"),
        said("4", "b", "a", "right"),
        said("5", "a", "c", "left"),
    ]
    assert tally("a", "b", made) == Tally("a", "b", wins=2, losses=1, ties=1)
    assert tally("b", "a", made) == Tally("b", "a", wins=1, losses=2, ties=1)
    assert tally("a", "z", made).interval == (0, 1)


def test_a_verdict_says_who_of_how_many_and_whether_it_shows_anything() -> None:
    few = blind.verdict(Tally("one<", "two", 1, 2, 3))
    assert "<code>two</code> was preferred to <code>one&lt;</code>" in few and "2 of 3" in few and "3 ties" in few
    assert "do not show" in few and "Wilson" in few
    assert "better one" in blind.verdict(Tally("one", "two", 30, 5, 1)) and "1 tie left" in blind.verdict(
        Tally("one", "two", 30, 5, 1)
    )
    assert "nothing was decided: 2 ties" in blind.verdict(Tally("one", "two", 0, 0, 2))


def lines(number: int) -> list[Asked]:
    return [Asked.of(f"red car {place}") for place in range(number)]


def test_sides_and_queries_are_drawn_at_random(page: Page) -> None:
    sitting = blind.begin(page, (TEXT, PIXELS), lines(60), 40, 6, random.Random(3))
    assert len({turn.asked for turn in sitting.turns}) == 40
    assert 10 < sum(turn.left.startswith(TEXT) for turn in sitting.turns) < 30
    assert [turn.asked for turn in sitting.turns] != lines(60)[:40]
    other = blind.begin(page, (TEXT, PIXELS), lines(60), 40, 6, random.Random(4))
    assert [t.left for t in other.turns] != [t.left for t in sitting.turns] and other.run != sitting.run
    with pytest.raises(BadRecipe, match="both recipes"):
        blind.begin(page, (TEXT, f"{TEXT},sum"), lines(3), 3, 6)


def test_a_sitting_hides_the_recipes_keeps_each_choice_once_and_reveals_them(own: Page) -> None:
    shown = blind_panel.begun(own, (TEXT, PIXELS), "red car\nblue boat\ngreen frog", 3, 6)
    turns = 0
    while shown.sitting is not None:
        sitting = shown.sitting
        assert not re.search(r"hashing|@|score|only|mm-curves| s<", shown.html.split("</p>", 1)[1].replace("data-", ""))
        again = blind_panel.chosen(own, sitting, "left", "another turn")
        assert again.sitting == sitting
        shown = blind_panel.chosen(own, sitting, ("left", "right", "tie")[turns], sitting.token)
        turns += 1
    assert turns == 3
    made = judging.judgements(own).preferences()
    assert [p.choice for p in made] == ["left", "right", "tie"] and len({p.run for p in made}) == 1
    assert "Who was who" in shown.html and "hashing@visual,sum" in shown.html and "1 tie left" in shown.html
    assert blind.standing(own, TEXT, PIXELS).ties == 1
    assert blind.numbers(blind.standing(own, TEXT, PIXELS))["wins"] == sum(
        (p.left if p.choice == "left" else p.right) == f"{TEXT},sum" for p in made if p.choice != "tie"
    )
    assert "is no choice" in blind_panel.chosen(own, sitting, "both", sitting.token).problem


def test_a_file_of_preferences_says_of_how_many_judgements_each_row_is(page: Page) -> None:
    sitting = Sitting("r", (TEXT, PIXELS), 6, ())
    html = saved.preferred(page, sitting, Tally(TEXT, PIXELS, 2, 1, 1), Tally(TEXT, PIXELS, 9, 6, 5))
    (address,) = re.findall(r'href="data:text/csv;charset=utf-8,([^"]+)"', html)
    own, pooled = csv.DictReader(io.StringIO(unquote(address)))
    counts = ("of", "first preferred", "second preferred", "ties", "judgements", "length of the lists (k)")
    assert [own[head] for head in counts] == ["this sitting", "2", "1", "1", "4", "6"]
    # Earlier sittings may have had longer or shorter lists.
    assert [pooled[head] for head in counts] == ["all sittings", "9", "6", "5", "20", ""]
    assert pooled["win rate of the first"] == "0.6"
    assert not {"about n", "about k"} & set(own) and "about models" in own
    (note,) = re.findall(r'data-note="([^"]+)"', html)
    assert note.startswith("n 4 · k 6 · ")  # the picture is of this sitting


@pytest.mark.parametrize(
    ("names", "others"),
    [((TEXT, PIXELS, "hashing@all"), "C is"), ((TEXT, PIXELS, "hashing@all", "broken"), "C and D are")],
)
def test_of_more_than_two_recipes_the_first_two_are_judged_and_that_is_said(
    own: Page, names: tuple[str, ...], others: str
) -> None:
    shown = blind_panel.begun(own, names, "red car", 1, 6)
    assert shown.sitting is not None and shown.sitting.recipes == (f"{TEXT},sum", f"{PIXELS},sum")
    assert "A against B" in shown.html and "hashing" not in shown.html.split("</p>", 1)[0]
    early = blind_panel.ended(own, shown.sitting).html
    end = blind_panel.chosen(own, shown.sitting, "left", shown.sitting.token).html
    for html in (early, end, notice(blind.which(len(names)))):
        assert f"A against B: two recipes are judged blind; {others} no part of it." in html
    two = blind_panel.begun(own, names[:2], "red car", 1, 6)
    assert two.sitting is not None and "A against B" not in two.html + blind_panel.ended(own, two.sitting).html
    assert blind.which(2) == ""


def test_queries_with_the_same_lists_are_not_asked(own: Page) -> None:
    shown = blind_panel.begun(own, (TEXT, f"{TEXT},slerp:0.5"), "red car\nblue boat", 2, 4)
    assert shown.sitting is None and "same first 4 for 2 of the queries" in shown.html
    assert judging.judgements(own).preferences() == []


# --- judging ---------------------------------------------------------------------------------------------------------


def test_a_grade_shows_wherever_the_query_is_asked_again(own: Page) -> None:
    car, boat = by_caption(own, "red car"), by_caption(own, "blue boat")
    assert judging.judge(own, RED, car.id, 3) == 3
    assert 'data-as="0"' in judging.kept(own, RED, {"item": boat.id, "grade": 0})
    assert judging.grades(own, Asked.of("  red car ")) == {car.id: 3, boat.id: 0}
    assert judging.grades(own, Asked.of("red")) == {}
    shown = compare.compare(own, RED, (TEXT, PIXELS), 12).columns
    pressed = re.findall(rf'data-judged="{car.id}".*?data-grade="(\d)" aria-pressed="true"', shown)
    assert pressed == ["3", "3"]
    assert 'data-as=""' in judging.kept(own, RED, {"item": boat.id, "grade": None})
    (row,) = judging.listed(own)
    assert (row["item"], row["grade"], row["query"]) == (car.id, 3, "“red car”")
    assert judging.asked(own, row["asked"]) == RED


@pytest.mark.parametrize("grade", [4, -1, "3", True, 1.5])
def test_a_grade_out_of_range_is_refused(own: Page, grade: object) -> None:
    car = by_caption(own, "red car")
    with pytest.raises(RetrievalError, match="the grade"):
        judging.judge(own, RED, car.id, grade)
    with pytest.raises(UnknownName):
        judging.judge(own, RED, "no-such-item", 1)
    with pytest.raises(BadQuery, match="nothing was asked"):
        judging.judge(own, Asked(), car.id, 1)
    assert judging.listed(own) == []


def test_a_query_with_a_picture_is_judged_by_its_bytes_and_asked_again(own: Page, tmp_path: Path) -> None:
    car = by_caption(own, "red car")
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    draw(first, (90, 91, 92))
    second.write_bytes(first.read_bytes())
    judging.judge(own, Asked.of(picture=str(first)), car.id, 2)
    first.unlink()
    assert judging.grades(own, Asked.of(picture=str(second))) == {car.id: 2}
    (row,) = judging.listed(own)
    again = judging.asked(own, row["asked"])
    assert query(own, again).parts[0].content is not None
    assert "upload it again" in str(
        pytest.raises(BadQuery, judging.judge, own, Asked.of(picture=str(first)), car.id, 1)
    )


def test_an_export_is_a_dataset_in_the_library(own: Page) -> None:
    judging.judge(own, RED, by_caption(own, "red car").id, 3)
    made, other = judging.exported(own), judging.exported(own, copied=True)
    assert made.folder.is_relative_to(own.library.path) and other.folder != made.folder
    assert len(load(made.folder).corpus) == len(load(other.folder).corpus) == made.entries
    assert str(made.folder) in judging.told(own, made)
    own.trusted = False
    assert str(own.library.path) not in judging.told(own, made)


def test_a_read_only_page_refuses_every_way_to_judge(made: Path, temporary: Path) -> None:
    opened = Page(Library.open(made), read_only=True)
    car = by_caption(opened, "red car")
    sitting = Sitting("r", (TEXT, PIXELS), 4, (Turn(RED, TEXT, PIXELS),))
    for work in (
        lambda: judging.judge(opened, RED, car.id, 1),
        lambda: judging.exported(opened),
        lambda: blind.begin(opened, (TEXT, PIXELS), [RED], 1, 4),
        lambda: blind.choose(opened, sitting, "left", sitting.token),
        lambda: blind.record(opened, RED, TEXT, PIXELS, "left", "r"),
    ):
        with pytest.raises(RetrievalError, match="read-only"):
            work()
    assert "data-grade" not in compare.compare(opened, RED, (TEXT, PIXELS), 4).columns
    assert not (made / "judgements.jsonl").exists() and not (made / "exports").exists()
    opened.close()
