"""The items that can be compared with themselves: those with pixels and words both."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmretrieval.errors import RetrievalError
from mmretrieval.store.exact import Matrix
from mmretrieval.types import VIEWS, Array, View


def paired(matrices: Mapping[View, Matrix]) -> tuple[dict[View, Array], list[str]]:
    """The rows of the items that have every single-modality view of a space, by view, row i of each being item i.

    The second value is their ids, rising. Raises RetrievalError where the space has fewer than two such views.
    """
    wanted = [view for view in VIEWS if view in matrices and view != "joint"]
    if len(wanted) < 2:
        raise RetrievalError(
            f"the library has only {' and '.join(wanted) or 'no'} vectors of this encoder, and this compares pictures "
            "with their words: add pictures with captions (captions.jsonl, or NAME.txt beside each), or documents"
        )
    ids = sorted(set.intersection(*(set(matrices[view].ids) for view in wanted)))
    return {view: np.asarray(matrices[view].rows[matrices[view].places(ids)]) for view in wanted}, ids
