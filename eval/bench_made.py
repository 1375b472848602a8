"""What both benches that make their own vectors share: rows of length one, a clock, and what a report states."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmretrieval.provenance import versions
from mmretrieval.types import Array

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def seconds(self, digits: int = 2) -> float:
        """So many seconds have passed, rounded."""
        return round(time.perf_counter() - self._started, digits)


def of_length_one(rows: npt.NDArray[Any]) -> Array:
    """The rows, none of which may be 0, as float32 of length 1."""
    unit: Array = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def report(n: int, made: DataclassInstance, found: Mapping[str, Any], clock: Clock) -> dict[str, Any]:
    """What a bench found, with how much was made of which sizes, by which versions, and in how many seconds."""
    stated: dict[str, Any] = {"n": n, "made": asdict(made), "versions": versions()}
    return stated | dict(found) | {"seconds": clock.seconds(1)}
