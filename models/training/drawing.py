"""One picture with its texts, from which package it comes, and what it must not be separated from."""

from __future__ import annotations

import functools
import importlib
import io
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mmretrieval.errors import EncoderUnavailable
from mmretrieval.media.image import to_rgb

SIDE = 144  # SVGs are drawn this large; the packages' bitmaps have 64 pixels and more
MARGIN = 0.06  # white around what is drawn, a share of its longer side: what the classifier's middle crop takes away
HELD_OUT_PERCENT = 15


@dataclass(frozen=True)
class Drawing:
    """One picture: `group` never lies on both sides of a split, `concept` is what it shows, whatever the style.

    `texts` begins with the caption; `kind` names the sort of thing in a word or two. `place` is a picture file, or a
    collection of them with `member` the name inside (an icon in an iconify table).
    """

    key: str
    source: str
    group: str
    concept: str
    tone: str
    gender: str
    texts: tuple[str, ...]
    kind: str
    place: Path
    member: str = ""

    @property
    def held_out(self) -> bool:
        """Whether the drawing's group is kept from training: 15 of 100 groups, by a checksum of the group's name."""
        return zlib.crc32(self.group.encode()) % 100 >= 100 - HELD_OUT_PERCENT


def picture(drawing: Drawing) -> Image.Image:
    """The drawing as an RGB picture: cut to what is drawn, on white, with a thin margin; photographs as they are.

    SVGs are rendered by resvg (the package resvg_py); raises EncoderUnavailable where it is missing.
    """
    opened = Image.open(io.BytesIO(_svg(drawing))) if drawing.place.suffix in {".svg", ".json"} else None
    opened = opened or Image.open(drawing.place)
    if "transparency" not in opened.info and "A" not in opened.getbands():
        return to_rgb(opened)
    return trimmed(opened.convert("RGBA"))


def trimmed(layer: Image.Image) -> Image.Image:
    """A transparent picture cut to what is opaque, on white with a margin of a share of its longer side."""
    drawn = layer.crop(layer.getchannel("A").getbbox())
    margin = round(MARGIN * max(drawn.size))
    paper = Image.new("RGB", (drawn.width + 2 * margin, drawn.height + 2 * margin), (255, 255, 255))
    paper.paste(drawn, (margin, margin), mask=drawn.getchannel("A"))
    return paper


def _svg(drawing: Drawing) -> bytes:
    if drawing.place.suffix == ".svg":
        text = drawing.place.read_text("utf-8")
    else:
        body = _icons(drawing.place)[drawing.member]
        text = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="32" height="32">{body}</svg>'
    return bytes(_renderer().svg_to_bytes(svg_string=text, width=SIDE, height=SIDE))


def _renderer() -> Any:
    try:
        return importlib.import_module("resvg_py")
    except ModuleNotFoundError as error:
        raise EncoderUnavailable("emoji drawn as SVG need the package resvg_py: run `pip install resvg_py`") from error


@functools.cache
def _icons(place: Path) -> dict[str, str]:
    return {name: str(icon["body"]) for name, icon in json.loads(place.read_text("utf-8"))["icons"].items()}


def words(text: str) -> str:
    """A file's or an author's way of writing, "redSquare_02", as words in lower case: "red square"."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[_\-+.()\[\]#/]+|\d+", " ", text)
    return " ".join(spaced.lower().split())
