"""The index of a space: a Qdrant Edge shard that follows the ledger's tape of changes.

Only one process may own a shard, so the owner holds a lock. An index is a cache: it may be deleted, and is made again
from the parts. Each generation is a folder of its own, named by a random word and the number of points that its graph
was built over (0: none, every search is an exact scan). A graph is built in another process, into a new generation,
because building holds the interpreter lock for seconds; the owner then changes over.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from mmretrieval.errors import LibraryError, StoreError
from mmretrieval.library.ledger import Ledger
from mmretrieval.library.locks import FolderLock
from mmretrieval.library.parts import PartReader
from mmretrieval.muvera import Fde
from mmretrieval.store.edge import EdgeStore, LateEdgeStore, optimise
from mmretrieval.store.qdrant import Select
from mmretrieval.types import VIEWS, Array, Point, View

# Small enough that a page which applies changes meanwhile never stalls: about 25 ms for 256 rows of 512.
BATCH = 256
# At 20,000 x 384 a scan takes 2.0 ms and a search graph 1.2 ms (and 32 s to build): below this many points it only
# loses recall.
OPTIMISE_FROM = 50_000
# Bags of rows are larger than rows, and so are the encodings that stand for them.
BAGS, OPTIMISE_BAGS_FROM = 32, 10_000
# The engine writes through memory maps, so that a full disk ends its process with SIGBUS; opening a small shard again
# took 14 MB.
ROOM = 128 * 2**20


EdgeIndex: TypeAlias = EdgeStore | LateEdgeStore


class SpaceIndex:
    """The owned, open index of one space; `sync` brings it up to the ledger, `store` is searched."""

    def __init__(
        self,
        ledger: Ledger,
        space: str,
        dim: int,
        folder: Path,
        parts: Path,
        fde: Fde | None = None,
        select: Select | None = None,
    ) -> None:
        self.space, self.dim, self.folder, self.fde, self.select = space, dim, folder, fde, select
        self.reader = _reader(parts, fde)
        self.batch = BATCH if fde is None else BAGS
        self.lock = FolderLock(folder / "lock", f"the index of {space}")  # makes the folder
        try:
            _check_room(folder)
            self.generation, self.applied = _current(ledger, space, folder)
            try:
                self.store = _opened(folder / self.generation, dim, fde, select)
            except StoreError:  # spoilt, or of another encoding: it is a cache, so a new one takes its place
                self.generation, self.applied = _fresh(ledger, space)
                self.store = _opened(folder / self.generation, dim, fde, select)
        except BaseException:
            self.lock.release()
            raise

    def behind(self, ledger: Ledger) -> bool:
        """Whether the ledger knows of changes, or of a newer generation, that are not in use yet."""
        state = ledger.index_state(self.space)
        newer = state is not None and state[0] != self.generation
        return newer or ledger.last_change(self.space) > self.applied

    def sync(self, ledger: Ledger, on_batch: Callable[[int], None] | None = None) -> int:
        """Applies what changed since the last time, in small batches; gives the number of items looked at."""
        self._change_over(ledger)
        seen = 0
        while True:
            ids, reached = ledger.changed_since(self.space, self.applied, self.batch)
            if reached == self.applied:
                break
            _check_room(self.folder)
            apply_changes(ledger, self.store, self.space, ids, self.reader)
            self.applied = reached
            seen += len(ids)
            if on_batch:
                on_batch(seen)
        if seen:
            self.store.flush()
            ledger.set_applied(self.space, self.generation, self.applied)
        return seen

    def _change_over(self, ledger: Ledger) -> None:
        state = ledger.index_state(self.space)
        if state is None or state[0] == self.generation or not (self.folder / state[0]).is_dir():
            return
        # The old shard is not closed here: a search of another thread may be in it, and lets it go when it is done.
        self.store = _opened(self.folder / state[0], self.dim, self.fde, self.select)
        self.generation, self.applied = state

    def close(self) -> None:
        """Flushes, closes the shard and lets the next process in."""
        self.store.close()
        self.lock.release()


def apply_changes(ledger: Ledger, store: EdgeIndex, space: str, ids: Sequence[str], reader: PartReader) -> None:
    """Makes the store agree with the ledger about these items; doing it twice changes nothing."""
    vectors: dict[str, dict[View, Array]] = {i: {} for i in ids}
    for row in ledger.vectors_of(space, ids):
        vectors[row.item][row.view] = reader.row(row.part, row.item, row.view)
    points = [Point(i.id, vectors[i.id], i.payload) for i in ledger.items(ids) if vectors[i.id]]
    kept = {p.id for p in points}
    store.delete([i for i in ids if i not in kept])
    store.put(points)


def build_generation(ledger: Ledger, space: str, dim: int, folder: Path, parts: Path, fde: Fde | None = None) -> int:
    """Builds a new generation with a search graph and makes it current; gives the number of points in it.

    Run it in a process of its own: the engine's optimise() stops every Python thread. The owner of the index, if there
    is one, goes on with the generation that it has open and changes over at its next sync.
    """
    with FolderLock(folder / "building.lock", f"the building of the index of {space}"):
        for left in folder.glob("*.building*"):
            if left.is_dir():  # by a build that was killed
                shutil.rmtree(left)
        return _build(ledger, space, dim, folder, _reader(parts, fde), fde)


def _build(ledger: Ledger, space: str, dim: int, folder: Path, reader: PartReader, fde: Fde | None) -> int:
    building = folder / f"{uuid.uuid4().hex[:12]}.building"
    store, applied = _opened(building, dim, fde), 0
    while True:
        ids, reached = ledger.changed_since(space, applied, BATCH if fde is None else BAGS)
        if reached == applied:
            break
        _check_room(folder)
        apply_changes(ledger, store, space, ids, reader)
        applied = reached
    points = max(store.count(view) for view in VIEWS)
    store.close()
    optimise(building, dim, VIEWS, fde=fde)
    generation = f"{building.name.removesuffix('.building')}-{points}"
    building.rename(folder / generation)
    ledger.set_generation(space, generation, applied)
    return points


def _opened(folder: Path, dim: int, fde: Fde | None, select: Select | None = None) -> EdgeIndex:
    if fde is None:
        return EdgeStore(folder, dim, VIEWS, select=select)
    return LateEdgeStore(folder, dim, VIEWS, fde, select=select)


def _reader(parts: Path, fde: Fde | None) -> PartReader:
    # Parts of bags are larger by as much as an item has rows.
    return PartReader(parts) if fde is None else PartReader(parts, keep=2)


def graph_points(generation: str) -> int:
    """How many points the generation's search graph was built over."""
    return int(generation.rpartition("-")[2])


def _current(ledger: Ledger, space: str, folder: Path) -> tuple[str, int]:
    state = ledger.index_state(space)
    if state is not None and (folder / state[0]).is_dir():
        generation, applied = state
    else:
        generation, applied = _fresh(ledger, space)
    for other in folder.iterdir():
        if other.is_dir() and other.name != generation and ".building" not in other.name:
            shutil.rmtree(other, ignore_errors=True)
    return generation, applied


def _check_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        raise LibraryError(
            f"the index {folder} needs {ROOM / 1e6:.0f} MB of room, and {free / 1e6:.0f} MB are free: the vectors are "
            "stored and searches scan them; make room, and run the same command again to bring the index up to them"
        )


def _fresh(ledger: Ledger, space: str) -> tuple[str, int]:
    """A new generation, empty, as the current one."""
    generation = f"{uuid.uuid4().hex[:12]}-0"
    ledger.set_generation(space, generation, 0)
    return generation, 0
