"""Composers: part vectors (p, d) and weights (p,) to one unit query vector (d,).

A joint encoder can read several parts at once: `read_together` makes one part of them, before anything is embedded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import BadQuery
from mmretrieval.geometry import unit
from mmretrieval.types import Array, Content, Part

# A sum this much shorter than its parts is the rounding of float32 vectors, whose direction means nothing.
CANCELLED = 1e-6


def weighted_sum(parts: Array, weights: npt.ArrayLike) -> Array:
    """unit(sum of w_i v_i / sum of |w_i|): one unit row (d,) from parts (p, d) and weights (p,).

    The scale of all weights, the order of the parts, and parts of weight 0 change nothing. Negative weights push
    away; with no other, items are ranked by how little they resemble the parts. Raises BadQuery where a weight is no
    finite number, where nothing has a weight, and where the parts cancel out. Linear mixing is the `mixture` of
    Pic2Word (Saito et al. 2023) and the + / - of text arithmetic in CLIP space.
    """
    w = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(w).all():
        raise BadQuery(f"weights must be finite numbers, not {_listed(w)}")
    kept = w != 0
    if not kept.any():
        raise BadQuery("no part of the query has a weight other than 0: give at least one part a weight")
    # By the largest weight first: the sum of weights near the end of float64's range would overflow.
    share = w[kept] / np.abs(w[kept]).max()
    # fsum and the sorted sum below round the same way in whatever order the parts come.
    share /= math.fsum(np.abs(share))
    terms = share[:, None] * parts[kept].astype(np.float64)
    total = np.sort(terms, axis=0).sum(axis=0)
    reach = np.linalg.norm(terms, axis=1).sum()
    if reach == 0:
        raise BadQuery("no part of the query has a direction (its vectors are all zero): ask with other content")
    if np.linalg.norm(total) <= CANCELLED * reach:
        raise BadQuery(f"the parts of the query cancel out (weights {_listed(w)}): change a weight or leave a part out")
    return unit(total)


def read_together(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts with all words that pull set into each picture or clip that pulls, for an encoder that reads both.

    Words are joined by a space in the order given; with no picture they make one part, of the sum of their weights.
    Beside a picture the weights of words play no part: how much they count is the encoder's own affair. Parts that push
    away, and stored items, stay as they are.
    """
    pulling = [p for p in parts if p.content is not None and p.weight > 0]
    words = [p for p in pulling if p.content is not None and p.content.modalities == ("text",)]
    seen = [p for p in pulling if p not in words]
    if not words:
        return tuple(parts)
    said = " ".join((p.content.text or "").strip() for p in words if p.content)
    asked = next((p.content.instruction for p in pulling if p.content and p.content.instruction), None)
    if seen:
        contents = [replace(p.content or Content(), text=said, instruction=asked) for p in seen]
        read = [replace(p, content=c) for p, c in zip(seen, contents, strict=True)]
    else:
        read = [Part(Content(text=said, instruction=asked), weight=math.fsum(p.weight for p in words))]
    return (*read, *(p for p in parts if p not in pulling))


def _listed(weights: npt.NDArray[np.float64]) -> str:
    return ", ".join(f"{value:g}" for value in weights)
