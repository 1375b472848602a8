"""The Search tab: a query of words, a picture, a library item and what to avoid; results; one of them in detail."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from mmretrieval.types import Hit, Item
from page import arguments, recipes
from page.asking import KIND_NAMES, MOST_WEIGHT, Asked, query
from page.cards import DETAIL_JS, GRID_JS, STANDARDISED, card, cards, detail, grid, title
from page.notices import attempt, counted, escape, notice, removed

if TYPE_CHECKING:
    from page.state import Page

# Events that only look things up: any number at once, unseen by API clients, no spinner.
FREE: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private", "show_progress": "hidden"}
FIRST_LOOK = 12
# What a menu of recipes offers where none need be chosen.
NOTHING = ("nothing", "")
MOST = 100
# (words, what to avoid): each finds something in the sample library.
EXAMPLES: tuple[tuple[str, str], ...] = (
    ("a bird flying", ""),
    ("musical instrument", ""),
    ("famous tower", ""),
    ("fish under water", ""),
    ("how to bake bread", ""),
    ("fruit", "apple"),
)


@dataclass(frozen=True)
class Results:
    """What a search shows: a line about it, cards, the hits behind them, and what went wrong if anything did."""

    line: str = ""
    cards: str = ""
    hits: Mapping[str, Hit] = field(default_factory=dict)
    problem: str = ""


# What a Form holds when nothing has been asked.
EMPTY: tuple[Any, ...] = ("", None, None, "", 1.0, 1.0, 1.0, 0.5, [], "")


class Form(NamedTuple):
    """The widgets of a query, in the order in which `asked` takes their values."""

    words: Any
    picture: Any
    item: Any
    avoid: Any
    words_weight: Any
    picture_weight: Any
    item_weight: Any
    avoid_weight: Any
    kinds: Any
    conditions: Any


def asked(values: tuple[Any, ...]) -> Asked:
    """The query that the widgets of a Form hold."""
    form = Form(*values)
    words, picture, item, avoid = (
        arguments.real(default if weight is None else weight, "the weight", -MOST_WEIGHT, MOST_WEIGHT)
        for weight, default in zip(values[4:8], EMPTY[4:8], strict=True)
    )
    return Asked(
        form.words or "",
        form.picture or None,
        form.item or None,
        form.avoid or "",
        words_weight=words,
        picture_weight=picture,
        item_weight=item,
        avoid_weight=avoid,
        kinds=tuple(form.kinds or ()),
        conditions=form.conditions or "",
    )


def search(page: Page, wanted: Asked, recipe: str, k: int) -> Results:
    """Asks the engine and draws what it finds; what cannot be asked comes back as words."""
    outcome = attempt(lambda: _found(page, wanted, recipe, k))
    return outcome.value if outcome.value is not None else Results(problem=outcome.problem)


def _found(page: Page, wanted: Asked, recipe: str, k: int) -> Results:
    if next(page.library.items(), None) is None:
        return Results(problem="The library is empty: add files or a folder in the Library tab, then search again.")
    run = page.engine.rank([query(page, wanted)], recipe, int(k))
    hits = run.rankings[0].hits
    if not hits:
        return Results(problem=_nothing(wanted, run.recipe))
    items = page.library.items_by_id([hit.id for hit in hits])
    line = (
        f'<p class="mm-summary"><strong>{counted(len(hits), "result")}</strong> for {escape(spoken(page, wanted))}'
        f"<br><code>{escape(run.recipe)}</code> · {run.meta['seconds']:.2f} s{_scale(hits[0])}</p>"
    )
    return Results(line, grid(cards(items, hits), "Results"), {hit.id: hit for hit in hits})


def spoken(page: Page, wanted: Asked) -> str:
    """The query in words, its library item by its own first words."""
    found = page.library.items_by_id([wanted.item]) if wanted.item else {}
    named = [f"an item of the library (“{title(item)}”)" for item in found.values()]
    return wanted.said(*named)


def _scale(hit: Hit) -> str:
    """What the scores on the cards count, where that is not a cosine."""
    joined = bool(hit.trail) and hit.trail[-1].stage.endswith("@all")
    return f' · <span class="mm-hint">scores: {STANDARDISED}</span>' if joined else ""


def _nothing(wanted: Asked, recipe: str) -> str:
    if wanted.kinds or wanted.conditions.strip():
        return "Nothing in the library passes these filters: clear the kinds or the metadata filter, and search again."
    return f"{recipe} finds nothing: no item has vectors there yet. Choose another recipe, such as one with @all."


def first_look(page: Page) -> tuple[str, str]:
    """What stands on the page before anything was asked: a line, and some items of the library."""
    shown: list[Item] = list(itertools.islice(page.library.items(), FIRST_LOOK))
    if not shown:
        return notice("The library is empty: add files or a folder in the Library tab."), ""
    line = '<p class="mm-summary"><strong>Ask for something</strong>, or begin with one of these.</p>'
    return line, grid([card(item) for item in shown], "Some items of the library")


def show_detail(page: Page, ident: str, hits: Mapping[str, Hit]) -> str:
    """The detail of an item, with its trail where it is a result."""
    outcome = attempt(lambda: detail(page, page.library.item(ident), hits.get(ident)))
    return outcome.value if outcome.value is not None else notice(outcome.problem, "warning")


def chip(page: Page, ident: str | None) -> str:
    """The library item that is part of the query, as a small row; nothing where there is none."""
    found = page.library.items_by_id([ident]) if ident else {}
    return "".join(
        f'<div class="mm-chip"><img src="media/thumb/{escape(i.id)}" alt=""><span>like {escape(title(i))}</span></div>'
        if i.visual
        else f'<div class="mm-chip"><span>like {escape(title(i))}</span></div>'
        for i in found.values()
    )


# --- widgets ---------------------------------------------------------------------------------------------------------


def picture_input(label: str, height: int) -> gr.Image:
    """An upload or paste whose handler gets the path of the very bytes that came: readers decode them, not Gradio."""
    widget = gr.Image(
        label=label, type="filepath", sources=["upload", "clipboard"], image_mode=None, height=height, buttons=[]
    )
    # Gradio would open the file in this process, and fail without a word for formats that it does not know.
    widget.preprocess = lambda payload: payload.path if payload else None  # type: ignore[method-assign]
    return widget


def _query_column() -> tuple[Form, tuple[Any, Any]]:
    words = gr.Textbox(label="Words", placeholder="what it should show or say", elem_id="words", max_lines=3)
    picture = picture_input("Picture", 170)
    item = gr.State(None)
    chips = (
        gr.HTML(elem_id="chip"),
        gr.Button("Take it out of the query", size="sm", visible=False, elem_id="unlike"),
    )
    avoid = gr.Textbox(label="Avoid", placeholder="what to move away from", elem_id="avoid", max_lines=2)
    with gr.Accordion("Weights of the parts", open=False):
        weights = [
            gr.Slider(-MOST_WEIGHT, MOST_WEIGHT, 1.0, step=0.05, label=f"{part}: -2 away, 0 not at all, 2 towards")
            for part in ("Words", "Picture", "Library item")
        ]
        weights.append(gr.Slider(0, MOST_WEIGHT, 0.5, step=0.05, label="Avoid: 0 not at all, 2 far away"))
    with gr.Accordion("Filters", open=False):
        kinds = gr.CheckboxGroup([(f"{name}s", kind) for kind, name in KIND_NAMES.items()], label="Kinds (none: all)")
        conditions = gr.Textbox(
            label="Metadata", placeholder='subject = animals, page >= 2, title = "a, b"', max_lines=2
        )
    return Form(*(words, picture, item, avoid, *weights, kinds, conditions)), chips


class Side(NamedTuple):
    """The widgets around a query and its results that are not part of the query."""

    recipe: Any
    k: Any
    go: Any
    clear: Any
    problem: Any
    line: Any
    examples: list[Any]
    shown: Any
    column: Any
    about: Any
    like: Any
    close: Any
    remove: Any
    sure: Any


def build(page: Page) -> tuple[Form, gr.Dropdown]:
    """Lays out the tab and wires it; gives the form and the recipe for others to look at."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=280, elem_classes="mm-query"):
            form, chips = _query_column()
            recipe = recipe_menu(page, "Recipe", page.library.default_recipe)
            k = gr.Slider(4, MOST, 12, step=4, label="How many")
            with gr.Row():
                clear = gr.Button("Clear", elem_id="clear", min_width=80)
                go = gr.Button("Search", variant="primary", elem_id="search", min_width=80)
        with gr.Column(scale=7, min_width=320):
            problem = gr.HTML(elem_id="problem")
            line = gr.HTML(elem_id="summary")
            with gr.Row(elem_classes="mm-examples"):
                examples = [gr.Button(_spoken(*e), size="sm", min_width=60) for e in EXAMPLES]
            shown = gr.HTML(elem_id="results", js_on_load=GRID_JS, min_height=200)
        with gr.Column(scale=4, min_width=300, visible=False, elem_classes="mm-side") as column:
            about = gr.HTML(elem_id="detail")
            like = gr.Button("Use this as query", variant="primary", elem_id="like")
            with gr.Row():
                close = gr.Button("Close", size="sm", min_width=80)
                remove = gr.Button("Remove from library", size="sm", variant="stop", visible=not page.read_only)
            sure = gr.Button("Really remove this file’s items", size="sm", variant="stop", visible=False)
    side = Side(
        recipe, k, go, clear, problem, line, examples, shown, column, about, like, close, remove, sure
    )  # fmt: skip
    _wire(page, form, chips, side)
    return form, recipe


