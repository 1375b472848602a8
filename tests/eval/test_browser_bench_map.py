"""The bench of the map: made, laid out and drawn in a real browser; and what it says where there is none."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from eval import bench_map
from eval.__main__ import app


@pytest.mark.browser
@pytest.mark.usefixtures("chromium")
def test_it_measures_a_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_map, "SECONDS", 0.5)
    done = CliRunner().invoke(app, ["bench", "map", "--items", "300", "--seed", "3", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.strip().splitlines()[-1])
    # A browser that has much to do may refuse to draw by WebGL: the bench tells, and the map is drawn all the same.
    assert (found["n"], found["made"]["seed"]) == (300, 3) and found["webgl"] in (True, False)
    assert found["first_draw_seconds"] > 0 and found["recoloured_seconds"] > 0 and found["bytes"] > 300
    assert all(found[kind]["frames"] > 0 for kind in ("rest", "hover", "zoom")) and "umap_seconds" not in found
    assert "from the click until it is drawn" in done.stderr and "300 points" in done.stderr


def test_without_a_browser_it_says_so_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_map, "BROWSERS", ("no such browser",))
    done = CliRunner().invoke(app, ["bench", "map"])
    assert done.exit_code == 1 and "no browser: none of no such browser" in done.stderr
    assert "making a library" not in done.stderr
    assert CliRunner().invoke(app, ["bench", "map", "--items", "5"]).exit_code == 2
