"""The blind side-by-side part of the Compare tab: its widgets, and who does what when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from page.compare import blind, judging, query_set
from page.compare.blind import Sitting
from page.events import FREE, TURN
from page.notices import attempt, notice
from page.search import tab as search

if TYPE_CHECKING:
    from page.state import Page

FEW, USUAL, MANY = 5, 20, 50
PROMISE = (
    "Recipes A and B answer the same queries, without their names; which side is which is drawn anew for each. Choose "
    "the better list each time: at the end their names are shown, with the win rate and how sure it is."
)
READ_ONLY = "This page is read-only: nothing can be judged on it."


@dataclass(frozen=True)
class Shown:
    """What the panel shows, and the sitting that it shows."""

    html: str
    sitting: Sitting | None = None
    problem: str = ""


def begun(page: Page, names: Sequence[str], text: str, number: int, k: int) -> Shown:
    """A new sitting at its first turn."""

    def work() -> Shown:
        asked, _ = query_set.chosen(page, text)
        return _turn(page, blind.begin(page, names, asked, number, k))

    outcome = attempt(work)
    return outcome.value if outcome.value is not None else Shown("", problem=outcome.problem)


def chosen(page: Page, sitting: Sitting, choice: object, token: object) -> Shown:
    """The sitting after a choice, at its next turn or its end."""
    outcome = attempt(lambda: _turn(page, blind.choose(page, sitting, choice, token)))
    return outcome.value if outcome.value is not None else Shown("", sitting, outcome.problem)


def ended(page: Page, sitting: Sitting) -> Shown:
    """The sitting's end, reached or called."""
    outcome = attempt(lambda: blind.revealed(page, sitting))
    return Shown(outcome.value or "", None, outcome.problem)


def _turn(page: Page, sitting: Sitting) -> Shown:
    sitting, found = blind.look(page, sitting)
    if sitting.over:
        return Shown(blind.revealed(page, sitting))
    spoken = search.spoken(page, sitting.turns[sitting.place].asked)
    return Shown(blind.asking(page, sitting, found, spoken), sitting)


def build(page: Page, menus: Sequence[Any], shown: Any, text: Any) -> None:
    """Lays out the panel for the first two menus' recipes, and wires it.

    `shown` holds how many of the menus are shown; `text` is where queries are pasted.
    """
    if page.read_only:
        gr.HTML(notice(READ_ONLY))
        return
    pair = gr.HTML(elem_id="blind-pair")
    with gr.Row(elem_classes="mm-actions"):
        number = gr.Slider(FEW, MANY, USUAL, step=1, label="How many queries, drawn at random", min_width=200)
        k = gr.Slider(4, 20, 6, step=1, label="How long the lists are", min_width=200)
        go = gr.Button("Begin", variant="primary", elem_id="blind-go", min_width=100)
        end = gr.Button("End and reveal", elem_id="blind-end", min_width=120, visible=False)
    problem = gr.HTML(elem_id="blind-problem")
    judged = gr.HTML(elem_id="blind-judged", js_on_load=judging.KEPT_JS)
    panel = gr.HTML(notice(PROMISE), elem_id="blind", js_on_load=blind.BLIND_JS)
    sitting = gr.State(None)

    def drawn(shown: Shown) -> tuple[Any, ...]:
        html = shown.html or gr.skip()
        return html, shown.sitting, notice(shown.problem, "warning"), "", gr.Button(visible=shown.sitting is not None)

    def on_begin(text: str, number: int, k: int, shown: int, *names: str) -> tuple[Any, ...]:
        return drawn(begun(page, names[:shown], text, int(number), int(k)))

    def on_choose(sitting: Sitting | None, event: gr.EventData) -> tuple[Any, ...]:
        said = dict(event._data)
        if sitting is None or said.get("do") != "choose":
            return (gr.skip(),) * 5
        return drawn(chosen(page, sitting, said.get("choice"), said.get("turn")))

    def on_judge(sitting: Sitting | None, event: gr.EventData) -> Any:
        said = dict(event._data)
        if sitting is None or sitting.over or said.get("do") != "judge":
            return gr.skip()
        outcome = attempt(lambda: judging.kept(page, sitting.turns[sitting.place].asked, said))
        return outcome.value if outcome.value is not None else notice(outcome.problem, "warning")

    def on_end(sitting: Sitting | None) -> tuple[Any, ...]:
        return drawn(ended(page, sitting)) if sitting is not None else (gr.skip(),) * 5

    outputs = [panel, sitting, problem, judged, end]
    heavy: dict[str, Any] = {"concurrency_id": "encoder", "api_visibility": "private", "show_progress_on": panel}
    go.click(on_begin, [text, number, k, shown, *menus], outputs, **heavy)
    panel.select(on_choose, [sitting], outputs, **heavy)
    panel.select(on_judge, [sitting], [judged], **TURN)
    shown.change(lambda shown: notice(blind.which(shown)), [shown], [pair], **FREE)
    end.click(on_end, [sitting], outputs, **FREE)
