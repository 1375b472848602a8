"""How alike two spaces are: fast forms against slow ones, and cases whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group, spearmanr

from mmretrieval.diagnostics import similarity
from mmretrieval.diagnostics.agreement import agreement
from mmretrieval.diagnostics.similarity import alignment_of_spaces
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.geometry import cosine
from mmretrieval.store.exact import Matrix

GOLDEN = Path(__file__).parents[1] / "golden"


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, n, d]).normal(size=(n, d))


def related(n: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Two spaces of one hidden cause, through a linear map each, and noise."""
    hidden = rows(n, 4)
    return hidden @ rows(4, 7, 1) + noise * rows(n, 7, 2), hidden @ rows(4, 5, 3) + noise * rows(n, 5, 4)


# --- CKA -----------------------------------------------------------------------------------------------------------


def slow_hsic(k: np.ndarray, other: np.ndarray) -> float:
    """Kornblith et al. 2019, eq. 3, up to (n - 1)^2: the trace of the centred products of all pairs."""
    centring = np.eye(len(k)) - 1 / len(k)
    return float(np.trace(k @ centring @ other @ centring))


def slow_unbiased_hsic(k: np.ndarray, other: np.ndarray) -> float:
    """Song et al. 2012, eq. 5, up to n (n - 3)."""
    n = len(k)
    a, b, ones = k - np.diag(np.diag(k)), other - np.diag(np.diag(other)), np.ones(n)
    cross = (ones @ a @ ones) * (ones @ b @ ones) / ((n - 1) * (n - 2))
    return float(np.trace(a @ b) + cross - 2 / (n - 2) * (ones @ a @ b @ ones))


@pytest.mark.parametrize("n", [4, 9, 60])
@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
def test_from_features_it_is_what_the_products_of_all_pairs_give(n: int, noise: float) -> None:
    x, y = related(n, noise)
    x, y = x + 0.5, 2.0 * y - 0.5
    k, other = x @ x.T, y @ y.T
    found = alignment_of_spaces(x, y)
    for value, hsic in ((found.cka, slow_hsic), (found.debiased, slow_unbiased_hsic)):
        expected = hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))
        assert value == pytest.approx(max(-1.0, min(expected, 1.0)), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 100), st.integers(5, 40))
def test_turning_scaling_and_moving_change_nothing(seed: int, scale: float, n: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 6)), rng.normal(size=(n, 3))
    turned = scale * x @ ortho_group.rvs(6, random_state=rng) + rng.normal(size=6)
    before, after = alignment_of_spaces(x, y), alignment_of_spaces(turned, y)
    assert after.cka == pytest.approx(before.cka, abs=1e-9)
    assert after.debiased == pytest.approx(before.debiased, abs=1e-9)
    own = alignment_of_spaces(x, turned)
    assert own.cka == pytest.approx(1.0, abs=1e-9) and own.debiased == pytest.approx(1.0, abs=1e-9)
    # nothing is left to chance between a space and itself
    counts = rng.multinomial(n, np.full(n, 1 / n), size=20).astype(np.float32)
    np.testing.assert_allclose(own.resampled(counts), 1.0, atol=1e-9)
    np.testing.assert_allclose(own.debiased_resampled(counts), 1.0, atol=1e-9)


