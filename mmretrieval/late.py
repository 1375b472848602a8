"""Late interaction: bags of rows compared row by row (MaxSim, also called Chamfer similarity). Arrays in, arrays out.

A query row's match is its largest product with a row of the item; a query's score is the weighted sum of its rows'
matches (Khattab and Zaharia, "ColBERT", SIGIR 2020). Bags are ragged: there are no padding rows that could be largest
where all real products are negative.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import BadQuery
from mmretrieval.geometry import directions
from mmretrieval.types import Array, Tokens, Vectors

Places = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

# Item rows multiplied at once, times query rows: 2**23 float32 are 32 MB.
PRODUCTS = 2**23


def taken(bags: Vectors, places: Sequence[int] | Places) -> Vectors:
    """The bags at `places`, in that order; a place of -1 gives an empty bag."""
    wanted = np.asarray(places, dtype=np.int64)
    starts = np.where(wanted < 0, 0, bags.offsets[wanted])
    lengths = np.where(wanted < 0, 0, bags.offsets[wanted + 1] - starts)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, lengths)
    return Vectors(np.asarray(bags.rows[rows], dtype=np.float32), offsets)


# --- scores --------------------------------------------------------------------------------------------------------


def maxsim(query: Array, weights: npt.ArrayLike, bags: Vectors, places: Sequence[int] | Places) -> Numbers:
    """Scores (n,) in float64 of the bags at `places` for query rows (t, d) with weights (t,), negative ones too.

    Each is the sum over the query's rows q of weight(q) * max of q.d over the bag's rows d. A bag's score depends on
    that bag and the query alone, to the last bit. An empty bag, which matches nothing, scores -inf.
    """
    wide, shares = query.astype(np.float64), np.asarray(weights, dtype=np.float64)
    scores = np.full(len(places), -np.inf)
    for n, place in enumerate(places):
        bag = bags[int(place)].astype(np.float64)
        if len(bag):
            best = (bag @ wide.T).argmax(axis=0)
            # A matrix product may round a row differently beside other rows; these products do not.
            scores[n] = ((bag[best] * wide).sum(axis=1) * shares).sum()
    return scores


def scan(query: Array, weights: npt.ArrayLike, bags: Vectors) -> Array:
    """`maxsim` of every bag in float32, in blocks: fast, and right to within `rounding`. No bag may be empty."""
    rows, shares = np.ascontiguousarray(query, dtype=np.float32), np.asarray(weights, dtype=np.float32)
    scores = np.empty(len(bags), dtype=np.float32)
    for start, stop in _blocks(bags.offsets, max(1, PRODUCTS // max(1, len(rows)))):
        first, last = bags.offsets[start], bags.offsets[stop]
        products = rows @ bags.rows[first:last].T
        best = np.maximum.reduceat(products, bags.offsets[start:stop] - first, axis=1)
        scores[start:stop] = shares @ best
    return scores


def rounding(query: Array, weights: npt.ArrayLike, longest: float) -> float:
    """How far a score of `scan` can lie from the true one, for item rows no longer than `longest` (n*u, doubled)."""
    lengths = np.linalg.norm(query.astype(np.float64), axis=1)
    reach = float((np.abs(np.asarray(weights, dtype=np.float64)) * lengths).sum())
    return 2.0 * sum(query.shape) * float(np.finfo(np.float32).eps) * reach * longest


def _blocks(offsets: Places, rows: int) -> Iterator[tuple[int, int]]:
    """Bags in runs of at most `rows` rows, and of one bag at least."""
    start = 0
    while start < len(offsets) - 1:
        stop = int(np.searchsorted(offsets, offsets[start] + rows, side="right")) - 1
        yield start, (stop := max(stop, start + 1))
        start = stop


# --- queries -------------------------------------------------------------------------------------------------------


def composed(bags: Sequence[Array], weights: npt.ArrayLike) -> tuple[Array, Array]:
    """The rows (t, d) and row weights (t,) of a query of several parts: sum of w_i * mean MaxSim of part i / sum |w_i|.

    A part's share is spread evenly over its rows, so that a picture's hundreds of rows weigh no more than three words,
    and scores lie in [-1, 1] whatever the lengths; one part is ranked as by plain MaxSim. Negative weights push away.
    Rows that occur again are put together. Raises BadQuery where a weight is no finite number, or nothing is left.
    """
    w = np.asarray(weights, dtype=np.float64)
    if not np.isfinite(w).all() or not w.any():
        raise BadQuery(f"the weights of the query's parts are {w.tolist()}: give finite numbers, one at least not 0")
    shares = w / np.abs(w).max()
    shares /= np.abs(shares).sum()
    rows = np.concatenate([np.asarray(bag, dtype=np.float32) for bag in bags])
    each = np.concatenate([np.full(len(bag), share / len(bag)) for bag, share in zip(bags, shares, strict=True)])
    unique, first, places = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    summed = np.bincount(places.reshape(-1), weights=each, minlength=len(unique))
    # Shares are sums of at most a few thousand fractions: what is left of equal ones of opposite signs is rounding.
    kept = np.abs(summed) > 1e-12
    if not kept.any():
        raise BadQuery("the parts of the query cancel out: change a weight or leave a part out")
    order = np.argsort(first[kept])
    return unique[kept][order], summed[kept][order].astype(np.float32)


def together(queries: Sequence[tuple[Array, Array]], dim: int) -> Tokens:
    """Queries, each rows (t, d) and weights (t,), as one value."""
    weights = [w for _, w in queries] or [np.empty(0, dtype=np.float32)]
    return Tokens(Vectors.joined([rows for rows, _ in queries], dim), np.concatenate(weights).astype(np.float32))


def plain(bags: Vectors) -> Tokens:
    """Each bag as a query of its own, every row with the weight 1 / rows: the mean MaxSim, as `composed` has it."""
    lengths = np.diff(bags.offsets)
    return Tokens(bags, np.repeat(1.0 / np.maximum(lengths, 1), lengths).astype(np.float32))


# --- pooling -------------------------------------------------------------------------------------------------------


def pooled(bags: Vectors, factor: float) -> Vectors:
    """Each bag with max(1, floor(rows / factor)) rows at most: like rows are put together by their unit mean.

    Rows are clustered by Ward's linkage over the distances 1 - cosine, clusters stand in the order of their first row.
    Items are pooled, queries are not. Clavie et al., "Reducing the Footprint of Multi-Vector Retrieval with Minimal
    Performance Impact via Token Pooling" (2024). What a factor costs depends on the rows: measure. 1 changes nothing.
    """
    if factor < 1:
        raise ValueError(f"factor is {factor}: it must be at least 1")
    if factor == 1:
        return bags
    return Vectors.joined([_pooled(bags[i], factor) for i in range(len(bags))], bags.rows.shape[1])


def _pooled(rows: Array, factor: float) -> Array:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    wanted = max(1, int(len(rows) // factor))
    if wanted >= len(rows):
        return rows
    wide = directions(rows)
    apart = np.clip(1.0 - wide @ wide.T, 0.0, 2.0)
    labels = fcluster(linkage(squareform(apart, checks=False), method="ward"), t=wanted, criterion="maxclust")
    _, first, places = np.unique(labels, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), rows.shape[1]))
    np.add.at(sums, places, wide)
    lost = np.linalg.norm(sums, axis=1) <= 1e-9  # opposite rows: the first of them stands for all
    sums[lost] = wide[first[lost]]
    return directions(sums)[np.argsort(first)].astype(np.float32)
