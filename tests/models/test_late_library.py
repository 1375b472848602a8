"""Late-interaction checkpoints of sentence-transformers from files to rankings, with pictures and with words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import st_checkpoints
from drawings import drawing
from ingesting import add, numbers

from mmretrieval import catalog
from mmretrieval.embedding import embed_multi
from mmretrieval.engine import Engine
from mmretrieval.late import maxsim
from mmretrieval.library import Library
from mmretrieval.types import Content, Part, Query


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    for seed, said in enumerate(["a red cat", "the blue house", "small dog under a tree", ""]):
        drawing(seed).save(root / f"{seed}.png")
        if said:
            (root / f"{seed}.txt").write_text(said)
    return root


@pytest.mark.parametrize(("kind", "view"), [("colpali", "visual"), ("late_words", "text")])
def test_from_files_to_the_exact_ranking(kind: str, view: str, folder: Path, tmp_path: Path) -> None:
    made = getattr(st_checkpoints, kind)(tmp_path / "checkpoint")
    spec = f"st:tiny;checkpoint={made}"
    card = catalog.card(spec)
    assert card.multi
    with Library.create(tmp_path / "l", [spec]) as library:
        assert numbers(add(library, folder)) == {"stored": 4}
        held = library.bags(spec)[view]  # type: ignore[index]
        assert len(held.ids) == {"visual": 4, "text": 3}[view]
        query = embed_multi(catalog.load(card.spec), [Content(text="red house")], "query")[0]
        exact = maxsim(query, np.full(len(query), 1 / len(query)), held.vectors, range(len(held.ids)))
        library.open_indexes()
        library.sync_indexes()
        for engine in (Engine(library), Engine(library, exact=True)):
            run = engine.rank([Query((Part(Content(text="red house")),))], f"{card.spec}@{view}", 10)
            found = {h.id: h.score for h in run.rankings[0].hits}
            assert found == pytest.approx(dict(zip(held.ids, exact, strict=True)), abs=1e-5)
        library.close_indexes()
