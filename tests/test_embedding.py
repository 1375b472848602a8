from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmretrieval.embedding import embed, embed_multi
from mmretrieval.errors import BadVectors, CannotRead, OutOfMemory
from mmretrieval.types import MODALITIES, Card, Content, Modality, Role, Vectors

DIM = 4
PICTURE = Image.new("RGB", (2, 2))


class Scripted:
    """An encoder whose rows a test decides, and that remembers what it was given."""

    def __init__(
        self,
        rows: Callable[[Sequence[Content]], Any],
        reads: Sequence[Modality] = ("text", "image"),
        joint: bool = False,
    ) -> None:
        self.card = Card("scripted", "scripted", DIM, frozenset(reads), "", "", "", "", "", joint=joint)
        self.rows = rows
        self.batches: list[Sequence[Content]] = []

    def encode(self, contents: Sequence[Content], role: Role) -> Any:
        self.batches.append(contents)
        return self.rows(contents)


def by_length(contents: Sequence[Content]) -> Any:
    rows = np.ones((len(contents), DIM), dtype=np.float32)
    rows[:, 0] = [len(c.text or "") for c in contents]
    return rows


def test_no_contents_give_no_rows_and_no_call() -> None:
    encoder = Scripted(by_length)
    assert embed(encoder, [], "item").shape == (0, DIM)
    assert encoder.batches == []


def test_batches_are_of_one_kind_and_no_larger_than_asked() -> None:
    encoder = Scripted(by_length)
    contents = [Content(text="x" * i) if i % 3 else Content(image=PICTURE) for i in range(20)]
    rows = embed(encoder, contents, "item", batch_size=4)
    assert max(map(len, encoder.batches)) == 4
    assert all(len({c.modalities for c in batch}) == 1 for batch in encoder.batches)
    lengths = np.array([len(c.text or "") for c in contents])
    np.testing.assert_allclose(rows[:, 0] / rows[:, 1], lengths, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[:, :-1], "shape"),
        (lambda rows: rows[:-1], "shape"),
        (lambda rows: rows.tolist(), "list"),
        (lambda rows: rows.astype(np.int64), "int64"),
        (lambda rows: _with(rows, 1, np.nan), "content 7"),
        (lambda rows: _with(rows, 1, np.inf), "content 7"),
        (lambda rows: _with(rows, 0, 0.0), "content 6"),
    ],
)
def test_broken_rows_are_refused_with_encoder_and_place(change: Callable[[Any], Any], says: str) -> None:
    # Contents 0..5 are pictures and sound; 6 and 7 are the second kind, in a batch of their own.
    def rows(contents: Sequence[Content]) -> Any:
        good = by_length(contents)
        return change(good) if contents[0].text is not None else good

    contents = [Content(image=PICTURE)] * 6 + [Content(text="a"), Content(text="b")]
    with pytest.raises(BadVectors, match=f"scripted.*{says}"):
        embed(Scripted(rows), contents, "item")


def _with(rows: Any, place: int, value: float) -> Any:
    rows[place] = value
    return rows


def test_float16_and_huge_rows_come_back_unit() -> None:
    half = Scripted(lambda contents: by_length(contents).astype(np.float16))
    huge = Scripted(lambda contents: by_length(contents) * np.float32(1e30))
    for encoder in (half, huge):
        rows = embed(encoder, [Content(text="abc")], "query")
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "reads", "joint", "says"),
    [
        (Content(), ("text",), False, "content 2 holds nothing"),
        (Content(image=PICTURE), ("text",), False, r"^scripted reads text; the item has image \(content 2\)"),
        (Content(text="a"), ("image",), False, r"^scripted reads image, video; the item has text \(content 2\)"),
        (Content(frames=(PICTURE,)), ("text",), False, "reads text; the item has video"),
        (Content(text="a", image=PICTURE), ("text", "image"), False, "one at a time of text, image, video; .*at once"),
        (Content(image=PICTURE, frames=(PICTURE,)), ("text", "image"), True, "a picture beside it"),
    ],
)
def test_what_cannot_be_read_is_refused_before_any_work(
    content: Content, reads: Sequence[Modality], joint: bool, says: str
) -> None:
    readable = Content(text="a") if "text" in reads else Content(image=PICTURE)
    encoder = Scripted(by_length, reads, joint)
    with pytest.raises(CannotRead, match=says):
        embed(encoder, [readable, readable, content], "item")
    assert encoder.batches == []


def test_a_joint_encoder_gets_several_modalities_at_once() -> None:
    encoder = Scripted(by_length, MODALITIES, joint=True)
    both = Content(text="ab", image=PICTURE)
    embed(encoder, [both, Content(text="c"), both], "query")
    assert [len(batch) for batch in encoder.batches] == [2, 1]


