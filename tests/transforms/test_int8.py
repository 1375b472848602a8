"""The transform `int8`: how far rounding moves an item, what a store would keep, and which side stays as it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.errors import BadRecipe
from mmretrieval.geometry import unit
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix
from mmretrieval.transforms import TRANSFORMS

run = TRANSFORMS["int8"].run
seeds = st.integers(0, 2**32 - 1)


def space(**views):
    none = np.empty((0, 0), dtype=np.float32)
    items = {v: Matrix(tuple(f"{i:05d}" for i in range(len(rows))), rows) for v, rows in views.items()}
    return Reference(items, {}, none)


def cone(seed, n, d=24, offset=2.0):
    chance = np.random.default_rng(seed)
    return unit(chance.normal(size=(n, d)) + offset * chance.normal(size=d))


@given(seeds, st.integers(2, 60))
def test_an_item_moves_by_half_a_step_at_most_and_its_code_says_where(seed, n):
    rows = cone(seed, n)
    fitted = run(space(visual=rows))
    back = fitted.items("visual", rows).astype(np.float64)
    low, step = fitted.low["visual"], fitted.step["visual"]
    assert (np.abs(back - rows) <= step / 2 + 1e-6).all()
    codes = fitted.codes("visual", rows)
    assert codes.dtype == np.int8
    np.testing.assert_allclose(low + step * (codes.astype(np.float64) + 128), back, atol=1e-6)
    # Slowly: of all 256 levels of each number, none is nearer.
    levels = low[None, :, None] + step[None, :, None] * np.arange(256)
    np.testing.assert_allclose(np.abs(back - rows), np.abs(rows[:, :, None] - levels).min(axis=2), atol=1e-6)


def test_the_ends_of_the_range_are_levels_and_a_constant_keeps_its_value():
    rows = cone(3, 40)
    rows[:, 5] = 0.25
    fitted = run(space(visual=rows))
    back = fitted.items("visual", rows)
    np.testing.assert_allclose(back.min(axis=0), rows.min(axis=0), atol=1e-6)
    np.testing.assert_allclose(back.max(axis=0), rows.max(axis=0), atol=1e-6)
    np.testing.assert_array_equal(back[:, 5], rows[:, 5])


def test_a_smaller_quantile_clips_the_furthest_and_steps_finer():
    rows = cone(4, 2000)
    rows[0, 0] = 30.0
    whole, most = run(space(visual=rows)), run(space(visual=rows), 0.99)
    assert most.step["visual"][0] < whole.step["visual"][0] / 20
    assert most.items("visual", rows)[0, 0] < 1
    inside = rows[1000:1010, :1]
    error = [np.abs(f.items("visual", rows)[1000:1010, :1] - inside).max() for f in (most, whole)]
    assert error[0] < error[1]


def test_views_have_ranges_of_their_own_queries_stay_and_a_byte_is_a_byte():
    pictures, words = cone(5, 50), cone(6, 50)
    fitted = run(space(visual=pictures, text=words))
    assert (fitted.step["visual"] != fitted.step["text"]).any()
    np.testing.assert_array_equal(fitted.query("text", words), words)
    assert fitted.item_bytes == 24
    with pytest.raises(BadRecipe, match="no range of the joint view"):
        fitted.items("joint", words)
    with pytest.raises(BadRecipe, match="ingest first"):
        run(space())


def test_the_ranking_is_nearly_that_of_the_numbers():
    pictures, asked = cone(7, 500, 64), cone(8, 50, 64)
    back = run(space(visual=pictures)).items("visual", pictures)
    plain, coarse = (np.argsort(-(asked @ rows.T), axis=1)[:, :10] for rows in (pictures, back))
    kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(plain, coarse, strict=True)])
    assert kept > 0.97
