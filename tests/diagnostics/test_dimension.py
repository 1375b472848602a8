"""Intrinsic dimension: known constructions, another implementation, copies, and the search graph that is built."""

import json
import tempfile
import warnings
from dataclasses import asdict

import numpy as np
import pytest

from mmretrieval.diagnostics import DIAGNOSTICS, graph, ordering
from mmretrieval.diagnostics.graph import Graph, recalls
from mmretrieval.diagnostics.intrinsic import (
    inverses,
    likelihood,
    likelihood_spread,
    ratios,
    twonn,
    twonn_likelihood,
    twonn_spread,
)
from mmretrieval.diagnostics.neighbours import nearest
from mmretrieval.diagnostics.ordering import Ordering, measure
from mmretrieval.diagnostics.sampling import resamples
from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.diagnostics.viewed import viewed
from mmretrieval.errors import RetrievalError, StoreError
from mmretrieval.geometry import unit
from mmretrieval.store.exact import Matrix

run = DIAGNOSTICS["dimension"].run


def sphere(seed, n, dim, ambient=48):
    """Points spread evenly over a sphere of that dimension, in a random subspace of one dimension more."""
    chance = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(chance.normal(size=(ambient, dim + 1)))
    return unit(chance.normal(size=(n, dim + 1)) @ turn.T)


def matrix(rows):
    return Matrix(tuple(f"{i:06}" for i in range(len(rows))), np.asarray(rows, dtype=np.float32))


def subject(rows, **more):
    return Subject({"visual": matrix(rows)}, "visual", "here", **more)


# --- the estimates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "within"), [(1, 0.06), (2, 0.06), (5, 0.08), (9, 0.15)])
def test_spheres_have_the_dimension_that_they_were_made_with(dim, within):
    # With 1 a circle; a linear subspace of dim + 1 dimensions, once lengths are taken off.
    distances = nearest(sphere(dim, 2000, dim), 20).distances
    logs = ratios(distances)
    for estimate in (twonn(logs), twonn_likelihood(logs), likelihood(inverses(distances))):
        assert estimate == pytest.approx(dim, rel=within)


def test_estimates_equal_those_of_scikit_dimension():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package and what it imports
        import skdim

        rows = sphere(3, 300, 4).astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        linear, censored = skdim.id.TwoNN().fit(rows), skdim.id.TwoNN(method="mle").fit(rows)
        local = skdim.id.MLE().fit(rows, n_neighbors=20)
    distances = nearest(rows, 20).distances
    assert twonn(ratios(distances)) == pytest.approx(linear.dimension_, rel=1e-9)
    assert twonn_likelihood(ratios(distances)) == pytest.approx(censored.dimension_, rel=1e-9)
    assert 1 / inverses(distances) == pytest.approx(local.dimension_pw_, rel=1e-9)
    assert likelihood(inverses(distances)) == pytest.approx(local.dimension_, rel=1e-9)


def test_local_dimensions_equal_the_formula_written_out():
    distances = np.sort(np.random.default_rng(0).random((7, 5)) + 0.1, axis=1)
    for row, inverse in zip(distances, inverses(distances), strict=True):
        assert inverse == pytest.approx(sum(np.log(row[4] / row[j]) for j in range(4)) / 4)
    # Distances that grow as they do in dimension d: T_j = (j / k)^(1 / d).
    k, d = 2000, 3.0
    grown = (np.arange(1, k + 1) / k) ** (1 / d)
    assert 1 / inverses(grown[None])[0] == pytest.approx(d, rel=0.01)


def test_ratios_drawn_from_the_law_of_twonn_give_its_dimension_within_the_interval():
    d, n = 7.0, 4000
    logs = np.sort(np.random.default_rng(1).exponential(1 / d, size=n))
    spans = twonn_spread(logs, resamples(n, 0)[:200])
    for name, estimate in (("twonn", twonn(logs)), ("twonn_mle", twonn_likelihood(logs))):
        low, high = spans[name]
        assert low < estimate < high
        assert low < d < high
    # The standard error of a rate from the 90 % that are seen is d / sqrt(0.9 n).
    low, high = spans["twonn_mle"]
    assert (high - low) / 3.92 == pytest.approx(d / np.sqrt(0.9 * n), rel=0.2)


