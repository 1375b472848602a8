"""How often the sum of two items' questions finds exactly those two, among few items and among all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.asking import called
from mmretrieval.diagnostics.free import pairs_of
from mmretrieval.diagnostics.sampling import RESAMPLES, interval
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.diagnostics.viewed import Viewed
from mmretrieval.findings import Plot, Trace
from mmretrieval.geometry import Numbers, blocks, directions

# Random draws of items at each size, pairs taken from each, and pairs asked of all items.
DRAWN, PAIRS, PAIRS_OF_ALL = 100, 60, 2000
SIZES = (4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, eq=False)
class Asking:
    """What can ask for items: unit rows (m, d) of questions, and the places (m,) of the items that they ask for."""

    label: str
    rows: Numbers
    places: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reach:
    """Shares of pairs that were found; `asked` says by what, empty where nothing can ask."""

    asked: str
    numbers: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]]
    plot: Plot
    basis: Mapping[str, Any] = field(default_factory=dict)


def reached(subject: Subject, seen: Viewed, items: int, seed: int) -> Reach:
    """The share of pairs of items that are exactly the top 2 of the sum of the two's unit rows, by who asks.

    "words" are the first question whose one answer is the item, where `items` items have one, or else the item's row
    of the first other view than the searched and the joint one; "own" the item's own row. Scores are cosines with the
    searched view. Only items that words can ask for are asked for and searched; all, where there are no words.
    "words.alone" is the share of single questions that put their item first: a sum can hardly do better than both.
    """
    unit = directions(seen.rows)
    words = _words(subject, seen, items)
    inside = np.arange(len(unit)) if words is None else words.places
    sides = {"own": (unit[inside], unit[inside])} | ({} if words is None else {"words": (words.rows, unit[inside])})
    numbers: dict[str, float | None] = dict.fromkeys(
        [f"{s}.{n}" for s in ("words", "own") for n in ("reached", "reached_all")]
    )
    intervals: dict[str, tuple[float, float]] = {}
    curves: dict[str, list[tuple[int, float, tuple[float, float]]]] = {}
    for side, (asking, searched) in sides.items():
        sizes = [n for n in sorted({*SIZES, items}) if n < len(searched)]
        curves[side] = [(n, *_among(asking, searched, n, seed)) for n in sizes]
        curves[side].append((len(searched), *_among_all(asking, searched, seed)))
        at = {n: (value, span) for n, value, span in curves[side]}
        numbers[f"{side}.reached"], intervals[f"{side}.reached"] = at[min(items, len(searched))]
        numbers[f"{side}.reached_all"], intervals[f"{side}.reached_all"] = at[len(searched)]
    numbers["words.alone"] = None
    if words is not None:
        size = min(items, len(inside))
        numbers["words.alone"], intervals["words.alone"] = _alone(words.rows, unit[inside], size, seed)
    return Reach(
        "" if words is None else words.label,
        numbers,
        intervals,
        _plot(subject, curves, "" if words is None else words.label),
        {
            "asked_for": len(inside),
            "asked_by": None if words is None else words.label,
            "drawn": DRAWN,
            "resamples": RESAMPLES,
        },
    )


def found(asking: Numbers, searched: Numbers, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether each pair (m, 2) of `searched` (n, d) is the top 2 of the sum of its two rows of `asking`; ties lose."""
    hits = np.empty(len(pairs), dtype=np.bool_)
    for block in blocks(len(pairs), 256):
        here = pairs[block]
        scores = (asking[here[:, 0]] + asking[here[:, 1]]) @ searched.T
        rows = np.arange(len(here))[:, None]
        wanted = scores[rows, here].min(axis=1)
        scores[rows, here] = -np.inf
        hits[block] = wanted > scores.max(axis=1)
    return hits