def test_one_shared_direction_of_two_has_a_known_value() -> None:
    # Columns that are orthogonal and centred: CKA is the shared variance over the root of both, 1 / sqrt(2 * 1).
    n = 8
    a = np.array([1.0, -1.0] * (n // 2))
    b = np.array([1.0, 1.0, -1.0, -1.0] * (n // 4))
    assert alignment_of_spaces(np.stack([a, b], axis=1), a[:, None]).cka == pytest.approx(1 / np.sqrt(2))
    assert alignment_of_spaces(b[:, None], a[:, None]).cka == pytest.approx(0.0, abs=1e-12)


def test_independent_spaces_have_the_value_of_chance() -> None:
    biased, debiased, expected = [], [], []
    for seed in range(60):
        found = alignment_of_spaces(rows(40, 30, seed), rows(40, 20, 1000 + seed))
        biased.append(found.cka)
        debiased.append(found.debiased)
        expected.append(found.chance)
    assert np.mean(debiased) == pytest.approx(0.0, abs=0.01)
    assert np.mean(biased) == pytest.approx(np.mean(expected), abs=0.01)
    assert np.mean(expected) > 0.3, "the biased form sees much in common where there is nothing, in so few items"


def test_chance_is_the_mean_over_all_orders_of_the_items() -> None:
    from itertools import permutations

    x, y = related(6, 0.5)
    every = [alignment_of_spaces(x, y[list(order)]).cka for order in permutations(range(6))]
    assert alignment_of_spaces(x, y).chance == pytest.approx(np.mean(every), abs=1e-9)


def test_a_space_that_does_not_vary_has_no_alignment() -> None:
    same = np.tile(rows(1, 5), (10, 1))
    found = alignment_of_spaces(same, rows(10, 5))
    assert (found.cka, found.debiased, found.chance) == (None, None, None)
    assert np.isnan(found.resampled(np.ones((3, 10), dtype=np.float32))).all()
    with pytest.raises(ValueError, match="at least 4 rows"):
        alignment_of_spaces(rows(3, 2), rows(3, 2))


def test_intervals_are_as_wide_as_fresh_samples_differ() -> None:
    truth, widths = [], []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        hidden = rng.normal(size=(300, 3))
        found = alignment_of_spaces(hidden + 0.7 * rng.normal(size=(300, 3)), hidden + 0.7 * rng.normal(size=(300, 3)))
        truth.append((found.cka, found.debiased))
        if seed < 10:
            counts = rng.multinomial(300, np.full(300, 1 / 300), size=500).astype(np.float32)
            widths.append((found.resampled(counts).std(), found.debiased_resampled(counts).std()))
    np.testing.assert_allclose(np.mean(widths, axis=0), np.std(truth, axis=0), rtol=0.25)


# --- neighbours and pairs ------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(6, 20))
def test_shared_neighbours_are_counted_as_sets(seed: int, k: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (np.stack([rng.permutation(n)[:k] for _ in range(9)]) for _ in range(2))
    assert similarity.shared_neighbours(a, b).tolist() == [len(set(p) & set(q)) for p, q in zip(a, b, strict=True)]


@pytest.mark.parametrize(("n", "most"), [(2, 10), (9, 36), (9, 35), (50, 120), (50, 20)])
def test_pairs_are_different_and_every_item_is_in_as_many(n: int, most: int) -> None:
    pairs = similarity.pairs_of(n, most, 0)
    assert len({frozenset(p) for p in pairs.tolist()}) == len(pairs)
    assert len(pairs) <= max(most, n)
    assert len(set(np.bincount(pairs.ravel(), minlength=n).tolist())) == 1
    np.testing.assert_array_equal(pairs, similarity.pairs_of(n, most, 0))


def test_rank_correlation_is_spearmans_and_a_resample_repeats_pairs() -> None:
    rng = np.random.default_rng(0)
    pairs = similarity.pairs_of(12, 100, 0)
    a = rng.integers(0, 8, size=len(pairs)) / 8
    b = a + 0.3 * rng.normal(size=len(pairs))
    counts = rng.multinomial(12, np.full(12, 1 / 12), size=4).astype(np.float32)
    value, drawn = similarity.rank_correlation(a, b, pairs, counts)
    assert value == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
    x, y = (np.argsort(np.argsort(v, kind="stable"), kind="stable") for v in (a, b))
    assert len(set(x)) == len(x)  # ranks without ties are only for the next lines
    value, drawn = similarity.rank_correlation(x.astype(float), y.astype(float), pairs, counts)
    for i, count in enumerate(counts):
        repeated = np.repeat(np.arange(len(pairs)), (count[pairs[:, 0]] * count[pairs[:, 1]]).astype(int))
        assert drawn[i] == pytest.approx(np.corrcoef(x[repeated], y[repeated])[0, 1], abs=1e-9)
    assert similarity.rank_correlation(np.ones(len(pairs)), b, pairs) == (None, pytest.approx(np.empty(0)))
    falling, _ = similarity.rank_correlation(a, -a, pairs)
    assert falling == pytest.approx(-1.0)


@pytest.mark.parametrize("case", ["large_gap", "small_gap", "no_gap", "few_rows"])
@pytest.mark.parametrize(("precision", "close"), [("f32", 1e-6), ("f64", 1e-7)])
def test_correlations_of_similarities_are_those_of_the_authors_code(case: str, precision: str, close: float) -> None:
    """Fahim et al.'s representational similarity analysis: pictures against texts, and either against mixed pairs."""
    values = np.load(GOLDEN / "contrastive_gap_metrics.npz")
    told = json.loads((GOLDEN / "contrastive_gap_metrics.json").read_text())["outputs"][f"{case}_{precision}"]["rsa"]
    image, text = (values[f"in_{case}_{side}"].astype(np.float64) for side in ("image", "text"))
    pairs = similarity.pairs_of(len(image), len(image) ** 2, 0)
    of_images, of_texts = similarity.cosines_of(image, pairs), similarity.cosines_of(text, pairs)
    # The later picture of a pair with the earlier text.
    mixed = cosine(image, text)[pairs[:, 1], pairs[:, 0]]
    for name, a, b in (
        ("rsa_before_interchanging", of_texts, of_images),
        ("text_intermodality_rsa", mixed, of_texts),
        ("image_intermodality_rsa", mixed, of_images),
    ):
        assert similarity.rank_correlation(a, b, pairs)[0] == pytest.approx(told[name], abs=close), name
        assert similarity.row_correlations(a[None], b[None])[0] == pytest.approx(told[f"pearson_{name}"], abs=close)


@pytest.mark.parametrize("case", ["large_gap", "small_gap", "no_gap", "few_rows"])
def test_agreement_gives_the_authors_correlation_of_similarities(case: str) -> None:
    values = np.load(GOLDEN / "contrastive_gap_metrics.npz")
    told = json.loads((GOLDEN / "contrastive_gap_metrics.json").read_text())["outputs"][f"{case}_f64"]["rsa"]
    image, text = (
        Matrix(tuple(f"{i:03d}" for i in range(len(held))), held)
        for held in (values[f"in_{case}_image"], values[f"in_{case}_text"])
    )
    rival = Subject({"visual": text}, "visual", "of texts")
    found = agreement(Subject({"visual": image}, "visual", "of pictures", rival=rival))
    n = len(image.ids)
    assert found.basis["pairs"] == {"visual": n * (n - 1) // 2}
    assert found.numbers["visual.spearman"] == pytest.approx(told["rsa_before_interchanging"], abs=1e-7)


def test_cosines_of_pairs_are_theirs() -> None:
    x = rows(30, 4)
    pairs = similarity.pairs_of(30, 100, 1)
    slow = [x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) for i, j in pairs]
    np.testing.assert_allclose(similarity.cosines_of(x, pairs), slow, atol=1e-12)


# --- relative representations --------------------------------------------------------------------------------------


def test_relative_rows_are_cosines_to_the_anchors_and_outlive_a_rotation() -> None:
    x, anchors = rows(20, 6), np.array([3, 0, 11])
    slow = [[x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) for j in anchors] for i in range(20)]
    np.testing.assert_allclose(similarity.relative(x, anchors), slow, atol=1e-12)
    turned = 7.0 * x @ ortho_group.rvs(6, random_state=1)
    np.testing.assert_allclose(similarity.relative(turned, anchors), slow, atol=1e-12)


def test_correlations_of_rows_are_pearsons() -> None:
    a, b = rows(5, 9), rows(5, 9, 1)
    b[3] = 2.0
    slow = [np.corrcoef(a[i], b[i])[0, 1] if i != 3 else 0.0 for i in range(5)]
    np.testing.assert_allclose(similarity.row_correlations(a, b), slow, atol=1e-12)


def test_own_ranks_count_what_is_nearer_and_share_ties() -> None:
    items = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 0.0]])
    # Rows 0 and 3 point the same way: whoever asks along it finds both at places 1 and 2.
    np.testing.assert_array_equal(similarity.own_ranks(items, items), [1.5, 1.0, 1.0, 1.5])
    asked = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.9], [1.0, -1.0]])
    np.testing.assert_array_equal(similarity.own_ranks(asked, items), [3.5, 4.0, 1.0, 1.5])


def test_relative_rows_are_those_of_the_authors_code() -> None:
    values = np.load(GOLDEN / "relative_representations.npz")
    samples, anchors = values["in_samples"].astype(np.float64), values["in_anchors"].astype(np.float64)
    found = similarity.relative(
        np.concatenate([samples, anchors]), np.arange(len(samples), len(samples) + len(anchors))
    )
    np.testing.assert_allclose(found[: len(samples)], values["out_cosine_f64"], atol=1e-9)
