"""What a visitor's program sent, checked in one place: each value comes back in its type, or is refused in words."""

from __future__ import annotations

import math
from collections.abc import Collection

from mmretrieval.errors import BadQuery

TEXT_CHARS = 20_000
PATH_CHARS = 4_096
SHOWN_CHARS = 60


def text(value: object, name: str, limit: int = TEXT_CHARS) -> str:
    """A text of at most `limit` characters; nothing given (None) is the empty text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadQuery(f"{name} is {_shown(value)}: give a text, in quotes")
    if len(value) > limit:
        raise BadQuery(f"{name} has {len(value):,} characters, at most {limit:,} are taken: send less")
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise BadQuery(f"{name} holds a character that is none (NUL, or half of a pair): send plain Unicode text")
    return value


def whole(value: object, name: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    number = _number(value)
    if number is None or number != int(number) or not low <= number <= high:
        raise BadQuery(f"{name} is {_shown(value)}: give a whole number from {low} to {high}")
    return int(number)


def real(value: object, name: str, low: float, high: float) -> float:
    """A number from `low` to `high`."""
    number = _number(value)
    if number is None or not low <= number <= high:
        raise BadQuery(f"{name} is {_shown(value)}: give a number from {low:g} to {high:g}")
    return float(number)


def names(value: object, name: str, known: Collection[str] | None = None) -> tuple[str, ...]:
    """A list of texts, each among `known` if that is given; a bare text is a list of one, nothing given is empty."""
    given = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, str) for one in given):
        raise BadQuery(f"{name} is {_shown(value)}: give a list of texts")
    found = tuple(text(one, name, PATH_CHARS) for one in given)
    unknown = [one for one in found if known is not None and one not in known]
    if unknown:
        raise BadQuery(f"{name}: {_shown(unknown[0])} is none of them, there are {', '.join(known or ())}")
    return found


def _number(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def _shown(value: object) -> str:
    """The value as it was given, or the beginning of a long one."""
    if isinstance(value, int) and value.bit_length() > 200:
        return "a number of more than sixty digits"
    said = repr(value)
    return said if len(said) <= SHOWN_CHARS else said[:SHOWN_CHARS] + "…"
