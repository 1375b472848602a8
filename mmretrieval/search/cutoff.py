"""The cut-off: which hits a random query would score as high."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def weak(chances: npt.NDArray[np.float64], p: float) -> npt.NDArray[np.bool_]:
    """Which of some hits (n,) are no better than chance: those whose chance (see mmretrieval.chances) is above p."""
    return np.asarray(chances > p, dtype=np.bool_)