def test_equal_distances_have_no_dimension_and_no_nan():
    distances = nearest(np.eye(30, dtype=np.float32), 20).distances
    assert twonn(ratios(distances)) is None
    assert twonn_likelihood(ratios(distances)) is None
    assert (inverses(distances) == 0).all()
    assert likelihood(inverses(distances)) is None
    assert likelihood_spread(inverses(distances), resamples(30, 0)[:10]) is None
    found = run(subject(np.eye(30)))
    assert found.numbers["visual.twonn"] is found.numbers["visual.lid_median"] is None
    assert "no dimension that can be told" in found.sentence
    assert found.stages == ()
    json.dumps(asdict(found), allow_nan=False)


# --- the finding ---------------------------------------------------------------------------------------------------


def test_copies_are_left_out_and_share_their_first_ones_dimension():
    rows = sphere(5, 120, 3)
    plain = run(subject(rows))
    doubled = run(subject(np.concatenate([rows, rows * 2])))
    for name in ("twonn", "twonn_mle", "mle", "mle_5", "mle_50", "lid_median"):
        assert doubled.numbers[f"visual.{name}"] == pytest.approx(plain.numbers[f"visual.{name}"], rel=1e-6)
    assert doubled.numbers["visual.copies"] == 0.5
    assert plain.numbers["visual.copies"] == 0.0
    assert "50.0% are copies" in doubled.sentence
    for name, (low, high) in plain.intervals.items():
        assert low <= plain.numbers[name] <= high, name


def test_views_are_told_apart_and_the_odd_region_is_exhibited():
    flat, rich = sphere(6, 150, 2), sphere(7, 60, 12)
    views = {"visual": matrix(np.concatenate([flat, rich])), "text": matrix(flat), "joint": matrix(flat[:10])}
    found = run(Subject(views, "visual", "here"))
    assert found.numbers["text.mle"] == pytest.approx(2, rel=0.2)
    assert not any(name.startswith("joint.") for name in found.numbers)  # too few
    highest, lowest = found.exhibits
    assert all(int(ids[0]) >= 150 for ids, _ in highest.rows)
    assert all(int(ids[0]) < 150 for ids, _ in lowest.rows)
    # Below 500 vectors there is no graph, and it says so rather than guessing.
    assert found.numbers["random.recall_16"] is None
    assert "scanned" in found.sentence
    assert {p.name for p in found.plots} == {"lid", "scale"}
    assert asdict(run(Subject(views, "visual", "here"))) == asdict(found)


def test_too_few_distinct_items_are_refused():
    with pytest.raises(RetrievalError, match="at least 20"):
        run(subject(np.ones((40, 3))))
    with pytest.raises(RetrievalError, match="at least 20"):
        run(subject(np.eye(19)))


# --- the graph -----------------------------------------------------------------------------------------------------


def test_the_order_reaches_the_graph_and_so_does_ef():
    chance = np.random.default_rng(0)
    labels = np.sort(chance.integers(0, 60, 2000))
    rows = unit(chance.normal(size=(60, 64))[labels] + 0.35 * chance.normal(size=(2000, 64)))
    asked = np.sort(chance.choice(2000, 200, replace=False))
    orders = {"clusters in turn": np.arange(2000), "mixed": chance.permutation(2000)}
    found = recalls(rows, rows[asked], orders, asked, Graph(efs=(10, 64), builds=2, links=4, candidates=10))
    turn, mixed = found["clusters in turn"].mean(axis=(0, 2)), found["mixed"].mean(axis=(0, 2))
    # A meagre graph: what it misses depends on the order in which it grew, and on how far a search looks.
    assert (turn < 0.95).all()
    assert turn[1] > turn[0]
    assert mixed[1] > mixed[0]
    assert mixed[1] > turn[1] + 0.03
    assert found["mixed"].shape == (2, 2, 200)
    # A graph of the usual size finds all of so few.
    usual = recalls(rows[:600], rows[:50], {"any": np.arange(600)}, None, Graph(efs=(200,), builds=1))
    assert usual["any"].mean() > 0.995


def test_recall_is_counted_by_hand_with_copies_for_copies(monkeypatch):
    rows = unit(np.random.default_rng(1).normal(size=(40, 6)))
    rows[20] = rows[7]
    best = np.argsort(-(rows[:2].astype(np.float64) @ rows.T.astype(np.float64)), axis=1, kind="stable")

    def child(folder):
        # Seven of the ten nearest, of the first; of the second all ten, and one that is none is not counted.
        found = np.full((1, 1, 1, 2, 10), -1, dtype=np.int32)
        found[0, 0, 0, 0, :7], found[0, 0, 0, 1] = best[0, :7], best[1, :10]
        found[found == 7] = 20
        np.save(folder / "found.npy", found)

    monkeypatch.setattr(graph, "_run", child)
    shares = recalls(rows, rows[:2], {"any": np.arange(40)}, None, Graph(efs=(16,), builds=1))["any"]
    assert shares[0, 0].tolist() == [0.7, 1.0]


