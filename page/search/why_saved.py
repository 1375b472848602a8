"""What is saved of the reasons for a result: pictures whose every mark bears its number, and all numbers as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eval.drawings import AGAINST, FOR, LINE, SOFT, Bar, bars, safe, sheet, text
from eval.saving import Offer
from eval.tables import Cell, Table, file_name
from mmretrieval.geometry import Numbers
from mmretrieval.types import Item
from mmretrieval.why import Moments, Regions, Words
from page.search.cards import clock, title

FALL, SCORE = "fall of the score when it is hidden", "score of the frame alone"
# So many bars are in a picture; the file has all numbers.
MOST_BARS = 40
# The saved picture's long side, in pixels.
SIDE = 900
# As strongly as this a square of the largest fall covers the picture, as it does on the page.
STRONGEST = 0.85
GREY = '<filter id="grey"><feColorMatrix type="saturate" values="0"/></filter>'

About = Mapping[str, object]
# (key, what of the query, falls by row and column)
Layer = tuple[str, str, Numbers]


def regions(item: Item, seen: Regions, layers: Sequence[Layer], most: float, about: About) -> Offer:
    """The picture in grey under a rectangle for every square of every layer; the page saves the layer in sight.

    The picture itself is the one that the page shows: its place in the drawing says where that is.
    """
    width, height = seen.picture.size
    scale = SIDE / max(width, height)
    size = width * scale, height * scale
    picture = (
        f'<image data-shown=".mm-heat img" width="{size[0]:.1f}" height="{size[1]:.1f}" preserveAspectRatio="none" '
        'filter="url(#grey)"/>'
    )
    drawn = "".join(_squares(layer, size, most) for layer in layers)
    left, y = 0.0, size[1] + 26
    key = (
        f'<defs>{GREY}<linearGradient id="ramp"><stop offset="0" stop-color="{AGAINST}"/><stop offset="0.5" '
        f'stop-color="#ffffff"/><stop offset="1" stop-color="{FOR}"/></linearGradient></defs>'
        f'{text(f"−{most:.3f}", left, y)}<rect x="70" y="{y - 12:.1f}" width="220" height="14" fill="url(#ramp)" '  # noqa: RUF001
        f'stroke="{LINE}"/>{text(f"+{most:.3f}", 300, y)}'
    )
    inner = f'<svg x="20" width="{size[0]:.1f}" height="{size[1] + 60:.1f}">{picture}{drawn}{key}</svg>'
    rows: list[tuple[Cell, ...]] = [
        (name, y + 1, x + 1, float(value)) for _, name, values in layers for (y, x), value in np.ndenumerate(values)
    ]
    table = Table(("part of the query", "row", "column", FALL), tuple(rows))
    said = {**about, "source": seen.source, "score": seen.score, "frame at (s)": seen.at}
    named = f"Why this picture: {title(item)}"
    drawing = sheet(max(size[0] + 40, 480), size[1] + 64, inner)
    return Offer(file_name("why", seen.source, item.id[:8], "regions"), named, said, drawing, table.address(said))


def _squares(layer: Layer, size: tuple[float, float], most: float) -> str:
    key, name, values = layer
    rows, columns = values.shape
    wide, high = size[0] / columns, size[1] / rows
    squares = "".join(
        f'<rect class="mark" data-value="{float(value)!r}" x="{x * wide:.2f}" y="{y * high:.2f}" width="{wide:.2f}" '
        f'height="{high:.2f}" fill="{FOR if value >= 0 else AGAINST}" '
        f'fill-opacity="{STRONGEST * min(1.0, abs(value) / most):.3f}"><title>row {y + 1}, column {x + 1}: {value:+.4f}'
        "</title></rect>"
        for (y, x), value in np.ndenumerate(values)
    )
    about = text(f"{FALL}: {name}", 0, size[1] + 52, size=12, room=size[0], fill=SOFT)
    return f'<g data-layer="{safe(key)}">{squares}{about}</g>'


def words(item: Item, seen: Words, names: Sequence[str], order: Sequence[int], about: About) -> Offer:
    """A bar for each of the strongest words or sentences; `names` are all of them, `order` the strongest first."""
    unit = "sentence" if seen.whole else "word"
    drawing = bars([Bar(names[i], float(seen.total[i])) for i in order[:MOST_BARS]], FALL)
    parts = seen.parts if len(seen.parts) > 1 else ()
    rows: list[tuple[Cell, ...]] = [
        (place + 1, names[place], float(value), *(map(float, seen.falls[:, place]) if parts else ()))
        for place, value in enumerate(seen.total)
    ]
    table = Table(("place", unit, FALL, *(f"{FALL}: {part}" for part in parts)), tuple(rows))
    said = {**about, "source": seen.source, "score": seen.score}
    named = f"Why these words: {title(item)}"
    return Offer(file_name("why", seen.source, item.id[:8], "words"), named, said, drawing, table.address(said))


def moments(item: Item, seen: Moments, about: About) -> Offer:
    """A bar for each frame of a clip, in the order of time."""
    pairs = list(zip(seen.times, seen.total, strict=True))
    drawing = bars([Bar(clock(time), float(value)) for time, value in pairs], SCORE, ".4f")
    parts = seen.parts if len(seen.parts) > 1 else ()
    rows: list[tuple[Cell, ...]] = [
        (float(time), float(value), *(map(float, seen.scores[:, place]) if parts else ()))
        for place, (time, value) in enumerate(pairs)
    ]
    table = Table(("time (s)", SCORE, *(f"{SCORE}: {part}" for part in parts)), tuple(rows))
    said = {**about, "source": seen.source}
    named = f"The frames of the clip: {title(item)}"
    return Offer(file_name("why", seen.source, item.id[:8], "frames"), named, said, drawing, table.address(said))
