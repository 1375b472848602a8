"""Requests to a page as any program can make them: to every event by its number, with whatever values it likes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import httpx

# The page's queue takes 64.
AT_ONCE = 48

# What happens to Gradio's own widgets, of which handlers here are told nothing more.
PLAIN = ("click", "load", "tick", "change", "input", "submit", "release", "success", "then")


@dataclass(frozen=True)
class Sent:
    """A request to one event: its number, what is sent as the values of its widgets, and what is said to happen."""

    event: int
    data: Sequence[Any]
    said: Any = None

    @property
    def text(self) -> str:
        """The request in a few words, for a test that fails."""
        return f"event {self.event}, data {str(self.data)[:200]!r}, event_data {str(self.said)[:100]!r}"


@dataclass(frozen=True)
class Got:
    """What came of a request; `status` of one that was not even taken up."""

    sent: Sent
    succeeded: bool
    output: Any
    status: int = 200

    @property
    def words(self) -> str:
        """What was said of a request that failed."""
        return str((self.output or {}).get("error") or (self.output or {}).get("detail") or "")

    @property
    def text(self) -> str:
        """Everything that came back."""
        return json.dumps(self.output, ensure_ascii=False)


class Visitor:
    """A visit to the page at an address, for a `with`."""

    def __init__(self, address: str, name: str = "junk") -> None:
        self.address, self.name = address, name
        self.client = httpx.Client(base_url=address, timeout=60)
        self.config: dict[str, Any] = self.client.get("config").json()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events and endpoints that have code on the server."""
        return [one for one in self.config["dependencies"] if one["backend_fn"]]

    def usual(self, event: Mapping[str, Any]) -> list[Any]:
        """What the widgets of an event hold on a fresh visit."""
        held = {one["id"]: one["props"].get("value") for one in self.config["components"]}
        return [held.get(ident) for ident in event["inputs"]]

    def ask(self, requests: Iterable[Sent]) -> Iterator[Got]:
        """Sends requests through the queue, some at once, and gives what came of each."""
        waiting = iter(requests)
        while some := list(islice(waiting, AT_ONCE)):
            pending: dict[str, Sent] = {}
            for sent in some:
                body = {"fn_index": sent.event, "data": sent.data, "event_data": sent.said, "session_hash": self.name}
                # What is no JSON to a strict reader, NaN, is sent too.
                answer = self.client.post(
                    "gradio_api/queue/join", content=json.dumps(body), headers={"Content-Type": "application/json"}
                )
                if answer.status_code == 200:
                    pending[answer.json()["event_id"]] = sent
                else:
                    yield Got(sent, False, _told(answer), answer.status_code)
            yield from self._ended(pending)

    def _ended(self, pending: dict[str, Sent]) -> Iterator[Got]:
        if not pending:
            return
        with self.client.stream("GET", "gradio_api/queue/data", params={"session_hash": self.name}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    yield Got(pending.pop(message["event_id"]), message["success"], message["output"])
                if not pending:
                    return
        raise AssertionError(f"no answer to {[sent.text for sent in pending.values()]}")


def _told(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return {"error": answer.text}


def hears(event: dict[str, Any]) -> bool:
    """Whether it is one of those that the scripts of this page send, with what happened."""
    return any(name not in PLAIN for _, name in event["targets"])
