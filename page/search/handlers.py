"""What happens on the Search tab: every change of the query is a search, and everything about one is in the address."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from mmretrieval.engine import DEPTH
from mmretrieval.types import Hit
from page import arguments
from page.events import EACH, FREE, LAST, TURN
from page.notices import attempt, notice, removed
from page.query import filtering, links, parts, staging
from page.query.asking import Asked, AskedPart
from page.query.links import FIRST, Link
from page.search import detail as detailed
from page.search import results

if TYPE_CHECKING:
    from page.state import Page

NOTHING_YET = "nothing to look for yet: write some words, add a picture, or take a result as the query"
MOST_STEPS = 10**9
LOST = "This link had {} uploaded picture{}, which an address cannot hold: add {} again."
BEYOND = "This link had {:,} chosen items, more than an address holds: choose them again."
Outputs = tuple[Any, ...]


class Widgets(NamedTuple):
    """Everything on the tab, by name."""

    asked: Any
    seen: Any
    hits: Any
    chosen: Any
    came: Any
    words: Any
    picture: Any
    clear: Any
    row: Any
    past: Any
    recipe: Any
    steps: Any
    stages: Any
    cut: Any
    kinds: Any
    conditions: Any
    form: Any
    write: Any
    problem: Any
    line: Any
    shown: Any
    column: Any
    about: Any
    close: Any
    remove: Any
    sure: Any

    @property
    def given(self) -> list[Any]:
        """What says what is searched for, besides words that are still being typed."""
        return [self.asked, self.recipe, self.cut, self.kinds, self.conditions]

    @property
    def found(self) -> list[Any]:
        """What a search fills, in the order of `Handlers.shown`."""
        return [self.asked, self.seen, self.row, self.problem, self.line, self.shown, self.hits, self.column]

    @property
    def held(self) -> list[Any]:
        """What a link or a fresh start sets besides: filters and recipe."""
        return [self.kinds, self.conditions, self.recipe, self.cut]


SKIPPED: Outputs = (gr.skip(),) * 8


def show_detail(page: Page, ident: str, hits: Mapping[str, Hit]) -> str:
    """The detail of an item, with its trail where it is a result."""
    outcome = attempt(lambda: detailed.detail(page, page.library.item(ident), hits.get(ident), hits))
    return outcome.value if outcome.value is not None else notice(outcome.problem, "warning")


class Handlers:
    """The tab's events as functions of what the widgets hold; each gives `Widgets.found`, and more where it says so."""

    def __init__(self, page: Page, previews: parts.Previews) -> None:
        self.page, self.previews = page, previews

    def shown(
        self, asked: Asked, recipe: str | None, cut: bool, k: int = FIRST, fold: bool = True, step: int = 0
    ) -> Outputs:
        """The search for a query; of none, the first look. What went wrong is said in place of results."""
        seen = Link(asked, recipe or "", k, bool(cut), fold)
        if not asked.parts:
            row = parts.row(self.previews, asked, "", step=step)
            return asked, seen, row, "", *results.first_look(self.page, asked), {}, gr.Column(visible=False)
        read = results.search(self.page, asked, recipe or "", k, cut=bool(cut), fold=fold)
        row = parts.row(self.previews, asked, None if read.problem else read.address, read.said, step)
        told = notice(read.problem, "warning")
        seen = Link() if read.problem else seen
        return asked, seen, row, told, read.line, read.cards, read.hits, gr.Column(visible=False)

    def told(self, change: Callable[[Asked], Asked], *values: Any) -> Outputs:
        """The search for the query after a change; what cannot be done is said, and the results stay."""
        asked, recipe, cut, kinds, conditions = values
        filtered = replace(asked, kinds=tuple(kinds or ()), conditions=conditions or "")
        outcome = attempt(lambda: change(filtered))
        if outcome.value is None:
            return *SKIPPED[:3], notice(outcome.problem, "warning"), *SKIPPED[4:]
        return self.shown(outcome.value, recipe, cut)

    def words(self, typed: object, *values: Any) -> Outputs:
        """Typed words become a part."""
        after = self.told(lambda asked: parts.added(asked, parts.heard(typed)), *values)
        if isinstance(after[0], Asked) and not after[0].parts:
            after = (*after[:3], notice(f"There is {NOTHING_YET}.", "warning"), *after[4:])
        return after

    def picture(self, path: str | None, *values: Any) -> Outputs:
        """An upload becomes a part; gives the emptied box first."""
        if not path:
            return gr.skip(), *SKIPPED
        return None, *self.told(lambda asked: parts.added(asked, AskedPart("picture", path)), *values)

    def again(self, seen: Link, *values: Any) -> Outputs:
        """The same query under another recipe or filter; nothing where that is `seen`: a menu that is left says that it
        has changed. Of none, the first look: a server that has lost what a visitor asked leaves nothing on the screen
        that was never searched so."""
        asked, recipe, cut, kinds, conditions = values
        filtered = replace(asked, kinds=tuple(kinds or ()), conditions=conditions or "")
        if Link(filtered, recipe or "", seen.k, bool(cut), seen.fold) == seen:
            return SKIPPED
        return self.told(lambda asked: asked, *values)

    def link(self, text: object, step: object = 0) -> Outputs:
        """The search that an address holds; `settle` sets its widgets. `step`: that of the visit's history, if any."""
        read, number = (
            attempt(lambda: links.parse(text)),
            attempt(lambda: arguments.whole(step, "the step", 0, MOST_STEPS)),
        )
        link = read.value or Link()
        recipe = link.recipe or self.page.library.default_recipe
        found = list(self.shown(link.asked, recipe, link.cut, link.k, link.fold, number.value or 0))
        said = [read.problem]
        said += [LOST.format(link.lost, *(("", "it") if link.lost == 1 else ("s", "them")))] if link.lost else []
        said += [BEYOND.format(link.beyond)] if link.beyond else []
        found[3] = notice("\n".join(filter(None, said)), "warning") + found[3]
        return tuple(found)

    def settle(self, text: object) -> Outputs:
        """The widgets that an address sets (`Widgets.held`), before it is searched: what is asked, or set, meanwhile is
        asked under these, and stays."""
        link = attempt(lambda: links.parse(text)).value or Link()
        recipe = link.recipe or self.page.library.default_recipe
        return list(link.asked.kinds), link.asked.conditions, recipe, link.cut

    def arrive(self, asked: Asked, recipe: str, cut: bool) -> Outputs:
        """The search for what another tab has put into the State, and the filters that it has."""
        return *self.shown(asked, recipe, cut), list(asked.kinds), asked.conditions

    def more(self, said: Mapping[str, Any], asked: Asked, recipe: str, cut: bool) -> Outputs:
        """The same search, longer, or folded otherwise; an opened detail stays."""
        read = attempt(lambda: arguments.whole(said.get("k"), "k", 1, DEPTH))
        if read.value is None:
            return *SKIPPED[:3], notice(read.problem, "warning"), *SKIPPED[4:]
        return *self.shown(asked, recipe, cut, read.value, said.get("fold") is not False)[:7], gr.skip()

    def clear(self) -> Outputs:
        """Everything as at first."""
        return self.shown(Asked(), self.page.library.default_recipe, True)

    def stage(self, said: Mapping[str, Any], recipe: str | None) -> tuple[Any, Any]:
        """The recipe with a stage more or less, and what is wrong with that if anything is."""
        outcome = attempt(lambda: staging.restaged(recipe or "", said))
        return (gr.skip() if outcome.value is None else outcome.value), notice(outcome.problem, "warning")

    def written(self, conditions: str | None, *form: Any) -> tuple[Any, Any]:
        """The conditions with those of the form, and what is wrong with them if anything is."""
        outcome = attempt(lambda: filtering.joined(conditions or "", filtering.written(filtering.Form(*form))))
        return (gr.skip() if outcome.value is None else outcome.value), notice(outcome.problem, "warning")


