"""A Qdrant server or cluster, through qdrant-client: for a library that outgrew one machine, with Edge's answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import StoreError
from mmretrieval.muvera import Fde
from mmretrieval.store.late import BagSearch, tokens_name
from mmretrieval.store.qdrant import Select, encode, nearest, restrictions, spread, storable
from mmretrieval.types import Array, Found, Point, Selection, View

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

BATCH = 256
# Where a collection's metadata say which encoding stands for its bags.
ENCODING = "encoding"
SECONDS = 60


class Collection:
    """A collection with points under the names in `views`: what both kinds of store do alike."""

    def __init__(
        self,
        server: str | QdrantClient,
        collection: str,
        dim: int,
        views: Sequence[View],
        exact: bool,
        api_key: str | None,
        fde: Fde | None,
        select: Select | None,
    ) -> None:
        from qdrant_client import QdrantClient

        self._select = select
        self._name, self._dim, self._views, self._exact = collection, dim, frozenset(views), exact
        self._where = server if isinstance(server, str) else "handed in"
        self._own = isinstance(server, str)
        if isinstance(server, str):
            with self._reporting("reach"):
                self._client = QdrantClient(url=server, api_key=api_key, timeout=SECONDS, check_compatibility=False)
        else:
            self._client = server
        try:
            with self._reporting("open"):
                self._ensure(views, fde)
        except StoreError:
            self._let_go()
            raise

    def count(self, view: View) -> int:
        """How many items have this view."""
        from qdrant_client import models

        if view not in self._views:
            return 0
        having = models.Filter(must=[models.HasVectorCondition(has_vector=view)])
        with self._reporting("count points in"):
            return self._client.count(self._name, count_filter=having, exact=True).count

    def delete(self, ids: Sequence[str]) -> None:
        """Forgets the points; unknown ids are no error."""
        from qdrant_client import models

        known: list[Any] = list(storable(ids))
        for start in range(0, len(known), BATCH):
            with self._reporting("delete points from"):
                some = models.PointIdsList(points=known[start : start + BATCH])
                self._client.delete(self._name, some, wait=True)

    def flush(self) -> None:
        """Returns at once: a server takes what it acknowledged into its own log, on its own schedule."""

    def close(self) -> None:
        """Lets the connection go; a client that was handed in stays open for its owner."""
        self._let_go()

    def _let_go(self) -> None:
        if self._own:
            self._client.close()

    def _ensure(self, views: Sequence[View], fde: Fde | None) -> None:
        from qdrant_client import models

        wanted = _vectors_config(self._dim, views, fde)
        encoding = {} if fde is None else {ENCODING: fde.described(self._dim)}
        if not self._client.collection_exists(self._name):
            self._client.create_collection(self._name, wanted, metadata=encoding or None)
            if self._own:  # a client in memory has no payload indexes and warns of it
                self._client.create_payload_index(self._name, "kind", models.PayloadSchemaType.KEYWORD)
            return
        config = self._client.get_collection(self._name).config
        held = config.params.vectors
        shapes = _shapes(held) if isinstance(held, dict) else {"": "one unnamed"}
        if shapes != _shapes(wanted):
            raise StoreError(
                f"collection {self._name!r} of {self._where} holds {shapes}, not {', '.join(views)} of {self._dim} "
                "numbers by dot product: name another collection, or delete that one"
            )
        if fde is not None and (config.metadata or {}).get(ENCODING) != encoding[ENCODING]:
            raise StoreError(
                f"collection {self._name!r} of {self._where} holds encodings {(config.metadata or {}).get(ENCODING)}, "
                f"not {encoding[ENCODING]}: name another collection, or delete that one"
            )

    def _upsert(self, points: Sequence[Point], vectors: Sequence[Mapping[str, Array]]) -> None:
        from qdrant_client import models

        batch = [
            models.PointStruct(
                id=p.id,
                vector={name: np.asarray(row, dtype=np.float32).tolist() for name, row in named_rows.items()},
                payload=encode(p.payload),
            )
            for p, named_rows in zip(points, vectors, strict=True)
        ]
        with self._reporting("store points in"):
            self._client.upsert(self._name, batch, wait=True)

    def _retrieve(self, name: str, ids: Sequence[str]) -> dict[str, Any]:
        """What is stored under a name of those of the points that have it."""
        with self._reporting("read vectors from"):
            records = self._client.retrieve(self._name, list(ids), with_payload=False, with_vectors=[name])
        return {str(r.id): r.vector[name] for r in records if isinstance(r.vector, dict) and name in r.vector}

    def _query(
        self, view: View, rows: Array, limit: int, selections: Sequence[Selection]
    ) -> list[list[tuple[str, float]]]:
        from qdrant_client import models

        trees = restrictions(selections, self._select)
        requests = [
            models.QueryRequest(
                query=row.tolist(),
                using=view,
                limit=limit,
                filter=None if tree is None else models.Filter.model_validate(tree),
                params=models.SearchParams(exact=True) if self._exact else None,
                with_payload=False,
                with_vector=False,
            )
            for row, tree in zip(rows, trees, strict=True)
        ]
        return self._answered(requests)

    def _answered(self, requests: Sequence[models.QueryRequest]) -> list[list[tuple[str, float]]]:
        with self._reporting("search"):
            answers = self._client.query_batch_points(self._name, requests) if requests else []
        return [[(str(p.id), p.score) for p in answer.points] for answer in answers]

    @contextmanager
    def _reporting(self, doing: str) -> Iterator[None]:
        from qdrant_client.common.client_exceptions import QdrantException
        from qdrant_client.http.exceptions import ApiException

        try:
            yield
        except (ApiException, QdrantException, OSError, ValueError) as error:
            raise StoreError(
                f"could not {doing} collection {self._name!r} of the Qdrant server {self._where}: {error}. "
                "Check that the server runs at that address and accepts the key"
            ) from error


class ServerStore(Collection):
    """An Index in `collection` of a server, made if there is none: float32 vectors of `dim` numbers under each view.

    `server` is a URL, or a client that the caller made and closes (`QdrantClient(":memory:")` answers exactly, without
    a server). A server searches its HNSW graph, approximately, unless `exact`. Raises StoreError where the server
    cannot be reached, refuses, or holds a collection of that name with other vectors. `select` says which items pass a
    filter that payloads cannot answer (`store.qdrant`).
    """

    def __init__(
        self,
        server: str | QdrantClient,
        collection: str,
        dim: int,
        views: Sequence[View],
        *,
        exact: bool = False,
        api_key: str | None = None,
        select: Select | None = None,
    ) -> None:
        super().__init__(server, collection, dim, views, exact, api_key, None, select)

    def search(self, view: View, queries: Array, depth: int, selections: Sequence[Selection]) -> list[Found]:
        """For each query row (q, dim) the `depth` best items by dot product among its selection; ties by id."""
        if view not in self._views or depth < 1:
            return [Found.ordered((), ()) for _ in selections]
        return nearest(queries, depth, selections, lambda *asked: self._query(view, *asked))

    def rows(self, view: View, ids: Sequence[str]) -> tuple[Array, npt.NDArray[np.bool_]]:
        """The items' vectors (n, dim), zero where an item lacks the view, and which of them have it (n,)."""
        wanted = storable(set(ids)) if view in self._views else []
        vectors: dict[str, Any] = {}
        for start in range(0, len(wanted), BATCH):
            vectors |= self._retrieve(view, wanted[start : start + BATCH])
        return spread(ids, vectors, self._dim)

    def put(self, points: Sequence[Point]) -> None:
        """Stores each point whole, replacing an earlier one of that id; searches see them when this returns."""
        for start in range(0, len(points), BATCH):
            batch = points[start : start + BATCH]
            self._upsert(batch, [{str(view): row for view, row in p.vectors.items()} for p in batch])


