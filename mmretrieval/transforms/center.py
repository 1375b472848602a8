"""Mean-centring: the simplest way to close the gap between the modalities of a space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import BadQuery, BadRecipe
from mmretrieval.geometry import blocks, unit
from mmretrieval.types import Array, Modality, View

# A row this near to the mean differs from it by the rounding of float32 alone.
AT_THE_MEAN = 1e-6


@dataclass(frozen=True, eq=False)
class Centred:
    """A space whose items lose the mean of their view, and whose queries lose the mean of their modality."""

    views: Mapping[View, npt.NDArray[np.float64]]
    modalities: Mapping[Modality, npt.NDArray[np.float64]]

    def items(self, view: View, rows: Array) -> Array:
        """The items' rows (n, d) less the mean of that view, as unit rows; a row at the mean becomes a zero row."""
        if view not in self.views:
            raise BadRecipe(f"center knows no mean of the {view} view: no item had one when it was fitted")
        return _centred(rows, self.views[view])

    def query(self, modality: Modality, rows: Array) -> Array:
        """The queries' rows (n, d) less the mean of their modality, as unit rows; a row at the mean becomes zero."""
        if modality not in self.modalities:
            raise BadQuery(
                f"center knows no mean of {modality} queries: there are neither reference queries nor items of "
                f"that kind; search with a recipe without center"
            )
        return _centred(rows, self.modalities[modality])


def fit(items: Mapping[View, Array], bank: Mapping[Modality, Array]) -> Centred:
    """The means: of each view's items (n, d), and of the queries by modality.

    Texts lose the mean of the bank's texts, which are written as queries are; the items' captions may not be.
    Pictures and frames lose the mean of the items' visual view (the bank's, where no item has one). A row equal to
    its mean has no direction left: it becomes a zero row, which scores 0 against everything, rather than rounding
    noise blown up to length 1. The one-item library is the case in point. A mean of no rows is left out, and asking
    for it later raises.
    """
    views = {view: _mean(rows) for view, rows in items.items() if len(rows)}
    modalities = {modality: _mean(rows) for modality, rows in bank.items() if len(rows)}
    if "visual" in views:
        modalities |= {"image": views["visual"], "frames": views["visual"]}
    return Centred(views, modalities)


def _mean(rows: Array) -> npt.NDArray[np.float64]:
    mean: npt.NDArray[np.float64] = rows.mean(axis=0, dtype=np.float64)
    return mean


def _centred(rows: Array, mean: npt.NDArray[np.float64]) -> Array:
    result = np.empty(rows.shape, dtype=np.float32)
    for block in blocks(len(rows)):
        moved = rows[block].astype(np.float64) - mean
        moved[np.linalg.norm(moved, axis=1) <= AT_THE_MEAN] = 0.0
        result[block] = unit(moved)
    return result
