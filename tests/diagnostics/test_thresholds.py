"""What a score says of an answer: against direct formulas, and distributions whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from mmretrieval.diagnostics import thresholds
from mmretrieval.diagnostics.thresholds import binned, logistic, logistics, odds, pooled, threshold, within


def drawn(q: int, n: int, shift: float = 1.0, spread: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of normal law, one relevant item a question higher by `shift`; questions' levels differ by `spread`."""
    rng = np.random.default_rng(seed)
    scores, relevant = rng.normal(size=(q, n)), np.zeros((q, n), dtype=bool)
    relevant[:, 0] = True
    return scores + shift * relevant + spread * rng.normal(size=(q, 1)), relevant


def slow_auc(own: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean([(a > other).mean() + (a == other).mean() / 2 for a in own]))


def test_auc_is_the_share_of_comparisons_won() -> None:
    scores, relevant = drawn(40, 50, spread=0.7)
    pairs = binned(scores, relevant, 1.0 - relevant)
    assert pooled(pairs)[0][0] == pytest.approx(slow_auc(scores[relevant], scores[~relevant]), abs=1e-3)
    slow = [slow_auc(row[seen], row[~seen]) for row, seen in zip(scores, relevant, strict=True)]
    np.testing.assert_allclose(within(pairs), slow, atol=0.02)
    assert within(pairs).mean() > pooled(pairs)[0][0] + 0.03, "levels of their own make questions hard to compare"


def test_counts_repeat_questions() -> None:
    scores, relevant = drawn(12, 20)
    counts = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=5).astype(np.float32)
    areas, overlaps = pooled(binned(scores, relevant, 1.0 - relevant), counts)
    for i, count in enumerate(counts):
        repeated = np.repeat(np.arange(12), count.astype(int))
        low, high = scores.min(), scores.max()
        again = np.concatenate([scores[repeated], [[low, high, *[low] * 18]]])
        seen = np.concatenate([relevant[repeated], np.zeros((1, 20), dtype=bool)])
        heft = np.concatenate([1.0 - relevant[repeated], np.zeros((1, 20))])
        expected = pooled(binned(again, seen, heft))
        assert (areas[i], overlaps[i]) == (pytest.approx(expected[0][0]), pytest.approx(expected[1][0]))


def test_two_normal_laws_have_the_area_and_overlap_of_the_textbook() -> None:
    rng = np.random.default_rng(2)
    scores = np.concatenate([rng.normal(1.5, 1, size=(50, 400)), rng.normal(0, 1, size=(50, 400))], axis=1)
    relevant = np.tile(np.arange(800) < 400, (50, 1))
    area, overlap = pooled(binned(scores, relevant, 1.0 - relevant))
    assert area[0] == pytest.approx(norm.cdf(1.5 / math.sqrt(2)), abs=0.01)
    assert overlap[0] == pytest.approx(2 * norm.cdf(-0.75), abs=0.015)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100), st.floats(-50, 50))
def test_scale_and_offset_of_scores_change_nothing(seed: int, scale: float, offset: float) -> None:
    scores, relevant = drawn(10, 30, seed=seed)
    before, after = (binned(s, relevant, 1.0 - relevant) for s in (scores, scale * scores + offset))
    assert pooled(after)[0][0] == pytest.approx(pooled(before)[0][0], abs=2e-3)
    assert pooled(after)[1][0] == pytest.approx(pooled(before)[1][0], abs=2e-2)


def test_what_separates_and_what_is_the_same() -> None:
    scores, relevant = drawn(20, 30, shift=100.0)
    area, overlap = pooled(binned(scores, relevant, 1.0 - relevant))
    assert (area[0], overlap[0]) == (1.0, 0.0)
    flat = binned(np.ones((20, 30)), relevant, 1.0 - relevant)
    assert pooled(flat)[0][0] == 0.5 and within(flat).mean() == 0.5 and pooled(flat)[1][0] == 1.0


def test_a_sampled_item_counts_for_those_it_stands_for() -> None:
    scores, relevant = drawn(60, 400, shift=2.0)
    whole = binned(scores, relevant, 1.0 - relevant)
    some = np.arange(400) < 101
    sampled = binned(scores[:, some], relevant[:, some], (1.0 - relevant)[:, some] * 3.99)
    assert sampled.irrelevant.sum() == pytest.approx(whole.irrelevant.sum())
    assert threshold(sampled, 0).precision == pytest.approx(threshold(whole, 0).precision, abs=0.12)


