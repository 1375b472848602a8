"""Composers, each held to its formula, to what it does at the edges, and to what it refuses."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mmretrieval.composition import PartVectors
from mmretrieval.errors import BadQuery
from mmretrieval.geometry import unit
from mmretrieval.search import COMPOSERS

seeds = st.integers(0, 2**32 - 1)
weights = st.lists(st.floats(0.05, 10.0).flatmap(lambda w: st.sampled_from([w, -w])), min_size=1, max_size=6)


def weighted_sum(parts, w):
    return COMPOSERS["sum"].run(PartVectors.of(parts, w)).row


def some_parts(seed, p, d=24):
    return unit(np.random.default_rng(seed).normal(size=(p, d)))


@given(seeds, weights)
def test_equals_the_formula(seed, w):
    parts = some_parts(seed, len(w))
    total = np.zeros(24)
    for row, weight in zip(parts, w, strict=True):
        total += weight / sum(map(abs, w)) * row.astype(np.float64)
    composed = weighted_sum(parts, w)
    assert composed.dtype == np.float32
    assert composed.shape == (24,)
    np.testing.assert_allclose(composed, total / np.linalg.norm(total), atol=1e-6)


@given(seeds, weights, st.floats(1e-300, 1e300))
def test_the_scale_of_all_weights_changes_nothing(seed, w, scale):
    parts = some_parts(seed, len(w))
    np.testing.assert_allclose(weighted_sum(parts, [x * scale for x in w]), weighted_sum(parts, w), atol=1e-6)


@given(seeds, weights, st.randoms(use_true_random=False))
def test_the_order_of_the_parts_changes_no_bit(seed, w, random):
    parts = some_parts(seed, len(w))
    order = random.sample(range(len(w)), len(w))
    np.testing.assert_array_equal(weighted_sum(parts[order], np.array(w)[order]), weighted_sum(parts, w))


def test_nor_does_it_where_the_parts_nearly_cancel_and_the_order_of_a_plain_sum_would_show():
    base, *others = some_parts(6, 4, d=20_000)
    parts = unit(np.stack([base, *(base + 1e-4 * other for other in others)]))
    w = np.array([1.0, 0.7, -0.8, -0.9])
    first = weighted_sum(parts, w)
    for order in itertools.permutations(range(4)):
        np.testing.assert_array_equal(weighted_sum(parts[list(order)], w[list(order)]), first)


@given(seeds, weights, st.integers(0, 6))
def test_a_part_of_weight_zero_is_as_good_as_absent(seed, w, place):
    parts = some_parts(seed, len(w) + 1)
    place = min(place, len(w))
    with_zero = [*w[:place], 0.0, *w[place:]]
    np.testing.assert_array_equal(weighted_sum(parts, with_zero), weighted_sum(np.delete(parts, place, axis=0), w))


def test_one_part_is_itself_and_a_negative_one_its_opposite():
    (part,) = parts = some_parts(1, 1)
    np.testing.assert_allclose(weighted_sum(parts, [7.0]), part, atol=1e-7)
    np.testing.assert_allclose(weighted_sum(parts, [-0.3]), -part, atol=1e-7)


def test_a_negative_weight_pushes_away():
    wanted, avoided = some_parts(2, 2)
    composed = weighted_sum(np.stack([wanted, avoided]), [1.0, -0.5])
    assert composed @ avoided < wanted @ avoided
    assert composed @ wanted > 0


def test_weights_at_the_end_of_the_range_of_float():
    parts = some_parts(3, 2)
    expected = weighted_sum(parts, [1.0, 1.0])
    np.testing.assert_allclose(weighted_sum(parts, [1e308, 1e308]), expected, atol=1e-6)
    np.testing.assert_allclose(weighted_sum(parts, [5e-324, 5e-324]), expected, atol=1e-6)


@given(seeds, st.floats(0.01, 100.0))
def test_parts_that_cancel_out_are_refused(seed, w):
    (part,) = some_parts(seed, 1)
    with pytest.raises(BadQuery, match="cancel out"):
        weighted_sum(np.stack([part, part]), [w, -w])


def test_parts_that_nearly_cancel_are_not():
    part, other = some_parts(4, 2)
    np.testing.assert_allclose(weighted_sum(np.stack([part, part]), [1.0, -0.999]), part, atol=1e-3)
    near = unit((part + 1e-3 * other)[None])[0]
    assert np.linalg.norm(weighted_sum(np.stack([part, near]), [1.0, -1.0])) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("parts", "w", "said"),
    [
        (np.eye(2), [0.0, 0.0], "no part of the query has a weight"),
        (np.zeros((0, 2)), [], "no part of the query has a weight"),
        (np.eye(2), [1.0, float("nan")], "finite numbers, not 1, nan"),
        (np.eye(2), [float("inf"), 1.0], "finite numbers, not inf, 1"),
        (np.zeros((2, 2)), [1.0, 1.0], "no part of the query has a direction"),
    ],
)
def test_what_has_no_answer_says_why(parts, w, said):
    with pytest.raises(BadQuery, match=said):
        weighted_sum(parts.astype(np.float32), w)


def test_a_zero_part_beside_others_adds_nothing():
    (part,) = some_parts(5, 1)
    np.testing.assert_allclose(weighted_sum(np.stack([part, 0 * part]), [1.0, 3.0]), part, atol=1e-7)


# --- several kinds of parts ----------------------------------------------------------------------------------------


def wide(rows):
    """Directions in float64, as a second way to the formulas takes them."""
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def parts_of(rows, w, modalities, feedback=None, centres=None):
    said = np.zeros(len(rows), dtype=np.bool_) if feedback is None else np.array(feedback, dtype=np.bool_)
    return PartVectors(np.asarray(rows, np.float32), np.array(w, dtype=np.float64), modalities, said, centres or {})


def two_kinds(seed, p, d=24):
    """Rows of words and pictures around means far apart, and those means."""
    random = np.random.default_rng(seed)
    centres = {m: (0.8 * unit(random.normal(size=(1, d)))[0]).astype(np.float32) for m in ("text", "image", "frames")}
    kinds = tuple(random.choice(["text", "image", "frames"], size=p))
    rows = unit(np.array([centres[kind] + 0.6 * wide(random.normal(size=d)) for kind in kinds]))
    return rows, kinds, centres


# --- slerp ---------------------------------------------------------------------------------------------------------

slerp = COMPOSERS["slerp"].run


def at(angle):
    return np.array([np.cos(angle), np.sin(angle), 0.0], dtype=np.float32)


@given(st.floats(0.05, 3.1), st.floats(0, 1))
def test_slerp_turns_as_far_as_it_says(angle, a):
    """In a plane the angle itself tells: from the picture at 0 to the words at `angle`."""
    done = slerp(parts_of([at(0), at(angle)], [1, 1], ("image", "text")), a)
    np.testing.assert_allclose(done.row, at(a * angle), atol=1e-5)


@given(seeds, st.floats(0.0, 1.0), st.integers(1, 3), st.integers(1, 3))
def test_slerp_is_the_formula_between_the_two_mixtures(seed, a, pictures, words):
    random = np.random.default_rng(seed)
    rows = some_parts(seed, pictures + words + 1)
    w = np.append(random.uniform(0.1, 3, size=pictures + words), -0.4)
    kinds = ("image",) * (pictures - 1) + ("frames",) + ("text",) * (words + 1)
    v = wide(w[:pictures] @ rows[:pictures].astype(np.float64))
    t = wide(w[pictures:-1] @ rows[pictures:-1].astype(np.float64))
    angle = np.arccos(v @ t)
    arc = np.sin((1 - a) * angle) / np.sin(angle) * v + np.sin(a * angle) / np.sin(angle) * t
    expected = wide(w[:-1].sum() * arc - 0.4 * rows[-1].astype(np.float64))
    np.testing.assert_allclose(slerp(parts_of(rows, w, kinds), a).row, expected, atol=2e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-4, 0.02, np.pi - 0.02, np.pi - 1e-3])
def test_slerp_takes_the_chord_where_the_arc_is_a_line(angle):
    done = slerp(parts_of([at(0), at(angle)], [1, 1], ("image", "text")), 0.3)
    np.testing.assert_allclose(done.row, wide(0.7 * wide(at(0)) + 0.3 * wide(at(angle))), atol=1e-6)


def test_slerp_between_opposites_is_refused():
    (part,) = some_parts(3, 1)
    for opposite in (-part, -np.nextafter(part, np.float32(2))):  # to the last bit, and but for it
        with pytest.raises(BadQuery, match="opposites"):
            slerp(parts_of([part, opposite], [1, 1], ("image", "text")), 0.8)


def test_slerp_of_a_picture_and_words_stays_with_what_pulls_when_something_pushes():
    picture, words, avoided = some_parts(9, 3)
    w, kinds = [2.0, 1.0, -1.0], ("image", "text", "image")
    with_it = slerp(parts_of([picture, words, avoided], w, kinds))
    without = slerp(parts_of([picture, words], w[:2], kinds[:2]))
    assert with_it.row @ avoided < without.row @ avoided
    np.testing.assert_allclose(with_it.row, wide(3.0 * wide(without.row) - wide(avoided)), atol=1e-6)


# --- anchor --------------------------------------------------------------------------------------------------------

anchor = COMPOSERS["anchor"].run


@given(seeds, weights)
def test_anchor_is_its_formula(seed, w):
    rows, kinds, centres = two_kinds(seed, len(w))
    heard = [i for i, x in enumerate(w) if x > 0] or list(range(len(w)))
    mean, far, total = np.zeros(24), 0.0, np.zeros(24)
    for i, (row, kind, x) in enumerate(zip(rows.astype(np.float64), kinds, w, strict=True)):
        rest = row - centres[kind]
        total += x * rest / np.linalg.norm(rest)
        if i in heard:
            mean += abs(x) * centres[kind].astype(np.float64)
            far += abs(x) * np.linalg.norm(rest)
    said = sum(abs(w[i]) for i in heard)
    assume(np.linalg.norm(total) > 1e-3 * sum(map(abs, w)))
    expected = wide(mean / said + far / said * wide(total))
    np.testing.assert_allclose(anchor(parts_of(rows, w, kinds, centres=centres)).row, expected, atol=1e-5)


def test_anchor_gives_words_and_pictures_the_same_say_where_a_sum_does_not():
    """What the two means differ by is in the sum of a picture less words; here it is not."""
    rows, _, centres = two_kinds(5, 2)
    random = np.random.default_rng(0)
    rests = 0.6 * wide(random.normal(size=(2, 24)))
    rows = np.stack([centres["image"] + rests[0], centres["text"] + rests[1]])
    gap = wide(centres["image"].astype(np.float64) - centres["text"])
    parts = parts_of(rows, [1, -1], ("image", "text"), centres=centres)
    moved = anchor(parts).row - wide(centres["image"] + 0.6 * wide(rests[0] - rests[1]))
    np.testing.assert_allclose(moved, 0, atol=1e-6)
    assert COMPOSERS["sum"].run(parts).row @ gap > 0.5


def test_anchor_needs_the_means_of_what_is_asked_and_of_nothing_else():
    rows, _, centres = two_kinds(1, 2)
    with pytest.raises(BadQuery, match="none is known for frames"):
        anchor(parts_of(rows, [1, 1], ("text", "frames"), centres={"text": centres["text"]}))
    anchor(parts_of(rows, [1, 0], ("text", "frames"), centres={"text": centres["text"]}))


def test_anchor_takes_nothing_from_a_part_that_is_its_mean_or_zero():
    rows, _, centres = two_kinds(1, 1)
    more = np.stack([rows[0], centres["image"], 0 * rows[0]])
    done = anchor(parts_of(more, [1, 5, 5], ("text", "image", "text"), centres=centres))
    np.testing.assert_allclose(done.row, rows[0], atol=1e-6)
    assert done.shares[1:].tolist() == [0, 0]
    with pytest.raises(BadQuery, match="has a direction"):
        anchor(parts_of(more[1:], [1, 1], ("image", "text"), centres=centres))
    with pytest.raises(BadQuery, match="cancel out"):
        anchor(parts_of(more[[0, 0]], [1, -1], ("text", "text"), centres=centres))


# --- rocchio -------------------------------------------------------------------------------------------------------

rocchio = COMPOSERS["rocchio"].run


@given(seeds, st.floats(0.1, 2), st.floats(0.1, 2), st.floats(0.1, 2))
def test_rocchio_is_its_formula_with_words_moved_to_the_pictures(seed, a, b, c):
    random = np.random.default_rng(seed)
    rows, _, centres = two_kinds(seed, 6)
    kinds, w = ("text", "image", "image", "image", "image", "text"), random.uniform(0.1, 2, size=6)
    w[4:] *= -1
    w[5] /= 10  # of feedback the pictures are most
    feedback = [False, False, True, True, True, True]
    there = rows.astype(np.float64)
    for i in (0, 5):
        there[i] = wide(there[i] + centres["image"].astype(np.float64) - centres["text"])
    asked, liked, disliked = (w[s] / abs(w[s]).sum() @ there[s] for s in (slice(0, 2), slice(2, 4), slice(4, 6)))
    expected = wide(a * wide(asked) + b * liked + c * disliked)
    done = rocchio(parts_of(rows, w, kinds, feedback, centres), a, b, c)
    np.testing.assert_allclose(done.row, expected, atol=1e-5)


def test_rocchio_without_feedback_is_sum_and_without_question_the_feedback():
    rows, kinds, centres = two_kinds(2, 4)
    w = [1.0, 2.0, -0.5, 0.3]
    plain = rocchio(parts_of(rows, w, kinds, None, centres), 0, 0, 0).row
    np.testing.assert_array_equal(plain, weighted_sum(rows, w))
    some = rocchio(parts_of(rows, [1, 3, -2, -2], ("image",) * 4, [True] * 4)).row
    mean = 0.75 * (rows[0] + 3 * rows[1]) / 4 - 0.15 * (rows[2] + rows[3]) / 2
    np.testing.assert_allclose(some, wide(mean), atol=1e-6)


def test_rocchio_moves_nothing_where_a_mean_is_not_known():
    rows, _, centres = two_kinds(3, 2)
    kinds, feedback = ("text", "image"), [False, True]
    for known in ({}, {"text": centres["text"]}, {"image": centres["image"]}):
        done = rocchio(parts_of(rows, [1, 1], kinds, feedback, known)).row
        np.testing.assert_allclose(done, wide(wide(rows[0]) + 0.75 * wide(rows[1])), atol=1e-6)
    moved = rocchio(parts_of(rows, [1, 1], kinds, feedback, centres)).row
    assert moved @ centres["text"] < done @ centres["text"] - 0.1


def test_rocchio_says_when_its_factors_leave_nothing():
    rows, kinds, _ = two_kinds(4, 2)
    with pytest.raises(BadQuery, match="rocchio:1:0:1 takes 0 times all"):
        rocchio(parts_of(rows, [1, 2], kinds, [True, True]), 1, 0, 1)
    with pytest.raises(BadQuery, match="cancel out"):
        rocchio(parts_of(rows[[0, 0, 1]], [1, -1, 1], (kinds[0],) * 3, [False, False, True]))
