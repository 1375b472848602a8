"""A query's part as text: a file or an item of a library, and the place in it that is meant.

    photo.jpg#xywh=10,20,300,200            a region in pixels: left, top, width, height, of the upright picture
    photo.jpg#xywh=percent:10,10,50,50      the same in percent of width and height
    film.mp4#t=12.5,15                      from 12.5 s to 15 s; t=,15 from the beginning; also 0:12.5 and 0:00:12.5
    film.mp4#t=12.5                         the frame that is shown at 12.5 s
    paper.pdf#page=3                        a page, counted from 1
    item:UUID#xywh=percent:0,0,50,100       an item of the library, read from its original file
    film.mp4#t=12.5&xywh=0,0,640,360        places joined by &: a region of that frame

`t` and `xywh` are those of W3C Media Fragments URI 1.0 (basic), `page` is an open parameter of PDF (RFC 8118). Two
departures: one time alone is a moment, where the W3C has it run to the end; and percentages may have decimals. As
there, a region that lies partly outside the picture is what of it lies inside. The pixels of a page are those of its
picture, whose long side has `Settings.picture_side`.

What stands before the last # is the file's name, if what follows the # is such a fragment; a name that itself ends
like one is written with another # behind it.
"""

from __future__ import annotations

import math
import re
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from mmretrieval.errors import BadQuery, MediaError, pick
from mmretrieval.media import KINDS, document, recognise, video
from mmretrieval.media.image import fit, picture
from mmretrieval.media.text import decode
from mmretrieval.types import Content, Cut, Item, Settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmretrieval.library import Library

ITEM = "item:"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
# What stands behind the last # is a fragment where it looks like this; empty: a name that would else be cut.
LOOKS = re.compile(r"\Z|[a-z]+=")
NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?\Z|\.[0-9]+\Z")
CLOCK = re.compile(r"(?:([0-9]+):)?([0-5]?[0-9]):([0-5]?[0-9](?:\.[0-9]*)?)\Z")
# Larger than any side of a picture that is read: nothing is reduced before a region is cut out of it.
WHOLE = 2**31


