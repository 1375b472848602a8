"""Processes that read files, so that a file which hangs, crashes or devours memory costs only itself.

Workers are forked from a small server that has loaded this module only; Pillow, PyAV and PDFium are loaded by the
first file that needs them, torch, gradio and qdrant never. As always with multiprocessing, a script that opens
Workers is imported once more by each worker (`python -m PACKAGE` is not): what it does must stand under
`if __name__ == "__main__"`, and its heavy imports inside functions.
"""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from mmretrieval.errors import MediaError, RetrievalError
from mmretrieval.media import KINDS, recognise, thumbnail
from mmretrieval.media.text import cut_text
from mmretrieval.types import Content, Cut, Settings

T = TypeVar("T")

TASKS_BEFORE_RENEWAL = 500
"""A worker is replaced after so many tasks: leaks of decoders stay bounded, and a new one costs milliseconds."""


# --- what workers do ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scan:
    """What a file is: its kind (None: no media), the sha256 of its bytes (hex), and where it is cut."""

    kind: str | None
    sha256: str = ""
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True, eq=False)
class Reading:
    """What can be seen of one cut (no text in it), and its thumbnail as WebP bytes (None without pixels)."""

    content: Content
    thumbnail: bytes | None


def scan(path: Path, settings: Settings) -> Scan:
    """Recognises, hashes and cuts a file without decoding pixels; raises MediaError with the reason."""
    kind = recognise(path)
    if kind is None:
        return Scan(None)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"the file cannot be read: {error.strerror or error}") from error
    return Scan(kind, digest, tuple(KINDS[kind].cut(path, settings)))


def scan_text(data: bytes, settings: Settings) -> Scan:
    """The passages of words that stand in no file; raises MediaError where there are none."""
    return Scan("text", hashlib.sha256(data).hexdigest(), tuple(cut_text(data, settings)))


def read(path: Path, kind: str, cuts: Sequence[Cut], settings: Settings) -> list[Reading]:
    """Pixels and thumbnail of each cut, in order; all of them are in memory at once, so ask for a few at a time."""
    return [Reading(content, thumbnail(content)) for content in KINDS[kind].read(path, cuts, settings)]


# --- the processes --------------------------------------------------------------------------------------------------


class Workers:
    """`count` processes that run module-level functions, each task within `seconds` and `memory_mb` of address space.

    A context manager: leaving it waits for what was submitted, leaving it by an exception stops at once.
    """

    def __init__(self, count: int = 2, seconds: float = 60.0, memory_mb: int = 4096) -> None:
        from pebble import ProcessPool

        self.seconds, self.memory_mb = seconds, memory_mb
        self._open: set[Future[Any]] = set()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._pool = ProcessPool(
            max_workers=count,
            max_tasks=TASKS_BEFORE_RENEWAL,
            initializer=_prepare,
            initargs=(memory_mb,),
            context=context,
        )
        # Pebble takes its workers' locks away before it ends them: one that only starts would fall over that, aloud.
        manager = self._pool._pool_manager
        manager.stop = functools.partial(_stop, manager.worker_manager)  # type: ignore[method-assign]

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._pool.close()
        else:
            self._pool.stop()
        self._pool.join()
        for answer in tuple(self._open):  # stopping the pool leaves these for ever without a word
            answer.cancel()

    def submit(self, task: Callable[..., T], *args: object) -> Future[T]:
        """Runs `task(*args)` in a worker, in the order of submission.

        The future holds the task's result or a RetrievalError that it raised; for a task that died, ran over its
        time or raised anything else, a MediaError with the reason. The other tasks go on.
        """
        answer: Future[T] = Future()
        self._open.add(answer)
        running = self._pool.schedule(task, args=args, timeout=self.seconds)
        running.add_done_callback(lambda done: self._settle(answer, done))
        return answer

    def _settle(self, answer: Future[Any], done: Future[Any]) -> None:
        self._open.discard(answer)
        if done.cancelled():  # the pool was stopped
            answer.cancel()
            answer.set_running_or_notify_cancel()
            return
        if not answer.set_running_or_notify_cancel():
            return
        error = done.exception()
        if error is None:
            answer.set_result(done.result())
        elif isinstance(error, RetrievalError):
            answer.set_exception(error)
        else:
            failure = MediaError(self._reason(error))
            failure.__cause__ = error
            answer.set_exception(failure)

    def _reason(self, error: BaseException) -> str:
        from pebble import ProcessExpired

        if isinstance(error, TimeoutError):
            return f"reading took longer than {self.seconds:g} s and was stopped: split the file or convert it"
        if isinstance(error, ProcessExpired):
            code = error.exitcode
            end = f"signal {-code}, {_signal_name(-code)}" if code < 0 else f"exit status {code}"
            return f"the reader process died ({end}): the file is damaged or hostile, copy or convert it"
        if isinstance(error, MemoryError):
            return f"reading needs more memory than the {self.memory_mb} MB that a reader may take: make it smaller"
        return f"the reader failed ({type(error).__name__}: {error}): the file may be damaged, copy or convert it"


def _stop(workers: Any) -> None:
    """Ends Pebble's workers, and then what they are spoken to through."""
    workers.force_stop_workers()
    workers.close_channels()


def _prepare(megabytes: int) -> None:
    """Limits the worker's address space, and ends it with its parent, however that ends."""
    import resource

    limit = megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    # A parent that was killed leaves nobody who would stop a task that hangs.
    os._exit(1)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
