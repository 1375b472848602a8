"""Numbers as a table, and as a file of comma-separated values that says where they come from.

Every such file keeps to one rule. Its first line names the columns, with their units; numbers are written in full, and
nothing stands where there is none. What the numbers were measured on is in columns of its own at the right, `about
recipe`, `about n`, `about seed`, `about versions`, the same in every row: so a file is read by whatever reads CSV, and
the rows of several files can stand below each other.
Text is one line without signs of control. An apostrophe stands before =, +, - and @ where they begin a text or follow a
comma, a semicolon or a bar in one (spaces, quotes and full-width forms change nothing): no spreadsheet takes such a
text for a formula, whichever sign it splits lines at. Numbers are never touched.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from eval.runs import slug

Cell = str | float | None
# What a spreadsheet would run, at the beginning of a text or of what it could take for a cell of its own.
FORMULA = re.compile(r"""(^|[,;|])([\s"']*)(?=[=+\-@＝＋－＠])""")  # noqa: RUF001  # full-width signs count too
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# The folders of a path inside the spec of an encoder, as in clip-b32;checkpoint=/models/x.
FOLDERS = re.compile(r"(?<=[:=])/(?:[^/;@,+]+/)*")
LONGEST_NAME = 100


@dataclass(frozen=True)
class Table:
    """Named columns, and rows of as many cells: text, a number, or None where there is nothing."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def csv(self, about: Mapping[str, object] | None = None) -> str:
        """The table as comma-separated values by this module's rule; `about` is what its numbers were measured on."""
        known = {key: value for key, value in (about or {}).items() if value not in (None, "")}
        tail = tuple(value if isinstance(value, float | int) else str(value) for value in known.values())
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([harmless(name) for name in (*self.columns, *(f"about {key}" for key in known))])
        writer.writerows(
            [harmless(cell) if isinstance(cell, str) else cell for cell in (*row, *tail)] for row in self.rows
        )
        return out.getvalue()

    def address(self, about: Mapping[str, object] | None = None) -> str:
        """The same as an address that holds the whole file, as text: what looks for paths in a page finds them here."""
        return f"data:text/csv;charset=utf-8,{quote(self.csv(about).encode('utf-8', 'replace'))}"


def harmless(text: str) -> str:
    """A text in one line that no spreadsheet takes for a formula."""
    return FORMULA.sub(r"\1\2'", CONTROL.sub("", " ".join(text.split())))


def file_name(*words: str) -> str:
    """What the files of a picture are called, without their ending: `gap-lite-visual-shift`.

    Of a path in a recipe its last name is left.
    """
    return slug(FOLDERS.sub("", "-".join(filter(None, words))), LONGEST_NAME)


def provenance(basis: Mapping[str, Any], **more: object) -> dict[str, object]:
    """What numbers were measured on, for `Table.csv`: what `more` says, then n, seed and versions of a basis."""
    said = dict(more)
    said |= {key: basis[key] for key in ("n", "of", "seed") if key in basis}
    found = basis.get("versions")
    return said | ({"versions": spoken(found)} if isinstance(found, Mapping) else {})


def spoken(versions: Mapping[str, str]) -> str:
    """Versions in one text: `python 3.11.2; numpy 2.3.4`."""
    return "; ".join(f"{name} {version}" for name, version in versions.items())
