"""The proof of a fix: a process of its own on the page's dataset; what it found, what is refused, how it is stopped."""

from __future__ import annotations

import datetime
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval.reading import load
from mmretrieval.errors import BadRecipe, LibraryBusy, RetrievalError, UnknownName
from mmretrieval.library import Library
from page.jobs import Job
from page.prove import evaluate, evaluating
from page.state import Page
from tests.page.conftest import HOSTILE

RECIPE = "hashing@text"


@pytest.fixture(scope="module")
def page(made: Path, things: Path, temporary: Path) -> Iterator[Page]:
    opened = Page(Library.open(made), dataset=load(things))
    yield opened
    opened.proofs.wait(60)
    opened.close()


@pytest.fixture(scope="module")
def proof(page: Page) -> Job:
    """One proof, from its beginning to its end."""
    job = evaluating.start(page, RECIPE, ["nnn:3", "dualsoftmax"], "mrr", 4)
    with pytest.raises(LibraryBusy):
        evaluating.start(page, RECIPE)
    page.proofs.wait(200)
    assert job.state == "done", job.note
    return job


def test_a_proof_is_the_record_of_the_command(page: Page, proof: Job) -> None:
    record = proof.found
    assert (record["metric"], record["seed"], record["fitting"], record["held_out"]) == ("mrr", 4, 24, 24)
    assert {tuple(row["stages"]) for row in record["rows"]} >= {("nnn:3",), ("dualsoftmax",)}
    assert proof.note == f"{len(record['rows'])} changes judged on 24 queries"
    assert next(page.evaluation.glob("fix-*.json")).is_relative_to(page.library.path)
    assert page.proving is None


def test_the_verdicts_the_table_and_the_plot_are_shown(page: Page, proof: Job) -> None:
    html = evaluating.shown(page, proof.found)
    for row in proof.found["rows"]:
        compared = row["comparison"]
        assert f'data-changed="{row["recipe"]}"' in html
        assert f"{compared['difference']:+.3f} [{compared['low']:+.3f}, {compared['high']:+.3f}]" in html
        assert f">{row['p_holm']:.4f}<" in html and f">{row['cost']['item_bytes']:,g}<" in html
    transductive = [row for row in proof.found["rows"] if row["transductive"]]
    assert html.count('class="mm-flag"') == len(transductive) > 0
    assert f"What was tried on the other half: {len(proof.found['tried'])} changes<" in html
    alone = evaluating.shown(page, proof.found | {"tried": proof.found["tried"][:1]})
    assert "What was tried on the other half: 1 change<" in alone
    key = html.split("finding/")[1].split("/")[0]
    (plot,) = page.findings.by_key(key).finding.plots
    assert plot.traces[0].y == tuple(row["comparison"]["difference"] for row in proof.found["rows"])
    assert f"finding/{key}/figure/0" in evaluating.shown(page, proof.found)  # the same plot for the next visitor


def test_what_a_change_replaces_is_shown_and_an_older_report_is_shown_without(page: Page, proof: Job) -> None:
    (first, *rest) = proof.found["rows"]
    instead = first | {"stages": ["csls"], "replaces": ["nnn:3:0.75"], "verdict": "csls instead of nnn:3:0.75 raises"}
    bare = first | {"stages": [], "replaces": ["nnn:3:0.75"], "verdict": "without nnn:3:0.75 raises it"}
    tried = [{**proof.found["tried"][0], "stages": [], "replaces": ["nnn:3:0.75"]}]
    html = evaluating.shown(page, proof.found | {"rows": [instead, bare, *rest], "tried": tried})
    assert "<code>csls</code> instead of nnn:3:0.75 raises" in html and "without nnn:3:0.75 raises it" in html
    assert "<code></code>" not in html
    assert html.count("without nnn:3:0.75<") == 3, "in both tables, and in the numbers of the plot"
    key = html.split("finding/")[1].split("/")[0]
    (plot,) = page.findings.by_key(key).finding.plots
    assert plot.traces[0].x[:2] == ("csls instead of nnn:3:0.75", "without nnn:3:0.75")
    older = [{k: v for k, v in row.items() if k != "replaces"} for row in proof.found["rows"]]
    html = evaluating.shown(page, proof.found | {"rows": older})
    assert all(f"<code>{','.join(row['stages'])}</code>" in html for row in older)


