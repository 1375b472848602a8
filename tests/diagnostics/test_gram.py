"""The diagnostic `gram`: its numbers against their definitions, its blind spot, its prior, and its words."""

import itertools
import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.diagnostics.gram import gram, smaller_share
from mmretrieval.diagnostics.gram_plots import roc
from mmretrieval.diagnostics.gram_words import advice
from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.diagnostics.tuples import measure, mixed, own_tuples, question_tuples, strangers
from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import gram_volume, unit
from mmretrieval.search import RERANKERS
from mmretrieval.store.exact import Matrix

seeds = st.integers(0, 2**32 - 1)


def names(n):
    return tuple(f"item-{i:04}" for i in range(n))


def some_rows(seed, n, k, d=24, noise=0.6):
    """Rows (n, d) of k views that share content; noise differs from item to item."""
    generator = np.random.default_rng(seed)
    content = generator.normal(size=(n, d))
    noises = noise * generator.uniform(0.5, 1.5, size=(n, 1))
    return [unit(content + noises * generator.normal(size=(n, d))) for _ in range(k)]


def subject(rows, questions=None, labels="abcde"):
    ids = names(len(rows[0]))
    views = {label: Matrix(ids, view) for label, view in zip(labels, rows, strict=False)}
    return Subject(views, next(iter(views)), "some space", questions, labels={})


def asking(rows, kind="text", relevant=None):
    ids = names(len(rows))
    answers = tuple(frozenset([i]) for i in ids) if relevant is None else relevant
    return Questions(rows, tuple(f"q{i}" for i in range(len(rows))), (kind,) * len(rows), answers)


def determinant_volumes(*views):
    tuples = np.stack([np.asarray(v, dtype=np.float64) for v in views], axis=1)
    return np.array([math.sqrt(max(np.linalg.det(rows @ rows.T), 0.0)) for rows in tuples])


# --- what is compared ----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_share_equals_counting_all_comparisons(values):
    matched, shuffled = (np.array(side, dtype=np.float64) / 5 for side in zip(*values, strict=True))
    wins = np.mean([1.0 if m < s else 0.5 if m == s else 0.0 for m in matched for s in shuffled])
    assert smaller_share(matched, shuffled)[0] == pytest.approx(wins)
    x, y = roc(matched, shuffled)
    assert np.trapezoid(y, x) == pytest.approx(wins)


@given(seeds, st.integers(1, 10))
def test_counts_mean_as_many_copies(seed, n):
    generator = np.random.default_rng(seed)
    matched, shuffled = generator.integers(0, 4, size=(2, n)) / 4
    counts = generator.multinomial(n, np.ones(n) / n, size=3).astype(np.float32)
    for count, share in zip(counts, smaller_share(matched, shuffled, counts), strict=True):
        copied = np.repeat(np.arange(n), count.astype(int))
        assert share == pytest.approx(smaller_share(matched[copied], shuffled[copied])[0])


@given(seeds, st.integers(5, 20), st.integers(2, 4))
def test_shuffled_tuples_hold_another_item_whole_and_mixed_ones_no_two_views_of_one(seed, n, k):
    rows = {str(j): np.arange(1, n + 1, dtype=np.float32)[:, None] for j in range(k)}
    tuples = own_tuples(rows, names(n), list(rows), seed)
    assert sorted(tuples.others) == sorted(tuples.ids)
    for query, own, other, mix in zip(
        tuples.queries, tuples.matched, tuples.shuffled, mixed(tuples, seed), strict=True
    ):
        assert set(own.ravel().tolist()) == {query.item()}
        assert len(set(other.ravel().tolist()) - {query.item()}) == 1
        assert len({query.item(), *mix.ravel().tolist()}) == k


@given(seeds, st.integers(3, 15))
def test_no_place_stays_and_no_two_steps_meet(seed, n):
    steps = strangers(n, seed, n - 1)
    for step in steps:
        assert sorted(step.tolist()) == list(range(n))
    for places in np.stack([np.arange(n), *steps], axis=1):
        assert len(set(places.tolist())) == n


