"""The reranker `superglobal`: the authors' numbers, the formula written out, and what it must leave alone."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.geometry import unit
from mmretrieval.search import RERANKERS
from mmretrieval.search.superglobal import expanded, superglobal

GOLDEN = Path(__file__).parent.parent / "golden"
FACTS = json.loads((GOLDEN / "superglobal_rerank.json").read_text())
SETTINGS = FACTS["params"]["settings"]
seeds = st.integers(0, 2**32 - 1)


def some_list(seed, n, d=6):
    """A query and a list of one view, best first, in which some items lack it and lengths differ."""
    generator = np.random.default_rng(seed)
    query = unit(generator.normal(size=d))
    rows = (generator.normal(size=(n, d)) + query) * generator.uniform(0.3, 2.0, size=(n, 1))
    present = generator.random(n) < 0.8
    rows = np.where(present[:, None], rows, 0).astype(np.float32)
    order = np.argsort(-(rows @ query), kind="stable")
    return query, rows[order], present[order]


def slow_scores(query, rows, k, beta):
    """The definition, item by item, in plain numbers."""
    if not len(rows):
        return []
    rows = [row.astype(np.float64) for row in rows]
    replaced = []
    for i, row in enumerate(rows):
        others = sorted((j for j in range(len(rows)) if j != i), key=lambda j: (-float(row @ rows[j]), j))[:k]
        weights = [1.0] + [beta * float(row @ rows[j]) for j in others]
        summed = sum(w * rows[j] for w, j in zip(weights, [i, *others], strict=True))
        replaced.append(summed / sum(weights) if sum(weights) > 1e-12 else row)
    first = [float(query.astype(np.float64) @ row) for row in replaced]
    best = sorted(range(len(rows)), key=lambda i: -first[i])[: k + 1]
    asked = [max(replaced[i][dim] for i in best) for dim in range(len(query))]
    return [(one + float(np.dot(asked, row))) / 2 for one, row in zip(first, replaced, strict=True)]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_agrees_with_the_authors(setting, precision):
    arrays = np.load(GOLDEN / "superglobal_rerank.npz")
    depth, k, beta = SETTINGS[setting]
    kind = {"f32": np.float32, "f64": np.float64}[precision]
    close = {"f32": 1e-6, "f64": 1e-12}[precision]
    database = arrays["in_database"].astype(kind)
    for q, query in enumerate(arrays["in_query"].astype(kind)):
        initial = arrays[f"out_initial_ranks_{precision}"][:, q].astype(int)
        listed = database[initial]
        done = superglobal(query, {"visual": (listed, np.ones(len(listed), dtype=bool))}, depth, k, beta)
        items = expanded(listed[:depth].astype(np.float64), k, beta)
        first = arrays[f"out_{setting}_step1_scores_{precision}"][q]
        np.testing.assert_allclose(items @ query.astype(np.float64), first, atol=close)
        name = f"out_{setting}_augmented_{precision}"
        if name in arrays:
            np.testing.assert_allclose(items, arrays[name][q], atol=close)
        after_first = arrays[f"out_{setting}_order_after_step1_{precision}"][q].astype(int)
        np.testing.assert_allclose(
            done.scores[after_first], arrays[f"out_{setting}_final_scores_{precision}"][q], atol=close
        )
        np.testing.assert_array_equal(initial[done.order], arrays[f"out_{setting}_final_ranks_{precision}"][:, q])


@given(seeds, st.integers(1, 14), st.integers(1, 16), st.integers(1, 6), st.sampled_from([0.0, 0.15, 1.0]))
def test_equals_the_formula_written_out_and_moves_nothing_else(seed, n, depth, k, beta):
    query, rows, present = some_list(seed, n)
    done = RERANKERS["superglobal"].run(query, {"text": (rows, present)}, depth, k, beta)
    movable = [i for i in range(min(n, depth)) if present[i]]
    scores = dict(zip(movable, slow_scores(query, rows[movable], k, beta), strict=True))
    for i in range(n):
        assert done.scores[i] == pytest.approx(scores.get(i, math.nan), rel=1e-6, abs=1e-9, nan_ok=True)
    assert sorted(done.order[movable].tolist()) == movable
    kept = [i for i in range(n) if i not in movable]
    assert done.order[kept].tolist() == kept
    moved = done.scores[done.order[movable]]
    assert (np.diff(moved) <= 0).all()


def test_an_item_speaks_first_for_itself_however_long_its_neighbours_are():
    rows = np.array([[1.0, 0.0], [5.0, 0.0], [0.0, 1.0]])
    by_hand = (rows[0] + 0.1 * 5.0 * rows[1]) / (1 + 0.1 * 5.0)
    np.testing.assert_allclose(expanded(rows, 1, 0.1)[0], by_hand, atol=1e-15)


def test_without_neighbours_weight_the_first_step_is_the_query_itself():
    query, rows, present = some_list(1, 12)
    rows, present = rows[present], present[present]
    wide = rows.astype(np.float64)
    asked = query.astype(np.float64)
    best = np.argsort(-(wide @ asked), kind="stable")[:4]
    done = superglobal(query, {"visual": (rows, present)}, 100, 3, 0.0)
    np.testing.assert_allclose(done.scores, wide @ (asked + wide[best].max(axis=0)) / 2, atol=1e-12)


def test_neighbours_that_all_oppose_an_item_leave_it_as_it_is():
    rows = np.array([[-1.0, 0.0]] + [[1.0, 0.0]] * 9)
    items = expanded(rows, 9, 0.15)
    np.testing.assert_array_equal(items[0], rows[0])
    assert np.isfinite(items).all()


def test_neighbours_lift_an_item_that_the_query_alone_ranks_low():
    generator = np.random.default_rng(4)
    centre = unit(generator.normal(size=32))
    crowd = unit(centre + 0.12 * generator.normal(size=(11, 32)))
    query = unit(centre + 0.1 * generator.normal(size=32))
    stray = unit(generator.normal(size=(40, 32)) + 3.5 * query)
    rows = np.concatenate([crowd, stray])
    order = np.argsort(-(rows @ query), kind="stable")
    belongs = order < len(crowd)
    done = superglobal(query, {"visual": (rows[order], np.ones(len(rows), dtype=bool))})
    before, after = np.flatnonzero(belongs).mean(), np.flatnonzero(belongs[done.order]).mean()
    assert after < before


def test_a_zero_query_and_an_empty_list_change_nothing():
    query, rows, present = some_list(2, 8)
    done = superglobal(0 * query, {"visual": (rows, present)})
    assert done.order.tolist() == list(range(8))
    assert np.isnan(done.scores).all()
    assert len(superglobal(query, {"visual": (rows[:0], present[:0])}).order) == 0


def test_a_rotation_changes_the_first_step_by_nothing():
    generator = np.random.default_rng(3)
    rows = unit(generator.normal(size=(30, 8))).astype(np.float64)
    turn, _ = np.linalg.qr(generator.normal(size=(8, 8)))
    np.testing.assert_allclose(expanded(rows @ turn, 5, 0.15), expanded(rows, 5, 0.15) @ turn, atol=1e-12)
