"""Whatever is sent to any event of the page is read or refused in words: no trace, no empty error, nothing changed."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from page.guard import READERS
from tests.folder_digest import digest_of
from tests.page.conftest import make_library
from tests.page.raw_requests import Got, Sent, Visitor, hears
from tests.page.serving import Logged, logged

# A page for strangers, on this machine alone.
PROGRAM = "import app\napp._local = lambda host: False\napp.main()"
UPLOAD = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
NESTED: Any = {"a": {"b": [None, UPLOAD, {"c": [[[]]]}]}}
DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
JUNK: tuple[Any, ...] = (
    None, 7, -1e308, float("nan"), True, "nobody", "", [], ["hashing@text", 3], NESTED, UPLOAD, DEEP, "x" * 200_000,
    "a\0b", "half of a pair \ud800", "<img src=x onerror=alert(1)>", 10**40, "/etc/passwd", "../..",
    "?k=1&text=" * 300,
)  # fmt: skip
SAID: tuple[Any, ...] = (
    7, "x", [], [["do", "act"]], {}, {"do": []}, {"do": NESTED, "item": DEEP}, {"do": None, "item": None, "k": None},
    {"do": "open", "item": "nobody"}, {"do": "act", "item": 7, "part": "0", "weight": "x", "grade": 99},
    {"do": "remove", "part": 10**40, "place": -1, "k": float("nan")}, {"place": True, "side": "right", "stage": 3},
    {"do": "choose", "key": "nobody", "bits": "!" * 100_000, "turn": 0, "choice": {}},
    {"do": "judge", "item": "a\0b", "grade": "3"}, {"do": "retry", "file": "/etc/passwd"}, {"link": ["?text=x"]},
    {"link": "?text=" + "%00" + "&k=-1"}, {"do": "region", "item": "x#y", "fragment": "\ud800"}, UPLOAD,
    {str(n): n for n in range(1000)}, {"x" * 100_000: 1},
)  # fmt: skip


def for_strangers(library: Path, folder: Path, *options: str) -> AbstractContextManager[Logged]:
    """A page over the library that takes its visitors for strangers; what it says goes into a file of the folder."""
    return logged(PROGRAM, library, folder, "--yes-public", *options)


def requests(visitor: Visitor, at_all: int, every: int) -> Iterator[Sent]:
    """Junk for every event: `at_all` times for all of its widgets at once, then for one after the other.

    What is said to happen is junk too: all kinds of it, or each so-many-th.
    """
    turn = 0
    for event in visitor.events:
        number, usual = event["id"], visitor.usual(event)
        yield Sent(number, [])
        for _ in range(at_all if usual else 1):
            yield Sent(number, [JUNK[turn % len(JUNK)]] * max(1, len(usual)), SAID[turn % len(SAID)])
            turn += 1
        for place in range(len(usual)):
            yield Sent(number, [*usual[:place], JUNK[turn % len(JUNK)], *usual[place + 1 :]])
            turn += 1
        if hears(event):
            for said in SAID[turn % every :: every]:
                yield Sent(number, usual, said)


def wrong_with(got: Got) -> str:
    """What is wrong with an answer, or nothing."""
    if not got.succeeded and len(got.words) < 15:
        return f"no words: {got.status} {got.text[:200]}"
    if "fault of the page" in got.text:
        return f"taken for a fault of the page: {got.text[-300:]}"
    if "Traceback" in got.text or 'File "' in got.text:
        return f"a trace: {got.text[:300]}"
    return ""


def check(served: Logged, at_all: int, every: int) -> None:
    """Sends all of it, and looks at every answer, at the log, and whether the page goes on."""
    with Visitor(served.address) as visitor:
        look(visitor, served, at_all, every)


def look(visitor: Visitor, served: Logged, at_all: int, every: int) -> None:
    asked = list(requests(visitor, at_all, every))
    answers = list(visitor.ask(asked))
    wrong = {
        f"{got.sent.event} {said[:30]}": f"{got.sent.text}: {said}" for got in answers if (said := wrong_with(got))
    }
    assert not wrong, "\n\n".join(wrong.values())
    assert len(answers) == len(asked)
    refused = {got.sent.event for got in answers if not got.succeeded}
    stated = {one["id"] for one in visitor.config["components"] if one["type"] == "state"}
    assert refused >= {one["id"] for one in visitor.events if set(one["inputs"]) - stated}
    log = served.log.read_text(errors="replace")
    assert "Traceback" not in log and "reference" not in log, log[-4000:]
    (search,) = [event for event in visitor.events if event["api_name"] == "search"]
    (found,) = visitor.ask([Sent(search["id"], ["red car", *visitor.usual(search)[1:]])])
    assert found.succeeded and len(found.output["data"][0]["hits"]) == 10


@pytest.fixture(scope="module")
def shown(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    with for_strangers(made, tmp_path_factory.mktemp("shown"), "--read-only") as started:
        yield started


@pytest.fixture(scope="module")
def before(made: Path) -> dict[str, tuple[str, int, str]]:
    """What the library holds before anybody asks anything."""
    return digest_of(made)


def test_junk_is_refused_in_words(before: dict[str, Any], shown: Logged) -> None:
    check(shown, at_all=3, every=2)


NOBODY = {"data": [], "session_hash": "nobody"}
ODD: tuple[tuple[str, str, Any], ...] = (
    ("POST", "gradio_api/queue/join", NOBODY | {"fn_index": 10**6}),
    ("POST", "gradio_api/queue/join", NOBODY | {"fn_index": -1}),
    ("POST", "gradio_api/queue/join", NOBODY | {"fn_index": "search"}),
    ("POST", "gradio_api/queue/join", NOBODY | {"fn_index": None}),
    ("POST", "gradio_api/queue/join", NOBODY | {"data": {"a": 1}, "fn_index": 0}),
    ("POST", "gradio_api/queue/join", NOBODY | {"data": float("nan"), "fn_index": 0}),
    ("POST", "gradio_api/queue/join", NOBODY | {"data": "\ud800", "fn_index": 0}),
    ("POST", "gradio_api/queue/join", ["x"]),
    ("POST", "gradio_api/queue/join", b"[" * 100_000),
    ("POST", "gradio_api/queue/join", b"\xff\xfe no JSON"),
    ("POST", "gradio_api/run/nobody", {"data": []}),
    ("POST", "gradio_api/run/search", {"data": [], "fn_index": 10**6}),
    ("POST", "gradio_api/call/nobody", {"data": []}),
    ("POST", "gradio_api/call/v2/nobody", {"words": "red"}),
    ("POST", "gradio_api/call/v2/search", {"nobody": 1}),
    ("POST", "gradio_api/call/v2/search", [1]),
    ("POST", "gradio_api/component_server", {"session_hash": "x", "component_id": 10**6, "fn_name": "x", "data": 1}),
    ("POST", "gradio_api/upload", {"files": 1}),
    ("POST", "gradio_api/cancel", {"session_hash": 1}),
    ("POST", "gradio_api/reset", {"event_id": {}}),
    ("GET", "gradio_api/file=/etc/passwd", None),
    ("GET", "gradio_api/file=%00", None),
    ("GET", "gradio_api/custom_component/x/client/y/../../z", None),
    ("GET", "finding/nobody/figure/0", None),
    ("GET", "map/points/nobody", None),
    ("GET", "media/view/%00", None),
    ("GET", "media/nobody/nobody", None),
)  # fmt: skip


def test_what_no_event_is_asked_for_is_refused_in_words_too(shown: Logged) -> None:
    for method, address, body in ODD:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        answer = httpx.request(method, shown.address + address, content=content, headers=headers, timeout=60)
        assert 400 <= answer.status_code < 500, (address, answer.status_code, answer.text)
        assert len(answer.text) > 8 and "Traceback" not in answer.text and "reference" not in answer.text, address
    log = shown.log.read_text(errors="replace")
    assert "Traceback" not in log, log[-4000:]


def test_every_kind_of_widget_that_is_sent_has_a_reader(shown: Logged) -> None:
    with Visitor(shown.address) as visitor:
        kinds = {one["id"]: one["type"] for one in visitor.config["components"]}
        sent = {kinds[ident] for event in visitor.events for ident in event["inputs"]} - {"state"}
    assert sent <= {widget.__name__.lower() for widget in READERS} and "dropdown" in sent


def test_after_all_of_it_the_library_is_as_it_was(shown: Logged, before: dict[str, Any]) -> None:
    shown.process.send_signal(signal.SIGTERM)
    assert shown.process.wait(60) == 0
    assert digest_of(shown.library) == before


@pytest.fixture
def changed(tmp_path: Path) -> Iterator[Logged]:
    with for_strangers(make_library(tmp_path), tmp_path) as started:
        yield started


def test_junk_is_refused_in_words_where_the_library_may_be_changed(changed: Logged) -> None:
    check(changed, at_all=1, every=6)
