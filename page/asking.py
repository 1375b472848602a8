"""From what a visitor gave to a Query: parts with weights, a filter, and the items that the query picture itself is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
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
# One condition and what ends it; a value in quotes may hold commas.
CONDITION = re.compile(r"""\s*([\w.\-]+)\s*(<=|>=|=|<|>)\s*(?:"([^"]*)"|'([^']*)'|([^,"'\s][^,]*?))\s*(?:,|\Z)""")
KIND_NAMES = {"image": "picture", "video": "clip", "document": "page", "text": "passage"}
OWN_FIELDS = frozenset({"kind", "page", "t0", "t1", "lang"})
# The name under which errors of the engine speak of the page's query; `notices.attempt` leaves it out.
QUERY_ID = "this query"
MOST_WEIGHT = 2.0
# Stores keep whole numbers in 64 bits.
MOST_NUMBER = 2**63


@dataclass(frozen=True)
class Asked:
    """A query as the widgets hold it: words, an uploaded picture's path, a library item, what to avoid.

    Weights of words, picture and item go from -2 (away from it) to 2 (towards it), and 0 leaves the part out; `avoid`
    is always pushed away from, by its weight.
    """

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
        return self.said()

    def said(self, item: str = "an item of the library") -> str:
        """The query in words: what it goes towards, what away from, weights that are not the usual ones, filters."""
        parts = [
            (f"“{self.words.strip()}”" if self.words.strip() else "", self.words_weight, 1.0),
            ("a picture" if self.picture else "", self.picture_weight, 1.0),
            (item if self.item else "", self.item_weight, 1.0),
            (f"“{self.avoid.strip()}”" if self.avoid.strip() else "", -abs(self.avoid_weight), 0.5),
        ]
        towards = " + ".join(_weighted(*part) for part in parts if part[0] and part[1] > 0)
        away = " and ".join(_weighted(*part) for part in parts if part[0] and part[1] < 0)
        filters = [f"only {' and '.join(f'{KIND_NAMES.get(k, k)}s' for k in self.kinds)}"] if self.kinds else []
        filters += [f"where {self.conditions.strip()}"] if self.conditions.strip() else []
        return ", ".join(filter(None, [towards, f"away from {away}" if away else "", *filters]))


def _weighted(name: str, weight: float, usual: float) -> str:
    return name if abs(weight) == usual else f"{name} (weight {abs(weight):g})"


def query(page: Page, asked: Asked) -> Query:
    """The Query that was asked, without the parts of weight 0.

    Raises BadQuery where there is nothing to look for, MediaError for a broken picture, BadFilter for a condition that
    cannot be understood.
    """
    if not (asked.words.strip() or asked.picture or asked.item or asked.avoid.strip()):
        raise BadQuery("nothing to look for yet: write some words, give a picture, or take a result as the query")
    parts: list[Part] = []
    own: frozenset[str] = frozenset()
    if asked.words.strip() and asked.words_weight:
        parts.append(Part(Content(text=asked.words.strip()), weight=asked.words_weight))
    if asked.picture and asked.picture_weight:
        content, sha256 = picture(page, Path(asked.picture))
        own = page.library.own_items(sha256)
        parts.append(Part(content, weight=asked.picture_weight))
    if asked.item and asked.item_weight:
        parts.append(Part(item=page.library.item(asked.item).id, weight=asked.item_weight))
    if asked.avoid.strip() and asked.avoid_weight:
        parts.append(Part(Content(text=asked.avoid.strip()), weight=-abs(asked.avoid_weight)))
    if not parts:
        raise BadQuery("every part of the query has weight 0: give at least one of them another weight")
    return Query(tuple(parts), QUERY_ID, filter=restriction(asked.kinds, asked.conditions), exclude=own)


def picture(page: Page, path: Path) -> tuple[Content, str]:
    """An uploaded picture as the encoders will see it, read in another process, and the sha256 of its bytes."""
    found = page.readers.submit(scan, path, page.library.settings).result()
    if found.kind != "image":
        raise MediaError(f"{path.name} is {found.kind or 'no media file'}, not a picture: give a picture as the query")
    (reading,) = page.readers.submit(read, path, found.kind, found.cuts, page.library.settings).result()
    return reading.content, found.sha256


def restriction(kinds: Sequence[str], conditions: str) -> Filter | None:
    """The filter for some kinds (none chosen: all) and conditions such as `subject = animals, year >= 2000`.

    A value with a comma stands in quotes; a value in quotes is text, whatever it looks like.
    """
    wanted: list[Filter] = [Condition("kind", "in", tuple(kinds))] if kinds else []
    wanted += _conditions(conditions)
    return None if not wanted else wanted[0] if len(wanted) == 1 else AllOf(tuple(wanted))


def _conditions(text: str) -> Iterator[Condition]:
    start = 0
    while text[start:].strip(" \t\n,"):
        match = CONDITION.match(text, start)
        if match:
            yield _condition(*match.groups())
            start = match.end()
        elif piece := text[start:].split(",", maxsplit=1)[0].strip():
            raise BadFilter(
                f"{piece[:80]!r} is no condition: write NAME = VALUE, or <, <=, >, >= with a "
                'number; put quotes around a value that holds commas or quotes, as in NAME = "a, b"'
            )
        else:
            start = text.index(",", start) + 1


def _condition(name: str, sign: str, double: str | None, single: str | None, bare: str | None) -> Condition:
    field = name if name in OWN_FIELDS or name.startswith("meta.") else f"meta.{name}"
    if bare is None:
        return Condition(field, SIGNS[sign], (double if double is not None else single) or "")
    value = _value(bare)
    # `year = 2000` finds the number and the text: whoever types it cannot know which of them the caption file holds.
    if sign == "=" and not isinstance(value, str):
        return Condition(field, "in", (value, bare))
    return Condition(field, SIGNS[sign], value)


def _value(raw: str) -> str | float | bool:
    if raw.lower() in ("true", "false"):
        return raw.lower() == "true"
    if re.fullmatch(r"[+-]?\d+", raw):
        if len(raw) > 20 or not -MOST_NUMBER <= int(raw) < MOST_NUMBER:
            shown = raw if len(raw) <= 24 else f"{raw[:20]}… ({len(raw)} digits)"
            raise BadFilter(f"{shown} is too large a number to compare with: put quotes around it to look for the text")
        return int(raw)
    try:
        number = float(raw)
    except ValueError:
        return raw
    return number if math.isfinite(number) else raw
