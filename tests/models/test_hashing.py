from __future__ import annotations

import numpy as np
from PIL import Image

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.types import Content
from models.hashing import GRID, bucket, edges, grid_means, text_features


def test_shared_words_bring_texts_together() -> None:
    encoder = catalog.load("hashing")
    texts = ["a red car", "the red car drives", "quantum chromodynamics lecture"]
    rows = embed(encoder, [Content(text=t) for t in texts], "item")
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2


def test_case_and_punctuation_do_not_matter() -> None:
    assert list(text_features("Red, CAR!")) == list(text_features("red car"))
    assert ("letters <re", 1) in list(text_features("red"))


def test_a_feature_keeps_its_bucket() -> None:
    assert [bucket(f, 64) for f in ("word red", "word car", "nothing")] == [(22, 1), (26, 1), (43, -1)]


def test_grid_means_are_exact() -> None:
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    expected = pixels.astype(np.int64).reshape(GRID, 2, GRID, 2, 3).sum(axis=(1, 3)) // 4
    np.testing.assert_array_equal(grid_means(Image.fromarray(pixels)), expected)


def test_no_part_of_a_side_is_empty() -> None:
    for size in (1, 2, 7, 8, 9, 1000):
        parts = edges(size)
        assert parts[0][0] == 0
        assert parts[-1][1] == size
        assert all(0 <= low < high <= size for low, high in parts)


def test_what_has_no_feature_still_has_a_direction() -> None:
    encoder = catalog.load("hashing")
    rows = embed(
        encoder, [Content(text=""), Content(text="?!"), Content(image=Image.new("RGB", (9, 9), (128,) * 3))], "item"
    )
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1)
    np.testing.assert_array_equal(rows[0], rows[1])
