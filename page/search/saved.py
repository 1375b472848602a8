"""What is saved of results: what each part of the query brought to them, and one item's rank from stage to stage."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from eval.drawings import Bar, bars, ranks
from eval.saving import Offer, toolbar
from eval.tables import Cell, Table, file_name
from mmretrieval.lexical import is_lexical
from mmretrieval.recipe import parse
from mmretrieval.types import Contribution, Hit, Item, Mark
from page.notices import counted, table
from page.provenance import about
from page.search.cards import title

if TYPE_CHECKING:
    from page.state import Page

# So many results are in a picture of them and in the table on the page; the file has all.
MOST_DRAWN = 24
BROUGHT, ADDED_UP, SCORE = "score that the part brought", "the parts add up to", "the score"
CHANCE, BELOW = "chance", "below the cut-off"
# Scores of stores are float32, those of parts float64.
SAME = 1e-4

# One part in one list: the list's name, which of the lists of that name, and the part's place there.
Key = tuple[str, int, int]


def results(page: Page, said: str, recipe: str, items: Mapping[str, Item], hits: Sequence[Hit]) -> str:
    """The list of results as it stands: ranks, scores, and what each part brought to each; `said` is the query."""
    there = [(hit, items[hit.id]) for hit in hits if hit.id in items]
    if not there:
        return ""
    parts = _columns([hit for hit, _ in there])
    judging = parse(recipe).cutoff is not None
    first = ("rank", "item", "kind", "title", "score", *((CHANCE, BELOW) if judging else ()))
    named = tuple(f"{BROUGHT}: {name}" for name in parts.values())
    heads = (*first, *named, *((ADDED_UP,) if parts else ()))
    rows: list[tuple[Cell, ...]] = []
    for hit, item in there:
        brought = _placed(hit)
        told = (hit.chance, _below(hit)) if judging else ()
        sums = (_sums([hit]) or None,) if parts else ()
        cells = (hit.rank, item.id, item.kind, title(item), hit.score, *told)
        rows.append((*cells, *(brought.get(key) for key in parts), *sums))
    shown = [[_brief(cell) for cell in (*row[:1], *row[3:])] for row in rows[:MOST_DRAWN]]
    seen = (heads[0], *heads[3:])
    numbers = table(
        _cut("Results", len(there)), seen, shown,
        [place for place, head in enumerate(seen) if head not in ("title", BELOW, ADDED_UP)],
    )  # fmt: skip
    drawing, partly = _drawn(there[:MOST_DRAWN], parts)
    known = about(page.library, recipe, query=said, recipe=recipe, n=len(there))
    heading = _cut(f"Results for {said}", len(there))
    if partly:
        heading += f"; the parts add up to {_sums([hit for hit, _ in there[:MOST_DRAWN]])}"
    offer = Offer(
        file_name("results", recipe, said), heading, known,
        bars(drawing, BROUGHT if partly else "score") if drawing else "", Table(heads, tuple(rows)).address(known),
    )  # fmt: skip
    return toolbar(offer, numbers)


def trail(page: Page, item: Item, marks: Sequence[Mark]) -> str:
    """An item's rank and score at every stage; the table stands on the page."""
    rows: tuple[tuple[Cell, ...], ...] = tuple((mark.stage, mark.rank, mark.score) for mark in marks)
    if not rows:
        return ""
    known = about(page.library, item=item.id)
    picture = ranks([mark.stage for mark in marks], [mark.rank for mark in marks]) if len(marks) > 1 else ""
    name = file_name("ranks", item.id[:8], marks[-1].stage)
    numbers = Table(("stage", "rank", "score"), rows).address(known)
    return toolbar(Offer(name, f"Rank from stage to stage: {title(item)}", known, picture, numbers))


