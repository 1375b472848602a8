"""The Compare tab: two recipes on one query, side by side; what both found, and what moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from eval.agreement import PERSISTENCE, overlap, rank_biased_overlap
from mmretrieval.engine import DEPTH
from mmretrieval.types import Hit, Item
from page import recipes, search
from page.asking import Asked, query
from page.cards import Card, cards, grid, title
from page.notices import attempt, escape, notice, table

if TYPE_CHECKING:
    from page.state import Page

Sides = tuple[str, str]
TRANSDUCTIVE = "transductive: an answer depends on the queries asked with it, and here there is only this one"
ARRIVED = "Left: the recipe as it was. Right: with the change. Write a query and compare."
PROMISE = "One query, two recipes: see what both find and what only one does."
MOVED_SHOWN = 20
PARTS = ("words", "picture", "library item", "avoid")
SIDES: tuple[Sides, Sides] = (("left", "right"), ("right", "left"))


@dataclass(frozen=True)
class Comparison:
    """What comparing shows: both lists, a line on each, what they share, what moved; or what went wrong."""

    summary: str = ""
    left: str = ""
    right: str = ""
    moved: str = ""
    problem: str = ""


def compare(page: Page, wanted: Asked, first: str, second: str, k: int) -> Comparison:
    """Asks the engine twice and draws both answers."""
    outcome = attempt(lambda: _compared(page, wanted, (first, second), k))
    return outcome.value if outcome.value is not None else Comparison(problem=outcome.problem)


def ranks(page: Page, wanted: Asked, names: Sides, depth: int = DEPTH) -> tuple[list[Hit], list[Hit], list[str]]:
    """Both recipes' hits down to `depth`, and a line for each: what it was and how long it took."""
    asked = query(page, wanted)
    runs = [page.engine.rank([asked], name, depth) for name in names]
    lines = [
        f"{run.recipe} · {run.meta['seconds']:.2f} s{f' · {TRANSDUCTIVE}' if run.meta.get('transductive') else ''}"
        for run in runs
    ]
    return list(runs[0].rankings[0].hits), list(runs[1].rankings[0].hits), lines


def _compared(page: Page, wanted: Asked, names: Sides, k: int) -> Comparison:
    left, right, lines = ranks(page, wanted, names)
    if not left and not right:
        return Comparison(problem="Neither recipe finds anything: the library is empty, or no item has vectors there.")
    items = page.library.items_by_id(list({hit.id for hit in (*left, *right)}))
    places = {hit.id: hit.rank for hit in left}, {hit.id: hit.rank for hit in right}
    shown = [
        f'<p class="mm-summary"><code>{escape(line)}</code></p>'
        + grid(_marked(items, hits[:k], other, sides), line, chosen=False)
        for line, hits, other, sides in zip(lines, (left, right), (places[1], places[0]), SIDES, strict=True)
    ]
    summary = f'<p class="mm-summary">Compared: {escape(search.spoken(page, wanted))}</p>{_summary(left, right, k)}'
    return Comparison(summary, shown[0], shown[1], _moved(items, places, k))


def _marked(items: Mapping[str, Item], hits: Sequence[Hit], other: Mapping[str, int], sides: Sides) -> list[Card]:
    """The cards of one side, each with where the other side has it."""
    here, there = sides
    marked = []
    for shown in cards(items, hits):
        place = other.get(shown.id)
        if place is None:
            mark, tone = f"only {here}", "only"
        elif place == shown.rank:
            mark, tone = "same place", "same"
        else:
            mark, tone = f"{there} {place}", "moved"
        marked.append(replace(shown, mark=mark, tone=tone))
    return marked


def _summary(left: Sequence[Hit], right: Sequence[Hit], k: int) -> str:
    ids = [h.id for h in left[:k]], [h.id for h in right[:k]]
    both = len(set(ids[0]) & set(ids[1]))
    deep = rank_biased_overlap([h.id for h in left], [h.id for h in right])
    return (
        f'<p class="mm-summary"><strong>{both} of the first {k}</strong> are in both lists '
        f"(overlap@{k} {overlap(*ids):.2f}). Rank-biased overlap of the whole lists: {deep:.2f} "
        f"(p = {PERSISTENCE}; 1 is the same order, 0 nothing in common).</p>"
    )


def _moved(items: Mapping[str, Item], places: tuple[Mapping[str, int], Mapping[str, int]], k: int) -> str:
    """What stands among the first k of either list and not in the same place in the other, the furthest first."""
    beyond = max([0, *places[0].values(), *places[1].values()]) + 1
    found = {i: (places[0].get(i, beyond), places[1].get(i, beyond)) for i in items}
    met = [i for i, (a, b) in found.items() if min(a, b) <= k and a != b]
    met.sort(key=lambda i: (-abs(found[i][0] - found[i][1]), min(found[i]), i))
    rows = [(title(items[i]), *(n if n < beyond else "—" for n in found[i]), _change(*found[i], beyond)) for i in met]
    rows = rows[:MOVED_SHOWN]
    if not rows:
        return notice("Nothing moved: both recipes give the same first places.")
    caption = f"What moved ({len(rows)} of {len(met)}; — is not found down to place {beyond - 1})"
    return table(caption, ("item", "rank left", "rank right", "change"), rows, numbers=(1, 2, 3))