class LateServerStore(Collection, BagSearch):
    """An Index of bags of rows of `dim` numbers: the encodings by `fde` find candidates, exact MaxSim orders them.

    As ServerStore, and a search looks at `candidates_for(depth)` candidates. The metadata of the
    collection say which encoding it holds; another one is refused with StoreError.
    """

    def __init__(
        self,
        server: str | QdrantClient,
        collection: str,
        dim: int,
        views: Sequence[View],
        fde: Fde,
        *,
        exact: bool = False,
        api_key: str | None = None,
        select: Select | None = None,
    ) -> None:
        super().__init__(server, collection, dim, views, exact, api_key, fde, select)
        self._fde = fde

    def _maxsim(self, view: View, asked: Sequence[tuple[Array, Sequence[str]]]) -> list[list[tuple[str, float]]]:
        from qdrant_client import models

        requests = [
            models.QueryRequest(
                query=rows.tolist(),
                using=tokens_name(view),
                limit=len(ids),
                filter=models.Filter(must=[models.HasIdCondition(has_id=list(ids))]),
                with_payload=False,
                with_vector=False,
            )
            for rows, ids in asked
        ]
        return self._answered(requests)


def _vectors_config(dim: int, views: Sequence[View], fde: Fde | None) -> dict[str, models.VectorParams]:
    from qdrant_client import models

    dense = dim if fde is None else fde.matrices(dim).dim
    # Encodings only propose: half of float32's bits serve as well.
    kept = None if fde is None else models.Datatype.FLOAT16
    config = {str(v): models.VectorParams(size=dense, distance=models.Distance.DOT, datatype=kept) for v in views}
    if fde is not None:
        several = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
        # No graph: bags are only ever scored for candidates that are known by then.
        bag = models.VectorParams(
            size=dim,
            distance=models.Distance.DOT,
            multivector_config=several,
            hnsw_config=models.HnswConfigDiff(m=0),
        )
        config |= {tokens_name(v): bag for v in views}
    return config


def _shapes(config: Mapping[str, models.VectorParams]) -> dict[str, Any]:
    return {n: (p.size, p.distance, *(["several"] if p.multivector_config else [])) for n, p in config.items()}
