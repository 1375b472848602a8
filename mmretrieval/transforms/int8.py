"""Scalar quantisation: one byte a dimension of an item. What is searched is what those bytes stand for."""

from __future__ import annotations

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

LEVELS = 256


@dataclass(frozen=True, eq=False)
class Int8:
    """Levels low + step * (0..255), by view and dimension: `low` and `step` are {view: (d,)}. Queries stay as they are.

    Only the items' side is rounded ("asymmetric"), and an item comes back as the levels that its bytes stand for, so
    that the ranking is that of a store of bytes.
    """

    low: Mapping[View, Numbers]
    step: Mapping[View, Numbers]
    dim: int

    @property
    def item_bytes(self) -> float:
        """A byte a dimension. The levels themselves, 16 bytes a dimension, are kept once for a view and not counted."""
        return float(self.dim)

    def codes(self, view: View, rows: Array) -> npt.NDArray[np.int8]:
        """What a store would hold: the nearest level of each number, as -128..127, (n, d)."""
        low, step = self._levels(view)
        out = np.empty(rows.shape, dtype=np.int8)
        for block in blocks(len(rows)):
            out[block] = _nearest(rows[block].astype(np.float64), low, step) - LEVELS // 2
        return out

    def items(self, view: View, rows: Array) -> Array:
        """Each number of the rows (n, d) at its nearest level: off by half a step at most inside the levels' range."""
        low, step = self._levels(view)
        return changed(rows, self.dim, lambda some: low + step * _nearest(some, low, step))

    def query(self, modality: Modality, rows: Array) -> Array:
        """The rows as they are."""
        return rows

    def _levels(self, view: View) -> tuple[Numbers, Numbers]:
        if view not in self.low:
            raise BadRecipe(f"int8 knows no range of the {view} view, {UNSEEN}")
        return self.low[view], self.step[view]


def run(reference: Reference, quantile: float = 1.0) -> Int8:
    """Levels for each dimension of each view, between the quantiles (1 - q) / 2 and (1 + q) / 2 of the items there.

    With a quantile of 1 they span all that was seen; less than that clips the furthest numbers and makes the steps
    finer, which pays where a few numbers are far out. A dimension whose numbers are all equal has a step of 0 and
    keeps its value.
    """
    dim = width(reference, "int8")
    low, step = {}, {}
    for view, rows in reference.rows().items():
        if len(rows):
            seen = spaced(rows).astype(np.float64)
            ends = np.quantile(seen, [(1 - quantile) / 2, (1 + quantile) / 2], axis=0)
            low[view], step[view] = ends[0], (ends[1] - ends[0]) / (LEVELS - 1)
    return Int8(low, step, dim)


def _nearest(rows: Numbers, low: Numbers, step: Numbers) -> Numbers:
    steps = np.divide(rows - low, step, out=np.zeros_like(rows), where=step > 0)
    nearest: Numbers = np.clip(np.rint(steps), 0, LEVELS - 1)
    return nearest
