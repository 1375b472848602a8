"""The Map tab: the library's vectors as points of a plane; those that are chosen there become a filter or a query."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import gradio as gr
import numpy as np

from eval.saving import toolbar
from mmretrieval.errors import BadQuery, RetrievalError
from mmretrieval.types import Item
from page import arguments
from page.events import FREE, LAST, TURN
from page.map import colours
from page.map.colours import Colouring
from page.map.mapping import METHODS, VECTORS, Laid, Wanted, Work
from page.map.plotted import MAP_JS, axes, chosen, offer
from page.map.plotted import table as points_table
from page.notices import attempt, counted, escape, notice, table
from page.query.asking import MOST_PARTS, Asked, AskedPart, query
from page.query.recipes import complaint
from page.search.cards import clock, cut, place, title, what

if TYPE_CHECKING:
    from page.search import tab as search
    from page.state import Page

POLL_SECONDS = 1.0
ROWS = 20
NONE_JS = "() => { document.querySelector('#map-plot .mm-map').dispatchEvent(new Event('mm-none', {bubbles: true})); }"
WORDS_CHARS = 1200
# What can be laid out, and how, as menus say it.
VECTOR_CHOICES = {
    "visual": "pictures",
    "text": "words",
    "joint": "both as one vector",
    "visual+text": "both, in one plane",
}
METHOD_CHOICES = {"pca": "principal axes (PCA)", "umap": "neighbourhoods (UMAP)"}
PROMISE = (
    "Every point is an item: what lies close together looks or reads alike to the encoder. Point at one to see it, "
    "click it for more, or draw around some (Lasso, Box) to search with them."
)
HELP = {
    "pca": (
        "The two straight axes along which the vectors differ most. Shares say how much of all differences the "
        "picture shows; the rest is flattened away, so that close points may be far apart in the space itself."
    ),
    "umap": "Neighbours stay neighbours; how far apart groups lie, and how large they are, means nothing.",
}


@dataclass(frozen=True)
class View:
    """What a visitor wants to see, as the widgets hold it."""

    encoder: str
    vectors: str
    method: str
    colour: str
    words: str = ""
    clusters: int = 10


@dataclass(frozen=True)
class Shown:
    """What the tab shows of a map: the place for the browser to draw in, words on it, numbers; or what went wrong."""

    plot: str = ""
    line: str = ""
    numbers: str = ""
    problem: str = ""
    waiting: bool = False


# --- what is shown ---------------------------------------------------------------------------------------------------


def show(page: Page, view: View, asked: Asked, recipe: str) -> Shown:
    """Lays the map out, or begins to; what cannot be shown comes back as words."""
    outcome = attempt(lambda: _shown(page, view, asked, recipe))
    return outcome.value if outcome.value is not None else Shown(problem=outcome.problem)


def _shown(page: Page, view: View, asked: Asked, recipe: str) -> Shown:
    if next(page.library.items(), None) is None:
        return Shown(problem="The library is empty: add files or a folder in the Library tab, then come back.")
    wanted = page.maps.wanted(view.encoder, view.vectors, view.method)
    laid = page.maps.lay(wanted)
    line = ""
    if isinstance(laid, Work):
        if laid.state == "failed":
            raise RetrievalError(laid.problem)
        line, waiting = going(laid), True
        laid = page.maps.lay(replace(wanted, method="pca"))
        assert isinstance(laid, Laid)
    else:
        waiting = False
    shades = _coloured(page, laid, view, asked, recipe)
    return Shown(_place(page, laid, shades), line + _line(laid, shades), _numbers(page, laid, shades), waiting=waiting)


def _coloured(page: Page, laid: Laid, view: View, asked: Asked, recipe: str) -> Colouring:
    if view.colour != colours.SCORE:
        number = arguments.whole(view.clusters, "clusters", colours.FEWEST_CLUSTERS, colours.MOST_CLUSTERS)
        return colours.coloured(page.maps, laid, view.colour, number)
    words = arguments.text(view.words, "the words").strip()
    posed = Asked.of(words=words) if words else asked
    if not posed.parts:
        raise BadQuery("there is no query to score points by: write some words here, or ask for something in Search")
    if wrong := complaint(recipe, page.library):
        raise BadQuery(wrong)
    return colours.coloured(page.maps, laid, view.colour, 0, query(page, posed), page.permitted(recipe))


def going(work: Work) -> str:
    """How far the work on a map is, with a bar."""
    if work.state == "waiting":
        said, bar = "waits for another map", '<progress max="1" aria-label="waiting"></progress>'
    else:
        said = f"{work.note or 'beginning'}, {clock(work.seconds)} so far"
        known = f'value="{work.share:.3f}" ' if work.share else ""
        bar = f'<progress max="1" {known}aria-label="how much is laid out">{work.share:.0%}</progress>'
    return (
        f'<div class="mm-job" role="status"><strong>UMAP of {counted(len(work.cloud), "vector")}</strong>{bar}'
        f"<span>{escape(said)}. Until it is there you see the principal axes, and can search as ever.</span></div>"
    )


def _place(page: Page, laid: Laid, shades: Colouring) -> str:
    """An empty place that the browser fills (page/map.js)."""
    x, y = axes(laid)
    label = f"Map of {counted(len(laid.cloud), 'vector')}, coloured by {shades.title}; {x}, {y}"
    key, shade = page.maps.shelf.put(laid), page.maps.colours.put(shades)
    return (
        f'<div class="mm-map" data-points="{quote(key)}" data-colours="{quote(shade)}" data-label="{escape(label)}">'
        f'<p class="mm-hint">drawing…</p></div>'
    )


def _line(laid: Laid, shades: Colouring) -> str:
    first = f"<strong>{counted(len(laid.cloud), 'vector')}</strong> of <code>{escape(laid.wanted.encoder)}</code>"
    hint = " ".join(filter(None, [HELP[laid.wanted.method], shades.note]))
    if laid.plane.shares == (0.0, 0.0):
        hint = f"All these vectors are alike, so that they share one point. {shades.note}"
    return f'<p class="mm-summary">{first}</p><p class="mm-hint">{escape(hint)}</p>'


def _numbers(page: Page, laid: Laid, shades: Colouring) -> str:
    """The groups, or how the numbers are spread; and the first points."""
    plane = laid.plane.points
    if shades.codes is not None:
        caption, heads = f"Groups by {shades.title}", (shades.title, "points", "share", "mean x", "mean y")
        rows: list[tuple[object, ...]] = []
        for code, name in enumerate(shades.names):
            own = plane[shades.codes == code]
            middle = [f"{value:.3f}" for value in own.mean(axis=0)] if len(own) else ["", ""]
            rows.append((name, f"{len(own):,}", f"{len(own) / len(plane):.1%}", *middle))
        groups = table(caption, heads, rows, numbers=(1, 2, 3, 4))
    else:
        assert shades.values is not None
        there = shades.values[np.isfinite(shades.values)]
        marks = ((0, "lowest"), (25, "lower quarter"), (50, "median"), (75, "upper quarter"), (100, "highest"))
        rows = [("points", f"{len(there):,}")]
        rows += [(name, f"{np.percentile(there, at):.4f}") for at, name in marks] if len(there) else []
        groups = table(f"Spread of {shades.title}", ("", "value"), rows, numbers=(1,))
    some = points_table(page, laid, shades, range(min(ROWS, len(plane))))
    cells = [[f"{c:.4f}" if isinstance(c, float) else "" if c is None else c for c in row] for row in some.rows]
    first = table(f"The first {len(cells)} of {len(plane):,} points (all in the CSV)", some.columns, cells, (2, 3))
    keys = page.maps.shelf.put(laid), page.maps.colours.put(shades)
    return f'<div class="mm-found">{toolbar(offer(page, laid, shades, *keys), groups + first)}</div>'


# --- what is chosen --------------------------------------------------------------------------------------------------


def items_of(page: Page, key: object, bits: object) -> list[str]:
    """The items of the points that a browser chose, each once, in the map's order."""
    laid = page.maps.shelf.get(arguments.text(key, "the map", 100))
    ids = laid.cloud.ids
    return list(dict.fromkeys(ids[i] for i in chosen(laid, bits)))


