"""What is saved of results: what each part of the query brought to them, and one item's rank from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from eval.drawings import Bar, bars, ranks
from eval.saving import Offer, toolbar
from eval.tables import Cell, Table, file_name
from mmretrieval.types import Contribution, Hit, Item, Mark
from page.notices import counted, table
from page.provenance import about
from page.search.cards import title

if TYPE_CHECKING:
    from page.state import Page

# So many results are in a picture of them and in the table on the page; the file has all.
MOST_DRAWN = 24
BROUGHT = "score that the part brought"


def results(page: Page, said: str, recipe: str, items: Mapping[str, Item], hits: Sequence[Hit]) -> str:
    """The list of results as it stands: ranks, scores, and what each part brought to each; `said` is the query."""
    there = [(hit, items[hit.id]) for hit in hits if hit.id in items]
    if not there:
        return ""
    found = [one for hit, _ in there for one in hit.contributions]
    lists = list(dict.fromkeys((one.source, part) for one in found for part in one.parts))
    heads = ("rank", "item", "kind", "title", "score", *(f"{BROUGHT}: {part} ({source})" for source, part in lists))
    rows: list[tuple[Cell, ...]] = []
    for hit, item in there:
        brought = {(one.source, part): value for one in hit.contributions for part, value in _of(one)}
        rows.append((hit.rank, item.id, item.kind, title(item), hit.score, *(brought.get(key) for key in lists)))
    shown = [[_brief(cell) for cell in (*row[:1], *row[3:])] for row in rows[:MOST_DRAWN]]
    numbers = table(_cut("Results", len(there)), (heads[0], *heads[3:]), shown, [0, *range(2, len(heads) - 2)])
    drawing, unit = [], BROUGHT if len(lists) > 1 else "score"
    for hit, item in there[:MOST_DRAWN]:
        name = f"{hit.rank} · {title(item)}"
        if len(lists) < 2:
            drawing.append(Bar(name, hit.score))
            continue
        group = f"{name}: {hit.score:.4f}"
        for one in hit.contributions:
            for part, value in _of(one):
                drawing.append(Bar(f"{part} ({one.source})", value, group))
                group = ""
    known = about(page.library, recipe, query=said, recipe=recipe, n=len(there))
    offer = Offer(
        file_name("results", recipe, said), _cut(f"Results for {said}", len(there)), known,
        bars(drawing, unit) if drawing else "", Table(heads, tuple(rows)).address(known),
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


def contributions(page: Page, item: Item, brought: Sequence[Contribution]) -> str:
    """What each part of the query brought to an item's score in each list; the tables stand on the page."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (one.source, part, value, "yes" if one.additive else "no") for one in brought for part, value in _of(one)
    )
    if not rows:
        return ""
    sources = [one.source for one in brought]
    known = about(page.library, *sources, item=item.id)
    drawing = [
        Bar(part, value, one.source if place == 0 else "")
        for one in brought
        for place, (part, value) in enumerate(_of(one))
    ]
    table_ = Table(("list", "part of the query", BROUGHT, "the parts add up to the score"), rows)
    name = file_name("parts", item.id[:8], *sources)
    return toolbar(Offer(name, f"What each part of the query brought: {title(item)}", known, bars(drawing, BROUGHT),
                         table_.address(known)))  # fmt: skip


def _of(one: Contribution) -> list[tuple[str, float]]:
    return [(part, float(value)) for part, value in zip(one.parts, one.values, strict=True)]


def _cut(name: str, number: int) -> str:
    return name if number <= MOST_DRAWN else f"{name}: the first {MOST_DRAWN} of {counted(number, 'result')}"


def _brief(cell: Cell) -> str | int:
    return "" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else cell
