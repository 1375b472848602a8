"""A transformed space as a Qdrant index of its own: for libraries so large that scanning what was transformed is slow.

It belongs to one state of the space and to what was fitted on it, and says so in its folder's name. Where the library
has moved on, another folder is looked for, and searches scan until that one is built.
"""

from __future__ import annotations

import json
import shutil
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import LibraryError, StoreError
from mmretrieval.library.locks import FolderLock
from mmretrieval.search.correct import augmented_queries
from mmretrieval.store.edge import BATCH, EdgeStore, optimise
from mmretrieval.store.exact import Matrix
from mmretrieval.store.qdrant import Select
from mmretrieval.types import VIEWS, Array, Found, Point, Selection, View

ABOUT = "about.json"


class MaterialisedStore:
    """The open index in `folder`, which this process owns. `biased`: rows hold a correction as their last entry.

    It lets go of the folder when it is closed, or when nothing refers to it any more.
    """

    def __init__(self, folder: Path, select: Select | None = None) -> None:
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            self.folder, self.dim, self.biased = folder, int(about["dim"]), bool(about["biased"])
            counts = {view: int(about["views"].get(view, 0)) for view in VIEWS}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise StoreError(f"{folder / ABOUT} cannot be read ({error!r}): build the index anew") from error
        lock, self._stale = lock_of(folder), threading.Event()
        try:
            self._store = EdgeStore(folder / "shard", self.dim + self.biased, VIEWS, select=select)
            if (held := {view: self._store.count(view) for view in VIEWS}) != counts:
                self._store.close()
                raise StoreError(f"{folder} holds {held} items and should hold {counts}: build the index anew")
        except BaseException:
            lock.remove()
            raise
        self._end = weakref.finalize(self, _let_go, self._store, lock, folder, self._stale)

    def search(self, view: View, queries: Array, depth: int, selections: Sequence[Selection]) -> list[Found]:
        """For each query row (q, dim) the `depth` best items by dot product, and correction, among its selection."""
        return self._store.search(view, self.asked(queries), depth, selections)

    def asked(self, queries: Array) -> Array:
        """Queries (q, dim) as the index is asked: with one entry more, 1, where rows hold a correction."""
        return augmented_queries(queries) if self.biased else queries

    def entries(self, view: View, ids: Sequence[str]) -> tuple[Array, npt.NDArray[np.bool_]]:
        """What the index holds of items, a correction included, whose dot products with `asked` are the scores."""
        return self._store.rows(view, ids)

    def rows(self, view: View, ids: Sequence[str]) -> tuple[Array, npt.NDArray[np.bool_]]:
        """The items' transformed vectors (n, dim), zero where an item lacks the view, and which of them have it."""
        rows, present = self.entries(view, ids)
        return np.ascontiguousarray(rows[:, : self.dim]), present

    def count(self, view: View) -> int:
        """How many items have this view."""
        return self._store.count(view)

    def retire(self) -> None:
        """Says that the library has moved on: the folder goes when the last search in it has ended."""
        self._stale.set()

    def close(self) -> None:
        """Lets go of the index, which may have been removed meanwhile since the library moved on."""
        self._end()


def _let_go(store: EdgeStore, lock: FolderLock, folder: Path, stale: threading.Event) -> None:
    try:
        store.close()
    except StoreError:
        if (folder / ABOUT).exists():
            raise
    finally:
        if stale.is_set():
            shutil.rmtree(folder, ignore_errors=True)
        lock.remove()


def lock_of(folder: Path) -> FolderLock:
    """The right to an index: LibraryBusy while somebody else has it open or builds it."""
    return FolderLock(folder.with_name(f"{folder.name}.lock"), f"the index {folder.name}")


def remove(folder: Path) -> bool:
    """Removes an index unless somebody has it open, who will do so then; says whether it did."""
    try:
        lock = lock_of(folder)
    except LibraryError:  # in use, or nothing may be written here
        return False
    shutil.rmtree(folder, ignore_errors=True)
    lock.remove()
    return True


def build(
    folder: Path,
    items: Mapping[View, Matrix],
    payloads: Callable[[Sequence[str]], Mapping[str, Mapping[str, Any]]],
    *,
    biased: bool,
    about: Mapping[str, Any],
    graph_from: int,
    on_batch: Callable[[int], None] | None = None,
) -> int:
    """Writes the rows of all views as a new index in `folder`, with a search graph from `graph_from` items on.

    Gives the number of items. `payloads` gives what filters see of items by id; `biased` says that the rows' last entry
    is a correction. Building the graph stops every Python thread of the process: run it in one that has nothing else to
    do. Killed half-way it leaves a folder whose name ends in .building, which the next build removes.
    """
    for left in folder.parent.glob(f"{folder.name}*.building"):
        shutil.rmtree(left)
    building = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.building")
    dim = next(iter(items.values())).rows.shape[1]
    store = EdgeStore(building / "shard", dim, VIEWS)
    ids = sorted({i for matrix in items.values() for i in matrix.ids})
    for start in range(0, len(ids), BATCH):
        some = ids[start : start + BATCH]
        held = payloads(some)
        store.put([Point(i, dict(_vectors(items, i)), held[i]) for i in some if i in held])
        if on_batch:
            on_batch(min(start + BATCH, len(ids)))
    store.close()
    if len(ids) >= graph_from:
        optimise(building / "shard", dim, VIEWS)
    told = dict(about) | {"dim": dim - biased, "biased": biased, "items": len(ids)}
    told["views"] = {view: len(matrix.ids) for view, matrix in items.items()}
    (building / ABOUT).write_text(json.dumps(told, indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    building.rename(folder)
    return len(ids)


def _vectors(items: Mapping[View, Matrix], ident: str) -> Iterable[tuple[View, Array]]:
    for view, matrix in items.items():
        place = int(matrix.places([ident])[0])
        if place >= 0:
            yield view, np.asarray(matrix.rows[place])
