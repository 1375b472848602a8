"""Two to four rankings of one query, aligned by rank: what each alone has, what moved, and how alike they are."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from eval.agreement import PERSISTENCE, overlap, rank_biased_overlap
from mmretrieval.engine import DEPTH
from mmretrieval.timing import Account, Spent, apart
from mmretrieval.types import Hit, Item, Query
from page.compare import judging, times
from page.notices import escape, notice, table
from page.query.asking import Asked
from page.query.parts import Previews
from page.search.cards import STANDARDISED, Card, cards, title, what

if TYPE_CHECKING:
    from page.state import Page

LETTERS = ("A", "B", "C", "D")
NAMES = ("compare-left", "compare-right", "compare-third", "compare-fourth")
TRANSDUCTIVE = "transductive: an answer depends on the queries asked with it, and here there is only this one"
TOOK = "from the query to the finished list, without what is loaded and fitted once"
MOVED_SHOWN, MOST_PICTURED = 20, 6
# More lines than this between two columns are no longer a picture of anything.
MOST_LINES = 24
COLUMNS_JS = (
    """
const follow = (ident, on) => element.querySelectorAll('[data-card], [data-line]').forEach((one) => {
  if ((one.dataset.card || one.dataset.line) === ident) one.classList.toggle('mm-followed', on);
});
let held = null;
const over = (event) => event.target.closest('[data-card]')?.dataset.card;
element.addEventListener('mouseover', (event) => { const i = over(event); if (i) follow(i, true); });
element.addEventListener('mouseout', (event) => { const i = over(event); if (i && i !== held) follow(i, false); });
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-follow]');
  if (!button) return;
  const ident = button.dataset.follow;
  if (held) follow(held, false);
  held = held === ident ? null : ident;
  if (held) follow(held, true);
  element.querySelectorAll('[data-follow]').forEach((one) =>
    one.setAttribute('aria-pressed', String(one.dataset.follow === held)));
});
watch('value', () => { held = null; });
"""
    + judging.JUDGE_JS
)


@dataclass(frozen=True)
class Answer:
    """What one recipe gives: its hits in order, how long all of it (seconds) and each stage took, and where a
    correction is not as the recipe asks for it."""

    recipe: str
    hits: tuple[Hit, ...]
    seconds: float
    transductive: bool = False
    stages: tuple[Spent, ...] = ()
    remarks: str = ""

    @property
    def ids(self) -> list[str]:
        """The items in order."""
        return [hit.id for hit in self.hits]

    @property
    def spent(self) -> tuple[Account, Account]:
        """What of the time was made once and is kept, and what every such search takes (see timing.apart)."""
        return apart({"seconds": self.seconds, "stages": self.stages})


@dataclass(frozen=True)
class Agreement:
    """How alike two of the answers are: `both` of the first k are in both lists, rank-biased overlap of the whole."""

    first: int
    second: int
    both: int
    overlap: float
    rank_biased: float

    @property
    def pair(self) -> str:
        """The letters of both."""
        return f"{LETTERS[self.first]}–{LETTERS[self.second]}"  # noqa: RUF001  # a dash between two names


def answers(page: Page, asked: Query, names: Sequence[str], depth: int = DEPTH) -> list[Answer]:
    """Each recipe's answer down to `depth`."""
    runs = [page.engine.rank([asked], name, depth) for name in names]
    return [
        Answer(
            run.recipe,
            run.rankings[0].hits,
            run.meta["seconds"],
            bool(run.meta.get("transductive")),
            tuple(run.meta["stages"]),
            "; ".join(run.meta.get("remarks", ())),
        )
        for run in runs
    ]


def agreements(lists: Sequence[Sequence[str]], k: int) -> list[Agreement]:
    """For each two of the lists of ids how alike they are."""
    found = []
    for first, second in itertools.combinations(range(len(lists)), 2):
        left, right = lists[first], lists[second]
        both = len(set(left[:k]) & set(right[:k]))
        alike = overlap(left[:k], right[:k])
        found.append(Agreement(first, second, both, alike, rank_biased_overlap(left, right)))
    return found


def pictured(page: Page, asked: Asked) -> str:
    """The pictures and items that a query has, small, for whoever judges its answers; nothing for words alone."""
    items = page.library.items_by_id([part.value for part in asked.parts if part.kind == "item"])
    previews, drawn = Previews(page), []
    for part in [part for part in asked.parts if part.kind != "words"][:MOST_PICTURED]:
        if part.kind == "picture":
            source, name = previews.of(part.value), "picture of the query"
        else:
            item = items.get(part.value)
            source = f"media/thumb/{quote(part.value)}" if item is not None and item.visual else ""
            name = title(item) if item is not None else ""
        away = ' class="mm-away" title="away from this"' if part.weight < 0 else ""
        drawn += [f'<img src="{escape(source)}" alt="{escape(name)}"{away}>'] if source else []
    return f'<div class="mm-pictured">{"".join(drawn)}</div>' if drawn else ""


