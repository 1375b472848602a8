"""A dataset's folder read strictly: every breach of the format is named by file, line, value and way out.

`load` raises DatasetError at a dataset that breaks its format; `read` goes on and lists every problem.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from eval.dataset import Asked, AskedPart, Dataset, Entry
from eval.metrics import METRICS
from mmretrieval.errors import BadFilter, DatasetError
from mmretrieval.filters import parse_filter

HEADER = ("query-id", "corpus-id", "score")
TOML_KEYS = ("name", "licence", "source", "task", "main_metric")
CORPUS_KEYS = ("id", "path", "text", "kind", "meta")
QUERY_KEYS = ("id", "parts", "exclude", "subset", "filter")
PART_KEYS = ("text", "image", "weight", "instruction")


@dataclass(frozen=True)
class Problem:
    """What is wrong where; line 0 is the file as a whole."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


@dataclass(frozen=True)
class Draft:
    """A dataset as far as it could be read, every breach of the format in it, and {(file, id): line}."""

    dataset: Dataset
    problems: tuple[Problem, ...]
    lines: Mapping[tuple[str, str], int]


def load(folder: Path, *, files: bool = True) -> Dataset:
    """The dataset in a folder; `files=False` does not look whether the media are there. Raises DatasetError."""
    draft = read(folder, files=files)
    if draft.problems:
        first, more = draft.problems[0], len(draft.problems) - 1
        rest = f" (and {more} more: `python -m eval check {folder}` lists them)" if more else ""
        raise DatasetError(f"{folder}/{first}{rest}")
    return draft.dataset


def read(folder: Path, *, files: bool = True) -> Draft:
    """Reads all there is and goes on after every problem; they come in the order of files and lines."""
    if not folder.is_dir():
        parts = "dataset.toml, corpus.jsonl, queries.jsonl and qrels.tsv"
        raise DatasetError(f"{folder} is no folder: a dataset is a folder with {parts}")
    reader = _Reader(folder, files)
    head = reader.head()
    corpus = reader.corpus()
    known = reader.ids("corpus.jsonl")
    queries = reader.queries("queries.jsonl", known)
    bank = reader.queries("bank.jsonl", known) if (folder / "bank.jsonl").exists() else ()
    qrels = reader.qrels(reader.ids("queries.jsonl"), known)
    dataset = Dataset(folder, **head, corpus=corpus, queries=queries, qrels=qrels, bank=bank)
    return Draft(dataset, tuple(reader.problems), reader.lines)


class _BreachError(Exception):
    """One problem of the line being read."""


