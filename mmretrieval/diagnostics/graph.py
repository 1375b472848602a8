"""Recall of the search graph that an index builds, measured on a graph built for that in another process.

The engine's `optimize()` stops every Python thread of its process, so the graph is built and asked in a child, in a
folder that is removed afterwards. The engine builds in the order of the points' ids, whatever order they were put in:
here the ids are numbered in the order that is to be tried. In a library they are hashes: a random order.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.neighbours import Places, nearest_of
from mmretrieval.errors import StoreError
from mmretrieval.geometry import Numbers, blocks, directions
from mmretrieval.types import Array

if TYPE_CHECKING:
    import qdrant_edge as qe

K = 10
# The engine's own defaults, which libraries use (`store.edge`).
LINKS, CANDIDATES = 16, 100
# A product of unit float32 rows this near to the 10th best counts as good: copies may answer for each other.
TIE = 1e-6
SECONDS = 1800
CHILD = "from mmretrieval.diagnostics.graph import answer; import sys; answer(sys.argv[1])"


@dataclass(frozen=True)
class Graph:
    """How graphs are built and asked: `links` a point and `candidates` looked at when it is put in (m, ef_construct).

    `efs` are the numbers of candidates kept while searching; each order is built `builds` times, because the engine
    draws its points' levels anew each time and takes no seed.
    """

    efs: tuple[int, ...] = (16, 64, 200)
    builds: int = 3
    links: int = LINKS
    candidates: int = CANDIDATES


def recalls(
    rows: Array, asked: Array, orders: Mapping[str, Places], own: Places | None, graph: Graph
) -> dict[str, Numbers]:
    """The share of the 10 nearest of `rows` (n, d) that a graph finds, by order: (builds, efs, q).

    `asked` (q, d) are the queries, and `own` (q,) the row that does not count for each, itself, or -1. `orders` are
    permutations of 0..n-1: the order in which the rows go into the graph. Rows are taken as directions. n must be
    above 10. Raises StoreError where the child ends without an answer.
    """
    unit = directions(rows).astype(np.float32)
    queries = directions(asked).astype(np.float32)
    # By the 10th best product rather than by place, so that a copy may stand for what it copies.
    last = 1.0 - nearest_of(queries, unit, K, own).distances[:, -1] ** 2 / 2.0
    with tempfile.TemporaryDirectory(prefix="mmretrieval-graph-") as name:
        folder = Path(name)
        np.save(folder / "rows.npy", unit)
        np.save(folder / "asked.npy", queries)
        np.save(folder / "orders.npy", np.stack([orders[o] for o in orders]))
        settings = {"efs": graph.efs, "builds": graph.builds, "links": graph.links, "candidates": graph.candidates}
        (folder / "graph.json").write_text(json.dumps(settings | {"limit": K + (own is not None)}), encoding="utf-8")
        _run(folder)
        found = np.load(folder / "found.npy")
    shares = np.empty(found.shape[:-1])
    for index in np.ndindex(found.shape[:-2]):
        shares[index] = _share(unit, queries, found[index], own, last)
    return {order: shares[i] for i, order in enumerate(orders)}


def _share(rows: Array, queries: Array, found: npt.NDArray[np.int32], own: Places | None, last: Numbers) -> Numbers:
    """The share of K that each query (q,) got among `found` (q, limit), -1 standing for nothing."""
    shares = np.empty(len(queries))
    for block in blocks(len(queries), 512):
        places = found[block]
        products = np.einsum("qd,qkd->qk", queries[block].astype(np.float64), rows[places].astype(np.float64))
        good = (places >= 0) & (products >= last[block, None] - TIE)
        if own is not None:
            good &= places != own[block, None]
        shares[block] = np.minimum(good.sum(axis=1), K) / K
    return shares


def _run(folder: Path) -> None:
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StoreError(f"building search graphs took more than {SECONDS} s: look at a smaller sample") from error
    if done.returncode or not (folder / "found.npy").exists():
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise StoreError(
            f"the process that builds search graphs ended with code {done.returncode}: {said}. It needs room for the "
            f"vectors a few times over in {tempfile.gettempdir()}"
        )


# --- in the child --------------------------------------------------------------------------------------------------


def answer(name: str) -> None:
    """Builds the graphs that `name`, a folder, asks for, and leaves in found.npy the places that they find.

    (orders, builds, efs, q, limit) int32, -1 where fewer were found. For a process of its own.
    """
    folder = Path(name)
    rows, asked = np.load(folder / "rows.npy"), np.load(folder / "asked.npy")
    orders = np.load(folder / "orders.npy")
    wanted = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
    shape = (len(orders), wanted["builds"], len(wanted["efs"]), len(asked), wanted["limit"])
    found = np.full(shape, -1, dtype=np.int32)
    for i, order in enumerate(orders):
        for build in range(wanted["builds"]):
            place = folder / f"shard-{i}-{build}"
            shard = _built(place, rows[order], wanted)
            try:
                for j, ef in enumerate(wanted["efs"]):
                    found[i, build, j] = _found(shard, asked, order, ef, wanted["limit"])
            finally:
                shard.close()
            _remove(place)
    np.save(folder / "partial.npy", found)
    (folder / "partial.npy").rename(folder / "found.npy")


def _built(folder: Path, rows: Array, wanted: Mapping[str, Any]) -> qe.EdgeShard:
    """A shard with a search graph over the rows, point i being row i."""
    import qdrant_edge as qe

    from mmretrieval.store.edge import EdgeStore
    from mmretrieval.types import Point

    dim = rows.shape[1]
    store = EdgeStore(folder, dim, ("visual",))
    store.put([Point(str(uuid.UUID(int=i + 1)), {"visual": row}, {}) for i, row in enumerate(rows)])
    store.close()
    config = qe.EdgeConfig(
        vectors={"visual": qe.EdgeVectorParams(dim, qe.Distance.Dot)},
        # 1 kB: a graph is built and used however few the points are.
        hnsw_config=qe.HnswIndexConfig(wanted["links"], wanted["candidates"], full_scan_threshold=1),
        optimizers=qe.EdgeOptimizersConfig(indexing_threshold=1),
    )
    shard = qe.EdgeShard.load(str(folder), config)
    shard.optimize()
    indexed = shard.info().indexed_vectors_count
    if indexed != len(rows):
        raise StoreError(f"the engine built a graph over {indexed} of {len(rows)} points, so it cannot be measured")
    return shard


def _found(shard: qe.EdgeShard, asked: Array, order: Sequence[int], ef: int, limit: int) -> npt.NDArray[np.int32]:
    import qdrant_edge as qe

    found = np.full((len(asked), limit), -1, dtype=np.int32)
    parameters = qe.SearchParams(hnsw_ef=ef)
    requests = [
        qe.QueryRequest(limit=limit, query=qe.Query.Nearest(row, using="visual"), params=parameters) for row in asked
    ]
    for query, points in enumerate(shard.query_batch(qe.QueryBatchRequest(requests))):
        for rank, point in enumerate(points):
            found[query, rank] = order[uuid.UUID(str(point.id)).int - 1]
    return found


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
