"""What the page takes of people's time, and of memory: started as people start it, asked over HTTP on this machine.

One user first: a text search at a time, beside what encoding its words alone takes. Then many users, each of whom asks
again as soon as the answer is there. Every query is of other words, so that nothing is answered from memory.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.bench_made import Clock, report
from mmretrieval.errors import LibraryError

ROOT = Path(__file__).resolve().parent.parent
READY = "The page is ready: "
# Goals: a search takes so much longer than its encoding at most (ms), and the page shows itself warm in so many ms.
OVERHEAD_MS, PAINT_MS = 100.0, 3000.0
# Memory may come and go: it grows where more than this is left, of what was there at the begin, after the users.
GROWTH = 0.1
START_SECONDS, ANSWER_SECONDS, PAINT_SECONDS = 180.0, 60.0, 60.0
WARM, WARM_EACH, SAMPLED = 5, 15, 10
SAMPLES = ("photos", "texts")
WORD = re.compile(r"[a-z]{3,}")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@dataclass(frozen=True)
class Load:
    """How much is asked: searches of one user, then `users` for `seconds`; `seed` decides the words."""

    searches: int = 50
    users: int = 20
    seconds: float = 60.0
    seed: int = 20261122


@dataclass
class Answers:
    """What users met: milliseconds of every answer, and the first words of what went wrong."""

    ms: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def page(
    load: Load, scratch: Path, library: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Measures a page over the library, or over one made of samples in `scratch`; the page ends with the bench.

    Raises LibraryError where the page does not start.
    """
    clock = Clock()
    before = round(os.getloadavg()[0], 2)
    folder = library if library is not None else _made(scratch, tell)
    words = _words(folder, load.seed)
    encoding = _encoding(folder, load, words)
    tell(f"encoding alone: {encoding['p95_ms']} ms at the 95th percentile")
    with served(folder, scratch) as (address, process):
        one = Answers()
        with closing(Asker(address)) as asker:
            for _ in range(WARM):
                asker.ask(next(words))
            paint = _paint(address)
            tell(f"a warm visit: {paint.get('ready_ms', paint.get('why'))}")
            _ask(asker, words, one, count=load.searches)
        tell(f"one user: {_spread(one.ms)['p95_ms']} ms at the 95th percentile")
        many = _crowd(address, process.pid, words, load)
        tell(f"{load.users} users: {many['a_second']} searches a second, {many['errors']} errors")
    found = {
        "cores": os.cpu_count(),
        "load_before": before,
        "encoding": encoding,
        "paint": paint,
        "one_user": _spread(one.ms) | {"errors": len(one.errors), "first_errors": one.errors[:3]},
        "many_users": many,
    }
    return report(many["items"], load, found | {"goals": _goals(found)}, clock)


