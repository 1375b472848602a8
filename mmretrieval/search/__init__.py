"""What turns parts into a query, lists into a list, and a list into a better one.

A new one is a function in its file and a row here.
"""

from __future__ import annotations

from mmretrieval.search import compose, correct, cur, fuse, read, rerank, rescore, superglobal
from mmretrieval.types import Composer, CorrectionFit, Fuser, Parameter, Reader, Reranker, StageRow

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

CORRECTIONS: dict[str, StageRow[CorrectionFit]] = {
    "nnn": StageRow(
        correct.fit_nnn,
        "Takes from an item's score what it scores for the reference queries nearest to it: hubs lose what they owe to "
        "being near everything.",
        (Parameter("k", default=128, low=1, high=20_000, whole=True), Parameter("a", default=0.75, low=0, high=10)),
    ),
    "qbnorm": StageRow(
        correct.fit_qbnorm,
        "Does so only for queries whose best item is also a reference query's best; near reference queries count most.",
        (Parameter("beta", default=20, low=0.01, high=1000), Parameter("k", default=1, low=1, high=1000, whole=True)),
    ),
    "csls": StageRow(
        correct.fit_csls,
        "Measures how near query and item are against how near their nearest neighbours on the other side are.",
        (Parameter("k", default=10, low=1, high=1000, whole=True),),
    ),
    "dualsoftmax": StageRow(
        correct.fit_dualsoftmax,
        "Weighs a score by how much the item prefers this query to the others asked with it: transductive.",
        (Parameter("temp", default=1000, low=0.001, high=1_000_000),),
    ),
}

# Corrections that an index can hold as one more entry of each item's row.
AS_AN_ENTRY = frozenset({"nnn"})
# Corrections under which a query's answer depends on the queries that are asked with it.
TRANSDUCTIVE = frozenset({"dualsoftmax"})

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
    "superglobal": StageRow(
        superglobal.superglobal,
        "Lets the nearest neighbours within the list speak for each item, and the best items for the query.",
        (
            # Every item is compared with every other one.
            Parameter("depth", default=400, low=1, high=2000, whole=True),
            Parameter("k", default=9, low=1, high=100, whole=True),
            Parameter("beta", default=0.15, low=0, high=1),
        ),
    ),
    "rescore": StageRow(
        rescore.rescore,
        "Orders the first by the encoder's own vectors again: found with short or coarse ones, judged by whole ones.",
        (DEPTH,),
    ),
}

# Rerankers that compare items by the one view that is searched; the others take every view that an item has.
ONE_VIEW = frozenset({"rescore", "superglobal"})
# Rerankers that see query and items as the encoder gave them, before any transform.
UNTRANSFORMED = frozenset({"rescore"})

# Rerankers that read the contents themselves: a model's spec stands before the depth, as in cross:NAME:20.
READERS: dict[str, StageRow[Reader]] = {
    "cross": StageRow(
        read.cross,
        "Lets a model (a cross-encoder) read the query and each of the first items together.",
        (DEPTH,),
    ),
    "anncur": StageRow(
        cur.anncur,
        "Comes near the order of `cross` while the model reads few items: the others' scores follow from those.",
        (
            DEPTH,
            Parameter("calls", default=40, low=1, high=10_000, whole=True),
            Parameter("anchors", default=16, low=1, high=1000, whole=True),
            Parameter("rounds", default=4, low=1, high=100, whole=True),
            Parameter("queries", default=64, low=2, high=1000, whole=True),
        ),
    ),
}
