"""A finding as HTML, or two beside each other: sentences, fixes to try, plots, numbers, items. Foreign words are text.

Plots are empty places that the browser fills when they come into sight (page/figures.js).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from eval import plots
from eval.diagnosis import NumberTable, absent, below_chance, column, facts, number_tables
from eval.diagnosis_page import Face
from eval.saving import Offer, toolbar
from eval.tables import Cell, Table, file_name
from mmretrieval.findings import Exhibit, Finding, Plot
from mmretrieval.recipe import joins
from page.notices import counted, escape, notice, table
from page.prove.figures import PLOTLY_JS, about, offer, shared
from page.prove.findings import Found, Task

FIGURES_JS = PLOTLY_JS + Path(__file__).with_name("figures.js").read_text(encoding="utf-8")
# So many rows of a plot's table are in the page; its CSV has all.
ROWS = 30
# So many rows of items are in sight; the others are folded away.
SHOWN = 5
# So many columns of values stand beside each other in a table of numbers.
GROUPS = 6
SIDES = ("left", "right")


@dataclass(frozen=True)
class Side:
    """One column: a diagnosis that ended, and which side of the page it is."""

    task: Task
    name: str

    @property
    def found(self) -> Found | None:
        """What was found, if anything."""
        return self.task.found


def drawn(tasks: Sequence[Task]) -> str:
    """One diagnosis, or two as columns of the same."""
    sides = [Side(task, name) for task, name in zip(tasks, SIDES, strict=False)]
    several = len(sides) > 1
    founds = [side.found for side in sides if side.found is not None]
    heads = "".join(f'<section class="mm-cell">{_head(side, several)}</section>' for side in sides)
    tails = "".join(f'<section class="mm-cell">{_tail(side, several)}</section>' for side in sides)
    columns = "mm-columns" if several else "mm-columns mm-single"
    return (
        f'<div class="mm-found"><div class="{columns}">{heads}</div>'
        f'<div class="mm-columns">{"".join(_plots(sides))}</div>{_unshown(founds)}{_numbers(founds)}'
        f'<div class="{columns}">{tails}</div></div>'
    )


def _head(side: Side, several: bool) -> str:
    wanted = side.task.wanted
    where = f" · {side.name}" if several else ""
    what = f"<strong>{escape(wanted.diagnostic)}</strong> of <code>{escape(wanted.recipe)}</code>"
    name = f'<p class="mm-summary">{what} on the {wanted.of}{where}</p>'
    if side.found is None:
        return name + notice(f"{wanted.diagnostic} says nothing here: {side.task.problem}", "warning")
    finding = side.found.finding
    return f'{name}<p class="mm-finding">{escape(finding.sentence)}</p>{_advice(side, finding)}'


def _advice(side: Side, finding: Finding) -> str:
    if not finding.advice and not finding.stages:
        return ""
    said = f"<p><strong>What to try.</strong> {escape(finding.advice)}</p>" if finding.advice else ""
    fixes = "".join(f"<li><code>{escape(stage)}</code>{_buttons(side.name, stage)}</li>" for stage in finding.stages)
    listed = f'<ul class="mm-fixes">{fixes}</ul>' if fixes else ""
    return f'<div class="mm-advice">{said}{listed}</div>'


def _buttons(side: str, stage: str) -> str:
    """What can be done with a stage; what joins several encoders' lists is no change that a proof tries by itself."""
    proof = "" if joins(stage) else _button("evaluate", "Prove it", side, stage)
    return _button("compare", "Try this fix", side, stage) + proof


def _button(to: str, says: str, side: str, stage: str) -> str:
    about = f"{says}: {stage}"
    return (
        f'<button type="button" class="mm-try" data-try="{to}" data-side="{side}" data-stage="{escape(stage)}" '
        f'aria-label="{escape(about)}">{says}</button>'
    )


# --- plots -----------------------------------------------------------------------------------------------------------


