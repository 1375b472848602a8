"""Where the time of a piece of work goes: to one stage after the other, none of it twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypedDict

# What no stage had of the time.
OTHER = "other"
# Stages below so many milliseconds are told with `other`.
TOLD = 0.1
# By the first word of their names, the stages whose work is kept for the searches after this one: a model that was
# loaded and what was fitted ("prepare"), what meaningless queries score ("scale").
ONCE = ("prepare", "scale")


class Spent(TypedDict):
    """A stage and the milliseconds that passed in it."""

    stage: str
    ms: float


class Account(TypedDict):
    """How long something took in all, and the stages of it in the order in which they began, `other` last."""

    seconds: float
    stages: list[Spent]


class Stopwatch:
    """Runs from when it is made; every moment belongs to the stage that is open then, or to `other`.

    A stage inside another one interrupts it, so that the stages add up to the whole. Each piece of work has a watch of
    its own, in one thread: nothing is shared. `now` gives seconds that never fall.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._started = self._booked = now()
        self._spent: dict[str, float] = {}
        self._open: list[str] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What happens inside is time of the stage `name`; one that is met again goes on where it was."""
        self._book()
        self._spent.setdefault(name, 0.0)
        self._open.append(name)
        try:
            yield
        finally:
            self._book()
            self._open.pop()

    def account(self) -> Account:
        """How the time went so far."""
        self._book()
        return {"seconds": round(self._booked - self._started, 4), "stages": _listed(self._spent)}

    def _book(self) -> None:
        now, stage = self._now(), self._open[-1] if self._open else OTHER
        self._spent[stage] = self._spent.get(stage, 0.0) + now - self._booked
        self._booked = now


def added(accounts: Sequence[Mapping[str, Any]]) -> Account:
    """Several pieces of work as one; each is a mapping with what an Account has, as `Run.meta` is."""
    whole: dict[str, float] = {}
    for spent in (one for account in accounts for one in account["stages"]):
        whole[spent["stage"]] = whole.get(spent["stage"], 0.0) + spent["ms"] / 1000
    return {"seconds": round(sum(account["seconds"] for account in accounts), 4), "stages": _listed(whole)}


def apart(account: Mapping[str, Any]) -> tuple[Account, Account]:
    """What of an account was made once and is kept (see ONCE), and what every such search takes; they add up to it.

    The first has no `other`. Whoever finds the work done by somebody else before has little or nothing in it.
    """
    kept: list[Spent] = []
    rest: list[Spent] = []
    for one in account["stages"]:
        (kept if one["stage"].partition(" ")[0] in ONCE else rest).append(one)
    once = sum(one["ms"] for one in kept) / 1000
    # What is rounded by itself can add up to a little more than the whole.
    searching = max(account["seconds"] - once, 0.0)
    return {"seconds": round(once, 4), "stages": kept}, {"seconds": round(searching, 4), "stages": rest}


def in_words(account: Mapping[str, Any]) -> str:
    """The whole and its stages in a line, of what an Account has; what is too short to be told is part of `other`."""
    told = {one["stage"]: one["ms"] for one in account["stages"] if one["ms"] >= TOLD or one["stage"] == OTHER}
    told[OTHER] = told.get(OTHER, 0.0) + sum(one["ms"] for one in account["stages"] if one["stage"] not in told)
    return f"{account['seconds']:.3f} s: {', '.join(f'{stage} {milliseconds(ms)}' for stage, ms in told.items())}"


def milliseconds(ms: float) -> str:
    """`3.2 ms`, `120 ms`."""
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:,.0f} ms"


def _listed(spent: Mapping[str, float]) -> list[Spent]:
    rest = spent.get(OTHER, 0.0)
    ordered = [*((name, seconds) for name, seconds in spent.items() if name != OTHER), (OTHER, rest)]
    return [{"stage": name, "ms": round(1000 * seconds, 3)} for name, seconds in ordered]
