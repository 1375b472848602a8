"""Draws any plot of a finding, all in one look, and says the same numbers as a table.

Colours, symbols and dashes differ together, so that no reader depends on colour alone. The background is transparent,
and every colour has a contrast of 3 or more on white and on the dark page. Words in a plot may come from strangers
(captions, names of files): they are shown as they are, never as markup.
"""

from __future__ import annotations

import html
import itertools
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.tables import Table
from mmretrieval.findings import Finding, Plot, Trace

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Blue, orange, green, mauve, violet, red. Chosen by search: the nearest two stay apart for protan, deutan and tritan
# eyes as well, within the narrow band of lightness that stands out from white and from the dark page alike.
PALETTE = ("#2A8BD8", "#E0701F", "#098569", "#BD6B9D", "#7E52F8", "#DC2941")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star", "triangle-down")
DASHES = ("solid", "dash", "dot", "dashdot", "14px,3px")
MARKED = ("dash", "dot", "dashdot", "14px,3px")
# What means the same in many plots has one colour in all; what is no finding but a yardstick is grey. Views of other
# names take those of OTHER_VIEWS in turn.
KNOWN = {
    **dict.fromkeys(("matched", "pairs", "relevant items"), 0),
    **dict.fromkeys(("shuffled", "mixed-up pairs", "other items"), 1),
    **dict.fromkeys(("pictures", "pictures with pictures"), 2),
    **dict.fromkeys(("words", "words with words"), 3),
    "joint": 4,
}
OTHER_VIEWS = (2, 3, 4, 5)
YARDSTICKS = ("chance", "random vectors", "of what is listed", "generic captions, all items")
INK, LINE, BAND = "#78818b", "rgba(128,128,128,0.25)", 0.18
FONT = "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, sans-serif"
HOVER = {"bgcolor": "#1e293b", "bordercolor": "#475569", "font": {"color": "#f1f5f9", "size": 13, "family": FONT}}
# Pixels; each entry of the legend from the fifth on adds ENTRY, so that the plot keeps its place.
HEIGHT, SQUARE, ENTRY = 440, 560, 14
# Longer captions are cut, and lines in a hover label end here.
CAPTION, HOVER_LINE, TITLE_LINE = 160, 56, 44
# Up to so many points of a line are marked; more than so many points of a cloud are drawn small.
FEW, MANY = 12, 300
# Whole numbers over so short a way have a tick each.
TICKED = 15
# A line ends so far, as a share of what the axis shows, from the edge of the plot.
AIR = 0.015
# And points from the ends of an axis that two plots share.
APART = 0.05
# The names of so few bars break into lines of so many letters.
NAMED, NAME_LINE = 12, 16


