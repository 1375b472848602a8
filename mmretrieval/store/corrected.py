"""An exact scan whose scores are corrected before the best are taken, since the lifted may have been far below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mmretrieval.filters import Filter
from mmretrieval.store.exact import ROWS_AT_ONCE, ExactStore, Mask, Matrix, allowed
from mmretrieval.timing import Stopwatch
from mmretrieval.types import Array, Correction, Found, Selection, View

# Scores held at once: 2**23 float64 are 64 MB.
SCORES_AT_ONCE = 2**23


@runtime_checkable
class ByBest(Protocol):
    """A correction that looks at a query's best item, which is one that the query may find."""

    def among(
        self, view: View, scores: npt.NDArray[np.float64], allowed: Sequence[Mask | None]
    ) -> npt.NDArray[np.float64]:
        """Corrected scores (q, n), with the items (n,) that each query may find; None for all."""
        ...


class CorrectedStore(ExactStore):
    """A scan over matrices by view that orders items by corrected scores.

    A score before correction is the dot product in float64, summed in the same order whatever else is asked. So a
    query's answer does not depend on the queries beside it, unless the correction is transductive: then all queries of
    a call are corrected together, and q x n scores are held in memory.
    """

    def __init__(
        self,
        matrices: Mapping[View, Matrix],
        select: Callable[[Filter], frozenset[str]],
        correction: Correction,
    ) -> None:
        super().__init__(matrices, select)
        self.correction = correction

    def search(
        self,
        view: View,
        queries: Array,
        depth: int,
        selections: Sequence[Selection],
        watch: Stopwatch | None = None,
    ) -> list[Found]:
        """For each query row (q, dim) the `depth` best items by corrected score among its selection; ties by id.

        What correcting takes is a stage of `watch`, `correct`.
        """
        matrix = self.matrices.get(view)
        if matrix is None or not len(matrix.ids) or depth < 1:
            return [Found.ordered((), ()) for _ in selections]
        step = len(queries) if self.correction.transductive else max(1, SCORES_AT_ONCE // len(matrix.ids))
        passing: dict[str, Mask] = {}
        found: list[Found] = []
        for start in range(0, len(queries), max(step, 1)):
            some = selections[start : start + step]
            masks = [allowed(matrix, selection, self.select, passing) for selection in some]
            scores = self.corrected(view, queries[start : start + step], masks, watch)
            found += [_best(matrix, row, depth, mask) for row, mask in zip(scores, masks, strict=True)]
        return found

    def corrected(
        self,
        view: View,
        queries: Array,
        masks: Sequence[Mask | None] | None = None,
        watch: Stopwatch | None = None,
    ) -> npt.NDArray[np.float64]:
        """The corrected scores (q, n) of queries (q, dim) with all items of a view, in id order.

        `masks` say which items (n,) each query may find: by default all of them.
        """
        scores = dots(queries, self.matrices[view].rows)
        with (watch or Stopwatch()).stage("correct"):
            return corrected(self.correction, view, scores, masks)


def corrected(
    correction: Correction, view: View, scores: npt.NDArray[np.float64], masks: Sequence[Mask | None] | None
) -> npt.NDArray[np.float64]:
    """The scores (q, n) that a search orders items by, from dot products with all items of a view, in id order.

    `masks` say which items (n,) each query may find: None, in place of one or of all, allows every item. Those of
    items that are not allowed are still among the scores.
    """
    if masks is not None and isinstance(correction, ByBest):
        return correction.among(view, scores, masks)
    return correction.scores(view, scores)


def dots(queries: Array, rows: Array) -> npt.NDArray[np.float64]:
    """Dot products (q, n) in float64, each summed in the same order, so that equal rows have equal scores."""
    scores = np.empty((len(queries), len(rows)), dtype=np.float64)
    wide = queries.astype(np.float64)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE].astype(np.float64)
        for i, query in enumerate(wide):
            scores[i, start : start + ROWS_AT_ONCE] = (some * query).sum(axis=1)
    return scores


def _best(matrix: Matrix, scores: npt.NDArray[np.float64], depth: int, mask: Mask | None) -> Found:
    places = np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
    if len(places) > depth:
        last = np.partition(scores[places], len(places) - depth)[len(places) - depth]
        places = places[scores[places] >= last]
    # Places rise with the ids, so a stable sort leaves ties by id.
    order = places[np.argsort(-scores[places], kind="stable")][:depth]
    return Found(tuple(matrix.ids[p] for p in order), scores[order])
