"""Which pairs can be had: by descent, by any query with a certificate, and by the queries at hand."""

import json
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.diagnostics.free import TEMPERATURE, _gradients, critical, margins, pairs_of, placed
from mmretrieval.diagnostics.reached import found, reached
from mmretrieval.diagnostics.separable import least_axes, separate
from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.diagnostics.viewed import viewed
from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import directions, unit
from mmretrieval.store.exact import Matrix

run = DIAGNOSTICS["capacity"].run
IDS = tuple(f"{i:04}" for i in range(60))


def circle(n):
    angles = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def moment_curve(n):
    angles = 2 * np.pi * np.arange(n) / n
    return np.stack([f(m * angles) for m in (1, 2) for f in (np.cos, np.sin)], axis=1)


def subject(visual, text=None, **more):
    views = {"visual": Matrix(IDS[: len(visual)], np.asarray(visual, dtype=np.float32))}
    if text is not None:
        views["text"] = Matrix(IDS[: len(text)], np.asarray(text, dtype=np.float32))
    return Subject(views, "visual", "here", **more)


@pytest.fixture(scope="module")
def rows():
    return unit(np.random.default_rng(0).normal(size=(60, 24)))


# --- placed by descent ---------------------------------------------------------------------------------------------


def test_margins_by_hand():
    documents = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    queries = np.array([[1.0, 1.0], [1.0, 1.0], [-2.0, 1.0]])
    assert margins(queries, documents, np.array([[0, 1], [0, 2], [1, 2]])).tolist() == [2.0, -2.0, 3.0]
    assert pairs_of(4).tolist() == [list(p) for p in combinations(range(4), 2)]


def test_the_gradient_is_that_of_the_loss():
    chance = np.random.default_rng(1)
    queries, documents, pairs = chance.normal(size=(6, 3)), chance.normal(size=(4, 3)), pairs_of(4)

    def loss(flat):
        q, d = flat[:18].reshape(6, 3), flat[18:].reshape(4, 3)
        logits = q @ d.T / TEMPERATURE
        logs = (
            logits
            - np.log(np.exp(logits - logits.max(axis=1)[:, None]).sum(axis=1))[:, None]
            - logits.max(axis=1)[:, None]
        )
        return -np.mean([logs[i, j] for i, pair in enumerate(pairs) for j in pair])

    wanted = np.zeros((6, 4))
    wanted[np.arange(6)[:, None], pairs] = 0.5
    flat = np.concatenate([queries.ravel(), documents.ravel()])
    steps = np.eye(30) * 1e-6
    slopes = np.array([(loss(flat + s) - loss(flat - s)) / 2e-6 for s in steps])
    found_slopes = np.concatenate([g.ravel() for g in _gradients(queries, documents, wanted)])
    assert found_slopes == pytest.approx(slopes, abs=1e-6)


def test_descent_stops_where_geometry_does_on_a_circle_and_a_sphere():
    # Four documents on a circle: opposite pairs are never on top. Five on a sphere: Radon's theorem.
    assert critical((2, 3), 0, 1500, 3) == (3, 4)


def test_what_descent_calls_solved_is_solved():
    documents, queries, share = placed(7, 4, 0)
    assert share == 1.0
    assert np.linalg.norm(documents, axis=1) == pytest.approx(1)
    for query, pair in zip(queries, combinations(range(7), 2), strict=True):
        assert set(np.argsort(-(documents @ query))[:2].tolist()) == set(pair)
    again = placed(7, 4, 0)
    assert (again[0] == documents).all()


# --- by any query --------------------------------------------------------------------------------------------------


def check(rows, i, j, answer):
    """The certificate, whichever way it goes, holds by itself."""
    centred = rows - rows.mean(axis=0)
    if answer.yes:
        products = rows @ answer.query
        assert set(np.argsort(-products)[:2].tolist()) == {i, j}
        assert min(products[i], products[j]) > np.delete(products, [i, j]).max()
    else:
        weights = answer.weights
        assert weights[[i, j]].sum() == pytest.approx(0.5)
        assert weights.sum() == pytest.approx(0, abs=1e-9)
        assert (np.delete(weights, [i, j]) <= 0).all()
        # A mean of the pair is a mean of the others: no query puts both above all of them.
        assert weights @ centred == pytest.approx(0, abs=1e-6)
    assert answer.margin <= answer.bound + 1e-9


