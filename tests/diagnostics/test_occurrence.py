"""Counts of retrievals: hand-computed cases, chance in closed form against draws, and each query's influence."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmretrieval.diagnostics.occurrence import (
    by_chance,
    chance_counts,
    measures,
    occurrences,
    robin_hood,
    skewness,
)

seeds = st.integers(0, 2**32 - 1)


def drawn(generator, n, q, k, weights=None):
    """Lists (q, k) of k different places each, the heavier ones more often."""
    keys = generator.random((q, n)) ** (1.0 / (np.ones(n) if weights is None else weights))
    return np.argsort(-keys, axis=1)[:, :k]


def test_by_hand():
    lists = np.array([[0, 1], [0, 2], [0, 3]])
    counts = occurrences(lists, 5)
    assert counts.tolist() == [3, 1, 1, 1, 0]
    # Mean 1.2; deviations 1.8, -0.2, -0.2, -0.2, -1.2.
    second, third = (3.24 + 3 * 0.04 + 1.44) / 5, (5.832 - 3 * 0.008 - 1.728) / 5
    assert skewness(counts) == pytest.approx(third / second**1.5)
    assert robin_hood(counts) == pytest.approx(1.8 / 6)
    said = {
        name: measure.value for name, measure in measures(lists, 5, {0: np.array([2]), 1: np.array([4, 2])}).items()
    }
    assert said == pytest.approx(
        {
            "skewness": third / second**1.5,
            "never_retrieved": 0.2,
            "robin_hood": 0.3,
            "largest_share": 1.0,
            "first_largest_share": 1.0,
            "found": 0.5,
        }
    )


def test_equal_counts_have_no_skew_and_one_item_that_takes_all_has_the_most():
    assert skewness(np.full(7, 1000)) == 0.0
    assert robin_hood(np.full(7, 1000)) == 0.0
    # One of n items takes all: skewness (n - 2) / sqrt(n - 1), and (n - 1) / n of the retrievals would have to move.
    for n in (3, 10, 1000):
        counts = np.zeros(n)
        counts[n // 2] = 1e6
        assert skewness(counts) == pytest.approx((n - 2) / math.sqrt(n - 1))
        assert robin_hood(counts) == pytest.approx((n - 1) / n)
    assert robin_hood(np.zeros(4)) == 0.0


@given(seeds, st.integers(2, 40), st.integers(2, 30))
@settings(max_examples=40, deadline=None)
def test_influences_are_those_of_leaving_a_query_out(seed, n, q):
    generator = np.random.default_rng(seed)
    k = int(generator.integers(1, n // 2 + 1))
    lists = drawn(generator, n, q, k, generator.random(n) * 5 + 0.1)
    relevant = {i: generator.integers(0, n, size=2) for i in range(0, q, 2)}
    said = measures(lists, n, relevant)
    without = [occurrences(np.delete(lists, i, axis=0), n) for i in range(q)]
    for name, left in (
        ("skewness", np.array([skewness(c) for c in without])),
        ("robin_hood", np.array([robin_hood(c) for c in without])),
        ("never_retrieved", np.array([(c == 0).mean() for c in without])),
    ):
        np.testing.assert_allclose(said[name].influence, -(q - 1) * (left - left.mean()), atol=1e-8)
    hub = occurrences(lists, n).argmax()
    inside = np.array([hub in row for row in lists.tolist()])
    np.testing.assert_allclose(said["largest_share"].influence, inside - inside.mean(), atol=1e-12)
    right = np.array([bool(set(lists[i].tolist()) & set(places.tolist())) for i, places in relevant.items()])
    assert said["found"].value == pytest.approx(right.mean())
    for measure in said.values():
        assert np.isfinite(measure.influence).all()
        assert measure.influence.mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("hubs", [False, True])
def test_influences_spread_as_fresh_questions_do(hubs):
    """The spread from one set of queries, against the spread over many sets; too large rather than too small."""
    generator = np.random.default_rng(5)
    n, q, k = 60, 24, 5
    weights = np.exp(generator.normal(size=n)) if hubs else None
    sets = [measures(drawn(generator, n, q, k, weights), n) for _ in range(150)]
    for name in ("skewness", "robin_hood", "never_retrieved"):
        true = np.std([said[name].value for said in sets])
        estimated = np.sqrt(np.mean([(said[name].influence ** 2).sum() / q**2 for said in sets]))
        assert 0.85 * true < estimated < 2.0 * true, name


@pytest.mark.parametrize(("n", "q", "k"), [(50, 40, 10), (30, 500, 3), (12, 9, 6), (400, 30, 1)])
def test_chance_is_what_random_lists_give(n, q, k):
    generator = np.random.default_rng(7)
    counts = np.stack([occurrences(drawn(generator, n, q, k), n) for _ in range(300)])
    expected = by_chance(n, q, k)

    def close(values, promised):
        assert abs(np.mean(values) - promised) < 4 * np.std(values) / math.sqrt(len(values)) + 1e-12

    close((counts == 0).mean(axis=1), expected["never_retrieved"])
    close([robin_hood(c) for c in counts], expected["robin_hood"])
    # Of the pooled counts, since the skewness of few counts is not that of their distribution.
    assert skewness(counts.ravel()) == pytest.approx(expected["skewness"], abs=0.15)
    assert counts.max(axis=1).mean() / q == pytest.approx(expected["largest_share"], rel=0.1)
    ranks = np.arange(1, n + 1)
    curve = np.sort(counts, axis=1)[:, ::-1].mean(axis=0)
    np.testing.assert_allclose(chance_counts(n, q, k, ranks.astype(float)), curve, atol=0.15 * curve.max() + 0.6)


def test_chance_by_hand():
    # One of two items each time, four times: never found 1/16; N is 0 to 4 with 1, 4, 6, 4, 1 of 16, mean 2.
    said = by_chance(2, 4, 1)
    assert said["skewness"] == 0.0
    assert said["never_retrieved"] == pytest.approx(1 / 16)
    assert said["robin_hood"] == pytest.approx((2 * 2 + 8 * 1) / 16 / 4)
    upto = np.array([1, 5, 11, 15]) / 16
    assert said["largest_share"] == pytest.approx((1 - upto**2).sum() / 4)
