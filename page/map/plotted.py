"""What a map is drawn from, by its key, in as few bytes as it takes. No path comes from a request.

map/points/KEY            where the points lie: a header, x and y as float32, then which vector each is of
map/colours/KEY           a colour for each: a header, then uint16 groups or float32 numbers
map/about/KEY/N           what the N-th point is: its item's title, kind and thumbnail
map/table/KEY/COLOURS     everything as comma-separated values

A header is its own length as uint32, then JSON, filled with spaces to a multiple of four bytes; all is little-endian.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from eval.saving import Offer
from eval.tables import Cell, Table, file_name, spoken
from mmretrieval.errors import BadQuery, RetrievalError
from mmretrieval.provenance import versions
from page.map.colours import CLUSTER, VIEW_NAMES, Colouring
from page.map.mapping import Laid
from page.originals import KEPT_SECONDS, SAFE
from page.prove.figures import PLOTLY_JS, guarded
from page.provenance import models
from page.query.asking import KIND_NAMES
from page.search.cards import CAPTION_CHARS, cut, place, title, what

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from page.state import Page

MAP_JS = PLOTLY_JS + "".join(Path(__file__).with_name(f).read_text(encoding="utf-8") for f in ("map.js", "saved.js"))
KEPT = {"Cache-Control": f"private, max-age={KEPT_SECONDS}"}
# A spreadsheet's rows, with titles of items, are read so many at once.
ROWS = 5000
# A saved SVG has a circle for each point; with more than MANY of them that is said before. Bytes of one, as measured.
MANY, CIRCLE_BYTES = 20_000, 40


def packed(header: Mapping[str, Any], *arrays: npt.NDArray[Any]) -> bytes:
    """A header and arrays as the browser takes them apart again."""
    said = json.dumps(header, ensure_ascii=False).encode()
    said += b" " * (-len(said) % 4)
    tail = b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays)
    return len(said).to_bytes(4, "little") + said + tail


def points(laid: Laid) -> bytes:
    """A map's points: 9 bytes each."""
    x, y = axes(laid)
    sizes = [len(m.ids) for m in laid.cloud.matrices]
    view = np.repeat(np.arange(len(sizes), dtype=np.uint8), sizes)
    plane = laid.plane.points
    header = {"n": len(plane), "x": x, "y": y, "square": laid.wanted.method == "pca"}
    header["views"] = [VIEW_NAMES[v] for v in laid.cloud.views]
    return packed(header, np.ascontiguousarray(plane[:, 0]), np.ascontiguousarray(plane[:, 1]), view)


def axes(laid: Laid) -> tuple[str, str]:
    """What the axes are called."""
    from mmretrieval.projection import spoken_share

    if laid.plane.shares is None:
        return "UMAP axis 1 (no unit)", "UMAP axis 2 (no unit)"
    first, second = (
        f"principal axis {i + 1} ({spoken_share(s)} of the variance)" for i, s in enumerate(laid.plane.shares)
    )
    return first, second


def colours(shown: Colouring) -> bytes:
    """A map's colours: 2 or 4 bytes a point."""
    header: dict[str, Any] = {"title": shown.title, "names": shown.names, "greys": shown.greys}
    if shown.codes is not None:
        return packed(header, shown.codes)
    assert shown.values is not None
    there = shown.values[np.isfinite(shown.values)]
    header |= {"low": float(there.min()), "high": float(there.max())} if len(there) else {"low": 0.0, "high": 0.0}
    return packed(header, shown.values)


def chosen(laid: Laid, bits: object) -> list[int]:
    """The places of the points that a browser names by one bit each, the lowest first, in base64."""
    size = (len(laid.cloud) + 7) // 8
    try:
        raw = base64.b64decode(str(bits)[: 2 * size + 8], validate=True)
    except (binascii.Error, ValueError):
        raise BadQuery("the chosen points came broken: choose them again") from None
    if len(raw) != size:
        raise BadQuery("the chosen points are of another map: choose them again")
    named = np.unpackbits(np.frombuffer(raw, dtype=np.uint8), bitorder="little")[: len(laid.cloud)]
    return [int(i) for i in np.flatnonzero(named)]


