"""Against a real server on this machine, which answers as vLLM and infinity do, and as broken ones do."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import drawing
from ingesting import add
from PIL import Image

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.errors import BadVectors, CannotRead, EncoderUnavailable, OutOfMemory
from mmretrieval.library import Library
from mmretrieval.types import Content
from models.http import Http

DIM = 4
Answer = tuple[int, dict[str, str], bytes]


def vector(sent: str) -> list[float]:
    """The numbers that the server gives for what it was sent: different for different words or pixels."""
    seed = sum((place + 1) * byte for place, byte in enumerate(sent.encode()))
    return [float(x) for x in np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)]


def pixels(uri: str) -> str:
    """What a server sees of a data URI: the decoded picture, as text."""
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    return f"{picture.mode} {picture.size} {picture.tobytes().hex()}"


def sent_things(body: dict[str, Any]) -> list[str]:
    """What a request asks to embed, one text an entry."""
    if "messages" in body:
        assert "input" not in body
        parts = [part for message in body["messages"] for part in _parts(message)]
        return ["|".join(pixels(p["image_url"]["url"]) if p["type"] == "image_url" else p["text"] for p in parts)]
    if body.get("modality") == "image":
        return [pixels(uri) for uri in body["input"]]
    return list(body["input"])


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def embeddings(body: dict[str, Any]) -> Answer:
    rows = [vector(thing) for thing in sent_things(body)]
    written: list[Any] = list(rows)
    if body["encoding_format"] == "base64":
        written = [base64.b64encode(np.asarray(row, dtype="<f4").tobytes()).decode() for row in rows]
    data = [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(written)]
    return 200, {}, json.dumps({"object": "list", "model": body["model"], "data": data[::-1]}).encode()


class Server:
    """Listens on a free port; `script` holds the answers of the next requests, afterwards it embeds."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.script: list[Callable[[dict[str, Any]], Answer | None]] = []
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802  # the name that http.server calls
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((self.path, dict(self.headers), body))
                answer = (outer.script.pop(0) if outer.script else embeddings)(body)
                if answer is None:  # hang up without a word
                    self.close_connection = True
                    return
                status, headers, content = answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def encoder(server: Server, options: str = "", waits: list[float] | None = None) -> Http:
    """The encoder of a spec, whose waits are noted instead of waited."""
    spec = f"http:some/model;url={server.url};dim={DIM}{options}"
    noted = waits if waits is not None else []
    settings = {**catalog.families()["http"]["settings"], "model": "some/model"}
    settings |= dict(catalog.parse_spec(spec).options)
    return Http(catalog.card(spec), {}, settings, sleep=noted.append)


def unit(things: list[str]) -> np.ndarray:
    rows = np.asarray([vector(thing) for thing in things])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def says(status: int, text: str = "", **headers: str) -> Callable[[dict[str, Any]], Answer]:
    return lambda body: (status, {k.replace("_", "-"): v for k, v in headers.items()}, text.encode())


TEXTS = [Content(text=t) for t in ("a red apple", "ein Hund", "", "a red apple")]
PICTURES = [Content(image=drawing(seed)) for seed in range(3)]


def seen(picture: Content) -> str:
    assert picture.image is not None
    return f"RGB {picture.image.size} {picture.image.convert('RGB').tobytes().hex()}"


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_texts_go_in_one_request_and_come_back_in_order(server: Server, encoding: str) -> None:
    got = embed(encoder(server, f";encoding={encoding}"), TEXTS, "item")
    np.testing.assert_allclose(got, unit(["a red apple", "ein Hund", " ", "a red apple"]), atol=1e-6)
    path, _, body = server.requests[0]
    assert (path, len(server.requests)) == ("/v1/embeddings", 1)
    assert body == {
        "model": "some/model",
        "input": ["a red apple", "ein Hund", " ", "a red apple"],
        "encoding_format": encoding,
    }


def test_vllm_gets_pictures_as_messages(server: Server) -> None:
    got = embed(encoder(server, ";reads=text-image"), PICTURES, "item")
    np.testing.assert_allclose(got, unit([seen(p) for p in PICTURES]), atol=1e-6)
    assert len(server.requests) == len(PICTURES)
    message = server.requests[0][2]["messages"]
    assert [m["role"] for m in message] == ["user"]
    assert [part["type"] for part in message[0]["content"]] == ["image_url"]


