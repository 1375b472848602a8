"""Whether a linear classifier tells two kinds apart: what it sees, what its chance is, and how sure it is."""

import numpy as np
import pytest

from eval.diagnosis import below_chance
from mmretrieval.diagnostics.gap import gap
from mmretrieval.diagnostics.gap_classifier import centred, centred_apart, separability, split
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.geometry import directions, unit
from mmretrieval.store.exact import Matrix


def subject(x, y):
    ids = tuple(f"item-{i:06}" for i in range(len(x)))
    rows = {"visual": np.asarray(x, dtype=np.float32), "text": np.asarray(y, dtype=np.float32)}
    return Subject({view: Matrix(ids, values) for view, values in rows.items()}, "visual")


def pairs(seed, n, d=16, offset=0.0, noise=0.5):
    """Paired rows of two modalities that share content, and lie `offset` apart along one direction."""
    generator = np.random.default_rng(seed)
    content, apart = generator.normal(size=(n, d)), offset * np.eye(d)[0]
    return unit(content + apart), unit(content + noise * generator.normal(size=(n, d)) - apart)


def test_the_classifier_sees_nothing_but_a_difference_of_means():
    # One kind: four fifths a little left, the others far right; the other kind is its mirror. A plane at 0 is right for
    # four fifths of them, but both means are 0.
    lopsided = np.tile([-0.3, -0.3, -0.3, -0.3, 1.2], 80)[:, None] * [1.0, 0.5, -1.0]
    learnt, held = np.arange(300), np.arange(300, 400)
    assert separability(lopsided, -lopsided, learnt, held).mean() == 0.5
    assert separability(lopsided - 0.4, -lopsided, learnt, held).mean() > 0.7


def test_means_of_held_out_pairs_push_the_classifier_below_chance():
    # Noise in many dimensions, where both kinds are alike: taking the means off makes the halves lean opposite ways.
    generator = np.random.default_rng(5)
    x, y = (generator.normal(size=(200, 150)) for _ in range(2))
    found = gap(subject(x, y))
    assert found.intervals["centered.separability"][1] < 0.5
    low, high = found.intervals["centered.separability_unseen"]
    assert low <= 0.5 <= high
    (why,) = below_chance(found)
    assert "held-out ones among them" in why and "it is no sign of a gap" in why
    assert below_chance(gap(subject(*pairs(0, 300, offset=2.0)))) == ()
    # A recipe that centres brings such rows: nothing is claimed to be there, nor to be less than chance would have it.
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y)]
    again = gap(subject(*(rows - rows.mean(axis=0) for rows in units)))
    assert again.intervals["separability"][1] < 0.5 and "it is no sign of a gap" in again.sentence
    assert f"right for {again.numbers['separability']:.0%} of held-out vectors" in again.sentence
    assert "does not say that retrieval suffers" not in again.sentence
    assert "Taking each kind's mean off leaves cosines" in again.sentence


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_with_means_of_their_own_held_out_pairs_have_half_as_their_chance(offset):
    # Two kinds of one distribution, few for the dimension; less the means of the others they average 0.32 and 0.47.
    def drawn(seed, n=100, d=64):
        generator = np.random.default_rng(seed)
        return [directions(generator.normal(size=(n, d)) + sign * offset * np.eye(d)[0]) for sign in (1, -1)]

    found = [gap(subject(*drawn(seed)), seed=seed) for seed in range(30)]
    shares = [one.numbers["centered.separability_unseen"] for one in found]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
    assert sum(one.intervals["centered.separability_unseen"][1] < 0.5 for one in found) <= 2
    assert not any("row below" in why and "unseen" in why for one in found for why in below_chance(one))


def test_each_part_is_centred_by_its_own_mean_and_what_is_left_between_the_kinds_is_still_seen():
    x, _ = pairs(3, 40)
    parts = split(40, 0)
    moved = centred_apart(x, x.astype(np.float32), parts)
    for part in parts:
        np.testing.assert_allclose(moved[part], centred(x[part], x[part].mean(axis=0)), atol=1e-6)
    # A fifth of each kind stands far out, on opposite sides: renormalising brings back a difference of means.
    generator = np.random.default_rng(2)
    out = np.tile([0.0, 0.0, 0.0, 0.0, 1.2], 80)[:, None] * np.eye(6)[1]
    x, y = (np.eye(6)[0] + side * out + 0.05 * generator.normal(size=(400, 6)) for side in (1, -1))
    assert gap(subject(x, y)).intervals["centered.separability_unseen"][0] > 0.5


def test_what_all_held_out_pairs_agree_on_is_as_sure_as_they_are_many():
    x, y = pairs(0, 60, offset=3.0)
    found = gap(subject(x, y))
    assert found.numbers["separability"] == 1.0
    assert found.intervals["separability"] == pytest.approx((0.025 ** (1 / 12), 1.0))
    assert "gives 100% of held-out vectors to the right kind" in found.sentence
    few = gap(subject(x[:5], y[:5]))
    assert few.numbers["separability"] == 1.0
    assert few.intervals["separability"] == pytest.approx((0.025, 1.0))
    assert "is not shown to tell the kinds apart (100% of held-out vectors right, 95 % interval" in few.sentence
    easy = gap(subject(*pairs(0, 100, d=64, noise=0.01)))
    assert easy.numbers["shift_recall_10_a"] == 1.0
    assert easy.intervals["shift_recall_10_a"] == pytest.approx((0.025 ** (1 / 100), 1.0))


def test_rows_at_the_mean_become_zero_rows():
    rows = np.array([[1.0, 0.0], [1.0, 1e-9], [0.0, 1.0]])
    left = centred(rows, np.array([1.0, 0.0]))
    np.testing.assert_array_equal(left[:2], 0.0)
    np.testing.assert_allclose(np.linalg.norm(left[2]), 1.0, atol=1e-7)
