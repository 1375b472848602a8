"""Small drawings as SVG text, for what a page shows by other means than plotly: bars, places in lists, a share.

They are made to be saved (see saving): every look is an attribute, so that they need no style sheet; ink is dark, for a
white sheet. Each mark that stands for a number has the class `mark` and bears it in full as `data-value`, with a title
in words. Foreign text is escaped.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

FOR, AGAINST, INK, SOFT, LINE = "#0f766e", "#ea580c", "#1e293b", "#475569", "#cbd5e1"
COLOURS = ("#0f766e", "#0284c7", "#b45309", "#7c3aed", "#be185d", "#4d7c0f", "#64748b", "#a16207")
# What no XML may hold, even escaped.
ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
WIDTH, EDGE = 1000, 20
# Bars: where they begin and end, how high a row is. Lists: how wide a column is and the way between two.
LEFT, RIGHT, ROW, BAR = 380, 900, 26, 16
COLUMN, STEP, LETTER = 300, 90, 6.6


@dataclass(frozen=True)
class Bar:
    """A number with its name; `group` stands before the first bar of those that belong together."""

    label: str
    value: float
    group: str = ""


def text(words: object, x: float, y: float, *, size: int = 13, room: float = 0, **looks: object) -> str:
    """Words at a place, cut to `room` pixels if that is not 0."""
    said = " ".join(str(words).split())
    letters = int(room / (0.54 * size)) if room else len(said)
    shown = said if len(said) <= letters else f"{said[: max(1, letters - 1)]}…"
    more = "".join(f' {key.replace("_", "-")}="{safe(value)}"' for key, value in ({"fill": INK} | looks).items())
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{more}>{safe(shown)}</text>'


def safe(words: object) -> str:
    """Text that shows as it is, wherever it stands in XML; what XML cannot hold is left out."""
    return html.escape(ILLEGAL.sub("", str(words)), quote=True)


def sheet(width: float, height: float, *inside: str) -> str:
    """An SVG of a size in pixels."""
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(inside)}</svg>'


def bars(shown: Sequence[Bar], unit: str, form: str = "+.4f") -> str:
    """Bars from 0, to the left for what is below it; `unit` names the axis."""
    low, high = min(0.0, *(bar.value for bar in shown)), max(0.0, *(bar.value for bar in shown))
    # With bars to both sides, 0 is in the middle.
    low, high = (-max(-low, high), max(-low, high)) if low < 0 < high else (low, high)
    scale = (RIGHT - LEFT) / ((high - low) or 1.0)
    zero, y, parts = LEFT - low * scale, 8.0, []
    for bar in shown:
        if bar.group:
            parts.append(text(bar.group, EDGE, y + 17, room=WIDTH - 2 * EDGE, font_weight=600))
            y += ROW
        left = min(zero, zero + bar.value * scale)
        said = format(bar.value, form)
        parts.append(text(bar.label, LEFT - 12, y + 17, room=LEFT - EDGE - 12, text_anchor="end"))
        parts.append(
            f'<rect class="mark" data-value="{bar.value!r}" x="{left:.2f}" y="{y + (ROW - BAR) / 2:.1f}" '
            f'width="{abs(bar.value) * scale:.2f}" height="{BAR}" fill="{FOR if bar.value >= 0 else AGAINST}">'
            f"<title>{safe(bar.label)}: {said}</title></rect>"
        )
        parts.append(text(said, RIGHT + 12, y + 17, fill=SOFT))
        y += ROW
    axis = f'<line x1="{zero:.2f}" y1="4" x2="{zero:.2f}" y2="{y + 4:.1f}" stroke="{SOFT}"/>'
    ends = []
    for value in dict.fromkeys((low, 0.0, high)):
        said = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        ends.append(text(said, LEFT + (value - low) * scale, y + 20, size=12, fill=SOFT, text_anchor="middle"))
    named = text(unit, (LEFT + RIGHT) / 2, y + 40, text_anchor="middle")
    return sheet(WIDTH, y + 50, *parts, axis, *ends, named)


def columns(heads: Sequence[str], lists: Sequence[Sequence[tuple[str, str]]]) -> str:
    """Lists of (id, words) beside each other, a row for each rank, and curves between the places of one id."""
    depth = max((len(one) for one in lists), default=0)
    parts, top = [], 44.0
    for place, (head, one) in enumerate(zip(heads, lists, strict=True)):
        x = EDGE + place * (COLUMN + STEP)
        for number, line in enumerate(textwrap.wrap(head, 42)[:2]):
            parts.append(text(line, x, 16 + 16 * number, font_weight=600, room=COLUMN + 20))
        for rank, (_, words) in enumerate(one):
            y = top + ROW * rank
            parts.append(
                f'<rect class="mark" data-value="{rank + 1}" x="{x}" y="{y + 2:.1f}" width="{COLUMN}" '
                f'height="{ROW - 4}" rx="3" fill="#f1f5f9"><title>{safe(words)}: {rank + 1}</title></rect>'
            )
            parts.append(text(rank + 1, x + 8, y + 17, font_weight=600))
            parts.append(text(words, x + 34, y + 17, room=COLUMN - 40))
    for place, (first, second) in enumerate(pairwise(lists)):
        x = EDGE + place * (COLUMN + STEP) + COLUMN
        there = {ident: rank for rank, (ident, _) in enumerate(second)}
        for rank, (ident, _) in enumerate(first):
            if ident in there:
                a, b = (top + ROW * (at + 0.5) for at in (rank, there[ident]))
                parts.append(
                    f'<path d="M{x} {a:.1f} C{x + STEP / 2:.1f} {a:.1f} {x + STEP / 2:.1f} {b:.1f} {x + STEP} {b:.1f}" '
                    f'fill="none" stroke="{FOR if there[ident] == rank else SOFT}" stroke-width="1.6"/>'
                )
    width = 2 * EDGE + len(lists) * COLUMN + (len(lists) - 1) * STEP
    return sheet(max(width, 640), top + ROW * depth + 8, *parts)


def ranks(stages: Sequence[str], places: Sequence[int]) -> str:
    """The rank of one item from stage to stage, rank 1 at the top, by the logarithm of the rank."""
    import math

    deepest = math.log(max(2, *places))
    step = (WIDTH - 240) / max(1, len(places) - 1)
    points = [(120 + step * i, 30 + 160 * math.log(rank) / deepest) for i, rank in enumerate(places)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = "".join(
        f'<circle class="mark" data-value="{rank}" cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{FOR}">'
        f"<title>{safe(stage)}: {rank}</title></circle>{text(rank, x, y - 12, text_anchor='middle', font_weight=600)}"
        f"{text(stage, x, 226 + 18 * (i % 2), text_anchor='middle', room=2 * step if len(places) > 1 else 400)}"
        for i, ((x, y), stage, rank) in enumerate(zip(points, stages, places, strict=True))
    )
    return sheet(WIDTH, 256, f'<polyline points="{line}" fill="none" stroke="{FOR}" stroke-width="2"/>', marks)


def share(value: float, low: float, high: float, less: str, more: str) -> str:
    """A share between 0 and 1 with its interval, and a line at a half: towards `more` at the right, `less` left."""
    left, right, y = 120.0, 880.0, 46.0
    at = [left + one * (right - left) for one in (value, low, high)]
    ticks = "".join(
        f'<line x1="{left + p * (right - left):.1f}" y1="24" x2="{left + p * (right - left):.1f}" y2="68" '
        f'stroke="{SOFT if p == 0.5 else LINE}"/>'
        + text(f"{100 * p:.0f} %", left + p * (right - left), 86, size=12, fill=SOFT, text_anchor="middle")
        for p in (0, 0.25, 0.5, 0.75, 1)
    )
    whisker = f'<line class="mark" data-value="{low!r} {high!r}" x1="{at[1]:.2f}" y1="{y}" x2="{at[2]:.2f}" y2="{y}" '
    dot = f'<circle class="mark" data-value="{value!r}" cx="{at[0]:.2f}" cy="{y}" r="6" fill="{FOR}">'
    return sheet(
        WIDTH, 126, ticks, f'{whisker}stroke="{FOR}" stroke-width="3"><title>95 % interval</title></line>',
        f"{dot}<title>{value:.1%}</title></circle>",
        text(f"← {less}", left, 112, room=370), text(f"{more} →", right, 112, room=370, text_anchor="end"),
    )  # fmt: skip


def shares(parts: Sequence[tuple[str, float]]) -> str:
    """One bar of parts that add up, with their names and shares below it."""
    total, x, pieces, named = sum(value for _, value in parts) or 1.0, float(EDGE), [], []
    for place, (name, value) in enumerate(parts):
        width, colour = (WIDTH - 2 * EDGE) * value / total, COLOURS[place % len(COLOURS)]
        pieces.append(
            f'<rect class="mark" data-value="{value!r}" x="{x:.2f}" y="8" width="{width:.2f}" height="30" '
            f'fill="{colour}"><title>{safe(name)}: {value / total:.1%}</title></rect>'
        )
        x += width
        column, row = place % 3, place // 3
        at = EDGE + column * 320, 64 + 22 * row
        named.append(f'<rect x="{at[0]}" y="{at[1] - 11}" width="12" height="12" rx="2" fill="{colour}"/>')
        named.append(text(f"{name}: {value / total:.1%}", at[0] + 20, at[1], room=290))
    return sheet(WIDTH, 60 + 22 * (1 + (len(parts) - 1) // 3), *pieces, *named)
