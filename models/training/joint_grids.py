"""The grids of many drawings, computed once: rows of float16 in CACHE/joint_grids.f16, their keys beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models.efficientnet_lite import VARIANTS, prepare
from models.lite_joint_grid import CHANNELS, SIDE, Grid
from models.training.drawing import Drawing, picture

BATCH = 16
VARIANT = VARIANTS["lite2"]
Grids = npt.NDArray[np.float16]


def grids(cache: Path, grid: Grid, drawings: Sequence[Drawing]) -> Grids:
    """The places (n, SIDE * SIDE, CHANNELS) of the drawings, in their order; those in `cache` are not computed.

    A run that was cut short goes on where it stopped.
    """
    rows_at, keys_at = cache / "joint_grids.f16", cache / "joint_keys.json"
    shape = (SIDE * SIDE, CHANNELS)
    keys: list[str] = json.loads(keys_at.read_text("utf-8")) if keys_at.is_file() else []
    with rows_at.open("ab") as stream:
        stream.truncate(len(keys) * SIDE * SIDE * CHANNELS * 2)  # a batch that was written without its keys goes
    known = set(keys)
    absent = [drawing for drawing in drawings if drawing.key not in known]
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(absent), BATCH):
            batch = absent[start : start + BATCH]
            pictures = torch.stack(list(pool.map(lambda d: prepare(picture(d), VARIANT.side), batch)))
            with rows_at.open("ab") as stream:
                stream.write(grid.places(pictures).to(torch.float16).numpy().tobytes())
            keys += [drawing.key for drawing in batch]
            keys_at.write_text(json.dumps(keys), "utf-8")
    stored = np.memmap(rows_at, np.float16, "r", shape=(len(keys), *shape))
    row_of = {key: row for row, key in enumerate(keys)}
    return stored[[row_of[drawing.key] for drawing in drawings]]