def table(page: Page, laid: Laid, shown: Colouring | None, some: Sequence[int] | None = None) -> Table:
    """A row for each point, or for some: its item, vector, place, kind, colour and title."""
    x, y = axes(laid)
    ids = laid.cloud.ids
    views = [view for view, m in zip(laid.cloud.views, laid.cloud.matrices, strict=True) for _ in m.ids]
    wanted = range(len(ids)) if some is None else some
    rows: list[tuple[Cell, ...]] = []
    for start in range(0, len(wanted), ROWS):
        block = wanted[start : start + ROWS]
        items = page.library.items_by_id([ids[i] for i in block])
        for i in block:
            item = items.get(ids[i])
            about = (KIND_NAMES.get(item.kind, item.kind), title(item)) if item else ("gone", "")
            coloured = () if shown is None else (shown.of(i),)
            where = float(laid.plane.points[i, 0]), float(laid.plane.points[i, 1])
            rows.append((ids[i], views[i], *where, about[0], *coloured, about[1]))
    named = () if shown is None else (f"colour: {shown.title}",)
    return Table(("item", "vector", x, y, "kind", *named, "title"), tuple(rows))


def drawn_from(page: Page, laid: Laid, shown: Colouring) -> dict[str, object]:
    """What a map was drawn from, for every file of it."""
    wanted = laid.wanted
    said: dict[str, object] = {"encoder": wanted.encoder, "models": models(page.library, wanted.encoder)}
    said |= {"vectors": wanted.vectors, "method": wanted.method, "n": len(laid.cloud), "colour": shown.title}
    said |= {"seed": wanted.seed} if wanted.method == "umap" or shown.title == CLUSTER else {}
    return said | {"versions": spoken(versions(("numpy", "numba", "umap-learn", "scikit-learn")))}


def offer(page: Page, laid: Laid, shown: Colouring, key: str, shade: str) -> Offer:
    """A map as files; `key` and `shade` are how the browser asks for its points and colours."""
    name = file_name("map", laid.wanted.encoder, laid.wanted.vectors, laid.wanted.method, shown.title)
    n = len(laid.cloud)
    large = f"{n:,} points: the SVG has a circle for each, about {CIRCLE_BYTES * n / 1e6:.1f} MB." if n > MANY else ""
    named = f"{n:,} vectors of {laid.wanted.encoder}, coloured by {shown.title}"
    table = f"map/table/{quote(key)}/{quote(shade)}"
    return Offer(name, named, drawn_from(page, laid, shown), "from:#map-plot .mm-map", table, large)


def routes(page: Page) -> list[BaseRoute]:
    """The routes, for visitors who may see the page."""
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    maps = page.maps

    def laid(request: Request) -> Response:
        found = points(maps.shelf.get(request.path_params["key"]))
        return Response(found, media_type="application/octet-stream", headers=SAFE | KEPT)

    def coloured(request: Request) -> Response:
        found = colours(maps.colours.get(request.path_params["key"]))
        return Response(found, media_type="application/octet-stream", headers=SAFE | KEPT)

    def about(request: Request) -> Response:
        seen, number = maps.shelf.get(request.path_params["key"]), request.path_params["number"]
        if not 0 <= number < len(seen.cloud):
            raise RetrievalError(f"this map has {len(seen.cloud):,} points: number {number} is none of them")
        item = page.library.item(seen.cloud.ids[number])
        thumb = f"media/thumb/{quote(item.id)}" if page.library.thumbnail(item.id) else ""
        said = {"title": cut(title(item), CAPTION_CHARS), "what": what(item.kind, place(item)), "thumb": thumb}
        return JSONResponse(said, headers=SAFE | KEPT)

    def numbers(request: Request) -> Response:
        seen = maps.shelf.get(request.path_params["key"])
        shown = maps.colours.get(request.path_params["colours"])
        if len(shown.codes if shown.codes is not None else shown.values) != len(seen.cloud):
            raise RetrievalError("these colours are of another map: draw it again")
        named = {"Content-Disposition": f'attachment; filename="{offer(page, seen, shown, "", "").name}.csv"'}
        text = page.paths.shown(table(page, seen, shown).csv(drawn_from(page, seen, shown)))
        return Response(text.encode("utf-8", "replace"), media_type="text/csv; charset=utf-8", headers=SAFE | named)

    return [
        Route("/map/points/{key:str}", guarded(laid)),
        Route("/map/colours/{key:str}", guarded(coloured)),
        Route("/map/about/{key:str}/{number:int}", guarded(about)),
        Route("/map/table/{key:str}/{colours:str}", guarded(numbers)),
    ]
