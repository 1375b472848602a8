"""The transform `center`: which mean each side loses, and what becomes of a row at the mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_references import cone, reference

from mmretrieval.errors import BadQuery, BadRecipe
from mmretrieval.geometry import centroid_gap, unit
from mmretrieval.transforms import TRANSFORMS

fit = TRANSFORMS["center"].run
seeds = st.integers(0, 2**31)


@given(seeds, st.integers(2, 30))
def test_each_side_loses_its_own_mean(seed, n):
    items = {"visual": cone(seed, n), "text": cone(seed + 1, n + 3), "joint": cone(seed + 2, n)}
    bank = {"text": cone(seed + 3, 7), "image": cone(seed + 4, 5)}
    centred = fit(reference(items, bank))
    rows = cone(seed + 5, 4)

    def less(mean_of):
        moved = rows.astype(np.float64) - mean_of.astype(np.float64).sum(axis=0) / len(mean_of)
        return moved / np.linalg.norm(moved, axis=1, keepdims=True)

    for view, values in items.items():
        np.testing.assert_allclose(centred.items(view, rows), less(values), atol=1e-6)
    np.testing.assert_allclose(centred.query("text", rows), less(bank["text"]), atol=1e-6)
    np.testing.assert_allclose(centred.query("image", rows), less(items["visual"]), atol=1e-6)
    np.testing.assert_allclose(centred.query("frames", rows), less(items["visual"]), atol=1e-6)


def test_it_closes_the_gap_and_keeps_unit_rows():
    pictures, words = cone(1, 400), cone(2, 400)
    centred = fit(reference({"visual": pictures, "text": words}))
    moved = centred.items("visual", pictures), centred.items("text", words)
    assert np.linalg.norm(centroid_gap(pictures, words)) > 0.5
    assert np.linalg.norm(centroid_gap(*moved)) < 0.1
    for rows in moved:
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)


@given(seeds, st.integers(1, 5))
def test_a_row_at_the_mean_becomes_zero_and_never_noise(seed, n):
    row = cone(seed, 1)
    centred = fit(reference({"visual": np.repeat(row, n, axis=0)}, {"text": row}))
    assert not centred.items("visual", row).any()
    assert not centred.query("text", row).any()
    assert not centred.query("image", row).any()
    # The same row after another way of rounding: still at the mean.
    assert not centred.items("visual", row * np.float32(1 + 1e-7)).any()


def test_pictures_fall_back_on_the_bank_where_no_item_is_visual():
    bank = {"image": cone(3, 6), "text": cone(4, 6)}
    centred = fit(reference({"text": cone(5, 6)}, bank))
    expected = unit(cone(6, 3).astype(np.float64) - bank["image"].mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(centred.query("image", cone(6, 3)), expected, atol=1e-6)


def test_a_mean_that_is_not_known_is_refused():
    centred = fit(reference({"visual": cone(3, 6), "text": np.zeros((0, 12), dtype=np.float32)}))
    with pytest.raises(BadRecipe, match="no mean of the text view"):
        centred.items("text", cone(4, 1))
    with pytest.raises(BadQuery, match="no mean of text queries.*without center"):
        centred.query("text", cone(4, 1))


def test_many_rows_come_out_as_one_by_one():
    items = cone(7, 5000, d=4)
    centred = fit(reference({"visual": items}))
    one_by_one = np.concatenate([centred.items("visual", items[i : i + 1]) for i in (0, 2047, 2048, 4999)])
    np.testing.assert_array_equal(centred.items("visual", items)[[0, 2047, 2048, 4999]], one_by_one)


def test_it_costs_the_bytes_of_its_rows_and_nothing_in_an_empty_library():
    assert fit(reference({"visual": cone(8, 20)})).item_bytes == 4 * 12
    assert fit(reference({})).item_bytes == 0


@pytest.mark.parametrize("stage", ["center", "whiten", "pca", "binary"])
def test_zero_rows_are_no_part_of_a_mean(stage):
    visual, text = cone(10, 60, 8), cone(11, 60, 8)
    void = np.zeros((60, 8), dtype=np.float32)
    run = TRANSFORMS[stage].run
    arguments = (0,) if stage in ("whiten", "pca", "binary") else ()
    alone = run(reference({"visual": visual, "text": text}, {"text": text}), *arguments)
    among = {"visual": np.concatenate([visual, void]), "text": np.concatenate([void, text])}
    mixed = run(reference(among, {"text": np.concatenate([text, void])}), *arguments)
    np.testing.assert_allclose(mixed.items("visual", visual), alone.items("visual", visual), atol=1e-6)
    np.testing.assert_allclose(mixed.items("text", text), alone.items("text", text), atol=1e-6)
    np.testing.assert_allclose(mixed.query("text", text), alone.query("text", text), atol=1e-6)
    assert not mixed.items("visual", void).any()


def test_a_view_of_zero_rows_alone_has_nothing_to_lose():
    void = np.zeros((5, 8), dtype=np.float32)
    centred = fit(reference({"visual": void, "text": cone(12, 9, 8)}))
    assert not centred.items("visual", void).any()
    assert np.isfinite(centred.items("visual", cone(13, 3, 8))).all()
