"""ingest(): the only way into a library. Sources in; stored, unchanged, replaced, removed and failed items out.

    source -> unchanged? -> scan (worker: kind, hash, cuts) -> plan -> read (worker: pixels) -> batch -> writer

Scanning and reading run ahead of the encoders in worker processes, in a bounded window; results are taken in the order
of the sources, so that a run does not depend on which worker was quicker. A broken file is an event, never an end.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from ingest.plan import Need, Outcome, Plan, Planner, file_row
from ingest.walk import Source, beside, spelled, trouble
from ingest.workers import Reading, Scan, Workers, read, scan, scan_text
from ingest.writer import Work, Writer, drop_path, remove_thumbnails, storing
from mmretrieval import catalog
from mmretrieval.errors import MediaError
from mmretrieval.library import Library
from mmretrieval.library.ledger import FileRow, meta_of
from mmretrieval.types import Cut, Item

BATCH = 32
# How far scanning and reading run ahead; with 1024-pixel pictures the window holds some 50 MB.
SCANS_AHEAD, READS_AHEAD = 32, 12
# Cuts read in one task: a clip has many frames, so few at a time.
CUTS_A_TASK = {"video": 2, "document": 4}

T = TypeVar("T")
R = TypeVar("R")
EventKind = Literal["found", "removed", "failed", "ignored"] | Outcome


@dataclass(frozen=True)
class Event:
    """Something that happened to `items` items of a path; `found` says how many the path has, before any is stored."""

    kind: EventKind
    path: str
    items: int = 1
    reason: str = ""


@dataclass(frozen=True)
class Counts:
    """A run in numbers of items; a file that cannot be read counts one failure."""

    stored: int
    unchanged: int
    replaced: int
    failed: int
    removed: int
    ignored: int
    seconds: float
    failures: tuple[tuple[str, str], ...]
    indexed: bool = True


def ingest(
    library: Library,
    sources: Iterable[Source],
    *,
    encoders: Sequence[str] = (),
    prune: Sequence[Path] = (),
    retry: bool = False,
    workers: int = 2,
    on_event: Callable[[Event], None] = lambda _: None,
    checkpoint: Callable[[str], None] = lambda _: None,
) -> Counts:
    """Brings the sources into the library with all its encoders, and with `encoders`, which it has from then on.

    Whatever in the library is not complete, because an encoder is new or an earlier run was killed, is completed too.
    `prune` removes what is in the ledger below these folders but not among the sources. `retry` reads again what
    failed before. Raises LibraryBusy while another process writes, EncoderUnavailable (for one of `encoders` before the
    library knows of it, for another before any vector is stored: it is loaded when there is something to embed), and
    LibraryError where the disk is full; what was stored until then stays.
    """
    started = time.perf_counter()
    with storing(library):
        with library.write_lock():
            library.reload()
            library.register(encoders)
            run = _Run(library, retry, on_event, checkpoint)
            run.writer.sweep()
            with Workers(workers) as pool:
                run.take(sources, pool)
                run.prune(prune)
                run.finish(pool)
            run.settle()
            run.writer.drop_unreferenced()
            run.writer.merge_small_parts()
        checkpoint("index")
        indexed = library.update_indexes(lambda _: checkpoint("indexed"))
    return run.counts(time.perf_counter() - started, indexed)


def forget(library: Library, paths: Sequence[str]) -> int:
    """Takes paths, and the items that no other path holds, out of the library; gives the number of items removed.

    The files themselves are not touched, and come back with the next ingest of their folder.
    """
    with storing(library):
        with library.write_lock():
            library.reload()
            with library.ledger.transaction():
                removed = sum(drop_path(library, path) for path in paths)
            copies = [row for row in library.ledger.unfinished(()) if not row.words_hash]
            if copies:
                run = _Run(library, retry=False)
                with Workers(1) as pool:
                    run.take(map(_source_of, copies), pool)
            remove_thumbnails(library)
        library.update_indexes()
    return removed


class _Run:
    """One ingest: what it has seen, and the events so far."""

    def __init__(
        self,
        library: Library,
        retry: bool,
        on_event: Callable[[Event], None] = lambda _: None,
        checkpoint: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.library, self.retry, self.on_event = library, retry, on_event
        cards = {card.space: card for card in map(catalog.card, library.encoders)}
        self.planner = Planner(library.ledger, library.settings, list(cards.values()))
        self.writer = Writer(library, cards, checkpoint)
        self.totals: Counter[str] = Counter()
        self.failures: dict[str, str] = {}
        self.seen: set[str] = set()
        # Content that failed in this run, and copies of it: planned in the belief that it would be there.
        self.broken: set[str] = set()
        self.copies: dict[str, FileRow] = {}

    def counts(self, seconds: float, indexed: bool) -> Counts:
        kinds = ("stored", "unchanged", "replaced", "failed", "removed", "ignored")
        totals = {kind: self.totals[kind] for kind in kinds}
        return Counts(
            **totals, seconds=round(seconds, 3), failures=tuple(sorted(self.failures.items())), indexed=indexed
        )

    def tell(self, kind: EventKind, path: str, items: int = 1, reason: str = "") -> None:
        if kind == "failed":
            if path in self.failures:
                return
            self.failures[path] = reason
        self.totals[kind] += items
        self.on_event(Event(kind, path, items, reason))

    # --- the stages, each a generator over the one before ----------------------------------------------------------

    def take(self, sources: Iterable[Source], pool: Workers) -> None:
        """Runs sources through all stages; copies of content that failed are then tried for themselves."""
        self._take(sources, pool)
        while self.copies:
            _, row = self.copies.popitem()
            assert row.sha256 is not None
            self.broken.discard(row.sha256)
            self.planner.forget(row.sha256)
            self._take([_source_of(row)], pool)

    def _take(self, sources: Iterable[Source], pool: Workers) -> None:
        batch: list[Work] = []
        for work in self._read(self._planned(self._scanned(sources, pool)), pool):
            batch.append(work)
            if len(batch) >= BATCH:
                self._store(batch)
                batch = []
        if batch:
            self._store(batch)

    def _scanned(self, sources: Iterable[Source], pool: Workers) -> Iterator[tuple[FileRow, Sequence[Cut]]]:
        """Each changed source's row and cuts; unchanged, ignored and broken ones end here."""
        for (source, row), result in _ahead(self._changed(sources), lambda pair: self._scan(*pair, pool), SCANS_AHEAD):
            try:
                found = result.result() if isinstance(result, Future) else result
                if isinstance(result, Future) and source.data is None:
                    _check_unchanged(row)
            except MediaError as error:
                self._failed(row, str(error))
                continue
            if found.kind is None:
                self.tell("ignored", source.path)
            else:
                yield replace(row, kind=found.kind, sha256=found.sha256), found.cuts

    def _changed(self, sources: Iterable[Source]) -> Iterator[tuple[Source, FileRow]]:
        for given in sources:
            self.seen.add(given.path)
            known = self.library.ledger.file(given.path) if _storable(given.path) else None
            source = given
            if known is not None and given.unsure and not known.reason:
                # Its caption may stand on the line that cannot be read: better yesterday's words than none.
                source = replace(given, caption=known.caption, lang=known.lang, meta=meta_of(known))
            size, mtime_ns = _stat(source)
            if known is not None and known.inline and source.data is None:
                size, mtime_ns = known.size, known.mtime_ns  # there is no file: the ledger has its words
            row = file_row(source, self.library.settings, size=size, mtime_ns=mtime_ns)
            if not _storable(source.path):
                path = source.path.encode("utf-8", "backslashreplace").decode()
                self.seen.add(path)
                self._failed(replace(row, path=path), "its name is not valid UTF-8: rename the file")
                continue
            if source.problem:
                self._failed(row, source.problem)
            elif known is None or not self.planner.unchanged(known, source, size, mtime_ns):
                yield source, row
            elif not known.reason:
                items = len(self.library.ledger.ids_of_content(known.sha256 or ""))
                self.tell("found", source.path, items)
                self.tell("unchanged", source.path, items)
            elif self.retry:
                yield source, row
            else:
                self.tell("failed", source.path, reason=known.reason)

    def _scan(self, source: Source, row: FileRow, pool: Workers) -> Future[Scan] | Scan:
        """What is in the file: from the ledger where only words or encoders changed, else from a worker."""
        known = self.library.ledger.file(source.path)
        same = known is not None and self.planner.same_bytes(known, row.size, row.mtime_ns) and not known.reason
        # Subtitles are cut into a video's words, so new words mean a new cut.
        if known is not None and known.sha256 and same and known.kind != "video" and known.spaces:
            items = self.library.ledger.items_of(known.sha256, row.settings)
            return Scan(known.kind, known.sha256, tuple(_cut(item, words) for item, words in items))
        if source.data is not None:
            return pool.submit(scan_text, source.data, self.library.settings)
        return pool.submit(scan, Path(source.path), self.library.settings)

    def _planned(self, scanned: Iterable[tuple[FileRow, Sequence[Cut]]]) -> Iterator[Plan]:
        for row, cuts in scanned:
            plan = self.planner.plan(row, cuts)
            if row.path not in self.failures:
                self.tell("found", row.path, len(cuts))
            yield plan

    def _read(self, plans: Iterable[Plan], pool: Workers) -> Iterator[Work]:
        """The items of every plan in order, with pixels where any are needed."""
        for (plan, needs, last), result in _ahead(
            _tasks(plans), lambda task: self._reading(task[0], task[1], pool), READS_AHEAD
        ):
            try:
                readings = result.result() if isinstance(result, Future) else result
                if isinstance(result, Future):
                    _check_unchanged(plan.row)
            except MediaError as error:
                if not self._waits(plan.row):
                    self._failed(plan.row, str(error))
                    self.writer.spoilt.add(plan.row.path)
                    self.broken.add(plan.row.sha256 or "")
                continue
            if not needs:
                yield Work(plan, None, last=True)
            for n, (need, reading) in enumerate(zip(needs, readings, strict=True)):
                content, thumbnail = (reading.content, reading.thumbnail) if reading else (None, None)
                yield Work(plan, need, content, thumbnail, last and n == len(needs) - 1)

    def _reading(
        self, plan: Plan, needs: Sequence[Need], pool: Workers
    ) -> Future[list[Reading]] | list[Reading | None]:
        if not any(need.pixels for need in needs):
            return [None] * len(needs)
        cuts = [plan.cuts[need.item.locator] for need in needs]
        return pool.submit(read, Path(plan.row.path), plan.row.kind, cuts, self.library.settings)

    def _store(self, batch: Sequence[Work]) -> None:
        kept = [w for w in batch if w.plan.row.path not in self.failures and not self._waits(w.plan.row)]
        bad = self.writer.write(kept)
        self.broken |= {kept[place].plan.row.sha256 or "" for place in bad}
        for place, work in enumerate(kept):
            if place in bad:
                self.tell("failed", work.plan.row.path, reason=bad[place])
            elif work.need is not None:
                self.tell(work.need.outcome, work.plan.row.path)

    def _waits(self, row: FileRow) -> bool:
        """Whether the path's plan counted on content that has failed since: then it is put off."""
        waits = row.sha256 in self.broken and row.path not in self.failures
        if waits:
            self.copies[row.path] = row
        return waits

    def _failed(self, row: FileRow, reason: str) -> None:
        """Keeps the reason; items that the path held before stay, since the file may yet be put right."""
        known = self.library.ledger.file(row.path)
        with self.library.ledger.transaction():
            kept = replace(row, sha256=known.sha256, kind=known.kind) if known else replace(row, sha256=None)
            self.library.ledger.put_file(replace(kept, spaces=(), reason=reason))
        self.tell("failed", row.path, reason=reason)

    # --- after the sources -------------------------------------------------------------------------------------------

    def prune(self, roots: Sequence[Path]) -> None:
        """Removes the paths below the roots that were not met in this run; what lies in unread folders stays."""
        tops = [spelled(root) for root in roots]
        own = self.library.path
        unread = [Path(path) for path in self.failures if Path(path).is_dir()]
        # A library's own folder, with what was uploaded to it, is no part of the folder around it.
        unread += [own] if not any(_below(str(top), own) for top in tops) else []
        for row in list(self.library.files()) if tops else []:
            if row.path in self.seen or not _any_below(row.path, tops) or _any_below(row.path, unread):
                continue
            with self.library.ledger.transaction():
                removed = drop_path(self.library, row.path)
            self.tell("removed", row.path, removed)

    def finish(self, pool: Workers) -> None:
        """Completes what is not: for a new encoder, after a killed run, or since a copy's caption has gone."""
        tried: set[str] = set()
        while rows := [r for r in self._unfinished() if r.path not in tried]:
            tried |= {row.path for row in rows}
            self.writer.left.clear()
            before = self.totals["unchanged"]
            self.take(map(_source_of, rows), pool)
            self.totals["unchanged"] = before  # they were counted when they were met

    def settle(self) -> None:
        """Forgets complaints about folders and caption files that are in order now, or gone."""
        for row in list(self.library.ledger.files(failed=True)):
            path = Path(row.path)
            ours = path.name == "captions.jsonl" or path.is_dir()
            if ours and row.path not in self.seen and not trouble(path):
                with self.library.ledger.transaction():
                    self.library.ledger.drop_file(row.path)

    def _unfinished(self) -> list[FileRow]:
        rows = self.library.ledger.unfinished(card.space for card in self.planner.cards)
        # Words without a file that were never stored whole come with their source alone.
        return [row for row in rows if row.spaces or not row.inline]


