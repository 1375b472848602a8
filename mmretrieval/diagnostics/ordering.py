"""What local dimension does to a search graph: recall by it, and by the order in which it lets items in.

After Elliott and Clark, "The Impacts of Data, Ordering, and Intrinsic Dimensionality on Recall in Hierarchical
Navigable Small Worlds" (2024), on one's own data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mmretrieval.diagnostics.asking import called
from mmretrieval.diagnostics.graph import CANDIDATES, LINKS, Graph, recalls
from mmretrieval.diagnostics.neighbours import Places
from mmretrieval.diagnostics.sampling import RESAMPLES, interval, resamples
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.diagnostics.viewed import Viewed
from mmretrieval.findings import Plot, Trace
from mmretrieval.geometry import Numbers
from mmretrieval.types import Array

# Fewer points than this are hardly a graph: every search sees nearly all of them.
LEAST = 500
# In a graph by default, and asked for.
POINTS, ASKED = 5000, 1000
# Builds of each order by local dimension at most; of random order there are three.
BUILDS = 2
FIFTHS = 5
GROUPS = {"random": "random order", "ascending": "lowest local dimension first", "descending": "highest first"}


@dataclass(frozen=True)
class Ordering:
    """How many points go into each graph (0: none is built), and how they are asked."""

    points: int
    graph: Graph

    @classmethod
    def of(cls, n: int, sample: int | None) -> Ordering:
        """The default for n rows: none below 500, three builds up to 5,000, one of all on request."""
        points = n if sample is None else min(n, POINTS)
        return cls(points if points >= LEAST else 0, Graph(builds=3 if points <= POINTS else 1))

    @property
    def by_dimension(self) -> Graph:
        """The graph of rows that come in by local dimension: built twice at most.

        Recall differs less from build to build (by some 0.1 %) than 1,000 queries let it be told (0.2 %), and only
        these orders' own recall and change rest on their builds; all else rests on random order.
        """
        return replace(self.graph, builds=min(self.graph.builds, BUILDS))


@dataclass(frozen=True)
class Measured:
    """What was measured of the graphs."""

    sentence: str
    numbers: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    plots: tuple[Plot, ...] = ()
    basis: Mapping[str, Any] = field(default_factory=dict)


def measure(subject: Subject, seen: Viewed, inverse: Numbers, ordering: Ordering, seed: int) -> Measured:
    """Recall@10 of search graphs over rows whose one over local dimension is `inverse` (n,), by order and by fifth.

    Asked are at most 1,000 of the rows, which do not count as their own answer, and at most as many questions.
    Intervals resample the queries and the builds; with three builds the share of the latter is too small by a third,
    with two (of the orders by local dimension) by half.
    """
    names = _names(ordering.graph.efs)
    if not ordering.points:
        few = f"With fewer than {LEAST} vectors no search graph was tried: a library of this size is scanned whole."
        return Measured(few, dict.fromkeys(names))
    chance = np.random.default_rng([seed, len(seen), 5])
    inside = np.sort(chance.choice(len(seen), size=ordering.points, replace=False))
    asked = np.sort(chance.choice(ordering.points, size=min(ASKED, ordering.points), replace=False))
    rows, local = seen.rows[inside], inverse[inside]
    # From high to low local dimension; ties by id.
    falling = np.argsort(local, kind="stable")
    orders = {"random": chance.permutation(len(rows)), "ascending": falling[::-1].copy(), "descending": falling}
    questions = _questions(subject, seed)
    together = np.concatenate([rows[asked], questions]) if len(questions) else rows[asked]
    own = np.concatenate([asked, np.full(len(questions), -1)])
    # Questions are asked of random order alone, and the orders by local dimension are built a time less.
    everything = recalls(rows, together, {"random": orders.pop("random")}, own, ordering.graph)["random"]
    shares = {"random": everything[:, :, : len(asked)]} | recalls(
        rows, rows[asked], orders, asked, ordering.by_dimension
    )
    numbers: dict[str, float | None] = dict.fromkeys(names)
    intervals: dict[str, tuple[float, float]] = {}
    fifth = np.empty(len(asked), dtype=np.int64)
    # Fifths by rank, from the lowest local dimension.
    fifth[np.argsort(-local[asked], kind="stable")] = np.arange(len(asked)) * FIFTHS // len(asked)
    drawn = _Drawn(len(asked), ordering.graph.builds, seed)
    sorted_drawn = _Drawn(len(asked), ordering.by_dimension.builds, seed)
    others = _Drawn(len(questions), ordering.graph.builds, seed) if len(questions) else None
    for place, ef in enumerate(ordering.graph.efs):
        said = _orders({o: s[:, place] for o, s in shares.items()}, drawn, sorted_drawn)
        said |= _fifths(shares["random"][:, place], fifth, drawn)
        if others is not None:
            found = everything[:, place, len(asked) :]
            said["questions.recall"] = (float(found.mean()), _around(float(found.mean()), others.means(found)))
        for name, (value, span) in said.items():
            numbers[f"{name}_{ef}"], intervals[f"{name}_{ef}"] = value, span
        numbers[f"random.correlation_{ef}"] = _correlation(-local[asked], shares["random"][:, place].mean(axis=0))
    return Measured(
        _sentence(len(rows), ordering.graph, numbers, intervals, seen.of, _asked_by(subject)),
        numbers,
        intervals,
        (
            _by_order(ordering.graph.efs, numbers, intervals),
            _by_fifth(shares["random"], local[asked], fifth, drawn, ordering),
        ),
        {
            "points": len(rows),
            "asked": len(asked),
            "questions": len(questions),
            "builds": ordering.graph.builds,
            "builds_by_dimension": ordering.by_dimension.builds,
            "links": LINKS,
            "candidates": CANDIDATES,
            "intervals": "95 % percentile bootstrap over queries and builds",
            "chance": "the engine draws the levels of its graph anew at each build and takes no seed: numbers of the "
            "graph differ a little from run to run",
        },
    )


class _Drawn:
    """Which queries and builds each of the resamples took: means of shares (builds, q) in each of them."""

    def __init__(self, n: int, builds: int, seed: int) -> None:
        self.queries = resamples(n, seed).astype(np.float64)
        self.builds = np.random.default_rng([seed, n, 6]).multinomial(
            builds, np.full(builds, 1 / builds), size=RESAMPLES
        )

    def means(self, shares: Numbers, among: Places | slice = slice(None)) -> Numbers:
        queries = self.queries[:, among]
        totals = queries.sum(axis=1)
        by_build = queries @ shares[:, among].T / np.where(totals, totals, np.nan)[:, None]
        averages: Numbers = (by_build * self.builds).sum(axis=1) / self.builds.sum(axis=1)
        return averages


Said = dict[str, tuple[float, tuple[float, float]]]


def _orders(shares: Mapping[str, Numbers], drawn: _Drawn, sorted_drawn: _Drawn) -> Said:
    """Recall by order, and its change against random order, from shares (builds, q) of each.

    Both draws take the same queries: what makes a query hard is no part of the change.
    """
    resampled = {
        order: (drawn if order == "random" else sorted_drawn).means(values) for order, values in shares.items()
    }
    said: Said = {
        f"{order}.recall": (value := float(values.mean()), _around(value, resampled[order]))
        for order, values in shares.items()
    }
    for order in ("ascending", "descending"):
        change = float(shares[order].mean() - shares["random"].mean())
        said[f"{order}.change"] = (change, _around(change, resampled[order] - resampled["random"]))
    return said


def _around(value: float, values: Numbers) -> tuple[float, float]:
    low, high = interval(values)
    return min(low, value), max(high, value)


def _fifths(shares: Numbers, fifth: Places, drawn: _Drawn) -> Said:
    said: Said = {}
    for name, which in (("lowest_fifth", 0), ("highest_fifth", FIFTHS - 1)):
        among = np.flatnonzero(fifth == which)
        value = float(shares[:, among].mean())
        said[f"{name}.recall"] = (value, _around(value, drawn.means(shares, among)))
    return said


def _correlation(a: Numbers, b: Numbers) -> float | None:
    """Spearman's rank correlation; None where one does not vary (a graph that misses nothing)."""
    from scipy.stats import rankdata

    x, y = rankdata(a), rankdata(b)
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else None


