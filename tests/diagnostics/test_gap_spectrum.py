"""Moments against the rows that they stand for, and the plane that UMAP draws."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmretrieval import geometry
from mmretrieval.diagnostics import gap_plots
from mmretrieval.diagnostics.spectrum import moments, singular_values, umap_plane, variances

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = ("large_gap", "small_gap", "no_gap", "few_rows")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("side", ["image", "text"])
def test_spectra_agree_with_fahim(case, side):
    arrays = np.load(GOLDEN / "contrastive_gap_metrics.npz")
    of = moments(arrays[f"in_{case}_{side}"])
    spread = variances(of)
    np.testing.assert_allclose(
        spread / spread.sum(), arrays[f"out_{case}_{side}_explained_variance_ratios_f64"], atol=1e-7
    )
    np.testing.assert_allclose(singular_values(of), arrays[f"out_{case}_{side}_S_f64"], atol=1e-6)


# Fewer rows than dimensions, as many, more; and both together on either side of the number of dimensions.
@pytest.mark.parametrize(("n", "m"), [(5, 4), (5, 9), (8, 12), (12, 40), (40, 40)])
def test_moments_stand_for_their_rows_and_add_up(n, m):
    generator = np.random.default_rng(n + m)
    x, y = (generator.normal(size=(count, 12)) + 1.0 for count in (n, m))
    for of, rows in ((moments(x), x), (moments(y), y), (moments(x) + moments(y), np.concatenate([x, y]))):
        unit = geometry.directions(rows)
        np.testing.assert_allclose(of.mean, unit.mean(axis=0), atol=1e-14)
        centred = unit - unit.mean(axis=0)
        expected = np.sort(np.linalg.eigvalsh(centred.T @ centred / len(unit)))[::-1]
        ours = variances(of)
        np.testing.assert_allclose(ours, expected[: len(ours)], atol=1e-14)
        assert expected[len(ours) :] == pytest.approx(0.0, abs=1e-14)
        direct = np.linalg.svd(unit, compute_uv=False)
        np.testing.assert_allclose(singular_values(of)[: len(direct)], direct, atol=1e-7)


def test_blocks_of_rows_add_up(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(50, 6))
    whole = moments(rows)
    few = [slice(0, 20), slice(20, 40), slice(40, 50)]
    monkeypatch.setattr(geometry, "blocks", lambda n, size=0: iter(few))
    np.testing.assert_allclose(variances(moments(rows)), variances(whole), atol=1e-15)


def test_w2_uniformity_agrees_with_modgap():
    outputs = json.loads((GOLDEN / "modgap_metrics.json").read_text())["outputs"]
    arrays = np.load(GOLDEN / "modgap_metrics.npz")
    # They add 1e-8 to each eigenvalue: 4e-7 away, or nearly 3e-4 where 17 eigenvalues of 40 are 0.
    for case, close in (("a", 1e-6), ("few_rows", 3e-4)):
        for precision in ("f32", "f64"):
            both = moments(arrays[f"in_{case}_x"]) + moments(arrays[f"in_{case}_y"])
            ours = geometry.w2_uniformity(both.mean, variances(both))
            theirs = outputs[f"{case}_{precision}"]["w2_uniformity"]
            assert ours == pytest.approx(theirs, abs=close)
            assert ours == pytest.approx(outputs[f"{case}_w2_without_eps_NOT_authors_code"], abs=1e-7)


def test_umap_is_drawn_on_request_and_the_same_each_time():
    generator = np.random.default_rng(8)
    shared = generator.normal(size=(24, 10))
    x, y = shared + 8 * np.eye(10)[0], shared + 8 * np.eye(10)[1]
    ids = [str(i) for i in range(24)]
    plot, again = (gap_plots.plane(x, y, ids, ("pictures", "words"), 5, "umap") for _ in range(2))
    assert plot == again
    assert (plot.name, plot.square) == ("umap", False)
    first, second = (np.column_stack([trace.x, trace.y]) for trace in plot.traces[1:])
    assert np.isfinite(first).all()
    # Two clouds that lie apart stay apart: nearest neighbours are of one's own kind.
    both = np.concatenate([first, second])
    distances = np.linalg.norm(both[:, None] - both[None], axis=2) + 1e9 * np.eye(48)
    own_kind = (distances.argmin(axis=1) < 24) == (np.arange(48) < 24)
    assert own_kind.mean() > 0.9
    assert umap_plane(shared[:4], 0).shape == (4, 2)
    with pytest.raises(ValueError, match="'pca' or 'umap'"):
        gap_plots.plane(x, y, ids, ("pictures", "words"), 5, "tsne")
