"""What the contracts of both kinds of index stand on: a dozen points, a store over a ledger, and the plain meaning."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mmretrieval.filters import Filter, matches
from mmretrieval.store.sql import where
from mmretrieval.types import Array, Point, Selection, View
from tests.store.strategies import FILTERS

DIM = 4
NAMES: tuple[View, ...] = ("visual", "text")
IDS = sorted(str(uuid.uuid5(uuid.NAMESPACE_URL, f"point {i}")) for i in range(12))
ABSENT = str(uuid.uuid5(uuid.NAMESPACE_URL, "a point that nobody stores"))
SOME_IDS = st.frozensets(st.sampled_from([*IDS, ABSENT, "no uuid"]), max_size=8)
SELECTIONS = st.builds(Selection, st.none() | FILTERS, SOME_IDS, st.none() | SOME_IDS)
KINDS = ("exact", "edge", "memory", "server")


class Scanned:
    """An index over an exact store: what a library does with vectors and its ledger, in small."""

    def __init__(self) -> None:
        self.points: dict[str, Point] = {}

    def put(self, points: list[Point]) -> None:
        self.points |= {p.id: p for p in points}

    def delete(self, ids: list[str]) -> None:
        for i in ids:
            self.points.pop(i, None)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def held(self, view: View) -> tuple[tuple[str, ...], list[Array]]:
        """The ids of the points that have this view, in order, and what they have."""
        ids = tuple(sorted(i for i, p in self.points.items() if view in p.vectors))
        return ids, [self.points[i].vectors[view] for i in ids]

    def select(self, value: Filter) -> frozenset[str]:
        """The points that a filter keeps, by the ledger's SQL."""
        with closing(sqlite3.connect(":memory:")) as ledger:
            ledger.execute("CREATE TABLE items (id TEXT, payload TEXT)")
            texts = [(i, json.dumps(p.payload, ensure_ascii=False)) for i, p in self.points.items()]
            ledger.executemany("INSERT INTO items VALUES (?, ?)", texts)
            sql, parameters = where(value)
            return frozenset(i for (i,) in ledger.execute(f"SELECT id FROM items WHERE {sql}", parameters))


def opened(
    kind: str, folder: Path, scanned: type[Any], edge: type[Any], server: type[Any], *more: Any
) -> Iterator[Any]:
    """A store of one of KINDS, closed in the end; `more` is what its maker takes after dimension and names."""
    if kind == "exact":
        yield scanned()
    elif kind == "edge":
        store = edge(folder / "0", DIM, NAMES, *more)
        yield store
        store.close()
    elif kind == "memory":
        from qdrant_client import QdrantClient

        with closing(QdrantClient(":memory:")) as client:
            yield server(client, "contract", DIM, NAMES, *more)
    else:
        if "QDRANT_URL" not in os.environ:
            pytest.skip("no Qdrant server: set QDRANT_URL to hold one to this contract")
        remote = server(os.environ["QDRANT_URL"], f"contract-{uuid.uuid4()}", DIM, NAMES, *more, exact=True)
        yield remote
        remote._client.delete_collection(remote._name)
        remote.close()


def fill(store: Any, points: list[Point]) -> None:
    """The store with these points and no others."""
    store.delete(IDS)
    store.put(points)


def plainly(
    points: dict[str, Point], view: View, depth: int, s: Selection, score: Callable[[Array], float]
) -> list[tuple[str, float]]:
    """The best by `score` of what the selection keeps, ties by id."""
    scored = [
        (-score(p.vectors[view]), i)
        for i, p in points.items()
        if view in p.vectors
        and i not in s.exclude
        and (s.subset is None or i in s.subset)
        and (s.filter is None or matches(s.filter, p.payload))
    ]
    return [(i, -value) for value, i in sorted(scored)[:depth]]


def quick(examples: int) -> settings:
    """So many cases, however long the machine takes for one."""
    return settings(deadline=None, max_examples=examples, suppress_health_check=[HealthCheck.too_slow])
