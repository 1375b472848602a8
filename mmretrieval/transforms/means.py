"""Which mean each side of a search loses, and the axes along which a library's items vary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmretrieval.errors import BadQuery, BadRecipe, RetrievalError
from mmretrieval.geometry import Numbers, blocks
from mmretrieval.reference import Reference
from mmretrieval.transforms.fitting import UNSEEN, spaced, width
from mmretrieval.types import Array, Modality, View


@dataclass(frozen=True, eq=False)
class Means:
    """The mean (d,) of each view's items, and of the queries by modality."""

    views: Mapping[View, Numbers]
    modalities: Mapping[Modality, Numbers]

    def of_items(self, view: View, stage: str) -> Numbers:
        """The mean that items lose. Raises BadRecipe where no item had that view when `stage` was fitted."""
        if view not in self.views:
            raise BadRecipe(f"{stage} knows no mean of the {view} view, {UNSEEN}")
        return self.views[view]

    def of_query(self, modality: Modality, stage: str) -> Numbers:
        """The mean that queries lose. Raises BadQuery where `stage` was fitted without queries of that modality."""
        if modality not in self.modalities:
            raise BadQuery(
                f"{stage} knows no mean of {modality} queries: there are neither reference queries nor items of "
                f"that kind; search with a recipe without {stage}"
            )
        return self.modalities[modality]


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Principal axes, columns of (d, d), with the falling variance (d,) along each; of `rows` rows in `views` views."""

    variances: Numbers
    axes: Numbers
    rows: int
    views: int


def means(reference: Reference) -> Means:
    """The means that a space's sides lose.

    Texts lose the mean of the bank's texts, which are written as queries are; the items' captions may not be.
    Pictures and frames lose the mean of the items' visual view (the bank's, where no item has one). A mean of no rows
    is left out; `mean` says what zero rows count for.
    """
    views = {view: mean(matrix.rows) for view, matrix in reference.items.items() if len(matrix.rows)}
    modalities = {modality: mean(rows) for modality, rows in reference.parts.items() if len(rows)}
    if "visual" in views:
        modalities |= {"image": views["visual"], "frames": views["visual"]}
    return Means(views, modalities)


def mean(rows: Array) -> Numbers:
    """The mean (d,) of the rows (n, d) that have a direction; zero where none has one.

    Zero rows stand for what could not be embedded, and stages leave them as they are: counted in, they would pull the
    mean towards zero, and the other rows would keep part of what they are to lose.
    """
    total: Numbers = rows.sum(axis=0, dtype=np.float64)
    return total / max(int(np.count_nonzero(rows.any(axis=1))), 1)


def spectrum(reference: Reference, centres: Means, stage: str) -> Spectrum:
    """The principal axes of the items, each less the mean of its view: of their pooled covariance, sum / rows.

    Every view of the space is in it, by at most 20,000 rows each; zero rows are not. The sign of an axis is
    arbitrary: here its largest entry is positive. Raises RetrievalError where the items do not vary.
    """
    d = width(reference, stage)
    products, count = np.zeros((d, d)), 0
    for view, matrix in reference.items.items():
        sample = spaced(matrix.rows)
        for block in blocks(len(sample)):
            rows = sample[block].astype(np.float64)
            moved = rows[rows.any(axis=1)] - centres.of_items(view, stage)
            products += moved.T @ moved
            count += len(moved)
    values, vectors = np.linalg.eigh(products / max(count, 1))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    # A millionth of a unit row's length, squared: the rounding of float32.
    if values[0] <= 1e-12:
        raise RetrievalError(
            f"{stage} looks for the axes along which items vary, and the library's {count} vectors do not: add items "
            f"that differ, or search with a recipe without {stage}"
        )
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(d)])
    held = sum(1 for matrix in reference.items.values() if len(matrix.rows))
    return Spectrum(values, np.ascontiguousarray(vectors * signs), count, held)


def kept_width(reference: Reference, d: float, stage: str) -> int:
    """`d` as a number of coordinates, half of them for 0. Raises BadRecipe where there are fewer than `d`."""
    there = width(reference, stage)
    if d > there:
        raise BadRecipe(
            f"{stage}:{d:g} keeps {d:g} coordinates, and the vectors have {there}: write {stage}:{there} or less"
        )
    return int(d) or -(-there // 2)
