"""Recurrent binarisation: items and queries as a few bits a dimension, by a small network trained on the space itself.

Gan et al., "Binary Embedding-based Retrieval at Tencent" (KDD 2023, arXiv 2302.08714). A vector is `steps` + 1 codes of
`bits` bits; each further code halves what is left, and fewer codes are a prefix of more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import BadQuery, BadRecipe, RetrievalError
from mmretrieval.geometry import Numbers, directions
from mmretrieval.reference import Reference
from mmretrieval.transforms import binary
from mmretrieval.transforms.align import by_side as pairs_by_side
from mmretrieval.transforms.align import least_squares, pairs
from mmretrieval.transforms.fitting import SIDE, UNSEEN, by_side, trainer, width
from mmretrieval.transforms.rows import changed
from mmretrieval.types import Array, Modality, View

TRAINING, COMPATIBLE = "models.bebr:fit", "models.bebr:fit_onto"
# Fewer rows than this tell a network nothing.
LEAST = 20
STARTS_AT = 0.1
SEED = 0


@dataclass(frozen=True, eq=False)
class Turn:
    """One code: signs of (f - f^) `project` (d, bits), where f^ is the direction of what the codes before stand for.

    f^ = b `back` + relu(b `into` + `shift`) `out`, of shapes (bits, d), (bits, h), (h,), (h, d). The first turn has no
    codes before it: f^ is 0, and h is 0.
    """

    project: Array
    back: Array
    into: Array
    shift: Array
    out: Array

    def residual(self, rows: Array, levels: Array) -> Array:
        """f - f^ for rows (n, d) whose codes so far sum to `levels` (n, bits)."""
        made = levels @ self.back + np.maximum(levels @ self.into + self.shift, 0) @ self.out
        length = np.linalg.norm(made, axis=1, keepdims=True)
        left: Array = rows - np.divide(made, length, out=np.zeros_like(made), where=length > 0)
        return left


@dataclass(frozen=True, eq=False)
class Bebr:
    """A binarisation of directions less the mean of their side ("visual", "text", "joint"): `means` is {side: (d,)}.

    Items and queries are binarised alike (symmetric distance calculation): a score is the cosine of two vectors of
    levels, each level the sum of a dimension's signs, halved from code to code.
    """

    means: Mapping[View, Numbers]
    turns: tuple[Turn, ...]

    @property
    def bits(self) -> int:
        """How many bits one code has."""
        return int(self.turns[0].project.shape[1])

    @property
    def item_bytes(self) -> float:
        """An eighth of the bits of all codes. The length of the levels follows from them and is not counted."""
        return self.bits * len(self.turns) / 8

    def codes(self, view: View, rows: Array) -> npt.NDArray[np.uint8]:
        """What a store would hold: (codes, n, ceil(bits / 8)), 1 for what is not negative, eight to a byte."""
        signs = self._all(self._mean(view), rows)
        return np.packbits(signs.transpose(1, 0, 2) > 0, axis=2)

    def items(self, view: View, rows: Array) -> Array:
        """The rows (n, d) as unit rows of levels (n, bits)."""
        return self._levelled(self._mean(view), rows)

    def query(self, modality: Modality, rows: Array) -> Array:
        """The rows (n, d) as unit rows of levels (n, bits), binarised as items of their side are."""
        if SIDE[modality] not in self.means:
            raise BadQuery(
                f"bebr was fitted without anything like {modality} queries: neither items nor reference queries are of "
                "that kind; search with a recipe without bebr"
            )
        return self._levelled(self.means[SIDE[modality]], rows)

    def shortened(self, steps: int) -> Bebr:
        """The binarisation that keeps the first `steps` + 1 codes: a prefix of these, for shorter vectors."""
        return replace(self, turns=self.turns[: steps + 1])

    def _mean(self, view: View) -> Numbers:
        if view not in self.means:
            raise BadRecipe(f"bebr knows no mean of the {view} view, {UNSEEN}")
        return self.means[view]

    def _levelled(self, mean: Numbers, rows: Array) -> Array:
        weights = 0.5 ** np.arange(len(self.turns))
        return changed(rows, self.bits, lambda some: directions(np.tensordot(weights, self._signs(mean, some), axes=1)))

    def _all(self, mean: Numbers, rows: Array) -> Array:
        def together(some: Numbers) -> Numbers:
            return self._signs(mean, some).transpose(1, 0, 2).reshape(len(some), -1).astype(np.float64)

        return changed(rows, len(self.turns) * self.bits, together).reshape(len(rows), len(self.turns), self.bits)

    def _signs(self, mean: Numbers, rows: Numbers) -> Array:
        """The codes of a block (n, d) as plus and minus 1: (codes, n, bits)."""
        seen = directions(directions(rows) - mean).astype(np.float32)
        signs = np.empty((len(self.turns), len(rows), self.bits), dtype=np.float32)
        levels = np.zeros((len(rows), self.bits), dtype=np.float32)
        for step, turn in enumerate(self.turns):
            left = turn.residual(seen, levels) if step else seen
            signs[step] = np.where(left @ turn.project >= 0, 1, -1)
            levels += np.float32(2.0**-step) * signs[step]
        return signs


@dataclass(frozen=True, eq=False)
class Compatible:
    """Another encoder's queries as codes that compare with those of a binarisation that was there before.

    `maps` is {side: (d, e)}: a query's row, mapped, stands for a row of the older encoder, and is binarised as that.
    """

    maps: Mapping[View, Array]
    target: Bebr

    @property
    def item_bytes(self) -> float:
        """What the older binarisation takes."""
        return self.target.item_bytes

    def items(self, view: View, rows: Array) -> Array:
        """The target's rows (n, e), as its own binarisation has them: an index of it stays as it is."""
        return self.target.items(view, rows)

    def query(self, modality: Modality, rows: Array) -> Array:
        """Rows (n, d) of the asking encoder as unit rows of levels (n, bits)."""
        side = SIDE[modality]
        if side not in self.maps:
            raise BadQuery(
                f"no way into the target's codes is known for {modality} queries: no item and no reference query of "
                "that kind has vectors of both encoders; ask in words, or with one encoder"
            )
        lead = self.maps[side].astype(np.float64)
        return self.target.query(modality, changed(rows, lead.shape[1], lambda some: directions(some @ lead)))


