"""A real late-interaction encoder without weights: a row for each word, a row for each cell of a picture's grid.

Words and cells share one space: a cell's row is its mean colour against eight named colours, and the row of a colour's
name is that colour's. So "red square" finds red pictures, and tests know what is right.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmretrieval import catalog
from mmretrieval.types import Array, Card, Content, Role, Vectors

NAME, DIM, CELLS = "word-cells", 24, 8
COLOURS = {
    "red": (230, 30, 30),
    "green": (30, 180, 40),
    "blue": (40, 60, 230),
    "yellow": (240, 220, 30),
    "black": (10, 10, 10),
    "white": (250, 250, 250),
    "purple": (140, 40, 160),
    "orange": (250, 140, 20),
}
CATALOGUE = f"""
[{NAME}]
factory = "token_encoder:WordCells"
version = 1
dim = {DIM}
reads = ["text", "image"]
multi = true
licence = "Apache-2.0"
preprocessing = "words; {CELLS} x {CELLS} cells"
runtime = "numpy"
promise = "A row for each word, a row for each cell of a picture."
offline = true
"""


class WordCells:
    """Text -> a row for each word; a picture -> a row for each of its 64 cells, equal cells once."""

    def __init__(self, card: Card, files: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self.card = card

    def encode(self, contents: Sequence[Content], role: Role) -> Vectors:
        return Vectors.joined([self._cells(c) if c.image is not None else self._words(c) for c in contents], DIM)

    def _words(self, content: Content) -> Array:
        found = re.findall(r"\w+", (content.text or "").lower()) or ["nothing"]
        return np.stack([word_row(word) for word in found])

    def _cells(self, content: Content) -> Array:
        assert content.image is not None
        small = np.asarray(content.image.convert("RGB").resize((CELLS, CELLS)), dtype=np.float64)
        return np.stack([colour_row(colour) for colour in np.unique(small.reshape(-1, 3), axis=0)])


def colour_row(colour: Sequence[float] | np.ndarray) -> Array:
    """How near a colour is to each named one, in the first eight places."""
    apart = np.linalg.norm(np.array(list(COLOURS.values())) - np.asarray(colour, dtype=np.float64), axis=1)
    row = np.zeros(DIM, dtype=np.float32)
    row[:8] = np.exp(-apart / 60)
    return row


def word_row(word: str) -> Array:
    """The colour's row for a colour, else a direction of the word's own in the other places."""
    if word in COLOURS:
        return colour_row(COLOURS[word])
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
    row = np.zeros(DIM, dtype=np.float32)
    row[8:] = np.random.default_rng(seed).standard_normal(DIM - 8)
    return row


@contextmanager
def registered(folder: Path) -> Iterator[None]:
    """The encoder is in the catalogue, as anybody's own comes there: in this process and in those that it starts."""
    file = folder / "catalog.toml"
    file.write_text(CATALOGUE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(catalog.OWN_CATALOG, str(file))
        catalog.blocks.cache_clear()
        yield
    catalog.blocks.cache_clear()
