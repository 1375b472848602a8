"""The reranker `maxsim`: the order of the encoder's own space, and what it must leave alone."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval import late
from mmretrieval.geometry import unit
from mmretrieval.search.maxsim import maxsim
from mmretrieval.store.late import Bags, ExactLateStore
from mmretrieval.types import Selection, Vectors

DIM = 6
seeds = st.integers(0, 2**32 - 1)


def some_list(seed, n, empty=0.25):
    """One query of several parts, one of which pushes away, and the listed items' bags, some of them empty."""
    generator = np.random.default_rng(seed)
    parts = [unit(generator.normal(size=(generator.integers(1, 5), DIM))) for _ in range(3)]
    query = late.composed(parts, [1.0, 0.5, -0.3])
    lengths = np.where(generator.random(n) < empty, 0, generator.integers(1, 6, size=n))
    return query, Vectors.joined([unit(generator.normal(size=(length, DIM))) for length in lengths], DIM)


def slow_score(query, bag):
    """Row by row, in plain numbers."""
    rows, weights = query
    return sum(
        float(weight) * max(math.fsum(float(a) * float(b) for a, b in zip(row, other, strict=True)) for other in bag)
        for row, weight in zip(rows, weights, strict=True)
    )


@given(seeds, st.integers(0, 12), st.integers(1, 14))
def test_equals_the_formula_written_out_and_moves_nothing_else(seed, n, depth):
    query, bags = some_list(seed, n)
    done = maxsim(query, bags, n, depth)
    movable = [i for i in range(min(n, depth)) if len(bags[i])]
    scores = {i: slow_score(query, bags[i]) for i in movable}
    expected = list(range(n))
    for place, item in zip(movable, sorted(movable, key=lambda i: -scores[i]), strict=True):
        expected[place] = item
    assert done.order.tolist() == expected
    assert done.scores.tolist() == pytest.approx([scores.get(i, math.nan) for i in range(n)], abs=1e-9, nan_ok=True)


@given(seeds, st.integers(1, 12))
def test_the_order_and_scores_are_those_of_a_search_in_its_own_space(seed, n):
    query, bags = some_list(seed, n, empty=0)
    ids = tuple(f"{i:02d}" for i in range(n))
    store = ExactLateStore({"visual": Bags(ids, bags)}, DIM, lambda _: frozenset())
    (found,) = store.search("visual", late.together([query], DIM), n, [Selection()])
    shuffled = np.random.default_rng(seed).permutation(n)
    done = maxsim(query, store.bags("visual", [ids[p] for p in shuffled]), n, n)
    assert tuple(ids[shuffled[p]] for p in done.order) == found.ids
    np.testing.assert_array_equal(done.scores[done.order], found.scores)


@given(seeds, st.integers(1, 12), st.integers(1, 12))
def test_bags_beyond_the_depth_need_not_be_there(seed, n, depth):
    query, bags = some_list(seed, n)
    first = late.taken(bags, range(min(n, depth)))
    whole, part = maxsim(query, bags, n, depth), maxsim(query, first, n, depth)
    np.testing.assert_array_equal(part.order, whole.order)
    np.testing.assert_array_equal(part.scores, whole.scores)


def test_copies_keep_their_earlier_order_and_weights_have_a_sign():
    query = (np.eye(2, DIM, dtype=np.float32), np.array([1.0, -0.5], dtype=np.float32))
    liked, loathed = np.eye(1, DIM, dtype=np.float32), np.eye(2, DIM, dtype=np.float32)
    bags = Vectors.joined([loathed, liked, loathed, liked], DIM)
    done = maxsim(query, bags, 4)
    assert done.order.tolist() == [1, 3, 0, 2]
    assert done.scores.tolist() == [0.5, 1.0, 0.5, 1.0]


def test_too_few_bags_are_refused_and_no_rows_or_items_change_nothing():
    query, bags = some_list(1, 3)
    with pytest.raises(ValueError, match="3 bags for the first 5 of 9"):
        maxsim(query, bags, 9, 5)
    nothing = (np.empty((0, DIM), dtype=np.float32), np.empty(0, dtype=np.float32))
    done = maxsim(nothing, bags, 3)
    assert done.order.tolist() == [0, 1, 2]
    assert np.isnan(done.scores).all()
    assert len(maxsim(query, Vectors.joined([], DIM), 0).order) == 0
