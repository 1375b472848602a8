"""What the Qdrant stores of bags share: candidates brought into order by what exact answers say of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmretrieval.late import together
from mmretrieval.store.late import rescored
from mmretrieval.types import Array

BAGS = {"a": np.eye(3)[:1], "b": np.eye(3)[:2], "c": np.eye(3)[1:]}
NEAR = [[("a", 0.9), ("b", 0.8), ("c", 0.7)]]


def answers(asked: Sequence[tuple[Array, Sequence[str]]], without: dict[int, str]) -> list[list[tuple[str, float]]]:
    """Exact MaxSim of each query's ids, less the one that is gone by the time of that answer."""
    return [
        [(i, float((rows @ BAGS[i].T).max(axis=1).sum())) for i in ids if i != without.get(place)]
        for place, (rows, ids) in enumerate(asked)
    ]


def found(weights: list[float], without: dict[int, str]) -> dict[str, float]:
    rows = np.array([[1, 0.2, 0], [0, 0.5, 0.5]], dtype=np.float32)
    queries = together([(rows, np.array(weights, dtype=np.float32))], 3)
    (one,) = rescored(queries, NEAR, 5, lambda asked: answers(asked, without))
    return dict(zip(one.ids, one.scores.round(6).tolist(), strict=True))


def test_candidates_are_scored_by_rows_that_pull_less_rows_that_push() -> None:
    assert found([1, 2], {}) == {"b": 2.0, "c": 1.2, "a": 1.0}
    assert found([1, -2], {}) == {"a": 1.0, "b": 0.0, "c": -0.8}


def test_a_candidate_that_is_gone_by_the_second_search_is_left_out() -> None:
    assert found([1, 2], {0: "b"}) == {"c": 1.2, "a": 1.0}
    # Gone between the answer for what pulls and the one for what pushes: half a score is none.
    assert found([1, -2], {1: "c"}) == {"a": 1.0, "b": 0.0}
    assert found([1, -2], {0: "c"}) == {"a": 1.0, "b": 0.0}
    assert found([-1, -2], {0: "a"}) == {"c": -1.2, "b": -2.0}
