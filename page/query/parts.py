"""The row of a query's parts: how each is drawn, and what its slider, marks and crop make of the query."""

from __future__ import annotations

import base64
import io
import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mmretrieval import fragments
from mmretrieval.errors import BadQuery, RetrievalError
from mmretrieval.fragments import Place, Region
from mmretrieval.types import Item
from page import arguments
from page.notices import escape
from page.query.asking import AVOIDED, MOST_PARTS, MOST_WEIGHT, Asked, AskedPart, picture
from page.search.cards import clock, cut, title

if TYPE_CHECKING:
    from page.state import Page

PARTS_JS = Path(__file__).with_name("parts.js").read_text()
AWAY = re.compile(r"(?:not\s+|[-−]\s*)(?=\S)", re.IGNORECASE)
PREVIEW_SIDE, PREVIEWS = 640, 64
SAID_CHARS = 60
REGION = re.compile(r"\s*([0-9.]+)[\s,]+([0-9.]+)[\s,]+([0-9.]+)[\s,]+([0-9.]+)\s*\Z")


def heard(typed: object) -> AskedPart | None:
    """The part that typed words are: `not WORDS` and `-WORDS` push away; nothing where nothing was typed."""
    words = arguments.text(typed, "the words").strip()
    if not words:
        return None
    away = AWAY.match(words)
    return AskedPart("words", words[away.end() :], -AVOIDED) if away else AskedPart("words", words)


def added(asked: Asked, part: AskedPart | None) -> Asked:
    """The query with one more part; words that it has already are not added again, they get the new weight."""
    if part is None:
        return asked
    kept = tuple(p for p in asked.parts if (p.kind, p.value, p.fragment) != (part.kind, part.value, part.fragment))
    if len(kept) >= MOST_PARTS:
        raise BadQuery(f"a query has at most {MOST_PARTS} parts: take one out first")
    return replace(asked, parts=(*kept, part))


def changed(asked: Asked, said: Mapping[str, Any]) -> Asked:
    """The query after something was done to one of its parts. Raises BadQuery for what cannot be done."""
    if said.get("do") == "everywhere":
        return replace(asked, within=())
    if said.get("do") == "refused":
        name = cut(arguments.text(said.get("name"), "the file's name"), SAID_CHARS)
        raise BadQuery(f"{name} is no picture: a query takes pictures; the Library tab adds files of every kind")
    place = _place(asked, said)
    part, do = asked.parts[place], said.get("do")
    if do == "remove":
        after: tuple[AskedPart, ...] = ()
    elif do == "weight":
        weight = arguments.real(said.get("weight"), "the weight", -MOST_WEIGHT, MOST_WEIGHT)
        after = (replace(part, weight=weight),)
    elif do == "mark":
        after = (_marked(part, arguments.text(said.get("mark"), "the mark")),)
    elif do == "crop":
        after = (replace(part, fragment=_cropped(part, arguments.text(said.get("region"), "the region"))),)
    elif do == "words" and part.kind == "words":
        rest = heard(arguments.text(said.get("words"), "the words"))
        after = (rest if rest.weight < 0 else replace(rest, weight=part.weight),) if rest else ()
    else:
        raise BadQuery(f"{str(do)[:40]!r} cannot be done to this part")
    return replace(asked, parts=(*asked.parts[:place], *after, *asked.parts[place + 1 :]))


def _place(asked: Asked, said: Mapping[str, Any]) -> int:
    """Where a part stands: at its number, or, if others came or went since the row was drawn, where its key is."""
    place = arguments.whole(said.get("part"), "the part", 0, MOST_PARTS)
    keys = [_key(part) for part in asked.parts]
    wanted = arguments.text(said.get("key"), "the part's key") or "".join(keys[place : place + 1])
    if keys[place : place + 1] == [wanted]:
        return place
    if keys.count(wanted) != 1:
        raise BadQuery("this part is not in the query any more: look at the row again")
    return keys.index(wanted)


