"""The transforms that choose coordinates: whiten, zca, pca and mrl."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_references import D, cone, paired, reference
from scipy.stats import ortho_group

from mmretrieval.errors import BadRecipe, RetrievalError
from mmretrieval.geometry import unit
from mmretrieval.transforms import TRANSFORMS, means, whiten
from mmretrieval.transforms.rows import ROUNDING

seeds = st.integers(0, 2**31)


def run(name, space, *arguments):
    return TRANSFORMS[name].run(space, *arguments)


def around_means(space):
    """All items in float64, each less the mean of its view, one under the other."""
    sides = [matrix.rows.astype(np.float64) for matrix in space.items.values()]
    return np.concatenate([rows - rows.mean(axis=0) for rows in sides])


def root(covariance):
    """The inverse square root of a covariance, the slow way."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors @ np.diag(values**-0.5) @ vectors.T


@given(seeds)
def test_the_whitened_items_have_the_unit_matrix_for_covariance(seed):
    space = paired(seed)
    moved = around_means(space)
    fit = run("whiten", space, 0)
    own = moved @ fit.axes * fit.scales
    np.testing.assert_allclose(own.T @ own / len(own), np.eye(D), atol=1e-9)
    whitened = moved @ fit.axes @ np.diag(fit.scales) @ fit.axes.T
    np.testing.assert_allclose(whitened.T @ whitened / len(moved), np.eye(D), atol=1e-9)


@given(seeds)
def test_the_formula_done_slowly_gives_the_same_rows(seed):
    space = paired(seed)
    moved = around_means(space)
    covariance = np.cov(moved.T, bias=True, ddof=0) + np.outer(moved.mean(axis=0), moved.mean(axis=0))
    expected = unit(moved @ root(covariance))
    fit = run("zca", space)
    got = np.concatenate([fit.items(view, matrix.rows) for view, matrix in space.items.items()])
    np.testing.assert_allclose(got, expected, atol=2e-6)
    texts = space.parts["text"].astype(np.float64)
    asked = unit((texts - texts.mean(axis=0)) @ root(covariance))
    np.testing.assert_allclose(fit.query("text", space.parts["text"]), asked, atol=2e-6)
    pictures = space.items["visual"].rows
    np.testing.assert_array_equal(fit.query("image", pictures), fit.items("visual", pictures))


@given(seeds)
def test_zca_is_symmetric_and_of_all_whitenings_the_nearest_to_the_rows(seed):
    space = paired(seed)
    moved = around_means(space)
    fit = run("whiten", space, 0)
    symmetric = fit.axes @ np.diag(fit.scales) @ fit.axes.T
    np.testing.assert_allclose(symmetric, symmetric.T, atol=1e-12)
    nearest = ((moved @ symmetric - moved) ** 2).sum()
    pca_distance = ((moved @ (fit.axes * fit.scales) - moved) ** 2).sum()
    assert nearest < pca_distance
    for turn in ortho_group.rvs(D, size=5, random_state=seed):
        other = moved @ symmetric @ turn
        np.testing.assert_allclose(other.T @ other / len(moved), np.eye(D), atol=1e-9)
        assert nearest < ((other - moved) ** 2).sum()


@given(seeds)
def test_zca_scores_as_whiten_does_and_all_of_pca_as_center(seed):
    space = paired(seed)
    asked = space.parts["text"]
    rows = space.items["visual"].rows

    def scores(fit):
        return fit.query("text", asked) @ fit.items("visual", rows).T

    np.testing.assert_allclose(scores(run("zca", space)), scores(run("whiten", space, 0)), atol=3e-6)
    np.testing.assert_allclose(scores(run("pca", space, D)), scores(run("center", space)), atol=1e-6)


def test_pca_keeps_all_dot_products_around_the_mean_and_its_axes_vary_the_most():
    space = paired(21)
    moved = around_means(space)
    whole = moved @ run("pca", space, D).axes
    np.testing.assert_allclose(whole @ whole.T, moved @ moved.T, atol=1e-12)
    np.testing.assert_allclose((moved**2).sum(axis=0).sum(), (whole**2).sum())
    spread = (whole**2).mean(axis=0)
    assert (np.diff(spread) <= 1e-12).all()
    kept = run("pca", space, 4)
    np.testing.assert_allclose(np.abs((kept.axes * run("pca", space, D).axes[:, :4]).sum(axis=0)), 1.0)
    for turn in ortho_group.rvs(D, size=20, random_state=22):
        assert ((moved @ kept.axes) ** 2).sum() > ((moved @ turn[:, :4]) ** 2).sum()
    assert run("pca", space, 0).items("visual", cone(1, 3)).shape == (3, D // 2)


@given(seeds, st.integers(1, D))
def test_whiten_to_d_axes_is_the_first_d_of_all(seed, d):
    space = paired(seed)
    rows = space.items["visual"].rows
    whole = run("whiten", space, 0)
    moved = (rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)) @ whole.axes * whole.scales
    np.testing.assert_allclose(run("whiten", space, d).items("visual", rows), unit(moved[:, :d]), atol=1e-6)


@given(seeds)
def test_a_rotation_of_the_space_changes_no_score(seed):
    turn = ortho_group.rvs(D, random_state=seed)
    space = paired(seed)
    turned = reference(
        {view: (m.rows @ turn).astype(np.float32) for view, m in space.items.items()},
        {"text": (space.parts["text"] @ turn).astype(np.float32)},
    )
    for name, arguments in (("whiten", (0,)), ("whiten", (5,)), ("zca", ()), ("pca", (5,))):
        plain, other = run(name, space, *arguments), run(name, turned, *arguments)
        np.testing.assert_allclose(
            plain.query("text", space.parts["text"]) @ plain.items("visual", space.items["visual"].rows).T,
            other.query("text", turned.parts["text"]) @ other.items("visual", turned.items["visual"].rows).T,
            atol=5e-5,
        )