def test_the_words_of_a_clip_go_with_each_frame_to_a_joint_encoder_of_pictures() -> None:
    encoder = Scripted(by_length, ("text", "image"), joint=True)
    embed(encoder, [Content(text="ab", frames=(PICTURE, PICTURE)), Content(text="c", frames=(PICTURE,))], "item")
    assert [[(c.text, c.image is not None, c.frames) for c in batch] for batch in encoder.batches] == [
        [("ab", True, ()), ("ab", True, ()), ("c", True, ())]
    ]


def test_a_batch_that_does_not_fit_is_halved_and_the_size_remembered() -> None:
    def rows(contents: Sequence[Content]) -> Any:
        if len(contents) > 5:
            raise OutOfMemory("too many")
        return by_length(contents)

    encoder, contents = Scripted(rows), [Content(text="x" * i) for i in range(20)]
    first = embed(encoder, contents, "item", batch_size=16)
    assert [len(b) for b in encoder.batches] == [16, 8, 4, 4, 4, 4, 4]
    np.testing.assert_array_equal(first, embed(Scripted(by_length), contents, "item"))
    encoder.batches.clear()
    embed(encoder, contents, "item", batch_size=16)
    assert {len(b) for b in encoder.batches} == {4}


def test_an_encoder_needs_no_hash() -> None:
    class Unhashable(Scripted):
        __hash__ = None  # type: ignore[assignment]  # as a dataclass has it

    assert embed(Unhashable(by_length), [Content(text="a")], "item").shape == (1, DIM)


def test_one_content_that_does_not_fit_is_an_error() -> None:
    def rows(contents: Sequence[Content]) -> Any:
        raise OutOfMemory("too large")

    with pytest.raises(OutOfMemory, match="too large"):
        embed(Scripted(rows), [Content(text="a")] * 3, "item")


class Bags(Scripted):
    """A late-interaction encoder: a row for each letter."""

    def __init__(self, bags: Callable[[Sequence[Content]], Any], reads: Sequence[Modality] = ("text", "image")) -> None:
        super().__init__(bags, reads)
        self.card = replace(self.card, multi=True)


def letters(contents: Sequence[Content]) -> Vectors:
    bags = [np.full((len(c.text or "xy"), DIM), i + 1.0, dtype=np.float32) for i, c in enumerate(contents)]
    return Vectors.joined(bags, DIM)


def test_bags_keep_their_order_and_their_rows_are_unit() -> None:
    contents = [Content(text="abc"), Content(image=PICTURE), Content(text="d"), Content(frames=(PICTURE, PICTURE))]
    found = embed_multi(Bags(letters), contents, "item", batch_size=1)
    assert np.diff(found.offsets).tolist() == [3, 2, 1, 4]
    assert (found.rows == 0.5).all()
    assert len(embed_multi(Bags(letters), [], "item")) == 0


@pytest.mark.parametrize(
    ("bags", "says"),
    [
        (by_length, "ndarray instead of Vectors"),
        (lambda contents: Vectors(np.ones((2, DIM), np.float32), np.array([0, 2, 2])), "offsets"),
        (lambda contents: Vectors(np.ones((3, DIM), np.float32), np.array([0, 1, 2])), "shape"),
        (lambda contents: Vectors(np.zeros((2, DIM), np.float32), np.array([0, 1, 2])), "zero vector for content 0"),
    ],
)
def test_broken_bags_are_refused(bags: Callable[[Sequence[Content]], Any], says: str) -> None:
    with pytest.raises(BadVectors, match=says):
        embed_multi(Bags(bags), [Content(text="a"), Content(text="b")], "query")


def test_one_vector_and_a_bag_of_them_are_never_confused() -> None:
    with pytest.raises(BadVectors, match="bag"):
        embed(Bags(letters), [Content(text="a")], "query")
    with pytest.raises(BadVectors, match="one vector"):
        embed_multi(Scripted(by_length), [Content(text="a")], "query")


def test_frames_go_whole_to_an_encoder_that_reads_them() -> None:
    encoder = Scripted(by_length, MODALITIES)
    clip = Content(frames=(PICTURE, PICTURE), instruction="find the clip")
    assert embed(encoder, [clip], "item").shape == (1, DIM)
    assert encoder.batches == [[clip]]


def test_frames_that_cancel_are_refused() -> None:
    def opposite(contents: Sequence[Content]) -> Any:
        rows = np.zeros((len(contents), DIM), dtype=np.float32)
        rows[:, 0] = [1 if i % 2 else -1 for i in range(len(contents))]
        return rows

    with pytest.raises(BadVectors, match="zero vector for content 0"):
        embed(Scripted(opposite), [Content(frames=(PICTURE, PICTURE))], "item")


def test_a_batch_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size is 0"):
        embed(Scripted(by_length), [Content(text="a")], "item", batch_size=0)
