"""What the embedded and the remote Qdrant share: filters and payloads in Qdrant's terms, and lists cut fairly at ties.

Qdrant alone compares less exactly than `filters.matches`: 3 is not 3.0 to its equality, numbers are floating point to
its ranges, `[null]` is not empty, and Edge 0.9.0 takes True for 1. So the payload is stored with four values rewritten,
each as a string that begins with `=`; everything else stays as it is and reads plainly in Qdrant's own tools:

    true, false            "=true", "=false"
    9007199254740993       9007199254740992.0 and "=9007199254740993" (2**53 and beyond, where doubles skip integers)
    a list in a list       "=other" (an object in a list too: they exist, and equal nothing)
    "=text"                "==text"

Nulls are left out. What remains inexact: `lt` to `gte` against a number of 2**53 or more compare doubles.

Payloads hold no path, duration or has_text, and Qdrant knows neither patterns nor dates of less than a day. One rule
for all of these: where any condition of a filter is of that sort, whoever opened the store is asked which items pass
the whole filter (`Select`, as the exact scan asks), and Qdrant is given their ids.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import StoreError
from mmretrieval.filters import BESIDE, AllOf, AnyOf, Condition, Filter, Not, Scalar
from mmretrieval.types import Array, Found, Selection

MARK = "="
OTHER = "=other"
EXACT = 2**53
LARGEST = sys.float_info.max
NEVER: Mapping[str, Any] = {"must": [{"has_id": []}]}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")

Ask = Callable[[int], list[tuple[str, float]]]
# Which items pass a filter.
Select = Callable[[Filter], frozenset[str]]
# Query rows, how many answers each, their selections -> a list of (id, score) for each row.
Nearest = Callable[[Array, int, Sequence[Selection]], list[list[tuple[str, float]]]]


def encode(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload as it is stored, for `condition` to match as `filters.matches` would match the plain one."""
    out: dict[str, Any] = {}
    for key, value in payload.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            out[key] = encode(value)
        elif isinstance(value, (list, tuple)):
            out[key] = [stored for v in value if v is not None for stored in _element(v)]
        else:
            stored = _element(value)
            out[key] = stored[0] if len(stored) == 1 else stored
    return out


