"""One batch of items: embed, Parquet part, ledger. After each batch the library is whole, whatever happens next."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from ingest.plan import Need, Plan
from mmretrieval import catalog
from mmretrieval.embedding import embed, embed_multi
from mmretrieval.errors import BadVectors, CannotRead, LibraryError, OutOfMemory
from mmretrieval.library import Library
from mmretrieval.library.ledger import VectorRow
from mmretrieval.library.parts import read_part, remove_orphans, write_part
from mmretrieval.muvera import encoding_of
from mmretrieval.types import VIEWS, Array, Card, Content, Encoder, Vectors, View

SMALL_PART, MERGED_PART, MANY_PARTS = 2048, 8192, 16
SMALL_BYTES, MERGED_BYTES = 2**24, 2**26
# What one content may cause, so that it costs itself and not the run.
OF_ONE_CONTENT = (BadVectors, CannotRead, OutOfMemory)
STORAGE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})


@dataclass(frozen=True, eq=False)
class Work:
    """One item to store: what it needs, its decoded content, and whether it is the last of its path."""

    plan: Plan
    need: Need | None
    content: Content | None = None
    thumbnail: bytes | None = None
    last: bool = False


class Writer:
    """Stores batches in a library whose write lock the caller holds. `checkpoint` is called between the steps."""

    def __init__(
        self, library: Library, cards: Mapping[str, Card], checkpoint: Callable[[str], None] = lambda _: None
    ) -> None:
        self.library, self.cards, self.checkpoint = library, cards, checkpoint
        self.begun: set[str] = set()
        self.spoilt: set[str] = set()
        # Content that lost a path, and maybe a caption, since the plans on their way were made.
        self.left: set[str] = set()

    def write(self, works: Sequence[Work]) -> dict[int, str]:
        """Embeds and stores; gives the reasons of those that an encoder could not turn into vectors, by place."""
        found: dict[str, list[tuple[int, VectorRow, Array]]] = {}
        bad: dict[int, str] = {}
        for space in self.cards:
            for view in VIEWS:
                for place, key, row in self._embedded(space, view, works, bad):
                    need = works[place].need
                    assert need is not None
                    found.setdefault(space, []).append((place, VectorRow(space, view, need.item.id, key, ""), row))
        self._spread(works, bad)
        self.spoilt |= {works[place].plan.row.path for place in bad}
        self._thumbnails(works)
        parts: list[tuple[str, str, list[VectorRow]]] = []
        for space, triples in found.items():
            kept = [(vector, row) for place, vector, row in triples if place not in bad]
            if kept:
                ids, views = [v.item for v, _ in kept], [v.view for v, _ in kept]
                name = self._part(space, ids, views, [r for _, r in kept])
                parts.append((name, space, [replace(v, part=name) for v, _ in kept]))
                self.checkpoint("part")
        self._commit(works, parts, bad)
        self.checkpoint("ledger")
        return bad

    def _spread(self, works: Sequence[Work], bad: dict[int, str]) -> None:
        """A copy of content that failed, in the same batch, counted on the vectors that are not there: it fails too."""
        reasons = {need.item.id: why for place, why in bad.items() if (need := works[place].need) is not None}
        for place, work in enumerate(works):
            if work.need is not None and work.need.item.id in reasons:
                bad.setdefault(place, reasons[work.need.item.id])

    def _embedded(
        self, space: str, view: View, works: Sequence[Work], bad: dict[int, str]
    ) -> list[tuple[int, str, Array]]:
        wanted = []
        for place, work in enumerate(works):
            key = work.need.missing.get(space, {}).get(view) if work.need else None
            if key is not None and work.need is not None:
                wanted.append((place, key, _content(work, work.need.item.text, view)))
        if not wanted:
            return []
        encoder = catalog.load(self.cards[space].spec)
        try:
            vectors = _embed(encoder, [c for _, _, c in wanted])
        except OF_ONE_CONTENT:
            return self._one_by_one(encoder, wanted, bad)
        return [(place, key, row) for (place, key, _), row in zip(wanted, vectors, strict=True)]

    def _one_by_one(
        self, encoder: Encoder, wanted: Sequence[tuple[int, str, Content]], bad: dict[int, str]
    ) -> list[tuple[int, str, Array]]:
        """Finds the contents that the encoder fails on, so that their neighbours are stored all the same."""
        good = []
        for place, key, content in wanted:
            try:
                good.append((place, key, _embed(encoder, [content])[0]))
            except OF_ONE_CONTENT as error:
                bad[place] = str(error)
        return good

    def _part(self, space: str, ids: Sequence[str], views: Sequence[View], vectors: Sequence[Array]) -> str:
        """A part of rows, or of bags together with the encoding that indexes find them by; gives its name."""
        folder, card = self.library.parts_folder(space), self.cards[space]
        fde = encoding_of(card)
        if fde is None:
            return write_part(folder, ids, views, np.stack(vectors))
        about = {"encoder": card.spec, "revision": card.revision, "encoding": fde.described(card.dim)}
        return write_part(folder, ids, views, Vectors.joined(vectors, card.dim), about)

    def _thumbnails(self, works: Sequence[Work]) -> None:
        for work in works:
            if work.thumbnail is not None and work.need is not None:
                path = self.library.thumbnail_path(work.need.item.id)
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = path.with_suffix(".tmp")
                temporary.write_bytes(work.thumbnail)
                temporary.rename(path)

    def _commit(
        self, works: Sequence[Work], parts: Sequence[tuple[str, str, list[VectorRow]]], bad: Mapping[int, str]
    ) -> None:
        ledger = self.library.ledger
        with ledger.transaction():
            for place, work in enumerate(works):
                self._begin(work.plan)
                if work.need is not None and place not in bad:
                    ledger.put_item(work.need.item, work.need.words, work.plan.row.settings)
            for name, space, vectors in parts:
                ledger.put_part(name, space, vectors)
            for place, work in enumerate(works):
                if place in bad:
                    ledger.put_file(replace(work.plan.row, spaces=(), reason=bad[place]))
                    continue
                if work.need is not None:
                    for view in work.need.stale:
                        ledger.drop_view(work.need.item.id, view)
                    if not work.need.missing:
                        ledger.note_item(work.need.item.id)  # only its payload changed
                if work.last and work.plan.row.path not in self.spoilt:
                    self._finish(work.plan)

    def _begin(self, plan: Plan) -> None:
        """The path holds this content from now on, though not all of it is stored yet.

        What it held before goes at the end of the run, if no other path has taken it over until then.
        """
        ledger, row = self.library.ledger, plan.row
        if row.path in self.begun:
            return
        self.begun.add(row.path)
        ledger.put_file(replace(row, spaces=plan.kept, words_hash=""))
        if plan.before:
            self.left.add(plan.before)
            ledger.ask_words_again(plan.before)

    def _finish(self, plan: Plan) -> None:
        """The last item of a path is in: its row is complete, and items that the file no longer has go."""
        ledger = self.library.ledger
        assert plan.row.sha256 is not None
        ledger.put_file(replace(plan.row, words_hash="") if plan.row.sha256 in self.left else plan.row)
        wanted = {need.item.id for need in plan.needs}
        ledger.drop_items(i for i in ledger.ids_of_content(plan.row.sha256) if i not in wanted)

    def drop_unreferenced(self) -> None:
        """Forgets the items whose content no path holds any more, and removes thumbnails that no item has."""
        with self.library.ledger.transaction():
            self.library.ledger.drop_items(self.library.ledger.unreferenced())
        remove_thumbnails(self.library)

    def merge_small_parts(self) -> int:
        """Joins a space's many small parts into few; gives how many files were replaced. Old files go next time."""
        replaced = 0
        for space in self.cards:
            small = self._small_parts(space)
            if len(small) < MANY_PARTS:
                continue
            group: list[str] = []
            pairs: list[tuple[str, View, Array]] = []
            for name in small:
                live = self.library.ledger.vectors_in(name)
                ids, views, vectors = read_part(self.library.parts_folder(space), name)
                pairs += [(i, v, r) for i, v, r in zip(ids, views, vectors, strict=True) if (i, v) in live]
                group.append(name)
                large = self.cards[space].multi and sum(r.nbytes for *_, r in pairs) >= MERGED_BYTES
                if large or len(pairs) >= MERGED_PART:
                    self._merge(space, group, pairs)
                    group, pairs = [], []
            self._merge(space, group, pairs)
            replaced += len(small)
        return replaced

    def _small_parts(self, space: str) -> list[str]:
        """The parts that are worth joining: of few rows, and of few bytes, since a bag may have a thousand rows."""
        folder = self.library.parts_folder(space)
        few = self.library.ledger.small_parts(space, SMALL_PART)
        return [n for n in few if not self.cards[space].multi or (folder / n).stat().st_size < SMALL_BYTES]

    def _merge(self, space: str, old: Sequence[str], pairs: Sequence[tuple[str, View, Array]]) -> None:
        """Makes one part of what is current in several."""
        ledger = self.library.ledger
        if not pairs:
            with ledger.transaction():
                ledger.forget_parts(old)
            return
        ids, views = [i for i, _, _ in pairs], [v for _, v, _ in pairs]
        name = self._part(space, ids, views, [row for *_, row in pairs])
        self.checkpoint("merge")
        with ledger.transaction():
            ledger.replace_parts(old, name, space, list(zip(ids, views, strict=True)))
        self.checkpoint("merged")

    def sweep(self) -> int:
        """Removes what killed runs and merges left behind; gives the number of files."""
        folder = self.library.path / "embeddings"
        return sum(remove_orphans(f, self.library.ledger.parts(f.name)) for f in folder.glob("*") if f.is_dir())


