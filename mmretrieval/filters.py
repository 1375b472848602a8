"""A filter over an item's payload, as a small value that every store translates for itself.

Fields are payload keys: `kind`, `page`, `t0`, `t1`, `lang`, and `meta.<name>` for what a caption file said.
A field that holds a list matches when any element does. A missing field matches nothing but `exists: false` and
what stands under Not. Numbers compare as numbers (3 equals 3.0); booleans equal booleans only; strings equal strings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from mmretrieval.errors import BadFilter

Scalar: TypeAlias = str | int | float | bool
Operation = Literal["eq", "in", "lt", "lte", "gt", "gte", "exists"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_\-]+)*\Z")


@dataclass(frozen=True)
class Condition:
    """One field compared with one value (`in`: a tuple of values; `exists`: a bool)."""

    field: str
    op: Operation
    value: Scalar | tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if not FIELD.match(self.field):
            raise BadFilter(
                f"filter field {self.field!r} is not a payload key: use kind, page, t0, t1, lang or meta.NAME"
            )
        if self.op not in OPERATIONS:
            raise BadFilter(f"filter operation {self.op!r} is unknown: use one of {', '.join(OPERATIONS)}")
        _check_value(self)


@dataclass(frozen=True)
class AllOf:
    """Every one of `of` holds (an empty tuple always holds)."""

    of: tuple[Filter, ...]


@dataclass(frozen=True)
class AnyOf:
    """At least one of `of` holds (an empty tuple never holds)."""

    of: tuple[Filter, ...]


@dataclass(frozen=True)
class Not:
    """`of` does not hold."""

    of: Filter


Filter: TypeAlias = Condition | AllOf | AnyOf | Not


def _check_value(condition: Condition) -> None:
    value, op, field = condition.value, condition.op, condition.field
    if op == "exists":
        ok = isinstance(value, bool)
    elif op == "in":
        ok = isinstance(value, tuple) and all(isinstance(v, (str, int, float, bool)) for v in value)
    elif op == "eq":
        ok = isinstance(value, (str, int, float, bool))
    else:
        ok = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not ok:
        raise BadFilter(f"filter on {field!r}: {op} cannot be compared with {value!r}")


def parse_filter(data: Mapping[str, Any] | None) -> Filter | None:
    """The Filter written as JSON; nothing for an empty object.

    `{"kind": "image"}`, `{"meta.year": {"gte": 2000}}`, `{"kind": ["image", "video"]}` (any of), several keys together
    (all of), and `{"any": [...]}`, `{"all": [...]}`, `{"not": {...}}`. Raises BadFilter for anything else.
    """
    if not data:
        return None
    if not isinstance(data, Mapping):
        raise BadFilter(f"a filter is a JSON object, not {data!r}")
    parts: list[Filter] = []
    for key, value in data.items():
        if key in ("any", "all"):
            if not isinstance(value, list):
                raise BadFilter(f"filter {key!r} takes a list of filters, not {value!r}")
            of = tuple(f for f in (parse_filter(v) for v in value) if f is not None)
            parts.append(AnyOf(of) if key == "any" else AllOf(of))
        elif key == "not":
            inner = parse_filter(value)
            parts.append(Not(inner if inner is not None else AllOf(())))
        elif isinstance(value, Mapping):
            parts += [Condition(key, op, tuple(v) if isinstance(v, list) else v) for op, v in value.items()]
        elif isinstance(value, list):
            parts.append(Condition(key, "in", tuple(value)))
        else:
            parts.append(Condition(key, "eq", value))
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def filter_to_json(value: Filter) -> dict[str, Any]:
    """The JSON form that parse_filter reads back to an equal filter."""
    match value:
        case Condition(field, op, operand):
            return {field: {op: list(operand) if isinstance(operand, tuple) else operand}}
        case AllOf(of):
            return {"all": [filter_to_json(f) for f in of]}
        case AnyOf(of):
            return {"any": [filter_to_json(f) for f in of]}
        case Not(of):
            return {"not": filter_to_json(of)}


def matches(value: Filter, payload: Mapping[str, Any]) -> bool:
    """Whether the payload passes: the plain meaning, which every store's translation is tested against."""
    match value:
        case Condition():
            return _condition_holds(value, payload)
        case AllOf(of):
            return all(matches(f, payload) for f in of)
        case AnyOf(of):
            return any(matches(f, payload) for f in of)
        case Not(of):
            return not matches(of, payload)


def _condition_holds(condition: Condition, payload: Mapping[str, Any]) -> bool:
    found = list(_values(payload, condition.field))
    if condition.op == "exists":
        return bool(found) is condition.value
    if condition.op == "in":
        assert isinstance(condition.value, tuple)
        return any(_equal(v, wanted) for v in found for wanted in condition.value)
    if condition.op == "eq":
        return any(_equal(v, condition.value) for v in found)
    compare = ORDERINGS[condition.op]
    return any(isinstance(v, (int, float)) and not isinstance(v, bool) and compare(v, condition.value) for v in found)


ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
}


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return isinstance(a, bool) and isinstance(b, bool) and a is b
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str) and a == b
    return bool(a == b)


def _values(payload: Mapping[str, Any], field: str) -> Iterable[Any]:
    value: Any = payload
    for key in field.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return []
        value = value[key]
    if value is None:
        return []
    return [v for v in value if v is not None] if isinstance(value, (list, tuple)) else [value]
