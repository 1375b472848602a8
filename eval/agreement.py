"""How alike two rankings of one query are."""

from __future__ import annotations

from collections.abc import Sequence

# How likely a reader goes on to the next place: at 0.9 the first ten places carry some 86 % of the weight.
PERSISTENCE = 0.9


def overlap(left: Sequence[str], right: Sequence[str]) -> float:
    """The share of the longer list that both hold; 1 for two empty lists."""
    longest = max(len(left), len(right))
    return len(set(left) & set(right)) / longest if longest else 1.0


def rank_biased_overlap(left: Sequence[str], right: Sequence[str], p: float = PERSISTENCE) -> float:
    """How alike two rankings are, 0 to 1, earlier places counting more: extrapolated RBO of the common depth.

    Webber, Moffat and Zobel 2010 (A similarity measure for indefinite rankings), equation 23: `p` is the chance that
    a reader goes on to the next place, and the agreement at the last place seen is taken to go on below it.
    """
    depth = min(len(left), len(right))
    if depth == 0:
        return 1.0 if len(left) == len(right) else 0.0
    seen_left: set[str] = set()
    seen_right: set[str] = set()
    total = agreement = 0.0
    for d in range(1, depth + 1):
        seen_left.add(left[d - 1])
        seen_right.add(right[d - 1])
        agreement = len(seen_left & seen_right) / d
        total += agreement * p**d
    return agreement * p**depth + (1 - p) / p * total
