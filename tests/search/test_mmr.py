"""The reranker `mmr`: the formula written out, the order that Qdrant gives, and what it must leave alone."""

import itertools
import math
import uuid

import numpy as np
import pytest
import qdrant_edge as qe
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.geometry import cosine, directions, unit
from mmretrieval.search import ONE_VIEW, RERANKERS
from mmretrieval.search.mmr import mmr

seeds = st.integers(0, 2**32 - 1)
balances = st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]) | st.floats(0, 1)


def some_list(seed, n, d=5):
    """A query and a list of one view in which some items lack it, some are copies, and lengths differ."""
    generator = np.random.default_rng(seed)
    query = unit(generator.normal(size=d))
    rows = generator.normal(size=(n, d)) + query
    if n > 2:
        rows[generator.integers(n, size=n // 3)] = rows[generator.integers(n)]
    rows *= np.exp2(generator.integers(-1, 2, size=(n, 1)))
    present = generator.random(n) < 0.8
    return query, np.where(present[:, None], rows, 0).astype(np.float32), present


def seen(rows, present=None):
    return {"visual": (rows, np.ones(len(rows), dtype=bool) if present is None else present)}


def slow_picks(query, rows, balance):
    """Places in the order in which they are picked, with their values: every largest likeness is taken anew."""
    relevance = [float(directions(row) @ directions(query)) for row in rows]
    picked, values = [], []
    while len(picked) < len(rows):
        options = []
        for i in range(len(rows)):
            if i not in picked:
                largest = max((float(directions(rows[i]) @ directions(rows[j])) for j in picked), default=-1.0)
                options.append((balance * relevance[i] - (1 - balance) * largest, relevance[i], i))
        best = max(value for value, _, _ in options)
        near = [option for option in options if option[0] > best - 1e-9]  # rounding must not choose between copies
        top = max(option[1] for option in near)
        picked.append(min(i for _, r, i in near if r > top - 1e-9))
        values.append(best)
    return picked, values


def test_stands_in_the_table_and_compares_one_view():
    row = RERANKERS["mmr"]
    assert row.run is mmr
    assert "mmr" in ONE_VIEW
    assert [(p.name, p.default) for p in row.parameters] == [("l", 0.5), ("depth", 100)]


@given(seeds, st.integers(0, 12), st.integers(1, 14), balances)
def test_equals_the_formula_written_out_and_moves_nothing_else(seed, n, depth, balance):
    query, rows, present = some_list(seed, n)
    done = mmr(query, seen(rows, present), balance, depth)
    movable = [i for i in range(min(n, depth)) if present[i]]
    picked, values = slow_picks(query, rows[movable], balance)
    expected, scores = list(range(n)), dict.fromkeys(range(n), math.nan)
    for place, pick, value in zip(movable, picked, values, strict=True):
        expected[place] = movable[pick]
        scores[movable[pick]] = value
    assert done.order.tolist() == expected
    assert done.scores.tolist() == pytest.approx([scores[i] for i in range(n)], abs=1e-9, nan_ok=True)


@given(seeds, st.integers(1, 40), balances)
def test_scores_never_rise_along_the_list(seed, n, balance):
    query, rows, present = some_list(seed, n, d=3)
    done = mmr(query, seen(rows, present), balance, 100)
    moved = done.scores[done.order]
    moved = moved[~np.isnan(moved)]
    assert (np.diff(moved) <= 0).all()
    assert ((moved >= -1) & (moved <= 1)).all()


@given(seeds, st.integers(1, 20))
def test_a_balance_of_one_is_the_order_by_cosine(seed, n):
    query, rows, _ = some_list(seed, n)
    rows[~rows.any(axis=1)] = 1
    done = mmr(query, seen(rows), 1.0, 100)
    cosines = directions(rows) @ directions(query)
    np.testing.assert_allclose(done.scores, cosines, atol=1e-12)
    assert (np.diff(done.scores[done.order]) <= 0).all()


@given(seeds, st.integers(2, 20), balances)
def test_the_most_relevant_comes_first_whatever_the_balance(seed, n, balance):
    query, rows, _ = some_list(seed, n)
    rows[~rows.any(axis=1)] = 1
    cosines = directions(rows) @ directions(query)
    first = mmr(query, seen(rows), balance, 100).order[0]
    assert cosines[first] == pytest.approx(cosines.max(), abs=1e-12)


def test_a_balance_of_zero_takes_the_farthest_from_all_before():
    rows = unit(np.random.default_rng(4).normal(size=(25, 4)))
    order = mmr(rows[0], seen(rows), 0.0, 100).order
    assert order[0] == 0
    alike = cosine(rows, rows)
    for step in range(1, 25):
        largest = alike[order[step:]][:, order[:step]].max(axis=1)
        assert largest[0] == pytest.approx(largest.min(), abs=1e-12)


def test_copies_of_what_is_shown_come_last_and_keep_their_earlier_order():
    query = unit(np.array([1.0, 0.2, 0.1]))
    same, other, far = [1, 0.1, 0], [0.8, -0.5, 0.3], [0.6, 0.2, -0.9]
    rows = np.array([same, same, same, other, far], dtype=np.float32)
    assert mmr(query, seen(rows), 1.0, 100).order.tolist() == [0, 1, 2, 3, 4]
    order = mmr(query, seen(rows), 0.3, 100).order.tolist()
    assert order[0] == 0
    assert set(order[1:3]) == {3, 4}
    assert order[3:] == [1, 2]


def test_likeness_among_the_listed_falls_with_the_balance():
    generator = np.random.default_rng(6)
    crowds = np.repeat(generator.normal(size=(8, 16)), 12, axis=0)
    rows = unit(crowds + 0.4 * generator.normal(size=(96, 16)))
    query = unit(3 * rows[:12].mean(axis=0) + rows.mean(axis=0))
    means = []
    for balance in (1.0, 0.4, 0.2):
        top = rows[mmr(query, seen(rows), balance, 100).order[:10]]
        means.append(cosine(top, top)[np.triu_indices(10, 1)].mean())
    assert means[0] > means[1] > means[2]


@given(seeds, st.integers(1, 14), balances)
def test_lengths_do_not_count(seed, n, balance):
    query, rows, present = some_list(seed, n)
    plain = mmr(query, seen(rows, present), balance, 100)
    longer = mmr(query * np.float32(4), seen(rows * np.float32(0.25), present), balance, 100)
    np.testing.assert_array_equal(longer.order, plain.order)
    np.testing.assert_array_equal(longer.scores, plain.scores)


def test_what_gives_nothing_to_compare_changes_nothing():
    query, rows, present = some_list(2, 8)
    nobody = np.zeros(8, dtype=bool)
    for asked, views in ((0 * query, seen(rows, present)), (query, seen(0 * rows, nobody))):
        done = mmr(asked, views, 0.5, 100)
        assert done.order.tolist() == list(range(8))
        assert np.isnan(done.scores).all()
    assert len(mmr(query, seen(rows[:0]), 0.5, 100).order) == 0


def test_a_row_of_zeros_is_no_view():
    query, rows, _ = some_list(9, 12)
    present = rows.any(axis=1)
    np.testing.assert_array_equal(
        mmr(query, seen(rows), 0.5, 100).order, mmr(query, seen(rows, present), 0.5, 100).order
    )


@pytest.mark.parametrize("distance", [qe.Distance.Dot, qe.Distance.Cosine], ids=["dot", "cosine"])
def test_qdrant_picks_alike(tmp_path, distance):
    """Their lambda is ours: the REST interface has diversity = 1 - lambda."""
    generator = np.random.default_rng(1)
    crowds = np.repeat(generator.normal(size=(15, 24)), 8, axis=0)
    rows = unit(crowds + generator.normal(size=(120, 24)))
    names = [uuid.UUID(int=i + 1) for i in range(len(rows))]
    shard = qe.EdgeShard.create(
        str(tmp_path / "shard"), qe.EdgeConfig(vectors={"visual": qe.EdgeVectorParams(24, distance)})
    )
    points = [qe.Point(name, {"visual": row}, {}) for name, row in zip(names, rows, strict=True)]
    shard.update(qe.UpdateOperation.upsert_points(points))
    exact = qe.SearchParams(exact=True)
    for trial, balance, depth in itertools.product(range(6), (0.0, 0.3, 0.5, 0.8, 1.0), (1, 2, 60)):
        query = unit(generator.normal(size=24) + rows[trial])
        asked = qe.Mmr(query, lambda_=balance, candidates_limit=depth, using="visual")
        theirs = [p.id for p in shard.query(qe.QueryRequest(limit=depth, query=asked, params=exact))]
        order = np.argsort(-(rows @ query), kind="stable")
        done = mmr(query, seen(rows[order]), balance, depth)
        assert [names[order[place]] for place in done.order[:depth]] == theirs
    shard.close()
