"""Two modalities in one set of clusters: do rows group by what they mean, or by what they are?

After Grassucci et al., "Closing the Modality Gap Aligns Group-Wise Semantics" (2026, arXiv 2601.18525), who cluster
pictures and texts together by k-means, as many clusters as classes, and report the V-measure with and without the gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.clusters import Labels, adjusted, choice, contingency, groupings, v_measure
from mmretrieval.diagnostics.sampling import student_quantile, unseen
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import Numbers, directions

LEAST = 10
GROUPS = ("mixed", "centered")
NAMES = ("one_modality", "purity", "together", "v_measure", "ami")
# How many random halves of the items are clustered again, and what rows times clusters may add up to over them: some
# 20 s for the largest that are looked at.
MOST_HALVES, FEWEST_HALVES, WORK = 40, 5, 2 * 10**7

Spans = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Mixed:
    """Numbers of the mixture as it is and after mean-centring; all None where items have not two views.

    `asked` is how many clusters were asked for, `made` how many there are in each group: fewer where fewer different
    vectors are. `halves` is how many halves of the items the intervals come from.
    """

    pairs: int
    asked: int
    made: tuple[int, int]
    views: tuple[str, str] | tuple[()]
    numbers: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    halves: int = 0


def mixed(subject: Subject, seed: int, sample: int | None) -> Mixed:
    """Both rows of the items that have two views, in one k-means, as they are and with each view's mean taken off.

    As many clusters as there are classes of these items, or the root of half of the rows where there are not two.
    one_modality: the share of clusters that hold rows of one view only; purity: the mean share of a row's own view in
    its cluster (0.5 is well mixed, of as many rows each); together: the share of items both of whose rows are in one
    cluster; v_measure and ami: against the classes (None without); change: what centring adds to the V-measure. All are
    means over four clusterings from different starts. The means taken off are those of the rows themselves. Intervals
    are those of `around`, of halves of the items whose means are taken off, and whose rows are clustered, once more.
    """
    nothing = dict.fromkeys([f"{group}.{name}" for group in GROUPS for name in NAMES] + ["centered.change"])
    absent = Mixed(0, 0, (0, 0), (), nothing)
    views = [v for v in subject.views if v != "joint"]
    views.sort(key=lambda v: v != subject.searched)
    try:
        rows, ids = subject.pairs(views[:2], LEAST)
    except RetrievalError:
        return absent
    chosen = np.arange(len(ids))
    if sample is not None and len(ids) > sample:
        chosen = np.sort(np.random.default_rng([seed, 12]).choice(len(ids), size=sample, replace=False))
    a, b = (directions(rows[v][chosen]) for v in views[:2])
    whole = a.any(axis=1) & b.any(axis=1)
    a, b, ids = a[whole], b[whole], tuple(ids[i] for i in chosen[whole])
    if len(ids) < LEAST:
        return absent
    classes = classed(subject.classes, ids)
    known = int(classes.max()) + 1
    k = known if known >= 2 else choice(2 * len(ids))

    def runs_of(some: npt.NDArray[np.int64], start: int) -> dict[str, Labels]:
        x, y = a[some], b[some]
        centred = x - x.mean(axis=0), y - y.mean(axis=0)
        pairs = zip(GROUPS, ((x, y), centred), strict=True)
        return {g: np.stack(groupings(np.concatenate(p), k, start)).reshape(-1, 2, len(some)) for g, p in pairs}

    everything = np.arange(len(ids))
    runs = runs_of(everything, seed)
    values = _figures(runs, classes)
    numbers: dict[str, float | None] = dict(nothing) | dict(values)
    for group, labels in runs.items():
        numbers[f"{group}.one_modality"] = _one_modality(labels)
        numbers[f"{group}.ami"] = chance_free(classes, labels)
    parts = halves(len(ids), 2 * len(ids) * k, seed)
    drawn = [_figures(runs_of(half, seed + 1 + i), classes[half]) for i, half in enumerate(parts)]
    made = tuple(int(runs[group].max()) + 1 for group in GROUPS)
    return Mixed(
        len(ids), k, (made[0], made[1]), (views[0], views[1]), numbers, _spans(values, drawn, runs), len(parts)
    )


def classed(classes: Mapping[str, str], ids: tuple[str, ...]) -> Labels:
    """The number of each item's class (n,), by rising name; -1 for an item without one."""
    names = sorted({classes[i] for i in ids if i in classes})
    number = {name: place for place, name in enumerate(names)}
    return np.array([number[classes[i]] if i in classes else -1 for i in ids], dtype=np.int64)


