"""What people thought of results, kept with the library: grades of items, and which of two lists was better.

They stand in `judgements.jsonl`, one JSON object a line, to which lines are only ever added; the last one said of a
query and an item holds. Ingesting, removing and indexing do not touch the file: an item's id is that of its bytes and
place, so what was judged is found again when the files come back. Pictures that queries showed are kept beside it, in
`judgements/`, each once, under the sha256 of its bytes.

A line is written whole or not at all: writers wait for `judgements.lock`, and flush to disk before they say that it is
done. What a killed writer left behind its last line's end is not read, and goes with the next line written.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mmretrieval.errors import CorruptLibrary, LibraryError, UnknownName
from mmretrieval.library.locks import FolderLock
from mmretrieval.library.parts import sync_folder

FILE, FOLDER, LOCK = "judgements.jsonl", "judgements", "judgements.lock"
Choice = Literal["left", "right", "tie"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
PartKind = Literal["words", "picture", "item"]
PART_KINDS: tuple[PartKind, ...] = get_args(PartKind)
# What each grade says of an item as the answer to a query; from 1 it is relevant.
GRADES: tuple[str, ...] = ("not relevant", "partly relevant", "relevant", "just what was asked")


@dataclass(frozen=True, order=True)
class JudgedPart:
    """One part of a query: words, a picture by the name under which it is kept, or an item's id.

    `fragment` is a place in it (see mmretrieval.fragments); `feedback`: an item that was liked or disliked.
    """

    kind: PartKind
    value: str
    weight: float = 1.0
    fragment: str = ""
    feedback: bool = False


@dataclass(frozen=True)
class JudgedQuery:
    """A query as it was asked; two that differ in the order of their parts alone are one."""

    parts: tuple[JudgedPart, ...]
    kinds: tuple[str, ...] = ()
    conditions: str = ""
    within: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The query as text: equal for equal questions, and `read_query` reads it back."""
        parts = [{k: v for k, v in asdict(part).items() if v} for part in sorted(self.parts) if part.weight]
        held = {"parts": parts, "kinds": sorted(set(self.kinds)), "conditions": self.conditions.strip()}
        held["within"] = sorted(set(self.within))
        return json.dumps({k: v for k, v in held.items() if v}, sort_keys=True, ensure_ascii=False)

    @property
    def id(self) -> str:
        """A short name without white space: `q-` and 12 hex digits of the text's sha256."""
        return f"q-{hashlib.sha256(self.text.encode()).hexdigest()[:12]}"


def read_query(text: str) -> JudgedQuery:
    """The query that a text stands for; ValueError or TypeError where it is none."""
    held = json.loads(text)
    parts = tuple(JudgedPart(**part) for part in held["parts"])
    if not parts or any(part.kind not in PART_KINDS for part in parts):
        raise ValueError("the query has no parts, or parts of no known kind")
    within = tuple(map(str, held.get("within", ())))
    return JudgedQuery(parts, tuple(held.get("kinds", ())), str(held.get("conditions", "")), within)


@dataclass(frozen=True)
class Grade:
    """What was said of an item as the answer to a query (its text); None takes an earlier grade back."""

    query: str
    item: str
    grade: int | None
    at: str


@dataclass(frozen=True)
class Preference:
    """Which of two recipes' lists was better for a query (its text), asked without naming them.

    `left` and `right` are the recipes as they stood; `run` is the same for all choices of one sitting.
    """

    query: str
    left: str
    right: str
    choice: Choice
    run: str
    at: str