def test_a_page_that_is_started_again_shows_the_newest_report_with_its_date(
    page: Page, proof: Job, made: Path, things: Path, temporary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (report,) = page.evaluation.glob("fix-*.json")
    record = json.loads(report.read_text())
    left = {
        "fix-spoilt.json": "{",
        "fix-older-form.json": json.dumps({"dataset": record["dataset"], "recipe": RECIPE}),
        "fix-of-another.json": json.dumps(record | {"dataset": "another"}),
        "fix-earlier.json": json.dumps(record | {"metric": "ndcg@10"}),
    }
    for name, text in left.items():
        (page.evaluation / name).write_text(text)
    os.utime(page.evaluation / "fix-earlier.json", (1_000, 1_000))
    os.utime(report, (1_700_000_000, 1_700_000_000))
    again = Page(Library.open(made), dataset=load(things), read_only=True)
    try:
        evaluating.recall(again)
        job = again.proofs.job
        assert job is not None and (job.state, job.note) == ("done", proof.note)
        assert job.found == record | {"finished": 1_700_000_000}
        assert job.found["rows"] == proof.found["rows"]
        html = evaluating.shown(again, job.found)
        day = datetime.datetime.fromtimestamp(1_700_000_000).astimezone()
        assert f"{day:%Y-%m-%d %H:%M}" in html and proof.found["rows"][0]["comparison"]["metric"] in html
        assert "fix-spoilt.json" in caplog.text and "fix-older-form.json" in caplog.text
        evaluating.recall(again)
        assert again.proofs.job is job
    finally:
        again.close()
        for name in left:
            (page.evaluation / name).unlink()
    assert f"{datetime.datetime.now().astimezone():%Y-%m-%d}" in evaluating.shown(page, proof.found)


def test_words_of_a_record_are_text(page: Page, proof: Job) -> None:
    rows = [row | {"stages": [HOSTILE], "verdict": HOSTILE, "recipe": HOSTILE} for row in proof.found["rows"]]
    failed = {"stages": [HOSTILE], "recipe": HOSTILE, "value": None, "difference": None, "problem": HOSTILE}
    html = evaluating.shown(page, proof.found | {"dataset": HOSTILE, "rows": rows, "tried": [failed]})
    assert "<img src=x" not in html and "&lt;img src=x" in html


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({"recipe": "lite"}, UnknownName, "has no vectors of 'lite'"),
        ({"recipe": 5}, RetrievalError, "the recipe is 5"),
        ({"stages": "cnter"}, BadRecipe, "Did you mean 'center'"),
        ({"stages": ["align:lite"]}, UnknownName, "has no vectors of 'lite'|no stage is called 'align'"),
        ({"stages": [1]}, RetrievalError, "give a list of texts"),
        ({"stages": [f"nnn:{k}" for k in range(1, 30)]}, RetrievalError, "at most 16"),
        ({"stages": ["--out=/tmp/x"]}, BadRecipe, "no stage is called"),
        ({"metric": "recal@10"}, UnknownName, "recall@10"),
        ({"seed": -1}, RetrievalError, "from 0 to"),
    ],
)
def test_what_cannot_be_proved_is_refused_before_any_work(
    page: Page, arguments: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        evaluating.start(page, **({"recipe": RECIPE} | arguments))


def test_a_page_that_is_read_only_or_has_no_dataset_refuses(made: Path, things: Path, temporary: Path) -> None:
    closed = Page(Library.open(made), read_only=True, dataset=load(things))
    bare = Page(Library.open(made))
    stranger = Page(Library.open(made), trusted=False, dataset=load(things))
    try:
        with pytest.raises(RetrievalError, match="read-only"):
            evaluating.start(closed, RECIPE)
        assert not closed.evaluation.is_relative_to(closed.library.path)
        with pytest.raises(RetrievalError, match="app.py --library DIR --dataset DIR"):
            evaluating.start(bare, RECIPE)
        with pytest.raises(BadRecipe, match="only models that the catalogue names"):
            evaluating.start(stranger, RECIPE, ["cross:http:m;url=http://10.0.0.1/v1"])
        assert "read-only" in evaluate.about(closed) and "--dataset DIR" in evaluate.about(bare)
        assert closed.proofs.job is bare.proofs.job is stranger.proofs.job is None
    finally:
        for page in (closed, bare, stranger):
            page.close()


def test_what_the_command_says_when_it_fails_reaches_the_visitor(page: Page, proof: Job, tmp_path: Path) -> None:
    job = Job("x")
    with pytest.raises(RetrievalError, match="no encoder is called") as failed:
        evaluating.run(page, job, [*_command(page, tmp_path), "--recipe", "nobody@text"])
    assert "\x1b" not in str(failed.value) and "Traceback" not in str(failed.value)


def test_a_proof_can_be_stopped(page: Page, proof: Job) -> None:
    job = evaluating.start(page, RECIPE, [f"nnn:{k}" for k in range(1, 15)], seed=9)
    deadline = time.monotonic() + 60
    while page.proving is None and time.monotonic() < deadline:
        os.sched_yield()
    evaluating.stop(page)
    page.proofs.wait(60)
    assert (job.state, job.note) == ("failed", "it was stopped before its end")
    assert "stopped" in evaluating.progress(job)


def test_the_bars_of_a_terminal_are_the_jobs_progress(tmp_path: Path) -> None:
    drawn = (
        "\x1b[?25l\ritems \x1b[38;5;237m━━━━\x1b[0m 96/635 5.3 items/s\r\x1b[2K"
        "trying center,nnn:3    ━━━━━━╸       3/11\r"
    )
    (tmp_path / "said").write_text(drawn, encoding="utf-8")
    job = Job("x")
    with (tmp_path / "said").open("rb") as stream:
        said = evaluating._followed(stream, job)
    assert (job.note, job.done, job.total) == ("trying center,nnn:3", 3, 11)
    assert "\x1b" not in said
    assert "trying center,nnn:3 (3 of 11)" in evaluating.progress(job)
    assert 'value="0.273"' in evaluating.progress(job)


def _command(page: Page, out: Path) -> list[str]:
    assert page.dataset is not None
    return [sys.executable, "-m", "eval", "fix", "--dataset", str(page.dataset.folder), "--out", str(out), "--json"]
