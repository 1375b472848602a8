"""What a score says of an answer: two distributions, a threshold between them, and the odds of an answer. Pure.

Scores of pairs come as counts in fine bins for each query, so that a resample of queries is a sum of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.sampling import RESAMPLES, interval, resamples
from mmretrieval.geometry import Numbers, blocks

Counts = npt.NDArray[np.float32]

BINS = 1024
# Newton's steps of a logistic fit in one variable; it needs some ten.
STEPS = 50
# Points of resampled curves that are fitted at once: 2**17 float64 are 1 MB.
POINTS_AT_ONCE = 2**17
# Fewer right (or wrong) answers than this say nothing of odds, nor fewer queries in either half of a threshold.
LEAST_ANSWERS, LEAST_QUERIES = 10, 10


@dataclass(frozen=True, eq=False)
class Binned:
    """Counts (q, BINS) of each query's relevant and irrelevant items by score, between `low` and `high`.

    A sampled irrelevant item counts for as many as it stands for.
    """

    relevant: Numbers
    irrelevant: Numbers
    low: float
    high: float

    def at(self, edge: int) -> float:
        """The score at the lower edge of a bin."""
        return self.low + (self.high - self.low) * edge / BINS


def binned(scores: Numbers, relevant: npt.NDArray[np.bool_], irrelevant: Numbers) -> Binned:
    """From scores (q, n), which of them are of relevant items, and how many irrelevant items each stands for (q, n)."""
    low, high = float(scores.min()), float(scores.max())
    width = max(high - low, 1e-12)
    places = np.minimum(((scores - low) / width * BINS).astype(np.int64), BINS - 1)
    counted = np.zeros((2, len(scores), BINS))
    for i, row in enumerate(places):
        counted[0, i] = np.bincount(row, weights=relevant[i], minlength=BINS)
        counted[1, i] = np.bincount(row, weights=irrelevant[i], minlength=BINS)
    return Binned(counted[0], counted[1], low, low + width)


# --- two distributions ---------------------------------------------------------------------------------------------


def pooled(pairs: Binned, counts: Counts | None = None) -> tuple[Numbers, Numbers]:
    """AUC and overlap of all queries' pairs together, for each row of counts of queries (c, q): (c,) and (c,).

    AUC is the share of comparisons of a relevant pair with an irrelevant one that the relevant wins, ties half (within
    a bin scores tie). Overlap is 1 less the largest difference of the two distribution functions: the common area of
    two densities that cross once.
    """
    weights = np.ones((1, len(pairs.relevant))) if counts is None else counts.astype(np.float64)
    areas, overlaps = np.empty(len(weights)), np.empty(len(weights))
    for block in blocks(len(weights), 256):
        own, other = (_shares(weights[block] @ counted) for counted in (pairs.relevant, pairs.irrelevant))
        below = np.cumsum(other, axis=1)
        areas[block] = (own * (below - other / 2)).sum(axis=1)
        overlaps[block] = 1 - np.abs(below - np.cumsum(own, axis=1)).max(axis=1)
    return np.minimum(areas, 1.0), np.maximum(overlaps, 0.0)


def _shares(counted: Numbers) -> Numbers:
    total = counted.sum(axis=-1, keepdims=True)
    found: Numbers = np.divide(counted, total, out=np.full_like(counted, np.nan), where=total > 0)
    return found


def within(pairs: Binned) -> Numbers:
    """The AUC (q,) of each query's own pairs, ties half within a bin; NaN for a query without one of the two."""
    own, other = _shares(pairs.relevant), _shares(pairs.irrelevant)
    found: Numbers = (own * (np.cumsum(other, axis=1) - other / 2)).sum(axis=1)
    return found


@dataclass(frozen=True)
class Threshold:
    """A score, and what comes of taking all pairs from there on for relevant: precision and recall, with intervals."""

    score: float
    precision: float
    recall: float
    precision_interval: tuple[float, float]
    recall_interval: tuple[float, float]


