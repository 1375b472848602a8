"""A dataset through the library's own doors: ingested like a user's folder, ranked by the engine, mapped to corpus ids.

A corpus entry may be several items (the clips of a video, the pages of a document), and one item may be several
entries (the same bytes twice). An entry stands where its best-placed item stands, with that item's score: the greatest
of its items' scores, except after a reranker, whose scores need not fall. Entries of one item follow each other by id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.dataset import Asked, AskedPart, Dataset, Entry, text_hash
from eval.runs import Ranked, slug
from mmretrieval.errors import DatasetError, LibraryError, MediaError
from mmretrieval.filters import facts

if TYPE_CHECKING:
    from PIL.Image import Image

    from ingest.pipeline import Counts, Event
    from ingest.walk import Source
    from mmretrieval.bank import Bank
    from mmretrieval.engine import Engine
    from mmretrieval.library import Library
    from mmretrieval.recipe import Recipe
    from mmretrieval.types import Item, Part, Query, Ranking, Settings

# The file that says that a library was made for evaluations, and may take a corpus's words for those of its files.
MARK = "evaluation.txt"
AT_ONCE = 256  # queries ranked together; bounds the pictures held in memory


@dataclass(frozen=True, eq=False)
class Shelf:
    """A dataset's corpus in a library: which items are which entries, and which entries have none."""

    library: Library
    items: Mapping[str, tuple[str, ...]]  # corpus id -> its items
    entries: Mapping[str, tuple[str, ...]]  # item id -> its corpus ids, rising
    payloads: Mapping[str, tuple[Mapping[str, Any], ...]]  # corpus id -> what filters see
    unfindable: Mapping[str, str]  # corpus id -> why it has no item
    strangers: bool  # the library holds items that are not of this corpus
    content_hash: str  # of the dataset's files and of all the media they name

    def depth_for(self, k: int) -> int:
        """How many items of a ranking always hold k entries, or all there are: the k - 1 with most items, and one."""
        sizes = sorted((len(items) for items in self.items.values()), reverse=True)
        return max(1, min(len(self.entries), sum(sizes[: k - 1]) + 1))


def library_folder(dataset: Dataset, out: Path) -> Path:
    """Where the dataset's own library lies: shared by all runs over the same corpus file."""
    return out / ".libraries" / f"{slug(dataset.name, 40)}-{text_hash(dataset.folder, ('corpus.jsonl',))[:8]}"


def sources(dataset: Dataset) -> Iterator[Source]:
    """The corpus as what the ingest takes; a file that several entries name comes once."""
    from ingest.walk import Source, beside

    seen: set[str] = set()
    for entry in dataset.corpus:
        name = source_path(entry, dataset)
        if name in seen:
            continue
        seen.add(name)
        if entry.path is None:
            yield Source(name, meta=dict(entry.meta), data=entry.text.encode())
        else:
            yield Source(name, caption=entry.text.strip(), meta=dict(entry.meta), beside=beside(entry.path))


def source_path(entry: Entry, dataset: Dataset) -> str:
    """The path under which the library knows an entry; words alone get the place where they stand."""
    return str(entry.path) if entry.path is not None else f"{dataset.folder.absolute()}/corpus.jsonl#{entry.id}"


def shelve(
    dataset: Dataset,
    folder: Path,
    encoders: Sequence[str],
    *,
    own: bool,
    workers: int = 2,
    on_event: Callable[[Event], None] = lambda _: None,
) -> tuple[Shelf, Counts]:
    """Ingests the corpus into the library in `folder` (made where there is none) for these encoders.

    What is there already is not embedded again. `own` says that the library is the dataset's alone: what the corpus
    no longer names is removed. Files that failed before are tried again, since a score should not hang on bad luck.
    Raises LibraryError for somebody's own library: the corpus's words would replace their captions.
    """
    from ingest.pipeline import ingest
    from mmretrieval.library import Library

    if not own and (folder / "library.toml").exists() and not (folder / MARK).exists():
        raise LibraryError(
            f"{folder} is a library of somebody's files: an evaluation would replace their captions by the "
            "corpus's. Leave --library out, or name a new folder"
        )
    library = Library.create(folder, encoders=encoders)
    (library.path / MARK).write_text("Made by `python -m eval run`; its captions are those of the corpora.\n")
    prune = (Path(library.path.anchor),) if own else ()
    counts = ingest(
        library, sources(dataset), encoders=encoders, prune=prune, retry=True, workers=workers, on_event=on_event
    )
    return _shelf(dataset, library), counts