def draw(
    plot: Plot,
    captions: Mapping[str, str] | None = None,
    views: Sequence[str] = (),
    beside: Plot | None = None,
) -> go.Figure:
    """The plot as a figure without a title; `captions` says what to call items by their ids.

    `views` are all that the finding's views are called, so that each has one colour in all of its plots. Axes reach as
    far as they do for the plot `beside` it, so that what is higher looks higher.
    The legend stands above, the axes below and at the left carry their names, and margins grow with what they hold.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    spacing = _spacing(plot)
    # Links lie under what they link, and take no colour from it.
    looks = _looks(plot.traces, views)
    for rank, trace in sorted(enumerate(plot.traces), key=lambda found: found[1].mark != "links"):
        for drawn in _drawn(plot, trace, looks[rank], captions or {}, spacing):
            figure.add_trace(drawn | {"legendrank": rank + 1})
    for place, (name, at) in enumerate(plot.dashed.items()):
        if "x" in plot.log and at <= 0:
            continue
        figure.add_shape(
            type="line",
            x0=at,
            x1=at,
            y0=0,
            y1=1,
            yref="y domain",
            line={"color": INK, "width": 2, "dash": MARKED[place % len(MARKED)]},
            name=f"{shown(name)}: {_amount(at, 'x' in plot.percent)}",
            showlegend=True,
            layer="above",
        )
    figure.update_layout(_layout(plot, beside))
    return figure


def views_of(finding: Finding) -> tuple[str, ...]:
    """What the views that a finding looked at are called, in their order; nothing where it names none."""
    return tuple(finding.basis.get("labels", {}).values())


def unseen(plot: Plot) -> str:
    """What a logarithmic axis cannot show, in a sentence; nothing where it shows all."""
    hidden = 0
    for trace in plot.traces:
        if trace.mark == "bars":
            continue
        for axis, values in (("x", trace.x), ("y", trace.y)):
            if axis in plot.log:
                hidden += sum(1 for v in values if not isinstance(v, str) and v <= 0)
    return f"{hidden} values of 0 or less have no place on a logarithmic axis: see the table." if hidden else ""


# --- the numbers as a table ----------------------------------------------------------------------------------------


def table_of(plot: Plot, captions: Mapping[str, str] | None = None) -> Table:
    """Everything that the plot shows: a row for each point of each trace, then one for each dashed line."""
    labelled = any(t.labels for t in plot.traces)
    banded = any(t.low for t in plot.traces)
    called = labelled and bool(captions) and any(t.items for t in plot.traces)
    y = plot.y if plot.y != plot.x else f"{plot.y} (y)"
    columns: tuple[str, ...] = ("series", plot.x, y)
    columns += (f"{y}, low", f"{y}, high") if banded else ()
    columns += ("label",) if labelled else ()
    columns += ("caption",) if called else ()
    rows: list[tuple[str | float | None, ...]] = []
    for trace in plot.traces:
        for i, (x, value) in enumerate(zip(trace.x, trace.y, strict=True)):
            cells: tuple[str | float | None, ...] = (trace.name, x, value)
            cells += (_at(trace.low, i), _at(trace.high, i)) if banded else ()
            label = _at(trace.labels, i)
            cells += (label,) if labelled else ()
            cells += ((captions or {}).get(str(label)) if trace.items else None,) if called else ()
            rows.append(cells)
    rows += [(name, at) + (None,) * (len(columns) - 2) for name, at in plot.dashed.items()]
    return Table(columns, tuple(rows))


def _at(values: Sequence[Any], place: int) -> Any:
    return values[place] if values else None


# --- traces --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """What tells a trace from the others: colour, symbol and dash together."""

    colour: str
    symbol: str
    dash: str


def _looks(traces: Sequence[Trace], views: Sequence[str] = ()) -> list[Look]:
    """A look for each trace: what has a colour of its own everywhere keeps it, others take what is left in order.

    Symbols and dashes follow the order alone: the first line is solid whatever its colour.
    """
    known = _known(views)
    taken = {known[t.name] for t in traces if t.name in known and t.mark != "links"}
    free = (i for i in itertools.count() if i not in taken)
    found: list[Look] = []
    for trace in traces:
        grey = sum(f.colour == INK for f in found)
        if trace.mark == "links" or _yardstick(trace.name):
            # From the other end: dashed lines at a value are grey too, and other traces begin as these do.
            found.append(Look(INK, "circle-open", MARKED[-1 - grey % len(MARKED)]))
            continue
        place, rank = known[trace.name] if trace.name in known else next(free), len(found) - grey
        found.append(Look(PALETTE[place % len(PALETTE)], SYMBOLS[rank % len(SYMBOLS)], DASHES[rank % len(DASHES)]))
    return found


def _known(views: Sequence[str]) -> dict[str, int]:
    """The places in the palette of what has one everywhere, and of these views, alone and with themselves."""
    known = dict(KNOWN)
    others = [view for view in views if view not in KNOWN]
    held = {KNOWN[view] for view in views if view in KNOWN}
    places = [place for place in OTHER_VIEWS if place not in held]
    for view, place in zip(others, itertools.cycle(places), strict=False):
        known |= dict.fromkeys((view, f"{view} with {view}"), place)
    return known


def _yardstick(name: object) -> bool:
    return isinstance(name, str) and name.endswith(YARDSTICKS)


def _drawn(
    plot: Plot, trace: Trace, look: Look, captions: Mapping[str, str], spacing: float | None
) -> Iterator[dict[str, Any]]:
    """What plotly draws for one trace: perhaps a band under it, and the trace."""
    name = shown(trace.name)
    x = [shown(v) if isinstance(v, str) else v for v in trace.x]
    if trace.mark == "links":
        thin: dict[str, Any] = {"mode": "lines", "line": {"color": look.colour, "width": 1}, "hoverinfo": "skip"}
        thin["opacity"] = 0.3 if len(x) > 2 * MANY else 0.5
        yield {"type": "scatter", "name": name, "x": _broken(x), "y": _broken(trace.y)} | thin
        return
    common: dict[str, Any] = {"name": name, "legendgroup": name, "x": x, "y": list(trace.y)}
    common |= _hover(plot, trace, captions)
    if trace.mark == "line" and trace.low and not any(isinstance(v, str) for v in trace.x):
        yield _band(trace, look.colour)
    elif trace.low:
        # A whisker in its bar's colour would be lost within the bar.
        common["error_y"] = _spread(trace, INK if trace.mark == "bars" else look.colour)
    marker: dict[str, Any] = {"color": look.colour, "symbol": look.symbol}
    if trace.mark == "bars":
        overlaid = spacing is not None and sum(t.mark == "bars" for t in plot.traces) > 1
        edge = {"width": int(overlaid), "color": look.colour}
        marker = {"color": look.colour, "opacity": 0.55 if overlaid else 0.9, "line": edge}
        if any(map(_yardstick, trace.x)):
            marker["color"] = [INK if _yardstick(v) else look.colour for v in trace.x]
        yield common | {"type": "bar", "width": spacing, "marker": marker, "textposition": "none"}
    elif trace.mark == "line":
        line = {"color": look.colour, "width": 2.5, "dash": look.dash}
        mode = "lines+markers" if 2 < len(x) <= FEW else "lines"
        yield common | {"type": "scatter", "mode": mode, "line": line, "marker": marker | {"size": 7}}
    else:
        many = len(x) > MANY
        marker |= {"size": 6 if many else 8, "opacity": 0.6 if many else 0.85, "line": {"width": 0}}
        yield common | {"type": "scatter", "mode": "markers", "marker": marker}


def _band(trace: Trace, colour: str) -> dict[str, Any]:
    """The 95 % band as a closed outline: there along the low edge, back along the high one."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    found: dict[str, Any] = {"x": [*trace.x, *reversed(trace.x)], "y": [*trace.low, *reversed(trace.high)]}
    found |= {"type": "scatter", "mode": "lines", "name": f"{shown(trace.name)}, 95 %", "line": {"width": 0}}
    found |= {"fill": "toself", "fillcolor": f"rgba({red},{green},{blue},{BAND})"}
    return found | {"legendgroup": shown(trace.name), "showlegend": False, "hoverinfo": "skip"}