def _words(subject: Subject, seen: Viewed, items: int) -> Asking | None:
    place = {item: i for i, item in enumerate(seen.ids)}
    if subject.questions is not None:
        rows: dict[int, Numbers] = {}
        unit = directions(subject.questions.rows)
        for row, relevant in zip(unit, subject.questions.relevant, strict=True):
            item = place.get(next(iter(relevant))) if len(relevant) == 1 else None
            if item is not None and row.any():
                rows.setdefault(item, row)
        if len(rows) >= items:
            places = np.array(sorted(rows), dtype=np.int64)
            kinds = dict.fromkeys(subject.questions.kinds)
            label = " or ".join(called(kind, subject.questions.captions) for kind in kinds)
            return Asking(label, np.stack([rows[p] for p in places.tolist()]), places)
    for view, matrix in subject.views.items():
        if view in ("joint", subject.searched):
            continue
        there = matrix.places(seen.ids)
        held = np.flatnonzero(there >= 0)
        unit = directions(matrix.rows[there[held]])
        held, unit = held[unit.any(axis=1)], unit[unit.any(axis=1)]
        if len(held) >= items:
            return Asking(subject.label(view), unit, held.astype(np.int64))
    return None


def _among(asking: Numbers, searched: Numbers, n: int, seed: int) -> tuple[float, tuple[float, float]]:
    """The share found among n random items, the mean over draws of them, and its bootstrap interval over the draws."""
    chance = np.random.default_rng([seed, len(searched), n, 9])
    pairs, shares = pairs_of(n), np.empty(DRAWN)
    for draw in range(DRAWN):
        chosen = chance.choice(len(searched), size=n, replace=False)
        some = pairs if len(pairs) <= PAIRS else pairs[chance.choice(len(pairs), size=PAIRS, replace=False)]
        shares[draw] = found(asking[chosen], searched[chosen], some).mean()
    return float(shares.mean()), _spread(shares, chance)


def _alone(asking: Numbers, searched: Numbers, n: int, seed: int) -> tuple[float, tuple[float, float]]:
    """The share of single rows of `asking` that put their own item first among n random items; as `_among`."""
    chance, shares = np.random.default_rng([seed, len(searched), n, 14]), np.empty(DRAWN)
    for draw in range(DRAWN):
        chosen = chance.choice(len(searched), size=n, replace=False)
        scores = asking[chosen] @ searched[chosen].T
        own = scores.diagonal().copy()
        np.fill_diagonal(scores, -np.inf)
        shares[draw] = (own > scores.max(axis=1)).mean()
    return float(shares.mean()), _spread(shares, chance)


def _among_all(asking: Numbers, searched: Numbers, seed: int) -> tuple[float, tuple[float, float]]:
    """The share of (at most 2,000 random) pairs found among all, and its bootstrap interval over the pairs."""
    chance, n = np.random.default_rng([seed, len(searched), 10]), len(searched)
    if n * (n - 1) // 2 <= PAIRS_OF_ALL:
        pairs = pairs_of(n)
    else:
        first = chance.integers(0, n, size=PAIRS_OF_ALL)
        pairs = np.stack([first, (first + chance.integers(1, n, size=PAIRS_OF_ALL)) % n], axis=1)
    hits = found(asking, searched, pairs).astype(np.float64)
    return float(hits.mean()), _spread(hits, chance)


def _spread(values: Numbers, chance: np.random.Generator) -> tuple[float, float]:
    n = len(values)
    means = np.array([values[chance.integers(0, n, size=n)].mean() for _ in range(RESAMPLES)])
    low, high = interval(means)
    return min(low, float(values.mean())), max(high, float(values.mean()))


def _plot(subject: Subject, curves: Mapping[str, list[tuple[int, float, tuple[float, float]]]], label: str) -> Plot:
    names = {"own": f"sum of two {subject.label(subject.searched)}", "words": f"sum of two {label}"}
    return Plot(
        "reached",
        "Pairs that the queries at hand find",
        "items searched (count)",
        "pairs that are exactly the top 2 (share)",
        tuple(
            Trace(
                names[side],
                tuple(n for n, _, _ in curve),
                tuple(value for _, value, _ in curve),
                low=tuple(low for _, _, (low, _) in curve),
                high=tuple(high for _, _, (_, high) in curve),
            )
            for side, curve in curves.items()
        ),
        note="A query is the sum of what asks for each of two items; it must rank these two above all others. "
        "Bands are 95 % intervals.",
        percent="y",
        log="x",
    )
