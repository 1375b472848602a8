"""Both modalities moved along the gap between them (Liang et al., "Mind the Gap", 2022): together, or apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import AnyRows, Numbers, centroid_gap, directions
from mmretrieval.reference import Reference
from mmretrieval.transforms.fitting import spaced
from mmretrieval.transforms.rows import changed, settled
from mmretrieval.types import Array, Modality, View


@dataclass(frozen=True, eq=False)
class Shifted:
    """A space whose visual side moved by -`step` (d,) and whose texts moved by +`step`."""

    step: Numbers

    @property
    def item_bytes(self) -> float:
        """Four bytes a coordinate."""
        return 4.0 * len(self.step)

    def items(self, view: View, rows: Array) -> Array:
        """The items' directions (n, d) moved as unit rows; joint rows, which hold both modalities, stay in place."""
        side = {"visual": -1.0, "text": 1.0, "joint": 0.0}[view]
        return shifted(rows, side * self.step)

    def query(self, modality: Modality, rows: Array) -> Array:
        """The queries' directions (n, d) moved, as unit rows: texts as texts, pictures and frames as pictures."""
        return shifted(rows, self.step if modality == "text" else -self.step)


def run(reference: Reference, share: float) -> Shifted:
    """The shift by `share` of the gap, half of it for each modality: 1 closes it, 0 leaves it, less than 0 widens it.

    The gap vector is the mean direction of pictures less that of texts. Liang et al. move a pair x, y by a length
    delta along the unit vector g of the gap, x' = norm(x - delta g / 2) and y' = norm(y + delta g / 2): delta is
    `share` times the gap's length. With 1 the means coincide before rows are normalised again, and nearly so after.
    The gap is measured as they do it, on pairs: the items with pixels and words, at most 20,000, evenly spaced by id.
    Without such items it reaches from the visual view to the bank's texts. Zero rows have no direction and are left
    out; RetrievalError where that leaves nothing of one side.
    """
    pictures, texts, _ = reference.pairs(0)
    if not len(pictures):
        visual = reference.items.get("visual")
        texts = reference.parts.get("text", np.empty((0, 0), dtype=np.float32))
        if visual is None or not len(visual.rows) or not len(texts):
            raise RetrievalError(
                "gapshift measures the gap between pictures and texts, and this space lacks one of them: search with "
                "a recipe without gapshift, or add pictures with captions"
            )
        pictures = visual.rows
    sides = [rows[rows.any(axis=1)] for rows in (spaced(pictures), spaced(texts))]
    for kept, name in zip(sides, ("pictures", "texts"), strict=True):
        if not len(kept):
            raise RetrievalError(
                f"gapshift measures the gap between pictures and texts, and all {name} that it looked at have the zero "
                "vector, which has no direction: search with a recipe without gapshift, or add others"
            )
    return Shifted(0.5 * share * centroid_gap(*sides))


def shifted(rows: Array, step: Numbers) -> Array:
    """The directions of rows (n, d) plus `step` (d,), as unit rows; what lands on the origin becomes a zero row."""
    return changed(rows, rows.shape[1], lambda block: _moved(block, step))


def _moved(rows: AnyRows, step: Numbers) -> Numbers:
    unit_rows = directions(rows)
    return settled(unit_rows + step, np.ones(len(unit_rows)))