def test_a_child_that_dies_is_an_error_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(graph, "CHILD", "raise SystemExit('no room left')")
    rows = unit(np.random.default_rng(1).normal(size=(40, 6)))
    with pytest.raises(StoreError, match="no room left"):
        recalls(rows, rows[:2], {"any": np.arange(40)}, None, Graph(efs=(16,), builds=1))
    assert not list(tmp_path.iterdir())


def test_measured_graphs_say_what_local_dimension_did(monkeypatch):
    """Recall that falls with local dimension, and with one order, as a child would report it."""
    n = 600
    space = subject(
        unit(np.random.default_rng(3).normal(size=(n, 8))),
        questions=Questions(
            unit(np.random.default_rng(4).normal(size=(30, 8))), ("q",) * 30, ("text",) * 30, (frozenset(),) * 30
        ),
    )
    inverse = np.linspace(0.05, 0.5, n)  # the first has the highest local dimension
    orders_seen = {}

    def reported(rows, asked, orders, own, made):
        orders_seen.update(orders)
        shares = {}
        for order in orders:
            falling = np.where(own < 0, 1.0, np.where(own < n // 5, 0.5, 0.9))
            shares[order] = np.tile(falling - (0.2 if order == "ascending" else 0.0), (made.builds, len(made.efs), 1))
        return shares

    monkeypatch.setattr(ordering, "recalls", reported)
    seen = viewed(space, "visual", 20, 0, None)
    found = measure(space, seen, inverse, Ordering(n, Graph(efs=(16, 64), builds=2)), 0)
    assert orders_seen["descending"].tolist() == list(range(n))
    assert orders_seen["ascending"].tolist() == list(range(n))[::-1]
    assert sorted(orders_seen["random"].tolist()) == list(range(n))
    assert found.numbers["lowest_fifth.recall_16"] == pytest.approx(0.9)
    assert found.numbers["highest_fifth.recall_16"] == pytest.approx(0.5)
    assert found.numbers["ascending.change_16"] == pytest.approx(-0.2)
    assert found.numbers["descending.change_16"] == pytest.approx(0.0)
    assert found.numbers["random.correlation_16"] < -0.5
    assert found.numbers["questions.recall_64"] == 1.0
    assert "asked by questions in words 100.0% and 100.0%" in found.sentence
    assert "90.0% for the fifth of lowest local dimension and 50.0% for the highest" in found.sentence
    assert "lowest local dimension first -20.0 points at ef 16" in found.sentence
    assert "highest first" not in found.sentence
    assert "600 vectors, fewer than 50,000, is scanned" in found.sentence
    for name, (low, high) in found.intervals.items():
        assert low <= found.numbers[name] <= high, name


def test_orders_by_local_dimension_are_built_twice_at_most_and_asked_no_questions(monkeypatch):
    n, calls = 500, {}

    def reported(rows, asked, orders, own, made):
        calls.update(dict.fromkeys(orders, (made.builds, len(asked))))
        return {order: np.random.default_rng(0).random((made.builds, len(made.efs), len(asked))) for order in orders}

    monkeypatch.setattr(ordering, "recalls", reported)
    rows = unit(np.random.default_rng(3).normal(size=(n, 8)))
    questions = Questions(rows[:30], ("q",) * 30, ("text",) * 30, (frozenset(),) * 30)
    space = subject(rows, questions=questions)
    found = measure(space, viewed(space, "visual", 20, 0, None), np.linspace(0.05, 0.5, n), Ordering(n, Graph()), 0)
    assert calls == {"random": (3, n + 30), "ascending": (2, n), "descending": (2, n)}
    assert (found.basis["builds"], found.basis["builds_by_dimension"]) == (3, 2)
    for name, (low, high) in found.intervals.items():
        assert low <= found.numbers[name] <= high, name


def test_a_small_space_is_measured_with_a_real_graph(monkeypatch):
    monkeypatch.setattr(Ordering, "of", classmethod(lambda *_: Ordering(500, Graph(efs=(10,), builds=1))))
    found = run(subject(sphere(8, 500, 6)))
    assert 0.9 < found.numbers["random.recall_10"] <= 1.0
    assert {p.name for p in found.plots} == {"lid", "scale", "recall_order", "recall_lid"}
    json.dumps(asdict(found), allow_nan=False)
