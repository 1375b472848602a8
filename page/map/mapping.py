"""Maps of the library as they are asked for: planes at once, or behind the back of whoever searches, and kept."""

from __future__ import annotations

import multiprocessing
import os
import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args

import numpy as np

from mmretrieval import projection
from mmretrieval.engine import Engine
from mmretrieval.errors import LibraryBusy, RetrievalError
from mmretrieval.library import Library
from mmretrieval.library.ledger import TEXTS
from mmretrieval.projection import Cloud, Method, Plane
from mmretrieval.types import View
from page import arguments
from page.notices import attempt

if TYPE_CHECKING:
    from page.state import Page

T = TypeVar("T")
# Planes and colourings that are kept in memory, and UMAPs that may wait.
KEPT, WAITING = 16, 4
# So long a failure stands before the same map is tried again.
FAILED_SECONDS = 20
SEED = 0
# What can be laid in a plane, by name: a view alone, or pictures and words together, whose gap is then seen.
VECTORS: dict[str, tuple[View, ...]] = {
    "visual": ("visual",),
    "text": ("text",),
    "joint": ("joint",),
    "visual+text": ("visual", "text"),
}
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Wanted:
    """A map as it is asked for: whose vectors (a key of VECTORS), and how they are laid in a plane."""

    encoder: str
    vectors: str
    method: Method = "pca"
    seed: int = SEED


@dataclass(frozen=True, eq=False)
class Laid:
    """A map: which vectors there were, and where they lie."""

    wanted: Wanted
    cloud: Cloud
    plane: Plane


@dataclass(eq=False)
class Work:
    """A plane on its way; written by the one thread that works."""

    wanted: Wanted
    cloud: Cloud
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    note: str = ""
    share: float = 0.0
    problem: str = ""
    began: float = field(default_factory=time.monotonic)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def seconds(self) -> float:
        """Since when it waits, runs, or has failed."""
        return time.monotonic() - self.began


@dataclass(frozen=True, eq=False)
class Facts:
    """What points can be coloured by, of each item: its kind and its metadata; `change` says of when."""

    change: int
    kinds: Mapping[str, str]
    metas: Mapping[str, Mapping[str, Any]]


class Shelf(Generic[T]):
    """The last so many things that browsers may ask for, each under a key that nobody guesses."""

    def __init__(self, what: str) -> None:
        self._what, self._lock = what, threading.Lock()
        self._held: OrderedDict[str, T] = OrderedDict()

    def put(self, value: T) -> str:
        """Keeps a value; gives its key, which is the one it has had if it is here already."""
        with self._lock:
            for key, known in self._held.items():
                if known is value:
                    self._held.move_to_end(key)
                    return key
            key = secrets.token_urlsafe(12)
            self._held[key] = value
            while len(self._held) > KEPT:
                self._held.popitem(last=False)
            return key

    def get(self, key: str) -> T:
        """The value under a key. Raises RetrievalError where it is not kept any more."""
        with self._lock:
            for known, value in self._held.items():
                if secrets.compare_digest(known.encode(), key.encode()):
                    return value
        raise RetrievalError(f"this {self._what} is not kept any more: draw the map again")


