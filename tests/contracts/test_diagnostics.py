"""Every row of DIAGNOSTICS says the same of the same space, in whatever frame its vectors are written."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.errors import RetrievalError
from mmretrieval.types import Array, StageRow, View

N, DIM = 60, 10
IDS = tuple(f"{n:03}" for n in range(N))


@pytest.fixture(scope="module")
def views() -> dict[View, Array]:
    """Pairs that agree somewhat, a gap apart."""
    chance = np.random.default_rng(0)
    visual = chance.normal(size=(N, DIM)) + np.eye(DIM)[0]
    text = 0.5 * visual + chance.normal(size=(N, DIM)) + np.eye(DIM)[1]
    rows: dict[View, Any] = {"visual": visual, "text": text}
    return {v: (r / np.linalg.norm(r, axis=1, keepdims=True)).astype(np.float32) for v, r in rows.items()}


@pytest.mark.parametrize("row", DIAGNOSTICS.values(), ids=DIAGNOSTICS)
def test_numbers_are_finite_in_their_intervals_and_on_a_stated_basis(
    row: StageRow[Any], views: dict[View, Array]
) -> None:
    found = row.run(views, IDS)
    assert found.numbers
    assert all(np.isfinite(value) for value in found.numbers.values())
    assert set(found.intervals) <= set(found.numbers)
    for name, (low, high) in found.intervals.items():
        assert low - 1e-9 <= found.numbers[name] <= high + 1e-9, name
    assert found.sentence.endswith(".")
    assert {"items", "seed", "sample"} <= set(found.basis)
    json.dumps(asdict(found), allow_nan=False)


@pytest.mark.parametrize("row", DIAGNOSTICS.values(), ids=DIAGNOSTICS)
def test_a_rotation_of_the_space_and_a_second_look_change_no_number(
    row: StageRow[Any], views: dict[View, Array]
) -> None:
    found = row.run(views, IDS)
    assert asdict(row.run(views, IDS)) == asdict(found)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(DIM, DIM)))
    turned = row.run({v: (r @ turn).astype(np.float32) for v, r in views.items()}, IDS)
    assert turned.numbers == pytest.approx(dict(found.numbers), abs=1e-5)


@pytest.mark.parametrize("row", DIAGNOSTICS.values(), ids=DIAGNOSTICS)
def test_too_few_items_are_an_error_that_says_so(row: StageRow[Any], views: dict[View, Array]) -> None:
    with pytest.raises(RetrievalError, match="at least"):
        row.run({v: r[:1] for v, r in views.items()}, IDS[:1])
