"""The composer `sum`: a weighted sum that depends on nothing but the parts and their proportions."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.errors import BadQuery
from mmretrieval.geometry import unit
from mmretrieval.search import COMPOSERS

weighted_sum = COMPOSERS["sum"].run
seeds = st.integers(0, 2**32 - 1)
weights = st.lists(st.floats(0.05, 10.0).flatmap(lambda w: st.sampled_from([w, -w])), min_size=1, max_size=6)


def some_parts(seed, p, d=24):
    return unit(np.random.default_rng(seed).normal(size=(p, d)))


@given(seeds, weights)
def test_equals_the_formula(seed, w):
    parts = some_parts(seed, len(w))
    total = np.zeros(24)
    for row, weight in zip(parts, w, strict=True):
        total += weight / sum(map(abs, w)) * row.astype(np.float64)
    composed = weighted_sum(parts, w)
    assert composed.dtype == np.float32
    assert composed.shape == (24,)
    np.testing.assert_allclose(composed, total / np.linalg.norm(total), atol=1e-6)


@given(seeds, weights, st.floats(1e-300, 1e300))
def test_the_scale_of_all_weights_changes_nothing(seed, w, scale):
    parts = some_parts(seed, len(w))
    np.testing.assert_allclose(weighted_sum(parts, [x * scale for x in w]), weighted_sum(parts, w), atol=1e-6)


@given(seeds, weights, st.randoms(use_true_random=False))
def test_the_order_of_the_parts_changes_no_bit(seed, w, random):
    parts = some_parts(seed, len(w))
    order = random.sample(range(len(w)), len(w))
    np.testing.assert_array_equal(weighted_sum(parts[order], np.array(w)[order]), weighted_sum(parts, w))


def test_nor_does_it_where_the_parts_nearly_cancel_and_the_order_of_a_plain_sum_would_show():
    base, *others = some_parts(6, 4, d=20_000)
    parts = unit(np.stack([base, *(base + 1e-4 * other for other in others)]))
    w = np.array([1.0, 0.7, -0.8, -0.9])
    first = weighted_sum(parts, w)
    for order in itertools.permutations(range(4)):
        np.testing.assert_array_equal(weighted_sum(parts[list(order)], w[list(order)]), first)


@given(seeds, weights, st.integers(0, 6))
def test_a_part_of_weight_zero_is_as_good_as_absent(seed, w, place):
    parts = some_parts(seed, len(w) + 1)
    place = min(place, len(w))
    with_zero = [*w[:place], 0.0, *w[place:]]
    np.testing.assert_array_equal(weighted_sum(parts, with_zero), weighted_sum(np.delete(parts, place, axis=0), w))


def test_one_part_is_itself_and_a_negative_one_its_opposite():
    (part,) = parts = some_parts(1, 1)
    np.testing.assert_allclose(weighted_sum(parts, [7.0]), part, atol=1e-7)
    np.testing.assert_allclose(weighted_sum(parts, [-0.3]), -part, atol=1e-7)


def test_a_negative_weight_pushes_away():
    wanted, avoided = some_parts(2, 2)
    composed = weighted_sum(np.stack([wanted, avoided]), [1.0, -0.5])
    assert composed @ avoided < wanted @ avoided
    assert composed @ wanted > 0


def test_weights_at_the_end_of_the_range_of_float():
    parts = some_parts(3, 2)
    expected = weighted_sum(parts, [1.0, 1.0])
    np.testing.assert_allclose(weighted_sum(parts, [1e308, 1e308]), expected, atol=1e-6)
    np.testing.assert_allclose(weighted_sum(parts, [5e-324, 5e-324]), expected, atol=1e-6)


@given(seeds, st.floats(0.01, 100.0))
def test_parts_that_cancel_out_are_refused(seed, w):
    (part,) = some_parts(seed, 1)
    with pytest.raises(BadQuery, match="cancel out"):
        weighted_sum(np.stack([part, part]), [w, -w])


def test_parts_that_nearly_cancel_are_not():
    part, other = some_parts(4, 2)
    np.testing.assert_allclose(weighted_sum(np.stack([part, part]), [1.0, -0.999]), part, atol=1e-3)
    near = unit((part + 1e-3 * other)[None])[0]
    assert np.linalg.norm(weighted_sum(np.stack([part, near]), [1.0, -1.0])) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("parts", "w", "said"),
    [
        (np.eye(2), [0.0, 0.0], "no part of the query has a weight"),
        (np.zeros((0, 2)), [], "no part of the query has a weight"),
        (np.eye(2), [1.0, float("nan")], "finite numbers, not 1, nan"),
        (np.eye(2), [float("inf"), 1.0], "finite numbers, not inf, 1"),
        (np.zeros((2, 2)), [1.0, 1.0], "no part of the query has a direction"),
    ],
)
def test_what_has_no_answer_says_why(parts, w, said):
    with pytest.raises(BadQuery, match=said):
        weighted_sum(parts.astype(np.float32), w)


def test_a_zero_part_beside_others_adds_nothing():
    (part,) = some_parts(5, 1)
    np.testing.assert_allclose(weighted_sum(np.stack([part, 0 * part]), [1.0, 3.0]), part, atol=1e-7)
