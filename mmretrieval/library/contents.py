"""What is in an item, read from the file that it was cut from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmretrieval.errors import MediaError
from mmretrieval.library.ledger import Ledger
from mmretrieval.media import KINDS
from mmretrieval.types import Content, Cut, Item, Settings


def original(ledger: Ledger, item: Item) -> Path:
    """The file that an item was cut from, unchanged since; MediaError says what became of it."""
    changed = ""
    for path in item.paths:
        row, file = ledger.file(path), Path(path)
        try:
            stat = file.stat()
        except OSError:
            continue
        if row is not None and (row.size, row.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            return file
        changed = path
    if changed:
        raise MediaError(f"{changed} has changed since it was ingested: add its folder again")
    raise MediaError(
        f"{' and '.join(item.paths) or 'the file'} is no longer there: put it back, or run "
        "`python -m ingest add FOLDER --prune` with the folder where it lies now"
    )


def cut_of(item: Item) -> Cut:
    """The place of an item inside its file."""
    return Cut(item.locator, item.t0, item.t1, item.page, "", item.visual)


def content(ledger: Ledger, item: Item, settings: Settings, *, pixels: bool = True) -> Content:
    """An item's words, and its picture or frames if `pixels`; MediaError where its file cannot be read any more.

    The file was read in a process of its own when it was ingested, and is read here only while it is unchanged.
    """
    text = item.text.strip() or None
    if not (pixels and item.visual):
        return Content(text=text)
    (shown,) = KINDS[item.kind].read(original(ledger, item), [cut_of(item)], settings)
    return replace(shown, text=text)
