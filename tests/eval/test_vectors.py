"""Vectors from files as a subject: what is taken, what is refused, who asks whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.vectors import of_vectors
from mmretrieval.diagnostics.calibration import calibration
from mmretrieval.errors import DatasetError, MediaError


@pytest.fixture
def save(tmp_path: Path) -> Any:
    """Writes arrays as tmp_path/NAME.npy, and gives their paths."""

    def saved(**arrays: Any) -> list[Path]:
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
        return [tmp_path / f"{name}.npy" for name in arrays]

    return saved


def rows(n: int = 12, d: int = 5, seed: int = 0, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def test_files_become_views_of_numbered_items(save: Any) -> None:
    image, text, sound = rows(), 3 * rows(seed=1), rows(seed=2)
    image[4] = 0
    subject = of_vectors(save(image=image, text=text, sound=sound))
    assert list(subject.views) == ["a", "b", "c"]
    assert subject.labels == {"a": "rows of image", "b": "rows of text", "c": "rows of sound"}
    assert (subject.searched, subject.name) == ("a", "image.npy, text.npy, sound.npy")
    ids = tuple(f"{i:02}" for i in range(12))
    assert all(m.ids == ids for m in subject.views.values())
    lengths = np.linalg.norm(subject.views["a"].rows, axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 1, 1, 0, *[1] * 7], atol=1e-6)
    np.testing.assert_allclose(subject.views["b"].rows, text / np.linalg.norm(text, axis=1, keepdims=True), atol=1e-6)


def test_a_bank_that_asks_for_items_is_not_taken_for_questions_that_mean_nothing(save: Any) -> None:
    hidden = rows(200, 16)
    subject = of_vectors(save(a=hidden, b=hidden + 0.3 * rows(200, 16, seed=1), c=hidden + rows(200, 16, seed=2)))
    assert subject.nulls is None
    found = calibration(subject)
    assert found.numbers["caption_a.auc"] > 0.95
    assert not [name for name in found.numbers if "null" in name]
    assert not [plot.name for plot in found.plots if any("captions, all" in trace.name for trace in plot.traces)]
    (said,) = [said for said in found.absent if "generic captions" in said]
    assert said.endswith("a.npy, b.npy, c.npy: files of vectors bring no encoder that could read them.")


def test_one_half_of_the_second_file_asks_and_the_other_is_the_bank(save: Any) -> None:
    files = save(image=rows(13), text=rows(13, seed=1))
    subject = of_vectors(files, seed=3)
    asked, reference = subject.questions, subject.reference
    assert asked is not None and reference is not None
    assert (len(asked), len(reference.queries)) == (7, 6)
    words = subject.views["b"]
    places = words.places(asked.ids)
    np.testing.assert_array_equal(asked.rows, words.rows[places])
    assert asked.relevant == tuple(frozenset({i}) for i in asked.ids)
    assert set(asked.kinds) == {"caption"}
    others = np.setdiff1d(np.arange(13), places)
    np.testing.assert_array_equal(reference.queries, words.rows[others])
    np.testing.assert_array_equal(reference.parts["text"], words.rows[others])
    again, other = of_vectors(files, seed=3).questions, of_vectors(files, seed=4).questions
    assert again is not None and other is not None
    assert again.ids == asked.ids != other.ids


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_numbers_of_any_width_are_taken(save: Any, dtype: Any) -> None:
    array = (10 * rows()).astype(dtype)
    view = of_vectors(save(a=array, b=array)).views["a"].rows
    assert view.dtype == (np.float64 if dtype is np.float64 else np.float32)
    wide = array.astype(np.float64)
    np.testing.assert_allclose(view, wide / np.linalg.norm(wide, axis=1, keepdims=True), atol=1e-6)


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "rows.npy", rows())
    subject = of_vectors([tmp_path / "x/rows.npy", tmp_path / "y/rows.npy"])
    assert subject.labels == {"a": "rows of rows (a)", "b": "rows of rows (b)"}


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (rows(11), r"second\.npy has shape \(11, 5\) and .*first\.npy \(12, 5\)"),
        (rows(12, 6), r"\(12, 6\)"),
        (np.zeros(12), r"second\.npy has shape \(12,\): \(n, d\)"),
        (np.zeros((12, 5, 2)), r"\(12, 5, 2\)"),
    ],
)
def test_shapes_that_do_not_pair_are_refused(save: Any, second: Any, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        of_vectors(save(first=rows(), second=second))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused_with_their_row(save: Any, bad: float) -> None:
    broken = rows(3000)
    broken[2500, 3] = bad
    with pytest.raises(DatasetError, match=r"row 2500 of .*b\.npy holds NaN or infinity"):
        of_vectors(save(a=rows(3000), b=broken))


@pytest.mark.parametrize("array", [np.array([["x"] * 5] * 12), np.zeros((12, 5), dtype=complex), np.ones((12, 5)) > 0])
def test_what_holds_no_real_numbers_is_refused(save: Any, array: Any) -> None:
    with pytest.raises(MediaError, match="no real numbers"):
        of_vectors(save(a=rows(), b=array))


def test_pickles_archives_and_other_files_are_refused_unread(save: Any, tmp_path: Path) -> None:
    (first,) = save(a=rows())
    np.save(tmp_path / "object.npy", np.array([[{}] * 5] * 12), allow_pickle=True)
    np.savez(tmp_path / "two.npz", rows(), rows())
    (tmp_path / "words.npy").write_text("not an array")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "cut.npy").write_bytes(first.read_bytes()[:-20])
    # Its header claims two terabytes; the file has none of them.
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 512), }"
    (tmp_path / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    for name in ("object.npy", "two.npz", "words.npy", "empty.npy", "cut.npy", "huge.npy"):
        with pytest.raises(MediaError, match=name):
            of_vectors([first, tmp_path / name])


def test_too_few_files_and_too_few_rows_are_refused(save: Any) -> None:
    with pytest.raises(DatasetError, match="1 files"):
        of_vectors(save(a=rows()))
    with pytest.raises(DatasetError, match="at least 4 rows"):
        of_vectors(save(a=rows(3), b=rows(3)))
