"""`hashing`: vectors without weights, the same numbers on every machine; a floor to compare with, and for tests.

Text is a signed sum over its words and their letter trigrams (feature hashing, Weinberger et al. 2009, arXiv
0902.2206); a picture is a signed sum over the average colours of an 8 x 8 grid. All sums are of integers, hence exact.
Pictures and texts share no meaning: between the two, a cosine is chance.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.Image import Image

from mmretrieval.types import Array, Card, Content, Role

GRID = 8
WORD = re.compile(r"\w+")
WORD_WEIGHT = 3
Sums = npt.NDArray[np.int64]


class Hashing:
    """Text or a picture -> `card.dim` integers as float32."""

    def __init__(self, card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> None:
        self.card = card

    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        """Rows (n, dim), the same for queries and items."""
        rows = [self._text(c.text) if c.text is not None else self._picture(c.image) for c in contents]
        return np.asarray([r if r.any() else self._nothing() for r in rows], dtype=np.float32)

    def _text(self, text: str) -> Sums:
        row = np.zeros(self.card.dim, dtype=np.int64)
        for feature, weight in text_features(text):
            place, sign = bucket(feature, self.card.dim)
            row[place] += sign * weight
        return row

    def _picture(self, picture: Image | None) -> Sums:
        assert picture is not None  # embed() hands over contents that hold what they say
        row = np.zeros(self.card.dim, dtype=np.int64)
        for (y, x, channel), value in np.ndenumerate(grid_means(picture)):
            place, sign = bucket(f"cell {y} {x} {channel}", self.card.dim)
            row[place] += sign * (int(value) - 128)
        return row

    def _nothing(self) -> Sums:
        """What stands for an empty text, and wherever all features cancel."""
        row = np.zeros(self.card.dim, dtype=np.int64)
        place, sign = bucket("nothing", self.card.dim)
        row[place] = sign
        return row


@functools.cache
def bucket(feature: str, dim: int) -> tuple[int, int]:
    """The place (0..dim-1) and the sign of a feature, from its blake2b hash."""
    value = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "big")
    return (value >> 1) % dim, 1 if value & 1 else -1


def text_features(text: str) -> Iterator[tuple[str, int]]:
    """Every word and every letter trigram of a word (with its borders), with the weight of each."""
    for word in WORD.findall(text.casefold()):
        yield f"word {word}", WORD_WEIGHT
        bordered = f"<{word}>"
        for start in range(len(bordered) - 2):
            yield f"letters {bordered[start : start + 3]}", 1


def grid_means(picture: Image) -> Sums:
    """The average colour of each cell, rounded down: (GRID, GRID, 3) of 0..255; cells of tiny pictures overlap."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.int64)
    cells = np.empty((GRID, GRID, 3), dtype=np.int64)
    tops, lefts = edges(pixels.shape[0]), edges(pixels.shape[1])
    for y, (top, bottom) in enumerate(tops):
        for x, (left, right) in enumerate(lefts):
            cell = pixels[top:bottom, left:right]
            cells[y, x] = cell.sum(axis=(0, 1)) // (cell.shape[0] * cell.shape[1])
    return cells


def edges(size: int) -> list[tuple[int, int]]:
    """Where each of the GRID parts of a side begins and ends: none is empty."""
    return [(i * size // GRID, max(-(-(i + 1) * size // GRID), i * size // GRID + 1)) for i in range(GRID)]
