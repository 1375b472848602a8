"""A Filter as SQLite, over a JSON text column called `payload`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from mmretrieval.filters import AllOf, AnyOf, Condition, Filter, Not, Scalar

ORDERINGS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def where(value: Filter) -> tuple[str, list[Any]]:
    """The condition for a WHERE clause and its parameters, true for the payloads that `filters.matches` lets pass.

    Never NULL, so NOT means what it says. The column must hold `json.dumps(payload, ensure_ascii=False)`. SQLite holds
    integers beyond 64 bits as floating point, and reads a string only up to its first NUL character.
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
    if condition.op == "exists":
        anything = "EXISTS (SELECT 1 FROM json_each(payload, ?) AS e WHERE e.type <> 'null')"
        sql = f"(json_type(payload, ?) IS 'object' OR {anything})"
        return (sql if condition.value else f"NOT {sql}"), [path, path]
    if condition.op in ("eq", "in"):
        values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
        test, parameters = _any_of(values)
    else:
        assert isinstance(condition.value, (int, float))
        number, parameters = _number(condition.value)
        test = f"e.type IN ('integer', 'real') AND e.atom {ORDERINGS[condition.op]} {number}"
    # json_each walks a list, and gives a scalar as one row; an object's members are not values of the field.
    each = "SELECT 1 FROM json_each(payload, ?) AS e WHERE json_type(payload, ?) IS NOT 'object'"
    return f"EXISTS ({each} AND {test})", [path, path, *parameters]


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
