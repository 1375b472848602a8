"""Long work that goes on while people search: one job at a time, in a thread, with counts that the page draws."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ingest.pipeline import Counts, Event
from ingest.progress import DONE
from mmretrieval.errors import LibraryBusy, RetrievalError
from page.notices import attempt, counted

# The rate is that of the last so many seconds: what was fast at first may be slow now, and the other way round.
RATE_SECONDS = 30.0
# Of a rate measured over less than this, no time left is made: it would frighten, or flatter.
STEADY_SECONDS = 3.0
FAILURES_KEPT = 5
# What an ingest does after the last item.
STAGES = {"merge": "joining small files of vectors", "index": "bringing the index up to date"}


class Stopped(RetrievalError):
    """Somebody pressed stop; what was stored until then stays."""


@dataclass
class Job:
    """One piece of work as it goes, an ingest or a proof: written by its own thread only."""

    title: str
    state: Literal["running", "done", "failed", "stopped"] = "running"
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
    # The file that was met last, and what was wrong with the last ones that failed.
    reading: str = ""
    failures: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=FAILURES_KEPT))
    _met: set[str] = field(default_factory=set)
    _steps: deque[tuple[float, int]] = field(default_factory=deque)
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def expected(self) -> int:
        """How many items there are to do; a file whose items are not counted yet stands for one."""
        return self.total + max(self.files - len(self._met), 0)

    @property
    def rate(self) -> float | None:
        """Items a second, of late; None before it can be told."""
        steps = list(self._steps)
        if len(steps) < 2 or (seconds := steps[-1][0] - steps[0][0]) < STEADY_SECONDS:
            return None
        return (steps[-1][1] - steps[0][1]) / seconds

    @property
    def seconds_left(self) -> float | None:
        """How long it takes still if it goes on as of late; None before that can be told."""
        rate = self.rate
        return max(self.expected - self.done, 0) / rate if rate else None

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Tells it to end after the items that are being embedded now."""
        self._stop.set()

    def check(self) -> None:
        """Raises Stopped where it was told to stop."""
        if self.stopping:
            raise Stopped(f"stopped after {counted(self.done, 'item')}; what was stored stays")

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        return 1.0 if self.state == "done" else min(self.done / self.expected, 1.0) if self.expected else 0.0

    @property
    def seconds(self) -> float:
        """How long it has been going, or took."""
        return (self.ended or time.monotonic()) - self.started

    def expect(self, files: int) -> None:
        """Says how many files there are to look at."""
        self.files, self.note = files, ""

    def event(self, event: Event) -> None:
        """Takes in what happened to a file or item. Raises Stopped where the job was told to stop."""
        if event.kind in ("found", "unchanged", "failed", "ignored"):
            self._met.add(event.path)
        if event.kind == "found":
            self.total += event.items
            self.reading, self.note = event.path, ""
        elif event.kind in DONE:
            self.done += event.items
            self.total = max(self.total, self.done)
            self.stored += event.items if event.kind != "unchanged" else 0
            self._count()
        elif event.kind == "failed":
            self.failed += 1
            self.failures.append((event.path, event.reason))
        self.check()

    def checkpoint(self, name: str) -> None:
        """Takes in how far an ingest is with what concerns no single file; raises Stopped only between batches."""
        if name in STAGES:
            self.reading, self.note = "", STAGES[name]
        if name == "ledger":
            self.check()

    def _count(self) -> None:
        now = time.monotonic()
        self._steps.append((now, self.done))
        while now - self._steps[0][0] > RATE_SECONDS:
            self._steps.popleft()


class Board:
    """The page's jobs: the one that runs, or the last that ran."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.job: Job | None = None

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self.job is not None and self.job.state == "running"

    def start(self, title: str, work: Callable[[Job], str], note: str = "counting files") -> Job:
        """Runs `work` in a thread, and notes what it says in the end; LibraryBusy while another of the jobs runs."""
        with self._lock:
            if self._closed:
                raise LibraryBusy("the page is closing: open it again")
            if self.running:
                assert self.job is not None
                raise LibraryBusy(f"this page is still busy with {self.job.title!r}: wait until that has ended")
            self.job = Job(title, note=note)
            self._thread = threading.Thread(target=_run, args=(self.job, work), name="page-job", daemon=True)
            self._thread.start()
            return self.job

    def close(self) -> None:
        """Takes no more jobs, and tells the one that runs to stop."""
        with self._lock:
            self._closed = True
            if self.job is not None:
                self.job.stop()

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
    stopped: list[Stopped] = []

    def until_stopped() -> str:
        try:
            return work(job)
        except Stopped as ended:
            stopped.append(ended)
            return str(ended)

    outcome = attempt(until_stopped)
    job.note = outcome.problem if outcome.value is None else outcome.value
    job.reading, job.ended = "", time.monotonic()
    job.state = "failed" if outcome.value is None else "stopped" if stopped else "done"
