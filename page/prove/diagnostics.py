"""The Diagnostics tab: what can be said of a space under one recipe or two beside each other, and what to try."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.errors import RetrievalError
from mmretrieval.recipe import first_alone, joins, parse, with_stages
from page.compare import tab as compare
from page.events import FREE
from page.notices import attempt, escape, notice
from page.prove import evaluate
from page.prove.drawn import FIGURES_JS, drawn
from page.prove.findings import LEAST_SAMPLE, MOST_SAMPLE, MOST_SEED, Task, wanted
from page.query import asking, parts, recipes
from page.search import tab as search
from page.search.cards import clock

if TYPE_CHECKING:
    from page.state import Page

NAMES = {
    "gap": "Modality gap",
    "gram": "GRAM volume",
    "hubness": "Hubs",
    "agreement": "Agreement of two encoders",
    "calibration": "What a score says",
    "dimension": "Dimension, and the search graph",
    "concepts": "Concepts and copies",
    "capacity": "Capacity of the dimensions",
}
NO_CLASS = ("none", "")
# Visitors whose diagnoses are watched at once; the diagnoses themselves are worked out one after the other.
WATCHED, LOOK_SECONDS = 8, 0.5
Asked = tuple[str, str]


class Tab(NamedTuple):
    """The widgets that are filled anew on every visit, and where fixes are chosen."""

    left: Any
    right: Any
    classes: Any
    shown: Any
    asked: Any
    problem: Any


class Choice(NamedTuple):
    """What the widgets hold, in their order."""

    of: str
    left: str | None
    right: str | None
    diagnostic: str
    sample: float | None
    seed: float | None
    classes: str | None
    umap: bool


def tasks(page: Page, choice: Choice) -> list[Task]:
    """The diagnoses that a choice stands for, begun: one a recipe, or one of two encoders' agreement."""
    chosen = [(choice.left or "").strip() or page.library.default_recipe]
    if (choice.right or "").strip():
        chosen.append((choice.right or "").strip())
    if choice.diagnostic == "agreement" and len(chosen) > 1:
        for recipe in chosen:
            page.permitted(recipe)
        together = recipes.joined(chosen[0], chosen[1])
        chosen = [together] if together else chosen
    sample = 10_000 if choice.sample is None else choice.sample
    seed = 0 if choice.seed is None else choice.seed
    more = sample, seed, choice.of, choice.classes or "", choice.umap
    asked = [wanted(page, recipe, choice.diagnostic, *more) for recipe in chosen]
    return [page.findings.ask(one) for one in asked]


def running(some: list[Task]) -> str:
    """How the diagnoses stand."""
    lines = []
    for task in some:
        state = {"waiting": "waits for its turn", "running": task.note or "begins"}.get(task.state, task.state)
        lines.append(f"{task.wanted.title}: {state}, {clock(task.seconds)}" if not task.ended.is_set() else "")
    said = "".join(f"<span>{escape(line)}</span>" for line in lines if line)
    return f'<div class="mm-job mm-running" role="status">{said}<progress aria-label="at work"></progress></div>'


def classes(page: Page) -> list[tuple[str, str]]:
    """The metadata keys that items of the library or of the dataset have, for a menu."""
    keys = {key for item in page.library.items() for key in item.meta}
    keys |= {key for entry in page.dataset.corpus for key in entry.meta} if page.dataset else set()
    return [NO_CLASS, *((key, key) for key in sorted(keys))]


def fix(page: Page, asked: Asked, said: dict[str, Any]) -> tuple[str, str, str]:
    """The recipe as it was, the recipe with the stage that was chosen, and that stage. Raises BadRecipe."""
    side, stage = str(said.get("side", "")), str(said.get("stage", ""))
    recipe = asked[1] if side == "right" else asked[0]
    if not recipe:
        raise RetrievalError("this diagnosis is not shown any more: run it again")
    plain = parse(recipe)
    changed = str(with_stages(plain, stage))
    page.permitted(changed)
    # Of encoders that were compared already, one by itself is what joining them changes.
    return str(first_alone(plain)) if joins(stage) else recipe, changed, stage


def carried(page: Page, query: asking.Asked, typed: str | None, number: int) -> tuple[Any, ...]:
    """What Compare's `number` widgets of a query then hold: all that Search asks, and what is still typed there.

    Where that is nothing, they keep what they have. Raises BadQuery where one more part is too many.
    """
    whole = parts.added(query, parts.heard(typed or ""))
    return compare.held(page, whole) if whole.parts else (gr.skip(),) * number


# --- widgets ---------------------------------------------------------------------------------------------------------


