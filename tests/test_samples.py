"""What is said of samples/: how much of what, under whose name; and that meaning beats chance there."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eval.__main__ import app
from eval.checking import inspect
from ingest.walk import walk
from mmretrieval.media import recognise

SAMPLES = Path(__file__).parents[1] / "samples"
EVALUATION = SAMPLES / "evaluation"


@pytest.fixture(scope="module")
def kinds() -> dict[str, str]:
    """What `ingest add samples` takes: {path below samples/: kind}, the scripts and tables left out."""
    found: dict[str, str] = {}
    for source in walk([SAMPLES]):
        assert not source.problem, source
        kind = recognise(Path(source.path))
        if kind is not None:
            found[Path(source.path).relative_to(SAMPLES).as_posix()] = kind
            assert source.caption or kind == "text", f"{source.path} has no caption"
    return found


def test_there_is_enough_of_every_kind_and_not_too_much(kinds: dict[str, str]) -> None:
    counts = Counter(kinds.values())
    assert counts["image"] >= 320
    assert sum(path.startswith("photos/") for path in kinds) >= 20
    assert counts["video"] >= 3
    assert counts["document"] >= 4
    assert counts["text"] >= 20
    assert not any(path.startswith("evaluation/") or path == "ATTRIBUTION.md" for path in kinds)
    files = [p for p in SAMPLES.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(p.stat().st_size for p in files) <= 15_000_000


def test_every_file_is_attributed_once_with_a_licence(kinds: dict[str, str]) -> None:
    rows = re.findall(r"^\| ([^|]+?) \|(.*)\|$", (SAMPLES / "ATTRIBUTION.md").read_text(encoding="utf-8"), re.MULTILINE)
    named = Counter(name for name, _ in rows)
    assets = {p.relative_to(SAMPLES).as_posix() for p in (EVALUATION / "assets").iterdir() if p.suffix != ".jsonl"}
    wanted = set(kinds) | {a for a in assets if not a.endswith((".md", ".json"))}
    assert {path: named[path] for path in wanted} == dict.fromkeys(wanted, 1)
    licensed = {name for name, rest in rows if re.search(r"CC0|CC-BY|public domain|Apache-2.0", rest)}
    assert wanted <= licensed


def test_the_evaluation_set_is_sound_and_large_enough() -> None:
    found = inspect(EVALUATION)
    assert found.problems == ()
    counts = found.dataset.counts(found.kinds)
    assert counts["queries_by_form"]["text"] >= 100
    assert counts["queries_by_form"]["composed"] >= 60
    assert counts["queries_judged"] == counts["queries"]
    assert sum(any(p.weight < 0 for p in q.parts) for q in found.dataset.queries) >= 10
    assert len({grade for grades in found.dataset.qrels.values() for grade in grades.values()}) >= 2


def test_meaning_beats_no_understanding_and_chance_on_the_photographs(tmp_path: Path) -> None:
    """The README's first claim on a part that is quick: the photographs, and the queries in words that want one."""
    small = photographs(tmp_path / "photographs")
    names = ("lite@visual", "hashing@visual")
    words = ["run", "--dataset", small, "--out", tmp_path / "runs", "--json"]
    done = CliRunner().invoke(app, [str(w) for w in (*words, "--recipe", names[0], "--recipe", names[1])])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    lite, hashing = (said["recipes"][name] for name in names)
    assert lite["queries"] >= 50
    assert lite["hit@10"] > max(hashing["hit@10"], said["chance"]["hit@10"]) + 0.4
    assert lite["ndcg@10"] > 2 * hashing["ndcg@10"]


def photographs(folder: Path) -> Path:
    """The part of the sample set that asks in words for photographs, as a dataset of its own."""
    folder.mkdir()
    shutil.copy(EVALUATION / "dataset.toml", folder)
    corpus = [entry for entry in records("corpus.jsonl") if "/photos/" in entry["path"]]
    for entry in corpus:
        entry["path"] = os.path.relpath(EVALUATION / entry["path"], folder)
        entry.pop("text", None)
    known = {entry["id"] for entry in corpus}
    header, *lines = (EVALUATION / "qrels.tsv").read_text(encoding="utf-8").splitlines()
    judged = [line for line in lines if line.split("\t")[1] in known]
    asked = {line.split("\t")[0] for line in judged}
    queries = [q for q in records("queries.jsonl") if q["id"] in asked and all("text" in p for p in q["parts"])]
    kept = {query["id"] for query in queries}
    (folder / "corpus.jsonl").write_text("".join(json.dumps(e) + "\n" for e in corpus), encoding="utf-8")
    (folder / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries), encoding="utf-8")
    rows = [line for line in judged if line.split("\t")[0] in kept]
    (folder / "qrels.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def records(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (EVALUATION / name).read_text(encoding="utf-8").splitlines()]
