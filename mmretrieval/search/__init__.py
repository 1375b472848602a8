"""What turns parts into a query, lists into a list, and a list into a better one.

A new one is a function in its file and a row here.
"""

from __future__ import annotations

from mmretrieval.search import compose, fuse, rerank
from mmretrieval.types import Composer, Fuser, Parameter, Reranker, StageRow

DEPTH = Parameter("depth", default=100, low=1, high=10_000, whole=True)

COMPOSERS: dict[str, StageRow[Composer]] = {
    "sum": StageRow(compose.weighted_sum, "Adds the parts' vectors by weight; a negative weight pushes away."),
}

FUSERS: dict[str, StageRow[Fuser]] = {
    "rrf": StageRow(
        fuse.reciprocal_rank,
        "Adds 1 / (k + rank) over the lists: only ranks count, so scores need not be comparable.",
        (Parameter("k", default=60, low=0, high=10_000),),
    ),
}

RERANKERS: dict[str, StageRow[Reranker]] = {
    "gram": StageRow(
        rerank.gram,
        "Prefers items whose views and the query span the smallest volume: all of them agree.",
        (DEPTH,),
    ),
    "span": StageRow(
        rerank.span,
        "Prefers items whose views, mixed in any proportion, come nearest to the query.",
        (DEPTH,),
    ),
}
