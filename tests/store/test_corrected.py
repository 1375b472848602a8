"""Corrected scans: order by all scores, exact ties, filters, corrections that see all queries at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from mmretrieval.filters import parse_filter
from mmretrieval.geometry import unit
from mmretrieval.store.corrected import CorrectedStore, dots
from mmretrieval.store.exact import Matrix
from mmretrieval.types import Array, Selection, View


@dataclass(frozen=True, eq=False)
class Counted:
    """A correction that takes each item's place in the order of ids off its score: 0, 1, 2 ..."""

    weight: float
    transductive: bool = False
    item_bytes: float = 4.0

    def scores(self, view: View, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        shift = scores.sum(axis=0) if self.transductive else np.arange(scores.shape[1], dtype=np.float64)
        return scores - self.weight * shift


def units(count: int, seed: int, dim: int = 6) -> Array:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def test_a_corrected_scan_orders_by_the_corrected_scores_of_all_items() -> None:
    rows = units(40, 0)
    ids = tuple(f"{i:02d}" for i in range(40))
    store = CorrectedStore({"visual": Matrix(ids, rows)}, lambda _: frozenset(ids[::2]), Counted(0.1))
    asked = units(3, 1)
    expected = asked.astype(np.float64) @ rows.T.astype(np.float64) - 0.1 * np.arange(40)
    plain, filtered, without = store.search(
        "visual",
        asked,
        5,
        [Selection(), Selection(filter=parse_filter({"kind": "image"})), Selection(exclude=frozenset([ids[0]]))],
    )
    assert plain.ids == tuple(ids[i] for i in np.argsort(-expected[0])[:5])
    np.testing.assert_allclose(plain.scores, np.sort(expected[0])[::-1][:5], atol=1e-12)
    assert filtered.ids == tuple(i for i in (ids[j] for j in np.argsort(-expected[1])) if i in ids[::2])[:5]
    assert without.ids == tuple(i for i in (ids[j] for j in np.argsort(-expected[2])) if i != ids[0])[:5]
    assert store.search("text", asked[:1], 5, [Selection()])[0].ids == ()


def test_equal_rows_tie_exactly_and_a_query_does_not_notice_the_others() -> None:
    rows = np.repeat(units(5, 2, 640), 9, axis=0)
    store = CorrectedStore(
        {"visual": Matrix(tuple(f"{i:02d}" for i in range(45)), rows)}, lambda _: frozenset(), Counted(0.0)
    )
    asked = units(30, 3, 640)
    together = store.search("visual", asked, 45, [Selection()] * 30)
    for query, found in zip(asked, together, strict=True):
        (alone,) = store.search("visual", query[None], 45, [Selection()])
        assert alone.ids == found.ids
        np.testing.assert_array_equal(alone.scores, found.scores)
        assert len(set(found.scores.tolist())) == 5
        for start in range(0, 45, 9):
            assert list(found.ids[start : start + 9]) == sorted(found.ids[start : start + 9])


def test_a_transductive_correction_sees_all_queries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmretrieval.store.corrected.SCORES_AT_ONCE", 1)
    rows, asked = units(10, 4), units(7, 5)
    ids = tuple(map(str, range(10)))
    store = CorrectedStore({"visual": Matrix(ids, rows)}, lambda _: frozenset(), Counted(1.0, transductive=True))
    scores = dots(asked, rows)
    expected = scores - scores.sum(axis=0)
    for found, row in zip(store.search("visual", asked, 10, [Selection()] * 7), expected, strict=True):
        assert found.ids == tuple(ids[i] for i in np.argsort(-row, kind="stable"))
