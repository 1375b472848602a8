"""Twelve pictures with captions in a library, and what is found there."""

from __future__ import annotations

import json
from pathlib import Path

from drawings import drawing
from kept_fits import SAID, words

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.engine import Engine
from mmretrieval.library import Library


def captioned_library(folder: Path, *encoders: str) -> Library:
    """Drawings 0 to 11 with a caption and a number each, embedded with these encoders."""
    files = folder / "files"
    files.mkdir()
    for seed in range(12):
        drawing(seed).save(files / f"{seed}.png")
        (files / f"{seed}.json").write_text(json.dumps({"caption": f"{SAID[seed % 6]} {seed}", "number": seed}))
    made = Library.create(folder / "l", encoders or ("hashing",))
    assert ingest(made, walk([files]), workers=1).failed == 0
    return made


def order(engine: Engine, recipe: str, text: str = "red fox", **more: object) -> list[str]:
    """The ids of all twelve, best first."""
    return [hit.id for hit in engine.rank([words(text, **more)], recipe, 12).rankings[0].hits]
