"""One ingest of folders, and what it counted."""

from __future__ import annotations

from pathlib import Path

from ingest.pipeline import Counts, ingest
from ingest.walk import walk
from mmretrieval.library import Library


def add(library: Library, *paths: Path, **more: object) -> Counts:
    return ingest(library, walk(paths), workers=1, **more)  # type: ignore[arg-type]


def numbers(counts: Counts) -> dict[str, int]:
    """The counts that are not 0."""
    names = ("stored", "unchanged", "replaced", "failed", "removed")
    return {n: getattr(counts, n) for n in names if getattr(counts, n)}
