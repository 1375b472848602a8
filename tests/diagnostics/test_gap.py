"""The diagnostic `gap`: its numbers, how sure it is of them, and what it says and does not say."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.diagnostics.gap import log_kernel_mean, squared_distance
from mmretrieval.diagnostics.sampling import interval, resamples
from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import centroid_gap, directions, kernel_means, unit

GOLDEN = Path(__file__).parent.parent / "golden"
run = DIAGNOSTICS["gap"].run


def pairs(seed, n, d=16, offset=0.0, noise=0.5):
    """Paired rows of two modalities that share content, and lie `offset` apart along one direction."""
    generator = np.random.default_rng(seed)
    content, apart = generator.normal(size=(n, d)), offset * np.eye(d)[0]
    views = {"visual": content + apart, "text": content + noise * generator.normal(size=(n, d)) - apart}
    return {view: unit(rows) for view, rows in views.items()}, [f"item-{i}" for i in range(n)]


@pytest.mark.parametrize("case", ["large_gap", "small_gap", "no_gap", "few_rows"])
def test_numbers_agree_with_fahim(case):
    arrays = np.load(GOLDEN / "contrastive_gap_metrics.npz")
    theirs = json.loads((GOLDEN / "contrastive_gap_metrics.json").read_text())["outputs"][f"{case}_f64"]
    x, y = arrays[f"in_{case}_image"], arrays[f"in_{case}_text"]
    numbers = run({"visual": x, "text": y}, [str(i) for i in range(len(x))]).numbers
    for ours, name in {
        "centroid_distance": "centroid_euclidean_distance",
        "centroid_cosine": "centroid_cosine_similarity",
        "pair_cosine": "mean_cosine_similarity",
        "pair_distance": "mean_pairwise_euclidean_distance",
        "alignment": "alignment",
        "uniformity_visual": "image_uniformity_loss",
        "uniformity_text": "text_uniformity_loss",
        "uniformity_cross": "cross_encoder_uniform_loss",
    }.items():
        assert numbers[ours] == pytest.approx(theirs[name], abs=1e-6), ours


def test_a_gap_is_seen_closes_by_centring_and_lies_in_its_interval():
    views, ids = pairs(0, 300, offset=2.0)
    found = run(views, ids)
    assert found.diagnostic == "gap"
    assert found.numbers["centroid_distance"] > 0.5
    assert found.numbers["centroid_distance_centred"] < 0.15
    assert found.numbers["pair_cosine_centred"] > found.numbers["pair_cosine"]
    for name, (low, high) in found.intervals.items():
        assert low <= found.numbers[name] <= high, name
    assert "300 items" in found.sentence
    assert f"{found.numbers['centroid_distance_corrected']:.2f} apart" in found.sentence
    assert "does not say that retrieval suffers" in found.sentence


def test_the_corrected_distance_is_the_root_of_the_mean_over_pairs_of_different_items():
    views, ids = pairs(4, 50, offset=1.0)
    z = directions(views["visual"]) - directions(views["text"])
    products = z @ z.T
    expected = np.sqrt((products.sum() - np.trace(products)) / (50 * 49))
    found = run(views, ids).numbers
    assert found["centroid_distance_corrected"] == pytest.approx(expected, abs=1e-9)
    assert found["centroid_distance_corrected"] < found["centroid_distance"]


def test_no_gap_is_not_made_one_by_noise():
    views, ids = pairs(1, 120, noise=3.0)
    found = run(views, ids)
    assert found.numbers["centroid_distance"] > 0.05
    assert found.numbers["centroid_distance_corrected"] < 0.06
    assert found.intervals["centroid_distance_corrected"][0] == 0.0
    assert "no further apart than the noise" in found.sentence


def test_the_corrected_square_has_no_bias():
    generator = np.random.default_rng(2)
    truth = np.array([0.3, -0.4, 0.0])
    ones = np.ones((1, 10), dtype=np.float32)
    samples = [truth + generator.normal(size=(10, 3)) for _ in range(4000)]
    corrected = np.mean([squared_distance(sample, ones)[0] for sample in samples])
    plain = np.mean([(sample.mean(axis=0) ** 2).sum() for sample in samples])
    assert corrected == pytest.approx(0.25, abs=0.03)
    assert plain == pytest.approx(0.25 + 3 / 10, abs=0.03)


@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_the_corrected_square_is_the_mean_over_pairs_of_different_items(seed, n):
    generator = np.random.default_rng(seed)
    rows, counts = generator.normal(size=(n, 4)), generator.integers(0, 3, size=(3, n)).astype(np.float32)
    for weights, value in zip(counts, squared_distance(rows, counts), strict=True):
        different = [(i, j) for i in range(n) for j in range(n) if i != j]
        across = sum(weights[i] * weights[j] * (rows[i] @ rows[j]) for i, j in different)
        total = sum(weights[i] * weights[j] for i, j in different)
        assert value == pytest.approx(across / total if total else np.nan, abs=1e-9, nan_ok=True)


def resampled_pairs(x, counts):
    """Uniformity in each resample, summed over all its pairs of different items."""
    kernel = np.exp(-2 * ((x[:, None] - x[None]) ** 2).sum(axis=2))
    np.fill_diagonal(kernel, 0)
    w = counts.astype(np.float64)
    sums = np.einsum("ci,ci->c", w @ kernel, w)
    return np.log(sums / (w.sum(axis=1) ** 2 - (w**2).sum(axis=1)))


def test_the_interval_of_a_uniformity_is_that_of_resampled_pairs():
    generator = np.random.default_rng(3)
    clusters = 3 * generator.normal(size=(5, 6))
    x = directions(
        clusters[generator.choice(5, p=[0.5, 0.2, 0.1, 0.1, 0.1], size=300)] + generator.normal(size=(300, 6))
    )
    counts = resamples(300, 0)
    value, values = log_kernel_mean(kernel_means(x), counts)
    assert value == pytest.approx(resampled_pairs(x, np.ones((1, 300)))[0])
    low, high = interval(resampled_pairs(x, counts))
    assert interval(values) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_for_evenly_spread_rows_it_is_nearer_the_truth_than_resampled_pairs():
    samples = [directions(np.random.default_rng(seed).normal(size=(60, 8))) for seed in range(200)]
    truth = np.std([np.log(kernel_means(x)[0].mean()) for x in samples])
    counts = resamples(60, 0)
    ours = np.mean([log_kernel_mean(kernel_means(x), counts)[1].std() for x in samples[:20]])
    theirs = np.mean([resampled_pairs(x, counts).std() for x in samples[:20]])
    assert truth < ours < theirs


def test_intervals_cover_the_truth_about_as_often_as_they_promise():
    truth = np.linalg.norm(centroid_gap(*pairs(4, 100_000, d=8, offset=0.5)[0].values()))
    covered = 0
    for seed in range(100):
        views, ids = pairs(100 + seed, 60, d=8, offset=0.5)
        low, high = run(views, ids, seed=seed).intervals["centroid_distance_corrected"]
        covered += low <= truth <= high
    assert 86 <= covered <= 100


def test_the_same_seed_gives_the_same_finding_and_another_only_nearly():
    views, ids = pairs(5, 80, offset=1.0)
    one, again, other = run(views, ids, seed=3), run(views, ids, seed=3), run(views, ids, seed=4)
    assert one == again
    assert one.numbers["centroid_distance"] == other.numbers["centroid_distance"]
    assert one.intervals != other.intervals


def test_large_spaces_are_sampled_and_it_says_so():
    views, ids = pairs(6, 500, offset=1.0)
    found = run(views, ids, sample=50, seed=1)
    assert (found.basis["pairs"], found.basis["of"], found.basis["sample"], found.basis["seed"]) == (50, 500, 50, 1)
    assert "50 items" in found.sentence
    assert len(found.series["pca"]["x"]) == 100
    # The sample is rows of their own items.
    where = [ids.index(item) for item in found.series["pca"]["id"][:50]]
    expected = np.linalg.norm(centroid_gap(views["visual"][where], views["text"][where]))
    assert found.numbers["centroid_distance"] == pytest.approx(expected)


def test_the_plane_holds_every_item_once_in_each_modality():
    views, ids = pairs(7, 40, offset=3.0)
    found = run(views, ids)
    plane = found.series["pca"]
    assert plane["id"] == ids * 2
    assert plane["modality"] == ["visual"] * 40 + ["text"] * 40
    assert [
        f"({share:.0%} of the variance)" in axis for axis, share in zip(plane["axes"], plane["explained"], strict=True)
    ]
    assert 0 < plane["explained"][1] < plane["explained"][0] < 1
    # With a gap this wide the first axis is the gap: the modalities lie on either side of 0.
    assert max(plane["x"][:40]) < min(plane["x"][40:]) or max(plane["x"][40:]) < min(plane["x"][:40])
    dimensions = found.series["dimensions"]
    assert dimensions["dimension"][0] == 0
    assert dimensions["share"][0] > 0.5
    json.dumps({"series": found.series, "numbers": found.numbers, "basis": found.basis, "intervals": found.intervals})


def test_few_items_many_dimensions_and_identical_views():
    views, ids = pairs(8, 4, d=300)
    assert all(np.isfinite(value) for value in run(views, ids).numbers.values())
    same = run({"visual": views["visual"], "text": views["visual"]}, ids)
    assert same.numbers["centroid_distance"] == 0.0
    assert same.numbers["pair_cosine"] == pytest.approx(1.0)
    assert same.intervals["centroid_distance_corrected"] == (0.0, 0.0)
    assert same.numbers["centroid_distance_centred"] == 0.0
    assert same.numbers["pair_cosine_centred"] == pytest.approx(1.0)


def test_centring_is_measured_on_pairs_that_its_means_were_not_fitted_on():
    generator = np.random.default_rng(12)
    views = {view: unit(generator.normal(size=(40, 200))) for view in ("visual", "text")}
    found = run(views, [str(i) for i in range(40)])
    # Two means of 20 rows each miss theirs by about sqrt(1 / 20); fitted on what is measured, the distance would be 0.
    assert found.numbers["centroid_distance_centred"] == pytest.approx(np.sqrt(2 / 20), abs=0.1)
    assert found.basis["pairs_centred"] == 20


def test_what_it_needs():
    views, ids = pairs(9, 3)
    with pytest.raises(RetrievalError, match="has no text vectors"):
        run({"visual": views["visual"]}, ids)
    with pytest.raises(RetrievalError, match="3 items have visual and text vectors, and this needs at least 4"):
        run(views, ids)
    with pytest.raises(ValueError, match="3 visual rows do not pair with 2 ids"):
        run(views, ids[:2])


def test_zero_rows_are_left_out_and_counted():
    views, ids = pairs(10, 20, offset=1.0)
    with_zero = {view: np.concatenate([rows, 0 * rows[:2]]) for view, rows in views.items()}
    found = run(with_zero, [*ids, "x", "y"])
    assert (found.basis["items"], found.basis["zero_rows"]) == (20, 2)
    assert found.numbers == run(views, ids).numbers
