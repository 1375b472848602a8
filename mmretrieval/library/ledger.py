"""The ledger: one SQLite file that says what the library holds. The only writer of truth beside the Parquet parts.

Every change is one transaction (WAL, synchronous=FULL): after a crash it has happened whole or not at all. The
`changes` table is the tape that indexes read: each says "look at this item in this space again". An index remembers
how far it has read, so applying a change twice is harmless and none is missed.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmretrieval.errors import CorruptLibrary, LibraryError, NotALibrary
from mmretrieval.filters import Filter
from mmretrieval.store.sql import where
from mmretrieval.types import Item, View

FORMAT = 1
# Stands for a space on the tape: an item was stored or forgotten, whatever vectors it has.
TEXTS = "texts"
SCHEMA = """
CREATE TABLE files (
    path TEXT PRIMARY KEY, kind TEXT NOT NULL, size INTEGER, mtime_ns INTEGER, sha256 TEXT, settings TEXT NOT NULL,
    caption TEXT NOT NULL, lang TEXT NOT NULL, meta TEXT NOT NULL, words_hash TEXT NOT NULL,
    spaces TEXT NOT NULL, reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX files_by_content ON files (sha256);
CREATE TABLE items (
    id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, settings TEXT NOT NULL, kind TEXT NOT NULL, locator TEXT NOT NULL,
    t0 REAL, t1 REAL, page INTEGER, words TEXT NOT NULL, visual INTEGER NOT NULL,
    text TEXT NOT NULL, lang TEXT NOT NULL, payload TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX items_by_content ON items (sha256);
CREATE TABLE vectors (
    space TEXT NOT NULL, view TEXT NOT NULL, item TEXT NOT NULL, key TEXT NOT NULL, part TEXT NOT NULL,
    PRIMARY KEY (space, view, item)
) WITHOUT ROWID;
CREATE INDEX vectors_by_item ON vectors (item);
CREATE INDEX vectors_by_part ON vectors (part);
CREATE TABLE parts (name TEXT PRIMARY KEY, space TEXT NOT NULL, rows INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, space TEXT NOT NULL, item TEXT NOT NULL);
CREATE INDEX changes_by_space ON changes (space, seq);
CREATE TABLE indexes (space TEXT PRIMARY KEY, generation TEXT NOT NULL, applied INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class FileRow:
    """What the ledger knows of one path: `spaces` (sorted) hold vectors of all its items, `reason` says a failure.

    An empty `words_hash` says that its words have to be looked at again. Words that stand in no file have a negative
    `mtime_ns`.
    """

    path: str
    kind: str
    size: int | None
    mtime_ns: int | None
    sha256: str | None
    settings: str
    caption: str
    lang: str
    meta: str
    words_hash: str
    spaces: tuple[str, ...] = ()
    reason: str = ""

    @property
    def inline(self) -> bool:
        """Whether there never was a file, so that only the ledger has its words."""
        return self.mtime_ns is not None and self.mtime_ns < 0


@dataclass(frozen=True)
class VectorRow:
    """Which part holds the vector of an item's view in a space, and (`key`) what it was made from."""

    space: str
    view: View
    item: str
    key: str
    part: str


class Ledger:
    """One connection to `ledger.sqlite`; give each thread its own. `reading`: it refuses to change anything."""

    def __init__(self, path: Path, *, create: bool = False, reading: bool = False) -> None:
        if not path.exists() and not create:
            raise NotALibrary(
                f"{path} is gone, and with it what the library held: restore it from a copy, or delete the folder "
                f"{path.parent} and ingest again"
            )
        self.path = path
        try:
            self.connection = _connect(path)
            # A thread that ends leaves its connection to whatever refers to it yet, and with it the journal.
            weakref.finalize(self, _let_go, self.connection)
            if reading:
                self.connection.execute("PRAGMA query_only=ON")
            version = self.connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and create:
                version = self._make()
        except sqlite3.OperationalError as error:
            raise LibraryError(f"{path} cannot be opened ({error}): is it this user's, is the disk full?") from error
        except sqlite3.DatabaseError as error:
            raise CorruptLibrary(
                f"{path} is damaged ({error}): restore it from a copy, or delete the folder {path.parent} and ingest "
                "again"
            ) from error
        if version != FORMAT:
            raise NotALibrary(f"{path} has format {version}, this version reads {FORMAT}: ingest into a new folder")

    def _make(self) -> int:
        with self.transaction():
            for statement in SCHEMA.strip().split(";\n"):
                self.connection.execute(statement)
            self.connection.execute(f"PRAGMA user_version={FORMAT}")
        return FORMAT

    def close(self) -> None:
        """Lets go of the file."""
        _let_go(self.connection)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what is done inside, or nothing of it."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException:
            # After some errors, a full disk among them, SQLite has rolled back already.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside is the state of one moment, whatever others write meanwhile."""
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")

    # --- files ---------------------------------------------------------------------------------------------------

    def file(self, path: str) -> FileRow | None:
        """What is known of a path."""
        row = self.connection.execute("SELECT * FROM files WHERE path = ?", (path,)).fetchone()
        return _file_row(row) if row else None

    def files(self, *, failed: bool = False) -> Iterator[FileRow]:
        """All paths in order, or only those that failed."""
        clause = "WHERE reason != ''" if failed else ""
        for row in self.connection.execute(f"SELECT * FROM files {clause} ORDER BY path"):
            yield _file_row(row)

    def folders(self) -> list[str]:
        """The folders that the files lie in, each with a slash at its end, in order."""
        # What is left of a path when its end is stripped of every character but slashes.
        found = self.connection.execute("SELECT DISTINCT rtrim(path, replace(path, '/', '')) FROM files ORDER BY 1")
        return [folder for (folder,) in found]

    def unfinished(self, spaces: Iterable[str]) -> list[FileRow]:
        """The readable paths whose words have to be looked at again, or which lack vectors in one of these spaces."""
        wanted = set(spaces)
        query = "SELECT * FROM files WHERE reason = '' AND (words_hash = '' OR spaces != ?) ORDER BY path"
        rows = map(_file_row, self.connection.execute(query, (json.dumps(sorted(wanted)),)))
        return [row for row in rows if not row.words_hash or not wanted <= set(row.spaces)]

    def ask_words_again(self, sha256: str) -> None:
        """Marks the content's paths: one of them was taken away, and with it a caption."""
        self.connection.execute("UPDATE files SET words_hash = '' WHERE sha256 = ?", (sha256,))

    def paths_of(self, sha256: str) -> list[FileRow]:
        """Every path whose last readable bytes were these, in order."""
        rows = self.connection.execute("SELECT * FROM files WHERE sha256 = ? ORDER BY path", (sha256,))
        return [_file_row(r) for r in rows]

    def put_file(self, row: FileRow) -> None:
        """Stores what is known of a path, whole."""
        values = [json.dumps(v) if isinstance(v, tuple) else v for v in vars(row).values()]
        self.connection.execute("INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", values)

    def drop_file(self, path: str) -> None:
        """Forgets a path (its items go with `drop_items` when no path is left)."""
        self.connection.execute("DELETE FROM files WHERE path = ?", (path,))

    # --- items ---------------------------------------------------------------------------------------------------

    def put_item(self, item: Item, words: str, settings: str) -> None:
        """Stores an item; `words` is what the file itself says there, before captions are added."""
        payload = json.dumps(item.payload, ensure_ascii=False, sort_keys=True)
        self.connection.execute(
            "INSERT OR REPLACE INTO items VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (item.id, item.content_hash, settings, item.kind, item.locator, item.t0, item.t1, item.page)
            + (words, int(item.visual), item.text, item.lang, payload),
        )
        self.note([(TEXTS, item.id)])

    def items_of(self, sha256: str, settings: str) -> list[tuple[Item, str]]:
        """The items cut from these bytes under these settings, with the words of the file itself, in place order."""
        rows = self.connection.execute(
            "SELECT * FROM items WHERE sha256 = ? AND settings = ? ORDER BY t0, page, id", (sha256, settings)
        ).fetchall()
        return [(self._item(r), r[8]) for r in rows]

    def items(self, ids: Sequence[str] | None = None) -> Iterator[Item]:
        """All items by id, or those asked for (unknown ids are left out)."""
        if ids is None:
            for row in self.connection.execute("SELECT * FROM items ORDER BY id"):
                yield self._item(row)
            return
        for start in range(0, len(ids), 500):
            chunk = list(ids[start : start + 500])
            marks = ",".join("?" * len(chunk))
            yield from map(self._item, self.connection.execute(f"SELECT * FROM items WHERE id IN ({marks})", chunk))

    def _item(self, row: Sequence[Any]) -> Item:
        ident, sha256, _, kind, locator, t0, t1, page, _, visual, text, lang, payload = row
        paths = self.connection.execute("SELECT path FROM files WHERE sha256 = ? ORDER BY path", (sha256,))
        meta = json.loads(payload).get("meta", {})
        return Item(
            ident, kind, sha256, locator, t0, t1, page, tuple(p for (p,) in paths), text, lang, meta, bool(visual)
        )

    def texts(self, ids: Sequence[str] | None = None) -> Iterator[tuple[str, str]]:
        """The id and words of every item that has words, by id, or of those asked for."""
        chunks = [None] if ids is None else [ids[start : start + 500] for start in range(0, len(ids), 500)]
        for chunk in chunks:
            clause = "" if chunk is None else f"WHERE id IN ({','.join('?' * len(chunk))})"
            query = f"SELECT id, text FROM items {clause} ORDER BY id"
            yield from ((i, text) for i, text in self.connection.execute(query, chunk or ()) if text.strip())

    def ids(self) -> frozenset[str]:
        """The ids of all items."""
        return frozenset(i for (i,) in self.connection.execute("SELECT id FROM items"))

    def ids_of_content(self, sha256: str) -> list[str]:
        """The ids of all items cut from these bytes."""
        return [i for (i,) in self.connection.execute("SELECT id FROM items WHERE sha256 = ? ORDER BY id", (sha256,))]

    def unreferenced(self) -> list[str]:
        """The ids of the items whose content no path holds any more."""
        query = "SELECT id FROM items WHERE sha256 NOT IN (SELECT sha256 FROM files WHERE sha256 IS NOT NULL)"
        return [i for (i,) in self.connection.execute(query)]

    def select(self, value: Filter) -> frozenset[str]:
        """The ids of the items that pass the filter: what `filters.matches` says of `filters.facts`."""
        clause, arguments = where(value)
        return frozenset(i for (i,) in self.connection.execute(f"SELECT id FROM items WHERE {clause}", arguments))

    def drop_items(self, ids: Iterable[str]) -> None:
        """Forgets items and their vectors, and tells every index that held them."""
        for ident in ids:
            spaces = [
                s for (s,) in self.connection.execute("SELECT DISTINCT space FROM vectors WHERE item = ?", (ident,))
            ]
            self.connection.execute("DELETE FROM vectors WHERE item = ?", (ident,))
            self.connection.execute("DELETE FROM items WHERE id = ?", (ident,))
            self.note((space, ident) for space in [*spaces, TEXTS])

    # --- vectors, parts, changes ---------------------------------------------------------------------------------

    def keys(self, item: str, space: str) -> dict[View, str]:
        """What the stored vectors of an item in a space were made from, by view."""
        rows = self.connection.execute("SELECT view, key FROM vectors WHERE item = ? AND space = ?", (item, space))
        return dict(rows.fetchall())

    def put_part(self, name: str, space: str, rows: Sequence[VectorRow]) -> None:
        """Acknowledges a part: from here on its vectors are the current ones."""
        self.connection.execute("INSERT INTO parts VALUES (?,?,?)", (name, space, len(rows)))
        self.connection.executemany(
            "INSERT OR REPLACE INTO vectors VALUES (?,?,?,?,?)",
            [(r.space, r.view, r.item, r.key, r.part) for r in rows],
        )
        self.note({(r.space, r.item) for r in rows})

    def replace_parts(self, old: Sequence[str], name: str, space: str, rows: Sequence[tuple[str, View]]) -> None:
        """Makes one merged part stand for several: the vectors are the same, so no index hears of it."""
        self.connection.execute("INSERT INTO parts VALUES (?,?,?)", (name, space, len(rows)))
        self.connection.executemany(
            "UPDATE vectors SET part = ? WHERE space = ? AND view = ? AND item = ?",
            [(name, space, view, item) for item, view in rows],
        )
        self.forget_parts(old)

    def forget_parts(self, names: Sequence[str]) -> None:
        """Takes parts that hold nothing current any more off the list."""
        self.connection.executemany("DELETE FROM parts WHERE name = ?", [(n,) for n in names])

    def drop_view(self, item: str, view: View) -> None:
        """Forgets one view of an item in every space (its words were taken away)."""
        spaces = self.connection.execute(
            "SELECT space FROM vectors WHERE item = ? AND view = ?", (item, view)
        ).fetchall()
        self.connection.execute("DELETE FROM vectors WHERE item = ? AND view = ?", (item, view))
        self.note((space, item) for (space,) in spaces)

    def note(self, changes: Iterable[tuple[str, str]]) -> None:
        """Adds (space, item) pairs to the tape."""
        self.connection.executemany("INSERT INTO changes (space, item) VALUES (?,?)", sorted(changes))

    def note_item(self, item: str) -> None:
        """Tells every index that holds the item that its payload changed."""
        spaces = self.connection.execute("SELECT DISTINCT space FROM vectors WHERE item = ?", (item,)).fetchall()
        self.note((space, item) for (space,) in spaces)

    def parts(self, space: str) -> list[str]:
        """The acknowledged parts of a space, in order."""
        return [n for (n,) in self.connection.execute("SELECT name FROM parts WHERE space = ? ORDER BY name", (space,))]

    def small_parts(self, space: str, rows: int) -> list[str]:
        """The parts of a space with fewer than `rows` rows."""
        query = "SELECT name FROM parts WHERE space = ? AND rows < ? ORDER BY name"
        return [n for (n,) in self.connection.execute(query, (space, rows))]

    def vectors_in(self, part: str) -> dict[tuple[str, View], str]:
        """The (item, view) pairs whose current vector is in this part, with their keys."""
        rows = self.connection.execute("SELECT item, view, key FROM vectors WHERE part = ?", (part,))
        return {(item, view): key for item, view, key in rows}

    def last_change(self, space: str) -> int:
        """The number of the newest change of a space; 0 where nothing ever happened."""
        row = self.connection.execute("SELECT MAX(seq) FROM changes WHERE space = ?", (space,)).fetchone()
        return int(row[0] or 0)

    def changed_since(self, space: str, seq: int, limit: int) -> tuple[list[str], int]:
        """The items of up to `limit` changes after `seq`, each once, and the number to go on from."""
        rows = self.connection.execute(
            "SELECT seq, item FROM changes WHERE space = ? AND seq > ? ORDER BY seq LIMIT ?", (space, seq, limit)
        ).fetchall()
        return sorted({item for _, item in rows}), rows[-1][0] if rows else seq

    def index_state(self, space: str) -> tuple[str, int] | None:
        """The current generation of a space's index, and the last change flushed to it."""
        row = self.connection.execute("SELECT generation, applied FROM indexes WHERE space = ?", (space,)).fetchone()
        return (row[0], row[1]) if row else None

    def set_generation(self, space: str, generation: str, applied: int) -> None:
        """Makes a generation of the space's index the current one."""
        with self.transaction():
            self.connection.execute("INSERT OR REPLACE INTO indexes VALUES (?,?,?)", (space, generation, applied))

    def set_applied(self, space: str, generation: str, applied: int) -> None:
        """Remembers what a generation has flushed; nothing where another one has become current meanwhile."""
        with self.transaction():
            self.connection.execute(
                "UPDATE indexes SET applied = ? WHERE space = ? AND generation = ?", (applied, space, generation)
            )

    def vectors_of(self, space: str, ids: Sequence[str]) -> list[VectorRow]:
        """Where the current vectors of these items are."""
        found: list[VectorRow] = []
        for start in range(0, len(ids), 500):
            chunk = list(ids[start : start + 500])
            marks = ",".join("?" * len(chunk))
            query = f"SELECT space, view, item, key, part FROM vectors WHERE space = ? AND item IN ({marks})"
            found += [VectorRow(*row) for row in self.connection.execute(query, [space, *chunk])]
        return found

    def items_with(self, space: str, view: View) -> list[str]:
        """The ids of the items that have a view in a space, rising."""
        query = "SELECT item FROM vectors WHERE space = ? AND view = ? ORDER BY item"
        return [i for (i,) in self.connection.execute(query, (space, view))]

    def view_counts(self, space: str) -> dict[View, int]:
        """How many items have each view in a space."""
        rows = self.connection.execute("SELECT view, COUNT(*) FROM vectors WHERE space = ? GROUP BY view", (space,))
        return dict(rows.fetchall())

    def item_counts(self) -> dict[str, int]:
        """How many items there are of each kind."""
        return dict(self.connection.execute("SELECT kind, COUNT(*) FROM items GROUP BY kind ORDER BY kind").fetchall())

    def content_counts(self) -> dict[View, int]:
        """How many items have something to see, words, and both: what encoders can make each view of."""
        query = "SELECT TOTAL(visual), TOTAL(text != ''), TOTAL(visual AND text != '') FROM items"
        visual, text, joint = self.connection.execute(query).fetchone()
        return {"visual": int(visual), "text": int(text), "joint": int(joint)}


def _connect(path: Path) -> sqlite3.Connection:
    if os.access(path.parent, os.W_OK) or not path.exists():
        connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection
    # A library on a medium that cannot be written to can be searched all the same.
    sealed = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(sealed, uri=True, isolation_level=None, check_same_thread=False)


# Reentrant: a collection in the middle of one may let go of another.
_LETTING_GO = threading.RLock()


def _let_go(connection: sqlite3.Connection) -> None:
    """Closes a connection, one after the other: of two that close at once, each takes the other for one that stays, and
    neither takes the journal away."""
    with _LETTING_GO:
        connection.close()


def _file_row(row: Sequence[Any]) -> FileRow:
    values: list[Any] = [*row[:10], tuple(json.loads(row[10])), row[11]]
    return FileRow(*values)


def meta_of(row: FileRow) -> Mapping[str, Any]:
    """A file's metadata as it was given."""
    value: Mapping[str, Any] = json.loads(row.meta)
    return value
