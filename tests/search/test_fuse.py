"""The fusers: what each list gives to an item, and what fusing must not depend on."""

import itertools
import math
import statistics
import uuid

import numpy as np
import pytest
import qdrant_edge as qe
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.search import FUSERS
from mmretrieval.types import Found

NAMES = "abcdefghij"
BY_SCORE = ("zscore", "minmax", "dbsf")
every = pytest.mark.parametrize("name", FUSERS)
by_score = pytest.mark.parametrize("name", BY_SCORE)

names = st.sampled_from(NAMES)
rankings = st.lists(st.lists(names, unique=True, max_size=8), max_size=4)
# Whole numbers, which maps of whole numbers keep exactly: so results can be compared to the last bit.
whole = st.integers(-1000, 1000).map(float)
weights = st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0, 7.0])


def listed(ids):
    return Found(tuple(ids), np.arange(len(ids), 0, -1.0))


def scored(pairs):
    return Found.ordered(list(pairs), list(pairs.values()))


lists_of = st.dictionaries(names, whole, max_size=8).map(scored)
fusions = st.lists(st.tuples(lists_of, weights), max_size=4)


def run(name, fusion, **changed):
    row = FUSERS[name]
    arguments = {p.name: p.default for p in row.parameters} | changed
    return row.run([found for found, _ in fusion], [weight for _, weight in fusion], *arguments.values())


def same(one, other):
    assert one.ids == other.ids
    np.testing.assert_array_equal(one.scores, other.scores)


# --- what they are -------------------------------------------------------------------------------------------------


@given(fusions, st.sampled_from([0.0, 1.0, 60.0, 12.5]))
def test_rrf_equals_the_formula(fusion, k):
    largest = max((weight for _, weight in fusion), default=1)
    scores = {}
    for item in set(itertools.chain(*(found.ids for found, _ in fusion))):
        scores[item] = sum(w / largest / (k + 1 + f.ids.index(item)) for f, w in fusion if item in f.ids)
    fused = run("rrf", fusion, k=k)
    assert dict(zip(fused.ids, fused.scores, strict=True)) == pytest.approx(scores)
    assert (np.diff(fused.scores) <= 0).all()


@given(rankings, st.sampled_from([0.0, 1.0, 60.0, 12.5]), st.sampled_from([1.0, 0.1, 3.0]))
def test_rrf_of_equal_weights_is_the_plain_sum_to_the_last_bit(lists, k, weight):
    plain = {}
    for item in set(itertools.chain(*lists)):
        plain[item] = math.fsum(1 / (k + 1 + ids.index(item)) for ids in lists if item in ids)
    same(run("rrf", [(listed(ids), weight) for ids in lists], k=k), scored(plain))


def slow_value(name, found, item):
    """What one list gives to an item, by Python's own statistics; None where the list says nothing."""
    if not len(found):
        return 0.0
    values = found.scores.tolist()
    own = dict(zip(found.ids, values, strict=True))
    if min(values) == max(values):
        present, missing = {"zscore": (0, -1), "minmax": (1, 0), "dbsf": (0.5, 0)}[name]
        return present if item in own else missing
    mean = statistics.fmean(values)
    if name == "zscore":
        return (own.get(item, min(values)) - mean) / statistics.pstdev(values)
    if item not in own:
        return 0.0
    if name == "minmax":
        return (own[item] - min(values)) / (max(values) - min(values))
    low, high = mean - 3 * statistics.stdev(values), mean + 3 * statistics.stdev(values)
    return (own[item] - low) / (high - low)


@by_score
@given(fusion=fusions)
def test_scores_equal_the_formula(name, fusion):
    largest = max((weight for _, weight in fusion), default=1)
    fused = run(name, fusion)
    assert sorted(fused.ids) == sorted({item for found, _ in fusion for item in found.ids})
    for item, score in zip(fused.ids, fused.scores, strict=True):
        expected = sum(weight / largest * slow_value(name, found, item) for found, weight in fusion)
        assert score == pytest.approx(expected, abs=1e-9)
    assert (np.diff(fused.scores) <= 0).all()