def test_on_a_circle_only_neighbours_can_be_the_top_two():
    rows = circle(7)
    for i, j in combinations(range(7), 2):
        answer = separate(rows, i, j)
        assert answer.yes is ((j - i) % 7 in (1, 6))
        check(rows, i, j, answer)


def test_on_a_sphere_the_pairs_are_the_edges_of_the_hull():
    rows = directions(np.random.default_rng(2).normal(size=(10, 3)))
    answers = {pair: separate(rows, *pair) for pair in combinations(range(10), 2)}
    # Euler: a polytope with triangles for faces has 3 n - 6 edges.
    assert sum(bool(a.yes) for a in answers.values()) == 3 * 10 - 6
    for pair, answer in answers.items():
        check(rows, *pair, answer)


@pytest.mark.parametrize("n", [12, 30])
def test_on_the_moment_curve_every_pair_can_be_in_four_dimensions(n):
    rows = moment_curve(n)
    for i, j in list(combinations(range(n), 2))[:: n // 4]:
        check(rows, i, j, separate(rows, i, j))
        assert separate(rows, i, j).yes


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 9))
def test_in_the_plane_the_answer_is_that_of_trying_all_directions(seed, n):
    rows = np.random.default_rng(seed).normal(size=(n, 2))
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    products = rows @ np.stack([np.cos(angles), np.sin(angles)])
    tops = {tuple(sorted(pair)) for pair in np.argsort(-products, axis=0)[:2].T.tolist()}
    for i, j in combinations(range(n), 2):
        answer = separate(rows, i, j)
        # Narrower than a step of the angle may be missed by trying.
        if answer.yes is None or 0 < answer.margin < 0.01:
            continue
        assert answer.yes is ((i, j) in tops)


def test_axes_grow_what_can_be_had_and_independent_rows_can_have_all():
    rows = np.random.default_rng(3).normal(size=(8, 20))
    axes = least_axes(rows)
    assert axes.rank == 7
    assert axes.needed.max() <= 7
    assert axes.undecided == 0
    centred = rows - rows.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    for needed, (i, j) in zip(axes.needed.tolist(), pairs_of(8).tolist(), strict=True):
        assert separate((left * values)[:, :needed], i, j).yes
        assert needed == 1 or not separate((left * values)[:, : needed - 1], i, j).yes
    # The middle of others is on top for no query, in any number of axes.
    within = np.concatenate([rows[:7], rows[:7].mean(axis=0)[None]])
    axes = least_axes(within)
    assert (axes.needed[[7 in pair for pair in pairs_of(8).tolist()]] > 1).all()


# --- by the queries at hand ----------------------------------------------------------------------------------------


def test_pairs_that_are_found_by_hand():
    searched = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.6], [0.6, 0.6]])
    pairs = np.array([[0, 1], [0, 2], [2, 3]])
    # (0, 1) asks along (1, 1), where the others lead; copies tie, and a tie with the rest loses.
    assert found(searched, searched, pairs).tolist() == [False, False, True]


def test_words_that_equal_pictures_reach_what_pictures_reach(rows):
    space = subject(rows, rows)
    reach = reached(space, viewed(space, "visual", 8, 0, None), 8, 0)
    assert reach.asked == "words"
    assert reach.numbers["words.reached"] == reach.numbers["own.reached"] > 0.95
    assert reach.numbers["words.alone"] == 1.0
    assert reach.numbers["words.reached_all"] == found(directions(rows), directions(rows), pairs_of(60)).mean()
    for name, (low, high) in reach.intervals.items():
        assert low <= reach.numbers[name] <= high