def build(page: Page) -> Tab:
    """Lays out the tab and wires it; gives what other tabs and visits fill."""
    with gr.Row(equal_height=False):
        places = [("the library", "library")]
        if page.dataset is not None:
            places.append((f"the dataset {page.dataset.name}", "dataset"))
        of = gr.Dropdown(
            places,
            value="library",
            label="Look at",
            elem_id="of",
            scale=2,
            min_width=160,
            visible=page.dataset is not None,
        )
        named = [(f"{NAMES.get(name, name)} ({name})", name) for name in DIAGNOSTICS]
        what = gr.Dropdown(named, value=named[0][1], label="Diagnostic", elem_id="diagnostic", scale=4, min_width=240)
        with gr.Column(scale=4, min_width=240):
            left = search.recipe_menu(page, "Recipe", page.library.default_recipe, "diagnose-left")
        with gr.Column(scale=3, min_width=240):
            right = search.recipe_menu(page, "Beside it", "", "diagnose-right", optional=True)
    with gr.Row(equal_height=False, elem_classes="mm-actions"):
        sample = gr.Number(
            10_000, label="At most so many items", precision=0, minimum=LEAST_SAMPLE, maximum=MOST_SAMPLE, min_width=140
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MOST_SEED, min_width=80)
        key = gr.Dropdown(classes(page), value="", label="Class of an item", elem_id="classes", min_width=160)
        ways = [("principal axes", False), ("UMAP (slower)", True)]
        umap = gr.Dropdown(ways, value=False, label="Draw pairs by", elem_id="umap", min_width=160)
        go = gr.Button("Diagnose", variant="primary", elem_id="diagnose", min_width=140)
    promise = gr.HTML(notice(DIAGNOSTICS[named[0][1]].promise), elem_id="promise")
    problem = gr.HTML(elem_id="diagnose-problem")
    shown = gr.HTML(elem_id="found", js_on_load=FIGURES_JS)
    asked = gr.State(("", ""))

    def on_diagnose(*values: Any) -> Iterator[tuple[Any, ...]]:
        begun = attempt(lambda: tasks(page, Choice(*values)))
        if begun.value is None:
            yield notice(begun.problem, "warning"), "", ("", "")
            return
        some = begun.value
        while going := [task for task in some if not task.ended.is_set()]:
            yield running(some), gr.skip(), gr.skip()
            going[0].ended.wait(LOOK_SECONDS)
        recipes_of = [task.wanted.recipe for task in some]
        yield "", drawn(some), (recipes_of[0], recipes_of[1] if len(recipes_of) > 1 else "")

    go.click(
        on_diagnose,
        [of, left, right, what, sample, seed, key, umap],
        [problem, shown, asked],
        concurrency_id="diagnose",
        concurrency_limit=WATCHED,
        api_visibility="private",
        show_progress="hidden",
    )
    what.change(
        lambda name: (notice(_promise(name)), gr.Dropdown(visible=name == "gap")), [what], [promise, umap], **FREE
    )
    return Tab(left, right, key, shown, asked, problem)


def _promise(name: str) -> str:
    said = DIAGNOSTICS[name].promise if name in DIAGNOSTICS else ""
    if name == "agreement":
        said += " Give the second encoder in the recipe beside it, or as ENCODER@VIEW+ENCODER@VIEW."
    return said


def wire(page: Page, tab: Tab, compared: compare.Tab, evaluated: evaluate.Tab, tabs: Any, searched: search.Tab) -> None:
    """A chosen fix goes into Compare, beside the recipe as it was, and into Evaluate; one of them opens."""

    def on_try(asked: Asked, query: asking.Asked, typed: str, event: gr.EventData) -> tuple[Any, ...]:
        said = dict(event._data)
        number = len(compared.held)
        outcome = attempt(lambda: (*fix(page, asked, said), carried(page, query, typed, number)))
        if outcome.value is None:
            return notice(outcome.problem, "warning"), *(gr.skip(),) * (6 + number)
        recipe, changed, stage, held = outcome.value
        to = "evaluate" if said.get("try") == "evaluate" else "compare"
        proof = (gr.skip(), gr.skip()) if joins(stage) else (recipe, [stage])
        able = to == "evaluate" and page.dataset is not None and not page.read_only
        arrived = notice(evaluate.ARRIVED) if able else gr.skip()
        return "", recipe, changed, *held, *proof, arrived, gr.Tabs(selected=to)

    proving = [evaluated.recipe, evaluated.stages, evaluated.problem]
    outputs = [tab.problem, compared.left, compared.right, *compared.held, *proving, tabs]
    tab.shown.select(on_try, [tab.asked, searched.asked, searched.words], outputs, **FREE).success(**compared.arrive)

    def on_row(event: gr.EventData) -> tuple[Any, ...]:
        said = dict(event._data)
        names = str(said.get("recipe", "")), str(said.get("changed", ""))
        outcome = attempt(lambda: [str(page.permitted(name)) for name in names])
        if outcome.value is None:
            return notice(outcome.problem, "warning"), *(gr.skip(),) * 3
        return "", outcome.value[0], outcome.value[1], gr.Tabs(selected="compare")

    told = [evaluated.problem, compared.left, compared.right, tabs]
    evaluated.shown.select(on_row, outputs=told, **FREE).success(**compared.arrive)