@given(seeds, st.integers(1, 4))
def test_what_is_measured_equals_the_formula(seed, k):
    generator = np.random.default_rng(seed)
    queries, own = generator.normal(size=(6, 9)), generator.normal(size=(6, k, 9))
    measured = measure(queries, own)
    for i, (query, views) in enumerate(zip(unit(queries), unit(own), strict=True)):
        cosines = views.astype(np.float64) @ query.astype(np.float64)
        everything = np.vstack([query, views]).astype(np.float64)
        pairs = [a @ b for a, b in itertools.combinations(everything, 2)]
        volume = math.sqrt(np.linalg.det(everything @ everything.T))
        assert measured.volume[i] == pytest.approx(volume, abs=1e-6)
        assert measured.cosine[i] == pytest.approx(cosines.mean(), abs=1e-6)
        assert measured.lowest[i] == pytest.approx(cosines.min(), abs=1e-6)
        assert measured.pairwise[i] == pytest.approx(np.mean(pairs), abs=1e-6)
        listed = {str(j): (view[None], np.ones(1, dtype=bool)) for j, view in enumerate(views)}
        assert 1 - measured.guarded[i] == pytest.approx(RERANKERS["gram"].run(query, listed, 10).scores[0], abs=1e-6)


# --- the numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_numbers_equal_determinants_of_all_views_with_the_first_as_the_query(k):
    rows = some_rows(k, 120, k)
    found = gram(subject(rows))
    (step,) = strangers(120, 0, 1)
    matched = determinant_volumes(*rows)
    shuffled = determinant_volumes(rows[0], *(view[step] for view in rows[1:]))
    numbers = found.numbers
    assert numbers["volume_matched_mean"] == pytest.approx(matched.mean(), abs=1e-6)
    assert numbers["volume_shuffled_mean"] == pytest.approx(shuffled.mean(), abs=1e-6)
    assert numbers["auc"] == pytest.approx(np.mean(matched[:, None] < shuffled), abs=1e-4)
    if k == 2:
        assert numbers["own_volume_mean"] is None
        assert "|sin|" in found.sentence
        assert "no more than their cosine" in found.sentence
        assert "cannot tell agreement from opposition" in found.sentence
    else:
        own = determinant_volumes(*rows[1:])
        assert numbers["own_volume_mean"] == pytest.approx(own.mean(), abs=1e-6)
        assert numbers["sine_matched_mean"] == pytest.approx((matched / own).mean(), abs=1e-5)
        assert numbers["sine_shuffled_mean"] == pytest.approx((shuffled / own[step]).mean(), abs=1e-5)
        assert "|sin|" not in found.sentence
    for name, (low, high) in found.intervals.items():
        assert low - 1e-9 <= numbers[name] <= high + 1e-9, name
    assert found.basis["tuple"] == list("abcde"[:k])


@pytest.mark.parametrize("k", [2, 3, 5])
def test_copies_have_volume_zero_and_nothing_is_ever_nan(k):
    (view,) = some_rows(1, 60, 1)
    found = gram(subject([view] * k))
    assert found.numbers["volume_matched_mean"] == 0.0
    assert found.numbers["auc"] == (1.0 if k == 2 else 0.5)
    if k > 2:
        # The item's own views have no volume, and every query finds them perfect: only the sine still sees a match.
        assert found.numbers["own_volume_mean"] == found.numbers["volume_shuffled_mean"] == 0.0
        assert found.numbers["auc_sine"] == found.numbers["mixed.auc"] == 1.0
        assert "no different from chance" in found.sentence
    json.dumps(asdict(found), allow_nan=False)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_orthogonal_frames_have_volume_one(k):
    generator = np.random.default_rng(k)
    turned = [np.linalg.qr(generator.normal(size=(8, 8)))[0][:k] for _ in range(40)]
    found = gram(subject([np.array([frame[j] for frame in turned], dtype=np.float32) for j in range(k)]))
    assert found.numbers["volume_matched_mean"] == pytest.approx(1.0, abs=1e-6)
    if k > 2:
        assert found.numbers["own_volume_mean"] == pytest.approx(1.0, abs=1e-6)
    json.dumps(asdict(found), allow_nan=False)


