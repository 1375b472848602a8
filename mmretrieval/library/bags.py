"""The memory-mapped cache of a late-interaction space: each view's bags of rows as one .npy, with offsets and ids.

It is filled part by part: no more than one part's bags are in memory, however many there are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmretrieval.errors import CorruptLibrary
from mmretrieval.library.ledger import Ledger
from mmretrieval.library.matrices import Live, cached, check_whole, current, loaded
from mmretrieval.library.parts import bag_sizes, read_part
from mmretrieval.store.late import Bags
from mmretrieval.types import Array, Vectors, View


def bags(ledger: Ledger, space: str, dim: int, parts: Path, caches: Sequence[Path]) -> dict[View, Bags]:
    """The views of a space as memory-mapped bags by rising item id, made anew when the ledger has changed since.

    `caches` are looked in as `cached` says.
    """

    def write(folder: Path) -> tuple[int, list[View]]:
        change, views = current(ledger, space, lambda live: _write(parts, live, dim, folder))
        return change, sorted(views)

    def hold() -> dict[View, Bags]:
        return current(ledger, space, lambda live: _write(parts, live, dim, None))[1]

    return cached(ledger, space, caches, _load, write, hold)


def _write(parts: Path, live: Live, dim: int, folder: Path | None) -> dict[View, Bags]:
    """The current bags of all parts, in files of the folder, or in memory where there is none."""
    places: dict[View, dict[str, int]] = {}
    for name, wanted in live.items():
        sizes = bag_sizes(parts, name)
        found = {pair: sizes[pair] for pair in wanted if pair in sizes}
        check_whole(parts / name, wanted, found)
        for (ident, view), rows in found.items():
            places.setdefault(view, {})[ident] = rows
    held = {view: _empty(places[view], dim, view, folder) for view in places}
    for name, wanted in live.items():
        ids, views, vectors = read_part(parts, name)
        for ident, view, bag in zip(ids, views, vectors, strict=True):
            if (ident, view) in wanted:
                _put(held[view], ident, bag, parts / name)
    for view, whole in held.items():
        if folder is not None:
            np.save(folder / f"{view}.ids.npy", np.array(whole.ids))
            np.save(folder / f"{view}.offsets.npy", whole.vectors.offsets)
            assert isinstance(whole.vectors.rows, np.memmap)
            whole.vectors.rows.flush()
    return held


def _empty(sizes: dict[str, int], dim: int, view: View, folder: Path | None) -> Bags:
    ids = tuple(sorted(sizes))
    offsets = np.concatenate([[0], np.cumsum([sizes[i] for i in ids])]).astype(np.int64)
    shape = (int(offsets[-1]), dim)
    rows: Array
    if folder is None:
        rows = np.empty(shape, dtype=np.float32)
    else:
        file = folder / f"{view}.npy"
        rows = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
        # A disk that is full must say so here: a write through the map would end the process.
        with file.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, file.stat().st_size)
    return Bags(ids, Vectors(rows, offsets))


def _put(whole: Bags, ident: str, bag: Array, part: Path) -> None:
    (place,) = whole.places([ident])
    target = whole.vectors[place]
    if target.shape != bag.shape:
        raise CorruptLibrary(f"{part}: the bag of {ident} has {len(bag)} rows, not {len(target)}; restore the file")
    target[:] = bag


def _load(folder: Path, view: View) -> Bags:
    rows = loaded(folder / f"{view}.npy", mmap_mode="r")
    offsets = loaded(folder / f"{view}.offsets.npy")
    return Bags(tuple(loaded(folder / f"{view}.ids.npy").tolist()), Vectors(rows, offsets))
