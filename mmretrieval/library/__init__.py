"""The library: a folder with everything that was ingested. Opening one reads two small files and loads no model."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from mmretrieval import catalog, lexical
from mmretrieval.errors import BadRecipe, EncoderUnavailable, LibraryBusy, LibraryError, NotALibrary, UnknownName
from mmretrieval.filters import Filter
from mmretrieval.library import config
from mmretrieval.library.bags import bags
from mmretrieval.library.config import LibraryConfig
from mmretrieval.library.index import OPTIMISE_BAGS_FROM, OPTIMISE_FROM, SpaceIndex, build_generation, graph_points
from mmretrieval.library.ledger import FileRow, Ledger
from mmretrieval.library.locks import FolderLock
from mmretrieval.library.matrices import matrices
from mmretrieval.library.parts import sync_folder
from mmretrieval.library.status import Failure, Status, status_of
from mmretrieval.library.texts import Words
from mmretrieval.muvera import encoding_of
from mmretrieval.store.edge import EdgeStore, LateEdgeStore
from mmretrieval.store.exact import ExactStore, Matrix
from mmretrieval.store.late import Bags, ExactLateStore
from mmretrieval.store.lexical import LexicalStore
from mmretrieval.types import Card, Item, LateStore, Settings, VectorStore, View

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmretrieval.answer import Answer
    from mmretrieval.recipe import Recipe

__all__ = ["Failure", "Library", "Status"]

# What a `create` that was killed leaves behind: the next one goes on from there. SQLite has a -journal while it turns a
# new file to write-ahead logging.
_LEDGER = ("ledger.sqlite", "ledger.sqlite-journal", "ledger.sqlite-wal", "ledger.sqlite-shm")
BEGUN = frozenset({*_LEDGER, "writer.lock", ".library.toml.tmp"})


class Library:
    """An open library. Threads may share it: each gets its own connection to the ledger.

    `caches` is where what is made on the way lies (matrices, terms, fits, planes): the library's own folder, unless the
    library was opened to be read. Then that folder is left as it is, and its own caches serve where they are fresh.
    """

    def __init__(self, path: Path, told: LibraryConfig, caches: Path | None = None) -> None:
        self.path, self.config = path, told
        self.reading, self.caches = caches is not None, caches or path
        self._local, self._ledgers = threading.local(), WeakSet[Ledger]()
        self._indexes: dict[str, SpaceIndex] = {}
        self._exact: dict[str, tuple[int, dict[View, Matrix], ExactStore]] = {}
        self._late: dict[str, tuple[int, dict[View, Bags], ExactLateStore]] = {}
        self._words = Words(self._cached(lexical.card().space))
        self._index_lock = threading.RLock()

    # --- opening ---------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path | str, encoders: Sequence[str] = (), settings: Settings | None = None) -> Library:
        """A new, empty library at `path`; an existing one there is opened as it is.

        Raises UnknownName or EncoderUnavailable for an encoder that is not to be had, before anything is made: a
        library cannot be without the encoders that it was made with.
        """
        folder = Path(path).expanduser().resolve()
        if (folder / "library.toml").exists():
            return cls.open(folder)
        if folder.exists() and not folder.is_dir():
            raise NotALibrary(f"{folder} is a file: name a new or empty folder")
        foreign = folder.exists() and any(f.name not in BEGUN for f in folder.iterdir())
        if foreign and not (folder / "library.toml").exists():  # it is there now where another process was quicker
            raise NotALibrary(f"{folder} is not empty and holds no library.toml: name a new or empty folder")
        wanted = encoders or (catalog.default_encoder(),)
        specs = tuple(dict.fromkeys(_usable(e) for e in wanted))
        library = cls(folder, LibraryConfig(specs, f"{specs[0]}@all", settings or Settings()))
        with library.write_lock():
            if (folder / "library.toml").exists():
                return cls.open(folder)
            Ledger(folder / "ledger.sqlite", create=True).close()
            library._save()
        return library

    @classmethod
    def open(cls, path: Path | str, *, caches: Path | None = None) -> Library:
        """The library in a folder; NotALibrary where there is none or its format is another.

        `caches`: a folder of the caller's own. The library is then only read: it takes no index (searches scan, with
        the same results), whatever would change it raises LibraryError, and new caches go into that folder.
        """
        folder = Path(path).expanduser().resolve()
        file = folder / "library.toml"
        if not file.exists():
            raise NotALibrary(
                f"there is no library at {folder}: make one with `python -m ingest add PATH --library {path}`"
            )
        return cls(folder, config.read(file), caches)

    def reload(self) -> None:
        """Reads library.toml again: another process may have added an encoder since it was opened."""
        self.config = config.read(self.path / "library.toml")

    def _save(self) -> None:
        temporary = self.path / ".library.toml.tmp"
        with temporary.open("w", encoding="utf-8") as sink:
            sink.write(config.written(self.config))
            sink.flush()
            os.fsync(sink.fileno())
        temporary.rename(self.path / "library.toml")
        sync_folder(self.path)

    def register(self, encoders: Sequence[str]) -> tuple[str, ...]:
        """Adds encoders to library.toml; gives those that are new. Vectors come with the next ingest.

        Raises UnknownName or EncoderUnavailable for one that is not to be had, before any is added.
        """
        self._check_writable()
        wanted = dict.fromkeys(catalog.card(e).spec for e in encoders)
        new = tuple(_usable(e) for e in wanted if e not in self.encoders)
        if new:
            self.config = replace(self.config, encoders=(*self.encoders, *new))
            self._save()
        return new

    def close(self) -> None:
        """Lets go of indexes and of every thread's connection."""
        self.close_indexes()
        # A connection that nobody closes leaves its journal beside the ledger. Threads that go on get a new one.
        ledgers, self._local, self._ledgers = list(self._ledgers), threading.local(), WeakSet()
        for ledger in ledgers:
            ledger.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what it is ------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """This thread's connection."""
        if not hasattr(self._local, "ledger"):
            self._local.ledger = Ledger(self.path / "ledger.sqlite", reading=self.reading)
            self._ledgers.add(self._local.ledger)
        ledger: Ledger = self._local.ledger
        return ledger

    @property
    def encoders(self) -> tuple[str, ...]:
        """The encoders every item is embedded with."""
        return self.config.encoders

    @property
    def default_recipe(self) -> str:
        """The recipe used where none is named."""
        return self.config.default_recipe

    @property
    def settings(self) -> Settings:
        """How files are cut and read."""
        return self.config.settings

    def card(self, encoder: str) -> Card:
        """The card of one of the library's encoders, or of BM25; another one is refused with the way to add it."""
        if lexical.is_lexical(encoder.strip()):
            return lexical.card()
        if str(catalog.parse_spec(encoder)) not in self.encoders:
            catalog.check_known(encoder)  # a name that nobody knows is a different mistake, and gets its own message
            raise UnknownName(
                f"this library has no vectors of {encoder!r}, it has {', '.join(self.encoders)}: add them with "
                f"`python -m ingest add-encoder '{encoder}' --library {self.path}`"
            )
        return catalog.card(encoder)

    def cards(self) -> tuple[dict[str, Card], dict[str, str]]:
        """The card of each encoder that is to be had, and why each other one is not (checkpoint, catalogue)."""
        found, absent = dict[str, Card](), dict[str, str]()
        for encoder in self.encoders:
            try:
                found[encoder] = catalog.card(encoder)
            except (EncoderUnavailable, UnknownName) as error:
                absent[encoder] = str(error)
        return found, absent

    def parts_folder(self, space: str) -> Path:
        """Where the durable vectors of a space are."""
        return self.path / "embeddings" / space

    def _cached(self, space: str) -> tuple[Path, ...]:
        """The folders of what was made of a space: all may be read, the last may be written."""
        return tuple(dict.fromkeys(place / "cache" / space for place in (self.path, self.caches)))

    def _check_writable(self) -> None:
        if self.reading:
            raise LibraryError(f"the library {self.path} was opened to be read: open it without `caches` to change it")

    def write_lock(self) -> FolderLock:
        """The right to write; LibraryBusy while another process has it."""
        self._check_writable()
        return FolderLock(self.path / "writer.lock", f"the library {self.path}")

    # --- what it holds -----------------------------------------------------------------------------------------------

    def items(self) -> Iterator[Item]:
        """Every item, by id."""
        return self.ledger.items()

    def items_by_id(self, ids: Sequence[str]) -> dict[str, Item]:
        """The items that exist among these ids."""
        return {item.id: item for item in self.ledger.items(ids)}

    def item(self, ident: str) -> Item:
        """One item; UnknownName if the library has none of that id."""
        for item in self.ledger.items([ident]):
            return item
        raise UnknownName(f"this library has no item {ident!r}: it may have been removed since the search")

    def own_items(self, sha256: str) -> frozenset[str]:
        """The items cut from a file of these bytes: what a query made of that file should leave out."""
        return frozenset(self.ledger.ids_of_content(sha256))

    def thumbnail(self, ident: str) -> Path | None:
        """The item's small picture, if it has one."""
        path = self.thumbnail_path(ident)
        return path if path.exists() else None

    def thumbnail_path(self, ident: str) -> Path:
        """Where the item's small picture is kept."""
        return self.path / "thumbs" / ident[:2] / f"{ident}.webp"

    def failures(self) -> list[Failure]:
        """The files that could not be read, with reasons, by path."""
        return [Failure(f.path, f.kind, f.reason) for f in self.ledger.files(failed=True)]

    def files(self) -> Iterator[FileRow]:
        """What is known of every path."""
        return self.ledger.files()

    def status(self) -> Status:
        """Counts and sizes."""
        return status_of(self)

    # --- what is searched --------------------------------------------------------------------------------------------

    def matrices(self, encoder: str) -> dict[View, Matrix]:
        """Every view of an encoder's space, memory-mapped, rows by rising item id: for exact scans and diagnostics.

        Raises BadRecipe for a late-interaction encoder, whose items have no one row: `bags` has theirs.
        """
        return self.scanned(encoder)[1]

    def bags(self, encoder: str) -> dict[View, Bags]:
        """Every view of a late-interaction encoder's space, memory-mapped, bags by rising item id."""
        return self._scanned_bags(encoder)[1]

    def exact_store(self, encoder: str) -> ExactStore:
        """A scan over the current vectors."""
        return self.scanned(encoder)[2]

    def scanned(self, encoder: str) -> tuple[int, dict[View, Matrix], ExactStore]:
        """The matrices of a space and the store over them, kept until the ledger knows of a change."""
        if (card := self.card(encoder)).multi:
            raise BadRecipe(
                f"{card.name} compares items row by row and has no one vector for an item, which this needs: choose "
                "an encoder that has"
            )
        space = card.space
        change, known = self.ledger.last_change(space), self._exact.get(space)
        if known is None or known[0] != change:
            found = matrices(self.ledger, space, self.parts_folder(space), self._cached(space))
            known = (change, found, ExactStore(found, self.select))
            self._exact[space] = known
        return known

    def _scanned_bags(self, encoder: str) -> tuple[int, dict[View, Bags], ExactLateStore]:
        card = self.card(encoder)
        change, known = self.ledger.last_change(card.space), self._late.get(card.space)
        if known is None or known[0] != change:
            parts = self.parts_folder(card.space)
            found = bags(self.ledger, card.space, card.dim, parts, self._cached(card.space))
            known = (change, found, ExactLateStore(found, card.dim, self.select))
            self._late[card.space] = known
        return known

    def select(self, value: Filter) -> frozenset[str]:
        """The ids of the items that pass a filter, asked of the calling thread's own connection."""
        return self.ledger.select(value)

    def store(self, encoder: str) -> VectorStore:
        """The open index of an encoder's space where this process owns one, else an exact scan."""
        index = self._indexes.get(self.card(encoder).space)
        return index.store if index is not None and isinstance(index.store, EdgeStore) else self.exact_store(encoder)

    def late_store(self, encoder: str, *, exact: bool = False) -> LateStore:
        """The open index of a late-interaction encoder's space unless `exact`, else an exact scan of its bags."""
        index = self._indexes.get(self.card(encoder).space)
        if not exact and index is not None and isinstance(index.store, LateEdgeStore):
            return index.store
        return self._scanned_bags(encoder)[2]

    def lexical_store(self) -> LexicalStore:
        """The words of all items as they are now, searched by BM25."""
        return self._words.store(self.ledger, self.select)

    @property
    def owns_indexes(self) -> bool:
        """Whether this process has taken the library's indexes for itself, as a page does."""
        return bool(self._indexes)

    def open_indexes(self) -> None:
        """Takes the index of every encoder that is to be had for this process; LibraryBusy where another has one.

        A library that is only read takes none, since an index is written to by whoever has it open.
        """
        if self.reading:
            return
        with self._index_lock:
            for card in self.cards()[0].values():
                if card.space not in self._indexes:
                    self._indexes[card.space] = self._index(card)

    def _index(self, card: Card) -> SpaceIndex:
        folder, parts = self.path / "index" / card.space, self.parts_folder(card.space)
        return SpaceIndex(self.ledger, card.space, card.dim, folder, parts, encoding_of(card), self.select)

    def sync_indexes(self, on_batch: Callable[[int], None] | None = None) -> int:
        """Brings every open index up to the ledger, in small batches; gives the number of items looked at."""
        with self._index_lock:
            return sum(index.sync(self.ledger, on_batch) for index in self._indexes.values())

    def indexes_behind(self) -> int:
        """How many open indexes have changes to apply."""
        return sum(index.behind(self.ledger) for index in list(self._indexes.values()))

    def close_indexes(self) -> None:
        """Lets go of every index that this process owns."""
        with self._index_lock:
            for index in self._indexes.values():
                index.close()
            self._indexes.clear()

    def update_indexes(self, on_batch: Callable[[int], None] | None = None) -> bool:
        """Brings the indexes up to the ledger; False where a page of another process owns one and does so itself."""
        self._check_writable()
        with self._index_lock:
            keep = bool(self._indexes)
            return all([self._update_index(card, keep, on_batch) for card in self.cards()[0].values()])

    def _update_index(self, card: Card, keep: bool, on_batch: Callable[[int], None] | None) -> bool:
        """Syncs one index; one that is not kept open is never seen by the searches of other threads."""
        index = self._indexes.get(card.space)
        if index is not None:
            index.sync(self.ledger, on_batch)
            return True
        try:
            index = self._index(card)
        except LibraryBusy:
            return False
        try:
            index.sync(self.ledger, on_batch)
        except BaseException:
            index.close()
            raise
        if keep:
            self._indexes[card.space] = index
        else:
            index.close()
        return True

    def wants_graph(self, encoder: str) -> bool:
        """Whether so much has been added since the search graph was built that building it again pays."""
        card = self.card(encoder)
        points = max(self.ledger.view_counts(card.space).values(), default=0)
        enough = OPTIMISE_BAGS_FROM if card.multi else OPTIMISE_FROM
        state = self.ledger.index_state(card.space)
        return points >= enough and (state is None or graph_points(state[0]) < points / 2)

    def build_graph(self, encoder: str) -> int:
        """Builds the next generation of an encoder's index with a search graph; gives its number of points."""
        self._check_writable()
        card = self.card(encoder)
        folder = self.path / "index" / card.space
        folder.mkdir(parents=True, exist_ok=True)
        parts, fde = self.parts_folder(card.space), encoding_of(card)
        return build_generation(self.ledger, card.space, card.dim, folder, parts, fde)

    def search(
        self, text: str | None = None, image: Image | None = None, recipe: str | Recipe | None = None, k: int = 10
    ) -> Answer:
        """The k best items for words, a picture, or both with equal weight, under a recipe (default: the library's).

        What comes back prints as a list of the items found.
        """
        from mmretrieval.answer import Answer
        from mmretrieval.engine import Engine
        from mmretrieval.types import Content, Part, Query

        contents = [*([Content(text=text)] if text else []), *([Content(image=image)] if image is not None else [])]
        query = Query(tuple(Part(content) for content in contents))
        run = Engine(self).rank([query], self.default_recipe if recipe is None else recipe, k)
        (found,) = run.rankings
        return Answer(found.query, found.hits, run.recipe, self.items_by_id([hit.id for hit in found.hits]))


def _usable(encoder: str) -> str:
    """The canonical spec of an encoder that is loaded now, so that no library depends on one that is not to be had."""
    card = catalog.card(encoder)
    if card.revision.startswith("random"):
        raise EncoderUnavailable(f"{card.spec} has random weights: they are for benches and tests, not for a library")
    catalog.load(card.spec)
    return card.spec
