"""The Compare tab: two to four recipes on one query or on many, two of them blind, and judging what they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from mmretrieval.engine import DEPTH
from mmretrieval.errors import BadQuery
from page.compare import blind_panel, columns, judging, query_set, saved, times
from page.compare.columns import LETTERS, Answer, agreements, answers
from page.events import FREE, LAST, TURN
from page.notices import attempt, escape, notice
from page.query import recipes
from page.query.asking import AVOIDED, Asked, query
from page.search import tab as search

if TYPE_CHECKING:
    from page.state import Page

ARRIVED = "A: the recipe as it was. B: with the change. Write a query and compare."
PROMISE = "One query, two to four recipes: see what all find, what moves, and what only one of them finds."
FEWEST, MOST = 2, len(LETTERS)


@dataclass(frozen=True)
class Comparison:
    """What comparing shows: how alike the lists are, the lists, what moved; or what went wrong."""

    summary: str = ""
    columns: str = ""
    moved: str = ""
    problem: str = ""


def compare(page: Page, wanted: Asked, names: Sequence[str], k: int) -> Comparison:
    """Asks the engine once for each recipe and draws the answers."""
    outcome = attempt(lambda: _compared(page, wanted, names, k))
    return outcome.value if outcome.value is not None else Comparison(problem=outcome.problem)


def ranks(page: Page, wanted: Asked, names: Sequence[str], depth: int = DEPTH) -> list[Answer]:
    """Each recipe's answer to a query down to `depth`, in the order of the names."""
    return answers(page, query(page, wanted), names, depth)


def _compared(page: Page, wanted: Asked, names: Sequence[str], k: int) -> Comparison:
    found = ranks(page, wanted, names)
    if not any(answer.hits for answer in found):
        return Comparison(problem="No recipe finds anything: the library is empty, or no item has vectors there.")
    items = page.library.items_by_id(list({hit.id for answer in found for hit in answer.hits}))
    grades = None if page.read_only else judging.grades(page, wanted)
    pairs = agreements([answer.ids for answer in found], k)
    told = search.spoken(page, wanted)
    alike = columns.summary(pairs, k) + saved.alike(page, told, found, pairs, k)
    asked = columns.pictured(page, wanted)
    said = f'{asked}<p class="mm-summary">Compared: {escape(told)}</p>{alike}'
    how = "" if page.read_only else f'<p class="mm-hint">{judging.HELP}</p>'
    spent = times.table(found, LETTERS, saved.times(page, told, found))
    lists = f"{how}{spent}{columns.drawn(items, found, k, grades)}{saved.lists(page, told, items, found, k)}"
    return Comparison(said, lists, columns.moved(items, found, k))


def split(asked: Asked) -> tuple[str, str, Asked]:
    """A query as this tab holds it: its plain words, its plain words to avoid, and all the rest."""
    plain = [p for p in asked.parts if p.kind == "words" and not p.feedback]
    words = next((p for p in plain if p.weight == 1.0), None)
    avoid = next((p for p in plain if p.weight == -AVOIDED), None)
    rest = replace(asked, parts=tuple(p for p in asked.parts if p is not words and p is not avoid))
    return words.value if words else "", avoid.value if avoid else "", rest


def joined(words: str | None, avoid: str | None, rest: Asked) -> Asked:
    """The query that `split` took apart."""
    given = Asked.of(words or "", avoid=avoid or "").parts
    return replace(rest, parts=(*given, *rest.parts))


def along(page: Page, rest: Asked) -> str:
    """What a query holds besides the words that this tab shows, as a small row; or nothing."""
    said = search.spoken(page, rest)
    if not said:
        return ""
    found = page.library.items_by_id([part.value for part in rest.parts if part.kind == "item"])
    shown = next((i for i in found.values() if i.visual), None)
    picture = f'<img src="media/thumb/{escape(shown.id)}" alt="">' if shown else ""
    return f'<div class="mm-chip">{picture}<span>with {escape(said)}</span></div>'


