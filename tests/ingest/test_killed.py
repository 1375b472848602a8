"""Killed anywhere and run again, an ingest ends where an undisturbed one does: none twice, none missing."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from drawings import drawing
from library_contents import contents, leftovers

from mmretrieval.library import Library

SCRIPT = Path(__file__).with_name("killed.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, captions, copies and passages: every way in which an item can come about."""
    root = tmp_path_factory.mktemp("files")
    for seed in range(10):
        drawing(seed).save(root / f"{seed}.png")
    shutil.copy(root / "3.png", root / "copy.png")
    (root / "2.txt").write_text("the second")
    (root / "copy.txt").write_text("the third, once more")
    (root / "long.md").write_text("# Blocks\n\n" + "Coloured blocks stand in rows, four by four. " * 60)
    return root


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("undisturbed") / "library"
    assert run(path, folder) == 0
    return state(path, folder)


def run(library: Path, folder: Path, point: str = "-", nth: int = 1, *encoders: str) -> int:
    """The exit status of one ingest; minus the signal's number where it was killed."""
    command = [sys.executable, str(SCRIPT), str(library), str(folder), point, str(nth), *encoders]
    return subprocess.run(command, check=False, timeout=120).returncode


def state(path: Path, folder: Path) -> dict[str, Any]:
    """What the library holds after one more run, which sweeps the parts away that were merged into others."""
    assert run(path, folder) == 0
    with Library.open(path) as library:
        assert leftovers(library) == []
        return contents(library)


@pytest.mark.parametrize(
    ("point", "nth"),
    [("part", 1), ("part", 3), ("ledger", 1), ("ledger", 4), ("merge", 1), ("merged", 1), ("index", 1), ("indexed", 1)],
)
def test_killed_at_a_fault_point(
    point: str, nth: int, folder: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    assert run(tmp_path / "library", folder, point, nth) == -signal.SIGKILL
    assert run(tmp_path / "library", folder) == 0
    assert state(tmp_path / "library", folder) == undisturbed


def test_killed_twice_in_a_row(folder: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    assert run(tmp_path / "library", folder, "ledger", 2) == -signal.SIGKILL
    assert run(tmp_path / "library", folder, "part", 1) == -signal.SIGKILL
    assert run(tmp_path / "library", folder) == 0
    assert state(tmp_path / "library", folder) == undisturbed


def test_killed_while_files_change(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "files"
    shutil.copytree(folder, mine)
    assert run(tmp_path / "library", mine) == 0
    drawing(99).save(mine / "1.png")
    (mine / "2.txt").write_text("the second, mended")
    (mine / "5.png").unlink()
    assert run(tmp_path / "library", mine, "ledger", 1) == -signal.SIGKILL
    assert run(tmp_path / "library", mine) == 0
    assert run(tmp_path / "fresh", mine) == 0
    assert state(tmp_path / "library", mine) == state(tmp_path / "fresh", mine)


@pytest.mark.parametrize("seed", range(10))
def test_killed_at_a_random_moment(seed: int, folder: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    started = time.monotonic()
    assert run(tmp_path / "timed", folder) == 0
    kill(tmp_path / "library", folder, random.Random(seed).uniform(0.05, 1.0) * (time.monotonic() - started))
    assert run(tmp_path / "library", folder) == 0
    assert state(tmp_path / "library", folder) == undisturbed


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(10))
def test_killed_again_and_again_while_everything_changes(
    seed: int, folder: Path, tmp_path: Path, second_encoder: str
) -> None:
    chance = random.Random(seed)
    mine = tmp_path / "files"
    shutil.copytree(folder, mine)
    for _ in range(5):
        for _ in range(6):
            change(mine, chance)
        kill(tmp_path / "library", mine, chance.uniform(0.5, 3.0), *chance.choice([(), (second_encoder,)]))
    assert run(tmp_path / "library", mine, "-", 1, second_encoder) == 0
    assert run(tmp_path / "fresh", mine, "-", 1, second_encoder) == 0
    assert state(tmp_path / "library", mine) == state(tmp_path / "fresh", mine)


def kill(library: Path, folder: Path, seconds: float, *encoders: str) -> None:
    """An ingest that has so much time and no more."""
    process = subprocess.Popen([sys.executable, str(SCRIPT), str(library), str(folder), "-", "1", *encoders])
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def change(folder: Path, chance: random.Random) -> None:
    """One thing that people do to their files."""
    fresh = folder / f"{chance.randrange(10**6)}.png"
    one, two = chance.sample(sorted(folder.glob("*.png")), 2)
    match chance.choice(["new", "other", "rename", "caption", "no caption", "delete", "copy", "swap", "passages"]):
        case "new":
            drawing(chance.randrange(10**6)).save(fresh)
        case "other":
            drawing(chance.randrange(10**6), side=56).save(one)
        case "rename":
            one.rename(fresh)
        case "caption":
            one.with_suffix(".txt").write_text(f"caption {chance.randrange(1000)}")
        case "no caption":
            one.with_suffix(".txt").unlink(missing_ok=True)
        case "delete":
            one.unlink()
        case "copy":
            shutil.copy(one, fresh)
        case "swap":
            one.rename(folder / "aside")
            two.rename(one)
            (folder / "aside").rename(two)
        case "passages":
            (folder / "long.md").write_text("Coloured blocks stand in rows. " * chance.randrange(60, 200))
