"""The second of two stages: what short or coarse vectors found is put in the order of whole ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mmretrieval.stages import Reordered
from mmretrieval.types import Array, View


def rescore(query: Array, views: Mapping[View, tuple[Array, npt.NDArray[np.bool_]]], depth: float = 100) -> Reordered:
    """The first `depth` by their dot product with the query, among the places they hold; the rest stays.

    `views` holds the one view that is searched, and rows as the encoder gave them. Items without it stay where they
    are. Two-stage search as with Matryoshka embeddings (Kusupati et al. 2022, adaptive retrieval).
    """
    ((rows, present),) = views.values()
    order, scores = np.arange(len(rows), dtype=np.int64), np.full(len(rows), np.nan)
    places = np.flatnonzero(present[: int(depth)])
    scores[places] = (rows[places].astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    order[places] = places[np.argsort(-scores[places], kind="stable")]
    return Reordered(order, scores)
