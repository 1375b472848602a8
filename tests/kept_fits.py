"""A small library of words, and what it has fitted: for tests of what is kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ingest.pipeline import ingest
from ingest.walk import Source
from mmretrieval.engine import Engine
from mmretrieval.library import Library
from mmretrieval.types import Content, Part, Query

SAID = ("a red fox", "two red foxes", "a blue whale", "the tall lighthouse", "an old bridge", "fox and whale")


def add(library: Library, words: Sequence[str]) -> None:
    """One item for each text."""
    sources = [Source(f"{place} {text}", data=text.encode()) for place, text in enumerate(words)]
    assert ingest(library, sources, workers=1).failed == 0


def words_library(folder: Path, *encoders: str) -> Library:
    """Six texts, embedded with these encoders."""
    made = Library.create(folder, encoders or ("hashing",))
    add(made, SAID)
    return made


def words(text: str, **more: object) -> Query:
    return Query((Part(Content(text=text)),), **more)  # type: ignore[arg-type]


def found(engine: Engine, recipe: str, text: str = "red fox") -> list[tuple[str, float]]:
    """Ids and scores of all six."""
    return [(hit.id, hit.score) for hit in engine.rank([words(text)], recipe, 6).rankings[0].hits]
