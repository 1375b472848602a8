"""Composers: the parts of a query as one space has them (PartVectors) to one unit query row and its shares (Composed).

All of them leave parts of weight 0 out, and take neither the order of the parts nor the scale of all weights for
something that was said. They raise BadQuery where a weight is no finite number, where nothing has a weight or a
direction, and where the parts cancel out.

A joint encoder can read several parts at once: `read_together` makes one part of them, before anything is embedded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mmretrieval.composition import Composed, PartVectors
from mmretrieval.errors import BadQuery
from mmretrieval.geometry import unit
from mmretrieval.types import MODALITIES, Content, Modality, Part

Numbers = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
# PartVectors, *arguments -> Composed.
Composer: TypeAlias = Callable[..., Composed]

# A sum this much shorter than its parts is the rounding of float32 vectors, whose direction means nothing.
CANCELLED = 1e-6
# From this cosine on the arc between two rows is taken for its chord, as in the authors' code of Slerp.
NEARLY_PARALLEL = 0.9995


def weighted_sum(parts: PartVectors) -> Composed:
    """unit(sum of w_i v_i / sum of |w_i|): Composed of a unit row (d,), from rows (p, d) and weights (p,).

    The order of the parts changes no bit. Negative weights push away; with no other, items are ranked by how little
    they resemble the parts. Feedback is added like every other part. Linear mixing is the `mixture` of Pic2Word (Saito
    et al. 2023) and the + / - of text arithmetic in CLIP space.
    """
    kept = counted(parts.weights)
    return _mixed(parts, kept, shares(parts.weights[kept]))


def slerp(parts: PartVectors, a: float = 0.8) -> Composed:
    """The row on the arc from the pictures to the words, `a` (0..1) of the way; what pushes away is taken off after.

    With v and t the unit weighted sums of the pictures (and frames) and of the words that pull, at an angle h, it is
    (sin((1 - a) h) v + sin(a h) t) / sin h: Jang et al., "Spherical Linear Interpolation and Text-Anchoring for
    Zero-shot Composed Image Retrieval", 2024 (arXiv 2405.00571), with a = 0.8 for CLIP. Where |v.t| > 0.9995 the chord
    (1 - a) v + a t is taken instead, as the authors do, and made unit. Between opposite v and t every direction is as
    good as any other: that raises BadQuery. Weights count among the pictures, and among the words; `a` decides between
    the two. The row on the arc then stands where the pulling parts stand in `sum`, with their weight, and negative
    parts are added with theirs. With words alone, or pictures alone, that pull this is `sum`.
    """
    kept = counted(parts.weights) & parts.rows.any(axis=1)
    pulls = kept & (parts.weights > 0)
    words = _of(parts, "text")
    seen, said = pulls & ~words, pulls & words
    if not seen.any() or not said.any():
        return weighted_sum(parts)
    rows = parts.rows.astype(np.float64)
    mixture = np.zeros(len(rows))
    mixture[kept] = shares(parts.weights[kept])
    pull = _length(mixture[pulls], rows[pulls])
    picture, sentence = _direction(parts, seen, rows), _direction(parts, said, rows)
    v, t = (added(share[:, None] * rows[group]) for share, group in ((picture, seen), (sentence, said)))
    to_picture, to_words = _arc(v, t, a)
    mixture[seen] = pull * to_picture * picture
    mixture[said] = pull * to_words * sentence
    return _mixed(parts, kept, mixture[kept])


def anchored(parts: PartVectors) -> Composed:
    """The parts added as their modality's mean sees them, and put back at the usual distance from the mean.

    Each part i gives u_i, the direction from its modality's mean c_i (`centres`) to it, and l_i, how far it is from
    there. The row is unit(C + L unit(sum of w_i u_i)); C and L are the means of the c_i and l_i, by weight, over the
    parts that pull (over all, where none does). So one part that pulls comes back as itself, one that pushes away as
    its mirror image in the mean, and the gap between modalities neither adds to the query nor takes from it. A part
    that lies on its mean has no direction and adds nothing. A training-free stand-in of our own for the text anchoring
    of Jang et al. 2024, which tunes the image encoder. Raises BadQuery where a part's modality has no mean here.
    """
    kept = counted(parts.weights) & parts.rows.any(axis=1)
    unknown = sorted({parts.modalities[i] for i in np.flatnonzero(kept)} - set(parts.centres))
    if unknown:
        raise BadQuery(
            f"anchor takes the mean off each kind of part, and here none is known for {', '.join(unknown)}: use sum"
        )
    rows, centres = parts.rows.astype(np.float64), np.zeros(parts.rows.shape)
    for i in np.flatnonzero(kept):
        centres[i] = parts.centres[parts.modalities[i]]
    far = np.linalg.norm(rows - centres, axis=1)
    kept &= far > CANCELLED * np.linalg.norm(rows, axis=1)
    if not kept.any():
        raise _undirected()
    centres, far, share = centres[kept], far[kept], shares(parts.weights[kept])
    towards = added(share[:, None] * (rows[kept] - centres) / far[:, None])
    if (length := float(np.linalg.norm(towards))) <= CANCELLED:
        raise _cancelled(parts.weights)
    heard = share > 0 if (share > 0).any() else np.ones(len(share), dtype=np.bool_)
    by_weight = shares(np.abs(share[heard]))
    usual = math.fsum(by_weight * far[heard])
    return _mixed(
        parts, kept, usual * share / (far * length), moved=-centres, put_back=added(by_weight[:, None] * centres[heard])
    )


def rocchio(parts: PartVectors, a: float = 1.0, b: float = 0.75, c: float = 0.15) -> Composed:
    """unit(a question + b mean of the liked - c mean of the disliked), in the space of one modality.

    Rocchio, "Relevance feedback in information retrieval", 1971, with the factors that are usual since. The question is
    what `sum` makes of all parts that are no feedback; weights count within it, and within each mean, but not between
    the three. Without feedback it is `sum`; without a question, the feedback alone.

    Words and pictures lie around means of their own, some way apart, so that liked pictures added to words would mostly
    move the query across that gap and say little of what was liked. Therefore parts of another modality than most of
    the feedback (by weight) are moved by the difference of the two modalities' means first, and keep their length
    (after Liang et al., "Mind the Gap", 2022). Where `centres` lacks one of the two they stay where they are.
    """
    kept = counted(parts.weights) & parts.rows.any(axis=1)
    if not (kept & parts.feedback).any():
        return weighted_sum(parts)
    moves, stretch = _moves(parts, kept)
    rows = (parts.rows + moves) * stretch[:, None]
    kept &= stretch > 0
    asked, spoken = kept & ~parts.feedback, kept & parts.feedback
    mixture = np.zeros(len(rows))
    if a and asked.any():
        # As long as its parts are on average, which is 1 for unit rows.
        length = _length(shares(parts.weights[asked]), rows[asked])
        mixture[asked] = a * length * _direction(parts, asked, rows)
    for group, factor in ((spoken & (parts.weights > 0), b), (spoken & (parts.weights < 0), c)):
        if group.any():
            mixture[group] = factor * shares(parts.weights[group])
    if not mixture.any():
        raise BadQuery(f"rocchio:{a:g}:{b:g}:{c:g} takes 0 times all that this query has: change the factors")
    return _mixed(parts, kept, (mixture * stretch)[kept], moved=moves[kept])


def read_together(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts with all words that pull set into each picture or clip that pulls, for an encoder that reads both.

    Words are joined by a space in the order given; with no picture they make one part, of the sum of their weights.
    Beside a picture the weights of words play no part: how much they count is the encoder's own affair. Parts that push
    away, feedback and stored items stay as they are.
    """
    pulling = [p for p in parts if p.content is not None and p.weight > 0 and not p.feedback]
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


