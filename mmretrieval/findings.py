"""What a diagnostic says: a sentence, numbers with intervals, plots as values, items to look at, what to try next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Mark = Literal["line", "points", "bars", "links"]


@dataclass(frozen=True)
class Trace:
    """One named thing in a plot: `x` and `y` of equal length, in the units that the plot's axes name.

    `low` and `high` are a 95 % band around `y`. `labels` say what each point is; where `items` is true they are ids of
    items. "links" draws a line from each point of even place to the one after it.
    """

    name: str
    x: tuple[float | str, ...]
    y: tuple[float, ...]
    mark: Mark = "line"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    items: bool = False


@dataclass(frozen=True)
class Plot:
    """A plot as a value: `x` and `y` name the axes with their units, `note` says how to read it.

    `square`: a length means the same along both axes. `dashed` are vertical lines, by what they mark. `percent` says
    which axes ("x", "y", "xy") show shares as percentages; `log` the same for logarithmic axes. `zero`: 0 is a place to
    compare with, and is shown with a line however far from it all y are.
    """

    name: str
    title: str
    x: str
    y: str
    traces: tuple[Trace, ...]
    note: str = ""
    square: bool = False
    dashed: Mapping[str, float] = field(default_factory=dict)
    percent: str = ""
    log: str = ""
    zero: bool = False


@dataclass(frozen=True)
class Exhibit:
    """Items to look at, in a table: in each row the ids of one or more items, then a value for each column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[float | str, ...]], ...]


@dataclass(frozen=True)
class Finding:
    """What a diagnostic says: one plain sentence, numbers with 95 % intervals, plots, and what to try next.

    A number's name may hold one dot, as in "centered.alignment", for a group of numbers. A number that has no value
    here is None. `basis` holds n (how many items, pairs or queries), seed, what was sampled, and versions. `advice` is
    a sentence, `stages` are stages of a recipe that could help, as they are written in one. `absent` are sentences that
    stand for plots and tables of items that would be empty.
    """

    diagnostic: str
    sentence: str
    numbers: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    plots: tuple[Plot, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    advice: str = ""
    stages: tuple[str, ...] = ()
    basis: Mapping[str, Any] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
