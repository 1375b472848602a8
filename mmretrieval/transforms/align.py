"""One encoder's queries in another encoder's space: ask with the new model on the index of the old one.

After "Post-Training Embedding Alignment for Decoupling Enrollment and Runtime Speaker Recognition Models" (Gao et al.
2024): two models trained apart are joined by a map that is fitted afterwards on what both have seen. Items stay as the
target's encoder made them; queries are mapped. Texts have one map and pictures another: pictures and words lie in
different cones, and a map that serves both gives up part of either. On a library of 661 pictures with captions, between
two encoders, of the ten pictures nearest to words left out of the fit (five folds, ridge) 94 % and 91 % were those of
the target's own words with a map for words, and 78 % and 80 % with one map for all, there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmretrieval.errors import BadQuery, BadRecipe, RetrievalError
from mmretrieval.geometry import Numbers, directions
from mmretrieval.reference import Reference
from mmretrieval.transforms.fitting import MOST_ROWS, SIDE, trainer
from mmretrieval.transforms.rows import changed, spread
from mmretrieval.types import Array, Modality, View

# Fewer pairs than this tell nothing of a space of hundreds of dimensions.
LEAST = 10
# Singular values below this share of the largest are rounding.
RANK = 1e-10
NETWORK = "models.align_mlp:fit"
NETWORK_STARTS_AT = 0.1


@dataclass(frozen=True, eq=False)
class Map:
    """x -> x `linear` + relu(x `into` + `shift`) `out`, as unit rows; a linear map has no columns in `into`.

    From d to e numbers by h hidden ones: `linear` (d, e), `into` (d, h), `shift` (h,), `out` (h, e).
    """

    linear: Numbers
    into: Numbers
    shift: Numbers
    out: Numbers

    def __call__(self, rows: Array) -> Array:
        return changed(rows, self.linear.shape[1], self._block)

    def _block(self, rows: Numbers) -> Numbers:
        mapped = rows @ self.linear
        if self.shift.size:
            mapped = mapped + np.maximum(rows @ self.into + self.shift, 0.0) @ self.out
        return directions(mapped)


@dataclass(frozen=True, eq=False)
class Aligned:
    """Maps of texts ("text") and of pictures and frames ("visual") into a space of `dim` numbers.

    `steps` says, of maps that were trained, how many steps that took; `remark` where training did not end as it should:
    nothing better than its start was found, or it was cut short.
    """

    maps: Mapping[View, Map]
    dim: int
    steps: Mapping[View, int] = field(default_factory=dict)
    remark: str = ""

    @property
    def item_bytes(self) -> float:
        """What a float32 vector of the target's takes."""
        return 4.0 * self.dim

    def items(self, view: View, rows: Array) -> Array:
        """The rows as they are: they are the target's."""
        return rows

    def query(self, modality: Modality, rows: Array) -> Array:
        """Rows (n, d) of the asking encoder as unit rows (n, dim) of the target's space."""
        if SIDE[modality] not in self.maps:
            raise BadQuery(
                f"no map into the target's space is known for {modality} queries: no item and no reference query of "
                "that kind has vectors of both encoders; ask in words, or with one encoder"
            )
        return self.maps[SIDE[modality]](rows)


def procrustes(reference: Reference) -> Aligned:
    """The orthogonal map nearest to the pairs: it turns, and changes no angle between what it was fitted on.

    Schönemann 1966: with X'Y = U S V', the map is U V'. Where the spaces differ in dimension it is semi-orthogonal.
    Directions that no pair tells anything about go to zero rather than anywhere.
    """
    return _aligned(reference, "align", lambda x, y: _linear(turned(x, y)))


def ridge(reference: Reference, strength: float = NETWORK_STARTS_AT) -> Aligned:
    """The linear map of least squared error, held back by `strength` times the mean eigenvalue of X'X.

    (X'X + strength * tr(X'X) / d * I) W = X'Y: at a strength of 1 an average direction is shrunk by half. A strength of
    0 is least squares, the shortest of its solutions.
    """
    return _aligned(reference, "align-ridge", lambda x, y: _linear(least_squares(x, y, strength)))


def network(reference: Reference) -> Aligned:
    """A network of one hidden layer beside a linear map, begun at the ridge map and stopped by pairs held out."""
    fit = trainer(NETWORK)
    trained: dict[View, Any] = {
        side: fit(x, y, least_squares(x, y, NETWORK_STARTS_AT))
        for side, (x, y) in by_side(pairs(reference, "align-mlp")).items()
    }
    maps = {side: Map(**made.arrays) for side, made in trained.items()}
    remarks = [text for side, made in trained.items() if (text := _ended(side, made.steps, made.best, made.cut))]
    steps = {side: made.steps for side, made in trained.items()}
    return Aligned(maps, next(iter(maps.values())).linear.shape[1], steps, "; ".join(remarks))


