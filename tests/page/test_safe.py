"""What keeps visitors and the machine apart: limits, uploads, faults without traces, hosts, the library's files."""

from __future__ import annotations

import ast
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

import app
from page import build
from page.endpoints import called
from tests.page.serving import ROOT, Logged, logged

# A page whose limit is small, and whose search breaks in a way that nobody foresaw.
PROGRAM = """
import sys
import page.build
page.build.UPLOAD_LIMIT = "20kb"
from mmretrieval.engine import Engine
rank = Engine.rank
def broken(self, queries, *rest, **named):
    if queries[0].parts[0].content is not None and queries[0].parts[0].content.text == "break":
        raise ZeroDivisionError("a secret of the inside")
    return rank(self, queries, *rest, **named)
Engine.rank = broken
blocks = page.build.blocks
def told(*given, **named):
    demo = blocks(*given, **named)
    print("cleaned every, kept for:", *demo.delete_cache, flush=True)
    return demo
page.build.blocks = told
import app
app.main()
"""


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page keeps temporary files."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def served(made: Path, uploads: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    with logged(PROGRAM, made, tmp_path_factory.mktemp("safe"), "--read-only", TMPDIR=str(uploads)) as started:
        yield started


def test_a_fault_gives_visitors_a_number_and_the_log_the_trace(served: Logged) -> None:
    client = Client(served.address, verbose=False, download_files=False)
    with pytest.raises(AppError) as refused:
        client.predict(words="break", recipe="hashing@text", api_name="/search")
    said = str(refused.value)
    number = re.search(r"reference ([0-9a-f]{8})", said)
    assert number and "secret" not in said and "Traceback" not in said and "ZeroDivision" not in said
    log = served.log.read_text()
    assert f"reference {number[1]}" in log
    assert "ZeroDivisionError: a secret of the inside" in log.partition(f"reference {number[1]}")[2]


def test_uploads_have_a_limit(served: Logged) -> None:
    def upload(size: int) -> int:
        return httpx.post(f"{served.address}gradio_api/upload", files={"files": ("x.png", b"x" * size)}).status_code

    assert upload(10_000) == 200
    assert upload(50_000) == 413


def test_uploads_are_cleaned_up_while_the_page_goes_on(served: Logged) -> None:
    assert (build.CLEAN_SECONDS, build.KEPT_SECONDS) == (3600, 86_400)
    assert "cleaned every, kept for: 3600 86400" in served.log.read_text()


def test_no_path_of_the_machine_is_served(served: Logged, made: Path) -> None:
    for path in (made / "ledger.sqlite", made / "library.toml", Path("/etc/passwd"), ROOT / "app.py"):
        for route in ("gradio_api/file=", "file=", "media/original/", "media/view/", "media/thumb/"):
            answer = httpx.get(f"{served.address}{route}{path}")
            assert answer.status_code in (403, 404), (route, path)


def test_nothing_is_sent_out_and_no_code_is_offered(served: Logged) -> None:
    config = httpx.get(f"{served.address}config").json()
    assert config["analytics_enabled"] is False and config["enable_queue"] is True
    assert config.get("mcp_server") in (False, None)
    assert httpx.get(f"{served.address}gradio_api/mcp/").status_code == 404
    assert httpx.get(f"{served.address}monitoring/summary").status_code in (403, 404)


def test_a_page_that_ends_leaves_no_uploads(served: Logged, uploads: Path) -> None:
    held = list(uploads.glob("mmretrieval-page-*"))
    assert len(held) == 1 and any(file.is_file() for file in held[0].rglob("*")), "the test before uploaded a file"
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) == 0
    assert not list(uploads.glob("mmretrieval-page-*"))


# --- without a server -------------------------------------------------------------------------------------------------


def test_an_endpoint_never_hands_out_an_unknown_error(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise KeyError("/home/somebody/private")

    with caplog.at_level(logging.ERROR, "page"), pytest.raises(gr.Error) as refused:
        called.or_refuse(broken)
    assert "private" not in refused.value.message and re.search(r"reference [0-9a-f]{8}", refused.value.message)
    assert "private" in caplog.text


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_only_loopback_is_local(host: str, local: bool) -> None:
    assert app._local(host) is local


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2"])
def test_a_public_page_is_refused_with_what_it_would_mean(made: Path, host: str, read_only: bool) -> None:
    options = ["--library", str(made), "--host", host, *(["--read-only"] if read_only else [])]
    done = subprocess.run([sys.executable, "app.py", *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "without a password" in done.stderr and "--yes-public" in done.stderr
    assert ("add to it and remove from it" in done.stderr) is not read_only


def test_the_page_listens_on_this_machine_alone_unless_told() -> None:
    import inspect

    defaults = {name: p.default for name, p in inspect.signature(app.serve).parameters.items()}
    assert defaults["host"] == "127.0.0.1"
    assert (defaults["yes_public"], defaults["mcp"], defaults["auth_file"]) == (False, False, None)


def test_a_page_launches_without_what_tells_of_it() -> None:
    calls = [
        node for node in ast.walk(ast.parse((ROOT / "page" / "build.py").read_text())) if isinstance(node, ast.Call)
    ]
    (launch,) = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "launch"]
    given: dict[str, Any] = {
        word.arg: word.value.value for word in launch.keywords if word.arg and isinstance(word.value, ast.Constant)
    }
    for name in ("share", "show_error", "run_history", "enable_monitoring", "ssr_mode"):
        assert given[name] is False, name
    assert {"max_file_size"} <= {word.arg for word in launch.keywords}
    assert not {"allowed_paths", "server_app"} & {word.arg for word in launch.keywords}
