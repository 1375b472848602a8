"""A ranking with what its items are, so that it prints as people read it: in a notebook, at a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from mmretrieval.types import Item, Ranking

WORDS = 60


@dataclass(frozen=True, repr=False)
class Answer(Ranking):
    """The hits of one query, best first, under a recipe with all defaults spelled out, and their items by id."""

    recipe: str
    items: Mapping[str, Item]

    def __repr__(self) -> str:
        lines = [f"{len(self.hits)} items under {self.recipe}"]
        width = max((len(self._kind(hit.id)) for hit in self.hits), default=0)
        for hit in self.hits:
            item = self.items.get(hit.id)
            said = "" if item is None else shortened(item.text)
            held = f"{hit.rank:>3}  {hit.score:8.4f}  {self._kind(hit.id):<{width}}  {place(item)}"
            lines.append(f"{held}  {said}".rstrip())
        return "\n".join(lines)

    def _kind(self, ident: str) -> str:
        return self.items[ident].kind if ident in self.items else "removed"


def place(item: Item | None) -> str:
    """Where an item stands: its file's name, and the seconds or the page; nothing for one that is gone."""
    if item is None:
        return ""
    name = PurePath(item.paths[0]).name if item.paths else item.id
    if item.t0 is not None and item.t1 is not None:
        return f"{name} {item.t0:.1f}-{item.t1:.1f} s"
    return f"{name} p. {item.page}" if item.page is not None else name


def shortened(text: str) -> str:
    """The beginning of a text as one line."""
    line = " ".join(text.split())
    return line if len(line) <= WORDS else line[: WORDS - 1].rstrip() + "…"
