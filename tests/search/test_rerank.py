"""The rerankers `gram` and `span`: what they may move, where to, and by which score."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.geometry import directions, unit
from mmretrieval.search import RERANKERS

GOLDEN = Path(__file__).parent.parent / "golden"
BOTH = pytest.mark.parametrize("name", ["gram", "span"])
names = st.sampled_from(["gram", "span"])
seeds = st.integers(0, 2**32 - 1)
depths = st.integers(1, 14)


def some_list(seed, n, d=4, k=2):
    """A query and a list in which views are missing here and there, and some vectors oppose the query."""
    generator = np.random.default_rng(seed)
    query = unit(generator.normal(size=d))
    views = {}
    for view in ("visual", "text", "joint")[:k]:
        present = generator.random(n) < 0.75
        rows = unit(generator.normal(size=(n, d)) + 0.5 * query)
        views[view] = (np.where(present[:, None], rows, 0).astype(np.float32), present)
    return query, views


def slow_score(name, query, own):
    """1 - volume by a determinant, 1 - sine by least squares; the lowest cosine where it is negative."""
    asked, rows = query.astype(np.float64), own.astype(np.float64)
    cosines = rows @ asked / np.linalg.norm(rows, axis=1) / np.linalg.norm(asked)
    if cosines.min() < 0:
        return cosines.min()
    if name == "gram":
        tuples = directions(np.vstack([asked, rows]))
        return 1 - math.sqrt(max(np.linalg.det(tuples @ tuples.T), 0))
    weights, *_ = np.linalg.lstsq(rows.T, asked, rcond=None)
    return 1 - np.linalg.norm(asked - rows.T @ weights) / np.linalg.norm(asked)


@given(names, seeds, st.integers(0, 12), depths, st.integers(1, 3))
def test_equals_sorting_by_the_slow_score(name, seed, n, depth, k):
    query, views = some_list(seed, n, d=5, k=k)
    done = RERANKERS[name].run(query, views, depth)
    movable = [i for i in range(min(n, depth)) if all(present[i] for _, present in views.values())]
    scores = {i: slow_score(name, query, np.stack([rows[i] for rows, _ in views.values()])) for i in movable}
    expected = list(range(n))
    for place, item in zip(movable, sorted(movable, key=lambda i: -scores[i]), strict=True):
        expected[place] = item
    assert done.order.tolist() == expected
    for i in range(n):
        assert done.scores[i] == pytest.approx(scores.get(i, math.nan), abs=1e-6, nan_ok=True)


@given(names, seeds, st.integers(0, 12), depths)
def test_items_lacking_a_view_or_beyond_the_depth_are_never_moved(name, seed, n, depth):
    query, views = some_list(seed, n)
    done = RERANKERS[name].run(query, views, depth)
    whole = np.logical_and.reduce([present for _, present in views.values()])
    kept = ~whole | (np.arange(n) >= depth)
    assert sorted(done.order.tolist()) == list(range(n))
    np.testing.assert_array_equal(done.order[kept], np.flatnonzero(kept))
    np.testing.assert_array_equal(np.isnan(done.scores), kept)


@given(names, seeds, st.integers(1, 12))
def test_scores_fall_along_the_places_of_the_moved(name, seed, n):
    query, views = some_list(seed, n)
    done = RERANKERS[name].run(query, views, 100)
    moved = done.scores[done.order]
    moved = moved[~np.isnan(moved)]
    assert (np.diff(moved) <= 0).all()
    assert ((moved >= -1) & (moved <= 1)).all()


@given(names, seeds, st.integers(2, 12))
def test_an_opposed_item_comes_after_all_that_are_not(name, seed, n):
    query, views = some_list(seed, n)
    done = RERANKERS[name].run(query, views, 100)
    lowest = np.min([rows.astype(np.float64) @ query for rows, _ in views.values()], axis=0)
    scored = [i for i in done.order if not np.isnan(done.scores[i])]
    opposed = [bool(lowest[i] < 0) for i in scored]
    assert opposed == sorted(opposed)
    assert [i for i in scored if lowest[i] < 0] == sorted(
        [i for i in scored if lowest[i] < 0], key=lambda i: -lowest[i]
    )


@BOTH
def test_a_perfect_opposite_is_last_though_its_volume_is_zero(name):
    query = np.array([1, 0, 0], dtype=np.float32)
    rows = np.array([[-1, 0, 0], [0, 1, 0], [1, 0, 0]], dtype=np.float32)
    done = RERANKERS[name].run(query, {"visual": (rows, np.ones(3, dtype=bool))}, 100)
    assert done.order.tolist() == [2, 1, 0]
    assert done.scores.tolist() == [-1.0, 0.0, 1.0]


@BOTH
@given(seeds, st.integers(2, 12))
def test_equal_scores_keep_their_earlier_order(name, seed, n):
    query, views = some_list(seed, 1)
    generator = np.random.default_rng(seed)
    twins = generator.random(n) < 0.5
    rows = np.where(twins[:, None], views["visual"][0][0], unit(generator.normal(size=(n, 4)))).astype(np.float32)
    done = RERANKERS[name].run(query, {"visual": (rows, np.ones(n, dtype=bool))}, 100)
    same = [i for i in done.order.tolist() if twins[i]]
    assert same == sorted(same)


@BOTH
def test_lengths_do_not_count_and_zero_rows_are_no_view(name):
    query, views = some_list(7, 12)
    plain = RERANKERS[name].run(query, views, 100)
    longer = {view: (rows * np.float32(3.5), present) for view, (rows, present) in views.items()}
    scaled = RERANKERS[name].run(query * np.float32(0.2), longer, 100)
    np.testing.assert_array_equal(scaled.order, plain.order)
    np.testing.assert_allclose(scaled.scores, plain.scores, atol=1e-6)
    everywhere = {view: (rows, np.ones(12, dtype=bool)) for view, (rows, _) in views.items()}
    np.testing.assert_array_equal(RERANKERS[name].run(query, everywhere, 100).order, plain.order)


@BOTH
def test_what_gives_nothing_to_compare_changes_nothing(name):
    query, views = some_list(8, 6)
    nobody = {"visual": views["visual"], "text": (np.zeros((6, 4), dtype=np.float32), np.zeros(6, dtype=bool))}
    for asked, mapping in ((0 * query, views), (query, nobody)):
        done = RERANKERS[name].run(asked, mapping, 100)
        assert done.order.tolist() == list(range(6))
        assert np.isnan(done.scores).all()
    assert len(RERANKERS[name].run(query, {}, 100).order) == 0


@BOTH
def test_many_items_are_compared_in_blocks(name):
    query, views = some_list(9, 5000, d=3)
    done = RERANKERS[name].run(query, views, 10_000)
    first = RERANKERS[name].run(
        query, {v: (rows[:2000], present[:2000]) for v, (rows, present) in views.items()}, 10_000
    )
    np.testing.assert_array_equal(done.scores[:2000], first.scores)
    scored = done.scores[done.order]
    assert (np.diff(scored[~np.isnan(scored)]) <= 0).all()


def test_gram_prefers_agreement_and_span_ignores_the_items_own_volume():
    query = np.array([1, 0, 0, 0], dtype=np.float32)
    # The first item's views nearly coincide, away from the query; the second's lie apart, and the query between them.
    rows = {
        "visual": np.array([[0.6, 0.8, 0, 0], [0.7, 0.7, 0.1, 0]]),
        "text": np.array([[0.6, 0.8, 0.05, 0], [0.7, -0.7, 0.1, 0]]),
    }
    views = {view: (unit(values), np.ones(2, dtype=bool)) for view, values in rows.items()}
    assert RERANKERS["gram"].run(query, views, 100).order.tolist() == [0, 1]
    assert RERANKERS["span"].run(query, views, 100).order.tolist() == [1, 0]


def test_gram_ranks_as_the_authors_where_nothing_is_opposed():
    arrays = np.load(GOLDEN / "gram_ranking.npz")
    t, v, a = (arrays[f"in_{name}"] for name in "tva")
    everywhere = np.ones(64, dtype=bool)
    compared = 0
    for i, query in enumerate(t):
        done = RERANKERS["gram"].run(query, {"visual": (v, everywhere), "text": (a, everywhere)}, 64)
        friendly = np.flatnonzero((v @ query >= 0) & (a @ query >= 0))
        theirs = friendly[np.argsort(arrays["out_area_f32"][i][friendly], kind="stable")]
        np.testing.assert_array_equal(done.order[: len(friendly)], theirs)
        compared += len(friendly)
    assert compared > 64


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_gram_scores_are_the_authors_volumes_for_any_number_of_views(k):
    arrays = np.load(GOLDEN / "gram_volume.npz")
    views = {name: (arrays[f"in_{name}"], np.ones(48, dtype=bool)) for name in "vasd"[: k - 1]}
    compared = 0
    for query, theirs in zip(arrays["in_t"][:40], arrays[f"out_vol{k}_f64"], strict=True):
        scores = RERANKERS["gram"].run(query, views, 48).scores
        friendly = np.min([rows @ query for rows, _ in views.values()], axis=0) >= 0
        np.testing.assert_allclose(1 - scores[friendly], theirs[friendly], atol=1e-3)
        clear = friendly & (theirs > 0.05)
        np.testing.assert_allclose(1 - scores[clear], theirs[clear], atol=2e-5)
        compared += int(clear.sum())
    assert compared > 100