def _key(part: AskedPart) -> str:
    """Names a part wherever it stands; its weight and its mark may change."""
    return f"{zlib.crc32(f'{part.kind} {part.value} {part.fragment}'.encode()):08x}"


def _marked(part: AskedPart, mark: str) -> AskedPart:
    if part.kind != "item" or part.fragment:
        raise BadQuery("only whole items of the library can be liked or disliked")
    size = abs(part.weight) or 1.0
    if mark not in ("liked", "disliked", ""):
        raise BadQuery(f"{mark[:40]!r} is no mark: give liked, disliked, or nothing")
    return replace(part, weight=-size if mark == "disliked" else size, feedback=bool(mark))


def _cropped(part: AskedPart, region: str) -> str:
    """The part's fragment with another region (`left, top, width, height` in percent), or with none."""
    if part.kind == "words":
        raise BadQuery("words have no region: crop a picture")
    place = fragments.parse(f"part#{part.fragment}") if part.fragment else Place("part")
    found: Region | None = None
    if region.strip():
        match = REGION.match(region)
        if not match:
            raise BadQuery(f"{region[:60]!r} is no region: give left, top, width and height in percent")
        try:
            left, top, width, height = (float(number) for number in match.groups())
        except ValueError:
            raise BadQuery(f"{region[:60]!r} is no region: give four numbers in percent") from None
        found = Region(left, top, min(width, 100 - left), min(height, 100 - top), percent=True)
    return str(replace(place, region=found)).partition("#")[2]


class Previews:
    """What uploaded pictures look like, as addresses that hold the picture itself; the last few are kept."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._kept: dict[str, str] = {}

    def of(self, path: str) -> str:
        """A data address of the upright picture, "" where it cannot be read (the search says why)."""
        if path in self._kept:
            return self._kept[path]
        try:
            content, _ = picture(self.page, Path(path))
        except RetrievalError:
            return ""
        if content.image is None:
            return ""
        shown, held = content.image.copy(), io.BytesIO()
        shown.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        shown.convert("RGB").save(held, "WEBP", quality=80)
        while len(self._kept) >= PREVIEWS:
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[path] = f"data:image/webp;base64,{base64.b64encode(held.getvalue()).decode()}"
        return self._kept[path]


def row(previews: Previews, asked: Asked, address: str | None = None, said: str = "", step: int = 0) -> str:
    """The parts as HTML. `address`: where this very search is found again, None before it was asked; `step`: the step
    through the visit's history that brought it, if one did."""
    items = previews.page.library.items_by_id([p.value for p in asked.parts if p.kind == "item"])
    drawn = "".join(_part(previews, i, part, items.get(part.value)) for i, part in enumerate(asked.parts))
    within = f'<span class="mm-within">among {len(asked.within):,} chosen items ' if asked.within else ""
    within += '<button type="button" data-do="everywhere">search everywhere</button></span>' if within else ""
    hint = '<span class="mm-hint">Each thing that you add stands here, with a slider from away to towards.</span>'
    link = "" if address is None else f' data-link="{escape(address)}" data-said="{escape(cut(said, 120))}"'
    link += f' data-step="{step}"' if step else ""
    inside = drawn + within or hint
    return f'<div class="mm-pieces" role="list" aria-label="What the query is made of"{link}>{inside}</div>'


