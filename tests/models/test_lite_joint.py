"""lite-joint as it is loaded from the catalogue: three kinds of content in one space, instructions, its size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.types import Content, Encoder
from models.lite_joint import INSTRUCTIONS


def disc(colour: str) -> Image.Image:
    image = Image.new("RGB", (96, 96), "white")
    ImageDraw.Draw(image).ellipse((12, 12, 84, 84), colour)
    return image


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return catalog.load("lite-joint")


def test_its_weights_stay_small() -> None:
    assert catalog.data_files("lite-joint")["joint"].stat().st_size <= 10_000_000


def test_text_picture_and_both_land_in_one_space_whatever_their_order(encoder: Encoder) -> None:
    assert encoder.card.joint
    contents = [
        Content(text="a green disc", image=disc("red")),
        Content(text="a green disc"),
        Content(image=disc("red")),
        Content(text="", image=disc("red")),
        Content(text="a blue disc", image=disc("red")),
    ]
    rows = embed(encoder, contents, "query")
    np.testing.assert_allclose(embed(encoder, contents[::-1], "query")[::-1], rows, atol=1e-5)
    alone = np.concatenate([embed(encoder, [c], "query") for c in contents])
    np.testing.assert_allclose(alone, rows, atol=1e-5)
    cosines = rows @ rows.T - 2 * np.eye(len(rows), dtype=np.float32)
    assert cosines.max() < 0.9999


def test_an_instruction_replaces_the_default_and_its_words_count_only_by_attention(encoder: Encoder) -> None:
    default = INSTRUCTIONS["query", ("text", "image")]
    contents = [
        Content(text="with red hair", image=disc("gold"), instruction=said)
        for said in (None, default, "", "say what else it could be")
    ]
    none, same, empty, other = embed(encoder, contents, "query")
    np.testing.assert_allclose(none, same, atol=1e-6)
    assert none @ empty < 0.9999
    assert none @ other < 0.9999


def test_roles_differ_for_pictures_and_not_for_words(encoder: Encoder) -> None:
    words, picture = [Content(text="a gold coin")], [Content(image=disc("gold"))]
    np.testing.assert_allclose(embed(encoder, words, "query"), embed(encoder, words, "item"), atol=1e-6)
    assert float((embed(encoder, picture, "query") @ embed(encoder, picture, "item").T)[0, 0]) < 0.9999


def test_a_long_text_with_a_picture_is_cut_not_refused(encoder: Encoder) -> None:
    long = embed(encoder, [Content(text="a ship on the sea " * 200, image=disc("blue"))], "query")
    longer = embed(encoder, [Content(text="a ship on the sea " * 300, image=disc("blue"))], "query")
    np.testing.assert_allclose(long, longer, atol=1e-6)
