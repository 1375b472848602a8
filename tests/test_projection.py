"""Planes of a library's vectors: what turning, copying and constancy do to them, and what is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import bench_map
from mmretrieval import projection
from mmretrieval.errors import BadQuery
from mmretrieval.library import Library
from mmretrieval.projection import Plane


def rows(n: int, d: int, seed: int) -> npt.NDArray[np.float32]:
    chance = np.random.default_rng(seed)
    return (chance.normal(size=(n, d)) * np.linspace(3, 0.1, d) + 0.5).astype(np.float32)


def distances(points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    wide = np.asarray(points, dtype=np.float64)
    return np.linalg.norm(wide[:, None] - wide[None], axis=-1)


@given(st.integers(0, 40), st.integers(4, 60), st.integers(3, 24))
def test_turning_the_space_turns_or_mirrors_the_plane_and_no_more(seed: int, n: int, d: int) -> None:
    given_ = rows(n, d, seed)
    turn, _ = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(d, d)))
    before, after = projection.principal([given_]), projection.principal([given_.astype(np.float64) @ turn])
    assert before.shares == pytest.approx(after.shares, abs=1e-6)
    gap = abs(before.shares[0] - before.shares[1]) if before.shares else 0.0
    if gap > 1e-3:  # where two axes vary alike, which of them comes first is nobody's choice
        first, second = (np.abs(plane.points[:, 0]) for plane in (before, after))
        np.testing.assert_allclose(first, second, atol=1e-4)


@given(st.integers(0, 30))
def test_the_plane_is_that_of_a_singular_value_decomposition(seed: int) -> None:
    given_ = rows(40, 9, seed)
    unit = given_.astype(np.float64) / np.linalg.norm(given_.astype(np.float64), axis=1, keepdims=True)
    left, values, axes = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    plane = projection.principal([given_[:13], given_[13:]])
    np.testing.assert_allclose(np.abs(plane.points), np.abs(left[:, :2] * values[:2]), atol=1e-5)
    assert plane.shares == pytest.approx(tuple((values**2 / (values**2).sum())[:2]))
    largest = np.abs(axes[0]).argmax()
    assert np.sign(left[0, 0] * axes[0, largest]) == np.sign(plane.points[0, 0])


def test_more_rows_than_a_block_and_fewer_than_dimensions() -> None:
    many = rows(5000, 6, 3)
    np.testing.assert_allclose(
        projection.principal([many]).points, projection.principal([many[:2100], many[2100:]]).points, atol=1e-6
    )
    few = rows(7, 300, 4)
    assert distances(projection.principal([few]).points).max() > 0.1


def test_copies_share_their_point() -> None:
    given_ = rows(3000, 16, 5)
    given_[2900] = given_[3]
    given_[17] = given_[2999]
    points = projection.principal([given_]).points
    assert (points[2900] == points[3]).all() and (points[17] == points[2999]).all()
    first, place = projection.distinct([given_[:10], given_[10:]])
    assert len(first) == 2998 and (given_[first][place] == given_).all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_rows(n: int) -> None:
    given_ = rows(n, 8, 6)
    plane = projection.principal([given_])
    assert plane.points.shape == (n, 2) and np.isfinite(plane.points).all() and plane.shares is not None
    if n == 1:
        assert not plane.points.any() and plane.shares == (0.0, 0.0)
    else:  # up to three rows span no more than a plane, which shows their distances as they are
        unit = given_.astype(np.float64) / np.linalg.norm(given_.astype(np.float64), axis=1, keepdims=True)
        np.testing.assert_allclose(distances(plane.points), distances(unit), atol=1e-5)
        assert sum(plane.shares) == pytest.approx(1.0)


@pytest.mark.parametrize("row", [np.zeros(8), np.ones(8), np.full(8, 1e-30), np.random.default_rng(1).normal(size=8)])
def test_constant_rows_share_the_middle(row: npt.NDArray[np.float64]) -> None:
    plane = projection.principal([np.tile(row.astype(np.float32), (500, 1))])
    assert np.abs(plane.points).max() < 1e-6 and plane.shares == (0.0, 0.0)


def test_one_dimension_leaves_the_second_axis_empty() -> None:
    plane = projection.principal([np.array([[1.0], [-1.0], [1.0]], dtype=np.float32)])
    assert plane.shares == (1.0, 0.0) and not plane.points[:, 1].any()


def test_umap_keeps_neighbours_repeats_itself_and_lays_copies_once() -> None:
    chance = np.random.default_rng(0)
    centres = np.eye(12)[:3] * 4
    group = np.repeat(np.arange(3), 30)
    given_ = (centres[group] + 0.3 * chance.normal(size=(90, 12))).astype(np.float32)
    given_[1] = given_[0]
    heard: list[tuple[str, float]] = []
    plane = projection.umap([given_[:40], given_[40:]], 7, lambda *said: heard.append(said))
    assert plane.shares is None and (plane.points[0] == plane.points[1]).all()
    nearest = distances(plane.points) + np.eye(90) * 1e9
    assert (group[nearest.argmin(axis=1)] == group).mean() > 0.95
    assert heard[0] == ("looking for neighbours", 0.0) and heard[-1] == ("laying out", 1.0)
    assert (projection.umap([given_], 7).points == plane.points).all()
    with pytest.raises(BadQuery, match="at least 5 different vectors, here there are 1"):
        projection.umap([np.ones((50, 4), dtype=np.float32)])


# --- of a library ----------------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> Callable[[int], Path]:
    return lambda n: bench_map.library(tmp_path / f"made-{n}", n)


def test_a_plane_is_kept_until_the_vectors_change(made: Callable[[int], Path]) -> None:
    with Library.open(made(30)) as library:
        seen = projection.cloud(library, "hashing", ("visual", "text"))
        assert len(seen) == 60 and seen.ids[:30] == seen.ids[30:]
        plane = Plane(np.arange(120, dtype=np.float32).reshape(60, 2))
        assert projection.kept(library, seen, "umap", 0) is None
        assert projection.keep(library, seen, "umap", 0, plane)
        found = projection.kept(library, seen, "umap", 0)
        assert found is not None and (found.points == plane.points).all()
        assert projection.kept(library, seen, "umap", 1) is None
        (file,) = (library.path / "cache" / projection.FOLDER).iterdir()
        file.write_bytes(file.read_bytes()[:50])
        assert projection.kept(library, seen, "umap", 0) is None
        projection.keep(library, seen, "umap", 0, plane)
        with library.write_lock(), library.ledger.transaction():
            library.ledger.drop_items([seen.ids[0]])
        fresh = projection.cloud(library, "hashing", ("visual", "text"))
        assert len(fresh) == 58 and projection.kept(library, fresh, "umap", 0) is None
        projection.keep(library, fresh, "umap", 0, Plane(plane.points[:58]))
        assert len(list((library.path / "cache" / projection.FOLDER).iterdir())) == 1


def test_views_that_are_not_there_are_named(made: Callable[[int], Path]) -> None:
    with Library.open(made(3)) as library, pytest.raises(BadQuery, match=r"joint vector .*\(.*visual.*\)"):
        projection.cloud(library, "hashing", ("joint",))


def test_shares_in_words() -> None:
    assert [projection.spoken_share(v) for v in (0.0, 0.123, 0.0412, 1.0)] == ["0 %", "12 %", "4.1 %", "100 %"]