def _questions(subject: Subject, seed: int) -> Array:
    """Rows (q, d) of the subject's questions: of another modality than the items, graphs find less for them."""
    if subject.questions is None:
        return np.empty((0, 0), dtype=np.float32)
    asked = subject.questions.rows[subject.questions.rows.any(axis=1)]
    if len(asked) > ASKED:
        asked = asked[np.sort(np.random.default_rng([seed, 7]).choice(len(asked), size=ASKED, replace=False))]
    return np.asarray(asked, dtype=np.float32)


def _asked_by(subject: Subject) -> str:
    """What the subject's questions are."""
    questions = subject.questions
    return (
        "" if questions is None else " and ".join(called(k, questions.captions) for k in dict.fromkeys(questions.kinds))
    )


def _names(efs: tuple[int, ...]) -> list[str]:
    groups = [f"{order}.recall" for order in GROUPS] + ["ascending.change", "descending.change"]
    groups += ["lowest_fifth.recall", "highest_fifth.recall", "random.correlation", "questions.recall"]
    return [f"{group}_{ef}" for ef in efs for group in groups]


def _by_order(
    efs: tuple[int, ...], numbers: Mapping[str, float | None], intervals: Mapping[str, tuple[float, float]]
) -> Plot:
    traces = []
    for order, label in (GROUPS | {"questions": "questions, random order"}).items():
        names = [f"{order}.recall_{ef}" for ef in efs if numbers[f"{order}.recall_{ef}"] is not None]
        if names:
            traces.append(
                Trace(
                    label,
                    tuple(int(name.rpartition("_")[2]) for name in names),
                    tuple(float(numbers[name] or 0.0) for name in names),
                    low=tuple(intervals[name][0] for name in names),
                    high=tuple(intervals[name][1] for name in names),
                )
            )
    return Plot(
        "recall_order",
        "Recall of a search graph by the order of its items",
        "ef (candidates kept while searching)",
        "recall@10 of the graph (share found)",
        tuple(traces),
        note="Bands that overlap: the order does not matter here, or not more than one build differs from the next. "
        "Bands are 95 % intervals.",
        percent="y",
        log="x",
    )