# --- widgets ---------------------------------------------------------------------------------------------------------


class Tab(NamedTuple):
    """What other tabs put something into: recipes, and the query (`held`, as the function of that name fills it); and
    what to do when it is there."""

    left: Any
    right: Any
    third: Any
    fourth: Any
    held: list[Any]
    arrive: dict[str, Any]


class Menus(NamedTuple):
    """The recipes' menus, the columns that they are in, how many are shown, and what changes that."""

    recipes: list[Any]
    places: list[Any]
    number: Any
    more: Any
    fewer: Any


class One(NamedTuple):
    """The widgets of the comparison of one query; `rest` and `shown` hold an Asked each."""

    words: Any
    avoid: Any
    along: Any
    out: Any
    k: Any
    clear: Any
    same: Any
    go: Any
    problem: Any
    summary: Any
    lists: Any
    judged: Any
    moved: Any
    rest: Any
    shown: Any

    @property
    def held(self) -> list[Any]:
        """What holds the query."""
        return [self.words, self.avoid, self.rest, self.along, self.out]

    @property
    def answer(self) -> list[Any]:
        """What a comparison fills."""
        return [self.problem, self.summary, self.lists, self.moved, self.judged, self.shown]


def build(page: Page, searched: search.Tab) -> Tab:
    """Lays out the tab and wires it; gives what other tabs fill. `searched` is the Search tab."""
    menus = _menus(page)
    with gr.Tabs() as ways:
        with gr.Tab("One query", id="one"):
            one = _one()
        with gr.Tab("Many queries", id="set"):
            listed = _set(page)
        with gr.Tab("Blind", id="blind"):
            blind_panel.build(page, menus.recipes, menus.number, queries_box(page, "blind-queries"))
    if not page.read_only:
        _export(page)
    asking = _wire(page, menus, one, searched)
    _wire_set(page, menus, one, listed, ways, asking)

    def on_arrive(*values: Any) -> tuple[Any, ...]:
        k, _, first, second, _, _, words, avoid, rest = values
        told = (
            _answered(page, [first, second], k, words, avoid, rest)
            if (words or "").strip() or (avoid or "").strip() or rest.parts
            else ("", notice(ARRIVED), "", "", "", Asked())
        )
        return *told, *_numbered(FEWEST), gr.Tabs(selected="one")

    outputs = [*one.answer, menus.number, *menus.places, menus.more, menus.fewer, ways]
    first, second, third, fourth = menus.recipes
    return Tab(first, second, third, fourth, one.held, asking | {"fn": on_arrive, "outputs": outputs})


def _menus(page: Page) -> Menus:
    encoders, default = page.library.encoders, page.library.default_recipe
    chosen = [default, recipes.rival(encoders, default)]
    offers = [f"{encoders[0]}@text", f"{encoders[0]}@visual", f"{encoders[0]}@visual,center", f"{encoders[0]}@all"]
    chosen += [recipe for recipe in offers if recipe not in chosen][: MOST - FEWEST]
    names = ("left-recipe", "right-recipe", "third-recipe", "fourth-recipe")
    menus, places = [], []
    with gr.Row(equal_height=False):
        for letter, recipe, name in zip(LETTERS, chosen, names, strict=True):
            with gr.Column(min_width=240, visible=letter in LETTERS[:FEWEST]) as place:
                menus.append(search.recipe_menu(page, f"Recipe {letter}", recipe, name))
            places.append(place)
    with gr.Row(elem_classes="mm-actions"):
        more = gr.Button("Add a recipe", size="sm", elem_id="more-recipes", min_width=120, scale=0)
        fewer = gr.Button("Take the last away", size="sm", elem_id="fewer-recipes", visible=False, scale=0)
    return Menus(menus, places[FEWEST:], gr.State(FEWEST), more, fewer)