def threshold(pairs: Binned, seed: int) -> Threshold | None:
    """The score of the best F1 on a random half of the queries, and its precision and recall on the other half.

    None where a half has fewer than LEAST_QUERIES queries, or where nothing of the other half reaches the score.
    """
    q = len(pairs.relevant)
    if q // 2 < LEAST_QUERIES:
        return None
    order = np.random.default_rng([seed, q, 7]).permutation(q)
    fitted, held = order[: q // 2], order[q // 2 :]
    hit, miss = (_from(counted[fitted].sum(axis=0)) for counted in (pairs.relevant, pairs.irrelevant))
    best = int(np.argmax(2 * hit / (hit + miss + hit[0])))
    found, wrong, asked = (
        pairs.relevant[held][:, best:].sum(axis=1),
        pairs.irrelevant[held][:, best:].sum(axis=1),
        pairs.relevant[held].sum(axis=1),
    )
    if found.sum() + wrong.sum() == 0:
        return None
    drawn = resamples(len(held), seed).astype(np.float64)
    kept, taken = drawn @ found, drawn @ (found + wrong)
    precisions = np.divide(kept, taken, out=np.full(len(drawn), np.nan), where=taken > 0)
    return Threshold(
        pairs.at(best),
        float(found.sum() / (found.sum() + wrong.sum())),
        float(found.sum() / asked.sum()),
        interval(precisions),
        interval(kept / (drawn @ asked)),
    )


def _from(counted: Numbers) -> Numbers:
    """How many are in each bin or above: (BINS,)."""
    found: Numbers = np.cumsum(counted[::-1])[::-1]
    return found


# --- the odds of an answer -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Odds:
    """The chance that an answer is right is 1 / (1 + exp(-(slope * score + constant))).

    `even` is the score at which it is one half, with its interval; None where the answers do not show one.
    """

    slope: float
    constant: float
    even: float | None
    even_interval: tuple[float, float] | None

    def chance(self, scores: Numbers) -> Numbers:
        """The chance that answers of these scores are right."""
        chances: Numbers = 0.5 * (1 + np.tanh((self.slope * scores + self.constant) / 2))
        return chances


def odds(scores: Numbers, right: npt.NDArray[np.bool_], seed: int, count: int = RESAMPLES // 5) -> Odds | None:
    """A logistic curve through the answers (q, k) of q queries, as Platt (1999) fits one; NaN scores are no answers.

    None with fewer than 10 right or 10 wrong answers. The score of even odds is given only where it is estimable:
    where in all but a fortieth of the resamples of queries the chance rises with the score, where the interval of that
    score lies within the scores that answers have, and where at least 10 answers reach it: a curve may be drawn beyond
    what was seen, and says nothing there.
    """
    there = np.isfinite(scores)
    hits = right & there
    if min(hits.sum(), (there & ~right).sum()) < LEAST_ANSWERS:
        return None
    points, answers = scores[there], hits[there]
    slope, constant = logistic(points, answers)
    evens, rising = [], 0
    which = np.broadcast_to(np.arange(len(scores))[:, None], scores.shape)[there]
    drawn = resamples(len(scores), seed, count)
    for block in blocks(count, max(1, POINTS_AT_ONCE // len(points))):
        weights = drawn[block][:, which].astype(np.float64)
        told = weights @ answers
        weights = weights[(told > 0) & (told < weights.sum(axis=1))]
        a, b = logistics(points, answers, weights)
        rising += int((a > 0).sum())
        evens.extend(np.divide(-b, a, out=np.full(len(a), np.inf), where=a > 0).tolist())
    low, high = (float(v) for v in np.quantile(evens, [0.025, 0.975], method="nearest")) if evens else (np.inf, np.inf)
    seen = scores[there]
    even = -constant / slope if slope > 0 else np.inf
    reached = int((seen >= even).sum()) >= LEAST_ANSWERS
    if rising < 0.975 * count or not reached or not seen.min() <= low <= high <= seen.max():
        return Odds(slope, constant, None, None)
    return Odds(slope, constant, even, (low, high))


def logistic(scores: Numbers, right: npt.NDArray[np.bool_], weights: Numbers | None = None) -> tuple[float, float]:
    """Slope and constant of the likeliest logistic curve through points (n,): `logistics` with one row of weights."""
    rows = np.ones((1, len(scores))) if weights is None else np.asarray(weights, dtype=np.float64)[None]
    slopes, constants = logistics(scores, right, rows)
    return float(slopes[0]), float(constants[0])


def logistics(scores: Numbers, right: npt.NDArray[np.bool_], weights: Numbers) -> tuple[Numbers, Numbers]:
    """Slopes and constants (c,) of the likeliest logistic curves through points (n,) weighted by each row (c, n).

    By Newton's method, all rows at once, each until it moves no more. The targets are Platt's, (n1 + 1) / (n1 + 2) and
    1 / (n0 + 2), which keep the slope finite where a score separates right from wrong.
    """
    heft = weights.sum(axis=1)
    hits = weights @ right
    misses = heft - hits
    middle = weights @ scores / heft
    x = scores - middle[:, None]
    spread = np.sqrt((weights * x**2).sum(axis=1) / heft)
    slopes, constants = np.zeros(len(weights)), np.log((hits + 1) / (misses + 1))
    apart = np.flatnonzero(spread > 1e-12 * np.maximum(1.0, np.abs(middle)))
    hits, misses, w, x = hits[apart, None], misses[apart, None], weights[apart], x[apart] / spread[apart, None]
    a, b = _newton(x, np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2)), w, constants[apart])
    slopes[apart] = a / spread[apart]
    constants[apart] = b - slopes[apart] * middle[apart]
    return slopes, constants


def _newton(x: Numbers, target: Numbers, w: Numbers, start: Numbers) -> tuple[Numbers, Numbers]:
    """Slopes and constants (c,) that minimise the weighted cross entropy of rows (c, n), from slope 0."""
    a, b = np.zeros(len(x)), start.copy()
    loss = np.full(len(x), np.inf)
    going = np.arange(len(x))
    for _ in range(STEPS):
        if not len(going):
            break
        here, aim, share = x[going], target[going], w[going]
        p = 0.5 * (1 + np.tanh((a[going, None] * here + b[going, None]) / 2))
        slack, heft = share * (aim - p), share * p * (1 - p) + 1e-12
        first, second, third = (heft * here * here).sum(axis=1), (heft * here).sum(axis=1), heft.sum(axis=1)
        # A little of the trace keeps the curvature invertible.
        first, third = first + 1e-9 * (first + third), third + 1e-9 * (first + third)
        up, level = (slack * here).sum(axis=1), slack.sum(axis=1)
        wide = first * third - second**2
        step = np.stack([third * up - second * level, first * level - second * up]) / wide
        now = np.empty(len(going))
        high = np.arange(len(going))
        # Half the step where a whole one overshoots.
        for _ in range(30):
            logits = (a[going[high]] + step[0, high])[:, None] * here[high]
            logits += (b[going[high]] + step[1, high])[:, None]
            now[high] = _cross_entropy(logits, aim[high], share[high])
            high = high[now[high] > loss[going[high]]]
            if not len(high):
                break
            step[:, high] /= 2
        a[going], b[going] = a[going] + step[0], b[going] + step[1]
        moved = loss[going] - now > 1e-12 * (1 + np.abs(now))
        loss[going] = now
        going = going[moved]
    return a, b


def _cross_entropy(logits: Numbers, target: Numbers, weights: Numbers) -> Numbers:
    losses: Numbers = (weights * (np.logaddexp(0.0, logits) - target * logits)).sum(axis=-1)
    return losses
