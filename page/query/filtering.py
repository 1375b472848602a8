"""A small form for filters, written as the conditions that the search takes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from mmretrieval.conditions import restriction
from mmretrieval.errors import BadFilter
from page import arguments
from page.query.asking import KIND_NAMES

if TYPE_CHECKING:
    from page.state import Page

LOOKED_AT, MENU = 5_000, 60
DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?\Z")
NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?\Z")
NAME = re.compile(r"[\w.\-]+\Z")
SIGNS = ("=", "!=", "<", "<=", ">", ">=", "~")
# What can stand in a condition without quotes and means the same there.
BARE = re.compile(r"""[^,"'\s][^,"']*\Z""")
SHOWN = [("either", ""), ("with words", "true"), ("without words", "false")]


class Form(NamedTuple):
    """What the form's fields hold, in their order."""

    path: Any
    dated: Any
    since: Any
    until: Any
    shortest: Any
    longest: Any
    page: Any
    tag: Any
    has_text: Any
    key: Any
    sign: Any
    value: Any


def written(form: Form) -> str:
    """The fields that are filled as conditions; raises BadFilter for what cannot be written as one."""
    held = Form(*(arguments.text(value, name).strip() for name, value in form._asdict().items()))
    found = [f"path = {_value(held.path)}"] if held.path else []
    for day, sign in ((held.since, ">="), (held.until, "<=")):
        found += [f"{_key(held.dated, 'the date')} {sign} {_date(day)}"] if day else []
    found += [f"duration >= {_number(held.shortest)}"] if held.shortest else []
    found += [f"duration <= {_number(held.longest)}"] if held.longest else []
    found += [f"page = {_number(held.page)}"] if held.page else []
    found += [f"tag = {_value(held.tag)}"] if held.tag else []
    found += [f"has_text = {held.has_text}"] if held.has_text else []
    if held.value:
        sign = held.sign if held.sign in SIGNS else "="
        found.append(f"{_key(held.key, 'the metadata')} {sign} {_value(held.value)}")
    conditions = ", ".join(found)
    restriction((), conditions)
    return conditions


def joined(conditions: str, more: str) -> str:
    """Both conditions, those that are there already not twice."""
    here = (conditions or "").strip().rstrip(",")
    return ", ".join(filter(None, [here, *(one for one in [more] if one and one not in here)]))


def _key(name: str, what: str) -> str:
    if not name or not NAME.match(name):
        raise BadFilter(f"{name[:40]!r} is no name for {what}: choose one from the menu, or write letters and digits")
    return name


def _value(text: str) -> str:
    """The text as a condition's value, in quotes where it needs them."""
    if BARE.match(text):
        return text
    for quote in ('"', "'"):
        if quote not in text:
            return f"{quote}{text}{quote}"
    raise BadFilter(f"{text[:60]!r} holds both kinds of quotes: use ~ with ? in place of one of them")


def _date(text: str) -> str:
    if not DATE.match(text):
        raise BadFilter(f"{text[:40]!r} is no date: write 2020, 2020-05 or 2020-05-03")
    return text


def _number(text: str) -> str:
    if not NUMBER.match(text):
        raise BadFilter(f"{text[:40]!r} is no number: write it as in 3 or 12.5")
    return text


def keys(page: Page) -> list[str]:
    """The metadata keys of the first items, the most usual first."""
    counts = Counter(key for item in islice(page.library.items(), LOOKED_AT) for key in item.meta)
    return [key for key, _ in counts.most_common(MENU) if NAME.match(key)]


def dated(page: Page, names: Sequence[str]) -> list[str]:
    """The keys whose values look like dates or years."""
    held: dict[str, bool] = {}
    for item in islice(page.library.items(), LOOKED_AT):
        for key in names:
            if key in item.meta:
                held[key] = held.get(key, True) and bool(DATE.match(str(item.meta[key])[:10]))
    return [key for key in names if held.get(key)]


def menus(page: Page) -> tuple[gr.Dropdown, gr.Dropdown]:
    """The two menus of keys, brought up to what the library holds now."""
    names = keys(page)
    dates = dated(page, names)
    return gr.Dropdown(choices=dates, value=dates[0] if dates else None), gr.Dropdown(choices=names)


def build() -> tuple[Any, Any, Form, Any]:
    """Lays out kinds, the conditions' own text, the form and its button."""
    with gr.Row():
        kinds = gr.CheckboxGroup(
            [(f"{name}s", kind) for kind, name in KIND_NAMES.items()], label="Kinds (none chosen: all)", min_width=260
        )
        conditions = gr.Textbox(
            label="Conditions that a result meets",
            placeholder='subject = animals, page >= 2, title = "a, b"',
            info="Written by the form below, or by hand.",
            elem_id="conditions",
            max_lines=3,
            min_width=260,
        )
    with gr.Row(elem_classes="mm-form"):
        path = gr.Textbox(label="Path pattern", placeholder="cats/*.jpg", min_width=140)
        tag = gr.Textbox(label="Tag", min_width=100)
        page = gr.Textbox(label="Page", placeholder="1", min_width=80)
        shortest = gr.Textbox(label="Seconds from", min_width=100)
        longest = gr.Textbox(label="to", min_width=80)
        has_text = gr.Dropdown(SHOWN, value="", label="Words", min_width=120)
    with gr.Row(elem_classes="mm-form"):
        date = gr.Dropdown([], label="Date or year of", allow_custom_value=True, min_width=120)
        since = gr.Textbox(label="from", placeholder="2019", min_width=90)
        until = gr.Textbox(label="to", placeholder="2020-05", min_width=90)
        key = gr.Dropdown([], label="Metadata", allow_custom_value=True, min_width=120)
        sign = gr.Dropdown(list(SIGNS), value="=", label="is", min_width=70)
        value = gr.Textbox(label="Value", min_width=110)
        write = gr.Button("Add to the conditions", elem_id="write-conditions", min_width=150)
    return (
        kinds,
        conditions,
        Form(path, date, since, until, shortest, longest, page, tag, has_text, key, sign, value),
        write,
    )
