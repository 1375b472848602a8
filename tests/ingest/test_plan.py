"""What is decided before any pixel is decoded: whose metadata counts, and which encoders a library may have."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from ingest.pipeline import ingest
from ingest.plan import file_row, items_from
from ingest.walk import Source
from mmretrieval.errors import EncoderUnavailable
from mmretrieval.library import Library
from mmretrieval.types import Cut, Settings


def test_of_copies_the_first_path_gives_metadata_and_language_in_whatever_order_they_are_met() -> None:
    rows = [
        file_row(Source("a.png", "first", "", {"year": 1}), Settings()),
        file_row(Source("b.png", "second", "de", {"year": 2, "place": "b"}), Settings()),
        file_row(Source("c.png", "first", "fr", {"place": "c", "more": 3}), Settings()),
    ]
    for order in permutations(rows):
        ((item, words),) = items_from([Cut(text=" said ")], order, "image", "0" * 64)
        assert item.meta == {"year": 1, "place": "b", "more": 3}
        assert (item.lang, item.text, words) == ("de", "first\nsecond\nsaid", " said ")
        assert item.paths == ("a.png", "b.png", "c.png")


def test_random_weights_are_refused_and_the_library_stays_as_it_is(tmp_path: Path) -> None:
    with Library.create(tmp_path / "library", ["hashing"]) as library:
        with pytest.raises(EncoderUnavailable, match="random weights"):
            ingest(library, [Source("a", data=b"words")], encoders=("clip-b32;weights=random",), workers=1)
        assert library.encoders == Library.open(library.path).encoders == ("hashing",)
        assert list(library.items()) == []