def wire(do: Handlers, on: Widgets) -> tuple[dict[str, Any], tuple[dict[str, Any], dict[str, Any]]]:
    """Wires what makes a search: gives the events for other tabs (`arrive`), and the two of a visit (`load`)."""
    heavy: dict[str, Any] = {"concurrency_id": "encoder", "api_visibility": "private", "show_progress_on": on.shown}

    def on_words(event: gr.EventData, *values: Any) -> Outputs:
        return do.words(event._data.get("words"), *values)

    def on_part(event: gr.EventData, *values: Any) -> Outputs:
        return do.told(lambda asked: parts.changed(asked, dict(event._data)), *values)

    def on_more(event: gr.EventData, *values: Any) -> Outputs:
        return do.more(dict(event._data), *values)

    def on_settle(event: gr.EventData) -> Outputs:
        return do.settle(event._data.get("link"))

    def on_link(event: gr.EventData) -> Outputs:
        return do.link(event._data.get("link"), event._data.get("step") or 0)

    def on_stage(event: gr.EventData, recipe: str) -> tuple[Any, Any]:
        return do.stage(dict(event._data), recipe)

    again: dict[str, Any] = {"fn": do.again, "inputs": [on.seen, *on.given], "outputs": on.found, **heavy, **LAST}
    on.row.words(on_words, on.given, on.found, **heavy, **EACH)
    gr.on([on.recipe.input, on.cut.input, on.kinds.input, on.conditions.submit], **again)
    on.picture.change(do.picture, [on.picture, *on.given], [on.picture, *on.found], **heavy)
    on.row.part(on_part, on.given, on.found, **heavy, **EACH)
    on.shown.more(on_more, on.given[:3], on.found, **heavy)
    for source in (on.row, on.past, on.shown):
        source.link(on_settle, None, on.held, **TURN)
        source.link(on_link, None, on.found, **heavy, **EACH)
    # What a visitor sets from then on stays, and no search that still runs fills the page again: this waits for it.
    on.clear.click(None, None, on.held, js=f"() => {json.dumps(do.settle(''))}", **FREE)
    on.row.fresh(do.clear, None, on.found, **heavy, **EACH)
    on.recipe.change(staging.chips, [on.recipe], [on.steps], **FREE)
    for source in (on.steps, on.stages):
        source.stage(on_stage, [on.recipe], [on.recipe, on.problem], **FREE).then(**again)
    on.write.click(do.written, [on.conditions, *on.form], [on.conditions, on.problem], **FREE).then(**again)
    arrive = {"fn": do.arrive, "inputs": on.given[:3], "outputs": [*on.found, on.kinds, on.conditions], **heavy, **LAST}
    came: dict[str, Any] = {"inputs": [on.came], "js": "() => [location.search]"}
    settle = {"fn": do.settle, "outputs": on.held, **came, **FREE}
    return arrive, (settle, {"fn": do.link, "outputs": on.found, **came, **heavy})


