"""Whether a difference between two runs is more than chance: paired over the queries that both were scored on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.metrics import METRICS
from mmretrieval.errors import DatasetError, pick

RESAMPLES = 9_999


@dataclass(frozen=True)
class Comparison:
    """`b` less `a` on one metric over n queries: means, the difference with its 95 % interval, and p (two-sided)."""

    metric: str
    queries: int
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    p: float
    wins: int
    ties: int
    losses: int
    seed: int


def compare(a: Mapping[str, float], b: Mapping[str, float], metric: str, *, seed: int = 0) -> Comparison:
    """The paired comparison of two runs' values by query.

    p: permutation test that swaps the two runs query by query, 9,999 times, or in every way where there are fewer
    (scipy, `permutation_type="samples"`). The interval: 2.5th and 97.5th percentile of the mean difference over 9,999
    bootstrap samples of the queries. Raises DatasetError where the runs share fewer than two queries.
    """
    from scipy import stats

    shared = sorted(a.keys() & b.keys())
    if len(shared) < 2:
        raise DatasetError(f"the runs share {len(shared)} scored queries: compare two runs over the same queries")
    left, right = (np.array([run[q] for q in shared]) for run in (a, b))
    difference = right - left
    if not difference.any():
        low, high, p = 0.0, 0.0, 1.0
    else:
        p = stats.permutation_test(
            (right, left),
            lambda x, y, axis: np.mean(x - y, axis=axis),
            permutation_type="samples",
            n_resamples=RESAMPLES,
            vectorized=True,
            rng=np.random.default_rng(seed),
        ).pvalue
        draws = np.random.default_rng(seed).integers(0, len(shared), (RESAMPLES, len(shared)))
        low, high = np.percentile(difference[draws].mean(axis=1), [2.5, 97.5])
    return Comparison(
        metric, len(shared), float(left.mean()), float(right.mean()), float(difference.mean()), float(low), float(high),
        float(p), int((difference > 0).sum()), int((difference == 0).sum()), int((difference < 0).sum()), seed,
    )  # fmt: skip


def holm(p: Sequence[float]) -> list[float]:
    """The p values of several tests, adjusted so that the chance of any false discovery stays what each promises.

    Holm 1979: the smallest is multiplied by how many there are, the next by one less, and so on; none may fall below
    one that was smaller, or rise above 1.
    """
    adjusted, reached = [0.0] * len(p), 0.0
    for step, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        reached = max(reached, min(1.0, (len(p) - step) * p[place]))
        adjusted[place] = reached
    return adjusted


def smallest_effect(differences: npt.NDArray[np.float64], tests: int = 1) -> float | None:
    """The smallest mean difference that so many queries would have shown: 80 % power, two-sided 5 % over all tests.

    (z_(1 - 0.025 / tests) + z_0.8) times the standard error of the paired differences (n): the normal approximation,
    with the share of the 5 % that the strictest step of Holm's correction gives to each test. None where so few queries
    differ that not even all of them in one direction would be significant by permutation.
    """
    from scipy import stats

    if np.count_nonzero(differences) < 1 + math.log2(tests / 0.05):
        return None
    spread = float(np.std(differences, ddof=1))
    return float(stats.norm.ppf(1 - 0.025 / tests) + stats.norm.ppf(0.8)) * spread / math.sqrt(len(differences))


def values_of(folder: Path, metric: str) -> dict[str, float]:
    """A run's values of one metric by query, from its folder. Raises DatasetError where it is no run's folder."""
    pick(dict.fromkeys(METRICS), metric, "metric")
    file = folder / "per_query.jsonl"
    try:
        rows: Sequence[dict[str, Any]] = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return {row["query"]: float(row[metric]) for row in rows}
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(f"{folder} is not the folder of a run: {file} cannot be read ({error})") from error
