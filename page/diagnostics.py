"""The Diagnostics tab: what can be said of a space, as a plot with its numbers, how many items, and one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from mmretrieval.diagnostics import DIAGNOSTICS, paired
from mmretrieval.errors import pick
from mmretrieval.types import Finding
from page import arguments, plots
from page.cards import title
from page.notices import attempt, escape, notice, table
from page.search import FREE

if TYPE_CHECKING:
    from page.state import Page

# What each number is, in a few words; a number that is not named here is shown under its own name.
NUMBERS = {
    "centroid_distance": "distance of the two mean directions",
    "centroid_distance_corrected": "the same without what sampling noise adds (0: no gap, 2: the most)",
    "centroid_cosine": "cosine of the two mean directions",
    "pair_cosine": "mean cosine of an item's picture and its words",
    "pair_distance": "mean distance of an item's picture and its words",
    "alignment": "mean squared distance within pairs (lower: closer)",
    "uniformity_visual": "how evenly pictures spread (lower: more evenly)",
    "uniformity_text": "how evenly texts spread (lower: more evenly)",
    "uniformity_cross": "how evenly pictures spread around texts (lower: more evenly)",
    "centroid_distance_centred": "distance of the means after mean-centring, on pairs held back",
    "pair_cosine_centred": "mean pair cosine after mean-centring, on pairs held back",
    "volume_matched": "mean volume of views that belong together",
    "volume_shuffled": "mean volume of views mixed up",
    "auc": "how often matched is the smaller (0.5: chance, 1: always)",
    "opposed_matched": "share of matched tuples with a negative cosine",
    "opposed_shuffled": "share of shuffled tuples with a negative cosine",
}
LEAST_SAMPLE, MOST_SAMPLE, MOST_SEED = 4, 100_000, 2**31 - 1
NAMES = {"gap": "Modality gap", "gram": "GRAM volume"}


@dataclass(frozen=True)
class Shown:
    """What a diagnosis shows: a sentence, a figure, the numbers as a table; or what went wrong."""

    sentence: str = ""
    figure: Any = None
    numbers: str = ""
    problem: str = ""


def find(page: Page, encoder: str, diagnostic: str, sample: int, seed: int) -> Finding:
    """Runs one diagnostic over the pairs of a space."""
    row = pick(DIAGNOSTICS, arguments.text(diagnostic, "the diagnostic"), "diagnostic")
    sample = arguments.whole(sample, "sample", LEAST_SAMPLE, MOST_SAMPLE)
    seed = arguments.whole(seed, "seed", 0, MOST_SEED)
    views, ids = paired(page.library.matrices(arguments.text(encoder, "the encoder")))
    return row.run(views, ids, seed=seed, sample=sample)


def diagnose(page: Page, encoder: str, diagnostic: str, sample: int, seed: int) -> Shown:
    """Runs one diagnostic and draws it."""
    outcome = attempt(lambda: _shown(page, find(page, encoder, diagnostic, sample, seed), encoder))
    return outcome.value if outcome.value is not None else Shown(problem=outcome.problem)


def _shown(page: Page, finding: Finding, encoder: str) -> Shown:
    if "pca" in finding.series:
        items = page.library.items_by_id(list(dict.fromkeys(finding.series["pca"]["id"])))
        figure = plots.plane(finding.series["pca"], {i: title(item) for i, item in items.items()})
    else:
        figure = plots.volumes(finding.series["volumes"])
    return Shown(f'<p class="mm-finding">{escape(finding.sentence)}</p>', figure, numbers(finding, encoder))


def numbers(finding: Finding, encoder: str) -> str:
    """Every number of a finding with its interval, and what it was measured on."""
    rows = [(n, NUMBERS.get(n, ""), f"{value:.3f}", _interval(finding, n)) for n, value in finding.numbers.items()]
    return table(_basis(finding, encoder), ("number", "what it is", "value", "95 % interval"), rows, numbers=(2, 3))


def _interval(finding: Finding, name: str) -> str:
    if name not in finding.intervals:
        return ""
    low, high = finding.intervals[name]
    return f"{low:.3f} to {high:.3f}"


def _basis(finding: Finding, encoder: str) -> str:
    basis: Mapping[str, Any] = finding.basis
    n, of, seed = (basis.get(name, "?") for name in ("pairs", "of", "seed"))
    return f"{encoder}: n = {n} of {of} items with both, seed {seed}; intervals: {basis.get('intervals', 'none')}"


def build(page: Page) -> gr.Dropdown:
    """Lays out the tab and wires it; gives the encoder menu."""
    with gr.Row(equal_height=False, elem_classes="mm-actions"):
        encoder = gr.Dropdown(
            list(page.library.encoders), value=page.library.encoders[0], label="Encoder", min_width=160
        )
        named = [(NAMES.get(name, name), name) for name in DIAGNOSTICS]
        what = gr.Radio(named, value=named[0][1], label="What to look at", elem_id="diagnostic", min_width=220)
        sample = gr.Number(
            10_000, label="At most so many items", precision=0, minimum=LEAST_SAMPLE, maximum=MOST_SAMPLE, min_width=120
        )
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MOST_SEED, min_width=80)
        go = gr.Button("Diagnose", variant="primary", elem_id="diagnose", min_width=120)
    promise = gr.HTML(notice(DIAGNOSTICS[named[0][1]].promise))
    problem = gr.HTML(elem_id="diagnose-problem")
    sentence = gr.HTML(elem_id="finding")
    figure = gr.Plot(show_label=False, visible=False, elem_id="figure")
    values = gr.HTML(elem_id="numbers")

    def on_diagnose(encoder: str, what: str, sample: int | None, seed: int | None) -> tuple[Any, ...]:
        shown = diagnose(page, encoder, what, 10_000 if sample is None else sample, 0 if seed is None else seed)
        plot = gr.Plot(shown.figure, visible=shown.figure is not None)
        return notice(shown.problem, "warning"), shown.sentence, plot, shown.numbers

    go.click(
        on_diagnose,
        [encoder, what, sample, seed],
        [problem, sentence, figure, values],
        concurrency_id="diagnose",
        concurrency_limit=1,
        api_visibility="private",
    )
    what.change(
        lambda name: notice(DIAGNOSTICS[name].promise if name in DIAGNOSTICS else ""),
        [what],
        [promise],
        **FREE,
    )
    return encoder
