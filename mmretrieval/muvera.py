"""Fixed dimensional encodings: one vector for a bag of rows, whose dot products stand in for MaxSim (MUVERA).

Space is cut into 2^k cells by k random planes, `reps` times over. A query's encoding holds the sum of its rows in each
cell, an item's the mean of its rows there, so that their dot product is about the sum over the query's rows of the
best match among the item's rows. Dhulipala et al., "MUVERA: Multi-Vector Retrieval via Fixed Dimensional Encodings"
(arXiv 2405.19504); the definitions here are those of the authors' program (google/graph-mining, file
sketching/point_cloud/fixed_dimensional_encoding.cc), which departs from the paper in both projections. The encodings
of other implementations (fastembed's among them) are other vectors: never mix them in one index.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import BadVectors
from mmretrieval.types import Array, Card, Tokens, Vectors

Integers = npt.NDArray[np.int64]

IMPLEMENTATION = "graph-mining"
# Filling compares every cell with every cell: 4^10 pairs for an item.
MOST_PLANES = 10
# How many numbers a block of items may need while its empty cells are filled, and in its encoding: 32 MB each.
BLOCK = 2**22


@dataclass(frozen=True, eq=False)
class Matrices:
    """What chance decides: planes (reps, d, k); projection (reps, d, p) or none; bucket and sign of a final sketch.

    The projection has one +-1 in each row and zeros. The sketch, where there is one, adds coordinate i of the
    concatenated cells, times `signs[i]`, to place `buckets[i]` of `final_dim`.
    """

    planes: Array
    projection: Array | None = None
    buckets: Integers | None = None
    signs: Array | None = None
    final_dim: int | None = None

    @property
    def dim(self) -> int:
        """How many numbers an encoding has."""
        return self.final_dim or self.cells * len(self.planes) * self.width

    @property
    def cells(self) -> int:
        """Into how many cells each repetition cuts space."""
        return 1 << int(self.planes.shape[2])

    @property
    def width(self) -> int:
        """How many numbers a cell has."""
        return int(self.planes.shape[1] if self.projection is None else self.projection.shape[2])

    @property
    def digest(self) -> str:
        """Eight hex digits that differ where any of the matrices does."""
        held = (self.planes, self.projection, self.buckets, self.signs)
        return f"{functools.reduce(lambda crc, a: crc if a is None else zlib.crc32(a.tobytes(), crc), held, 0):08x}"


@dataclass(frozen=True)
class Fde:
    """Which encoding: `reps` times 2^`k_sim` cells of `d_proj` numbers each (none: the rows' own), then `final_dim`.

    Everything random follows from `seed` by numpy's PCG64: seed + r for repetition r, seed for the final sketch. So
    equal values encode alike on every machine with the same numpy; `described` holds a digest for the rest.
    """

    reps: int = 20
    k_sim: int = 4
    d_proj: int | None = 16
    final_dim: int | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        least = {"reps": 1, "k_sim": 0, "d_proj": 1, "final_dim": 1, "seed": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ValueError(f"{name} is {value}: it must be at least {low}")
        if self.k_sim > MOST_PLANES:
            raise ValueError(f"k_sim is {self.k_sim}: more than {MOST_PLANES} planes make too many cells to fill")

    def matrices(self, dim: int) -> Matrices:
        """The matrices for rows of `dim` numbers; a `d_proj` of `dim` or more projects nothing."""
        return _drawn(self, dim)

    def described(self, dim: int) -> dict[str, Any]:
        """All that two encodings must share to be comparable, as plain values."""
        drawn = self.matrices(dim)
        return {"implementation": IMPLEMENTATION, **asdict(self), "rows_of": dim, "matrices": drawn.digest}


def encoding_of(card: Card) -> Fde | None:
    """The encoding that stands for the items of an encoder's space in an index: none where they have one row each."""
    return Fde() if card.multi else None


@functools.lru_cache(maxsize=16)
def _drawn(fde: Fde, dim: int) -> Matrices:
    width = dim if fde.d_proj is None or fde.d_proj >= dim else fde.d_proj
    planes = np.empty((fde.reps, dim, fde.k_sim), dtype=np.float32)
    projection = None if width == dim else np.zeros((fde.reps, dim, width), dtype=np.float32)
    for rep in range(fde.reps):
        rng = np.random.Generator(np.random.PCG64(fde.seed + rep))
        planes[rep] = rng.standard_normal((dim, fde.k_sim))
        if projection is not None:
            columns = rng.integers(0, width, dim)
            projection[rep, np.arange(dim), columns] = 1 - 2 * rng.integers(0, 2, dim)
    if fde.final_dim is None:
        return Matrices(planes, projection)
    rng = np.random.Generator(np.random.PCG64(fde.seed))
    length = fde.reps * (1 << fde.k_sim) * width
    buckets = rng.integers(0, fde.final_dim, length)
    signs = (1 - 2 * rng.integers(0, 2, length)).astype(np.float32)
    return Matrices(planes, projection, buckets, signs, fde.final_dim)


# --- encoding ------------------------------------------------------------------------------------------------------


def encode_items(matrices: Matrices, bags: Vectors, *, fill: bool = True) -> Array:
    """The encodings (n, matrices.dim) of items: each cell the mean of the item's projected rows there.

    An empty cell is given the item's row that is fewest planes away, the first of equally near ones; with `fill` False
    it stays zero. Raises BadVectors for an item without rows, which has no nearest row.
    """
    _check(matrices, bags)
    lengths = np.diff(bags.offsets)
    if len(empty := np.flatnonzero(lengths == 0)):
        raise BadVectors(f"item {empty[0]} has no rows: there is nothing to encode; leave it out")
    out = np.empty((len(bags), matrices.dim), dtype=np.float32)
    for start, stop in _blocks(matrices, len(bags)):
        first, last = bags.offsets[start], bags.offsets[stop]
        rows = np.ascontiguousarray(bags.rows[first:last], dtype=np.float32)
        owner = np.repeat(np.arange(stop - start), lengths[start:stop])
        wide = np.empty((stop - start, len(matrices.planes), matrices.cells, matrices.width), dtype=np.float32)
        for rep in range(len(matrices.planes)):
            cell = partitions(rows, matrices.planes[rep])
            projected = rows if matrices.projection is None else rows @ matrices.projection[rep]
            wide[:, rep] = _means(projected, owner, cell, stop - start, matrices.cells, fill)
        out[start:stop] = _sketched(matrices, wide.reshape(stop - start, -1))
    return out


def encode_queries(matrices: Matrices, queries: Tokens) -> Array:
    """The encodings (n, matrices.dim) of queries: each cell the weighted sum of the query's projected rows there.

    Sums are linear, so the encoding of a composed query is the weighted sum of its parts'. A query without rows is a
    zero row.
    """
    _check(matrices, queries.bags)
    rows = np.ascontiguousarray(queries.bags.rows, dtype=np.float32)
    owner = np.repeat(np.arange(len(queries)), np.diff(queries.bags.offsets))
    wide = np.zeros((len(queries), len(matrices.planes), matrices.cells, matrices.width), dtype=np.float32)
    for rep in range(len(matrices.planes)):
        cell = partitions(rows, matrices.planes[rep])
        projected = rows if matrices.projection is None else rows @ matrices.projection[rep]
        (places, values), _, _ = _sums(projected * queries.weights[:, None], owner * matrices.cells + cell)
        wide[places // matrices.cells, rep, places % matrices.cells] = values
    return _sketched(matrices, wide.reshape(len(queries), math.prod(wide.shape[1:])))


def partitions(rows: Array, planes: Array) -> Integers:
    """The cell of each row (m,): the signs of its products with planes (d, k), read as a Gray code.

    The first plane is the most significant digit; a product of exactly zero counts as negative. Neighbouring cells
    differ in one sign.
    """
    bits = (rows @ planes) > 0
    cell = np.zeros(len(rows), dtype=np.int64)
    for column in bits.T:
        cell = (cell << 1) + (column ^ (cell & 1))
    return cell


def distances(k: int) -> Integers:
    """By how many signs each two of 2^k cells differ: (2^k, 2^k)."""
    cells = np.arange(1 << k, dtype=np.int64)
    signs = cells ^ (cells >> 1)
    apart: Integers = np.bitwise_count(signs[:, None] ^ signs[None, :]).astype(np.int64)
    return apart


def _sums(values: Array, places: Integers) -> tuple[tuple[Integers, Array], Integers, Integers]:
    """((the places that occur, rising; the sum of values at each), how many at each, the first row at each)."""
    order = np.argsort(places, kind="stable")
    at = places[order]
    starts = np.flatnonzero(np.diff(at, prepend=-1))
    sums = np.add.reduceat(values[order], starts, axis=0) if len(starts) else values[:0]
    return (at[starts], sums), np.diff(starts, append=len(at)), order[starts]


def _means(projected: Array, owner: Integers, cell: Integers, items: int, cells: int, fill: bool) -> Array:
    """Each item's mean in each cell, (items, cells, width); empty cells filled by the nearest row, or zero."""
    (places, sums), counts, first = _sums(projected, owner * cells + cell)
    out = np.zeros((items * cells, projected.shape[1]), dtype=np.float32)
    out[places] = sums / counts[:, None]
    if fill and cells > 1:
        # Of the rows in one cell, all equally far from any other, the first is the one to take.
        earliest = np.full(items * cells, len(cell), dtype=np.int64)
        earliest[places] = first
        rank = distances(cells.bit_length() - 1)[None] * (len(cell) + 1) + earliest.reshape(items, 1, cells)
        rank += np.where(earliest == len(cell), cells.bit_length() * (len(cell) + 1), 0).reshape(items, 1, cells)
        nearest = np.take_along_axis(earliest.reshape(items, cells), rank.argmin(axis=2), axis=1).reshape(-1)
        holes = np.ones(items * cells, dtype=np.bool_)
        holes[places] = False
        out[holes] = projected[nearest[holes]]
    return out.reshape(items, cells, -1)


def _sketched(matrices: Matrices, wide: Array) -> Array:
    if matrices.buckets is None or matrices.signs is None or matrices.final_dim is None:
        return wide
    order = np.argsort(matrices.buckets, kind="stable")
    at = matrices.buckets[order]
    starts = np.flatnonzero(np.diff(at, prepend=-1))
    out = np.zeros((len(wide), matrices.final_dim), dtype=np.float32)
    if len(wide):
        out[:, at[starts]] = np.add.reduceat((wide * matrices.signs)[:, order], starts, axis=1)
    return out


def _blocks(matrices: Matrices, count: int) -> Iterator[tuple[int, int]]:
    length = len(matrices.planes) * matrices.cells * matrices.width
    step = max(1, BLOCK // max(length, matrices.cells**2))
    for start in range(0, count, step):
        yield start, min(count, start + step)


def _check(matrices: Matrices, bags: Vectors) -> None:
    if bags.rows.shape[1] != matrices.planes.shape[1]:
        raise BadVectors(
            f"the rows have {bags.rows.shape[1]} numbers and the matrices are for {matrices.planes.shape[1]}: "
            "they belong to another encoder"
        )
