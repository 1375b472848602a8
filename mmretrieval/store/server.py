"""A Qdrant server or cluster, through qdrant-client: for a library that outgrew one machine, with Edge's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import StoreError
from mmretrieval.store.qdrant import encode, nearest, restriction, spread, storable
from mmretrieval.types import Array, Found, Point, Selection, View

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

BATCH = 256
SECONDS = 60


class ServerStore:
    """An Index in `collection` of a server, made if there is none: float32 vectors of `dim` numbers under each view.

    `server` is a URL, or a client that the caller made and closes (`QdrantClient(":memory:")` answers exactly, without
    a server). A server searches its HNSW graph, approximately, unless `exact`. Raises StoreError where the server
    cannot be reached, refuses, or holds a collection of that name with other vectors.
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
    ) -> None:
        from qdrant_client import QdrantClient

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
                self._ensure(views)
        except StoreError:
            self._let_go()
            raise

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
            with self._reporting("read vectors from"):
                records = self._client.retrieve(
                    self._name, wanted[start : start + BATCH], with_payload=False, with_vectors=[view]
                )
            vectors |= {str(r.id): r.vector[view] for r in records if isinstance(r.vector, dict) and view in r.vector}
        return spread(ids, vectors, self._dim)

    def count(self, view: View) -> int:
        """How many items have this view."""
        from qdrant_client import models

        if view not in self._views:
            return 0
        having = models.Filter(must=[models.HasVectorCondition(has_vector=view)])
        with self._reporting("count points in"):
            return self._client.count(self._name, count_filter=having, exact=True).count

    def put(self, points: Sequence[Point]) -> None:
        """Stores each point whole, replacing an earlier one of that id; searches see them when this returns."""
        from qdrant_client import models

        for start in range(0, len(points), BATCH):
            batch = [
                models.PointStruct(
                    id=p.id,
                    vector={view: np.asarray(row, dtype=np.float32).tolist() for view, row in p.vectors.items()},
                    payload=encode(p.payload),
                )
                for p in points[start : start + BATCH]
            ]
            with self._reporting("store points in"):
                self._client.upsert(self._name, batch, wait=True)

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

    def _ensure(self, views: Sequence[View]) -> None:
        from qdrant_client import models

        if not self._client.collection_exists(self._name):
            self._client.create_collection(
                self._name, {v: models.VectorParams(size=self._dim, distance=models.Distance.DOT) for v in views}
            )
            if self._own:  # a client in memory has no payload indexes and warns of it
                self._client.create_payload_index(self._name, "kind", models.PayloadSchemaType.KEYWORD)
            return
        held = self._client.get_collection(self._name).config.params.vectors
        shapes = {n: (p.size, p.distance) for n, p in held.items()} if isinstance(held, dict) else {"": "one unnamed"}
        if shapes != {v: (self._dim, models.Distance.DOT) for v in views}:
            raise StoreError(
                f"collection {self._name!r} of {self._where} holds {shapes}, not {', '.join(views)} of {self._dim} "
                "numbers by dot product: name another collection, or delete that one"
            )

    def _query(
        self, view: View, rows: Array, limit: int, selections: Sequence[Selection]
    ) -> list[list[tuple[str, float]]]:
        from qdrant_client import models

        trees = [restriction(s) for s in selections]
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
