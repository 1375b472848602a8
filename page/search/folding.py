"""Results that stand folded behind a better one: near copies of it, and other clips of its film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mmretrieval.copies import Looks, Mask, leaders, numbered
from mmretrieval.types import Item
from page.notices import counted, escape
from page.search.cards import Card


def folded(cards: Sequence[Card], items: Mapping[str, Item], looks: Looks) -> list[Card]:
    """The cards, best first, those that show the same again behind the best of their kind.

    `looks` are those of the cards' items, in the same order. A card keeps its rank; which one it stands behind depends
    on better cards alone, so that a longer list begins as a shorter one does.
    """
    shown = [items[one.id] for one in cards]
    if not shown:
        return []
    whole = slice(None)
    behind = leaders(looks.alike(whole, whole)[0] | _same_film(shown))
    groups: dict[int, list[int]] = {}
    for place, leader in enumerate(behind):
        groups.setdefault(leader, []).append(place)
    return [_group(cards, shown, places) for places in groups.values()]


def _same_film(items: Sequence[Item]) -> Mask:
    films = numbered([item.content_hash if item.kind == "video" else "" for item in items])
    return np.asarray((films[:, None] == films[None]) & (films > 0)[:, None], dtype=np.bool_)


def _group(cards: Sequence[Card], items: Sequence[Item], places: Sequence[int]) -> Card:
    """The first card of some that show the same, with the others behind it."""
    first, *others = places
    if not others:
        return cards[first]
    film = items[first].content_hash if items[first].kind == "video" else None
    copies = [place for place in others if items[place].content_hash != film]
    marked = {place: f"like {cards[first].rank}" for place in copies}
    alike = tuple(replace(cards[p], mark=", ".join(filter(None, (marked.get(p), cards[p].mark)))) for p in others)
    return replace(cards[first], alike=alike, behind=_said(len(copies), len(others) - len(copies)))


def _said(copies: int, clips: int) -> str:
    """What stands behind a card, in few words."""
    found = ["1 near copy" if copies == 1 else f"{copies} near copies"] if copies else []
    found += [f"{clips} more of this film"] if clips else []
    return f"and {' and '.join(found)}"


def switch(shown: Sequence[Card], k: int, fold: bool) -> str:
    """How many results are folded, with a button that shows all by themselves, or that folds them again."""
    behind = sum(len(one.alike) for one in shown)
    if not fold:
        said, does = "Every result stands by itself, near copies too.", "Fold what shows the same"
    elif behind:
        does = "Show every result by itself"
        said = f"{counted(behind, 'result')} folded behind a better one that shows the same."
    else:
        return ""
    return (
        f'<p class="mm-hint mm-folds">{escape(said)} <button type="button" class="mm-plain-link" '
        f'data-fold="{int(not fold)}" data-k="{k}">{does}</button></p>'
    )