def _shelf(dataset: Dataset, library: Library) -> Shelf:
    by_path: dict[str, list[Item]] = {}
    total = 0
    for item in library.items():
        total += 1
        for path in item.paths:
            by_path.setdefault(path, []).append(item)
    reasons = {failure.path: failure.reason for failure in library.failures()}
    items, entries, unfindable = dict[str, tuple[str, ...]](), dict[str, list[str]](), dict[str, str]()
    payloads, digest = dict[str, tuple[Mapping[str, Any], ...]](), hashlib.sha256(text_hash(dataset.folder).encode())
    for entry in sorted(dataset.corpus, key=lambda e: e.id):
        path = source_path(entry, dataset)
        found = by_path.get(path, [])
        if not found:
            unfindable[entry.id] = reasons.get(path, "there is no picture, video, document or text in it")
        items[entry.id] = tuple(item.id for item in found)
        payloads[entry.id] = tuple(facts(item) for item in found)
        for item in found:
            entries.setdefault(item.id, []).append(entry.id)
        digest.update(f"{entry.id}\0{found[0].content_hash if found else ''}\0".encode())
    for shown in sorted({p.image for q in dataset.queries for p in q.parts if p.image is not None}):
        digest.update(hashlib.sha256(shown.read_bytes()).digest())
    held = {ident: tuple(names) for ident, names in entries.items()}
    return Shelf(library, items, held, payloads, unfindable, total > len(held), digest.hexdigest())


def rank(
    dataset: Dataset,
    shelf: Shelf,
    queries: Sequence[Asked],
    recipe: str,
    *,
    k: int,
    on_done: Callable[[int], None],
    bank: Bank | None = None,
) -> tuple[list[Ranked], dict[str, Any]]:
    """The k best corpus ids of each query under a recipe, and the engine's account of what it did.

    The engine is asked for as many items as k entries may need. `bank` is what transforms and corrections are fitted
    on: by default the dataset's own reference queries, or generic captions where it brings none. Under a transductive
    correction all queries are asked at once. Raises DatasetError for a query's unreadable picture, and where a
    reference query is one of the queries.
    """
    from mmretrieval.engine import Engine
    from mmretrieval.recipe import parse
    from mmretrieval.timing import added

    chosen = parse(recipe)
    engine = Engine(shelf.library, exact=True, bank=bank or bank_of(dataset, shelf, queries))
    ranked: list[Ranked] = []
    meta: dict[str, Any] = {}
    accounts: list[dict[str, Any]] = []
    at_once = max(1, len(queries)) if chosen.transductive else AT_ONCE
    for start in range(0, len(queries), at_once):
        some = queries[start : start + at_once]
        more, meta = answers(engine, shelf, some, as_queries(some, dataset, shelf), chosen, k)
        ranked += more
        accounts.append(meta)
        on_done(len(some))
    return ranked, meta | added(accounts) | {"queries": len(queries)}


def answers(
    engine: Engine, shelf: Shelf, asked: Sequence[Asked], posed: Sequence[Query], recipe: Recipe, k: int
) -> tuple[list[Ranked], dict[str, Any]]:
    """The k best corpus ids of queries that are ready to be posed, all in one call of the engine, and its account."""
    from mmretrieval.engine import DEPTH
    from mmretrieval.recipe import depth_of

    need = shelf.depth_for(k)
    depth = max([DEPTH, need, *map(depth_of, recipe.rerankers)])
    run = engine.rank(posed, recipe, k=need, depth=depth)
    ranked = [_as_entries(r, q, shelf, k) for r, q in zip(run.rankings, asked, strict=True)]
    return ranked, dict(run.meta) | {"items_asked": need}


