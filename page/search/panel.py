"""What stands below a result in detail: why it was found, and what is most like it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from mmretrieval.types import Hit
from page.events import EACH, FREE, TURN
from page.notices import attempt
from page.query.asking import Asked
from page.search import why
from page.search.around import near
from page.search.detail import DETAIL_JS, PANEL_JS
from page.search.handlers import Widgets, show_detail

if TYPE_CHECKING:
    from page.state import Page

# Looking into a result is long work: one at a time, beside the searches, which wait for their own turn alone.
LONG: dict[str, Any] = {"concurrency_id": "why", "concurrency_limit": 1}
LONG |= {"api_visibility": "private", "show_progress": "hidden"}
WHY_JS = Path(__file__).with_name("why.js").read_text(encoding="utf-8")
INTO_SIGHT = """() => setTimeout(() => {
  document.querySelector('#why .mm-why')?.scrollIntoView({block: 'nearest', behavior: 'smooth'});
}, 50)"""


class Panel(NamedTuple):
    """The answer to “Why this result?”, and the nearest neighbours, which emit `act` with do = open."""

    why: Any
    near: Any


def build() -> Panel:
    """Lays the widgets out, in the column that is open."""
    reasons = gr.HTML(elem_id="why", js_on_load=WHY_JS)
    return Panel(reasons, gr.HTML(elem_id="near", js_on_load=PANEL_JS))


def wire(page: Page, panel: Panel, on: Widgets) -> None:
    """Fills both for the item that is shown: neighbours at once, reasons when asked for."""

    def on_chosen(ident: str, recipe: str | None) -> tuple[str, str]:
        return "", neighbours(page, ident, recipe or "")

    def on_why(ident: str, asked: Asked, recipe: str | None) -> str:
        return why.told(page, ident, asked, recipe or "")

    def on_open(known: Mapping[str, Hit], event: gr.EventData) -> tuple[Any, ...]:
        ident = str(event._data.get("item", ""))
        buttons = gr.Button(visible=not page.read_only), gr.Button(visible=False)
        return ident, show_detail(page, ident, known), *buttons

    on.chosen.change(on_chosen, [on.chosen, on.recipe], [panel.why, panel.near], **FREE)
    shown = [on.chosen, on.about, on.remove, on.sure]
    panel.near.act(on_open, [on.hits], shown, **TURN).then(None, js=DETAIL_JS, **FREE, **EACH)
    begun = on.about.why(why.waiting, [on.chosen], [panel.why], **FREE).then(None, js=INTO_SIGHT, **FREE)
    answered = begun.then(on_why, [on.chosen, on.asked, on.recipe], [panel.why], **LONG)
    answered.then(None, js=INTO_SIGHT, **FREE)


def neighbours(page: Page, ident: str, recipe: str) -> str:
    """The nearest items; nothing where there are none to be had, as for an item that no encoder has seen yet."""
    if not ident:
        return ""
    return attempt(lambda: near(page, page.library.item(ident), recipe)).value or ""
