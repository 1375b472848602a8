"""How transforms change rows: in blocks of one size, in float64, so that a row's result is its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval.geometry import AnyRows, Numbers, blocks, directions
from mmretrieval.types import Array

# Rows changed at once.
TOGETHER = 64
# What is left of a row at less than this share of its length is the rounding of float32 alone.
ROUNDING = 1e-6


def changed(rows: Array, width: int, change: Callable[[Numbers], npt.NDArray[Any]]) -> Array:
    """Each row (n, d) after `change`, which gets (TOGETHER, d) in float64 and gives (TOGETHER, width), as float32.

    Zero rows stay zero rows. The last block is filled up with zero rows: a matrix product of another shape adds in
    another order, and then equal items would not tie, nor one query get the scores that it gets among others.
    """
    n, d = rows.shape
    result = np.zeros((n, width), dtype=np.float32)
    full = np.zeros((TOGETHER, d))
    for block in blocks(n, TOGETHER):
        size = block.stop - block.start
        full[:size], full[size:] = rows[block], 0.0
        result[block] = np.where(full.any(axis=1, keepdims=True), change(full), 0.0)[:size]
    return result


def settled(rows: Numbers, lengths: Numbers) -> Numbers:
    """The directions of rows (n, d) that are left of rows of these lengths (n,); zero where rounding is all that is."""
    left = np.linalg.norm(rows, axis=1) > ROUNDING * lengths
    return directions(np.where(left[:, None], rows, 0.0))


def lengths(rows: Numbers) -> Numbers:
    """The length (n,) of each row."""
    measured: Numbers = np.linalg.norm(rows, axis=1)
    return measured


def largest(values: AnyRows, count: int) -> npt.NDArray[np.bool_]:
    """Which `count` values of each row (n, m) are its largest, from 1 to m of them; among equals the first."""
    m = values.shape[1]
    if count >= m:
        return np.ones(values.shape, dtype=np.bool_)
    last = np.partition(values, m - count, axis=1)[:, m - count, None]
    above, level = values > last, values == last
    room = count - above.sum(axis=1, keepdims=True)
    kept: npt.NDArray[np.bool_] = above | (level & (np.cumsum(level, axis=1) <= room))
    return kept


def spread(count: int, most: int) -> npt.NDArray[np.int64]:
    """`most` places of 0..count-1, evenly spaced from the first on; all of them where there are no more."""
    if count <= most:
        return np.arange(count, dtype=np.int64)
    return (np.arange(most, dtype=np.int64) * count) // most
