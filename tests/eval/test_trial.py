"""Fixes of recipes whose encoder gives several vectors for an item: readers can be tried there, and are costed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import whole_encoders
from token_encoder import DIM, NAME, registered

from eval.fixing import fix
from eval.judging import shelve
from eval.reading import load
from mmretrieval import catalog

THINGS = ("apple", "boat", "cloud", "dog", "engine", "forest", "garden", "harbour", "island", "jacket", "kettle", "fox")


@pytest.fixture
def models(tmp_path: Path) -> Iterator[None]:
    with registered(tmp_path), pytest.MonkeyPatch.context() as patch:
        table = whole_encoders.blocks()
        patch.setattr(catalog, "blocks", lambda: table)
        patch.setattr(catalog, "_loaded", {})
        yield


def test_a_reader_over_bags_of_vectors_is_tried_judged_and_costed(write: Any, tmp_path: Path, models: None) -> None:
    corpus = [{"id": t, "text": f"the {t} {'and more ' * (i % 3)}".strip()} for i, t in enumerate(THINGS)]
    queries = [{"id": f"{t}-{n}", "parts": [{"text": s}]} for t in THINGS for n, s in enumerate((f"a {t}", f"{t} so"))]
    data = load(write(corpus, queries, [(q["id"], q["id"].split("-")[0], 1) for q in queries]))
    shelf, _ = shelve(data, tmp_path / "library", (NAME,), own=True, workers=1)
    with shelf.library:
        stage = f"cross:{whole_encoders.READER}:5"
        found = fix(data, shelf, f"{NAME}@text", tries=(stage, "nnn"), metric="mrr")
    assert [t.stages[0].split(":")[0] for t in found.tried if t.value is not None] == ["cross"]
    (refused,) = [t for t in found.tried if t.value is None]
    assert "needs one vector for each item" in refused.problem
    (row,) = found.rows
    words = sum(len(entry["text"].split()) for entry in corpus) / len(corpus)
    assert row.cost.item_bytes == found.plain_cost.item_bytes == pytest.approx(4 * DIM * words)
    assert row.geometry is None
