"""Small pictures that differ, made from a number."""

from __future__ import annotations

import numpy as np
from PIL import Image as Images
from PIL.Image import Image


def drawing(seed: int, side: int = 48) -> Image:
    """A small picture of coloured blocks; another seed, another picture."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Images.fromarray(blocks).resize((side, side), Images.Resampling.NEAREST)
