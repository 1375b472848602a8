"""How a cloud of directions is spread: its mean, its variances along its principal axes, and planes to look at."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from mmretrieval import geometry
from mmretrieval.geometry import AnyRows, Numbers


@dataclass(frozen=True, eq=False)
class Moments:
    """What n directions add up to: their sum (d,), and their outer products (d, d), or themselves where n < d.

    `rows` (n, d) stand for `product` where they are fewer than the dimensions: their own products are smaller.
    """

    n: int
    total: Numbers
    product: Numbers | None
    rows: Numbers | None = None

    @property
    def mean(self) -> Numbers:
        """The mean (d,)."""
        average: Numbers = self.total / max(self.n, 1)
        return average

    def __add__(self, other: Moments) -> Moments:
        n, d = self.n + other.n, len(self.total)
        if self.rows is not None and other.rows is not None and n < d:
            return Moments(n, self.total + other.total, None, np.concatenate([self.rows, other.rows]))
        return Moments(n, self.total + other.total, _product(self) + _product(other))


def moments(rows: AnyRows) -> Moments:
    """The moments of the directions of rows (n, d)."""
    n, d = rows.shape
    gathered = Gathering(n, d)
    for block in geometry.blocks(n):
        gathered.add(geometry.directions(rows[block]))
    return gathered.moments()


class Gathering:
    """Adds up the moments of n directions (n, d), which come in blocks."""

    def __init__(self, n: int, d: int) -> None:
        self._n = n
        self._total = np.zeros(d)
        self._product: Numbers | None = np.zeros((d, d)) if n >= d else None
        self._blocks: list[Numbers] = []

    def add(self, block: Numbers) -> None:
        """Takes in the next unit rows (m, d)."""
        self._total += block.sum(axis=0)
        if self._product is None:
            self._blocks.append(block)
        else:
            self._product += block.T @ block

    def moments(self) -> Moments:
        """The moments of all that came in."""
        rows = np.concatenate(self._blocks) if self._blocks else None
        return Moments(self._n, self._total, self._product, rows)


def _product(of: Moments) -> Numbers:
    if of.product is not None:
        return of.product
    rows = np.empty((0, len(of.total))) if of.rows is None else of.rows
    product: Numbers = rows.T @ rows
    return product


def variances(of: Moments) -> Numbers:
    """The variances (min(n, d),), over n, along the principal axes, falling."""
    from scipy.linalg import eigvalsh, svdvals

    falling: Numbers
    if of.rows is not None:
        falling = svdvals(of.rows - of.mean) ** 2 / of.n
        return falling
    values = eigvalsh(_product(of) / of.n - np.outer(of.mean, of.mean))
    rising: Numbers = np.maximum(values, 0.0)
    return rising[::-1]


def singular_values(of: Moments) -> Numbers:
    """The singular values (min(n, d),) of the directions, without taking off their mean, falling."""
    from scipy.linalg import eigvalsh, svdvals

    falling: Numbers
    if of.rows is not None:
        falling = svdvals(of.rows)
        return falling
    rising: Numbers = np.sqrt(np.maximum(eigvalsh(_product(of)), 0.0))
    return rising[::-1]


def umap_plane(rows: AnyRows, seed: int) -> Numbers:
    """Coordinates (n, 2) of rows (n, d), n of at least 4, by UMAP (McInnes et al. 2018) of their cosines.

    15 neighbours (fewer where there are fewer rows), and the principal plane to begin with. A seed makes it run on
    one thread, so that equal rows give equal pictures. Distances between far points and sizes of clusters mean nothing.
    """
    with warnings.catch_warnings():
        # It warns of what a seed costs, and of deprecations inside its own dependencies.
        warnings.simplefilter("ignore")
        from umap import UMAP

        shrunk = UMAP(
            n_components=2,
            n_neighbors=min(15, len(rows) - 1),
            metric="cosine",
            init="pca",
            random_state=seed,
            n_jobs=1,
        ).fit_transform(geometry.directions(rows))
    plane: Numbers = np.asarray(shrunk, dtype=np.float64)
    return plane