def _numbered(number: int) -> tuple[Any, ...]:
    """How many recipes are shown, for the State, the columns beyond two and both buttons."""
    places = (gr.Column(visible=number > place) for place in range(FEWEST, MOST))
    return number, *places, gr.Button(visible=number < MOST), gr.Button(visible=number > FEWEST)


def _one() -> One:
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=280):
            words = gr.Textbox(
                label="Words", placeholder="one query for all recipes", elem_id="compare-words", max_lines=3
            )
        with gr.Column(scale=4, min_width=220):
            avoid = gr.Textbox(label="Avoid", placeholder="what to move away from", max_lines=2)
    held = gr.HTML(elem_id="compare-along")
    out = gr.Button("Take this out of the query", size="sm", visible=False, elem_id="compare-out")
    with gr.Row(elem_classes="mm-actions"):
        k = gr.Slider(4, 40, 12, step=4, label="How many", min_width=200)
        clear = gr.Button("Clear", elem_id="compare-clear", min_width=80)
        same = gr.Button("Take the query from Search", min_width=160)
        go = gr.Button("Compare", variant="primary", elem_id="compare", min_width=160)
    problem = gr.HTML(elem_id="compare-problem")
    summary = gr.HTML(notice(PROMISE), elem_id="compare-summary")
    judged = gr.HTML(elem_id="compare-judged", js_on_load=judging.KEPT_JS)
    lists = gr.HTML(elem_id="compare-lists", js_on_load=columns.COLUMNS_JS)
    moved = gr.HTML(elem_id="compare-moved", elem_classes="mm-moves")
    shown = problem, summary, lists, judged, moved
    return One(words, avoid, held, out, k, clear, same, go, *shown, gr.State(Asked()), gr.State(Asked()))


def _answered(page: Page, names: Sequence[str], k: int, *parts: Any) -> tuple[Any, ...]:
    wanted = joined(*parts)
    found = compare(page, wanted, names, int(k))
    return notice(found.problem, "warning"), found.summary, found.columns, found.moved, "", wanted


def _wire(page: Page, menus: Menus, one: One, searched: search.Tab) -> dict[str, Any]:
    """Who does what when on one query; gives the event that compares."""

    def on_compare(k: int, number: int, *rest: Any) -> tuple[Any, ...]:
        return _answered(page, rest[:number], k, *rest[MOST:])

    def on_same(wanted: Asked) -> tuple[Any, ...]:
        return held(page, wanted)

    def on_judge(wanted: Asked, event: gr.EventData) -> Any:
        said = dict(event._data)
        outcome = attempt(lambda: judging.kept(page, wanted, said))
        return outcome.value if outcome.value is not None else notice(outcome.problem, "warning")

    asking: dict[str, Any] = {
        "fn": on_compare,
        "inputs": [one.k, menus.number, *menus.recipes, one.words, one.avoid, one.rest],
        "outputs": one.answer,
        "concurrency_id": "encoder",
        "api_visibility": "private",
        "show_progress_on": one.lists,
        **LAST,
    }
    gr.on([one.go.click, one.words.submit, one.avoid.submit], **asking)
    one.same.click(on_same, [searched.asked], one.held, **FREE).success(**asking)
    one.out.click(lambda: (Asked(), "", gr.Button(visible=False)), outputs=one.held[2:], **FREE)
    nothing = "", "", Asked(), "", gr.Button(visible=False), "", notice(PROMISE), "", "", "", Asked()
    one.clear.click(lambda: nothing, outputs=[*one.held, *one.answer], **FREE)
    one.lists.select(on_judge, [one.shown], [one.judged], **TURN)
    counted = [menus.number, *menus.places, menus.more, menus.fewer]
    menus.more.click(lambda n: _numbered(min(n + 1, MOST)), [menus.number], counted, **FREE)
    menus.fewer.click(lambda n: _numbered(max(n - 1, FEWEST)), [menus.number], counted, **FREE)
    return asking