def test_an_example_by_hand():
    one, other = scored({"a": 3.0, "b": 2.0, "c": 1.0}), scored({"c": 9.0, "d": 5.0})
    step = math.sqrt(3 / 2)  # of 1, 2, 3 in deviations
    for name, expected in {
        "rrf": {"a": 1 / 61, "b": 1 / 62, "c": 1 / 63 + 1 / 61, "d": 1 / 62},
        "zscore": {"a": step - 1, "b": 0 - 1, "c": -step + 1, "d": -step - 1},
        "minmax": {"a": 1, "b": 0.5, "c": 0 + 1, "d": 0},
        "dbsf": {"a": 4 / 6, "b": 3 / 6, "c": 2 / 6 + 0.5 + math.sqrt(0.5) / 6, "d": 0.5 - math.sqrt(0.5) / 6},
    }.items():
        fused = run(name, [(one, 1.0), (other, 1.0)])
        assert dict(zip(fused.ids, fused.scores, strict=True)) == pytest.approx(expected)
    twice = run("minmax", [(one, 1.0), (other, 2.0)])
    assert dict(zip(twice.ids, twice.scores, strict=True)) == {"c": 1.0, "a": 0.5, "b": 0.25, "d": 0.0}


# --- what changes nothing ------------------------------------------------------------------------------------------


@every
@given(fusion=fusions, random=st.randoms(use_true_random=False))
def test_the_order_of_the_lists_changes_nothing(name, fusion, random):
    same(run(name, fusion), run(name, random.sample(fusion, len(fusion))))


@every
@given(fusion=fusions, scale=st.sampled_from([2.0**-30, 3.0, 10.0, 1e6]))
def test_the_scale_of_all_weights_changes_nothing(name, fusion, scale):
    same(run(name, fusion), run(name, [(found, weight * scale) for found, weight in fusion]))


@by_score
@given(fusion=fusions, which=st.integers(0, 3), factor=st.integers(1, 999), offset=st.integers(-9999, 9999))
def test_a_positive_affine_map_of_one_lists_scores_changes_nothing(name, fusion, which, factor, offset):
    mapped = [
        (Found(found.ids, found.scores * factor + offset) if place == which else found, weight)
        for place, (found, weight) in enumerate(fusion)
    ]
    same(run(name, fusion), run(name, mapped))


@by_score
@pytest.mark.parametrize(("factor", "offset"), [(1e300, 0.0), (1e-300, 0.0), (0.01, 0.3), (2.0**-1060, 0.0)])
def test_nor_does_one_that_rounds_or_nearly_leaves_the_range(name, factor, offset):
    one, other = scored(dict(zip("abcd", (7e7, -9e7, 3e7, 1.0), strict=True))), listed("dca")
    mapped = Found(one.ids, one.scores * factor + offset)
    assert np.isfinite(mapped.scores).all()
    before, after = run(name, [(one, 1.0), (other, 1.0)]), run(name, [(mapped, 1.0), (other, 1.0)])
    assert after.ids == before.ids
    np.testing.assert_allclose(after.scores, before.scores, atol=1e-6)


@by_score
def test_scores_at_both_ends_of_the_range_are_told_apart(name):
    ends = scored({"a": 1.7e308, "b": 0.0, "c": -1.7e308})
    fused = run(name, [(ends, 1.0), (listed("cba"), 1e-3)])
    assert fused.ids == ("a", "b", "c")
    assert np.isfinite(fused.scores).all()


def test_rrf_does_not_look_at_scores():
    loud = Found(("a", "b"), np.array([1e9, -1e9]))
    fused = run("rrf", [(loud, 1.0), (listed("ba"), 1.0)])
    assert fused.ids == ("a", "b")
    assert fused.scores[0] == fused.scores[1]


@every
@given(fusion=fusions)
def test_an_empty_list_changes_nothing(name, fusion):
    lightest = min((weight for _, weight in fusion), default=1.0)
    same(run(name, fusion), run(name, [*fusion, (listed(""), lightest)]))


# --- the edges -----------------------------------------------------------------------------------------------------


@every
def test_one_list_keeps_its_order_and_none_gives_none(name):
    assert run(name, [(listed("cab"), 1.0)]).ids == ("c", "a", "b")
    assert len(run(name, [])) == len(run(name, [(listed(""), 1.0)])) == 0


@every
def test_what_ties_is_ordered_by_id(name):
    assert run(name, [(listed("za"), 1.0), (listed("az"), 1.0)]).ids == ("a", "z")


@by_score
def test_equal_scores_of_a_list_stay_equal(name):
    fused = run(name, [(scored({"b": 2.0, "a": 2.0, "c": 1.0}), 1.0), (scored({"c": 5.0}), 0.5)])
    found = dict(zip(fused.ids, fused.scores, strict=True))
    assert found["a"] == found["b"]