def _change(left: int, right: int, beyond: int) -> str:
    if left == beyond:
        return "only right"
    if right == beyond:
        return "only left"
    return f"{'▲' if right < left else '▼'} {abs(right - left)}"


def brought(page: Page, item: str | None, rest: tuple[Any, ...]) -> str:
    """What a query taken from Search holds besides the fields of this tab: its item, weights and filters; or ""."""
    usual = search.EMPTY[4:8]
    weights = [
        f"{name} {value:g}"
        for name, value, common in zip(PARTS, rest[:4], usual, strict=True)
        if value is not None and value != common
    ]
    filters = Asked(kinds=tuple(rest[4] or ()), conditions=rest[5] or "").sentence
    said = "; ".join(filter(None, [f"weights: {', '.join(weights)}" if weights else "", filters]))
    return search.chip(page, item) + notice(f"From Search: {said}" if said else "")


class Tab(NamedTuple):
    """What other tabs put something into: both recipes, the query's words; and what to do when it is there."""

    left: Any
    right: Any
    words: Any
    arrive: dict[str, Any]


def build(page: Page, searched: search.Form) -> Tab:
    """Lays out the tab and wires it; gives what other tabs fill."""
    default = page.library.default_recipe
    item = gr.State(None)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=280):
            words = gr.Textbox(
                label="Words", placeholder="one query for both recipes", elem_id="compare-words", max_lines=3
            )
            avoid = gr.Textbox(label="Avoid", placeholder="what to move away from", max_lines=2)
            along = gr.HTML(elem_id="compare-along")
            out = gr.Button("Take this out of the query", size="sm", visible=False, elem_id="compare-out")
        with gr.Column(scale=4, min_width=220):
            picture = search.picture_input("Picture", 170)
        with gr.Column(scale=5, min_width=280):
            first = search.recipe_menu(page, "Left recipe", default, "left-recipe")
            other = recipes.rival(page.library.encoders, default)
            second = search.recipe_menu(page, "Right recipe", other, "right-recipe")
    with gr.Row(elem_classes="mm-actions"):
        k = gr.Slider(4, 40, 12, step=4, label="How many", min_width=200)
        clear = gr.Button("Clear", elem_id="compare-clear", min_width=80)
        same = gr.Button("Take the query from Search", min_width=160)
        go = gr.Button("Compare", variant="primary", elem_id="compare", min_width=160)
    problem = gr.HTML(elem_id="compare-problem")
    summary = gr.HTML(notice(PROMISE), elem_id="compare-summary")
    with gr.Row(equal_height=False, elem_classes="mm-pair"):
        with gr.Column(min_width=300):
            left = gr.HTML(elem_id="compare-left")
        with gr.Column(min_width=300):
            right = gr.HTML(elem_id="compare-right")
    moved = gr.HTML(elem_id="compare-moved")
    # The form has more than this tab shows: what "Take the query from Search" brings along is kept beside it.
    rest = gr.State(search.EMPTY[4:])

    def on_compare(k: int, first: str, second: str, rest: tuple[Any, ...], *parts: Any) -> tuple[str, ...]:
        read = attempt(lambda: search.asked((*parts, *rest)))
        if read.value is None:
            return notice(read.problem, "warning"), "", "", "", ""
        found = compare(page, read.value, first, second, int(k))
        return notice(found.problem, "warning"), found.summary, found.left, found.right, found.moved

    def on_same(words: str, picture: str, item: str | None, avoid: str, *rest: Any) -> tuple[Any, ...]:
        shown = brought(page, item, rest)
        return words, picture, item, avoid, rest, shown, gr.Button(visible=bool(shown))

    def on_out() -> tuple[Any, ...]:
        return None, search.EMPTY[4:], "", gr.Button(visible=False)

    def on_clear() -> tuple[Any, ...]:
        return "", None, None, "", search.EMPTY[4:], "", gr.Button(visible=False), "", notice(PROMISE), "", "", ""

    def on_arrive(*values: Any) -> tuple[str, ...]:
        asked = any(values[i] for i in range(4, 8))
        return on_compare(*values) if asked else (notice(ARRIVED), "", "", "", "")

    answer, held = [problem, summary, left, right, moved], [rest, along, out]
    asking: dict[str, Any] = {
        "fn": on_compare,
        "inputs": [k, first, second, rest, words, picture, item, avoid],
        "outputs": answer,
        "concurrency_id": "encoder",
        "api_visibility": "private",
    }
    gr.on([go.click, words.submit, avoid.submit], **asking)
    same.click(on_same, [*searched], [words, picture, item, avoid, *held], **search.FREE).then(**asking)
    out.click(on_out, outputs=[item, *held], **search.FREE)
    clear.click(on_clear, outputs=[words, picture, item, avoid, *held, *answer], **search.FREE)
    return Tab(first, second, words, asking | {"fn": on_arrive})
