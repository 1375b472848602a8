"""The bench of the page: started, asked by one and by several, on a library that needs no weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eval import bench_page
from eval.__main__ import app
from eval.bench_page import Asker, Load, _goals, _spread
from mmretrieval.errors import LibraryError
from tests.page.conftest import make_library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_library(tmp_path_factory.mktemp("bench"))


def test_it_measures_a_page(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_page, "BROWSERS", ("no such browser",))
    options = [
        "bench",
        "page",
        "--library",
        str(library),
        "--seconds",
        "2",
        "--users",
        "3",
        "--searches",
        "5",
        "--json",
    ]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["n"] == 12 and found["made"]["users"] == 3 and found["encoding"]["recipe"] == "hashing@all,sum"
    one, many = found["one_user"], found["many_users"]
    assert one["n"] == 5 and one["errors"] == many["errors"] == 0
    assert 0 < one["p50_ms"] <= one["p95_ms"] and many["answers"] >= 3 and many["a_second"] > 0
    assert many["rss_begin_mb"] > 50 and len(many["rss_mb"]) > 5
    assert "no browser" in found["paint"]["why"]
    goals = {goal["name"]: goal["met"] for goal in found["goals"]}
    assert goals["errors"] is True and goals["a warm visit until items are seen, ms"] is None
    assert "no browser" in done.stderr


def test_a_library_that_is_none_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "page", "--library", str(tmp_path), "--seconds", "1"])
    assert done.exit_code == 1 and "no library" in done.stderr


def test_goals_are_met_or_not_by_what_was_measured() -> None:
    many = {"errors": 0, "growth_share": 0.05}
    found: dict[str, Any] = {
        "encoding": {"p95_ms": 40.0}, "one_user": {"p95_ms": 140.0, "errors": 0}, "many_users": many,
        "paint": {"ready_ms": 3000.0},
    }  # fmt: skip
    assert [goal["met"] for goal in _goals(found)] == [True, True, True, True]
    found["one_user"], found["paint"] = {"p95_ms": 140.2, "errors": 1}, {"ready_ms": 3000.1}
    found["many_users"] = many | {"growth_share": 0.2}
    assert [goal["met"] for goal in _goals(found)] == [False, False, False, False]
    found["many_users"] = many | {"growth_share": None}
    assert _goals(found)[3]["met"] is None


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert _spread([float(n) for n in range(1, 101)]) == {"n": 100, "p50_ms": 50.0, "p95_ms": 95.0}
    assert _spread([7.0]) == {"n": 1, "p50_ms": 7.0, "p95_ms": 7.0}
    assert _spread([])["p95_ms"] is None


def test_an_answer_that_is_an_error_counts_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Page:
        """Answers as a page does whose search fails."""

        text = 'event: error\ndata: "it broke"\n\n'

        def post(self, *_: Any, **__: Any) -> Page:
            return self

        get = post

        def raise_for_status(self) -> Page:
            return self

        def json(self) -> dict[str, str]:
            return {"event_id": "1"}

    asker = object.__new__(Asker)
    asker.http, asker.parameters = Page(), [("words", "")]  # type: ignore[assignment]
    met = bench_page.Answers()
    bench_page._ask(asker, iter(["red"] * 3), met, count=2)
    assert met.ms == [] and len(met.errors) == 2 and "it broke" in met.errors[0]
    with pytest.raises(LibraryError, match="'error'"):
        asker.ask("red")


def test_the_least_that_is_asked_is_bounded() -> None:
    assert (Load().users, Load().seconds) == (20, 60.0)
    assert CliRunner().invoke(app, ["bench", "page", "--users", "500"]).exit_code == 2
