"""A small library for tests of composed queries, and its numbers for slow formulas of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from drawings import drawing

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.bank import null_bank
from mmretrieval.catalog import load
from mmretrieval.embedding import embed
from mmretrieval.library import Library
from mmretrieval.types import Content, Part, Query, View

SAID = ["a red fox", "two red foxes", "a blue whale", "the tall lighthouse", "an old bridge", "fox and whale"]

Numbers = npt.NDArray[np.float64]


def make(root: Path, encoders: tuple[str, ...] = ("hashing",)) -> Library:
    """Twelve pictures, the first six with captions and a number, and two passages."""
    folder = root / "in"
    folder.mkdir()
    for seed in range(12):
        drawing(seed).save(folder / f"{seed}.png")
    for seed, caption in enumerate(SAID):
        (folder / f"{seed}.json").write_text(json.dumps({"caption": caption, "number": seed}))
    (folder / "a.txt").write_text("The fox is red.")
    (folder / "b.txt").write_text("The whale is blue, and the sea is too.")
    library = Library.create(root / "library", list(encoders))
    counts = ingest(library, walk([folder]), workers=1)
    assert (counts.stored, counts.failed) == (14, 0)
    return library


def words(text: str, weight: float = 1.0) -> Part:
    return Part(Content(text=text), weight=weight)


def picture(seed: int, weight: float = 1.0) -> Part:
    return Part(Content(image=drawing(seed)), weight=weight)


def liked(ident: str, weight: float = 1.0) -> Part:
    """Disliked where the weight is below 0."""
    return Part(item=ident, weight=weight, feedback=True)


def query(*parts: Part, **more: object) -> Query:
    return Query(parts, **more)  # type: ignore[arg-type]


def item(library: Library, name: str) -> str:
    """The id of the item of a file."""
    return next(i.id for i in library.items() if Path(i.paths[0]).name == name)


def rows_of(library: Library, view: View) -> tuple[tuple[str, ...], Numbers]:
    """The ids, which rise, and the rows of a view."""
    matrix = library.matrices("hashing")[view]
    return matrix.ids, matrix.rows.astype(np.float64)


def row(library: Library, part: Part) -> Numbers:
    """A part's row; an item's is its pixels'."""
    if part.content is not None:
        found: Numbers = embed(load("hashing"), [part.content], "query")[0].astype(np.float64)
        return found
    ids, rows = rows_of(library, "visual")
    return np.asarray(rows[ids.index(part.item or "")])


def bank() -> Numbers:
    found: Numbers = embed(load("hashing"), [Content(text=t) for t in null_bank()], "query").astype(np.float64)
    return found


def unit(vector: Numbers) -> Numbers:
    return np.asarray(vector / np.linalg.norm(vector))