def test_pairs_at_a_known_angle_have_its_sine():
    generator = np.random.default_rng(3)
    frames = [np.linalg.qr(generator.normal(size=(12, 2)))[0].T for _ in range(50)]
    a = np.array([frame[0] for frame in frames])
    b = np.array([math.cos(0.4) * frame[0] + math.sin(0.4) * frame[1] for frame in frames])
    found = gram(subject([a.astype(np.float32), b.astype(np.float32)]))
    assert found.numbers["volume_matched_mean"] == pytest.approx(math.sin(0.4), abs=1e-6)


def test_a_rotation_changes_no_number():
    rows = some_rows(7, 80, 4)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(24, 24)))
    plain = gram(subject(rows[:3], asking(rows[3])))
    turned = gram(subject([unit(view @ turn) for view in rows[:3]], asking(unit(rows[3] @ turn))))
    assert turned.numbers == pytest.approx(dict(plain.numbers), abs=1e-5)


def test_unrelated_views_are_at_chance():
    generator = np.random.default_rng(1)
    found = gram(subject([unit(generator.normal(size=(300, 24))) for _ in range(3)]))
    low, high = found.intervals["auc"]
    assert low < 0.5 < high
    assert "no different from chance" in found.sentence


# --- the blind spot ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
def test_a_query_turned_round_keeps_its_volume_and_the_guard_sees_it(k):
    found = gram(subject(some_rows(4, 150, k, noise=0.3)))
    assert found.numbers["flip.volume_largest_change"] < 1e-12
    assert found.numbers["flip.auc"] == pytest.approx(found.numbers["auc"], abs=1e-9)
    assert found.numbers["flip.auc_guarded"] < 0.05
    assert found.numbers["auc_guarded"] > 0.9
    (table,) = [e for e in found.exhibits if "opposite" in e.title]
    for _, (volume, turned, cosine, opposite) in table.rows:
        assert turned == pytest.approx(volume, abs=1e-12)
        assert opposite == pytest.approx(-cosine, abs=1e-12)
        assert cosine > 0.5


def test_what_is_matched_with_its_opposite_looks_perfect_but_for_the_guard():
    a, b = some_rows(5, 100, 2, noise=0.2)
    found = gram(subject([a, -b]))
    assert found.numbers["auc"] > 0.99
    assert found.numbers["opposed_matched"] == 1.0
    assert found.numbers["auc_guarded"] < 0.01
    assert found.numbers["auc_cosine"] < 0.01
    (table,) = [e for e in found.exhibits if "disagree" in e.title]
    assert all(lowest < 0 for _, (_, _, lowest, _, _) in table.rows)


# --- questions -----------------------------------------------------------------------------------------------------


def test_questions_make_tuples_with_items_that_answer_and_items_that_do_not():
    *rows, queries = some_rows(6, 60, 4)
    ids = names(60)
    answers = tuple(frozenset(ids[i : i + 3]) for i in range(60))
    some = subject(rows, asking(queries, relevant=answers))
    tuples = question_tuples(some, ("a", "b", "c"), 0, 50)
    assert len(tuples) == 50
    place = {row.tobytes(): i for i, row in enumerate(queries)}
    for query, item, other, own in zip(tuples.queries, tuples.ids, tuples.others, tuples.matched, strict=True):
        asked = place[query.tobytes()]
        assert item in answers[asked]
        assert other not in answers[asked]
        np.testing.assert_array_equal(own[1], rows[1][ids.index(item)])
    found = gram(some, sample=50)
    measured = measure(tuples.queries, tuples.matched)
    assert found.numbers["questions.volume_matched_mean"] == pytest.approx(measured.volume.mean())
    assert found.numbers["questions.own_volume_mean"] == pytest.approx(gram_volume(tuples.matched).mean())
    assert (found.basis["questions"], found.basis["questions_tuple"]) == (50, ["questions", "a", "b", "c"])
    assert "For 50 questions" in found.sentence