def _element(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [_text(value)]
    if isinstance(value, str):
        return [_text(value)]
    if isinstance(value, (int, float)) and (isinstance(value, int) or math.isfinite(value)):
        return [value] if abs(value) < EXACT else [_double(value), _text(value)]
    return [OTHER]


def _text(value: Scalar) -> str:
    """The string that stands for a string, a boolean, or a whole number too large for a double."""
    if isinstance(value, str):
        return MARK + value if value.startswith(MARK) else value
    return f"{MARK}{str(value).lower()}" if isinstance(value, bool) else f"{MARK}{int(value)}"


def _double(value: int | float) -> float:
    return math.copysign(LARGEST, value) if abs(value) > LARGEST else float(value)


def is_of_payload(value: Filter) -> bool:
    """Whether Qdrant can tell from payloads alone which points pass."""
    match value:
        case Condition(field, op, operand):
            dates = isinstance(operand, str) and op in ("lt", "lte", "gt", "gte")
            return field not in BESIDE and op != "glob" and not dates
        case AllOf(of) | AnyOf(of):
            return all(map(is_of_payload, of))
        case Not(of):
            return is_of_payload(of)


def condition(value: Filter) -> dict[str, Any]:
    """The filter in the JSON form of Qdrant's interface, to be put to payloads that went through `encode`."""
    match value:
        case Condition():
            return _condition(value)
        case AllOf(of):
            return {"must": [condition(f) for f in of]}
        case AnyOf(of):
            return {"should": [condition(f) for f in of]} if of else dict(NEVER)
        case Not(of):
            return {"must_not": [condition(of)]}


def _condition(value: Condition) -> dict[str, Any]:
    if value.op == "exists":
        return {"must_not" if value.value else "must": [{"is_empty": {"key": value.field}}]}
    if value.op in ("eq", "in"):
        return _any_of(value.field, value.value if isinstance(value.value, tuple) else (value.value,))
    assert isinstance(value.value, (int, float))
    bounds = _range(value.op, value.value)
    return {"must": [{"key": value.field, "range": bounds}]} if bounds else dict(NEVER)


def _any_of(field: str, values: Iterable[Scalar]) -> dict[str, Any]:
    words: list[str] = []
    tests: list[dict[str, Any]] = []
    for value in values:
        if isinstance(value, (bool, str)):
            words.append(_text(value))
        elif isinstance(value, float) and not math.isfinite(value):
            continue  # no JSON number equals it
        elif abs(value) >= EXACT:
            words.append(_text(value))
        else:
            tests.append({"key": field, "range": {"gte": float(value), "lte": float(value)}})
    if words:
        tests.append({"key": field, "match": {"any": words}})
    return {"should": tests} if tests else dict(NEVER)


def _range(op: str, value: int | float) -> dict[str, float]:
    """The bounds for Qdrant; empty where no finite number passes (Edge takes NaN for no bound)."""
    if isinstance(value, int) or math.isfinite(value):
        return {op: _double(value)}
    if value == math.inf and op in ("lt", "lte"):
        return {"lte": LARGEST}
    if value == -math.inf and op in ("gt", "gte"):
        return {"gte": -LARGEST}
    return {}


def restrictions(selections: Sequence[Selection], select: Select | None = None) -> list[dict[str, Any] | None]:
    """Each selection in the JSON form of Qdrant's interface; nothing where it allows every item.

    `select` is asked once for equal filters. Raises StoreError where it is needed and missing.
    """
    passing: dict[str, frozenset[str]] = {}
    out = []
    for selection in selections:
        subset, must = selection.subset, list[dict[str, Any]]()
        if selection.filter is not None and is_of_payload(selection.filter):
            must.append(condition(selection.filter))
        elif selection.filter is not None:
            if select is None:
                raise StoreError(f"this index was opened without a ledger to ask which items pass {selection.filter}")
            key = repr(selection.filter)  # as values, a filter for True equals one for 1
            if key not in passing:
                passing[key] = select(selection.filter)
            subset = passing[key] if subset is None else subset & passing[key]
        if subset is not None:
            must.append({"has_id": storable(subset)})
        tree: dict[str, Any] = {"must": must} if must else {}
        if selection.exclude:
            tree["must_not"] = [{"has_id": storable(selection.exclude)}]
        out.append(tree or None)
    return out


def storable(ids: Iterable[str]) -> list[str]:
    """The ids that Qdrant can hold at all: UUIDs as `item_id` writes them."""
    return [i for i in ids if UUID.match(i)]


def settle(first: Sequence[tuple[str, float]], depth: int, ask: Ask) -> Found:
    """The `depth` best of a list that was asked `depth + 1` long, equal scores by id.

    Qdrant cuts equal scores where it likes. If the cut fell among equals, `ask(limit)` is called for longer lists until
    all of them are in hand.
    """
    answer, limit = list(first), depth + 1
    while len(answer) == limit and answer[depth - 1][1] == answer[-1][1]:
        limit *= 4
        answer = ask(limit)
    whole = Found.ordered([i for i, _ in answer], [s for _, s in answer])
    return Found(whole.ids[:depth], whole.scores[:depth])


def nearest(queries: Array, depth: int, selections: Sequence[Selection], ask: Nearest) -> list[Found]:
    """For each query row (q, dim) its `depth` best by what `ask` answers; ties by id, also at the cut."""
    rows = np.ascontiguousarray(queries, dtype=np.float32)
    found: list[Found] = []
    for first, row, selection in zip(ask(rows, depth + 1, selections), rows, selections, strict=True):

        def longer(limit: int, row: Array = row, selection: Selection = selection) -> list[tuple[str, float]]:
            return ask(row[None], limit, [selection])[0]

        found.append(settle(first, depth, longer))
    return found


def spread(ids: Sequence[str], vectors: Mapping[str, Any], dim: int) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Vectors by id as rows (n, dim) in the order of `ids`, zero where there is none, and which there are (n,)."""
    rows = np.zeros((len(ids), dim), dtype=np.float32)
    present = np.array([i in vectors for i in ids], dtype=np.bool_)
    for place, ident in enumerate(ids):
        if present[place]:
            rows[place] = vectors[ident]
    return rows, present