def held(page: Page, asked: Asked) -> tuple[Any, ...]:
    """What the widgets of one query show of it."""
    words, avoid, rest = split(asked)
    said = along(page, rest)
    return words, avoid, rest, said, gr.Button(visible=bool(said))


# --- many queries ----------------------------------------------------------------------------------------------------


class Listed(NamedTuple):
    """The widgets of the comparison over many queries; `rows` holds the queries in the table's order."""

    text: Any
    go: Any
    out: Any
    rows: Any


def queries_box(page: Page, name: str) -> gr.Textbox:
    """Where queries are pasted, one a line; left empty, the dataset's are taken."""
    known = page.dataset
    empty = (
        f"left empty: the {len(known.queries):,} queries of {known.name}" if known else "a red car\na bird in flight"
    )
    return gr.Textbox(label="Queries, one a line", placeholder=empty, lines=4, max_lines=12, elem_id=name)


def _set(page: Page) -> Listed:
    text = queries_box(page, "set-queries")
    with gr.Row(elem_classes="mm-actions"):
        go = gr.Button("Compare over all", variant="primary", elem_id="compare-set", min_width=220, scale=0)
    out = gr.HTML(
        notice("Many queries, the same recipes: see where they disagree most, and open that query."),
        elem_id="set-found", js_on_load=query_set.QUERY_SET_JS,
    )  # fmt: skip
    return Listed(text, go, out, gr.State(()))


def _wire_set(page: Page, menus: Menus, one: One, listed: Listed, ways: Any, asking: dict[str, Any]) -> None:
    def on_set(text: str, number: int, *rest: Any) -> tuple[Any, ...]:
        progress = gr.Progress()
        names = rest[:number]

        def work() -> tuple[str, tuple[Asked, ...]]:
            if not all(names):
                raise BadQuery("choose a recipe for each column first, or take the last away")
            asked, whence = query_set.chosen(page, text)
            told = lambda done: progress((done, len(asked)), desc="queries")  # noqa: E731
            rows, spent = query_set.disagreement(page, asked, names, told)
            files = saved.query_set(page, rows, names, whence)
            drawn = query_set.drawn(rows, names, spent, whence) + files
            return drawn, tuple(row.asked for row in rows)

        outcome = attempt(work)
        return outcome.value if outcome.value is not None else (notice(outcome.problem, "warning"), ())

    def on_pick(rows: Sequence[Asked], event: gr.EventData) -> tuple[Any, ...]:
        place = event._data.get("place")
        if not isinstance(place, int) or not 0 <= place < len(rows):
            return *(gr.skip(),) * len(one.held), gr.skip()
        return *held(page, rows[place]), gr.Tabs(selected="one")

    inputs = [listed.text, menus.number, *menus.recipes]
    listed.go.click(
        on_set, inputs, [listed.out, listed.rows], concurrency_id="query-set", api_visibility="private",
        show_progress_on=listed.out,
    )  # fmt: skip
    listed.out.select(on_pick, [listed.rows], [*one.held, ways], **FREE).success(**asking)


# --- judgements ------------------------------------------------------------------------------------------------------


def _export(page: Page) -> None:
    with gr.Accordion("Judgements as an evaluation dataset", open=False):
        gr.HTML(
            '<p class="mm-hint">All grades and blind choices that this library keeps, as a folder that '
            "<code>python -m eval run</code> takes: what the library holds, the judged queries, their grades.</p>"
        )
        with gr.Row(elem_classes="mm-actions"):
            copied = gr.Checkbox(False, label="Copy the files too, so that the folder can be moved", min_width=240)
            go = gr.Button("Export the judgements", elem_id="export-judgements", min_width=160, scale=0)
        out = gr.HTML(elem_id="exported")

    def on_export(copied: bool) -> str:
        outcome = attempt(lambda: judging.told(page, judging.exported(page, copied=bool(copied))))
        return outcome.value if outcome.value is not None else notice(outcome.problem, "warning")

    go.click(on_export, [copied], [out], concurrency_id="export", api_visibility="private")
