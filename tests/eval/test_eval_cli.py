"""`python -m eval` from outside: what it prints and writes, its JSON, its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from eval.__main__ import app
from eval.metrics import METRICS, chance_of_hit

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def run(folder: Path, out: Path, *more: object) -> dict[str, Any]:
    result = call("run", "--dataset", folder, "--out", out, "--workers", 1, "--json", *more)
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_run_gives_scores_and_files_that_score_the_same(write: Any, tmp_path: Path) -> None:
    folder, out = write(), tmp_path / "runs"
    said = run(folder, out, "--recipe", "hashing@text", "--recipe", "hashing")
    assert said["dataset"] == "tiny"
    assert list(said["recipes"]) == ["hashing@text", "hashing"]
    text = said["recipes"]["hashing@text"]
    assert set(text) == {*METRICS, "queries", "forms"}
    assert (text["hit@1"], text["queries"]) == (1.0, 3)
    assert text["forms"]["text"]["queries"] == 2
    assert text["forms"]["composed"]["queries"] == 1

    place = Path(said["runs"]["hashing@text"])
    assert place.parent == out
    record = json.loads((place / "run.json").read_text(encoding="utf-8"))
    assert (record["recipe"], record["recipe_as_given"]) == ("hashing@text,sum", "hashing@text")
    assert record["metrics"] == text
    assert (record["k"], record["depth"], record["items_asked"]) == (100, 200, 5)
    assert record["encoders"][0]["spec"] == "hashing"
    assert {"revision", "space"} <= set(record["encoders"][0])
    assert {"python", "numpy", "ir_measures", "pytrec_eval-terrier"} <= set(record["versions"])
    assert record["scores"].startswith("the engine's own")
    assert record["queries"] == {"ranked": 3, "judged": 3, "unjudged": 0}
    per_query = [json.loads(line) for line in (place / "per_query.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [q["query"] for q in per_query] == ["t1", "t2", "c1"]

    again = call("score", "--dataset", folder, "--json", place / "run.trec")
    assert again.exit_code == 0
    assert json.loads(again.stdout.splitlines()[-1])["recipes"] == {str(place / "run.trec"): text}


def test_running_again_embeds_nothing_and_gives_the_same(write: Any, tmp_path: Path) -> None:
    folder, out = write(), tmp_path / "runs"
    first = run(folder, out, "--recipe", "hashing@text")
    place = Path(first["runs"]["hashing@text"])
    trec = (place / "run.trec").read_bytes()
    assert json.loads((place / "run.json").read_text(encoding="utf-8"))["ingest"]["stored"] == 5
    assert run(folder, out, "--recipe", "hashing@text") == first
    assert (place / "run.trec").read_bytes() == trec
    ingested = json.loads((place / "run.json").read_text(encoding="utf-8"))["ingest"]
    assert (ingested["stored"], ingested["unchanged"]) == (0, 5)
    assert len(list((out / ".libraries").iterdir())) == 1
    elsewhere = run(folder, tmp_path / "more", "--recipe", "hashing@text", "--library", tmp_path / "library")
    assert elsewhere["recipes"] == first["recipes"]
    assert not (tmp_path / "more" / ".libraries").exists()


def test_equal_scores_are_written_by_rank(write: Any, tmp_path: Path) -> None:
    corpus = [{"id": n, "text": "the very same"} for n in ("a", "z", "m")]
    folder = write(corpus, [{"id": "q", "parts": [{"text": "same"}]}], [("q", "z", 1)])
    said = run(folder, tmp_path / "runs", "--recipe", "hashing@text")
    place = Path(said["runs"]["hashing@text"])
    rows = [line.split() for line in (place / "run.trec").read_text(encoding="utf-8").splitlines()]
    assert [(r[2], r[3], r[4]) for r in rows] == [("a", "1", "3.0"), ("m", "2", "2.0"), ("z", "3", "1.0")]
    assert said["recipes"]["hashing@text"]["mrr"] == pytest.approx(1 / 3)
    assert json.loads((place / "run.json").read_text(encoding="utf-8"))["scores"].startswith("made from the ranks")


def test_forms_and_parts_can_be_chosen(write: Any, tmp_path: Path) -> None:
    folder, out = write(), tmp_path / "runs"
    whole = run(folder, out, "--recipe", "hashing@visual")
    composed = run(folder, out, "--recipe", "hashing@visual", "--queries", "composed")
    assert composed["recipes"]["hashing@visual"]["queries"] == 1
    assert composed["recipes"]["hashing@visual"]["forms"] == {
        "composed": whole["recipes"]["hashing@visual"]["forms"]["composed"]
    }
    pictures = run(folder, out, "--recipe", "hashing@visual", "--parts", "image")
    place = Path(pictures["runs"]["hashing@visual"])
    record = json.loads((place / "run.json").read_text(encoding="utf-8"))
    assert (record["dropped"], record["queries"]["ranked"]) == (2, 1)
    assert list(pictures["recipes"]["hashing@visual"]["forms"]) == ["composed"]
    words = run(folder, out, "--recipe", "hashing@text", "--parts", "text")
    assert list(words["recipes"]["hashing@text"]["forms"]) == ["text", "composed"]
    assert len({*whole["runs"].values(), *composed["runs"].values(), *pictures["runs"].values()}) == 3


def test_chance_counts_what_may_answer(write: Any, tmp_path: Path) -> None:
    corpus = [{"id": f"d{i}", "text": f"thing number {i}"} for i in range(30)]
    queries = [
        {"id": "q", "parts": [{"text": "thing"}]},
        {"id": "less", "parts": [{"text": "thing"}], "exclude": ["d0", "d1"]},
        {"id": "few", "parts": [{"text": "thing"}], "subset": [f"d{i}" for i in range(20)]},
        {"id": "kind", "parts": [{"text": "thing"}], "filter": {"kind": "image"}},
        {"id": "unjudged", "parts": [{"text": "thing"}]},
    ]
    folder = write(corpus, queries, [(q, d, 1) for q in ("q", "less", "few", "kind") for d in ("d0", "d5", "d25")])
    said = run(folder, tmp_path / "runs", "--recipe", "hashing@text")
    expected = [chance_of_hit(30, 3), chance_of_hit(28, 2), chance_of_hit(20, 2), 0.0]
    assert said["chance"]["hit@10"] == pytest.approx(sum(expected) / 4)
    assert said["recipes"]["hashing@text"]["queries"] == 4
    table = call("run", "--dataset", folder, "--out", tmp_path / "runs", "--recipe", "hashing@text", "--workers", 1)
    assert "random order" in table.stdout
    assert "1 queries have no relevant entry" in table.stdout


def test_a_file_that_cannot_be_read_is_told_and_ends_with_1(write: Any, tmp_path: Path) -> None:
    folder = write()
    (folder / "assets" / "white.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    arguments = ("--dataset", folder, "--out", tmp_path / "runs", "--recipe", "hashing@text", "--workers", 1)
    result = call("run", *arguments, "--json")
    assert result.exit_code == 1
    said = json.loads(result.stdout.splitlines()[-1])
    assert said["recipes"]["hashing@text"]["queries"] == 3
    assert "1 entries can never be found" in result.stderr
    record = json.loads((Path(said["runs"]["hashing@text"]) / "run.json").read_text(encoding="utf-8"))
    assert list(record["entries"]["unfindable"]) == ["white"]


def test_a_correction_that_is_not_as_asked_is_told_and_kept(write: Any, tmp_path: Path) -> None:
    given = ("--dataset", write(), "--out", tmp_path / "runs", "--workers", 1, "--recipe", "hashing@text,nnn:999")
    result = call("run", *given, "--json")
    assert result.exit_code == 0 and "as there are no 999" in result.stderr
    (place,) = json.loads(result.stdout.splitlines()[-1])["runs"].values()
    (remark,) = json.loads((Path(place) / "run.json").read_text(encoding="utf-8"))["remarks"]
    assert remark.startswith("nnn:999:0.75: an item's mean is over all ")


WRONG: list[tuple[list[str], str]] = [
    (["--recipe", "hashin@text"], "hashin"),
    (["--recipe", "hashing@words"], "is not a view"),
    (["--recipe", "hashing@joint"], "hashing makes no joint view"),
    (["--recipe", "hashing,nosuch"], "no stage is called 'nosuch'"),
    (["--recipe", "hashing@text", "--k", "5"], "--k"),
    (["--recipe", "hashing@text", "--queries", "video"], "--queries"),
    ([], "--recipe"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_wrong_usage_ends_with_2_before_any_work(write: Any, tmp_path: Path, arguments: list[str], said: str) -> None:
    result = call("run", "--dataset", write(), "--out", tmp_path / "runs", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "runs").exists()


def test_bad_data_ends_with_1(write: Any, tmp_path: Path) -> None:
    folder = write(qrels=[("t1", "rad", 1)])
    result = call("run", "--dataset", folder, "--out", tmp_path / "runs", "--recipe", "hashing@text")
    assert result.exit_code == 1
    assert "qrels.tsv:2: entry 'rad' is not in corpus.jsonl; did you mean 'red'?" in result.stderr
    assert not (tmp_path / "runs").exists()
    text_only = write(queries=[{"id": "t1", "parts": [{"text": "x"}]}], qrels=[("t1", "red", 1)])
    none = call("run", "--dataset", text_only, "--out", tmp_path / "runs", "--recipe", "hashing", "--parts", "image")
    assert none.exit_code == 1
    assert "no judged query left" in none.stderr
    parts = [{"text": "red"}, {"text": "red", "weight": -1.0}]
    nothing = write(queries=[{"id": "t1", "parts": parts}], qrels=[("t1", "red", 1)])
    cancels = call("run", "--dataset", nothing, "--out", tmp_path / "runs", "--recipe", "hashing", "--workers", 1)
    assert cancels.exit_code == 1
    assert "error: " in cancels.stderr
    assert call("run", "--dataset", tmp_path / "nowhere", "--recipe", "hashing").exit_code == 2
    bad = tmp_path / "bad.trec"
    bad.write_text("t1 Q0 pink 1 0.5 x\n", encoding="utf-8")
    assert call("score", "--dataset", text_only, bad).exit_code == 1


def test_check_says_all_problems_and_counts(write: Any) -> None:
    good = call("check", write())
    assert good.exit_code == 0
    assert "tiny: 5 entries (4 image, 1 text), 3 queries (2 text, 1 composed), 0 reference queries" in good.stdout
    folder = write(qrels=[("t1", "rad", 1), ("t2", "blue", "x")])
    bad = call("check", folder, "--json")
    assert bad.exit_code == 1
    said = json.loads(bad.stdout)
    assert not said["ok"]
    assert [(p["file"], p["line"]) for p in said["problems"]] == [("qrels.tsv", 2), ("qrels.tsv", 3)]
    assert said["counts"]["corpus_by_kind"] == {"image": 4, "text": 1}
    assert "problem  qrels.tsv:2: " in bad.stderr


def test_check_looks_into_the_files(write: Any) -> None:
    folder = write()
    (folder / "assets" / "red.png").write_text("words", encoding="utf-8")
    said = json.loads(call("check", folder, "--json").stdout)
    assert [(p["file"], p["line"]) for p in said["problems"]] == [("queries.jsonl", 3)]
    assert "which is no picture" in said["problems"][0]["message"]
    assert [(w["file"], w["line"]) for w in said["warnings"]] == [("corpus.jsonl", 1)]
    assert "can never be found" in said["warnings"][0]["message"]
    assert said["counts"]["corpus_by_kind"] == {"image": 3, "text": 1, "unreadable": 1}


def test_help_is_quick_and_brings_no_torch() -> None:
    heavy = ("torch", "gradio", "numpy")
    code = f"import sys; from eval.__main__ import app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        helped = subprocess.run([sys.executable, "-m", "eval", "--help"], cwd=ROOT, capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
        assert b"check" in helped.stdout
    assert min(seconds) < 1.0
