"""From paths to sources: which files are looked at, and the words that captions give them.

A caption comes from NAME.json or NAME.txt beside a media file of the same stem, else from the nearest captions.jsonl
in a folder at or above it that names the file: which folder was given to the walk changes no caption. Caption files,
ATTRIBUTION.md, subtitle files, evaluation files and hidden files are not sources themselves, and neither is anything
inside a library.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmretrieval.errors import MediaError, RetrievalError
from mmretrieval.media import KINDS, subtitles

NOT_SOURCES = frozenset(
    {"attribution.md", "captions.jsonl", "corpus.jsonl", "queries.jsonl", "bank.jsonl", "qrels.tsv", "dataset.toml"}
)
SIDECARS = (".json", ".txt")
# Deeper metadata is no description of a file, and SQLite's JSON functions give up at 1000.
NESTED = 32
# What may have a sidecar: everything but passages.
CAPTIONED = frozenset(s for name, kind in KINDS.items() if name != "text" for s in kind.suffixes)


@dataclass(frozen=True)
class Source:
    """One file to ingest, with the words given to it; `data` holds the text where there is no file behind `path`.

    `beside` changes when its subtitle file does. `problem` says why its own caption cannot be read: the file then
    counts as failed, and nothing is guessed. `unsure`: it has no caption, but a line that cannot be read may be its.
    """

    path: str
    caption: str = ""
    lang: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    data: bytes | None = None
    beside: str = ""
    problem: str = ""
    unsure: bool = False


def walk(paths: Iterable[Path | str]) -> Iterator[Source]:
    """The sources below the paths, each once, in sorted order.

    A folder that cannot be listed, and a captions.jsonl with a bad line, is a source with a problem. Raises
    RetrievalError for a path that is not there, or is neither a file nor a folder.
    """
    seen: set[str] = set()
    captions = _Captions()
    for given in paths:
        root = spelled(given)
        if not root.exists():
            raise RetrievalError(f"{given} does not exist: name a file or a folder")
        if not root.is_file() and not root.is_dir():
            raise RetrievalError(f"{given} is neither a file nor a folder: name one")
        unread: list[OSError] = []
        for path in _files(root, unread):
            if str(path) not in seen:
                seen.add(str(path))
                yield captions.source(path)
        for error in unread:
            if str(error.filename) not in seen:
                seen.add(str(error.filename))
                yield Source(str(error.filename), problem=f"the folder cannot be listed: {error.strerror}")
    for file, problem in captions.problems():
        yield Source(str(file), problem=problem)


def trouble(path: Path) -> str:
    """What is wrong now with a folder or a captions.jsonl that a walk has complained of; nothing where all is well."""
    if path.is_dir():
        return "" if os.access(path, os.R_OK | os.X_OK) else "the folder cannot be listed"
    return _problem(path, _read_captions(path)[1]) if path.name == "captions.jsonl" and _exists(path) else ""


def spelled(path: Path | str) -> Path:
    """The one spelling under which a library knows a path: absolute, without `.` and `..`, links not followed."""
    return Path(os.path.normpath(Path(path).expanduser().absolute()))


def _files(root: Path, unread: list[OSError]) -> Iterator[Path]:
    """Regular files below the root in sorted order; hidden ones, libraries and links to folders are left out."""
    if root.is_file():
        yield root
        return
    for folder, names, files in os.walk(root, onerror=unread.append):
        if "library.toml" in files and "ledger.sqlite" in files:
            names.clear()  # its thumbnails are no pictures of anybody's
            continue
        # Beside a dataset.toml, assets/ holds what queries show, not what they look for.
        queries = {"assets"} if "dataset.toml" in files else set()
        names[:] = sorted(n for n in names if not n.startswith(".") and n not in queries)
        media = {Path(f).stem for f in files if Path(f).suffix.lower() in CAPTIONED}
        for name in sorted(files):
            path = Path(folder) / name
            suffix, about_media = path.suffix.lower(), path.stem in media
            if name.startswith(".") or name.lower() in NOT_SOURCES or not _is_file(path):
                continue
            if suffix in subtitles.SUFFIXES or (suffix in SIDECARS and about_media):
                continue
            yield path


def _is_file(path: Path) -> bool:
    """Whether there is a regular file, or one that only its reading will show: a folder may list what it hides."""
    try:
        return path.is_file()
    except PermissionError:
        return True


class _Captions:
    """Reads caption files, each once, on demand."""

    def __init__(self) -> None:
        self.tables: dict[Path, dict[str, dict[str, Any]]] = {}
        self.bad: dict[Path, list[str]] = {}

    def source(self, path: Path) -> Source:
        try:
            words = self._sidecar(path) or self._listed(path)
            source = _source(path, words or {})
        except MediaError as error:
            return Source(str(path), problem=str(error))
        return replace(source, unsure=words is None and any(folder in self.bad for folder in path.parents))

    def problems(self) -> list[tuple[Path, str]]:
        """The caption files that hold lines which cannot be read, and why."""
        files = ((folder / "captions.jsonl", bad) for folder, bad in sorted(self.bad.items()))
        return [(file, _problem(file, bad)) for file, bad in files]

    def _sidecar(self, path: Path) -> dict[str, Any] | None:
        if path.suffix.lower() not in CAPTIONED:
            return None
        for suffix in SIDECARS:
            for written in (path.with_suffix(suffix), path.with_suffix(suffix.upper())):
                if _exists(written):
                    text = _text(written)
                    return _object(text, written, 1) if suffix == ".json" else {"caption": text.strip()}
        return None

    def _listed(self, path: Path) -> dict[str, Any] | None:
        for folder in path.parents:
            entry = self._table(folder).get(path.relative_to(folder).as_posix())
            if entry is not None:
                return entry
        return None

    def _table(self, folder: Path) -> dict[str, dict[str, Any]]:
        if folder not in self.tables:
            file = folder / "captions.jsonl"
            self.tables[folder], bad = _read_captions(file) if _exists(file) else ({}, [])
            if bad:
                self.bad[folder] = bad
        return self.tables[folder]


def _exists(file: Path) -> bool:
    """Whether there is such a file that this user may see at all."""
    return os.access(file, os.F_OK) and file.is_file()


def _read_captions(file: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The entries by path, and what is wrong with each line that is none."""
    table: dict[str, dict[str, Any]] = {}
    bad: list[str] = []
    try:
        text = _text(file)
    except MediaError as error:
        return {}, [str(error)]
    # Not splitlines: a caption may hold characters that it takes for line ends, such as U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = _object(line, file, number)
            path = entry.pop("path", None)
            if not isinstance(path, str) or not path:
                raise MediaError(
                    f'{file} line {number} has no "path": write the file it describes, relative to {file.parent}'
                )
            table[Path(path).as_posix()] = entry
        except MediaError as error:
            bad.append(str(error))
    return table, bad


