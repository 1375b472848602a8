"""How many candidates late interaction needs: fixed dimensional encodings against nearest single rows.

Both propose documents whose exact similarity (MaxSim, also called Chamfer) is then computed. What counts is how many
must be proposed until the ten best by that similarity are among them 95 times in 100. The rival is what ColBERT and
PLAID do at heart, the SV heuristic of the MUVERA paper (arXiv 2405.19504, section 3.2): for each query row the nearest
document rows, and the documents that they belong to, each once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.bench_made import Clock, of_length_one, report
from mmretrieval import late
from mmretrieval.engine import DEPTH
from mmretrieval.muvera import Fde, encode_items, encode_queries
from mmretrieval.store.edge import LateEdgeStore
from mmretrieval.store.late import candidates_for
from mmretrieval.types import Array, Point, Selection, Tokens, Vectors, item_id

BEST, RECALL = 10, 0.95
# How many nearest rows of each query row are looked at; more are never needed for RECALL.
FEW = 512
# Items pooled so many rows to one, and compared exactly.
POOLED = (2.0, 3.0)
SETTINGS = (
    Fde(10, 4, 8),
    Fde(20, 4, 8),
    Fde(20, 4, 16),
    Fde(20, 5, 16),
    Fde(20, 5, 16, final_dim=5120),
)


@dataclass(frozen=True)
class Made:
    """Documents and queries drawn from topics of words: sizes, and the seed that decides all of it.

    A word is a direction; a row is a word's direction and noise of length `noise`, made unit. A topic is 60 of the
    words by Zipf's law; a document mixes two topics. A query repeats words of one document in three of four rows, with
    noise of its own, and any words in the others.
    """

    documents: int = 5000
    rows: int = 64
    dim: int = 128
    queries: int = 100
    query_rows: int = 32
    words: int = 4000
    topics: int = 200
    noise: float = 0.8
    seed: int = 20261122

    def draw(self) -> tuple[Vectors, Tokens]:
        """The documents and the queries, whose rows all weigh 1."""
        rng = np.random.Generator(np.random.PCG64(self.seed))
        centres = rng.standard_normal((self.words, self.dim))
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        topics = np.array([rng.choice(self.words, 60, replace=False) for _ in range(self.topics)])
        share = 1.0 / np.arange(1, 61)
        two = rng.integers(0, self.topics, (self.documents, 2))
        which = two[np.arange(self.documents)[:, None], rng.integers(0, 2, (self.documents, self.rows))]
        said = topics[which, rng.choice(60, which.shape, p=share / share.sum())]
        sources = rng.choice(self.documents, self.queries, replace=False)
        asked = said[sources[:, None], rng.integers(0, self.rows, (self.queries, self.query_rows))]
        stray = rng.random(asked.shape) < 0.25
        asked[stray] = rng.integers(0, self.words, int(stray.sum()))
        bags = Vectors(self._noisy(rng, centres, said), np.arange(self.documents + 1, dtype=np.int64) * self.rows)
        offsets = np.arange(self.queries + 1, dtype=np.int64) * self.query_rows
        rows = self._noisy(rng, centres, asked)
        return bags, Tokens(Vectors(rows, offsets), np.ones(len(rows), dtype=np.float32))

    def _noisy(self, rng: np.random.Generator, centres: npt.NDArray[np.float64], words: npt.NDArray[Any]) -> Array:
        away = rng.standard_normal((words.size, self.dim)) * (self.noise / math.sqrt(self.dim))
        rows = centres[words.reshape(-1)] + away
        return of_length_one(rows)


def late_interaction(
    made: Made, scratch: Path, settings: Sequence[Fde] = SETTINGS, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Candidates needed by each way, and what the default encoding finds through an Edge index made in `scratch`."""
    clock = Clock()
    bags, queries = made.draw()
    tell(f"{made.documents} documents of {made.rows} rows, {made.queries} queries of {made.query_rows}")
    owner = np.repeat(np.arange(len(bags)), np.diff(bags.offsets))
    nearest = [_nearest(queries[q][0], bags, owner) for q in range(len(queries))]
    best = np.array([n.best for n in nearest])
    rows = [_single(nearest, made.query_rows)]
    tell(f"{rows[0]['way']}: {rows[0]['candidates']} candidates")
    for fde in settings:
        rows.append(_encoded(fde, bags, queries, best))
        tell(f"{rows[-1]['way']}: {rows[-1]['candidates']} candidates")
    for row in rows:
        row["of_single"] = round(row["candidates"] / rows[0]["candidates"], 3)
    pooled = [_pooled(factor, bags, queries, best) for factor in POOLED]
    tell("items are pooled")
    index = _index(bags, queries, best, scratch)
    found = {"best": BEST, "recall": RECALL, "rows": rows, "pooled": pooled, "index": index}
    return report(made.documents, made, found, clock)


def _needed(places: npt.NDArray[np.int64]) -> int:
    """How long each list must be for RECALL of the wanted, which stand at these places (from 0), to be in it."""
    return int(np.sort(places.reshape(-1))[math.ceil(RECALL * places.size) - 1]) + 1


