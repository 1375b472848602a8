"""What `check` says of a dataset: every breach of its format, and what the format allows but nobody means."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from eval.dataset import Asked, Dataset, Entry
from eval.reading import Draft, Problem, read
from mmretrieval.errors import MediaError


@dataclass(frozen=True)
class Inspection:
    """A dataset with all there is to say of it; `kinds` is {corpus id: what its content shows it to be}."""

    dataset: Dataset
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    kinds: Mapping[str, str]


def inspect(folder: Path) -> Inspection:
    """Reads the dataset and opens every file that it names; DatasetError only where there is no folder."""
    draft = read(folder)
    data = draft.dataset
    seen = {entry.id: _kind(entry.path) for entry in data.corpus}
    problems = [*draft.problems, *_no_pictures("queries.jsonl", data.queries, draft)]
    problems += _no_pictures("bank.jsonl", data.bank, draft)
    warnings = sorted([*_of_entries(data, seen, draft), *_of_twins(data, draft)], key=lambda w: w.line)
    kinds = {ident: kind for ident, (kind, _) in seen.items()}
    return Inspection(data, tuple(problems), (*warnings, *_of_queries(data, draft)), kinds)


def _no_pictures(name: str, queries: tuple[Asked, ...], draft: Draft) -> Iterator[Problem]:
    for query in queries:
        for path in (p.image for p in query.parts if p.image is not None):
            kind, reason = _kind(path)
            if kind != "image":
                said = reason or f"its content is of the kind {kind!r}"
                yield Problem(
                    name, draft.lines[name, query.id], f"{query.id!r} shows {path}, which is no picture: {said}"
                )


def _of_entries(data: Dataset, seen: Mapping[str, tuple[str, str]], draft: Draft) -> Iterator[Problem]:
    for entry in data.corpus:
        (kind, reason), line = seen[entry.id], draft.lines["corpus.jsonl", entry.id]
        if reason:
            yield Problem("corpus.jsonl", line, f"{entry.id!r} can never be found: {reason}")
        elif entry.kind and entry.kind != kind:
            yield Problem(
                "corpus.jsonl", line, f"{entry.id!r} is said to be of the kind {entry.kind!r}, but is {kind!r}"
            )


def _of_twins(data: Dataset, draft: Draft) -> Iterator[Problem]:
    """Entries of the same bytes as an earlier one; only files of equal size are opened for it."""
    by_size: dict[int, list[Entry]] = {}
    for entry in data.corpus:
        size = entry.path.stat().st_size if entry.path is not None else len(entry.text.encode())
        by_size.setdefault(size, []).append(entry)
    for group in by_size.values():
        first: dict[bytes, Entry] = {}
        for entry in group if len(group) > 1 else ():
            content = entry.path.read_bytes() if entry.path is not None else entry.text.encode()
            twin = first.setdefault(hashlib.sha256(content).digest(), entry)
            if twin is not entry:
                joined = (entry.text, entry.meta) != (twin.text, twin.meta)
                said = f"{entry.id!r} has the same bytes as {twin.id!r}: they are found together"
                said += ", and by the words of both" if joined else ""
                yield Problem("corpus.jsonl", draft.lines["corpus.jsonl", entry.id], said)


def _of_queries(data: Dataset, draft: Draft) -> Iterator[Problem]:
    for query in data.queries:
        line, relevant = draft.lines["queries.jsonl", query.id], data.relevant(query.id)
        barred = sorted(c for c in relevant if not query.allows(c))
        if not relevant:
            said = f"query {query.id!r} has no relevant entry in qrels.tsv: it is left out of every mean"
            yield Problem("queries.jsonl", line, said)
        elif barred:
            shown = ", ".join(map(repr, barred[:5]))
            said = f"query {query.id!r} can never find {shown}: relevant, but excluded or not in its subset"
            yield Problem("queries.jsonl", line, said)


def _kind(path: Path | None) -> tuple[str, str]:
    """What a file's content shows it to be, and the reason where it is nothing that can be read."""
    from mmretrieval.media import recognise

    if path is None:
        return "text", ""
    try:
        kind = recognise(path)
    except MediaError as error:
        return "unreadable", str(error)
    return (kind, "") if kind else ("unreadable", "there is no picture, video, document or text in it")
