"""Mean-centring: the simplest way to close the gap between the modalities of a space."""

from __future__ import annotations

from dataclasses import dataclass

from mmretrieval.geometry import Numbers
from mmretrieval.reference import Reference
from mmretrieval.transforms.means import Means, means
from mmretrieval.transforms.rows import changed, lengths, settled
from mmretrieval.types import Array, Modality, View


@dataclass(frozen=True, eq=False)
class Centred:
    """A space whose items lose the mean of their view, and whose queries lose the mean of their modality."""

    means: Means

    @property
    def item_bytes(self) -> float:
        """Four bytes a coordinate."""
        every = [*self.means.views.values(), *self.means.modalities.values()]
        return 4.0 * len(every[0]) if every else 0.0

    def items(self, view: View, rows: Array) -> Array:
        """The items' rows (n, d) less the mean of that view, as unit rows; a row at the mean becomes a zero row."""
        return _centred(rows, self.means.of_items(view, "center"))

    def query(self, modality: Modality, rows: Array) -> Array:
        """The queries' rows (n, d) less the mean of their modality, as unit rows; a row at the mean becomes zero."""
        return _centred(rows, self.means.of_query(modality, "center"))


def run(reference: Reference) -> Centred:
    """The means: of each view's items, and of the queries by modality (`means` says which).

    A row equal to its mean has no direction left: it becomes a zero row, which scores 0 against everything, rather
    than rounding noise blown up to length 1. The one-item library is the case in point. Asking for a mean of no rows
    raises BadRecipe or BadQuery.
    """
    return Centred(means(reference))


def _centred(rows: Array, mean: Numbers) -> Array:
    return changed(rows, rows.shape[1], lambda block: settled(block - mean, lengths(block)))
