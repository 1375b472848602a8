"""Qdrant Edge: the engine of a Qdrant server inside this process, on one folder that one process may hold open.

The folder is a cache of the embeddings: where it is lost or spoilt, delete it and it is built again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import LibraryBusy, RetrievalError, StoreError
from mmretrieval.muvera import Fde
from mmretrieval.store.late import BagSearch, tokens_name
from mmretrieval.store.qdrant import Select, encode, nearest, restrictions, spread, storable
from mmretrieval.types import Array, Found, Point, Selection, View

if TYPE_CHECKING:
    import qdrant_edge as qe

# Larger batches bloat the write-ahead log, which is replayed at every opening; 256 rows hold the GIL for about 25 ms.
BATCH = 256
CONFIG = "edge_config.json"
# Beside it, where bags are kept: which encoding stands for them.
ENCODING = "encoding.json"


class EdgeShard:
    """An open folder with points under the names in `views`: what both kinds of store do alike."""

    def __init__(
        self, folder: Path, dim: int, views: Sequence[View], exact: bool, fde: Fde | None, select: Select | None
    ) -> None:
        self._folder, self._dim, self._views, self._exact = folder, dim, frozenset(views), exact
        self._select = select
        if not (folder / CONFIG).exists():
            _create(folder, dim, views, fde)
        _check_encoding(folder, dim, fde)
        self._shard = _load(folder, _config(dim, views, fde))
        self._open = True

    def count(self, view: View) -> int:
        """How many items have this view."""
        import qdrant_edge as qe

        if view not in self._views:
            return 0
        with self._reporting("count points in"):
            return self._shard.count(qe.CountRequest(filter=qe.Filter(must=[qe.HasVectorCondition(view)])))

    def delete(self, ids: Sequence[str]) -> None:
        """Forgets the points; unknown ids are no error."""
        import qdrant_edge as qe

        known: list[Any] = list(storable(ids))
        for start in range(0, len(known), BATCH):
            with self._reporting("delete points from"):
                self._shard.update(qe.UpdateOperation.delete_points(known[start : start + BATCH]))

    def flush(self) -> None:
        """Returns when everything put and deleted before is on disk (fsync)."""
        with self._reporting("write to disk"):
            self._shard.flush()

    def close(self) -> None:
        """Flushes and lets the folder go; the object is of no use afterwards. Closing twice is no error."""
        if self._open:
            self._open = False
            try:
                self.flush()
            finally:
                self._shard.close()

    def _upsert(self, points: Sequence[Point], vectors: Sequence[Mapping[str, Array]]) -> None:
        import qdrant_edge as qe

        with self._reporting("store points in"):
            # The stub asks for lists; the engine reads numpy rows, without a Python float for each number.
            batch = [qe.Point(p.id, v, encode(p.payload)) for p, v in zip(points, vectors, strict=True)]  # type: ignore[arg-type]
            self._shard.update(qe.UpdateOperation.upsert_points(batch))

    def _retrieve(self, name: str, ids: Sequence[str]) -> dict[str, Any]:
        """What is stored under a name of those of the points that have it."""
        wanted: list[Any] = list(ids)
        with self._reporting("read vectors from"):
            records = self._shard.retrieve(wanted, False, [name]) if wanted else []
        return {str(r.id): r.vector[name] for r in records if isinstance(r.vector, dict) and name in r.vector}

    def _query(
        self, view: View, rows: Array, limit: int, selections: Sequence[Selection]
    ) -> list[list[tuple[str, float]]]:
        """For each query row the `limit` nearest points of its selection, and their scores."""
        import qdrant_edge as qe

        trees = restrictions(selections, self._select)
        requests = [
            qe.QueryRequest(
                limit=limit,
                query=qe.Query.Nearest(row, using=view),
                filter=None if tree is None else _filter(tree),
                params=qe.SearchParams(exact=self._exact),
            )
            for row, tree in zip(rows, trees, strict=True)
        ]
        return self._answered(requests)

    def _answered(self, requests: Sequence[qe.QueryRequest]) -> list[list[tuple[str, float]]]:
        import qdrant_edge as qe

        with self._reporting("search"):
            answers = self._shard.query_batch(qe.QueryBatchRequest(list(requests)))
        return [[(str(p.id), p.score) for p in answer] for answer in answers]

    @contextmanager
    def _reporting(self, doing: str) -> Iterator[None]:
        # Edge raises bare Exception for whatever goes wrong inside it.
        try:
            yield
        except RetrievalError:
            raise
        except Exception as error:
            state = "" if self._open else " It was closed before."
            raise StoreError(f"could not {doing} the index {self._folder}: {error}.{state}") from error


class EdgeStore(EdgeShard):
    """An Index in `folder`, made if there is none: float32 vectors of `dim` numbers under each name in `views`.

    What `put` wrote is scanned exactly. What `optimise` has indexed is found by HNSW, approximately, unless `exact`.
    What was put survives the death of the process, and after `flush` the loss of power. Raises LibraryBusy where
    another process (or another EdgeStore) has the folder open, StoreError where it holds something else.
    `select` says which items pass a filter that payloads cannot answer (`store.qdrant`).
    """

    def __init__(
        self, folder: Path, dim: int, views: Sequence[View], exact: bool = False, select: Select | None = None
    ) -> None:
        super().__init__(folder, dim, views, exact, None, select)

    def search(self, view: View, queries: Array, depth: int, selections: Sequence[Selection]) -> list[Found]:
        """For each query row (q, dim) the `depth` best items by dot product among its selection; ties by id."""
        if view not in self._views or depth < 1:
            return [Found.ordered((), ()) for _ in selections]
        return nearest(queries, depth, selections, lambda *asked: self._query(view, *asked))

    def rows(self, view: View, ids: Sequence[str]) -> tuple[Array, npt.NDArray[np.bool_]]:
        """The items' vectors (n, dim), zero where an item lacks the view, and which of them have it (n,)."""
        vectors = self._retrieve(view, storable(set(ids))) if view in self._views else {}
        return spread(ids, vectors, self._dim)

    def put(self, points: Sequence[Point]) -> None:
        """Stores each point whole, replacing an earlier one of that id. Raises StoreError for a vector not of `dim`."""
        for start in range(0, len(points), BATCH):
            batch = points[start : start + BATCH]
            self._upsert(batch, [_vectors(p) for p in batch])


