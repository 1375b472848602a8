"""Figures of the diagnostics, all in one look: named axes, colours that can be told apart, light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from page.notices import escape

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Blue and orange between Okabe and Ito's lighter and darker ones: distinct for colour-blind readers. As full colours
# they have a contrast of 3 or more on white and on the dark page alike.
COLOURS = {"visual": "#2A8BD8", "text": "#E0701F", "matched": "#2A8BD8", "shuffled": "#E0701F"}
NAMES = {"visual": "pictures", "text": "words"}
INK, LINE = "#7a828c", "rgba(128,128,128,0.25)"


def plane(series: Mapping[str, Any], captions: Mapping[str, str]) -> go.Figure:
    """Both views of the items on two principal components; pointing at one says what it is."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for modality in dict.fromkeys(series["modality"]):
        rows = [i for i, m in enumerate(series["modality"]) if m == modality]
        figure.add_trace(
            go.Scattergl(
                x=[series["x"][i] for i in rows],
                y=[series["y"][i] for i in rows],
                mode="markers",
                name=NAMES.get(modality, modality),
                marker={"color": COLOURS.get(modality, INK), "size": 6, "opacity": 0.85},
                text=[escape(captions.get(series["id"][i], series["id"][i])) for i in rows],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    _dressed(figure, *series["axes"])
    # Distances in the plane are distances of the space's projection only where both axes have one scale.
    figure.update_layout(height=560, xaxis_constrain="domain", yaxis_scaleanchor="x", yaxis_constrain="domain")
    return figure


def volumes(series: Mapping[str, Any]) -> go.Figure:
    """How the volumes of matched and shuffled tuples are spread."""
    import plotly.graph_objects as go

    edges = series["edges"]
    middles = [(a + b) / 2 for a, b in zip(edges, edges[1:], strict=False)]
    figure = go.Figure()
    for name in ("matched", "shuffled"):
        bars = go.Bar(
            x=middles,
            y=series[name],
            width=[b - a for a, b in zip(edges, edges[1:], strict=False)],
            name=name,
            marker={"color": COLOURS[name], "opacity": 0.6, "line": {"width": 0}},
            hovertemplate="volume %{x:.3f}: %{y:.1%}<extra>" + name + "</extra>",
        )
        figure.add_trace(bars)
    figure.update_layout(barmode="overlay", yaxis_tickformat=".0%")
    return _dressed(figure, "volume (0: all views in one direction, 1: at right angles)", "share of items")


def _dressed(figure: go.Figure, x: str, y: str) -> go.Figure:
    axis = {"gridcolor": LINE, "zerolinecolor": LINE, "linecolor": LINE, "automargin": True}
    figure.update_layout(
        height=460,
        margin={"l": 60, "r": 20, "t": 40, "b": 60},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 13},
        xaxis=axis | {"title": {"text": x}},
        yaxis=axis | {"title": {"text": y}},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    return figure
