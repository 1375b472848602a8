"""What a library says of itself: failures, counts, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmretrieval.types import View

if TYPE_CHECKING:
    from mmretrieval.library import Library
    from mmretrieval.recipe_indexes import RecipeIndex


@dataclass(frozen=True)
class Failure:
    """A file that could not be read, and why."""

    path: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Status:
    """Items by kind, vectors by encoder and view, bytes on disk; and why the `absent` encoders are not to be had.

    `fits` is how many fits of recipes' stages are kept. `recipe_indexes` are of items as recipes transform them; their
    bytes are part of `index_bytes`.
    """

    path: str
    files: int
    items: int
    kinds: dict[str, int]
    encoders: dict[str, dict[View, int]]
    absent: dict[str, str]
    failures: int
    embedding_bytes: int
    index_bytes: int
    thumbnail_bytes: int
    fits: int
    fit_bytes: int
    recipe_indexes: tuple[RecipeIndex, ...]


def status_of(library: Library) -> Status:
    """Counts and sizes."""
    from mmretrieval.fits import FOLDER, kept_in
    from mmretrieval.recipe_indexes import listed

    kinds = library.ledger.item_counts()
    files = list(library.ledger.files())
    cards, absent = library.cards()
    return Status(
        path=str(library.path),
        files=len(files),
        items=sum(kinds.values()),
        kinds=kinds,
        encoders={e: library.ledger.view_counts(card.space) for e, card in cards.items()},
        absent=absent,
        failures=sum(1 for f in files if f.reason),
        embedding_bytes=_bytes_below(library.path / "embeddings"),
        index_bytes=_bytes_below(library.path / "index"),
        thumbnail_bytes=_bytes_below(library.path / "thumbs"),
        fits=len(kept_in(library.path)),
        fit_bytes=_bytes_below(library.path / FOLDER),
        recipe_indexes=listed(library),
    )


def _bytes_below(folder: Path) -> int:
    """What the files below take on disk: Edge reserves large sparse files, of which blocks count and not lengths."""
    return sum(p.stat().st_blocks * 512 for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else 0
