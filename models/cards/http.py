"""What a spec says of a server that speaks OpenAI's embeddings protocol: vLLM, infinity, or any other.

`http:MODEL;url=http://127.0.0.1:8000/v1;dim=1536;reads=text-image`. Nothing is asked of the server here, so the spec
says what a checkpoint's files say of the other families: how long the vectors are, and what the model reads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from mmretrieval.errors import EncoderUnavailable

STYLES = {"openai": "OpenAI's protocol", "vllm": "vLLM", "infinity": "infinity"}
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """Where the server listens, in seconds how long it may take, and what is asked of it in which form."""

    model: str
    url: str
    dim: int
    reads: tuple[str, ...]
    style: str
    joint: bool
    key_env: str
    timeout: float
    retries: int
    encoding: str
    shorten: bool

    @property
    def address(self) -> str:
        """The address that requests go to."""
        return self.url.rstrip("/") + "/embeddings"

    @property
    def is_here(self) -> bool:
        """Whether the server runs on this machine: no proxy stands before it."""
        return urlsplit(self.url).hostname in LOOPBACK


def endpoint(settings: Settings) -> Endpoint:
    """The endpoint that the settings name; raises EncoderUnavailable for one that lacks something or cannot be."""
    model, url = str(settings.get("model", "")), str(settings.get("url", ""))
    if not model or not _is_address(url):
        raise EncoderUnavailable(
            f"http:{model or 'MODEL'} needs the address of a server, not {url!r}: "
            "add url=http://HOST:PORT/v1, as in http:MODEL;url=http://127.0.0.1:8000/v1;dim=1536"
        )
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise EncoderUnavailable(
            f"http:{model}: the address holds a password, which would be written wherever the encoder is named: put a "
            "key into an environment variable, and name that with key_env=NAME"
        )
    style, reads = str(settings.get("style", "vllm")), tuple(str(settings.get("reads", "text")).split("-"))
    joint = settings.get("joint") == "true"
    if "image" in reads and style == "openai":
        raise EncoderUnavailable(
            f"http:{model}: OpenAI's protocol has no pictures: add style=vllm or style=infinity, or reads=text"
        )
    if joint and (style != "vllm" or set(reads) != {"text", "image"}):
        raise EncoderUnavailable(f"http:{model}: joint=true is read by style=vllm with reads=text-image alone")
    return Endpoint(
        model=model,
        url=url,
        dim=int(_number(settings, "dim", None, 1, whole=True)),
        reads=reads,
        style=style,
        joint=joint,
        key_env=str(settings.get("key_env", "")),
        timeout=_number(settings, "timeout", "60", 0.001),
        retries=int(_number(settings, "retries", "4", 0, whole=True)),
        encoding=str(settings.get("encoding", "float")),
        shorten=settings.get("shorten") == "true",
    )


def describe(settings: Settings) -> dict[str, Any]:
    """The facts of a card, as the spec states them; the licence and the weights are the server's business."""
    found = endpoint(settings)
    return {
        "dim": found.dim,
        "reads": list(found.reads),
        "joint": found.joint,
        "licence": "unknown",
        "revision": str(settings.get("version", "as served")),
        "preprocessing": "the server's own; pictures travel as PNG, without loss",
        "runtime": f"{STYLES[found.style]} at {found.url}",
        "promise": f"{found.model}, embedded by the server at {found.url}",
        "missing": missing(settings),
    }


def missing(settings: Settings) -> str:
    """Which environment variable holds no key, or ""; whether the server answers shows when it is asked."""
    name = str(settings.get("key_env", ""))
    if name and not os.environ.get(name):
        return f"needs the server's key in the environment variable {name}"
    return ""


def pull(settings: Settings) -> str:
    """Nothing: the weights are where the server is."""
    return f"nothing to fetch: the weights are with the server at {endpoint(settings).url}"


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is none
        return False


def _number(settings: Settings, name: str, default: str | None, least: float, whole: bool = False) -> float:
    text = str(settings.get(name, default))
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf") or (whole and value != int(value)):
        raise EncoderUnavailable(
            f"http:{settings['model']}: {name}={settings.get(name, '')} is no {'whole ' if whole else ''}number "
            f"from {least:g} on"
            + (": how long are the model's vectors? Add it, as in dim=1536" if name == "dim" else "")
        )
    return value
