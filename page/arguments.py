"""What a visitor's program sent, checked in one place: each value comes back in its type, or is refused in words."""

from __future__ import annotations

import math
from collections.abc import Collection

from mmretrieval.errors import BadQuery

TEXT_CHARS = 20_000
PATH_CHARS = 4_096
SHOWN_CHARS = 60
# What a browser holds of a drawn widget, and what it says of an event (points chosen on a map, a bit each).
DRAWN_CHARS, EVENT_CHARS = 4_000_000, 4_000_000
EVENT_KEYS = 32
Plain = str | int | float | bool | None


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


def finite(value: object, name: str) -> float:
    """A number, whatever its size."""
    number = _number(value)
    if number is None:
        raise BadQuery(f"{name} is {_shown(value)}: give a number")
    return number


def yes(value: object, name: str) -> bool:
    """True or false; nothing given is false."""
    if value is not None and not isinstance(value, bool):
        raise BadQuery(f"{name} is {_shown(value)}: give true or false")
    return bool(value)


def plain(value: object, name: str, limit: int = TEXT_CHARS) -> Plain:
    """One value that holds no others: a text, a number, true, false, or nothing."""
    if value is None or isinstance(value, bool):
        return value
    return text(value, name, limit) if isinstance(value, str) else finite(value, name)


def event(value: object) -> dict[str, Plain]:
    """What a browser says of an event: names with plain values; nothing said is no names."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > EVENT_KEYS or not all(isinstance(key, str) for key in value):
        raise BadQuery(f"the event is {_shown(value)}: give an object of names with plain values")
    return {key: plain(one, f"{_shown(key)} of the event", EVENT_CHARS) for key, one in value.items()}


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
