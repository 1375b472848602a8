"""Encoders that run elsewhere: an HTTP server with OpenAI's embeddings protocol, such as vLLM or infinity.

Text goes as `input`, many in one request, in every style. Pictures go as data URIs: infinity takes them as `input` with
`modality` "image"; vLLM takes one content a request, as chat-style `messages`, which its model's chat template frames.
With joint=true all contents go that way: what a template adds then stands around words and pictures alike.

Sources: OpenAI API reference, "Create embeddings"; vLLM, "OpenAI-compatible server", multimodal embeddings; infinity's
MultiModalOpenAIEmbedding.
"""

from __future__ import annotations

import base64
import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL.Image import Image

from mmretrieval.errors import BadVectors, CannotRead, EncoderUnavailable, OutOfMemory
from mmretrieval.types import Array, Card, Content, Role
from models.cards.http import endpoint

# Trouble that passes: time-outs, too many requests, and servers that start, restart or are behind a busy gateway.
PASSING = frozenset({408, 429, 500, 502, 503, 504})
TOO_LARGE = 413
# What servers answer to a content that they cannot take, such as a text longer than the model reads.
NOT_TAKEN = frozenset({400, 422})
# The first wait in seconds; each further one is twice as long, up to the longest.
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
# vLLM takes one picture a request, and batches by itself what comes in at once.
AT_ONCE = 8

Body = dict[str, Any]


