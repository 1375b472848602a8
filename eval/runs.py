"""Run files: rankings of corpus ids in TREC's form, with all that is needed to know where they came from.

A run is a folder of `run.trec` (`query Q0 entry rank score tag`), `run.json` (recipe, encoders, versions, metrics ...)
and `per_query.jsonl`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from eval.dataset import Dataset
from eval.metrics import PerQuery
from mmretrieval.errors import DatasetError

Kept = Literal["engine", "rank"]
# What stands behind a recipe whose answers to one query depend on the others asked with it.
TRANSDUCTIVE = " (transductive)"


@dataclass(frozen=True)
class Ranked:
    """One query's corpus ids, best first, with the engine's scores."""

    query: str
    ids: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class TrecRun:
    """Scores as they stand in a run file: {query: {id: score}}, ids in ranked order; `kept` says whose scores."""

    scores: Mapping[str, Mapping[str, float]]
    kept: Kept


def trec_scores(rankings: Sequence[Ranked]) -> TrecRun:
    """Scores that keep every ranking's order when a reader sorts by score in single precision, as trec_eval does.

    The engine's own where each ranking's strictly decrease in float32; else, for the whole run, n, n - 1, ... 1 down
    each list of n. (Equal scores, and reranked lists, whose parts were scored by different stages, need the latter.)
    """
    kept: Kept = "engine" if all(_strictly_falls(r.scores) for r in rankings) else "rank"
    return TrecRun(
        {
            r.query: dict(
                zip(r.ids, r.scores if kept == "engine" else map(float, range(len(r.ids), 0, -1)), strict=True)
            )
            for r in rankings
        },
        kept,
    )


def _strictly_falls(scores: Sequence[float]) -> bool:
    import numpy as np

    with np.errstate(over="ignore"):
        values = np.asarray(scores, dtype=np.float64).astype(np.float32)
    return bool(np.isfinite(values).all() and (values[1:] < values[:-1]).all())


def trec_text(run: TrecRun, tag: str) -> str:
    """The text of the run file; scores are written so that reading them gives the same float64 back."""
    return "".join(
        f"{query} Q0 {entry} {rank} {score!r} {tag}\n"
        for query, scores in run.scores.items()
        for rank, (entry, score) in enumerate(scores.items(), start=1)
    )


def read_trec(path: Path, dataset: Dataset) -> dict[str, dict[str, float]]:
    """{query: {id: score}} of a run file. Raises DatasetError, with file and line, where it does not fit."""
    queries, corpus = {q.id for q in dataset.queries}, {e.id for e in dataset.corpus}
    found: dict[str, dict[str, float]] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read as a run file: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        columns = line.split()
        if len(columns) != 6:
            raise DatasetError(
                f"{path}:{number}: {line[:80]!r} has {len(columns)} columns, not `query Q0 entry rank score tag`"
            )
        query, _, entry, _, written, _ = columns
        if query not in queries:
            raise DatasetError(
                f"{path}:{number}: {dataset.name} has no query {query!r}: is the run of another dataset?"
            )
        if entry not in corpus:
            raise DatasetError(
                f"{path}:{number}: {dataset.name} has no entry {entry!r}: is the run of another dataset?"
            )
        if entry in found.get(query, {}):
            raise DatasetError(f"{path}:{number}: query {query!r} ranks {entry!r} twice: keep one line")
        found.setdefault(query, {})[entry] = _score(written, path, number)
    if not found:
        raise DatasetError(f"{path} holds no ranking")
    return found


def _score(written: str, path: Path, number: int) -> float:
    try:
        score = float(written)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DatasetError(f"{path}:{number}: the score {written!r} is not a finite number")
    return score


def slug(text: str, longest: int = 80) -> str:
    """A text as a folder name: what is not a letter, digit, dot or dash becomes a dash."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:longest].strip("-.") or "unnamed"


def folder_name(dataset: str, recipe: str, choices: Mapping[str, Any]) -> str:
    """The name of a run's folder: readable, and another one for every dataset, recipe and choice."""
    key = json.dumps([dataset, recipe, dict(choices)], sort_keys=True)
    return f"{slug(dataset, 40)}-{slug(recipe)}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def save(folder: Path, run: TrecRun, tag: str, values: PerQuery, record: Mapping[str, Any]) -> None:
    """Writes the three files into `folder`; each appears whole or not at all, `run.json` last."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"query": q} | v, ensure_ascii=False) + "\n" for q, v in values.items())
    _write(folder / "run.trec", trec_text(run, tag))
    _write(folder / "per_query.jsonl", "".join(lines))
    _write(folder / "run.json", json.dumps(record, ensure_ascii=False, indent=2, default=str) + "\n")


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def marked(folder: Path) -> str:
    """ " (transductive)" for a run whose recipe saw all queries at once, else nothing."""
    try:
        told = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""  # a run made elsewhere: per_query.jsonl is all that a comparison needs
    return TRANSDUCTIVE if isinstance(told, dict) and told.get("transductive") else ""