class LateEdgeStore(EdgeShard, BagSearch):
    """An Index of bags of rows of `dim` numbers: the encodings by `fde` find candidates, exact MaxSim orders them.

    As EdgeStore, and a search looks at `candidates_for(depth)` candidates. A folder that was filled
    with another encoding is refused with StoreError: its vectors cannot be compared with this one's queries.
    """

    def __init__(
        self,
        folder: Path,
        dim: int,
        views: Sequence[View],
        fde: Fde,
        exact: bool = False,
        select: Select | None = None,
    ) -> None:
        super().__init__(folder, dim, views, exact, fde, select)
        self._fde = fde

    def _maxsim(self, view: View, asked: Sequence[tuple[Array, Sequence[str]]]) -> list[list[tuple[str, float]]]:
        import qdrant_edge as qe

        return self._answered(
            [
                qe.QueryRequest(
                    limit=len(ids),
                    query=qe.Query.Nearest(rows, using=tokens_name(view)),  # type: ignore[arg-type]
                    filter=qe.Filter(must=[qe.HasIdCondition(set(ids))]),
                    params=qe.SearchParams(exact=True),
                )
                for rows, ids in asked
            ]
        )


def optimise(folder: Path, dim: int, views: Sequence[View], above_kb: int = 10_000, fde: Fde | None = None) -> None:
    """Builds the HNSW graph of a shard that nobody has open: for a process of its own.

    While it runs (31 s for 20,000 items of two views of 384 numbers on two cores) no other Python thread of its process
    does. Parts with less than `above_kb` kilobytes of vectors stay as they are, and are scanned. Killed half-way, it
    leaves the points as they were.
    """
    shard = _load(folder, _config(dim, views, fde, above_kb))
    try:
        shard.optimize()
        shard.flush()
    except Exception as error:
        raise StoreError(f"could not optimise the index {folder}: {error}; its points are unharmed") from error
    finally:
        shard.close()


