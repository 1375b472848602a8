"""Late interaction in the stores: the exact scan over bags of rows, and what the two Qdrant stores share.

A Qdrant store keeps two vectors for each view: the bag's fixed dimensional encoding under the view's own name, which is
searched for candidates, and the bag of rows under `tokens_name`, without a graph, which puts the candidates into order
by exact MaxSim. So what they find is exact in score and order, and approximate only in what became a candidate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmretrieval import late
from mmretrieval.filters import Filter
from mmretrieval.muvera import Fde, encode_items, encode_queries
from mmretrieval.store.exact import Listing, Mask, allowed, candidates
from mmretrieval.store.qdrant import storable
from mmretrieval.types import Array, Found, Point, Selection, Tokens, Vectors, View

# How many candidates the encodings find: so many for each place of the list that is asked for, and no fewer than LEAST.
OVERSAMPLING, LEAST = 2, 100
# Points sent to Qdrant at once, and rows of theirs: 2**14 rows of 128 numbers are 8 MB.
POINTS_AT_ONCE, BAG_ROWS_AT_ONCE = 256, 2**14
# Bags read from Qdrant at once: they come as lists of Python numbers, of 32 bytes each.
BAGS_AT_ONCE = 32

# Query rows, each times the size of its weight, with the ids to score -> (id, MaxSim) of each.
Score = Callable[[Sequence[tuple[Array, Sequence[str]]]], list[list[tuple[str, float]]]]


@dataclass(frozen=True, eq=False)
class Bags(Listing):
    """The bags of one view: `ids[i]` owns the rows offsets[i]:offsets[i + 1], one at least; maybe memory-mapped."""

    vectors: Vectors


class ExactLateStore:
    """Exact search over bags by view; `select` answers a filter with the ids that pass it.

    A score is `late.maxsim`, in float64, and does not depend on what else is stored or asked.
    """

    def __init__(self, bags: Mapping[View, Bags], dim: int, select: Callable[[Filter], frozenset[str]]) -> None:
        self._bags, self._dim, self._select = dict(bags), dim, select
        self._longest: dict[View, float] = {}

    def search(self, view: View, queries: Tokens, depth: int, selections: Sequence[Selection]) -> list[Found]:
        """For each query the `depth` best items by weighted MaxSim among its selection; ties by id."""
        bags = self._bags.get(view)
        if bags is None or not len(bags.ids) or depth < 1:
            return [Found.ordered((), ()) for _ in selections]
        passing: dict[str, Mask] = {}
        found: list[Found] = []
        for place, selection in enumerate(selections):
            rows, weights = queries[place]
            mask = allowed(bags, selection, self._select, passing)
            if mask is not None and mask.sum() <= depth:
                places = np.flatnonzero(mask)
            else:
                scores = late.scan(rows, weights, bags.vectors)
                places = candidates(scores, depth, mask, late.rounding(rows, weights, self._reach(view)))
            exact = late.maxsim(rows, weights, bags.vectors, places)
            # Places rise with the ids, so a stable sort leaves ties by id.
            order = np.argsort(-exact, kind="stable")[:depth]
            found.append(Found(tuple(bags.ids[p] for p in places[order]), exact[order]))
        return found

    def bags(self, view: View, ids: Sequence[str]) -> Vectors:
        """The items' bags in the order of `ids`, empty where an item lacks the view."""
        bags = self._bags.get(view)
        if bags is None:
            return Vectors.joined([np.empty((0, self._dim), dtype=np.float32)] * len(ids), self._dim)
        return late.taken(bags.vectors, bags.places(ids))

    def count(self, view: View) -> int:
        """How many items have this view."""
        bags = self._bags.get(view)
        return 0 if bags is None else len(bags.ids)

    def _reach(self, view: View) -> float:
        """The length of the longest row of a view."""
        if view not in self._longest:
            rows = self._bags[view].vectors.rows
            blocks = (rows[i : i + BAG_ROWS_AT_ONCE] for i in range(0, len(rows), BAG_ROWS_AT_ONCE))
            squares = (np.einsum("nd,nd->n", b, b, dtype=np.float64).max() for b in blocks)
            self._longest[view] = float(np.sqrt(max(squares)))
        return self._longest[view]


# --- what the Qdrant stores share ----------------------------------------------------------------------------------


def candidates_for(depth: int) -> int:
    """How many candidates a search for the `depth` best looks at."""
    return max(LEAST, depth * OVERSAMPLING)


def tokens_name(view: View) -> str:
    """The name under which a view's bags of rows are kept, beside their encodings under the view's own."""
    return f"{view}-tokens"