def test_infinity_gets_pictures_as_input_with_their_modality(server: Server) -> None:
    got = embed(encoder(server, ";reads=image;style=infinity"), PICTURES, "item")
    np.testing.assert_allclose(got, unit([seen(p) for p in PICTURES]), atol=1e-6)
    assert len(server.requests) == 1
    assert server.requests[0][2]["modality"] == "image"


def test_a_joint_model_reads_picture_words_and_instruction_together(server: Server) -> None:
    both = Content(text="but blue", image=drawing(1), instruction="Find the same thing.")
    got = embed(encoder(server, ";reads=text-image;joint=true"), [both, TEXTS[0]], "query")
    assert both.image is not None
    want = ["Find the same thing.|" + seen(both) + "|but blue", "a red apple"]
    np.testing.assert_allclose(got, unit(want), atol=1e-6)
    assert [m["role"] for m in server.requests[0][2]["messages"]] == ["system", "user"]


def test_what_it_does_not_read_is_refused_before_any_request(server: Server) -> None:
    with pytest.raises(CannotRead):
        embed(encoder(server), PICTURES, "item")
    assert not server.requests


def test_the_key_comes_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_SERVERS_KEY", raising=False)
    spec = f"http:m;url={server.url};dim={DIM};key_env=A_SERVERS_KEY"
    assert "A_SERVERS_KEY" in catalog.missing(spec)
    with pytest.raises(EncoderUnavailable, match="A_SERVERS_KEY"):
        catalog.load(spec)
    monkeypatch.setenv("A_SERVERS_KEY", "open sesame")
    embed(encoder(server, ";key_env=A_SERVERS_KEY"), TEXTS[:1], "item")
    assert server.requests[0][1]["Authorization"] == "Bearer open sesame"
    embed(encoder(server), TEXTS[:1], "item")
    assert "Authorization" not in server.requests[1][1]


def test_trouble_that_passes_is_waited_out_twice_as_long_each_time(server: Server) -> None:
    waits: list[float] = []
    server.script = [says(500, "starting"), lambda body: None, says(503), embeddings]
    got = embed(encoder(server, waits=waits), TEXTS[:1], "item")
    np.testing.assert_allclose(got, unit(["a red apple"]), atol=1e-6)
    assert waits == [0.5, 1.0, 2.0]


def test_the_server_says_how_long_to_wait(server: Server) -> None:
    waits: list[float] = []
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    server.script = [says(429, Retry_After="7"), says(429, Retry_After=later), says(429, Retry_After="soon")]
    embed(encoder(server, waits=waits), TEXTS[:1], "item")
    assert waits[0] == 7
    assert 25 < waits[1] <= 30
    assert waits[2] == 2
    server.script = [says(429, "busy until tomorrow", Retry_After="86400")]
    with pytest.raises(EncoderUnavailable, match=r"429: busy until tomorrow.*86400 s"):
        embed(encoder(server), TEXTS[:1], "item")


def test_trouble_that_stays_names_address_status_and_reason(server: Server) -> None:
    waits: list[float] = []
    server.script = [says(502, "bad gateway\nsecond line")] * 3
    with pytest.raises(EncoderUnavailable) as raised:
        embed(encoder(server, ";retries=2", waits), TEXTS[:1], "item")
    said = str(raised.value)
    assert all(part in said for part in (f"{server.url}/embeddings", "status 502: bad gateway", "3 tries"))
    assert "second line" not in said
    assert waits == [0.5, 1.0]


def test_a_server_that_hangs_is_given_up(server: Server) -> None:
    def hang(body: dict[str, Any]) -> Answer | None:
        server.release.wait(30)
        return None

    server.script = [hang, hang]
    with pytest.raises(EncoderUnavailable, match=r"2 tries \(ReadTimeout.*timeout="):
        embed(encoder(server, ";timeout=0.1;retries=1"), TEXTS[:1], "item")
    server.script = [hang]
    assert len(embed(encoder(server, ";timeout=0.5"), TEXTS[:1], "item")) == 1


def test_a_server_that_is_not_there_is_told(server: Server) -> None:
    gone = Server()
    gone.close()
    with pytest.raises(EncoderUnavailable, match=r"ConnectError.*is the server running"):
        embed(encoder(gone, ";retries=0"), TEXTS[:1], "item")


@pytest.mark.parametrize(("status", "way"), [(401, "key_env"), (404, "some/model"), (307, "the model fit")])
def test_a_refusal_is_not_tried_again(server: Server, status: int, way: str) -> None:
    server.script = [says(status, '{"error": "no"}')]
    with pytest.raises(EncoderUnavailable, match=rf"status {status}.*{way}"):
        embed(encoder(server), TEXTS[:1], "item")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 422])
