"""How many directions the items of a space really spread into, overall and around each, and what that costs a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmretrieval.diagnostics.intrinsic import (
    inverses,
    likelihood,
    likelihood_spread,
    ratios,
    twonn,
    twonn_likelihood,
    twonn_spread,
)
from mmretrieval.diagnostics.neighbours import Distinct, nearest_distinct
from mmretrieval.diagnostics.ordering import Measured, Ordering, measure
from mmretrieval.diagnostics.sampling import RESAMPLES, caution, resamples
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.diagnostics.viewed import Viewed, basis, viewed
from mmretrieval.errors import RetrievalError
from mmretrieval.findings import Exhibit, Finding, Plot, Trace
from mmretrieval.geometry import Numbers

LEAST = 20
# Neighbours that a local dimension is estimated from, and the numbers of them at which the estimate is followed.
K = 20
SCALES = (5, 10, 20, 50)
SHOWN = 10
BINS = 30


@dataclass(frozen=True, eq=False)
class Spread:
    """A view's rows, its distinct rows with their neighbours, and one over the local dimension of every row (n,)."""

    seen: Viewed
    distinct: Distinct
    inverse: Numbers

    @property
    def lid(self) -> Numbers:
        """The local dimension of each row (n,), infinite where all its neighbours are equally far."""
        lid: Numbers = np.divide(1.0, self.inverse, out=np.full(len(self.inverse), np.inf), where=self.inverse > 0)
        return lid


def dimension(subject: Subject, *, seed: int = 0, sample: int | None = 10_000) -> Finding:
    """The intrinsic dimension of each view, globally and by item, and the recall of a search graph in its light.

    Distances are those of directions, so that rows that fill a linear subspace of m dimensions have dimension m - 1.
    Copies (within 1e-6) stand as one item, and take its local dimension: a distance of 0 says nothing of a dimension.
    Numbers of each view, as in "visual.twonn":
    - twonn: Facco et al. 2017, the linear fit without the tenth of largest ratios; twonn_mle: by maximum likelihood,
      that tenth censored. Both look at two neighbours, the finest scale.
    - mle: Levina and Bickel 2004 over 20 neighbours, averaged as MacKay and Ghahramani do (inverses); mle_5, mle_10,
      mle_50: over so many. Estimates that rise or fall with the number say that the scale matters.
    - lid_low, lid_median, lid_high: 10th, 50th and 90th percentile of the items' local dimensions (20 neighbours).
    - copies: the share of rows that are copies.
    All fall short of the truth in high dimensions, where no sample is large enough (about 20 % at dimension 20 with
    2,000 items). Numbers of the search graph over the searched view (see `ordering`): "random.recall_16" is recall@10
    at ef 16 where items come in random order, and likewise ascending and descending order of local dimension;
    "descending.change_16" the difference from random; "lowest_fifth.recall_16" and "highest_fifth.recall_16" of
    items by local dimension; "random.correlation_16" the rank correlation of an item's local dimension with its
    recall; "questions.recall_16" that of the subject's questions. None where there are too few items for a graph.
    Raises RetrievalError where no view has at least 20 distinct rows.
    """
    spreads_by_view, numbers, intervals, scales = _views(subject, seed, sample)
    if subject.searched not in spreads_by_view:
        raise RetrievalError(
            f"fewer than {LEAST} {subject.label(subject.searched)} have a vector of their own, and this needs at least "
            f"{LEAST}: {'give files of more rows' if subject.of_files else 'add items'}"
        )
    searched = spreads_by_view[subject.searched]
    ordering = Ordering.of(len(searched.seen), sample)
    measured = measure(subject, searched.seen, searched.inverse, ordering, seed)
    numbers |= measured.numbers
    intervals |= measured.intervals
    name = subject.searched
    return Finding(
        diagnostic="dimension",
        sentence=_sentence(subject, searched, numbers, measured),
        numbers=numbers,
        intervals=intervals,
        plots=(_histogram(subject, spreads_by_view), _scales(subject, scales), *measured.plots),
        exhibits=_exhibits(subject.label(name), searched),
        advice=_advice(numbers, name, searched.seen.rows.shape[1], searched.seen.of),
        stages=_stages(numbers, name, searched.seen.rows.shape[1]),
        basis=basis(len(searched.seen), seed, sample, "qdrant-edge-py")
        | {
            "views": {
                v: {"rows": len(s.seen), "of": s.seen.of, "zero_rows": s.seen.zero} for v, s in spreads_by_view.items()
            },
            "labels": subject.labelled,
            "of": searched.seen.of,
            "neighbours": K,
            "intervals": "95 % percentile bootstrap over items, their neighbours kept",
            "resamples": RESAMPLES,
            "graph": measured.basis,
        },
    )


