"""What a recipe may hold, said from the tables: at the terminal, for programs, and in docs/stages.md."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eval.__main__ import app
from eval.stages import GRAMMAR, SLOT_SAYS, Described, described
from mmretrieval.recipe import LEADING, SLOTS, parse
from mmretrieval.search import AS_AN_ENTRY, ONE_VIEW, READERS, TRANSDUCTIVE, UNTRANSFORMED
from mmretrieval.types import VIEWS

ROOT = Path(__file__).parents[2]
FOUND = described()


def call(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["stages", *arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(params=FOUND, ids=lambda stage: stage.name)
def stage(request: pytest.FixtureRequest) -> Described:
    return request.param  # type: ignore[no-any-return]


def test_every_stage_of_every_table_is_there_in_the_order_of_a_recipe() -> None:
    assert [(s.slot, s.name) for s in FOUND] == [(slot, name) for slot, table, _ in SLOTS for name in table]
    assert list(SLOT_SAYS) == [slot for slot, _, _ in SLOTS]
    assert re.findall("transform|composer|correction|fuser|reranker|cut-off", GRAMMAR[-1]) == list(SLOT_SAYS)
    assert all(view in " ".join(GRAMMAR) for view in VIEWS)


def test_an_example_is_a_recipe_with_that_stage_in_its_slot(stage: Described) -> None:
    recipe = parse(stage.example)
    held = {
        "transform": recipe.transforms,
        "composer": (recipe.composer,),
        "correction": (recipe.correction,),
        "fuser": (recipe.fuser,),
        "reranker": recipe.rerankers,
        "cut-off": (recipe.cutoff,),
    }[stage.slot]
    (own,) = [s for s in held if s is not None and s.name == stage.name]
    assert len(own.arguments) == len(stage.arguments) == len(re.findall(":(?!MODEL)", stage.written))
    for value, argument in zip(own.arguments, stage.arguments, strict=True):
        assert argument.low <= value <= argument.high
        assert value == (argument.default or (64 if argument.whole else 0))


def test_facts_are_those_of_the_tables(stage: Described) -> None:
    name = stage.name
    assert stage.transductive == (name in TRANSDUCTIVE)
    assert stage.one_view == (name in ONE_VIEW)
    assert stage.untransformed == (name in UNTRANSFORMED)
    assert stage.as_an_entry == (name in AS_AN_ENTRY)
    assert bool(stage.model) == (name in LEADING or name in READERS) == (":MODEL" in stage.written)
    assert stage.every_view == (name in ("gram", "span"))


def test_one_stage_is_told_whole_and_alone() -> None:
    code, said, _ = call("nnn:64")
    words = " ".join(said.split())
    assert code == 0
    assert words.startswith("nnn:k:a (correction)")
    assert "k: over how many reference queries" in words
    assert "a whole number of reference queries, 1 to 20,000; 128 if left out" in words
    assert "(a number, 0 to 10; 0.75 if left out)" in words
    for part in ("one more number of each item", "arXiv 2410.24114", "lite@visual,nnn:128:0.75"):
        assert part in words
    assert "csls" not in words and GRAMMAR[0] not in words


def test_all_are_told_under_their_slots_with_the_grammar_first() -> None:
    code, said, _ = call()
    assert code == 0
    assert tuple(said.splitlines()[: len(GRAMMAR)]) == GRAMMAR
    assert "MODEL: a name" in GRAMMAR[-1]  # of align and its like
    places = [said.index(f"\n{heading.upper()} (") for heading, _, _ in SLOT_SAYS.values()]
    assert places == sorted(places)
    written = [line for line in said.splitlines() if line in {s.written for s in FOUND}]
    assert written == [s.written for s in FOUND]
    assert max(map(len, said.splitlines()[3:])) <= 120


def test_json_is_the_last_line_and_holds_what_a_program_needs() -> None:
    code, said, people = call("--json")
    assert code == 0
    (line,) = said.splitlines()
    told = json.loads(line)
    assert [s["written"] for s in told["stages"]] == [s.written for s in FOUND]
    by_name = {s["name"]: s for s in told["stages"]}
    k, a = by_name["nnn"]["arguments"]
    assert (k["name"], k["default"], k["low"], k["high"], k["whole"]) == ("k", 128, 1, 20_000, True)
    assert (a["name"], a["default"], a["whole"], a["unit"]) == ("a", 0.75, False, "")
    assert by_name["dualsoftmax"]["transductive"] and not by_name["dualsoftmax"]["fitted"]
    assert "nnn:k:a" in people
    assert [s["name"] for s in json.loads(call("rrf", "--json")[1])["stages"]] == ["rrf"]


def test_what_is_no_stage_is_answered_with_the_nearest() -> None:
    code, _, said = call("mnn")
    assert code == 2 and "no stage is called 'mnn'" in said and "'nnn'" in said
    assert "Did you mean 'nnn'" in call("NNN")[2] and "Did you mean" not in call("nope")[2]
    code, _, said = call("nnn", "--markdown")
    assert code == 2 and "'nnn'" in said


def test_the_document_is_what_the_command_gives() -> None:
    code, said, _ = call("--markdown")
    assert code == 0
    made = "python -m eval stages --markdown > docs/stages.md"
    assert said == (ROOT / "docs" / "stages.md").read_text(encoding="utf-8"), f"tables have changed: run `{made}`"


def test_links_of_the_document_lead_to_its_headings() -> None:
    text = (ROOT / "docs" / "stages.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\(#(.+?)\)", text) == re.findall(r"^### (.+)$", text, re.MULTILINE)


def test_the_list_is_quick_and_brings_neither_torch_nor_a_store() -> None:
    heavy = ("torch", "transformers", "gradio", "PIL", "scipy", "pyarrow", "qdrant_client", "qdrant_edge", "av")
    code = (
        "import sys; from eval.__main__ import app\n"
        "try:\n    app(['stages', '--json'])\nexcept SystemExit as e:\n    assert not e.code\n"
        f"found = [m for m in {heavy} if m in sys.modules]; sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr.splitlines()[-1]
    # Of the processor, not of the clock: other tests may be running.
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([sys.executable, "-m", "eval", "stages"], cwd=ROOT, capture_output=True, check=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1.5
