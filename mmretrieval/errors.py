"""Every error that a user can meet, as one tree.

RetrievalError                 what happened, the value, the way out: safe to show as it is
+-- UnknownName                a name that no table holds; says the nearest ones
+-- BadRecipe                  the text is no recipe, or stages stand in the wrong order
+-- BadQuery                   a query that cannot be answered (no parts, weights that cancel, unknown item)
+-- BadFilter                  a filter that cannot be understood
+-- EncoderError
|   +-- EncoderUnavailable     weights, package or network missing; says how to get them
|   +-- CannotRead             the encoder does not read this modality
|   +-- BadVectors             an encoder broke its promise (shape, NaN, zero row)
|   +-- OutOfMemory            a batch does not fit; embed() halves it, and raises this where one content does not fit
+-- LibraryError
|   +-- NotALibrary            no library at this path, or of another format version
|   +-- LibraryBusy            another process holds the lock
|   +-- CorruptLibrary         a file inside the library does not hold what the ledger says
+-- StoreError                 an index refused or lost something
+-- MediaError                 a file that cannot be read; the reason is kept in the ledger
+-- DatasetError               an evaluation dataset that breaks its format; names file and line

Anything else that escapes is a bug of this project, and is shown as one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class RetrievalError(Exception):
    """The root: its text is written for the person at the screen."""


class UnknownName(RetrievalError):
    """A name that no table holds."""


class BadRecipe(RetrievalError):
    """The text is not a recipe."""


class BadQuery(RetrievalError):
    """The query cannot be answered."""


class BadFilter(RetrievalError):
    """The filter cannot be understood."""


class EncoderError(RetrievalError):
    """Something about an encoder."""


class EncoderUnavailable(EncoderError):
    """Weights, a package or the network are missing."""


class CannotRead(EncoderError):
    """The encoder does not read this modality."""


class BadVectors(EncoderError):
    """The encoder returned something that is not (n, dim) finite rows."""


class OutOfMemory(EncoderError):
    """A batch of contents does not fit into memory."""


class LibraryError(RetrievalError):
    """Something about the folder of a library."""


class NotALibrary(LibraryError):
    """No library at this path."""


class LibraryBusy(LibraryError):
    """Another process holds the library's lock."""


class CorruptLibrary(LibraryError):
    """A file inside the library does not hold what the ledger says."""


class StoreError(RetrievalError):
    """An index refused or lost something."""


class MediaError(RetrievalError):
    """A file that cannot be read."""


class DatasetError(RetrievalError):
    """An evaluation dataset breaks its format."""


def pick(table: Mapping[str, T], name: str, what: str) -> T:
    """The row called `name`; an unknown name raises UnknownName with the nearest ones and all there are."""
    if name in table:
        return table[name]
    lower = {known.lower(): known for known in table}
    near = [lower[known] for known in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.6)]
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    raise UnknownName(f"no {what} is called {name!r}.{hint} There are: {', '.join(sorted(table)) or 'none'}.")
