"""The transform `gapshift`: the authors' shift experiment, and which side goes which way."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_references import cone, listed, paired, reference

from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import centroid_gap, directions, unit
from mmretrieval.transforms import TRANSFORMS

GOLDEN = Path(__file__).parent.parent / "golden"
run = TRANSFORMS["gapshift"].run


def after(given, share):
    shift = run(given, share)
    return centroid_gap(*(shift.items(view, given.items[view].rows) for view in ("visual", "text")))


def test_it_is_the_authors_shift_with_delta_in_shares_of_the_gap():
    facts = json.loads((GOLDEN / "liang_gap.json").read_text())
    with np.load(GOLDEN / "liang_gap.npz") as arrays:
        image, text = arrays["in_image"], arrays["in_text"]
        deltas, distances = arrays["out_shift_delta_f64"], np.abs(arrays["out_shift_distance_pca_signed_f64"])
        signed = arrays["out_shift_distance_gap_signed_NOT_authors_code_f64"]
        direction = arrays["out_unit_gap_direction_f64"]
    given = reference({"visual": image, "text": text})
    gap = facts["outputs"]["mass_center_distance_f64"]
    for delta, distance, sign in zip(deltas, distances, np.sign(signed), strict=True):
        left = after(given, delta / gap)
        assert np.linalg.norm(left) == pytest.approx(distance, abs=1e-5)
        assert np.linalg.norm(left) * np.sign(left @ direction) == pytest.approx(sign * distance, abs=1e-5)
    # The moved rows themselves, by the formula.
    shift, delta = run(given, 0.75 / gap), 0.75
    pictures, texts = directions(image) - 0.5 * delta * direction, directions(text) + 0.5 * delta * direction
    np.testing.assert_allclose(shift.items("visual", image), unit(pictures), atol=1e-6)
    np.testing.assert_allclose(shift.items("text", text), unit(texts), atol=1e-6)
    np.testing.assert_allclose(shift.query("text", text), unit(texts), atol=1e-6)
    np.testing.assert_allclose(shift.query("image", image), unit(pictures), atol=1e-6)
    np.testing.assert_allclose(shift.query("frames", image), unit(pictures), atol=1e-6)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_one_closes_the_gap_none_leaves_it_and_less_widens_it(seed):
    given = paired(seed, n=300)
    visual = given.items["visual"].rows
    whole = centroid_gap(visual, given.items["text"].rows)
    g = whole / np.linalg.norm(whole)
    # Before rows are normalised again the means coincide exactly.
    step = run(given, 1.0).step
    np.testing.assert_allclose(whole - 2 * step, 0.0, atol=1e-12)
    # After it, rows of unlike length move the means again, by a little.
    assert abs(after(given, 1.0) @ g) < 0.1 * np.linalg.norm(whole)
    assert after(given, 0.5) @ g == pytest.approx(0.5 * np.linalg.norm(whole), rel=0.25)
    np.testing.assert_allclose(run(given, 0.0).items("visual", visual), visual, atol=1e-7)
    assert after(given, -1.0) @ g > 1.2 * np.linalg.norm(whole)


def test_the_gap_is_that_of_the_pairs_and_joint_rows_stay():
    given = paired(14, n=40)
    visual, text = given.rows()["visual"], given.rows()["text"]
    strangers = cone(15, 30)
    more = reference(
        {"visual": visual, "text": listed(np.concatenate([text, strangers])), "joint": cone(16, 40)}, given.parts
    )
    np.testing.assert_array_equal(run(more, 1.0).step, run(given, 1.0).step)
    joint = more.items["joint"].rows
    np.testing.assert_allclose(run(more, 1.0).items("joint", joint), joint, atol=1e-7)


def test_without_words_the_gap_reaches_to_the_banks_texts():
    given = paired(17)
    alone = reference({"visual": given.items["visual"]}, given.parts)
    expected = 0.5 * centroid_gap(given.items["visual"].rows, given.parts["text"])
    np.testing.assert_allclose(run(alone, 1.0).step, expected, atol=1e-12)
    with pytest.raises(RetrievalError, match="lacks one of them"):
        run(reference({"visual": given.items["visual"]}), 1.0)


def test_a_row_that_lands_on_the_origin_becomes_zero():
    pictures = np.array([[1, 0, 0]] * 3, dtype=np.float32)
    shift = run(reference({"visual": pictures, "text": -pictures}), 1.0)
    assert not shift.items("visual", pictures).any()
    assert not shift.items("text", -pictures).any()
    np.testing.assert_array_equal(shift.items("visual", -pictures), -pictures)


@pytest.mark.parametrize("void", ["visual", "text"])
def test_a_side_of_zero_rows_alone_is_refused_in_words(void):
    rows = paired(18).rows()
    rows = {"visual": rows["visual"], "text": rows["text"], void: np.zeros_like(rows[void])}
    with pytest.raises(RetrievalError, match="pictures that" if void == "visual" else "texts that"):
        run(reference(rows), 1.0)
