"""The cut-off on pictures and an encoder that are real: nonsense ends mostly grey, what is there does not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eval import judging
from eval.__main__ import app
from eval.bench_cutoff import OFF_TOPIC, TOP, Kind, greyed, in_words, made_up
from eval.judging import Shelf
from eval.reading import load

SAMPLES = Path(__file__).parents[1] / "samples" / "evaluation"
QUERIES, PICTURES = 30, 200
# As many of so few pictures as twenty are of all.
FIRST = 5


def part_of_samples(folder: Path) -> Path:
    """Every seventh query in words with all that answers it, and pictures beside them: a dataset of its own."""
    whole = load(SAMPLES)
    asked = [q for q in whole.queries if q.form == "text" and whole.relevant(q.id)][:: 216 // QUERIES][:QUERIES]
    wanted = {entry for q in asked for entry in whole.relevant(q.id)}
    others = [e.id for e in whole.corpus if e.id not in wanted]
    wanted |= set(others[:: max(1, len(others) // max(1, PICTURES - len(wanted)))])
    folder.mkdir()
    entries = [
        {"id": e.id, "path": os.path.relpath(str(e.path), folder), "text": e.text, "kind": "image"}
        for e in whole.corpus
        if e.id in wanted
    ]
    queries = [{"id": q.id, "parts": [{"text": q.parts[0].text}]} for q in asked]
    rows = [f"{q.id}\t{e}\t{grade}" for q in asked for e, grade in whole.qrels[q.id].items() if e in wanted]
    for name, records in (("corpus", entries), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    (folder / "dataset.toml").write_text((SAMPLES / "dataset.toml").read_text().replace('"samples"', '"part"'))
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return part_of_samples(tmp_path_factory.mktemp("cutoff") / "part")


@pytest.fixture(scope="module")
def shelf(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    made, counts = judging.shelve(load(dataset), tmp_path_factory.mktemp("shelf") / "l", ["lite"], own=True, workers=1)
    assert counts.failed == 0 and counts.stored > 150
    return made


@pytest.mark.parametrize("recipe", ["lite@visual", "lite@text", "lite"])
def test_nonsense_ends_mostly_grey_and_what_is_there_does_not(dataset: Path, shelf: Shelf, recipe: str) -> None:
    loaded = load(dataset)
    relevant = {q.id: frozenset(i for e in loaded.relevant(q.id) for i in shelf.items[e]) for q in loaded.queries}
    real = Kind("real", tuple(judging.as_queries(loaded.queries, loaded, shelf)), relevant)
    made, off = in_words("made up", made_up(40, 1)), in_words("off topic", OFF_TOPIC)
    for nonsense in (made, off):
        for top in (FIRST, TOP):
            assert greyed(shelf.library, recipe, nonsense, top)["mostly@0.02"] >= 0.9
    found = greyed(shelf.library, recipe, real, FIRST)
    assert found["mostly@0.02"] <= 0.35 and found["mostly@0.05"] == 0.0
    assert found["answers"] >= 35 and found["answers@0.02"] <= 0.15


def test_made_up_words_are_those_of_the_seed_and_no_words() -> None:
    assert made_up(20, 3) == made_up(20, 3) != made_up(20, 4)
    assert len(set(made_up(100, 3))) == 100 and all(1 <= len(p.split()) <= 4 for p in made_up(100, 3))
    assert len(set(OFF_TOPIC)) == 20


def test_the_command_prints_a_row_for_each_kind_of_query(tmp_path: Path) -> None:
    folder = part_of_samples(tmp_path / "part")
    lines = (folder / "corpus.jsonl").read_text().splitlines()[:TOP]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    kept = {json.loads(line)["id"] for line in lines}
    rows = (folder / "qrels.tsv").read_text().splitlines()
    (folder / "qrels.tsv").write_text("\n".join([rows[0], *(r for r in rows[1:] if r.split("\t")[1] in kept)]) + "\n")
    arguments = ["--dataset", folder, "--recipe", "hashing@visual", "--count", 3, "--out", tmp_path / "runs", "--json"]
    result = CliRunner().invoke(app, ["bench", "cutoff", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.strip().splitlines()[-1])
    assert [(r["queries"], r["count"]) for r in told["rows"]] == [
        ("words", QUERIES),
        ("made-up words", 3),
        ("off topic", 20),
    ]
    assert all(0 <= r["greyed@0.05"] <= r["greyed@0.02"] <= r["greyed@0.01"] <= 1 for r in told["rows"])