# --- how alike -------------------------------------------------------------------------------------------------------


def summary(found: Sequence[Agreement], k: int) -> str:
    """How alike the lists are, in a sentence for two and in a table for more."""
    how = f"(p = {PERSISTENCE}; 1 is the same order, 0 nothing in common; down to the end of the shorter list)"
    if len(found) == 1:
        one = found[0]
        return (
            f'<p class="mm-summary"><strong>{one.both} of the first {k}</strong> are in both lists '
            f"(overlap@{k} {one.overlap:.2f}). Rank-biased overlap: {one.rank_biased:.2f} {how}.</p>"
        )
    rows = [(one.pair, one.both, f"{one.overlap:.2f}", f"{one.rank_biased:.2f}") for one in found]
    heads = ("lists", f"in both first {k}", f"overlap@{k}", "rank-biased overlap")
    return (
        f'<div class="mm-pairs">{table("", heads, rows, numbers=(1, 2, 3))}</div>'
        f'<p class="mm-hint">Rank-biased overlap counts earlier places more {how}.</p>'
    )


def moved(items: Mapping[str, Item], given: Sequence[Answer], k: int) -> str:
    """What stands among the first k of some list and not in the same place in all, the furthest first."""
    places = [{hit.id: hit.rank for hit in answer.hits} for answer in given]
    beyond = max((rank for held in places for rank in held.values()), default=0) + 1
    found = {i: [held.get(i, beyond) for held in places] for i in items}
    met = [i for i, ranks in found.items() if min(ranks) <= k and len(set(ranks)) > 1]
    met.sort(key=lambda i: (min(found[i]) - max(found[i]), min(found[i]), i))
    if not met:
        return notice(f"Nothing moved: {'both' if len(given) == 2 else 'all'} recipes give the same first places.")
    letters = LETTERS[: len(given)]
    rows = [
        (title(items[i]), *(n if n < beyond else "—" for n in found[i]), _change(found[i], letters, beyond))
        for i in met[:MOVED_SHOWN]
    ]
    caption = f"What moved ({len(rows)} of {len(met)}; — is not found down to place {beyond - 1})"
    heads = ("item", *(f"rank in {letter}" for letter in letters), "change")
    return table(caption, heads, rows, numbers=range(1, len(heads)))


def _change(ranks: Sequence[int], letters: Sequence[str], beyond: int) -> str:
    there = [letter for letter, rank in zip(letters, ranks, strict=True) if rank < beyond]
    if len(there) < len(ranks):
        return f"only {' and '.join(there)}"
    if len(ranks) == 2:
        return f"{'▲' if ranks[1] < ranks[0] else '▼'} {abs(ranks[1] - ranks[0])}"
    return f"{max(ranks) - min(ranks)} apart"


# --- the columns -----------------------------------------------------------------------------------------------------


def drawn(
    items: Mapping[str, Item], given: Sequence[Answer], k: int, grades: Mapping[str, int] | None, *, blind: bool = False
) -> str:
    """The first k of each list, a row for each rank, lines between the places of what stands in neighbouring columns.

    `grades` are those given so far; None takes no judgements. `blind` shows neither recipes nor anything that betrays
    them.
    """
    places = [{hit.id: hit.rank for hit in answer.hits} for answer in given]
    spent = [answer.spent for answer in given]
    slowest = max((search["seconds"] for _, search in spent), default=0.0)
    # A longer line above one list makes room above all: rows stay beside each other.
    room = " mm-readied" if not blind and any(times.readied(once) for once, _ in spent) else ""
    parts = []
    for number, answer in enumerate(given):
        if number and not blind:
            parts.append(_lines(given[number - 1].ids[:k], answer.ids[:k], k))
        head = _blind_head(number) if blind else _head(number, answer, slowest)
        shown = {card.id: card for card in cards(items, answer.hits[:k])}
        cells = "".join(
            _cell(shown.get(hit.id), hit, "" if blind else _marks(hit, number, places), grades, blind=blind)
            for hit in answer.hits[:k]
        )
        name = f"blind-{number}" if blind else NAMES[number]
        label = ("Left", "Right")[number] if blind else f"List {LETTERS[number]}"
        parts.append(
            f'<section class="mm-column" id="{name}" aria-label="{label}">{head}'
            f'<div role="list">{cells}</div></section>'
        )
    return f'<div class="mm-compared mm-of-{len(given)}{" mm-blind" if blind else room}">{"".join(parts)}</div>'


