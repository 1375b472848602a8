"""How often items are found, and what that has to do with their own volume."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, rankdata, spearmanr

from mmretrieval.diagnostics import prior
from mmretrieval.diagnostics.prior import RANKINGS, Retrieved, among_first, correlated, midranks, retrieved, tenth_share
from mmretrieval.diagnostics.sampling import resamples
from mmretrieval.geometry import directions, gram_factors, unit

seeds = st.integers(0, 2**32 - 1)


def slow_counts(queries, own, top, itself):
    """Every query's ranking written out, four ways; scores are distinct."""
    counts = {name: np.zeros(len(own)) for name in RANKINGS}
    for q, query in enumerate(queries):
        volumes, sines = gram_factors(query, own)
        cosines = directions(own) @ directions(query)
        guarded = np.where(cosines.min(axis=1) < 0, cosines.min(axis=1), 1 - volumes * sines)
        for name, scores in zip(RANKINGS, (-volumes * sines, guarded, -sines, cosines.mean(axis=1)), strict=True):
            order = [i for i in np.argsort(-scores) if i != itself[q]]
            counts[name][order[:top]] += 1
    return counts


@given(seeds, st.integers(2, 12), st.integers(1, 3), st.data())
def test_counts_equal_rankings_written_out(seed, n, k, data):
    generator = np.random.default_rng(seed)
    queries, own = generator.normal(size=(5, 6)), generator.normal(size=(n, k, 6))
    top = data.draw(st.integers(1, n - 1))
    itself = generator.integers(-1, n, size=5)
    found = retrieved(queries, own, top, itself)
    for name, counts in slow_counts(queries, own, top, itself).items():
        np.testing.assert_array_equal(found.times[name], counts)
        assert found.times[name].sum() == pytest.approx(5 * top)
    assert (found.asked, found.top) == (5, top)


def test_many_questions_are_ranked_in_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    queries, own = generator.normal(size=(20, 6)), generator.normal(size=(9, 2, 6))
    whole = retrieved(queries, own, 3, np.arange(20) % 9)
    monkeypatch.setattr(prior, "SCORES_AT_ONCE", 9 * 2 * 3)
    parts = retrieved(queries, own, 3, np.arange(20) % 9)
    for name in RANKINGS:
        np.testing.assert_array_equal(parts.times[name], whole.times[name])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.data())
def test_ties_at_the_end_share_what_is_left(values, data):
    top = data.draw(st.integers(1, len(values)))
    membership = among_first(np.array([values], dtype=np.float64), top)[0]
    assert membership.sum() == pytest.approx(top)
    for value, share in zip(values, membership, strict=True):
        above, equal = sum(v > value for v in values), values.count(value)
        assert share == pytest.approx(min(max((top - above) / equal, 0.0), 1.0))


@given(seeds, st.integers(2, 15))
def test_ranks_under_weights_are_those_of_copies(seed, n):
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 5, size=n) / 4
    weights = generator.integers(0, 4, size=(3, n)).astype(float)
    for weight, ranks in zip(weights, midranks(values, weights), strict=True):
        copied = np.repeat(np.arange(n), weight.astype(int))
        np.testing.assert_allclose(ranks[copied], rankdata(values[copied]) - 0.5)


@given(seeds, st.integers(4, 40))
def test_correlations_are_scipys_and_intervals_those_of_resampled_items(seed, n):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=n)
    y = np.round(x + generator.normal(size=n))
    if np.ptp(y) == 0:
        return
    counts = resamples(n, 0, 20)
    values = correlated(x, y, counts)
    assert values["spearman"][0] == pytest.approx(spearmanr(x, y).statistic)
    assert values["pearson"][0] == pytest.approx(pearsonr(x, y).statistic)
    slow = []
    for count in counts:
        copied = np.repeat(np.arange(n), count.astype(int))
        if np.ptp(x[copied]) > 0 and np.ptp(y[copied]) > 0:
            slow.append(spearmanr(x[copied], y[copied]).statistic)
    assert values["spearman"][1] == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])))


def test_what_does_not_vary_has_no_correlation():
    x = np.arange(6.0)
    assert correlated(x, np.ones(6), resamples(6, 0, 10)) == {}
    assert correlated(np.ones(6) + 1e-12 * x, x, resamples(6, 0, 10)) == {}


def test_items_with_nearly_collinear_views_win_by_volume_and_not_by_sine():
    generator = np.random.default_rng(5)
    n, d = 300, 48
    first = generator.normal(size=(n, d))
    apart = generator.uniform(0.05, 2.0, size=(n, 1))
    own = unit(np.stack([first, first + apart * generator.normal(size=(n, d))], axis=1))
    found = retrieved(generator.normal(size=(400, d)), own, 10)
    counts = resamples(n, 0)
    by_volume = correlated(found.own, found.times["volume"], counts)["spearman"]
    by_sine = correlated(found.own, found.times["sine"], counts)["spearman"]
    assert by_volume[1][1] < -0.1
    assert by_volume[0] < by_sine[0]
    assert tenth_share(found, "volume")[0] > 0.9
    assert tenth_share(found, "sine")[0] < 0.2
    assert (tenth_share(found, "volume", counts) > tenth_share(found, "sine", counts)).all()


def test_the_share_of_the_smallest_tenth_is_a_tenth_where_all_are_equal():
    found = Retrieved(np.ones(40), {"volume": np.arange(40.0)}, 78, 10)
    assert tenth_share(found, "volume")[0] == pytest.approx(0.1)
    twice = np.array([[2.0] * 20 + [1.0] * 20], dtype=np.float32)
    expected = (2 * 190 * 0.1 + 590 * 0.1) / (2 * 190 + 590)
    assert tenth_share(found, "volume", twice)[0] == pytest.approx(expected)
