"""Changes of a space that are fitted on its items and on reference queries, and applied to items and queries alike.

A new one is a file here and a row in the table.
"""

from __future__ import annotations

from mmretrieval.stages import Parameter, StageRow, TransformFit
from mmretrieval.transforms import (
    align,
    asif,
    bebr,
    binary,
    center,
    gapshift,
    int8,
    invgc,
    mrl,
    opq,
    parallel_anchors,
    relative,
    whiten,
)

# What several rows are fitted to.
ITEMS = "the items of each view"
WITH_BANK = "the items of each view, and the reference queries"
PAIRS = "items with pixels and words"
BOTH = "items and reference queries of which both encoders have vectors"

GAO = "Gao et al. 2024 (arXiv 2401.12440) for another modality"
BITS = Parameter("bits", "how many bits each code has", 256, 8, 4096, whole=True, unit="bits")
STEPS = Parameter(
    "steps",
    "how many codes follow the first, each for what those before it left over, at half the weight of the last",
    2,
    0,
    7,
    whole=True,
    unit="codes",
)

TRANSFORMS: dict[str, StageRow[TransformFit]] = {
    "center": StageRow(
        center.run,
        "Takes each modality's mean away, so that the gap between modalities narrows.",
        fitted=WITH_BANK,
        source="textbook; of the gap between modalities: Liang et al., NeurIPS 2022 (arXiv 2203.02053)",
    ),
    "gapshift": StageRow(
        gapshift.run,
        "Moves pictures and texts along the gap between them: 1 closes it, less than 0 widens it.",
        (
            Parameter(
                "share",
                "how much of the gap between the means of pictures and texts is closed, half of it by each side: 1 is "
                "all of it, more than 2 widens it the other way round",
                1,
                -20,
                20,
            ),
        ),
        fitted=f"{PAIRS}; without any, the items with pixels and the reference queries' words",
        source="Liang et al., NeurIPS 2022 (arXiv 2203.02053)",
    ),
    "whiten": StageRow(
        whiten.whiten,
        "Gives the d axes along which items vary most the same weight (0: all axes).",
        (
            Parameter(
                "d",
                "how many axes are kept, those along which items vary most; 0 keeps all along which they vary",
                0,
                0,
                65_536,
                whole=True,
                unit="axes",
            ),
        ),
        fitted=WITH_BANK,
        source="Jegou and Chum, ECCV 2012",
    ),
    "zca": StageRow(
        whiten.zca,
        "Whitens as whiten does, in coordinates as near as can be to the old ones.",
        fitted=WITH_BANK,
        source="Kessy, Lewin and Strimmer, The American Statistician 2018 (arXiv 1512.00809)",
    ),
    "pca": StageRow(
        whiten.pca,
        "Keeps the d axes along which items vary most (0: half of them).",
        (
            Parameter(
                "d",
                "how many axes are kept, those along which items vary most; 0 keeps half as many as there are "
                "coordinates",
                0,
                0,
                65_536,
                whole=True,
                unit="axes",
            ),
        ),
        fitted=WITH_BANK,
        source="textbook (principal component analysis)",
    ),
    "mrl": StageRow(
        mrl.run,
        "Keeps the first d coordinates, for encoders whose vectors may be cut (0: half of them).",
        (
            Parameter(
                "d",
                "how many coordinates are kept, from the first on; 0 keeps half of them",
                0,
                0,
                65_536,
                whole=True,
                unit="coordinates",
            ),
        ),
        source="Kusupati et al., NeurIPS 2022 (arXiv 2205.13147)",
    ),
    "relative": StageRow(
        relative.run,
        "Tells every vector by its cosines to k items that have pixels and words.",
        (
            Parameter(
                "k",
                "how many items with pixels and words are anchors, evenly spaced by id; all of them where there are "
                "fewer",
                300,
                2,
                4096,
                whole=True,
                unit="anchors",
            ),
        ),
        fitted=PAIRS,
        source="Moschella et al., ICLR 2023 (arXiv 2209.15430)",
    ),
    "asif": StageRow(
        asif.run,
        "Tells every vector by the k paired items most like it, each counted to the power p (ASIF).",
        (
            Parameter(
                "k",
                f"how many of a vector's largest cosines to the anchors (at most {asif.MOST_ANCHORS:,} items with "
                "pixels and words) are kept; the others count as 0",
                800,
                1,
                asif.MOST_ANCHORS,
                whole=True,
                unit="anchors",
            ),
            Parameter("p", "to which power each of these cosines is raised", 8, 0.1, 64),
        ),
        fitted=PAIRS,
        source="Norelli et al., NeurIPS 2023 (arXiv 2210.01738)",
    ),
    "parallel-anchors": StageRow(
        parallel_anchors.run,
        "Tells vectors by up to k pairs of a picture and a text, all but a few of which it finds by itself.",
        (
            Parameter(
                "seeds",
                "how many items with pixels and words are taken for pairs from the start",
                30,
                2,
                2000,
                whole=True,
                unit="pairs",
            ),
            Parameter(
                "k",
                "how many pairs are anchors at most, seeds among them; seeds stay even where they are more",
                300,
                2,
                4096,
                whole=True,
                unit="anchors",
            ),
        ),
        fitted="items with pixels, and items with words, some of which have both",
        source="this project's method for the question of Cannistraci et al., ICLR 2023 Tiny Papers (arXiv 2303.00721)",
    ),
    "invgc": StageRow(
        invgc.run,
        "Pushes items off what all items and reference queries have in common (InvGC).",
        (
            Parameter("rg", "how strongly items are pushed off all items (r_g); 0 is not at all", 1, 0, 100),
            Parameter(
                "rq", "how strongly items are pushed off all reference queries (r_q); 0 is not at all", 1, 0, 100
            ),
        ),
        fitted=WITH_BANK,
        source="Jian and Wang, Findings of EMNLP 2023 (arXiv 2310.13276)",
    ),
    "invgc-local": StageRow(
        invgc.run_local,
        "Pushes items off the items and the reference queries nearest to them (InvGC with LocalAdj).",
        (
            Parameter("rg", "how strongly items are pushed off the nearest items (r_g); 0 is not at all", 0.5, 0, 100),
            Parameter(
                "rq",
                "how strongly items are pushed off the nearest reference queries (r_q); 0 is not at all",
                0.5,
                0,
                100,
            ),
            Parameter("pool", "which share of the items, and of the reference queries, counts as nearest", 0.1, 0, 1),
        ),
        fitted=WITH_BANK,
        source="Jian and Wang, Findings of EMNLP 2023 (arXiv 2310.13276)",
    ),
    "int8": StageRow(
        int8.run,
        "Keeps items as one byte a dimension, between the quantiles of what is there (1: all of it).",
        (
            Parameter(
                "quantile",
                f"which middle share of the items' numbers in a dimension the {int8.LEVELS} levels span; numbers "
                "outside it are clipped, 1 clips none",
                1,
                0.5,
                1,
            ),
        ),
        fitted=ITEMS,
        source="textbook (scalar quantisation)",
    ),
    "binary": StageRow(
        binary.run,
        "Keeps items as signs: one bit a dimension, or of so many random directions; queries stay numbers.",
        (
            Parameter(
                "bits",
                "how many bits an item has, each the sign along a random direction; 0 takes the sign of each "
                "coordinate instead",
                0,
                0,
                65_536,
                whole=True,
                unit="bits",
            ),
        ),
        fitted=ITEMS,
        source="Gordo et al., Asymmetric Distances for Binary Embeddings, 2014; random directions as in Ji et al., "
        "Super-Bit Locality-Sensitive Hashing, 2012",
    ),
    "bebr": StageRow(
        bebr.run,
        "Keeps items as steps + 1 codes of so many bits, by a network trained on the space itself (BEBR).",
        (BITS, STEPS),
        fitted=WITH_BANK,
        source="Gan et al., KDD 2023 (arXiv 2302.08714)",
    ),
    "opq": StageRow(
        opq.run,
        "Keeps items as m bytes, each a centroid in one part of the rotated space (OPQ; 0: a byte for 8 dimensions).",
        (
            Parameter(
                "m",
                "how many parts the rotated space is cut into, each a byte of an item; 0 cuts one for every "
                f"{opq.DIMENSIONS} dimensions",
                0,
                0,
                4096,
                whole=True,
                unit="bytes",
            ),
        ),
        fitted=ITEMS,
        source="Ge et al., Optimized Product Quantization for Approximate Nearest Neighbor Search, 2013",
    ),
    "align": StageRow(
        align.procrustes,
        "Asks another encoder's items: turns queries into its space (orthogonal Procrustes).",
        fitted=BOTH,
        source=f"Schönemann 1966 (orthogonal Procrustes); the idea: {GAO}",
    ),
    "align-ridge": StageRow(
        align.ridge,
        "Asks another encoder's items: maps queries into its space by ridge regression.",
        (
            Parameter(
                "lambda",
                "how strongly the map is held back: 1 shrinks an average direction by half, 0 is least squares",
                0.1,
                0,
                1000,
            ),
        ),
        fitted=BOTH,
        source=f"textbook (ridge regression); the idea: {GAO}",
    ),
    "align-mlp": StageRow(
        align.network,
        "Asks another encoder's items: maps queries into its space by a small network, trained on shared items.",
        fitted=BOTH,
        source=GAO,
    ),
    "align-bebr": StageRow(
        bebr.run_onto,
        "Asks another encoder's binary codes: what bebr made of its items stays as it is.",
        (BITS, STEPS),
        fitted=f"the other encoder's items and reference queries, and {BOTH}",
        source="Gan et al., KDD 2023 (arXiv 2302.08714): embeddings of a newer model compatible with older codes",
    ),
}

# Transforms that lead into the space of another encoder, whose spec is their first argument, as in align:NAME.
TARGETED: frozenset[str] = frozenset({"align", "align-ridge", "align-mlp", "align-bebr"})
