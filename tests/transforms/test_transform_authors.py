"""What else the programs of ASIF and InvGC return: in float32, over anchors in two blocks, and before normalising."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import cosine, directions
from mmretrieval.transforms.asif import sparse
from mmretrieval.transforms.invgc import local_push, push
from mmretrieval.transforms.rows import largest

GOLDEN = Path(__file__).parent.parent / "golden"
PRECISION = pytest.mark.parametrize("precision", ["f32", "f64"])


def golden(name):
    told = json.loads((GOLDEN / f"{name}.json").read_text())
    return told, dict(np.load(GOLDEN / f"{name}.npz"))


def representations(arrays, kept, power):
    """Both sides' rows: (images, anchors) and (texts, anchors), of length 1."""
    return [sparse(arrays[f"in_{s}"], directions(arrays[f"in_anchor_{s}"]), kept, power) for s in ("image", "text")]


def lengths(arrays, kept, power):
    """How long the authors leave the rows of images, which they do not normalise."""
    told = cosine(arrays["in_image"], arrays["in_anchor_image"])
    return np.linalg.norm(np.maximum(np.where(largest(told, kept), told, 0.0), 0.0) ** power, axis=1, keepdims=True)


@PRECISION
@pytest.mark.parametrize("kept", [20, 150])
@pytest.mark.parametrize("power", [1, 4, 8])
def test_asif_chooses_the_texts_that_the_authors_choose(precision, kept, power):
    told, arrays = golden("asif")
    images, texts = representations(arrays, kept, power)
    theirs = arrays[f"out_similarity_nz{kept}_p{power}_{precision}"]
    np.testing.assert_allclose(lengths(arrays, kept, power) * (images @ texts.T), theirs, atol=1e-5)
    right = (images @ texts.T).argmax(axis=1) == np.array(told["inputs"]["labels"]["value"])
    assert right.mean() == pytest.approx(told["outputs"][f"accuracy_nz{kept}_p{power}_{precision}"], abs=1e-7)


@PRECISION
def test_anchors_in_two_blocks_are_all_of_them(precision):
    _, arrays = golden("asif")
    images, texts = representations(arrays, 20, 8)
    theirs = arrays[f"out_similarity_two_chunks_nz20_p8_{precision}"]
    np.testing.assert_allclose(lengths(arrays, 20, 8) * (images @ texts.T), theirs, atol=1e-5)


@PRECISION
@pytest.mark.parametrize("kept", [20, 150])
def test_the_largest_cosines_are_those_of_the_authors_and_negative_ones_become_zero(precision, kept):
    told, arrays = golden("asif")
    cosines = cosine(arrays["in_image"], arrays["in_anchor_image"])
    top = largest(cosines, kept)
    values, places = arrays[f"out_image_values_nz{kept}_{precision}"], arrays[f"out_image_indices_nz{kept}_{precision}"]
    expected = np.zeros_like(cosines)
    np.put_along_axis(expected, places.astype(np.int64), values.astype(np.float64), axis=1)
    np.testing.assert_allclose(np.where(top, cosines, 0.0), expected, atol=2e-6)
    below = 0
    for side, rows in zip(("image", "text"), representations(arrays, kept, 4), strict=True):
        cosines = cosine(arrays[f"in_{side}"], arrays[f"in_anchor_{side}"])
        negative = largest(cosines, kept) & (cosines < 0)
        assert not rows[negative].any(), "an even power would have made them count as likeness"
        below += int(negative.sum())
    assert below == told["outputs"]["negative_values_kept_by_top_k"][str(kept)]


@PRECISION
def test_invgc_pushes_as_far_as_the_authors_code_before_it_normalises(precision):
    told, arrays = golden("invgc")
    gallery = arrays["in_test_gallery"].astype(np.float64)
    expected = arrays[f"out_full_unnormalised_{precision}"]
    pushed = push(arrays["in_train_gallery"], told["params"]["r_g"], gallery.mean(axis=0))(gallery)
    np.testing.assert_allclose(pushed, expected, atol=1e-5)


def test_a_pool_that_gives_the_authors_no_number_is_refused():
    told, arrays = golden("invgc")
    assert "NaN" in told["outputs"]["local_with_empty_pool_60_rows_rate_0.01"]
    with pytest.raises(RetrievalError, match="pool of 0.01 takes no row of a bank of 60"):
        local_push(arrays["in_train_gallery"][:60], told["params"]["r_g"], 0.01)
