"""What a program asked, every value checked: from an endpoint's arguments to a query; no path in it is ever opened."""

from __future__ import annotations

import base64
import binascii
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from mmretrieval.errors import BadQuery
from mmretrieval.recipe import Recipe
from mmretrieval.types import Query
from page import arguments
from page.notices import attempt
from page.query.asking import KIND_NAMES, MOST_PARTS, MOST_WEIGHT, PART_KINDS, Asked, AskedPart, query

if TYPE_CHECKING:
    from page.state import Page

T = TypeVar("T")
PICTURE_BYTES = 30_000_000
MOST_WITHIN = 100_000
PART_KEYS = ("kind", "value", "weight", "fragment", "feedback")


def asked(
    words: object,
    item: object,
    avoid: object,
    weights: Mapping[str, object],
    kinds: object = None,
    conditions: object = "",
    parts: object = None,
    within: object = None,
) -> Asked:
    """What an endpoint was asked; weights by the name of their part. A picture's value is its bytes in base64 still."""
    checked: dict[str, Any] = {
        f"{part}_weight": arguments.real(value, f"{part}_weight", 0 if part == "avoid" else -MOST_WEIGHT, MOST_WEIGHT)
        for part, value in weights.items()
    }
    simple = Asked.of(
        arguments.text(words, "words"),
        item=arguments.text(item, "item") or None,
        avoid=arguments.text(avoid, "avoid"),
        kinds=arguments.names(kinds, "kinds", KIND_NAMES),
        conditions=arguments.text(conditions, "conditions"),
        **checked,
    )
    among = arguments.names(within, "within")
    if len(among) > MOST_WITHIN:
        raise BadQuery(f"within has {len(among):,} items, at most {MOST_WITHIN:,} are taken: use conditions instead")
    return replace(simple, parts=(*simple.parts, *_parts(parts)), within=among)


def with_picture(wanted: Asked, value: object, weight: object) -> Asked:
    """The query with a picture in base64 besides, where one was given."""
    weighed = arguments.real(weight, "picture_weight", -MOST_WEIGHT, MOST_WEIGHT)
    data = arguments.text(value, "picture", 2 * PICTURE_BYTES)
    return replace(wanted, parts=(*wanted.parts, AskedPart("picture", data, weighed))) if data else wanted


@contextmanager
def posed(page: Page, wanted: Asked) -> Iterator[Asked]:
    """The query with its pictures as files of the page's own, which are gone afterwards."""
    with tempfile.TemporaryDirectory(dir=page.folder if page.folder.exists() else None) as folder:
        made = []
        for number, part in enumerate(wanted.parts):
            if part.kind == "picture":
                file = Path(folder) / f"picture-{number}"
                file.write_bytes(decoded(part.value, "the picture"))
                part = replace(part, value=str(file))  # noqa: PLW2901  # from here on it is this part
            made.append(part)
        yield replace(wanted, parts=tuple(made))


def queried(page: Page, wanted: Asked) -> Query:
    """The Query of what was asked, its pictures decoded."""
    with posed(page, wanted) as ready:
        return query(page, ready)


def decoded(data: str, name: str, most: int = PICTURE_BYTES) -> bytes:
    """The bytes behind a base64 text."""
    try:
        found = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadQuery(f"{name} is not base64: send the bytes of its file in base64") from None
    if len(found) > most:
        raise BadQuery(f"{name} has {len(found):,} bytes, at most {most:,} are taken: send a smaller one")
    return found


def recipe(page: Page, name: object) -> str:
    """The recipe that was named, or the library's own."""
    return arguments.text(name, "the recipe").strip() or page.library.default_recipe


def recipes(page: Page, names: object, low: int, high: int) -> list[Recipe]:
    """From `low` to `high` recipes of the library's encoders."""
    given = arguments.names(names, "recipes")
    if not low <= len(given) <= high:
        raise BadQuery(f"recipes has {len(given)} recipes: give {low} to {high} of them")
    return [page.permitted(one) for one in given]


def or_refuse(work: Callable[[], T]) -> T:
    """What the work gives; its problem as an error that reaches the caller."""
    outcome = attempt(work)
    if outcome.problem:
        raise gr.Error(outcome.problem, print_exception=False)
    return outcome.value  # type: ignore[return-value]  # there is a value where there is no problem


def _parts(value: object) -> Iterator[AskedPart]:
    """Parts as JSON objects with the fields of an AskedPart; a text is taken for JSON."""
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(arguments.text(value, "parts", 2 * PICTURE_BYTES))
        except ValueError as error:
            raise BadQuery(f"parts is not JSON ({error}): give a list of objects such as {EXAMPLE}") from None
    if value is None or value == "":
        return
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise BadQuery(f"parts is no list of objects: give a list such as {EXAMPLE}")
    if len(value) > MOST_PARTS:
        raise BadQuery(f"parts has {len(value)} parts, at most {MOST_PARTS} are taken: leave some out")
    for number, one in enumerate(value, start=1):
        yield _part(one, f"part {number}")


EXAMPLE = '[{"kind": "words", "value": "a red car", "weight": 1}]'


def _part(given: Mapping[str, object], name: str) -> AskedPart:
    unknown = [key for key in given if key not in PART_KEYS]
    if unknown:
        raise BadQuery(f"{name} has {str(unknown[0])[:60]!r}, which no part has: there are {', '.join(PART_KEYS)}")
    (kind,) = arguments.names([given.get("kind", "words")], f"the kind of {name}", PART_KINDS)
    feedback = given.get("feedback", False)
    if not isinstance(feedback, bool):
        raise BadQuery(f"feedback of {name} is {str(feedback)[:60]!r}: give true or false")
    limit = 2 * PICTURE_BYTES if kind == "picture" else arguments.TEXT_CHARS
    value = arguments.text(given.get("value"), f"the value of {name}", limit)
    if not value.strip():
        raise BadQuery(f"{name} has no value: give words, a picture in base64, or the id of an item")
    return AskedPart(
        next(known for known in PART_KINDS if known == kind),
        value,
        arguments.real(given.get("weight", 1.0), f"the weight of {name}", -MOST_WEIGHT, MOST_WEIGHT),
        arguments.text(given.get("fragment", ""), f"the fragment of {name}", 200),
        feedback,
    )
