"""The transform `binary`: which signs are kept, what their products are, and what queries keep."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.errors import BadRecipe
from mmretrieval.geometry import unit
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix
from mmretrieval.transforms import TRANSFORMS
from mmretrieval.transforms.binary import directions

run = TRANSFORMS["binary"].run
seeds = st.integers(0, 2**32 - 1)
D = 24


def space(**views):
    items = {v: Matrix(tuple(f"{i:05d}" for i in range(len(rows))), rows) for v, rows in views.items()}
    return Reference(items, {}, np.empty((0, 0), dtype=np.float32))


def cone(seed, n, d=D, offset=2.0):
    chance = np.random.default_rng(seed)
    return unit(chance.normal(size=(n, d)) + offset * chance.normal(size=d))


@given(seeds, st.sampled_from([0, 5, 16, 24, 40, 100]))
def test_products_of_codes_count_the_bits_in_which_they_differ(seed, bits):
    rows = cone(seed, 12)
    fitted = run(space(visual=rows), bits)
    codes, back = fitted.codes("visual", rows), fitted.items("visual", rows)
    assert fitted.bits == (bits or D)
    assert fitted.item_bytes == fitted.bits / 8
    assert (codes.shape, back.shape) == ((12, -(-fitted.bits // 8)), (12, fitted.bits))
    differing = np.bitwise_count(codes[:, None] ^ codes[None]).sum(axis=2)
    np.testing.assert_allclose(back @ back.T, 1 - 2 * differing / fitted.bits, atol=1e-6)


@given(seeds)
def test_one_bit_a_dimension_is_the_sign_of_what_is_left_of_the_mean(seed):
    pictures, words = cone(seed, 30), cone(seed + 1, 20)
    fitted = run(space(visual=pictures, text=words))
    for view, rows in {"visual": pictures, "text": words}.items():
        wide = rows.astype(np.float64)
        expected = np.where(wide - wide.mean(axis=0) >= 0, 1, -1) / np.sqrt(D)
        np.testing.assert_allclose(fitted.items(view, rows), expected, atol=1e-6)
    np.testing.assert_array_equal(fitted.query("text", words), words)


def test_queries_are_projected_as_items_are_and_keep_their_length_on_average():
    rows, asked = cone(1, 30), cone(2, 2000, offset=0.0)
    for bits in (16, 24, 96):
        fitted = run(space(visual=rows), bits)
        turned = fitted.query("image", asked)
        expected = asked.astype(np.float64) @ fitted.projection * np.sqrt(D / bits)
        np.testing.assert_allclose(turned, expected, atol=1e-6)
        assert np.mean(turned.astype(np.float64) ** 2) * bits == pytest.approx(1, abs=0.1)


def test_directions_are_orthogonal_in_groups_and_even_over_the_sphere():
    drawn = directions(D, 60, np.random.default_rng(3))
    for start in (0, D, 2 * D):
        group = drawn[:, start : start + D]
        np.testing.assert_allclose(group.T @ group, np.eye(group.shape[1]), atol=1e-12)
    # The share of bits that differ is the angle over pi (Goemans and Williamson): here 60 degrees.
    many = directions(6, 60_000, np.random.default_rng(4))
    a, b = np.eye(6)[0], np.array([0.5, np.sqrt(0.75), 0, 0, 0, 0])
    assert np.mean((a @ many >= 0) != (b @ many >= 0)) == pytest.approx(1 / 3, abs=0.01)


def test_more_bits_rank_better_and_the_draw_is_always_the_same():
    pictures, asked = cone(7, 400, 64), cone(8, 60, 64)
    best = np.argsort(-(asked @ pictures.T), axis=1)[:, :10]

    def kept(bits):
        fitted = run(space(visual=pictures), bits)
        scores = fitted.query("text", asked) @ fitted.items("visual", pictures).T
        found = np.argsort(-scores, axis=1)[:, :10]
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(best, found, strict=True)])

    few, some, many = kept(32), kept(256), kept(4096)
    assert few < some < many
    assert many > 0.7
    drawn, again = (run(space(visual=pictures), 100).projection for _ in range(2))
    np.testing.assert_array_equal(drawn, again)


def test_what_it_was_not_fitted_on_is_refused():
    fitted = run(space(visual=cone(1, 5)))
    with pytest.raises(BadRecipe, match="no mean of the text view"):
        fitted.items("text", cone(1, 5))
    with pytest.raises(BadRecipe, match="ingest first"):
        run(space())
