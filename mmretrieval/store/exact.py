"""A scan over every row: the answer that the other stores are held to, and the store of everything without an index."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.filters import Filter
from mmretrieval.types import Array, Found, Selection, View

# Scores held at once: 2**24 float32 are 64 MB.
SCORES_AT_ONCE = 2**24
ROWS_AT_ONCE = 4096

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Listing:
    """What stands in the order of `ids`, which rise strictly."""

    ids: tuple[str, ...]

    def places(self, ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """The row number of each id, -1 for an id that is not here."""
        return np.fromiter((self._place(i) for i in ids), dtype=np.int64)

    def _place(self, wanted: str) -> int:
        place = bisect_left(self.ids, wanted)
        return place if place < len(self.ids) and self.ids[place] == wanted else -1


@dataclass(frozen=True, eq=False)
class Matrix(Listing):
    """The vectors of one view: `rows` (n, dim) float32, maybe memory-mapped, of `ids` (n), which rise strictly."""

    rows: Array


class ExactStore:
    """Exact search over matrices by view; `select` answers a filter with the ids that pass it.

    A score is the dot product in float64 of the float32 rows, summed in the same order whatever else is asked, so that
    equal rows tie exactly and a query's answer does not depend on the queries beside it.
    """

    def __init__(self, matrices: Mapping[View, Matrix], select: Callable[[Filter], frozenset[str]]) -> None:
        self.matrices = dict(matrices)
        self.select = select
        self._longest: dict[View, float] = {}

    def search(self, view: View, queries: Array, depth: int, selections: Sequence[Selection]) -> list[Found]:
        """For each query row (q, dim) the `depth` best items by dot product among its selection; ties by id."""
        matrix = self.matrices.get(view)
        if matrix is None or not len(matrix.ids) or depth < 1:
            return [Found.ordered((), ()) for _ in selections]
        rows = np.ascontiguousarray(queries, dtype=np.float32)
        passing: dict[str, Mask] = {}
        found: list[Found] = []
        step = max(1, SCORES_AT_ONCE // len(matrix.ids))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            scores = block @ matrix.rows.T
            for query, row, selection in zip(block, scores, selections[start : start + step], strict=True):
                mask = allowed(matrix, selection, self.select, passing)
                places = candidates(row, depth, mask, self._rounding(view, query))
                found.append(_best(matrix, query, places, depth))
        return found

    def rows(self, view: View, ids: Sequence[str]) -> tuple[Array, Mask]:
        """The items' vectors (n, dim), zero where an item lacks the view, and which of them have it (n,)."""
        dim = next((m.rows.shape[1] for m in self.matrices.values()), 0)
        out = np.zeros((len(ids), dim), dtype=np.float32)
        matrix = self.matrices.get(view)
        if matrix is None:
            return out, np.zeros(len(ids), dtype=np.bool_)
        places = matrix.places(ids)
        present = places >= 0
        out[present] = matrix.rows[places[present]]
        return out, present

    def count(self, view: View) -> int:
        """How many items have this view."""
        matrix = self.matrices.get(view)
        return 0 if matrix is None else len(matrix.ids)

    def _rounding(self, view: View, query: Array) -> float:
        """How far a float32 score of this query can lie from the true one (Higham, the usual n*u bound), doubled."""
        if view not in self._longest:
            rows = self.matrices[view].rows
            blocks = (rows[i : i + ROWS_AT_ONCE] for i in range(0, len(rows), ROWS_AT_ONCE))
            squares = (np.einsum("nd,nd->n", b, b, dtype=np.float64).max() for b in blocks)
            self._longest[view] = float(np.sqrt(max(squares)))
        length = float(np.linalg.norm(query.astype(np.float64)))
        return 2.0 * len(query) * float(np.finfo(np.float32).eps) * length * self._longest[view]


def allowed(
    listing: Listing, selection: Selection, select: Callable[[Filter], frozenset[str]], passing: dict[str, Mask]
) -> Mask | None:
    """Which places a selection allows, None for all; `passing` keeps the answers of filters from call to call."""
    mask: Mask | None = None
    if selection.filter is not None:
        # By its text: as values, a filter for True equals one for 1.
        key = repr(selection.filter)
        if key not in passing:
            ids = select(selection.filter)
            passing[key] = np.fromiter((i in ids for i in listing.ids), dtype=np.bool_, count=len(listing.ids))
        mask = passing[key].copy()
    if selection.subset is not None:
        inside = np.zeros(len(listing.ids), dtype=np.bool_)
        places = listing.places(selection.subset)
        inside[places[places >= 0]] = True
        mask = inside if mask is None else mask & inside
    if selection.exclude:
        mask = np.ones(len(listing.ids), dtype=np.bool_) if mask is None else mask
        places = listing.places(selection.exclude)
        mask[places[places >= 0]] = False
    return mask


def candidates(scores: Array, depth: int, mask: Mask | None, rounding: float) -> npt.NDArray[np.int64]:
    """The places whose true score may be among the `depth` best, given float32 scores and their error."""
    places = np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
    if len(places) <= depth:
        return places
    scores = scores if mask is None else scores[places]
    last = np.partition(scores, len(scores) - depth)[len(scores) - depth]
    return places[scores >= float(last) - rounding]


def _best(matrix: Matrix, query: Array, places: npt.NDArray[np.int64], depth: int) -> Found:
    wide = query.astype(np.float64)
    scores = np.empty(len(places), dtype=np.float64)
    for start in range(0, len(places), ROWS_AT_ONCE):
        some = places[start : start + ROWS_AT_ONCE]
        scores[start : start + ROWS_AT_ONCE] = (matrix.rows[some].astype(np.float64) * wide).sum(axis=1)
    # Places rise with the ids, so a stable sort leaves ties by id.
    order = np.argsort(-scores, kind="stable")[:depth]
    return Found(tuple(matrix.ids[p] for p in places[order]), scores[order])