def _plots(sides: Sequence[Side]) -> list[str]:
    """The plots in order; with two columns those of one name beside each other."""
    if len(sides) == 1:
        found = sides[0].found
        return (
            [] if found is None else [plot_cell(found, i, sides[0].task.key) for i in range(len(found.finding.plots))]
        )
    held = [{p.name: i for i, p in enumerate(side.found.finding.plots)} if side.found else {} for side in sides]
    cells = []
    for name in dict.fromkeys(name for some in held for name in some):
        there = [
            f"{side.task.key}/{places[name]}" if name in places else ""
            for side, places in zip(sides, held, strict=True)
        ]
        for side, places, other in zip(sides, held, reversed(there), strict=True):
            absent = "" if side.found is None else '<p class="mm-hint">This plot has no values for this recipe.</p>'
            cells.append(
                plot_cell(side.found, places[name], side.task.key, f" · {side.name}", other)
                if name in places and side.found is not None
                else f'<section class="mm-cell">{absent}</section>'
            )
    return cells


def _unshown(founds: Sequence[Found]) -> str:
    """What stands for plots and tables of items that would be empty, each sentence once."""
    said = dict.fromkeys(sentence for found in founds for sentence in found.finding.absent)
    return "".join(f'<p class="mm-hint">{escape(sentence)}</p>' for sentence in said)


def plot_cell(found: Found, number: int, key: str, where: str = "", beside: str = "") -> str:
    """A plot's title, how to read it, its place, and its numbers folded away; `beside` is the key and number of another
    whose axes it shares."""
    plot = found.finding.plots[number]
    note = " ".join(filter(None, (plot.note, plots.unseen(plot))))
    height = plots.SQUARE if plot.square else plots.HEIGHT
    return (
        f'<section class="mm-cell mm-boxed"><h3>{escape(plot.title)}<span>{escape(where)}</span></h3>'
        f'<p class="mm-hint">{escape(note)}</p>'
        f'<div class="mm-plot" role="img" aria-label="{escape(plot.title)}" style="min-height:{height}px" '
        f'data-figure="finding/{quote(key)}/figure/{number}{shared(beside)}"></div>'
        f"{saved(found, number, key, beside)}</section>"
    )


def saved(found: Found, number: int, key: str, beside: str = "") -> str:
    """A plot's numbers, folded away, and its files."""
    return toolbar(offer(found, number, key, beside), _table_of(found.finding.plots[number], found.captions))


def _table_of(plot: Plot, captions: Mapping[str, str]) -> str:
    held = plots.table_of(plot, captions)
    cells = list(zip(*map(column, zip(*held.rows[:ROWS], strict=True)), strict=True))
    numeric = [
        i for i, values in enumerate(zip(*held.rows, strict=True)) if any(isinstance(v, float | int) for v in values)
    ]
    cut = f", the first {ROWS} of them here, all in the CSV" if len(held.rows) > ROWS else ""
    return f'<p class="mm-hint">{counted(len(held.rows), "row")}{cut}.</p>{table("", held.columns, cells, numeric)}'


# --- numbers ---------------------------------------------------------------------------------------------------------


def _numbers(founds: Sequence[Found]) -> str:
    if not founds:
        return ""
    if len(founds) == 1:
        finding = founds[0].finding
        tables = [_table(t) for t in number_tables(finding, GROUPS)]
        unsaid = list(absent(finding))
    else:
        names = f"left: {founds[0].recipe}", f"right: {founds[1].recipe}"
        tables = [table(title, ("number", *names), rows, (1, 2)) for title, rows in both(founds[0], founds[1]).items()]
        unsaid = [
            f"{side.capitalize()}: {said}"
            for side, found in zip(SIDES, founds, strict=True)
            for said in absent(found.finding)
        ]
    below = dict.fromkeys(said for found in founds for said in below_chance(found.finding))
    said_under = ("In brackets: 95 % intervals.", *below, *unsaid)
    hints = "".join(f'<p class="mm-hint">{escape(said)}</p>' for said in said_under)
    files = toolbar(_numbers_offer(founds))
    return f'<section class="mm-cell mm-numbers"><h3>Numbers</h3>{"".join(tables)}{hints}{files}</section>'