def _ended(side: View, steps: int, best: int, cut: bool) -> str:
    """How the training of one side's map ended, where it did not end with a better map than it began with."""
    of = "words" if side == "text" else "pictures"
    if not best:
        return f"the map of {of} stayed at the ridge solution: {steps:,} steps made the pairs held out no better"
    if cut:
        return f"the map of {of} might still get better: training was cut short after {steps:,} steps"
    return ""


def turned(x: Numbers, y: Numbers) -> Numbers:
    """The (semi-)orthogonal W (d, e) of least |x W - y| for rows x (n, d) and y (n, e), zero where x'y says nothing."""
    left, values, right = np.linalg.svd(x.T @ y, full_matrices=False)
    told = values > RANK * values[:1].max(initial=0.0)
    rotation: Numbers = left[:, told] @ right[told]
    return rotation


def least_squares(x: Numbers, y: Numbers, strength: float) -> Numbers:
    """The W (d, e) of least |x W - y|^2 + strength * tr(x'x) / d * |W|^2; with strength 0 the shortest such W."""
    if strength == 0:
        shortest: Numbers = np.asarray(np.linalg.lstsq(x, y, rcond=None)[0], dtype=np.float64)
        return shortest
    gram = x.T @ x
    held: Numbers = strength * np.trace(gram) / len(gram) * np.eye(len(gram))
    solved: Numbers = np.asarray(np.linalg.solve(gram + held, x.T @ y), dtype=np.float64)
    return solved


def pairs(reference: Reference, name: str) -> dict[View, tuple[Numbers, Numbers]]:
    """Paired directions of both spaces by side: the items that have a view in both, and the bank in both.

    At most MOST_ROWS items of a view. Raises BadRecipe without a target, and RetrievalError where both spaces share
    too little; `name` is the transform that asks.
    """
    target = reference.target
    if target is None:
        raise BadRecipe(
            f"{name} leads into the space of another encoder: name one of this library's, as in {name}:NAME"
        )
    found: dict[View, tuple[Numbers, Numbers]] = {}
    for side in sorted(set(SIDE.values())):
        both = [_items(reference, target, side)]
        for modality, rows in reference.parts.items():
            if SIDE[modality] == side and modality in target.parts:
                both.append((rows, target.parts[modality]))
        there = [(a, b) for a, b in both if len(a)]
        if there:
            x, y = (directions(np.concatenate(rows)) for rows in zip(*there, strict=True))
            found[side] = x, y
    if (count := sum(len(x) for x, _ in found.values())) < LEAST:
        raise RetrievalError(
            f"{name} needs at least {LEAST} items or reference queries with vectors of both encoders, and there are "
            f"{count}: `python -m ingest add-encoder` gives a library's items the vectors of another encoder"
        )
    return found


def by_side(
    found: Mapping[View, tuple[Numbers, Numbers]],
) -> dict[View, tuple[Numbers, Numbers]]:
    """The pairs that each side's map is fitted on: its own; where they are fewer than dimensions, all there are."""
    x, y = (np.concatenate([rows[i] for rows in found.values()]) for i in (0, 1))
    return {side: own if len(own[0]) >= own[0].shape[1] else (x, y) for side, own in found.items()}


def _aligned(reference: Reference, name: str, fit: Callable[[Numbers, Numbers], Map]) -> Aligned:
    maps = {side: fit(x, y) for side, (x, y) in by_side(pairs(reference, name)).items()}
    return Aligned(maps, next(iter(maps.values())).linear.shape[1])


def _items(reference: Reference, target: Reference, view: View) -> tuple[Array, Array]:
    a, b = reference.items.get(view), target.items.get(view)
    if a is None or b is None:
        return np.empty((0, 0), dtype=np.float32), np.empty((0, 0), dtype=np.float32)
    places = b.places(a.ids)
    mine = np.flatnonzero(places >= 0)
    mine = mine[spread(len(mine), MOST_ROWS)]
    return a.rows[mine], b.rows[places[mine]]


def _linear(matrix: Numbers) -> Map:
    d, e = matrix.shape
    return Map(matrix, np.empty((d, 0)), np.empty(0), np.empty((0, e)))
