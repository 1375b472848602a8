"""A filter over what is known of an item, as a small value that every store translates for itself.

Fields are the payload's keys, `kind`, `page`, `t0`, `t1`, `lang`, and `meta.<name>` for what a caption file said; and
three that the ledger alone knows: `path` (all paths of the item), `duration` (seconds, t1 - t0) and `has_text`.
A field that holds a list matches when any element does. A missing field matches nothing but `exists: false` and
what stands under Not. Numbers compare as numbers (3 equals 3.0); booleans equal booleans only; strings equal strings.

`lt` to `gte` with a number look at numbers, with a date (text as ISO 8601 has it: 2020, 2020-05, 2020-05-03,
2020-05-03T16:30) at texts that are dates. Two dates are compared as far as both of them go, as they are written: any
day of 2020 is `gte` 2020 and `lte` 2020 and not `gt` 2020, and zones are not converted.

`glob` compares texts with a pattern: `*` is any run of characters, slashes too, `?` is one, everything else is itself,
capitals and brackets too. For `path`, a pattern that does not begin with / may begin behind any slash: `cats/*.jpg`.
"""

from __future__ import annotations

import datetime
import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from mmretrieval.errors import BadFilter

if TYPE_CHECKING:
    from mmretrieval.types import Item

Scalar: TypeAlias = str | int | float | bool
Operation = Literal["eq", "in", "lt", "lte", "gt", "gte", "exists", "glob"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_\-]+)*\Z")
# What is known of an item beside its payload.
PATH, DURATION, HAS_TEXT = "path", "duration", "has_text"
BESIDE = frozenset({PATH, DURATION, HAS_TEXT})
# A longer pattern is no pattern that anybody typed.
LONGEST_PATTERN = 1000
AFTER_TIME = re.compile(r"(\.[0-9]+)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?")
# A year, a month, a day, or a day with a time, whose fractions and zone may follow.
DATE = re.compile(r"[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?\Z|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?")


@dataclass(frozen=True)
class Condition:
    """One field compared with one value (`in`: a tuple of values; `exists`: a bool; `glob`: a pattern)."""

    field: str
    op: Operation
    value: Scalar | tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if not FIELD.match(self.field):
            raise BadFilter(
                f"filter field {self.field!r} is not a payload key: use kind, page, t0, t1, lang, path, "
                "duration, has_text or meta.NAME"
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
    elif op == "glob":
        ok = isinstance(value, str) and len(value) <= LONGEST_PATTERN
    else:
        ok = isinstance(value, (int, float, str)) and not isinstance(value, bool)
        if isinstance(value, str) and not is_date(value):
            raise BadFilter(
                f"filter on {field!r}: {op} cannot be compared with {value[:80]!r}: give a number, or a date such as "
                "2020, 2020-05, 2020-05-03 or 2020-05-03T16:30"
            )
    if not ok:
        raise BadFilter(f"filter on {field!r}: {op} cannot be compared with {value!r}")


def is_date(text: str) -> bool:
    """Whether the text is a date that there is, as ISO 8601 writes it: a year, month, day, or a day with a time."""
    told = dated(text)
    if told is None or not AFTER_TIME.fullmatch(text[len(told) :]):
        return False
    filled = told + "0001-01-01T00:00:00"[len(told) :]
    try:
        datetime.datetime.fromisoformat(filled)
    except ValueError:
        return False
    return True


def dated(text: str) -> str | None:
    """The part of a text that is compared with dates, as in 2020-05-03T16:30:00; None where it looks like no date."""
    match = DATE.match(text)
    return match[0].replace(" ", "T") if match else None


def patterns(condition: Condition) -> tuple[str, ...]:
    """The patterns of a `glob` condition of which a text as a whole must match one."""
    pattern = str(condition.value)
    return (pattern, f"*/{pattern}") if condition.field == PATH and not pattern.startswith("/") else (pattern,)


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


def facts(item: Item) -> dict[str, Any]:
    """All that filters know of an item: its payload, and what the ledger alone knows."""
    beside: dict[str, Any] = {PATH: list(item.paths), HAS_TEXT: bool(item.text.strip())}
    if item.t0 is not None and item.t1 is not None:
        beside[DURATION] = item.t1 - item.t0
    return item.payload | beside


def matches(value: Filter, payload: Mapping[str, Any]) -> bool:
    """Whether a payload, or the facts of an item, pass: the plain meaning that every translation is tested against."""
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
    if condition.op == "glob":
        return any(isinstance(v, str) and _like(v, pattern) for pattern in patterns(condition) for v in found)
    compare = ORDERINGS[condition.op]
    if isinstance(condition.value, str):
        bound = dated(condition.value) or ""
        dates = [told for v in found if isinstance(v, str) and (told := dated(v)) is not None]
        return any(compare(told[: len(bound)], bound[: len(told)]) for told in dates)
    return any(isinstance(v, (int, float)) and not isinstance(v, bool) and compare(v, condition.value) for v in found)


ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
}


def _like(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


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
