"""What diagnostics found for this page: each is worked out once, behind the back of whoever searches, and kept."""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from eval.diagnosis_page import Face, look_of
from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.errors import LibraryBusy, RetrievalError, pick
from mmretrieval.findings import Finding
from mmretrieval.recipe import Recipe
from page import arguments
from page.notices import attempt

if TYPE_CHECKING:
    from eval.judging import Shelf
    from mmretrieval.diagnostics.subject import Subject
    from mmretrieval.library import Library
    from page.state import Page

LEAST_SAMPLE, MOST_SAMPLE, MOST_SEED = 4, 100_000, 2**31 - 1
# Findings that are kept, and diagnoses that may wait: beyond that the oldest goes, or the visitor is asked to wait.
KEPT, WAITING = 32, 8
KEY_CHARS = 200
Of = Literal["library", "dataset"]


@dataclass(frozen=True)
class Wanted:
    """One diagnosis as it is asked for; `state` is that of the library, so that what has changed is looked at anew."""

    of: Of
    recipe: str
    diagnostic: str
    sample: int
    seed: int
    classes: str = ""
    umap: bool = False
    state: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """What is looked at, in a few words."""
        return f"{self.diagnostic} of {self.recipe} on the {self.of}"


@dataclass(frozen=True, eq=False)
class Found:
    """A finding, and how the items that it speaks of look; `recipe` is spelled out."""

    wanted: Wanted
    recipe: str
    finding: Finding
    faces: Mapping[str, Face]
    seconds: float

    @property
    def captions(self) -> dict[str, str]:
        """What to call each item."""
        return {ident: face.caption for ident, face in self.faces.items()}


@dataclass(eq=False)
class Task:
    """A diagnosis on its way; written by the one thread that works. `key` is how the browser asks for its plots."""

    wanted: Wanted
    key: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    note: str = ""
    found: Found | None = None
    problem: str = ""
    began: float = field(default_factory=time.monotonic)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def seconds(self) -> float:
        """Since when it waits or runs."""
        return time.monotonic() - self.began


class Findings:
    """The page's diagnoses: one is worked out at a time, in a thread of its own, and the last ones are kept."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._lock = threading.Lock()
        self._waiting: queue.Queue[Task | None] = queue.Queue()
        self._kept: OrderedDict[Wanted, Task] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def ask(self, wanted: Wanted) -> Task:
        """The diagnosis: begun, on its way, or found already. Raises LibraryBusy where too many wait."""
        self._check_open()
        wanted = replace(wanted, state=self._state(wanted))
        with self._lock:
            known = self._kept.get(wanted)
            if known is not None and known.state != "failed":
                self._kept.move_to_end(wanted)
                return known
            if self._waiting.qsize() >= WAITING:
                raise LibraryBusy(f"{WAITING} diagnoses wait already: ask again when some of them are through")
            task = Task(wanted)
            self._kept[wanted] = task
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="page-findings", daemon=True)
                self._thread.start()
        self._waiting.put(task)
        return task

    def keep(self, found: Found) -> str:
        """Keeps what was found elsewhere, so that the browser can ask for its plots; gives the key."""
        with self._lock:
            if (known := self._kept.get(found.wanted)) is not None and known.found is not None:
                return known.key
        task = Task(found.wanted, state="done", found=found)
        task.ended.set()
        with self._lock:
            self._kept[found.wanted] = task
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return task.key

    def by_key(self, key: str) -> Found:
        """What was found under a key. Raises RetrievalError where that is not kept any more."""
        with self._lock:
            for task in self._kept.values():
                if task.found is not None and secrets.compare_digest(task.key.encode(), key.encode()):
                    return task.found
        raise RetrievalError("this diagnosis is not kept any more: run it again")

    def close(self) -> None:
        """Takes no more work, lets go of what waits, and waits a while for what runs."""
        self._closed.set()
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(timeout=30)

    def _state(self, wanted: Wanted) -> tuple[int, ...]:
        if wanted.of == "dataset":
            return ()
        ledger = self._page.library.ledger
        return tuple(ledger.last_change(card.space) for card in self._page.library.cards()[0].values())

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            task.state, task.began = "running", time.monotonic()
            outcome = attempt(partial(look, self._page, task.wanted, partial(self._note, task)))
            task.found, task.problem = outcome.value, outcome.problem
            task.state = "failed" if outcome.value is None else "done"
            task.ended.set()

    def _note(self, task: Task, note: str) -> None:
        self._check_open()
        task.note = note

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise LibraryBusy("the page is closing: open it again")


# --- one diagnosis ---------------------------------------------------------------------------------------------------


def wanted(
    page: Page,
    recipe: object,
    diagnostic: object,
    sample: object = 10_000,
    seed: object = 0,
    of: object = "library",
    classes: object = "",
    umap: bool = False,
) -> Wanted:
    """What somebody asks for, each value checked; no recipe is the library's default one."""
    from mmretrieval.subjects import check_compared

    name = arguments.text(diagnostic, "the diagnostic", KEY_CHARS)
    pick(DIAGNOSTICS, name, "diagnostic")
    place: Of = "library"
    if arguments.names([of], "of", get_args(Of)) == ("dataset",):
        place = "dataset"
        if page.dataset is None:
            raise RetrievalError(f"this page has no dataset: {WITH_DATASET}")
    chosen = page.permitted(arguments.text(recipe, "the recipe").strip() or page.library.default_recipe)
    check_compared(chosen, page.library.card)
    return Wanted(
        place,
        str(chosen),
        name,
        arguments.whole(sample, "sample", LEAST_SAMPLE, MOST_SAMPLE),
        arguments.whole(seed, "seed", 0, MOST_SEED),
        arguments.text(classes, "classes", KEY_CHARS),
        bool(umap) and name == "gap",
    )


