"""The sha256 of files, each computed once a process as long as its size and time of change stay the same."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    state = path.stat()
    return _sha256(str(path), state.st_size, state.st_mtime_ns)


@functools.cache
def _sha256(path: str, size: int, mtime_ns: int) -> str:  # noqa: ARG001  # size and time only key the cache
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
