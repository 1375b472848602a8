"""A library's words, searched by BM25: the scan over postings that answers every lexical search.

A Qdrant index of the same sparse vectors gives the same answer on a shard from which nothing was ever deleted
(`tests/contracts/test_lexical_stores.py`); deleted points go on counting in its N and df until a segment is rebuilt, so
that there the same library would rank differently by its history. The scan touches only the postings of a query's
terms, and needs no index that could lag behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from mmretrieval.filters import Filter
from mmretrieval.lexical import Ids, Numbers, Postings, Terms, Texts
from mmretrieval.store.exact import Listing, Mask, allowed
from mmretrieval.types import Found, Selection, View


class LexicalStore:
    """The words of items, whose `ids` rise strictly; `select` answers a filter with the ids that pass it."""

    def __init__(self, ids: Sequence[str], texts: Texts, select: Callable[[Filter], frozenset[str]]) -> None:
        self.listing, self.texts, self._select = Listing(tuple(ids)), texts, select

    @cached_property
    def postings(self) -> Postings:
        """The same words by term."""
        return Postings(self.texts)

    def search(self, view: View, queries: Sequence[Terms], depth: int, selections: Sequence[Selection]) -> list[Found]:
        """For each query the `depth` best items by BM25 among its selection, ties by id.

        An item without a term that pulls is not found, however few there are.
        """
        if view != "text" or depth < 1:
            return [Found.ordered((), ()) for _ in selections]
        passing: dict[str, Mask] = {}
        found: list[Found] = []
        for query, selection in zip(queries, selections, strict=True):
            scores, pulled = self.postings.scores(query)
            mask = allowed(self.listing, selection, self._select, passing)
            places = np.flatnonzero(pulled if mask is None else pulled & mask)
            if len(places) > depth:
                least = np.partition(scores[places], len(places) - depth)[len(places) - depth]
                places = places[scores[places] >= least]
            # Places rise with the ids, so a stable sort leaves ties by id.
            best = places[np.argsort(-scores[places], kind="stable")[:depth]]
            found.append(Found(tuple(self.listing.ids[p] for p in best), scores[best]))
        return found

    def scores(self, query: Terms, ids: Sequence[str]) -> Numbers:
        """What a query scores with each item (n,), 0 where they share no term or the item has no words."""
        places = self.listing.places(ids)
        scores, _ = self.postings.scores(query)
        return np.where(places >= 0, scores[places], 0.0) if len(scores) else np.zeros(len(places))

    def terms(self, ident: str) -> Ids:
        """The distinct terms of an item's words; none where it has no words."""
        place = int(self.listing.places([ident])[0])
        return self.texts[place] if place >= 0 else np.empty(0, dtype=np.uint32)

    def count(self, view: View) -> int:
        """How many items have words."""
        return len(self.listing.ids) if view == "text" else 0
