"""Plots of findings as plotly draws them, and the same numbers as a table."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import plots
from eval.plots import draw, table_of, unseen, views_of
from mmretrieval.findings import Finding, Mark, Plot, Trace

STYLE = Path(plots.__file__).with_name("diagnosis.css")
NASTY = '<img src=x onerror="alert(1)"> & <b>bold</b> %{x}'
MARKS: tuple[Mark, ...] = ("line", "points", "bars", "links")


def plot(*traces: Trace, **more: Any) -> Plot:
    return Plot("name", "A title", "length (m)", "share of items", traces, **more)


def trace(mark: Mark, name: str = "first", **more: Any) -> Trace:
    return Trace(name, (1.0, 2.0, 3.5, 4.0), (0.5, 0.25, 0.125, 0.0625), mark, **more)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", [*plots.PALETTE, plots.INK])
def test_every_colour_stands_out_from_white_and_from_the_dark_page(colour: str) -> None:
    dark = re.findall(r"--(?:page|card|well): (#[0-9a-f]{6})", STYLE.read_text(encoding="utf-8").split("@media")[1])
    assert len(dark) == 3
    assert min(contrast(colour, ground) for ground in ["#ffffff", *dark]) >= 3


@pytest.mark.parametrize("mark", MARKS)
def test_every_mark_is_drawn_on_named_axes_over_nothing(mark: Mark) -> None:
    figure = draw(plot(trace(mark), trace(mark, "second")))
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("length (m)", "share of items")
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "rgba(0,0,0,0)"
    assert figure.layout.xaxis.automargin and figure.layout.yaxis.automargin
    assert (figure.layout.legend.yanchor, figure.layout.legend.orientation) == ("bottom", "h")
    assert figure.layout.legend.y > 1 and figure.layout.title.text is None
    assert [t.name for t in figure.data] == ["first", "second"]
    assert all(t.type == ("bar" if mark == "bars" else "scatter") for t in figure.data)
    drawn = figure.data[0]
    expected = {"line": "lines+markers", "points": "markers", "bars": None, "links": "lines"}
    assert getattr(drawn, "mode", None) == expected[mark]
    if mark == "links":
        assert list(drawn.x) == [1, 2, None, 3.5, 4, None]
    else:
        assert list(drawn.x) == [1, 2, 3.5, 4]
        assert [d.marker.color for d in figure.data] == list(plots.PALETTE[:2])
    assert figure.layout.showlegend is True
    assert draw(plot(trace(mark))).layout.showlegend is False


def test_traces_differ_in_more_than_colour() -> None:
    lines = draw(plot(*(trace("line", f"t{i}") for i in range(20)))).data
    assert len({(t.line.color, t.line.dash) for t in lines}) == 20
    assert len({t.line.dash for t in lines[:4]}) == len({t.marker.symbol for t in lines[:4]}) == 4
    points = draw(plot(*(trace("points", f"t{i}") for i in range(20)))).data
    assert len({(t.marker.color, t.marker.symbol) for t in points}) == 20


def test_links_lie_under_the_points_and_take_no_colour_from_them() -> None:
    figure = draw(plot(trace("points", "a"), trace("links", "pairs"), trace("points", "b")))
    assert [t.name for t in figure.data] == ["pairs", "a", "b"]
    assert [t.legendrank for t in figure.data] == [2, 1, 3]
    assert [t.marker.color for t in figure.data[1:]] == list(plots.PALETTE[:2])


def test_what_recurs_keeps_its_colour_and_yardsticks_are_grey() -> None:
    names = ("by chance", "shuffled", "first", "matched", "second")
    found = {t.name: t.marker.color for t in draw(plot(*(trace("points", n) for n in names))).data}
    assert found == dict(zip(names, (plots.INK, *(plots.PALETTE[i] for i in (1, 2, 0, 3))), strict=True))


def test_views_of_other_names_keep_their_colour_in_every_plot_of_a_finding() -> None:
    def colours(*names: str, views: tuple[str, ...]) -> list[str]:
        drawn = draw(plot(*(trace("points", name) for name in names)), views=views).data
        return [t.marker.color for t in drawn]

    views = ("left.npy", "right.npy")
    left, right = plots.PALETTE[2], plots.PALETTE[3]
    assert colours("left.npy", "right.npy", views=views) == [left, right]
    assert colours("right.npy", views=views) == [right]
    names = ("pairs", "mixed-up pairs", "left.npy with left.npy", "right.npy with right.npy")
    assert colours(*names, views=views) == [*plots.PALETTE[:2], left, right]
    # What the views are called in a library has its colours already, and a third one takes none of them.
    assert colours("words", "pictures", "sounds", views=("pictures", "words", "sounds")) == [
        right,
        left,
        plots.PALETTE[4],
    ]
    assert views_of(Finding("gap", "", {}, basis={"labels": {"a": "left.npy", "b": "right.npy"}})) == views
    assert views_of(Finding("gap", "", {})) == ()


def test_what_is_a_yardstick_among_bars_is_grey() -> None:
    (drawn,) = draw(plot(Trace("share", ("by chance", "as it is"), (0.5, 0.25), "bars"))).data
    assert list(drawn.marker.color) == [plots.INK, plots.PALETTE[0]]
    (plain,) = draw(plot(Trace("share", ("before", "after"), (0.5, 0.25), "bars"))).data
    assert plain.marker.color == plots.PALETTE[0]
    beside = draw(plot(Trace("of what is listed", ("a",), (1.0,), "bars"), Trace("first", ("a",), (1.0,), "bars"))).data
    assert [t.marker.color for t in beside] == [plots.INK, plots.PALETTE[0]]


@pytest.mark.parametrize("mark", ["points", "line", "bars"])
@pytest.mark.parametrize("log", ["", "y"])
def test_axes_of_two_plots_beside_each_other_reach_equally_far(log: str, mark: Mark) -> None:
    low = plot(Trace("a", (1.0, 2.0), (0.5, 0.25), mark), log=log)
    high = plot(Trace("a", (0.0, 1.0), (3.0, 4.0), mark, (2.0, 1.0), (3.5, 7.0)), log=log)
    one, other = (draw(a, beside=b).layout for a, b in ((low, high), (high, low)))
    assert one.yaxis.range == other.yaxis.range and one.xaxis.range == other.xaxis.range
    ends = [10**end for end in one.yaxis.range] if log else one.yaxis.range
    assert ends[0] <= 0.25 and 7 < ends[1] < 10
    assert (ends[0] == 0) == (mark == "bars" and not log)
    assert one.xaxis.range[0] < 0 and one.xaxis.range[1] > 2
    assert draw(low).layout.yaxis.range is None


def test_shared_axes_of_what_they_cannot_show_or_what_is_all_alike() -> None:
    zero = plot(Trace("a", (1.0, 2.0), (0.0, 9.0), "points"), log="y")
    assert draw(zero, beside=zero).layout.yaxis.range[0] < math.log10(9) < draw(zero, beside=zero).layout.yaxis.range[1]
    none = plot(Trace("a", (1.0, 2.0), (0.0, 0.0), "points"), log="y")
    assert draw(none, beside=none).layout.yaxis.range is None
    # Equal scales along both axes are kept by the plot itself.
    square = plot(trace("points"), square=True)
    assert draw(square, beside=square).layout.yaxis.range is None


def test_zero_is_a_place_to_compare_with_only_where_it_says_so() -> None:
    assert draw(plot(trace("points"), zero=True)).layout.yaxis.rangemode == "tozero"
    assert draw(plot(trace("points"))).layout.yaxis.rangemode is None


def test_few_whole_numbers_have_a_tick_each() -> None:
    def ticks(*x: float | str, **more: Any) -> Any:
        return draw(plot(Trace("a", x, (1.0,) * len(x)), **more)).layout.xaxis.dtick

    assert ticks(2.0, 3.0, 6.0) == 1
    assert ticks(2.0, 2.5) is ticks(0.0, 100.0) is ticks("1", "2") is ticks(2.0, 3.0, log="x") is None


def test_intervals_are_a_band_under_a_line_and_whiskers_elsewhere() -> None:
    low, high = (0.4, 0.2, 0.1, 0.05), (0.6, 0.3, 0.3, 0.0625)
    band, line = draw(plot(trace("line", low=low, high=high))).data
    assert list(band.x) == [1, 2, 3.5, 4, 4, 3.5, 2, 1]
    assert list(band.y) == [*low, *reversed(high)]
    assert (band.fill, band.showlegend, band.legendgroup) == ("toself", False, line.legendgroup)
    assert line.error_y.array is None
    marks: tuple[Mark, ...] = ("points", "bars")
    for mark in marks:
        (drawn,) = draw(plot(trace(mark, low=low, high=high))).data
        assert list(drawn.error_y.array) == pytest.approx([0.1, 0.05, 0.175, 0])
        assert list(drawn.error_y.arrayminus) == pytest.approx([0.1, 0.05, 0.025, 0.0125])
    (named,) = draw(plot(Trace("n", ("a", "b"), (1.0, 2.0), "line", low=(0.0, 1.0), high=(2.0, 2.5)))).data
    assert list(named.error_y.array) == [1, 0.5]


def test_bars_over_numbers_touch_and_lie_over_each_other_bars_over_names_stand_beside() -> None:
    numbers = draw(plot(Trace("a", (0.25, 0.75), (1.0, 2.0), "bars"), Trace("b", (0.75,), (3.0,), "bars")))
    assert numbers.layout.barmode == "overlay"
    assert [t.width for t in numbers.data] == [0.5, 0.5]
    assert all(t.marker.opacity < 0.7 for t in numbers.data)
    names = draw(plot(Trace("a", ("x", "y"), (1.0, 2.0), "bars"), Trace("b", ("x", "y"), (3.0, 1.0), "bars")))
    assert names.layout.barmode == "group"
    assert names.layout.xaxis.type == "category"
    assert [t.width for t in names.data] == [None, None]


def test_dashed_lines_are_in_the_legend_with_their_values() -> None:
    figure = draw(plot(trace("line"), dashed={"as it is": 0.82123, "no gap": 0.0}))
    assert [(s.x0, s.x1, s.name, s.showlegend) for s in figure.layout.shapes] == [
        (0.82123, 0.82123, "as it is: 0.821", True),
        (0.0, 0.0, "no gap: 0", True),
    ]
    assert len({s.line.dash for s in figure.layout.shapes}) == 2
    assert figure.layout.showlegend is True
    # A logarithmic axis has no place for 0.
    assert len(draw(plot(trace("line"), dashed={"a": 1.0, "b": 0.0}, log="x")).layout.shapes) == 1


def test_square_percent_and_logarithmic_axes() -> None:
    square = draw(plot(trace("points"), square=True)).layout
    assert (square.yaxis.scaleanchor, square.xaxis.constrain, square.yaxis.constrain) == ("x", "domain", "domain")
    shares = draw(plot(trace("points"), percent="y"))
    assert (shares.layout.xaxis.tickformat, shares.layout.yaxis.tickformat) == (None, ".3~p")
    assert "%{y:.3~p}" in shares.data[0].hovertemplate and "%{x}" in shares.data[0].hovertemplate
    logs = draw(plot(trace("points"), log="xy")).layout
    assert (logs.xaxis.type, logs.yaxis.type) == ("log", "log")
    few = Trace("a", (16.0, 64.0, 200.0), (1.0, 2.0, 3.0))
    assert list(draw(plot(few, log="x")).layout.xaxis.ticktext) == ["16", "64", "200"]
    many = Trace("a", tuple(float(i) for i in range(1, 201)), (1.0,) * 200)
    assert draw(plot(many, log="x")).layout.xaxis.dtick == 1
    plain = draw(plot(trace("points"))).layout
    assert (plain.xaxis.type, plain.yaxis.scaleanchor, plain.yaxis.tickformat) == (None, None, None)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.03, 0.9, ["0.05", "0.1", "0.2", "0.5"]),
        (1.0, 60.0, ["1", "2", "5", "10", "20", "50"]),
        (1900.0, 24_000.0, ["2,000", "5,000", "10,000", "20,000"]),
    ],
)
def test_a_short_logarithmic_axis_has_ticks_at_1_2_and_5(low: float, high: float, ticks: list[str]) -> None:
    x = tuple(low * (high / low) ** (i / 39) for i in range(40))
    axis = draw(plot(Trace("a", x, (1.0,) * 40), log="x")).layout.xaxis
    assert list(axis.ticktext) == ticks
    assert list(axis.tickvals) == [float(text.replace(",", "")) for text in ticks]


def test_a_logarithmic_axis_too_short_for_1_2_and_5_is_left_to_plotly() -> None:
    x = tuple(3.0 + i / 40 for i in range(40))
    axis = draw(plot(Trace("a", x, (1.0,) * 40), log="x")).layout.xaxis
    assert (axis.type, axis.tickvals, axis.dtick) == ("log", None, None)
    down = draw(plot(Trace("a", x, x), log="y")).layout.yaxis
    assert (down.type, down.tickvals, down.dtick) == ("log", None, None)


def test_few_long_names_break_into_lines_and_many_or_short_ones_do_not() -> None:
    def axis(*names: str) -> Any:
        return draw(plot(Trace("a", names, (1.0,) * len(names), "bars"))).layout.xaxis

    broken = axis("as it is", "dualsoftmax:1000 (transductive)", "<b> & so on and on and on")
    assert list(broken.tickvals) == [
        "as it is",
        "dualsoftmax:1000 (transductive)",
        "&lt;b&gt; &amp; so on and on and on",
    ]
    assert list(broken.ticktext) == [
        "as it is",
        "dualsoftmax:1000<br>(transductive)",
        "&lt;b&gt; &amp; so on and<br>on and on",
    ]
    # Each tick stands at a bar: plotly finds categories by the very text of the values.
    drawn = draw(plot(Trace("a", ("as it is", "<b> & so on and on and on"), (1.0, 1.0), "bars")))
    assert list(drawn.layout.xaxis.tickvals) == list(drawn.data[0].x)
    assert axis("before", "after").tickvals is None
    assert axis(*(f"one of many rather long names {i}" for i in range(plots.NAMED + 1))).tickvals is None


def test_pointing_at_a_point_says_its_interval() -> None:
    low, high = (0.4, 0.2, 0.1, 0.05), (0.6, 0.3, 0.3, 0.0625)
    _, line = draw(plot(trace("line", low=low, high=high))).data
    assert "<br>95 % interval: %{customdata[0]:.3~r} to %{customdata[1]:.3~r}<extra>" in line.hovertemplate
    assert [tuple(pair) for pair in line.customdata] == list(zip(low, high, strict=True))
    (shares,) = draw(plot(trace("bars", low=low, high=high), percent="y")).data
    assert "95 % interval: %{customdata[0]:.3~p} to %{customdata[1]:.3~p}" in shares.hovertemplate
    (plain,) = draw(plot(trace("bars"))).data
    assert "interval" not in plain.hovertemplate and plain.customdata is None


def test_long_names_of_axes_break_before_their_brackets() -> None:
    name = "how far the two kinds are moved together (half each; lengths of a unit vector)"
    title = draw(Plot("n", "t", name, "short (m)", (trace("line"),))).layout.xaxis.title.text
    assert title.split("<br>") == ["how far the two kinds are moved together", "(half each; lengths of a unit vector)"]


def test_what_a_logarithmic_axis_cannot_show_is_said() -> None:
    zeros = Trace("a", (0.0, 1.0, 2.0), (1.0, 0.0, 3.0), "points")
    assert unseen(plot(zeros, log="xy")).startswith("2 values")
    assert unseen(plot(zeros, log="y")).startswith("1 ")
    assert unseen(plot(zeros)) == ""


def test_foreign_words_are_shown_and_never_markup() -> None:
    named = Trace(NASTY, ("plain", NASTY), (1.0, 2.0), "bars", labels=("id 1", NASTY), items=True)
    foreign = Plot(NASTY, NASTY, NASTY, NASTY, (named,), note=NASTY, dashed={NASTY: 1.0})
    figure = draw(foreign, {"id 1": NASTY})
    words = [
        figure.layout.xaxis.title.text,
        figure.layout.yaxis.title.text,
        figure.data[0].name,
        *figure.data[0].x,
        *figure.data[0].text,
        figure.layout.shapes[0].name,
        figure.data[0].hovertemplate,
    ]
    for text in words:
        assert set(re.findall(r"<[^>]*>?", text)) <= {"<br>", "<extra>", "</extra>"}
        # An entity of quotes is none that plotly knows.
        assert "&quot;" not in text and "&#x27;" not in text
    assert '&lt;img src=x onerror="alert(1)"&gt;' in figure.data[0].text[0].replace("<br>", " ")
    commands = re.findall(r"%\{[^}]*\}", figure.data[0].hovertemplate)
    assert commands == ["%{text}", "%{x}", "%{y}"]


def test_hover_labels_have_captions_of_items_and_labels_of_others() -> None:
    items = Trace("a", (1.0, 2.0), (1.0, 2.0), "points", labels=("i1", "i2"), items=True)
    bins = Trace("b", (1.0, 2.0), (1.0, 2.0), "points", labels=("i1", "4 to 5"))
    drawn = draw(plot(items, bins), {"i1": "a red house"}).data
    assert list(drawn[0].text) == ["a red house", "i2"]
    assert list(drawn[1].text) == ["i1", "4 to 5"]
    assert (
        drawn[0].hovertemplate == "%{text}<br>length: %{x}<br>share of items: %{y}<br>%{fullData.name}<extra></extra>"
    )
    long = draw(plot(items), {"i1": "word " * 200}).data[0].text[0]
    assert len(long) < 200 and long.endswith("…") and all(len(line) <= 60 for line in long.split("<br>"))


numbers = st.floats(-1e6, 1e6, allow_nan=False)
words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


@st.composite
def any_traces(draws: Any) -> Trace:
    n = draws(st.integers(0, 6)) * 2
    several = st.lists(numbers, min_size=n, max_size=n).map(tuple)
    mark = draws(st.sampled_from(MARKS))
    y = draws(several)
    banded = draws(st.booleans()) and mark != "links"
    low, high = (tuple(v - 1 for v in y), tuple(v + 2 for v in y)) if banded else ((), ())
    labels = tuple(f"i{i}" for i in range(n)) if draws(st.booleans()) else ()
    return Trace(draws(words), draws(several), y, mark, low, high, labels, items=draws(st.booleans()))


@settings(max_examples=30)
@given(st.lists(any_traces(), min_size=1, max_size=4))
def test_the_table_holds_what_is_drawn(traces: list[Trace]) -> None:
    shown = plot(*traces)
    rows = iter(table_of(shown).rows)
    drawn = {t.legendrank: t for t in draw(shown).data if t.showlegend is not False}
    for rank, each in enumerate(traces, 1):
        kept = [(x, y) for x, y in zip(drawn[rank].x, drawn[rank].y, strict=True) if x is not None]
        assert kept == [next(rows)[1:3] for _ in each.x]
    assert next(rows, None) is None


def test_a_table_names_series_axes_bounds_labels_and_captions() -> None:
    items = Trace("a", (1.0, 2.0), (3.0, 4.0), "points", (2.5, 3.5), (3.5, 4.5), ("i1", "i2"), items=True)
    plain = Trace("b", ("x",), (5.0,), "bars")
    table = table_of(plot(items, plain, dashed={"mean": 1.5}), {"i1": "a house", "i2": "=cmd()"})
    share = "share of items"
    assert table.columns == ("series", "length (m)", share, f"{share}, low", f"{share}, high", "label", "caption")
    assert table.rows == (
        ("a", 1.0, 3.0, 2.5, 3.5, "i1", "a house"),
        ("a", 2.0, 4.0, 3.5, 4.5, "i2", "=cmd()"),
        ("b", "x", 5.0, None, None, None, None),
        ("mean", 1.5, None, None, None, None, None),
    )
    read = list(csv.reader(io.StringIO(table.csv())))
    assert read[0] == list(table.columns)
    assert read[1] == ["a", "1.0", "3.0", "2.5", "3.5", "i1", "a house"]
    # A spreadsheet would run it; a negative number stays a number.
    assert read[2][-1] == "'=cmd()"
    assert "-0.5" in table_of(plot(Trace("a", (-0.5,), (1.0,)))).csv()
    assert table_of(plot(plain)).columns == ("series", "length (m)", share)


@given(st.lists(st.tuples(words, numbers, numbers), min_size=1, max_size=5))
def test_numbers_come_back_from_csv_in_full(points: list[tuple[str, float, float]]) -> None:
    shown = plot(*(Trace(name, (x,), (y,), "points") for name, x, y in points))
    read = list(csv.reader(io.StringIO(table_of(shown).csv())))[1:]
    assert [(float(x), float(y)) for _, x, y in read] == [(x, y) for _, x, y in points]
