"""The memory-mapped cache: each view of a space as one .npy with its ids. Made from the parts, may be deleted.

Rows are ordered by item id, so that the order of ingestion never shows in a result.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections import defaultdict
from pathlib import Path

import numpy as np

from mmretrieval.errors import CorruptLibrary
from mmretrieval.library.ledger import Ledger
from mmretrieval.library.locks import FolderLock, NotWritable
from mmretrieval.library.parts import read_part
from mmretrieval.store.exact import Matrix
from mmretrieval.types import VIEWS, Array, View

# How often a reader begins again when the files that it was about to read were replaced. Each time somebody else has
# finished a whole state, so more than a few in a row mean that something else is wrong.
TRIES = 5


def current_rows(ledger: Ledger, space: str, parts: Path) -> tuple[int, dict[View, dict[str, Array]]]:
    """A space's newest change, and every vector current at that moment: {view: {item: row}}."""
    for again in reversed(range(TRIES)):
        with ledger.snapshot():
            change, named = ledger.last_change(space), ledger.parts(space)
            live = {name: ledger.vectors_in(name) for name in named}
        try:
            return change, _rows(parts, live)
        except CorruptLibrary:
            # Parts that were merged into others since the snapshot may be swept away; any other loss is a real one.
            if not again or ledger.parts(space) == named:
                raise
    raise AssertionError("the last try returns or raises")


def _rows(parts: Path, live: dict[str, dict[tuple[str, View], str]]) -> dict[View, dict[str, Array]]:
    rows: dict[View, dict[str, Array]] = defaultdict(dict)
    for name, wanted in live.items():
        if not wanted:
            continue
        ids, views, vectors = read_part(parts, name)
        found = {pair: row for pair, row in zip(zip(ids, views, strict=True), vectors, strict=True) if pair in wanted}
        if len(found) < len(wanted):
            raise CorruptLibrary(
                f"{parts / name} lacks {len(wanted) - len(found)} of its vectors: restore the file from a copy, or "
                "delete the library folder and ingest again"
            )
        for (ident, view), row in found.items():
            rows[view][ident] = row
    return rows


def matrices(ledger: Ledger, space: str, parts: Path, cache: Path) -> dict[View, Matrix]:
    """The views of a space as memory-mapped matrices, made anew when the ledger has changed since."""
    found = _open(cache, ledger.last_change(space))
    if found is not None:
        return found
    try:
        # One at a time, threads and processes: the one that comes second finds it done.
        with FolderLock(cache / "lock", f"the cache of {space}", wait=True):
            found = _open(cache, ledger.last_change(space))
            if found is None:
                change, rows = current_rows(ledger, space, parts)
                _write(cache, change, rows)
                found = _open(cache, change)
    except (OSError, NotWritable):
        # A full disk, or a folder that may only be read: searching goes on from memory.
        _, rows = current_rows(ledger, space, parts)
        found = {view: _in_memory(rows[view]) for view in VIEWS if rows[view]}
    assert found is not None, "the cache that was just written is not there"
    return found


def _in_memory(rows: dict[str, Array]) -> Matrix:
    ids = tuple(sorted(rows))
    return Matrix(ids, np.stack([rows[i] for i in ids]))


def _open(cache: Path, wanted: int) -> dict[View, Matrix] | None:
    """The cached state, or None where there is none, another one, or one that is being replaced."""
    try:
        state = json.loads((cache / "current.json").read_text())
        if state["change"] != wanted:
            return None
        folder = cache / state["folder"]
        return {view: _matrix(folder, view) for view in state["views"]}
    except (OSError, ValueError, EOFError, KeyError):  # a cache that cannot be read is made again
        return None


def _matrix(folder: Path, view: View) -> Matrix:
    rows = np.load(folder / f"{view}.npy", mmap_mode="r")
    return Matrix(tuple(np.load(folder / f"{view}.ids.npy").tolist()), rows)


def _write(cache: Path, change: int, rows: dict[View, dict[str, Array]]) -> None:
    """A folder of its own for each state: readers of the one before keep their open files."""
    folder = cache / uuid.uuid4().hex[:12]
    folder.mkdir()
    views = [v for v in sorted(rows) if rows[v]]
    for view in views:
        matrix = _in_memory(rows[view])
        np.save(folder / f"{view}.ids.npy", np.array(matrix.ids))
        np.save(folder / f"{view}.npy", matrix.rows)
    temporary = cache / f".{folder.name}.json"
    temporary.write_text(json.dumps({"change": change, "folder": folder.name, "views": views}))
    temporary.rename(cache / "current.json")
    for other in cache.iterdir():
        if other.name not in (folder.name, "current.json", "lock"):
            shutil.rmtree(other, ignore_errors=True) if other.is_dir() else other.unlink()