def named(fde: Fde, dim: int, points: Sequence[Point]) -> list[dict[str, Array]]:
    """For each point all that is stored of it by name: by view the encoding of its bag, and the bag."""
    out: list[dict[str, Array]] = [{} for _ in points]
    for view in dict.fromkeys(view for p in points for view in p.vectors):
        having = [n for n, p in enumerate(points) if view in p.vectors]
        bags = Vectors.joined([points[n].vectors[view] for n in having], dim)
        encoded = encode_items(fde.matrices(dim), bags)
        for place, n in enumerate(having):
            out[n] |= {view: encoded[place], tokens_name(view): np.ascontiguousarray(bags[place])}
    return out


def batches(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    """The points in order, in runs that a store takes at once."""
    start = rows = 0
    for place, point in enumerate(points):
        own = sum(len(bag) for bag in point.vectors.values())
        if place > start and (place - start >= POINTS_AT_ONCE or rows + own > BAG_ROWS_AT_ONCE):
            yield points[start:place]
            start, rows = place, 0
        rows += own
    if points:
        yield points[start:]


def rescored(queries: Tokens, nearest: Sequence[Sequence[tuple[str, float]]], depth: int, score: Score) -> list[Found]:
    """For each query the `depth` best of its candidates by exact weighted MaxSim, ties by id.

    A candidate that an answer lacks was deleted since it was found, and is left out.
    The engine's MaxSim knows no weights: a row times its weight has the same best match, if the weight is positive.
    Rows of negative weight are asked for separately, with their sizes, and their score is taken away.
    """
    asked: list[tuple[Array, Sequence[str]]] = []
    whose: list[tuple[int, float]] = []
    for place, listed in enumerate(nearest):
        rows, weights = queries[place]
        for sign in (1.0, -1.0):
            chosen = sign * weights > 0
            if chosen.any() and listed:
                asked.append((rows[chosen] * np.abs(weights[chosen])[:, None], [i for i, _ in listed]))
                whose.append((place, sign))
    totals: list[dict[str, float]] = [dict.fromkeys((i for i, _ in listed), 0.0) for listed in nearest]
    for (place, sign), answer in zip(whose, score(asked), strict=True):
        values = dict(answer)
        totals[place] = {i: total + sign * values[i] for i, total in totals[place].items() if i in values}
    found = [Found.ordered(list(total), list(total.values())) for total in totals]
    return [Found(f.ids[:depth], f.scores[:depth]) for f in found]


def gathered(ids: Sequence[str], bags: Mapping[str, Any], dim: int) -> Vectors:
    """Bags by id in the order of `ids`, empty where there is none."""
    none = np.empty((0, dim), dtype=np.float32)
    return Vectors.joined([np.asarray(bags[i], dtype=np.float32) if i in bags else none for i in ids], dim)


class BagSearch(ABC):
    """Searching, reading and storing bags over what an engine does; a store is this and its engine's half."""

    _dim: int
    _views: frozenset[View]
    _fde: Fde

    def search(self, view: View, queries: Tokens, depth: int, selections: Sequence[Selection]) -> list[Found]:
        """For each query the `depth` best of its candidates by weighted MaxSim among its selection; ties by id."""
        if view not in self._views or depth < 1:
            return [Found.ordered((), ()) for _ in selections]
        encoded = encode_queries(self._fde.matrices(self._dim), queries)
        near = self._query(view, encoded, candidates_for(depth), selections)
        return rescored(queries, near, depth, lambda asked: self._maxsim(view, asked))

    def bags(self, view: View, ids: Sequence[str]) -> Vectors:
        """The items' bags in the order of `ids`, empty where an item lacks the view."""
        held: dict[str, Array] = {}
        wanted = storable(dict.fromkeys(ids)) if view in self._views else []
        for start in range(0, len(wanted), BAGS_AT_ONCE):
            some = self._retrieve(tokens_name(view), wanted[start : start + BAGS_AT_ONCE])
            held |= {ident: np.asarray(bag, dtype=np.float32) for ident, bag in some.items()}
        return gathered(ids, held, self._dim)

    def put(self, points: Sequence[Point]) -> None:
        """Stores each point whole, replacing an earlier one of that id; every view of it is a bag (n, dim)."""
        for batch in batches(points):
            self._upsert(batch, named(self._fde, self._dim, batch))

    @abstractmethod
    def _query(
        self, view: View, rows: Array, limit: int, selections: Sequence[Selection]
    ) -> list[list[tuple[str, float]]]:
        """For each query row the `limit` nearest points of its selection, and their scores."""

    @abstractmethod
    def _maxsim(self, view: View, asked: Sequence[tuple[Array, Sequence[str]]]) -> list[list[tuple[str, float]]]:
        """What `Score` is, over the bags of a view."""

    @abstractmethod
    def _retrieve(self, name: str, ids: Sequence[str]) -> dict[str, Any]:
        """What is stored under a name of those of the points that have it."""

    @abstractmethod
    def _upsert(self, points: Sequence[Point], vectors: Sequence[Mapping[str, Array]]) -> None:
        """Stores points with these vectors by name."""
