"""What the server keeps of its visits, bounded.

Gradio holds about half a megabyte for every session, of ten thousand, and takes each call of a program that names no
session for one of its own, named as the call: a program that asks a thousand times would leave half a gigabyte behind.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# How many visits are held at once; the one that was longest away goes first, and finds an empty query when it is back.
VISITS = 1000
ANSWER = re.compile(r"/call/(?:v2/)?[^/]+/(?P<call>[^/]+)/?$")


class ForgetsCalls:
    """Middleware that drops the session of a program's call as soon as its answer was read; browsers' sessions stay."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on; afterwards forgets the call that it asked the answer of."""
        try:
            await self.app(scope, receive, send)
        finally:
            answered = scope["type"] == "http" and scope["method"] == "GET" and ANSWER.search(scope["path"])
            if answered:
                holder = scope["app"].state_holder
                with holder.lock:
                    holder.session_data.pop(answered["call"], None)
                    holder.time_last_used.pop(answered["call"], None)
