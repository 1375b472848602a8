"""A stage of a recipe as its table has it: what runs, what it takes, what people are told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from mmretrieval.types import Correction, Found, Transform

F = TypeVar("F")


@dataclass(frozen=True)
class Parameter:
    """One argument after a colon. `meaning` is what it says, as in "how many items are read"; `unit` what it counts."""

    name: str
    meaning: str
    default: float
    low: float
    high: float
    whole: bool = False
    unit: str = ""


@dataclass(frozen=True)
class StageRow(Generic[F]):
    """One row of a stage table: what runs, what it does, takes and is fitted to ("" for nothing), and whose it is."""

    run: F
    promise: str
    parameters: tuple[Parameter, ...] = ()
    fitted: str = ""
    source: str = ""


# Fuser: lists and their weights, *arguments -> one list.
Fuser: TypeAlias = Callable[..., Found]


@dataclass(frozen=True, eq=False)
class Reordered:
    """What a reranker returns for a list of n: `order` (a permutation of 0..n-1) and each item's new score.

    `scores[i]` belongs to the item that stood at place i before, and is NaN where the reranker had no say.
    """

    order: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]


# Reranker: query row (d,), {view: (rows (n, d), present (n,))} in the list's order, *arguments -> Reordered.
Reranker: TypeAlias = Callable[..., Reordered]
# Reader: a ContentReranker, the query's parts, place -> content of that item or None, n, *arguments -> Reordered.
Reader: TypeAlias = Callable[..., Reordered]
# A transform's or correction's `run`: mmretrieval.reference.Reference, *arguments -> what was fitted on it.
TransformFit: TypeAlias = Callable[..., Transform]
CorrectionFit: TypeAlias = Callable[..., Correction]