def _encoded(fde: Fde, bags: Vectors, queries: Tokens, best: npt.NDArray[np.int64]) -> dict[str, Any]:
    clock = Clock()
    matrices = fde.matrices(bags.rows.shape[1])
    items = encode_items(matrices, bags)
    seconds = clock.seconds()
    scores = encode_queries(matrices, queries) @ items.T
    order = np.argsort(-scores, axis=1, kind="stable")
    places = np.argsort(order, axis=1)[np.arange(len(best))[:, None], best]
    way = f"FDE {fde.reps},{fde.k_sim},{fde.d_proj}" + (f" to {fde.final_dim}" if fde.final_dim else "")
    found = float((places < BEST).mean())
    row = {"way": way, "numbers": matrices.dim, "candidates": _needed(places), "encode_seconds": seconds}
    return row | {"recall_of_10": round(found, 4), "recall_of_40": round(float((places < 40).mean()), 4)}


@dataclass(frozen=True, eq=False)
class _Nearest:
    """For one query: its ten best documents, and for each of its rows the nearest document rows and whose they are.

    `reach` says of each of the ten how many rows stand before the first of its own, in the query row's list where that
    is fewest; `owners` are the documents of each query row's nearest rows, nearest first.
    """

    best: npt.NDArray[np.int64]
    reach: npt.NDArray[np.int64]
    owners: list[npt.NDArray[np.int64]]


def _nearest(rows: Array, bags: Vectors, owner: npt.NDArray[np.int64]) -> _Nearest:
    products = rows @ bags.rows.T
    own = np.maximum.reduceat(products, bags.offsets[:-1], axis=1)
    best = np.argsort(-own.sum(axis=0), kind="stable")[:BEST].astype(np.int64)
    reach = np.full(BEST, len(owner), dtype=np.int64)
    owners = []
    # The best row of the FEW-th best document: at least FEW rows are as near, and few more.
    bounds = np.partition(own, -min(FEW, own.shape[1]), axis=1)[:, -min(FEW, own.shape[1])]
    for line, found, bound in zip(products, own, bounds, strict=True):
        near = np.flatnonzero(line >= bound)
        near = near[np.argsort(-line[near], kind="stable")]
        owners.append(owner[near])
        places = np.searchsorted(-line[near], -found[best], side="left")
        # Beyond the list's end the place is not known: it is no nearer than that.
        reach = np.minimum(reach, np.where(places < len(near), places, len(owner)))
    return _Nearest(best, reach, owners)


def _single(nearest: Sequence[_Nearest], rows: int) -> dict[str, Any]:
    """The single-vector heuristic: so many nearest rows for each query row, and how many documents they are of."""
    near = _needed(np.array([n.reach for n in nearest]))
    assert near <= FEW, f"more than {FEW} nearest rows are needed: raise FEW"
    distinct = [len(np.unique(np.concatenate([owners[:near] for owners in n.owners]))) for n in nearest]
    row = {"way": "single rows", "numbers": None, "candidates": round(float(np.mean(distinct)), 1)}
    return row | {"rows_a_query_row": near, "rows_touched": near * rows}


def _pooled(factor: float, bags: Vectors, queries: Tokens, best: npt.NDArray[np.int64]) -> dict[str, Any]:
    """How many of the ten best are the ten best still where items keep one row in `factor`."""
    clock = Clock()
    fewer = late.pooled(bags, factor)
    seconds = clock.seconds()
    hits = 0
    for q, wanted in enumerate(best):
        scores = late.scan(*queries[q], fewer)
        hits += len(set(wanted.tolist()) & set(np.argsort(-scores, kind="stable")[:BEST].tolist()))
    rows = round(len(fewer.rows) / len(bags), 1)
    return {"factor": factor, "rows": rows, "recall_at_10": round(hits / best.size, 4), "seconds": seconds}


def _index(bags: Vectors, queries: Tokens, best: npt.NDArray[np.int64], scratch: Path) -> dict[str, Any]:
    """The default encoding through the store that libraries use: recall of the ten best, and time."""
    ids = [item_id("bench", str(n)) for n in range(len(bags))]
    place = {ident: n for n, ident in enumerate(ids)}
    store = LateEdgeStore(scratch / "index", bags.rows.shape[1], ["text"], Fde())
    try:
        clock = Clock()
        store.put([Point(ident, {"text": bags[n]}, {}) for n, ident in enumerate(ids)])
        put = clock.seconds(1)
        rows = []
        for depth in (BEST, DEPTH):
            clock = Clock()
            found = [store.search("text", _one(queries, q), depth, [Selection()])[0] for q in range(len(queries))]
            seconds = clock.seconds(6)
            hits = [len(set(w) & {place[i] for i in f.ids[:BEST]}) for f, w in zip(found, best.tolist(), strict=True)]
            recall, ms = round(sum(hits) / best.size, 4), round(1000 * seconds / len(queries), 1)
            rows.append({"depth": depth, "candidates": candidates_for(depth), "recall_at_10": recall, "ms_a_query": ms})
    finally:
        store.close()
    return {"encoding": asdict(Fde()), "put_seconds": put, "searches": rows}


def _one(queries: Tokens, place: int) -> Tokens:
    return late.together([queries[place]], queries.bags.rows.shape[1])
