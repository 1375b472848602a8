"""K-means clusters of directions, and how well they agree with classes: arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.geometry import AnyRows, Numbers, blocks, directions

Labels = npt.NDArray[np.int64]
Narrow = npt.NDArray[np.float32]

RESTARTS = 4
# Lloyd's steps at most: of 10,000 rows in 500 clusters they end after some seven, with two modalities after some 16.
STEPS = 10
# Rows that seeds are drawn from at most, or for each seed where there are many seeds; and up to how many of them the
# distances of all pairs are held at once (256 MB).
SEEDED, SEEDED_EACH, SEEDED_TABLE = 5000, 10, 8000
FEWEST, MOST = 2, 100
# Nearest other centroids that a cluster's distance to others is the mean over, as in the paper.
NEAREST = 20
# Terms of the expectation of chance that are held at once.
TERMS = 2**20


@dataclass(frozen=True, eq=False)
class Clusters:
    """The cluster of each row (n,), 0..k-1, and the clusters' mean directions (k, d), unit."""

    labels: Labels
    centres: Numbers


def choice(n: int) -> int:
    """How many clusters n rows are put into where nothing else says it: the root of n / 2, from 2 to 100."""
    return int(np.clip(round(float(np.sqrt(n / 2))), FEWEST, MOST))


def clustered(rows: AnyRows, k: int, seed: int) -> Clusters:
    """The tightest of the `clusterings` of rows (n, d)."""
    unit = directions(rows)

    def within(found: Clusters) -> float:
        # Rows times their centres, summed by cluster: no (n, d) copy of the centres is made.
        return -float(np.einsum("kd,kd->", _sums(unit, found.labels), found.centres))

    return min(clusterings(unit, k, seed), key=within)


def clusterings(rows: AnyRows, k: int, seed: int) -> list[Clusters]:
    """The `groupings` of rows (n, d), with the clusters' mean directions."""
    unit = directions(rows)
    return [Clusters(labels, directions(_sums(unit, labels))) for labels in groupings(rows, k, seed)]


def groupings(rows: AnyRows, k: int, seed: int) -> list[Labels]:
    """The cluster of each row (n, d) by k-means of directions, from each of four starts by `seed`.

    How much they differ is chance. At most as many clusters as there are distinct directions, numbered by falling size,
    then by the first row of each; at most ten of Lloyd's steps, after which hardly a row still moves. Seeds are drawn
    among 5,000 rows, or ten for each cluster. One thread: sums of several come in any order, and small products are
    slower in many.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    narrow = np.ascontiguousarray(directions(rows), dtype=np.float32)
    k = min(k, _distinct(narrow, k))
    with threadpool_limits(limits=1):
        starts = _starts(narrow, k, seed)
        found = [KMeans(len(start), init=start, n_init=1, max_iter=STEPS).fit(narrow).labels_ for start in starts]
    return [_numbered(labels) for labels in found]


def _distinct(narrow: Narrow, k: int) -> int:
    """How many directions differ within 1e-6; k or more is all that is said where one coordinate shows so many."""
    if not narrow.size:
        return len(narrow)
    alone = len(np.unique(narrow[:, 0].round(6)))
    return alone if alone >= k else len(np.unique(narrow.round(6), axis=0))


def _numbered(found: npt.NDArray[np.int32]) -> Labels:
    _, first, group = np.unique(found, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    order = np.lexsort((first, -np.bincount(group)))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    return number[group]


def _sums(unit: Numbers, labels: Labels) -> Numbers:
    """The sum of each cluster's rows (k, d)."""
    # Each cluster's rows one after the other, and where they begin: one pass over them.
    firsts = np.concatenate([[0], np.cumsum(np.bincount(labels))[:-1]])
    sums: Numbers = np.add.reduceat(unit[np.argsort(labels, kind="stable")], firsts, axis=0)
    return sums


def _starts(unit: Narrow, k: int, seed: int) -> list[Narrow]:
    """RESTARTS sets of k (or fewer) of the rows (n, d), each by `_seeds` from the same 5,000 of them, or 10 k.

    So few stand for clusters that are worth a seed, and their distances are taken once for all starts.
    """
    n = len(unit)
    drawn = max(SEEDED, SEEDED_EACH * k)
    if n > drawn:
        unit = unit[np.sort(np.random.default_rng([seed, RESTARTS]).choice(n, size=drawn, replace=False))]
    table = _squared(unit, unit) if len(unit) <= SEEDED_TABLE else None

    def squared(places: Labels) -> Narrow:
        return _squared(unit[places], unit) if table is None else table[places]

    return [unit[_seeds(squared, len(unit), k, np.random.default_rng([seed, start]))] for start in range(RESTARTS)]


def _seeds(squared: Callable[[Labels], Narrow], n: int, k: int, chance: np.random.Generator) -> Labels:
    """The places of k of n rows, or fewer, by greedy k-means++ (Arthur and Vassilvitskii 2007).

    Of 2 + log k rows drawn by their squared distance to the nearest seed, the one that lessens the sum of those most.
    `squared` of places (t,) are the squared distances of those rows to all: (t, n).
    """
    seeds = [int(chance.integers(n))]
    closest = squared(np.array(seeds))[0].copy()
    closest[seeds] = 0.0
    while len(seeds) < k:
        running = np.cumsum(closest, dtype=np.float64)
        if running[-1] <= 0:  # what is left cannot be told from the seeds
            break
        drawn = np.searchsorted(running, chance.random(2 + int(np.log(k))) * running[-1], side="right")
        trials = np.minimum(drawn, n - 1)
        nearer = np.minimum(squared(trials), closest)
        best = int(nearer.sum(axis=1).argmin())
        seeds.append(int(trials[best]))
        closest = nearer[best]
        closest[seeds] = 0.0
    return np.array(seeds, dtype=np.int64)