WITH_DATASET = "start it with `python app.py --library DIR --dataset DIR`"


def look(page: Page, asked: Wanted, say: Callable[[str], None] = lambda _: None) -> Found:
    """Works a diagnosis out; `say` hears what is being done."""
    started = time.perf_counter()
    if asked.of == "library":
        from mmretrieval.engine import Engine
        from mmretrieval.subjects import of_library

        say("reading the library's vectors")
        engine = Engine(page.library, exact=True)
        subject = of_library(page.library, asked.recipe, classes=asked.classes, seed=asked.seed, engine=engine)
        return _measured(page.library, subject, asked, started, say)
    shelf, recipe = _shelved(page, page.permitted(asked.recipe), say)
    with shelf.library:
        from eval.subjects import of_dataset

        assert page.dataset is not None  # `wanted` has seen to it
        say("asking the dataset's queries")
        subject = of_dataset(page.dataset, shelf, recipe, classes=asked.classes, seed=asked.seed)
        return _measured(shelf.library, subject, asked, started, say)


def _measured(library: Library, subject: Subject, asked: Wanted, started: float, say: Callable[[str], None]) -> Found:
    more: dict[str, Any] = {"projection": "umap"} if asked.umap else {}
    say("measuring")
    finding = DIAGNOSTICS[asked.diagnostic].run(subject, seed=asked.seed, sample=asked.sample, **more)
    shown = [i for e in finding.exhibits for ids, _ in e.rows for i in ids]
    shown += [i for plot in finding.plots for trace in plot.traces if trace.items for i in trace.labels]
    faces = look_of(library)(list(dict.fromkeys(shown)))
    return Found(asked, asked.recipe, finding, faces, time.perf_counter() - started)


def _shelved(page: Page, recipe: Recipe, say: Callable[[str], None]) -> tuple[Shelf, str]:
    """The dataset's corpus in a library of its own, with the recipe's encoders, in the precision of evaluations."""
    from eval import judging
    from eval.recipes import encoders_of, in_full_precision
    from page.jobs import Job

    dataset = page.dataset
    assert dataset is not None
    exact = in_full_precision(str(recipe))
    folder: Path = judging.library_folder(dataset, page.evaluation)
    counted = Job("dataset")
    counted.expect(len({judging.source_path(entry, dataset) for entry in dataset.corpus}))
    say("reading the dataset")

    def on_event(event: Any) -> None:
        counted.event(event)
        say(f"reading the dataset: {counted.share:.0%}")

    shelf, _ = judging.shelve(dataset, folder, encoders_of([exact]), own=True, workers=1, on_event=on_event)
    return shelf, exact
