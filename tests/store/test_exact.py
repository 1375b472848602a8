"""What the scan promises beyond the stores' contract: exact ties, whatever is asked beside, over mapped files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmretrieval.filters import Condition
from mmretrieval.store import exact
from mmretrieval.store.exact import ExactStore, Matrix
from mmretrieval.types import Selection

COUNT, DIM = 3000, 48
IDS = tuple(f"{i:05d}" for i in range(COUNT))


def unit(seed: int, count: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    rows = unit(0, COUNT)
    rows[1::7] = rows[1]  # copies all over, which must tie exactly wherever they lie
    path: Path = tmp_path_factory.mktemp("cache") / "visual.npy"
    np.save(path, rows)
    return np.load(path, mmap_mode="r")


def test_scores_and_order_are_those_of_float64(mapped: np.ndarray) -> None:
    store = ExactStore({"visual": Matrix(IDS, mapped)}, lambda _: frozenset())
    queries = np.concatenate([unit(1, 9), mapped[1:2]])
    for depth in (1, 10, 500, COUNT + 5):
        for query, found in zip(queries, store.search("visual", queries, depth, [Selection()] * 10), strict=True):
            truth = (mapped.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
            order = np.lexsort((np.arange(COUNT), -truth))[:depth]
            assert list(found.ids) == [IDS[i] for i in order]
            assert found.scores.tolist() == truth[order].tolist()


def test_an_answer_does_not_depend_on_its_neighbours(mapped: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ExactStore({"visual": Matrix(IDS, mapped)}, lambda _: frozenset(IDS[::2]))
    queries = unit(2, 33)
    selections = [Selection(Condition("kind", "eq", "image") if i % 2 else None, frozenset(IDS[:i])) for i in range(33)]
    together = store.search("visual", queries, 20, selections)
    monkeypatch.setattr(exact, "SCORES_AT_ONCE", COUNT * 4)
    monkeypatch.setattr(exact, "ROWS_AT_ONCE", 17)
    for one, q, s in zip(together, queries, selections, strict=True):
        for alone in (store.search("visual", q[None], 20, [s])[0],):
            assert alone.ids == one.ids and alone.scores.tolist() == one.scores.tolist()
    again = store.search("visual", queries, 20, selections)
    assert [f.ids for f in again] == [f.ids for f in together]


def test_a_filter_for_true_is_not_one_for_one(mapped: np.ndarray) -> None:
    """As Python values the two filters are equal; one search must not answer one with the other's ids."""
    first, second = Condition("meta.a", "eq", True), Condition("meta.a", "eq", 1)
    answers = {repr(first): frozenset(IDS[:3]), repr(second): frozenset(IDS[5:8])}
    store = ExactStore({"visual": Matrix(IDS, mapped)}, lambda f: answers[repr(f)])
    found = store.search("visual", unit(3, 2), 9, [Selection(first), Selection(second)])
    assert set(found[0].ids) == set(IDS[:3]) and set(found[1].ids) == set(IDS[5:8])


def test_rows_are_copies_of_what_is_mapped(mapped: np.ndarray) -> None:
    store = ExactStore({"visual": Matrix(IDS, mapped)}, lambda _: frozenset())
    rows, present = store.rows("visual", [IDS[4], "absent", IDS[0], IDS[4]])
    assert present.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(rows, np.stack([mapped[4], np.zeros(DIM), mapped[0], mapped[4]]))
    rows[:] = 0  # the caller's own
    assert store.rows("visual", IDS[:1])[0].any()
