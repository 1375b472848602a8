"""Two modalities in one set of clusters: do rows group by what they mean, or by what they are?

After Grassucci et al., "Closing the Modality Gap Aligns Group-Wise Semantics" (2026, arXiv 2601.18525), who cluster
pictures and texts together by k-means, as many clusters as classes, and report the V-measure with and without the gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.clusters import Labels, adjusted, choice, contingency, groupings, resampled, v_measure
from mmretrieval.diagnostics.sampling import interval, means, resamples
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import Numbers, directions

LEAST = 10
GROUPS = ("mixed", "centered")
NAMES = ("one_modality", "purity", "together", "v_measure", "ami")


@dataclass(frozen=True)
class Mixed:
    """Numbers of the mixture as it is and after mean-centring; all None where items have not two views."""

    pairs: int
    clusters: int
    views: tuple[str, str] | tuple[()]
    numbers: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def mixed(subject: Subject, seed: int, sample: int | None) -> Mixed:
    """Both rows of the items that have two views, in one k-means, as they are and with each view's mean taken off.

    As many clusters as there are classes of these items, or the root of half of the rows where there are not two.
    one_modality: the share of clusters that hold rows of one view only; purity: the mean share of a row's own view in
    its cluster (0.5 is well mixed, of as many rows each); together: the share of items both of whose rows are in one
    cluster; v_measure and ami: against the classes (None without); change: what centring adds to the V-measure. All are
    means over four clusterings from different starts. The means taken off are those of the rows themselves.
    """
    nothing = dict.fromkeys([f"{group}.{name}" for group in GROUPS for name in NAMES] + ["centered.change"])
    views = [v for v in subject.views if v != "joint"]
    views.sort(key=lambda v: v != subject.searched)
    try:
        rows, ids = subject.pairs(views[:2], LEAST)
    except RetrievalError:
        return Mixed(0, 0, (), nothing)
    chosen = np.arange(len(ids))
    if sample is not None and len(ids) > sample:
        chosen = np.sort(np.random.default_rng([seed, 12]).choice(len(ids), size=sample, replace=False))
    a, b = (directions(rows[v][chosen]) for v in views[:2])
    whole = a.any(axis=1) & b.any(axis=1)
    a, b, ids = a[whole], b[whole], tuple(ids[i] for i in chosen[whole])
    if len(ids) < LEAST:
        return Mixed(0, 0, (), nothing)
    classes = classed(subject.classes, ids)
    known = int(classes.max()) + 1
    k = known if known >= 2 else choice(2 * len(ids))
    numbers: dict[str, float | None] = dict(nothing)
    intervals: dict[str, tuple[float, float]] = {}
    told: dict[str, Told | None] = {}
    for group, pair in (("mixed", (a, b)), ("centered", (a - a.mean(axis=0), b - b.mean(axis=0)))):
        runs = np.stack(groupings(np.concatenate(pair), k, seed)).reshape(-1, 2, len(ids))
        told[group] = agreement(classes, runs, seed)
        said, spans = _said(runs, told[group], seed)
        numbers |= {f"{group}.{name}": value for name, value in said.items()}
        intervals |= {f"{group}.{name}": span for name, span in spans.items()}
    before, after = told["mixed"], told["centered"]
    if before is not None and after is not None:
        change = after.value - before.value
        numbers["centered.change"] = change
        intervals["centered.change"] = _around(change, after.drawn - before.drawn)
    return Mixed(len(ids), k, (views[0], views[1]), numbers, intervals)


def classed(classes: Mapping[str, str], ids: tuple[str, ...]) -> Labels:
    """The number of each item's class (n,), by rising name; -1 for an item without one."""
    names = sorted({classes[i] for i in ids if i in classes})
    number = {name: place for place, name in enumerate(names)}
    return np.array([number[classes[i]] if i in classes else -1 for i in ids], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Told:
    """The V-measure of clusters against classes, what it is in each resample, and the adjusted mutual information."""

    value: float
    drawn: Numbers
    ami: float

    @property
    def span(self) -> tuple[float, float]:
        """The 95 % interval around the value."""
        low, high = _around(self.value, self.drawn)
        return max(low, 0.0), min(high, 1.0)


def agreement(classes: Labels, runs: Labels, seed: int) -> Told | None:
    """How well clusterings (r, m, n) of n items, each of which stands in m places, tell their classes (n,).

    Means over the r clusterings, which differ by where they started; a resample draws one of them, and items. Items of
    class -1 do not count; None where fewer than two classes are left.
    """
    there = classes >= 0
    truth, found = classes[there], runs[:, :, there]
    if len(np.unique(truth)) < 2:
        return None
    times = runs.shape[1]
    stacked, flat = np.tile(truth, times), found.reshape(len(runs), -1)
    tables = [contingency(stacked, labels) for labels in flat]
    value = float(np.mean([v_measure(table)[2] for table in tables]))
    counts = resamples(len(truth), seed)
    which = np.random.default_rng([seed, 13]).integers(0, len(runs), size=len(counts))
    drawn = np.empty(len(counts))
    for run, labels in enumerate(flat):
        drawn[which == run] = resampled(stacked, labels, np.tile(counts[which == run], times))
    return Told(value, drawn, float(np.mean([adjusted(table) for table in tables])))


def _around(value: float, drawn: Numbers) -> tuple[float, float]:
    """The spread of resampled values, laid around the value itself.

    Resampled V-measures are too high, as a resample has fewer distinct items, and their middle may miss the value.
    """
    low, high = interval(drawn - drawn.mean())
    return value + min(low, 0.0), value + max(high, 0.0)


def _said(runs: Labels, told: Told | None, seed: int) -> tuple[dict[str, float | None], dict[str, tuple[float, float]]]:
    n = runs.shape[2]
    side = np.repeat([0, 1], n)
    tables = [contingency(side, labels.reshape(-1)) for labels in runs]
    same = (runs[:, 0] == runs[:, 1]).mean(axis=0)
    own = np.mean(
        [(t / t.sum(axis=0))[side, labels.reshape(-1)].reshape(2, n) for t, labels in zip(tables, runs, strict=True)],
        axis=(0, 1),
    )
    counts = resamples(n, seed)
    numbers: dict[str, float | None] = {
        "one_modality": float(np.mean([(table.min(axis=0) == 0).mean() for table in tables])),
        "purity": float(own.mean()),
        "together": float(same.mean()),
        "v_measure": None if told is None else told.value,
        "ami": None if told is None else told.ami,
    }
    intervals = {name: _spread(values, counts) for name, values in (("purity", own), ("together", same))}
    return numbers, intervals | ({} if told is None else {"v_measure": told.span})


def _spread(values: Numbers, counts: npt.NDArray[np.float32]) -> tuple[float, float]:
    low, high = interval(means(values, counts))
    mean = float(values.mean())
    return min(low, mean), max(high, mean)
