"""The transforms `invgc` and `invgc-local`: the authors' values, the formula done slowly, and empty pools."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_references import D, cone, listed, paired, reference

from mmretrieval.errors import BadRecipe, RetrievalError
from mmretrieval.geometry import directions, unit
from mmretrieval.transforms import TRANSFORMS
from mmretrieval.transforms.invgc import Push, inverted, local_push, push

GOLDEN = Path(__file__).parent.parent / "golden"
RG, RQ = 0.3, 1.7
seeds = st.integers(0, 2**31)


def run(name, space, *arguments):
    return TRANSFORMS[name].run(space, *arguments)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "invgc.npz") as arrays:
        return {name: arrays[name].astype(np.float64) for name in arrays.files}


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_all_of_a_bank_pushes_as_in_the_authors_code(golden, precision):
    gallery = golden["in_test_gallery"]
    centroid = gallery.mean(axis=0)
    own, asked = push(golden["in_train_gallery"], RG, centroid), push(golden["in_train_query"], RQ, centroid)
    np.testing.assert_allclose(directions(own(gallery)), golden[f"out_full_gallery_bank_{precision}"], atol=1e-5)
    np.testing.assert_allclose(directions(asked(gallery)), golden[f"out_full_query_bank_{precision}"], atol=1e-5)
    scores = golden["in_test_query"] @ inverted(gallery, own, asked).T
    np.testing.assert_allclose(scores, golden[f"out_scores_full_{precision}"], atol=2e-5)


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize(("pool", "name"), [(0.01, "0_01"), (0.1, "0_1")])
def test_the_nearest_of_a_bank_push_as_in_the_authors_code(golden, pool, name, precision):
    gallery = golden["in_test_gallery"]
    own = local_push(golden["in_train_gallery"], RG, pool)
    asked = local_push(golden["in_train_query"], RQ, pool)
    expected = golden[f"out_local_gallery_bank_p{pool}_{precision}"]
    np.testing.assert_allclose(directions(own(gallery)), expected, atol=1e-5)
    scores = golden["in_test_query"] @ inverted(gallery, own, asked).T
    np.testing.assert_allclose(scores, golden[f"out_scores_local_p{name}_{precision}"], atol=2e-5)


@given(seeds, st.floats(0, 2), st.floats(0, 2))
def test_the_transforms_are_the_formula_done_slowly(seed, rg, rq):
    space = paired(seed)
    asked = space.queries.astype(np.float64)
    for view, matrix in space.items.items():
        rows = matrix.rows.astype(np.float64)
        halves = []
        for bank, r in ((rows, rg), (asked, rq)):
            similar = rows @ bank.T
            halves.append(unit(rows - r / len(bank) * (similar - similar.mean()) @ bank).astype(np.float64))
        got = run("invgc", space, rg, rq).items(view, matrix.rows)
        np.testing.assert_allclose(got, unit(halves[0] / 2 + halves[1] / 2), atol=1e-5)
        halves = []
        for bank, r in ((rows, rg), (asked, rq)):
            near = np.zeros_like(rows @ bank.T)
            for i, similar in enumerate(rows @ bank.T):
                nearest = np.argsort(-similar)[: int(0.2 * len(bank))]
                near[i, nearest] = similar[nearest]
            moved = rows - r / int(0.2 * len(bank)) * near @ bank
            # An item of the bank that pushes itself off itself alone would leave nothing.
            halves.append(unit(np.where(np.linalg.norm(moved, axis=1, keepdims=True) > 1e-6, moved, 0)))
        got = run("invgc-local", space, rg, rq, 0.2).items(view, matrix.rows)
        np.testing.assert_allclose(got, unit(halves[0] / 2 + halves[1].astype(np.float64) / 2), atol=1e-5)


def test_a_strength_of_none_changes_nothing_and_queries_never_change():
    space = paired(51)
    rows = space.items["visual"].rows
    for name, arguments in (("invgc", (0, 0)), ("invgc-local", (0, 0, 0.1))):
        fit = run(name, space, *arguments)
        np.testing.assert_allclose(fit.items("visual", rows), rows, atol=1e-7)
    for name, arguments in (("invgc", (1, 1)), ("invgc-local", (0.5, 0.5, 0.1))):
        fit = run(name, space, *arguments)
        assert np.abs(fit.items("visual", rows) - rows).max() > 0.05
        for modality in ("text", "image", "frames"):
            np.testing.assert_array_equal(fit.query(modality, rows), rows)
        assert fit.item_bytes == 4 * D


@given(seeds)
def test_a_strength_of_one_turns_no_component_round(seed):
    for rows in (cone(seed, 40), np.repeat(cone(seed, 1), 5, axis=0)):
        own = push(rows, 1.0, rows.mean(axis=0))
        assert np.linalg.eigvalsh(np.eye(D) - own.product).min() >= -1e-7


@given(seeds)
def test_around_the_origin_it_damps_the_axes_along_which_items_crowd(seed):
    half = unit(np.random.default_rng(seed).normal(size=(60, D)) * np.linspace(3, 0.5, D))
    rows = np.concatenate([half, -half]).astype(np.float64)
    fit = run("invgc", reference({"visual": rows.astype(np.float32)}, {"text": rows.astype(np.float32)}), 1, 1)
    before, axes = np.linalg.eigh(rows.T @ rows / len(rows))
    # The mean and the mean similarity are 0, so that each component shrinks by its own share: X (I - C).
    expected = unit(rows @ axes * (1 - before) @ axes.T)
    moved = fit.items("visual", rows.astype(np.float32))
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    assert np.linalg.eigvalsh(moved.T @ moved / len(moved))[-1] < before[-1]


def test_half_the_strength_leaves_half_an_item_among_its_copies_and_all_of_it_nothing():
    copies = np.repeat(cone(52, 1), 20, axis=0).astype(np.float64)
    np.testing.assert_allclose(local_push(copies, 0.5, 0.5)(copies), 0.5 * copies, atol=1e-7)
    gone = local_push(copies, 1.0, 0.5)
    aside = Push(0.0, np.zeros((D, D)), np.zeros(D))
    np.testing.assert_allclose(inverted(copies, gone, aside), copies, atol=1e-6)
    assert not inverted(copies, gone, gone).any()


def test_a_pool_of_nothing_is_refused_with_the_least_that_works():
    space = paired(53, n=60, bank=40)
    with pytest.raises(
        RetrievalError, match="pool of 0.01 takes no row of a bank of 60: write a pool of at least 0.02"
    ):
        run("invgc-local", space, 0.5, 0.5, 0.01)
    with pytest.raises(RetrievalError, match="bank of 40: write a pool of at least 0.03"):
        run("invgc-local", space, 0.5, 0.5, 0.02)
    assert np.isfinite(run("invgc-local", space, 0.5, 0.5, 0.03).items("visual", cone(54, 5))).all()


def test_without_items_or_reference_queries_it_is_refused():
    visual = cone(55, 30)
    for name, arguments in (("invgc", (1, 1)), ("invgc-local", (0.5, 0.5, 0.1))):
        with pytest.raises(RetrievalError, match="reference queries, and there are none"):
            run(name, reference({"visual": visual}), *arguments)
        with pytest.raises(RetrievalError, match="this space has none yet"):
            run(name, reference({}, {"text": cone(56, 30)}), *arguments)
        with pytest.raises(BadRecipe, match=f"{name} knows no text view"):
            run(name, reference({"visual": visual}, {"text": cone(56, 30)}), *arguments).items("text", visual)


def test_zero_rows_push_nothing():
    space = paired(57)
    nothing = np.zeros((3, D), np.float32)
    beside = reference({"visual": nothing, "text": space.items["text"]}, space.parts)
    for name, arguments in (("invgc", (1, 1)), ("invgc-local", (0.5, 0.5, 0.1))):
        np.testing.assert_array_equal(run(name, beside, *arguments).items("visual", nothing), nothing)
    rows = space.items["visual"].rows
    more = reference({"visual": listed(np.concatenate([rows, np.zeros((6, D), np.float32)]))}, space.parts)
    less = reference({"visual": rows}, space.parts)
    for name, arguments in (("invgc", (1, 1)), ("invgc-local", (0.5, 0.5, 0.1))):
        np.testing.assert_array_equal(
            run(name, more, *arguments).items("visual", rows), run(name, less, *arguments).items("visual", rows)
        )
