"""The Search tab: a query of weighed parts, its recipe and filters; results; one of them in detail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from page.events import FREE
from page.notices import notice
from page.query import filtering, parts, recipes, staging
from page.query.asking import Asked
from page.query.links import FIRST, Link
from page.search import panel
from page.search.cards import GRID_JS
from page.search.detail import PANEL_JS
from page.search.handlers import Handlers, Widgets, show_detail, wire, wire_detail
from page.search.results import EXAMPLES, Results, first_look, search, spoken

if TYPE_CHECKING:
    from page.state import Page

# What other tabs and the tests know this tab by.
__all__ = ["EXAMPLES", "FREE", "Results", "first_look", "search", "show_detail", "spoken"]
# What a menu of recipes offers where none need be chosen.
NOTHING = ("nothing", "")
PAST_JS, SUMMARY_JS = (Path(__file__).with_name(name).read_text() for name in ("past.js", "summary.js"))


class Tab(NamedTuple):
    """What other tabs take from a search and put into one: the query's State, the recipe, the words that are typed.

    `arrive` (for `.success(**tab.arrive)`) searches for what the State holds and redraws everything. `load` (for
    `demo.load`, one after the other) bring back what the address says; `look` is a function and the menus that it
    brings up to date.
    """

    asked: Any
    recipe: Any
    words: Any
    arrive: dict[str, Any]
    load: tuple[dict[str, Any], dict[str, Any]]
    look: tuple[Any, list[Any]]


# --- widgets ---------------------------------------------------------------------------------------------------------


def picture_input(label: str, height: int, sources: tuple[str, ...] = ("upload", "clipboard")) -> gr.Image:
    """An upload or paste whose handler gets the path of the very bytes that came: readers decode them, not Gradio."""
    widget = gr.Image(label=label, type="filepath", sources=list(sources), image_mode=None, height=height, buttons=[])  # type: ignore[arg-type]
    # Gradio would open the file in this process, and fail without a word for formats that it does not know.
    widget.preprocess = lambda payload: payload.path if payload else None  # type: ignore[method-assign]
    return widget


def recipe_menu(page: Page, label: str, value: str, name: str = "recipe", *, optional: bool = False) -> gr.Dropdown:
    """A menu of recipes that also takes a typed one, and says at once what is wrong with it."""
    offered = recipes.suggestions(page.library.encoders)
    offered = [NOTHING, *offered] if optional else offered
    menu = gr.Dropdown(offered, value=value, label=label, allow_custom_value=True, elem_id=name)
    wrong = gr.HTML(elem_id=f"{name}-problem")

    def on_change(text: str | None) -> str:
        absent = optional and not (text or "").strip()
        return "" if absent else notice(recipes.complaint(text, page.library), "warning")

    menu.change(on_change, [menu], [wrong], **FREE)
    return menu


def _asking(page: Page, previews: parts.Previews) -> dict[str, Any]:
    """What a query is put together with: the row of parts and what adds to it, the recipe, the filters."""
    made: dict[str, Any] = {"asked": gr.State(Asked()), "seen": gr.State(Link()), "hits": gr.State({})}
    made |= {"chosen": gr.State(""), "came": gr.Textbox(visible=False)}
    with gr.Row(equal_height=False, elem_classes="mm-ask"):
        with gr.Column(scale=7, min_width=300):
            with gr.Row(elem_classes="mm-go"):
                made["words"] = gr.Textbox(
                    show_label=False,
                    container=False,
                    placeholder="What should it show or say? Enter adds it. “not apple” pushes away.",
                    elem_id="words",
                    max_lines=3,
                    scale=1,
                    min_width=240,
                )
                gr.Button("Search", variant="primary", elem_id="search", min_width=100)
                made["clear"] = gr.Button("Clear", elem_id="clear", min_width=70)
            made["past"] = gr.HTML(elem_id="past", js_on_load=PAST_JS)
            made["row"] = gr.HTML(parts.row(previews, Asked()), elem_id="parts", js_on_load=parts.PARTS_JS)
        with gr.Column(scale=3, min_width=240):
            made["picture"] = picture_input("Add a picture", 150, ("upload", "clipboard", "webcam"))
            made["picture"].elem_id = "picture"
    with gr.Accordion("Recipe: how it searches", open=False, elem_id="recipe-box"), gr.Row(equal_height=False):
        with gr.Column(scale=1, min_width=280):
            made["recipe"] = recipe_menu(page, "Recipe", page.library.default_recipe)
            made["cut"] = gr.Checkbox(True, label="Grey what chance would find as well", elem_id="cut")
        with gr.Column(scale=1, min_width=280):
            shown = staging.chips(page.library.default_recipe)
            made["steps"] = gr.HTML(shown, elem_id="steps", js_on_load=staging.STAGES_JS)
            made["stages"] = gr.HTML(staging.menu(page), elem_id="add-stage", js_on_load=staging.STAGES_JS)
    with gr.Accordion("Filters", open=False, elem_id="filters"):
        made["kinds"], made["conditions"], made["form"], made["write"] = filtering.build()
    return made


def build(page: Page) -> Tab:
    """Lays out the tab and wires it; gives what others look at and fill."""
    previews = parts.Previews(page)
    made = _asking(page, previews)
    made["problem"] = gr.HTML(elem_id="problem")
    with gr.Row(equal_height=False):
        with gr.Column(scale=7, min_width=320):
            made["line"] = gr.HTML(elem_id="summary", js_on_load=SUMMARY_JS)
            made["shown"] = gr.HTML(elem_id="results", js_on_load=GRID_JS, min_height=200)
        with gr.Column(scale=4, min_width=300, visible=False, elem_classes="mm-side") as column:
            with gr.Row(elem_classes="mm-shut"):
                made["close"] = gr.Button("Close", size="sm", min_width=80, scale=0, elem_id="detail-close")
            made["about"] = gr.HTML(elem_id="detail", js_on_load=PANEL_JS)
            below = panel.build()
            made["remove"] = gr.Button("Remove from library", size="sm", variant="stop", visible=not page.read_only)
            made["sure"] = gr.Button("Really remove this file’s items", size="sm", variant="stop", visible=False)
    made["column"] = column
    on = Widgets(**made)
    handlers = Handlers(page, previews)
    arrive, load = wire(handlers, on)
    wire_detail(handlers, on)
    panel.wire(page, below, on)
    # Reasons belong to the results that they were asked of; more of the same results leave them.
    on.shown.change(lambda seen: "" if seen.k <= FIRST else gr.skip(), [on.seen], [below.why], **FREE)
    menus = [on.form.dated, on.form.key]
    return Tab(on.asked, on.recipe, on.words, arrive, load, (lambda: filtering.menus(page), menus))
