"""The progress bar of an ingest: items done, items a second, time left, failures; on standard error."""

from __future__ import annotations

import sys
import time
from typing import Self

from ingest.pipeline import Event

# How many items must be through before the time left is worth estimating.
STEADY = 64
DONE = frozenset({"stored", "unchanged", "replaced"})


class Progress:
    """Counts events. On a terminal it draws a bar; elsewhere it writes a line every few seconds."""

    def __init__(self, every_seconds: float = 5.0) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.console = Console(file=sys.stderr)
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        ]
        self.bar = Bar(*columns, TimeRemainingColumn(), TextColumn("{task.fields[failures]}"), console=self.console)
        self.every, self.started, self.told = every_seconds, time.monotonic(), time.monotonic()
        self.task = self.bar.add_task("items", total=None, rate="", failures="")
        self.waiting = 0  # files whose number of items is not known yet: each counts one until it is
        self.met: set[str] = set()
        self.total = self.done = self.failed = 0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.bar.stop()

    def expect(self, files: int) -> None:
        """Says how many files there are to look at."""
        self.waiting += files
        self._draw()

    def event(self, event: Event) -> None:
        """Takes in what happened to a file or item."""
        if event.kind in ("found", "failed", "ignored") and event.path not in self.met:
            self.met.add(event.path)
            self.waiting -= 1
        if event.kind == "found":
            self.total += event.items
        elif event.kind in DONE:
            self.done += event.items
        elif event.kind == "failed":
            self.failed += 1
        self._draw()

    def _draw(self) -> None:
        seconds = max(time.monotonic() - self.started, 1e-3)
        rate, failures = f"{self.done / seconds:.1f} items/s", f"{self.failed} failed" if self.failed else ""
        total = max(self.total + max(self.waiting, 0), self.done)
        if self.console.is_terminal:
            self.bar.update(self.task, total=total or None, completed=self.done, rate=rate, failures=failures)
        elif time.monotonic() - self.told > self.every:
            self.told = time.monotonic()
            # The first items wait for encoders to load: an estimate from them would frighten.
            left = f", about {(total - self.done) * seconds / self.done:.0f} s left" if self.done >= STEADY else ""
            self.console.print(f"{self.done}/{total} items, {rate}{left} {failures}".rstrip(), highlight=False)
