"""Encoders that read one thing only: pictures without words, or clips without pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from drawings import drawing
from ingesting import add, numbers

from ingest.plan import wanted_keys
from mmretrieval import catalog
from mmretrieval.engine import Engine
from mmretrieval.errors import CannotRead
from mmretrieval.library import Library
from mmretrieval.types import Content, Item, Part, Query, Settings

SEES = "sees-only"


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    table: Mapping[str, catalog.Block] = catalog.blocks()
    block = replace(table["hashing"], name=SEES, facts={**table["hashing"].facts, "reads": ["image"]})
    monkeypatch.setattr(catalog, "blocks", lambda: {**table, SEES: block})
    monkeypatch.setattr(catalog, "_loaded", {})


@pytest.mark.parametrize("exact", [True, False])
def test_an_encoder_without_words_is_searched_by_its_default_recipe(tmp_path: Path, exact: bool) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for seed in range(5):
        drawing(seed).save(files / f"{seed}.png")
    library = Library.create(tmp_path / "l", [SEES])
    assert numbers(add(library, files)) == {"stored": 5}
    assert library.default_recipe == f"{SEES}@all"
    engine = Engine(library, exact=exact)
    query = [Query((Part(Content(image=drawing(7))),))]
    every, pixels = (engine.rank(query, f"{SEES}@{view}", 5).rankings[0].hits for view in ("all", "visual"))
    assert [(h.id, h.score) for h in every] == [(h.id, h.score) for h in pixels]
    assert len(every) == 5
    with pytest.raises(CannotRead, match=f"{SEES} reads image, video; the query has text"):
        engine.rank([Query((Part(Content(text="a fox")),))], SEES, 5)


def test_an_encoder_of_clips_alone_is_given_no_pictures() -> None:
    card = replace(catalog.card("hashing"), reads=frozenset({"text", "frames"}))
    for kind, views in [("image", {"text"}), ("document", {"text"}), ("video", {"text", "visual"})]:
        item = Item("i", kind, "sha", "", None, None, None, ("p",), "said", "", {}, True)
        assert set(wanted_keys(item, card, Settings())) == views
