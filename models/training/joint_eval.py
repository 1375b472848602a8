"""Judging composed queries: where the one right picture stands, for a joint encoder and for arithmetic on vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.training.drawing import Drawing
from models.training.joint_pairs import Pair

Rows = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """Ranks (from 1) of the right pictures among `candidates` each, ties counted against."""

    ranks: npt.NDArray[np.int64]
    candidates: int

    def hit(self, depth: int) -> float:
        """The share of queries with the right picture among the first `depth`."""
        return float((self.ranks <= depth).mean())

    def chance(self, depth: int) -> float:
        """The same share for a ranking by lot."""
        return depth / self.candidates


def judge(queries: Rows, gallery: Rows, pairs: Sequence[Pair], places: Sequence[int]) -> Judged:
    """Ranks by dot product; `places` are the drawings that the gallery's rows show; a query's own is left out."""
    column = {place: at for at, place in enumerate(places)}
    scores = queries.astype(np.float64) @ gallery.astype(np.float64).T
    rows = np.arange(len(pairs))
    scores[rows, [column[p.query] for p in pairs]] = -np.inf
    right = scores[rows, [column[p.target] for p in pairs]]
    return Judged((scores >= right[:, None]).sum(1), len(places) - 1)


def mixed(pictures: Rows, texts: Rows, weight: float) -> Rows:
    """The unit sum of unit vectors, (1 - weight) picture + weight text."""
    rows = (1 - weight) * pictures + weight * texts
    found: Rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return found


def interval(
    one: Flags, other: Flags, concepts: Sequence[str], seed: int = 0, draws: int = 2000
) -> tuple[float, float]:
    """The 95 % bootstrap interval of mean(one) - mean(other), paired; whole concepts are drawn, as theirs agree."""
    names, owner = np.unique(concepts, return_inverse=True)
    difference = np.bincount(owner, one.astype(float) - other.astype(float), len(names))
    count = np.bincount(owner, minlength=len(names)).astype(float)
    drawn = np.random.default_rng(seed).integers(0, len(names), (draws, len(names)))
    means = difference[drawn].sum(1) / count[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def sampled(pairs: Sequence[Pair], drawings: Sequence[Drawing], most: int, seed: int = 0) -> list[Pair]:
    """At most `most` pairs, taken in turn from each concept so that none speaks for all."""
    chance = np.random.default_rng(seed)
    by_concept: dict[str, list[Pair]] = {}
    for place in chance.permutation(len(pairs)):
        by_concept.setdefault(drawings[pairs[place].query].concept, []).append(pairs[place])
    found: list[Pair] = []
    while by_concept and len(found) < most:
        for concept in list(by_concept):
            found.append(by_concept[concept].pop())
            if not by_concept[concept]:
                del by_concept[concept]
    return found[:most]
