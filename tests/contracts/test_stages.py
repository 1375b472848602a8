"""Every row of the tables of stages keeps what the engine counts on, whoever wrote it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmretrieval.search import COMPOSERS, FUSERS, RERANKERS
from mmretrieval.transforms import TRANSFORMS
from mmretrieval.types import Array, Found, StageRow, View

DIM = 12


def units(count: int, seed: int) -> Array:
    rows = np.random.default_rng(seed).normal(size=(count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def defaults(row: StageRow[Any]) -> tuple[float, ...]:
    return tuple(parameter.default for parameter in row.parameters)


@pytest.mark.parametrize("row", COMPOSERS.values(), ids=COMPOSERS)
def test_a_composer_gives_one_unit_row_and_leaves_what_it_was_given(row: StageRow[Any]) -> None:
    parts, weights = units(3, 0), np.array([1.0, 2.0, -0.5])
    kept = parts.copy(), weights.copy()
    composed = row.run(parts, weights, *defaults(row))
    assert (composed.shape, composed.dtype) == ((DIM,), np.float32)
    assert np.linalg.norm(composed.astype(np.float64)) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(parts, kept[0])
    np.testing.assert_array_equal(weights, kept[1])
    np.testing.assert_allclose(row.run(parts[:1], np.array([0.3]), *defaults(row)), parts[0], atol=1e-6)


@pytest.mark.parametrize("row", FUSERS.values(), ids=FUSERS)
def test_a_fuser_gives_every_id_once_best_first_in_whatever_order_the_lists_come(row: StageRow[Any]) -> None:
    chance = np.random.default_rng(1)
    lists = []
    for length in (9, 4, 6):
        names = [f"item {n}" for n in chance.permutation(12)[:length]]
        lists.append(Found.ordered(names, chance.normal(size=length)))
    kept = [(found.ids, found.scores.copy()) for found in lists]
    fused = row.run(lists, *defaults(row))
    assert sorted(fused.ids) == sorted({i for found in lists for i in found.ids})
    assert np.isfinite(fused.scores).all()
    assert (np.diff(fused.scores) <= 0).all()
    turned = row.run(lists[::-1], *defaults(row))
    assert turned.ids == fused.ids
    np.testing.assert_array_equal(turned.scores, fused.scores)
    for found, (ids, scores) in zip(lists, kept, strict=True):
        assert found.ids == ids
        np.testing.assert_array_equal(found.scores, scores)


@pytest.mark.parametrize("row", RERANKERS.values(), ids=RERANKERS)
def test_a_reranker_permutes_the_first_depth_and_leaves_the_rest(row: StageRow[Any]) -> None:
    assert row.parameters[0].name == "depth", "the engine searches as deep as the first argument says"
    n, depth = 30, 20
    present = np.random.default_rng(2).random(n) < 0.7
    views: dict[View, tuple[Array, Any]] = {
        "visual": (units(n, 3), np.ones(n, dtype=np.bool_)),
        "text": (np.where(present[:, None], units(n, 4), np.float32(0)), present),
    }
    kept = {view: rows.copy() for view, (rows, _) in views.items()}
    done = row.run(units(1, 5)[0], views, depth, *defaults(row)[1:])
    assert sorted(done.order.tolist()) == list(range(n))
    assert done.order[depth:].tolist() == list(range(depth, n))
    assert done.scores.shape == (n,)
    assert np.isnan(done.scores[depth:]).all()
    assert not np.isinf(done.scores).any()
    for view, rows in kept.items():
        np.testing.assert_array_equal(views[view][0], rows)


@pytest.mark.parametrize("row", TRANSFORMS.values(), ids=TRANSFORMS)
def test_a_transform_gives_finite_rows_each_as_if_it_were_alone(row: StageRow[Any]) -> None:
    items: dict[View, Array] = {"visual": units(40, 6), "text": units(25, 7)}
    bank = {"text": units(15, 8)}
    kept = {view: rows.copy() for view, rows in items.items()}
    fitted = row.run(items, bank, *defaults(row))
    for view, rows in items.items():
        turned = fitted.items(view, rows)
        assert (turned.shape, turned.dtype) == (rows.shape, np.float32)
        assert np.isfinite(turned).all()
        np.testing.assert_allclose(fitted.items(view, rows[3:4]), turned[3:4], atol=1e-6)
        np.testing.assert_array_equal(rows, kept[view])
    asked = units(5, 9)
    for modality in ("text", "image", "frames"):
        turned = fitted.query(modality, asked)
        assert (turned.shape, turned.dtype) == (asked.shape, np.float32)
        assert np.isfinite(turned).all()
        np.testing.assert_allclose(fitted.query(modality, asked[2:3]), turned[2:3], atol=1e-6)
