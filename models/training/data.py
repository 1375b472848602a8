"""All drawings that the offline encoders' trained parts are made from, and those they are judged on.

    from models.training.data import drawings
    for drawing in drawings(Path("cache")):
        picture(drawing)                        # models.training.drawing

The list is the same every time: packages are pinned by sha256 and read in a fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.training.clipart import read_clipart
from models.training.drawing import Drawing
from models.training.emoji import read_openmoji, read_trained
from models.training.gcompris import read_gcompris

TRAINED = ("google", "twitter", "fluent", "openclipart")
JUDGED = ("openmoji", "gcompris-drawings", "gcompris-photographs")
SOURCES = TRAINED + JUDGED


def drawings(cache: Path, sources: Sequence[str] = SOURCES) -> list[Drawing]:
    """The drawings of some sources, in a fixed order; packages that `cache` lacks are fetched into it first."""
    readers = {
        read_trained: ("google", "twitter", "fluent"),
        read_clipart: ("openclipart",),
        read_openmoji: ("openmoji",),
        read_gcompris: ("gcompris-drawings", "gcompris-photographs"),
    }
    found = []
    for read, given in readers.items():
        if set(given) & set(sources):
            found += [drawing for drawing in read(cache) if drawing.source in sources]
    return found


def plain_emoji(drawing: Drawing) -> bool:
    """Whether a drawing is not a variant of another one in its set that differs in the skin tone alone."""
    return drawing.tone == ""
