"""The null bank: reference queries that ask for nothing in particular, shipped with the project.

They show how high a space scores when nothing is meant: `@all` standardises each view's scores by theirs, `center`
takes their mean off. They are never test queries.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def null_bank() -> tuple[str, ...]:
    """The generic captions, in the order of the file."""
    text = (Path(__file__).parent / "null_bank.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))
