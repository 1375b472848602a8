"""The bench of late interaction: what it makes, what it counts, and its command."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from eval import bench_late
from eval.bench_late import Made, late_interaction
from mmretrieval.late import maxsim
from mmretrieval.muvera import Fde

SMALL = Made(documents=300, rows=12, dim=24, queries=15, query_rows=6, words=300, topics=20)


def test_the_seed_decides_what_is_made() -> None:
    bags, queries = SMALL.draw()
    again, _ = SMALL.draw()
    other, _ = replace(SMALL, seed=1).draw()
    assert bags.rows.tobytes() == again.rows.tobytes() != other.rows.tobytes()
    assert (len(bags), len(queries), bags.rows.shape) == (300, 15, (3600, 24))
    np.testing.assert_allclose(np.linalg.norm(bags.rows, axis=1), 1, atol=1e-6)


def slow_single(made: Made, wanted: float) -> float:
    """The single-vector heuristic by sorting everything: the mean number of documents at the least sufficient k."""
    bags, queries = made.draw()
    owner = np.repeat(np.arange(len(bags)), made.rows)
    lists, best = [], []
    for q in range(len(queries)):
        rows, weights = queries[q]
        best.append(np.argsort(-maxsim(rows, weights, bags, range(len(bags))))[:10])
        lists.append([owner[np.argsort(-(bags.rows @ row), kind="stable")] for row in rows])
    for k in range(1, len(owner)):
        found = [set(np.concatenate([order[:k] for order in orders])) for orders in lists]
        hits = sum(len(f & set(b)) for f, b in zip(found, best, strict=True))
        if hits >= wanted * 10 * len(best):
            return float(np.mean([len(f) for f in found]))
    raise AssertionError("not even all rows suffice")


def test_counts_are_those_of_the_definition(tmp_path: Path) -> None:
    result = late_interaction(SMALL, tmp_path, [Fde(20, 3, 8), Fde(1, 2, 2)])
    single, good, bad = result["rows"]
    assert single["candidates"] == round(slow_single(SMALL, 0.95), 1)
    assert 10 <= good["candidates"] < bad["candidates"] <= 300
    assert good["of_single"] == round(good["candidates"] / single["candidates"], 3)
    assert [p["rows"] for p in result["pooled"]] == [6, 4]
    assert 0.2 < result["pooled"][1]["recall_at_10"] <= result["pooled"][0]["recall_at_10"] < 1
    deep = result["index"]["searches"][-1]
    assert deep["candidates"] == 400 and deep["recall_at_10"] == 1.0  # all 300 are candidates


def test_needed_is_the_least_length_that_suffices() -> None:
    places = np.array([[0, 1, 2, 9], [0, 3, 4, 5], [0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 99]])
    assert bench_late._needed(places) == 10  # 19 of 20 stand before place 10


def test_the_command_ends_with_one_json_object() -> None:
    command = [sys.executable, "-m", "eval", "bench", "late-interaction", "--documents", "200", "--queries", "5"]
    done = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True, timeout=120)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["n"] == 200 and result["made"]["queries"] == 5 and result["versions"]["numpy"] == np.__version__
    assert [row["way"] for row in result["rows"]][:2] == ["single rows", "FDE 10,4,8"]
    assert "candidates" in done.stderr