@dataclass(frozen=True)
class Region:
    """A rectangle of a picture, from its upper left corner: whole pixels, or percent of its width and height."""

    x: float
    y: float
    width: float
    height: float
    percent: bool = False

    def __post_init__(self) -> None:
        numbers = (self.x, self.y, self.width, self.height)
        if not all(math.isfinite(n) and n >= 0 for n in numbers) or not (self.width > 0 and self.height > 0):
            raise BadQuery(f"the region {self} has no size: give left, top, width and height, the last two above 0")
        if not self.percent and any(n != int(n) for n in numbers):
            raise BadQuery(f"the region {self} is in parts of pixels: give whole numbers, or xywh=percent:...")

    def __str__(self) -> str:
        numbers = ",".join(_plain(n) for n in (self.x, self.y, self.width, self.height))
        return f"xywh={'percent:' if self.percent else ''}{numbers}"

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in pixels of a picture of that size; BadQuery where it lies outside."""
        wide, high = (size[0] / 100, size[1] / 100) if self.percent else (1.0, 1.0)
        # To a millionth of a pixel: 30 percent of 1000 pixels are not 300.00000000000006.
        left, top = (math.floor(round(n, 6)) for n in (self.x * wide, self.y * high))
        right = min(size[0], math.ceil(round((self.x + self.width) * wide, 6)))
        bottom = min(size[1], math.ceil(round((self.y + self.height) * high, 6)))
        if left >= right or top >= bottom:
            raise BadQuery(
                f"{self} lies outside the picture, which has {size[0]} x {size[1]} pixels: choose a region inside it"
            )
        return left, top, right, bottom


@dataclass(frozen=True)
class Span:
    """A time of a film in seconds from its start: `start` to `end`, or the moment `start` where there is no end."""

    start: float
    end: float | None = None

    def __post_init__(self) -> None:
        ends = (self.start, self.start + 1 if self.end is None else self.end)
        if not all(map(math.isfinite, ends)) or not 0 <= ends[0] < ends[1]:
            raise BadQuery(f"{self} is no time of a film: give seconds from 0, and an end after the beginning")

    def __str__(self) -> str:
        return f"t={_plain(self.start)}" + ("" if self.end is None else f",{_plain(self.end)}")


@dataclass(frozen=True)
class Place:
    """Where a part of a query is taken from: a file (`path`) or an item of the library, and the place in it.

    Its text is read back by `parse` to an equal place.
    """

    path: str = ""
    item: str = ""
    region: Region | None = None
    span: Span | None = None
    page: int | None = None

    def __post_init__(self) -> None:
        if bool(self.path) == bool(self.item):
            raise BadQuery("name a file or an item of the library")
        if self.path.startswith(ITEM) or (self.item and not UUID.match(self.item)):
            raise BadQuery(
                f"{self.item or self.path!r} is no item's id: write {ITEM} and the id as results show it, "
                f"8-4-4-4-12 digits and letters; a file of such a name is written ./{ITEM}..."
            )
        if self.page is not None and self.page < 1:
            raise BadQuery(f"page={self.page}: pages are counted from 1")

    @property
    def is_whole(self) -> bool:
        """Whether it names the file or item and no place in it."""
        return self.region is None and self.span is None and self.page is None

    def __str__(self) -> str:
        page = None if self.page is None else f"page={self.page}"
        said = "&".join(str(p) for p in (page, self.span, self.region) if p is not None)
        name = self.path or f"{ITEM}{self.item}"
        return f"{name}#{said}" if said or LOOKS.match(name.rpartition("#")[2] if "#" in name else "-") else name


def parse(text: str) -> Place:
    """The place that a text names; BadQuery says what is wrong with its fragment."""
    name, mark, fragment = text.rpartition("#")
    if not mark or not LOOKS.match(fragment):
        name, fragment = text, ""
    found: dict[str, Region | Span | int] = {}
    for dimension in filter(None, fragment.split("&")):
        key, _, value = dimension.partition("=")
        if key not in READ:
            raise BadQuery(f"{dimension!r} of {text!r} is unknown: places are xywh=, t= and page=")
        if key in found:
            raise BadQuery(f"{text!r} has two places {key}=: give one")
        found[key] = READ[key](urllib.parse.unquote(value))
    region, span, page = found.get("xywh"), found.get("t"), found.get("page")
    assert isinstance(region, Region | None) and isinstance(span, Span | None) and isinstance(page, int | None)
    item = name.removeprefix(ITEM).lower() if name.startswith(ITEM) else ""
    return Place("" if item else name, item, region, span, page)


def _region(value: str) -> Region:
    unit, _, numbers = value.rpartition(":")
    fields = numbers.split(",")
    if unit not in ("", "pixel", "percent") or len(fields) != 4 or not all(map(NUMBER.match, fields)):
        raise BadQuery(f"xywh={value} is no region: write xywh=LEFT,TOP,WIDTH,HEIGHT or xywh=percent:... with numbers")
    x, y, width, height = map(float, fields)
    return Region(x, y, width, height, percent=unit == "percent")


def _span(value: str) -> Span:
    start, comma, end = value.removeprefix("npt:").partition(",")
    if not (start or end) or (comma and not end):
        raise BadQuery(f"t={value} is no time: write t=SECONDS for a moment, t=FROM,TO or t=,TO for a span")
    return Span(_seconds(start, value) if start else 0.0, _seconds(end, value) if comma else None)


def _seconds(text: str, value: str) -> float:
    plain = text.removesuffix("s")
    if NUMBER.match(plain):
        return float(plain)
    if clock := CLOCK.match(text):
        return int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + float(clock[3])
    raise BadQuery(f"{text!r} of t={value} is no time: write seconds as in 12.5, or 0:12.5, or 0:00:12.5")


def _page(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise BadQuery(f"page={value} is no page: write its number, counted from 1")
    return int(value)


READ: dict[str, Callable[[str], Region | Span | int]] = {"xywh": _region, "t": _span, "page": _page}


def _plain(number: float) -> str:
    """The shortest text that reads back as the number, without an exponent."""
    return f"{Decimal(repr(float(number))):f}".removesuffix(".0")


# --- what is there --------------------------------------------------------------------------------------------------


def read(place: Place, settings: Settings, library: Library | None = None) -> Content:
    """What an encoder is shown of a place, read in this process.

    A picture or region of one; the frame at a moment, `settings.frames_per_clip` frames of a span, or of the whole
    film; the picture and words of a page; the words of a text. An item's file is opened at the path that the ledger
    has for it, and a whole item is read as it was ingested. Raises BadQuery for a place that the file does not have,
    MediaError for a file that cannot be read, UnknownName for an unknown item.
    """
    if place.item:
        if library is None:
            raise BadQuery(f"{place}: there is no library to look the item up in")
        return _of_item(place, library)
    path = Path(place.path).expanduser()
    try:
        kind = recognise(path)
        if kind is None:
            raise MediaError("it is no picture, video, document or text: name one")
        return of_file(path, kind, place, settings)
    except MediaError as error:
        raise MediaError(f"{place.path}: {error}") from error


def _of_item(place: Place, library: Library) -> Content:
    from mmretrieval.library import contents

    item = library.item(place.item)
    if place.is_whole:
        return contents.content(library.ledger, item, library.settings)
    return of_file(*located(place, item, library), library.settings)


def located(place: Place, item: Item, library: Library) -> tuple[Path, str, Place]:
    """An item's original file, its kind, and the place in the file that is meant; for `of_file` in another process.

    Raises BadQuery for a passage, MediaError where the file is gone or has changed.
    """
    from mmretrieval.library import contents

    if item.kind == "text":
        raise BadQuery(f"{place}: item {item.id} is a passage, which has neither pages nor pictures")
    return contents.original(library.ledger, item), item.kind, _with_own_place(place, item)


def _with_own_place(place: Place, item: Item) -> Place:
    """The place in the item's file: where only a region is given, of the page or clip that the item is."""
    if item.page is not None and place.page is None:
        place = replace(place, page=item.page)
    if item.t0 is not None and place.span is None:
        place = replace(place, span=Span(item.t0, item.t1))
    return place


