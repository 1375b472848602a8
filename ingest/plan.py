"""What a file needs: which of its items lack which vectors. Decides everything before any pixel is decoded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ingest.walk import Source
from mmretrieval.library.ledger import FileRow, Ledger, meta_of
from mmretrieval.types import Card, Cut, Item, Settings, View, item_id

# What became of an item that is in the library after a run.
Outcome = Literal["stored", "unchanged", "replaced"]
# What the visual view of an item is made from besides its bytes: only the settings, which are part of every key.
PIXELS = "pixels"


@dataclass(frozen=True, eq=False)
class Need:
    """One item with the vectors it lacks: {space: {view: key}}; `words` are those of the file itself."""

    item: Item
    words: str
    missing: Mapping[str, Mapping[View, str]]
    stale: tuple[View, ...]
    outcome: Outcome

    @property
    def pixels(self) -> bool:
        """Whether anything has to be decoded."""
        return any({"visual", "joint"} & set(views) for views in self.missing.values())


@dataclass(frozen=True, eq=False)
class Plan:
    """One path: its row as it shall be when all is done, its items, and the content that it held before.

    `kept` are the spaces that hold vectors of all its items already, from when the same bytes were cut the same way.
    """

    row: FileRow
    needs: tuple[Need, ...]
    before: str | None
    kept: tuple[str, ...]
    cuts: Mapping[str, Cut]


def words_hash(source: Source) -> str:
    """Changes when a caption, its language or its metadata does."""
    said = json.dumps(
        [source.caption, source.lang, dict(source.meta), source.problem, source.beside], sort_keys=True, default=str
    )
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def file_row(source: Source, settings: Settings, **known: Any) -> FileRow:
    """A fresh row for a source."""
    fields: dict[str, Any] = {"kind": "", "size": None, "mtime_ns": None, "sha256": None} | known
    return FileRow(
        path=source.path,
        settings=settings.key,
        caption=source.caption,
        lang=source.lang,
        meta=json.dumps(dict(source.meta), ensure_ascii=False, sort_keys=True),
        words_hash=words_hash(source),
        **fields,
    )


def items_from(cuts: Sequence[Cut], rows: Sequence[FileRow], kind: str, sha256: str) -> list[tuple[Item, str]]:
    """The items of a file's cuts, with the file's own words; captions and metadata come from every path it has.

    Several captions of the same bytes are joined in the order of their paths; of metadata the first path wins. So the
    order in which paths were met never shows.
    """
    ordered = sorted(rows, key=lambda r: r.path)
    captions = list(dict.fromkeys(r.caption for r in ordered if r.caption))
    meta: dict[str, Any] = {}
    for row in reversed(ordered):
        meta |= meta_of(row)
    lang = next((r.lang for r in ordered if r.lang), "")
    items = []
    for cut in cuts:
        text = "\n".join([*captions, *([cut.text.strip()] if cut.text.strip() else [])])
        item = Item(
            item_id(sha256, cut.locator), kind, sha256, cut.locator, cut.t0, cut.t1, cut.page,
            tuple(r.path for r in ordered), text, lang, meta, cut.visual,
        )  # fmt: skip
        items.append((item, cut.text))
    return items


class Planner:
    """Compares files with the ledger, and with what earlier files of this run have planned but not stored yet."""

    def __init__(self, ledger: Ledger, settings: Settings, cards: Sequence[Card]) -> None:
        self.ledger, self.settings, self.cards = ledger, settings, cards
        self._rows: dict[str, dict[str, FileRow]] = {}
        self._keys: dict[tuple[str, str], dict[View, str]] = {}
        self._items: dict[str, Item] = {}
        self._content: dict[str, list[str]] = {}

    def unchanged(self, row: FileRow | None, source: Source, size: int | None, mtime_ns: int | None) -> bool:
        """Whether nothing about the file, its words, the settings or the encoders has changed since it was stored."""
        return (
            row is not None
            and self.same_bytes(row, size, mtime_ns)
            and row.words_hash == words_hash(source)
            and (bool(row.reason) or {c.space for c in self.cards} <= set(row.spaces))
        )

    def same_bytes(self, row: FileRow, size: int | None, mtime_ns: int | None) -> bool:
        """Whether the file need not be opened: size, time and settings are those of the last reading."""
        return (row.size, row.mtime_ns, row.settings) == (size, mtime_ns, self.settings.key)

    def plan(self, row: FileRow, cuts: Sequence[Cut]) -> Plan:
        """What the path needs, given what is in its file; `row` carries kind and sha256."""
        assert row.sha256 is not None
        known = self.ledger.file(row.path)
        paths = {r.path: r for r in self.ledger.paths_of(row.sha256)}
        overlay = self._rows.setdefault(row.sha256, {})
        overlay[row.path] = row
        items = items_from(cuts, list((paths | overlay).values()), row.kind, row.sha256)
        before = known.sha256 if known and known.sha256 != row.sha256 else None
        needs = tuple(self._need(item, words, before is not None) for item, words in items)
        whole = replace(row, spaces=tuple(sorted(c.space for c in self.cards)))
        same = known is not None and (known.sha256, known.settings) == (row.sha256, row.settings)
        return Plan(whole, needs, before, known.spaces if known and same else (), {c.locator: c for c in cuts})

    def forget(self, sha256: str) -> None:
        """Plans of this content were not carried out: the next one for it looks at the ledger alone."""
        self._rows.pop(sha256, None)
        for ident in self._content.pop(sha256, ()):
            self._items.pop(ident, None)
            for card in self.cards:
                self._keys.pop((ident, card.space), None)

    def _need(self, item: Item, words: str, new_bytes: bool) -> Need:
        missing: dict[str, dict[View, str]] = {}
        again = False
        for card in self.cards:
            wanted = wanted_keys(item, card, self.settings)
            stored = self._stored(item.id, card.space)
            lacking = {view: key for view, key in wanted.items() if stored.get(view) != key}
            again = again or any(view in stored for view in lacking)
            if lacking:
                missing[card.space] = lacking
            self._keys[item.id, card.space] = wanted
        earlier = self._items.get(item.id) or next(iter(self.ledger.items([item.id])), None)
        self._items[item.id] = item
        self._content.setdefault(item.content_hash, []).append(item.id)
        stale: tuple[View, ...] = ("text", "joint") if earlier and earlier.text and not item.text else ()
        same_words = earlier is not None and (earlier.payload, earlier.text) == (item.payload, item.text)
        outcome: Outcome
        if earlier is None:
            outcome = "replaced" if new_bytes else "stored"
        elif same_words and not again:
            outcome = "stored" if missing else "unchanged"  # stored: the vectors of a further encoder
        else:
            outcome = "replaced"
        return Need(item, words, missing, stale, outcome)

    def _stored(self, item: str, space: str) -> dict[View, str]:
        planned = self._keys.get((item, space))
        return self.ledger.keys(item, space) if planned is None else planned


def wanted_keys(item: Item, card: Card, settings: Settings) -> dict[View, str]:
    """What each view of the item in a space is made from: the settings, and the words for the text and joint views."""
    keys: dict[View, str] = {}
    words = hashlib.sha256(item.text.encode()).hexdigest()[:16]
    sees = "image" in card.reads or ("frames" in card.reads and item.kind == "video")
    if "visual" in item.views and sees:
        keys["visual"] = f"{settings.key}:{PIXELS}"
    if "text" in item.views and "text" in card.reads:
        keys["text"] = f"{settings.key}:{words}"
    if card.joint and len(keys) == 2:
        keys["joint"] = f"{settings.key}:{PIXELS}:{words}"
    return keys
