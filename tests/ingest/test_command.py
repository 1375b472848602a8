"""python -m ingest as a user runs it: exit codes, JSON, words for people, and a folder of hostile files."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from drawings import drawing

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "tests" / "assets"


def command(*words: object) -> tuple[int, dict[str, Any], str]:
    """Exit status, the JSON of the last line of standard output (empty without --json), and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "ingest", *map(str, words)],
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    return done.returncode, json.loads(lines[-1]) if "--json" in words and lines else {}, done.stderr + done.stdout


def makers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_assets", ASSETS / "make_assets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_add_status_forget(tmp_path: Path) -> None:
    folder, library = tmp_path / "in", tmp_path / "library"
    folder.mkdir()
    for seed in range(3):
        drawing(seed).save(folder / f"{seed}.png")
    status, said, _ = command("add", folder, "--library", library, "--encoder", "hashing", "--json")
    assert status == 0
    assert {k: said[k] for k in ("stored", "unchanged", "replaced", "failed", "removed", "failures")} == {
        "stored": 3, "unchanged": 0, "replaced": 0, "failed": 0, "removed": 0, "failures": [],
    }  # fmt: skip
    status, said, _ = command("status", "--library", library, "--json")
    assert (status, said["items"], said["kinds"]) == (0, 3, {"image": 3})
    assert said["encoders"] == {"hashing": {"visual": 3}}
    status, said, _ = command("verify", "--library", library, "--json")
    assert (status, said["vectors"], said["problems"]) == (0, 3, [])
    status, said, _ = command("forget", folder / "1.png", "--library", library, "--json")
    assert (status, said["removed"]) == (0, 1)
    status, _, words = command("status", "--library", library)
    assert status == 0
    assert "2 items in 2 files (2 image)" in words


def test_status_tells_of_what_was_fitted_and_of_indexes_of_recipes(tmp_path: Path) -> None:
    files, library = tmp_path / "in", tmp_path / "library"
    files.mkdir()
    for name in ("one fox", "two whales", "three bridges"):
        (files / f"{name}.txt").write_text(name)
    command("add", files, "--library", library, "--encoder", "hashing")
    status, said, words = command("status", "--library", library, "--json")
    assert (said["fits"], said["fit_bytes"], said["recipe_indexes"]) == (0, 0, []) and "transforms" not in words
    assert command("index", "--library", library, "--recipe", "hashing@text,center")[0] == 0
    _, said, words = command("status", "--library", library, "--json")
    (held,) = said["recipe_indexes"]
    assert (held["recipe"], held["items"], held["fresh"]) == ("hashing,center", 3, True)
    assert said["fits"] == 1 and said["fit_bytes"] > 0 and held["bytes"] > 0
    assert f"1 fits of recipes' stages, {said['fit_bytes'] / 1e6:.1f} MB" in words
    assert f"index of hashing,center: 3 items, {held['bytes'] / 1e6:.1f} MB, fresh" in words
    shutil.move(library / "transforms", library / "aside")
    assert "fit missing: searches scan" in command("status", "--library", library)[2]
    shutil.move(library / "aside", library / "transforms")
    (files / "four.txt").write_text("four lighthouses")
    command("add", files, "--library", library)
    assert (
        "3 items" in command("status", "--library", library)[2]
        and "stale: searches scan" in command("status", "--library", library)[2]
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("add", "nowhere", "--library", "{}/new"), "nowhere does not exist"),
        (("status", "--library", "{}/none"), "there is no library at"),
        (("add", "samples/photos", "--library", "{}/new", "--encoder", "lite0"), "Did you mean"),
        (("add-encoder", "hashing", "--library", "{}/none"), "there is no library at"),
        (("add", "samples", "--library", "{}"), "holds no library.toml"),
        (("add", "samples/videos", "--library", "{}/new", "--video-reader", "opencv"), "no video reader is called"),
    ],
)
def test_wrong_usage_is_2_and_says_the_way_out(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    status, _, heard = command(*(w.format(tmp_path) for w in words))
    assert status == 2
    assert says in heard
    assert "Traceback" not in heard
    assert not (tmp_path / "new").exists()


def test_hostile_files_each_get_a_reason_and_the_rest_is_stored(tmp_path: Path) -> None:
    folder, library = tmp_path / "hostile", tmp_path / "library"
    folder.mkdir()
    for path in (ASSETS / "broken").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    makers().write_huge_png(folder / "huge.png")
    makers().write_odd_names(folder / "odd")
    drawing(1).save(os.fsdecode(os.fsencode(folder) + b"/\xff.png"), format="png")
    status, said, _ = command("add", folder, "--library", library, "--encoder", "hashing", "--json")
    reasons = {Path(f["path"]).name: f["reason"] for f in said["failures"]}
    assert status == 1
    broken = {p.name for p in (ASSETS / "broken").iterdir()} - {"zeros.bin"}
    assert set(reasons) == broken | {"huge.png", r"\udcff.png"}
    assert "UTF-8" in reasons[r"\udcff.png"]
    assert all(len(r) > 15 and "Traceback" not in r for r in reasons.values())
    expected = {
        "huge.png": "megapixel",
        "empty.png": "empty",
        "encrypted.pdf": "encrypted",
        "text_named.jpg": "plain text",
    }
    for name, word in expected.items():
        assert word in reasons[name].lower(), reasons[name]
    odd = len([p for p in (folder / "odd").rglob("*") if p.is_file()])
    assert said["stored"] == odd
    status, again, _ = command("add", folder, "--library", library, "--json")
    assert (status, again["unchanged"], again["failed"]) == (1, odd, said["failed"])
    _, state, _ = command("status", "--library", library, "--json")
    assert {Path(f["path"]).name for f in state["failed"]} == set(reasons)


def test_every_sound_asset_is_stored(tmp_path: Path) -> None:
    library = tmp_path / "library"
    folders = [ASSETS / name for name in ("pictures", "videos", "documents", "texts", "misnamed")]
    status, said, words = command("add", *folders, "--library", library, "--encoder", "hashing", "--json")
    assert said["failures"] == []
    assert status == 0, words
    _, state, _ = command("status", "--library", library, "--json")
    assert set(state["kinds"]) == {"image", "video", "document", "text"}


def test_a_library_keeps_its_video_reader(tmp_path: Path) -> None:
    clip, library = ASSETS / "videos" / "short.mp4", tmp_path / "library"
    words = ("add", clip, "--library", library, "--encoder", "hashing", "--video-reader")
    status, said, _ = command(*words, "decord", "--json")
    assert (status, said["stored"]) == (0, 1)
    status, _, heard = command(*words, "pyav")
    assert status == 2
    assert "reads videos with decord" in heard
