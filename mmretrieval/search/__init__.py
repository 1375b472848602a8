"""What turns parts into a query, lists into a list, and a list into a better one.

A new one is a function in its file and a row here.
"""

from __future__ import annotations

from mmretrieval.search import compose, correct, cur, fuse, read, rerank, rescore, superglobal
from mmretrieval.types import Composer, CorrectionFit, Fuser, Parameter, Reader, Reranker, StageRow

FIRST = "how many items from the top of the list are put in a new order"
DEPTH = Parameter("depth", FIRST, 100, 1, 10_000, whole=True, unit="items")

# The composer before which a joint encoder's parts become one (compose.read_together).
JOINT = "joint"

COMPOSERS: dict[str, StageRow[Composer]] = {
    "sum": StageRow(
        compose.weighted_sum,
        "Adds the parts' vectors by weight; a negative weight pushes away.",
        source="textbook; of pictures and words: the `mixture` of Saito et al., CVPR 2023 (arXiv 2302.03084)",
    ),
    JOINT: StageRow(
        compose.weighted_sum,
        "Lets a joint encoder read the words and the picture at once; what pushes away is added with its weight. "
        "Encoders beside it that are not joint add their parts as `sum` does.",
        source="encoders of this kind: Jiang et al. 2024 (VLM2Vec, arXiv 2410.05160); the rest is this project's",
    ),
}

TO_BANK = "the items of each view, and the reference queries"
CORRECTIONS: dict[str, StageRow[CorrectionFit]] = {
    "nnn": StageRow(
        correct.fit_nnn,
        "Takes from an item's score what it scores for the reference queries nearest to it: hubs lose what they owe to "
        "being near everything.",
        (
            Parameter(
                "k",
                "over how many reference queries, those nearest to an item, the item's mean score is taken",
                128,
                1,
                correct.MOST,
                whole=True,
                unit="reference queries",
            ),
            Parameter(
                "a", "how many times that mean is taken off the item's score (alpha); 0 is not at all", 0.75, 0, 10
            ),
        ),
        fitted=TO_BANK,
        source="Chowdhury et al., EMNLP 2024 (arXiv 2410.24114)",
    ),
    "qbnorm": StageRow(
        correct.fit_qbnorm,
        "Takes from an item's score what reference queries score on it, near ones above all; but only for queries "
        "whose best item is also a reference query's best.",
        (
            Parameter(
                "beta",
                "how sharply the reference queries nearest to an item outweigh the others, as an inverse temperature",
                20,
                0.01,
                1000,
            ),
            Parameter(
                "k",
                "how many best items of each reference query count as hubs; queries whose best item is none are left "
                "as they are",
                1,
                1,
                1000,
                whole=True,
                unit="items",
            ),
        ),
        fitted=TO_BANK,
        source="Bogolin et al., CVPR 2022 (arXiv 2112.12777)",
    ),
    "csls": StageRow(
        correct.fit_csls,
        "Measures how near query and item are against how near their nearest neighbours on the other side are; "
        "within one view the order is that of nnn:k:0.5.",
        (
            Parameter(
                "k",
                "over how many nearest neighbours on the other side a mean is taken: an item's over reference "
                "queries, the query's over items",
                10,
                1,
                1000,
                whole=True,
                unit="neighbours",
            ),
        ),
        fitted=TO_BANK,
        source="Conneau et al., ICLR 2018 (arXiv 1710.04087)",
    ),
    "dualsoftmax": StageRow(
        correct.fit_dualsoftmax,
        "Weighs a score by how much the item prefers this query to the others asked with it: transductive.",
        (
            Parameter(
                "temp",
                "by what scores are divided before the softmax over the queries (its temperature): the less, the more "
                "an item's best query gains; 1000 hardly changes cosines",
                1000,
                0.001,
                1_000_000,
            ),
        ),
        source="Cheng et al. 2021 (arXiv 2109.04290); the temperature is that of the authors' program",
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
        (
            Parameter(
                "k",
                "what is added to every rank: the larger, the less a first place is worth against a tenth",
                60,
                0,
                10_000,
            ),
        ),
        source="Cormack, Clarke and Buettcher, SIGIR 2009",
    ),
}

RERANKERS: dict[str, StageRow[Reranker]] = {
    "gram": StageRow(
        rerank.gram,
        "Prefers items whose views and the query span the smallest volume: all of them agree.",
        (DEPTH,),
        source="Cicchetti et al., ICLR 2025 (arXiv 2412.11959)",
    ),
    "span": StageRow(
        rerank.span,
        "Prefers items whose views, mixed in any proportion, come nearest to the query.",
        (DEPTH,),
        source="this project's: one of the two factors of the volume of `gram`, without the other",
    ),
    "superglobal": StageRow(
        superglobal.superglobal,
        "Lets the nearest neighbours within the list speak for each item, and the best items for the query.",
        (
            # Every item is compared with every other one.
            Parameter("depth", FIRST, 400, 1, 2000, whole=True, unit="items"),
            Parameter(
                "k",
                "how many nearest neighbours among these each item is averaged with; the query takes the largest "
                "entries of the k + 1 best items",
                9,
                1,
                100,
                whole=True,
                unit="items",
            ),
            Parameter(
                "beta", "what a neighbour weighs, times its dot product with the item, which weighs 1", 0.15, 0, 1
            ),
        ),
        source="Shao et al., ICCV 2023 (arXiv 2308.06954)",
    ),
    "rescore": StageRow(
        rescore.rescore,
        "Orders the first by the encoder's own vectors again: found with short or coarse ones, judged by whole ones.",
        (DEPTH,),
        source="adaptive retrieval of Kusupati et al., NeurIPS 2022 (arXiv 2205.13147)",
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
        source="Nogueira and Cho 2019 (arXiv 1901.04085)",
    ),
    "anncur": StageRow(
        cur.anncur,
        "Comes near the order of `cross` while the model reads few items: the others' scores follow from those.",
        (
            DEPTH,
            Parameter(
                "calls",
                "how many of these items the model reads with the query; the others' scores are approximated, and "
                "with as many calls as the depth it is `cross`",
                40,
                1,
                10_000,
                whole=True,
                unit="items",
            ),
            Parameter(
                "anchors",
                "how many of the calls go to the first items of the list, before anything is approximated",
                16,
                1,
                1000,
                whole=True,
                unit="items",
            ),
            Parameter(
                "rounds",
                "in how many rounds the other calls are spent, each on what looks best by the scores so far",
                4,
                1,
                100,
                whole=True,
                unit="rounds",
            ),
            Parameter(
                "queries",
                "how many of the project's generic captions the model reads with each of these items, once for all "
                "queries, to learn how their scores hang together",
                64,
                2,
                1000,
                whole=True,
                unit="captions",
            ),
        ),
        source="Yadav et al., EMNLP 2022 (ANNCUR, arXiv 2210.12579); of more than one round: Yadav et al., Findings of "
        "EMNLP 2023 (ADACUR, arXiv 2305.02996)",
    ),
}