# --- what composers and blends share -------------------------------------------------------------------------------


def counted(weights: npt.ArrayLike) -> Mask:
    """Which weights (p,) are other than 0. Raises BadQuery where one is no finite number, and where none is."""
    w = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(w).all():
        raise BadQuery(f"weights must be finite numbers, not {_listed(w)}")
    kept: Mask = w != 0
    if not kept.any():
        raise BadQuery("no part of the query has a weight other than 0: give at least one part a weight")
    return kept


def shares(weights: Numbers) -> Numbers:
    """Weights (p,), not all 0, over the sum of their sizes; to the bit the same in whatever order they come."""
    # By the largest weight first: the sum of weights near the end of float64's range would overflow.
    share: Numbers = weights / np.abs(weights).max()
    share /= math.fsum(np.abs(share))
    return share


def added(terms: Numbers) -> Numbers:
    """The sum (d,) of terms (m, d), to the bit the same in whatever order they come."""
    total: Numbers = np.sort(terms, axis=0).sum(axis=0)
    return total


def _mixed(
    parts: PartVectors, kept: Mask, mixture: Numbers, *, moved: Numbers | None = None, put_back: Numbers | None = None
) -> Composed:
    """unit(put_back + sum over the kept parts of mixture_i (row_i + moved_i)), and what of it is each part's."""
    rows, base = parts.rows[kept].astype(np.float64), np.zeros(parts.rows.shape[1])
    if moved is not None:
        rows = rows + moved
        base = added(mixture[:, None] * moved)
    terms = mixture[:, None] * rows
    if put_back is not None:
        terms = np.concatenate([terms, put_back[None]])
        base = base + put_back
    total = added(terms)
    reach = np.linalg.norm(terms, axis=1).sum()
    if reach == 0:
        raise _undirected()
    length = np.linalg.norm(total)
    if length <= CANCELLED * reach:
        raise _cancelled(parts.weights)
    share = np.zeros(len(kept))
    share[kept] = mixture / length
    return Composed(unit(total), share, base / length)