def bank_of(dataset: Dataset, shelf: Shelf, asked: Sequence[Asked]) -> Bank | None:
    """The dataset's own reference queries, or None where it has none.

    Raises DatasetError where one of them asks the same as a query that is asked: what is fitted on it would know it.
    """
    if not dataset.bank:
        return None
    known = {asks(query): query.id for query in asked}
    for query in dataset.bank:
        if asks(query) in known:
            raise DatasetError(
                f"{dataset.folder}: reference query {query.id!r} of bank.jsonl asks the same as query "
                f"{known[asks(query)]!r}: take one of them out, since nothing may be fitted on the queries themselves"
            )
    return as_bank(f"reference queries of {dataset.name}", dataset.bank, dataset, shelf)


def asks(query: Asked) -> tuple[tuple[str, str, bool], ...]:
    """What a query asks, however it is written: equal for the same words and the bytes of the same pictures.

    Case, spacing, the order of parts, weights (but for what is pushed away) and instructions make no other question.
    """

    def said(part: AskedPart) -> tuple[str, str, bool]:
        words, shown = " ".join((part.text or "").casefold().split()), ""
        if part.image is not None:
            there = part.image.is_file()
            shown = hashlib.sha256(part.image.read_bytes()).hexdigest() if there else str(part.image)
        return words, shown, part.weight < 0

    return tuple(sorted(map(said, query.parts)))


def as_bank(name: str, asked: Sequence[Asked], dataset: Dataset, shelf: Shelf) -> Bank:
    """Queries of a dataset as what transforms and corrections are fitted on."""
    from mmretrieval.bank import Bank

    return Bank(name, tuple(as_queries(asked, dataset, shelf)))


def _as_entries(ranking: Ranking, query: Asked, shelf: Shelf, k: int) -> Ranked:
    scores: dict[str, float] = {}
    for hit in ranking.hits:
        for entry in shelf.entries[hit.id]:
            if query.allows(entry):
                scores.setdefault(entry, hit.score)
    return Ranked(query.id, tuple(scores)[:k], tuple(scores.values())[:k])


def as_queries(asked: Sequence[Asked], dataset: Dataset, shelf: Shelf) -> list[Query]:
    from mmretrieval.types import Query

    pictures: dict[Path, Image] = {}
    settings = shelf.library.settings
    everything = frozenset(shelf.entries) if shelf.strangers else None
    return [
        Query(
            parts=tuple(_part(p, query, pictures, settings) for p in query.parts),
            id=query.id,
            filter=query.filter,
            exclude=_excluded(query, shelf),
            subset=_subset(query, shelf, everything),
        )
        for query in asked
    ]


def _excluded(query: Asked, shelf: Shelf) -> frozenset[str]:
    """The items all of whose entries are excluded: one that is also an allowed entry must stay to be found as that."""
    touched = {item for entry in query.exclude for item in shelf.items[entry]}
    return frozenset(item for item in touched if query.exclude.issuperset(shelf.entries[item]))


def _subset(query: Asked, shelf: Shelf, everything: frozenset[str] | None) -> frozenset[str] | None:
    if query.subset is None:
        return everything
    return frozenset(item for entry in query.subset for item in shelf.items[entry])


def _part(part: AskedPart, query: Asked, pictures: dict[Path, Image], settings: Settings) -> Part:
    from mmretrieval.types import Content, Part

    image = part.image
    if image is None:
        return Part(Content(text=part.text, instruction=part.instruction), weight=part.weight)
    if image not in pictures:
        try:
            pictures[image] = _picture(image, settings)
        except MediaError as error:
            raise DatasetError(f"query {query.id!r} shows {image}, which cannot be read: {error}") from error
    return Part(Content(image=pictures[image], instruction=part.instruction), weight=part.weight)


def _picture(path: Path, settings: Settings) -> Image:
    """The picture in a file, read exactly as the ingest reads it."""
    from mmretrieval.media import KINDS, recognise

    kind = recognise(path)
    if kind != "image":
        raise MediaError(f"it is {kind or 'no media file'}, not a picture")
    cuts = KINDS["image"].cut(path, settings)
    picture = next(iter(KINDS["image"].read(path, cuts, settings))).image
    if picture is None:
        raise MediaError("no picture came out of it")
    return picture
