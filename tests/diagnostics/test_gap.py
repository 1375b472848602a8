"""The diagnostic `gap`: its numbers against their authors' code and known spaces, and what it says and does not say."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.diagnostics.gap import _distances, _look, gap, log_kernel_mean, squared_distance
from mmretrieval.diagnostics.gap_classifier import separability
from mmretrieval.diagnostics.sampling import interval, resamples
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import centroid_gap, directions, kernel_means, unit
from mmretrieval.store.exact import Matrix

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = ("large_gap", "small_gap", "no_gap", "few_rows")


def subject(x, y, **more):
    ids = tuple(f"item-{i:06}" for i in range(len(x)))
    rows = {"visual": np.asarray(x, dtype=np.float32), "text": np.asarray(y, dtype=np.float32)}
    return Subject({view: Matrix(ids, values) for view, values in rows.items()}, "visual", **more)


def pairs(seed, n, d=16, offset=0.0, noise=0.5):
    """Paired rows of two modalities that share content, and lie `offset` apart along one direction."""
    generator = np.random.default_rng(seed)
    content, apart = generator.normal(size=(n, d)), offset * np.eye(d)[0]
    return unit(content + apart), unit(content + noise * generator.normal(size=(n, d)) - apart)


# --- against the authors' code -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("precision", "close"), [("f32", 2e-5), ("f64", 1e-7)])
def test_numbers_agree_with_fahim(case, precision, close):
    arrays = np.load(GOLDEN / "contrastive_gap_metrics.npz")
    theirs = json.loads((GOLDEN / "contrastive_gap_metrics.json").read_text())["outputs"][f"{case}_{precision}"]
    x, y = arrays[f"in_{case}_image"], arrays[f"in_{case}_text"]
    numbers = gap(subject(x, y)).numbers
    for ours, name in {
        "centroid_distance": "centroid_euclidean_distance",
        "centroid_cosine": "centroid_cosine_similarity",
        "pair_cosine": "mean_cosine_similarity",
        "mixed_cosine": "non_similar_mean_cosine_similarity",
        "pair_l2": "mean_pairwise_euclidean_distance",
        "alignment": "alignment",
        "intra_cosine_a": "image_image_similarity",
        "intra_cosine_b": "text_text_similarity",
        "uniformity_a": "image_uniformity_loss",
        "uniformity_b": "text_uniformity_loss",
        "uniformity": "total_uniformity_loss",
        "xuniformity": "cross_encoder_uniform_loss",
    }.items():
        assert numbers[ours] == pytest.approx(theirs[name], abs=close), ours
    assert (numbers["rank_a"], numbers["rank_b"]) == (theirs["rank"]["image_rank"], theirs["rank"]["text_rank"])
    for side, name in (("a", "image"), ("b", "text")):
        held = np.cumsum(arrays[f"out_{case}_{name}_explained_variance_ratios_f64"])
        for share in (90, 95, 99):
            expected = next(i + 1 for i, value in enumerate(held) if value >= share / 100 - 1e-12)
            assert numbers[f"components_{share}_{side}"] == expected


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_separability_agrees_with_fahim_on_their_split(case, precision):
    arrays = np.load(GOLDEN / "contrastive_gap_metrics.npz")
    theirs = json.loads((GOLDEN / "contrastive_gap_metrics.json").read_text())["outputs"][f"{case}_{precision}"]
    x, y = (directions(arrays[f"in_{case}_{side}"]) for side in ("image", "text"))
    right = separability(x, y, arrays[f"in_{case}_train_pairs"], arrays[f"in_{case}_test_pairs"])
    assert right.mean() == pytest.approx(theirs["linear_separability"], abs=1e-9)


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_numbers_agree_with_modgap(precision):
    arrays = np.load(GOLDEN / "modgap_metrics.npz")
    outputs = json.loads((GOLDEN / "modgap_metrics.json").read_text())["outputs"]
    for case, close in (("a", 1e-6), ("few_rows", 3e-4)):
        theirs = outputs[f"{case}_{precision}"]
        numbers = gap(subject(arrays[f"in_{case}_x"], arrays[f"in_{case}_y"])).numbers
        assert numbers["w2_uniformity"] == pytest.approx(theirs["w2_uniformity"], abs=close)
        same = {"centroid_distance": "gap", "pair_cosine": "true_pair_cosine", "pair_l2": "true_pair_distance"}
        for ours, name in (same | {f"intra_cosine_{a}": f"mean_cosine_{x}" for a, x in ("ax", "by")}).items():
            assert numbers[ours] == pytest.approx(theirs[name], abs=1e-6), ours


# --- spaces whose answer is known ----------------------------------------------------------------------------------


def test_two_identical_modalities_have_no_gap():
    x, _ = pairs(0, 200)
    found = gap(subject(x, x))
    for prefix in ("", "centered."):
        for name in ("centroid_distance", "centroid_distance_corrected", "pair_l2", "alignment"):
            assert found.numbers[prefix + name] == pytest.approx(0.0, abs=1e-9)
        assert found.numbers[prefix + "pair_cosine"] == pytest.approx(1.0, abs=1e-12)
        low, high = found.intervals[prefix + "separability"]
        assert low <= 0.5 <= high
        assert found.numbers[prefix + "xuniformity"] == found.numbers[prefix + "uniformity_a"]
    assert found.numbers["shift_loss"] is None
    assert "there is no gap" in found.sentence
    assert found.stages == ()
    assert "shift_loss" not in {plot.name for plot in found.plots}


def test_two_antipodal_points():
    x = np.tile(np.eye(8, dtype=np.float32)[2], (40, 1))
    found = gap(subject(x, -x))
    numbers = found.numbers
    assert numbers["centroid_distance"] == pytest.approx(2.0)
    assert numbers["centroid_cosine"] == pytest.approx(-1.0)
    assert numbers["pair_cosine"] == pytest.approx(-1.0)
    assert (numbers["pair_l2"], numbers["alignment"]) == (pytest.approx(2.0), pytest.approx(4.0))
    assert numbers["uniformity"] == pytest.approx(0.0)
    assert numbers["xuniformity"] == pytest.approx(-8.0)
    assert numbers["separability"] == 1.0
    assert (numbers["intra_cosine_a"], numbers["effective_rank_a"], numbers["components_99_b"]) == (1.0, 0.0, 0)
    # Every row is its mean: nothing is left to measure.
    assert all(value is None for name, value in numbers.items() if name.startswith("centered."))
    assert "nothing is left to compare" in found.sentence
    assert found.stages == () and "center" not in found.advice and "no transform can part" in found.advice
    # Where delta moves both onto the origin they have no direction; the loss is that of a guess.
    assert numbers["shift_closed_delta"] == 2.0
    assert numbers["shift_closed_loss"] == pytest.approx(np.log(40))


def test_orthogonal_frames():
    frame = np.eye(64, dtype=np.float32)
    numbers = gap(subject(frame[:32], frame[32:])).numbers
    for name in ("uniformity_a", "uniformity_b", "uniformity", "xuniformity"):
        assert numbers[name] == pytest.approx(-4.0, abs=1e-9)
    assert (numbers["pair_cosine"], numbers["intra_cosine_a"]) == (pytest.approx(0.0), pytest.approx(0.0, abs=1e-12))
    assert numbers["centroid_distance"] == pytest.approx(np.sqrt(2 / 32))
    # 31 equal variances are left of 32 rows, after their mean.
    assert numbers["effective_rank_a"] == pytest.approx(31.0)
    assert (numbers["components_90_a"], numbers["components_99_b"]) == (28, 31)


def test_a_gap_of_known_length_closes_by_centring():
    # Two copies of a symmetric cloud on one circle of latitude each: (c, s u) and (-c, s u).
    height, side = 0.6, 0.8
    cloud = directions(np.random.default_rng(1).normal(size=(60, 9)))
    cloud = side * np.concatenate([cloud, -cloud])
    x, y = (np.column_stack([np.full(120, sign * height), cloud]) for sign in (1, -1))
    found = gap(subject(x, y))
    numbers = found.numbers
    assert numbers["centroid_distance"] == pytest.approx(2 * height, abs=1e-6)
    assert numbers["centroid_cosine"] == pytest.approx(-1.0, abs=1e-6)
    assert numbers["pair_cosine"] == pytest.approx(1 - 2 * height**2, abs=1e-6)
    assert numbers["alignment"] == pytest.approx(4 * height**2, abs=1e-6)
    assert numbers["intra_cosine_a"] == pytest.approx((120 * height**2 - 1) / 119, abs=1e-6)
    assert numbers["separability"] == 1.0
    assert numbers["centered.pair_cosine"] == pytest.approx(1.0, abs=1e-6)
    assert numbers["centered.centroid_distance"] == pytest.approx(0.0, abs=1e-6)
    low, high = found.intervals["centered.separability"]
    assert low <= 0.5 <= high
    # Moved by delta = 2 height, half each, the two clouds coincide.
    assert numbers["shift_closed_delta"] in (1.25, 1.0)
    bars = next(plot for plot in found.plots if plot.name == "dimensions")
    assert bars.traces[0].x[0] == "0"
    assert bars.traces[0].y[0] == pytest.approx(1.2, abs=1e-5)
    assert bars.note.startswith("1 of 10 dimensions carry half")


def test_centred_numbers_are_those_of_centred_rows():
    x, y = pairs(3, 150, offset=1.0)
    moved = [directions(directions(side) - directions(side).mean(axis=0)) for side in (x, y)]
    numbers = gap(subject(x, y)).numbers
    direct = gap(subject(*moved)).numbers
    for name, value in direct.items():
        if not name.startswith(("centered", "shift")):
            assert numbers[f"centered.{name}"] == pytest.approx(value, abs=2e-6), name
    a, b = moved
    assert numbers["centered.pair_cosine"] == pytest.approx((a * b).sum(axis=1).mean(), abs=1e-7)
    assert numbers["centered.alignment"] == pytest.approx(((a - b) ** 2).sum(axis=1).mean(), abs=1e-7)
    products = a @ a.T
    assert numbers["centered.intra_cosine_a"] == pytest.approx((products.sum() - 150) / (150 * 149), abs=1e-7)
    distances = ((a[:, None] - b[None]) ** 2).sum(axis=2)[~np.eye(150, dtype=bool)]
    assert numbers["centered.xuniformity"] == pytest.approx(np.log(np.exp(-2 * distances).mean()), abs=1e-7)


# --- how sure it is ------------------------------------------------------------------------------------------------


def test_a_gap_is_seen_and_every_interval_holds_its_number():
    found = gap(subject(*pairs(0, 300, offset=2.0), labels={"visual": "drawings", "text": "poems"}))
    assert found.diagnostic == "gap"
    assert found.numbers["centroid_distance"] > 0.5
    assert found.numbers["centered.pair_cosine"] > found.numbers["pair_cosine"]
    for name, (low, high) in found.intervals.items():
        assert low - 1e-12 <= found.numbers[name] <= high + 1e-12, name
    assert "recall@10 of" in found.advice
    assert "recall@10" not in gap(subject(*pairs(0, 90, offset=2.0))).advice
    assert "Over 300 items with both, the means of the unit vectors of drawings and of poems lie" in found.sentence
    assert "does not say that retrieval suffers" in found.sentence
    assert found.stages == ("center", "gapshift:1")
    assert (found.basis["n"], found.basis["seed"], found.basis["sample"]) == (300, 0, 10_000)
    json.dumps(asdict(found), allow_nan=False)


def test_the_basis_says_which_numbers_have_no_interval_and_why():
    found = gap(subject(*pairs(0, 300, offset=2.0)))
    without = [name for name in found.numbers if name not in found.intervals]
    said = found.basis["intervals"]
    kinds = {
        "components": "components", "rank": "ranks", "w2_uniformity": "w2_uniformity",
        "centroid": "distances after centring", "delta": "deltas", "distance": "distances of the shift",
    }  # fmt: skip
    for name in without:
        assert any(kind in name and words in said for kind, words in kinds.items()), name
    assert "Student's t over batches" in said and "Clopper-Pearson" in said


def test_no_gap_is_not_made_one_by_noise():
    found = gap(subject(*pairs(1, 120, noise=3.0)))
    assert found.numbers["centroid_distance"] > 0.05
    assert found.numbers["centroid_distance_corrected"] < 0.06
    assert found.intervals["centroid_distance_corrected"][0] == 0.0
    assert "no further apart than sampling noise" in found.sentence
    assert found.stages == ()
    assert "no gap to close" in found.advice


def test_the_corrected_distance_is_the_root_of_the_mean_over_pairs_of_different_items():
    x, y = pairs(4, 50, offset=1.0)
    z = directions(x) - directions(y)
    products = z @ z.T
    found = gap(subject(x, y)).numbers
    expected = np.sqrt((products.sum() - np.trace(products)) / (50 * 49))
    assert found["centroid_distance_corrected"] == pytest.approx(expected, abs=1e-9)
    assert found["centroid_distance_corrected"] < found["centroid_distance"]


@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_the_corrected_square_is_the_mean_over_pairs_of_different_items(seed, n):
    generator = np.random.default_rng(seed)
    rows, counts = generator.normal(size=(n, 4)), generator.integers(0, 3, size=(3, n)).astype(np.float64)
    squares = (counts**2).sum(axis=1)
    values = squared_distance(counts @ rows, (counts**2) @ (rows**2).sum(axis=1), counts.sum(axis=1) ** 2 - squares)
    for weights, value in zip(counts, values, strict=True):
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
    drawn = clusters[generator.choice(5, p=[0.5, 0.2, 0.1, 0.1, 0.1], size=300)]
    x = directions(drawn + generator.normal(size=(300, 6)))
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
    x, y = pairs(4, 100_000, d=8, offset=0.5)
    truth = {
        "centroid_distance_corrected": np.linalg.norm(centroid_gap(x, y)),
        "pair_cosine": (directions(x) * directions(y)).sum(axis=1).mean(),
        "intra_cosine_a": (directions(x).mean(axis=0) ** 2).sum(),
    }
    covered = dict.fromkeys(truth, 0)
    for seed in range(100):
        _, intervals = _distances(_look(*pairs(100 + seed, 60, d=8, offset=0.5)), seed)
        for name, value in truth.items():
            low, high = intervals[name]
            covered[name] += low <= value <= high
    assert all(86 <= times <= 100 for times in covered.values()), covered


# --- what it looks at, and what it shows ---------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_finding_and_another_only_nearly():
    one, again, other = (gap(subject(*pairs(5, 80, offset=1.0)), seed=seed) for seed in (3, 3, 4))
    assert one == again
    assert one.numbers["centroid_distance"] == other.numbers["centroid_distance"]
    assert one.intervals != other.intervals


def test_sums_over_pairs_are_sampled_the_rest_is_not_and_it_says_so():
    x, y = pairs(6, 500, offset=1.0)
    few, all_of_them = gap(subject(x, y), sample=50, seed=1), gap(subject(x, y), sample=None, seed=1)
    assert few.basis["sampled"] == {"uniformity, xuniformity, shift": 50, "all else": 500}
    assert all_of_them.basis["sampled"]["uniformity, xuniformity, shift"] == 500
    for name in ("centroid_distance", "pair_cosine", "separability", "components_90_a", "w2_uniformity"):
        assert few.numbers[name] == all_of_them.numbers[name]
    assert few.numbers["uniformity_a"] != all_of_them.numbers["uniformity_a"]
    assert few.numbers["uniformity_a"] == pytest.approx(all_of_them.numbers["uniformity_a"], abs=0.3)
    with pytest.raises(RetrievalError, match="sample of 3 pairs"):
        gap(subject(x, y), sample=3)


def test_plots_name_axes_and_lines_join_the_members_of_a_pair():
    x, y = pairs(7, 1500, offset=1.0)
    plots = {plot.name: plot for plot in gap(subject(x, y), sample=100).plots}
    assert list(plots) == [
        *("pca", "pca_centered", "dimensions", "explained", "cosines", "cosines_centered"),
        *("shift_loss", "shift_recall", "temperature"),
    ]
    # Apart in the first plane, in one cloud in the second.
    for name, apart in (("pca", True), ("pca_centered", False)):
        middles = [np.mean([trace.x, trace.y], axis=1) for trace in plots[name].traces[1:]]
        assert bool(np.linalg.norm(middles[0] - middles[1]) > 0.3) == apart
        assert plots[name].title.endswith("after centring") is not apart
    links, a, b = plots["pca"].traces
    assert (links.mark, a.mark, b.mark) == ("links", "points", "points")
    assert len(a.x) == len(b.x) == 1000
    assert links.x[::2] == a.x
    assert links.y[1::2] == b.y
    assert a.labels == b.labels
    assert a.items
    for plot in plots.values():
        assert plot.x
        assert plot.y
        for trace in plot.traces:
            assert len(trace.x) == len(trace.y) <= 2000
    assert plots["shift_loss"].dashed["as it is"] == 0.0
    shares = [sum(trace.y) for trace in plots["cosines"].traces]
    assert shares == pytest.approx([1.0] * 4, abs=1e-4)


def test_zero_rows_have_no_say():
    x, y = pairs(9, 40, offset=1.0)
    x[3], y[5] = 0.0, 0.0
    kept = [i for i in range(40) if i not in (3, 5)]
    found, clean = gap(subject(x, y)), gap(subject(x[kept], y[kept]))
    assert found.numbers == clean.numbers
    assert (found.basis["n"], found.basis["of"]) == (38, 40)


def test_a_rotation_of_the_space_changes_no_number():
    x, y = pairs(10, 120, offset=0.7)
    turn, _ = np.linalg.qr(np.random.default_rng(11).normal(size=(16, 16)))
    found, turned = gap(subject(x, y)), gap(subject(x @ turn, y @ turn))
    assert turned.numbers == pytest.approx(dict(found.numbers), abs=1e-5)


def test_few_items_are_said_to_be_few_and_too_few_refused():
    assert re.search(r"only 5 items", gap(subject(*pairs(2, 5, offset=1.0))).sentence)
    with pytest.raises(RetrievalError, match="at least 4"):
        gap(subject(*pairs(2, 3)))
    x, y = pairs(2, 6)
    x[:3] = 0.0
    with pytest.raises(RetrievalError, match="3 items have two vectors with a direction"):
        gap(subject(x, y))
    x[:5] = 0.0
    with pytest.raises(RetrievalError, match="^1 item has two vectors with a direction.*add pictures with captions"):
        gap(subject(x, y))
    ids = tuple("abcd")
    with pytest.raises(RetrievalError, match="at least two views"):
        gap(Subject({"visual": Matrix(ids, x[:4])}, "visual"))
