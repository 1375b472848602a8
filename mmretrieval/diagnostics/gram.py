"""GRAM volume as a sign of agreement: do vectors that belong together span less than vectors mixed up?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.sampling import RESAMPLES, caution, draw, interval, means, resamples
from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import Numbers, blocks, directions, gram_factors, gram_volume
from mmretrieval.types import Array, Finding, View

BINS = 40


def gram(
    views: Mapping[View, Array],
    ids: Sequence[str],
    *,
    queries: Array | None = None,
    seed: int = 0,
    sample: int = 10_000,
) -> Finding:
    """Volumes of matched tuples against shuffled ones, and how often the matched one is the smaller.

    A tuple is an item's own views, from paired rows (n, d); with `queries` (n, d), row i asking for item i, it is
    (query, views). Shuffled tuples take each view but the first from another item, no two from the same; with
    queries, the item stays whole and the query is another item's. Of two rows the volume is the sine of their angle,
    which does not tell a match from its opposite: the sentence says so, and `opposed_matched` is the share of tuples
    in which some cosine is negative. Numbers: volume_matched, volume_shuffled (means); auc, the share of (matched,
    shuffled) comparisons in which the matched volume is the smaller, ties counting half: 0.5 is chance, 1 best. With
    queries also the factors of the volume (see `gram_factors`): own_volume, which no query can change, sine_matched,
    sine_shuffled and auc_sine, which is what `span` ranks by.
    Intervals are 95 % percentile bootstrap over items, for the one shuffle that `seed` gives. Series: `volumes`, a
    histogram of shares over [0, 1]. Raises RetrievalError where there are fewer than two rows in a tuple, or fewer
    items than rows in a tuple (at least 4).
    """
    names: tuple[str, ...] = (("query",) if queries is not None else ()) + tuple(views)
    if len(names) < 2:
        raise RetrievalError(
            f"a volume needs at least two vectors of an item, and this space has only {' and '.join(names) or 'none'}: "
            f"add captions, or give queries"
        )
    rows: dict[str, Array] = dict(
        zip(names, ([] if queries is None else [queries]) + list(views.values()), strict=True)
    )
    drawn = draw(rows, ids, max(4, len(names)), seed, sample)
    matched = np.stack([drawn.rows[name] for name in names], axis=1)
    shuffled = _shuffle(matched, seed, whole=queries is not None)
    counts = resamples(len(drawn), seed)
    numbers, intervals = _compare("volume", "auc", gram_volume(matched), gram_volume(shuffled), counts)
    numbers |= {"opposed_matched": _opposed(matched), "opposed_shuffled": _opposed(shuffled)}
    if queries is not None:
        own, sines = gram_factors(matched[:, 0], matched[:, 1:])
        more, more_intervals = _compare(
            "sine", "auc_sine", sines, gram_factors(shuffled[:, 0], shuffled[:, 1:])[1], counts
        )
        numbers |= more | {"own_volume": float(own.mean())}
        intervals |= more_intervals | {"own_volume": interval(means(own, counts))}
    return Finding(
        diagnostic="gram",
        sentence=_sentence(len(drawn), names, numbers, intervals),
        numbers=numbers,
        intervals=intervals,
        series={"volumes": _histogram(gram_volume(matched), gram_volume(shuffled))},
        basis=dict(drawn.basis)
        | {
            "tuple": list(names),
            "pairs": len(drawn),
            "shuffled": "query" if queries is not None else "every view but the first",
            "intervals": "95 % percentile bootstrap over items",
            "resamples": RESAMPLES,
        },
    )


def smaller_share(matched: Numbers, shuffled: Numbers, counts: npt.NDArray[np.float32] | None = None) -> Numbers:
    """The share of comparisons of a matched (n,) with a shuffled (m = n,) value that the matched wins by being smaller.

    Ties count half: the area under the ROC curve. One number for each row of counts (c, n), all 1 by default.
    """
    w = np.ones((1, len(matched)), dtype=np.float32) if counts is None else counts
    order = np.argsort(shuffled, kind="stable")
    below = np.searchsorted(shuffled[order], matched, side="left")
    upto = np.searchsorted(shuffled[order], matched, side="right")
    shares = np.empty(len(w))
    for i, weight in enumerate(w.astype(np.float64)):
        running = np.concatenate([[0.0], np.cumsum(weight[order])])
        wins = running[-1] - 0.5 * (running[below] + running[upto])
        shares[i] = weight @ wins / running[-1] ** 2
    return shares


def _compare(
    name: str, auc: str, matched: Numbers, shuffled: Numbers, counts: npt.NDArray[np.float32]
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    numbers = {
        f"{name}_matched": float(matched.mean()),
        f"{name}_shuffled": float(shuffled.mean()),
        auc: float(smaller_share(matched, shuffled)[0]),
    }
    intervals = {
        f"{name}_matched": interval(means(matched, counts)),
        f"{name}_shuffled": interval(means(shuffled, counts)),
        auc: interval(smaller_share(matched, shuffled, counts)),
    }
    return numbers, intervals


def _shuffle(tuples: Array, seed: int, whole: bool) -> Array:
    """Tuples (n, k, d) whose rows come from k different items each, or (`whole`) whose first row comes from another.

    Steps of 1, 2 ... along one random cycle through all items: no item keeps its own, and no two steps meet.
    """
    n, k, _ = tuples.shape
    cycle = np.random.default_rng([seed, n, 3]).permutation(n)
    place = np.empty(n, dtype=np.int64)
    place[cycle] = np.arange(n)
    steps = [1] + [0] * (k - 1) if whole else list(range(k))
    return np.stack([tuples[cycle[(place + step) % n], j] for j, step in enumerate(steps)], axis=1)


def _opposed(tuples: Array) -> float:
    """The share of tuples (n, k, d) in which some two rows have a negative cosine."""
    opposed = 0
    for block in blocks(len(tuples)):
        wide = directions(tuples[block])
        opposed += int((np.einsum("nid,njd->nij", wide, wide).min(axis=(1, 2)) < 0).sum())
    return opposed / len(tuples)


def _histogram(matched: Numbers, shuffled: Numbers) -> dict[str, Any]:
    edges = np.linspace(0.0, 1.0, BINS + 1)
    return {
        "edges": edges.tolist(),
        "matched": (np.histogram(matched, edges)[0] / len(matched)).tolist(),
        "shuffled": (np.histogram(shuffled, edges)[0] / len(shuffled)).tolist(),
    }


def _sentence(
    n: int, names: Sequence[str], numbers: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]
) -> str:
    low, high = intervals["auc"]
    said = (
        f"Over {n} items, the volume of matched ({', '.join(names)}) is smaller than that of shuffled ones in "
        f"{numbers['auc']:.0%} of comparisons (95 % interval {low:.0%} to {high:.0%}; 50 % is chance)."
    )
    if len(names) == 2:
        said += " With two vectors the volume is the sine of their angle, so it cannot tell agreement from opposition."
    if "own_volume" in numbers:
        said += (
            f" The part of it that depends on the query, its sine to the item's span, does so in "
            f"{numbers['auc_sine']:.0%}."
        )
    return said + caution(n)
