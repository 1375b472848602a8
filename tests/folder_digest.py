"""What a folder holds, so that two moments of it can be compared: bytes, times and kinds of everything below."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path


def digest_of(folder: Path) -> dict[str, tuple[str, int, str]]:
    """{path below the folder: (mode, time of the last change in ns, sha256 of a file's bytes)}, folders too.

    The folder itself has no time, since SQLite's journal comes and goes in a library's, whoever reads it.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        told = path.lstat()
        held = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = stat.filemode(told.st_mode), told.st_mtime_ns, held
    return found
