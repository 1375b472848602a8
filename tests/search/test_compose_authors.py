"""The arc between a picture and its words against the mixing of another paper's program, which is the same arc."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmretrieval.composition import PartVectors
from mmretrieval.errors import BadQuery
from mmretrieval.geometry import alignment, uniformity
from mmretrieval.search import COMPOSERS

GOLDEN = Path(__file__).parent.parent / "golden"
TOLD = json.loads((GOLDEN / "geodesic_mixup.json").read_text())
ARRAYS = dict(np.load(GOLDEN / "geodesic_mixup.npz"))
TOLERANCES = {check["what"]: check["tolerance"] for check in TOLD["own_check"]}
PRECISION = pytest.mark.parametrize("precision", ["f32", "f64"])


def mixed(picture, words, share):
    """`slerp` with `share` of the way left to the picture: their weight is the picture's, ours the words'."""
    both = PartVectors(np.stack([picture, words]), np.ones(2), ("image", "text"), np.zeros(2, dtype=np.bool_))
    return COMPOSERS["slerp"].run(both, 1 - share).row


@PRECISION
@pytest.mark.parametrize("share", TOLD["params"]["lambdas"])
def test_slerp_is_their_mixing(share, precision):
    ours = [mixed(picture, words, share) for picture, words in zip(ARRAYS["in_image"], ARRAYS["in_text"], strict=True)]
    np.testing.assert_allclose(
        ours, ARRAYS[f"out_mix_{share}_{precision}"], atol=TOLERANCES[f"mix {share} {precision}"]
    )


def test_at_the_edges_it_stays_defined_where_theirs_is_not():
    theirs = ARRAYS["out_mix_edge_0.3_f64"]
    pairs = list(zip(ARRAYS["in_edge_image"], ARRAYS["in_edge_text"], strict=True))
    for i in (0, 1, 2, 3, 4, 6, 7):  # 7: nearly equal, where ours takes the chord
        np.testing.assert_allclose(mixed(*pairs[i], 0.3), theirs[i], atol=3e-5)
    assert np.isnan(theirs[5]).all(), "antipodal: theirs divides 0 by 0"
    with pytest.raises(BadQuery, match="opposites"):
        mixed(*pairs[5], 0.3)
    # Their arc between a row and itself is no number either; ours is the row.
    assert TOLD["outputs"]["identical_pair_gives_nan_f64"] is True
    row = ARRAYS["in_image"][0]
    np.testing.assert_allclose(mixed(row, row, 0.3), row, atol=1e-6)


@PRECISION
def test_what_they_measure_besides(precision):
    theirs = TOLD["outputs"][f"alignment_measures_{precision}"]
    image, text = ARRAYS["in_image"], ARRAYS["in_text"]
    assert alignment(image, text) == pytest.approx(theirs["lalign"], abs=1e-5)
    assert uniformity(np.concatenate([image, text])) == pytest.approx(theirs["lunif_both"], abs=1e-5)
