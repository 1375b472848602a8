from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmretrieval import catalog

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_list_names_every_encoder_and_what_is_missing() -> None:
    done = run("-m", "models", "list")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(catalog.blocks())]] == list(catalog.blocks())
    assert "models pull NAME" in done.stdout


def test_json_is_the_last_line_of_standard_output_and_people_read_standard_error() -> None:
    done = run("-m", "models", "list", "--json")
    rows = json.loads(done.stdout)["encoders"]
    assert [row["name"] for row in rows] == list(catalog.blocks())
    assert "NAME" in done.stderr
    shown = run("-m", "models", "show", "lite", "--json")
    assert json.loads(shown.stdout)["dim"] == catalog.card("lite").dim


def test_an_unknown_encoder_is_an_error_without_a_traceback() -> None:
    done = run("-m", "models", "show", "lyte")
    assert done.returncode == 2
    assert "lite" in done.stderr
    assert "Traceback" not in done.stderr


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from models.__main__ import main; main(['list']); "
        "heavy = {'torch', 'transformers', 'open_clip', 'gradio', 'PIL'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def test_the_table_speaks_of_video_and_of_licences_that_forbid_commercial_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[mine]\nfactory = "models.hashing:Hashing"\nversion = 1\ndim = 64\nreads = ["image", "frames"]\n'
        'licence = "CC-BY-NC-4.0"\ncommercial = false\noffline = true\nmulti = true\njoint = true\n',
        "utf-8",
    )
    monkeypatch.setenv("MMRETRIEVAL_CATALOG", str(own))
    lines = {line.split()[0]: " ".join(line.split()) for line in run("-m", "models", "list").stdout.splitlines()}
    assert lines["hashing"].startswith("hashing 64 text image video - yes Apache-2.0")
    assert lines["mine"] == "mine 64 image video joint multi yes CC-BY-NC-4.0 (NO COMMERCIAL USE)"
    assert "forbids commercial use" in run("-m", "models", "show", "mine").stdout
    row = next(r for r in json.loads(run("-m", "models", "list", "--json").stdout)["encoders"] if r["name"] == "mine")
    assert row["reads"] == ["image", "video"]
    assert row["commercial"] is False


def test_pulling_what_is_installed_says_so_and_what_cannot_be_fetched_is_an_error() -> None:
    done = run("-m", "models", "pull", "lite", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["encoder"] == "lite"
    assert "installed" in done.stderr
    offline = run("-m", "models", "pull", "clip-b32")
    assert offline.returncode == 2
    assert "error:" in offline.stderr
    assert "Traceback" not in offline.stderr