class Maps:
    """The page's maps. One UMAP is worked out at a time, in a process of its own, so that no search waits for it."""

    def __init__(self, page: Page) -> None:
        self._page, self._lock = page, threading.Lock()
        self._planes: OrderedDict[tuple[Wanted, str], Laid] = OrderedDict()
        self._works: dict[tuple[Wanted, str], Work] = {}
        self._waiting: queue.Queue[Work | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._process: Any = None
        self._closed = False
        self._facts: Facts | None = None
        self._engine: Engine | None = None
        self.shelf: Shelf[Laid] = Shelf("map")
        self.colours: Shelf[Any] = Shelf("colouring")

    # --- what is there -----------------------------------------------------------------------------------------------

    def wanted(self, encoder: object, vectors: object, method: object = "pca", seed: object = SEED) -> Wanted:
        """What somebody asks for, each value checked."""
        spec = arguments.text(encoder, "the encoder").strip() or self._page.library.encoders[0]
        self._page.library.card(spec)
        (chosen,) = arguments.names([vectors], "vectors", VECTORS)
        (way,) = arguments.names([method], "method", METHODS)
        return Wanted(spec, chosen, "umap" if way == "umap" else "pca", arguments.whole(seed, "seed", 0, 2**31 - 1))

    def facts(self) -> Facts:
        """Every item's kind and metadata, read once for each state of the library."""
        change, known = self._page.library.ledger.last_change(TEXTS), self._facts
        if known is None or known.change != change:
            items = list(self._page.library.items())
            known = Facts(change, {i.id: i.kind for i in items}, {i.id: i.meta for i in items if i.meta})
            self._facts = known
        return known

    @property
    def engine(self) -> Engine:
        """An engine that scores every item, whatever indexes there are."""
        if self._engine is None:
            self._engine = Engine(self._page.library, exact=True, strangers=not self._page.tells_paths)
        return self._engine

    # --- planes ------------------------------------------------------------------------------------------------------

    def lay(self, wanted: Wanted) -> Laid | Work:
        """The map: at once where it is of principal axes or was kept, else the work that has begun on it.

        Raises BadQuery where there are no such vectors, LibraryBusy where too many maps wait.
        """
        seen = projection.cloud(self._page.library, wanted.encoder, VECTORS[wanted.vectors])
        name = wanted, seen.key(wanted.method, wanted.seed)
        with self._lock:
            if (known := self._planes.get(name)) is not None:
                self._planes.move_to_end(name)
                return known
            if (work := self._works.get(name)) is not None and (
                work.state != "failed" or work.seconds < FAILED_SECONDS
            ):
                return work
        if wanted.method == "pca":
            return self._keep(Laid(wanted, seen, projection.principal(seen.rows)))
        plane = projection.kept(self._page.library, seen, wanted.method, wanted.seed)
        return self._keep(Laid(wanted, seen, plane)) if plane is not None else self._begin(wanted, seen)

    def _keep(self, laid: Laid) -> Laid:
        name = laid.wanted, laid.cloud.key(laid.wanted.method, laid.wanted.seed)
        with self._lock:
            laid = self._planes.setdefault(name, laid)
            while len(self._planes) > KEPT:
                self._planes.popitem(last=False)
        return laid

    def _begin(self, wanted: Wanted, seen: Cloud) -> Work:
        name = wanted, seen.key(wanted.method, wanted.seed)
        with self._lock:
            if self._closed:
                raise LibraryBusy("the page is closing: open it again")
            if self._waiting.qsize() >= WAITING:
                raise LibraryBusy(f"{WAITING} maps wait already: ask again when some of them are through")
            work = self._works.setdefault(name, Work(wanted, seen))
            if work.state == "failed":
                work = self._works[name] = Work(wanted, seen)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="page-maps", daemon=True)
                self._thread.start()
        self._waiting.put(work)
        return work

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            work.state, work.began = "running", time.monotonic()
            outcome = attempt(partial(self._worked, work))
            if outcome.value is not None:
                self._keep(outcome.value)
                projection.keep(self._page.library, work.cloud, "umap", work.wanted.seed, outcome.value.plane)
            work.problem, work.began = outcome.problem, time.monotonic()
            work.state = "failed" if outcome.value is None else "done"
            with self._lock:
                if outcome.value is not None:
                    self._works = {name: other for name, other in self._works.items() if other is not work}
            work.ended.set()

    def _worked(self, work: Work) -> Laid:
        """The plane, by another process: what UMAP does would hold up every thread of this one for seconds."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        wanted = work.wanted
        library = self._page.library
        places = str(library.path), str(library.caches) if library.reading else None
        job = *places, wanted.encoder, VECTORS[wanted.vectors], wanted.seed, theirs
        with self._lock:
            if self._closed:
                raise LibraryBusy("the page is closing: open it again")
            self._process = context.Process(target=laying, args=job, name="map", daemon=True)
            self._process.start()
        theirs.close()
        try:
            while True:
                kind, *told = ours.recv()
                if kind == "plane":
                    change, points = told
                    if change != work.cloud.change:
                        raise RetrievalError("the library changed while it was laid out: draw the map again")
                    return Laid(wanted, work.cloud, Plane(points))
                if kind == "problem":
                    raise RetrievalError(told[0])
                work.note, work.share = told
        except EOFError:
            raise RetrievalError(
                "the process that lays the map out has ended before it was through, perhaps for want of memory: "
                "draw the map again, or choose the principal axes"
            ) from None
        finally:
            ours.close()
            self._process.join()

    def close(self) -> None:
        """Takes no more work, and ends what runs."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is not None and process.is_alive():
            process.terminate()
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(timeout=30)
        if self._engine is not None:
            self._engine.spaces.close()


def laying(path: str, caches: str | None, encoder: str, views: tuple[View, ...], seed: int, pipe: Connection) -> None:
    """UMAP in a process of its own, behind whatever else this machine does; tells the pipe how far it is.

    `caches`: where a library that is only read has what is made of it.
    """
    os.nice(10)

    def work() -> tuple[int, Any]:
        with Library.open(Path(path), caches=Path(caches) if caches is not None else None) as library:
            seen = projection.cloud(library, encoder, views)
            plane = projection.umap(seen.rows, seed, lambda what, share: pipe.send(("say", what, share)))
            return seen.change, np.asarray(plane.points)

    outcome = attempt(work)
    pipe.send(("problem", outcome.problem) if outcome.value is None else ("plane", *outcome.value))
    pipe.close()