@every
@pytest.mark.parametrize("ids", ["x", "xy"])
def test_to_be_found_counts_even_in_a_list_that_tells_nothing_apart(name, ids):
    """The one passage with a rare word must gain by it."""
    rare = Found(tuple(ids), np.full(len(ids), 4.2))
    fused = run(name, [(listed("abxy"), 1.0), (rare, 4.0)])
    assert fused.ids[: len(ids)] == tuple(ids)
    alone = run(name, [(rare, 1.0)])
    assert alone.ids == tuple(ids)
    assert np.isfinite(alone.scores).all()


@by_score
def test_what_a_list_lacks_never_passes_what_it_found(name):
    generator = np.random.default_rng(3)
    for length in range(1, 9):
        found = scored(dict(zip(NAMES, generator.normal(size=length), strict=False)))
        everyone = Found(tuple(NAMES), np.zeros(len(NAMES)))
        fused = run(name, [(everyone, 1.0), (found, 1.0)])
        last = fused.scores[fused.ids.index(found.ids[-1])]
        lacking = [s for item, s in zip(fused.ids, fused.scores, strict=True) if item not in found.ids]
        assert max(lacking) <= last


@every
def test_the_heavier_list_has_its_way(name):
    one, other = listed("abcde"), listed("edcba")
    assert run(name, [(one, 3.0), (other, 1.0)]).ids == one.ids
    assert run(name, [(one, 1.0), (other, 3.0)]).ids == other.ids


@every
@pytest.mark.parametrize("bad", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, math.inf), (math.nan, 1.0)])
def test_weights_that_are_none_are_refused(name, bad):
    row = FUSERS[name]
    with pytest.raises(ValueError, match="weights are"):
        row.run([listed("ab"), listed("ba")], bad, *(p.default for p in row.parameters))


# --- Qdrant --------------------------------------------------------------------------------------------------------

EXACT = qe.SearchParams(exact=True)
SPACES = ("one", "two", "three")


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """Thirty points whose scores are drawn: query t, a unit vector, has entry t of a point's vector as its score."""
    generator = np.random.default_rng(5)
    queries, points = 16, 30
    scores = {name: generator.normal(size=(points, queries)) for name in SPACES}
    scores["two"] = 40 * scores["two"] + 7
    scores["three"][:, 0] = 2.5
    config = qe.EdgeConfig(vectors={name: qe.EdgeVectorParams(queries, qe.Distance.Dot) for name in SPACES})
    opened = qe.EdgeShard.create(str(tmp_path_factory.mktemp("fusing")), config)
    held = {name: generator.random(points) < 0.75 for name in SPACES}
    opened.update(
        qe.UpdateOperation.upsert_points(
            [
                qe.Point(uuid.UUID(int=i + 1), {n: scores[n][i].astype(np.float32) for n in SPACES if held[n][i]}, {})
                for i in range(points)
            ]
        )
    )
    yield opened, np.eye(queries, dtype=np.float32)
    opened.close()


@pytest.mark.parametrize("limit", [1, 7, 30])
@pytest.mark.parametrize(
    ("name", "fusion"),
    # Their ranks begin with 0.
    [("dbsf", qe.Fusion.Dbsf()), ("rrf", qe.Fusion.Rrf(k=61))],
    ids=["dbsf", "rrf"],
)
def test_qdrant_fuses_alike(shard, name, fusion, limit):
    opened, queries = shard
    for query in queries:
        near = [qe.Query.Nearest(query.tolist(), using=space) for space in SPACES]
        lists = []
        for one in near:
            points = opened.query(qe.QueryRequest(limit=limit, query=one, params=EXACT))
            lists.append((Found(tuple(str(p.id) for p in points), np.array([p.score for p in points])), 1.0))
        asked = [qe.Prefetch(limit=limit, query=one, params=EXACT) for one in near]
        theirs = opened.query(qe.QueryRequest(limit=100, query=fusion, prefetches=asked))
        fused = run(name, lists)
        found = dict(zip(fused.ids, fused.scores, strict=True))
        assert {str(p.id): p.score for p in theirs} == pytest.approx(found, abs=2e-6)
        in_their_order = np.array([found[str(p.id)] for p in theirs])
        assert (np.diff(in_their_order) <= 2e-6).all()
