"""A query's parts as one space has them, and what a composer makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mmretrieval.types import Array, Modality


@dataclass(frozen=True, eq=False)
class PartVectors:
    """The parts of one query: rows (p, d) after transforms, weights (p,) of which negative ones push away.

    `feedback` (p,) marks liked and disliked items: they speak of the answer and are no part of the question.
    `centres` has the mean row (d,) of each modality in the space, for composers that want one.
    """

    rows: Array
    weights: npt.NDArray[np.float64]
    modalities: tuple[Modality, ...]
    feedback: npt.NDArray[np.bool_]
    centres: Mapping[Modality, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Array, weights: npt.ArrayLike, modality: Modality = "text") -> PartVectors:
        """Parts of one modality, none of them feedback."""
        p = len(rows)
        return cls(rows, np.asarray(weights, dtype=np.float64), (modality,) * p, np.zeros(p, dtype=np.bool_))


@dataclass(frozen=True, eq=False)
class Composed:
    """A query row (d,) and where it comes from: row = shares @ rows + base, up to rounding.

    `shares` (p,) is how much of each part is in it, `base` (d,) what no part brought: a mean that was put back.
    """

    row: Array
    shares: npt.NDArray[np.float64]
    base: npt.NDArray[np.float64]

    def contributions(self, rows: Array, items: Array) -> npt.NDArray[np.float64]:
        """What each part, and last the base, adds to the dot product with each item (n, d): (n, p + 1) in float64."""
        wide = items.astype(np.float64)
        parts = (wide @ rows.astype(np.float64).T) * self.shares
        return np.concatenate([parts, (wide @ self.base)[:, None]], axis=1)