def item_at(page: Page, key: object, number: object) -> Item:
    """The item of a map's point."""
    laid = page.maps.shelf.get(arguments.text(key, "the map", 100))
    return page.library.item(laid.cloud.ids[arguments.whole(number, "the point", 0, len(laid.cloud) - 1)])


def among(asked: Asked, ids: Sequence[str]) -> Asked:
    """The query as it is, of these items alone."""
    if not ids:
        raise BadQuery("no points are chosen: draw around some first")
    return replace(asked, within=tuple(ids))


def in_common(ids: Sequence[str], seed: int = 0) -> Asked:
    """A query by these items together; of more than it can hold, as many by chance, whose mean leans nowhere."""
    if not ids:
        raise BadQuery("no points are chosen: draw around some first")
    places = list(range(len(ids)))
    if len(ids) > MOST_PARTS:
        places = sorted(np.random.default_rng([seed, len(ids)]).choice(len(ids), MOST_PARTS, replace=False).tolist())
    return Asked(tuple(AskedPart("item", ids[i]) for i in places))


def picked(ids: Sequence[str]) -> tuple[Any, ...]:
    """What is said of the chosen items: their number, and the buttons that search with them."""
    n = len(ids)
    some = f" ({MOST_PARTS} of them, by chance)" if n > MOST_PARTS else ""
    line = f'<p class="mm-summary"><strong>{counted(n, "item")} chosen</strong></p>' if n else ""
    return (
        list(ids),
        line,
        gr.Button(f"Search among these ({n:,})", visible=n > 0),
        gr.Button(f"Search for what these have in common{some}", visible=n > 0),
        gr.Button(visible=n > 0),
    )