@dataclass
class _Reader:
    folder: Path
    files: bool
    problems: list[Problem] = field(default_factory=list)
    lines: dict[tuple[str, str], int] = field(default_factory=dict)  # (file, id) -> where it was first

    # --- the files ---------------------------------------------------------------------------------------------

    def head(self) -> dict[str, str]:
        name = "dataset.toml"
        try:
            data = tomllib.loads((self.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            self._say(name, 0, f"is missing: write one with {', '.join(TOML_KEYS)}")
            data = {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self._say(name, 0, f"is not TOML: {error}")
            data = {}
        else:
            for key in TOML_KEYS:
                if not isinstance(data.get(key), str) or not data[key].strip():
                    self._say(name, 0, f'{key} is {data.get(key)!r}: give it as text, as in {key} = "..."')
            metric = data.get("main_metric")
            if isinstance(metric, str) and metric.strip() and metric not in METRICS:
                self._say(name, 0, f"main_metric {metric!r} is no metric: use one of {', '.join(METRICS)}")
        return {key: str(data.get(key, "")) for key in TOML_KEYS}

    def corpus(self) -> tuple[Entry, ...]:
        found: dict[str, Entry] = {}
        by_path: dict[Path, Entry] = {}
        for number, record in self._records("corpus.jsonl"):
            try:
                entry = self._entry(record, self._id("corpus.jsonl", number, record))
                if entry.path is not None:
                    first = by_path.setdefault(entry.path, entry)
                    if (first.text, first.meta) != (entry.text, entry.meta):
                        _breach(
                            f"{record['path']!r} is also the file of {first.id!r}, with another text or meta: "
                            "one file is one item, so give both the same words"
                        )
            except _BreachError as breach:
                self._say("corpus.jsonl", number, str(breach))
            else:
                found[entry.id] = entry
        if not found and not self.problems:
            self._say("corpus.jsonl", 0, "holds no entry: there is nothing to search")
        return tuple(found.values())

    def queries(self, name: str, corpus: frozenset[str]) -> tuple[Asked, ...]:
        found: dict[str, Asked] = {}
        for number, record in self._records(name):
            try:
                query = self._query(record, self._id(name, number, record), corpus)
            except _BreachError as breach:
                self._say(name, number, str(breach))
            else:
                found[query.id] = query
        if not found and not self.problems:
            self._say(name, 0, "holds no query")
        return tuple(found.values())

    def qrels(self, queries: frozenset[str], corpus: frozenset[str]) -> dict[str, dict[str, int]]:
        name, found = "qrels.tsv", dict[str, dict[str, int]]()
        lines = self._lines(name)
        number, header = next(lines, (0, ""))
        if tuple(header.split("\t")) != HEADER:
            if number:
                self._say(name, number, f"the header is {header!r}: it must be {_shown(HEADER)}")
            elif (self.folder / name).exists():
                self._say(name, 0, f"is empty: begin with the header {_shown(HEADER)}")
        for number, line in lines:
            try:
                query, entry, grade = self._judgement(line, queries, corpus)
                if entry in found.get(query, {}):
                    _breach(f"{query!r} and {entry!r} are judged twice: keep one line")
            except _BreachError as breach:
                self._say(name, number, str(breach))
            else:
                found.setdefault(query, {})[entry] = grade
        return found

    # --- one record --------------------------------------------------------------------------------------------

    def _entry(self, record: Mapping[str, Any], ident: str) -> Entry:
        from mmretrieval.media import KINDS

        _keys(record, CORPUS_KEYS)
        path, text = record.get("path"), record.get("text", "")
        if not isinstance(text, str):
            _breach(f"text of {ident!r} is {text!r}: it must be text in quotes")
        if path is None and not text.strip():
            _breach(f"{ident!r} has neither path nor text: give it at least one")
        kind, meta = record.get("kind", ""), record.get("meta", {})
        if kind and kind not in KINDS:
            _breach(f"kind of {ident!r} is {kind!r}: use one of {', '.join(KINDS)}, or leave it out")
        if not isinstance(meta, dict):
            _breach(f"meta of {ident!r} is {meta!r}: it must be an object")
        return Entry(ident, self._path(path, ident) if path is not None else None, text, kind or "", meta)

    def _query(self, record: Mapping[str, Any], ident: str, corpus: frozenset[str]) -> Asked:
        _keys(record, QUERY_KEYS)
        raw = record.get("parts")
        if not isinstance(raw, list) or not raw:
            _breach(f'query {ident!r} has no parts: give it at least one, as in "parts": [{{"text": "a red boat"}}]')
        parts = tuple(self._part(part, ident) for part in raw)
        if not any(part.weight for part in parts):
            _breach(f"every part of query {ident!r} has weight 0: nothing is asked")
        try:
            wanted = parse_filter(record.get("filter"))
        except BadFilter as error:
            _breach(f"query {ident!r}: {error}")
        subset = _ids(record, "subset", ident, corpus) if record.get("subset") is not None else None
        if subset is not None and not subset:
            _breach(
                f"the subset of query {ident!r} is empty: nothing could be found; leave it out to search everything"
            )
        return Asked(ident, parts, _ids(record, "exclude", ident, corpus), subset, wanted)

    def _part(self, part: object, ident: str) -> AskedPart:
        if not isinstance(part, dict):
            _breach(f"a part of query {ident!r} is {part!r}: it must be an object with text or image")
        _keys(part, PART_KEYS)
        text, image, weight = part.get("text"), part.get("image"), part.get("weight", 1.0)
        if (text is None) == (image is None):
            which = "both text and" if text is not None else "neither text nor"
            _breach(f"a part of query {ident!r} has {which} image: give one of them")
        if text is not None and (not isinstance(text, str) or not text.strip()):
            _breach(f"a part of query {ident!r} has the text {text!r}: write what is looked for, or leave the part out")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
            _breach(f"a part of query {ident!r} has the weight {weight!r}: it must be a finite number")
        told = part.get("instruction")
        if told is not None and (not isinstance(told, str) or not told.strip()):
            _breach(f"a part of query {ident!r} has the instruction {told!r}: give words, or leave it out")
        return AskedPart(text, self._path(image, ident) if image is not None else None, float(weight), told)

    def _judgement(self, line: str, queries: frozenset[str], corpus: frozenset[str]) -> tuple[str, str, int]:
        columns = line.split("\t")
        if len(columns) != len(HEADER):
            _breach(
                f"{line!r} has {len(columns)} columns: it must have {len(HEADER)} with tabs between, {_shown(HEADER)}"
            )
        query, entry, score = columns
        if query not in queries:
            _breach(f"query {query!r} is not in queries.jsonl{_near(query, queries)}")
        if entry not in corpus:
            _breach(f"entry {entry!r} is not in corpus.jsonl{_near(entry, corpus)}")
        if not (score.isascii() and score.isdigit()):
            _breach(f"the grade {score!r} is not a whole number from 0 (0 not relevant, 1 and more relevant)")
        return query, entry, int(score)

    def _path(self, value: object, ident: str) -> Path:
        if not isinstance(value, str) or not value:
            _breach(f"{ident!r} has the path {value!r}: it must be text in quotes")
        if PurePosixPath(value).is_absolute():
            _breach(f"{ident!r} has the path {value!r}: it must be relative to the dataset's folder, to work anywhere")
        # without ".." but links not followed: the same file written twice gets one path
        path = Path(os.path.normpath(self.folder.absolute() / value))
        if self.files and not path.is_file():
            _breach(f"{ident!r} names {value!r}, and there is no such file at {path}: add it, or correct the path")
        return path

    # --- lines and words ---------------------------------------------------------------------------------------

    def _records(self, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for number, line in self._lines(name):
            if not line.strip():
                continue
            try:
                record = json.loads(line, parse_constant=_no_constant)
            except ValueError as error:
                self._say(name, number, f"{line[:80]!r} is not JSON: {error}")
                continue
            if isinstance(record, dict):
                yield number, record
            else:
                self._say(name, number, f"{line[:80]!r} is not a JSON object")

    def _lines(self, name: str) -> Iterator[tuple[int, str]]:
        try:
            data = (self.folder / name).read_bytes().removeprefix(b"\xef\xbb\xbf")
        except FileNotFoundError:
            self._say(name, 0, "is missing")
            return
        for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else (), start=1):
            try:
                yield number, line.removesuffix(b"\r").decode("utf-8")
            except UnicodeDecodeError as error:
                self._say(name, number, f"is not UTF-8 ({error.reason} at byte {error.start} of the line)")

    def _id(self, name: str, number: int, record: Mapping[str, Any]) -> str:
        ident = record.get("id")
        if not isinstance(ident, str) or not ident:
            _breach(f"the id is {ident!r}: it must be text in quotes")
        if any(c.isspace() for c in ident):
            _breach(f"the id {ident!r} holds white space, which separates the columns of run files: leave it out")
        first = self.lines.setdefault((name, ident), number)
        if first != number:
            _breach(f"the id {ident!r} stands in line {first} already: ids must differ")
        return ident

    def ids(self, name: str) -> frozenset[str]:
        """The ids that stand in a file, those of faulty lines included: one fault must not be reported as many."""
        return frozenset(ident for file, ident in self.lines if file == name)

    def _say(self, name: str, line: int, message: str) -> None:
        self.problems.append(Problem(name, line, message))


def _breach(message: str) -> NoReturn:
    raise _BreachError(message)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _shown(columns: tuple[str, ...]) -> str:
    return "<tab>".join(columns)


def _near(value: str, known: frozenset[str]) -> str:
    # close matches cost seconds in a large corpus; a hint is worth that in a small one only
    close = difflib.get_close_matches(value, known, n=1, cutoff=0.6) if len(known) <= 5000 else []
    return f"; did you mean {close[0]!r}?" if close else ""


def _keys(record: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in record:
        if key not in known:
            _breach(f"the key {key!r} has no meaning here{_near(key, frozenset(known))} There are: {', '.join(known)}")


def _ids(record: Mapping[str, Any], key: str, ident: str, corpus: frozenset[str]) -> frozenset[str]:
    value = record.get(key) or []
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        _breach(f"{key} of query {ident!r} is {value!r}: it must be a list of corpus ids")
    for entry in value:
        if entry not in corpus:
            _breach(f"{key} of query {ident!r} names {entry!r}, which is not in corpus.jsonl{_near(entry, corpus)}")
    return frozenset(value)
