"""Every fast formula against a slow direct one, against its authors' code, and against what it must never do."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from dependent_rows import some_tuples
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval import geometry

GOLDEN = Path(__file__).parent / "golden"
CASES = ("large_gap", "small_gap", "no_gap", "few_rows")

seeds = st.integers(0, 2**32 - 1)


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text()), np.load(GOLDEN / f"{name}.npz")


def determinant_volume(tuples):
    return np.array([math.sqrt(max(np.linalg.det(rows @ rows.T), 0.0)) for rows in tuples])


# --- directions ----------------------------------------------------------------------------------------------------


@given(seeds, st.integers(-250, 250))
def test_directions_have_length_one_whatever_the_scale(seed, exponent):
    rows = np.random.default_rng(seed).normal(size=(3, 5)) * 10.0**exponent
    np.testing.assert_allclose(np.linalg.norm(geometry.directions(rows), axis=1), 1.0, atol=1e-14)


def test_zero_rows_stay_zero():
    rows = np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32)
    np.testing.assert_array_equal(geometry.unit(rows), np.array([[0, 0], [0.6, 0.8]], dtype=np.float32))
    assert geometry.unit(rows).dtype == np.float32
    np.testing.assert_array_equal(geometry.cosine(rows, rows), [[0, 0], [0, 1]])


def test_cosine_equals_the_formula_for_each_pair():
    generator = np.random.default_rng(3)
    a, b = generator.normal(size=(4, 6)), generator.normal(size=(5, 6))
    direct = [[x @ y / (math.sqrt(x @ x) * math.sqrt(y @ y)) for y in b] for x in a]
    np.testing.assert_allclose(geometry.cosine(a, b), direct, atol=1e-14)


# --- volume --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3, 4, 5])
@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_volume_agrees_with_the_authors(k, precision):
    _, arrays = golden("gram_volume")
    queries, views = arrays["in_t"][:40], [arrays[f"in_{name}"] for name in "vasd"[: k - 1]]
    own = np.stack(views, axis=1)
    theirs = arrays[f"out_vol{k}_{precision}"]
    ours = np.stack(
        [geometry.gram_volume(np.concatenate([np.broadcast_to(q, (48, 1, 32)), own], axis=1)) for q in queries]
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    clear = theirs > 0.05
    np.testing.assert_allclose(ours[clear], theirs[clear], atol=2e-5)


def recall(better, own):
    """As the authors print it: the share of rows whose best own column (their columns, a list each) is in the top k."""
    best = np.array([np.delete(row, columns) for row, columns in zip(better, own, strict=True)])
    reached = [row[columns].max() for row, columns in zip(better, own, strict=True)]
    ranks = (best > np.array(reached)[:, None]).sum(axis=1)
    return "/".join(str(round(100 * float((ranks < k).mean()), 1)) for k in (1, 5, 10))


def test_ranking_by_volume_gives_the_authors_recall():
    facts, arrays = golden("gram_ranking")
    theirs = facts["outputs"]
    t, v = arrays["in_t"], arrays["in_v"]
    factors = geometry.GramFactors.of(np.stack([v, arrays["in_a"]], axis=1))
    volumes, cosines = factors.volumes(t), geometry.cosine(t, v)
    np.testing.assert_allclose(volumes, arrays["out_area_f32"], atol=1e-3)
    own = [[i] for i in range(len(t))]
    assert recall(-volumes, own) == theirs["volume_T2D"]["forward_recall"]
    assert recall(-volumes.T, own) == theirs["volume_D2T_as_logged"]["forward_recall"]
    assert recall(cosines, own) == theirs["cosine_TV_forward"]["forward_recall"]
    assert recall(cosines.T, own) == theirs["cosine_TV_backward"]["backward_recall"]
    assert volumes.min(axis=1).mean() == pytest.approx(theirs["gramian_value"], abs=1e-4)
    # Two captions for each candidate: the better one counts when captions are looked for.
    halved = volumes[:, arrays["in_perm_two_captions"]]
    assert recall(-halved, [[i // 2] for i in range(64)]) == theirs["two_captions_forward"]["forward_recall"]
    both = [[2 * j, 2 * j + 1] for j in range(32)]
    assert recall(-halved.T, both) == theirs["two_captions_backward"]["backward_recall"]


@given(seeds, st.integers(1, 5), st.integers(5, 40))
def test_volume_is_the_root_of_the_determinant(seed, k, d):
    tuples = some_tuples(seed, 8, k, d)
    # The determinant's own rounding: 1e-15 under a root.
    np.testing.assert_allclose(geometry.gram_volume(tuples), determinant_volume(tuples), atol=2e-7)


@given(seeds, st.integers(1, 6), st.integers(1, 40))
def test_volume_lies_between_0_and_1(seed, k, d):
    volumes = geometry.gram_volume(some_tuples(seed, 8, k, d).astype(np.float32))
    assert volumes.dtype == np.float64
    assert np.isfinite(volumes).all()
    assert (volumes >= 0).all()
    assert (volumes <= 1).all()


@given(seeds, st.integers(2, 5), st.integers(1, 700))
def test_copies_have_no_volume_at_all(seed, k, d):
    rows = geometry.unit(np.random.default_rng(seed).normal(size=(4, 1, d)))
    assert (geometry.gram_volume(np.repeat(rows, k, axis=1)) == 0.0).all()
    assert (geometry.gram_volume(np.concatenate([rows, -rows], axis=1)) == 0.0).all()


@given(seeds, st.integers(2, 5), st.integers(1, 20), st.randoms(use_true_random=False))
def test_volume_does_not_depend_on_the_order_of_the_rows(seed, k, d, random):
    tuples = some_tuples(seed, 6, k, d)
    order = random.sample(range(k), k)
    np.testing.assert_allclose(geometry.gram_volume(tuples), geometry.gram_volume(tuples[:, order]), atol=1e-11)


@given(seeds, st.integers(2, 5), st.integers(2, 20))
def test_volume_does_not_depend_on_a_rotation(seed, k, d):
    tuples = some_tuples(seed, 6, k, d)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(d, d)))
    np.testing.assert_allclose(geometry.gram_volume(tuples), geometry.gram_volume(tuples @ rotation), atol=1e-11)


def test_volumes_known_by_hand():
    a, b, c = np.eye(3)
    slanted = np.array([0.5, math.sqrt(3) / 2, 0.0])
    tuples = np.array([[a, b, c], [a, slanted, c], [a, a, c], [a, np.zeros(3), c]])
    np.testing.assert_allclose(geometry.gram_volume(tuples), [1.0, math.sqrt(3) / 2, 0.0, 0.0], atol=1e-15)
    np.testing.assert_array_equal(geometry.gram_volume(np.array([[a], [np.zeros(3)]])), [1.0, 0.0])
    assert geometry.gram_volume(np.zeros((0, 3, 4))).shape == (0,)
    # More rows than dimensions are always dependent.
    assert geometry.gram_volume(np.array([[[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]]))[0] < 1e-11


def test_a_volume_far_below_float32_is_still_right():
    angle = 1e-9
    pair = np.array([[[1.0, 0.0], [math.cos(angle), math.sin(angle)]]])
    assert geometry.gram_volume(pair)[0] == pytest.approx(angle, rel=1e-6, abs=0)


def test_a_volume_of_three_nearly_equal_rows_is_still_right():
    near = 1e-9
    for seed in range(20):
        rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(9, 9)))
        a, b, c = rotation[:3]
        volume = geometry.gram_volume(np.array([[a, a + near * b, a + near * c]]))[0]
        # The rows themselves are rounded at 1e-16, which is 1e-7 of what keeps them apart.
        assert volume == pytest.approx(near**2, rel=1e-6, abs=0)


def test_blocks_change_nothing(monkeypatch):
    tuples = some_tuples(5, 11, 3, 8)
    whole = geometry.gram_volume(tuples)
    factors = geometry.gram_factors(tuples[0, 0], tuples[:, 1:])
    few = [slice(i, min(i + 4, 11)) for i in range(0, 11, 4)]
    monkeypatch.setattr(geometry, "blocks", lambda n, size=4: iter(few))
    np.testing.assert_array_equal(geometry.gram_volume(tuples), whole)
    np.testing.assert_array_equal(geometry.gram_factors(tuples[0, 0], tuples[:, 1:]), factors)


@given(st.integers(0, 50), st.integers(1, 9))
def test_blocks_cover_everything_once(n, size):
    covered = [i for block in geometry.blocks(n, size) for i in range(n)[block]]
    assert covered == list(range(n))
    assert all(block.stop - block.start <= size for block in geometry.blocks(n, size))


@given(seeds, st.integers(1, 4), st.integers(5, 30))
def test_volume_is_own_volume_times_sine(seed, k, d):
    tuples = some_tuples(seed, 8, k + 1, d)
    own, sine = geometry.gram_factors(tuples[:, 0], tuples[:, 1:])
    np.testing.assert_allclose(own * sine, geometry.gram_volume(tuples), atol=1e-10)
    np.testing.assert_allclose(own, geometry.gram_volume(tuples[:, 1:]), atol=1e-12)
    assert ((sine >= 0) & (sine <= 1)).all()


@given(seeds, st.integers(1, 4))
def test_sine_is_the_schur_complement(seed, k):
    generator = np.random.default_rng(seed)
    query, own = (geometry.directions(generator.normal(size=shape)) for shape in [(16,), (5, k, 16)])
    for rows, sine in zip(own, geometry.gram_factors(query, own)[1], strict=True):
        along = rows @ query
        assert sine == pytest.approx(math.sqrt(1 - along @ np.linalg.inv(rows @ rows.T) @ along), abs=1e-7)


def test_sine_where_the_own_gram_matrix_has_no_inverse():
    a, b, _ = np.eye(3)
    twins = np.array([[a, a]])
    query = np.array([0.6, 0.8, 0.0])
    own, sine = geometry.gram_factors(query, twins)
    np.testing.assert_allclose((own, sine), [[0.0], [0.8]], atol=1e-15)
    assert geometry.gram_factors(query, np.array([[a, b]]))[1][0] < 1e-12
    assert geometry.gram_factors(np.zeros(3), twins)[1][0] == 0.0


# --- the gap -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_gap_agrees_with_liang(precision):
    facts, arrays = golden("liang_gap")
    close = {"f32": 2e-6, "f64": 1e-12}[precision]
    gap = geometry.centroid_gap(arrays["in_image"], arrays["in_text"])
    assert np.linalg.norm(gap) == pytest.approx(facts["outputs"][f"mass_center_distance_{precision}"], abs=close)
    np.testing.assert_allclose(gap / np.linalg.norm(gap), arrays[f"out_unit_gap_direction_{precision}"], atol=close)


@pytest.mark.parametrize(("precision", "close"), [("f32", 1e-5), ("f64", 1e-9)])
def test_gap_after_a_shift_agrees_with_liang(precision, close):
    _, arrays = golden("liang_gap")
    x, y = geometry.directions(arrays["in_image"]), geometry.directions(arrays["in_text"])
    gap = geometry.centroid_gap(x, y)
    step = gap / np.linalg.norm(gap)

    def signed(a, b):
        moved = geometry.centroid_gap(a, b)
        return np.linalg.norm(moved) * np.sign(moved @ step)

    deltas = arrays[f"out_image_only_shift_delta_{precision}"]
    ours = [signed(x - delta * step, y) for delta in deltas]
    np.testing.assert_allclose(ours, arrays[f"out_image_only_shift_signed_distance_{precision}"], atol=close)
    both = [signed(x - 0.5 * delta * step, y + 0.5 * delta * step) for delta in arrays["out_shift_delta_f64"]]
    np.testing.assert_allclose(both, arrays["out_shift_distance_gap_signed_NOT_authors_code_f64"], atol=1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("precision", "close"), [("f32", 3e-5), ("f64", 1e-7)])
def test_measures_agree_with_fahim(case, precision, close):
    facts, arrays = golden("contrastive_gap_metrics")
    x, y = arrays[f"in_{case}_image"].astype(np.float64), arrays[f"in_{case}_text"].astype(np.float64)
    theirs = facts["outputs"][f"{case}_{precision}"]
    ours = {
        "centroid_euclidean_distance": np.linalg.norm(geometry.centroid_gap(x, y)),
        "centroid_cosine_similarity": geometry.centroid_cosine(x, y),
        "mean_cosine_similarity": geometry.pair_cosines(x, y).mean(),
        "mean_pairwise_euclidean_distance": geometry.pair_distances(x, y).mean(),
        "alignment": geometry.alignment(x, y),
        "image_uniformity_loss": geometry.uniformity(x),
        "text_uniformity_loss": geometry.uniformity(y),
        "cross_encoder_uniform_loss": geometry.cross_uniformity(x, y),
    }
    for name, value in ours.items():
        assert value == pytest.approx(theirs[name], abs=close), name


def test_kernel_means_equal_the_sums_over_pairs(monkeypatch):
    generator = np.random.default_rng(8)
    x, y = (geometry.directions(generator.normal(size=(9, 4))) for _ in range(2))
    # More than one block each way, the last one short.
    monkeypatch.setattr(geometry, "KERNEL_ROWS", 4)
    monkeypatch.setattr(geometry, "KERNEL_COLUMNS", 3)
    for b in (x, y):
        kernel = {(i, j): math.exp(-2 * ((x[i] - b[j]) ** 2).sum()) for i, j in itertools.permutations(range(9), 2)}
        rows = [sum(kernel[i, j] for j in range(9) if j != i) / 8 for i in range(9)]
        columns = [sum(kernel[i, j] for i in range(9) if j != i) / 8 for j in range(9)]
        ours = geometry.kernel_means(x, None if b is x else y)
        np.testing.assert_allclose(ours, [rows, columns], rtol=1e-12)


def test_evenly_spread_rows_are_more_uniform_than_bunched_ones():
    generator = np.random.default_rng(0)
    bunched = generator.normal(size=(50, 8)) + 5.0
    assert geometry.uniformity(np.ones((3, 4))) == pytest.approx(0.0, abs=1e-12)
    assert geometry.uniformity(generator.normal(size=(50, 8))) < geometry.uniformity(bunched) - 1
    with pytest.raises(ValueError, match="at least 2 rows, not 1"):
        geometry.uniformity(np.ones((1, 4)))


@pytest.mark.parametrize("n", [37, 1300])
def test_sums_over_pairs_in_float32_are_those_in_float64(n):
    generator = np.random.default_rng(n)
    x, y = (generator.normal(size=(n, 24)) + 0.5 for _ in range(2))
    for pair in ((x, None), (x, y)):
        narrow, wide = (geometry.kernel_means(*pair, narrow=how) for how in (True, False))
        for ours, exact in zip(narrow, wide, strict=True):
            np.testing.assert_allclose(np.log(ours.mean()), np.log(exact.mean()), atol=1e-6)
            np.testing.assert_allclose(ours, exact, rtol=1e-5)


def test_uniformity_of_points_spread_evenly_on_a_circle():
    # exp(-2 |x - y|^2) = exp(-4 + 4 cos), whose mean over the circle is exp(-4) I_0(4); a point with itself adds 1.
    bessel = sum(4.0 ** (2 * k) / (4**k * math.factorial(k) ** 2) for k in range(60))
    for n in (40, 700):
        angles = 2 * np.pi * np.arange(n) / n
        circle = np.column_stack([np.cos(angles), np.sin(angles)])
        expected = math.log((n * math.exp(-4) * bessel - 1) / (n - 1))
        assert geometry.uniformity(circle) == pytest.approx(expected, abs=1e-12)
        # Across two modalities that are one, the pairs left out are the same.
        assert geometry.cross_uniformity(circle, circle) == pytest.approx(expected, abs=1e-12)
    assert geometry.uniformity(np.array([[0.0, 1.0], [0.0, -1.0]])) == pytest.approx(-8.0)


@given(seeds, st.integers(2, 30))
def test_mean_cosine_is_that_of_different_rows(seed, n):
    rows = geometry.directions(np.random.default_rng(seed).normal(size=(n, 5)) + 0.3)
    products = rows @ rows.T
    expected = products[~np.eye(n, dtype=bool)].mean()
    assert geometry.mean_cosine(rows.sum(axis=0), n, n) == pytest.approx(expected, abs=1e-12)


# --- how many dimensions are used ----------------------------------------------------------------------------------


@given(st.integers(1, 50), st.floats(1e-6, 1e6))
def test_equal_variances_use_as_many_dimensions(k, size):
    variances = np.append(np.full(k, size), np.zeros(7))
    assert geometry.effective_rank(variances) == pytest.approx(k)
    assert geometry.components(variances, 0.9) == math.ceil(0.9 * k - 1e-9)
    assert geometry.components(variances, 1.0) == k


def test_dimensions_known_by_hand():
    falling = np.array([0.5, 0.25, 0.25])
    assert [geometry.components(falling, share) for share in (0.4, 0.5, 0.51, 0.75, 0.9)] == [1, 1, 2, 2, 3]
    assert geometry.effective_rank(falling) == pytest.approx(2**1.5)
    assert (geometry.components(np.zeros(3), 0.9), geometry.effective_rank(np.zeros(3))) == (0, 0.0)


def test_w2_uniformity_known_by_hand():
    # Spread evenly around 0 with variance 1/d: nothing to move.
    d = 16
    assert geometry.w2_uniformity(np.zeros(d), np.full(d, 1 / d)) == 0.0
    # One point at distance 1: |mean|^2 + 1.
    assert geometry.w2_uniformity(np.eye(d)[0], np.zeros(1)) == pytest.approx(-math.sqrt(2), abs=1e-15)
    # Two points of opposite directions: variance 1 along one axis, 2 (1 - 1/sqrt(d)).
    opposite = geometry.w2_uniformity(np.zeros(d), np.eye(d)[0])
    assert opposite == pytest.approx(-math.sqrt(2 * (1 - 1 / math.sqrt(d))), abs=1e-15)


# --- the plane -----------------------------------------------------------------------------------------------------


@given(seeds, st.integers(2, 12), st.integers(1, 12))
def test_plane_is_that_of_the_singular_values(seed, n, d):
    rows = np.random.default_rng(seed).normal(size=(n, d)) * np.arange(1, d + 1)
    plane, shares = geometry.principal_plane(rows)
    centred = rows - rows.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = np.zeros(2)
    expected[: len(values)] = (values**2 / (values**2).sum())[:2]
    np.testing.assert_allclose(shares, expected, atol=1e-9)
    for i in range(min(2, len(values))):
        direct = left[:, i] * values[i]
        sign = np.sign(direct @ plane[:, i]) or 1.0
        np.testing.assert_allclose(plane[:, i], sign * direct, atol=1e-5 * values[0])


@pytest.mark.parametrize("n", [5, 30])
def test_the_largest_loading_of_an_axis_is_positive(n):
    for seed in range(8):
        rows = np.random.default_rng(seed).normal(size=(n, 7))
        plane, _ = geometry.principal_plane(rows)
        loadings = (rows - rows.mean(axis=0)).T @ plane
        assert (loadings[np.abs(loadings).argmax(axis=0), [0, 1]] > 0).all()


def test_plane_of_equal_rows_is_a_point():
    flat, shares = geometry.principal_plane(np.ones((4, 3)))
    assert not flat.any()
    assert not shares.any()
