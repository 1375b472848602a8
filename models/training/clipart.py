"""The Open Clip Art Library as records: what its SVGs' metadata, file names and folders say of its PNGs."""

from __future__ import annotations

import html
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from models.training.drawing import Drawing, words
from models.training.packages import unpacked

ROOT = Path("usr/share/openclipart")
PUBLIC_DOMAIN = re.compile(r"<(?:\w+:)?license\s+(?:\w+:)?(?:resource|about)=\"[^\"]*public_?domain", re.IGNORECASE)
# Folders without anything to name: 1,375 stars that differ in the count of their points, colour ramps, desktop themes
# whose files are named after the programs that use them, packs of playing cards.
LEFT_OUT = (
    "shapes/stars/",
    "special/",
    "computer/icons/flat-theme/",
    "computer/icons/lemon-theme/",
    "computer/icons/etiquette-theme/",
    "recreation/games/cards/",
)
JUNK = re.compile(
    r"^(hash.*|0x.*|\d+|theme|icons?|image|clip ?art|openclipart|unsorted|svg|special|mapsym|miscellany|menu|"
    r"signs and symbols|united nations member|externalsource|.*part of the.*|.*architetto.*|)$"
)
# A title on more files than this names a series ("card", "AIGA_Symbol_Signs"), and the file's name says more.
SERIES = 6


@dataclass(frozen=True)
class Metadata:
    """What one SVG says of itself."""

    title: str
    author: str
    keywords: tuple[str, ...]
    public_domain: bool


def read_metadata(svg: str) -> Metadata:
    """Title, author, keywords and licence out of an SVG's RDF; a field that is not there is empty."""
    block = re.search(r"<metadata.*?</metadata>", svg, re.DOTALL)
    rdf = block.group(0) if block else ""
    title = re.search(r"<dc:title>(.*?)</dc:title>", rdf, re.DOTALL)
    author = re.search(r"<dc:creator>.*?<dc:title>(.*?)</dc:title>", rdf, re.DOTALL)
    keywords = re.findall(r"<rdf:li>(.*?)</rdf:li>", rdf, re.DOTALL)
    return Metadata(
        html.unescape(title.group(1)).strip() if title else "",
        html.unescape(author.group(1)).strip() if author else "",
        tuple(html.unescape(keyword).strip() for keyword in keywords),
        PUBLIC_DOMAIN.search(svg) is not None,
    )


def texts_of(path: Path, found: Metadata, series: bool) -> tuple[str, ...]:
    """The texts of the clip art at a path inside the library: a caption, then the keywords and folders as one text.

    The caption is the title, or the file's name where the title is missing or a whole series' (`series`).
    """
    author = set(words(found.author).split())
    named = " ".join(w for w in words(path.stem).split() if not any(w in a or a.startswith(w) for a in author))
    title = words(found.title)
    caption = named if series or "clipart by" in title or JUNK.match(title) else title
    folders = [words(part) for part in reversed(path.parent.parts)]
    kept = [words(k) for k in found.keywords if not JUNK.match(k.lower())] + folders
    kept = [k for k in dict.fromkeys(kept) if len(k) > 1 and not JUNK.match(k) and k != caption]
    kept = [k for k in kept if not set(k.split()) <= author]
    texts = [caption] if re.search(r"[a-z]{3}", caption) and not JUNK.match(caption) else []
    return (*texts, ", ".join(kept)) if kept else tuple(texts)


def read_clipart(cache: Path) -> list[Drawing]:
    """The pictures in the public domain whose metadata says something, in the order of their paths.

    The group is the author, or the folder of those who have no name, so that a drawn hand is on one side only.
    """
    pngs = unpacked(cache, "openclipart") / ROOT / "png"
    svgs = unpacked(cache, "openclipart-texts") / ROOT / "svg"
    paths = sorted(path.relative_to(svgs) for path in svgs.rglob("*.svg"))
    kept = [path for path in paths if not path.as_posix().startswith(LEFT_OUT)]
    known = {path: read_metadata((svgs / path).read_text("utf-8", errors="replace")) for path in kept}
    titles = Counter(found.title for found in known.values())
    drawings = []
    for path, found in known.items():
        png = (pngs / path).with_suffix(".png")
        texts = texts_of(path, found, titles[found.title] > SERIES)
        if not (texts and found.public_domain and png.is_file()):
            continue
        group = f"author {words(found.author)}" if words(found.author) else f"folder {path.parent.as_posix()}"
        kind = words(path.parts[0]) if len(path.parts) > 1 else ""
        key = f"openclipart/{path.with_suffix('').as_posix()}"
        drawings.append(Drawing(key, "openclipart", group, f"text {texts[0]}", "", "", texts, kind, png))
    return drawings