def test_a_threshold_is_chosen_on_one_half_and_judged_on_the_other() -> None:
    scores, relevant = drawn(3000, 30, shift=2.5)
    found = threshold(binned(scores, relevant, 1.0 - relevant), 0)
    # Two normal laws, 29 to 1: recall and precision at that score follow.
    recall = norm.sf(found.score - 2.5)
    precision = recall / (recall + 29 * norm.sf(found.score))
    assert found.recall == pytest.approx(recall, abs=0.06) and found.precision == pytest.approx(precision, abs=0.06)
    assert found.recall_interval[0] < found.recall < found.recall_interval[1]
    assert found.precision_interval[0] < found.precision < found.precision_interval[1]
    grid = np.linspace(-2, 5, 400)
    hit, miss = norm.sf(grid - 2.5), 29 * norm.sf(grid)
    assert found.score == pytest.approx(grid[np.argmax(2 * hit / (hit + miss + 1))], abs=0.3)
    assert threshold(binned(scores[:19], relevant[:19], 1.0 - relevant[:19]), 0) is None


# --- odds ----------------------------------------------------------------------------------------------------------


def test_the_curve_is_the_likeliest_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 0.2, size=3000)
    right = rng.random(3000) < 1 / (1 + np.exp(-(12 * x - 37)))
    slope, constant = logistic(x, right)
    theirs = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000).fit(x[:, None] * 10, right)
    assert slope == pytest.approx(theirs.coef_[0, 0] * 10, rel=0.02)  # Platt's targets make it a little flatter
    assert -constant / slope == pytest.approx(-theirs.intercept_[0] / theirs.coef_[0, 0] / 10, abs=0.005)
    weights = rng.integers(0, 3, size=3000).astype(float)
    repeated = np.repeat(np.arange(3000), weights.astype(int))
    np.testing.assert_allclose(logistic(x, right, weights), logistic(x[repeated], right[repeated]), rtol=1e-5)


def test_at_the_likeliest_curve_nothing_is_left_to_gain() -> None:
    # The gradient in Platt's targets, written out, is zero there.
    rng = np.random.default_rng(1)
    x = rng.normal(size=60)
    right = x + rng.normal(size=60) > 0.4
    slope, constant = logistic(x, right)
    n1, n0 = right.sum(), (~right).sum()
    slack = np.where(right, (n1 + 1) / (n1 + 2), 1 / (n0 + 2)) - 1 / (1 + np.exp(-(slope * x + constant)))
    assert slack.sum() == pytest.approx(0, abs=1e-4) and (slack * x).sum() == pytest.approx(0, abs=1e-4)


def test_separated_and_constant_scores_have_finite_curves() -> None:
    x = np.concatenate([np.linspace(0, 1, 50), np.linspace(2, 3, 50)])
    slope, constant = logistic(x, np.arange(100) >= 50)
    assert np.isfinite([slope, constant]).all() and -constant / slope == pytest.approx(1.5, abs=0.05)
    assert logistic(np.ones(10), np.arange(10) < 3) == (0.0, math.log(4 / 8))


def test_even_odds_are_found_where_they_are() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(0.3, 0.1, size=(400, 5))
    right = rng.random((400, 5)) < 1 / (1 + np.exp(-30 * (scores - 0.35)))
    found = odds(scores, right, 0)
    assert found.even == pytest.approx(0.35, abs=0.02)
    low, high = found.even_interval
    assert low < 0.35 < high and high - low < 0.03
    np.testing.assert_allclose(found.chance(np.array([found.even])), 0.5)
    scores[:, 4] = np.nan
    assert odds(scores, right, 0).even == pytest.approx(0.35, abs=0.03)


def test_even_odds_that_cannot_be_seen_are_not_given() -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(0.3, 0.1, size=(300, 5))
    chance = rng.random((300, 5)) < 0.3
    assert odds(scores, chance, 0).even is None, "right answers have no higher scores than wrong ones"
    falling = rng.random((300, 5)) < 1 / (1 + np.exp(30 * (scores - 0.35)))
    assert odds(scores, falling, 0).even is None
    beyond = rng.random((300, 5)) < 1 / (1 + np.exp(-10 * (scores - 0.75)))
    found = odds(scores, beyond, 0)
    assert found is not None and found.slope > 0 and found.even is None, "no answer scores as high as it would have to"
    outlier = np.where(scores == scores.max(), 2.0, scores)  # one answer far beyond all others is no ground for a curve
    found = odds(outlier, beyond, 0)
    assert found is not None and found.even is None
    few = np.zeros((300, 5), dtype=bool)
    few[:9, 0] = True
    assert odds(scores, few, 0) is None and odds(scores, ~few, 0) is None
    assert thresholds.LEAST_ANSWERS == 10


def test_curves_fitted_together_are_those_fitted_one_by_one():
    chance = np.random.default_rng(0)
    x = chance.normal(size=60)
    right = x + chance.normal(size=60) > 0
    weights = chance.multinomial(60, np.full(60, 1 / 60), size=30).astype(np.float64)
    weights[0] = np.where(np.arange(60) == 5, 4.0, 0.0)  # one score, which says nothing of a slope
    weights[1] = (right == (x > 0)).astype(np.float64)  # a score that separates, and takes the most steps
    slopes, constants = logistics(x, right, weights)
    for row, slope, constant in zip(weights, slopes, constants, strict=True):
        assert (slope, constant) == pytest.approx(logistic(x, right, row), rel=1e-6)
    assert slopes[0] == 0.0
