"""Blends, held to Qdrant's engine where they take its definitions, and to their formulas where weights come in."""

import uuid

import numpy as np
import pytest
import qdrant_edge as qe
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.errors import BadQuery
from mmretrieval.geometry import unit
from mmretrieval.search import BLENDS, blend
from mmretrieval.search.fuse import reciprocal_rank
from mmretrieval.types import Found

late, best, context = (BLENDS[name].run for name in ("late", "best", "context"))
seeds = st.integers(0, 2**32 - 1)
DIM, ITEMS = 12, 250
# The engine counts in float32: scores nearer to each other than this may change places.
ROUNDING = 2e-6


def no_feedback(weights):
    return np.zeros(len(weights), dtype=np.bool_)


def places_of(count):
    return [str(uuid.UUID(int=i + 1)) for i in range(count)]


# --- late ----------------------------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 5), st.floats(0, 100))
def test_late_with_equal_weights_is_reciprocal_rank_fusion(seed, p, k):
    scores = np.random.default_rng(seed).normal(size=(p, 30)).round(1)  # some equal ones among them
    names = [f"{i:02d}" for i in range(30)]
    fused = reciprocal_rank([Found.ordered(names, row) for row in scores], [1.0] * p, k)
    done = late(scores, np.full(p, 0.3), no_feedback(range(p)), k)
    np.testing.assert_allclose(done, [dict(zip(fused.ids, fused.scores, strict=True))[name] for name in names])


def test_late_takes_the_ranks_of_what_pushes_away_off():
    scores = np.array([[0.9, 0.5, 0.1], [0.8, 0.1, 0.2]])
    done = late(scores, np.array([2.0, -1.0]), no_feedback(scores), 0)
    np.testing.assert_allclose(done, [1 - 0.5, 1 / 2 - 0.5 / 3, 1 / 3 - 0.5 / 2])


@given(seeds)
def test_late_asks_for_nothing_but_ranks(seed):
    scores = np.random.default_rng(seed).normal(size=(2, 30))
    stretched = np.stack([np.exp(scores[0]), 100 + scores[1] ** 3])
    weights = np.array([1.0, 0.6])
    np.testing.assert_array_equal(late(scores, weights, None), late(stretched, weights, None))


# --- Qdrant's engine -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """Two hundred and fifty items around a common mean, as an encoder's are, and Qdrant's engine over them."""
    random = np.random.default_rng(7)
    items = unit(random.normal(size=(ITEMS, DIM)) + 0.3)
    config = qe.EdgeConfig(vectors={"v": qe.EdgeVectorParams(DIM, qe.Distance.Dot)})
    opened = qe.EdgeShard.create(str(tmp_path_factory.mktemp("engine") / "shard"), config)
    points = [qe.Point(name, {"v": row}, {}) for name, row in zip(places_of(ITEMS), items, strict=True)]
    opened.update(qe.UpdateOperation.upsert_points(points))
    yield opened, items
    opened.close()


def engine_scores(shard, query):
    """The engine's score of every item (n,), and the places of the items in its order."""
    found = shard.query(qe.QueryRequest(limit=ITEMS, query=query, params=qe.SearchParams(exact=True)))
    order = [uuid.UUID(str(point.id)).int - 1 for point in found]
    assert sorted(order) == list(range(ITEMS))
    scores = np.empty(ITEMS)
    scores[order] = [point.score for point in found]
    return scores, np.array(order)


def same_order(ours, order):
    """Whether items in the engine's order have falling scores with us, but for what its float32 cannot tell."""
    return bool((np.diff(ours[order]) <= ROUNDING).all())


def examples(seed, count):
    return unit(np.random.default_rng(seed).normal(size=(count, DIM)) + 0.2)


def scored(rows, items):
    return rows.astype(np.float64) @ items.astype(np.float64).T


