"""What lies around an item: the other clips or pages of its file, and the items that are most like it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from mmretrieval.lexical import is_lexical
from mmretrieval.recipe import parse
from mmretrieval.types import Hit, Item, Part, Query
from page.notices import escape
from page.search.cards import clock, place, title, what

if TYPE_CHECKING:
    from page.state import Page

NEAREST = 8
# Pages that are shown on either side of the one that is looked at.
PAGES_BESIDE = 3


def of_file(page: Page, item: Item) -> list[Item]:
    """The items of the same file, in the order in which they stand in it."""
    return [other for other, _ in page.library.ledger.items_of(item.content_hash, page.library.settings.key)]


def nearest(page: Page, item: Item, recipe: str, k: int = NEAREST) -> tuple[str, list[Hit]]:
    """What was searched, and the k items most like one: by the recipe's first encoder, pixels with pixels, else words.

    Raises as Engine.rank does.
    """
    encoders = [source.encoder for source in parse(recipe).sources if not is_lexical(source.encoder)]
    searched = f"{(encoders or list(page.library.encoders))[0]}@{'visual' if item.visual else 'text'}"
    run = page.engine.rank([Query((Part(item=item.id),))], searched, k)
    return searched, list(run.rankings[0].hits)


def near(page: Page, item: Item, recipe: str) -> str:
    """The nearest items as small pictures, each of which opens its own detail."""
    searched, hits = nearest(page, item, recipe)
    items = page.library.items_by_id([hit.id for hit in hits])
    drawn = "".join(_small(items[hit.id], f"{hit.score:.2f}") for hit in hits if hit.id in items)
    if not drawn:
        return ""
    sense = "looks" if item.visual else "words"
    said = f"By {sense} alone, as <code>{escape(searched)}</code> sees them; the numbers are cosines, 1 at most."
    return (
        '<section class="mm-near" aria-label="Most like it"><h4>Most like it</h4>'
        f'<div class="mm-strip mm-wrapped">{drawn}</div><p class="mm-hint">{said}</p></section>'
    )


def pages(page: Page, item: Item) -> str:
    """The pages beside a page of a document; nothing for what has no pages."""
    if item.page is None:
        return ""
    every = of_file(page, item)
    at = next((number for number, other in enumerate(every) if other.id == item.id), None)
    if at is None or len(every) < 2:
        return ""
    start = max(0, min(at - PAGES_BESIDE, len(every) - 2 * PAGES_BESIDE - 1))
    shown = every[start : start + 2 * PAGES_BESIDE + 1]
    drawn = "".join(_small(other, f"{other.page}", here=other.id == item.id) for other in shown)
    before, after = every[at - 1] if at else None, every[at + 1] if at + 1 < len(every) else None
    turn = _turn(before, "‹ previous page") + _turn(after, "next page ›")
    return (
        '<section class="mm-pages" aria-label="Pages of this document">'
        f'<div class="mm-strip">{drawn}</div><div class="mm-turn">{turn}'
        f'<span class="mm-hint">page {item.page} of {every[-1].page}</span></div></section>'
    )


def _turn(item: Item | None, says: str) -> str:
    off = "disabled" if item is None else f'data-do="open" data-item="{escape(item.id)}"'
    return f'<button type="button" class="mm-try" {off}>{says}</button>'


def _small(item: Item, number: str, *, here: bool = False) -> str:
    """A thumbnail, or the first words, as a button that opens the item."""
    about = escape(f"{what(item.kind, place(item))}: {title(item)}")
    face = (
        f'<img src="media/thumb/{quote(item.id)}" alt="" loading="lazy">'
        if item.visual
        else f'<span class="mm-said">{escape(title(item))}</span>'
    )
    current = 'aria-current="page"' if here else ""
    return (
        f'<button type="button" class="mm-small" data-do="open" data-item="{escape(item.id)}" {current} '
        f'title="{about}" aria-label="{about}">{face}<span class="mm-number">{escape(number)}</span></button>'
    )


def timeline(page: Page, item: Item, hits: Mapping[str, Hit]) -> str:
    """A video's whole length as a bar with this clip on it, and the other clips of the file that were found.

    Nothing where an item has no time.
    """
    if item.t0 is None or item.t1 is None:
        return ""
    clips = [other for other in of_file(page, item) if other.t0 is not None and other.t1 is not None]
    whole = max([item.t1, *(other.t1 or 0.0 for other in clips)])
    found = [other for other in clips if other.id in hits and other.id != item.id]
    drawn = "".join(_clip(other, whole, hits[other.id].rank) for other in found) + _clip(item, whole, None)
    more = f" Also found: {len(found)} more of this film." if found else ""
    return (
        f'<div class="mm-film" data-seconds="{whole:.3f}" role="group" aria-label="The whole video">{drawn}'
        '<span class="mm-head-now" aria-hidden="true"></span></div>'
        f'<p class="mm-hint">This clip is {escape(place(item))} of {clock(whole)}.{more} Click the bar to go there.</p>'
    )


def _clip(item: Item, whole: float, rank: int | None) -> str:
    start, end = item.t0 or 0.0, item.t1 or 0.0
    left, width = 100 * start / whole, max(100 * (end - start) / whole, 0.8)
    says = f"result {rank}: {place(item)}" if rank else f"this clip: {place(item)}"
    kind = "mm-also" if rank else "mm-this"
    return (
        f'<button type="button" class="{kind}" style="left:{left:.3f}%;width:{min(width, 100 - left):.3f}%" '
        f'data-seek="{start:.3f}" title="{escape(says)}" aria-label="{escape(says)}">{rank or ""}</button>'
    )
