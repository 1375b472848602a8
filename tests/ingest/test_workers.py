"""A file that hangs, crashes or devours memory costs itself only; what workers load stays small."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from ingest.workers import Workers, read, scan, scan_text
from mmretrieval.errors import MediaError, UnknownName
from mmretrieval.types import Cut, Settings
from tests.assets.make_assets import read_frame_number

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "tests" / "assets"


# Tasks must be found by name in the workers, so they stand at module level.


def crash() -> None:
    ctypes.string_at(0)  # a segmentation fault, as a broken decoder would make it


def leave() -> None:
    os._exit(3)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    while True:
        pass


def hang_deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang()


def devour() -> int:
    return len(bytearray(8 * 2**30))


def stumble() -> None:
    raise KeyError("no such box")


def refuse() -> None:
    raise MediaError("a reason: a way out")


def unknown() -> None:
    raise UnknownName("no video reader is called 'x'")


def twice(number: int) -> int:
    return 2 * number


def loaded() -> list[str]:
    return sorted({name.split(".")[0] for name in sys.modules})


def limit() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0]


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(2, seconds=1.0, memory_mb=3000) as pool:
        yield pool


@pytest.fixture(scope="module")
def readers() -> Iterator[Workers]:
    """Workers with time to load what reads a file, however busy the machine is."""
    with Workers(1) as pool:
        yield pool


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (crash, r"the reader process died \(signal 11, SIGSEGV\)"),
        (be_killed, r"the reader process died \(signal 9, SIGKILL\)"),
        (leave, r"the reader process died \(exit status 3\)"),
        (hang, r"took longer than 1 s"),
        (hang_deaf, r"took longer than 1 s"),
        (devour, r"more memory than the 3000 MB"),
        (stumble, r"the reader failed \(KeyError: 'no such box'\)"),
        (refuse, r"^a reason: a way out$"),
    ],
)
def test_a_bad_task_gives_its_reason_and_the_next_one_runs(workers: Workers, task: object, reason: str) -> None:
    bad, good = workers.submit(task), workers.submit(twice, 21)  # type: ignore[arg-type]
    with pytest.raises(MediaError, match=reason) as caught:
        bad.result(30)
    assert ": " in str(caught.value)
    assert good.result(30) == 42


def test_a_wrong_setting_is_not_blamed_on_the_file(workers: Workers) -> None:
    with pytest.raises(UnknownName, match="video reader"):
        workers.submit(unknown).result(30)


def test_many_tasks_with_crashes_among_them_are_all_answered(workers: Workers) -> None:
    tasks = [workers.submit(crash) if n % 7 == 3 else workers.submit(twice, n) for n in range(70)]
    for n, task in enumerate(tasks):
        if n % 7 == 3:
            assert "signal 11" in str(task.exception(60))
        else:
            assert task.result(60) == 2 * n


def test_workers_are_limited_and_load_only_what_they_need() -> None:
    with Workers(1, memory_mb=2500) as pool:
        before = pool.submit(loaded).result(60)
        assert pool.submit(limit).result(60) == 2500 * 2**20
        for path in (ASSETS / "pictures" / "picture.heic", ASSETS / "documents" / "two_pages.pdf"):
            found = pool.submit(scan, path, Settings()).result(60)
            assert found.kind is not None
            pool.submit(read, path, found.kind, found.cuts, Settings()).result(60)
        after = pool.submit(loaded).result(60)
    heavy = {"torch", "gradio", "qdrant_client", "qdrant_edge", "pyarrow", "pandas", "scipy", "transformers"}
    assert not heavy & set(after)
    assert {"pypdfium2", "PIL", "pillow_heif"} <= set(after)
    assert {"numpy", "mmretrieval"} <= set(before)


def test_every_kind_goes_through_a_worker(readers: Workers) -> None:
    settings = Settings(clip_seconds=4.0, frames_per_clip=2)
    path = ASSETS / "videos" / "b_frames.mp4"
    found = readers.submit(scan, path, settings).result(60)
    assert (found.kind, len(found.sha256), len(found.cuts)) == ("video", 64, 3)
    readings = readers.submit(read, path, "video", found.cuts, settings).result(60)
    numbers = [[read_frame_number(np.asarray(f)) for f in r.content.frames] for r in readings]
    assert numbers == [[25, 75], [125, 175], [225, 275]]
    assert all(r.thumbnail is not None and r.thumbnail[8:12] == b"WEBP" for r in readings)
    assert readings[0].content.text is None


def test_a_broken_file_comes_back_with_its_reason(readers: Workers) -> None:
    with pytest.raises(MediaError, match="^the document is encrypted"):
        readers.submit(scan, ASSETS / "broken" / "encrypted.pdf", Settings()).result(60)


def test_a_bomb_within_the_limit_of_pixels_does_not_exceed_the_limit_of_memory(tmp_path: Path) -> None:
    from tests.assets.make_assets import write_huge_png

    write_huge_png(tmp_path / "large.png", 10_000, 9_900)
    with Workers(1) as pool:
        readings = pool.submit(read, tmp_path / "large.png", "image", [Cut()], Settings()).result(120)
        image = readings[0].content.image
    assert image is not None
    assert image.size == (1024, 1014)


def test_words_without_a_file() -> None:
    found = scan_text("Ein Käfer.".encode(), Settings())
    assert (found.kind, [(c.text, c.visual) for c in found.cuts]) == ("text", [("Ein Käfer.", False)])
    assert found.sha256 == hashlib.sha256("Ein Käfer.".encode()).hexdigest()
    with pytest.raises(MediaError, match="no words"):
        scan_text(b" ", Settings())


def test_leaving_waits_for_what_was_submitted() -> None:
    with Workers(1) as pool:
        tasks = [pool.submit(twice, n) for n in range(20)]
    assert [task.result(0) for task in tasks] == [2 * n for n in range(20)]


def test_leaving_by_an_exception_stops_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Workers(1) as pool:
        tasks = [pool.submit(hang) for _ in range(3)]
        raise KeyboardInterrupt
    assert time.monotonic() - started < 20
    assert all(task.done() for task in tasks)


SCRIPT = """
    import os, sys
    from ingest.workers import Workers
    from tests.ingest.test_workers import hang

    def main():
        pool = Workers(2)
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(hang), pool.submit(hang)
        sys.stdin.read()

    if __name__ == "__main__":
        main()