def _squared(a: Narrow, b: Narrow) -> Narrow:
    """Squared distances of unit rows (n, d) and (m, d): (n, m); no second array of that size is made."""
    table = a @ b.T
    table *= -2.0
    table += 2.0
    squared: Narrow = np.maximum(table, 0.0, out=table)
    return squared


def complexity(rows: AnyRows, clusters: Clusters) -> tuple[Numbers, Numbers]:
    """For each cluster (k,) the mean cosine distance of its rows to its centre, and of its centre to the 20 nearest.

    d_intra and d_inter of Abbas et al., "Effective pruning of web-scale datasets based on complexity of concept
    clusters" (ICLR 2024), whose product they call a concept's complexity: a wide cluster far from others is complex. Of
    fewer than 21 clusters, the distance to all others.
    """
    unit, centres = directions(rows), clusters.centres
    own = 1.0 - np.einsum("nd,nd->n", unit, centres[clusters.labels])
    intra = np.bincount(clusters.labels, weights=own) / np.bincount(clusters.labels)
    apart = np.sort(1.0 - centres @ centres.T + np.diag(np.full(len(centres), np.inf)), axis=1)[:, :-1]
    inter = apart[:, : min(NEAREST, len(centres) - 1)].mean(axis=1) if len(centres) > 1 else np.zeros(len(centres))
    return np.maximum(intra, 0.0), np.maximum(inter, 0.0)


def v_measure(table: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Homogeneity, completeness and V-measure of contingency tables (..., classes, clusters), each (...).

    Rosenberg and Hirschberg 2007, beta 1: homogeneity is 1 - H(class | cluster) / H(class), completeness the other way
    round, V their harmonic mean, which equals the normalised mutual information with arithmetic mean. 1 where there is
    one class, or one cluster, to be told.
    """
    total = table.sum(axis=(-2, -1))
    classes, clusters = table.sum(axis=-1), table.sum(axis=-2)
    joint = _entropy(table.reshape(*table.shape[:-2], -1), total)
    return _by_entropy(_entropy(classes, total), _entropy(clusters, total), joint)


def _by_entropy(of_classes: Numbers, of_clusters: Numbers, joint: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    shared = np.maximum(of_classes + of_clusters - joint, 0.0)
    homogeneity = np.divide(shared, of_classes, out=np.ones_like(shared), where=of_classes > 1e-12)
    completeness = np.divide(shared, of_clusters, out=np.ones_like(shared), where=of_clusters > 1e-12)
    both = homogeneity + completeness
    v = np.divide(2 * homogeneity * completeness, both, out=np.zeros_like(both), where=both > 0)
    return np.minimum(homogeneity, 1.0), np.minimum(completeness, 1.0), np.minimum(v, 1.0)


def adjusted(table: Numbers) -> float:
    """The adjusted mutual information of a contingency table (classes, clusters): 0 is chance, 1 the same groups.

    Vinh, Epps and Bailey 2010, over the arithmetic mean of the entropies. Where chance alone reaches that mean, both
    are one group, or each item is a group in both: the same, so 1.
    """
    total = np.asarray(table.sum())
    classes, clusters = table.sum(axis=1), table.sum(axis=0)
    classes, clusters = classes[classes > 0], clusters[clusters > 0]
    of_classes, of_clusters = float(_entropy(classes, total)), float(_entropy(clusters, total))
    shared = of_classes + of_clusters - float(_entropy(table.reshape(-1), total))
    chance = _chance(classes.astype(np.int64), clusters.astype(np.int64))
    above = (of_classes + of_clusters) / 2 - chance
    return (shared - chance) / above if above > 1e-9 else 1.0


def _chance(classes: Labels, clusters: Labels) -> float:
    """The mutual information that groups of these sizes have by chance: the mean over all ways to fill them.

    A cell of a class of a and a cluster of b items holds a hypergeometric number; cells of equal sizes count together.
    """
    from scipy.special import gammaln

    total = int(classes.sum())
    factorial = gammaln(np.arange(total + 1) + 1.0)
    (wide, many), (deep, often) = (np.unique(sizes, return_counts=True) for sizes in (classes, clusters))
    expected = 0.0
    for a, times in zip(wide.tolist(), many.tolist(), strict=True):
        for block in blocks(len(deep), max(1, TERMS // a)):
            b = deep[block, None]
            held = np.arange(1, min(a, int(b.max())) + 1)[None, :]
            possible = (held <= b) & (held >= a + b - total)
            held = np.where(possible, held, np.minimum(a, b))
            likely = factorial[a] + factorial[b] + factorial[total - a] + factorial[total - b] - factorial[total]
            likely = likely - factorial[held] - factorial[a - held] - factorial[b - held]
            likely -= factorial[total - a - b + held]
            terms = np.exp(likely) * held / total * np.log(total * held / (a * b))
            expected += times * float((terms * possible * often[block, None]).sum())
    return expected


def contingency(classes: Labels, labels: Labels, weights: Numbers | None = None) -> Numbers:
    """How often each class (rows) meets each cluster (columns), counting items by `weights` (n,), 1 by default."""
    k = int(labels.max()) + 1
    size = (int(classes.max()) + 1) * k
    return np.bincount(classes * k + labels, weights=weights, minlength=size).astype(np.float64).reshape(-1, k)


def _entropy(counts: Numbers, total: Numbers) -> Numbers:
    """Of counts (..., m) with their totals (...), in nats."""
    shares = counts / total[..., None]
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy: Numbers = -(shares * logs).sum(axis=-1)
    return entropy
