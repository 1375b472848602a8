"""What a reader takes along of a picture of numbers, from one small bar below it: Table, PNG, SVG, CSV.

The browser makes the pictures (saving.js): of a plot, of a drawing that Python made (see drawings), or of what a script
of the page draws by itself. Each gets its title above it and what it was measured on below it, so that it speaks for
itself wherever it is put.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SAVING_JS = Path(__file__).with_name("saving.js").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Offer:
    """A picture of numbers as files: `name` is theirs, without an ending; `title` stands above the saved picture.

    `about` is what the numbers were measured on, by name. `picture` says what is saved as one: the SVG text of a
    drawing, `figure:` and the address of a plot as plotly's JSON, `script:` and the id of an element of the page that
    holds such JSON, or `from:` and a selector of what draws itself; nothing where there are numbers alone. `csv` is the
    file's address. `large` is what must be said of the SVG before it is asked for.
    """

    name: str
    title: str
    about: Mapping[str, object] = field(default_factory=dict)
    picture: str = ""
    csv: str = ""
    large: str = ""


def toolbar(offer: Offer, table: str = "") -> str:
    """The bar as HTML: `table` is the HTML that its first button shows and hides; no button does nothing."""
    buttons = []
    if table:
        buttons.append(_button("table", "Table", "Show the numbers, or hide them", ' aria-expanded="false"'))
    if offer.picture:
        large = f" {offer.large}" if offer.large else ""
        buttons.append(_button("png", "PNG", "Save the picture as PNG"))
        buttons.append(_button("svg", "SVG", f"Save the picture as SVG, to be enlarged or edited.{large}"))
    if offer.csv:
        buttons.append(
            f'<a data-save="csv" href="{_safe(offer.csv)}" download="{_safe(offer.name)}.csv" '
            'title="Save all numbers as comma-separated values">CSV</a>'
        )
    drawing = offer.picture.startswith("<svg")
    kept = f'<template class="mm-saved-picture">{offer.picture}</template>' if drawing else ""
    source = "" if drawing else f' data-picture="{_safe(offer.picture)}"'
    told = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in offer.about.items()}
    note = " · ".join(f"{key} {value}" for key, value in told.items() if value not in (None, ""))
    # Not part of the page before it is asked for: many tables of many rows would make it slow.
    rows = f'<template class="mm-saved-rows">{table}</template><div class="mm-saved-table" hidden></div>' * bool(table)
    return (
        f'<div class="mm-saving" data-name="{_safe(offer.name)}" data-title="{_safe(offer.title)}" '
        f'data-note="{_safe(note)}"{source}><div class="mm-saving-bar" role="group" '
        f'aria-label="{_safe(f"Numbers and files: {offer.title}")}">{"".join(buttons)}'
        f'<span class="mm-saving-said" role="status">{_safe(offer.large)}</span></div>{kept}{rows}</div>'
    )


def _button(what: str, name: str, says: str, more: str = "") -> str:
    return f'<button type="button" data-save="{what}" title="{_safe(says)}"{more}>{name}</button>'


def _safe(text: str) -> str:
    return html.escape(text, quote=True)
