"""What `calibration` shows: distributions of scores, how often answers are right, and who leads a mixed list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.calibration_words import K
from mmretrieval.findings import Plot, Trace
from mmretrieval.geometry import Numbers

if TYPE_CHECKING:
    from mmretrieval.diagnostics.calibration import Group, Mix

BARS = 60
# Answers are put together by score into so many bins of equal number.
BINNED_ANSWERS = 10


def drawn(groups: Sequence[Group], mixes: Sequence[Mix]) -> tuple[Plot, ...]:
    """The plots of the groups of the searched views, and of the mixed lists."""
    searched = [group for group in groups if group.searched]
    plots = [distributions(group) for group in searched]
    curves = [plot for group in searched if (plot := answers(group))]
    return (*plots, *curves, *(mixed(mix) for mix in mixes))


def distributions(group: Group) -> Plot:
    """Relevant and irrelevant scores, and those of generic captions, as shares by score."""
    there = np.isfinite(group.scores)
    values = group.scores[there]
    low, high = float(values.min()), float(values.max())
    if group.nulls.size:
        low, high = min(low, float(group.nulls.min())), max(high, float(group.nulls.max()))
    edges = np.linspace(low, max(high, low + 1e-9), BARS + 1)
    middles = tuple(((edges[1:] + edges[:-1]) / 2).tolist())
    shown: dict[str, tuple[Numbers, Numbers | None]] = {
        "relevant items": (group.scores[group.relevant], None),
        "other items": (values, group.weights[there]),
    }
    if group.nulls.size:
        shown["generic captions, all items"] = (group.nulls.ravel(), None)
    traces = []
    for name, (scores, weights) in shown.items():
        counted, _ = np.histogram(scores, edges, weights=weights)
        traces.append(Trace(name, middles, tuple((counted / counted.sum()).tolist())))
    dashed: dict[str, float] = {}
    if group.threshold:
        dashed["best F1"] = group.threshold.score
    if group.odds and group.odds.even is not None:
        dashed["even odds"] = group.odds.even
    if group.null_best is not None:
        dashed["best of 95 % of generic captions"] = group.null_best
    return Plot(
        f"scores_{group.name}",
        f"Scores of {group.called} with {group.label}: {group.encoder}",
        "score (dot product of question and item)",
        "pairs (share of each kind)",
        tuple(traces),
        note="The less the curves overlap, the more a score says." + _of_nulls(group),
        dashed=dashed,
        percent="y",
    )


def _of_nulls(group: Group) -> str:
    """How to read the curve of generic captions, where there is one."""
    if not group.nulls.size:
        return ""
    told = " Generic captions (a photo, something old, a bird), in grey, are written with no item in mind"
    if group.null_best is None:
        return f"{told}; being words alone, they may score on another level than questions with a picture."
    # "a bird" finds birds where there are any: the best that a caption scores may be deserved.
    return f"{told}: a score that many of their pairs reach says little. Their best may be of items that they fit."


def answers(group: Group) -> Plot | None:
    """How often the first answers of a score are right, and the logistic curve through them."""
    if group.odds is None:
        return None
    top = np.argsort(-np.where(np.isfinite(group.scores), group.scores, -np.inf), axis=1, kind="stable")[:, :K]
    scores, right = (np.take_along_axis(values, top, axis=1) for values in (group.scores, group.relevant))
    there = np.isfinite(scores)
    x, hits = scores[there], right[there].astype(np.float64)
    order = np.argsort(x, kind="stable")
    bins = [part for part in np.array_split(order, BINNED_ANSWERS) if len(part)]
    shares = [float(hits[part].mean()) for part in bins]
    bands = [_wilson(float(hits[part].sum()), len(part)) for part in bins]
    grid: npt.NDArray[np.float64] = np.linspace(float(x.min()), float(x.max()), 100)
    curve = group.odds.chance(grid)
    dashed: Mapping[str, float] = {} if group.odds.even is None else {"even odds": group.odds.even}
    return Plot(
        f"answers_{group.name}",
        f"How often an answer is relevant: {group.called}, {group.encoder}",
        "score (dot product of question and item)",
        "relevant (share of the first 10 answers)",
        (
            Trace(
                "answers, in tenths by score",
                tuple(float(x[part].mean()) for part in bins),
                tuple(shares),
                "points",
                low=tuple(low for low, _ in bands),
                high=tuple(high for _, high in bands),
            ),
            Trace("logistic curve", tuple(grid.tolist()), tuple(curve.tolist())),
        ),
        note="A point is a tenth of the answers, with its 95 % interval. Where points leave the curve, the score of "
        "even odds is not to be relied on.",
        dashed=dashed,
        percent="y",
    )


def _wilson(hits: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z = 1.959964
    middle, spread = hits / n + z**2 / (2 * n), z * np.sqrt(hits / n * (1 - hits / n) / n + z**2 / (4 * n**2))
    return float((middle - spread) / (1 + z**2 / n)), float((middle + spread) / (1 + z**2 / n))


def mixed(mix: Mix) -> Plot:
    """The views' shares of the first places, beside their shares of what is listed."""
    numbers, intervals = mix.measured
    traces = []
    for name, key in (("of what is listed", "expected"), ("of the first 10", "share"), ("centred", "share_centred")):
        keys = [f"{mix.group}.{view}_{key}" for view in mix.names]
        if all(k in numbers for k in keys):
            bands = [intervals.get(k) for k in keys]
            traces.append(
                Trace(
                    "of the first 10, after center" if name == "centred" else name,
                    mix.labels,
                    tuple(float(numbers[k] or 0.0) for k in keys),
                    "bars",
                    low=tuple(band[0] for band in bands if band),
                    high=tuple(band[1] for band in bands if band),
                )
            )
    return Plot(
        mix.group,
        f"Who takes the first places of one list: {mix.called}, {mix.encoder}",
        "view (kind of vector)",
        "rows of the list (share)",
        tuple(traces),
        note="All views in one list. A bar as high as the grey one: a view is among the first as often as among all. "
        "Whiskers are 95 % intervals over questions.",
        percent="y",
    )