def test_captions_are_not_compared_with_the_words_that_they_are():
    a, b, c = some_rows(8, 60, 3)
    found = gram(subject([a, b, c], asking(a, "caption")))
    assert found.basis["questions_tuple"] == ["captions", "b", "c"]
    assert found.basis["prior_views"] == ["b", "c"]
    assert gram(subject([a, b], asking(a, "caption"))).basis["questions"] == 0
    in_words = gram(subject([a, b, c], asking(unit(b + 0.1 * a), "caption"), labels=["visual", "text", "sound"]))
    assert in_words.basis["questions_tuple"] == ["captions", "visual", "sound"]


def test_a_caption_does_not_count_for_its_own_item():
    a, b = some_rows(9, 80, 2)
    found = gram(subject([a, b], asking(a, "caption")))
    assert found.basis["prior_by"] == "captions, each without its own item"
    assert found.basis["prior_views"] == ["a", "b"]
    (table,) = [e for e in found.exhibits if "most often" in e.title]
    assert all(times <= 79 for _, (_, *counts) in table.rows for times in counts)


def test_one_view_needs_questions_and_says_so():
    a, queries = some_rows(10, 60, 2)
    found = gram(subject([a], asking(queries)))
    assert found.numbers["auc"] is None
    assert found.numbers["questions.own_volume_mean"] is None
    assert found.numbers["questions.volume_matched_mean"] == pytest.approx(
        determinant_volumes(queries, a).mean(), abs=1e-6
    )
    assert "|sin|" in found.sentence
    with pytest.raises(RetrievalError, match="at least two views"):
        gram(subject([a]))
    with pytest.raises(RetrievalError, match="give questions with answers"):
        gram(subject([a], asking(queries, relevant=(frozenset(),) * 60)))
    with pytest.raises(RetrievalError, match="at least 4"):
        gram(subject([view[:3] for view in some_rows(11, 4, 2)]))


# --- the prior, plots, words ---------------------------------------------------------------------------------------


def near_and_apart(seed=12, n=200, d=48):
    """Queries, and items of two views which lie from nearly together to far apart."""
    generator = np.random.default_rng(seed)
    first = generator.normal(size=(n, d))
    apart = generator.uniform(0.05, 2.0, size=(n, 1))
    second = first + apart * generator.normal(size=(n, d))
    return [unit(first + second + 2.0 * generator.normal(size=(n, d))), unit(first), unit(second)]


def test_items_with_nearly_collinear_views_win_by_volume_whatever_is_asked():
    found = gram(subject(near_and_apart()))
    numbers = found.numbers
    assert numbers["prior.volume_spearman"] < numbers["prior.sine_spearman"]
    assert found.intervals["prior.volume_spearman"][1] < 0
    assert numbers["prior.volume_tenth"] > 0.8
    assert numbers["prior.sine_tenth"] < 0.3
    assert "volume favours items whose own views nearly coincide" in found.sentence
    assert found.stages == ("span:100",)
    assert "span:100 rather than gram:100" in found.advice
    (table,) = [e for e in found.exhibits if "most often" in e.title]
    own = dict(zip(names(200), gram_volume(np.stack(near_and_apart()[1:], axis=1)), strict=True))
    for (item,), (volume, *_) in table.rows[:5]:
        assert volume == pytest.approx(own[item])
        assert volume < np.median(list(own.values()))


def test_items_of_equal_own_volume_have_no_prior():
    generator = np.random.default_rng(2)
    frames = [np.linalg.qr(generator.normal(size=(12, 2)))[0].T for _ in range(60)]
    own = [np.array([frame[j] for frame in frames], dtype=np.float64) for j in range(2)]
    queries = unit(own[0] + own[1])
    found = gram(subject([queries, *(unit(view) for view in own)]))
    assert found.numbers["volume_matched_mean"] < 1e-6
    # float32 rounds the frames, and their volumes differ by that alone.
    assert found.numbers["prior.volume_tenth"] is None
    assert found.numbers["prior.volume_spearman"] is None
    assert "found" not in found.sentence


