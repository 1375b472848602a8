"""Fixes: nothing is judged on what it was fitted on, and the numbers are those of an ordinary run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from eval import judging
from eval.dataset import Dataset
from eval.fix import tell
from eval.fixing import Fixed, Row, fix, verdict
from eval.judging import Shelf, shelve
from eval.metrics import per_query
from eval.reading import load
from eval.runs import trec_scores
from eval.significance import Comparison
from eval.trial import Cost, Geometry, Trial, halves
from mmretrieval import part_rows
from mmretrieval.errors import BadRecipe, DatasetError
from mmretrieval.recipe import parse
from mmretrieval.search import CORRECTIONS

ROOT = Path(__file__).parents[2]
WORDS = [
    "apple",
    "boat",
    "cloud",
    "dog",
    "engine",
    "forest",
    "garden",
    "harbour",
    "island",
    "jacket",
    "kettle",
    "ladder",
    "mountain",
    "needle",
    "orchard",
    "pencil",
    "quarry",
    "river",
    "saddle",
    "temple",
    "umbrella",
    "valley",
    "window",
    "yard",
]


@pytest.fixture
def folder(write: Any) -> Path:
    """Twenty-four passages that each speak of a thing, one that speaks of all, and two queries for each thing."""
    corpus = [{"id": w, "text": f"The {w} stood there, a {w} like any other {w}."} for w in WORDS]
    corpus.append({"id": "all", "text": " ".join(WORDS)})
    queries = [
        {"id": f"{w}-{n}", "parts": [{"text": t}]} for w in WORDS for n, t in enumerate((f"a {w}", f"{w} there"))
    ]
    qrels = [(q["id"], q["id"].split("-")[0], 1) for q in queries]
    path: Path = write(corpus, queries, qrels, bank=[{"id": "b", "parts": [{"text": "something else"}]}])
    return path


@pytest.fixture
def opened(folder: Path, tmp_path: Path) -> Iterator[tuple[Dataset, Shelf]]:
    data = load(folder)
    shelf, _ = shelve(data, tmp_path / "library", ("hashing",), own=True, workers=1)
    with shelf.library:
        yield data, shelf


def test_what_is_judged_was_never_a_reference_query(
    opened: tuple[Dataset, Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[tuple[frozenset[str], frozenset[str]]] = []
    answers = judging.answers

    def watched(engine: Any, shelf: Shelf, asked: Any, posed: Any, recipe: Any, k: int) -> Any:
        bank = {p.content.text for q in engine.spaces.bank.queries for p in q.parts}
        judged.append((frozenset(p.text for q in asked for p in q.parts), frozenset(bank)))
        return answers(engine, shelf, asked, posed, recipe, k)

    monkeypatch.setattr(judging, "answers", watched)
    found = fix(*opened, "hashing@text", tries=("nnn:3", "center"), metric="mrr")
    assert (found.fitting, found.held_out) == (24, 24)
    assert {len(asked) for asked, _ in judged} == {12, 24}
    for asked, bank in judged:
        assert not asked & bank
        assert "something else" in bank
    held = {asked for asked, _ in judged if len(asked) == 24}
    fitted = {asked for asked, _ in judged if len(asked) == 12}
    assert len(held) == 1
    assert not next(iter(held)) & frozenset.union(*fitted)


def test_the_same_question_in_another_spelling_is_no_reference_query(write: Any, tmp_path: Path) -> None:
    corpus = [{"id": w, "text": f"The {w} stood there."} for w in WORDS]
    spelled = [(w, n, t) for w in WORDS for n, t in enumerate((f"a {w}", f"A  {w.upper()} ", f"a {w}"))]
    queries = [{"id": f"{w}-{n}", "parts": [{"text": t, "weight": 1.0 + n}]} for w, n, t in spelled]
    bank = [{"id": "b", "parts": [{"text": "other"}]}]
    data = load(write(corpus, queries, [(q["id"], q["id"].split("-")[0], 1) for q in queries], bank=bank))
    shelf, _ = shelve(data, tmp_path / "library", ("hashing",), own=True, workers=1)
    with shelf.library:
        parts = halves(data, shelf, 0)
        asked = [{judging.asks(q) for q in posed.asked} for posed in parts]
        assert [len(a) for a in asked] == [6, 6, 12]
        assert not asked[0] & asked[1] | asked[0] & asked[2] | asked[1] & asked[2]


def test_two_spellings_of_a_stage_are_one_test(opened: tuple[Dataset, Shelf]) -> None:
    found = fix(*opened, "hashing@text", tries=("nnn", "nnn:128:0.75", "nnn:128"), pairs=False)
    assert [t.stages for t in found.tried] == [("nnn",)]


def test_the_held_out_values_are_those_of_an_ordinary_run(opened: tuple[Dataset, Shelf]) -> None:
    data, shelf = opened
    found = fix(data, shelf, "hashing@text", tries=("nnn:3",), metric="mrr", seed=4)
    (row,) = [r for r in found.rows if r.stages == ("nnn:3",)]
    generator = np.random.default_rng([4, 48])
    queries = [data.judged[i] for i in generator.permutation(48)]
    held, fitted = queries[::2], queries[1::2]
    bank = judging.as_bank("fitting half", (*data.bank, *fitted), data, shelf)
    for recipe, expected in (("hashing@text", row.comparison.mean_a), (row.recipe, row.comparison.mean_b)):
        ranked, _ = judging.rank(data, shelf, held, recipe, k=100, on_done=lambda _: None, bank=bank)
        values = per_query({q.id: data.qrels[q.id] for q in held}, trec_scores(ranked).scores)
        assert np.mean([v["mrr"] for v in values.values()]) == pytest.approx(expected)
    assert row.cost.item_bytes == found.plain_cost.item_bytes + 4
    assert row.p_holm >= row.comparison.p


def test_a_fix_is_the_same_again_but_for_its_times(opened: tuple[Dataset, Shelf]) -> None:
    def timeless(found: Fixed) -> Fixed:
        rows = tuple(replace(r, cost=Cost(0, r.cost.item_bytes), verdict="") for r in found.rows)
        return replace(found, rows=rows, plain_cost=Cost(0, 0))

    first, second = (fix(*opened, "hashing@text", tries=("center", "csls")) for _ in range(2))
    assert timeless(first) == timeless(second)
    assert {t.stages for t in first.tried} == {("center",), ("csls",), ("center", "csls")}
    assert {r.stages for r in first.rows} == {("center",), ("csls",), ("center", "csls")}


def test_queries_are_embedded_once_however_many_recipes_ask(
    opened: tuple[Dataset, Shelf], monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = 0
    embed = part_rows.embed

    def counted(encoder: Any, some: Any, role: Any) -> Any:
        nonlocal contents
        contents += len(some)
        return embed(encoder, some, role)

    monkeypatch.setattr(part_rows, "embed", counted)
    monkeypatch.setattr("mmretrieval.bank_rows._BANKS", {})
    fix(*opened, "hashing@text", tries=("center", "nnn:3", "csls", "qbnorm"))
    # 48 queries, and three banks: 12 + 12 + 24 of them, with the dataset's own one in each.
    assert contents == 48 + 48 + 3


def test_what_cannot_be_tried_says_why_and_does_not_stop_the_rest(opened: tuple[Dataset, Shelf]) -> None:
    found = fix(*opened, "hashing@text", tries=("relative", "rrf", "center"))
    problems = {t.stages: t.problem for t in found.tried}
    assert "joins several lists" in problems[("rrf",)]
    assert "items" in problems[("relative",)]
    assert problems[("center",)] == ""
    with pytest.raises(BadRecipe, match=r"nothing of what was tried works .* relative: "):
        fix(*opened, "hashing@text", tries=("relative",))


def test_a_correction_takes_the_place_of_the_one_that_is_there(opened: tuple[Dataset, Shelf]) -> None:
    found = fix(*opened, "hashing@text,csls", tries=("nnn:3", "qbnorm", "center"))
    recipes = {t.stages: t.recipe for t in found.tried}
    assert recipes[("nnn:3",)] == "hashing@text,sum,nnn:3:0.75"
    assert ("nnn:3", "qbnorm") not in recipes and ("qbnorm", "nnn:3") not in recipes
    assert recipes[("center", "nnn:3")] == "hashing@text,center,sum,nnn:3:0.75"


def test_what_a_change_replaces_is_said_and_the_recipe_without_it_is_judged_too(
    opened: tuple[Dataset, Shelf],
) -> None:
    data, shelf = opened
    found = fix(data, shelf, "hashing@text,qbnorm", tries=("csls", "center"), metric="mrr")
    replaced = {t.stages: t.replaces for t in found.tried}
    assert replaced[("csls",)] == replaced[("center", "csls")] == replaced[()] == ("qbnorm:20:1",)
    assert replaced[("center",)] == ()
    rows = {r.stages: r for r in found.rows}
    assert set(rows) == {("csls",), ("center",), ("center", "csls"), ()}
    assert rows[()].recipe == "hashing@text,sum"
    assert rows[()].verdict.startswith("without qbnorm:20:1 ") and rows[()].without is None
    assert rows[("center",)].verdict.startswith("center ") and rows[("center",)].without is None
    bare = fix(data, shelf, "hashing@text", tries=("center",), metric="mrr").plain
    for stages in (("csls",), ("center", "csls")):
        assert rows[stages].verdict.startswith(f"{','.join(stages)} instead of qbnorm:20:1 ")
        assert rows[stages].without == rows[()].comparison.mean_b == bare
        assert f"; with no correction at all mrr is {bare:.3f}" in rows[stages].verdict
    console = Console(record=True, width=300)
    tell(console, found)
    said = console.export_text()
    assert said.count("center,csls instead of qbnorm:20:1") == 3  # both tables and the verdict
    assert said.count("without qbnorm:20:1") == 3


def test_what_replaces_nothing_is_tried_alone(opened: tuple[Dataset, Shelf]) -> None:
    for recipe, tries in (("hashing@text", ("csls",)), ("hashing@text,csls:10", ("csls", "center"))):
        found = fix(*opened, recipe, tries=tries, pairs=False)
        assert [(t.stages, t.replaces) for t in found.tried] == [((stage,), ()) for stage in tries]
        assert all(r.without is None for r in found.rows)


@pytest.mark.parametrize("recipe", ["hashing@text", "hashing@text,qbnorm", "hashing@all,qbnorm:5:3"])
def test_hubs_are_counted_in_the_rankings_that_searches_give(write: Any, tmp_path: Path, recipe: str) -> None:
    """Every query leaves out the passage of all things, which nearly all of them would find, and the one of its own."""
    corpus = [{"id": w, "text": f"The {w} stood there, a {w} like any other {w}."} for w in WORDS]
    corpus.append({"id": "all", "text": " ".join(["a", "there", *WORDS])})
    queries = [
        {"id": f"{w}-{n}", "parts": [{"text": t}], "exclude": ["all", w]}
        for w in WORDS
        for n, t in enumerate((f"a {w}", f"{w} there"))
    ]
    qrels = [(q["id"], WORDS[(WORDS.index(q["exclude"][1]) + 1) % len(WORDS)], 1) for q in queries]
    data = load(write(corpus, queries, qrels, bank=[{"id": "b", "parts": [{"text": "a river there"}]}]))
    shelf, _ = shelve(data, tmp_path / "library", ("hashing",), own=True, workers=1)
    with shelf.library:
        trial = Trial(data, shelf, "mrr", halves(data, shelf, 0))
        found = trial.geometry(parse(recipe))
        bank, asked = trial.engines[2].spaces.bank, trial.held.asked
        ranked, _ = judging.rank(data, shelf, asked, recipe, k=10, on_done=lambda _: None, bank=bank)
    counts = np.array([sum(entry["id"] in r.ids for r in ranked) for entry in corpus], dtype=float)
    assert counts[-1] == 0
    assert found is not None
    assert found.never == (counts == 0).mean()
    assert found.hubness == pytest.approx(float((((counts - counts.mean()) / counts.std()) ** 3).mean()))


def test_of_two_orders_only_the_better_is_judged(opened: tuple[Dataset, Shelf]) -> None:
    found = fix(*opened, "hashing@text", tries=("center", "pca:20"), metric="mrr")
    both = [t for t in found.tried if len(t.stages) == 2]
    assert {t.stages for t in both} == {("center", "pca:20"), ("pca:20", "center")}
    better = max(both, key=lambda t: t.value or 0)
    assert [r.stages for r in found.rows if len(r.stages) == 2] == [better.stages]


def test_too_few_queries_are_refused(write: Any, tmp_path: Path) -> None:
    data = load(write())
    shelf, _ = shelve(data, tmp_path / "library", ("hashing",), own=True, workers=1)
    with shelf.library, pytest.raises(DatasetError, match="3 judged queries: at least 16 are needed"):
        fix(data, shelf, "hashing")


def test_a_correction_that_is_not_as_asked_says_so(opened: tuple[Dataset, Shelf]) -> None:
    found = fix(*opened, "hashing@text", tries=("nnn:999", "nnn:9"), pairs=False)
    said = {row.stages[0]: (row.remarks, row.verdict) for row in found.rows}
    remark = f"nnn:999:0.75: an item's mean is over all {found.bank} reference queries, as there are no 999"
    assert said["nnn:999"][0] == (remark,) and remark in said["nnn:999"][1]
    assert said["nnn:9"][0] == () and "reference queries" not in said["nnn:9"][1]


def test_every_correction_can_be_tried(opened: tuple[Dataset, Shelf]) -> None:
    found = fix(*opened, "hashing@text", tries=tuple(CORRECTIONS))
    assert {t.stages[0] for t in found.tried if t.value is not None} == set(CORRECTIONS)
    (row,) = [r for r in found.rows if r.stages == ("dualsoftmax",)]
    assert row.transductive
    assert "transductive" in row.verdict


# --- verdicts ------------------------------------------------------------------------------------------------------


def row(difference: float, p: float, **more: Any) -> Row:
    found = Comparison(
        "recall@10", 200, 0.31, 0.31 + difference, difference, difference - 0.02, difference + 0.02, p, 9, 8, 7, 0
    )
    made = Row(("nnn:128:0.75",), "x", found, p, 0.03, Cost(1.0, 2564), Geometry(0.82, 3.0, 0.1), False, False, "")
    return replace(made, **more)


def test_a_verdict_says_what_was_shown_and_what_was_not() -> None:
    plain, shape = Cost(1.0, 2560), Geometry(0.82, 3.0, 0.1)
    assert verdict(row(0.05, 0.002), plain, shape) == (
        "nnn:128:0.75 raises recall@10 from 0.310 to 0.360 (95 % interval of the difference +0.030 to +0.070, "
        "p = 0.0020 after Holm) and costs 4 bytes more for each item's vector."
    )
    unseen = verdict(row(0.01, 0.4, cost=Cost(1.0, 2560), geometry=Geometry(0.03, 3.0, 0.1)), plain, shape)
    assert unseen.startswith("nnn:128:0.75 changes nothing that 200 queries can show: recall@10 from 0.310 to 0.320")
    assert unseen.endswith("less than 0.030 would have stayed unseen; it narrows the gap from 0.82 to 0.03.")
    few = verdict(row(0.01, 0.4, cost=Cost(1.0, 2560), smallest=None), plain, shape)
    assert few.endswith("only 16 of them differ, too few to show any effect after Holm.")
    small = row(0.01, 0.4, cost=Cost(1.0, 2560))
    small = replace(small, comparison=replace(small.comparison, queries=12))
    assert "stayed unseen; with only 12 queries the interval says little" in verdict(small, plain, shape)
    assert "the interval says little" in verdict(replace(small, p_holm=0.01), plain, shape)
    assert "says little" not in unseen
    assert "lowers recall@10 from 0.310 to 0.210" in verdict(row(-0.1, 0.001), plain, shape)
    shorter = verdict(row(-0.1, 0.001, cost=Cost(3.0, 32, 2.0)), plain, shape)
    assert "takes 32 bytes for each item's vector instead of 2,560 and 2.0 ms more a query" in shorter
    worded = verdict(row(0.05, 0.002, found_by_words=True), plain, shape)
    assert worded.endswith(
        "it uses items' words where the recipe searches their pixels: compare it with a search of the words."
    )
    hubs = verdict(row(0.05, 0.002, geometry=Geometry(0.82, 0.5, 0.1)), plain, shape)
    assert hubs.endswith("it takes the skewness of how often items are found from 3.0 to 0.5.")


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_ends_with_what_it_found(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "eval", "fix", "--dataset", str(folder), "--recipe", "hashing@text"]
    command += ["--try", "center", "--try", "nnn:5", "--metric", "mrr", "--no-pairs"]
    command += ["--out", str(tmp_path / "out"), "--json"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["fitting"], found["held_out"], found["bank"], found["metric"]) == (24, 24, 25, "mrr")
    assert {tuple(r["stages"]) for r in found["rows"]} == {("center",), ("nnn:5",)}
    for made in found["rows"]:
        assert made["verdict"] in done.stderr
        assert made["comparison"]["low"] <= made["comparison"]["difference"] <= made["comparison"]["high"]
    (kept,) = (tmp_path / "out").glob("fix-*.json")
    assert json.loads(kept.read_text()) == found


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--try", "cente"], "no stage is called 'cente'. Did you mean 'center'"),
        (["--metric", "mr"], "'mr'"),
    ],
)
def test_a_wrong_word_is_refused_before_any_work(folder: Path, tmp_path: Path, more: list[str], said: str) -> None:
    command = [sys.executable, "-m", "eval", "fix", "--dataset", str(folder), "--recipe", "hashing@text", *more]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], cwd=ROOT, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "out").exists()
