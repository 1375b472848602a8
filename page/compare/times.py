"""Where the time of each compared recipe went: a bar under its name, and a table of all stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmretrieval.timing import OTHER, in_words, milliseconds
from page.notices import escape

if TYPE_CHECKING:
    from page.compare.columns import Answer

# By the first word of a stage's name, in the table's order: its colour (see style.css), and what happens in it.
STAGES = {
    "prepare": ("ready", "loads a model, fits what the recipe fits, takes up what changed in the library"),
    "encode": ("query", "makes vectors, or terms, of the query"),
    "compose": ("query", "transforms the query's parts and makes one vector of them"),
    "search": ("search", "finds the best items of a view"),
    "correct": ("search", "corrects the scores of all items"),
    "scale": ("search", "takes what meaningless queries score on each view"),
    "merge": ("search", "takes each item's best view"),
    "fuse": ("fuse", "joins the lists"),
    "rerank": ("rerank", "puts the first items in a new order"),
    "explain": ("mark", "tells what each part brought"),
    "mark": ("mark", "draws the cut-off"),
    OTHER: (OTHER, "checks the query, and writes down what was used"),
}


def bar(answer: Answer, slowest: float) -> str:
    """The stages of one recipe beside each other, as long as it took; the slowest recipe fills the width."""
    drawn = "".join(
        f'<i class="mm-{_tone(one["stage"])}" style="width:{0.1 * one["ms"] / slowest:.2f}%"></i>'
        for one in answer.stages
        if slowest > 0
    )
    said = escape(in_words({"seconds": answer.seconds, "stages": answer.stages}))
    return f'<span class="mm-time" role="img" aria-label="{said}" title="{said}">{drawn}</span>'


def table(given: Sequence[Answer], letters: Sequence[str], files: str = "") -> str:
    """All stages by all recipes, in milliseconds, to be opened; nothing where no stage was timed.

    `files` is HTML that stands below it: what can be saved of it.
    """
    spent = [{one["stage"]: one["ms"] for one in answer.stages} for answer in given]
    names = sorted(dict.fromkeys(name for held in spent for name in held), key=_order)
    if not names:
        return ""
    heads = "".join(f'<th scope="col" class="mm-number">{letter}</th>' for letter in letters[: len(given)])
    rows = "".join(_row(name, [held.get(name) for held in spent]) for name in names)
    total = _cells([1000 * answer.seconds for answer in given])
    verbs = [verb for verb in STAGES if verb in {name.partition(" ")[0] for name in names}]
    legend = "; ".join(f"<b>{verb}</b> {STAGES[verb][1]}" for verb in verbs)
    return (
        '<details class="mm-times"><summary>Time of each stage</summary><div class="mm-scroll">'
        f'<table class="mm-table"><thead><tr><th scope="col">stage</th>{heads}</tr></thead><tbody>{rows}</tbody>'
        f'<tfoot><tr><th scope="row">in all</th>{total}</tr></tfoot></table></div><p class="mm-hint">{legend}.</p>'
        f"{files}</details>"
    )


def _row(name: str, taken: Sequence[float | None]) -> str:
    swatch = f'<i class="mm-{_tone(name)}" aria-hidden="true"></i>'
    return f'<tr><th scope="row">{swatch}{escape(name)}</th>{_cells(taken)}</tr>'


def _cells(taken: Sequence[float | None]) -> str:
    return "".join(f'<td class="mm-number">{"—" if ms is None else milliseconds(ms)}</td>' for ms in taken)


def _tone(name: str) -> str:
    return f"t-{STAGES.get(name.partition(' ')[0], STAGES[OTHER])[0]}"


def _order(name: str) -> int:
    verb = name.partition(" ")[0]
    return list(STAGES).index(verb) if verb in STAGES else len(STAGES)
