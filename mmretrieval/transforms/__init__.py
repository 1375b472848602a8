"""Changes of a space that are fitted on its items and on reference queries, and applied to items and queries alike.

A new one is a file here and a row in the table.
"""

from __future__ import annotations

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
from mmretrieval.types import Parameter, StageRow, TransformFit

TRANSFORMS: dict[str, StageRow[TransformFit]] = {
    "center": StageRow(center.run, "Takes each modality's mean away, so that the gap between modalities narrows."),
    "gapshift": StageRow(
        gapshift.run,
        "Moves pictures and texts along the gap between them: 1 closes it, less than 0 widens it.",
        (Parameter("share", 1, -20, 20),),
    ),
    "whiten": StageRow(
        whiten.whiten,
        "Gives the d axes along which items vary most the same weight (0: all axes).",
        (Parameter("d", 0, 0, 65_536, whole=True),),
    ),
    "zca": StageRow(whiten.zca, "Whitens as whiten does, in coordinates as near as can be to the old ones."),
    "pca": StageRow(
        whiten.pca,
        "Keeps the d axes along which items vary most (0: half of them).",
        (Parameter("d", 0, 0, 65_536, whole=True),),
    ),
    "mrl": StageRow(
        mrl.run,
        "Keeps the first d coordinates, for encoders whose vectors may be cut (0: half of them).",
        (Parameter("d", 0, 0, 65_536, whole=True),),
    ),
    "relative": StageRow(
        relative.run,
        "Tells every vector by its cosines to k items that have pixels and words.",
        (Parameter("k", 300, 2, 4096, whole=True),),
    ),
    "asif": StageRow(
        asif.run,
        "Tells every vector by the k paired items most like it, each counted to the power p (ASIF).",
        (Parameter("k", 800, 1, asif.MOST_ANCHORS, whole=True), Parameter("p", 8, 0.1, 64)),
    ),
    "parallel-anchors": StageRow(
        parallel_anchors.run,
        "Tells vectors by up to k pairs of a picture and a text, all but a few of which it finds by itself.",
        (Parameter("seeds", 30, 2, 2000, whole=True), Parameter("k", 300, 2, 4096, whole=True)),
    ),
    "invgc": StageRow(
        invgc.run,
        "Pushes items off what all items and reference queries have in common (InvGC).",
        (Parameter("rg", 1, 0, 100), Parameter("rq", 1, 0, 100)),
    ),
    "invgc-local": StageRow(
        invgc.run_local,
        "Pushes items off the items and the reference queries nearest to them (InvGC with LocalAdj).",
        (Parameter("rg", 0.5, 0, 100), Parameter("rq", 0.5, 0, 100), Parameter("pool", 0.1, 0, 1)),
    ),
    "int8": StageRow(
        int8.run,
        "Keeps items as one byte a dimension, between the quantiles of what is there (1: all of it).",
        (Parameter("quantile", 1, 0.5, 1),),
    ),
    "binary": StageRow(
        binary.run,
        "Keeps items as signs: one bit a dimension, or of so many random directions; queries stay numbers.",
        (Parameter("bits", 0, 0, 65_536, whole=True),),
    ),
    "bebr": StageRow(
        bebr.run,
        "Keeps items as steps + 1 codes of so many bits, by a network trained on the space itself (BEBR).",
        (Parameter("bits", 256, 8, 4096, whole=True), Parameter("steps", 2, 0, 7, whole=True)),
    ),
    "opq": StageRow(
        opq.run,
        "Keeps items as m bytes, each a centroid in one part of the rotated space (OPQ; 0: a byte for 8 dimensions).",
        (Parameter("m", 0, 0, 4096, whole=True),),
    ),
    "align": StageRow(
        align.procrustes,
        "Asks another encoder's items: turns queries into its space (orthogonal Procrustes).",
    ),
    "align-ridge": StageRow(
        align.ridge,
        "Asks another encoder's items: maps queries into its space by ridge regression.",
        (Parameter("lambda", 0.1, 0, 1000),),
    ),
    "align-mlp": StageRow(
        align.network,
        "Asks another encoder's items: maps queries into its space by a small network, trained on shared items.",
    ),
    "align-bebr": StageRow(
        bebr.run_onto,
        "Asks another encoder's binary codes: what bebr made of its items stays as it is.",
        (Parameter("bits", 256, 8, 4096, whole=True), Parameter("steps", 2, 0, 7, whole=True)),
    ),
}

# Transforms that lead into the space of another encoder, whose spec is their first argument, as in align:NAME.
TARGETED: frozenset[str] = frozenset({"align", "align-ridge", "align-mlp", "align-bebr"})
