"""Which pairs a diagnostic looks at, and how sure it can be: sampling, resampling, intervals."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.subject import items
from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import Numbers
from mmretrieval.types import Array

RESAMPLES = 1000
# Below so many items a bootstrap interval is too narrow to be trusted (and is a point where all agree).
FEW = 30
# Counts of resamples held at once: 2**24 float32 are 64 MB.
COUNTS_AT_ONCE = 2**24


def caution(items: int) -> str:
    """What a finding over so few items must add; nothing from FEW on."""
    if items >= FEW:
        return ""
    return f" With only {items} items the intervals say little: add more before you rely on them."


@dataclass(frozen=True, eq=False)
class Sample:
    """The items looked at: their ids, their rows by view (n, d), and what the draw was made from."""

    ids: tuple[str, ...]
    rows: Mapping[str, Array]
    basis: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.ids)


def chosen(n: int, sample: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Which of n are looked at, rising: `sample` of them drawn without replacement by `seed`; None is all."""
    if sample is None or n <= sample:
        return np.arange(n, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(n, size=sample, replace=False)).astype(np.int64)


def draw(
    rows: Mapping[str, Array],
    ids: Sequence[str],
    least: int,
    seed: int,
    sample: int | None,
    more: str = "add pictures with captions, or documents",
) -> Sample:
    """At most `sample` items (None: all), drawn without replacement by `seed`, less those with a zero row in any view.

    Raises RetrievalError, with `more` as the way out, where fewer than `least` are left, and ValueError where the rows
    are not paired.
    """
    for view, values in rows.items():
        if len(values) != len(ids):
            raise ValueError(f"{len(values)} {view} rows do not pair with {len(ids)} ids")
    drawn = chosen(len(ids), sample, seed)
    taken = {view: np.asarray(values[drawn]) for view, values in rows.items()}
    whole = np.logical_and.reduce([values.any(axis=1) for values in taken.values()])
    if whole.sum() < least:
        raise RetrievalError(
            f"{items(int(whole.sum()))} a vector with a direction in every view that is compared, and this needs at "
            f"least {least}: {more}"
        )
    basis = {
        "n": int(whole.sum()),
        "of": len(ids),
        "zero_rows": int(len(drawn) - whole.sum()),
        "seed": seed,
        "sample": sample,
        "versions": versions(),
    }
    kept = tuple(ids[i] for i in drawn[whole])
    return Sample(kept, {view: values[whole] for view, values in taken.items()}, basis)


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python, numpy and these packages: what a number may depend on."""
    from importlib.metadata import version

    return {"python": platform.python_version(), "numpy": np.__version__} | {name: version(name) for name in packages}


def resamples(n: int, seed: int, count: int = RESAMPLES) -> npt.NDArray[np.float32]:
    """How often each of n items was drawn in `count` draws of n with replacement: (count, n)."""
    return np.concatenate(list(resample_blocks(n, seed, count)))


def resample_blocks(n: int, seed: int, count: int = RESAMPLES) -> Iterator[npt.NDArray[np.float32]]:
    """The rows of `resamples` in blocks, so that memory stays bounded whatever n is."""
    generator = np.random.default_rng([seed, n])
    step = max(1, COUNTS_AT_ONCE // n)
    for start in range(0, count, step):
        counts = np.empty((min(step, count - start), n), dtype=np.float32)
        for row in counts:
            row[:] = np.bincount(generator.integers(0, n, size=n), minlength=n)
        yield counts


def interval(values: Numbers) -> tuple[float, float]:
    """The middle 95 % of the values that resamples gave (percentile bootstrap); resamples without one are left out."""
    low, high = np.percentile(values[np.isfinite(values)], [2.5, 97.5])
    return float(low), float(high)


def unseen(values: Numbers, least: float = 0.0, most: float = 1.0) -> tuple[float, float] | None:
    """Where the mean of n values (n,) between `least` and `most` may lie though all of them are alike, v; else None.

    Resamples of such values are alike too, as if v were sure. But at most q = 1 - 0.025 ** (1 / n) of the values not
    seen differ, with 95 % confidence (Clopper and Pearson 1934, for 0 of n), and none by more than the bounds allow, so
    that the mean lies between (1 - q) v + q least and (1 - q) v + q most.
    """
    if not len(values) or np.ptp(values) > 0:
        return None
    same, differ = float(values[0]), 1.0 - 0.025 ** (1.0 / len(values))
    return same + differ * (least - same), same + differ * (most - same)


def share_interval(values: Numbers, drawn: Numbers, least: float = 0.0, most: float = 1.0) -> tuple[float, float]:
    """The 95 % interval of a share, the mean of n values (n,) between `least` and `most`, from what resamples gave.

    The percentile bootstrap's, and where all n are alike wide enough for what was not seen (see `unseen`).
    """
    spans = [interval(drawn), *filter(None, [unseen(values, least, most)])]
    return min(low for low, _ in spans), max(high for _, high in spans)


def student(values: Numbers) -> tuple[Numbers, Numbers]:
    """The 95 % interval of the mean of m > 1 independent values (..., m) by Student's t: low and high, each (...).

    It holds the truth as often as it says from two values on, where a bootstrap of so few is far too narrow.
    """
    mean, error = values.mean(axis=-1), values.std(axis=-1, ddof=1) / np.sqrt(values.shape[-1])
    width = student_quantile(values.shape[-1] - 1) * error
    return mean - width, mean + width


def student_quantile(freedom: int) -> float:
    """How many standard deviations hold 95 % of Student's t with so many degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def means(values: Numbers, counts: npt.NDArray[np.float32]) -> Numbers:
    """The mean of n values in each resample: (count,); of each row of values (..., n): (..., count)."""
    wide = counts.astype(np.float64)
    averages: Numbers = values @ wide.T / wide.sum(axis=1)
    return averages
