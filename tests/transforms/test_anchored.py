"""The transforms that tell a row by its company: relative, asif, parallel-anchors."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_references import D, cone, listed, paired, reference
from scipy.stats import ortho_group

from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import cosine, directions, unit
from mmretrieval.transforms import TRANSFORMS
from mmretrieval.transforms.anchors import cosines
from mmretrieval.transforms.asif import sparse
from mmretrieval.transforms.parallel_anchors import grow
from mmretrieval.transforms.rows import largest

GOLDEN = Path(__file__).parent.parent / "golden"
seeds = st.integers(0, 2**31)


def run(name, space, *arguments):
    return TRANSFORMS[name].run(space, *arguments)


# --- relative ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_cosines_to_anchors_are_those_of_the_authors(precision):
    with np.load(GOLDEN / "relative_representations.npz") as arrays:
        samples, anchor_rows = arrays["in_samples"], arrays["in_anchors"]
        told, normalised = arrays[f"out_cosine_{precision}"], arrays[f"out_cosine_output_l2_{precision}"]
    np.testing.assert_allclose(cosines(samples, directions(anchor_rows)), told, atol=2e-6)
    space = reference({"visual": anchor_rows, "text": anchor_rows})
    np.testing.assert_allclose(run("relative", space, 100).items("visual", samples), normalised, atol=2e-6)


@given(seeds, st.integers(2, 20))
def test_each_side_is_told_by_its_own_side_of_evenly_spaced_anchors(seed, k):
    space = paired(seed)
    fit = run("relative", space, k)
    chosen = [(i * 60) // k for i in range(k)]
    visual, text = space.items["visual"].rows, space.items["text"].rows
    rows = cone(seed, 4)
    pictures, words = (unit(cosine(rows, side[chosen])) for side in (visual, text))
    for got, expected in (
        (fit.items("visual", rows), pictures),
        (fit.query("image", rows), pictures),
        (fit.query("frames", rows), pictures),
        (fit.items("text", rows), words),
        (fit.query("text", rows), words),
    ):
        np.testing.assert_allclose(got, expected, atol=1e-6)
    assert fit.item_bytes == 4 * k


@given(seeds)
def test_no_rotation_or_rescaling_of_either_side_shows(seed):
    space = paired(seed)
    turns = {"visual": 3.0 * ortho_group.rvs(D, random_state=seed), "text": ortho_group.rvs(D, random_state=seed + 1)}
    turned = reference({view: (m.rows @ turns[view]).astype(np.float32) for view, m in space.items.items()})
    rows = cone(seed, 5)
    for name, arguments in (("relative", (20,)), ("asif", (20, 3))):
        plain, other = run(name, space, *arguments), run(name, turned, *arguments)
        for view, turn in turns.items():
            np.testing.assert_allclose(
                plain.items(view, rows), other.items(view, (rows @ turn).astype(np.float32)), atol=2e-5
            )


def test_anchors_are_items_with_pixels_and_words_and_all_of_them_where_there_are_few():
    visual, text, joint = cone(1, 20), listed(cone(2, 20), first=15), cone(3, 20)
    space = reference({"visual": visual, "text": text, "joint": joint})
    fit = run("relative", space, 300)
    np.testing.assert_allclose(fit.items("joint", joint), unit(cosine(joint, joint[15:])), atol=1e-6)
    np.testing.assert_allclose(fit.query("text", visual), unit(cosine(visual, text.rows[:5])), atol=1e-6)
    partly = reference({"visual": visual, "text": text, "joint": listed(joint[:17])})
    np.testing.assert_allclose(
        run("relative", partly, 300).items("joint", joint), unit(cosine(joint, visual[15:])), atol=1e-6
    )
    with pytest.raises(RetrievalError, match="relative compares.*needs 2, and the library has 1: add pictures"):
        run("relative", reference({"visual": visual, "text": listed(cone(2, 20), first=19)}), 300)


# --- asif ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [20, 150])
@pytest.mark.parametrize("power", [1, 4, 8])
def test_asif_scores_are_those_of_the_authors_once_both_sides_are_normalised(kept, power):
    with np.load(GOLDEN / "asif.npz") as arrays:
        given = {name: arrays[f"in_{name}"] for name in ("anchor_image", "anchor_text", "image", "text")}
        both = arrays[f"out_similarity_both_sides_normalised_NOT_authors_code_nz{kept}_p{power}_f64"]
        theirs = arrays[f"out_similarity_nz{kept}_p{power}_f64"]
        values = arrays[f"out_image_values_nz{kept}_f64"]
        indices = arrays[f"out_image_indices_nz{kept}_f64"]
    images = sparse(given["image"], directions(given["anchor_image"]), kept, power)
    texts = sparse(given["text"], directions(given["anchor_text"]), kept, power)
    np.testing.assert_allclose(images @ texts.T, both, atol=1e-5)
    # The authors leave the rows of images at their own length, which is no matter for the texts of one image.
    told = cosine(given["image"], given["anchor_image"])
    top = np.where(largest(told, kept), told, 0.0)
    expected = np.zeros_like(top)
    np.put_along_axis(expected, indices.astype(np.int64), values.astype(np.float64), axis=1)
    np.testing.assert_allclose(top, expected, atol=2e-6)
    lengths = np.linalg.norm(np.maximum(top, 0.0) ** power, axis=1, keepdims=True)
    np.testing.assert_allclose(lengths * (images @ texts.T), theirs, atol=1e-5)


def test_the_transform_tells_pictures_by_pixels_and_texts_by_words():
    with np.load(GOLDEN / "asif.npz") as arrays:
        given = {name: arrays[f"in_{name}"] for name in ("anchor_image", "anchor_text", "image", "text")}
        both = arrays["out_similarity_both_sides_normalised_NOT_authors_code_nz20_p8_f64"]
    # The two sides have 32 and 24 coordinates: no row of one is ever compared with one of the other.
    fit = run("asif", reference({"visual": given["anchor_image"], "text": given["anchor_text"]}), 20, 8)
    items, asked = fit.items("visual", given["image"]), fit.query("text", given["text"])
    np.testing.assert_allclose(items.astype(np.float64) @ asked.T.astype(np.float64), both, atol=1e-5)
    np.testing.assert_array_equal(fit.query("image", given["image"]), items)
    np.testing.assert_array_equal(fit.items("text", given["text"]), asked)
    assert (np.count_nonzero(items, axis=1) <= 20).all()
    assert fit.item_bytes == 6 * 20


@given(seeds, st.integers(1, 12), st.integers(1, 4))
def test_the_formula_done_slowly_gives_the_same_rows(seed, kept, power):
    rows, anchor_rows = cone(seed, 4, offset=0.3), directions(cone(seed + 1, 12, offset=0.3))
    for row, got in zip(rows, sparse(rows, anchor_rows, kept, power), strict=True):
        told = [float(np.dot(row.astype(np.float64), a) / np.linalg.norm(row.astype(np.float64))) for a in anchor_rows]
        floor = sorted(told)[-kept]
        powers = [t**power if t >= floor and t > 0 else 0.0 for t in told]
        length = sum(p * p for p in powers) ** 0.5
        np.testing.assert_allclose(got, [p / length if length else 0.0 for p in powers], atol=1e-9)


def test_among_equals_the_first_are_the_largest():
    values = np.array([[1.0, 2.0, 2.0, 2.0, 0.0], [5.0, 5.0, 5.0, 5.0, 5.0]])
    np.testing.assert_array_equal(largest(values, 2), [[0, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    assert largest(values, 9).all()


# --- parallel-anchors ----------------------------------------------------------------------------------------------


def turned_space(seed, n=400, d=24, noise=0.0):
    """Points in clusters, and the same turned by a rotation nobody knows, with noise: row i of both is point i."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(20, d))
    rows = unit(centres[generator.integers(0, 20, size=n)] + 0.6 * generator.normal(size=(n, d)))
    turn = ortho_group.rvs(d, random_state=seed)
    return rows, unit(rows @ turn + noise * generator.normal(size=(n, d)) / d**0.5)


