"""Unit rows in tuples, many of them near or in each other's span: where formulas of volumes lose their digits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmretrieval import geometry


def some_tuples(seed: int, n: int, k: int, d: int) -> npt.NDArray[np.float64]:
    """Unit rows (n, k, d), float64; some tuples hold copies, near copies, opposites or dependent rows."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(n, k, d))
    for i in range(n):
        match generator.integers(0, 6):
            case 0:
                rows[i, 1:] = rows[i, :1]
            case 1:
                rows[i, 1:] = rows[i, :1] + 10.0 ** -generator.integers(3, 13) * rows[i, 1:]
            case 2:
                rows[i, -1] = -rows[i, 0]
            case 3 if k > 1:
                rows[i, -1] = rows[i, :-1].sum(axis=0)
    return geometry.directions(rows)
