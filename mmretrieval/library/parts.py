"""Parquet parts: the durable vectors of a space. Everything else that holds vectors can be made again from these.

A part is written beside its final name, synced, and renamed; it counts from the moment the ledger names it. A part
that no ledger row names is what a killed run left behind, and is removed by the next one.
"""

from __future__ import annotations

import json
import os
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmretrieval.errors import CorruptLibrary
from mmretrieval.types import Array, Vectors, View

# The key of a part's metadata.
ABOUT = "about"


def write_part(
    folder: Path,
    ids: Sequence[str],
    views: Sequence[View],
    rows: Array | Vectors,
    about: Mapping[str, Any] | None = None,
) -> str:
    """Writes rows (n, dim), or n bags, with their item ids and views, on disk when this returns; gives the part's name.

    A row's or a bag's checksum is the CRC-32 of its bytes. `about` is kept in the file's metadata, for whoever reads it
    elsewhere.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    name = f"part-{uuid.uuid4().hex}.parquet"
    flat = rows.rows if isinstance(rows, Vectors) else rows
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1), pa.float32()), flat.shape[1])
    columns = {"id": pa.array(ids, pa.string()), "view": pa.array(views, pa.string())}
    if isinstance(rows, Vectors):
        # Beside the bags, so that how much room they need can be told without reading them.
        columns["rows"] = pa.array(np.diff(rows.offsets), pa.int32())
        vectors = pa.LargeListArray.from_arrays(pa.array(rows.offsets, pa.int64()), vectors)
    columns["vector"] = vectors
    columns["checksum"] = pa.array([zlib.crc32(rows[i].tobytes()) for i in range(len(rows))], pa.uint32())
    table = pa.table(columns)
    if about is not None:
        table = table.replace_schema_metadata({ABOUT: json.dumps(about)})
    temporary = folder / f".{name}.tmp"
    with temporary.open("wb") as sink:
        # A dictionary of floats that never repeat only costs; views repeat.
        pq.write_table(table, sink, compression="none", use_dictionary=["view"], write_statistics=["id", "view"])
        sink.flush()
        os.fsync(sink.fileno())
    temporary.rename(folder / name)
    sync_folder(folder)
    return name


def read_part(folder: Path, name: str) -> tuple[list[str], list[View], Array | Vectors]:
    """Ids, views, and the rows (n, dim) or bags of a part; CorruptLibrary where one is not what was written."""
    table = _table(folder / name)
    column = table.column("vector").combine_chunks()
    rows: Array | Vectors
    if hasattr(column.type, "list_size"):
        rows = _numbers(column)
    else:
        rows = Vectors(_numbers(column.flatten()), np.asarray(column.offsets, dtype=np.int64))
    for i, checksum in enumerate(table.column("checksum").to_pylist()):
        if zlib.crc32(rows[i].tobytes()) != checksum:
            raise CorruptLibrary(f"{folder / name}: row {i} does not match its checksum; restore the file from a copy")
    views: list[View] = table.column("view").to_pylist()
    return table.column("id").to_pylist(), views, rows


def bag_sizes(folder: Path, name: str) -> dict[tuple[str, View], int]:
    """How many rows each bag of a part has, by item and view, without reading the bags."""
    table = _table(folder / name, ["id", "view", "rows"])
    ids, views, rows = (table.column(c).to_pylist() for c in ("id", "view", "rows"))
    return dict(zip(zip(ids, views, strict=True), rows, strict=True))


def about(folder: Path, name: str) -> dict[str, Any] | None:
    """What was said of a part when it was written."""
    said = (_table(folder / name, ["view"]).schema.metadata or {}).get(ABOUT.encode())
    found: dict[str, Any] | None = None if said is None else json.loads(said)
    return found


def _table(path: Path, columns: list[str] | None = None) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:  # read_table would take a folder called a=b for a column
            return file.read(columns)
    except (OSError, pa.ArrowException) as error:
        raise CorruptLibrary(
            f"{path} cannot be read ({error}): its vectors are lost. Restore it from a copy, or delete the library "
            "folder and ingest again"
        ) from error


def _numbers(lists: Any) -> Array:
    """A column of fixed-size lists as an array (n, size)."""
    flat = np.asarray(lists.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    return flat.reshape(-1, lists.type.list_size)


class PartReader:
    """Single vectors out of parts; keeps the parts read last, since changes come in the order of parts."""

    def __init__(self, folder: Path, keep: int = 8) -> None:
        self.folder, self.keep = folder, keep
        self._parts: OrderedDict[str, tuple[dict[tuple[str, View], int], Array | Vectors]] = OrderedDict()

    def row(self, part: str, item: str, view: View) -> Array:
        """An item's row (dim,) or bag (n, dim) of a view in a part; raises CorruptLibrary where it is not there."""
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
