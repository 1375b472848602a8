"""Adding an encoder as ARCHITECTURE.md says, from outside the project, and using it through its front doors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]

MODULE = '''
"""Pictures by their average colour, words by the colours that they name."""

import numpy as np

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}


class Colours:
    def __init__(self, card, files, settings):
        self.card = card
        self.gain = float(settings["gain"])

    def encode(self, contents, role):
        return np.array([self.row(c) for c in contents], dtype=np.float32)

    def row(self, content):
        if content.image is not None:
            mean = np.asarray(content.image.convert("RGB"), dtype=np.float32).mean(axis=(0, 1)) / 255
        else:
            words = (content.text or "").lower().split()
            mean = np.sum([COLOURS.get(w, (0, 0, 0)) for w in words] or [(0, 0, 0)], axis=0)
        return [*(self.gain * np.asarray(mean)), 0.1, 0.001 * len(content.text or "")]
'''

CATALOGUE = """
[colours]
factory = "mypkg.enc:Colours"
version = 1
dim = 5
reads = ["text", "image"]
offline = true
licence = "ours alone"
commercial = false
preprocessing = "none"
runtime = "numpy"
promise = "average colours"
settings = { gain = "1.0" }
options = { gain = [] }
"""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A package and a catalogue of one's own, and three pictures."""
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg" / "__init__.py").touch()
    (tmp_path / "mypkg" / "enc.py").write_text(MODULE)
    (tmp_path / "mine.toml").write_text(CATALOGUE)
    (tmp_path / "files").mkdir()
    for name, colour in {"a": (250, 20, 20), "b": (20, 250, 20), "c": (20, 20, 250)}.items():
        Image.new("RGB", (40, 30), colour).save(tmp_path / "files" / f"{name}.png")
    return tmp_path


def run(outside: Path, *command: str, code: int = 0) -> str:
    environment = {
        **os.environ,
        "MMRETRIEVAL_CATALOG": str(outside / "mine.toml"),
        "PYTHONPATH": str(outside),
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def test_an_encoder_from_outside_is_listed_checked_ingested_and_searched(outside: Path) -> None:
    rows = {
        r["name"]: r for r in json.loads(run(outside, "-m", "models", "list", "--json").splitlines()[-1])["encoders"]
    }
    assert rows["colours"]["dim"] == 5
    assert rows["colours"]["commercial"] is False
    checked = json.loads(run(outside, "-m", "models", "check", "colours", "--json").splitlines()[-1])
    assert checked["passed"] is True
    library = str(outside / "library")
    run(outside, "-m", "ingest", "add", str(outside / "files"), "--library", library, "--encoder", "colours;gain=2.0")
    search = (
        "from mmretrieval.library import Library\n"
        f"with Library.open({library!r}) as library:\n"
        "    ranking = library.search(text='green', k=3)\n"
        "    items = library.items_by_id([h.id for h in ranking.hits])\n"
        "    print([items[h.id].paths[0][-5] for h in ranking.hits][0])\n"
    )
    assert run(outside, "-c", search).strip() == "b"


def test_mistakes_in_a_catalogue_of_ones_own_are_named(outside: Path) -> None:
    own = outside / "mine.toml"
    own.write_text(CATALOGUE.replace("mypkg.enc:Colours", "mypkg.enc:Colors"))
    assert "no 'Colors'" in run(outside, "-m", "models", "check", "colours", code=2)
    own.write_text(CATALOGUE.replace("mypkg.enc", "mypkg.nowhere"))
    assert "mypkg.nowhere" in run(outside, "-m", "models", "check", "colours", code=2)
    own.write_text(CATALOGUE.replace("dim = 5\n", ""))
    assert "colours lacks 'dim'" in run(outside, "-m", "models", "list", code=2)
    own.write_text(CATALOGUE.replace("[colours]", "[lite]"))
    assert "an encoder called 'lite' is in another catalogue" in run(outside, "-m", "models", "list", code=2)
    own.write_text("[colours\n")
    assert "mine.toml cannot be read" in run(outside, "-m", "models", "list", code=2)