"""


@pytest.mark.parametrize("as_module", [True, False])
def test_no_worker_outlives_a_parent_that_was_killed(tmp_path: Path, as_module: bool) -> None:
    package = tmp_path / "front"
    package.mkdir()
    script = package / "__main__.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "-m", "front"] if as_module else [sys.executable, str(script)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
        # The pipe of the workers' standard output closes when the last of them has gone.
        assert parent.stdout.read() == b""
    assert not Path(f"/proc/{worker}").exists() or "Z" in Path(f"/proc/{worker}/stat").read_text().split()[2]


@pytest.mark.parametrize("stopped", [False, True])
def test_workers_end_before_their_locks_are_taken_away(monkeypatch: pytest.MonkeyPatch, stopped: bool) -> None:
    """One that only starts would fall over the missing lock, and say so with a traceback in the log of the page."""
    from pebble.pool.process import WorkerManager

    close, left = WorkerManager.close_channels, []

    def closing(manager: WorkerManager) -> None:
        left.append([worker for worker in manager.workers.values() if worker.is_alive()])
        close(manager)

    monkeypatch.setattr(WorkerManager, "close_channels", closing)
    with suppress(ZeroDivisionError), Workers(2) as pool:
        pool.submit(scan, ASSETS / "texts" / "utf8.txt", Settings())
        if stopped:
            raise ZeroDivisionError
    assert left == [[]]