def test_unrelated_words_are_at_chance_and_questions_go_before_them(rows):
    noise = unit(np.random.default_rng(9).normal(size=(60, 24)))
    space = subject(rows, noise)
    reach = reached(space, viewed(space, "visual", 8, 0, None), 8, 0)
    assert reach.numbers["words.reached"] == pytest.approx(2 / (8 * 7), abs=0.02)
    assert reach.numbers["words.alone"] == pytest.approx(1 / 8, abs=0.05)
    asked = Questions(rows[:30], IDS[:30], ("text",) * 30, tuple(frozenset({i}) for i in IDS[:30]))
    space = subject(rows, noise, questions=asked)
    reach = reached(space, viewed(space, "visual", 8, 0, None), 8, 0)
    assert reach.asked == "questions in words"
    assert reach.basis["asked_for"] == 30
    assert reach.numbers["words.reached"] > 0.95
    # Questions with several answers, or none that is here, ask for no one item.
    vague = Questions(rows[:30], IDS[:30], ("text",) * 30, (frozenset({"x"}), frozenset(IDS[:2])) * 15)
    space = subject(rows, questions=vague)
    reach = reached(space, viewed(space, "visual", 8, 0, None), 8, 0)
    assert reach.asked == ""
    assert reach.numbers["words.reached"] is None


# --- the finding ---------------------------------------------------------------------------------------------------


def test_the_finding_says_what_is_missing(rows):
    noise = unit(np.random.default_rng(9).normal(size=(60, 24)))
    said = run(subject(rows, noise), dims=(2, 3), items=6)
    assert (said.numbers["free.critical_2"], said.numbers["free.critical_3"]) == (3.0, 4.0)
    assert said.numbers["free.axes"] is None
    assert said.numbers["any.share"] == 1.0
    assert 2 <= said.numbers["any.axes"] <= 5
    assert 2 <= said.numbers["random.axes"] <= 5
    assert said.numbers["words.chance"] == pytest.approx(1 / 15)
    assert "not room in the space" in said.sentence
    assert "found queries for every pair of up to 4 documents; that is its own limit" in said.sentence
    assert "descent found queries for" in said.plots[0].title and "Other queries may find" in said.plots[0].note
    assert said.stages == ("center",)
    assert [p.name for p in said.plots] == ["critical", "axes", "reached"]
    axes = {t.name: t for t in said.plots[1].traces}
    assert axes["pictures"].y[-1] == 1.0
    assert list(axes["pictures"].y) == sorted(axes["pictures"].y)
    # Six on a circle have their six edges, six on a sphere twelve.
    assert axes["placed freely"].y == pytest.approx((6 / 15, 12 / 15))
    json.dumps(asdict(said), allow_nan=False)
    assert asdict(run(subject(rows, noise), dims=(2, 3), items=6)) == asdict(said)


def test_good_words_need_no_advice_and_none_are_said_to_be_missing(rows):
    good = run(subject(rows, rows), dims=(2,), items=6)
    assert good.stages == ()
    assert "not room" not in good.sentence
    alone = run(subject(rows), dims=(2,), items=6)
    assert "no questions or words" in alone.sentence
    assert alone.numbers["words.reached"] is None


def test_what_cannot_be_looked_at_is_refused(rows):
    with pytest.raises(RetrievalError, match="at least 16"):
        run(subject(rows[:10]))
    with pytest.raises(RetrievalError, match="copies"):
        run(subject(np.ones((20, 4))), dims=(2,))
    with pytest.raises(RetrievalError, match="^of lite@text 1 item has a visual vector, .* at least 4: add items$"):
        viewed(Subject(subject(rows[:1]).views, "visual", "lite@text"), "visual", 4, 0, None)
    with pytest.raises(RetrievalError, match="^here has no joint vectors, only visual$"):
        viewed(subject(rows), "joint", 4, 0, None)
    files = Subject({"a": Matrix(IDS[:3], rows[:3])}, "a", labels={"a": "rows of image"})
    with pytest.raises(RetrievalError, match="^3 of the rows of image have a direction, .*: give files of more rows$"):
        viewed(files, "a", 4, 0, None)
    with pytest.raises(RetrievalError, match="or look at a larger sample$"):
        viewed(files, "a", 4, 0, 2)
    with pytest.raises(ValueError, match="must rise"):
        run(subject(rows), dims=(3, 2))
