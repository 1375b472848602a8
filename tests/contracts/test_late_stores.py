"""Every store of bags answers as the plain meaning does: weighted MaxSim, `filters.matches`, ties by id, whole points.

Few points: the encodings propose all of them, so that what is compared is the exact part.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.errors import StoreError
from mmretrieval.filters import Condition
from mmretrieval.late import plain, together
from mmretrieval.muvera import Fde
from mmretrieval.store.edge import EdgeStore, LateEdgeStore
from mmretrieval.store.late import Bags, ExactLateStore, batches, candidates_for
from mmretrieval.store.server import LateServerStore
from mmretrieval.types import Array, LateIndex, Point, Selection, Tokens, Vectors, View
from tests.store.small import ABSENT, DIM, IDS, KINDS, NAMES, SELECTIONS, Scanned, fill, opened, plainly, quick
from tests.store.strategies import PAYLOADS

FDE = Fde(reps=2, k_sim=2, d_proj=None, seed=3)
QUICK = quick(25)


class Bagged(Scanned):
    """An index over ExactLateStore."""

    def _exact(self) -> ExactLateStore:
        held: dict[View, Bags] = {}
        for view in NAMES:
            ids, bags = self.held(view)
            held[view] = Bags(ids, Vectors.joined(bags, DIM))
        return ExactLateStore(held, DIM, self.select)

    def search(self, view: View, queries: Tokens, depth: int, selections: list[Selection]) -> Any:
        return self._exact().search(view, queries, depth, selections)

    def bags(self, view: View, ids: list[str]) -> Vectors:
        return self._exact().bags(view, ids)

    def count(self, view: View) -> int:
        return self._exact().count(view)


@pytest.fixture(scope="module", params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LateIndex]:
    yield from opened(request.param, tmp_path_factory.mktemp("edge"), Bagged, LateEdgeStore, LateServerStore, FDE)


def bag(*rows: tuple[int, ...]) -> Array:
    """Eighths: sums of their products are exact in float32, so that every store must give the very same scores."""
    return np.array(rows, dtype=np.float32).reshape(-1, DIM) / 8


def score(rows: Array, weights: Array, own: Array) -> float:
    best = (own.astype(np.float64) @ rows.astype(np.float64).T).max(axis=0)
    return float((best * weights.astype(np.float64)).sum())


def expected(points: dict[str, Point], view: View, query: tuple[Array, Array], depth: int, s: Selection) -> Any:
    return plainly(points, view, depth, s, lambda own: score(*query, own))


ROW = st.tuples(*[st.integers(-8, 8)] * DIM)
BAG = st.lists(ROW, min_size=1, max_size=5).map(lambda rows: bag(*rows))
EIGHTHS = st.integers(-8, 8).filter(bool).map(lambda n: n / 8)
QUERY = st.lists(st.tuples(ROW, EIGHTHS), min_size=1, max_size=4).map(
    lambda pairs: (bag(*(r for r, _ in pairs)), np.array([w for _, w in pairs], dtype=np.float32))
)
POINTS = st.builds(Point, st.sampled_from(IDS), st.dictionaries(st.sampled_from(NAMES), BAG), PAYLOADS)


@QUICK
@given(st.lists(POINTS, max_size=20), st.lists(st.tuples(QUERY, SELECTIONS), max_size=4), st.integers(0, 14))
def test_the_best_by_weighted_maxsim_ties_by_id(store: LateIndex, put: list[Point], asked: Any, depth: int) -> None:
    points = {p.id: p for p in put}
    fill(store, put)
    queries = together([q for q, _ in asked], DIM)
    for view in NAMES:
        answers = store.search(view, queries, depth, [s for _, s in asked])
        assert len(answers) == len(asked)
        for found, (query, selection) in zip(answers, asked, strict=True):
            assert found.scores.dtype == np.float64
            got = list(zip(found.ids, found.scores.tolist(), strict=True))
            assert got == expected(points, view, query, depth, selection), selection


@QUICK
@given(st.lists(POINTS, max_size=20), st.lists(st.sampled_from([*IDS, ABSENT]), max_size=20))
def test_bags_and_counts_are_what_was_put(store: LateIndex, put: list[Point], ids: list[str]) -> None:
    points = {p.id: p for p in put}
    fill(store, put)
    for view in NAMES:
        held = store.bags(view, ids)
        assert held.rows.dtype == np.float32 and held.rows.shape[1] == DIM and len(held) == len(ids)
        for place, i in enumerate(ids):
            own = points[i].vectors.get(view) if i in points else None
            np.testing.assert_array_equal(held[place], np.empty((0, DIM)) if own is None else own)
        assert store.count(view) == sum(view in p.vectors for p in points.values())


def test_a_point_put_again_is_replaced_whole(store: LateIndex) -> None:
    one, other = IDS[:2]
    store.delete(IDS)
    first = Point(one, {"visual": bag((1, 0, 0, 0)), "text": bag((0, 1, 0, 0))}, {"kind": "image", "lang": "en"})
    store.put([first, Point(other, {"visual": bag((0, 0, 1, 0), (1, 1, 1, 1))}, {"kind": "video"})])
    store.put([Point(one, {"text": bag((0, 0, 0, 1), (0, 0, 1, 1))}, {"kind": "page"})])
    assert (store.count("visual"), store.count("text")) == (1, 1)
    assert store.bags("text", [one])[0].tolist() == bag((0, 0, 0, 1), (0, 0, 1, 1)).tolist()
    asked = plain(Vectors.joined([bag((1, 1, 1, 1))], DIM))
    (gone,) = store.search("text", asked, 5, [Selection(Condition("lang", "exists", True))])
    assert gone.ids == ()


def test_a_view_that_no_item_has_is_empty(store: LateIndex) -> None:
    fill(store, [Point(IDS[0], {"visual": bag((1, 0, 0, 0))}, {})])
    for view in ("text", "joint"):
        asked = plain(Vectors.joined([bag((1, 0, 0, 0))], DIM))
        (found,) = store.search(view, asked, 5, [Selection()])  # type: ignore[arg-type]
        assert found.ids == () and found.scores.shape == (0,)
        assert store.bags(view, IDS[:2]).rows.shape == (0, DIM)  # type: ignore[arg-type]
        assert store.count(view) == 0  # type: ignore[arg-type]


def test_bags_are_kept_as_they_are(store: LateIndex) -> None:
    rng = np.random.default_rng(7)
    bags = [rng.standard_normal((n + 1, DIM)).astype(np.float32) for n in range(len(IDS))]
    fill(store, [Point(i, {"visual": b}, {}) for i, b in zip(IDS, bags, strict=True)])
    store.flush()
    assert store.bags("visual", IDS[::-1]).rows.tobytes() == np.concatenate(bags[::-1]).tobytes()


def test_what_the_encodings_propose_is_ordered_exactly(store: LateIndex) -> None:
    """Many more points than candidates: what is found is in the exact order, and has the exact scores."""
    many = sorted(str(uuid.uuid5(uuid.NAMESPACE_URL, f"crowd {i}")) for i in range(400))
    rng = np.random.default_rng(1)
    points = {i: Point(i, {"visual": rng.standard_normal((3, DIM)).astype(np.float32)}, {}) for i in many}
    store.delete(IDS)
    store.put(list(points.values()))
    try:
        query = (rng.standard_normal((5, DIM)).astype(np.float32), np.array([1, 1, 1, -1, 0.5], dtype=np.float32))
        (found,) = store.search("visual", together([query], DIM), 20, [Selection(exclude=frozenset(many[:1]))])
        exact = [score(*query, points[i].vectors["visual"]) for i in found.ids]
        assert len(found) == 20 and many[0] not in found.ids
        np.testing.assert_allclose(found.scores, exact, atol=1e-5)
        best = {i for i, _ in expected(points, "visual", query, 20, Selection(exclude=frozenset(many[:1])))}
        assert len(best & set(found.ids)) >= 10, f"{candidates_for(20)} candidates of 400 hold too few"
    finally:
        store.delete(many)


def test_points_go_out_in_runs_of_bounded_size() -> None:
    points = [Point(i, {"visual": np.zeros((9000, 1), dtype=np.float32)}, {}) for i in IDS[:3]]
    small = [Point(i, {"text": np.zeros((1, 1), dtype=np.float32)}, {}) for i in IDS] * 50
    assert [len(run) for run in batches([*points, *small])] == [1, 1, 256, 256, 89]
    assert list(batches([])) == []


def test_an_index_of_another_encoding_is_refused(tmp_path: Path) -> None:
    LateEdgeStore(tmp_path / "0", DIM, NAMES, FDE).close()
    assert json.loads((tmp_path / "0" / "encoding.json").read_text()) == FDE.described(DIM)
    for other in (Fde(2, 2, None, seed=4), Fde(2, 3, None, seed=3)):
        with pytest.raises(StoreError, match="encodings"):
            LateEdgeStore(tmp_path / "0", DIM, NAMES, other)
    with pytest.raises(StoreError, match="encodings"):
        EdgeStore(tmp_path / "0", DIM, NAMES)
    EdgeStore(tmp_path / "1", DIM, NAMES).close()
    with pytest.raises(StoreError, match="encodings"):
        LateEdgeStore(tmp_path / "1", DIM, NAMES, FDE)

    from qdrant_client import QdrantClient

    with closing(QdrantClient(":memory:")) as client:
        LateServerStore(client, "c", DIM, NAMES, FDE)
        with pytest.raises(StoreError, match="encodings"):
            LateServerStore(client, "c", DIM, NAMES, Fde(2, 2, None, seed=4))
