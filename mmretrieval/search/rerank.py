"""Rerankers: a new order for the top of a list, from the query's vector and the items' views.

    rerank(query (d,), {view: (rows (n, d), present (n,))}, depth) -> Reordered, for a list of n items

Both compare only items that have every view of the mapping, since volumes and spans of different numbers of views
are not comparable. Those items, within the first `depth` places, are put in order among the places that they hold;
every other item stays exactly where it is, and has no score here (NaN). Equal scores keep their earlier order.

A volume does not tell a vector from its opposite, and neither does a span. So an item with a negative cosine to the
query in any view comes after the others, and its score is the lowest of its cosines: less than 0, where all other
scores are 0 or more, so that the least opposed comes first among them.

Lengths do not count. A zero row (a transform may leave one) has no direction: an item is taken to lack that view, and
a zero query, or an empty mapping, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from mmretrieval.geometry import Numbers, blocks, directions, gram_factors, gram_volume
from mmretrieval.stages import Reordered
from mmretrieval.types import Array, View

ListedViews = Mapping[View, tuple[Array, npt.NDArray[np.bool_]]]


def gram(query: Array, views: ListedViews, depth: float = 100) -> Reordered:
    """The list reordered by 1 - volume of (query, views), as Cicchetti et al. (ICLR 2025) rank.

    The volume is the items' own volume times the query's sine to their span: an item whose views nearly coincide
    scores high for every query. `span` has the second factor alone.
    """

    def score(asked: Array, own: Array) -> Numbers:
        n, _, d = own.shape
        tuples = np.concatenate([np.broadcast_to(asked, (n, 1, d)), own], axis=1)
        return 1.0 - gram_volume(tuples)

    return _reorder(query, views, int(depth), score)


def span(query: Array, views: ListedViews, depth: float = 100) -> Reordered:
    """The list reordered by 1 - sine of the angle between the query and the span of the item's views."""
    return _reorder(query, views, int(depth), lambda asked, own: 1.0 - gram_factors(asked, own)[1])


def _reorder(query: Array, views: ListedViews, depth: int, score: Callable[[Array, Array], Numbers]) -> Reordered:
    n = len(next(iter(views.values()))[1]) if views else 0
    order = np.arange(n, dtype=np.int64)
    scores = np.full(n, np.nan)
    places = comparable(views, min(depth, n)) if views and query.any() else np.empty(0, dtype=np.int64)
    for block in blocks(len(places)):
        own = np.stack([rows[places[block]] for rows, _ in views.values()], axis=1)
        lowest = np.einsum("nkd,d->nk", directions(own), directions(query)).min(axis=1)
        scores[places[block]] = np.where(lowest < 0, np.maximum(lowest, -1.0), score(query, own))
    order[places] = places[np.argsort(-scores[places], kind="stable")]
    return Reordered(order, scores)


def comparable(views: ListedViews, depth: int) -> npt.NDArray[np.int64]:
    """The places before `depth` whose items have every view, with a direction in each."""
    whole = np.ones(depth, dtype=np.bool_)
    for rows, present in views.values():
        whole &= present[:depth] & rows[:depth].any(axis=1)
    return np.flatnonzero(whole).astype(np.int64)
