"""Principal axes: whitening (every axis counts alike) and truncation to the axes that vary most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmretrieval.errors import BadRecipe, RetrievalError
from mmretrieval.geometry import Numbers
from mmretrieval.reference import Reference
from mmretrieval.transforms.fitting import width
from mmretrieval.transforms.means import Means, Spectrum, kept_width, means, spectrum
from mmretrieval.transforms.rows import changed, lengths, settled
from mmretrieval.types import Array, Modality, View

# An axis with less than this share of the largest variance holds the rounding of half precision, not content.
LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Turned:
    """A space in the coordinates of some axes, columns of (d, k), each multiplied by its scale (k,).

    `stage` is how a recipe calls it. Both sides lose a mean of their own and go through the one map.
    """

    stage: str
    means: Means
    axes: Numbers
    scales: Numbers

    @property
    def item_bytes(self) -> float:
        """Four bytes an axis."""
        return 4.0 * len(self.scales)

    def items(self, view: View, rows: Array) -> Array:
        """The items' rows (n, d) less the mean of that view, along the axes: unit rows (n, k)."""
        return self._turned(rows, self.means.of_items(view, self.stage))

    def query(self, modality: Modality, rows: Array) -> Array:
        """The queries' rows (n, d) less the mean of their modality, along the axes: unit rows (n, k)."""
        return self._turned(rows, self.means.of_query(modality, self.stage))

    def _turned(self, rows: Array, mean: Numbers) -> Array:
        return changed(rows, self.axes.shape[1], lambda block: along(block, mean, self.axes, self.scales))


@dataclass(frozen=True, eq=False)
class Symmetric:
    """A whitened space turned back to the coordinates that it came from."""

    whitened: Turned

    @property
    def item_bytes(self) -> float:
        """Four bytes a coordinate."""
        return 4.0 * len(self.whitened.axes)

    def items(self, view: View, rows: Array) -> Array:
        """The items' rows (n, d) less the mean of that view, whitened: unit rows (n, d)."""
        return self._back(rows, self.whitened.means.of_items(view, self.whitened.stage))

    def query(self, modality: Modality, rows: Array) -> Array:
        """The queries' rows (n, d) less the mean of their modality, whitened: unit rows (n, d)."""
        return self._back(rows, self.whitened.means.of_query(modality, self.whitened.stage))

    def _back(self, rows: Array, mean: Numbers) -> Array:
        axes, scales = self.whitened.axes, self.whitened.scales
        return changed(rows, rows.shape[1], lambda block: along(block, mean, axes, scales) @ axes.T)


def whiten(reference: Reference, d: float) -> Turned:
    """PCA-whitening: the `d` axes along which items vary most, each divided by its deviation; 0 takes all of them.

    After Jegou and Chum, "Negative evidences and co-occurrences in image retrieval", ECCV 2012: rows come out of length
    1, so that the score is the cosine in the whitened space. A query and an item must stay comparable, so there is one
    map for all, (x - mean) U / sqrt(variances): U and the variances are those of the items' pooled covariance, each
    view around its own mean. Each side loses its own mean, as with `center`, because the gap is no variation of items.
    No epsilon is added: axes with less than a millionth of the largest variance are left out, and RetrievalError is
    raised where the rows are so few that every axis they span would be kept: then all items end up equally alike. With
    only a few times more rows than axes the last axes are chance, and count as much as the first: take fewer.
    """
    return _whitened(reference, d, "whiten")


def zca(reference: Reference) -> Symmetric:
    """Whitening by the symmetric map U diag(1 / sqrt(variances)) U', of all that leave no correlation the nearest to
    the rows as they were (Kessy et al., "Optimal Whitening and Decorrelation", 2018).

    Its scores are those of `whiten`, from which it differs by a rotation: it matters to stages that look at single
    coordinates (mrl, int8, binary). It refuses what `whiten` refuses.
    """
    return Symmetric(_whitened(reference, 0, "zca"))


def pca(reference: Reference, d: float) -> Turned:
    """The `d` axes along which items vary most, unscaled, as unit rows; 0 takes half as many as there are coordinates.

    Both sides lose their own mean, as with `center`; with all axes it is a rotation and scores as `center` does.
    Raises BadRecipe for more axes than coordinates.
    """
    kept = kept_width(reference, d, "pca")
    centres = means(reference)
    axes = spectrum(reference, centres, "pca").axes[:, :kept]
    return Turned("pca", centres, np.ascontiguousarray(axes), np.ones(kept))


def along(rows: Numbers, mean: Numbers, axes: Numbers, scales: Numbers) -> Numbers:
    """The directions (n, k) of (rows - mean) @ axes * scales; zero for what has nothing but rounding along the axes."""
    own = (rows - mean) @ axes
    left = lengths(own) > 0
    return settled(np.where(left[:, None], settled(own, lengths(rows)) * scales, 0.0), np.zeros(len(own)))


def _whitened(reference: Reference, d: float, stage: str) -> Turned:
    there = width(reference, stage)
    if d > there:
        raise BadRecipe(
            f"{stage}:{d:g} keeps {d:g} axes, and the vectors have {there} coordinates: write {stage}:{there} or less"
        )
    centres = means(reference)
    found = spectrum(reference, centres, stage)
    varying = int((found.variances > LEAST_VARIANCE * found.variances[0]).sum())
    _refuse(found, int(d), varying, stage)
    kept = int(d) or varying
    axes = np.ascontiguousarray(found.axes[:, :kept])
    return Turned(stage, centres, axes, 1.0 / np.sqrt(found.variances[:kept]))


def _refuse(found: Spectrum, d: int, varying: int, stage: str) -> None:
    # As many axes as rows, less one for each mean: whatever the rows are, they come out as corners of a simplex.
    free = found.rows - found.views
    most = varying if varying < free else free // 2
    fewer = f"write whiten:{most} or less{'' if stage == 'whiten' else ' instead'}, or " if most else ""
    if d > varying:
        raise RetrievalError(
            f"{stage}:{d} keeps {d} axes, and the library's {found.rows} vectors vary along {varying} alone: {fewer}"
            "add other items"
        )
    if (d or varying) >= free:
        enough = (d or len(found.axes)) + found.views + 1
        raise RetrievalError(
            f"{stage} gives {d or varying} axes the same weight, and the library has {found.rows} vectors to find them "
            f"by: with so few all of them would come out equally alike; {fewer}add items until there are {enough}"
        )