def _spread(trace: Trace, colour: str) -> dict[str, Any]:
    """The 95 % interval of each point as a whisker; one that does not hold its point ends there."""
    above = [max(high - y, 0.0) for y, high in zip(trace.y, trace.high, strict=True)]
    below = [max(y - low, 0.0) for y, low in zip(trace.y, trace.low, strict=True)]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.5, "color": colour}


def _broken(values: Sequence[Any]) -> list[Any]:
    """a, b, c, d -> a, b, nothing, c, d, nothing: a line breaks where there is nothing."""
    return [v for i in range(0, len(values) - 1, 2) for v in (values[i], values[i + 1], None)]


def _spacing(plot: Plot) -> float | None:
    """How wide bars over numbers are: the least distance of two; None where bars stand over names, or one."""
    places = sorted({v for t in plot.traces if t.mark == "bars" for v in t.x if not isinstance(v, str)})
    if "x" in plot.log or any(isinstance(v, str) for t in plot.traces if t.mark == "bars" for v in t.x):
        return None
    return min((b - a for a, b in zip(places, places[1:], strict=False)), default=None)


# --- words ---------------------------------------------------------------------------------------------------------


def shown(text: object) -> str:
    """Text that plotly shows as it is: it reads a few tags and entities as markup, but knows no `&quot;`."""
    return html.escape(" ".join(str(text).split()), quote=False)


