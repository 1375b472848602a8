"""Bags of rows survive a kill as single vectors do: part, ledger, merge and index, each repaired by the next run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drawings import drawing
from library_contents import contents, leftovers
from token_encoder import NAME, registered

from mmretrieval.library import Library
from tests.ingest.test_killed import run


@pytest.fixture(scope="module", autouse=True)
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with registered(tmp_path_factory.mktemp("own")):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("files")
    for seed in range(13):
        drawing(seed).save(root / f"{seed}.png")
        (root / f"{seed}.txt").write_text(f"the {'red ' * seed}drawing number {seed}")
    return root


def state(path: Path, folder: Path) -> dict[str, Any]:
    assert run(path, folder, "-", 1, NAME) == 0
    with Library.open(path) as library:
        assert leftovers(library) == []
        return contents(library)


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("undisturbed") / "library"
    assert run(path, folder, "-", 1, NAME) == 0
    held = state(path, folder)
    assert {n: len(v) for n, v in held["vectors"].items() if NAME in n} == {f"{NAME}@visual": 13, f"{NAME}@text": 13}
    assert held["vectors"] == held["index"]
    return held


@pytest.mark.parametrize(("point", "nth"), [("part", 4), ("ledger", 2), ("merge", 2), ("indexed", 2)])
def test_killed_at_a_fault_point(
    point: str, nth: int, folder: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    assert run(tmp_path / "library", folder, point, nth, NAME) == -signal.SIGKILL
    assert run(tmp_path / "library", folder, "-", 1, NAME) == 0
    assert state(tmp_path / "library", folder) == undisturbed
