"""Near copies: items that look the same though their bytes differ. One meaning, for a list of results and a library.

What is compared is pixels, not vectors: encoders are made to see past size, noise and writing, each as far as it goes,
and small ones take a picture of half the size for another one. A picture's *print* is its thumbnail at 16 x 16 points
of three colours, each colour without its mean; two pictures are near copies where their prints have a correlation of
ALIKE or more and their mean colours differ little. So it is with a picture that was resized, encoded again, made
a little brighter, or has a small mark on it, and not with one that was cropped by more than a little, turned, or shows
the same thing once more.

Pages look alike from afar: those that hold other words are no copies, nor are pages of one document without words.
Captions and subtitles are words about a picture and play no part. Passages, which have no picture, are copies where
they hold the same words.
"""

from __future__ import annotations

import re
import threading
import uuid
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmretrieval.types import Array, Item

if TYPE_CHECKING:
    from mmretrieval.library import Library

ALIKE = 0.95
# Points to a side of a print, and by how much (of 255) each of two mean colours may differ.
SIDE, TINT = 16, 24.0
# A picture whose points vary less than this (of 255) has nothing to tell it by.
PLAIN = 1.5
# So many prints are held, some 80 MB of them; decoded so many at a time.
KEPT, AT_ONCE = 100_000, 4
# Fewer new ones are read again by the next process.
WRITTEN_FROM = 200
# The kinds whose words are their own, and no caption.
WORDED = frozenset({"document", "text"})
WORD = re.compile(r"\w+")

Mask = npt.NDArray[np.bool_]
Numbered = npt.NDArray[np.int64]
Print: TypeAlias = npt.NDArray[np.uint8]


def printed(picture: Image.Image) -> Print:
    """A picture as SIDE x SIDE x 3 points, each the mean colour of its place."""
    return np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.uint8)