def panel(item: Item) -> str:
    """A clicked item: what it looks like, what it is called, and what is known of it."""
    seen = (
        f'<img class="mm-large" src="media/view/{quote(item.id)}" alt="{escape(title(item))}">' if item.visual else ""
    )
    words = f'<p class="mm-words">{escape(cut(item.text, WORDS_CHARS))}</p>' if item.text.strip() else ""
    facts = [(key, value) for key, value in sorted(item.meta.items()) if isinstance(value, (str, int, float, bool))]
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in [*facts, ("id", item.id)])
    head = escape(what(item.kind, place(item)).capitalize())
    return (
        f'<div class="mm-detail" role="region" aria-label="Chosen point"><h3>{head}</h3>{seen}{words}'
        f'<dl class="mm-facts">{rows}</dl></div>'
    )


def mapped(page: Page, wanted: Wanted, first: int = 0, count: int = 1000) -> dict[str, Any]:
    """A map for programs: its axes, shares of the variance, and points `first`.. as columns; or how far it is.

    {"state": "done", "n", "axes", "shares", "items", "vectors", "x", "y"}, or {"state": "running", "share", "note"}.
    """
    laid = page.maps.lay(wanted)
    if isinstance(laid, Work):
        if laid.state == "failed":
            raise RetrievalError(laid.problem)
        return {"state": laid.state, "share": laid.share, "note": laid.note, "n": len(laid.cloud)}
    some = range(first, min(first + count, len(laid.cloud)))
    ids, views = laid.cloud.ids, [v for v, m in zip(laid.cloud.views, laid.cloud.matrices, strict=True) for _ in m.ids]
    where = laid.plane.points[some.start : some.stop]
    return {
        "state": "done",
        "n": len(laid.cloud),
        "axes": list(axes(laid)),
        "shares": list(laid.plane.shares) if laid.plane.shares else None,
        "items": [ids[i] for i in some],
        "vectors": [views[i] for i in some],
        "x": [float(v) for v in where[:, 0]],
        "y": [float(v) for v in where[:, 1]],
    }


# --- menus -----------------------------------------------------------------------------------------------------------


def encoders(page: Page) -> list[str]:
    """The library's encoders that have one vector for an item, and can be had."""
    return [spec for spec, card in page.library.cards()[0].items() if not card.multi]


def vectors(page: Page, encoder: str) -> list[tuple[str, str]]:
    """(what a menu says, key of VECTORS) of the vectors that an encoder has made here."""
    have = page.library.ledger.view_counts(page.library.card(encoder).space)
    return [(VECTOR_CHOICES[key], key) for key, views in VECTORS.items() if all(have.get(view) for view in views)]


def menus_of(page: Page, spec: str | None, seen: str | None, shade: str | None) -> tuple[tuple[Any, Any], ...]:
    """What the menus of encoders, vectors and colours offer now, each with its value: as it was, if that still goes."""
    offered = encoders(page)
    spec = spec if spec in offered else next(iter(offered), None)
    have, shades = (vectors(page, spec) if spec else []), colours.choices(page.maps)
    seen = seen if seen in [key for _, key in have] else next((key for _, key in have), None)
    shade = shade if shade in [key for _, key in shades] else colours.KIND
    return (offered, spec), (have, seen), (shades, shade)