def _hover(plot: Plot, trace: Trace, captions: Mapping[str, str]) -> dict[str, Any]:
    """What pointing at a point says: its label, both values with the names of their axes, and whose it is."""
    said = []
    for axis, name in (("x", plot.x), ("y", plot.y)):
        form = ":.3~p" if axis in plot.percent else ""
        said.append(f"{_brief(name)}: %{{{axis}{form}}}")
    end = "<extra></extra>"
    bounds: dict[str, Any] = {}
    if trace.low:
        form = ".3~p" if "y" in plot.percent else ".3~r"
        said.append(f"95 % interval: %{{customdata[0]:{form}}} to %{{customdata[1]:{form}}}")
        bounds = {"customdata": list(zip(trace.low, trace.high, strict=True))}
    if len(plot.traces) > 1:
        said.append("%{fullData.name}")
    if not trace.labels:
        return {"hovertemplate": "<br>".join(said) + end} | bounds
    texts = [_wrapped(captions.get(label, label) if trace.items else label) for label in trace.labels]
    return {"text": texts, "hovertemplate": "<br>".join(["%{text}", *said]) + end} | bounds


def _brief(name: str) -> str:
    """An axis's name without what its brackets explain; a per cent sign before a bracket would be a command."""
    return shown(name.split(" (", maxsplit=1)[0]).replace("%{", "% {")


def _wrapped(text: str) -> str:
    whole = " ".join(text.split())
    short = whole if len(whole) <= CAPTION else whole[: CAPTION - 1] + "…"
    return "<br>".join(shown(line) for line in textwrap.wrap(short, HOVER_LINE)) or " "


def _amount(value: float, percent: bool) -> str:
    return f"{value:.3g}".replace("e+0", "e") if not percent else f"{value:.1%}"


# --- the frame -----------------------------------------------------------------------------------------------------


def _layout(plot: Plot, beside: Plot | None) -> dict[str, Any]:
    layout: dict[str, Any] = {
        "template": "none",
        "height": (SQUARE if plot.square else HEIGHT) + ENTRY * max(0, len(plot.traces) + len(plot.dashed) - 4),
        "margin": {"l": 60, "r": 48, "t": 24, "b": 56},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 13, "family": FONT},
        "hoverlabel": HOVER,
        # A column at the right: a row would lie on the legend.
        "modebar": {"orientation": "v", "bgcolor": "rgba(0,0,0,0)", "color": INK, "activecolor": PALETTE[0]},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "maxheight": 0.6},
        "showlegend": len(plot.traces) > 1 or bool(plot.dashed),
        "barmode": "overlay" if _spacing(plot) is not None else "group",
        "bargap": 0.02 if _spacing(plot) is not None else 0.25,
        "xaxis": _axis(plot, "x", beside),
        "yaxis": _axis(plot, "y", beside),
    }
    if plot.square:
        # A length means the same along both axes only where they have one scale.
        # What is left over stands away from the legend.
        layout["xaxis"] |= {"constrain": "domain", "constraintoward": "left"}
        layout["yaxis"] |= {"constrain": "domain", "constraintoward": "top", "scaleanchor": "x"}
    return layout


def _axis(plot: Plot, axis: str, beside: Plot | None) -> dict[str, Any]:
    name = plot.x if axis == "x" else plot.y
    # A long name breaks before what its brackets explain, or else where it must.
    parts = [name] if len(name) <= TITLE_LINE else name.replace(" (", "\n(", 1).split("\n")
    title = "<br>".join(shown(line) for part in parts for line in textwrap.wrap(part, TITLE_LINE))
    found: dict[str, Any] = {"title": {"text": title, "standoff": 12, "font": {"size": 14}}, "automargin": True}
    # The first labels of the two axes meet in the corner, where they keep their distance.
    found |= {"gridcolor": LINE, "zerolinecolor": LINE, "linecolor": LINE, "ticklabelstandoff": 4}
    if axis in plot.log:
        found |= {"type": "log"} | _log_ticks(plot, axis)
    if axis in plot.percent:
        found["tickformat"] = ".3~p"
    if axis == "y" and plot.zero:
        found |= {"rangemode": "tozero", "zeroline": True, "zerolinecolor": INK, "zerolinewidth": 2}
    values = _values(plot, axis)
    numbers = [v for v in values if not isinstance(v, str)]
    if len(numbers) < len(values):
        return found | {"type": "category"} | _broken_names(values)
    if axis not in plot.percent:
        # All of a count, and of a measure no more than can be told apart.
        found["hoverformat"] = "," if _whole(numbers) else ".4~r"
    return found | _reach(plot, axis, numbers, beside)