def agreement(classes: Labels, runs: Labels) -> float | None:
    """The V-measure of clusterings (r, m, n) of n items, each of which stands in m places, against classes (n,).

    The mean over the r clusterings, which differ by where they started. Items of class -1 do not count; None where
    fewer than two classes are left.
    """
    return _over_runs(classes, runs, lambda table: float(v_measure(table)[2]))


def chance_free(classes: Labels, runs: Labels) -> float | None:
    """The adjusted mutual information of the same, as `agreement` has the V-measure."""
    return _over_runs(classes, runs, adjusted)


def _over_runs(classes: Labels, runs: Labels, measure: Callable[[Numbers], float]) -> float | None:
    there = classes >= 0
    if len(np.unique(classes[there])) < 2:
        return None
    stacked = np.tile(classes[there], runs.shape[1])
    return float(np.mean([measure(contingency(stacked, labels.reshape(-1))) for labels in runs[:, :, there]]))


# --- how sure it is ------------------------------------------------------------------------------------------------


def halves(n: int, work: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Random halves of n items, rising: 40, or down to 5 of them where one takes much `work` (rows times clusters)."""
    count = int(np.clip(WORK // work, FEWEST_HALVES, MOST_HALVES))
    chance = np.random.default_rng([seed, 14])
    return [np.sort(chance.permutation(n)[: n // 2]) for _ in range(count)]


def around(
    value: float, drawn: list[float | None], least: float = 0.0, most: float = 1.0
) -> tuple[float, float] | None:
    """The 95 % interval around a value from what it is for random halves of the items; None where those all agree.

    Drawn without replacement, half of n items vary about all of them as much as n items vary about the truth: (1 / (n /
    2) - 1 / n) = 1 / n. Their spread counts and not their mean, as fewer items have other V-measures; it is estimated
    from as many as there are halves, hence Student's t. Unlike resamples they hold no item twice, which would make a
    cluster of itself.
    """
    known = np.array([one for one in drawn if one is not None])
    if len(known) < 2 or np.ptp(known) <= 0:
        return None
    width = student_quantile(len(known) - 1) * float(known.std(ddof=1))
    return max(value - width, least), min(value + width, most)


def _figures(runs: Mapping[str, Labels], classes: Labels) -> dict[str, float | None]:
    """What has an interval, of clusterings (r, 2, n) by group."""
    found: dict[str, float | None] = {}
    for group, labels in runs.items():
        found[f"{group}.purity"] = float(_own(labels).mean())
        found[f"{group}.together"] = float(_same(labels).mean())
        found[f"{group}.v_measure"] = agreement(classes, labels)
    before, after = found["mixed.v_measure"], found["centered.v_measure"]
    found["centered.change"] = None if before is None or after is None else after - before
    return found


def _spans(
    values: Mapping[str, float | None], drawn: list[dict[str, float | None]], runs: Mapping[str, Labels]
) -> Spans:
    spans: Spans = {}
    for name, value in values.items():
        if value is None:
            continue
        group, _, of = name.rpartition(".")
        span = around(value, [one[name] for one in drawn], -1.0 if of == "change" else 0.0)
        # Shares for which all items are alike have a bound on those not seen; a V-measure is no share.
        each = {"purity": _own, "together": _same}.get(of)
        bound = None if each is None else unseen(each(runs[group]))
        both = [one for one in (span, bound) if one is not None]
        if both:
            spans[name] = min(low for low, _ in both), max(high for _, high in both)
    return spans


def _tables(runs: Labels) -> list[Numbers]:
    """How many rows of each view (2) are in each cluster, of each clustering."""
    side = np.repeat([0, 1], runs.shape[2])
    return [contingency(side, labels.reshape(-1)) for labels in runs]


def _one_modality(runs: Labels) -> float:
    return float(np.mean([(table.min(axis=0) == 0).mean() for table in _tables(runs)]))


def _own(runs: Labels) -> Numbers:
    """For each item (n,) the share of its rows' own view in their clusters."""
    side = np.arange(2)[:, None]
    found = [(t / t.sum(axis=0))[side, labels] for t, labels in zip(_tables(runs), runs, strict=True)]
    own: Numbers = np.mean(found, axis=(0, 1))
    return own


def _same(runs: Labels) -> Numbers:
    """For each item (n,) the share of clusterings in which both of its rows are in one cluster."""
    same: Numbers = (runs[:, 0] == runs[:, 1]).mean(axis=0)
    return same
