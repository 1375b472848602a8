"""Remake the sample photographs and clip art, and their part of ATTRIBUTION.md, from the packages they came from.

What the pictures are, what they show and who made them stands in captions.jsonl of `photos`, `evaluation/assets`
(both written by hand) and `pictures` (a title by hand, then the keywords of the original's metadata); each row names
the package (`source`) and the file inside it (`origin`). This script cuts the small files from the unpacked packages
and refuses a picture whose licence the package states otherwise than the row does.

Unpack the packages with `dpkg -x` (gcompris-qt-data 3.1, lomiri-wallpapers-16.04 and -20.04, openclipart-png and
openclipart-svg 0.18) and `unzip` (wheels of scikit-image 0.26 and scikit-learn 1.9), then:

    python samples/make_pictures.py --gcompris DIR --lomiri DIR --scikit-image DIR --scikit-learn DIR --openclipart DIR

With no package given only the list of attributions is written anew.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).resolve().parent
PHOTO_SIDE = 560
CLIP_ART_SIDE = 256
ROOTS = {
    "gcompris": "usr/share/gcompris-qt/rcc",
    "lomiri-wallpapers": "usr/share/backgrounds",
    "scikit-image": "skimage/data",
    "scikit-learn": "sklearn/datasets/images",
    "openclipart": "usr/share/openclipart",
}
FOLDERS = {
    "photos": "Photographs",
    "pictures": "Clip art (Open Clip Art Library; its authors gave it to the public domain)",
    "evaluation/assets": "Photographs that only queries use",
}
BEGIN, END = "<!-- begin: {} (written by make_pictures.py) -->", "<!-- end: {} -->"


@dataclass(frozen=True)
class Picture:
    """One row of a captions file: a picture to make and where it comes from."""

    path: str
    caption: str
    author: str
    licence: str
    source: str
    origin: str
    url: str = ""


def read_rows(folder: Path) -> list[Picture]:
    """Give the rows of a folder's captions.jsonl, in order."""
    names = Picture.__dataclass_fields__
    rows = []
    for line in (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines():
        row: dict[str, Any] = json.loads(line)
        rows.append(Picture(**{name: row[name] for name in names if name in row}))
    return rows


def unpack_rcc(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of each file in a Qt binary resource (big-endian tree, names and data blocks)."""
    if data[:4] != b"qres":
        raise ValueError("not a Qt resource file: it does not begin with 'qres'")
    version, tree, blobs, names = struct.unpack(">4I", data[4:20])
    width = 14 if version < 2 else 22

    def name_at(offset: int) -> str:
        (length,) = struct.unpack_from(">H", data, names + offset)
        start = names + offset + 6
        return data[start : start + 2 * length].decode("utf-16-be")

    def walk(node: int, parents: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
        at = tree + node * width
        name_offset, flags = struct.unpack_from(">IH", data, at)
        here = parents if node == 0 else (*parents, name_at(name_offset))
        if flags & 2:
            count, first = struct.unpack_from(">II", data, at + 6)
            for child in range(first, first + count):
                yield from walk(child, here)
            return
        (offset,) = struct.unpack_from(">I", data, at + 10)
        (length,) = struct.unpack_from(">I", data, blobs + offset)
        blob = data[blobs + offset + 4 : blobs + offset + 4 + length]
        # 1 means zlib behind a four-byte length, 4 means zstd: none of the files used here has the latter.
        yield "/".join(here), zlib.decompress(blob[4:]) if flags & 1 else blob

    return walk(0, ())


class Package:
    """An unpacked package folder: bytes of a file in it, and what it says of that file's licence."""

    def __init__(self, source: str, folder: Path) -> None:
        self.source = source
        self.root = folder / ROOTS[source]
        if not self.root.is_dir():
            raise FileNotFoundError(f"{folder} holds no {ROOTS[source]}: unpack the package there first")
        self._resources: dict[str, dict[str, bytes]] = {}

    def _resource(self, activity: str) -> dict[str, bytes]:
        if activity not in self._resources:
            prefix = "gcompris/src/activities/"
            content = unpack_rcc((self.root / f"{activity}.rcc").read_bytes())
            self._resources[activity] = {path.removeprefix(prefix): blob for path, blob in content}
        return self._resources[activity]

    def read(self, origin: str) -> bytes:
        """Give the bytes of the picture at `origin`."""
        if self.source == "gcompris":
            return self._resource(origin.split("/", maxsplit=1)[0])[origin]
        folder = self.root / "png" if self.source == "openclipart" else self.root
        return (folder / origin).read_bytes()

    def check(self, picture: Picture) -> None:
        """Refuse a picture whose licence the package states otherwise, where it states it file by file."""
        if self.source == "openclipart":
            stated = svg_licence(self.root / "svg" / Path(picture.origin).with_suffix(".svg"))
        elif self.source == "gcompris":
            stated = readme_licence(self._resource(picture.origin.split("/", maxsplit=1)[0]), picture.origin)
        else:
            return
        if stated != picture.licence:
            raise ValueError(f"{picture.path}: the package says {stated!r}, the captions say {picture.licence!r}")


def svg_licence(path: Path) -> str:
    """Give 'public domain' if the metadata of an Open Clip Art SVG says so, else what it says."""
    text = path.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"<(?:\w+:)?license\s+(?:\w+:)?(?:resource|about)=\"([^\"]*)\"", text)
    if found is None:
        return ""
    return "public domain" if re.search(r"public_?domain", found.group(1), re.IGNORECASE) else found.group(1)


def readme_licence(files: dict[str, bytes], origin: str) -> str:
    """Give the licence that the nearest README of a GCompris activity states for the file at `origin`."""
    for folder in Path(origin).parents:
        readme = files.get(f"{folder}/README")
        if readme is None:
            continue
        name = str(Path(origin).relative_to(folder))
        for block in re.split(r"\n\s*\n", readme.decode("utf-8")):
            stated = re.search(r"^License: *(.*?)\s*$", block, re.MULTILINE)
            if stated and name in block.split():
                licence = stated.group(1).replace("CC-BY-SA 4.0", "CC-BY-SA-4.0")
                return "public domain" if licence.lower() == "public domain" else licence
    return ""


def shrink(data: bytes, side: int) -> Image.Image:
    """Decode a picture and bring its longer side down to at most `side` pixels; empty margins and unused alpha go."""
    image: Image.Image = Image.open(io.BytesIO(data))
    alpha = "A" in image.getbands() or "transparency" in image.info
    image = image.convert("RGBA" if alpha else "L" if image.mode in {"L", "1", "I", "I;16"} else "RGB")
    if alpha:
        # Clip art often sits in a corner of an empty page: cut to what is drawn.
        image = image.crop(image.getchannel("A").getbbox())
    if alpha and image.getchannel("A").getextrema()[0] == 255:
        image = image.convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def save(image: Image.Image, path: Path) -> None:
    """Write a picture in the format that its suffix names; no metadata goes with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".webp":
        image.save(path, quality=76, alpha_quality=60, method=4)
    elif path.suffix == ".jpg":
        image.convert("RGB").save(path, quality=80, optimize=True, progressive=True)
    else:
        image.save(path, optimize=True)


def attribution(title: str, folder: str, rows: list[Picture]) -> str:
    """Give a Markdown section that names source, author and licence of every file in `rows`."""
    lines = [f"## {title}", "", "| file | author | licence | package: file in it | original |", "|---|---|---|---|---|"]
    for row in rows:
        author = row.author.replace("|", "\\|")
        where = f"{row.source}: `{row.origin}`"
        lines.append(f"| {folder}/{row.path} | {author} | {row.licence} | {where} | {row.url} |")
    return "\n".join(lines)


def replace_section(text: str, key: str, body: str) -> str:
    """Put `body` between the markers of `key`, at the end where the markers are not there yet."""
    begin, end = BEGIN.format(key), END.format(key)
    block = f"{begin}\n{body}\n{end}"
    if begin not in text:
        return text.rstrip("\n") + f"\n\n{block}\n"
    head, rest = text.split(begin, 1)
    return head + block + rest.split(end, 1)[1]


def parse(arguments: list[str] | None) -> dict[str, Path]:
    """Read the command line: the unpacked folder of each package that was given, by source name."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    for source in ROOTS:
        option = source.removesuffix("-wallpapers")
        parser.add_argument(f"--{option}", dest=source, type=Path, metavar="DIR", help=f"unpacked {source} package")
    given = vars(parser.parse_args(arguments))
    return {source: folder for source, folder in given.items() if folder is not None}


def main(arguments: list[str] | None = None) -> int:
    """Make every picture whose package was given and write the attributions; exit 1 if a picture could not be made."""
    packages = {source: Package(source, folder) for source, folder in parse(arguments).items()}
    file = HERE / "ATTRIBUTION.md"
    text = file.read_text(encoding="utf-8") if file.exists() else "# Attribution\n"
    failed = made = 0
    for folder, title in FOLDERS.items():
        side = CLIP_ART_SIDE if folder == "pictures" else PHOTO_SIDE
        rows = read_rows(HERE / folder)
        for row in rows:
            package = packages.get(row.source)
            if package is None:
                continue
            try:
                package.check(row)
                image = shrink(package.read(row.origin), side)
                save(image, HERE / folder / row.path)
                made += 1
            except (OSError, KeyError, ValueError) as error:
                failed += 1
                print(f"{folder}/{row.path}: {error}", file=sys.stderr)
        text = replace_section(text, folder, attribution(title, folder, rows))
    file.write_text(text, encoding="utf-8")
    print(f"{made} pictures made, {failed} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
