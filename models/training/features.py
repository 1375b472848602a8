"""The frozen features that the heads are trained over, kept in the cache so that a second training reads them.

CACHE/features/SOURCE.npy holds pooled EfficientNet-Lite2 features (n, 1280) float32, SOURCE.hashes.npy the perceptual
hashes (n, 2), SOURCE.json the drawings' keys in the order of the rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.efficientnet_fast import FastEfficientNet
from models.training.drawing import Drawing, picture
from models.training.hashes import Hashes, hashes

BATCH = 64
# A few clip arts are bitmaps of hundreds of megapixels, which decode for seconds and say no more than others.
MAX_PIXELS = 60_000_000


@dataclass(frozen=True, eq=False)
class Featured:
    """Drawings with their pooled features (n, 1280) and perceptual hashes (n, 2), row by row."""

    drawings: tuple[Drawing, ...]
    rows: torch.Tensor
    hashes: Hashes

    def where(self, kept: NDArray[np.bool_]) -> Featured:
        """The part whose entry in `kept` (n,) is True."""
        drawings = tuple(drawing for drawing, keep in zip(self.drawings, kept, strict=True) if keep)
        return Featured(drawings, self.rows[torch.from_numpy(kept)], self.hashes[kept])


def joined(parts: Sequence[Featured]) -> Featured:
    """Several parts one after the other."""
    drawings = tuple(drawing for part in parts for drawing in part.drawings)
    return Featured(drawings, torch.cat([p.rows for p in parts]), np.concatenate([p.hashes for p in parts]))


def featured(cache: Path, source: str, drawings: Sequence[Drawing], network: FastEfficientNet) -> Featured:
    """The features of one source's drawings, out of the cache, or computed and put there.

    A cache that lacks one of them is made anew. Drawings that are too large to decode are left out.
    """
    folder = cache / "features"
    names = [folder / f"{source}{end}" for end in (".json", ".npy", ".hashes.npy")]
    small = [drawing for drawing in drawings if not _too_large(drawing)]
    known = {drawing.key: drawing for drawing in small}
    if all(name.is_file() for name in names):
        keys = json.loads(names[0].read_text("utf-8"))
        if known.keys() <= set(keys):
            kept = np.array([key in known for key in keys], dtype=bool)
            rows = torch.from_numpy(np.load(names[1])[kept])
            return Featured(tuple(known[key] for key in keys if key in known), rows, np.load(names[2])[kept])
    made = joined([_batch(small[start : start + BATCH], network) for start in range(0, len(small), BATCH)])
    folder.mkdir(parents=True, exist_ok=True)
    names[0].write_text(json.dumps([drawing.key for drawing in made.drawings]), "utf-8")
    np.save(names[1], made.rows.numpy())
    np.save(names[2], made.hashes)
    return made


def _batch(drawings: Sequence[Drawing], network: FastEfficientNet) -> Featured:
    with ThreadPoolExecutor(2) as pool:
        pictures = list(pool.map(picture, drawings))
        found = np.stack(list(pool.map(hashes, pictures)))
    rows, _ = network.features_and_logits(pictures)
    return Featured(tuple(drawings), torch.from_numpy(np.ascontiguousarray(rows)), found)


def _too_large(drawing: Drawing) -> bool:
    if drawing.place.suffix in {".svg", ".json"}:
        return False
    try:
        with Image.open(drawing.place) as opened:
            return opened.width * opened.height > MAX_PIXELS
    except Image.DecompressionBombError:  # Pillow refuses the very largest before it tells their size
        return True
