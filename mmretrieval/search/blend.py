"""Blends: composers that mix scores instead of vectors. The score of each part with each item (p, n) to one (n,).

Scores are float64 dot products, higher is better, items in id order. As with composers, parts of weight 0 are left out,
and neither the order of the parts nor the scale of all weights plays a part. They raise BadQuery where a weight is no
finite number, and where nothing has a weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from mmretrieval.errors import BadQuery
from mmretrieval.geometry import blocks
from mmretrieval.search.compose import Mask, Numbers, added, counted, shares

# Scores (p, n), weights (p,), feedback (p,), *arguments -> scores (n,).
Blend: TypeAlias = Callable[..., Numbers]

# What a pair's liked item has to be nearer by, before an item counts as on its side: float32's epsilon, as in Qdrant.
MARGIN = float(np.finfo(np.float32).eps)
# Numbers held at once where pairs meet items: 2**22 float64 are 32 MB.
AT_ONCE = 2**22


def late(scores: Numbers, weights: Numbers, feedback: Mask, k: float = 60.0) -> Numbers:
    """Each part ranks the items by itself; an item's score is the sum of w / (k + rank) over the parts, ranks from 1.

    Weights count by the largest of them: with equal ones this is reciprocal rank fusion (Cormack, Clarke and Buettcher
    2009) of the parts' lists. The ranks of a part that pushes away are taken off. Equal scores of a part are ranked by
    id. Only ranks count, so parts need not be comparable: words and pictures have the same say.
    """
    kept = counted(weights)
    heard, weight = scores[kept], weights[kept] / np.abs(weights).max()
    order = np.argsort(-heard, axis=1, kind="stable")
    ranks = np.empty(heard.shape)
    np.put_along_axis(ranks, order, np.arange(1.0, heard.shape[1] + 1)[None], axis=1)
    return added(weight[:, None] / (k + ranks))


def best(scores: Numbers, weights: Numbers, feedback: Mask) -> Numbers:
    """An item's score is that of the part that is nearest to it: for it where that part pulls, against it if not.

    With p and n the best scores of the parts that pull and that push away, it is s(p) where s(p) > s(n), else -s(n),
    s(x) = (x / (1 + |x|) + 1) / 2: Qdrant's `best_score` (RecoBestScoreQuery of its engine), which lets negative parts
    stand alone too. Qdrant knows no weights. Here |w| over the largest |w| scales a part's s, which is positive, so
    that a lighter part always says less; scaled before, the negative scores of light parts would beat those of heavy
    ones. Scores are compared as they are: parts of one modality are comparable, words and pictures often are not.
    """
    kept = counted(weights)
    weight = weights[kept] / np.abs(weights).max()
    said = np.abs(weight)[:, None] * _scaled_sigmoid(scores[kept])
    towards = said[weight > 0].max(axis=0, initial=-np.inf)
    away = said[weight < 0].max(axis=0, initial=-np.inf)
    scored: Numbers = np.where(towards > away, towards, -away)
    return scored


def context(scores: Numbers, weights: Numbers, feedback: Mask) -> Numbers:
    """Each liked item with each disliked one is a pair; an item is better the more pairs have it on the liked side.

    With a question (all parts that are no feedback; its score x with an item is the weighted sum of theirs) it is
    Qdrant's discovery: the sum over pairs of 1, 0 or -1, as the item is nearer to the liked or the disliked one, plus
    s(x) in 0..1 (see `best`), which decides among items of as many pairs. Without one it is Qdrant's context search:
    the sum over pairs of y / (1 + |y|), y = min(liked - disliked - margin, 0), which is almost 0 for all items that are
    on the right side of every pair. A pair counts by its two weights' product, the heaviest pair 1; Qdrant's all count
    1. A question alone is ranked by its score. Raises BadQuery where liked items have no disliked ones to be compared
    with, or the reverse.
    """
    kept = counted(weights)
    liked, disliked = kept & feedback & (weights > 0), kept & feedback & (weights < 0)
    asked = kept & ~feedback
    if liked.any() != disliked.any():
        there, missing = ("liked", "disliked") if liked.any() else ("disliked", "liked")
        raise BadQuery(
            f"context compares liked with disliked items, and none is {missing}: add one, or take {there} off"
        )
    out = np.zeros(scores.shape[1])
    if liked.any():
        pairs = np.outer(weights[liked] / weights[liked].max(), weights[disliked] / weights[disliked].min()).reshape(-1)
        for block in blocks(len(out), max(1, AT_ONCE // len(pairs))):
            difference = scores[liked, None, block] - scores[None, disliked, block]
            difference = difference.reshape(len(pairs), -1)
            if asked.any():
                out[block] = added(pairs[:, None] * np.sign(difference))
            else:
                out[block] = added(pairs[:, None] * _sigmoid(np.minimum(difference - MARGIN, 0.0)))
    if asked.any():
        out += _scaled_sigmoid(added(shares(weights[asked])[:, None] * scores[asked]))
    return out


def _sigmoid(x: Numbers) -> Numbers:
    """Qdrant's quick sigmoid, -1..1."""
    return x / (1.0 + np.abs(x))


def _scaled_sigmoid(x: Numbers) -> Numbers:
    """The same, 0..1."""
    return 0.5 * (_sigmoid(x) + 1.0)
