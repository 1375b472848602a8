"""Optimised product quantisation: an item is m bytes, each the number of a centroid in one part of a rotated space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import BadRecipe
from mmretrieval.geometry import Numbers, blocks
from mmretrieval.reference import Reference
from mmretrieval.transforms.fitting import UNSEEN, spaced, width
from mmretrieval.transforms.rows import changed
from mmretrieval.types import Array, Modality, View

Codes = npt.NDArray[np.int64]

CENTROIDS = 256
# How many dimensions share a byte where nothing is said: 32 times less than float32.
DIMENSIONS = 8
# Turns of (k-means step, rotation), and k-means steps after the last rotation.
TURNS, LAST = 10, 5
# Centroids are found on at most this many rows of a view: about forty for each.
MOST_ROWS = 10_000
SEED = 0


@dataclass(frozen=True, eq=False)
class Quantiser:
    """One view's: a row x is near mean + rotation @ (its centroids, one a part, in a row).

    `rotation` (d, m * s) has orthonormal rows, s = ceil(d / m); `centroids` is (m, k, s), k of 256 at most.
    """

    mean: Numbers
    rotation: Numbers
    centroids: Numbers

    def codes(self, rows: Numbers) -> Codes:
        """The nearest centroid in each part, (n, m)."""
        return _assigned(_parts((rows - self.mean) @ self.rotation, len(self.centroids)), self.centroids).T

    def rows(self, codes: Codes) -> Numbers:
        """What codes (n, m) stand for, (n, d)."""
        turned = self.centroids[np.arange(len(self.centroids)), codes].reshape(len(codes), -1)
        return self.mean + turned @ self.rotation.T


@dataclass(frozen=True, eq=False)
class Opq:
    """A quantiser a view. Items come back as what their codes stand for, queries stay numbers (asymmetric distance)."""

    views: Mapping[View, Quantiser]
    dim: int
    item_bytes: float

    def codes(self, view: View, rows: Array) -> npt.NDArray[np.uint8]:
        """What a store would hold: m bytes an item, (n, m)."""
        quantiser = self._quantiser(view)
        return changed(rows, len(quantiser.centroids), quantiser.codes).astype(np.uint8)

    def items(self, view: View, rows: Array) -> Array:
        """The rows (n, d) as their codes stand for them."""
        quantiser = self._quantiser(view)
        return changed(rows, self.dim, lambda some: quantiser.rows(quantiser.codes(some)))

    def query(self, modality: Modality, rows: Array) -> Array:
        """The rows as they are."""
        return rows

    def _quantiser(self, view: View) -> Quantiser:
        if view not in self.views:
            raise BadRecipe(f"opq knows no centroids of the {view} view, {UNSEEN}")
        return self.views[view]


def run(reference: Reference, m: float = 0) -> Opq:
    """A quantiser of m parts for each view's items; with m = 0, a part for every 8 dimensions.

    After Ge et al., "Optimized Product Quantization for Approximate Nearest Neighbor Search", 2013: it starts from the
    parametric solution, then assigns, moves centroids and rotates in turn (the non-parametric one). Each view
    gets its own: pictures and words lie apart, and centroids shared between them would be spent on telling one from
    the other. A code takes log2 of the number of centroids in bits, rounded up: m bytes an item from 129 items on;
    rotation and centroids are kept once a view and not counted.
    """
    dim = width(reference, "opq")
    parts = int(m) or -(-dim // DIMENSIONS)
    if parts > dim:
        raise BadRecipe(f"opq:{parts} cuts rows of {dim} numbers into {parts} parts: use opq:{dim} at most")
    chance = np.random.default_rng(SEED)
    held = {v: rows[rows.any(axis=1)] for v, rows in reference.rows().items()}
    views = {v: quantiser(spaced(rows, MOST_ROWS), parts, chance) for v, rows in held.items() if len(rows)}
    most = max((v.centroids.shape[1] for v in views.values()), default=1)
    return Opq(views, dim, parts * max(1, math.ceil(math.log2(most))) / 8)


def quantiser(rows: Array, parts: int, chance: np.random.Generator, turns: int = TURNS, last: int = LAST) -> Quantiser:
    """A quantiser of rows (n, d) into `parts` parts; the squared error never rises from turn to turn."""
    mean = rows.mean(axis=0, dtype=np.float64)
    centred = rows.astype(np.float64) - mean
    rotation = allocation(centred, parts)
    drawn = np.sort(chance.choice(len(rows), min(CENTROIDS, len(rows)), replace=False))
    turned = _parts(centred @ rotation, parts)
    centroids = turned[:, drawn]
    for turn in range(turns + last):
        chosen = _assigned(turned, centroids)
        centroids = _moved(turned, chosen, centroids)
        if turn < turns:
            near = np.concatenate([c[i] for c, i in zip(centroids, chosen, strict=True)], axis=1)
            left, _, right = np.linalg.svd(centred.T @ near, full_matrices=False)
            rotation = left @ right
            turned = _parts(centred @ rotation, parts)
    return Quantiser(mean, rotation, centroids)


def allocation(centred: Numbers, parts: int) -> Numbers:
    """The rotation (d, parts * ceil(d / parts)) to start from: principal axes, dealt out so that parts weigh the same.

    Largest first, each axis goes to the part, among those with room, whose variances have the smallest product. Where
    d is no multiple of `parts`, the last places of some parts are zero columns.
    """
    dim = centred.shape[1]
    size = -(-dim // parts)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    floor = max(float(values[-1]) * 1e-9, np.finfo(np.float64).tiny)
    weight, used = np.zeros(parts), np.zeros(parts, dtype=np.int64)
    rotation = np.zeros((dim, parts * size))
    # Only ratios count. Measured by the smallest, no logarithm is below 0, and a part without an axis comes first.
    for axis in range(dim - 1, -1, -1):
        part = int(np.where(used < size, weight, np.inf).argmin())
        rotation[:, part * size + used[part]] = vectors[:, axis]
        weight[part] += math.log(max(float(values[axis]), floor) / floor)
        used[part] += 1
    return rotation


def _parts(rows: Numbers, parts: int) -> Numbers:
    """(n, parts * s) as (parts, n, s)."""
    return np.ascontiguousarray(rows.reshape(len(rows), parts, -1).transpose(1, 0, 2))


def _assigned(turned: Numbers, centroids: Numbers) -> npt.NDArray[np.int64]:
    """The nearest centroid (parts, n) of each part of each row; the first of equally near ones."""
    chosen = np.empty(turned.shape[:2], dtype=np.int64)
    for part, (rows, means) in enumerate(zip(turned, centroids, strict=True)):
        half = (means**2).sum(axis=1) / 2
        for block in blocks(len(rows), 512):
            chosen[part, block] = (rows[block] @ means.T - half).argmax(axis=1)
    return chosen


def _moved(turned: Numbers, chosen: npt.NDArray[np.int64], centroids: Numbers) -> Numbers:
    """Each centroid at the mean of its rows; one that has none goes where a row is furthest from its own."""
    moved = centroids.copy()
    for part, (rows, own) in enumerate(zip(turned, chosen, strict=True)):
        count = np.bincount(own, minlength=centroids.shape[1])
        sums = np.stack([np.bincount(own, column, minlength=len(count)) for column in rows.T], axis=1)
        moved[part][count > 0] = sums[count > 0] / count[count > 0, None]
        empty = np.flatnonzero(count == 0)
        if len(empty):
            apart = ((rows - moved[part][own]) ** 2).sum(axis=1)
            moved[part][empty] = rows[np.argsort(-apart, kind="stable")[: len(empty)]]
    return moved