def wire_detail(do: Handlers, on: Widgets) -> None:
    """Wires what opens, closes and acts on one result."""
    page = do.page
    heavy: dict[str, Any] = {"concurrency_id": "encoder", "api_visibility": "private", "show_progress_on": on.shown}

    def opened(ident: str, known: Mapping[str, Hit]) -> Outputs:
        buttons = gr.Button(visible=not page.read_only), gr.Button(visible=False)
        return ident, show_detail(page, ident, known), gr.Column(visible=True), *buttons

    def on_select(event: gr.EventData, known: Mapping[str, Hit]) -> Outputs:
        return opened(str(event._data.get("item", "")), known)

    def on_act(event: gr.EventData, known: Mapping[str, Hit], *values: Any) -> Outputs:
        """What was pressed in the panel: another item, or the next query; liking leaves the panel open."""
        said = dict(event._data)
        if said.get("do") == "open":
            ident, html, column, *buttons = opened(str(said.get("item", "")), known)
            return *SKIPPED[:7], column, ident, html, *buttons
        found = do.told(lambda asked: detailed.act(asked, said), *values)
        return *(found if not detailed.stays(said) else (*found[:7], gr.skip())), *SKIPPED[:4]

    def on_remove(ident: str) -> Outputs:
        outcome = attempt(lambda: page.remove(page.library.item(ident).paths))
        if outcome.value is None:
            return notice(outcome.problem, "warning"), gr.Column(), gr.Button(visible=False)
        said = notice(f"{removed(outcome.value)} from the library; the file itself was not touched.")
        return said, gr.Column(visible=False), gr.Button(visible=False)

    told = [on.chosen, on.about, on.column, on.remove, on.sure]
    selected = on.shown.select(on_select, [on.hits], told, **TURN)
    selected.then(None, js=detailed.DETAIL_JS, **FREE, **EACH)
    selected.failure(None, js=detailed.FAILED_JS, **FREE, **EACH)
    acted = [*on.found, on.chosen, on.about, on.remove, on.sure]
    on.about.act(on_act, [on.hits, *on.given], acted, **heavy, **EACH).then(None, js=detailed.DETAIL_JS, **FREE, **EACH)
    on.close.click(lambda: gr.Column(visible=False), outputs=[on.column], **FREE)
    on.remove.click(lambda: gr.Button(visible=True), outputs=[on.sure], **FREE)
    on.sure.click(on_remove, [on.chosen], [on.problem, on.column, on.sure], **FREE)
