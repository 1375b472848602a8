"""At the terminal: consoles, bars, errors as people read them, and the last line that programs read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

from ingest.notes import notes
from mmretrieval.errors import BadQuery, DatasetError, LibraryError, MediaError, RetrievalError, StoreError

GOOD, BAD_DATA, BAD_USAGE = 0, 1, 2
WIDTH = 120
AsJson = Annotated[
    bool, typer.Option("--json", help="End standard output with one JSON object; people read standard error.")
]


def console(stderr: bool) -> Console:
    """A console as wide as the terminal; elsewhere wide enough for a recipe beside its numbers."""
    made = Console(stderr=stderr)
    return made if made.is_terminal else Console(stderr=stderr, width=WIDTH)


def fail(errors: Console, message: object, code: int) -> typer.Exit:
    """Says what went wrong, and gives the exit to raise."""
    errors.print(f"error: {message}", style="red", highlight=False, markup=False, soft_wrap=True)
    return typer.Exit(code)


@contextmanager
def told(errors: Console) -> Iterator[None]:
    """Tells of slow work; shows an error that a user can meet as its text, and ends with the code that fits."""
    try:
        with notes(lambda line: say(errors, line)):
            yield
    except RetrievalError as error:
        of_data = isinstance(error, (BadQuery, DatasetError, MediaError, LibraryError, StoreError))
        raise fail(errors, error, BAD_DATA if of_data else BAD_USAGE) from error


@contextmanager
def bar(errors: Console, what: str, total: int | None) -> Iterator[Callable[[float], None]]:
    """A bar for one piece of work of `total` steps; the function that it gives counts steps done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task(what, total=total)
        yield lambda n: progress.advance(task, n)


def say(people: Console, line: str = "") -> None:
    """One line for people, as it is: no markup, no colours, wrapped by the terminal alone."""
    people.print(line, highlight=False, markup=False, soft_wrap=True)


def last_line(value: Mapping[str, Any]) -> None:
    """The JSON object that ends standard output. NaN and infinity are no JSON: they raise ValueError."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()
