"""How often items are retrieved: counts from lists, what can be said of them, and what chance would give.

Lists are places (q, k): for each query its k best items of n, best first. N_k, an item's k-occurrence, is the number of
lists that it is in (Radovanovic, Nanopoulos and Ivanovic, "Hubs in Space", JMLR 2010).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.geometry import Numbers, unit
from mmretrieval.types import Array

Places = npt.NDArray[np.int64]


def occurrences(lists: Places, n: int) -> Places:
    """N_k of each item (n,), from lists (q, k) of places below n."""
    return np.bincount(lists.ravel(), minlength=n).astype(np.int64)


def skewness(counts: npt.NDArray[np.integer] | Numbers) -> float:
    """The third standardised moment of counts (n,): mean of (N - mean)^3 over (mean of (N - mean)^2)^1.5.

    0 for a symmetric distribution, and by convention where all counts are equal. Large where a few items (hubs) are
    retrieved far more often than the rest.
    """
    wide = np.asarray(counts, dtype=np.float64)
    return float(_skewness(wide.sum(), (wide**2).sum(), (wide**3).sum(), len(wide)))


def robin_hood(counts: npt.NDArray[np.integer] | Numbers) -> float:
    """The share of all retrievals that would have to move for every item to be retrieved equally often: in [0, 1).

    Half the sum of |N - mean| over the sum of N (the Hoover index); 0 where nothing was retrieved.
    """
    wide = np.asarray(counts, dtype=np.float64)
    total = wide.sum()
    return float(np.abs(wide - wide.mean()).sum() / (2.0 * total)) if total else 0.0


def by_chance(n: int, q: int, k: int) -> dict[str, float]:
    """What is expected where each of q queries retrieves k < n of n items at random.

    N_k of an item is then binomial with q draws of probability p = k / n, so that its skewness is
    (1 - 2 p) / sqrt(q p (1 - p)) and an item is never retrieved with probability (1 - p)^q. The mean absolute
    deviation behind the Robin Hood index is de Moivre's closed form. The largest of the n counts takes them as
    independent, which they are but for their fixed sum.
    """
    from scipy.special import bdtr

    p = k / n
    nu = int(np.floor(q * p)) + 1
    mass = float(bdtr(nu, q, p) - bdtr(nu - 1, q, p)) if nu <= q else 0.0
    return {
        "skewness": float((1 - 2 * p) / np.sqrt(q * p * (1 - p))),
        "never_retrieved": float((1 - p) ** q),
        "largest_share": float((1.0 - _binomial(q, p) ** n).sum() / q),
        "robin_hood": nu * (1 - p) * mass / (q * p),
        "first_largest_share": float((1.0 - _binomial(q, 1 / n) ** n).sum() / q),
    }


def chance_counts(n: int, q: int, k: int, ranks: Numbers) -> Numbers:
    """The count that stands at each rank (from 1) when n counts of chance are put in falling order, about."""
    upto = _binomial(q, k / n)
    return np.searchsorted(upto, 1.0 - (ranks - 0.5) / n).astype(np.float64)


def _binomial(q: int, p: float) -> Numbers:
    """The probability of x successes at most in q draws, for x from 0 to q - 1."""
    from scipy.special import bdtr

    upto: Numbers = bdtr(np.arange(q, dtype=np.float64), q, p)
    return upto


def alike(rows: Array) -> Places:
    """Which group of equal vectors each row (n, d) is in (n,), from 0: as float32 unit rows, and to the last bit.

    Zero rows are equal to each other.
    """
    groups: dict[bytes, int] = {}
    units = unit(rows) + np.float32(0)  # one zero, not two of different sign
    return np.array([groups.setdefault(row.tobytes(), len(groups)) for row in units], dtype=np.int64)


def shared(counts: Places, groups: Places) -> Numbers:
    """Counts (n,) where equal items, those of one group (n,), share theirs evenly.

    A ranking lists equal items by id, so that the first of them are found more often than the rest whatever is asked.
    What shared counts say is what the vectors make, without the order of ids.
    """
    together = np.bincount(groups, weights=counts) / np.bincount(groups)
    even: Numbers = together[groups]
    return even


@dataclass(frozen=True, eq=False)
class Measure:
    """A number about lists, and by how much each query moves it (q,): influences have mean 0."""

    value: float
    influence: Numbers


def measures(lists: Places, n: int, relevant: Mapping[int, Places] | None = None) -> dict[str, Measure]:
    """What is said of lists (q, k) over n items, q of at least 2.

    `skewness` and `robin_hood` of N_k; `never_retrieved`, the share of items in no list; `largest_share`, the share of
    the lists that the most retrieved item is in; `first_largest_share`, of those that the item most often first leads.
    With `relevant`, the places of the items that answer a query, by query: `found`, the share of the queries there that
    have one of them in their list.

    The first three depend on how many queries there are, and repeated queries look like hubs: so a bootstrap that draws
    queries twice is biased. Their influences are those of leaving one query out (the jackknife, whose variance is too
    large rather than too small by Efron and Stein's inequality), which a resample of queries can average. The other
    influences are those of a mean; the hub is held fixed.
    """
    counts = occurrences(lists, n)
    q, k = lists.shape
    named = counts[lists].astype(np.float64)
    wide = counts.astype(np.float64)
    sums = [wide.sum() - k, (wide**2).sum() - (2 * named - 1).sum(axis=1)]
    sums.append((wide**3).sum() - (3 * named**2 - 3 * named + 1).sum(axis=1))
    never = int((counts == 0).sum())
    mean = (q - 1) * k / n
    moved = np.abs(named - 1 - mean) - np.abs(named - mean)
    robin = (np.abs(wide - mean).sum() + moved.sum(axis=1)) / (2.0 * (q - 1) * k)
    said = {
        "skewness": _without_one(skewness(counts), _skewness(sums[0], sums[1], sums[2], n)),
        "never_retrieved": _without_one(never / n, (never + (named == 1).sum(axis=1)) / n),
        "robin_hood": _without_one(robin_hood(counts), robin),
        "largest_share": _mean((lists == counts.argmax()).any(axis=1)),
        "first_largest_share": _mean(lists[:, 0] == occurrences(lists[:, :1], n).argmax()),
    }
    if relevant:
        said["found"] = _found(lists, n, relevant)
    return said


def _found(lists: Places, n: int, relevant: Mapping[int, Places]) -> Measure:
    """The share of the queries of `relevant` that have a right answer in their list."""
    right = np.concatenate([query * n + places for query, places in relevant.items()])
    known = np.zeros(len(lists), dtype=np.bool_)
    known[list(relevant)] = True
    asked: Places = np.arange(len(lists), dtype=np.int64)[:, None] * n + lists
    found = np.asarray(np.isin(asked, right).any(axis=1))
    value = float(found[known].mean())
    return Measure(value, np.where(known, found - value, 0.0) / known.mean())


def _skewness(first: Numbers | float, second: Numbers | float, third: Numbers | float, n: int) -> Numbers:
    """The skewness of n counts from the sums of their first three powers."""
    mean, square = np.asarray(first) / n, np.asarray(second) / n
    variance = square - mean**2
    moment = np.asarray(third) / n - 3 * mean * square + 2 * mean**3
    # Counts are whole: unless all are equal, they vary by more than rounding.
    spread = variance > 1e-12 * np.maximum(square, 1.0)
    skew: Numbers = np.divide(
        moment, np.where(spread, variance, 1.0) ** 1.5, out=np.zeros(np.broadcast(moment, variance).shape), where=spread
    )
    return skew


def _without_one(value: float, left: Numbers) -> Measure:
    """A number, and its influences from what it is with each query left out."""
    return Measure(value, -(len(left) - 1) * (left - left.mean()))


def _mean(flags: npt.ArrayLike) -> Measure:
    values = np.asarray(flags, dtype=np.float64)
    return Measure(float(values.mean()), values - values.mean())
