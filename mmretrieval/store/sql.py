"""A Filter as SQLite, over a JSON text column called `payload`, and over the ledger's tables for what is beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from mmretrieval.filters import DURATION, HAS_TEXT, PATH, AllOf, AnyOf, Condition, Filter, Not, Scalar, dated, patterns

ORDERINGS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
# What Python's strip() takes away.
BLANKS = "".join(c for c in map(chr, range(0x3001)) if c.isspace())
# Rows of `type` and `atom`, as json_each gives them, of what the ledger knows of an item beside its payload.
ROWS = {
    PATH: "SELECT 'text' AS type, path AS atom FROM files WHERE files.sha256 = items.sha256",
    DURATION: "SELECT 'real' AS type, items.t1 - items.t0 AS atom WHERE items.t1 - items.t0 IS NOT NULL",
    HAS_TEXT: "SELECT iif(trim(items.text, ?) = '', 'false', 'true') AS type, NULL AS atom",
}
DAY = "-".join("[0-9]" * n for n in (4, 2, 2))
MINUTE = DAY + "[T ][0-9][0-9]:[0-9][0-9]"
# What dates look like, the longest first, and how many characters of each are compared.
DATES = {f"{MINUTE}:[0-9][0-9]*": 19, f"{MINUTE}*": 16, DAY: 10, DAY[:31]: 7, DAY[:20]: 4}


def where(value: Filter) -> tuple[str, list[Any]]:
    """The condition for a WHERE clause and its parameters, true for the payloads that `filters.matches` lets pass.

    Never NULL, so NOT means what it says. The column must hold `json.dumps(payload, ensure_ascii=False)`. SQLite holds
    integers beyond 64 bits as floating point, and reads a string only up to its first NUL character. Where the filter
    asks for the path, duration or has_text the query must be over the ledger's `items`.
    """
    match value:
        case Condition():
            return _condition(value)
        case AllOf(of):
            return _join("AND", of, "1")
        case AnyOf(of):
            return _join("OR", of, "0")
        case Not(of):
            sql, parameters = where(of)
            return f"NOT {sql}", parameters


def _join(word: str, of: Sequence[Filter], empty: str) -> tuple[str, list[Any]]:
    if not of:
        return empty, []
    if len(of) == 1:
        return where(of[0])
    # Halves, not a chain: SQLite refuses expressions more than 1000 deep.
    middle = len(of) // 2
    left, right = _join(word, of[:middle], empty), _join(word, of[middle:], empty)
    return f"({left[0]} {word} {right[0]})", left[1] + right[1]


def _condition(condition: Condition) -> tuple[str, list[Any]]:
    # A field is letters, digits, _ and - between dots, so that its quoted keys need no escapes.
    path = "$" + "".join(f'."{key}"' for key in condition.field.split("."))
    if condition.field in ROWS:
        rows, own = ROWS[condition.field], [BLANKS] if condition.field == HAS_TEXT else []
        if condition.op == "exists":
            return f"{'' if condition.value else 'NOT '}EXISTS ({rows})", own
        test, parameters = _test(condition)
        return f"EXISTS (SELECT 1 FROM ({rows}) AS e WHERE {test})", [*own, *parameters]
    if condition.op == "exists":
        anything = "EXISTS (SELECT 1 FROM json_each(payload, ?) AS e WHERE e.type <> 'null')"
        sql = f"(json_type(payload, ?) IS 'object' OR {anything})"
        return (sql if condition.value else f"NOT {sql}"), [path, path]
    # json_each walks a list, and gives a scalar as one row; an object's members are not values of the field.
    each = "SELECT 1 FROM json_each(payload, ?) AS e WHERE json_type(payload, ?) IS NOT 'object'"
    test, parameters = _test(condition)
    return f"EXISTS ({each} AND {test})", [path, path, *parameters]


def _test(condition: Condition) -> tuple[str, list[Any]]:
    """Whether the element `e` passes, for every operation but `exists`."""
    value = condition.value
    if condition.op in ("eq", "in"):
        return _any_of(value if isinstance(value, tuple) else (value,))
    if condition.op == "glob":
        wanted = [pattern.replace("[", "[[]") for pattern in patterns(condition)]
        return f"e.type = 'text' AND ({' OR '.join(['e.atom GLOB ?'] * len(wanted))})", list(wanted)
    if isinstance(value, str):
        return _dates(condition.op, dated(value) or "")
    assert isinstance(value, (int, float))
    number, parameters = _number(value)
    return f"e.type IN ('integer', 'real') AND e.atom {ORDERINGS[condition.op]} {number}", parameters


def _dates(op: str, bound: str) -> tuple[str, list[Any]]:
    """Whether `e` is a date that compares so with the bound, as far as both of them go (`filters.dated`)."""
    cases, parameters = "", list[Any]()
    for shape, length in DATES.items():
        shared = min(length, len(bound))
        told = "e.atom" if shared <= 10 else "replace(e.atom, ' ', 'T')"
        cases += f" WHEN e.atom GLOB '{shape}' THEN substr({told}, 1, {shared}) {ORDERINGS[op]} ?"
        parameters.append(bound[:shared])
    return f"e.type = 'text' AND CASE{cases} ELSE 0 END", parameters


def _any_of(values: Sequence[Scalar]) -> tuple[str, list[Any]]:
    """Whether the element `e` equals one of the values: booleans, strings and numbers each among themselves."""
    words = [v for v in values if isinstance(v, str)]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    truths = sorted({v for v in values if isinstance(v, bool)})
    tests, parameters = [], []
    if words:
        tests.append("e.type = 'text' AND e.atom IN (SELECT value FROM json_each(?))")
        parameters.append(json.dumps(words, ensure_ascii=False))
    if numbers:
        # An infinity or NaN is no JSON, and equals nothing that JSON can hold.
        finite = [n for n in numbers if math.isfinite(n)]
        tests.append("e.type IN ('integer', 'real') AND e.atom IN (SELECT value FROM json_each(?))")
        parameters.append(json.dumps(finite))
    if truths:
        tests.append(f"e.type IN ({', '.join(repr(json.dumps(t)) for t in truths)})")
    return f"({' OR '.join(f'({t})' for t in tests) or '0'})", parameters


def _number(value: int | float) -> tuple[str, list[Any]]:
    """An SQL term for the number, read by the same code as the numbers in the payload."""
    if isinstance(value, float) and not math.isfinite(value):
        return "?", [value]
    return "json_extract(?, '$')", [json.dumps(value)]
