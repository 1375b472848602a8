"""How sure a mean is: of few values, and of many that are all alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from mmretrieval.diagnostics.sampling import interval, means, resamples, share_interval, student, unseen


@pytest.mark.parametrize("m", [2, 3, 5, 13])
def test_students_interval_holds_the_truth_as_often_as_it_says(m):
    values = 6.0 + np.random.default_rng(m).normal(size=(4000, m))
    low, high = student(values)
    assert ((low <= 6.0) & (high >= 6.0)).mean() == pytest.approx(0.95, abs=0.012)
    theirs = t.interval(0.95, m - 1, loc=values[7].mean(), scale=values[7].std(ddof=1) / np.sqrt(m))
    assert (low[7], high[7]) == pytest.approx(theirs)


@given(st.integers(1, 400))
def test_what_was_never_seen_may_be_as_common_as_clopper_and_pearson_say(n):
    for seen in (0, n):
        exact = binomtest(seen, n).proportion_ci(0.95, "exact")
        assert unseen(np.full(n, seen / n)) == pytest.approx((exact.low, exact.high))
    low, high = unseen(np.full(n, 0.5))
    assert (low + high) / 2 == pytest.approx(0.5)
    assert high - low == pytest.approx(1 - 0.025 ** (1 / n))
    assert unseen(np.zeros(n), least=-1.0) == pytest.approx((-(high - low), high - low))
    assert n == 1 or unseen(np.arange(n) / n) is None


def test_a_share_has_the_bootstraps_interval_but_where_all_are_alike():
    counts = resamples(40, 0)
    some = (np.arange(40) < 11).astype(np.float64)
    assert share_interval(some, means(some, counts)) == interval(means(some, counts))
    every = np.ones(40)
    assert share_interval(every, means(every, counts)) == pytest.approx((0.025 ** (1 / 40), 1.0))


def test_intervals_of_rare_things_hold_the_truth_where_a_bootstrap_alone_has_no_width():
    n, truth, chance = 30, 0.02, np.random.default_rng(0)
    counts = resamples(n, 0)
    draws = (chance.random((400, n)) < truth).astype(np.float64)
    spans = [(share_interval(one, means(one, counts)), interval(means(one, counts))) for one in draws]
    ours, plain = (np.mean([low <= truth <= high for low, high in side]) for side in zip(*spans, strict=True))
    assert plain < 0.6 and ours > 0.9