def _goals(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Each goal with what was measured; `met` is None where it could not be."""
    bound = round(found["encoding"]["p95_ms"] + OVERHEAD_MS, 1)
    one, many, paint = found["one_user"], found["many_users"], found["paint"].get("ready_ms")
    grown = many["growth_share"]
    rows: list[tuple[str, Any, str, bool | None]] = [
        ("a text search of one user, p95 ms", one["p95_ms"], f"<= {bound}", _at_most(one["p95_ms"], bound)),
        ("a warm visit until items are seen, ms", paint, f"<= {PAINT_MS:g}", _at_most(paint, PAINT_MS)),
        ("errors", one["errors"] + many["errors"], "0", one["errors"] + many["errors"] == 0),
        ("growth of memory", grown, f"<= {GROWTH}", _at_most(grown, GROWTH)),
    ]
    return [dict(zip(("name", "value", "goal", "met"), row, strict=True)) for row in rows]


def _at_most(value: float | None, bound: float) -> bool | None:
    return None if value is None else value <= bound


# --- the library, and what is asked -----------------------------------------------------------------------------------


def _made(scratch: Path, tell: Callable[[str], None]) -> Path:
    """A library of the samples' photographs and texts under lite."""
    from ingest.pipeline import ingest
    from ingest.walk import walk
    from mmretrieval.library import Library

    tell("making a library of samples/")
    with Library.create(scratch / "library", ("lite",)) as library:
        ingest(library, list(walk([ROOT / "samples" / name for name in SAMPLES])))
    return scratch / "library"


def _words(folder: Path, seed: int) -> Iterator[str]:
    """Queries without end, each of three words that stand in the library's own texts, none of them twice."""
    from mmretrieval.library import Library

    with Library.open(folder) as library:
        texts = [text for _, text in library.ledger.texts()]
    known = sorted({word for text in texts[:5000] for word in WORD.findall(text.lower())}) or ["red", "car", "tree"]
    drawn = random.Random(seed)
    return Shared(f"{' '.join(drawn.choices(known, k=3))} {number}" for number in itertools.count())


class Shared(Iterator[str]):
    """An iterator that threads may share."""

    def __init__(self, inner: Iterator[str]) -> None:
        self._inner, self._lock = inner, threading.Lock()

    def __next__(self) -> str:
        with self._lock:
            return next(self._inner)


def _encoding(folder: Path, load: Load, words: Iterator[str]) -> dict[str, Any]:
    """Milliseconds that the default recipe's encoders take for a query's words, one query at a time, in here."""
    from mmretrieval import catalog
    from mmretrieval.embedding import embed
    from mmretrieval.library import Library
    from mmretrieval.recipe import parse
    from mmretrieval.types import Content

    with Library.open(folder) as library:
        recipe = parse(library.default_recipe)
    encoders = [catalog.load(name) for name in recipe.encoders]
    taken = []
    for n in range(WARM + load.searches):
        content = Content(text=next(words))
        started = time.perf_counter()
        for encoder in encoders:
            embed(encoder, [content], "query")
        if n >= WARM:
            taken.append(1000 * (time.perf_counter() - started))
    return _spread(taken) | {"recipe": str(recipe)}


# --- the page ---------------------------------------------------------------------------------------------------------


@contextmanager
def served(folder: Path, scratch: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a read-only page in a process of its own, which is ended afterwards."""
    command = [sys.executable, str(ROOT / "app.py"), "--library", str(folder), "--port", "0", "--read-only"]
    environment = {key: value for key, value in os.environ.items() if key != "GRADIO_TEMP_DIR"}
    log = scratch / "page.log"
    with log.open("w", encoding="utf-8") as sink:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=sink, text=True)
        watch = threading.Timer(START_SECONDS, process.kill)
        watch.start()
        try:
            assert process.stdout is not None
            said = next((line for line in process.stdout if line.startswith(READY)), "")
            watch.cancel()
            if not said:
                raise LibraryError(f"the page did not start: {log.read_text(encoding='utf-8')[-600:] or 'no word'}")
            drain = threading.Thread(target=process.stdout.read, daemon=True)  # a full pipe would stop it
            drain.start()
            yield said.removeprefix(READY).strip(), process
        finally:
            watch.cancel()
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


class Asker:
    """One user of the page's search endpoint."""

    def __init__(self, address: str) -> None:
        import httpx

        self.http = httpx.Client(base_url=address.rstrip("/"), timeout=ANSWER_SECONDS, trust_env=False)
        listed = self.http.get("/gradio_api/info").raise_for_status().json()["named_endpoints"]["/search"]
        self.parameters = [(one["parameter_name"], one.get("parameter_default")) for one in listed["parameters"]]

    def ask(self, words: str) -> dict[str, Any]:
        """The answer to a text search. Raises LibraryError for an answer that is an error."""
        data = [words if name == "words" else default for name, default in self.parameters]
        begun = self.http.post("/gradio_api/call/search", json={"data": data}).raise_for_status().json()
        told = self.http.get(f"/gradio_api/call/search/{begun['event_id']}").raise_for_status().text
        kind, _, rest = told.strip().rpartition("event: ")[2].partition("\n")
        if kind != "complete":
            raise LibraryError(f"the page answered with {kind!r}: {rest[:300]}")
        found: dict[str, Any] = json.loads(rest.removeprefix("data: "))[0]
        if not found["hits"]:
            raise LibraryError(f"nothing was found for {words!r}")
        return found

    def count(self) -> int:
        """How many items the library has."""
        begun = self.http.post("/gradio_api/call/status", json={"data": []}).raise_for_status().json()
        told = self.http.get(f"/gradio_api/call/status/{begun['event_id']}").raise_for_status().text
        return int(json.loads(told.rpartition("data: ")[2])[0]["items"])

    def close(self) -> None:
        """Lets go of the connection."""
        self.http.close()


def _ask(
    asker: Asker, words: Iterator[str], answers: Answers, count: int | None = None, until: float | None = None
) -> None:
    """Asks `count` times, and no longer than `until` a moment of the monotonic clock."""
    for _ in range(count) if count is not None else itertools.count():
        if until is not None and time.monotonic() >= until:
            break
        started = time.perf_counter()
        try:
            asker.ask(next(words))
            answers.ms.append(1000 * (time.perf_counter() - started))
        except Exception as error:  # whatever goes wrong is what is being counted
            answers.errors.append(repr(error)[:300])


def _crowd(address: str, pid: int, words: Iterator[str], load: Load) -> dict[str, Any]:
    """`users` at once for `seconds`; the memory of the page before, and after a moment of rest."""
    askers = [Asker(address) for _ in range(load.users)]
    # Each thread of the page's pool has memory of its own from its first search on: that is no growth, and comes first.
    _together(askers, words, [Answers() for _ in askers], time.monotonic() + load.seconds, WARM_EACH)
    started = time.monotonic()
    answers = [Answers() for _ in askers]
    with _watched(pid, load.seconds / SAMPLED) as held:
        _together(askers, words, answers, started + load.seconds)
    seconds = time.monotonic() - started
    begin, end = held[0], held[-1]
    ms, errors = [m for a in answers for m in a.ms], [e for a in answers for e in a.errors]
    items = askers[0].count()
    for asker in askers:
        asker.close()
    grown = None if begin is None or end is None else round((end - begin) / begin, 4)
    memory = {"rss_begin_mb": begin, "rss_end_mb": end, "growth_share": grown, "rss_mb": held}
    counted = {"users": load.users, "answers": len(ms), "a_second": round(len(ms) / seconds, 1), "items": items}
    return counted | _spread(ms) | {"errors": len(errors), "first_errors": errors[:3]} | memory


def _together(
    askers: Sequence[Asker], words: Iterator[str], answers: Sequence[Answers], until: float, count: int | None = None
) -> None:
    threads = [
        threading.Thread(target=_ask, args=(asker, words, met, count, until))
        for asker, met in zip(askers, answers, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _paint(address: str) -> dict[str, Any]:
    """Milliseconds to the first paint and to the first items, on a visit after another, or why none is known."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return {"why": f"no browser: none of {', '.join(BROWSERS)} is here"}
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        return {"why": "no browser: the package playwright is not installed"}
    try:
        with sync_playwright() as driver:
            opened = driver.chromium.launch(executable_path=browser, args=BROWSER_OPTIONS)
            visit = opened.new_page()
            visit.set_default_timeout(1000 * PAINT_SECONDS)
            for _ in range(2):
                started = time.perf_counter()
                visit.goto(address)
                visit.locator("[data-item]").first.wait_for()
                ready = round(1000 * (time.perf_counter() - started), 1)
                first = visit.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
            opened.close()
    except Error as error:
        return {"why": f"the browser failed: {str(error)[:300]}"}
    return {"first_paint_ms": None if first is None else round(first, 1), "ready_ms": ready}


@contextmanager
def _watched(pid: int, every: float) -> Iterator[list[float | None]]:
    """A list that takes a process's memory, now, every so many seconds, and at the end."""
    held, ended = [_memory(pid)], threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            held.append(_memory(pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield held
    finally:
        ended.set()
        watcher.join()
        held.append(_memory(pid))


def _memory(pid: int) -> float | None:
    """Megabytes of memory that a process holds; None where that is not told."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return round(int(found[1]) / 1000, 1) if found else None


def _spread(ms: Sequence[float]) -> dict[str, Any]:
    """The median and the 95th percentile by nearest rank; None where nothing was measured."""
    ordered = sorted(ms)
    if not ordered:
        return {"n": 0, "p50_ms": None, "p95_ms": None}
    places = {f"p{p}_ms": round(ordered[max(-(-p * len(ordered) // 100) - 1, 0)], 1) for p in (50, 95)}
    return {"n": len(ordered)} | places
