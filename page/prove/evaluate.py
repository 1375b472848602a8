"""The Evaluate tab: whether a change of a recipe helps, on queries that it was neither chosen nor fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from eval.fixing import USUAL
from eval.metrics import METRICS
from page.events import FREE
from page.notices import attempt, notice, table
from page.prove import evaluating
from page.prove.drawn import FIGURES_JS
from page.prove.findings import MOST_SEED, WITH_DATASET
from page.query import recipes
from page.search.tab import recipe_menu

if TYPE_CHECKING:
    from page.state import Page

PROMISE = (
    "Half of the dataset’s queries choose among changes of a recipe and are what these are fitted on; the other half "
    "judges the best of them."
)
ARRIVED = "The recipe and the change to try are filled in. Prove asks the dataset’s queries, which takes a while."


class Tab(NamedTuple):
    """What other tabs put something into, and what is filled anew on every visit."""

    recipe: Any
    stages: Any
    problem: Any
    shown: Any
    outputs: list[Any]
    look: Any


def about(page: Page) -> str:
    """What the tab can do here, or why it cannot."""
    if page.dataset is None:
        return notice(f"{PROMISE} This page has no dataset with queries and answers: {WITH_DATASET}.")
    dataset = page.dataset
    size = f"{len(dataset.judged):,} judged queries, {len(dataset.corpus):,} entries"
    closed = " This page is read-only: it proves nothing anew." if page.read_only else ""
    return notice(f"{PROMISE} Dataset: {dataset.name} ({size}).{closed}")


def build(page: Page) -> Tab:
    """Lays out the tab and wires it; gives what other tabs fill."""
    open_ = page.dataset is not None and not page.read_only
    evaluating.recall(page)
    gr.HTML(about(page), elem_id="evaluate-about")
    timer = gr.Timer(1.0, active=False)
    with gr.Row(equal_height=False, visible=open_):
        with gr.Column(min_width=240):
            recipe = recipe_menu(page, "Recipe to improve", page.library.default_recipe, "evaluate-recipe")
        stages = gr.Dropdown(
            [name for name, _ in recipes.stages()],
            value=[],
            multiselect=True,
            allow_custom_value=True,
            label="Stages to try, and pairs of the best (none: the usual ones)",
            info=", ".join(USUAL),
            elem_id="stages",
            min_width=320,
        )
    with gr.Row(equal_height=False, elem_classes="mm-actions", visible=open_):
        usual = page.dataset.main_metric if page.dataset is not None else next(iter(METRICS))
        metric = gr.Dropdown(list(METRICS), value=usual, label="Metric", elem_id="metric", min_width=140)
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MOST_SEED, min_width=80)
        stop = gr.Button("Stop", elem_id="evaluate-stop", min_width=80)
        go = gr.Button("Prove", variant="primary", elem_id="prove", min_width=160)
    with gr.Accordion("What the stages do", open=False, visible=open_):
        gr.HTML(table("", ("stage", "what it does"), recipes.stages()))
    problem = gr.HTML(elem_id="evaluate-problem")
    job = gr.HTML(elem_id="evaluate-job")
    shown = gr.HTML(elem_id="evaluated", js_on_load=FIGURES_JS)
    # Which proof is on the page: drawing the same one again would take its plot away under the reader's eyes.
    seen = gr.State(0.0)
    outputs = [job, timer, shown, seen]

    def look(seen: float) -> tuple[Any, ...]:
        running = page.proofs.job
        fresh: Any = gr.skip()
        if running is not None and running.found is not None and running.state == "done" and seen != running.started:
            found = running.found
            outcome = attempt(lambda: evaluating.shown(page, found))
            fresh, seen = outcome.value or notice(outcome.problem, "warning"), running.started
        return evaluating.progress(running), gr.Timer(active=page.proofs.running), fresh, seen

    def on_prove(recipe: str, stages: list[str], metric: str, seed: float | None, known: float) -> tuple[Any, ...]:
        outcome = attempt(lambda: evaluating.start(page, recipe, stages, metric, 0 if seed is None else seed))
        return notice(outcome.problem, "warning"), *look(known)

    def on_stop(known: float) -> tuple[Any, ...]:
        def work() -> bool:
            page.check_writable()
            evaluating.stop(page)
            return True

        return notice(attempt(work).problem, "warning"), *look(known)

    go.click(on_prove, [recipe, stages, metric, seed, seen], [problem, *outputs], **FREE)
    stop.click(on_stop, [seen], [problem, *outputs], **FREE)
    timer.tick(look, [seen], outputs, **FREE)
    return Tab(recipe, stages, problem, shown, outputs, (look, [seen]))
