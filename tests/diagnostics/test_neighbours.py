"""Exact neighbours: against a plain float64 search, among copies, and where float32 cannot tell the order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmretrieval.diagnostics.neighbours import nearest, nearest_distinct, nearest_of
from mmretrieval.geometry import directions


def slow(asked, rows, k, own=None):
    """Distances of the k nearest, from differences of float64 directions."""
    a, b = directions(asked), directions(rows)
    found = []
    for i, row in enumerate(a):
        distances = np.linalg.norm(b - row, axis=1)
        if own is not None:
            distances[own[i]] = np.inf
        found.append(np.sort(distances)[:k])
    return np.array(found)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 60), st.integers(1, 12), st.booleans())
def test_distances_equal_those_of_a_plain_search(seed, n, k, ties):
    chance = np.random.default_rng(seed)
    # Small whole numbers make equal rows and equal distances.
    rows = chance.integers(-2, 3, size=(n, 4)) if ties else chance.normal(size=(n, 4))
    rows = rows.astype(np.float32)
    rows[~rows.any(axis=1)] = 1.0
    k = min(k, n - 1)
    found = nearest(rows, k)
    assert found.distances == pytest.approx(slow(rows, rows, k, np.arange(n)), abs=1e-12)
    assert (found.places != np.arange(n)[:, None]).all()
    a = directions(rows)
    assert np.linalg.norm(a[found.places] - a[:, None], axis=2) == pytest.approx(found.distances, abs=1e-12)


def test_the_order_holds_where_float32_cannot_tell_it():
    chance = np.random.default_rng(0)
    # A cone so narrow that all products round to a few float32 values.
    rows = (np.ones(32) + 1e-4 * chance.normal(size=(300, 32))).astype(np.float32)
    assert len(np.unique(directions(rows).astype(np.float32) @ directions(rows[0]).astype(np.float32))) < 60
    found = nearest(rows, 7)
    assert found.distances == pytest.approx(slow(rows, rows, 7, np.arange(300)), rel=1e-9)


def test_questions_may_find_every_row_and_more_is_refused():
    chance = np.random.default_rng(1)
    rows, asked = chance.normal(size=(5, 8)), chance.normal(size=(3, 8))
    found = nearest_of(asked, rows, 5)
    assert [sorted(p) for p in found.places.tolist()] == [[0, 1, 2, 3, 4]] * 3
    with pytest.raises(ValueError, match="6 neighbours"):
        nearest_of(asked, rows, 6)
    with pytest.raises(ValueError, match="among 4 rows"):
        nearest(rows, 5)


@pytest.mark.parametrize("n", [4, 60])
def test_some_may_have_no_row_of_their_own(n):
    rows = np.random.default_rng(3).normal(size=(n, 5))
    found = nearest_of(rows, rows, 3, np.array([-1, *range(1, n)]))
    assert found.distances[0] == pytest.approx(slow(rows[:1], rows, 3)[0], abs=1e-12)
    assert found.places[0, 0] == 0
    assert found.distances[1:] == pytest.approx(slow(rows, rows, 3, np.arange(n))[1:])


def test_copies_stand_as_the_first_of_them():
    chance = np.random.default_rng(2)
    rows = chance.normal(size=(40, 16)).astype(np.float32)
    rows[10:35] = rows[3]  # more copies than neighbours are looked at
    rows[36] = rows[35] * 2.5  # another length, the same direction
    rows[37] = rows[35] + np.float32(3e-7)  # no float32 row can be told from it
    found = nearest_distinct(rows, 5)
    assert found.kept.tolist() == [*range(10), 35, 38, 39]
    assert found.kept[found.standing].tolist() == [*range(10), *[3] * 25, 35, 35, 35, 38, 39]
    assert found.near.distances == pytest.approx(slow(rows[found.kept], rows[found.kept], 5, np.arange(13)))
    assert found.near.distances.min() > 1e-3


def test_a_chain_of_near_copies_ends_at_its_first():
    angles = np.array([0.0, 0.8e-6, 1.6e-6, 2.4e-6, 1.0, 2.0])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = nearest_distinct(rows, 2)
    assert found.kept.tolist() == [0, 4, 5]
    assert found.standing.tolist() == [0, 0, 0, 0, 1, 2]


def test_nothing_but_copies_has_no_neighbours():
    found = nearest_distinct(np.ones((6, 3), dtype=np.float32), 2)
    assert found.kept.tolist() == [0]
    assert found.near.distances.shape == (1, 0)
