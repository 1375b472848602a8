"""Long work that goes on while people search: one job at a time, in a thread, with counts that the page draws."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ingest.pipeline import Counts, Event
from ingest.progress import DONE
from mmretrieval.errors import LibraryBusy
from page.notices import attempt, counted


@dataclass
class Job:
    """One piece of work as it goes, an ingest or a proof: written by its own thread only."""

    title: str
    state: Literal["running", "done", "failed"] = "running"
    note: str = "counting files"
    files: int = 0
    total: int = 0
    done: int = 0
    stored: int = 0
    failed: int = 0
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    # What came out of it, where that is more than a note.
    found: Any = None
    _met: set[str] = field(default_factory=set)

    @property
    def share(self) -> float:
        """How much is done, 0 to 1; a file whose items are not counted yet stands for one."""
        expected = self.total + max(self.files - len(self._met), 0)
        return 1.0 if self.state == "done" else min(self.done / expected, 1.0) if expected else 0.0

    @property
    def seconds(self) -> float:
        """How long it has been going, or took."""
        return (self.ended or time.monotonic()) - self.started

    def expect(self, files: int) -> None:
        """Says how many files there are to look at."""
        self.files, self.note = files, ""

    def event(self, event: Event) -> None:
        """Takes in what happened to a file or item."""
        if event.kind in ("found", "unchanged", "failed", "ignored"):
            self._met.add(event.path)
        if event.kind == "found":
            self.total += event.items
        elif event.kind in DONE:
            self.done += event.items
            self.total = max(self.total, self.done)
            self.stored += event.items if event.kind != "unchanged" else 0
        elif event.kind == "failed":
            self.failed += 1


class Board:
    """The page's jobs: the one that runs, or the last that ran."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.job: Job | None = None

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self.job is not None and self.job.state == "running"

    def start(self, title: str, work: Callable[[Job], str], note: str = "counting files") -> Job:
        """Runs `work` in a thread, and notes what it says in the end; LibraryBusy while another of the jobs runs."""
        with self._lock:
            if self.running:
                assert self.job is not None
                raise LibraryBusy(f"this page is still busy with {self.job.title!r}: wait until that has ended")
            self.job = Job(title, note=note)
            self._thread = threading.Thread(target=_run, args=(self.job, work), name="page-job", daemon=True)
            self._thread.start()
            return self.job

    def wait(self, seconds: float | None = None) -> None:
        """Returns when the job that runs has ended, or after so many seconds."""
        if self._thread is not None:
            self._thread.join(seconds)


def said(counts: Counts) -> str:
    """What an ingest did, in a few words."""
    note = (
        f"{counted(counts.stored, 'item')} new, {counts.replaced} replaced, {counts.unchanged} unchanged, "
        f"{counts.failed} failed"
    )
    if counts.ignored:
        note += f", {counted(counts.ignored, 'file')} passed over: no picture, video, document or text"
    return note


def _run(job: Job, work: Callable[[Job], str]) -> None:
    outcome = attempt(lambda: work(job))
    job.note = outcome.problem if outcome.value is None else outcome.value
    job.ended = time.monotonic()
    job.state = "failed" if outcome.value is None else "done"
