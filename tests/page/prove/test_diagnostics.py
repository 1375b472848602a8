"""Diagnoses as the page makes them: on the library and on a dataset, one or two recipes, drawn, kept, refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from eval.diagnosis import figure
from eval.reading import load
from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.diagnostics.labels import place
from mmretrieval.errors import BadQuery, BadRecipe, RetrievalError, UnknownName
from mmretrieval.library import Library
from page.compare import tab as compare
from page.notices import escape
from page.prove import diagnostics, figures
from page.prove.diagnostics import Choice
from page.prove.drawn import drawn
from page.prove.findings import Findings, Task, look, wanted
from page.query.asking import Asked, AskedPart
from page.state import Page
from tests.page.conftest import by_caption, draw

BOTH = "hashing@visual+lite-0@visual"


@pytest.fixture(scope="module")
def page(wide: Path, things: Path, temporary: Path) -> Iterator[Page]:
    opened = Page(Library.open(wide), dataset=load(things))
    yield opened
    opened.close()


def asked(page: Page, **changed: Any) -> list[Task]:
    choice = Choice("library", "hashing@visual", "", "gap", 10_000, 0, "", False)._replace(**changed)
    found = diagnostics.tasks(page, choice)
    for task in found:
        assert task.ended.wait(250), task.note
    return found


@pytest.mark.parametrize("name", sorted(DIAGNOSTICS))
def test_each_diagnostic_says_something_with_plots_numbers_and_its_basis(page: Page, name: str) -> None:
    (task,) = asked(page, diagnostic=name, left=BOTH if name == "agreement" else "hashing@visual", seed=7)
    assert task.found is not None, task.problem
    html = drawn([task])
    finding = task.found.finding
    assert finding.sentence.split(",")[0] in html.replace("&#x27;", "'")
    assert html.count("data-figure=") == len(finding.plots) > 0
    assert "seed 7" in html and f"n = {finding.basis['n']}" in html
    for stage in finding.stages:
        assert f'data-stage="{stage}"' in html
    for number in range(len(finding.plots)):
        plot = figures.plot_of(task.found, number)
        assert plot.x and plot.y and plot.title in html.replace("&#x27;", "'")


@pytest.mark.parametrize("name", ["gap", "hubness", "concepts", "capacity"])
def test_the_dataset_is_diagnosed_with_its_own_queries(page: Page, name: str) -> None:
    (task,) = asked(page, of="dataset", diagnostic=name, classes="shelf", seed=7)
    assert task.found is not None, task.problem
    assert "Measured on the dataset" in drawn([task])
    if name == "hubness":
        assert task.found.finding.basis["n"] == 48  # two queries a thing
    if name == "concepts":
        assert task.found.finding.numbers["mixed.v_measure"] is not None  # the classes were seen


def test_two_recipes_stand_beside_each_other(page: Page) -> None:
    tasks = asked(page, right="hashing@visual,center")
    assert [t.wanted.recipe for t in tasks] == ["hashing@visual,sum", "hashing@visual,center,sum"]
    assert all(t.found for t in tasks)
    html = drawn(tasks)
    left, right = (t.found.finding for t in tasks if t.found)
    assert html.count("data-figure=") == len(left.plots) + len(right.plots)
    assert "left: hashing@visual,sum" in html and "right: hashing@visual,center,sum" in html
    label = place("gap", "pair_cosine", left.basis).row
    row = re.search(f"<tr><td >{re.escape(escape(label))}[^<]*</td>(.*?)</tr>", html)
    assert row is not None
    assert [figure(found.numbers["pair_cosine"]) in row[1] for found in (left, right)] == [True, True]


def test_one_side_that_cannot_be_says_why_and_the_other_is_shown(page: Page, tmp_path: Path) -> None:
    for number in range(6):
        draw(tmp_path / f"{number}.png", (40 * number, 9, 9))
        (tmp_path / f"{number}.txt").write_text(f"number {number}")
    with Library.create(tmp_path / "library", ("hashing",)) as library:
        ingest(library, list(walk([tmp_path])), workers=1)
    small = Page(Library.open(tmp_path / "library"))
    try:
        (few,) = asked(small, diagnostic="dimension")
    finally:
        small.close()
    (shown,) = asked(page)
    html = drawn([few, shown])
    assert "dimension says nothing here" in html and "at least 20" in html
    assert html.count("data-figure=") == len(shown.found.finding.plots)  # type: ignore[union-attr]
    assert "Numbers" in html


def test_two_encoders_beside_each_other_are_one_agreement(page: Page) -> None:
    (task,) = asked(page, diagnostic="agreement", right="lite-0@visual")
    assert task.wanted.recipe == f"{BOTH},sum,rrf:60" and task.found is not None
    (alone,) = asked(page, diagnostic="agreement")
    assert alone.state == "failed" and "says nothing here" in drawn([alone])


def test_what_was_found_is_kept_until_the_library_changes(page: Page) -> None:
    (first,), (again,), (other,) = asked(page, seed=3), asked(page, seed=3), asked(page, seed=4)
    assert first is again and first is not other
    assert page.findings.by_key(first.key) is first.found
    with pytest.raises(RetrievalError, match="run it again"):
        page.findings.by_key("nothing")


def test_umap_draws_the_pairs_anew(page: Page) -> None:
    (plain,), (curved,) = asked(page), asked(page, umap=True)
    assert plain is not curved and curved.found is not None, curved.problem
    assert curved.found.finding.basis["projection"] == "umap"
    assert not wanted(page, "hashing", "gram", umap=True).umap


def test_foreign_words_are_text_in_items_plots_and_tables(page: Page) -> None:
    tasks = asked(page, diagnostic="concepts") + asked(page, diagnostic="gap")
    html = drawn(tasks)
    assert "<img src=x" not in html and "onerror=" not in re.sub(r"&lt;img src=x onerror=", "", html)
    (gap,) = asked(page)
    with TestClient(Starlette(routes=figures.routes(page))) as client:
        client.app.auth = None  # type: ignore[attr-defined]
        found = client.get(f"/finding/{gap.key}/figure/0")
    assert "&lt;img src=x" in found.text and "<img src=x" not in found.text


def test_plots_tables_and_pictures_come_by_key(page: Page) -> None:
    (task,) = asked(page, diagnostic="concepts")
    assert task.found is not None
    with TestClient(Starlette(routes=figures.routes(page))) as client:
        client.app.auth = None  # type: ignore[attr-defined]
        figure = client.get(f"/finding/{task.key}/figure/0").json()
        assert figure["layout"]["xaxis"]["title"]["text"] and figure["data"]
        for beside in (f"{task.key}/0", f"{task.key}/999", f"{task.key}/{'9' * 5000}", f"{task.key}/x", "gone/0", "/"):
            answer = client.get(f"/finding/{task.key}/figure/0", params={"beside": beside})
            assert answer.status_code == 200, beside
            assert ("range" in answer.json()["layout"]["yaxis"]) == (beside == f"{task.key}/0"), beside
        table = client.get(f"/finding/{task.key}/table/0")
        assert table.headers["content-disposition"].startswith('attachment; filename="concepts-')
        assert table.text.startswith("series,") and len(table.text.splitlines()) > 1
        ident = next(i for e in task.found.finding.exhibits for ids, _ in e.rows for i in ids)
        assert client.get(f"/finding/{task.key}/thumb/{ident}").content[8:12] == b"WEBP"
        assert b"plotly" in client.get("/script/plotly.js").content[:400]
        for path in (
            f"{task.key}/figure/99",
            f"{task.key}/thumb/..%2F..%2Fledger.sqlite",
            f"{task.key}/thumb/nobody",
            "other/figure/0",
            "%C3%A4/figure/0",
        ):
            assert client.get(f"/finding/{path}").status_code == 404, path


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({"recipe": "lite"}, UnknownName, "has no vectors of 'lite'"),
        ({"recipe": "hashing@visual,align:lite"}, UnknownName, "has no vectors of 'lite'"),
        ({"recipe": "hashing@visual,centre"}, BadRecipe, "center"),
        ({"recipe": "hashing@joint"}, BadRecipe, "hashing makes no joint view"),
        ({"recipe": "bm25"}, BadRecipe, "bm25 compares words"),
        ({"diagnostic": "gapp"}, UnknownName, "gap"),
        ({"of": "/etc"}, RetrievalError, "none of them"),
        ({"sample": 3}, RetrievalError, "from 4 to"),
        ({"seed": 0.5}, RetrievalError, "from 0 to"),
    ],
)
def test_what_cannot_be_diagnosed_is_refused_before_any_work(
    page: Page, arguments: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        wanted(page, **({"recipe": "hashing", "diagnostic": "gap"} | arguments))


def test_strangers_read_with_catalogue_models_alone(wide: Path) -> None:
    stranger = Page(Library.open(wide), trusted=False)
    try:
        with pytest.raises(BadRecipe, match="only models that the catalogue names"):
            wanted(stranger, "hashing@visual,cross:http:m;url=http://10.0.0.1/v1", "gap")
        with pytest.raises(RetrievalError, match="no dataset"):
            wanted(stranger, "hashing", "gap", of="dataset")
    finally:
        stranger.close()


def test_an_empty_library_says_what_to_add(tmp_path: Path, temporary: Path) -> None:
    empty = Page(Library.create(tmp_path / "library", ("hashing",)))
    try:
        (task,) = asked(empty)
        assert task.state == "failed" and "add pictures with captions" in drawn([task])
    finally:
        empty.close()


def test_only_so_many_diagnoses_wait(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Findings(page)
    monkeypatch.setattr(waiting, "_work", lambda: None)
    for seed in range(8):
        waiting.ask(wanted(page, "hashing", "gap", seed=seed))
    with pytest.raises(RetrievalError, match="wait already"):
        waiting.ask(wanted(page, "hashing", "gap", seed=99))


def test_what_runs_is_said(page: Page) -> None:
    said: list[str] = []
    look(page, wanted(page, "hashing@visual", "gap", seed=11), said.append)
    assert said == ["reading the library's vectors", "measuring"]
    task = Task(wanted(page, "hashing@visual", "gap", seed=12))
    assert "waits for its turn" in diagnostics.running([task])


def test_the_classes_are_the_keys_that_items_have(page: Page) -> None:
    assert ("shelf", "shelf") in diagnostics.classes(page) and diagnostics.classes(page)[0][1] == ""


@pytest.mark.parametrize(
    ("shown", "event", "expected"),
    [
        (("hashing@visual,sum", ""), {"side": "left", "stage": "center"}, "hashing@visual,center,sum"),
        (("a", "hashing@text,sum"), {"side": "right", "stage": "nnn:3"}, "hashing@text,sum,nnn:3:0.75"),
        (("hashing@visual,sum", ""), {"side": "right", "stage": "center"}, "run it again"),
        (("hashing@visual,sum", ""), {"side": "left", "stage": "<b>"}, "no stage is called"),
        (("hashing@visual,sum", ""), {}, "no stage is called"),
    ],
)
def test_a_fix_is_the_recipe_with_the_stage(
    page: Page, shown: tuple[str, str], event: dict[str, Any], expected: str
) -> None:
    if " " in expected:
        with pytest.raises(RetrievalError, match=expected):
            diagnostics.fix(page, shown, event)
    else:
        was, changed, stage = diagnostics.fix(page, shown, event)
        assert (was in shown, changed, stage) == (True, expected, event["stage"])


def test_a_fix_takes_the_whole_query_of_search_along(page: Page) -> None:
    liked = AskedPart("item", by_caption(page, "a boat by").id, feedback=True)
    query = Asked.of("a dog", avoid="cloud", kinds=("image",), conditions="year >= 2000")
    query = Asked((*query.parts, liked), query.kinds, query.conditions, ("one", "two"))
    words, avoid, rest, along, _ = diagnostics.carried(page, query, "", 5)
    assert (words, avoid, compare.joined(words, avoid, rest)) == ("a dog", "cloud", query)
    assert "a boat by" in along and "year &gt;= 2000" in along
    words, avoid, rest, _, _ = diagnostics.carried(page, Asked.of(avoid="cloud"), " a kettle ", 5)
    assert compare.joined(words, avoid, rest) == Asked.of("a kettle", avoid="cloud")
    kept = diagnostics.carried(page, Asked(kinds=("image",)), " ", 5)
    assert len(kept) == 5 and all(one == gr.skip() for one in kept)
    with pytest.raises(BadQuery, match="at most 64 parts"):
        diagnostics.carried(page, Asked((liked,) * 64), "one more", 5)