def _problem(file: Path, bad: Sequence[str]) -> str:
    more = f", and {len(bad) - 1} more lines cannot be read" if len(bad) > 1 else ""
    return f"{bad[0]}{more}; files without a caption keep the one they had" if bad else ""


def _object(text: str, file: Path, number: int) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise MediaError(
            f"{file} line {number + error.lineno - 1} is not JSON ({error.msg}): mend the caption file"
        ) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets in brackets in brackets
        raise MediaError(f"{file} line {number} cannot be read ({error}): mend the caption file") from None
    if not isinstance(value, dict):
        raise MediaError(f'{file} line {number} holds {value!r}: a caption is an object with a "caption"')
    return value


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(f"the caption file {file} cannot be read as UTF-8: {error}") from None


def _source(path: Path, words: Mapping[str, Any]) -> Source:
    caption, lang = words.get("caption", ""), words.get("lang", "")
    if not isinstance(caption, str) or not isinstance(lang, str):
        raise MediaError(f"the caption of {path} is {caption!r} in {lang!r}: both are strings")
    meta = {k: v for k, v in words.items() if k not in ("caption", "lang", "path")}
    problem = _unstorable([caption, lang, meta])
    if problem:
        raise MediaError(f"the caption of {path} holds {problem}: mend the caption file")
    return Source(str(path), caption.strip(), lang, meta, beside=beside(path))


def _unstorable(value: Any, depth: int = 0) -> str:
    """What in a caption's JSON no store could keep as it is, or nothing."""
    match value:
        case list() | dict() if depth > NESTED:
            return f"lists or objects more than {NESTED} deep"
        case str() if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
            return f"the characters {ascii(value)[:80]}, which are no text"
        case float() if not math.isfinite(value):
            return f"the number {value}"
        case int() if abs(value) >= 2**63:
            return f"the number {value}, which is beyond 64 bits"
        case list() | dict():
            inside = [*value, *value.values()] if isinstance(value, dict) else value
            return next((problem for v in inside if (problem := _unstorable(v, depth + 1))), "")
    return ""


def beside(path: Path) -> str:
    """Name, size and time of a video's subtitle file: it is cut into its words."""
    if path.suffix.lower() not in KINDS["video"].suffixes:
        return ""
    found = subtitles.beside(path)
    return f"{found.name}:{found.stat().st_size}:{found.stat().st_mtime_ns}" if found else ""
