"""Fusers: several lists to one.

    run(lists, weights, *arguments) -> one list of all their items, best first, ties by id

Each list gives each item a value, and an item's score is the sum of these, each times the list's weight over the
largest weight: equal weights are weights of 1, and the scale of all weights changes nothing. Sums round once, so the
order of the lists changes nothing either.

| fuser  | gives an item of the list           | one that the list lacks | all scores of the list equal, or one item |
|--------|-------------------------------------|-------------------------|-------------------------------------------|
| rrf    | 1 / (k + rank)                      | 0                       | (scores do not count)                     |
| zscore | deviations above the list's mean    | what its last item gets | 0, and -1 to those that it lacks          |
| minmax | 0 for the last, 1 for the first     | 0                       | 1                                         |
| dbsf   | 0 .. 1 for mean -+ three deviations | 0                       | 0.5                                       |

A list is cut somewhere, and what was cut scores no more than its last item: so `zscore` and `minmax` take what is
missing to score as much as that, the most that it can. The mean would place it before half of what was found. In a
list of equal scores the last item is the first as well, and to be found at all must count: those that it lacks are
one step below. `dbsf` and `rrf` are as others have them, who add nothing. An empty list gives nothing to any item.

The three that use scores are unchanged by any positive affine map of one list's scores. Scores are finite; fused ones
are too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from mmretrieval.geometry import Numbers
from mmretrieval.types import Found

# The scores of a list that is not empty -> what each item of it gets, and what an item that it lacks gets.
Values = Callable[[Numbers], tuple[Numbers, float]]


def reciprocal_rank(lists: Sequence[Found], weights: Sequence[float], k: float = 60.0) -> Found:
    """One list scored by the sum of weight / (k + rank) over the lists, ranks from 1.

    Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual rank learning methods",
    SIGIR 2009, where all weights are 1. (Qdrant weighs otherwise: it divides the rank by the weight, so that a weight
    means another thing for every k, and the scale of all weights changes the order.)
    """
    return _summed(lists, weights, lambda scores: (1.0 / (k + np.arange(1.0, len(scores) + 1.0)), 0.0))


def standardised(lists: Sequence[Found], weights: Sequence[float]) -> Found:
    """One list scored by the sum of weight * (score - mean) / deviation, of each list's own scores.

    Deviations are those of the list itself (over n, not n - 1). Montague and Aslam's ZMUV ("Relevance score
    normalization for metasearch", CIKM 2001), but for what a list lacks.
    """
    return _summed(lists, weights, _deviations)


def min_max(lists: Sequence[Found], weights: Sequence[float]) -> Found:
    """One list scored by the sum of weight * (score - lowest) / (highest - lowest), of each list's own scores.

    Fox and Shaw's CombSUM ("Combination of multiple searches", TREC-2, 1994) of scores normalised as by Lee ("Analyses
    of multiple evidence combination", SIGIR 1997).
    """
    return _summed(lists, weights, lambda scores: (_spread(scores, 1.0), 0.0))


def distribution(lists: Sequence[Found], weights: Sequence[float]) -> Found:
    """One list scored by the sum of weight * (score - (mean - 3 deviations)) / (6 deviations), of each list's own.

    Distribution-based score fusion (Mazzeschi 2023) as Qdrant's `dbsf` has it: deviations are estimated over n - 1.
    Nothing is clipped: what lies beyond three deviations, as one of eleven items or more can, is above 1, or below the
    0 of items that the list lacks.
    """
    return _summed(lists, weights, _distributed)


def _deviations(scores: Numbers) -> tuple[Numbers, float]:
    spread = _spread(scores, 0.0)
    if not spread.any():
        return spread, -1.0
    values: Numbers = (spread - spread.mean()) / spread.std()
    return values, float(values.min())


def _distributed(scores: Numbers) -> tuple[Numbers, float]:
    spread = _spread(scores, 0.0)
    if not spread.any():
        return spread + 0.5, 0.0
    return 0.5 + (spread - spread.mean()) / (6.0 * spread.std(ddof=1)), 0.0


def _spread(scores: Numbers, equal: float) -> Numbers:
    """The scores mapped onto 0 .. 1; all `equal` where they are. Neither large nor close ones leave float64's range."""
    low, high = float(scores.min()), float(scores.max())
    if low == high:
        return np.full(len(scores), equal)
    half = 1.0 if math.isfinite(high - low) else 0.5
    spread: Numbers = (scores * half - low * half) / (high * half - low * half)
    return spread


def _summed(lists: Sequence[Found], weights: Sequence[float], values: Values) -> Found:
    if len(weights) != len(lists) or not all(math.isfinite(w) and w > 0 for w in weights):
        raise ValueError(f"weights are {list(weights)}: there must be a finite one above 0 for each of {len(lists)}")
    terms: dict[str, list[float]] = {item: [] for found in lists for item in found.ids}
    largest = max(weights, default=1.0)
    for found, weight in zip(lists, weights, strict=True):
        if not len(found):
            continue
        given, lacking = values(found.scores)
        own = dict(zip(found.ids, given.tolist(), strict=True))
        share = weight / largest
        for item, summands in terms.items():
            summands.append(share * own.get(item, lacking))
    # fsum rounds once, whatever the order: equal sets of summands tie exactly.
    return Found.ordered(list(terms), [math.fsum(summands) for summands in terms.values()])
