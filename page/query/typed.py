"""A filter from elsewhere as kinds and conditions that somebody could have typed, or as the items that it lets by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mmretrieval.conditions import OWN_FIELDS, SHORT, restriction
from mmretrieval.errors import BadFilter
from mmretrieval.filters import AllOf, AnyOf, Condition, Filter, Not, Operation
from page.query.asking import KIND_NAMES, Asked

if TYPE_CHECKING:
    from mmretrieval.library import Library

SIGN_OF: dict[Operation, str] = {"eq": "=", "in": "=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "glob": "~"}
# What no item passes: each has words or has none.
NOTHING = "has_text = true, has_text = false"
# Whole numbers up to here are the same as fractions.
EXACT = 2**53


def filtered(library: Library, asked: Asked, wanted: Filter | None) -> Asked:
    """The query with a filter in place of its own: as it would be typed, else as the items that pass it now."""
    asked = replace(asked, kinds=(), conditions="", within=())
    if wanted is None:
        return asked
    if (said := as_typed(wanted)) is not None:
        return replace(asked, kinds=said[0], conditions=said[1])
    passing = tuple(sorted(library.select(wanted)))
    return replace(asked, within=passing) if passing else replace(asked, conditions=NOTHING)


def as_typed(wanted: Filter) -> tuple[tuple[str, ...], str] | None:
    """The kinds and the conditions that are read back as the very same filter; None where there are none."""
    every = wanted.of if isinstance(wanted, AllOf) else (wanted,)
    if not every:
        return (), ""
    kinds = _kinds(every[0])
    written = [_typed(one) for one in (every[1:] if kinds else every)]
    text = ", ".join(one for one in written if one is not None)
    return (kinds, text) if _read(kinds, text) == wanted else None


def _read(kinds: tuple[str, ...], text: str) -> Filter | None:
    try:
        return restriction(kinds, text)
    except BadFilter:
        return None


def _kinds(one: Filter) -> tuple[str, ...]:
    """The kinds that a condition asks for as the menu of kinds does; none where it asks for anything else."""
    if isinstance(one, Condition) and (one.field, one.op) == ("kind", "in") and isinstance(one.value, tuple):
        return tuple(str(kind) for kind in one.value) if set(one.value) <= KIND_NAMES.keys() else ()
    return ()


def _typed(one: Filter) -> str | None:
    return next((text for text in _spellings(one) if _read((), text) == one), None)


def _spellings(one: Filter) -> Iterator[str]:
    """Texts that may mean a condition, the plainest first."""
    if isinstance(one, Not):
        yield from (said.replace(" = ", " != ", 1) for said in _spellings(one.of))
    elif isinstance(one, AnyOf) and one.of:
        yield from _spellings(one.of[0])  # a year, which is looked for as a number and as a date
    elif isinstance(one, Condition) and one.op in SIGN_OF:
        value = one.value[0] if isinstance(one.value, tuple) and one.value else one.value
        plain = one.field.removeprefix("meta.")
        name = one.field if plain in OWN_FIELDS or plain in SHORT else plain
        said = str(value).lower() if isinstance(value, bool) else str(value)
        yield f"{name} {SIGN_OF[one.op]} {said}"
        if isinstance(value, int) and abs(value) < EXACT:
            yield f"{name} {SIGN_OF[one.op]} {float(value)}"  # a number and no year
        yield from (f"{name} {SIGN_OF[one.op]} {quote}{said}{quote}" for quote in "\"'")
