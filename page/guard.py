"""The door of the page: what arrives is read or refused in words, and what leaves tells no stranger a path.

Anybody can send anything to any event, those of buttons as well as named endpoints. So values are looked at here, by
the widget that they are for, before a handler sees them: a malformed request is refused in words and leaves one line in
the log. What goes wrong in code of ours gets a reference number, under which the log has the trace.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import gradio as gr
from gradio.components.api_component import Api

from mmretrieval.errors import BadQuery
from page import arguments
from page.notices import counted, escape, problem_of

if TYPE_CHECKING:
    from gradio.block_function import BlockFunction
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from page.state import Page

logger = logging.getLogger("page")
ROOT = Path(__file__).resolve().parents[1]
# The packages whose errors are faults of the page.
OURS = tuple(f"{ROOT / name}/" for name in ("page", "mmretrieval", "ingest", "eval", "models"))
WRONG = "wrong arguments: this is not what the page itself sends here. Reload the page, or see the list of endpoints"
NOTHING = "wrong arguments: there is no such event or endpoint on this page. Reload it, or see the list of endpoints"
# The largest answer to a request that went wrong: it is held back until its words are known.
REFUSAL_BYTES = 1_000_000
Reader = Callable[[Any, object, str], object]


def _text(_: Any, value: object, name: str) -> object:
    return None if value is None else arguments.text(value, name)


def _choice(menu: Any, value: object, name: str) -> object:
    """What a menu holds; whether that is among its choices is Gradio's to say."""
    if menu.multiselect:
        return None if value is None else list(arguments.names(value, name))
    if menu.allow_custom_value:
        return _text(menu, value, name)
    return None if value is None else arguments.plain(value, name)


# How the value of each kind of widget is read. Of files Gradio itself sees to it that they were uploaded here, and
# endpoints read their own arguments.
READERS: Mapping[type[Any], Reader] = {
    gr.Textbox: _text,
    gr.HTML: lambda _, value, name: None if value is None else arguments.text(value, name, arguments.DRAWN_CHARS),
    gr.Dropdown: _choice,
    gr.CheckboxGroup: lambda _, value, name: list(arguments.names(value, name)),
    gr.Checkbox: lambda _, value, name: arguments.yes(value, name),
    gr.Slider: lambda field, value, name: arguments.real(value, name, field.minimum, field.maximum),
    gr.Number: lambda _, value, name: None if value is None else arguments.finite(value, name),
    gr.Image: lambda _, value, __: value,
    gr.File: lambda _, value, __: value,
    Api: lambda _, value, __: value,
}


class Guarded(gr.Blocks):
    """All tabs and endpoints of a page, behind the door."""

    def __init__(self, page: Page, **options: Any) -> None:
        super().__init__(**options)
        self._host = page

    async def process_api(self, block_fn: BlockFunction | int, *rest: Any, **named: Any) -> dict[str, Any]:
        """Answers one request, as Gradio does. Raises gr.Error, with words for the visitor, and nothing else."""
        wanted = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        try:
            return await super().process_api(wanted, *rest, **named)
        except gr.Error as error:
            raise self._refused(wanted, error.message) from None
        except Exception as error:
            raise self._refused(wanted, problem_of(error)) from None

    async def preprocess_data(self, block_fn: BlockFunction, inputs: list[Any], *rest: Any, **named: Any) -> Any:
        """The values that a handler gets, each read by its widget."""
        try:
            fields = block_fn.inputs
            if block_fn.api_visibility != "private" and len(inputs) != len(fields):
                raise BadQuery(_miscounted(block_fn, len(inputs)))
            read = [
                value if field.stateful else READERS[type(field)](field, self._host.paths.meant(value), _called(field))
                for field, value in zip(fields, inputs, strict=False)
            ]
            return await super().preprocess_data(block_fn, [*read, *inputs[len(read) :]], *rest, **named)
        except (BadQuery, gr.Error) as error:
            raise gr.Error(f"wrong arguments: {error.message if isinstance(error, gr.Error) else error}") from None
        except Exception as error:
            raise _unlike(block_fn, error) from None

    async def call_function(
        self,
        block_fn: BlockFunction | int,
        processed_input: list[Any],
        iterator: Any = None,
        requests: Any = None,
        event_id: str | None = None,
        event_data: gr.EventData | None = None,
        *rest: Any,
        **named: Any,
    ) -> Any:
        """What the handler gives. One that looks at what happened gets names with plain values, and no others."""
        wanted = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        if not wanted.fn:
            raise _unlike(wanted, LookupError("no function of Python"))
        if iterator is None and _hears(wanted.fn):
            try:
                said = arguments.event(self._host.paths.meant(event_data._data if event_data is not None else None))
            except BadQuery as error:
                raise gr.Error(f"wrong arguments: {error}") from None
            event_data = gr.EventData(event_data.target if event_data is not None else None, said)
        return await super().call_function(
            wanted, processed_input, iterator, requests, event_id, event_data, *rest, **named
        )

    async def postprocess_data(self, block_fn: BlockFunction, *rest: Any, **named: Any) -> list[Any]:
        """What the browser gets, without paths that this visitor may not see."""
        data: list[Any] = await super().postprocess_data(block_fn, *rest, **named)
        if not self._host.tells_paths:
            data = await anyio.to_thread.run_sync(self._host.paths.all_shown, data, limiter=self.limiter)
        return data

    def _refused(self, block_fn: BlockFunction, words: str) -> gr.Error:
        """The words as the visitor gets them; a toast of the page's own is HTML."""
        told = self._host.paths.told(words)
        return gr.Error(escape(told) if block_fn.api_visibility == "private" else told, print_exception=False)


