"""The paired comparison against what can be counted by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.significance import FEW, caution, compare, holm, smallest_effect, values_of
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
    assert "With only 5 queries the interval says little" in done.stdout + done.stderr
    with pytest.raises(UnknownName, match="metric"):
        values_of(tmp_path / "a", "ndcg")
    with pytest.raises(DatasetError, match="not the folder of a run"):
        values_of(tmp_path, "map")


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def flipped(differences: np.ndarray) -> np.ndarray:
    """p of the test that swaps every way there is, or 4,000 of them, for each row of paired differences."""
    n = differences.shape[1]
    if n <= 12:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    else:
        signs = np.vstack([np.ones(n), np.random.default_rng(n).choice([-1, 1], size=(3999, n))])
    sums, own = differences @ signs.T.astype(float), differences.sum(axis=1)[:, None]
    return 2 * np.minimum((sums >= own - 1e-9).mean(axis=1), (sums <= own + 1e-9).mean(axis=1))


@pytest.mark.parametrize(
    ("n", "tests", "least"), [(8, 1, 0.75), (8, 5, 0.75), (10, 12, 0.65), (12, 5, 0.74), (16, 5, 0.74), (30, 1, 0.76)]
)
def test_the_smallest_effect_is_found_about_four_times_in_five(n: int, tests: int, least: float) -> None:
    rows = np.random.default_rng(n).standard_normal((2000, n))
    # Of rows with a spread of exactly 1, so that its own estimate is no part of what is measured.
    told = [smallest_effect(3 + row / row.std(ddof=1), tests) for row in rows[:50]]
    assert None not in told
    power = (flipped(rows + np.mean(np.array(told, dtype=float))) < 0.05 / tests - 1e-12).mean()
    assert least < power < 0.84


def test_queries_that_do_not_differ_make_no_effect_easier_to_show() -> None:
    rows = np.random.default_rng(60).standard_normal((2000, 12))
    told = [smallest_effect(np.r_[3 + row / row.std(ddof=1), np.zeros(48)], 5) for row in rows[:50]]
    assert None not in told
    power = (flipped(rows + np.mean(np.array(told, dtype=float)) * 60 / 12) < 0.05 / 5 - 1e-12).mean()
    assert 0.7 < power < 0.84


def test_more_tests_need_a_larger_effect_and_thousands_of_queries_are_counted_too() -> None:
    values = np.random.default_rng(5).standard_normal(5000)
    one, ten = smallest_effect(values), smallest_effect(values, tests=10)
    assert one is not None and ten is not None and ten > one
    # Of very many queries it is the normal one.
    assert one == pytest.approx((1.959964 + 0.841621) * values.std(ddof=1) / np.sqrt(5000), rel=1e-3)


def test_where_too_few_queries_differ_no_effect_could_show() -> None:
    assert smallest_effect(np.zeros(30)) is None
    assert smallest_effect(np.array([1.0] * 5 + [0.0] * 25)) is None  # all five one way: p = 2 / 2^5
    assert smallest_effect(np.array([1.0] * 6 + [0.0] * 24)) is not None  # p = 2 / 2^6 < 0.05
    assert smallest_effect(np.array([1.0] * 6 + [0.0] * 24), tests=4) is None
    # 9,999 resamples have no p below 0.0002, however many queries differ.
    assert smallest_effect(np.random.default_rng(1).standard_normal(500), tests=250) is None


def gains(chance: np.random.Generator, n: int) -> np.ndarray:
    """Differences as those of ndcg: half the queries do not change, and the others move by steps of its discount."""
    discount = np.array([0.0, *(1 / np.log2(rank + 1) for rank in range(1, 11))])
    before = chance.choice(discount, n, p=[0.35] + [0.065] * 10)
    after = chance.choice(discount, n, p=[0.2, 0.215] + [0.065] * 9)
    return np.where(chance.random(n) < 0.5, 0.0, after - before)


@pytest.mark.parametrize(("n", "least"), [(8, 0.86), (12, 0.91), (20, 0.92)])
def test_an_interval_over_few_queries_holds_the_truth_nearly_as_often_as_it_says(n: int, least: float) -> None:
    from eval.significance import _interval

    chance = np.random.default_rng(n)
    truth = gains(chance, 400_000).mean()
    found = [_interval(gains(chance, n), 0) for _ in range(1500)]
    assert least < np.mean([low <= truth <= high for low, high in found]) < 0.97


def test_from_thirty_queries_on_the_interval_is_the_bootstraps_and_nothing_is_added() -> None:
    chance = np.random.default_rng(8)
    values = chance.random(FEW)
    found = compare(run_of([0.0] * FEW), run_of(list(values)), "map", seed=4)
    draws = np.random.default_rng(4).integers(0, FEW, (9999, FEW))
    # The bootstrap goes over the queries in the order of their names.
    ordered = np.array([v for _, v in sorted(run_of(list(values)).items())])
    np.testing.assert_allclose((found.low, found.high), np.percentile(ordered[draws].mean(axis=1), [2.5, 97.5]))
    assert caution(FEW) == ""
    assert "with only 29 queries" in caution(FEW - 1)


def test_under_thirty_the_interval_is_students() -> None:
    found = compare(run_of([0.0] * 4), run_of([0.1, 0.2, 0.3, 0.6]), "map")
    half = 3.182446 * np.std([0.1, 0.2, 0.3, 0.6], ddof=1) / 2
    assert (found.low, found.high) == pytest.approx((0.3 - half, 0.3 + half), rel=1e-6)