def right(pairs, known):
    """How many of the pairs beyond the known ones are true."""
    found = pairs[known:]
    return (found[:, 0] == found[:, 1]).sum(), len(found)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_few_pairs_of_a_rotated_space_lead_to_most_others(seed):
    rows, turned = turned_space(seed)
    known = np.repeat(np.arange(0, 400, 40)[:, None], 2, axis=1)
    true, found = right(grow(rows, turned, known, 400), 10)
    assert (true, found) == (390, 390)
    rows, noisy = turned_space(seed, noise=0.35)
    true, found = right(grow(rows, noisy, known, 400), 10)
    assert true > 0.6 * 390
    assert true > 0.75 * found


def test_growing_finds_more_than_the_known_pairs_alone_can():
    rows, noisy = turned_space(3, noise=0.6)
    known = np.repeat(np.arange(0, 400, 27)[:, None], 2, axis=1)
    at_once = right(grow(rows, noisy, known, 2 * len(known)), len(known))
    grown = right(grow(rows, noisy, known, 400), len(known))
    told = [unit(cosine(side, side[known[:, 0]])) for side in (rows, noisy)]
    nearest = (told[0] @ told[1].T).argmax(axis=1) == np.arange(400)
    assert grown[0] > 1.2 * nearest.sum()
    assert grown[0] > at_once[0]


