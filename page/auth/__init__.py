"""Who may open the page: a file with one `user:hash` a line, made by `python -m page.auth NAME >> FILE`."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path

from mmretrieval.errors import RetrievalError

# scrypt's cost: 16 MB and some 50 ms a try.
COST, BLOCK, PARALLEL = 2**14, 8, 1
MAKE = "make a line with `python -m page.auth NAME >> FILE`"


def line(user: str, password: str) -> str:
    """The line that lets `user` in with this password; it does not hold the password."""
    if not user or ":" in user or any(c.isspace() for c in user):
        raise RetrievalError(f"{user!r} is no user name: use one without spaces and colons")
    if not password:
        raise RetrievalError("the password is empty: choose one")
    salt = secrets.token_bytes(16)
    return f"{user}:scrypt${salt.hex()}${_digest(password, salt).hex()}"


def read(path: Path) -> Callable[[str, str], bool]:
    """A check of user and password against a file; raises RetrievalError for a file that is missing or malformed."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RetrievalError(f"the auth file {path} cannot be read ({error}): {MAKE}") from None
    known: dict[str, tuple[bytes, bytes]] = {}
    for number, text in enumerate(lines, start=1):
        if text.strip() and not text.startswith("#"):
            user, salt, digest = _parsed(text.strip(), path, number)
            known[user] = (salt, digest)
    if not known:
        raise RetrievalError(f"the auth file {path} lets nobody in: {MAKE}")
    nobody = (secrets.token_bytes(16), b"")

    def allowed(user: str, password: str) -> bool:
        # An unknown user costs the same time as a known one, so that names cannot be guessed by the clock.
        salt, digest = known.get(user, nobody)
        return hmac.compare_digest(_digest(password, salt), digest)

    return allowed


def _parsed(text: str, path: Path, number: int) -> tuple[str, bytes, bytes]:
    user, _, rest = text.partition(":")
    pieces = rest.split("$")
    try:
        if not user or len(pieces) != 3 or pieces[0] != "scrypt":
            raise ValueError
        return user, bytes.fromhex(pieces[1]), bytes.fromhex(pieces[2])
    except ValueError:
        raise RetrievalError(f"{path} line {number} is not USER:scrypt$SALT$HASH: {MAKE}") from None


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=COST, r=BLOCK, p=PARALLEL)