def current(page: Page, drawn: str) -> bool:
    """Whether a map that is drawn (its HTML) is kept, and of the library as it is now."""
    found = re.search(r'data-points="([^"]+)"', drawn or "")
    laid = attempt(lambda: page.maps.shelf.get(found[1])).value if found else None
    return laid is not None and laid.cloud.change == page.library.ledger.last_change(laid.cloud.space)


# --- widgets ---------------------------------------------------------------------------------------------------------


class Tab(NamedTuple):
    """The widgets, by what they are for."""

    controls: tuple[Any, ...]
    go: Any
    problem: Any
    plot: Any
    line: Any
    numbers: Any
    timer: Any
    chosen: tuple[Any, ...]
    point: tuple[Any, ...]


def build(page: Page, searched: search.Tab, tabs: Any, arrived: Any) -> None:
    """Lays out the tab and wires it. `tabs` are the page's, `arrived` is this one: it draws when it is first opened."""
    spec = next(iter(encoders(page)), "")
    with gr.Row(equal_height=False, elem_classes="mm-actions"):
        encoder = gr.Dropdown(encoders(page), value=spec or None, label="Encoder", elem_id="map-encoder", min_width=150)
        kinds = gr.Dropdown(
            vectors(page, spec) if spec else [], value=None, label="Vectors of", elem_id="map-vectors", min_width=220
        )
        method = gr.Dropdown(
            [(METHOD_CHOICES[m], m) for m in METHODS], value="pca", label="Laid out by", elem_id="map-method",
            min_width=220,
        )  # fmt: skip
        colour = gr.Dropdown([], value=None, label="Coloured by", elem_id="map-colour", min_width=200)
        words = gr.Textbox(
            label="Score of these words", placeholder="none: the query of Search", elem_id="map-words",
            visible=False, max_lines=2, min_width=220,
        )  # fmt: skip
        clusters = gr.Slider(
            colours.FEWEST_CLUSTERS, colours.MOST_CLUSTERS, 8, step=1, label="How many clusters", visible=False,
            min_width=180, elem_id="map-clusters",
        )  # fmt: skip
        go = gr.Button("Draw", variant="primary", elem_id="map-draw", min_width=100, scale=0)
    problem = gr.HTML(elem_id="map-problem")
    with gr.Row(equal_height=False):
        with gr.Column(scale=8, min_width=320):
            line = gr.HTML(notice(PROMISE), elem_id="map-line")
            with gr.Row(elem_classes="mm-actions"):
                said = gr.HTML(elem_id="map-chosen", min_width=120)
                only = gr.Button("Search among these", visible=False, size="sm", elem_id="map-among", min_width=180)
                alike = gr.Button(
                    "Search for what these have in common", visible=False, size="sm", elem_id="map-common"
                )
                none = gr.Button("Choose none", visible=False, size="sm", elem_id="map-none", min_width=110)
            plot = gr.HTML(elem_id="map-plot", js_on_load=MAP_JS, min_height=320)
            numbers = gr.HTML(elem_id="map-numbers")
        with gr.Column(scale=3, min_width=280, visible=False, elem_classes="mm-side") as column:
            with gr.Row(elem_classes="mm-shut"):
                shut = gr.Button("Close", size="sm", min_width=80, scale=0, elem_id="map-close")
            about = gr.HTML(elem_id="map-point")
            like = gr.Button("Search for what is like this", variant="primary", elem_id="map-like")
    held, point, timer = gr.State([]), gr.State(""), gr.Timer(POLL_SECONDS, active=False)
    controls = (encoder, kinds, method, colour, words, clusters)
    tab = Tab(
        controls, go, problem, plot, line, numbers, timer, (held, said, only, alike, none), (point, about, column)
    )
    _wire_drawing(page, tab, searched, arrived)
    _wire_choosing(page, tab, searched, tabs, like, shut)


