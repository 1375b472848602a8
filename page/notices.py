"""What the page says to people: notices, errors and tables, as HTML in which every foreign word is escaped."""

from __future__ import annotations

import html
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from mmretrieval.errors import RetrievalError

logger = logging.getLogger("page")
T = TypeVar("T")
Tone = Literal["info", "warning", "error"]
# The engine names the query it speaks of; here there is only one.
PREFIX = re.compile(r"\Aquery 'this query':? ")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a piece of work gave, or (`value` None) the words that explain why it gave nothing."""

    value: T | None
    problem: str = ""


def attempt(work: Callable[[], T]) -> Outcome[T]:
    """Runs work for a visitor: errors of ours as they are, all others as a reference number to find in the log."""
    try:
        return Outcome(work())
    except Exception as error:
        return Outcome(None, problem_of(error))


def problem_of(error: Exception) -> str:
    """The words for an error: those of ours as they are, of all others a reference number to find in the log."""
    if isinstance(error, RetrievalError):
        return PREFIX.sub("", str(error))
    reference = secrets.token_hex(4)
    logger.error("unexpected error, reference %s", reference, exc_info=error)
    return (
        f"This is a fault of the page, not of yours (reference {reference}). The page's log has the details under that "
        "number."
    )


def counted(number: int, noun: str) -> str:
    """`1 item`, `2 items`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def removed(number: int) -> str:
    """`1 item was removed`, `2 items were removed`."""
    return f"{counted(number, 'item')} {'was' if number == 1 else 'were'} removed"


def escape(text: object) -> str:
    """Text that shows as it is, wherever it stands in HTML."""
    return html.escape(str(text), quote=True)


def notice(text: str, tone: Tone = "info") -> str:
    """A line for the visitor; nothing for no text. Errors are announced by screen readers at once."""
    if not text:
        return ""
    role = "alert" if tone == "error" else "status"
    return f'<div class="mm-notice mm-{tone}" role="{role}">{escape(text)}</div>'


def table(caption: str, headers: Sequence[str], rows: Sequence[Sequence[object]], numbers: Sequence[int] = ()) -> str:
    """A table of text cells; the columns in `numbers` are set right-aligned."""
    kinds = ['class="mm-number"' if i in numbers else "" for i in range(len(headers))]
    head = "".join(f'<th scope="col" {kind}>{escape(h)}</th>' for h, kind in zip(headers, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td {kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="mm-scroll"><table class="mm-table">{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