def _embed(encoder: Encoder, contents: Sequence[Content]) -> Array | Vectors:
    return embed_multi(encoder, contents, "item") if encoder.card.multi else embed(encoder, contents, "item")


def _content(work: Work, text: str, view: View) -> Content:
    """What an encoder reads for a view of a work's item."""
    if view == "text":
        return Content(text=text)
    assert work.content is not None, f"an item of {work.plan.row.path} was not decoded"
    return work.content if view == "visual" else replace(work.content, text=text)


def drop_path(library: Library, path: str) -> int:
    """Forgets a path, and its items where no other path has them, inside a transaction; gives how many items."""
    ledger = library.ledger
    row = ledger.file(path)
    ledger.drop_file(path)
    if row is None or not row.sha256:
        return 0
    if ledger.paths_of(row.sha256):
        ledger.ask_words_again(row.sha256)
        return 0
    ids = ledger.ids_of_content(row.sha256)
    ledger.drop_items(ids)
    return len(ids)


def remove_thumbnails(library: Library) -> None:
    """Removes the thumbnails of items that are no more, and what a killed run left of one."""
    known = library.ledger.ids()
    for thumbnail in (library.path / "thumbs").glob("*/*"):
        if thumbnail.suffix != ".webp" or thumbnail.stem not in known:
            thumbnail.unlink()


@contextmanager
def storing(library: Library) -> Iterator[None]:
    """Says what a disk that is full, or may not be written to, means for the library."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        if isinstance(error, OSError) and error.errno not in STORAGE_ERRORS:
            raise
        raise LibraryError(
            f"the library {library.path} cannot be written to ({error}): what was stored before is safe; make room, "
            "or make the folder writable, and run the same command again"
        ) from error
