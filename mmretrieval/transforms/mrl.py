"""Short vectors: the first coordinates alone (Kusupati et al., "Matryoshka Representation Learning", 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from mmretrieval.errors import BadRecipe
from mmretrieval.geometry import directions
from mmretrieval.reference import Reference
from mmretrieval.transforms.means import kept_width
from mmretrieval.transforms.rows import changed
from mmretrieval.types import Array, Modality, View


@dataclass(frozen=True, eq=False)
class Truncated:
    """A space of the first `width` coordinates."""

    width: int

    @property
    def item_bytes(self) -> float:
        """Four bytes a coordinate that is kept."""
        return 4.0 * self.width

    def items(self, view: View, rows: Array) -> Array:
        """The first coordinates of the items' rows (n, d), as unit rows; zero where these are all zero."""
        return self._cut(rows)

    def query(self, modality: Modality, rows: Array) -> Array:
        """The first coordinates of the queries' rows (n, d), as unit rows; zero where these are all zero."""
        return self._cut(rows)

    def _cut(self, rows: Array) -> Array:
        if (there := rows.shape[1]) < self.width:
            raise BadRecipe(f"mrl:{self.width} got vectors of {there} coordinates: write mrl:{there} or less")
        return changed(rows[:, : self.width], self.width, directions)


def run(reference: Reference, d: float) -> Truncated:
    """The first `d` coordinates, normalised again; 0 takes half of them. Nothing is fitted.

    It keeps most of what an encoder knows where that was trained for it, and is a chance projection elsewhere (`pca:d`
    chooses its axes). Raises BadRecipe for more coordinates than there are.
    """
    return Truncated(kept_width(reference, d, "mrl"))
