"""`agreement`: two encoders on the same items."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import ortho_group

from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.diagnostics.agreement import agreement as run
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.errors import RetrievalError
from mmretrieval.findings import Finding
from mmretrieval.store.exact import Matrix


def matrix(rows: np.ndarray, first: int = 0) -> Matrix:
    return Matrix(tuple(f"{i:05d}" for i in range(first, first + len(rows))), rows.astype(np.float32))


def compared(x: np.ndarray, y: np.ndarray, **more: object) -> Finding:
    other = Subject({"visual": matrix(y)}, "visual", "old")
    return run(Subject({"visual": matrix(x)}, "visual", "new", rival=other), **more)


def clustered(n: int, d: int, noise: float = 0.3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(12, d))[rng.integers(0, 12, size=n)] + noise * rng.normal(size=(n, d))


def test_one_space_agrees_with_itself_however_it_is_turned() -> None:
    x = clustered(300, 16)
    x[[7, 90, 91]] = x[3]  # copies: their neighbours tie
    found = compared(x, x @ ortho_group.rvs(16, random_state=0) * 3)
    for name in ("cka", "cka_debiased", "mutual_knn", "spearman", "relative_correlation"):
        assert found.numbers[f"visual.{name}"] == pytest.approx(1.0, abs=2e-3), name
        assert found.intervals[f"visual.{name}"] == pytest.approx((1.0, 1.0), abs=4e-3), name
    for name in ("relative_hit", "relative_hit_centred", "relative_mrr", "relative_mrr_centred"):
        assert found.numbers[f"visual.{name}"] > 0.97, name  # less the copies, which cannot be told apart
    assert found.sentence.startswith("Over 300 items seen by new and old: of an item's 10 nearest by pictures, 100%")
    assert "fusing them can add little" in found.advice and "align:old" in found.stages
    assert "% of the items are found again" in found.advice and "or more" not in found.advice


def test_what_is_measured_does_not_depend_on_either_axes() -> None:
    x, y = clustered(200, 8), clustered(200, 8) @ np.random.default_rng(1).normal(size=(8, 6))
    before = compared(x, y)
    after = compared(0.5 * x @ ortho_group.rvs(8, random_state=2), y @ ortho_group.rvs(6, random_state=3))
    assert set(before.numbers) == set(after.numbers)
    for name, value in before.numbers.items():
        assert after.numbers[name] == pytest.approx(value, abs=5e-3), name
    assert 0.2 < before.numbers["visual.mutual_knn"] < 0.95


def test_spaces_that_have_nothing_in_common_agree_as_much_as_chance() -> None:
    rng = np.random.default_rng(0)
    found = compared(rng.normal(size=(1200, 32)), rng.normal(size=(1200, 24)))
    numbers = {name.removeprefix("visual."): value for name, value in found.numbers.items()}
    for name, chance in (
        ("mutual_knn", numbers["mutual_knn_chance"]),
        ("relative_hit", numbers["relative_hit_chance"]),
        ("relative_mrr", numbers["relative_mrr_chance"]),
        ("relative_hit_centred", numbers["relative_hit_chance"]),
        ("cka", numbers["cka_chance"]),
        ("cka_debiased", 0.0),
        ("spearman", 0.0),
        ("relative_correlation", 0.0),
    ):
        assert numbers[name] == pytest.approx(chance, abs=0.01), name
    assert numbers["mutual_knn_chance"] == 10 / 1199
    assert numbers["relative_hit_chance"] == 1 / 900
    assert numbers["relative_mrr_chance"] == pytest.approx(sum(1 / i for i in range(1, 901)) / 900)
    low, high = found.intervals["visual.mutual_knn"]
    assert low <= 10 / 1199 <= high
    assert "no more than the 0.83% of chance" in found.sentence
    # Two encoders in one recipe are fused whether or not it says how.
    assert found.stages == () and "rrf" not in found.advice and "may find what one alone misses" in found.advice


def test_more_noise_is_less_agreement_in_every_number() -> None:
    x = clustered(300, 16, noise=1.0)
    noise = np.random.default_rng(5).normal(size=x.shape)
    near, far = (compared(x, x + share * noise) for share in (0.5, 2.0))
    for name in ("cka", "cka_debiased", "mutual_knn", "spearman", "relative_correlation", "relative_mrr"):
        high, low = near.numbers[f"visual.{name}"], far.numbers[f"visual.{name}"]
        assert 1 >= high > low + 0.1 > 0.1, name
        assert near.intervals[f"visual.{name}"][0] > far.intervals[f"visual.{name}"][1], name
        for found in (near, far):
            at, (below, above) = found.numbers[f"visual.{name}"], found.intervals[f"visual.{name}"]
            assert below <= at <= above, name


def test_a_common_direction_hides_relative_rows_until_it_is_taken_off() -> None:
    # One of the two is a cone, as encoders are: all its cosines are high, what tells items apart is small beside it.
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 16))
    y = (x + 0.6 * rng.normal(size=x.shape)) @ ortho_group.rvs(16, random_state=4) + 6 * np.eye(16)[0]
    found = compared(x, y).numbers
    assert found["visual.relative_mrr_centred"] > found["visual.relative_mrr"] + 0.1


def test_the_exhibit_has_the_item_that_was_moved() -> None:
    x = clustered(250, 12, noise=0.2)
    y = x.copy()
    far = int(np.argmin(x @ x[17]))
    y[17] = x[far]
    found = compared(x, y)
    ids, values = found.exhibits[0].rows[0]
    assert ids[0] == "00017" and values[0] == 0 and ids[2] == f"{far:05d}"
    nearest = np.argsort(-(x / np.linalg.norm(x, axis=1, keepdims=True)) @ x[17])
    assert ids[1] == f"{nearest[1]:05d}"
    assert values[1] < min(row[1][1] for row in found.exhibits[0].rows[1:])
    # Those that see all their neighbours alike are no items that differ.
    assert 1 < len(found.exhibits[0].rows) <= 20 and all(values[0] < 10 for _, values in found.exhibits[0].rows)
    same = compared(x, x)
    assert not same.exhibits
    assert same.absent == ("By pictures every item that was looked at has the same 10 nearest for both.",)


def test_only_items_and_views_that_both_have_are_compared() -> None:
    x, y = clustered(60, 8), clustered(60, 5)
    rival = Subject({"text": matrix(y[:50]), "visual": matrix(y[20:], 20)}, "visual", "b")
    views = {"visual": matrix(x), "text": matrix(x[:30]), "joint": matrix(x)}
    found = run(Subject(views, "visual", "a", rival=rival))
    assert found.basis["items"] == {"visual": 40, "text": 30}
    alone = run(Subject({"visual": matrix(x[20:], 20)}, "visual", "a", rival=rival))
    assert {k: v for k, v in found.numbers.items() if k.startswith("visual")} == alone.numbers
    assert "Over 40 (40 by pictures, 30 by words) items" in found.sentence
    with_zero = x.copy()
    with_zero[25] = 0
    left_out = run(Subject({"visual": matrix(with_zero)}, "visual", "a", rival=rival))
    assert left_out.basis["items"] == {"visual": 39} and left_out.basis["zero_rows"] == 1


def test_a_sample_is_drawn_by_the_seed_and_stated() -> None:
    x, y = clustered(400, 8), clustered(400, 8) @ np.random.default_rng(2).normal(size=(8, 8))
    first, again, other = (compared(x, y, seed=seed, sample=150) for seed in (1, 1, 2))
    assert first == again and first.numbers != other.numbers
    assert (first.basis["n"], first.basis["of"], first.basis["sample"], first.basis["seed"]) == (150, 400, 150, 1)
    whole = compared(x, y, sample=None)
    assert whole.basis["n"] == 400
    low, high = first.intervals["visual.cka"]
    assert low - 0.05 < whole.numbers["visual.cka"] < high + 0.05


def test_every_value_is_finite_and_plots_name_their_axes() -> None:
    x = clustered(120, 8)
    rival = Subject({"visual": matrix(x[:, :3]), "text": matrix(x[:, 3:])}, "visual", "b")
    found = run(Subject({"visual": matrix(x), "text": matrix(x)}, "visual", "a", rival=rival))
    assert all(value is not None and math.isfinite(value) for value in found.numbers.values())
    assert all(low <= high for low, high in found.intervals.values())
    assert all(name.count(".") == 1 for name in found.numbers)
    json.dumps(found.basis)
    assert {plot.name for plot in found.plots} == {"neighbours", "similarities", "shared"}
    for plot in found.plots:
        assert plot.x.count("(") or "cosine" in plot.x
        assert len({trace.name for trace in plot.traces}) == len(plot.traces)
        for trace in plot.traces:
            assert len(trace.x) == len(trace.y) <= 2000
            assert len(trace.low) in (0, len(trace.y)) and np.isfinite(trace.y).all()
    for view, trace in zip(("visual", "text"), found.plots[2].traces, strict=True):
        assert sum(trace.y) == pytest.approx(1.0)
        mean = sum(x * y for x, y in zip(trace.x, trace.y, strict=True)) / 10
        assert mean == pytest.approx(found.numbers[f"{view}.mutual_knn"])


def test_few_items_and_spaces_that_do_not_vary_are_said_to_be_so() -> None:
    few = compared(clustered(8, 4), clustered(8, 4))
    assert "With only 8 items" in few.sentence
    assert all(value is None or math.isfinite(value) for value in few.numbers.values())
    same = compared(np.ones((40, 4)), clustered(40, 4))
    assert same.numbers["visual.cka"] is None and same.numbers["visual.spearman"] is None
    assert "does not vary" in same.sentence
    # Who is nearest would be told by the order of ids alone.
    assert all(value is None for value in same.numbers.values()) and not same.intervals
    assert (same.advice, same.stages, same.exhibits) == ("", (), ())
    assert "no item is nearer than another" in same.absent[0] and "% are the same" not in same.sentence
    assert [plot.name for plot in same.plots] == ["similarities"]
    x = clustered(40, 4)
    rival = Subject({"visual": matrix(x), "text": matrix(x)}, "visual", "b")
    half = run(Subject({"visual": matrix(np.ones((40, 4))), "text": matrix(x)}, "visual", "a", rival=rival))
    assert "by pictures one of the spaces does not vary" in half.sentence and "by words, 100% are" in half.sentence
    assert [trace.name for trace in half.plots[2].traces] == ["words"] and "fusing them" in half.advice
    assert all(value is None or math.isfinite(value) for value in same.numbers.values())
    assert set(same.intervals) <= {name for name, value in same.numbers.items() if value is not None}


def test_what_is_missing_is_asked_for() -> None:
    alone = Subject({"visual": matrix(clustered(20, 4))}, "visual", "a")
    with pytest.raises(RetrievalError, match=r"two views of one encoder are the same.*two encoders joined by \+"):
        run(alone)
    few = Subject({"a": matrix(clustered(5, 4))}, "a", "x.npy")
    with pytest.raises(RetrievalError, match="^the files hold 5 rows each, and agreement needs 8: give files of more"):
        run(Subject(few.views, "a", "y.npy", rival=few))
    for views, says in (
        ({"text": matrix(clustered(20, 4))}, "share no view"),
        ({"visual": matrix(clustered(20, 4), 15)}, "share 5 in the visual view, and agreement needs 8 items"),
    ):
        with pytest.raises(RetrievalError, match=says):
            run(Subject(alone.views, "visual", "a", rival=Subject(views, "visual", "b")))


def test_it_is_in_the_table() -> None:
    assert DIAGNOSTICS["agreement"].run is run
