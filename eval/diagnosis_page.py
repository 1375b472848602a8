"""A diagnosis as one page that needs nothing else: sentences, plots, numbers with intervals, items to look at.

plotly's own script is in the page once, so it works without a network; light or dark as the reader's system is. Every
word that may come from a stranger is escaped, and plots are data that no browser runs.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eval import plots
from eval.diagnosis import Diagnosis, NumberTable, absent, below_chance, column, facts, number_tables
from eval.saving import SAVING_JS, Offer, toolbar
from eval.tables import file_name, provenance
from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.findings import Exhibit, Finding, Plot

if TYPE_CHECKING:
    from mmretrieval.library import Library

STYLE = Path(__file__).with_name("diagnosis.css")
# So many rows of a plot's table are in the page; its CSV has all.
ROWS = 200
# So many rows of items, and so many tables of numbers, are in sight; the others are folded away.
SHOWN, NUMBERS = 8, 3
# So many pictures are put into a section; items after them show their words alone.
PICTURES = 120
CAPTION = 240
# So many columns of values stand beside each other.
BESIDE = 6

# Plots are drawn when they come near the window, or before printing; all of them at once would take seconds.
SCRIPT = (
    """
const drawing = async () => Plotly;
const draw = (place) => {
  place.dataset.drawn = 'yes';
  const data = JSON.parse(document.getElementById(place.dataset.figure).textContent);
  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ['toImage', 'select2d', 'lasso2d', 'autoScale2d'],
    // plotly would offer to upload the plot to a server of its makers.
    showSendToCloud: false,
    plotlyServerURL: '',
  };
  return Plotly.newPlot(place, data.data, data.layout, config);
};
const watch = new IntersectionObserver((seen) => seen.filter((s) => s.isIntersecting).forEach((s) => {
  watch.unobserve(s.target);
  draw(s.target);
}), {rootMargin: '600px'});
const places = [...document.querySelectorAll('.plot')];
places.forEach((place) => watch.observe(place));
window.addEventListener('beforeprint', () => places.filter((p) => !p.dataset.drawn).forEach(draw));
"""
    + SAVING_JS
)


@dataclass(frozen=True)
class Face:
    """How an item looks: a few words, and perhaps a small picture, a .webp file."""

    caption: str
    picture: Path | None = None


Look = Callable[[Sequence[str]], Mapping[str, Face]]


def look_of(library: Library) -> Look:
    """How a library's items look: their words or file's name, and their thumbnails."""

    def look(ids: Sequence[str]) -> dict[str, Face]:
        found = {}
        for ident, item in library.items_by_id(list(ids)).items():
            words = " ".join(item.text.split())
            names = ", ".join(Path(path).name for path in item.paths)
            place = f", page {item.page}" if item.page is not None else ""
            place += f", from {item.t0:.0f} s" if item.t0 is not None else ""
            caption = f"{_short(words, CAPTION)} ({names}{place})" if words else f"{names}{place}"
            found[ident] = Face(caption, library.thumbnail(ident))
        return found

    return look


def page(found: Diagnosis, look: Look | None = None) -> str:
    """The whole page as HTML."""
    from plotly.offline import get_plotlyjs

    sections, number = [], 0
    for name, finding in found.findings.items():
        faces = _faces(finding, look)
        sections.append(_section(name, finding, faces, number, found.title or found.subject))
        number += len(finding.plots)
    title = f"Diagnosis of {found.title or found.subject}"
    links = "".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in found.findings)
    notes = "".join(f'<p class="hint">{escape(note)}</p>' for note in found.notes)
    skipped = "".join(
        f'<p class="hint"><b>{escape(name)}</b>: {escape(why)}</p>' for name, why in found.skipped.items()
    )
    left_out = f"<section><h2>Not here</h2>{skipped}</section>" if skipped else ""
    heads = (
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE.read_text(encoding='utf-8')}</style>",
    )
    parts = (
        f"<header><h1>{escape(title)}</h1>{notes}<nav>{links}</nav></header>",
        f"<main>{''.join(sections)}{left_out}</main>",
        f"<script>{get_plotlyjs()}</script>",
        f"<script>{SCRIPT}</script>",
    )
    head, body = "".join(heads), "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def escape(text: object) -> str:
    """Text that shows as it is, wherever it stands in HTML."""
    return html.escape(str(text), quote=True)


# --- sections ------------------------------------------------------------------------------------------------------


def _section(name: str, finding: Finding, faces: Mapping[str, Face], first: int, subject: str) -> str:
    promise = DIAGNOSTICS[name].promise if name in DIAGNOSTICS else ""
    captions = {ident: face.caption for ident, face in faces.items()}
    views = plots.views_of(finding)
    about = provenance(finding.basis, diagnostic=name, recipe=subject)
    drawn = "".join(_plot(plot, captions, first + i, views, about) for i, plot in enumerate(finding.plots))
    exhibits = "".join(_exhibit(exhibit, faces) for exhibit in finding.exhibits)
    basis = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts(finding.basis))
    return (
        f'<section id="{escape(name)}"><h2>{escape(name)}</h2><p class="hint">{escape(promise)}</p>'
        f'<p class="finding">{escape(finding.sentence)}</p>{_advice(finding)}{drawn}'
        f"{_told(finding.absent)}<h3>Numbers</h3>{_numbers(finding)}{exhibits}"
        f"<details><summary>What this was measured on</summary><dl>{basis}</dl></details></section>\n"
    )


def _numbers(finding: Finding) -> str:
    """The tables of numbers, each value with its interval and each row with its key, and what has no value."""
    tables = [_number_table(table) for table in number_tables(finding, BESIDE)]
    rest = tables[NUMBERS:]
    told = _told((*below_chance(finding), *absent(finding)))
    return (
        f"{''.join(tables[:NUMBERS])}{_folded(len(rest), ''.join(rest))}{told}"
        '<p class="hint">In brackets: 95 % intervals. A key in JSON begins with its column and ends with its row.</p>'
    )


def _number_table(table: NumberTable) -> str:
    heads = "".join(
        f'<th scope="col" class="number">{escape(name)}{f"<br><code>{escape(prefix)}…</code>" if prefix else ""}</th>'
        for name, prefix in zip(table.columns, table.prefixes, strict=True)
    )
    lines = []
    for label, key, cells in table.rows:
        values = "".join(f'<td class="number">{escape(" ".join(filter(None, cell)))}</td>' for cell in cells)
        lines.append(f'<tr><td>{escape(label)}</td><td><code class="key">{escape(key)}</code></td>{values}</tr>')
    title = f"<caption>{escape(table.title)}</caption>" if table.title else ""
    top = f'<thead><tr><th scope="col">number</th><th scope="col">key</th>{heads}</tr></thead>'
    return f'<div class="scroll"><table>{title}{top}<tbody>{"".join(lines)}</tbody></table></div>'


def _told(sentences: Sequence[str]) -> str:
    return "".join(f'<p class="hint">{escape(sentence)}</p>' for sentence in sentences)


def _advice(finding: Finding) -> str:
    stages = " ".join(f"<code>{escape(stage)}</code>" for stage in finding.stages)
    tried = f" Stages of a recipe: {stages}" if stages else ""
    return (
        f'<div class="notice"><b>What to try.</b> {escape(finding.advice)}{tried}</div>'
        if finding.advice or tried
        else ""
    )


def _plot(
    plot: Plot, captions: Mapping[str, str], number: int, views: Sequence[str], about: Mapping[str, object]
) -> str:
    if not any(trace.y for trace in plot.traces):
        return f'<h3>{escape(plot.title)}</h3><p class="hint">There is nothing to draw.</p>'
    drawn = plots.draw(plot, captions, views)
    # Nothing in the data may end the script element that holds it.
    data = drawn.to_json().replace("<", "\\u003c")
    table = plots.table_of(plot, captions)
    name = file_name(str(about["diagnostic"]), str(about["recipe"]), plot.name)
    offer = Offer(name, plot.title, about, f"script:figure-{number}", table.address(about))
    shown = list(zip(*map(column, zip(*table.rows[:ROWS], strict=True)), strict=True))
    numeric = [
        i for i, cells in enumerate(zip(*table.rows, strict=True)) if any(isinstance(c, float | int) for c in cells)
    ]
    cut = f", of which the first {ROWS} are here, all in the CSV" if len(table.rows) > ROWS else ""
    numbers = f'<p class="hint">{len(table.rows):,} rows{cut}.</p>{_table(table.columns, shown, numeric)}'
    note = " ".join(filter(None, (plot.note, plots.unseen(plot))))
    return (
        f'<h3>{escape(plot.title)}</h3><p class="hint">{escape(note)}</p>'
        f'<div class="plot" role="img" aria-label="{escape(plot.title)}" data-figure="figure-{number}" '
        f'style="height:{drawn.layout.height}px"></div>'
        f'<script type="application/json" id="figure-{number}">{data}</script>'
        f"{toolbar(offer, numbers)}"
    )


def _exhibit(exhibit: Exhibit, faces: Mapping[str, Face]) -> str:
    if not exhibit.rows:
        return f'<h3>{escape(exhibit.title)}</h3><p class="hint">There are none.</p>'
    rows = []
    columns = [column(values) for values in zip(*(values for _, values in exhibit.rows), strict=True)]
    for place, (ids, _) in enumerate(exhibit.rows):
        items = "".join(_item(ident, faces.get(ident)) for ident in ids)
        cells = "".join(f'<td class="number">{escape(told[place])}</td>' for told in columns)
        rows.append(f'<tr><td><div class="items">{items}</div></td>{cells}</tr>')
    head = "".join(f'<th scope="col" class="number">{escape(c)}</th>' for c in exhibit.columns)
    kind = ' class="several"' if any(len(ids) > 1 for ids, _ in exhibit.rows) else ""

    def table(lines: Sequence[str]) -> str:
        top = f'<thead><tr><th scope="col">items</th>{head}</tr></thead>'
        return f'<div class="scroll"><table{kind}>{top}<tbody>{"".join(lines)}</tbody></table></div>'

    more = _folded(len(rows[SHOWN:]), table(rows[SHOWN:]))
    return f"<h3>{escape(exhibit.title)}</h3>{table(rows[:SHOWN])}{more}"


def _folded(count: int, table: str) -> str:
    return f"<details><summary>{count} more</summary>{table}</details>" if count else ""


def _item(ident: str, face: Face | None) -> str:
    if face is None:
        return f'<div class="item"><span>{escape(ident)}</span></div>'
    image = ""
    if face.picture is not None:
        image = f'<img alt="" src="data:image/webp;base64,{_coded(face.picture.read_bytes())}">'
    return f'<div class="item" title="{escape(ident)}">{image}<span>{escape(face.caption)}</span></div>'


def _faces(finding: Finding, look: Look | None) -> dict[str, Face]:
    """How every item that the finding speaks of looks; pictures for the first of those in exhibits alone."""
    exhibited = dict.fromkeys(i for e in finding.exhibits for ids, _ in e.rows for i in ids)
    plotted = dict.fromkeys(i for p in finding.plots for t in p.traces if t.items for i in t.labels)
    if look is None:
        return {}
    faces = look([*exhibited, *(i for i in plotted if i not in exhibited)])
    pictured = set(list(exhibited)[:PICTURES])
    return {i: face if i in pictured else Face(face.caption) for i, face in faces.items()}


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]], numeric: Sequence[int]) -> str:
    def line(tag: str, cells: Sequence[object], scope: str = "") -> Iterator[str]:
        for place, cell in enumerate(cells):
            kind = ' class="number"' if place in numeric else ""
            yield f"<{tag}{scope}{kind}>{escape(cell)}</{tag}>"

    head = "".join(line("th", columns, ' scope="col"'))
    body = "".join(f"<tr>{''.join(line('td', row))}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _coded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