def _numbers_offer(founds: Sequence[Found]) -> Offer:
    """Every number of the findings as a file: its name in JSON, its value and its interval."""
    rows: list[tuple[Cell, ...]] = []
    for found in founds:
        for name, value in found.finding.numbers.items():
            bounds = found.finding.intervals.get(name, (None, None))
            rows.append((found.recipe, name, None if value is None else float(value), *bounds))
    heads = ("recipe", "number", "value", "95 % interval, low", "95 % interval, high")
    # Each row says its own recipe; n may differ from one side to the other only where the recipes do.
    said = {key: value for key, value in about(founds[0]).items() if key != "recipe"}
    if len({str(about(found).get("n")) for found in founds}) > 1:
        said["n"] = " and ".join(str(about(found).get("n")) for found in founds)
    name = file_name(founds[0].wanted.diagnostic, *(found.recipe for found in founds), "numbers")
    return Offer(name, f"Numbers of {founds[0].wanted.diagnostic}", said, csv=Table(heads, tuple(rows)).address(said))


def both(left: Found, right: Found) -> dict[str, list[tuple[str, str, str]]]:
    """Every number of two findings by its table's title: what it is called, and both values with their intervals."""
    held: dict[str, dict[tuple[str, str], tuple[str, list[str]]]] = {}
    for side, found in enumerate((left, right)):
        for one in number_tables(found.finding, 1):
            for row, key, cells in one.rows:
                called = row if not one.prefixes[0] else f"{row}: {one.columns[0]}"
                empty = called, ["", ""]
                _, values = held.setdefault(one.title, {}).setdefault((one.prefixes[0], key), empty)
                values[side] = _cell(cells[0])
    return {
        title: [(called, values[0], values[1]) for called, values in rows.values() if any(values)]
        for title, rows in held.items()
    }


def _cell(cell: tuple[str, str]) -> str:
    return " ".join(filter(None, cell))


def _table(held: NumberTable) -> str:
    rows = [(row, *map(_cell, cells)) for row, _, cells in held.rows]
    return table(held.title, ("number", *held.columns), rows, range(1, len(held.columns) + 1))


# --- items, and what it was measured on ------------------------------------------------------------------------------


def _tail(side: Side, several: bool) -> str:
    found = side.found
    if found is None:
        return ""
    where = f" · {side.name}" if several else ""
    exhibits = "".join(_exhibit(e, found.faces, side.task.key, where) for e in found.finding.exhibits)
    return exhibits + _basis(found)


def _basis(found: Found) -> str:
    basis, wanted = found.finding.basis, found.wanted
    whole = basis.get("of")
    of = f" of {whole}" if isinstance(whole, int) and whole > basis.get("n", 0) else ""
    entries = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts(basis))
    return (
        f"<details><summary>Measured on the {wanted.of}: n = {escape(basis.get('n', '?'))}{escape(of)}, "
        f"seed {wanted.seed}, {found.seconds:.1f} s</summary>"
        f'<dl class="mm-facts">{entries}</dl></details>'
    )


def _exhibit(exhibit: Exhibit, faces: Mapping[str, Face], key: str, where: str) -> str:
    columns = [column(values) for values in zip(*(values for _, values in exhibit.rows), strict=True)]
    lines = []
    for place, (ids, _) in enumerate(exhibit.rows):
        items = "".join(_item(ident, faces.get(ident), key) for ident in ids)
        cells = "".join(f'<td class="mm-number">{escape(values[place])}</td>' for values in columns)
        lines.append(f'<tr><td><div class="mm-items">{items}</div></td>{cells}</tr>')
    head = "".join(f'<th scope="col" class="mm-number">{escape(name)}</th>' for name in exhibit.columns)

    def rows(some: Sequence[str]) -> str:
        top = f'<thead><tr><th scope="col">items</th>{head}</tr></thead>'
        body = f"<tbody>{''.join(some)}</tbody>"
        return f'<div class="mm-scroll"><table class="mm-table mm-exhibit">{top}{body}</table></div>'

    rest = lines[SHOWN:]
    more = f"<details><summary>{len(rest)} more</summary>{rows(rest)}</details>" if rest else ""
    return f"<h3>{escape(exhibit.title)}<span>{escape(where)}</span></h3>{rows(lines[:SHOWN])}{more}"


def _item(ident: str, face: Face | None, key: str) -> str:
    if face is None:
        return f'<div class="mm-item"><span>{escape(ident)}</span></div>'
    picture = f'<img alt="" loading="lazy" src="finding/{quote(key)}/thumb/{quote(ident)}">' if face.picture else ""
    return f'<div class="mm-item" title="{escape(ident)}">{picture}<span>{escape(face.caption)}</span></div>'