def _config(dim: int, views: Sequence[View], fde: Fde | None = None, above_kb: int | None = None) -> qe.EdgeConfig:
    import qdrant_edge as qe

    dense = dim if fde is None else fde.matrices(dim).dim
    vectors: dict[str, qe.EdgeVectorParams] = {v: qe.EdgeVectorParams(dense, qe.Distance.Dot) for v in views}
    if fde is not None:
        # Eight bits a number: encodings only propose; over 5,000 of them recall moved by less than 0.01.
        coarse = qe.EdgeVectorParams(dense, qe.Distance.Dot, datatype=qe.VectorStorageDatatype.Turbo8)
        vectors = dict.fromkeys(views, coarse)
        several = qe.MultiVectorConfig(qe.MultiVectorComparator.MaxSim)
        # No graph: bags are only ever scored for candidates that are known by then.
        no_graph = qe.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=0)
        bag = qe.EdgeVectorParams(dim, qe.Distance.Dot, multivector_config=several, hnsw_config=no_graph)
        vectors |= {tokens_name(view): bag for view in views}
    return qe.EdgeConfig(
        vectors=vectors,
        optimizers=None if above_kb is None else qe.EdgeOptimizersConfig(indexing_threshold=above_kb),
    )


def _check_encoding(folder: Path, dim: int, fde: Fde | None) -> None:
    """Refuses a folder whose encodings this one's queries cannot be compared with."""
    file, wanted = folder / ENCODING, None if fde is None else fde.described(dim)
    try:
        held = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
    except ValueError as error:
        raise StoreError(f"{file} cannot be read ({error}). Delete {folder}, and it is built again") from error
    if held != wanted:
        raise StoreError(f"the index {folder} holds encodings {held}, not {wanted}: delete it, and it is built again")


def _create(folder: Path, dim: int, views: Sequence[View], fde: Fde | None) -> None:
    """Makes an empty shard whole or not at all: under another name first."""
    import qdrant_edge as qe

    if folder.exists() and any(folder.iterdir()):
        raise StoreError(f"{folder} is not empty and holds no index: choose another folder, or delete it")
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    shard = qe.EdgeShard.create(str(fresh), _config(dim, views, fde))
    # The one field that the page filters on all the time; 20,000 points: 1.5 ms instead of 12 ms a query.
    shard.update(qe.UpdateOperation.create_field_index("kind", qe.PayloadSchemaType.Keyword))
    shard.flush()
    shard.close()
    if fde is not None:
        with (fresh / ENCODING).open("w", encoding="utf-8") as sink:
            json.dump(fde.described(dim), sink)
            sink.flush()
            os.fsync(sink.fileno())
    fresh.rename(folder)
    parent = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _load(folder: Path, config: qe.EdgeConfig) -> qe.EdgeShard:
    import qdrant_edge as qe

    try:
        return qe.EdgeShard.load(str(folder), config)
    except Exception as error:
        if "WouldBlock" in str(error):
            raise LibraryBusy(
                f"the index {folder} is open in another process: close that page or wait for that command to end"
            ) from error
        raise StoreError(
            f"the index {folder} cannot be opened: {error}. Delete that folder, and it is built again"
        ) from error


def _vectors(point: Point) -> Any:
    return {view: np.ascontiguousarray(row, dtype=np.float32) for view, row in point.vectors.items()}


def _filter(tree: Mapping[str, Any]) -> qe.Filter:
    """A tree of `store.qdrant` in Edge's own classes."""
    import qdrant_edge as qe

    def clause(node: Mapping[str, Any]) -> Any:
        if "has_id" in node:
            return qe.HasIdCondition(set(node["has_id"]))
        if "is_empty" in node:
            return qe.IsEmptyCondition(node["is_empty"]["key"])
        if "match" in node:
            return qe.FieldCondition(node["key"], match=qe.MatchAny(node["match"]["any"]))
        if "range" in node:
            return qe.FieldCondition(node["key"], range=qe.RangeFloat(**node["range"]))
        return _filter(node)

    def clauses(name: str) -> list[Any] | None:
        return [clause(node) for node in tree[name]] if name in tree else None

    return qe.Filter(must=clauses("must"), should=clauses("should"), must_not=clauses("must_not"))
