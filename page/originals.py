"""What items look like, by item id: small, large, and the files themselves. No path comes from a request.

media/thumb/ID      the thumbnail made at ingest
media/view/ID       a picture, page or clip's middle frame, as the encoders see it
media/original/ID   the file itself, with ranges, so that a video can be sought
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.workers import read
from mmretrieval.errors import RetrievalError
from mmretrieval.library.contents import cut_of, original
from mmretrieval.types import Item

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from page.state import Page

# What a browser may show by itself, by the suffix of a file whose content was recognised at ingest; all else is
# offered as a download, so that nothing a stranger wrote runs as a page of ours.
SHOWN = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".pdf": "application/pdf",
}
SAFE = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
KEPT_SECONDS = 3600
SIZES = frozenset({"thumb", "view", "original"})


def view(page: Page, item: Item) -> bytes:
    """WebP bytes of what can be seen of an item, read in another process; RetrievalError where that is nothing."""
    kept = page.folder / "views" / f"{item.id}-{page.library.settings.key}.webp"
    file = original(page.library.ledger, item)
    if kept.exists():
        return kept.read_bytes()
    (reading,) = page.readers.submit(read, file, item.kind, [cut_of(item)], page.library.settings).result()
    content = reading.content
    shown = content.image or (content.frames[len(content.frames) // 2] if content.frames else None)
    if shown is None:
        raise RetrievalError(f"nothing of {file} can be seen: it is text")
    kept.parent.mkdir(parents=True, exist_ok=True)
    temporary = kept.with_suffix(f".{os.getpid()}-{id(reading)}")
    shown.save(temporary, "WEBP", quality=85)
    temporary.replace(kept)
    return kept.read_bytes()


def routes(page: Page) -> list[BaseRoute]:
    """The three routes, for visitors who may see the page."""
    from starlette.responses import FileResponse, PlainTextResponse, Response
    from starlette.routing import Route

    def serve(request: Request) -> Response:
        if not may(request):
            return PlainTextResponse("log in first", status_code=401, headers=SAFE)
        size, ident = request.path_params["size"], request.path_params["ident"]
        try:
            if size not in SIZES:
                raise RetrievalError(f"there is no {size!r} of an item: ask for thumb, view or original")
            item = page.library.item(ident)
            if size == "view":
                return Response(view(page, item), media_type="image/webp", headers=SAFE | _kept())
            if size == "original":
                return _whole(original(page.library.ledger, item))
        except RetrievalError as error:
            return PlainTextResponse(str(error), status_code=404, headers=SAFE)
        thumbnail = page.library.thumbnail(item.id)
        if thumbnail is None:
            return PlainTextResponse("no thumbnail", status_code=404, headers=SAFE)
        return FileResponse(thumbnail, media_type="image/webp", headers=SAFE | _kept())

    def _whole(file: Path) -> Response:
        media = SHOWN.get(file.suffix.lower())
        headers = SAFE if media != "application/pdf" else {"X-Content-Type-Options": "nosniff"}
        return FileResponse(
            file,
            media_type=media or "application/octet-stream",
            filename=file.name,
            content_disposition_type="inline" if media else "attachment",
            headers=headers,
        )

    return [Route("/media/{size:str}/{ident:str}", serve, methods=["GET", "HEAD"], name="media")]


def _kept() -> dict[str, str]:
    return {"Cache-Control": f"private, max-age={KEPT_SECONDS}"}


def may(request: Request) -> bool:
    """Whether the visitor has logged in at Gradio's own door, where there is one."""
    app = request.app
    if app.auth is None:
        return True
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(app.tokens.get(request.cookies.get(name)) is not None for name in names)
