"""What items have before anything is asked: how often each is found, and whether its own volume decides that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.sampling import interval, share_interval
from mmretrieval.geometry import GramFactors, Numbers, blocks, directions
from mmretrieval.types import Array

# The orders that are compared: by volume as it is, by volume with what opposes the query last (as the reranker `gram`
# has it), by the query's sine to the span (as `span` has it, unguarded), and by its mean cosine to the views.
RANKINGS = ("volume", "guarded", "sine", "cosine")
# Scores held at once: 2**23 float64 are 64 MB.
SCORES_AT_ONCE = 2**23
# Volumes that differ by less are equal but for the rounding of float32 rows.
EQUAL = 1e-6
# What has less spread than this (of values that lie between 0 and 1) does not vary.
STILL = 1e-9

# "spearman" and "pearson" to the value and its interval.
Correlations = dict[str, tuple[float, tuple[float, float]]]


@dataclass(frozen=True, eq=False)
class Retrieved:
    """How often each of n items was among the first `top` of `asked` rankings, by order: {ranking: (n,)}.

    `own` (n,) are the items' own volumes.
    """

    own: Numbers
    times: Mapping[str, Numbers]
    asked: int
    top: int


def retrieved(queries: Array, own: Array, top: int, itself: npt.NDArray[np.int64] | None = None) -> Retrieved:
    """Ranks items' own views (n, k, d) for queries (q, d) in four ways and counts who comes first.

    `itself` (q,) is the place of an item that a query may not find, since it was made of it; -1 for none. Items that
    tie at the last place share it in equal parts.
    """
    n, k, _ = own.shape
    factors, views = GramFactors.of(own), directions(own)
    times = {name: np.zeros(n) for name in RANKINGS}
    for block in blocks(len(queries), max(1, SCORES_AT_ONCE // (n * k))):
        asked = directions(queries[block])
        summed, lowest = np.zeros((len(asked), n)), np.full((len(asked), n), np.inf)
        for j in range(k):
            cosines = asked @ views[:, j].T
            summed += cosines
            np.minimum(lowest, cosines, out=lowest)
        sines = factors.sines(asked)
        volumes = factors.own * sines
        guarded = np.where(lowest < 0, lowest, 1.0 - volumes)
        for name, scores in zip(RANKINGS, (-volumes, guarded, -sines, summed), strict=True):
            if itself is not None:
                left_out = itself[block]
                scores[np.flatnonzero(left_out >= 0), left_out[left_out >= 0]] = -np.inf
            times[name] += among_first(scores, top).sum(axis=0)
    return Retrieved(factors.own, times, len(queries), top)


def among_first(scores: Numbers, top: int) -> Numbers:
    """Which of each row's scores (q, n) are among the `top` highest: 1 or 0, and in between for ties at the end."""
    n = scores.shape[1]
    last = np.partition(scores, n - top, axis=1)[:, n - top, None]
    above, tied = scores > last, scores == last
    left = (top - above.sum(axis=1, keepdims=True)) / tied.sum(axis=1, keepdims=True)
    membership: Numbers = above + tied * left
    return membership


def tenth_share(found: Retrieved, ranking: str, counts: npt.NDArray[np.float32] | None = None) -> Numbers:
    """The share of all places among the first that goes to the tenth of items whose own volume is smallest.

    One number for each resample of items, a row of counts (c, n), all 1 by default; NaN for one that found nothing.
    """
    weights = np.ones((1, len(found.own))) if counts is None else counts.astype(np.float64)
    smallest = _smallest(found)
    places = weights @ found.times[ranking]
    shares: Numbers = np.divide(
        weights @ (found.times[ranking] * smallest), places, out=np.full(len(weights), np.nan), where=places > 0
    )
    return shares


