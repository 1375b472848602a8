"""Items that the library has more than once: the same bytes under several paths, and pictures that look the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmretrieval.copies import ALIKE, Looks, looks
from mmretrieval.copies import seen as looks_of
from mmretrieval.errors import BadQuery
from mmretrieval.types import Item
from page.notices import counted, escape, notice, table
from page.search.cards import title

if TYPE_CHECKING:
    from mmretrieval.library import Library
    from page.state import Page

GROUPS_SHOWN, PATHS_SHOWN, PAIRS_SHOWN = 100, 8, 60
# All pairs of so many items are compared, some seconds of work; of a larger library the first by id.
COMPARED, BLOCK = 20_000, 1024
LEAST, MOST, USUAL = 0.8, 1.0, ALIKE
# What compares pictures where no encoder is chosen.
PIXELS = ""


@dataclass(frozen=True)
class Pairs:
    """The pairs of items whose pictures are at least so alike, the most alike first, and how many items were compared.

    `all` is how many such pairs there are; `pairs` holds the first of them: (id, id, how alike: 1 at most).
    """

    pairs: tuple[tuple[str, str, float], ...]
    all: int
    compared: int
    items: int


def same(library: Library) -> list[tuple[str, ...]]:
    """The paths of every content that several readable files hold, by their first path."""
    held: dict[str, list[str]] = defaultdict(list)
    for row in library.files():
        if row.sha256 and not row.reason:
            held[row.sha256].append(row.path)
    return sorted(tuple(paths) for paths in held.values() if len(paths) > 1)


def near(page: Page, encoder: str = PIXELS, least: float = USUAL, most: int = PAIRS_SHOWN) -> Pairs:
    """The pairs of items that are near copies as `mmretrieval.copies` has it, the most alike first.

    With an encoder, those of whose pictures it makes vectors with a cosine of `least` or more. Exact, over COMPARED
    items at most. Raises BadQuery for an encoder without vectors of pictures.
    """
    seen, ids, all_items = _by_pixels(page) if encoder == PIXELS else _by_vectors(page.library, encoder)
    found: list[tuple[float, int, int]] = []
    total = 0
    for start in range(0, len(ids), BLOCK):
        alike, cosines = seen.alike(slice(start, start + BLOCK), slice(start, None), least)
        first, second = np.nonzero(alike)
        kept = second > first  # each pair once, and no item with itself
        values = cosines[first[kept], second[kept]]
        total += len(values)
        best = np.argsort(-values, kind="stable")[:most]
        places = zip(values[best], first[kept][best] + start, second[kept][best] + start, strict=True)
        found = sorted([*found, *((-float(v), int(a), int(b)) for v, a, b in places)])[:most]
    return Pairs(tuple((ids[a], ids[b], -v) for v, a, b in found), total, len(ids), all_items)


def _by_pixels(page: Page) -> tuple[Looks, list[str], int]:
    """The looks of the first items that can be seen, their ids, and how many can be seen in all."""
    visible = [item for item in page.library.items() if item.visual]
    compared = visible[:COMPARED]
    return looks_of(page.prints, compared), [item.id for item in compared], len(visible)


def _by_vectors(library: Library, encoder: str) -> tuple[Looks, list[str], int]:
    """The same of the items that an encoder has seen, by its vectors."""
    views = library.matrices(encoder)
    if "visual" not in views:
        raise BadQuery(f"{encoder} has no vectors of pictures here: choose an encoder that sees")
    known = library.items_by_id([str(ident) for ident in views["visual"].ids[:COMPARED]])
    ids = sorted(known)
    rows = np.asarray(views["visual"].rows[views["visual"].places(ids)])
    return looks([known[ident] for ident in ids], rows), ids, len(views["visual"].ids)


def drawn_same(groups: Sequence[tuple[str, ...]]) -> str:
    """A table of contents with several paths."""
    if not groups:
        return notice("No file is there twice: every content has one path.")
    spare = sum(len(paths) - 1 for paths in groups)
    cut = f"; the first {GROUPS_SHOWN}" if len(groups) > GROUPS_SHOWN else ""
    said = f"{counted(len(groups), 'content')} under several paths, {counted(spare, 'path')} more than needed{cut}"
    rows = []
    for paths in groups[:GROUPS_SHOWN]:
        more = f"\n… and {len(paths) - PATHS_SHOWN} more" if len(paths) > PATHS_SHOWN else ""
        rows.append((len(paths), "\n".join(paths[:PATHS_SHOWN]) + more))
    hint = '<p class="mm-hint">Each is one item, embedded once, with the captions of all its paths.</p>'
    return f'<div class="mm-lines">{table(said, ("paths", "where"), rows, numbers=(0,))}</div>{hint}'


def drawn_near(page: Page, found: Pairs, encoder: str, least: float) -> str:
    """The pairs side by side, with how alike they are."""
    scope = f"{counted(found.compared, 'item')} compared" + (
        f" of {found.items:,}, the first by id" if found.compared < found.items else ""
    )
    by = "by their pixels" if encoder == PIXELS else f"as {encoder} sees them"
    if not found.pairs:
        return notice(f"No two items are as alike as {least:g} {by} ({scope}).")
    items = page.library.items_by_id([ident for a, b, _ in found.pairs for ident in (a, b)])
    cut = f"; the {len(found.pairs)} most alike" if found.all > len(found.pairs) else ""
    said = f"{counted(found.all, 'pair')} as alike as {least:g} or more {by} ({scope}){cut}"
    boxes = "".join(
        f'<figure class="mm-twins">{_face(items[a])}{_face(items[b])}<figcaption>{value:.3f} · '
        f"{escape(title(items[a]))} · {escape(title(items[b]))}</figcaption></figure>"
        for a, b, value in found.pairs
        if a in items and b in items
    )
    return f'<p class="mm-summary">{escape(said)}</p><div class="mm-twin-grid">{boxes}</div>'


def _face(item: Item) -> str:
    return f'<img src="media/thumb/{escape(item.id)}" alt="{escape(title(item))}" loading="lazy">'
