"""Filters as people type them: conditions such as `subject = animals, year >= 2000, path = cats/*.jpg`.

A condition is NAME SIGN VALUE, and commas stand between them. Names are kind, page, t0, t1, lang, path, duration (s)
and has_text; `tag`, which is one of `meta.tags`; any other name is one of a caption file's, as `meta.NAME` is. Signs
are =, !=, <, <=, >, >=, and ~ for a pattern with * and ?. For a path = takes a pattern too. A value with a comma stands
in quotes; a value in quotes is text, whatever it looks like. An order is asked with a number or a date (2020, 2020-05,
2020-05-03); what it means is said in `mmretrieval.filters`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence

from mmretrieval.errors import BadFilter
from mmretrieval.filters import BESIDE, DURATION, PATH, AllOf, AnyOf, Condition, Filter, Not, Operation

SIGNS: dict[str, Operation] = {"<=": "lte", ">=": "gte", "=": "eq", "<": "lt", ">": "gt", "~": "glob", "!=": "eq"}
# One condition and what ends it; a value in quotes may hold commas. No two neighbours here match the same character:
# what a stranger types must not make the expression try every way of parting it.
CONDITION = re.compile(
    r"""\s*([\w.\-]+)\s*(<=|>=|!=|=|<|>|~)\s*(?:"([^"]*)"\s*|'([^']*)'\s*|([^,"'\s][^,]*))(?:,|\Z)"""
)
# Beyond that nobody reads them, and every one of them is a scan of the library.
MOST_CHARS, MOST_CONDITIONS = 4000, 32
NUMBERS = frozenset({"page", "t0", "t1", DURATION})
OWN_FIELDS = frozenset({"kind", "lang"}) | NUMBERS | BESIDE
# Names with a shorter spelling.
SHORT = {"tag": "meta.tags"}
# Stores keep whole numbers in 64 bits.
MOST_NUMBER = 2**63


def restriction(kinds: Sequence[str], conditions: str) -> Filter | None:
    """The filter for some kinds (none chosen: all) and typed conditions; nothing where there are neither.

    Raises BadFilter for a text that is no condition, naming it, and for too many of them.
    """
    if len(conditions) > MOST_CHARS:
        raise BadFilter(
            f"the conditions have {len(conditions):,} characters, at most {MOST_CHARS:,} are read: shorten them"
        )
    wanted: list[Filter] = [Condition("kind", "in", tuple(kinds))] if kinds else []
    wanted += itertools.islice(_conditions(conditions), MOST_CONDITIONS + 1)
    if len(wanted) > MOST_CONDITIONS:
        raise BadFilter(f"more than {MOST_CONDITIONS} conditions stand there: leave some out")
    return None if not wanted else wanted[0] if len(wanted) == 1 else AllOf(tuple(wanted))


def _conditions(text: str) -> Iterator[Filter]:
    start = 0
    while text[start:].strip(" \t\n,"):
        match = CONDITION.match(text, start)
        if match:
            yield _condition(*match.groups())
            start = match.end()
        elif piece := text[start:].split(",", maxsplit=1)[0].strip():
            raise BadFilter(
                f"{piece[:80]!r} is no condition: write NAME = VALUE, or !=, or <, <=, >, >= with a number or a "
                'date, or ~ with a pattern; put quotes around a value that holds commas or quotes, as in NAME = "a, b"'
            )
        else:
            start = text.index(",", start) + 1


def _condition(name: str, sign: str, double: str | None, single: str | None, bare: str | None) -> Filter:
    field = name if name in OWN_FIELDS or name.startswith("meta.") else SHORT.get(name, f"meta.{name}")
    op, bare = SIGNS[sign], bare.rstrip() if bare is not None else None
    if bare is None:
        quoted = (double if double is not None else single) or ""
        found: Filter = Condition(field, "glob" if field == PATH and op == "eq" else op, quoted)
    elif op == "glob" or (field == PATH and op == "eq"):
        found = Condition(field, "glob", bare)
    else:
        found = _compared(field, op, bare)
    return Not(found) if sign == "!=" else found


def _compared(field: str, op: Operation, bare: str) -> Filter:
    value = _value(bare)
    if op != "eq":
        number = Condition(field, op, value)
        # `taken >= 2020` is a year of dates too: whoever types it cannot know what the caption file holds.
        is_year = field not in NUMBERS and re.fullmatch(r"[0-9]{4}", bare) and bare != "0000"
        return AnyOf((number, Condition(field, op, bare))) if is_year else number
    # `year = 2000` finds the number and the text, for the same reason.
    return Condition(field, "in", (value, bare)) if not isinstance(value, str) else Condition(field, op, value)


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
