"""The geometry of unit vectors: arrays in, arrays out, float64 inside. Knows no item, store or encoder.

Functions of rows normalise what they are given, as the papers do before they measure: what they promise holds for
the directions of the rows. A zero row has no direction; each function says what it makes of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval.types import Array

Numbers = npt.NDArray[np.float64]
AnyRows = npt.NDArray[np.floating]

# Rows handled at once, so that memory stays bounded whatever the number of rows.
BLOCK = 2048
# What is left of a unit row after projections in float64 is noise below this length, and counts as nothing.
NOTHING = 1e-12
# Below this squared sine, 1 - cos^2 in float64 has lost digits that the sine itself still has.
NEAR_THE_SPAN = 1e-3
# Wang and Isola's t.
UNIFORMITY_T = 2.0
# From so many rows on sums over pairs are made of float32 parts, so many rows and columns at once.
NARROW_FROM = 4096
KERNEL_ROWS, KERNEL_COLUMNS = 512, 1024
# Squared lengths between these lost nothing that counts to the range of float64.
SQUARES = (1e-200, 1e200)


# --- directions ----------------------------------------------------------------------------------------------------


def directions(rows: AnyRows) -> Numbers:
    """Each row divided by its length, in float64: shape (..., d) to (..., d). A zero row stays zero, never NaN.

    The last bit may depend on whether rows beside it are zero or very large or small.
    """
    wide = np.asarray(rows, dtype=np.float64)
    squared = np.einsum("...d,...d->...", wide, wide)[..., None]
    divided: Numbers
    if ((squared > SQUARES[0]) & (squared < SQUARES[1])).all():
        divided = wide / np.sqrt(squared)
        return divided
    # The largest entry first: squares of very large or very small numbers leave the range of float64.
    largest = np.abs(wide).max(axis=-1, keepdims=True, initial=0.0)
    scaled = np.divide(wide, largest, out=np.zeros_like(wide), where=largest > 0)
    length = np.linalg.norm(scaled, axis=-1, keepdims=True)
    divided = np.divide(scaled, length, out=np.zeros_like(wide), where=length > 0)
    return divided


def unit(rows: AnyRows) -> Array:
    """Each row divided by its length, as float32; the length is taken in float64. A zero row stays zero."""
    return directions(rows).astype(np.float32)


def cosine(a: AnyRows, b: AnyRows) -> Numbers:
    """Cosines of every row of `a` (n, d) with every row of `b` (m, d): (n, m), in [-1, 1]; 0 for a zero row."""
    return np.clip(directions(a) @ directions(b).T, -1.0, 1.0)


# --- volume --------------------------------------------------------------------------------------------------------


def gram_volume(views: AnyRows) -> Numbers:
    """Volumes (n,) in [0, 1] of the parallelotopes that n tuples of k unit rows (n, k, d) span; 0 for copies.

    The volume is sqrt(det G), G being the k x k matrix of a tuple's cosines (Cicchetti et al., "Gramian Multimodal
    Representation Learning and Alignment", ICLR 2025, eq. 5). A determinant of nearly dependent rows is mostly
    rounding, and may come out negative; here the volume is the product of what is left of each row after projecting
    out the ones before it, which cannot. A remainder below 1e-12 counts as zero, so that copies give exactly 0. It
    depends on the order of the rows, and on a rotation of all, by rounding alone. One row gives 1, a zero row 0.
    """
    n, k, d = views.shape
    volumes = np.ones(n)
    for block in blocks(n):
        _, lengths = _orthogonal(directions(views[block]))
        volumes[block] = lengths.prod(axis=1)
    return np.minimum(volumes, 1.0)


def gram_factors(query: AnyRows, own: AnyRows) -> tuple[Numbers, Numbers]:
    """The two factors of the volume of (query, own views): the own views' volume (n,), and the query's sine (n,).

    `query` is one row (d,) or a row for each item (n, d), `own` the items' views (n, k, d). The second factor is the
    sine of the angle between the query and the span of the views: det G = det(G_own) (1 - l' G_own^-1 l), where l
    holds the query's cosines to the views (Schur complement). The bracket is the squared length of what is left of
    the query outside the span, and is taken as such: it stays right where G_own cannot be inverted. Their product is
    `gram_volume` of all; only the second depends on the query, the first favours some items for every query. A zero
    query has sine 0.
    """
    n, _, d = own.shape
    asked = np.broadcast_to(directions(query), (n, d))
    volumes, sines = np.ones(n), np.zeros(n)
    for block in blocks(n):
        basis, lengths = _orthogonal(directions(own[block]))
        volumes[block] = lengths.prod(axis=1)
        left = asked[block]
        for _ in range(2):
            left = _outside(left, basis)
        length = np.linalg.norm(left, axis=1)
        sines[block] = np.where(length > NOTHING, length, 0.0)
    return np.minimum(volumes, 1.0), np.minimum(sines, 1.0)


@dataclass(frozen=True, eq=False)
class GramFactors:
    """What is kept of n items' own views, so that a query's volume with each costs k dot products an item.

    `own` (n,) are the own views' volumes, which no query changes; `basis` (n, k, d) float64 spans each item's views
    with orthonormal rows (zero ones where views depend on each other). It takes 8 k d bytes an item. The volume is
    own x sine (see `gram_factors`), and with an orthonormal basis the squared sine is 1 less the squared dot products,
    with no matrix to invert.
    """

    own: Numbers
    basis: Numbers

    @classmethod
    def of(cls, views: AnyRows) -> GramFactors:
        """The factors of items' own views (n, k, d), of any length; a zero row makes its item's volume 0."""
        own, basis = np.ones(len(views)), np.empty(views.shape)
        for block in blocks(len(views)):
            basis[block], lengths = _orthogonal(directions(views[block]))
            own[block] = lengths.prod(axis=1)
        return cls(np.minimum(own, 1.0), basis)

    def sines(self, query: AnyRows) -> Numbers:
        """The sine of the angle between a query (d,) and each item's span: (n,); from queries (q, d): (q, n)."""
        asked = directions(query)
        n, k, d = self.basis.shape
        flat = self.basis.reshape(n * k, d)
        along = flat @ asked if asked.ndim == 1 else asked @ flat.T
        along = along.reshape(*asked.shape[:-1], n, k)
        squared = 1.0 - np.einsum("...k,...k->...", along, along)
        sines: Numbers = np.sqrt(np.maximum(squared, 0.0))
        # 1 less almost 1 is mostly rounding: there the part outside the span is taken itself. A zero query has none.
        near = np.argwhere(np.atleast_2d(squared) < NEAR_THE_SPAN)
        asked_rows, rows = np.atleast_2d(asked), np.atleast_2d(sines)
        for block in blocks(len(near)):
            who, where = near[block].T
            left = asked_rows[who]
            for _ in range(2):
                left = _outside(left, self.basis[where])
            length = np.linalg.norm(left, axis=1)
            rows[who, where] = np.where(length > NOTHING, length, 0.0)
        rows[~asked_rows.any(axis=1)] = 0.0
        np.minimum(sines, 1.0, out=sines)
        return sines

    def volumes(self, query: AnyRows) -> Numbers:
        """The volume of (query, own views) for each item, as `gram_volume` has it: (n,), or (q, n) from (q, d)."""
        volumes: Numbers = self.own * self.sines(query)
        return volumes


def blocks(n: int, size: int = BLOCK) -> Iterator[slice]:
    """Slices of at most `size` that cover 0..n-1 in order."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _orthogonal(rows: Numbers) -> tuple[Numbers, Numbers]:
    """Gram-Schmidt over unit rows (n, k, d): orthonormal rows (zero where dependent), and lengths (n, k) left."""
    basis = np.zeros_like(rows)
    lengths = np.zeros(rows.shape[:2])
    for j in range(rows.shape[1]):
        left = rows[:, j]
        # Twice: one pass leaves an error of rounding over remainder, which matters for nearly dependent rows.
        for _ in range(2):
            left = _outside(left, basis[:, :j])
        length = np.linalg.norm(left, axis=1)
        kept = length > NOTHING
        lengths[kept, j] = length[kept]
        basis[kept, j] = left[kept] / length[kept, None]
    return basis, lengths


def _outside(rows: Numbers, basis: Numbers) -> Numbers:
    """What is left of each row (n, d) outside the span of its orthonormal rows (n, k, d)."""
    left: Numbers = rows - np.einsum("nk,nkd->nd", np.einsum("nd,nkd->nk", rows, basis), basis)
    return left


# --- the gap between two modalities --------------------------------------------------------------------------------


def centroid_gap(x: AnyRows, y: AnyRows) -> Numbers:
    """The gap vector (d,): mean of the directions of `x` (n, d) less that of `y` (m, d).

    Its length is the modality gap of Liang et al., "Mind the Gap", 2022. The means themselves are not normalised.
    """
    gap: Numbers = directions(x).mean(axis=0) - directions(y).mean(axis=0)
    return gap


def centroid_cosine(x: AnyRows, y: AnyRows) -> float:
    """The cosine between the mean directions of `x` (n, d) and of `y` (m, d) (Fahim et al. 2024)."""
    return float(cosine(directions(x).mean(axis=0)[None], directions(y).mean(axis=0)[None])[0, 0])


def pair_cosines(x: AnyRows, y: AnyRows) -> Numbers:
    """The cosine (n,) of each row of `x` (n, d) with the row of `y` that it is paired with."""
    cosines: Numbers = np.clip(np.einsum("nd,nd->n", directions(x), directions(y)), -1.0, 1.0)
    return cosines


def pair_distances(x: AnyRows, y: AnyRows) -> Numbers:
    """The distance (n,) of each direction of `x` (n, d) from the one of `y` that it is paired with, in [0, 2]."""
    distances: Numbers = np.minimum(np.linalg.norm(directions(x) - directions(y), axis=1), 2.0)
    return distances


def alignment(x: AnyRows, y: AnyRows) -> float:
    """The mean squared distance of paired directions, in [0, 4]; 0 where all pairs coincide (Wang and Isola 2020)."""
    return float((pair_distances(x, y) ** 2).mean())


def uniformity(rows: AnyRows, t: float = UNIFORMITY_T) -> float:
    """log of the mean of exp(-t |x_i - x_j|^2) over the pairs i < j of directions; lower is more evenly spread.

    Wang and Isola 2020, eq. 2. From rows (n, d), n of at least 2; takes time n^2 d and the memory of one block.
    """
    return float(np.log(kernel_means(rows, t=t)[0].mean()))


def cross_uniformity(x: AnyRows, y: AnyRows, t: float = UNIFORMITY_T) -> float:
    """log of the mean of exp(-t |x_i - y_j|^2) over i != j, for paired rows (n, d) of two modalities (Fahim et al.)."""
    return float(np.log(kernel_means(x, y, t)[0].mean()))


def kernel_means(
    x: AnyRows, y: AnyRows | None = None, t: float = UNIFORMITY_T, narrow: bool | None = None
) -> tuple[Numbers, Numbers]:
    """For each row the mean of exp(-t |x_i - y_j|^2) over the others: over j != i (n,), and over i != j (n,).

    From paired rows (n, d), n of at least 2; without `y` the pairs are within `x`, and both answers are the same.
    `narrow` takes products and exponentials in float32 and adds them up in float64, which moves the logarithm of the
    mean by less than 1e-6 and takes half the time; by default from 4,096 rows on.
    """
    n = len(x)
    if n < 2:
        raise ValueError(f"pairs of different rows need at least 2 rows, not {n}")
    kind = np.dtype(np.float32 if (n >= NARROW_FROM if narrow is None else narrow) else np.float64)
    a: npt.NDArray[Any] = directions(x).astype(kind)
    b: npt.NDArray[Any] = a if y is None else directions(y).astype(kind)
    # exp(-t |x - y|^2) = w_x w_y exp(2 t (x.y - 1)), where both w are 1 but for zero rows and rounding.
    a_weight, b_weight = (np.exp(t * (1.0 - np.einsum("nd,nd->n", side, side))).astype(kind) for side in (a, b))
    over_columns, over_rows = np.zeros(n), np.zeros(n)
    held = np.empty(KERNEL_ROWS * KERNEL_COLUMNS, dtype=kind)
    for block in blocks(n, KERNEL_ROWS):
        rows = a[block] * kind.type(2.0 * t)
        # Within one set the kernel is symmetric: half of it is enough.
        first = block.start if y is None else 0
        for columns in blocks(n - first, KERNEL_COLUMNS):
            place = slice(first + columns.start, first + columns.stop)
            shape = (len(rows), place.stop - place.start)
            kernel = np.matmul(rows, b[place].T, out=held[: shape[0] * shape[1]].reshape(shape))
            kernel -= 2.0 * t
            np.exp(kernel, out=kernel)
            same = np.arange(max(block.start, place.start), min(block.stop, place.stop))
            kernel[same - block.start, same - place.start] = 0.0
            over_columns[block] += a_weight[block] * (kernel @ b_weight[place])
            down = (a_weight[block] @ kernel) * b_weight[place]
            if y is not None:
                over_rows[place] += down
            else:
                beyond = max(block.stop - place.start, 0)
                over_columns[place.start + beyond : place.stop] += down[beyond:]
    return over_columns / (n - 1), (over_columns if y is None else over_rows) / (n - 1)


def mean_cosine(total: Numbers, squared: float, n: float) -> float:
    """The mean cosine of two different of n directions, from their sum (d,) and the sum of their squared lengths.

    Of one modality it is how narrow its cone is: 0 where directions point everywhere, 1 where all point one way.
    """
    return float((total @ total - squared) / (n * n - n))


# --- how many dimensions are used ----------------------------------------------------------------------------------


def components(variances: Numbers, share: float) -> int:
    """The least number of principal components that hold this share of the variance; 0 where there is none.

    `variances` fall, and are those along the principal axes.
    """
    total = float(variances.sum())
    if total <= NOTHING:
        return 0
    # The last component completes the sum, but for rounding.
    return int(np.searchsorted(np.cumsum(variances) / total, share - NOTHING)) + 1


def effective_rank(variances: Numbers) -> float:
    """The exponential of the entropy of the shares of variance: k where k components share it equally, 0 without any.

    The definition is ours: Fahim et al. give the spectrum and no single number. Roy and Vetterli 2007 take the same
    of singular values, which are the roots of these.
    """
    total = float(variances.sum())
    if total <= NOTHING:
        return 0.0
    shares = variances[variances > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def w2_uniformity(mean: Numbers, variances: Numbers) -> float:
    """Less the Wasserstein distance from a normal cloud to one spread evenly around 0 with variance 1/d; 0 is best.

    `mean` (d,) and `variances` (at most d, the others are 0) are those of both modalities' rows together, the variance
    over n. From "Closing the Modality Gap Aligns Group-Wise Semantics" (ICLR 2026, arXiv 2601.18525): -sqrt(|mean|^2 +
    1 + tr(S - 2/sqrt(d) S^(1/2))). The authors' code adds 1e-8 to every eigenvalue of S under the root, which brings
    its value nearer to 0, by about sqrt(d) 1e-4 where most eigenvalues are 0.
    """
    d = len(mean)
    roots = np.sqrt(np.maximum(variances, 0.0)).sum()
    squared = float(mean @ mean) + 1.0 + float(variances.sum()) - 2.0 / np.sqrt(d) * float(roots)
    return -float(np.sqrt(max(squared, 0.0)))


# --- a plane to look at --------------------------------------------------------------------------------------------


def principal_plane(rows: AnyRows) -> tuple[Numbers, Numbers]:
    """Coordinates (n, 2) of rows (n, d) on their first two principal axes, and the shares (2,) of variance there.

    The sign of an axis is arbitrary; here its largest loading is positive, so that equal rows give equal pictures.
    """
    from scipy.linalg import eigh

    centred = np.asarray(rows, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    n, d = centred.shape
    total = float((centred**2).sum())
    plane, shares = np.zeros((n, 2)), np.zeros(2)
    if total == 0.0:
        return plane, shares
    # The smaller of the two product matrices has the same eigenvalues.
    product = centred.T @ centred if d <= n else centred @ centred.T
    size = len(product)
    values, vectors = eigh(product, subset_by_index=[max(size - 2, 0), size - 1])
    for i, j in enumerate(reversed(range(len(values)))):
        share = max(float(values[j]) / total, 0.0)
        if share <= NOTHING:
            continue
        axis = vectors[:, j] if d <= n else centred.T @ vectors[:, j]
        axis = axis / np.linalg.norm(axis)
        axis = axis * np.sign(axis[np.abs(axis).argmax()])
        plane[:, i], shares[i] = centred @ axis, share
    return plane, shares