def _direction(parts: PartVectors, group: Mask, rows: Numbers) -> Numbers:
    """What each part of a group (g,) brings to the group's weighted sum when that is made unit."""
    share = shares(parts.weights[group])
    length = np.linalg.norm(added(share[:, None] * rows[group]))
    if length <= CANCELLED * _length(share, rows[group]):
        raise _cancelled(parts.weights)
    brought: Numbers = share / length
    return brought


def _length(share: Numbers, rows: Numbers) -> float:
    """How long parts are on average, by the size of their shares, times the sum of those."""
    return math.fsum(np.abs(share) * np.linalg.norm(rows, axis=1))


def _arc(v: Numbers, t: Numbers, a: float) -> tuple[float, float]:
    """How much of v and of t, unit rows (d,), is in the unit row `a` of the way from v to t."""
    if np.linalg.norm(v + t) <= 2 * CANCELLED:
        raise BadQuery("the pictures and the words of the query are opposites: no arc between them is the shortest")
    cosine = float(np.clip(v @ t, -1.0, 1.0))
    angle = math.acos(cosine)
    chord = abs(cosine) > NEARLY_PARALLEL
    from_v, from_t = (1.0 - a, a) if chord else (math.sin((1.0 - a) * angle), math.sin(a * angle))
    length = float(np.linalg.norm(from_v * v + from_t * t))
    return from_v / length, from_t / length


def _moves(parts: PartVectors, kept: Mask) -> tuple[Numbers, Numbers]:
    """By what each part is moved (p, d) to where most of the feedback is, and what makes it as long as before (p,).

    The second is 0 for a part that ends nowhere.
    """
    spoken = kept & parts.feedback
    weight = np.zeros(len(kept))
    weight[spoken] = shares(np.abs(parts.weights[spoken]))
    home: Modality = max(MODALITIES, key=lambda m: math.fsum(weight[_of(parts, m)]))
    moves, stretch = np.zeros(parts.rows.shape), np.ones(len(kept))
    for modality in set(parts.modalities) - {home}:
        if modality in parts.centres and home in parts.centres:
            own = _of(parts, modality)
            rows = parts.rows[own].astype(np.float64)
            moves[own] = parts.centres[home].astype(np.float64) - parts.centres[modality]
            before, after = np.linalg.norm(rows, axis=1), np.linalg.norm(rows + moves[own], axis=1)
            stretch[own] = np.divide(before, after, out=np.zeros(len(rows)), where=after > CANCELLED * before)
    return moves, stretch


def _of(parts: PartVectors, modality: Modality) -> Mask:
    return np.array([m == modality for m in parts.modalities], dtype=np.bool_)


def _undirected() -> BadQuery:
    return BadQuery("no part of the query has a direction (its vectors are all zero): ask with other content")


def _cancelled(weights: Numbers) -> BadQuery:
    return BadQuery(
        f"the parts of the query cancel out (weights {_listed(weights)}): change a weight or leave a part out"
    )


def _listed(weights: npt.NDArray[np.float64]) -> str:
    return ", ".join(f"{value:g}" for value in weights)