def _hears(handler: Callable[..., Any]) -> bool:
    """Whether a handler is told what happened, beside the values of widgets."""
    while isinstance(handler, partial):
        handler = handler.func
    # As written: names that are there for the type checker alone cannot be looked up.
    hints = getattr(getattr(handler, "__func__", handler), "__annotations__", {})
    return any(hint in (gr.EventData, "gr.EventData") for hint in hints.values())


def _called(field: Any) -> str:
    return str(getattr(field, "label", None) or getattr(field, "elem_id", None) or type(field).__name__)


def _miscounted(block_fn: BlockFunction, given: int) -> str:
    name, names = block_fn.api_name, list(signature(block_fn.fn).parameters if block_fn.fn else ())
    return (
        f"{name} takes {counted(len(names), 'value')} in this order, and {given} came: {', '.join(names)}. "
        f"POST values by their names to /gradio_api/call/v2/{name}, and those that you leave out are the usual ones"
    )


def _unlike(block_fn: BlockFunction, error: Exception) -> gr.Error:
    """The refusal of what could not be read at all."""
    logger.info("refused a request for %r, which was malformed: %s", block_fn.name, type(error).__name__)
    return gr.Error(WRONG)


class Door:
    """Around the whole application: what no handler was asked for, and what went wrong before one was, in words."""

    def __init__(self, app: ASGIApp, page: Page) -> None:
        self.app, self.page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sending = _Sending(send, self.page)
        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            status, words = _said(error, scope)
            if not sending.begun:
                await self._answer(status, words, scope, receive, send)

    async def _answer(self, status: int, words: str, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import JSONResponse

        told = self.page.paths.told(words)
        await JSONResponse({"detail": told, "error": told}, status_code=status)(scope, receive, send)


class _Sending:
    """An answer on its way: one that says what went wrong is held back until its paths are out of it."""

    def __init__(self, send: Send, page: Page) -> None:
        self._send, self._page = send, page
        self._start: Message | None = None
        self._body = b""
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400 and not self._page.tells_paths:
            self._start = message
            return
        if self._start is None:
            self.begun = True
            await self._send(message)
            return
        self._body += message.get("body", b"")[: REFUSAL_BYTES - len(self._body)]
        if not message.get("more_body", False):
            await self._flush(self._start)

    async def _flush(self, start: Message) -> None:
        body = self._page.paths.told(self._body.decode("utf-8", "replace")).encode()
        kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        headers = [*kept, (b"content-length", str(len(body)).encode())]
        self._start, self.begun = None, True
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _said(error: Exception, scope: Scope) -> tuple[int, str]:
    """The status and words for an error that nothing has caught: a fault of ours, or a request like none of ours."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if any(file.startswith(OURS) and file != __file__ for file in files):
        return 500, problem_of(error)
    logger.info("refused a request for %r, which was malformed: %s", str(scope["path"])[:80], type(error).__name__)
    return 400, NOTHING