def run(reference: Reference, bits: float = 256, steps: float = 2) -> Bebr:
    """Trains a binarisation on the space's items and the bank; `steps` + 1 codes of `bits` bits each.

    Items and bank are all it sees: no pairs of a picture and its caption, so that captions stay fit to test with. At
    most 20,000 items of a view. Training takes the same number of steps whatever their number, and is seeded: on one
    machine the codes of fewer steps are a prefix of those of more, fitted together or apart.
    """
    width(reference, "bebr")
    rows = {view: directions(found[found.any(axis=1)]) for view, found in by_side(reference).items()}
    if (count := sum(map(len, rows.values()))) < LEAST:
        raise RetrievalError(
            f"bebr is trained on a space's vectors, of which it needs {LEAST}, and there are {count}: add items, or "
            f"write binary:{int(bits)}, which needs no training"
        )
    means = {side: found.mean(axis=0) for side, found in rows.items()}
    centred = {side: directions(found - means[side]) for side, found in rows.items()}
    turns = trainer(TRAINING)(rows, centred, start(np.concatenate(list(centred.values())), int(bits)), int(steps))
    return Bebr(means, tuple(_turn(arrays) for arrays in turns))


def run_onto(reference: Reference, bits: float = 256, steps: float = 2) -> Compatible:
    """Trains the way of this space's queries into the codes that `run` gives the target space.

    It is fitted on what both encoders have vectors of, as `align` is, and starts from the linear map of align-ridge.
    """
    found = pairs(reference, "align-bebr")
    assert reference.target is not None  # pairs has seen to it
    target = run(reference.target, bits, steps)
    known = {side: rows for side, rows in pairs_by_side(found).items() if side in target.means}
    maps = onto(target, known)
    return Compatible(maps, target)


def onto(target: Bebr, pairs: Mapping[View, tuple[Numbers, Numbers]]) -> dict[View, Array]:
    """The maps {side: (d, e)} of `Compatible`, trained on directions of what both encoders saw: (new, old) by side."""
    asking, rows = ({side: both[i] for side, both in pairs.items()} for i in (0, 1))
    starts = {side: least_squares(x, y, STARTS_AT) for side, (x, y) in pairs.items()}
    means = {side: target.means[side] for side in pairs}
    turns = [_named(turn) for turn in target.turns]
    return dict(trainer(COMPATIBLE)(asking, rows, means, turns, starts))


def start(centred: Numbers, bits: int) -> Numbers:
    """Directions (d, bits) to begin with: the first principal axes, turned at random so that all weigh about the same.

    With more bits than dimensions they are several random rotations instead. A random turn of the axes that vary most
    is where iterative quantisation starts as well (Gong and Lazebnik 2011).
    """
    chance = np.random.default_rng(SEED)
    d = centred.shape[1]
    if bits > d:
        return binary.directions(d, bits, chance)
    _, axes = np.linalg.eigh(centred.T @ centred)
    begun: Numbers = axes[:, ::-1][:, :bits] @ binary.directions(bits, bits, chance)
    return begun


def symmetric(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8], bits: int) -> Numbers:
    """Cosines (n, m) of levels straight from packed codes (k, n, bytes) and (k, m, bytes), without unpacking them.

    Symmetric distance calculation: the dot product is the sum over pairs of codes of 2^-(u + v) (bits - 2 h), h being
    how many bits of code u of the one and code v of the other differ.
    """

    def products(x: npt.NDArray[np.uint8], y: npt.NDArray[np.uint8]) -> Numbers:
        total = np.zeros((x.shape[1], y.shape[1]))
        for u, left in enumerate(x):
            for v, right in enumerate(y):
                apart = np.bitwise_count(left[:, None] ^ right[None]).sum(axis=2, dtype=np.int64)
                total += 2.0 ** -(u + v) * (bits - 2 * apart)
        return total

    def lengths(x: npt.NDArray[np.uint8]) -> Numbers:
        return np.array([math.sqrt(products(x[:, i : i + 1], x[:, i : i + 1])[0, 0]) for i in range(x.shape[1])])

    scores: Numbers = products(a, b) / (lengths(a)[:, None] * lengths(b))
    return scores


def _turn(arrays: Mapping[str, Array]) -> Turn:
    d, bits = arrays["project"].shape
    shapes = {"back": (bits, d), "into": (bits, 0), "shift": (0,), "out": (0, d)}
    return Turn(arrays["project"], *(arrays.get(k, np.zeros(s, dtype=np.float32)) for k, s in shapes.items()))


def _named(turn: Turn) -> dict[str, Array]:
    return dict(vars(turn))
