"""Jobs as they go: how much, how fast, how long still, and how they end when somebody stops them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingest.pipeline import Event, ingest
from ingest.walk import walk
from mmretrieval.errors import LibraryBusy, RetrievalError
from mmretrieval.library import Library
from page import jobs
from page.jobs import Board, Job, Stopped
from page.library import tab as library
from page.prove import findings
from page.state import Page
from tests.page.conftest import draw


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(jobs, "time", moved)
    return moved


def test_the_rate_is_of_late_and_gives_the_time_left(clock: Clock) -> None:
    job = Job("a folder", started=clock.now)
    job.expect(100)
    for n in range(100):
        job.event(Event("found", f"{n}.png", 1))
    for _ in range(2):
        clock.now += 1.0
        job.event(Event("stored", "x.png", 1))
    assert job.rate is None and job.seconds_left is None, "two seconds are too short to tell"
    for _ in range(8):
        clock.now += 1.0
        job.event(Event("stored", "x.png", 1))
    assert job.rate == pytest.approx(1.0) and job.seconds_left == pytest.approx(90.0)
    for _ in range(40):  # twice as quick from now on: after half a minute only that counts
        clock.now += 1.0
        job.event(Event("stored", "x.png", 2))
    assert job.rate == pytest.approx(2.0) and job.seconds_left == pytest.approx(5.0)
    assert (job.done, job.expected, job.share) == (90, 100, 0.9)


def test_a_running_job_says_what_it_reads_and_what_failed() -> None:
    job = Job("a folder")
    job.expect(10)
    job.event(Event("found", "/media/<b>one</b>.png", 1))
    for n in range(7):
        job.event(Event("failed", f"/media/{n}.png", 1, "the picture cannot be decoded"))
    said = library.progress(job)
    assert "reading /media/&lt;b&gt;one&lt;/b&gt;.png" in said
    assert "7 files could not be read (the last 5)" in said and "/media/6.png: the picture cannot" in said
    assert "/media/1.png" not in said and "0 of 3 items" in said
    job.checkpoint("index")
    assert "bringing the index up to date" in library.progress(job) and not job.reading


def test_a_job_ends_where_it_was_told_to_stop() -> None:
    board, begun, go = Board(), threading.Event(), threading.Event()

    def work(job: Job) -> str:
        job.expect(2)
        job.event(Event("stored", "a.png", 1))
        begun.set()
        go.wait(30)
        job.event(Event("stored", "b.png", 1))
        return "all of it"

    job = board.start("the first", work)
    begun.wait(30)
    job.stop()
    assert job.stopping and "stopping" in library.progress(job)
    go.set()
    board.wait()
    assert job.state == "stopped" and job.note == "stopped after 2 items; what was stored stays"
    assert "Stopped: " in library.progress(job)


@pytest.mark.parametrize("name", ["part", "merge", "merged", "index", "indexed"])
def test_between_a_part_and_the_ledger_nothing_stops(name: str) -> None:
    job = Job("a folder")
    job.stop()
    job.checkpoint(name)
    with pytest.raises(Stopped):
        job.checkpoint("ledger")


def test_what_was_stored_before_a_stop_stays_and_the_rest_comes_the_next_time(own: Page, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(40):  # a batch and some
        draw(folder / f"{n:02}.png", (6 * n, 255 - 6 * n, 90))
    before = own.library.status().items

    def work(job: Job) -> str:
        def stopping(name: str) -> None:
            if name == "ledger":
                job.stop()
            job.checkpoint(name)

        sources = list(walk([folder]))
        job.expect(len(sources))
        ingest(own.library, sources, workers=1, on_event=job.event, checkpoint=stopping)
        raise AssertionError("it was to stop")

    job = own.board.start("many", work)
    own.board.wait()
    assert job.state == "stopped", job.note
    stored = own.library.status().items - before
    assert 0 < stored < 40
    own.add_folder(str(folder))
    own.board.wait()
    again: Any = own.board.job
    assert again.state == "done" and own.library.status().items == before + 40
    assert f"{stored} unchanged" in again.note


def test_nothing_to_stop_is_said(own: Page) -> None:
    with pytest.raises(RetrievalError, match="nothing is being ingested"):
        own.stop()


def test_a_page_that_closes_ends_what_it_does_and_begins_nothing(
    made: Path, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they start processes, and write, while the page's own process ends."""
    begun, tick = threading.Semaphore(0), threading.Event()

    def work(job: Job) -> str:
        begun.release()
        while True:
            job.check()
            tick.wait(0.01)

    def look(_page: Page, _asked: findings.Wanted, say: Callable[[str], None]) -> None:
        begun.release()
        while True:
            say("reading the dataset")
            tick.wait(0.01)

    monkeypatch.setattr(findings, "look", look)
    page = Page(Library.open(made))
    ended = [board.start("without end", work) for board in (page.board, page.proofs)]
    tasks = [page.findings.ask(findings.wanted(page, "hashing@visual", name)) for name in ("gap", "hubness")]
    assert all(begun.acquire(timeout=30) for _ in range(3)), "a job, a proof, and one of the diagnoses"
    page.close()
    assert [job.state for job in ended] == ["stopped"] * 2
    assert [task.problem for task in tasks] == ["the page is closing: open it again"] * 2
    for begins in (
        lambda: page.add_folder(str(tmp_path)),
        lambda: page.proofs.start("another", work),
        lambda: page.readers,
        lambda: page.findings.ask(tasks[0].wanted),
    ):
        with pytest.raises(LibraryBusy, match="closing"):
            begins()