def _part(previews: Previews, place: int, part: AskedPart, item: Item | None) -> str:
    name, picture = _name(part, item), ""
    if part.kind == "picture":
        picture = previews.of(part.value)
    elif part.kind == "item" and item is not None and item.visual:
        picture = f"media/thumb/{quote(part.value)}"
    tone = "mm-away" if part.weight < 0 else "mm-silent" if part.weight == 0 else ""
    box = _box(part)
    seen = f'<span class="mm-piece-picture"><img src="{escape(picture)}" alt="">{box}</span>' if picture else ""
    if part.kind == "words":
        words = (
            f'<input class="mm-piece-words" data-do="words" value="{escape(part.value)}" size="{_size(part.value)}" '
            f'aria-label="Words {place + 1} of the query" autocomplete="off">'
        )
    else:
        words = f'<span class="mm-piece-name">{escape(name)}</span>'
    return (
        f'<div class="mm-piece {tone}" role="listitem" data-part="{place}" '
        f'data-key="{_key(part)}">'
        f'<div class="mm-piece-top">{seen}{words}<button type="button" class="mm-cross" data-do="remove" '
        f'aria-label="Take out {escape(name)}" title="Take it out">×</button></div>'
        f'<label class="mm-weigh"><input type="range" min="{-MOST_WEIGHT:g}" max="{MOST_WEIGHT:g}" step="0.05" '
        f'value="{part.weight:g}" data-do="weight" '
        f'aria-label="Weight of {escape(name)}: -2 is away from it, 0 not at all, 2 towards it">'
        f"<output>{_towards(part.weight)}</output></label>"
        f"{_marks(part, item)}{_popover(part, picture)}</div>"
    )


def _marks(part: AskedPart, item: Item | None) -> str:
    buttons = []
    if part.kind == "picture" or (item is not None and item.visual):
        says = "cropped" if "xywh" in part.fragment else "crop"
        buttons.append(f'<button type="button" data-do="open" aria-expanded="false">{says}</button>')
    if part.kind == "item" and not part.fragment:
        for mark, up in (("liked", True), ("disliked", False)):
            pressed = part.feedback and (part.weight > 0) is up
            buttons.append(
                f'<button type="button" data-do="mark" data-mark="{"" if pressed else mark}" '
                f'aria-pressed="{str(pressed).lower()}" title="{_PROMISES[mark]}">{mark}</button>'
            )
    return f'<div class="mm-marks">{"".join(buttons)}</div>' if buttons else ""


_PROMISES = {
    "liked": "An example of what is wanted: recipes with rocchio, best or context learn from it",
    "disliked": "An example of what is not wanted: recipes with rocchio, best or context learn from it",
}


def _popover(part: AskedPart, picture: str) -> str:
    """Where a rectangle is dragged over the picture, or written."""
    if not picture:
        return ""
    region = _region(part)
    written = ", ".join(f"{n:g}" for n in (region.x, region.y, region.width, region.height)) if region else ""
    return (
        '<div class="mm-pop" role="dialog" aria-label="Choose a region of the picture" hidden>'
        '<p class="mm-hint">Drag over what counts; the rest is left out.</p>'
        f'<div class="mm-crop"><img src="{escape(picture)}" alt="The picture" draggable="false">{_box(part)}</div>'
        '<div class="mm-pop-foot"><label>left, top, width, height in percent'
        f'<input data-do="region" value="{written}" placeholder="0, 0, 100, 100" inputmode="decimal"></label>'
        '<button type="button" data-do="whole">Whole picture</button>'
        '<button type="button" data-do="shut">Close</button></div></div>'
    )


def _region(part: AskedPart) -> Region | None:
    if not part.fragment:
        return None
    region = fragments.parse(f"part#{part.fragment}").region
    return region if region is not None and region.percent else None


def _box(part: AskedPart) -> str:
    region = _region(part)
    if region is None:
        return '<span class="mm-crop-box" hidden></span>'
    place = f"left:{region.x:g}%;top:{region.y:g}%;width:{region.width:g}%;height:{region.height:g}%"
    return f'<span class="mm-crop-box" style="{place}"></span>'


def _name(part: AskedPart, item: Item | None) -> str:
    if part.kind == "words":
        return cut(part.value, SAID_CHARS)
    if part.kind == "picture":
        return "your picture"
    span = fragments.parse(f"part#{part.fragment}").span if part.fragment else None
    moment = f", at {clock(span.start)}" if span else ""
    return f"{cut(title(item), SAID_CHARS) if item else 'an item that is gone'}{moment}"


def _size(words: str) -> int:
    return max(6, min(34, len(words) + 1))


def _towards(weight: float) -> str:
    if weight == 0:
        return "not at all"
    return f"{'towards' if weight > 0 else 'away'} {abs(weight):g}"
