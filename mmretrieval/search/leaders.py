"""The best few of each row of many scores, and the scores themselves, a block of queries at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mmretrieval.geometry import AnyRows, Numbers, blocks

Places = npt.NDArray[np.int64]

# Scores multiplied out at once: 2**24 float64 are 128 MB. Fewer, and widening the items would take longer than that.
SCORES_AT_ONCE = 2**24
# Scores handed out at once: 8 MB, so that what is made of them finds room in the processor's caches.
SCORES_HANDED = 2**20
# Item rows widened to float64 at once.
ROWS_AT_ONCE = 4096
# Columns of which only the best is looked at first.
GROUP = 64


def dot_products(queries: AnyRows, rows: AnyRows) -> Iterator[tuple[slice, Numbers]]:
    """Dot products of queries (q, d) with rows (n, d) in float64: which queries, and their scores (b, n), by blocks.

    A block holds at most 2**20 scores, or those of one query. It may be written to, and is gone when the next is asked
    for. 128 MB are held, or the scores of one query where those are more.
    """
    n = max(1, len(rows))
    step = max(1, SCORES_AT_ONCE // n)
    held = np.empty((min(step, len(queries)), len(rows)))
    for block in blocks(len(queries), step):
        wide = np.asarray(queries[block], dtype=np.float64)
        for some in blocks(len(rows), ROWS_AT_ONCE):
            np.matmul(wide, np.asarray(rows[some], dtype=np.float64).T, out=held[: len(wide), some])
        for part in blocks(len(wide), max(1, SCORES_HANDED // n)):
            yield slice(block.start + part.start, block.start + part.stop), held[part]


def first_places(scores: Numbers, k: int) -> Places:
    """The places (q, k) of the k highest scores of each row (q, n), best first, equal scores by rising place.

    With fewer than k columns all of them, (q, n).
    """
    q, n = scores.shape
    k = min(k, n)
    if not q or not k:
        return np.empty((q, k), dtype=np.int64)
    rows, columns = _contenders(scores, k)
    order = np.lexsort((columns, -scores[rows, columns], rows))
    starts = np.searchsorted(rows[order], np.arange(q))
    places: Places = columns[order[starts[:, None] + np.arange(k)]]
    return places


def largest(scores: Numbers, k: int) -> Numbers:
    """The k highest scores of each row (q, n), falling: (q, k), or (q, n) where there are fewer columns."""
    values: Numbers = np.take_along_axis(scores, first_places(scores, k), axis=1)
    return values


def _contenders(scores: Numbers, k: int) -> tuple[Places, Places]:
    """Rows and columns of the k highest entries of each row, and of not many more.

    With many columns only the best of each group of columns is compared first: the k-th highest of those is reached
    by k entries at least, so that whatever lies below it is none of the k highest. That costs one maximum an entry,
    where a selection among all entries costs ten times that.
    """
    q, n = scores.shape
    groups = n // GROUP
    if groups < 4 * k:
        return _reaching(scores, np.partition(scores, n - k, axis=1)[:, n - k])
    # A group is every so many-th column: neighbours in a library resemble each other.
    peaks = scores[:, : groups * GROUP].reshape(q, GROUP, groups).max(axis=1)
    least = np.partition(peaks, groups - k, axis=1)[:, groups - k]
    rows, hot = _reaching(peaks, least)
    columns = hot[:, None] + groups * np.arange(GROUP)
    near, among = np.nonzero(scores[rows[:, None], columns] >= least[rows, None])
    rest_rows, rest = _reaching(scores[:, groups * GROUP :], least)
    return (
        np.concatenate([rows[near], rest_rows]),
        np.concatenate([columns[near, among], rest + groups * GROUP]),
    )


def _reaching(scores: Numbers, least: Numbers) -> tuple[Places, Places]:
    rows, columns = np.nonzero(scores >= least[:, None])
    return rows.astype(np.int64), columns.astype(np.int64)
