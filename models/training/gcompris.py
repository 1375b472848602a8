"""Pictures of GCompris as a held-out source: photographs, and drawings by one hand, named by their files.

They are never trained on: they judge how far the trained half carries to photographs and to a style it has not seen.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from models.training.drawing import Drawing, words
from models.training.packages import unpacked

ROOT = Path("usr/share/gcompris-qt/rcc")
ACTIVITIES = "gcompris/src/activities/"
DRAWN = ("lang/resource/words_sample/",)
PHOTOGRAPHED = (
    "categorization/resource/images/tools/",
    "categorization/resource/images/renewable/",
    "categorization/resource/images/others/",
    "categorization/resource/images/fishes/",
    "categorization/resource/images/monuments/",
    "erase/resource/",
    "explore_farm_animals/resource/animals/",
    "explore_monuments/resource/",
    "explore_world_animals/resource/animals/",
    "solar_system/resource/",
)
# Files that are named after a place in a collection, or show something else than their name.
NAMELESS = {"monument", "numbers", "alphabets", "cutting tool", "le musee", "america", "other"}


def read_gcompris(cache: Path) -> list[Drawing]:
    """The drawings ("gcompris-drawings") and photographs ("gcompris-photographs") whose file's name says something."""
    folder = unpacked(cache, "gcompris")
    found = []
    for prefix in DRAWN + PHOTOGRAPHED:
        source = "gcompris-drawings" if prefix in DRAWN else "gcompris-photographs"
        for path, data in _resource(folder, prefix.split("/", maxsplit=1)[0]):
            place, name = Path(path), words(Path(path).stem)
            if not path.startswith(prefix) or place.suffix not in {".webp", ".jpg"} or name in NAMELESS or not name:
                continue
            kept = folder / "pictures" / path
            if not kept.is_file():
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(data)
            kind = words(place.parent.name)
            found.append(Drawing(f"gcompris/{path}", source, name, f"text {name}", "", "", (name,), kind, kept))
    return found


def _resource(folder: Path, activity: str) -> list[tuple[str, bytes]]:
    data = (folder / ROOT / f"{activity}.rcc").read_bytes()
    return sorted((path.removeprefix(ACTIVITIES), content) for path, content in unpack(data))


def unpack(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The (path, content) of each file in a Qt binary resource: a big-endian tree, names, and blocks of data."""
    magic, version, tree, blobs, names = struct.unpack_from(">4s4I", data)
    if magic != b"qres":
        raise ValueError(f"no Qt resource: it begins with {magic!r} and not with b'qres'")
    width = 14 if version < 2 else 22  # since version 2 with a time of change
    waiting: list[tuple[int, str]] = [(0, "")]
    while waiting:
        node, parent = waiting.pop()
        name_at, flags = struct.unpack_from(">IH", data, tree + node * width)
        (letters,) = struct.unpack_from(">H", data, names + name_at)
        name = data[names + name_at + 6 : names + name_at + 6 + 2 * letters].decode("utf-16-be") if node else ""
        path = f"{parent}/{name}" if parent else name
        if flags & 2:
            count, first = struct.unpack_from(">II", data, tree + node * width + 6)
            waiting += [(child, path) for child in range(first, first + count)]
            continue
        (offset,) = struct.unpack_from(">I", data, tree + node * width + 10)
        (length,) = struct.unpack_from(">I", data, blobs + offset)
        content = data[blobs + offset + 4 : blobs + offset + 4 + length]
        yield path, zlib.decompress(content[4:]) if flags & 1 else content
