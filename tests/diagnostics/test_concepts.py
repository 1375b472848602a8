"""Clusters of items: planted groups, copies and odd items, other implementations, and modalities that do not mix."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmretrieval.diagnostics import DIAGNOSTICS, mixing
from mmretrieval.diagnostics.clusters import (
    Clusters,
    adjusted,
    choice,
    clustered,
    clusterings,
    complexity,
    contingency,
    v_measure,
)
from mmretrieval.diagnostics.concepts import duplicates
from mmretrieval.diagnostics.mixing import agreement, around, chance_free, classed, halves, mixed
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import directions, unit
from mmretrieval.store.exact import Matrix

run = DIAGNOSTICS["concepts"].run
GROUPS, EACH, DIM = 6, 15, 20
IDS = tuple(f"{i:04}" for i in range(GROUPS * EACH))
TRUTH = np.repeat(np.arange(GROUPS), EACH)
CLASSES = {i: f"kind {t}" for i, t in zip(IDS, TRUTH, strict=True)}


def grouped(seed, noise=0.25):
    """Rows in well-parted groups, the same groups whatever the seed."""
    middles = np.random.default_rng(99).normal(size=(GROUPS, DIM))
    return unit(middles[TRUTH] + noise * np.random.default_rng(seed).normal(size=(len(TRUTH), DIM)))


def subject(visual, text=None, **more):
    views = {"visual": Matrix(IDS[: len(visual)], np.asarray(visual, dtype=np.float32))}
    if text is not None:
        views["text"] = Matrix(IDS[: len(text)], np.asarray(text, dtype=np.float32))
    return Subject(views, "visual", "here", **more)


# --- arrays in, numbers out ----------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=40))
def test_v_measure_equals_that_of_scikit_learn(pairs):
    from sklearn.metrics import homogeneity_completeness_v_measure, normalized_mutual_info_score

    classes, labels = (np.array(side) for side in zip(*pairs, strict=True))
    ours = [float(value) for value in v_measure(contingency(classes, labels))]
    assert ours == pytest.approx(homogeneity_completeness_v_measure(classes, labels), abs=1e-9)
    assert ours[2] == pytest.approx(normalized_mutual_info_score(classes, labels), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=40))
def test_adjusted_mutual_information_equals_that_of_scikit_learn(pairs):
    from sklearn.metrics import adjusted_mutual_info_score

    classes, labels = (np.array(side) for side in zip(*pairs, strict=True))
    sides = [len(np.unique(side)) for side in (classes, labels)]
    # One group, or each item a group, in both: theirs divides rounding by rounding.
    same = sides in ([1, 1], [len(pairs)] * 2)
    theirs = 1.0 if same else adjusted_mutual_info_score(classes, labels)
    assert adjusted(contingency(classes, labels)) == pytest.approx(theirs, abs=1e-9)


def test_adjusted_mutual_information_of_large_groups_is_nothing_by_chance_and_one_for_the_same():
    from sklearn.metrics import adjusted_mutual_info_score

    chance = np.random.default_rng(0)
    classes, labels = chance.integers(0, 30, size=(2, 3000))
    assert adjusted(contingency(classes, labels)) == pytest.approx(0, abs=0.02)
    assert adjusted(contingency(classes, (classes * 7) % 30)) == pytest.approx(1)
    some = np.where(chance.random(3000) < 0.5, classes, labels)
    theirs = adjusted_mutual_info_score(classes, some)
    assert adjusted(contingency(classes, some)) == pytest.approx(theirs, abs=1e-9)


def test_weights_count_items_as_often():
    classes, labels = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert contingency(classes, labels, np.array([2.0, 1.0, 0.0, 3.0])).tolist() == [[2, 1], [0, 3]]


def test_complexity_equals_its_formula_written_out():
    rows = grouped(0)
    found = clustered(rows, GROUPS, 0)
    intra, inter = complexity(rows, found)
    a = directions(rows)
    for cluster in range(GROUPS):
        mean = a[found.labels == cluster].mean(axis=0)
        centre = mean / np.linalg.norm(mean)
        assert found.centres[cluster] == pytest.approx(centre)
        assert intra[cluster] == pytest.approx(np.mean([1 - centre @ row for row in a[found.labels == cluster]]))
        others = [1 - centre @ found.centres[c] for c in range(GROUPS) if c != cluster]
        assert inter[cluster] == pytest.approx(np.mean(others))


def test_only_the_twenty_nearest_centres_count():
    # Thirty clusters of one on a quarter of a circle: the first sees its twenty nearest, not all 29.
    angles = np.linspace(0, np.pi / 2, 30)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    intra, inter = complexity(rows, Clusters(np.arange(30), rows))
    assert intra == pytest.approx(0, abs=1e-12)
    assert inter[0] == pytest.approx(np.mean(1 - np.cos(angles[1:21])))


def test_planted_groups_are_found_and_numbered_by_size():
    rows = np.concatenate([grouped(0), grouped(1)[:EACH]])
    for found in clusterings(rows, GROUPS, 0):
        assert np.bincount(found.labels).max() >= 2 * EACH
        assert list(np.bincount(found.labels)) == sorted(np.bincount(found.labels), reverse=True)
    best = clustered(rows, GROUPS, 0)
    assert len({(t, label) for t, label in zip([*TRUTH, *[0] * EACH], best.labels.tolist(), strict=True)}) == GROUPS
    assert (clustered(rows, GROUPS, 0).labels == best.labels).all()


def test_planted_groups_are_found_where_seeds_come_from_some_of_the_rows():
    chance = np.random.default_rng(0)
    truth = chance.integers(0, 12, 6000)
    rows = unit(chance.normal(size=(12, 16))[truth] + 0.2 * chance.normal(size=(6000, 16)))
    assert (np.bincount(clustered(rows, 12, 0).labels) == np.sort(np.bincount(truth))[::-1]).all()
    assert all(v_measure(contingency(truth, found.labels))[2] > 0.9 for found in clusterings(rows, 12, 0))


def test_there_are_no_more_clusters_than_directions():
    rows = np.repeat(np.eye(3), 5, axis=0) * np.arange(1, 16)[:, None]
    found = clustered(rows, 8, 0)
    assert len(found.centres) == 3
    assert found.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert len(clustered(np.ones((10, 4)), 5, 0).centres) == 1
    assert [choice(n) for n in (2, 10, 200, 10_000, 10**6)] == [2, 2, 10, 71, 100]


def test_pairs_alike_are_those_of_the_whole_matrix():
    rows = unit(np.random.default_rng(0).normal(size=(700, 4)))
    rows[650] = rows[3]
    cosines = rows.astype(np.float64) @ rows.T.astype(np.float64)
    wanted = [int((cosines[np.triu_indices(700, 1)] >= t).sum()) for t in (0.9, 0.99, 0.9999)]
    assert duplicates(rows, (0.9, 0.99, 0.9999)) == wanted
    assert wanted[2] >= 1


# --- classes, and both modalities ----------------------------------------------------------------------------------


def test_agreement_is_the_mean_over_clusterings_and_leaves_out_the_unknown():
    classes = classed({"a": "x", "b": "y", "c": "x"}, ("a", "b", "c", "d"))
    assert classes.tolist() == [0, 1, 0, -1]
    good, bad = np.array([0, 1, 0, 5]), np.array([0, 0, 0, 7])
    runs = np.stack([good, bad])[:, None]
    assert agreement(classes, runs) == pytest.approx((1.0 + 0.0) / 2)
    assert chance_free(classes, runs) == pytest.approx((1.0 + 0.0) / 2)
    nobody = np.array([0, 0, -1]), np.zeros((1, 1, 3), dtype=np.int64)
    assert agreement(*nobody) is chance_free(*nobody) is None


def test_a_gap_keeps_modalities_apart_and_centring_lets_meaning_group_them():
    far = 3.0 * np.eye(DIM)[0]
    space = subject(grouped(0) + far, grouped(1) - far, classes=CLASSES)
    found = mixed(space, 0, None)
    assert (found.pairs, found.asked, found.made) == (90, GROUPS, (GROUPS, GROUPS))
    assert found.views == ("visual", "text")
    assert found.numbers["mixed.one_modality"] == 1.0
    assert found.numbers["mixed.purity"] == 1.0
    assert found.numbers["mixed.together"] == 0.0
    assert found.numbers["centered.one_modality"] == 0.0
    assert found.numbers["centered.together"] > 0.8
    assert found.numbers["centered.purity"] == pytest.approx(0.5, abs=0.1)
    assert found.numbers["centered.v_measure"] > found.numbers["mixed.v_measure"] + 0.1
    change = found.numbers["centered.v_measure"] - found.numbers["mixed.v_measure"]
    assert found.numbers["centered.change"] == pytest.approx(change)
    assert found.intervals["centered.change"][0] > 0
    for name, (low, high) in found.intervals.items():
        assert low <= found.numbers[name] <= high, name


def test_without_a_gap_both_rows_of_an_item_are_together():
    found = mixed(subject(grouped(0), grouped(0)), 0, None)
    assert found.numbers["mixed.together"] == 1.0
    assert found.numbers["mixed.one_modality"] == 0.0
    assert found.numbers["mixed.purity"] == pytest.approx(0.5)
    assert found.numbers["mixed.v_measure"] is None


def test_halves_are_random_and_fewer_where_each_takes_long():
    some = halves(21, 1000, 0)
    assert len(some) == 40 and {len(half) for half in some} == {10}
    assert all((np.diff(half) > 0).all() for half in some)
    assert len({tuple(half) for half in some}) == 40
    assert np.bincount(np.concatenate(some), minlength=21).min() > 8
    assert [len(halves(10, work, 0)) for work in (10**6, 10**9)] == [20, 5]


def test_the_interval_around_a_value_holds_the_truth():
    held, width = 0, []
    for seed in range(300):
        values = np.random.default_rng(seed).normal(size=60)
        low, high = around(values.mean(), [float(values[half].mean()) for half in halves(60, 1, seed)], -9.0, 9.0)
        held += low <= 0 <= high
        width.append(high - low)
    assert 0.92 <= held / 300 <= 0.98
    assert np.mean(width) == pytest.approx(2 * 2.02 / np.sqrt(60), rel=0.05)
    assert around(0.5, [0.5, None, 0.5]) is around(0.5, [0.4, None]) is None
    low, high = around(0.5, [0.1, 0.9, None])
    assert (low, high) == (0.0, 1.0)


def test_intervals_of_a_mixture_know_that_other_items_make_other_clusters(monkeypatch):
    # Which clusters hold both kinds depends on the draw; how items differ in that says much less.
    monkeypatch.setattr(mixing, "MOST_HALVES", 10)
    apart = 0.45 * np.eye(DIM)[0]
    found = [mixed(subject(grouped(s) + apart, grouped(50 + s) - apart, classes=CLASSES), s, None) for s in range(16)]
    for name in ("mixed.purity", "mixed.together", "centered.change"):
        spread = np.std([one.numbers[name] for one in found], ddof=1)
        said = np.mean([one.intervals[name][1] - one.intervals[name][0] for one in found]) / 2 / 2.26
        assert 0.6 < said / spread < 1.8, name


def test_clusters_that_hold_one_kind_alone_are_no_proof_that_all_would():
    far = 3.0 * np.eye(DIM)[0]
    found = mixed(subject(grouped(0) + far, grouped(1) - far, classes=CLASSES), 0, None)
    assert found.intervals["mixed.purity"] == pytest.approx((0.025 ** (1 / 90), 1.0))
    assert found.intervals["mixed.together"] == pytest.approx((0.0, 1 - 0.025 ** (1 / 90)))
    assert found.halves == 40


# --- the finding ---------------------------------------------------------------------------------------------------


def test_planted_items_are_exhibited():
    rows = grouped(0)
    rows[40] = -rows[:30].mean(axis=0) - rows[50:].mean(axis=0)  # like nothing else
    rows[71] = rows[70] + 0.01 * rows[0]  # nearly the one before
    found = run(subject(rows, grouped(1), classes=CLASSES))
    largest, odd, alike = found.exhibits
    assert odd.rows[0][0] == (IDS[40],)
    assert alike.rows[0][0] == (IDS[70], IDS[71])
    assert alike.rows[0][1][0] > 0.99
    assert len({pair for pair, _ in alike.rows}) == len(alike.rows)
    assert found.numbers["near_duplicate_pairs"] >= 1
    assert found.numbers["near_duplicates"] >= 2 / 90
    assert found.numbers["visual.v_measure"] > 0.85
    assert found.numbers["visual.ami"] > 0.8
    for ids, (size, intra, inter, product, commonest) in largest.rows:
        assert size >= len(ids)
        assert product == pytest.approx(intra * inter)
        assert commonest.startswith("kind ")
    assert sum(y for y in found.plots[1].traces[0].y) == pytest.approx(1)
    assert "V-measure" in found.sentence
    assert f"the first is {found.numbers['visual.ami']:.2f} (adjusted mutual information" in found.sentence
    for name, (low, high) in found.intervals.items():
        assert low <= found.numbers[name] <= high, name
    json.dumps(asdict(found), allow_nan=False)
    assert asdict(run(subject(rows, grouped(1), classes=CLASSES))) == asdict(found)


def test_one_view_without_classes_says_only_what_it_can():
    found = run(subject(grouped(0)))
    assert found.numbers["mixed.one_modality"] is found.numbers["visual.v_measure"] is None
    assert found.stages == ()
    assert "V-measure" not in found.sentence
    assert "together" not in found.sentence
    same = run(subject(np.ones((12, 4))))
    assert same.numbers["clusters"] == 1.0
    assert same.numbers["near_duplicates"] == 1.0
    assert same.numbers["near_duplicate_pairs"] == 66
    json.dumps(asdict(same), allow_nan=False)


def test_parted_modalities_are_advised_to_be_centred():
    far = 3.0 * np.eye(DIM)[0]
    found = run(subject(grouped(0) + far, grouped(1) - far, classes=CLASSES))
    assert found.stages == ("center",)
    assert "100% of the clusters hold pictures or words alone" in found.sentence


def test_clusters_are_counted_as_they_are_and_not_as_they_were_asked_for():
    few = np.tile(np.eye(3), (40, 1))
    found = run(Subject({v: Matrix(tuple(f"{i:04}" for i in range(120)), few.astype(np.float32)) for v in "ab"}, "a"))
    assert "put into 3 clusters (8 were asked for, the root of half of them, and there are no more" in found.sentence
    assert "put into 3 clusters together (11 were asked for, and there are no more different" in found.sentence
    assert found.basis["mixed"] == {
        "n": 120, "clusters": 3, "clusters_centered": 3, "clusters_asked": 11, "views": ["a", "b"],
    }  # fmt: skip
    assert found.basis["k_means"]["clusters_asked"] == 8
    same = np.ones((40, 4), dtype=np.float32)
    found = run(Subject({v: Matrix(tuple(f"{i:04}" for i in range(40)), same) for v in "ab"}, "a"))
    assert "put into 1 cluster (4 were asked for" in found.sentence
    assert "put into 1 cluster together (6 were asked for" in found.sentence
    usual = run(subject(grouped(0), grouped(1))).sentence
    assert "put into 7 clusters (as many as the root of half of them; how many kinds" in usual
    assert "put into 9 clusters together, " in usual


def test_no_near_duplicate_among_these_does_not_mean_that_there_are_none():
    found = run(subject(grouped(0, noise=0.8)))
    assert found.numbers["near_duplicates"] == 0.0
    assert found.intervals["near_duplicates"] == pytest.approx((0.0, 1 - 0.025 ** (1 / 90)))


def test_too_few_items_are_refused():
    with pytest.raises(RetrievalError, match="at least 10"):
        run(subject(grouped(0)[:9]))
