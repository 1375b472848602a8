"""The example notebook: its cells run on a small library, and its saved outputs are those of a whole run."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.library import Library
from tests.page.conftest import make_dataset

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "notebook.ipynb"
MOST_BYTES = 400_000


def cells() -> list[dict[str, Any]]:
    notebook: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def tagged(cell: dict[str, Any], tag: str) -> bool:
    return tag in cell["metadata"].get("tags", [])


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Twenty-five pictures, each with a sentence of words."""
    folder = make_dataset(tmp_path / "things")
    lines = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    for line in lines:
        (folder / line["path"]).with_suffix(".txt").write_text(line["text"])
    media = (folder / "assets").rename(tmp_path / "media")
    with Library.create(tmp_path / "library", ("hashing",)) as made:
        assert not ingest(made, list(walk([media])), workers=1).failed
    return tmp_path / "library"


def test_its_cells_run_on_a_small_library(
    library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    space: dict[str, Any] = {}
    shown: list[Any] = []
    for number, cell in enumerate(cells()):
        source = "".join(cell["source"])
        if tagged(cell, "parameters"):
            exec(compile(source, f"cell {number}", "exec"), space)
            space |= {"LIBRARY": str(library), "RECIPE": "hashing", "OTHER": "hashing@visual"}
            space |= {"WORDS": "a garden", "AWAY": "kettle", "NONSENSE": "qzx vbn wrtplk"}
            continue
        # What draws needs a notebook to draw in; the figure itself is made all the same.
        exec(compile(re.sub(r"^figure\.show\(.*\)$", "", source, flags=re.M), f"cell {number}", "exec"), space)
        if re.search(r"^library\.search", source, re.M):
            shown.append(space["library"].search(space["WORDS"], recipe=space["RECIPE"]))
    os.chdir(ROOT)
    said = capsys.readouterr().out
    assert "garden" in repr(shown[0]) and shown[0].hits
    assert "hits stand out" in said and "overlap@10" in said and space["finding"].sentence in said
    assert space["figure"].data and len(space["table"].rows) > 10
    for hit in space["hits"]:
        assert sum(hit.contributions[0].values) == pytest.approx(hit.trail[0].score, abs=1e-6)


def test_its_outputs_are_saved_whole_and_small() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert len(text.encode()) <= MOST_BYTES
    kinds: set[str] = set()
    for number, cell in enumerate(cells(), start=1):
        assert cell["execution_count"] == number, "run all cells anew, in order, before saving"
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            kinds |= set(output.get("data", {}))
    assert {"text/plain", "image/png"} <= kinds
    said = "".join(str(output.get("text", "")) for cell in cells() for output in cell["outputs"])
    assert "hits stand out" in said and "0.0000" not in said, "a chance is never 0"
    assert not re.search(r"/tmp/|/home/|/root/|[A-Z]:\\\\Users", text), "a path of somebody's machine"
