"""Every store answers as the plain meaning does: dot products, `filters.matches`, ties by id, whole points replaced."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mmretrieval.errors import StoreError
from mmretrieval.filters import AllOf, AnyOf, Condition, Filter, Not, matches
from mmretrieval.store.edge import EdgeStore
from mmretrieval.store.exact import ExactStore, Matrix
from mmretrieval.store.server import ServerStore
from mmretrieval.types import Array, Index, Point, Selection, View
from tests.store.small import ABSENT, DIM, IDS, KINDS, NAMES, SELECTIONS, Scanned, fill, opened, plainly, quick
from tests.store.strategies import FILTERS, PAYLOADS

QUICK = quick(60)


class Rows(Scanned):
    """An Index over ExactStore."""

    def _exact(self) -> ExactStore:
        matrices: dict[View, Matrix] = {}
        for view in NAMES:
            ids, rows = self.held(view)
            matrices[view] = Matrix(ids, np.array(rows, dtype=np.float32).reshape(-1, DIM))
        return ExactStore(matrices, self.select)

    def search(self, view: View, queries: Array, depth: int, selections: list[Selection]) -> Any:
        return self._exact().search(view, queries, depth, selections)

    def rows(self, view: View, ids: list[str]) -> Any:
        return self._exact().rows(view, ids)

    def count(self, view: View) -> int:
        return self._exact().count(view)


@pytest.fixture(scope="module", params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    yield from opened(request.param, tmp_path_factory.mktemp("edge"), Rows, EdgeStore, ServerStore)


def row(*numbers: int) -> Array:
    """Eighths: sums of their products are exact in float32, so that every store must give the very same scores."""
    return np.array(numbers, dtype=np.float32) / 8


def expected(points: dict[str, Point], view: View, query: Array, depth: int, s: Selection) -> list[tuple[str, float]]:
    return plainly(points, view, depth, s, lambda own: float(own.astype(np.float64) @ query.astype(np.float64)))


ROWS = st.lists(st.integers(-8, 8), min_size=DIM, max_size=DIM).map(lambda n: row(*n))
POINTS = st.builds(Point, st.sampled_from(IDS), st.dictionaries(st.sampled_from(NAMES), ROWS), PAYLOADS)


@QUICK
@given(st.lists(PAYLOADS, min_size=1, max_size=len(IDS)), st.lists(FILTERS, min_size=1, max_size=8))
@example([{"lang": True}, {"lang": 1}, {"lang": "true"}, {"lang": [1, True]}], [Condition("lang", "eq", True)])
@example([{"lang": True}, {"lang": "=true"}, {"lang": "==true"}], [Condition("lang", "eq", "=true")])
@example([{"page": 3}, {"page": 3.0}, {"page": "3"}], [Condition("page", "eq", 3), Condition("page", "in", (3.0, "3"))])
@example([{"page": 2**53}, {"page": 2**53 + 1}, {"page": 2.0**53}], [Condition("page", "eq", 2**53 + 1)])
@example([{"page": None}, {"page": [None]}, {"page": []}, {"page": {}}, {}], [Condition("page", "exists", False)])
@example([{"meta": {"a": [{"b": 1}]}}, {"meta": {"a": {"b": 1}}}], [Condition("meta.a.b", "eq", 1)])
@example([{"page": 1}], [AllOf(()), AnyOf(()), Not(AllOf(())), Not(AnyOf(())), Condition("page", "in", ())])
def test_filters_mean_the_same_in_every_store(
    store: Index, payloads: list[dict[str, Any]], filters: list[Filter]
) -> None:
    points = {i: Point(i, {"visual": row(1, 0, 0, 0)}, p) for i, p in zip(IDS, payloads, strict=False)}
    fill(store, list(points.values()))
    queries = np.tile(row(1, 0, 0, 0), (len(filters), 1))
    answers = store.search("visual", queries, len(IDS), [Selection(f) for f in filters])
    for value, found in zip(filters, answers, strict=True):
        passing = [i for i, p in points.items() if matches(value, p.payload)]
        wrong = [points[i].payload for i in set(passing) ^ set(found.ids)]
        assert list(found.ids) == passing, f"{value} is answered wrongly for {wrong}"


@QUICK
@given(st.lists(POINTS, max_size=20), st.lists(st.tuples(ROWS, SELECTIONS), max_size=4), st.integers(0, 14))
def test_the_best_by_dot_product_ties_by_id(
    store: Index, put: list[Point], asked: list[tuple[Array, Selection]], depth: int
) -> None:
    points = {p.id: p for p in put}
    fill(store, put)
    queries = np.array([q for q, _ in asked], dtype=np.float32).reshape(-1, DIM)
    for view in NAMES:
        answers = store.search(view, queries, depth, [s for _, s in asked])
        assert len(answers) == len(asked)
        for found, (query, selection) in zip(answers, asked, strict=True):
            assert found.scores.dtype == np.float64
            got = list(zip(found.ids, found.scores.tolist(), strict=True))
            assert got == expected(points, view, query, depth, selection), selection


@QUICK
@given(st.lists(POINTS, max_size=20), st.lists(st.sampled_from([*IDS, ABSENT]), max_size=20))
def test_rows_and_counts_are_what_was_put(store: Index, put: list[Point], ids: list[str]) -> None:
    points = {p.id: p for p in put}
    fill(store, put)
    for view in NAMES:
        rows, present = store.rows(view, ids)
        assert rows.shape == (len(ids), DIM) and rows.dtype == np.float32 and present.dtype == np.bool_
        for i, got, there in zip(ids, rows, present, strict=True):
            vectors = points[i].vectors if i in points else {}
            assert there == (view in vectors)
            np.testing.assert_array_equal(got, vectors.get(view, np.zeros(DIM, dtype=np.float32)))
        assert store.count(view) == sum(view in p.vectors for p in points.values())


def test_a_point_put_again_is_replaced_whole(store: Index) -> None:
    one, other = IDS[:2]
    store.delete(IDS)
    first = Point(one, {"visual": row(1, 0, 0, 0), "text": row(0, 1, 0, 0)}, {"kind": "image", "lang": "en"})
    store.put([first, Point(other, {"visual": row(0, 0, 1, 0)}, {"kind": "video"})])
    store.put([Point(one, {"text": row(0, 0, 0, 1)}, {"kind": "page"})])
    assert (store.count("visual"), store.count("text")) == (1, 1)
    rows, present = store.rows("text", [one])
    assert present.all() and rows[0].tolist() == row(0, 0, 0, 1).tolist()
    (gone,) = store.search("text", row(1, 1, 1, 1)[None], 5, [Selection(Condition("lang", "exists", True))])
    assert gone.ids == ()


def test_deleting_forgets_and_unknown_ids_are_no_error(store: Index) -> None:
    fill(store, [Point(i, {"visual": row(1, 0, 0, 0)}, {}) for i in IDS])
    store.delete([IDS[0], ABSENT, "no uuid"])
    store.delete([])
    store.flush()
    (found,) = store.search("visual", row(1, 0, 0, 0)[None], 50, [Selection()])
    assert list(found.ids) == IDS[1:] and store.count("visual") == len(IDS) - 1


def test_a_view_that_no_item_has_is_empty(store: Index) -> None:
    fill(store, [Point(IDS[0], {"visual": row(1, 0, 0, 0)}, {})])
    for view in ("text", "joint"):
        (found,) = store.search(view, row(1, 0, 0, 0)[None], 5, [Selection()])  # type: ignore[arg-type]
        rows, present = store.rows(view, IDS[:2])  # type: ignore[arg-type]
        assert found.ids == () and found.scores.shape == (0,) and rows.shape == (2, DIM) and not present.any()
        assert store.count(view) == 0  # type: ignore[arg-type]


def test_vectors_are_kept_as_they_are(store: Index) -> None:
    """Neither normalised nor rounded: a transform's rows need not be unit."""
    rng = np.random.default_rng(7)
    rows = (rng.standard_normal((len(IDS), DIM)) * np.logspace(-6, 6, len(IDS))[:, None]).astype(np.float32)
    fill(store, [Point(i, {"visual": r}, {}) for i, r in zip(IDS, rows, strict=True)])
    back, _ = store.rows("visual", IDS[::-1])
    assert back.tobytes() == rows[::-1].tobytes()
    query = rng.standard_normal(DIM).astype(np.float32)
    (found,) = store.search("visual", query[None], len(IDS), [Selection()])
    truth = dict(zip(IDS, rows.astype(np.float64) @ query, strict=True))
    scale = np.abs(rows).max() * np.abs(query).max()
    np.testing.assert_allclose(found.scores, [truth[i] for i in found.ids], rtol=1e-5, atol=1e-7 * scale)
    assert (np.diff(found.scores) <= 0).all()


