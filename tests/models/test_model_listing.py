from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
    assert "clip-b32: needs" in done.stdout


def test_json_is_the_last_line_of_standard_output_and_people_read_standard_error() -> None:
    done = run("-m", "models", "list", "--json")
    rows = json.loads(done.stdout)["encoders"]
    assert [row["name"] for row in rows] == list(catalog.blocks())
    assert "NAME" in done.stderr
    shown = run("-m", "models", "show", "lite", "--json")
    assert json.loads(shown.stdout)["dim"] == 384


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