def _by_fifth(shares: Numbers, local: Numbers, fifth: Places, drawn: _Drawn, ordering: Ordering) -> Plot:
    middles = []
    for which in range(FIFTHS):
        middle = float(np.median(local[fifth == which]))
        middles.append(f"{1.0 / middle:.1f}" if middle > 0 else "unbounded")
    labels = tuple(f"{which + 1} ({middle})" for which, middle in enumerate(middles))
    traces = []
    for place, ef in enumerate(ordering.graph.efs):
        among = [np.flatnonzero(fifth == which) for which in range(FIFTHS)]
        values = [float(shares[:, place][:, a].mean()) for a in among]
        spans = [_around(v, drawn.means(shares[:, place], a)) for v, a in zip(values, among, strict=True)]
        low, high = zip(*spans, strict=True)
        traces.append(Trace(f"ef {ef}", labels, tuple(values), low=low, high=high))
    return Plot(
        "recall_lid",
        "Recall of a search graph by local dimension",
        "fifth of the items by local dimension (its median)",
        "recall@10 of the graph (share found)",
        tuple(traces),
        note="Lines that fall: items in spread-out regions are missed more often. Whiskers are 95 % intervals.",
        percent="y",
    )


def _sentence(
    n: int,
    graph: Graph,
    numbers: Mapping[str, float | None],
    intervals: Mapping[str, tuple[float, float]],
    of: int,
    asked_by: str,
) -> str:
    from mmretrieval.library.index import OPTIMISE_FROM

    ef, most = graph.efs[0], graph.efs[-1]
    narrow, wide = (numbers[f"random.recall_{e}"] or 0.0 for e in (ef, most))
    said = (
        f"A search graph over {n:,} of them finds {narrow:.1%} of the 10 nearest with ef {ef} and {wide:.1%} with "
        f"ef {most}"
    )
    asked = numbers[f"questions.recall_{ef}"]
    if asked is not None:
        said += f" (asked by {asked_by} {asked:.1%} and {numbers[f'questions.recall_{most}'] or 0.0:.1%})"
    low, high = numbers[f"lowest_fifth.recall_{ef}"] or 0.0, numbers[f"highest_fifth.recall_{ef}"] or 0.0
    apart = (
        intervals[f"highest_fifth.recall_{ef}"][1] < intervals[f"lowest_fifth.recall_{ef}"][0]
        or intervals[f"lowest_fifth.recall_{ef}"][1] < intervals[f"highest_fifth.recall_{ef}"][0]
    )
    if apart:
        said += f", at ef {ef} {low:.1%} for the fifth of lowest local dimension and {high:.1%} for the highest"
    else:
        said += f"; local dimension makes no difference that this many queries show at ef {ef}"
    moved = [
        f"{GROUPS[order]} {100 * (numbers[f'{order}.change_{ef}'] or 0.0):+.1f} points at ef {ef}"
        for order in ("ascending", "descending")
        if intervals[f"{order}.change_{ef}"][0] > 0 or intervals[f"{order}.change_{ef}"][1] < 0
    ]
    if moved:
        said += f"; letting items in by local dimension changes it ({', '.join(moved)})"
    else:
        said += "; letting items in by local dimension changes it by no more than builds and queries differ"
    if of < OPTIMISE_FROM:
        return (
            f"{said}. The graph was built for this measurement: a library of {of:,} vectors, fewer than "
            f"{OPTIMISE_FROM:,}, is scanned, and misses nothing."
        )
    return f"{said}. A library's searches keep at least as many candidates as its recipe looks deep (200 by default)."
