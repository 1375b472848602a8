"""The reranker `superglobal`: neighbours within the list speak for each item, and the best of them for the query."""

from __future__ import annotations

import numpy as np

from mmretrieval.geometry import NOTHING, Numbers, blocks
from mmretrieval.search.rerank import ListedViews, comparable
from mmretrieval.stages import Reordered
from mmretrieval.types import Array


def superglobal(query: Array, views: ListedViews, depth: float = 400, k: float = 9, beta: float = 0.15) -> Reordered:
    """The list reordered as Shao et al. rerank by global descriptors ("Global Features are All You Need", ICCV 2023).

    Of the items within the first `depth` places each is replaced by the weighted mean of itself (weight 1) and its `k`
    nearest neighbours among them (weight beta x dot product), and the query by the largest entry, dimension by
    dimension, of the k + 1 items that then suit it best. The score is the mean of both queries' dot products with the
    replaced item. Rows count as they are: for unit rows these are the authors' numbers.

    `views` holds the one view that is searched: an item that lacks it (or has a zero row) keeps its place and has no
    score (NaN). Equal scores keep the order that the first step gave them. A zero query changes nothing.
    """
    ((rows, present),) = views.values()
    n = len(present)
    order, scores = np.arange(n, dtype=np.int64), np.full(n, np.nan)
    places = comparable(views, min(int(depth), n))
    if len(places) and query.any():
        asked = query.astype(np.float64)
        items = expanded(rows[places].astype(np.float64), int(k), beta)
        first = items @ asked
        turned = np.argsort(-first, kind="stable")
        # One entry of the new query may come from one item and the next from another.
        second = items @ items[turned[: int(k) + 1]].max(axis=0)
        scores[places] = (first + second) / 2.0
        turned = places[turned]
        order[places] = turned[np.argsort(-scores[turned], kind="stable")]
    return Reordered(order, scores)


def expanded(rows: Numbers, k: int, beta: float) -> Numbers:
    """Each row (m, d) as the weighted mean of itself and its k nearest others by dot product: (m, d), not unit.

    The row itself weighs 1 and comes first, however long its neighbours are. Neighbours that point away weigh less
    than nothing; where the weights sum to nothing or less there is no mean, and the row stays what it is.
    """
    result = rows.copy()
    for block in blocks(len(rows), 256):
        alike = rows[block] @ rows.T
        here, itself = np.arange(len(alike)), np.arange(block.start, block.stop)
        alike[here, itself] = -np.inf
        nearest = np.argsort(-alike, axis=1, kind="stable")[:, : min(k, len(rows) - 1)]
        weights = np.zeros_like(alike)
        weights[here, itself] = 1.0
        weights[here[:, None], nearest] = beta * alike[here[:, None], nearest]
        total = weights.sum(axis=1)
        some = total > NOTHING
        result[block][some] = (weights @ rows)[some] / total[some, None]
    return result
