"""The transform `opq`: the nearest centroid by brute force, errors that only fall, and few items kept exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmretrieval.errors import BadRecipe
from mmretrieval.geometry import unit
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix
from mmretrieval.transforms import TRANSFORMS
from mmretrieval.transforms.opq import allocation, quantiser

run = TRANSFORMS["opq"].run
seeds = st.integers(0, 2**32 - 1)
D = 16


def space(**views):
    items = {v: Matrix(tuple(f"{i:05d}" for i in range(len(rows))), rows) for v, rows in views.items()}
    return Reference(items, {}, np.empty((0, 0), dtype=np.float32))


def cone(seed, n, d=D):
    """Unit rows whose directions do not weigh the same, as an encoder's do not."""
    chance = np.random.default_rng(seed)
    return unit(chance.normal(size=(n, d)) @ (chance.normal(size=(d, d)) * 0.7 ** np.arange(d)) + chance.normal(size=d))


def error(rows, back):
    return float(((rows.astype(np.float64) - back) ** 2).sum(axis=1).mean())


@settings(max_examples=15)
@given(seeds, st.sampled_from([1, 3, 4, 7, 16]))
def test_few_items_come_back_as_they_were(seed, m):
    rows = cone(seed, 30)
    fitted = run(space(visual=rows), m)
    np.testing.assert_allclose(fitted.items("visual", rows), rows, atol=1e-5)
    assert fitted.item_bytes == m * 5 / 8  # thirty centroids are five bits


@settings(max_examples=10)
@given(seeds, st.sampled_from([2, 5, 8]))
def test_a_code_is_the_nearest_of_all_that_could_be_said(seed, m):
    rows = cone(seed, 300)
    fitted = run(space(visual=rows), m)
    q = fitted.views["visual"]
    np.testing.assert_allclose(q.rotation @ q.rotation.T, np.eye(D), atol=1e-10)
    codes = fitted.codes("visual", rows)
    assert (codes.shape, codes.dtype) == ((300, m), np.uint8)
    size = q.centroids.shape[2]
    turned = (rows.astype(np.float64) - q.mean) @ q.rotation
    for part in range(m):
        own = turned[:, part * size : (part + 1) * size]
        apart = ((own[:, None] - q.centroids[part][None]) ** 2).sum(axis=2)
        np.testing.assert_allclose(apart[np.arange(300), codes[:, part]], apart.min(axis=1), atol=1e-12)
    said = np.concatenate([q.centroids[part][codes[:, part]] for part in range(m)], axis=1)
    np.testing.assert_allclose(fitted.items("visual", rows), q.mean + said @ q.rotation.T, atol=1e-6)


def test_the_error_never_rises_and_rotating_pays():
    rows = cone(5, 1500)

    def after(turns, last):
        q = quantiser(rows, 4, np.random.default_rng(0), turns, last)
        return error(rows, q.rows(q.codes(rows.astype(np.float64))))

    falling = [after(turns, 0) for turns in range(1, 8)]
    assert all(b <= a * (1 + 1e-12) for a, b in zip(falling, falling[1:], strict=False))
    assert after(10, 5) < after(0, 15)


def test_axes_are_dealt_out_so_that_parts_weigh_the_same():
    variances = np.array([64.0, 32, 16, 8, 4, 2, 1, 0.5])
    rows = np.concatenate([np.diag(np.sqrt(variances)), -np.diag(np.sqrt(variances))])
    rotation = allocation(rows, 4)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(8), atol=1e-12)
    weights = ((rows @ rotation) ** 2).sum(axis=0).reshape(4, 2) / 2
    np.testing.assert_allclose(weights.prod(axis=1), 32)  # 64 * .5, 32 * 1, 16 * 2, 8 * 4


def test_more_bytes_rank_better_and_each_view_has_its_own():
    pictures, words = cone(6, 1200), cone(7, 1200)
    errors = [error(pictures, run(space(visual=pictures), m).items("visual", pictures)) for m in (1, 2, 4, 8)]
    assert errors == sorted(errors, reverse=True)
    both = run(space(visual=pictures, text=words), 4)
    assert both.item_bytes == 4
    assert error(words, both.items("text", words)) < error(words, both.items("visual", words))
    np.testing.assert_array_equal(both.query("text", words), words)
    again = run(space(visual=pictures, text=words), 4)
    np.testing.assert_array_equal(again.codes("text", words), both.codes("text", words))


def test_by_default_eight_dimensions_share_a_byte_and_too_many_parts_are_refused():
    rows = cone(8, 300, 20)
    assert run(space(visual=rows)).item_bytes == 3
    with pytest.raises(BadRecipe, match="opq:20 at most"):
        run(space(visual=rows), 21)
    with pytest.raises(BadRecipe, match="no centroids of the text view"):
        run(space(visual=rows), 2).items("text", rows)


@pytest.mark.parametrize("n", [1, 2])
def test_one_item_and_equal_items_stay_finite(n):
    rows = np.repeat(cone(9, 1), n, axis=0)
    fitted = run(space(visual=rows), 4)
    np.testing.assert_allclose(fitted.items("visual", rows), rows, atol=1e-6)
    assert fitted.item_bytes == 0.5