def _head(number: int, answer: Answer, slowest: float) -> str:
    once, search = answer.spent
    more = f" {ready}" if (ready := times.readied(once)) else ""
    more += f' · <span class="mm-flag" title="{TRANSDUCTIVE}">transductive</span>' if answer.transductive else ""
    more += f' · <span class="mm-flag" title="{escape(answer.remarks)}">not as asked</span>' if answer.remarks else ""
    return (
        f'<header><b>{LETTERS[number]}</b><span><code title="{escape(answer.recipe)}">{escape(answer.recipe)}</code>'
        f'<small title="{TOOK}">{search["seconds"]:.2f} s{more}</small>'
        f"{times.bar(answer, slowest)}</span></header>"
    )


def _blind_head(number: int) -> str:
    return f"<header><b>{('Left', 'Right')[number]}</b></header>"


def _lines(left: Sequence[str], right: Sequence[str], k: int) -> str:
    """Curves from an item's row in one column to its row in the next; rows have one height, so a unit is a row."""
    there = {ident: place for place, ident in enumerate(right)}
    curves = [
        f'<path data-line="{escape(ident)}" class="{"mm-level" if there[ident] == place else "mm-across"}" '
        f'd="M0 {place + 0.5} C50 {place + 0.5} 50 {there[ident] + 0.5} 100 {there[ident] + 0.5}"/>'
        for place, ident in enumerate(left)
        if ident in there
    ]
    inside = "".join(curves) if k <= MOST_LINES else ""
    rows = max(len(left), len(right), 1)
    return (
        f'<svg class="mm-curves" style="--rows: {rows}" viewBox="0 0 100 {rows}" preserveAspectRatio="none" '
        f'aria-hidden="true">{inside}</svg>'
    )


def _marks(hit: Hit, number: int, places: Sequence[Mapping[str, int]]) -> str:
    """Where the other lists have the item."""
    others = [(LETTERS[i], held.get(hit.id)) for i, held in enumerate(places) if i != number]
    if all(rank is None for _, rank in others):
        return f'<span class="mm-mark mm-only">only {LETTERS[number]}</span>'
    if all(rank == hit.rank for _, rank in others):
        return '<span class="mm-mark mm-same">same place</span>'
    said = []
    for letter, rank in others:
        tone = "none" if rank is None else "same" if rank == hit.rank else "moved"
        arrow = "" if rank is None or rank == hit.rank else " ▲" if rank < hit.rank else " ▼"
        where = f"list {letter} does not have it" if rank is None else f"in list {letter} at place {rank}"
        said.append(
            f'<span class="mm-mark mm-{tone}" title="{where}">{letter} {"—" if rank is None else rank}{arrow}</span>'
        )
    return "".join(said)


def _cell(shown: Card | None, hit: Hit, marks: str, grades: Mapping[str, int] | None, *, blind: bool) -> str:
    if shown is None:
        return '<div role="listitem" class="mm-row"><span class="mm-hint">removed since</span></div>'
    picture = (
        f'<span class="mm-passage">{escape(shown.passage)}</span>'
        if shown.passage
        else f'<img src="media/thumb/{quote(shown.id)}" alt="" loading="lazy">'
    )
    of = escape(f"score of {shown.stage}{f': {STANDARDISED}' if shown.stage.endswith('@all') else ''}")
    score = "" if blind else f'<span class="mm-score" title="{of}">{hit.score:.3f}</span>'
    about = f"{what(shown.kind, shown.place)}, {shown.caption}"
    judge = "" if grades is None else judging.buttons(shown.id, grades.get(shown.id), about)
    caption = "" if shown.passage else f'<span class="mm-caption">{escape(shown.caption)}</span>'
    weak = " mm-weak" if hit.weak and not blind else ""
    return (
        f'<div role="listitem" class="mm-row{weak}" data-card="{escape(shown.id)}">'
        f'<button type="button" class="mm-thumb" data-follow="{escape(shown.id)}" aria-pressed="false" '
        f'aria-label="{escape(f"Follow through the lists: {about}")}">{picture}</button>'
        f'<div class="mm-about"><span class="mm-line"><span class="mm-rank">{hit.rank}</span>'
        f'<span class="mm-kind">{escape(what(shown.kind, shown.place))}</span>{score}</span>{caption}'
        f'<span class="mm-foot"><span class="mm-places">{marks}</span>{judge}</span></div></div>'
    )