class Prints:
    """The prints of a library's thumbnails, kept once they were asked for, many at a time also on disk (a cache).

    Any thread may ask.
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        places = dict.fromkeys((library.path, library.caches))
        self._files = [place / "cache" / "prints.npz" for place in places]
        self._kept: dict[str, Print] | None = None
        self._new = 0
        self._lock = threading.Lock()

    def of(self, ids: Sequence[str]) -> tuple[Print, Mask]:
        """The prints of items (n, SIDE, SIDE, 3), zero where an item has no thumbnail, and which have one (n,).

        An item seen for the first time costs reading its thumbnail, some milliseconds; any other next to nothing.
        """
        with self._lock:
            if self._kept is None:
                self._kept = {ident: one for file in self._files for ident, one in _restored(file).items()}
            found = {ident: self._kept[ident] for ident in ids if ident in self._kept}
        paths = {i: path for i in dict.fromkeys(ids) if i not in found and (path := self.library.thumbnail(i))}
        if paths:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                made = zip(paths, pool.map(_read, paths.values()), strict=True)
                fresh = {ident: one for ident, one in made if one is not None}
            self._keep(fresh)
            found |= fresh
        out = np.zeros((len(ids), SIDE, SIDE, 3), dtype=np.uint8)
        for place, ident in enumerate(ids):
            if ident in found:
                out[place] = found[ident]
        return out, np.array([ident in found for ident in ids], dtype=np.bool_)

    def _keep(self, fresh: dict[str, Print]) -> None:
        with self._lock:
            assert self._kept is not None
            self._kept |= fresh
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
            self._new += len(fresh)
            if self._new >= WRITTEN_FROM:
                self._new = 0
                _write(self._files[-1], self._kept)


def _read(path: Path) -> Print | None:
    try:
        with Image.open(path) as picture:
            return printed(picture)
    except FileNotFoundError:  # taken out of the library a moment ago
        return None


def _restored(file: Path) -> dict[str, Print]:
    """The prints on disk; none where there are none that can be read."""
    try:
        # Opened here, since numpy leaves a file open that turns out to be no archive.
        with file.open("rb") as kept, np.load(kept, allow_pickle=False) as held:
            ids, points = held["ids"], held["points"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        return {}
    if points.dtype != np.uint8 or points.shape != (len(ids), SIDE, SIDE, 3):
        return {}
    return dict(zip(ids.tolist(), points, strict=True))


def _write(file: Path, prints: dict[str, Print]) -> None:
    """Puts prints on disk, whole or not at all; a folder that may not be written goes without."""
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as sink:
                np.savez(sink, ids=np.array(list(prints)), points=np.stack(list(prints.values())))
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class Looks:
    """What n items look like, and what tells them apart all the same.

    `rows` (n, d) are unit rows, zero where there is nothing to see; `tints` (n, 3) mean colours. `words` and
    `documents` (n,) are numbers for each one's own words and for the document that it is a page of, 0 for none.
    """

    rows: Array
    tints: Array
    words: Numbered
    documents: Numbered

    def alike(self, some: slice, others: slice, least: float = ALIKE) -> tuple[Mask, Array]:
        """Which of `some` are near copies of which of `others`, (some, others), and how alike their pictures are."""
        cosines = np.asarray(self.rows[some] @ self.rows[others].T, dtype=np.float32)
        own, other = self.words[some], self.words[others]
        seen = np.asarray(self.rows.any(axis=1), dtype=np.bool_)
        unseen = ~(seen[some, None] | seen[None, others])
        found: Mask = unseen & (own[:, None] > 0) & (own[:, None] == other[None])
        # What looks alike is little: the rest is asked of those pairs alone.
        a, b = np.nonzero(cosines >= least)
        worded = (own[a] > 0) & (other[b] > 0)
        pages = self.documents[some][a]
        told_apart = np.where(worded, own[a] != other[b], (pages > 0) & (pages == self.documents[others][b]))
        tinted = (np.abs(self.tints[some][a] - self.tints[others][b]) <= TINT).all(axis=1)
        found[a, b] = tinted & ~told_apart
        return found, cosines


def looks(items: Sequence[Item], rows: Array, tints: Array | None = None) -> Looks:
    """The looks of items with these rows (n, d) for their pictures, and no colours that would tell them apart."""
    words = numbered([own_words(item) for item in items])
    documents = numbered([item.content_hash if item.kind == "document" else "" for item in items])
    return Looks(rows, np.zeros((len(items), 3), dtype=np.float32) if tints is None else tints, words, documents)


def seen(prints: Prints, items: Sequence[Item]) -> Looks:
    """The looks of items by their prints."""
    points, _ = prints.of([item.id for item in items])
    wide = points.reshape(len(items), SIDE * SIDE, 3).astype(np.float32)
    tints = wide.mean(axis=1)
    rows = (wide - tints[:, None]).reshape(len(items), SIDE * SIDE * 3)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    told = lengths > PLAIN * np.sqrt(rows.shape[1])
    return looks(items, np.where(told, rows / np.maximum(lengths, 1e-9), 0).astype(np.float32), tints)


def own_words(item: Item) -> str:
    """The words that stand on a page or make a passage, without case and signs; "" for pictures and clips."""
    return " ".join(WORD.findall(item.text.casefold())) if item.kind in WORDED else ""


def numbered(texts: Sequence[str]) -> Numbered:
    """A number for each text, equal for equal texts, 0 for none."""
    numbers: dict[str, int] = {"": 0}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)


def leaders(related: Mask) -> list[int]:
    """For each of n items, best first, the place of the one that it stands behind; its own where it stands for itself.

    `related` (n, n) says who may stand behind whom: an item goes behind the best before it that it is related to and
    that stands for itself, so that nothing is behind what it is not related to. What comes later changes nothing
    before it.
    """
    found = np.arange(len(related))
    for place in range(len(related)):
        before = np.flatnonzero(related[place, :place] & (found[:place] == np.arange(place)))
        if len(before):
            found[place] = before[0]
    return [int(one) for one in found]
