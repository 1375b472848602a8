"""Banks: reference queries that are never test queries.

The null bank is shipped with the project: captions that ask for nothing in particular. They show how high a space
scores when nothing is meant: `@all` standardises each view's scores by theirs. Transforms and corrections are fitted on
a bank too: on the null bank, or where a dataset brings reference queries of its own, on those.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from mmretrieval.types import Content, Part, Query


@dataclass(frozen=True, eq=False)
class Bank:
    """Reference queries, and what to call them before people."""

    name: str
    queries: tuple[Query, ...]

    @cached_property
    def digest(self) -> str:
        """Sixteen hex digits of the sha256 of everything that the queries hold."""
        digest = hashlib.sha256()
        for query in self.queries:
            for part in query.parts:
                content = part.content or Content()
                pictures = [p for p in (content.image, *content.frames) if p is not None]
                said = (part.item, part.weight, content.text, content.instruction, [(p.mode, p.size) for p in pictures])
                digest.update(repr(said).encode())
                for picture in pictures:
                    digest.update(picture.tobytes())
            digest.update(b"\0")
        return digest.hexdigest()[:16]


@cache
def null_bank() -> tuple[str, ...]:
    """The generic captions, in the order of the file."""
    text = (Path(__file__).parent / "null_bank.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


@cache
def nulls() -> Bank:
    """The generic captions as a bank."""
    queries = tuple(Query((Part(Content(text=text)),), id=f"null {i}") for i, text in enumerate(null_bank()))
    return Bank("generic captions", queries)
