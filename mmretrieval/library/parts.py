"""Parquet parts: the durable vectors of a space. Everything else that holds vectors can be made again from these.

A part is written beside its final name, synced, and renamed; it counts from the moment the ledger names it. A part
that no ledger row names is what a killed run left behind, and is removed by the next one.
"""

from __future__ import annotations

import os
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmretrieval.errors import CorruptLibrary
from mmretrieval.types import Array, View


def write_part(folder: Path, ids: Sequence[str], views: Sequence[View], rows: Array) -> str:
    """Writes rows (n, dim) with their item ids and views, on disk when this returns; gives the part's name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    name = f"part-{uuid.uuid4().hex}.parquet"
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "view": pa.array(views, pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1), pa.float32()), rows.shape[1]),
            "checksum": pa.array([zlib.crc32(r.tobytes()) for r in rows], pa.uint32()),
        }
    )
    temporary = folder / f".{name}.tmp"
    with temporary.open("wb") as sink:
        # A dictionary of floats that never repeat only costs; views repeat.
        pq.write_table(table, sink, compression="none", use_dictionary=["view"], write_statistics=["id", "view"])
        sink.flush()
        os.fsync(sink.fileno())
    temporary.rename(folder / name)
    sync_folder(folder)
    return name


def read_part(folder: Path, name: str) -> tuple[list[str], list[View], Array]:
    """Ids, views and rows of a part; raises CorruptLibrary where a row is not what was written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / name
    try:
        with pq.ParquetFile(path) as file:  # read_table would take a folder called a=b for a column
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise CorruptLibrary(
            f"{path} cannot be read ({error}): its vectors are lost. Restore it from a copy, or delete the library "
            "folder and ingest again"
        ) from error
    vectors = table.column("vector").combine_chunks()
    dim = vectors.type.list_size
    rows = np.asarray(vectors.flatten().to_numpy(zero_copy_only=False), dtype=np.float32).reshape(-1, dim)
    for i, checksum in enumerate(table.column("checksum").to_pylist()):
        if zlib.crc32(rows[i].tobytes()) != checksum:
            raise CorruptLibrary(f"{path}: row {i} does not match its checksum; restore the file from a copy")
    views: list[View] = table.column("view").to_pylist()
    return table.column("id").to_pylist(), views, rows


class PartReader:
    """Single rows out of parts; keeps the parts read last, since changes come in the order of parts."""

    def __init__(self, folder: Path, keep: int = 8) -> None:
        self.folder, self.keep = folder, keep
        self._parts: OrderedDict[str, tuple[dict[tuple[str, View], int], Array]] = OrderedDict()

    def row(self, part: str, item: str, view: View) -> Array:
        """The vector of an item's view (dim,) in a part; raises CorruptLibrary where it is not there."""
        if part not in self._parts:
            ids, views, rows = read_part(self.folder, part)
            self._parts[part] = ({pair: i for i, pair in enumerate(zip(ids, views, strict=True))}, rows)
            if len(self._parts) > self.keep:
                self._parts.popitem(last=False)
        self._parts.move_to_end(part)
        places, rows = self._parts[part]
        if (item, view) not in places:
            raise CorruptLibrary(f"{self.folder / part} lacks the {view} vector of {item}; restore it from a copy")
        vector: Array = rows[places[item, view]]
        return vector


def remove_orphans(folder: Path, named: Sequence[str]) -> int:
    """Removes files that no ledger row names; only the holder of the writer's lock may call this."""
    keep, removed = set(named), 0
    for path in folder.glob("*part-*"):
        if path.name not in keep:
            path.unlink()
            removed += 1
    return removed


def sync_folder(folder: Path) -> None:
    """Makes a rename inside the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