def _ahead(things: Iterable[T], start: Callable[[T], R], window: int) -> Iterator[tuple[T, R]]:
    """Each thing with what was started for it, in order, with up to `window` started ahead."""
    waiting: deque[tuple[T, R]] = deque()
    for thing in things:
        waiting.append((thing, start(thing)))
        if len(waiting) > window:
            yield waiting.popleft()
    yield from waiting


def _tasks(plans: Iterable[Plan]) -> Iterator[tuple[Plan, tuple[Need, ...], bool]]:
    """Each plan in pieces small enough to be read in one go; the last piece of a plan says so."""
    for plan in plans:
        size = CUTS_A_TASK.get(plan.row.kind, BATCH)
        pieces = [plan.needs[i : i + size] for i in range(0, len(plan.needs), size)] or [()]
        for n, piece in enumerate(pieces):
            yield plan, piece, n == len(pieces) - 1


def _cut(item: Item, words: str) -> Cut:
    return Cut(item.locator, item.t0, item.t1, item.page, words, item.visual)


def _source_of(row: FileRow) -> Source:
    return Source(row.path, row.caption, row.lang, meta_of(row), beside=beside(Path(row.path)))


def _stat(source: Source) -> tuple[int | None, int | None]:
    if source.data is not None:
        # Words without a file have no time; their hash stands for it, so that a change of equal length shows.
        return len(source.data), -1 - int.from_bytes(hashlib.sha256(source.data).digest()[:7])
    try:
        stat = Path(source.path).stat()
    except OSError:
        return None, None
    return stat.st_size, stat.st_mtime_ns


def _check_unchanged(row: FileRow) -> None:
    """Raises MediaError where the file is not the one any more that was hashed: its pixels may be another's."""
    if _stat(Source(row.path)) != (row.size, row.mtime_ns):
        raise MediaError("the file was changed while it was being read: run the ingest again")


def _storable(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _any_below(path: str, roots: Iterable[Path]) -> bool:
    return any(_below(path, root) for root in roots)


def _below(path: str, root: Path) -> bool:
    return Path(path) == root or root in Path(path).parents
