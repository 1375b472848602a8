"""Losses, recall and spread of paired modalities as the programs of three papers give them."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmretrieval import geometry
from mmretrieval.diagnostics import shift
from mmretrieval.diagnostics.spectrum import moments, singular_values, variances

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = ("large_gap", "small_gap", "no_gap", "few_rows")
PRECISION = pytest.mark.parametrize("precision", ["f32", "f64"])
UNMOVED = np.zeros(1)


def golden(name):
    told = json.loads((GOLDEN / f"{name}.json").read_text())
    return told, dict(np.load(GOLDEN / f"{name}.npz")), {c["what"]: c["tolerance"] for c in told["own_check"]}


def loss_of(x, y, temperature):
    """The contrastive loss of all pairs in one batch, both directions."""
    found = shift.losses(shift.along(x, y, UNMOVED), (1 / temperature,), batch=len(x))
    assert found.shape == (1, 1, 2, 1)
    return found.mean()


# --- Fahim et al. --------------------------------------------------------------------------------------------------


@PRECISION
@pytest.mark.parametrize("case", CASES)
def test_recall_of_unmoved_pairs_agrees_with_fahim(case, precision):
    told, arrays, _ = golden("contrastive_gap_metrics")
    theirs = told["outputs"][f"{case}_{precision}"]
    x, y = arrays[f"in_{case}_image"], arrays[f"in_{case}_text"]
    # Cosines of float32 rows are compared in float32 too: it may change no recall here.
    for narrow in (False, True):
        places = shift.ranks(shift.along(x, y, UNMOVED), narrow=narrow)[0]
        for side, name in enumerate(("image_classification_topk", "image_retrieval_topk")):
            found = {k: (places[side] < int(k)).mean() for k in theirs[name]}
            assert found == pytest.approx(theirs[name], abs=1e-9), name


@PRECISION
@pytest.mark.parametrize("case", CASES)
def test_singular_values_agree_with_fahim(case, precision):
    told, arrays, tolerances = golden("contrastive_gap_metrics")
    theirs = told["outputs"][f"{case}_{precision}"]
    for side in ("image", "text"):
        of = moments(arrays[f"in_{case}_{side}"])
        values, spread = singular_values(of), variances(of)
        np.testing.assert_allclose(values, arrays[f"out_{case}_{side}_S_{precision}"], atol=1e-5)
        assert (values > 1e-3).sum() == theirs["rank"][f"full_{side}_rank"]
        assert (values > 1).sum() == theirs["rank"][f"{side}_rank"]
        expected = arrays[f"out_{case}_{side}_explained_variance_ratios_{precision}"]
        close = tolerances[f"{case} {precision} PCA ratios"]
        np.testing.assert_allclose(spread / spread.sum(), expected, atol=close)
    values = singular_values(moments(arrays[f"in_{case}_text"]))
    assert values.mean() == pytest.approx(theirs["avg_singular_value_text"], abs=1e-5)
    below = values[values <= 1]
    first = below[0] if len(below) else -1.0
    assert first == pytest.approx(theirs["first_singular_value_not_above_1_text"], abs=1e-5)


@PRECISION
def test_terms_of_their_loss_agree_with_fahim(precision):
    told, arrays, tolerances = golden("contrastive_gap_losses")
    x, y = arrays["in_image"].astype(np.float64), arrays["in_text"].astype(np.float64)
    theirs, close = told["outputs"], tolerances[f"terms {precision}"]
    ours = {
        "inter_modality": loss_of(x, y, told["params"]["temperature"]),
        "uniformity": 0.5 * (geometry.uniformity(x) + geometry.uniformity(y)),
        "alignment": geometry.alignment(x, y),
        "cross_uniformity": geometry.cross_uniformity(x, y),
    }
    for name, value in ours.items():
        assert value == pytest.approx(theirs[f"terms_{precision}"][name], abs=close), name
    contrastive, even, aligned, across = ours.values()
    for name, value in {
        "clip": contrastive,
        "cua": contrastive + even + aligned,
        "cuaxu": contrastive + even + aligned + across,
        "ua_without_contrastive": even + aligned,
    }.items():
        close = tolerances[f"{name} {precision}"]
        assert value == pytest.approx(theirs[f"loss_{name}_{precision}"], abs=close), name


# --- ModGap --------------------------------------------------------------------------------------------------------


@PRECISION
@pytest.mark.parametrize("case", ["a", "few_rows"])
def test_losses_and_measures_agree_with_modgap(case, precision):
    told, arrays, tolerances = golden("modgap_metrics")
    theirs = told["outputs"][f"{case}_{precision}"]
    x, y = (arrays[f"in_{case}_{side}"].astype(np.float64) for side in "xy")
    close = {what.removeprefix(f"{case} {precision} "): t for what, t in tolerances.items()}
    # In case a one pair is an antipodal one, whose middle has no direction: their code keeps it at zero, as ours does.
    middles = geometry.directions(x) + geometry.directions(y)
    ours = {
        "gap": np.linalg.norm(geometry.centroid_gap(x, y)),
        "centroid_alignment": np.linalg.norm(geometry.centroid_gap(x, y)),
        "true_pair_cosine": geometry.pair_cosines(x, y).mean(),
        "true_pair_distance": geometry.pair_distances(x, y).mean(),
        "lalign": geometry.alignment(x, y),
        "lunif_x": geometry.uniformity(x),
        "lunif_centroids": geometry.uniformity(middles),
        "contrastive": loss_of(x, y, told["params"]["temperature"]),
        "clip_loss_module": loss_of(x, y, told["params"]["temperature"]),
    }
    ours["total_loss"] = ours["contrastive"] + ours["lalign"] + ours["lunif_centroids"]
    stated = {"gap": "gap", "true_pair_cosine": "true pair cosine", "total_loss": "total loss"}
    for name, value in ours.items():
        allowed = close[stated[name]] if name in stated else 1e-5
        assert value == pytest.approx(theirs[name], abs=allowed), name


@PRECISION
@pytest.mark.parametrize("case", ["a", "few_rows"])
def test_recall_agrees_with_modgap(case, precision):
    told, arrays, _ = golden("modgap_metrics")
    theirs = told["outputs"][f"{case}_{precision}"]
    places = shift.ranks(shift.along(arrays[f"in_{case}_x"], arrays[f"in_{case}_y"], UNMOVED), narrow=False)[0]
    for side, name in enumerate(("forward", "backward")):
        recall = [100 * (places[side] < k).mean() for k in (1, 5, 10)]
        said = theirs[f"retrieval_{name}"]
        expected = [said[f"{name}_r{k}"] for k in (1, 5, 10)]
        # They round to four decimals.
        np.testing.assert_allclose(recall, expected, atol=5.1e-5)
        assert np.mean(recall) == pytest.approx(said[f"{name}_ravg"], abs=1e-4)


# --- Liang et al. --------------------------------------------------------------------------------------------------


def test_the_shift_in_float32_agrees_with_liang():
    _, arrays, tolerances = golden("liang_gap")
    moved = shift.along(arrays["in_image"], arrays["in_text"], arrays["out_shift_delta_f32"])
    np.testing.assert_allclose(moved.direction, arrays["out_unit_gap_direction_f32"], atol=tolerances["direction f32"])
    far = shift.distances(moved)
    for name, what in {
        "shift_distance_pca_signed": "absolute shift distance f32",
        "move_features_gap_distance": "move_features distance f32",
    }.items():
        np.testing.assert_allclose(np.abs(far), np.abs(arrays[f"out_{name}_f32"]), atol=tolerances[what])
    places = shift.ranks(moved)
    recall = np.stack([(places[:, side] < k).mean(axis=1) for k in (1, 5, 10) for side in (0, 1)], axis=1)
    np.testing.assert_allclose(recall, arrays["out_move_features_metrics_f32"], atol=1e-12)


def test_how_far_their_loss_is_from_the_symmetric_one():
    told, arrays, _ = golden("liang_gap")
    found = shift.losses(shift.along(arrays["in_image"], arrays["in_text"], arrays["out_shift_delta_f64"]))
    for scale, loss in zip(shift.SCALES, found, strict=True):
        apart = np.abs(loss[:, 0].mean(axis=1) - loss.mean(axis=(1, 2))).max()
        theirs = told["outputs"][f"largest_gap_between_code_and_symmetric_loss_scale_{scale:g}"]
        assert apart == pytest.approx(theirs, abs=1e-9)