def _wire(page: Page, form: Form, chips: tuple[Any, Any], side: Side) -> None:
    """Who does what when: asking waits for the encoders one at a time, everything else is free at once."""
    hits, chosen = gr.State({}), gr.State("")
    found = [side.problem, side.line, side.shown, hits, side.column]
    heavy: dict[str, Any] = {"concurrency_id": "encoder", "api_visibility": "private", "show_progress_on": side.shown}

    def on_search(k: int, recipe: str, *values: Any) -> tuple[Any, ...]:
        read = attempt(lambda: asked(values))
        results = Results(problem=read.problem) if read.value is None else search(page, read.value, recipe, k)
        told = notice(results.problem, "warning")
        return told, results.line, results.cards, results.hits, gr.Column(visible=False)

    def on_like(ident: str, k: int, recipe: str, *values: Any) -> tuple[Any, ...]:
        # The item takes the place of the words and the picture; weights and filters hold as the widgets show them.
        results = on_search(k, recipe, "", None, ident, "", *values[4:])
        return ident, chip(page, ident), gr.Button(visible=True), "", "", None, *results

    def on_clear() -> tuple[Any, ...]:
        return *EMPTY, "", gr.Button(visible=False), "", *first_look(page), {}, gr.Column(visible=False)

    asking: dict[str, Any] = {"fn": on_search, "inputs": [side.k, side.recipe, *form], "outputs": found, **heavy}
    gr.on([side.go.click, form.words.submit, form.avoid.submit, form.conditions.submit], **asking)
    parts = [form.words, form.avoid, form.picture]
    for button, (words, avoid) in zip(side.examples, EXAMPLES, strict=True):
        fresh = words, None, None, avoid, *EMPTY[4:], "", gr.Button(visible=False)
        button.click(lambda fresh=fresh: fresh, outputs=[*form, *chips], **FREE).then(**asking)
    side.like.click(on_like, [chosen, side.k, side.recipe, *form], [form.item, *chips, *parts, *found], **heavy)
    chips[1].click(lambda: (None, "", gr.Button(visible=False)), outputs=[form.item, *chips], **FREE)
    side.clear.click(on_clear, outputs=[*form, *chips, *found], **FREE)
    _wire_detail(page, side, hits, chosen, asking)


