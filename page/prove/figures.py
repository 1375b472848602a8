"""What a finding's plots are made of and saved as, by the key of its diagnosis. No path comes from a request.

finding/KEY/figure/N    the N-th plot as plotly's JSON; with ?beside=KEY/N its axes reach as far as that one's
finding/KEY/table/N     its numbers as comma-separated values
finding/KEY/thumb/ID    how an item that it speaks of looks
script/plotly.js        what draws them, fetched once and only where something is drawn
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from eval import plots
from eval.saving import SAVING_JS, Offer
from eval.tables import file_name, provenance
from mmretrieval.errors import RetrievalError
from mmretrieval.findings import Plot
from page.originals import KEPT_SECONDS, SAFE, may
from page.prove.findings import Found

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from page.state import Page

# What fetches plotly, and what saves pictures of numbers wherever on the page they are.
PLOTLY_JS = Path(__file__).with_name("plotly.js").read_text(encoding="utf-8")
FILES_JS = PLOTLY_JS + SAVING_JS


@cache
def script() -> bytes:
    """plotly.js, as the Python package brings it."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).encode()


def plot_of(found: Found, number: int) -> Plot:
    """A finding's plot by its place from 0. Raises RetrievalError where there is none."""
    if not 0 <= number < len(found.finding.plots):
        raise RetrievalError(f"this finding has {len(found.finding.plots)} plots: number {number} is none of them")
    return found.finding.plots[number]


def about(found: Found) -> dict[str, object]:
    """What a finding was measured on, for every file of it."""
    what = {"diagnostic": found.wanted.diagnostic, "recipe": found.recipe, "on": f"the {found.wanted.of}"}
    return provenance(found.finding.basis, **what)


def offer(found: Found, number: int, key: str, beside: str = "") -> Offer:
    """A finding's plot as files; `key` is how the browser asks for it, `beside` the one whose axes it shares."""
    plot = plot_of(found, number)
    name = file_name(found.wanted.diagnostic, found.recipe, plot.name)
    held = f"finding/{quote(key)}"
    drawn = f"{held}/figure/{number}{shared(beside)}"
    return Offer(name, plot.title, about(found), f"figure:{drawn}", f"{held}/table/{number}")


def shared(beside: str) -> str:
    """What the address of a plot ends with that shares the axes of another, by its key and number."""
    return f"?beside={quote(beside)}" if beside else ""


def routes(page: Page) -> list[BaseRoute]:
    """The routes, for visitors who may see the page."""
    from starlette.responses import FileResponse, Response
    from starlette.routing import Route

    def asked(request: Request) -> tuple[Found, Plot]:
        found = page.findings.by_key(request.path_params["key"])
        return found, plot_of(found, request.path_params["number"])

    def figure(request: Request) -> Response:
        found, plot = asked(request)
        drawn = plots.draw(plot, found.captions, plots.views_of(found.finding), beside(request)).to_json()
        return Response(drawn, media_type="application/json", headers=SAFE | _kept())

    def beside(request: Request) -> Plot | None:
        key, _, number = request.query_params.get("beside", "").rpartition("/")
        if not re.fullmatch("[0-9]{1,3}", number):
            return None
        try:
            return plot_of(page.findings.by_key(key), int(number))
        except RetrievalError:  # the other finding has had its time, and this one is still here
            return None

    def table(request: Request) -> Response:
        found, plot = asked(request)
        name = offer(found, request.path_params["number"], "").name
        named = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        text = page.paths.shown(plots.table_of(plot, found.captions).csv(about(found)))
        return Response(text.encode("utf-8", "replace"), media_type="text/csv; charset=utf-8", headers=SAFE | named)

    def thumb(request: Request) -> Response:
        face = page.findings.by_key(request.path_params["key"]).faces.get(request.path_params["ident"])
        if face is None or face.picture is None or not face.picture.exists():
            raise RetrievalError("there is no thumbnail of this item")
        return FileResponse(face.picture, media_type="image/webp", headers=SAFE | _kept())

    def drawing(_: Request) -> Response:
        return Response(script(), media_type="text/javascript; charset=utf-8", headers=_kept())

    return [
        Route("/finding/{key:str}/figure/{number:int}", guarded(figure)),
        Route("/finding/{key:str}/table/{number:int}", guarded(table)),
        Route("/finding/{key:str}/thumb/{ident:str}", guarded(thumb)),
        Route("/script/plotly.js", guarded(drawing)),
    ]


def guarded(work: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """The work for visitors who may see the page; what it cannot give as words."""
    from starlette.responses import PlainTextResponse

    def serve(request: Request) -> Response:
        if not may(request):
            return PlainTextResponse("log in first", status_code=401, headers=SAFE)
        try:
            return work(request)
        except RetrievalError as error:
            return PlainTextResponse(str(error), status_code=404, headers=SAFE)

    return serve


def _kept() -> dict[str, str]:
    return {"Cache-Control": f"private, max-age={KEPT_SECONDS}"}
