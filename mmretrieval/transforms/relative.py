"""Relative representations (Moschella et al., ICLR 2023): a row told by its cosines to anchors."""

from __future__ import annotations

from dataclasses import dataclass

from mmretrieval.geometry import Numbers, directions
from mmretrieval.reference import Reference
from mmretrieval.transforms.anchors import Anchors, anchors, cosines
from mmretrieval.transforms.rows import changed
from mmretrieval.types import Array, Modality, View


@dataclass(frozen=True, eq=False)
class Relative:
    """A space whose coordinates are cosines to anchors."""

    anchors: Anchors

    @property
    def item_bytes(self) -> float:
        """Four bytes an anchor."""
        return 4.0 * self.anchors.count

    def items(self, view: View, rows: Array) -> Array:
        """The items' cosines to that view of the anchors, (n, d) to unit rows (n, k)."""
        return _described(rows, self.anchors.of_items(view))

    def query(self, modality: Modality, rows: Array) -> Array:
        """The queries' cosines to the anchors' words, or pixels for pictures and frames: unit rows (n, k)."""
        return _described(rows, self.anchors.of_query(modality))


def run(reference: Reference, k: float) -> Relative:
    """Cosines to `k` anchors (all where there are fewer): items with pixels and words, evenly spaced by id.

    r(x) = [cos(x, a_1), ..., cos(x, a_k)], pictures to the anchors' pixels and texts to their words. The rows are
    normalised, so that a score is the cosine of two representations, as the authors compare them. Any rotation or
    rescaling of a side leaves it as it is. An anchor's words and pixels are the same item here by construction, so that
    its own caption is no fair test query. Raises RetrievalError where fewer than 2 items have both.
    """
    return Relative(anchors(reference, int(k), "relative"))


def _described(rows: Array, anchor_rows: Numbers) -> Array:
    return changed(rows, len(anchor_rows), lambda block: directions(cosines(block, anchor_rows)))
