"""Which drawings `lite-joint` is trained and judged on."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from models.training.drawing import Drawing, picture
from models.training.hashes import hashes, near
from models.training.joint_pairs import is_flag

TRAINED = ("google", "twitter", "fluent", "openclipart")
UNSEEN_STYLE = "openmoji"
TONES_IN_FIVE = 2  # of a trained emoji's five skin tones this many are used, by checksum: the rest teach no more
CLIP_ART_PERCENT = 70
MOST_PIXELS = 25_000_000  # a few pieces of clip art are posters of 200 million


def chosen(drawings: Sequence[Drawing]) -> list[Drawing]:
    """The drawings that take part, in their order: no flags, no mixed skin tones, OpenMoji's only where held out."""
    return [drawing for drawing in drawings if _takes_part(drawing)]


def trainable(drawings: Sequence[Drawing]) -> list[int]:
    """The places of those that are trained on: of a source that is, and not held out."""
    return [place for place, d in enumerate(drawings) if d.source in TRAINED and not d.held_out]


def _takes_part(drawing: Drawing) -> bool:
    if drawing.source == "openclipart":
        return zlib.crc32(drawing.key.encode()) % 100 < CLIP_ART_PERCENT and _pixels(drawing.place) <= MOST_PIXELS
    if drawing.source not in (*TRAINED, UNSEEN_STYLE) or is_flag(drawing) or drawing.tone == "mixed":
        return False
    if drawing.source == UNSEEN_STYLE:
        return drawing.held_out and drawing.kind != "openmoji"
    if drawing.held_out or not drawing.tone:
        return True
    mark = zlib.crc32(f"{drawing.concept} {drawing.gender} {drawing.tone}".encode())
    return mark % 5 < TONES_IN_FIVE


def _pixels(png: Path) -> int:
    """Width times height as a PNG's header says."""
    with png.open("rb") as stream:
        width, height = struct.unpack(">II", stream.read(24)[16:])
    return int(width * height)


def unlike_samples(cache: Path, drawings: Sequence[Drawing], samples: Path) -> list[Drawing]:
    """The drawings without the clip art that shows what a picture under `samples` shows, by perceptual hashes.

    The clip art's hashes are kept in CACHE/joint_hashes.json.
    """
    at = cache / "joint_hashes.json"
    known: dict[str, list[int]] = json.loads(at.read_text("utf-8")) if at.is_file() else {}
    art = [drawing for drawing in drawings if drawing.source == "openclipart"]
    for drawing in art:
        if drawing.key not in known:
            known[drawing.key] = [int(h) for h in hashes(picture(drawing))]
    at.write_text(json.dumps(known), "utf-8")
    judged = []
    for place in sorted(samples.rglob("*.webp")):
        with Image.open(place) as opened:
            judged.append(hashes(opened.convert("RGB")))
    if not (art and judged):
        return list(drawings)
    alike = near(np.array([known[d.key] for d in art], dtype=np.uint64), np.stack(judged))
    dropped = {drawing.key for drawing, same in zip(art, alike, strict=True) if same}
    return [drawing for drawing in drawings if drawing.key not in dropped]
