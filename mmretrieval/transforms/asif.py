"""ASIF (Norelli et al., NeurIPS 2023): coupled data turn two spaces into one without training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmretrieval.geometry import AnyRows, Numbers, directions
from mmretrieval.reference import Reference
from mmretrieval.transforms.anchors import Anchors, anchors, cosines
from mmretrieval.transforms.rows import changed, largest
from mmretrieval.types import Array, Modality, View

# Rows are as wide as there are anchors; 50,000 items times 2,048 float32 are 400 MB.
MOST_ANCHORS = 2048


@dataclass(frozen=True, eq=False)
class Sparse:
    """A space whose coordinates are a row's `kept` largest similarities to anchors, raised to `power`."""

    anchors: Anchors
    kept: int
    power: float

    @property
    def item_bytes(self) -> float:
        """Four bytes a value and two bytes for its anchor's number, or four bytes an anchor if that is less."""
        return float(min(6 * min(self.kept, self.anchors.count), 4 * self.anchors.count))

    def items(self, view: View, rows: Array) -> Array:
        """The items' similarities to that view of the anchors, (n, d) to unit rows (n, anchors)."""
        return self._told(rows, self.anchors.of_items(view))

    def query(self, modality: Modality, rows: Array) -> Array:
        """The queries' similarities to the anchors' words, or pixels for pictures and frames: unit rows."""
        return self._told(rows, self.anchors.of_query(modality))

    def _told(self, rows: Array, anchor_rows: Numbers) -> Array:
        return changed(rows, len(anchor_rows), lambda block: sparse(block, anchor_rows, self.kept, self.power))


def run(reference: Reference, k: float, power: float) -> Sparse:
    """Similarities to paired items, of which the `k` largest stay, raised to `power` and normalised.

    The anchors are the items with pixels and words, at most 2,048, evenly spaced by id (the authors take 1.6 million,
    and keep 800). Pictures are told by the anchors' pixels, texts by their words, and both come out as unit rows: the
    authors' code leaves the pictures' rows as they are, which changes no ranking of texts for a picture, but does
    that of pictures for a text. An item that is an anchor itself is most like itself on both sides: it is found through
    its own words, whatever the encoder makes of its pixels. Where all items are anchors this is a search of captions,
    and those captions are no fair test queries. Raises RetrievalError where fewer than 2 items have both.
    """
    return Sparse(anchors(reference, MOST_ANCHORS, "asif"), int(k), float(power))


def sparse(rows: AnyRows, anchor_rows: Numbers, kept: int, power: float) -> Numbers:
    """Unit rows (n, anchors) from rows (n, d): the `kept` largest cosines to the anchors, to the power; the rest 0.

    The anchors are unit rows. Negative cosines count as 0, as in the authors' classification (an even power would make
    the farthest anchors near). A row with no positive cosine becomes a zero row.
    """
    values = np.maximum(cosines(rows, anchor_rows), 0.0)
    counted = np.power(values, power, out=np.zeros_like(values), where=largest(values, kept))
    return directions(counted)