Numbered = dict[str, float | None]
Intervals = dict[str, tuple[float, float]]
# By view, at each number of neighbours: estimate, and its interval.
Scales = dict[str, list[tuple[int, float, tuple[float, float]]]]


def _views(subject: Subject, seed: int, sample: int | None) -> tuple[dict[str, Spread], Numbered, Intervals, Scales]:
    """Each view's rows with their local dimensions, and what is said of it; views with too few rows are left out."""
    found: dict[str, Spread] = {}
    numbers: Numbered = {}
    intervals: Intervals = {}
    scales: Scales = {}
    for view in subject.views:
        seen = viewed(subject, view, LEAST if view == subject.searched else 0, seed, sample)
        if len(seen) < LEAST:
            continue
        distinct = nearest_distinct(seen.rows, max(SCALES))
        if len(distinct.kept) < LEAST:
            continue
        distances = distinct.near.distances
        at = {k: inverses(distances[:, :k]) for k in SCALES if k <= distances.shape[1]}
        local = at.get(K, inverses(distances))
        logs, counts = ratios(distances), resamples(len(distinct.kept), seed)
        found[view] = Spread(seen, distinct, local[distinct.standing])
        scales[view] = [
            (k, value, span)
            for k, values in at.items()
            if (value := likelihood(values)) is not None and (span := likelihood_spread(values, counts)) is not None
        ]
        low, median, high = (_percentile(found[view].inverse, 100 - p) for p in (10, 50, 90))
        said: Numbered = {
            "twonn": twonn(logs),
            "twonn_mle": twonn_likelihood(logs),
            "mle": likelihood(local),
            **{f"mle_{k}": likelihood(values) for k, values in at.items() if k != K},
            "lid_low": low,
            "lid_median": median,
            "lid_high": high,
            "copies": 1.0 - len(distinct.kept) / len(seen),
        }
        numbers |= {f"{view}.{name}": value for name, value in said.items()}
        spans = twonn_spread(logs, counts) | {"mle": likelihood_spread(local, counts)}
        intervals |= {
            f"{view}.{name}": span for name, span in spans.items() if span is not None and said[name] is not None
        }
    return found, numbers, intervals, scales


def _percentile(inverse: Numbers, percent: float) -> float | None:
    value = float(np.percentile(inverse, percent))
    return 1.0 / value if value > 0 else None


def _histogram(subject: Subject, found: Mapping[str, Spread]) -> Plot:
    finite = {view: spread.lid[np.isfinite(spread.lid)] for view, spread in found.items()}
    # The largest hundredth would leave the rest no room.
    top = max((float(np.percentile(lid, 99)) for lid in finite.values() if len(lid)), default=1.0)
    edges = np.linspace(0.0, top, BINS + 1)
    middles = tuple(((edges[1:] + edges[:-1]) / 2).tolist())
    return Plot(
        "lid",
        "Local dimension of the items",
        f"local intrinsic dimension (from {K} neighbours, no unit)",
        "items (share)",
        tuple(
            Trace(subject.label(view), middles, tuple((np.histogram(lid, edges)[0] / max(len(lid), 1)).tolist()))
            for view, lid in finite.items()
        ),
        note="Items to the right lie where the space spreads into many directions, and are harder to find by a graph. "
        "The largest hundredth is cut off.",
        percent="y",
    )


