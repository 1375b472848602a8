"""What is saved of a comparison: lists beside each other, how alike they are, where time went, who was preferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from eval.drawings import Bar, bars, columns, share
from eval.saving import Offer, toolbar
from eval.tables import Cell, Table, file_name
from mmretrieval.types import Item
from page.compare.times import readied
from page.provenance import about
from page.search.cards import title

if TYPE_CHECKING:
    from page.compare.blind import Sitting, Tally
    from page.compare.columns import Agreement, Answer
    from page.compare.query_set import Row
    from page.state import Page

LETTERS = "ABCD"


def lists(page: Page, said: str, items: Mapping[str, Item], given: Sequence[Answer], k: int) -> str:
    """What stands among the first k of some list, with its rank and score in each; `said` is the query."""
    places = [{hit.id: hit for hit in answer.hits} for answer in given]
    first = dict.fromkeys(hit.id for answer in given for hit in answer.hits[:k])
    heads = [f"{what} in {letter}" for letter in LETTERS[: len(given)] for what in ("rank", "score")]
    rows: list[tuple[Cell, ...]] = []
    for ident in first:
        held = [place.get(ident) for place in places]
        cells = [cell for hit in held for cell in ((hit.rank, hit.score) if hit else (None, None))]
        rows.append((ident, title(items[ident]) if ident in items else None, *cells))
    known = _known(page, given, query=said, k=k)
    named = [f"{letter}  {answer.recipe}" for letter, answer in zip(LETTERS, given, strict=False)]
    words = {ident: title(items[ident]) if ident in items else "removed since" for ident in first}
    shown = [[(hit.id, words[hit.id]) for hit in answer.hits[:k]] for answer in given]
    offer = Offer(
        file_name("compare", *(answer.recipe for answer in given), said), f"The first {k} for {said}", known,
        columns(named, shown), Table(("item", "title", *heads), tuple(rows)).address(known),
    )  # fmt: skip
    return toolbar(offer)


def alike(page: Page, said: str, given: Sequence[Answer], found: Sequence[Agreement], k: int) -> str:
    """How alike each two of the lists are, as numbers."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (given[one.first].recipe, given[one.second].recipe, one.both, one.overlap, one.rank_biased) for one in found
    )
    known = _known(page, given, query=said, k=k)
    heads = ("first recipe", "second recipe", f"in both first {k}", f"overlap@{k}", "rank-biased overlap")
    name = file_name("overlap", *(answer.recipe for answer in given), said)
    return toolbar(Offer(name, f"How alike the lists for {said} are", known, "", Table(heads, rows).address(known)))


def times(page: Page, said: str, given: Sequence[Answer]) -> str:
    """Where the time of each recipe went."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (letter, answer.recipe, one["stage"], one["ms"])
        for letter, answer in zip(LETTERS, given, strict=False)
        for one in answer.stages
    )
    if not rows:
        return ""
    drawing = [
        Bar(one["stage"], one["ms"], f"{letter}  {answer.recipe}: {_took(answer)}" if place == 0 else "")
        for letter, answer in zip(LETTERS, given, strict=False)
        for place, one in enumerate(answer.stages)
    ]
    known = _known(page, given, query=said)
    name = file_name("times", *(answer.recipe for answer in given), said)
    numbers = Table(("list", "recipe", "stage", "time (ms)"), rows).address(known)
    return toolbar(Offer(name, f"Time of each stage for {said}", known, bars(drawing, "time (ms)", ".1f"), numbers))


def _took(answer: Answer) -> str:
    once, search = answer.spent
    return " ".join(filter(None, (f"{1000 * search['seconds']:.1f} ms", readied(once))))


def query_set(page: Page, rows: Sequence[Row], names: Sequence[str], whence: str) -> str:
    """How alike the recipes' lists are for every query of a set, the most different first."""
    pairs = list(combinations(range(len(names)), 2))
    heads = [f"{what} {LETTERS[a]}{LETTERS[b]}" for a, b in pairs for what in ("overlap@10", "rank-biased overlap")]
    cells: list[tuple[Cell, ...]] = [
        (row.asked.sentence, row.apart, *(value for one in row.found for value in (one.overlap, one.rank_biased)))
        for row in rows
    ]
    known = about(page.library, *names, **_lettered(names), queries=whence, n=len(rows))
    numbers = Table(("query", "apart (1 - mean overlap@10)", *heads), tuple(cells)).address(known)
    return toolbar(Offer(file_name("disagreement", *names), "Where the recipes disagree", known, "", numbers))


def preferred(page: Page, sitting: Sitting, found: Tally, everything: Tally) -> str:
    """The win rate with its interval as a picture, and as numbers; of all sittings on the two recipes the same numbers.

    Each row says of how many judgements it is. Only this sitting has a k: earlier ones had lists of any length, which
    judgements do not say.
    """
    if not found.decided:
        return ""
    low, high = found.interval
    rate = found.wins / found.decided
    rows: list[tuple[Cell, ...]] = []
    for which, one, k in (("this sitting", found, sitting.k), ("all sittings", everything, None)):
        bounds = one.interval if one.decided else (None, None)
        own = one.wins / one.decided if one.decided else None
        counts = one.wins, one.losses, one.ties, one.judged
        rows.append((which, one.first, one.second, *counts, own, *bounds, k))
    heads = ("of", "first recipe", "second recipe", "first preferred", "second preferred", "ties", "judgements",
             "win rate of the first", "95 % interval (Wilson), low", "95 % interval (Wilson), high",
             "length of the lists (k)")  # fmt: skip
    shared = about(page.library, found.first, found.second)
    # The picture is of this sitting alone.
    known = about(page.library, found.first, found.second, n=found.judged, k=sitting.k)
    names = file_name("win-rate", found.first, found.second)
    named = f"How often {found.first} was preferred, of {found.decided} decided queries: {rate:.0%}"
    picture = share(rate, low, high, found.second, found.first)
    return f'<div class="mm-drawing">{picture}</div>' + toolbar(
        Offer(names, named, known, picture, Table(heads, tuple(rows)).address(shared))
    )


def _known(page: Page, given: Sequence[Answer], **said: object) -> dict[str, object]:
    names = [answer.recipe for answer in given]
    return about(page.library, *names, **_lettered(names), **said)


def _lettered(names: Sequence[str]) -> dict[str, object]:
    return {f"recipe {letter}": name for letter, name in zip(LETTERS, names, strict=False)}
