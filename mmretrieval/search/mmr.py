"""The reranker `mmr`: what suits the query, and is not what was shown already."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmretrieval.geometry import Numbers, cosine
from mmretrieval.search.rerank import ListedViews, comparable
from mmretrieval.stages import Reordered
from mmretrieval.types import Array

Places = npt.NDArray[np.int64]


def mmr(query: Array, views: ListedViews, balance: float = 0.5, depth: float = 100) -> Reordered:
    """The list reordered by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).

    Of the items within the first `depth` places each next one is that with the highest
    balance * cosine(query, item) - (1 - balance) * largest cosine(item, any item before it), which is its score. So a
    balance of 1 is relevance alone, and 0 novelty alone. The first item is the most relevant one, whatever the balance;
    of equal values the more relevant comes first, then the one that stood earlier.

    No next item scores more than the one before: what an item resembles most can only grow as items are shown. (The
    first resembles nothing, for which -1 stands, the least that a cosine can be.) So scores fall along the list.

    `views` holds the one view that is searched: an item that lacks it (or has a zero row) keeps its place and has no
    score (NaN). Lengths do not count. A zero query changes nothing.
    """
    ((rows, present),) = views.values()
    n = len(present)
    order, scores = np.arange(n, dtype=np.int64), np.full(n, np.nan)
    places = comparable(views, min(int(depth), n))
    if len(places) and query.any():
        # Copies of a row are compared once: a product of matrices may round them differently, and part what ties.
        distinct, copies = np.unique(rows[places], axis=0, return_inverse=True)
        copies = copies.reshape(-1)
        relevance = cosine(distinct, query[None])[copies, 0]
        turned = np.argsort(-relevance, kind="stable")
        alike = cosine(distinct, distinct)
        picked, values = _picked(relevance[turned], alike, copies[turned], balance)
        order[places] = places[turned[picked]]
        scores[order[places]] = values
    return Reordered(order, scores)


def _picked(relevance: Numbers, alike: Numbers, rows: Places, balance: float) -> tuple[Places, Numbers]:
    """The items in the order in which they are picked, and the values by which: (m,) each.

    `relevance` (m,) falls; item i resembles item j by alike[rows[i], rows[j]]. Costs m steps over m items.
    """
    most = np.full(len(relevance), -1.0)  # of each item, its likeness to what of the picked it resembles most
    left = np.ones(len(relevance), dtype=np.bool_)
    picked, values = np.empty(len(relevance), dtype=np.int64), np.empty(len(relevance))
    for step in range(len(relevance)):
        marginal = np.where(left, balance * relevance - (1.0 - balance) * most, -np.inf)
        picked[step] = best = int(marginal.argmax())  # the first of equal ones
        values[step] = marginal[best]
        left[best] = False
        np.maximum(most, alike[rows[best], rows], out=most)
    return picked, values
