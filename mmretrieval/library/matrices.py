"""The memory-mapped cache: each view of a space as one .npy with its ids. Made from the parts, may be deleted.

Rows are ordered by item id, so that the order of ingestion never shows in a result.
"""

from __future__ import annotations

import json
import shutil
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np

from mmretrieval.errors import CorruptLibrary
from mmretrieval.library.ledger import Ledger
from mmretrieval.library.locks import FolderLock, NotWritable
from mmretrieval.library.parts import read_part
from mmretrieval.store.exact import Matrix
from mmretrieval.types import VIEWS, Array, View

T = TypeVar("T")
# The parts of a space, each with the (item, view) pairs that are current in it.
Live: TypeAlias = dict[str, dict[tuple[str, View], str]]

_parsing = threading.Lock()

# How often a reader begins again when the files that it was about to read were replaced. Each time somebody else has
# finished a whole state, so more than a few in a row mean that something else is wrong.
TRIES = 5


def current(ledger: Ledger, space: str, take: Callable[[Live], T]) -> tuple[int, T]:
    """A space's newest change, and what `take` makes of the parts with vectors current at that moment."""
    for again in reversed(range(TRIES)):
        with ledger.snapshot():
            change, named = ledger.last_change(space), ledger.parts(space)
            live = {name: ledger.vectors_in(name) for name in named}
        try:
            return change, take({name: wanted for name, wanted in live.items() if wanted})
        except CorruptLibrary:
            # Parts that were merged into others since the snapshot may be swept away; any other loss is a real one.
            if not again or ledger.parts(space) == named:
                raise
    raise AssertionError("the last try returns or raises")


def current_rows(ledger: Ledger, space: str, parts: Path) -> tuple[int, dict[View, dict[str, Array]]]:
    """A space's newest change, and every vector current at that moment: {view: {item: row}}."""
    return current(ledger, space, lambda live: _rows(parts, live))


def _rows(parts: Path, live: Live) -> dict[View, dict[str, Array]]:
    rows: dict[View, dict[str, Array]] = defaultdict(dict)
    for name, wanted in live.items():
        ids, views, vectors = read_part(parts, name)
        found = {pair: row for pair, row in zip(zip(ids, views, strict=True), vectors, strict=True) if pair in wanted}
        check_whole(parts / name, wanted, found)
        for (ident, view), row in found.items():
            rows[view][ident] = row
    return rows


def check_whole(part: Path, wanted: Collection[object], found: Collection[object]) -> None:
    """Raises CorruptLibrary where a part lacks some of the vectors that the ledger says it has."""
    if len(found) < len(wanted):
        raise CorruptLibrary(
            f"{part} lacks {len(wanted) - len(found)} of its vectors: restore the file from a copy, or delete the "
            "library folder and ingest again"
        )


def matrices(ledger: Ledger, space: str, parts: Path, caches: Sequence[Path]) -> dict[View, Matrix]:
    """The views of a space as memory-mapped matrices, made anew when the ledger has changed since (see `cached`)."""

    def write(folder: Path) -> tuple[int, list[View]]:
        change, rows = current_rows(ledger, space, parts)
        views = [v for v in sorted(rows) if rows[v]]
        for view in views:
            matrix = _in_memory(rows[view])
            np.save(folder / f"{view}.ids.npy", np.array(matrix.ids))
            np.save(folder / f"{view}.npy", matrix.rows)
        return change, views

    def hold() -> dict[View, Matrix]:
        _, rows = current_rows(ledger, space, parts)
        return {view: _in_memory(rows[view]) for view in VIEWS if rows[view]}

    return cached(ledger, space, caches, _matrix, write, hold)


def cached(
    ledger: Ledger,
    space: str,
    caches: Sequence[Path],
    load: Callable[[Path, View], T],
    write: Callable[[Path], tuple[int, list[View]]],
    hold: Callable[[], dict[View, T]],
) -> dict[View, T]:
    """The views of a space out of one of its cache folders; `write` fills the last of them for the newest change.

    The folders before the last are only read. Where no cache can be written, `hold` gives the views in memory.
    """
    for folder in caches:
        found = _open(folder, ledger.last_change(space), load)
        if found is not None:
            return found
    cache = caches[-1]
    try:
        # One at a time, threads and processes: the one that comes second finds it done.
        with FolderLock(cache / "lock", f"the cache of {space}", wait=True):
            found = _open(cache, ledger.last_change(space), load)
            if found is None:
                found = _open(cache, _replace(cache, write), load)
    except (OSError, NotWritable):
        # A full disk, or a folder that may only be read: searching goes on from memory.
        found = hold()
    assert found is not None, "the cache that was just written is not there"
    return found


def _in_memory(rows: dict[str, Array]) -> Matrix:
    ids = tuple(sorted(rows))
    return Matrix(ids, np.stack([rows[i] for i in ids]))


def _open(cache: Path, wanted: int, load: Callable[[Path, View], T]) -> dict[View, T] | None:
    """The cached state, or None where there is none, another one, or one that is being replaced."""
    try:
        state = json.loads((cache / "current.json").read_text())
        if state["change"] != wanted:
            return None
        folder = cache / state["folder"]
        return {view: load(folder, view) for view in state["views"]}
    except (OSError, ValueError, EOFError, KeyError):  # a cache that cannot be read is made again
        return None


def loaded(file: Path, mmap_mode: Literal["r"] | None = None) -> Any:
    """np.load, by one thread at a time: it parses the header as Python, which CPython 3.11 cannot do in two threads."""
    with _parsing:
        return np.load(file, mmap_mode=mmap_mode)


def _matrix(folder: Path, view: View) -> Matrix:
    rows = loaded(folder / f"{view}.npy", mmap_mode="r")
    return Matrix(tuple(loaded(folder / f"{view}.ids.npy").tolist()), rows)


def _replace(cache: Path, write: Callable[[Path], tuple[int, list[View]]]) -> int:
    """A folder of its own for each state: readers of the one before keep their open files. Gives the state's change."""
    folder = cache / uuid.uuid4().hex[:12]
    folder.mkdir()
    change, views = write(folder)
    temporary = cache / f".{folder.name}.json"
    temporary.write_text(json.dumps({"change": change, "folder": folder.name, "views": views}))
    temporary.rename(cache / "current.json")
    for other in cache.iterdir():
        if other.name not in (folder.name, "current.json", "lock"):
            shutil.rmtree(other, ignore_errors=True) if other.is_dir() else other.unlink()
    return change