def test_a_content_that_the_server_does_not_take_is_told_in_its_words(server: Server, status: int) -> None:
    server.script = [says(status, "this model reads 512 tokens\nat /srv/model.py")]
    with pytest.raises(CannotRead, match=rf"status {status}: this model reads 512 tokens\).*style=") as raised:
        embed(encoder(server), TEXTS[:1], "item")
    assert "/srv" not in str(raised.value)
    assert len(server.requests) == 1


def test_one_text_too_long_for_the_server_costs_itself_alone(server: Server, tmp_path: Path) -> None:
    def short(body: dict[str, Any]) -> Answer:
        return (400, {}, b"at most 512 tokens") if any("endless" in t for t in body["input"]) else embeddings(body)

    server.script = [short] * 32
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a calm sea", "an endless story", "the red boat", "snow"):
        (folder / f"{name}.txt").write_text(f"Of {name}.")
    library = Library.create(tmp_path / "library", [f"http:some/model;url={server.url};dim={DIM}"])
    counts = add(library, folder)
    assert (counts.stored, counts.failed) == (3, 1)
    ((path, reason),) = counts.failures
    assert Path(path).name == "an endless story.txt"
    assert "at most 512 tokens" in reason


def test_a_request_that_is_too_large_is_halved(server: Server) -> None:
    def small(body: dict[str, Any]) -> Answer:
        return embeddings(body) if len(body["input"]) <= 1 else (413, {}, b"too large")

    server.script = [small] * 16
    got = embed(encoder(server), TEXTS, "item")
    np.testing.assert_allclose(got, unit(["a red apple", "ein Hund", " ", "a red apple"]), atol=1e-6)
    server.script = [says(413)] * 4
    with pytest.raises(OutOfMemory):
        embed(encoder(server), TEXTS[:1], "item")


def entries(*pairs: tuple[Any, Any]) -> str:
    return json.dumps({"data": [{"index": index, "embedding": row} for index, row in pairs]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entries((0, [1.0, 2.0])), r"\(2,\).*dim=4.*shorten=true"),
        (entries((1, [1.0] * DIM)), r"places \[1\] where 1"),
        (entries((0, [1.0] * DIM), (0, [1.0] * DIM)), r"places \[0, 0\] where 1"),
        (entries(), r"places \[\] where 1"),
        (entries((0, ["x"] * DIM)), "no embeddings"),
        (entries((0, "not base64!")), "no embeddings"),
        (entries((0, None)), "dim=4|no embeddings"),
        ("<html>a proxy's page</html>", "a proxy's page"),
        ('{"error": "out of luck"}', "out of luck"),
        ("[]", "no embeddings"),
        ("", "nothing"),
        (entries((0, [float("nan")] * DIM)), "not finite"),
    ],
)
def test_an_answer_without_the_vectors_is_refused(server: Server, text: str, message: str) -> None:
    server.script = [says(200, text)]
    with pytest.raises(BadVectors, match=message):
        embed(encoder(server), TEXTS[:1], "item")


def test_a_model_that_can_is_asked_for_shorter_vectors(server: Server) -> None:
    embed(encoder(server, ";shorten=true"), TEXTS[:1], "item")
    assert server.requests[0][2]["dimensions"] == DIM


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("http:m", "url="),
        ("http:m;url=127.0.0.1:8000;dim=4", "url="),
        ("http:m;url=http://127.0.0.1/v1", "dim=1536"),
        ("http:m;url=http://127.0.0.1/v1;dim=many", "dim=many"),
        ("http:m;url=http://127.0.0.1/v1;dim=4;timeout=-1", "timeout=-1"),
        ("http:m;url=http://127.0.0.1/v1;dim=4;reads=image;style=openai", "style=vllm"),
        ("http:m;url=http://127.0.0.1/v1;dim=4;joint=true", "joint=true"),
    ],
)
def test_specs_that_say_too_little_are_refused_with_the_way_out(spec: str, message: str) -> None:
    with pytest.raises(EncoderUnavailable, match=message):
        catalog.card(spec)


def test_the_card_says_what_the_spec_says(server: Server) -> None:
    spec = f"http:Qwen/Qwen3-VL-Embedding-2B;url={server.url};dim=2048;reads=text-image;joint=true;version=3"
    card = catalog.card(spec)
    assert (card.dim, card.reads, card.joint, card.revision) == (2048, {"text", "image"}, True, "3")
    assert server.url in card.promise
    assert "nothing to fetch" in catalog.pull(spec)
    assert not server.requests