class Http:
    """Text, a picture, or (joint=true) both at once -> the vector that the server gives for it."""

    def __init__(
        self,
        card: Card,
        files: Mapping[str, Path],
        settings: Mapping[str, Any],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.card = card
        self._endpoint = endpoint(settings)
        self._sleep = sleep
        headers = {}
        if self._endpoint.key_env:
            key = os.environ.get(self._endpoint.key_env)
            if not key:
                raise EncoderUnavailable(
                    f"{card.name}: the environment variable {self._endpoint.key_env} holds no key: set it to the "
                    "server's, or leave key_env out"
                )
            headers["Authorization"] = f"Bearer {key}"
        here = self._endpoint.is_here
        self._client = httpx.Client(headers=headers, timeout=self._endpoint.timeout, trust_env=not here)

    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        """Rows (n, dim) float32, in the order of the contents; the server is not told the role.

        A content's instruction goes along only where contents travel as messages (joint=true); a plain `input` has no
        place for one. Raises EncoderUnavailable where the server cannot be reached or refuses, CannotRead where it
        does not take a content (status 400 or 422), BadVectors where it answers something else than n vectors of `dim`
        numbers, OutOfMemory where a request is too large for it.
        """
        bodies = self._bodies(contents)
        if len(bodies) == 1:
            return self._ask(bodies[0], len(contents))
        with ThreadPoolExecutor(min(AT_ONCE, len(bodies))) as pool:
            return np.concatenate(list(pool.map(lambda body: self._ask(body, 1), bodies)))

    def _bodies(self, contents: Sequence[Content]) -> list[Body]:
        """The requests for these contents: one for all, or one for each where the server takes one at a time."""
        pictures = contents[0].image is not None
        if self._endpoint.joint or (pictures and self._endpoint.style == "vllm"):
            return [self._body(messages=_messages(content)) for content in contents]
        if pictures:
            return [self._body(input=[_data_uri(c.image) for c in contents], modality="image")]
        # Some servers refuse an empty string; a blank is the nearest that they take.
        return [self._body(input=[c.text or " " for c in contents])]

    def _body(self, **fields: Any) -> Body:
        shortened = {"dimensions": self._endpoint.dim} if self._endpoint.shorten else {}
        return {
            "model": self._endpoint.model,
            **fields,
            "encoding_format": self._endpoint.encoding,
            **shortened,
        }

    def _ask(self, body: Body, count: int) -> Array:
        """The vectors of one request, tried again where the trouble may pass."""
        waits = self._endpoint.retries
        for attempt in range(waits + 1):
            try:
                answer = self._client.post(self._endpoint.address, json=body)
            except httpx.TransportError as error:
                trouble, asked = f"{type(error).__name__}: {_first_line(str(error))}", None
                cause: Exception | None = error
            else:
                if answer.status_code == httpx.codes.OK:
                    return self._rows(answer, count)
                trouble, asked = f"status {answer.status_code}: {_first_line(answer.text)}", _retry_after(answer)
                cause = None
                if answer.status_code not in PASSING:
                    raise self._refused(answer.status_code, trouble)
            pause = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) if asked is None else asked
            if attempt == waits or pause > LONGEST_WAIT:
                raise EncoderUnavailable(
                    f"{self.card.name}: {self._endpoint.address} did not answer after {attempt + 1} tries ({trouble})"
                    + (f"; it asks to be left alone for {pause:.0f} s" if pause > LONGEST_WAIT else "")
                    + ": is the server running, and does url= name it? timeout= and retries= give it longer"
                ) from cause
            self._sleep(pause)
        raise AssertionError("the last try either returns or raises")

    def _refused(self, status: int, trouble: str) -> EncoderUnavailable | CannotRead | OutOfMemory:
        said = f"{self.card.name}: {self._endpoint.address} refused ({trouble})"
        if status == TOO_LARGE:
            return OutOfMemory(f"{said}: send less at once")
        if status in NOT_TAKEN:
            return CannotRead(f"{said}: is it longer than the model reads, or do style= and reads= not fit the server?")
        ways = {401: "set key_env to the variable that holds its key", 403: "does the key allow this model?"}
        ways[404] = f"does it serve {self._endpoint.model!r}, and does url= end where its API begins (as in .../v1)?"
        return EncoderUnavailable(f"{said}: {ways.get(status, 'do style=, reads= and the model fit the server?')}")

    def _rows(self, answer: httpx.Response, count: int) -> Array:
        """The vectors of an answer, in the order of their `index`."""
        try:
            data = answer.json()["data"]
            places = [int(entry["index"]) for entry in data]
            rows = [_vector(entry["embedding"]) for entry in data]
        except (ValueError, KeyError, TypeError) as error:
            raise self._bad(f"no embeddings but {_first_line(answer.text)!r} ({type(error).__name__})") from error
        if sorted(places) != list(range(count)):
            raise self._bad(f"vectors for the places {places} where {count} were asked for")
        wrong = {row.shape for row in rows} - {(self._endpoint.dim,)}
        if wrong:
            raise self._bad(
                f"vectors of the shape {', '.join(map(str, sorted(wrong)))} where dim={self._endpoint.dim} was said: "
                "give the dim that the model has, or shorten=true if it can shorten its vectors"
            )
        return np.stack([rows[places.index(place)] for place in range(count)])

    def _bad(self, what: str) -> BadVectors:
        return BadVectors(f"{self.card.name}: {self._endpoint.address} answered with {what}")


def _messages(content: Content) -> list[Body]:
    """A content as vLLM's chat-style request has it: pictures before words, an instruction as the system's."""
    parts: list[Body] = []
    if content.image is not None:
        parts.append({"type": "image_url", "image_url": {"url": _data_uri(content.image)}})
    if content.text is not None:
        parts.append({"type": "text", "text": content.text})
    told = [{"role": "system", "content": content.instruction}] if content.instruction else []
    return [*told, {"role": "user", "content": parts}]


def _data_uri(picture: Image | None) -> str:
    assert picture is not None  # embed() hands over contents that hold what they say
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _vector(embedding: Any) -> Array:
    """A vector as servers write it: a list of numbers, or base64 of float32, lowest byte first."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
    return np.asarray(embedding, dtype=np.float32)


def _retry_after(answer: httpx.Response) -> float | None:
    """The seconds that the server asks to wait, given as such or as a date; None where it does not say."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing"])[0][:200]
