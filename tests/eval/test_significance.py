"""The paired comparison against what can be counted by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.significance import compare, holm, smallest_effect, values_of
from mmretrieval.errors import DatasetError, UnknownName

ROOT = Path(__file__).parents[2]


def run_of(values: list[float]) -> dict[str, float]:
    return {f"q{i}": v for i, v in enumerate(values)}


def test_equal_runs_differ_by_nothing() -> None:
    found = compare(run_of([0.1, 0.5, 1.0]), run_of([0.1, 0.5, 1.0]), "map")
    assert (found.difference, found.low, found.high, found.p, found.ties) == (0, 0, 0, 1, 3)


def test_p_is_the_share_of_sign_flips_as_extreme() -> None:
    # Four queries, all won by the same amount: of 16 sign patterns two are as extreme, so p = 2/16.
    found = compare(run_of([0, 0, 0, 0]), run_of([0.5] * 4), "map")
    assert found.p == pytest.approx(2 / 16)
    assert (found.difference, found.low, found.high) == (0.5, 0.5, 0.5)
    assert (found.wins, found.ties, found.losses) == (4, 0, 0)


def test_noise_is_not_significant_and_a_shift_is() -> None:
    rng = np.random.default_rng(3)
    base, other = rng.random(200), rng.random(200)
    noise = compare(run_of(list(base)), run_of(list(other)), "map")
    shift = compare(run_of(list(base)), run_of(list(base + 0.1 + 0.05 * rng.standard_normal(200))), "map")
    assert noise.p > 0.05
    assert shift.p < 0.001
    assert shift.low < 0.1 < shift.high
    mirrored = compare(run_of(list(other)), run_of(list(base)), "map")
    assert mirrored.difference == -noise.difference


def test_only_common_queries_count() -> None:
    found = compare({"a": 1, "b": 0, "x": 1}, {"a": 0, "b": 0, "y": 1}, "map")
    assert (found.queries, found.mean_a, found.mean_b) == (2, 0.5, 0.0)
    with pytest.raises(DatasetError, match="share 0"):
        compare({"a": 1}, {"b": 1}, "map")


def test_command_and_its_errors(tmp_path: Path) -> None:
    for name, value in (("a", 0.0), ("b", 1.0)):
        (tmp_path / name).mkdir()
        rows = [{"query": f"q{i}", "ndcg@10": value} for i in range(5)]
        (tmp_path / name / "per_query.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    command = [sys.executable, "-m", "eval", "compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["difference"], said["queries"], said["p"]) == (1.0, 5, pytest.approx(2 / 32))
    with pytest.raises(UnknownName, match="metric"):
        values_of(tmp_path / "a", "ndcg")
    with pytest.raises(DatasetError, match="not the folder of a run"):
        values_of(tmp_path, "map")


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_smallest_effect_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(5)
    n = 60
    effect = smallest_effect(rng.standard_normal(100_000)) * np.sqrt(100_000 / n)
    samples = rng.standard_normal((4000, n)) + effect
    t = samples.mean(axis=1) / (samples.std(axis=1, ddof=1) / np.sqrt(n))
    assert (abs(t) > 1.96).mean() == pytest.approx(0.8, abs=0.03)
    values = rng.standard_normal(50)
    assert smallest_effect(values, tests=10) > smallest_effect(values)


def test_where_too_few_queries_differ_no_effect_could_show() -> None:
    assert smallest_effect(np.zeros(30)) is None
    assert smallest_effect(np.array([1.0] * 5 + [0.0] * 25)) is None  # all five one way: p = 2 / 2^5
    assert smallest_effect(np.array([1.0] * 6 + [0.0] * 24)) is not None  # p = 2 / 2^6 < 0.05
    assert smallest_effect(np.array([1.0] * 6 + [0.0] * 24), tests=4) is None