def test_many_equal_scores_are_cut_by_id(store: Index) -> None:
    many = sorted(str(uuid.uuid5(uuid.NAMESPACE_URL, f"twin {i}")) for i in range(700))
    store.delete(IDS)
    store.put([Point(i, {"visual": row(1, 2, 3, 4)}, {}) for i in reversed(many)])
    try:
        for depth in (1, 5, 300):
            (found,) = store.search("visual", row(1, 1, 0, 0)[None], depth, [Selection()])
            assert list(found.ids) == many[:depth]
    finally:
        store.delete(many)


@pytest.mark.parametrize("kind", ["edge", "memory"])
def test_a_vector_of_another_length_is_refused(kind: str, tmp_path: Path) -> None:
    if kind == "edge":
        with closing(EdgeStore(tmp_path / "0", DIM, NAMES)) as edge, pytest.raises(StoreError, match="5"):
            edge.put([Point(IDS[0], {"visual": np.ones(5, dtype=np.float32)}, {})])
    else:
        from qdrant_client import QdrantClient

        with closing(QdrantClient(":memory:")) as client, pytest.raises(StoreError, match="5"):
            ServerStore(client, "c", DIM, NAMES).put([Point(IDS[0], {"visual": np.ones(5, dtype=np.float32)}, {})])