def _reach(plot: Plot, axis: str, numbers: list[float], beside: Plot | None) -> dict[str, Any]:
    """How far an axis of numbers reaches, where plotly's own choice is not enough, and its ticks where they are few."""
    if beside is not None:
        numbers = [*numbers, *(v for v in _values(beside, axis) if not isinstance(v, str))]
    if axis in plot.log:
        numbers = [v for v in numbers if v > 0]
    if not numbers:
        return {}
    low, high = min(numbers), max(numbers)
    found: dict[str, Any] = {}
    if axis not in plot.percent + plot.log and _whole(numbers) and high - low <= TICKED:
        # There is nothing between 2 and 3 dimensions.
        found["dtick"] = 1
    if beside is not None and not plot.square:
        found["range"] = _shared(plot, beside, axis, low, high)
    elif axis == "x" and axis not in plot.log and any(t.mark == "line" for t in plot.traces):
        found["autorangeoptions"] = {"include": [low - AIR * (high - low), high + AIR * (high - low)]}
    return found


def _shared(plot: Plot, beside: Plot, axis: str, low: float, high: float) -> list[float]:
    """From where to where an axis goes that two plots have in common: what either shows, and some air."""
    marks = {t.mark for t in (*plot.traces, *beside.traces)}
    if axis in plot.log:
        low, high = math.log10(low), math.log10(high)
    based = axis == "y" and "bars" in marks and axis not in plot.log
    if based or (axis == "y" and plot.zero):
        low, high = min(low, 0.0), max(high, 0.0)
    if axis == "x" and "bars" in marks:
        air = max(_spacing(plot) or 1.0, _spacing(beside) or 1.0) / 2
    else:
        air = (AIR if axis == "x" and "line" in marks else APART) * (high - low) or 0.5
    # Bars stand on the axis.
    return [low if based and low == 0 else low - air, high if based and high == 0 else high + air]


def _values(plot: Plot, axis: str) -> list[float | str]:
    return [v for t in plot.traces for v in (t.x if axis == "x" else (*t.y, *t.low, *t.high))]


def _broken_names(values: Sequence[float | str]) -> dict[str, Any]:
    """Ticks with names in several lines, where they are few and one is long: beside each other they would overlap."""
    names = list(dict.fromkeys(" ".join(str(v).split()) for v in values))
    if len(names) > NAMED or max(map(len, names)) <= NAME_LINE:
        return {}
    lines = [textwrap.wrap(n, NAME_LINE, break_long_words=False, break_on_hyphens=False) for n in names]
    broken = ["<br>".join(map(shown, each)) for each in lines]
    return {"tickmode": "array", "tickvals": [shown(n) for n in names], "ticktext": broken}


def _whole(values: Sequence[float]) -> bool:
    return bool(values) and all(float(v).is_integer() for v in values)


def _log_ticks(plot: Plot, axis: str) -> dict[str, Any]:
    """Where a logarithmic axis has ticks: at few values, at each; else at 1, 10, 100; at 1, 2, 5 if short."""
    values = sorted({v for t in plot.traces for v in (t.x if axis == "x" else t.y) if not isinstance(v, str) and v > 0})
    if axis == "x" and 0 < len(values) <= FEW and all(b > 1.3 * a for a, b in zip(values, values[1:], strict=False)):
        return {"tickmode": "array", "tickvals": values, "ticktext": [f"{v:,.6g}" for v in values]}
    if not values or values[-1] >= 100 * values[0]:
        return {"dtick": 1} if values else {}
    low, high = values[0], values[-1]
    least = math.floor(math.log10(low))
    steps = [float(f"{digit}e{least + power}") for power in range(3) for digit in (1, 2, 5)]
    ticks = [v for v in steps if 0.9 * low <= v <= 1.1 * high]
    # So short an axis that these would leave it bare has ticks of plotly's choice.
    if len(ticks) < 3:
        return {}
    return {"tickmode": "array", "tickvals": ticks, "ticktext": [f"{v:,.6g}" for v in ticks]}
