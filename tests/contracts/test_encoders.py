"""What every offline encoder of the catalogue must keep, whatever it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.types import Array, Content, Encoder
from models.check import SENTENCES, drawn

OFFLINE = [name for name, card in catalog.cards().items() if card.offline]
GOLDEN = Path(__file__).parent.parent / "golden" / "encoders.json"
# What each encoder puts elsewhere as a query than as an item: lite-joint's instructions for pictures differ by role.
DIFFER_BY_ROLE: dict[str, set[str]] = {
    "lite": set(),
    "lite-conse": set(),
    "lite-0": set(),
    "hashing": set(),
    "lite-joint": {"picture", "both"},
}


def pictures() -> list[Content]:
    sizes = [(320, 240), (1, 1), (400, 20), (20, 400), (64, 64)]
    return [Content(image=drawn(w, h, seed)) for seed, (w, h) in enumerate(sizes)]


@pytest.fixture(params=OFFLINE)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return catalog.load(request.param)


def assert_guaranteed(rows: Array, count: int, encoder: Encoder) -> None:
    assert rows.shape == (count, encoder.card.dim)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(np.linalg.norm(rows.astype(np.float64), axis=1), 1, atol=1e-6)


def test_there_are_offline_encoders() -> None:
    assert {"lite", "lite-0", "hashing"} <= set(OFFLINE)
    assert set(OFFLINE) == set(DIFFER_BY_ROLE), "a new encoder says here what its roles do"


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_batch_says_what_each_alone_says(encoder: Encoder, kind: str) -> None:
    contents = [Content(text=s) for s in SENTENCES] if kind == "text" else pictures()
    together = embed(encoder, contents, "item")
    assert_guaranteed(together, len(contents), encoder)
    alone = np.concatenate([embed(encoder, [c], "item") for c in contents])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(embed(encoder, contents, "item", batch_size=2), together, atol=1e-5)


def test_order_is_kept_in_a_mixed_list(encoder: Encoder) -> None:
    mixed = [c for pair in zip(pictures(), [Content(text=s) for s in SENTENCES], strict=True) for c in pair]
    rows = embed(encoder, mixed, "query")
    assert_guaranteed(rows, len(mixed), encoder)
    np.testing.assert_allclose(embed(encoder, mixed[::-1], "query")[::-1], rows, atol=1e-5)
    np.testing.assert_allclose(rows[::2], embed(encoder, mixed[::2], "query"), atol=1e-5)


def test_different_contents_get_different_vectors(encoder: Encoder) -> None:
    rows = embed(encoder, [*pictures(), *(Content(text=s) for s in SENTENCES)], "item")
    cosines = rows @ rows.T - 2 * np.eye(len(rows), dtype=np.float32)
    assert cosines.max() < 0.9999


def test_a_clip_is_the_unit_mean_of_its_frames(encoder: Encoder) -> None:
    clips = [tuple(drawn(160, 120, seed) for seed in range(8)), (drawn(90, 90, 9),)]
    rows = embed(encoder, [Content(frames=frames) for frames in clips], "item", batch_size=3)
    assert_guaranteed(rows, len(clips), encoder)
    for row, frames in zip(rows, clips, strict=True):
        mean = embed(encoder, [Content(image=f) for f in frames], "item").astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)


def test_roles_give_rows_alike_and_equal_but_where_the_table_says_otherwise(encoder: Encoder) -> None:
    kinds = {"text": [Content(text=s) for s in SENTENCES], "picture": pictures()}
    if encoder.card.joint:
        kinds["both"] = [Content(text=s, image=p.image) for s, p in zip(SENTENCES, pictures(), strict=True)]
    differ = set()
    for kind, contents in kinds.items():
        query, item = embed(encoder, contents, "query"), embed(encoder, contents, "item")
        assert_guaranteed(query, len(contents), encoder)
        assert_guaranteed(item, len(contents), encoder)
        cosines = (query * item).sum(axis=1)
        if np.abs(query - item).max() > 1e-5:
            differ.add(kind)
            assert cosines.max() < 0.9999, f"{kind}: the role moves some contents and leaves others where they are"
    assert differ == DIFFER_BY_ROLE[encoder.card.name]


def test_pictures_that_are_not_rgb_are_read_as_their_rgb(encoder: Encoder) -> None:
    grey = drawn(100, 80).convert("L")
    rows = embed(encoder, [Content(image=grey), Content(image=grey.convert("RGB"))], "item")
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)


def test_numbers_stay_what_they_were(encoder: Encoder) -> None:
    golden = json.loads(GOLDEN.read_text("utf-8"))[encoder.card.name]
    contents = [Content(text=SENTENCES[0]), Content(image=drawn(320, 240))]
    text, picture = embed(encoder, contents, "item")
    assert encoder.card.revision == golden["revision"], "a changed revision needs new golden numbers, and says why"
    np.testing.assert_allclose(text[:8], golden["text"], atol=1e-3)
    np.testing.assert_allclose(picture[:8], golden["image"], atol=1e-3)