def test_advice_follows_the_numbers():
    words = {"own": ("a", "b", "c"), "questions": ()}
    sizes = {"own": 100, "questions": 0}
    for interval, stages, said in (
        ((0.01, 0.2), ("gram:100",), "Try gram:100"),
        ((-0.2, -0.01), (), "Stay with cosine"),
        ((-0.1, 0.1), (), "evaluate gram:100 to know"),
    ):
        sentence, named = advice({}, {"auc_gain": interval}, words, sizes)
        assert named == stages
        assert said in sentence
    assert "Two vectors" in advice({}, {}, {"own": ("a", "b"), "questions": ()}, sizes)[0]
    assert "So few" in advice({}, {}, words, {"own": 8, "questions": 0})[0]
    prior = {f"prior.{kind}_tenth": share for kind, share in (("volume", 0.5), ("sine", 0.6))}
    both = advice(prior | {"prior.volume_spearman": -0.5}, {"prior.volume_spearman": (-0.6, -0.4)}, words, sizes)
    assert both[1] == ()
    assert "both favour" in both[0]


def test_plots_name_their_axes_and_hold_every_tuple_once():
    rows = some_rows(13, 2100, 4, d=8)
    found = gram(subject(rows[:3], asking(rows[3])))
    plots = {plot.name: plot for plot in found.plots}
    assert set(plots) == {"volumes", "volumes-questions", "roc", "cosines", "prior"}
    for plot in plots.values():
        assert plot.x
        assert plot.y
        assert plot.title
        for trace in plot.traces:
            assert len(trace.x) == len(trace.y) <= 2000
            assert len(trace.labels) in {0, len(trace.x)}
    for name in ("volumes", "volumes-questions"):
        for trace in plots[name].traces:
            assert sum(trace.y) == pytest.approx(1.0)
            assert all(0 < centre < 1 for centre in trace.x)
    volume = plots["roc"].traces[0]
    assert (volume.x[0], volume.y[0], volume.x[-1], volume.y[-1]) == (0.0, 0.0, 1.0, 1.0)
    area = np.trapezoid(volume.y, volume.x)
    assert area == pytest.approx(found.numbers["auc"], abs=5e-3)
    assert set(plots["cosines"].traces[1].labels) <= set(names(2100))
    for table in found.exhibits:
        for ids, values in table.rows:
            assert set(ids) <= set(names(2100))
            assert len(values) == len(table.columns)


def test_few_items_are_said_to_be_few():
    found = gram(subject(some_rows(14, 6, 3)))
    assert "With only 6 items" in found.sentence
    assert found.stages == ()
    assert found.numbers["prior.volume_tenth"] is None


def test_seed_sample_and_plain_values():
    rows = some_rows(15, 300, 3)
    found = gram(subject(rows), sample=60, seed=9)
    assert asdict(found) == asdict(gram(subject(rows), sample=60, seed=9))
    assert found.numbers != gram(subject(rows), sample=60, seed=10).numbers
    assert (found.basis["n"], found.basis["of"], found.basis["seed"]) == (60, 300, 9)
    assert gram(subject(rows), sample=None).numbers == gram(subject(rows)).numbers
    json.dumps(asdict(found), allow_nan=False)


def test_the_joint_view_and_items_that_lack_a_view_are_left_out():
    a, b, joint = some_rows(16, 80, 3)
    ids = names(80)
    views = {"visual": Matrix(ids, a), "text": Matrix(ids[10:], b[10:]), "joint": Matrix(ids, joint)}
    found = gram(Subject(views, "visual"))
    assert found.basis["tuple"] == ["pictures", "words"]
    assert found.basis["n"] == 70
    assert found.numbers["volume_matched_mean"] == pytest.approx(determinant_volumes(a[10:], b[10:]).mean(), abs=1e-6)
