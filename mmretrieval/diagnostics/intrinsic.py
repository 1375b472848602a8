"""Intrinsic dimension from distances to neighbours: TwoNN and the Levina-Bickel estimate, in float64.

Distances are of distinct points: a copy is no neighbour (see `neighbours.distinct`), so that all are above 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmretrieval.geometry import Numbers

# The share of largest ratios that TwoNN leaves out of its fit, as its authors do.
DISCARDED = 0.1
# Logarithms of ratios of distances are rounding below this: the distances are equal.
EQUAL = 1e-9


def ratios(distances: Numbers) -> Numbers:
    """log(r2 / r1) of the two nearest distances of each point (n, 2 or more), rising: (n,)."""
    logs: Numbers = np.sort(np.log(distances[:, 1] / distances[:, 0]))
    return logs


def twonn(logs: Numbers) -> float | None:
    """TwoNN, the linear form (Facco et al. 2017): the slope through the origin of -log(1 - F(mu)) over log(mu).

    From `ratios` of n points, rising; F is their empirical distribution i / n, and the tenth with the largest ratios
    takes no part in the fit. None where all distances are equal, which no dimension explains.
    """
    n = len(logs)
    kept = int(n * (1 - DISCARDED))
    x = logs[:kept]
    y = -np.log1p(-np.arange(1, kept + 1) / n)
    square = float(x @ x)
    return float(x @ y) / square if square > kept * EQUAL**2 else None


def twonn_likelihood(logs: Numbers) -> float | None:
    """TwoNN by maximum likelihood: log(mu) is exponential with rate d, and the tenth of largest ones is censored.

    d = (m - 1) / (sum of the m smallest + (n - m) times the m-th), free of bias for independent points. From `ratios`.
    """
    n = len(logs)
    kept = int(n * (1 - DISCARDED))
    total = float(logs[:kept].sum() + (n - kept) * logs[kept - 1])
    return (kept - 1) / total if total > n * EQUAL else None


def inverses(distances: Numbers) -> Numbers:
    """One over the local dimension of each point (n,) from its k nearest distances (n, k), rising: 0 if all are equal.

    The mean over j < k of log(T_k / T_j), T_j the distance of the j-th neighbour (Levina and Bickel 2004, eq. 8, with
    their k - 1). The inverse has no bias, and unlike the dimension it is finite where distances are equal.
    """
    k = distances.shape[1]
    values: Numbers = np.log(distances[:, -1:] / distances[:, :-1]).sum(axis=1) / (k - 1)
    return np.where(values > EQUAL, values, 0.0)


def likelihood(values: Numbers) -> float | None:
    """Levina-Bickel over all points: one over the mean of their `inverses` (MacKay and Ghahramani's correction).

    Levina and Bickel average the local dimensions themselves, which few points with tiny inverses pull upwards. None
    where all inverses are 0.
    """
    mean = float(values.mean())
    return 1.0 / mean if mean > 0 else None


def twonn_spread(logs: Numbers, counts: npt.NDArray[np.float32]) -> dict[str, tuple[float, float]]:
    """95 % intervals of both forms of TwoNN, resampling points with their ratios: neighbours are not found anew."""
    drawn: dict[str, list[float]] = {"twonn": [], "twonn_mle": []}
    for row in counts:
        again = np.repeat(logs, row.astype(np.int64))
        for name, value in (("twonn", twonn(again)), ("twonn_mle", twonn_likelihood(again))):
            if value is not None:
                drawn[name].append(value)
    return {name: _middle(np.array(kept)) for name, kept in drawn.items() if kept}


def likelihood_spread(values: Numbers, counts: npt.NDArray[np.float32]) -> tuple[float, float] | None:
    """The 95 % interval of `likelihood`, resampling points with their `inverses`; None where all of them are 0."""
    means = counts.astype(np.float64) @ values / counts.sum(axis=1, dtype=np.float64)
    means = means[means > 0]
    return _middle(1.0 / means) if len(means) else None


def _middle(values: Numbers) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