def _scales(subject: Subject, scales: Scales) -> Plot:
    traces = tuple(
        Trace(
            subject.label(view),
            tuple(k for k, _, _ in points),
            tuple(value for _, value, _ in points),
            low=tuple(low for _, _, (low, _) in points),
            high=tuple(high for _, _, (_, high) in points),
        )
        for view, points in scales.items()
        if points
    )
    return Plot(
        "scale",
        "Dimension at several scales",
        "neighbours looked at (count)",
        "intrinsic dimension (Levina-Bickel, no unit)",
        traces,
        note="A level line is a space that looks the same from near and from afar. Bands are 95 % intervals.",
        log="x",
    )


def _exhibits(label: str, searched: Spread) -> tuple[Exhibit, ...]:
    # Ties by id: places rise with the ids.
    order = np.argsort(searched.inverse, kind="stable")
    lid = searched.lid

    def rows(places: Any) -> tuple[tuple[tuple[str, ...], tuple[float | str, ...]], ...]:
        return tuple(
            ((searched.seen.ids[p],), (float(lid[p]) if np.isfinite(lid[p]) else "all neighbours equally far",))
            for p in places
        )

    column = ("local dimension",)
    return (
        Exhibit(f"Highest local dimension ({label})", column, rows(order[:SHOWN])),
        Exhibit(f"Lowest local dimension ({label})", column, rows(order[::-1][:SHOWN])),
    )


def _said(value: float | None) -> str:
    return "no dimension that can be told" if value is None else f"{value:.1f}"


def _sentence(subject: Subject, searched: Spread, numbers: Mapping[str, float | None], measured: Measured) -> str:
    view, n = subject.searched, len(searched.seen)
    low, high = numbers[f"{view}.lid_low"], numbers[f"{view}.lid_high"]
    said = (
        f"The {n:,} vectors of {subject.label(view)}, {searched.seen.rows.shape[1]} numbers each, spread like points "
        f"in {_said(numbers[f'{view}.twonn'])} dimensions by their two nearest neighbours (TwoNN) and in "
        f"{_said(numbers[f'{view}.mle'])} by {min(K, searched.distinct.near.distances.shape[1])} (Levina-Bickel)"
    )
    if low is not None and high is not None:
        said += f"; around single items from {low:.1f} to {high:.1f} (the middle 80 %)"
    copies = numbers[f"{view}.copies"]
    if copies:
        said += f"; {copies:.1%} are copies of others and were left out"
    return f"{said}. {measured.sentence}{caution(n)}"


def _advice(numbers: Mapping[str, float | None], view: str, dim: int, of: int) -> str:
    """What to try where a graph is searched; a smaller library is scanned, and there is nothing that a graph misses."""
    from mmretrieval.library.index import OPTIMISE_FROM

    stages = _stages(numbers, view, dim)
    shorter = (
        f"try {stages[0]} to see whether so few numbers keep the order: they take less room and time (a curved space "
        "needs more linear directions than its dimension)"
        if stages
        else ""
    )
    if of < OPTIMISE_FROM:
        said = f"Nothing has to be mended: a library is scanned, and has no graph, below {OPTIMISE_FROM:,} vectors"
    else:
        said = "A graph that misses items finds more of them with a larger ef, at the cost of time"
    return f"{said}; {shorter}." if shorter else f"{said}."


def _stages(numbers: Mapping[str, float | None], view: str, dim: int) -> tuple[str, ...]:
    """The first power of two from four times the dimension, where that is less than half of what there is."""
    value = numbers[f"{view}.mle"]
    if value is None:
        return ()
    wanted = 2 ** int(np.ceil(np.log2(max(4.0 * value, 2.0))))
    return (f"pca:{wanted}",) if wanted <= dim // 2 else ()