def contributions(page: Page, item: Item, hit: Hit) -> str:
    """What each part of the query brought to an item's score in each list; the tables stand on the page."""
    brought = hit.contributions
    named = _numbered([(one.source, part) for one in brought for part in one.parts])
    rows: list[tuple[Cell, ...]] = []
    drawing: list[Bar] = []
    for one in brought:
        for place, value in enumerate(map(float, one.values)):
            part = named[len(rows)]
            rows.append((one.source, part, value, adds_up_to(hit, one)))
            drawing.append(Bar(part, value, one.source if place == 0 else ""))
    if not rows:
        return ""
    sources = [one.source for one in brought]
    known = about(page.library, *sources, item=item.id)
    heading = f"What each part of the query brought: {title(item)}; the parts add up to {_sums([hit])}"
    numbers = Table(("list", "part of the query", BROUGHT, ADDED_UP), tuple(rows)).address(known)
    name = file_name("parts", item.id[:8], *sources)
    return toolbar(Offer(name, heading, known, bars(drawing, BROUGHT), numbers))


def adds_up_to(hit: Hit, one: Contribution) -> str:
    """What the parts of one list add up to: the hit's own score only where that is what the list gave it.

    Under `@all` a hit's score is that of its best view on a scale of its own, and with several lists, a correction or a
    reranker it is theirs; the parts then add up to the one view's dot product, or to the BM25 score.
    """
    if not one.additive:
        return "nothing: each is the score of a part by itself"
    if len(hit.contributions) == 1 and abs(math.fsum(one.values) - hit.score) <= SAME:
        return SCORE
    alone = "BM25 score" if is_lexical(one.source.partition("@")[0]) else "dot product with the item's vector"
    return f"the {alone}, not the score"


def _sums(hits: Sequence[Hit]) -> str:
    """What the parts of hits add up to: in a few words where that is one thing for all lists, else list by list."""
    told: dict[str, str] = {}
    for hit in hits:
        for one in hit.contributions:
            said = adds_up_to(hit, one)
            # What holds for some of a list's hits alone holds by accident.
            told[one.source] = said if told.get(one.source, SCORE) == SCORE else told[one.source]
    if len(set(told.values())) < 2:
        return next(iter(told.values()), "")
    return "; ".join(f"{source}: {said}" for source, said in told.items())


def _placed(hit: Hit) -> dict[Key, float]:
    """What parts brought to a hit, by list and place: labels do not tell two items apart, nor two pictures."""
    placed: dict[Key, float] = {}
    seen: Counter[str] = Counter()
    for one in hit.contributions:
        placed |= {(one.source, seen[one.source], place): float(value) for place, value in enumerate(one.values)}
        seen[one.source] += 1
    return placed


def _columns(hits: Sequence[Hit]) -> dict[Key, str]:
    """A distinct name for each part in each list that any of the hits has."""
    parts = {
        key: (key[0], part)
        for hit in hits
        for key, part in zip(_placed(hit), (part for one in hit.contributions for part in one.parts), strict=True)
    }
    named = _numbered(list(parts.values()))
    return {key: f"{name} ({key[0]})" for key, name in zip(parts, named, strict=True)}


def _numbered(parts: Sequence[tuple[str, str]]) -> list[str]:
    """Names of parts, each (list, label), with a number behind a label that its list has more than once."""
    many, so_far, named = Counter(parts), Counter[tuple[str, str]](), []
    for one in parts:
        so_far[one] += 1
        named.append(f"{one[1]} {so_far[one]}" if many[one] > 1 else one[1])
    return named


def _drawn(there: Sequence[tuple[Hit, Item]], names: Mapping[Key, str]) -> tuple[list[Bar], bool]:
    """A bar for each part of each hit, and whether it is so: where no hit has two, a bar for each score."""
    partly = any(sum(len(one.values) for one in hit.contributions) > 1 for hit, _ in there)
    drawing = []
    for hit, item in there:
        name = f"{hit.rank} · {title(item)}"
        if not partly:
            drawing.append(Bar(name, hit.score))
            continue
        for place, (key, value) in enumerate(_placed(hit).items()):
            drawing.append(Bar(names[key], value, "" if place else f"{name}: {hit.score:.4f}"))
    return drawing, partly


def _below(hit: Hit) -> str:
    return "not judged" if hit.chance is None else "yes" if hit.weak else "no"


def _cut(name: str, number: int) -> str:
    return name if number <= MOST_DRAWN else f"{name}: the first {MOST_DRAWN} of {counted(number, 'result')}"


def _brief(cell: Cell) -> str | int:
    if isinstance(cell, float):
        return f"{cell:.4f}" if not 0 < abs(cell) < 0.0001 else f"{cell:.1e}"
    return "" if cell is None else cell