def _wire_drawing(page: Page, tab: Tab, searched: search.Tab, arrived: Any) -> None:
    encoder, kinds, method, colour, words, clusters = tab.controls
    outputs = [tab.problem, tab.plot, tab.line, tab.numbers, tab.timer, *tab.chosen]

    def on_draw(asked: Asked, recipe: str, *values: Any) -> tuple[Any, ...]:
        found = show(page, _view(values), asked, recipe)
        timer = gr.Timer(active=found.waiting)
        return notice(found.problem, "warning"), found.plot, found.line, found.numbers, timer, *picked(())

    def on_menus(spec: str | None, seen: str | None, shade: str | None) -> tuple[Any, ...]:
        return tuple(gr.Dropdown(offered, value=value) for offered, value in menus_of(page, spec, seen, shade))

    def on_open(drawn: str, *values: Any) -> tuple[Any, ...]:
        asked, recipe, spec, seen, method, shade, *rest = values
        menus = on_menus(spec, seen, shade)
        if current(page, drawn):
            return *menus, *(gr.skip(),) * len(outputs)
        (_, spec), (_, seen), (_, shade) = menus_of(page, spec, seen, shade)
        return *menus, *on_draw(asked, recipe, spec, seen, method, shade, *rest)

    def on_tick(*values: Any) -> tuple[Any, ...]:
        work = attempt(lambda: page.maps.lay(page.maps.wanted(*values[2:5]))).value
        if isinstance(work, Work) and work.state in ("waiting", "running"):
            return (gr.skip(), gr.skip(), going(work), *(gr.skip(),) * (len(outputs) - 3))
        return on_draw(*values)

    query_ = [searched.asked, searched.recipe]
    asking: dict[str, Any] = {"fn": on_draw, "inputs": [*query_, *tab.controls], "outputs": outputs, **FREE, **LAST}
    shades = {"show_progress": "minimal", "show_progress_on": [tab.line]}
    gr.on([tab.go.click, words.submit, kinds.input, method.input, clusters.release], **asking | shades)
    colour.input(
        lambda by: (gr.Textbox(visible=by == colours.SCORE), gr.Slider(visible=by == colours.CLUSTER)),
        [colour], [words, clusters], **FREE,
    ).then(**asking | shades)  # fmt: skip
    menus = [encoder, kinds, colour]
    encoder.input(on_menus, menus, menus, **FREE).then(**asking | shades)
    opened = [tab.plot, *query_, *tab.controls]
    arrived.select(on_open, opened, [*menus, *outputs], **FREE)
    tab.timer.tick(on_tick, [*query_, *tab.controls], outputs, **FREE)


def _wire_choosing(page: Page, tab: Tab, searched: search.Tab, tabs: Any, like: Any, shut: Any) -> None:
    held, _, only, alike, none = tab.chosen
    point, about, column = tab.point
    everything = [tab.problem, *tab.chosen, *tab.point]

    def on_select(event: gr.EventData) -> tuple[Any, ...]:
        said = dict(event._data)
        kept = (gr.skip(),) * 5
        if said.get("do") == "choose":
            outcome = attempt(lambda: items_of(page, said.get("key"), said.get("bits")))
            marks = picked(outcome.value) if outcome.value is not None else kept
            return notice(outcome.problem, "warning"), *marks, *(gr.skip(),) * 3
        found = attempt(lambda: item_at(page, said.get("key"), said.get("place")))
        if found.value is None:
            return notice(found.problem, "warning"), *kept, *(gr.skip(),) * 3
        return "", *kept, found.value.id, panel(found.value), gr.Column(visible=True)

    def to_search(work: Any) -> tuple[Any, ...]:
        outcome = attempt(work)
        if outcome.value is None:
            return notice(outcome.problem, "warning"), gr.skip(), gr.skip()
        return "", outcome.value, gr.Tabs(selected="search")

    arrive = [tab.problem, searched.asked, tabs]
    tab.plot.select(on_select, outputs=everything, **TURN)
    none.click(lambda: picked(()), outputs=[*tab.chosen], **FREE).then(None, js=NONE_JS, **FREE)
    shut.click(lambda: gr.Column(visible=False), outputs=[column], **FREE)
    wired = (
        (only, lambda asked, ids: to_search(lambda: among(asked, ids)), [searched.asked, held]),
        (alike, lambda ids: to_search(lambda: in_common(ids)), [held]),
        (like, lambda ident: to_search(lambda: in_common([ident])), [point]),
    )
    for button, work, inputs in wired:
        button.click(work, inputs, arrive, **FREE).success(**searched.arrive)


def _view(values: Sequence[Any]) -> View:
    encoder, kinds, method, colour, words, clusters = values
    return View(encoder or "", kinds or "", method or "pca", colour or colours.KIND, words or "", clusters or 10)