def test_the_known_pairs_stay_and_nothing_is_used_twice():
    rows, noisy = turned_space(4, noise=0.8)
    known = np.array([[5, 5], [77, 77], [300, 300], [9, 9]])
    pairs = grow(rows, noisy[:, :20], known, 50)
    np.testing.assert_array_equal(pairs[:4], known)
    assert 4 < len(pairs) <= 50
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    np.testing.assert_array_equal(grow(rows, noisy, known, 2), known)
    np.testing.assert_array_equal(
        grow(rows[:4], noisy[:4], np.repeat(np.arange(4)[:, None], 2, axis=1), 9)[:, 0], range(4)
    )


def test_which_words_belong_to_which_pixels_is_not_used_beyond_the_seeds():
    rows, noisy = turned_space(5, noise=0.2)
    known = np.repeat(np.arange(0, 400, 40)[:, None], 2, axis=1)
    pairs = grow(rows, noisy, known, 200)
    order = np.random.default_rng(6).permutation(400)
    place = np.argsort(order)
    elsewhere = grow(rows, noisy[order], np.stack([known[:, 0], place[known[:, 1]]], axis=1), 200)
    np.testing.assert_array_equal(np.stack([elsewhere[:, 0], order[elsewhere[:, 1]]], axis=1), pairs)


def test_the_transform_is_relative_with_the_grown_anchors():
    rows, turned = turned_space(7, noise=0.2)
    space = reference({"visual": rows, "text": listed(turned[50:], first=50)})
    fit = run("parallel-anchors", space, 12, 100)
    assert fit.known == 12
    assert fit.pictures[:12] == fit.texts[:12]
    assert len(fit.pictures) == 100
    assert np.mean([a == b for a, b in zip(fit.pictures, fit.texts, strict=True)]) > 0.8
    ids = space.items["visual"].ids
    pictures = rows[[ids.index(i) for i in fit.pictures]]
    words = turned[[ids.index(i) for i in fit.texts]]
    np.testing.assert_allclose(fit.items("visual", rows[:9]), unit(cosine(rows[:9], pictures)), atol=1e-6)
    np.testing.assert_allclose(fit.query("text", turned[:9]), unit(cosine(turned[:9], words)), atol=1e-6)
    # What it is for: the texts of a space that was turned away find their pictures again.
    before = (rows[50:] @ turned[50:].T).argmax(axis=0) == np.arange(350)
    after = (fit.items("visual", rows[50:]) @ fit.items("text", turned[50:]).T).argmax(axis=0) == np.arange(350)
    assert before.mean() < 0.05
    assert after.mean() > 0.9
    np.testing.assert_array_equal(fit.items("joint", rows), fit.items("visual", rows))


def test_two_pairs_at_least_are_needed():
    empty = np.zeros((20, D), dtype=np.float32)
    with pytest.raises(RetrievalError, match="parallel-anchors compares.*has 0: add pictures"):
        run("parallel-anchors", reference({"visual": empty, "text": cone(1, 20)}), 2, 9)
    with pytest.raises(RetrievalError, match="parallel-anchors compares.*has 0: add pictures"):
        run("parallel-anchors", reference({"visual": cone(1, 20)}), 2, 9)
    # A zero row is no direction to compare with, on whichever side it is.
    for name, arguments in (("relative", (300,)), ("asif", (800, 8))):
        with pytest.raises(RetrievalError, match=f"{name} compares.*has 0: .*without {name}"):
            run(name, reference({"visual": empty, "text": cone(1, 20)}), *arguments)
