"""What transforms and corrections are fitted on: the items of a space, and queries that are no test queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmretrieval.errors import RetrievalError
from mmretrieval.store.exact import Matrix
from mmretrieval.types import Array, Modality, View


@dataclass(frozen=True, eq=False)
class Reference:
    """A space's items by view, and a bank: rows of its parts by modality, and of its queries as composed.

    `items` holds rows (n, d) with their ids, which rise. `parts` holds rows (m, d) of the bank's words and pictures;
    `queries` (q, d) its queries, composed to unit rows. All are as the transforms before left them. `target` is the
    space of another encoder in the same library, untransformed, for a transform that leads into it.
    """

    items: Mapping[View, Matrix]
    parts: Mapping[Modality, Array]
    queries: Array
    target: Reference | None = None

    def rows(self) -> dict[View, Array]:
        """The items' rows by view, without their ids."""
        return {view: matrix.rows for view, matrix in self.items.items()}

    def pairs(self, least: int = 1) -> tuple[Array, Array, tuple[str, ...]]:
        """The visual and the text rows of the items that have both, row i of each being item i, and their ids.

        Raises RetrievalError where fewer than `least` items have both.
        """
        both = [self.items.get("visual"), self.items.get("text")]
        shared = sorted(set.intersection(*(set(m.ids) if m else set() for m in both)))
        if len(shared) < least:
            raise RetrievalError(
                f"{len(shared)} items have both pixels and words, and at least {least} are needed to pair them: add "
                "pictures with captions, or documents"
            )
        visual, text = (
            np.asarray(m.rows[m.places(shared)]) if m and shared else np.empty((0, 0), dtype=np.float32) for m in both
        )
        return visual, text, tuple(shared)
