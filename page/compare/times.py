"""Where the time of each compared recipe went: a bar under its name, and a table of all stages.

Whichever recipe comes first loads the models and fits what others use as well: that is told by itself, in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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
    "scale": ("ready", "takes what meaningless queries score on each view"),
    "merge": ("search", "takes each item's best view"),
    "fuse": ("fuse", "joins the lists"),
    "rerank": ("rerank", "puts the first items in a new order"),
    "explain": ("mark", "tells what each part brought"),
    "mark": ("mark", "draws the cut-off"),
    OTHER: (OTHER, "checks the query, and writes down what was used"),
}
# From so many seconds on it is said that getting ready took them.
WORTH_SAYING = 0.05
LEFT_OUT = (
    "The times above the lists and the bars leave out <b>prepare</b> and <b>scale</b>: what these make is kept "
    "until the library changes or its room is needed, and the first recipe that needs it makes it for all"
)
WAITING = (
    "While others search too, waiting for them is counted; waiting in the page's queue before a search begins is not."
)


def readied(once: Mapping[str, Any]) -> str:
    """What the first account of `timing.apart` adds to the time of a search: `+ 7.48 s to get ready, once`, or nothing.

    Plain text; below WORTH_SAYING there is nothing to say.
    """
    return f"+ {once['seconds']:,.2f} s to get ready, once" if once["seconds"] > WORTH_SAYING else ""


def bar(answer: Answer, slowest: float) -> str:
    """The stages of one recipe's search beside each other, as long as it took; `slowest` seconds fill the width.

    What was made once is told in words and not drawn.
    """
    once, search = answer.spent
    drawn = "".join(
        f'<i class="mm-{_tone(one["stage"])}" style="width:{0.1 * one["ms"] / slowest:.2f}%"></i>'
        for one in search["stages"]
        if slowest > 0
    )
    said = escape(" ".join(filter(None, (in_words(search), readied(once)))))
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
    total = _row("in all", [1000 * answer.seconds for answer in given], swatch=False)
    split = [answer.spent for answer in given]
    if any(readied(once) for once, _ in split):
        search = _row("the search", [1000 * one["seconds"] for _, one in split], swatch=False)
        ready = _row("to get ready, once", [1000 * one["seconds"] for one, _ in split], swatch=False)
        total = search + ready + total
    verbs = [verb for verb in STAGES if verb in {name.partition(" ")[0] for name in names}]
    legend = "; ".join(f"<b>{verb}</b> {STAGES[verb][1]}" for verb in verbs)
    return (
        '<details class="mm-times"><summary>Time of each stage</summary><div class="mm-scroll">'
        f'<table class="mm-table"><thead><tr><th scope="col">stage</th>{heads}</tr></thead><tbody>{rows}</tbody>'
        f'<tfoot>{total}</tfoot></table></div><p class="mm-hint">{legend}.</p>'
        f'<p class="mm-hint">{LEFT_OUT}. {WAITING}</p>{files}</details>'
    )


def _row(name: str, taken: Sequence[float | None], *, swatch: bool = True) -> str:
    drawn = f'<i class="mm-{_tone(name)}" aria-hidden="true"></i>' if swatch else ""
    return f'<tr><th scope="row">{drawn}{escape(name)}</th>{_cells(taken)}</tr>'


def _cells(taken: Sequence[float | None]) -> str:
    return "".join(f'<td class="mm-number">{"—" if ms is None else milliseconds(ms)}</td>' for ms in taken)


def _tone(name: str) -> str:
    return f"t-{STAGES.get(name.partition(' ')[0], STAGES[OTHER])[0]}"


def _order(name: str) -> int:
    verb = name.partition(" ")[0]
    return list(STAGES).index(verb) if verb in STAGES else len(STAGES)