def test_axes_on_which_items_do_not_vary_are_left_out_and_never_noise():
    flat = np.zeros((200, D), dtype=np.float32)
    flat[:, :5] = cone(31, 200, d=5)
    bank = {"text": np.pad(cone(32, 50, d=5), ((0, 0), (0, D - 5)))}
    space = reference({"visual": flat}, bank)
    fit = run("whiten", space, 0)
    assert fit.axes.shape == (D, 5)
    # A row that differs from the mean only where no item does has nothing to say.
    beside = flat.mean(axis=0, keepdims=True) + np.eye(D, dtype=np.float32)[-1:]
    assert not fit.items("visual", beside).any()
    assert not run("zca", space).items("visual", beside).any()
    assert not run("pca", space, 5).items("visual", beside).any()
    with pytest.raises(
        RetrievalError, match="whiten:6 keeps 6 .*200 vectors vary along 5 alone: write whiten:5 or less"
    ):
        run("whiten", space, 6)


def test_too_few_items_for_so_many_axes_are_refused_with_a_way_out():
    few = reference({"visual": cone(33, 9), "text": cone(34, 4)}, {"text": cone(35, 9)})
    with pytest.raises(
        RetrievalError, match="11 axes.*has 13 vectors.*; write whiten:5 or less, or add items until there are 15"
    ):
        run("whiten", few, 0)
    with pytest.raises(
        RetrievalError,
        match="zca gives 11 .*equally alike; write whiten:5 or less instead, or add items until there are 15",
    ):
        run("zca", few)
    with pytest.raises(RetrievalError, match="whiten:12 keeps 12 .*13 vectors vary along 11 alone: write whiten:5 or"):
        run("whiten", few, 12)
    assert run("whiten", few, 5).items("visual", few.items["visual"].rows).shape == (9, 5)
    # The way out is one: with so many vectors nothing is refused, and with one less it is.
    enough = reference({"visual": cone(33, 9), "text": cone(34, 6)}, {"text": cone(35, 9)})
    assert run("zca", enough).items("visual", cone(33, 9)).shape == (9, D)
    with pytest.raises(RetrievalError, match="has 14 vectors"):
        run("zca", reference({"visual": cone(33, 9), "text": cone(34, 5)}, {"text": cone(35, 9)}))
    two = reference({"visual": cone(33, 2)}, {"text": cone(35, 9)})
    with pytest.raises(RetrievalError, match="equally alike; add items until there are 14"):
        run("zca", two)
    # Why: as many axes as there are rows leave nothing but a simplex.
    alone = cone(36, 9)
    centres = means.means(reference({"visual": alone}))
    found = means.spectrum(reference({"visual": alone}), centres, "whiten")
    own = (alone - centres.views["visual"]) @ found.axes[:, :8] / np.sqrt(found.variances[:8])
    cosines = unit(own) @ unit(own).T
    np.testing.assert_allclose(cosines[~np.eye(9, dtype=bool)], -1 / 8, atol=1e-5)


def test_more_axes_than_coordinates_and_items_that_are_all_alike_are_refused():
    space = paired(37)
    for name in ("whiten", "pca", "mrl"):
        with pytest.raises(BadRecipe, match=f"{name}:13 keeps 13 .*write {name}:12 or less"):
            run(name, space, 13)
    alike = reference({"visual": np.repeat(cone(38, 1), 40, axis=0)}, {"text": cone(39, 9)})
    for name, arguments in (("whiten", (2,)), ("zca", ()), ("pca", (2,))):
        with pytest.raises(RetrievalError, match="do not"):
            run(name, alike, *arguments)


def test_only_so_many_rows_of_a_view_are_fitted_on(monkeypatch):
    rows = cone(40, 900)
    monkeypatch.setattr("mmretrieval.transforms.fitting.spaced.__defaults__", (300,))
    found = means.spectrum(reference({"visual": rows}), means.means(reference({"visual": rows})), "pca")
    assert found.rows == 300
    moved = rows[::3].astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(found.variances, np.linalg.eigvalsh(moved.T @ moved / 300)[::-1], atol=1e-12)


@given(seeds, st.integers(1, D))
def test_mrl_takes_the_first_coordinates_and_all_of_them_is_the_direction(seed, d):
    space, rows = paired(seed), 3.0 * cone(seed + 1, 6)
    fit = run("mrl", space, d)
    assert fit.item_bytes == 4 * d
    np.testing.assert_allclose(fit.items("visual", rows), unit(rows[:, :d]), atol=1e-7)
    np.testing.assert_array_equal(fit.query("text", rows), fit.items("text", rows))
    np.testing.assert_allclose(run("mrl", space, D).items("visual", rows), unit(rows), atol=1e-7)


def test_mrl_takes_half_unless_said_and_makes_nothing_of_nothing():
    fit = run("mrl", paired(41), 0)
    late = np.eye(D, dtype=np.float32)[[0, 11]]
    cut = fit.items("visual", late)
    assert cut.shape == (2, 6)
    np.testing.assert_array_equal(np.linalg.norm(cut, axis=1), [1, 0])
    with pytest.raises(BadRecipe, match="vectors of 3 coordinates"):
        fit.query("text", late[:, :3])


def test_what_is_left_by_rounding_alone_counts_as_nothing():
    mean, axes = np.zeros(3), np.eye(3)[:, :1]
    rows = np.array([[1.0, 1.0, 0], [ROUNDING / 2, 1.0, 0], [4 * ROUNDING, 1.0, 0]])
    np.testing.assert_array_equal(whiten.along(rows, mean, axes, np.array([7.0])), [[1.0], [0.0], [1.0]])
