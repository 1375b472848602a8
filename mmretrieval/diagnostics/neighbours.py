"""Exact nearest neighbours of directions: candidates by float32 products in blocks, their order in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.geometry import AnyRows, Numbers, blocks, directions

Places = npt.NDArray[np.int64]

# Rows asked for at once: 256 of them with 80 candidates of 640 numbers take 105 MB in float64.
ASKED_AT_ONCE = 256
# Candidates beyond the k that are wanted, so that float32 rounding seldom reaches the last place.
SPARE = 16
# Rows that come as float32 cannot be told apart below this distance: they are copies.
COPY = 1e-6
# Below this squared distance 2 - 2 cos has lost digits, and the difference of the rows is taken instead.
CLOSE = 1e-3


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest rows of each of q: their `places` and Euclidean `distances` (q, k), which rise along a row."""

    places: Places
    distances: Numbers


def nearest(rows: AnyRows, k: int) -> Neighbours:
    """The k nearest other rows of each row (n, d) by the distance of directions; k is at most n - 1."""
    return nearest_of(rows, rows, k, np.arange(len(rows)))


def nearest_of(asked: AnyRows, rows: AnyRows, k: int, own: Places | None = None) -> Neighbours:
    """The k nearest of `rows` (n, d) to each row of `asked` (q, d) by the distance of their directions, in [0, 2].

    `own` (q,) names for each asked row the one row that does not count, itself; -1 for none. Exact: where float32
    products cannot tell the last place, that row is compared with all others in float64. Takes time q n d and one block
    of memory besides a float64 copy of the rows. Raises ValueError where there are fewer than k rows to find.
    """
    found = len(rows) - (own is not None)
    if not 0 < k <= found:
        raise ValueError(f"{k} neighbours cannot be found among {found} rows")
    wide = directions(rows)
    narrow = wide.astype(np.float32)
    # The usual n*u bound of a dot product of unit rows (Higham), doubled.
    rounding = 2.0 * wide.shape[1] * float(np.finfo(np.float32).eps)
    places, distances = np.empty((len(asked), k), dtype=np.int64), np.empty((len(asked), k))
    for block in blocks(len(asked), ASKED_AT_ONCE):
        here = wide[block] if asked is rows else directions(asked[block])
        skipped = None if own is None else own[block]
        candidates, doubtful = _candidates(here, narrow, k, found, skipped, rounding)
        places[block], distances[block], furthest = _ordered(here, wide, candidates, k)
        for row in np.flatnonzero(furthest < doubtful):
            products = wide @ here[row]
            if skipped is not None and skipped[row] >= 0:
                products[skipped[row]] = -np.inf
            best = np.argsort(-products, kind="stable")[:k][None]
            place = block.start + row
            places[place], distances[place], _ = (value[0] for value in _ordered(here[[row]], wide, best, k))
    return Neighbours(places, distances)


def _candidates(
    asked: Numbers, narrow: npt.NDArray[np.float32], k: int, found: int, own: Places | None, rounding: float
) -> tuple[Places, Numbers]:
    """Places (q, k or more) by float32 products, rising; and for each row the product that one outside may have."""
    products = asked.astype(np.float32) @ narrow.T
    themselves = np.flatnonzero(own >= 0) if own is not None else np.empty(0, dtype=np.int64)
    if own is not None:
        products[themselves, own[themselves]] = -np.inf
    kept = min(k + SPARE, found)
    if kept == products.shape[1]:
        return np.tile(np.arange(kept), (len(asked), 1)), np.full(len(asked), -np.inf)
    best = np.argpartition(products, products.shape[1] - kept, axis=1)[:, -kept:]
    best.sort(axis=1)
    lowest = np.take_along_axis(products, best, axis=1).min(axis=1).astype(np.float64)
    doubtful = lowest + rounding
    if own is not None and kept == found:
        doubtful[themselves] = -np.inf  # there is no other
    return best, doubtful


def _ordered(asked: Numbers, wide: Numbers, candidates: Places, k: int) -> tuple[Places, Numbers, Numbers]:
    """The k nearest candidates, their distances, ties by place; and the cosine of the k-th."""
    cosines = np.einsum("qd,qcd->qc", asked, wide[candidates])
    squared = np.maximum(2.0 - 2.0 * cosines, 0.0)
    rows, columns = np.nonzero(squared < CLOSE)
    squared[rows, columns] = ((asked[rows] - wide[candidates[rows, columns]]) ** 2).sum(axis=1)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    distances = np.sqrt(np.take_along_axis(squared, order, axis=1))
    return np.take_along_axis(candidates, order, axis=1), distances, 1.0 - distances[:, -1] ** 2 / 2.0


@dataclass(frozen=True, eq=False)
class Distinct:
    """Rows without their copies: `kept` are the places (m,) of those that stay, which rise.

    `standing` (n,) is for each row the place among the kept of the row it stands at, and `near` the neighbours of the
    kept among the kept.
    """

    kept: Places
    standing: Places
    near: Neighbours


def nearest_distinct(rows: AnyRows, k: int) -> Distinct:
    """The k nearest (fewer where there are fewer) of each row that is no copy, among those that are none.

    A copy is a row whose direction lies within 1e-6 of that of an earlier row, which stays. Where all are copies of
    one row there are no neighbours: (1, 0).
    """
    narrow = directions(rows).astype(np.float32)
    _, first, group = np.unique(narrow, axis=0, return_index=True, return_inverse=True)
    standing = first[group.reshape(-1)].astype(np.int64)  # for each row the earliest that equals it
    kept = np.unique(standing)
    while True:
        if len(kept) < 2:
            near = Neighbours(np.empty((len(kept), 0), dtype=np.int64), np.empty((len(kept), 0)))
            return Distinct(kept, np.searchsorted(kept, standing), near)
        near = nearest(rows[kept], min(k, len(kept) - 1))
        # The earlier of two stays; a chain is followed one link at a time.
        copies = np.flatnonzero((near.distances[:, 0] <= COPY) & (near.places[:, 0] < np.arange(len(kept))))
        if not len(copies):
            return Distinct(kept, np.searchsorted(kept, standing), near)
        onto = np.arange(len(standing))
        onto[kept[copies]] = kept[near.places[copies, 0]]
        while not np.array_equal(onto[onto], onto):
            onto = onto[onto]
        standing = onto[standing]
        kept = np.unique(standing)
