"""Two 64-bit perceptual hashes of pictures, to tell whether a picture is among others after scaling and re-encoding.

The difference hash compares neighbours in a 9 x 8 grey thumbnail; the other compares the 64 lowest frequencies (without
the constant) of the discrete cosine transform of a 32 x 32 one with their median. Both are written out from their
definitions (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", sections 3.2.1 on the
DCT hash; the difference hash is Krawetz's of 2013).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Two pictures count as the same where both hashes differ in at most this many of their 64 bits.
NEAR = 8

Hashes = NDArray[np.uint64]


def hashes(picture: Image.Image) -> Hashes:
    """The two hashes (2,) of an RGB picture; white margins are cut away first, since packages frame differently."""
    grey = _trimmed(np.asarray(picture.convert("L")))
    return np.array([_packed(_differences(grey)), _packed(_frequencies(grey))], dtype=np.uint64)


def near(some: Hashes, others: Hashes) -> NDArray[np.bool_]:
    """Which of `some` (n, 2) are the same picture as any of `others` (m, 2): True (n,)."""
    apart = np.zeros((len(some), len(others)), dtype=np.int64)
    for column in range(2):
        bits = np.bitwise_count(some[:, None, column] ^ others[None, :, column])
        apart = np.maximum(apart, bits.astype(np.int64))
    return np.asarray((apart <= NEAR).any(axis=1))


def _trimmed(grey: NDArray[np.uint8]) -> Image.Image:
    rows, columns = (np.flatnonzero((grey < 250).any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return Image.fromarray(grey)
    return Image.fromarray(grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _differences(grey: Image.Image) -> NDArray[np.bool_]:
    small = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return np.asarray(small[:, 1:] > small[:, :-1])


def _frequencies(grey: Image.Image) -> NDArray[np.bool_]:
    small = np.asarray(grey.resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    places = np.arange(32)
    basis = np.cos(np.pi * (places[None, :] + 0.5) * places[1:9, None] / 32)  # rows 1..8: no constant
    low = basis @ small @ basis.T
    return np.asarray(low > np.median(low))


def _packed(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits.ravel()).tobytes(), "big")