def _wire_detail(page: Page, side: Side, hits: Any, chosen: Any, asking: dict[str, Any]) -> None:
    def on_select(known: Mapping[str, Hit], event: gr.EventData) -> tuple[Any, ...]:
        ident = str(event._data.get("item", ""))
        buttons = gr.Button(visible=not page.read_only), gr.Button(visible=False)
        return ident, show_detail(page, ident, known), gr.Column(visible=True), *buttons

    def on_remove(ident: str) -> tuple[Any, ...]:
        outcome = attempt(lambda: page.remove(page.library.item(ident).paths))
        if outcome.value is None:
            return notice(outcome.problem, "warning"), gr.Column(), gr.Button(visible=False)
        told = notice(f"{removed(outcome.value)} from the library; the file itself was not touched.")
        return told, gr.Column(visible=False), gr.Button(visible=False)

    told = [chosen, side.about, side.column, side.remove, side.sure]
    side.shown.select(on_select, [hits], told, **FREE).then(None, js=DETAIL_JS, **FREE)
    side.close.click(lambda: gr.Column(visible=False), outputs=[side.column], **FREE)
    side.remove.click(lambda: gr.Button(visible=True), outputs=[side.sure], **FREE)
    side.sure.click(on_remove, [chosen], [side.problem, side.column, side.sure], **FREE)


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


def _spoken(words: str, avoid: str) -> str:
    return f"{words}, not {avoid}" if avoid else words
