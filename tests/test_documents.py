"""What README.md and ARCHITECTURE.md name is there: targets, commands, recipes, encoders, files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from eval.__main__ import app as evaluating
from ingest.__main__ import app as ingesting
from mmretrieval.catalog import blocks, cards, families
from mmretrieval.lexical import is_lexical
from mmretrieval.recipe import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The part of the README below a heading, up to the next of its rank."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    return str(found)


def first_cells(text: str) -> list[str]:
    """What stands in backticks at the beginning of a table's rows."""
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def test_every_target_is_there_and_said() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE)) - {"setup-dev", "help"}
    assert set(re.findall(r"\bmake ([a-z]+)\b(?= |`)", README)) >= targets
    assert set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE)) <= targets
    assert set(re.findall(r'@echo "make ([a-z]+)', MAKEFILE)) == targets


@pytest.mark.parametrize(("module", "app"), [("ingest", ingesting), ("eval", evaluating)])
def test_every_command_is_there_and_said(module: str, app: typer.Typer) -> None:
    there = {str(c.name or (c.callback and c.callback.__name__)) for c in app.registered_commands}
    there |= {str(group.name) for group in app.registered_groups}
    assert set(re.findall(rf"python -m {module} ([a-z-]+)", README)) == there


@pytest.mark.parametrize("text", first_cells(section("Recipes")) + first_cells(section("What the sample set says")))
def test_every_recipe_is_one(text: str) -> None:
    known = cards()
    assert all(source.encoder in known or is_lexical(source.encoder) for source in parse(text).sources)


def test_every_encoder_is_said() -> None:
    said = set(re.findall(r"`([\w.-]+)`", section("Encoders")))
    assert set(blocks()) | set(families()) <= said


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:mmretrieval|tests|ingest|models|store)/[\w/.]+)`", ARCHITECTURE)))
)
def test_every_file_is_there(path: str) -> None:
    if not re.search(r"\bx\.py$", path):  # what somebody would add
        assert any((top / path).exists() for top in (ROOT, ROOT / "mmretrieval")), path


@pytest.mark.parametrize("path", re.findall(r"\]\(([\w/.]+)\)", README + ARCHITECTURE))
def test_every_link_leads_somewhere(path: str) -> None:
    assert (ROOT / path).is_file()