def tenth_interval(found: Retrieved, ranking: str, counts: npt.NDArray[np.float32]) -> tuple[float, float]:
    """The 95 % interval of `tenth_share` over resamples of items (c, n).

    Where all items that were found are of that tenth, or none is, how many those are says how sure that is.
    """
    return share_interval(_smallest(found)[found.times[ranking] > 0], tenth_share(found, ranking, counts))


def _smallest(found: Retrieved) -> Numbers:
    """Which items (n,) are of the tenth with the smallest own volume: 1 or 0, and in between for ties."""
    smallest: Numbers = among_first(-found.own[None], max(1, round(len(found.own) / 10)))[0]
    return smallest


def correlated(x: Numbers, y: Numbers, counts: npt.NDArray[np.float32]) -> Correlations:
    """Spearman's and Pearson's correlation of x (n,) with y (n,), each with its interval over resamples (c, n).

    {"spearman": (value, (low, high)), "pearson": ...}; empty where x or y does not vary.
    """
    return correlated_with(x, {"y": y}, counts)["y"]


def correlated_with(
    x: Numbers, others: Mapping[str, Numbers], counts: npt.NDArray[np.float32]
) -> dict[str, Correlations]:
    """The correlations of x (n,) with each of the others (n,), as `correlated` has them."""
    varied = {name: _spread(y) for name, y in others.items() if np.ptp(x) >= EQUAL and np.ptp(y) >= EQUAL}
    x = _spread(x) if varied else x
    resampled: dict[str, list[tuple[Numbers, Numbers]]] = {name: [] for name in varied}
    values = {name: _correlations(x, {name: y}, np.ones((1, len(x))))[name] for name, y in varied.items()}
    for block in blocks(len(counts), 100):
        for name, both in _correlations(x, varied, counts[block].astype(np.float64)).items():
            resampled[name].append(both)
    result: dict[str, Correlations] = {name: {} for name in others}
    for name, parts in resampled.items():
        for i, kind in enumerate(("spearman", "pearson")):
            result[name][kind] = float(values[name][i][0]), interval(np.concatenate([part[i] for part in parts]))
    return result


def _spread(values: Numbers) -> Numbers:
    """Values moved and scaled to lie between 0 and 1, which changes no correlation."""
    spread: Numbers = (values - values.min()) / np.ptp(values)
    return spread


def _correlations(x: Numbers, others: Mapping[str, Numbers], weights: Numbers) -> dict[str, tuple[Numbers, Numbers]]:
    """Spearman's and Pearson's correlations (c,) of x with the others, under each row of weights (c, n)."""
    if not others:
        return {}
    ranks = midranks(x, weights)
    return {
        name: (_weighted(ranks, midranks(y, weights), weights), _weighted(x[None], y[None], weights))
        for name, y in others.items()
    }


def midranks(values: Numbers, weights: Numbers) -> Numbers:
    """The rank (c, n) of each of n values, each standing as often as a row of weights (c, n) says; ties share one."""
    order = np.argsort(values, kind="stable")
    new = np.concatenate([[True], np.diff(values[order]) > 0])
    together = np.add.reduceat(weights[:, order], np.flatnonzero(new), axis=1)
    ranks = np.empty_like(weights)
    ranks[:, order] = (np.cumsum(together, axis=1) - together / 2.0)[:, np.cumsum(new) - 1]
    return ranks


def _weighted(x: Numbers, y: Numbers, weights: Numbers) -> Numbers:
    """Pearson's correlation under each row of weights (c, n): (c,); NaN where x or y does not vary there."""
    total = weights.sum(axis=1, keepdims=True)
    a = x - (weights * x).sum(axis=1, keepdims=True) / total
    b = y - (weights * y).sum(axis=1, keepdims=True) / total
    product = np.sqrt((weights * a**2).sum(axis=1) * (weights * b**2).sum(axis=1))
    covariance = (weights * a * b).sum(axis=1)
    values: Numbers = np.divide(covariance, product, out=np.full(len(product), np.nan), where=product > STILL)
    return np.clip(values, -1.0, 1.0)
