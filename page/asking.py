"""From what a visitor gave to a Query: parts with weights, a filter, and the items that the query picture itself is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.workers import read, scan
from mmretrieval.errors import BadFilter, BadQuery, MediaError
from mmretrieval.filters import AllOf, Condition, Filter, Operation
from mmretrieval.types import Content, Part, Query

if TYPE_CHECKING:
    from page.state import Page

SIGNS: dict[str, Operation] = {"<=": "lte", ">=": "gte", "=": "eq", "<": "lt", ">": "gt"}
CONDITION = re.compile(r"\s*([\w.\-]+)\s*(<=|>=|=|<|>)\s*(.+?)\s*\Z")
OWN_FIELDS = frozenset({"kind", "page", "t0", "t1", "lang"})


@dataclass(frozen=True)
class Asked:
    """A query as the widgets hold it: words, an uploaded picture's path, a library item, what to avoid."""

    words: str = ""
    picture: str | None = None
    item: str | None = None
    avoid: str = ""
    words_weight: float = 1.0
    picture_weight: float = 1.0
    item_weight: float = 1.0
    avoid_weight: float = 0.5
    kinds: tuple[str, ...] = ()
    conditions: str = ""

    @property
    def sentence(self) -> str:
        """The query in words, for headings."""
        parts = [f"“{self.words.strip()}”"] if self.words.strip() else []
        parts += ["a picture"] if self.picture else []
        parts += ["an item of the library"] if self.item else []
        away = f", away from “{self.avoid.strip()}”" if self.avoid.strip() else ""
        return " + ".join(parts) + away


def query(page: Page, asked: Asked) -> Query:
    """The Query that was asked; raises BadQuery where there is nothing to look for, MediaError for a broken picture."""
    parts: list[Part] = []
    own: frozenset[str] = frozenset()
    if asked.words.strip():
        parts.append(Part(Content(text=asked.words.strip()), weight=asked.words_weight))
    if asked.picture:
        content, sha256 = picture(page, Path(asked.picture))
        own = page.library.own_items(sha256)
        parts.append(Part(content, weight=asked.picture_weight))
    if asked.item:
        parts.append(Part(item=page.library.item(asked.item).id, weight=asked.item_weight))
    if asked.avoid.strip():
        parts.append(Part(Content(text=asked.avoid.strip()), weight=-abs(asked.avoid_weight)))
    if not parts:
        raise BadQuery("nothing to look for yet: write some words, give a picture, or take a result as the query")
    return Query(tuple(parts), filter=restriction(asked.kinds, asked.conditions), exclude=own)


def picture(page: Page, path: Path) -> tuple[Content, str]:
    """An uploaded picture as the encoders will see it, read in another process, and the sha256 of its bytes."""
    found = page.readers.submit(scan, path, page.library.settings).result()
    if found.kind != "image":
        raise MediaError(f"{path.name} is {found.kind or 'no media file'}, not a picture: give a picture as the query")
    (reading,) = page.readers.submit(read, path, found.kind, found.cuts, page.library.settings).result()
    return reading.content, found.sha256


def restriction(kinds: Sequence[str], conditions: str) -> Filter | None:
    """The filter for some kinds (none chosen: all) and conditions such as `subject = animals, year >= 2000`."""
    wanted: list[Filter] = [Condition("kind", "in", tuple(kinds))] if kinds else []
    wanted += [_condition(text) for text in conditions.split(",") if text.strip()]
    return None if not wanted else wanted[0] if len(wanted) == 1 else AllOf(tuple(wanted))


def _condition(text: str) -> Condition:
    match = CONDITION.match(text)
    if match is None:
        raise BadFilter(f"{text.strip()!r} is no condition: write NAME = VALUE, or <, <=, >, >= with a number")
    name, sign, raw = match.groups()
    field = name if name in OWN_FIELDS or name.startswith("meta.") else f"meta.{name}"
    value = _value(raw.strip("\"'"))
    # `year = 2000` finds the number and the text: whoever types it cannot know which of them the caption file holds.
    if sign == "=" and not isinstance(value, str):
        return Condition(field, "in", (value, raw))
    return Condition(field, SIGNS[sign], value)


def _value(raw: str) -> str | float | bool:
    if raw.lower() in ("true", "false"):
        return raw.lower() == "true"
    try:
        return int(raw) if re.fullmatch(r"[+-]?\d+", raw) else float(raw)
    except ValueError:
        return raw
