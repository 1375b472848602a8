"""What turns parts into a query, lists into a list, and a list into a better one.

A new one is a function in its file and a row here.
"""

from __future__ import annotations

from mmretrieval.search import compose, fuse, read, rerank
from mmretrieval.types import Composer, Fuser, Parameter, Reader, Reranker, StageRow

DEPTH = Parameter("depth", default=100, low=1, high=10_000, whole=True)

# The composer before which a joint encoder's parts become one (compose.read_together).
JOINT = "joint"

COMPOSERS: dict[str, StageRow[Composer]] = {
    "sum": StageRow(compose.weighted_sum, "Adds the parts' vectors by weight; a negative weight pushes away."),
    JOINT: StageRow(
        compose.weighted_sum,
        "Lets a joint encoder read the words and the picture at once; what pushes away is added with its weight. "
        "Encoders beside it that are not joint add their parts as `sum` does.",
    ),
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

# Rerankers that read the contents themselves: a model's spec stands before the depth, as in cross:NAME:20.
READERS: dict[str, StageRow[Reader]] = {
    "cross": StageRow(
        read.cross,
        "Lets a model (a cross-encoder) read the query and each of the first items together.",
        (DEPTH,),
    ),
}
