"""Paths of this machine as visitors see them: whole for those who may name folders of it, for everybody else by names.

Whoever may name a folder here (`Page.tells_paths`: a page on 127.0.0.1 or behind a password that may change its
library) sees whole paths. All others see them from the name of the library, or of the folder of the files, on. That is
done once, where answers leave the page (page/guard.py). What the log says is whole.
"""

from __future__ import annotations

import html
import os
import re
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mmretrieval.errors import RetrievalError
from mmretrieval.library.ledger import TEXTS

if TYPE_CHECKING:
    from page.state import Page

ROOT = Path(__file__).resolve().parents[1]
# Of more folders with files the folders above them are named, which keeps every answer quick.
MOST_FOLDERS = 64
# The folders of files are looked at again after so many seconds, where the library has changed.
AGAIN_SECONDS = 5.0
# A path inside the spec of an encoder, as in clip-b32;checkpoint=/models/x: it goes up to the next option.
IN_SPEC = re.compile(r"[:=](/[^;@,+]+)")
# Any other path in a sentence: two names at least, each behind a slash; not what follows a scheme or a dot.
ANY = re.compile(r"(?<![\w.:/~<&-])(?:/[\w.@+~-]+){2,}")


class Paths:
    """What stands for the paths of one page's machine."""

    def __init__(self, page: Page) -> None:
        self._page, self._lock = page, threading.Lock()
        self._change, self._looked = -1, 0.0
        self._names: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    # --- on the way out ----------------------------------------------------------------------------------------------

    def shown(self, text: str) -> str:
        """The text with every path that this page knows as it may be shown; paths stand as they are, or as HTML."""
        if self._page.tells_paths or "/" not in text and "%2F" not in text:
            return text
        pattern, names = self._known()
        return pattern.sub(lambda found: names[found[0]], text)

    def told(self, problem: str) -> str:
        """What went wrong, in a sentence: of paths that nobody knows only the last name is left."""
        if self._page.tells_paths:
            return problem
        return ANY.sub(lambda found: PurePosixPath(found[0]).name, self.shown(problem))

    def all_shown(self, value: Any) -> Any:
        """A value of JSON with all its texts as they may be shown; what a browser uploaded keeps its address."""
        return value if self._page.tells_paths else _each(value, self.shown)

    # --- on the way in -----------------------------------------------------------------------------------------------

    def meant(self, value: Any) -> Any:
        """A value of JSON in which encoders are named as they were shown, with what they are called here."""
        if self._page.tells_paths:
            return value
        specs = {self.shown(spec): spec for spec in self._page.library.encoders if IN_SPEC.search(spec)}

        def whole(text: str) -> str:
            for name, spec in specs.items():
                text = text if spec in text else text.replace(name, spec)
            return text

        return _each(value, whole) if specs else value

    def file(self, name: str) -> str:
        """The path of a file of the library that was shown under a name, or the name itself where none was.

        Raises RetrievalError where several files are shown alike.
        """
        ledger = self._page.library.ledger
        if self._page.tells_paths or ledger.file(name) is not None:
            return name
        found = [row.path for row in ledger.files() if self.shown(row.path) == name]
        if len(found) > 1:
            raise RetrievalError(
                f"{len(found)} files are called {name} here: whoever runs the page can tell them apart with "
                "`python -m ingest remove`"
            )
        return found[0] if found else name

    # --- what is known -----------------------------------------------------------------------------------------------

    def _known(self) -> tuple[re.Pattern[str], dict[str, str]]:
        """What finds the known folders in a text, and what stands for each."""
        with self._lock:
            now = time.monotonic()
            if self._pattern is None or now - self._looked > AGAIN_SECONDS:
                self._looked = now
                try:
                    change = self._page.library.ledger.last_change(TEXTS)
                    folders = self._page.library.ledger.folders() if change != self._change else None
                except (RetrievalError, sqlite3.Error):  # it is spoilt, which is about to be said without its path
                    change, folders = self._change, None
                if folders is not None or self._pattern is None:
                    self._change = change
                    self._names = _named([*self._own(), *_tops(folders or ())])
                    self._pattern = _finding(self._names)
            return self._pattern, self._names

    def _own(self) -> list[str]:
        """The folders that belong to the page, and the paths that its encoders are named by."""
        page = self._page
        places = [page.library.path, page.library.caches, page.folder, *([page.dataset.folder] if page.dataset else [])]
        places += [ROOT, Path(os.environ.get("HOME") or "/"), Path(sys.prefix), Path(tempfile.gettempdir())]
        own = [str(form) for place in places for form in (place, place.absolute(), place.resolve())]
        return [*own, *(found for spec in page.library.encoders for found in IN_SPEC.findall(spec))]


def _each(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, (list, tuple)):
        return [_each(one, change) for one in value]
    if isinstance(value, dict):
        uploaded = isinstance(value.get("meta"), dict) and value["meta"].get("_type") == "gradio.FileData"
        return value if uploaded else {_each(key, change): _each(one, change) for key, one in value.items()}
    return value


def _tops(folders: Iterable[str]) -> list[str]:
    """The topmost of the folders; of too many the folders above them."""
    tops = _outermost(folders)
    while len(tops) > MOST_FOLDERS:
        deepest = max(top.count("/") for top in tops)
        if deepest == 1:  # nothing stands above them but the root, which would hide nothing
            break
        tops = _outermost(str(PurePosixPath(top).parent) if top.count("/") == deepest else top for top in tops)
    return tops


def _outermost(folders: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for folder in sorted({folder.rstrip("/") for folder in folders}, key=lambda f: f + "/"):
        if folder.startswith("/") and not (kept and f"{folder}/".startswith(f"{kept[-1]}/")):
            kept.append(folder)
    return kept


def _named(folders: Iterable[str]) -> dict[str, str]:
    """What stands for each folder, in every form in which a text may hold it."""
    found: dict[str, str] = {}
    for folder in folders:
        name = PurePosixPath(folder).name
        if name and folder.startswith("/"):
            for form in (str, html.escape, quote, lambda text: quote(text, safe="")):
                found.setdefault(form(folder), form(name))
    return found


def _finding(names: dict[str, str]) -> re.Pattern[str]:
    some = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w.~-])(?:{some})(?![\w-])")