def of_file(path: Path, kind: str, place: Place, settings: Settings) -> Content:
    """What an encoder is shown of a place in a file of a known kind; raises as `read` does."""
    _refuse(kind, place)
    if kind == "image":
        return Content(image=_cropped(picture(path, WHOLE), place.region, settings.picture_side))
    if kind == "video":
        return Content(frames=tuple(_frames(path, place, settings)))
    if kind == "document":
        return _of_page(path, place, settings)
    words = decode(path.read_bytes()).strip()
    if not words:
        raise MediaError("the text holds no words: write some")
    return Content(text=words)


def _refuse(kind: str, place: Place) -> None:
    """BadQuery for a place that a file of this kind cannot have."""
    has = {"image": {"xywh"}, "video": {"t", "xywh"}, "document": {"page", "xywh"}, "text": set[str]()}[kind]
    given = {"xywh": place.region, "t": place.span, "page": place.page}
    for key, value in given.items():
        if value is not None and key not in has:
            named = {"image": "a picture", "video": "a video", "document": "a document", "text": "a text"}[kind]
            able = " and ".join(f"{k}=" for k in sorted(has)) or "none"
            raise BadQuery(f"{place}: {named} has no place {key}=; it has {able}")


def _cropped(shown: Image, region: Region | None, side: int) -> Image:
    return fit(shown if region is None else shown.crop(region.box(shown.size)), side)


def _frames(path: Path, place: Place, settings: Settings) -> Iterator[Image]:
    """The frames that are meant, one decoded at a time."""
    end = video.seconds(path)
    span = place.span or Span(0.0, end)
    if span.start >= end:
        raise BadQuery(f"{place}: the film ends at {end:.2f} s: choose an earlier time")
    last = None if span.end is None else min(span.end, end)
    cut = Cut(t0=span.start, t1=last)
    times = [span.start] if last is None else video.frame_times(cut, settings.frames_per_clip)
    reader = pick(video.READERS, settings.video_reader, "video reader")
    side = settings.frame_side if place.region is None else WHOLE
    for (frame,) in reader(path, [[t] for t in times], side):
        yield _cropped(frame, place.region, settings.frame_side)


def _of_page(path: Path, place: Place, settings: Settings) -> Content:
    cuts = document.cut(path, settings)
    if place.page is None and len(cuts) > 1:
        raise BadQuery(f"{place} has {len(cuts)} pages: say which, as in #page=1")
    number = place.page or 1
    if number > len(cuts):
        raise BadQuery(f"{place}: the document has {len(cuts)} page{'s' if len(cuts) > 1 else ''}: choose one of them")
    (shown,) = KINDS["document"].read(path, [cuts[number - 1]], settings)
    assert shown.image is not None  # a page always has a picture
    if place.region is not None:
        # The words of a page are not known by region.
        return Content(image=_cropped(shown.image, place.region, settings.picture_side))
    return Content(image=shown.image, text=cuts[number - 1].text.strip() or None)