@pytest.mark.parametrize(("pulling", "pushing"), [(1, 0), (3, 0), (1, 1), (3, 2), (2, 5), (0, 1), (0, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_best_with_equal_weights_is_the_engines_best_score(shard, pulling, pushing, seed):
    opened, items = shard
    rows = examples(seed, pulling + pushing)
    query = qe.RecommendQuery(list(rows[:pulling]), list(rows[pulling:]))
    theirs, order = engine_scores(opened, qe.Query.RecommendBestScore(query, using="v"))
    weights = np.array([0.7] * pulling + [-0.7] * pushing)
    ours = best(scored(rows, items), weights, no_feedback(rows))
    np.testing.assert_allclose(ours, theirs, atol=ROUNDING)
    assert same_order(ours, order)
    if pulling and pushing:
        assert (ours > 0).any() and (ours < 0).any()


@pytest.mark.parametrize(("liked", "disliked"), [(1, 1), (2, 1), (1, 3), (3, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_context_with_a_question_is_the_engines_discovery(shard, liked, disliked, seed):
    opened, items = shard
    rows = examples(seed, 1 + liked + disliked)
    good, bad = rows[1 : 1 + liked], rows[1 + liked :]
    pairs = [qe.ContextPair(p, n) for p in good for n in bad]
    theirs, order = engine_scores(opened, qe.Query.Discover(qe.DiscoverQuery(rows[0], pairs), using="v"))
    weights = np.array([3.0] + [1.0] * liked + [-0.5] * disliked)
    feedback = np.array([False] + [True] * (liked + disliked))
    ours = context(scored(rows, items), weights, feedback)
    np.testing.assert_allclose(ours, theirs, atol=ROUNDING)
    assert same_order(ours, order)
    assert len(set(np.floor(ours))) > 1, "some items are in another zone than others"


@pytest.mark.parametrize(("liked", "disliked"), [(1, 1), (2, 1), (1, 3), (3, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_context_without_a_question_is_the_engines_context_search(shard, liked, disliked, seed):
    opened, items = shard
    rows = examples(seed, liked + disliked)
    pairs = [qe.ContextPair(p, n) for p in rows[:liked] for n in rows[liked:]]
    theirs, order = engine_scores(opened, qe.Query.Context(qe.ContextQuery(pairs), using="v"))
    weights = np.array([2.0] * liked + [-1.0] * disliked)
    ours = context(scored(rows, items), weights, np.ones(len(rows), dtype=np.bool_))
    np.testing.assert_allclose(ours, theirs, atol=ROUNDING)
    assert same_order(ours, order)


# --- weights -------------------------------------------------------------------------------------------------------


def said(x):
    return 0.5 * (x / (1 + abs(x)) + 1)


@given(seeds)
def test_best_takes_the_part_that_says_most_by_weight(seed):
    random = np.random.default_rng(seed)
    scores, weights = random.uniform(-1, 1, size=(4, 20)), np.array([2.0, 0.5, -1.0, -1.5])
    done = best(scores, weights, no_feedback(weights))
    for place, column in enumerate(scores.T):
        values = [abs(w) / 2 * said(x) for w, x in zip(weights, column, strict=True)]
        towards, away = max(values[:2]), max(values[2:])
        assert done[place] == pytest.approx(towards if towards > away else -away)


@given(seeds, st.floats(-1, 1))
def test_in_best_a_lighter_part_never_says_more(seed, level):
    """Also where scores are below 0, as they are after centring."""
    scores = np.random.default_rng(seed).uniform(-1, 1, size=(2, 20)) + level
    last = None
    for weight in (1.0, 0.5, 0.1, 1e-9):
        done = best(scores, np.array([1.0, weight]), no_feedback(scores))
        assert last is None or (done <= last).all()
        last = done
    np.testing.assert_allclose(last, said(scores[0]), atol=1e-8)


def test_context_counts_a_pair_by_its_two_weights():
    # Two liked, one disliked, one question; item 0 is nearer to the light liked one alone, item 1 to the heavy one.
    scores = np.array([[0.0, 0.0], [0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])
    feedback = np.array([False, True, True, True])
    done = context(scores, np.array([1.0, 0.5, 2.0, -3.0]), feedback)
    np.testing.assert_allclose(done, [0.25 - 1 + 0.5, -0.25 + 1 + 0.5])
    alone = context(scores[1:], np.array([0.5, 2.0, -3.0]), feedback[1:])
    worse = -(0.4 + blend.MARGIN) / (1.4 + blend.MARGIN)
    better = -0.0
    np.testing.assert_allclose(alone, [0.25 * better + worse, 0.25 * worse + better])


def test_context_of_several_questions_takes_their_weighted_scores():
    scores = np.random.default_rng(0).uniform(-1, 1, size=(3, 9))
    done = context(scores, np.array([2.0, -1.0, 1.0]), no_feedback(scores))
    np.testing.assert_allclose(done, said((2 * scores[0] - scores[1] + scores[2]) / 4))


def test_context_is_the_same_in_blocks(monkeypatch):
    random = np.random.default_rng(1)
    scores, weights = random.uniform(-1, 1, size=(7, 50)), np.array([1, 1, 2, 3, -1, -2, -1], dtype=np.float64)
    for feedback in (np.array([False] + [True] * 6), np.ones(7, dtype=np.bool_)):
        whole = context(scores, weights, feedback)
        with monkeypatch.context() as patched:
            patched.setattr(blend, "AT_ONCE", 40)
            np.testing.assert_array_equal(context(scores, weights, feedback), whole)


@pytest.mark.parametrize(
    ("weights", "feedback", "message"),
    [
        ([1, 1], [False, True], "none is disliked: add one, or take liked off"),
        ([1, -1], [False, True], "none is liked: add one, or take disliked off"),
        ([1, 2], [True, True], "none is disliked"),
        ([-1, 0], [True, True], "none is liked"),
    ],
)
def test_context_says_what_it_lacks(weights, feedback, message):
    with pytest.raises(BadQuery, match=message):
        context(np.ones((2, 3)), np.array(weights, dtype=np.float64), np.array(feedback))


def test_where_nothing_may_be_found_there_are_no_scores():
    for name in BLENDS:
        feedback = np.array([False, True, True])
        assert BLENDS[name].run(np.ones((3, 0)), np.array([1.0, 1.0, -1.0]), feedback).shape == (0,)
