"""What turns parts into a query, lists into a list, and a list into a better one.

A new one is a function in its file and a row here.
"""

from __future__ import annotations

from typing import Any

from mmretrieval.search import (
    blend,
    compose,
    correct,
    cur,
    cutoff,
    fuse,
    maxsim,
    mmr,
    read,
    rerank,
    rescore,
    superglobal,
)
from mmretrieval.search.blend import Blend
from mmretrieval.search.compose import Composer
from mmretrieval.stages import CorrectionFit, Fuser, Parameter, Reader, Reranker, StageRow

FIRST = "how many items from the top of the list are put in a new order"
DEPTH = Parameter("depth", FIRST, 100, 1, 10_000, whole=True, unit="items")

RRF_K = Parameter(
    "k", "what is added to every rank: the larger, the less a first place is worth against a tenth", 60, 0, 10_000
)

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
    "slerp": StageRow(
        compose.slerp,
        "Goes a of the way along the arc from the pictures to the words; what pushes away is taken off after.",
        (Parameter("a", "how far along the arc the query lies: 0 is the pictures, 1 the words", 0.8, 0, 1),),
        source="Jang et al. 2024 (arXiv 2405.00571), with their 0.8 for CLIP; what pushes away is this project's",
    ),
    "anchor": StageRow(
        compose.anchored,
        "Takes the mean of its kind off each part before adding, and puts it back after: words and pictures meet.",
        source="this project's: stands in, untrained, for the text anchoring of Jang et al. 2024 (arXiv 2405.00571)",
    ),
    "rocchio": StageRow(
        compose.rocchio,
        "Adds a times the question, b times the mean of what was liked, and takes off c times that of the disliked.",
        (
            Parameter("a", "how much the question itself counts", 1, 0, 100),
            Parameter("b", "how much the mean of the liked items counts", 0.75, 0, 100),
            Parameter("c", "how much the mean of the disliked items is taken off", 0.15, 0, 100),
        ),
        source="Rocchio 1971, with the usual factors; moving words beside pictures first is this project's",
    ),
}

# Composers that need the mean of each modality.
CENTRED = frozenset({"anchor", "rocchio"})

# Composers of scores: each part is compared with the items by itself.
BLENDS: dict[str, StageRow[Blend]] = {
    "late": StageRow(
        blend.late,
        "Lets each part rank the items by itself and adds w / (k + rank): words and pictures have the same say.",
        (RRF_K,),
        source="Cormack, Clarke and Buettcher, SIGIR 2009, over the parts of a query",
    ),
    "best": StageRow(
        blend.best,
        "Scores an item by the part that is nearest to it, for it or against it, as Qdrant's best score does.",
        source="Qdrant's recommendation by best score (version 1.6, 2023); weights are this project's",
    ),
    "context": StageRow(
        blend.context,
        "Prefers items nearer to what was liked than to what was disliked, then those nearer to the question.",
        source="Qdrant's discovery and context search (version 1.7, 2023); weights are this project's",
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
        (RRF_K,),
        source="Cormack, Clarke and Buettcher, SIGIR 2009",
    ),
    "zscore": StageRow(
        fuse.standardised,
        "Adds how many deviations above its list's mean each score lies; what a list lacks counts as its last.",
        source="textbook: CombSUM (Fox and Shaw 1994) of standardised scores",
    ),
    "minmax": StageRow(
        fuse.min_max,
        "Adds the scores, each list's stretched from 0 for its last item, and those it lacks, to 1 for its first.",
        source="textbook: CombSUM (Fox and Shaw 1994) of scores from 0 to 1",
    ),
    "dbsf": StageRow(
        fuse.distribution,
        "Adds the scores, three deviations below each list's mean taken as 0 and three above as 1, as Qdrant does.",
        source="Qdrant's distribution-based score fusion (version 1.11, 2024)",
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
    "mmr": StageRow(
        mmr.mmr,
        "Picks one item after the other that suits the query (l = 1) and resembles none before it (l = 0).",
        # Every item is compared with every other one.
        (
            Parameter("l", "how much suiting the query counts against resembling no item before it", 0.5, 0, 1),
            Parameter("depth", FIRST, 100, 1, 2000, whole=True, unit="items"),
        ),
        source="Carbonell and Goldstein, SIGIR 1998",
    ),
}

# Rerankers that compare items by the one view that is searched; the others take every view that an item has.
ONE_VIEW = frozenset({"maxsim", "mmr", "rescore", "superglobal"})
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

# Rerankers by bags of another encoder of the library, whose spec stands before the depth, as in maxsim:NAME:20.
ROW_BY_ROW: dict[str, StageRow[Reranker]] = {
    "maxsim": StageRow(
        maxsim.maxsim,
        "Lets a late-interaction encoder of the library compare the query and each of the first items row by row.",
        (DEPTH,),
        source="Khattab and Zaharia, SIGIR 2020 (ColBERT, arXiv 2004.12832)",
    ),
}

# What is marked at the end of it all.
CUTOFFS: dict[str, StageRow[Any]] = {
    "cutoff": StageRow(
        cutoff.weak,
        "Marks the hits that a random query would score as high with a chance above p; the order stays.",
        (Parameter("p", "by what chance, at most, a random query may score as high as a hit that counts", 0.02, 0, 1),),
        source="this project's, on the empirical p-value of Davison and Hinkley 1997",
    ),
}
