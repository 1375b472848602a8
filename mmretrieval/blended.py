"""Searches whose composer mixes scores: every part is compared with every item, and the scores become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmretrieval.errors import BadQuery
from mmretrieval.geometry import Numbers
from mmretrieval.part_rows import PartRows
from mmretrieval.recipe import Stage
from mmretrieval.search import BLENDS
from mmretrieval.store.corrected import CorrectedStore, dots
from mmretrieval.store.exact import ExactStore, Mask, allowed
from mmretrieval.timing import Stopwatch
from mmretrieval.types import Array, Found, Selection, View


def blended(
    store: ExactStore,
    scales: Mapping[View, tuple[float, float]],
    parts: PartRows,
    composer: Stage,
    depth: int,
    selections: Sequence[Selection],
    watch: Stopwatch | None = None,
) -> list[Found]:
    """For each query the `depth` best of the items that it may find, by its parts' scores (transformed rows) as one.

    `scales` has, for each view that is searched, the mean and deviation of null scores there: a part's score with an
    item is its highest over the views, in those deviations (of one view with 0 and 1, as it is). Ranks are those
    among the items that may be found. Raises BadQuery, which names the query, where the parts are none that the
    composer can mix. What a correction takes is a stage of `watch`.
    """
    passing: dict[View, dict[str, Mask]] = {view: {} for view in scales}
    found = []
    for place, selection in enumerate(selections):
        own = parts.vectors(place)
        ids, scores = part_scores(store, scales, own.rows, selection, passing, watch)
        try:
            mixed = BLENDS[composer.name].run(scores, own.weights, own.feedback, *composer.arguments)
        except BadQuery as error:
            raise BadQuery(f"query {parts.names[place]!r}: {error}") from error
        whole = Found.ordered(ids, mixed)
        found.append(Found(whole.ids[:depth], whole.scores[:depth]))
    return found


def part_scores(
    store: ExactStore,
    scales: Mapping[View, tuple[float, float]],
    rows: Array,
    selection: Selection,
    passing: Mapping[View, dict[str, Mask]] | None = None,
    watch: Stopwatch | None = None,
) -> tuple[tuple[str, ...], Numbers]:
    """The items that may be found, ids rising, and the score (p, n) of each part with them, as composers mix them."""
    passing = passing if passing is not None else {view: {} for view in scales}
    held = {view: _scores(store, view, rows, selection, passing[view], watch) for view in scales}
    return _together(held, scales, len(rows))


def _scores(
    store: ExactStore,
    view: View,
    rows: Array,
    selection: Selection,
    passing: dict[str, Mask],
    watch: Stopwatch | None,
) -> tuple[tuple[str, ...], Numbers]:
    """The items of a view that may be found, and the score (p, n) of each part with them."""
    matrix = store.matrices.get(view)
    if matrix is None:
        return (), np.empty((len(rows), 0))
    mask = allowed(matrix, selection, store.select, passing)
    if isinstance(store, CorrectedStore):
        scores = store.corrected(view, rows, [mask] * len(rows), watch)
    else:
        scores = dots(rows, matrix.rows)
    if mask is None:
        return matrix.ids, scores
    return tuple(matrix.ids[p] for p in np.flatnonzero(mask)), scores[:, mask]


def _together(
    held: Mapping[View, tuple[tuple[str, ...], Numbers]], scales: Mapping[View, tuple[float, float]], parts: int
) -> tuple[tuple[str, ...], Numbers]:
    """The items of all views, ids rising, and each part's highest score with each (p, n)."""
    if list(scales.values()) == [(0.0, 1.0)]:
        return next(iter(held.values()))
    ids = tuple(sorted({ident for some, _ in held.values() for ident in some}))
    places = {ident: place for place, ident in enumerate(ids)}
    highest = np.full((parts, len(ids)), -np.inf)
    for view, (some, scores) in held.items():
        mean, deviation = scales[view]
        here = np.array([places[ident] for ident in some], dtype=np.int64)
        highest[:, here] = np.maximum(highest[:, here], (scores - mean) / deviation)
    return ids, highest
