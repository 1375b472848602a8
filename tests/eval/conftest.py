"""Tiny datasets, written where a test wants them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

TOML = 'name = "tiny"\nlicence = "CC0"\nsource = "made by the tests"\ntask = "text to image"\nmain_metric = "hit@10"\n'
COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "white": (250, 250, 250)}

Record = dict[str, Any]
Write = Callable[..., Path]


def jsonl(records: Sequence[Record | str]) -> str:
    return "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records)


def tsv(rows: Sequence[Sequence[object]]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in [("query-id", "corpus-id", "score"), *rows])


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a dataset into tmp_path/tiny: four pictures, a passage, three queries; any part can be replaced."""

    def written(
        corpus: Sequence[Record | str] | None = None,
        queries: Sequence[Record | str] | None = None,
        qrels: Sequence[Sequence[object]] | str | None = None,
        bank: Sequence[Record | str] | None = None,
        toml: str = TOML,
    ) -> Path:
        folder = tmp_path / "tiny"
        (folder / "assets").mkdir(parents=True, exist_ok=True)
        for name, colour in COLOURS.items():
            Image.new("RGB", (32, 24), colour).save(folder / "assets" / f"{name}.png")
        if corpus is None:
            corpus = [{"id": n, "path": f"assets/{n}.png", "text": f"a {n} square"} for n in COLOURS]
            corpus.append({"id": "passage", "text": "The sea was calm that morning.", "kind": "text"})
        if queries is None:
            queries = [
                {"id": "t1", "parts": [{"text": "a red square"}]},
                {"id": "t2", "parts": [{"text": "a blue square"}]},
                {
                    "id": "c1",
                    "parts": [{"image": "assets/red.png"}, {"text": "a green square", "weight": 1.5}],
                    "exclude": ["red"],
                },
            ]
        if qrels is None:
            qrels = [("t1", "red", 2), ("t1", "white", 0), ("t2", "blue", 1), ("c1", "green", 1)]
        (folder / "dataset.toml").write_text(toml, encoding="utf-8")
        (folder / "corpus.jsonl").write_text(jsonl(corpus), encoding="utf-8")
        (folder / "queries.jsonl").write_text(jsonl(queries), encoding="utf-8")
        (folder / "qrels.tsv").write_text(qrels if isinstance(qrels, str) else tsv(qrels), encoding="utf-8")
        if bank is not None:
            (folder / "bank.jsonl").write_text(jsonl(bank), encoding="utf-8")
        return folder

    return written
