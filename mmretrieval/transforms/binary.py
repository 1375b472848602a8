"""Binary quantisation: an item is the signs of its coordinates, or of as many random projections as one likes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import BadRecipe
from mmretrieval.geometry import Numbers
from mmretrieval.reference import Reference
from mmretrieval.transforms.fitting import UNSEEN, spaced, width
from mmretrieval.transforms.means import mean
from mmretrieval.transforms.rows import changed
from mmretrieval.types import Array, Modality, View

SEED = 0


@dataclass(frozen=True, eq=False)
class Binary:
    """Signs of the items' rows less their view's mean, after `projection` (d, bits) where it is not empty.

    Queries stay numbers (asymmetric comparison: Gordo et al., "Asymmetric Distances for Binary Embeddings", 2014):
    they are projected and not rounded, which costs an item nothing. They keep their mean: taking the items' mean off
    changes a query's scores by a constant, taking the query's off would change the order.
    """

    means: Mapping[View, Numbers]
    projection: Numbers
    dim: int

    @property
    def bits(self) -> int:
        """How many bits an item has."""
        return self.projection.shape[1] or self.dim

    @property
    def item_bytes(self) -> float:
        """An eighth of the bits."""
        return self.bits / 8

    def codes(self, view: View, rows: Array) -> npt.NDArray[np.uint8]:
        """What a store would hold: the bits of each row, 1 for what is not negative, eight to a byte."""
        return np.packbits(self.items(view, rows) > 0, axis=1)

    def items(self, view: View, rows: Array) -> Array:
        """The bits of the rows (n, d) as plus and minus 1 / sqrt(bits): unit rows (n, bits).

        The dot product of two of them is 1 - 2 h / bits, h being in how many bits they differ.
        """
        one = 1 / math.sqrt(self.bits)
        if view not in self.means:
            raise BadRecipe(f"binary knows no mean of the {view} view, {UNSEEN}")
        centre = self.means[view]
        return changed(rows, self.bits, lambda some: np.where(self._projected(some - centre) >= 0, one, -one))

    def query(self, modality: Modality, rows: Array) -> Array:
        """The rows (n, d) projected: (n, bits), scaled so that unit rows stay about unit rows and compose as such."""
        scale = math.sqrt(self.dim / self.bits)
        return changed(rows, self.bits, lambda some: scale * self._projected(some))

    def _projected(self, rows: Numbers) -> Numbers:
        return rows @ self.projection if self.projection.size else rows


def run(reference: Reference, bits: float = 0) -> Binary:
    """The mean of each view, and directions to take the signs along: the coordinates (0 bits), or random ones.

    Random directions are orthogonal in groups of d (Ji et al., "Super-Bit Locality-Sensitive Hashing", 2012), so that
    up to d bits are the signs of a random rotation, and more bits those of several. They are drawn by a fixed seed.
    """
    dim = width(reference, "binary")
    means = {view: mean(spaced(rows)) for view, rows in reference.rows().items() if len(rows)}
    return Binary(means, directions(dim, int(bits), np.random.default_rng(SEED)), dim)


def directions(dim: int, bits: int, chance: np.random.Generator) -> Numbers:
    """(dim, bits) unit columns, each group of `dim` of them orthogonal and evenly distributed over the rotations."""
    groups = [_rotation(dim, chance) for _ in range(-(-bits // dim))]
    return np.concatenate([np.empty((dim, 0)), *groups], axis=1)[:, :bits]


def _rotation(dim: int, chance: np.random.Generator) -> Numbers:
    q, r = np.linalg.qr(chance.normal(size=(dim, dim)))
    # QR alone favours some rotations: the signs of the diagonal make it even (Mezzadri 2007).
    rotation: Numbers = q * np.sign(np.diag(r))
    return rotation
