"""Precomputed factors against the volume itself: for any query, near and in the span, and where views depend."""

import math
from pathlib import Path

import numpy as np
import pytest
from dependent_rows import some_tuples
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.geometry import GramFactors, directions, gram_factors, gram_volume

GOLDEN = Path(__file__).parent.parent / "golden"
seeds = st.integers(0, 2**32 - 1)


def slow(query, views):
    return gram_volume(np.concatenate([np.broadcast_to(query, (len(views), 1, len(query))), views], axis=1))


@given(seeds, st.integers(1, 4), st.integers(5, 40), st.sampled_from(["any", "copy", "near", "inside"]))
def test_the_volume_is_that_of_the_slow_form(seed, k, d, where):
    generator = np.random.default_rng(seed)
    views = some_tuples(seed, 8, k, d)
    query = {
        "any": generator.normal(size=d),
        "copy": views[0, 0],
        "near": views[0, 0] + 10.0 ** -generator.integers(2, 12) * generator.normal(size=d),
        "inside": views[0].sum(axis=0) + views[0, 0],
    }[where]
    query = directions(query)
    factors = GramFactors.of(views)
    np.testing.assert_allclose(factors.volumes(query), slow(query, views), atol=1e-10)
    own, sines = gram_factors(query, views)
    np.testing.assert_array_equal(factors.own, own)
    np.testing.assert_allclose(factors.sines(query), sines, atol=1e-13)


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_agrees_with_the_authors(k):
    arrays = np.load(GOLDEN / "gram_volume.npz")
    views = np.stack([arrays[f"in_{name}"] for name in "vasd"[: k - 1]], axis=1)
    ours, theirs = GramFactors.of(views).volumes(arrays["in_t"][:40]), arrays[f"out_vol{k}_f64"]
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    clear = theirs > 0.05
    np.testing.assert_allclose(ours[clear], theirs[clear], atol=2e-5)


@given(seeds, st.integers(1, 3), st.integers(1, 6))
def test_many_queries_are_each_of_them_alone(seed, k, count):
    views = some_tuples(seed, 7, k, 9)
    queries = directions(np.random.default_rng(seed + 1).normal(size=(count, 9)))
    queries[0] = views[3, 0]
    factors = GramFactors.of(views)
    together = factors.sines(queries)
    assert together.shape == (count, 7)
    np.testing.assert_allclose(together, [factors.sines(query) for query in queries], atol=1e-13)


@pytest.mark.parametrize("exponent", range(1, 12))
def test_a_small_sine_keeps_its_digits(exponent):
    a, b, c = np.linalg.qr(np.random.default_rng(exponent).normal(size=(64, 3)))[0].T
    angle = 10.0**-exponent
    query = math.cos(angle) * (0.6 * a + 0.8 * b) + math.sin(angle) * c
    factors = GramFactors.of(np.array([[a, directions(a + b)]]))
    assert factors.sines(query)[0] == pytest.approx(math.sin(angle), rel=1e-4, abs=0)
    assert factors.own[0] == pytest.approx(math.sqrt(0.5))


def test_copies_have_no_volume_and_orthogonal_frames_all_of_it():
    a, b, c, d = np.eye(4)
    factors = GramFactors.of(np.array([[a, b], [c, c], [b, -b], [c, d]]))
    np.testing.assert_array_equal(factors.own, [1.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(factors.volumes(a), [0.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(factors.sines(c), [1.0, 0.0, 1.0, 0.0])


def test_what_has_no_direction_has_no_volume():
    a, b, c = np.eye(3)
    factors = GramFactors.of(np.array([[a, b], [a, np.zeros(3)]], dtype=np.float32))
    np.testing.assert_array_equal(factors.volumes(c), [1.0, 0.0])
    np.testing.assert_array_equal(factors.volumes(np.zeros((2, 3))), np.zeros((2, 2)))
    assert GramFactors.of(np.zeros((0, 2, 3))).volumes(a).shape == (0,)


def test_lengths_do_not_count():
    views = some_tuples(3, 6, 2, 5)
    query = np.random.default_rng(3).normal(size=5)
    np.testing.assert_allclose(
        GramFactors.of(views * 7.0).volumes(query * 0.1), GramFactors.of(views).volumes(query), atol=1e-12
    )
