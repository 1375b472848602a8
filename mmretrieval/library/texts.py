"""The words of a library's items as terms, for lexical search: read from the ledger, kept in step by its tape.

Each text is read once; what is held, postings included, is 16 bytes for each distinct term of each text. A large
library's terms are kept in the cache folder, which may be deleted.
"""

from __future__ import annotations

import threading
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmretrieval import lexical
from mmretrieval.filters import Filter
from mmretrieval.library.ledger import TEXTS, Ledger
from mmretrieval.library.matrices import loaded
from mmretrieval.store.lexical import LexicalStore

# Reading so many texts takes about a tenth of a second: fewer are read again by the next process.
WRITTEN_FROM = 2000


@dataclass(frozen=True, eq=False)
class Read:
    """The items that have words, their terms, and the newest change of the tape that is in them."""

    change: int
    ids: tuple[str, ...]
    texts: lexical.Texts


class Words:
    """The words of one library. Threads may share it.

    `caches` are the folders where terms are kept between processes: all are read, the last is written.
    """

    def __init__(self, caches: Sequence[Path]) -> None:
        self._files = [cache / "terms.npz" for cache in caches]
        self._lock = threading.Lock()
        self._held: tuple[Read, LexicalStore] | None = None

    def store(self, ledger: Ledger, select: Callable[[Filter], frozenset[str]]) -> LexicalStore:
        """The words as the ledger has them now, ready to search."""
        with self._lock:
            change = ledger.last_change(TEXTS)
            if self._held is None or self._held[0].change != change:
                before = self._held[0] if self._held is not None else self._kept()
                if before is not None and before.change > change:
                    before = None  # the ledger came back from an older copy
                now, fresh = _followed(ledger, before)
                self._held = now, LexicalStore(now.ids, now.texts, select)
                if fresh >= WRITTEN_FROM:
                    _keep(self._files[-1], now)
            return self._held[1]

    def _kept(self) -> Read | None:
        """The newest terms that are on disk."""
        found = [read for file in self._files if (read := _restored(file)) is not None]
        return max(found, key=lambda read: read.change, default=None)


def _followed(ledger: Ledger, before: Read | None) -> tuple[Read, int]:
    """All words of one moment, of which `before` are known, and how many texts were read for it."""
    with ledger.snapshot():
        change = ledger.last_change(TEXTS)
        changed = None if before is None else ledger.changed_since(TEXTS, before.change, -1)[0]
        ids: list[str] = []

        def each() -> Iterator[str]:
            for ident, text in ledger.texts(changed):
                ids.append(ident)
                yield text

        fresh = lexical.read(each())
    if before is None or changed is None:
        return Read(change, tuple(ids), fresh), len(ids)
    gone = set(changed)
    kept = np.array([n for n, ident in enumerate(before.ids) if ident not in gone], dtype=np.int64)
    both = [before.ids[n] for n in kept] + ids
    order = np.array(sorted(range(len(both)), key=both.__getitem__), dtype=np.int64)
    texts = before.texts.taken(kept).followed_by(fresh).taken(order)
    return Read(change, tuple(both[n] for n in order), texts), len(ids)


def _restored(file: Path) -> Read | None:
    try:
        with loaded(file) as held:
            texts = lexical.Texts(held["terms"], held["weights"], held["offsets"])
            return Read(int(held["change"]), tuple(held["ids"].tolist()), texts)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):  # a cache that cannot be read is made again
        return None


def _keep(file: Path, now: Read) -> None:
    temporary = file.with_name(f".{uuid.uuid4().hex[:12]}.npz")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        texts, ids = now.texts, np.array(now.ids)
        np.savez(temporary, change=now.change, ids=ids, terms=texts.terms, weights=texts.weights, offsets=texts.offsets)
        temporary.replace(file)
    except OSError:
        # A full disk, or a folder that may only be read: it is read again next time.
        with suppress(OSError):
            temporary.unlink()