class Judgements:
    """The judgements of the library in a folder. Any number of threads and processes may use them at once."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self.file = library / FILE

    def judge(self, query: JudgedQuery, item: str, grade: int | None) -> Grade:
        """Keeps a grade from 0 to 3, or takes the last one back (None); it is on disk when this returns."""
        if grade is not None and (isinstance(grade, bool) or grade not in range(len(GRADES))):
            raise LibraryError(f"{grade!r} is no grade: give a whole number from 0 to {len(GRADES) - 1}")
        made = Grade(query.text, item, grade, _now())
        self._append({"judged": asdict(made)})
        return made

    def prefer(self, query: JudgedQuery, left: str, right: str, choice: Choice, run: str) -> Preference:
        """Keeps which list was better; it is on disk when this returns."""
        if choice not in CHOICES:
            raise LibraryError(f"{choice!r} is no choice: give one of {', '.join(CHOICES)}")
        made = Preference(query.text, left, right, choice, run, _now())
        self._append({"preferred": asdict(made)})
        return made

    def grades(self) -> dict[str, dict[str, int]]:
        """{query's text: {item: grade}} as they hold now, in the order in which queries were first judged."""
        found: dict[str, dict[str, int]] = {}
        for made in self._read():
            if isinstance(made, Preference):
                continue
            held = found.setdefault(made.query, {})
            if made.grade is None:
                held.pop(made.item, None)
            else:
                held[made.item] = made.grade
        return {query: held for query, held in found.items() if held}

    def of(self, query: JudgedQuery) -> dict[str, int]:
        """{item: grade} of one query."""
        return self.grades().get(query.text, {})

    def preferences(self) -> list[Preference]:
        """Every choice between two lists, the earliest first."""
        return [made for made in self._read() if isinstance(made, Preference)]

    # --- pictures that queries showed --------------------------------------------------------------------------------

    def keep(self, picture: Path) -> str:
        """Keeps a copy of a query's picture; gives its name, the sha256 of its bytes."""
        with picture.open("rb") as stream:
            name = hashlib.file_digest(stream, "sha256").hexdigest()
        kept = self.library / FOLDER / name
        if kept.exists():
            return name
        with self._lock():
            kept.parent.mkdir(exist_ok=True)
            temporary = kept.with_name(f".{name}.tmp")
            shutil.copyfile(picture, temporary)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.rename(kept)
            sync_folder(kept.parent)
        return name

    def picture(self, name: str) -> Path:
        """Where a query's picture is kept; UnknownName for a name that is none of ours."""
        known = len(name) == 64 and all(c in "0123456789abcdef" for c in name)
        path = self.library / FOLDER / name
        if not known or not path.is_file():
            raise UnknownName(f"no picture {name[:80]!r} is kept with the judgements of {self.library}")
        return path

    # --- the file ----------------------------------------------------------------------------------------------------

    def _lock(self) -> FolderLock:
        return FolderLock(self.library / LOCK, f"the judgements of {self.library}", wait=True)

    def _append(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False, sort_keys=True).encode() + b"\n"
        with self._lock(), self.file.open("ab") as sink:
            if torn := self._torn():
                sink.truncate(sink.tell() - torn)
            sink.write(line)
            sink.flush()
            os.fsync(sink.fileno())
            if sink.tell() == len(line):  # the file is new: its name has to be on disk as well
                sync_folder(self.library)

    def _torn(self) -> int:
        """How many bytes stand behind the end of the last whole line."""
        size = self.file.stat().st_size
        with self.file.open("rb") as source:
            back = min(size, 1)
            source.seek(size - back)
            if source.read(back) in (b"", b"\n"):
                return 0
        data = self.file.read_bytes()
        return len(data) - (data.rfind(b"\n") + 1)

    def _read(self) -> Iterator[Grade | Preference]:
        try:
            data = self.file.read_bytes()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
            try:
                record = json.loads(line)
                made = Grade(**record["judged"]) if "judged" in record else Preference(**record["preferred"])
            except (ValueError, TypeError, KeyError) as error:
                raise CorruptLibrary(
                    f"{self.file}:{number}: {line[:80].decode(errors='replace')!r} is no judgement ({error}): correct "
                    "the line, or take it out"
                ) from error
            yield made


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
