"""A joint encoder and a reranker without weights, and a catalogue that has them, for tests of what surrounds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmretrieval import catalog
from mmretrieval.types import Array, Card, Content, Role
from models.hashing import Hashing, grid_means

JOINT, READER = "hashing-joint", "overlap"


class Both(Hashing):
    """Words and a picture at once: the sum of both, and something that neither alone has."""

    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        rows = []
        for content in contents:
            row = np.zeros(self.card.dim, dtype=np.int64)
            if content.text is not None:
                row += self._text(content.text)
            if content.image is not None:
                row += self._picture(content.image)
            if content.text is not None and content.image is not None:
                row += self._text(f"both {content.text}")
            rows.append(row if row.any() else self._nothing())
        return np.asarray(rows, dtype=np.float32)


class Overlap:
    """Scores words by how many they share with the query, pictures by how red they are."""

    def __init__(self, card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> None:
        self.card = card
        self.seen: list[list[Content]] = []

    def score(self, query: Content, items: Sequence[Content]) -> Any:
        self.seen.append(list(items))
        asked = set((query.text or "").lower().split())
        return np.array([self._one(asked, item) for item in items])

    def _one(self, asked: set[str], item: Content) -> float:
        if item.text is not None:
            return float(len(asked & set(item.text.lower().split())))
        assert item.image is not None
        return float(grid_means(item.image)[..., 0].mean()) / 255


def blocks() -> Mapping[str, catalog.Block]:
    """The catalogue with a joint encoder and two rerankers: one of words, and one that sees pictures too."""
    table = dict(catalog.blocks())
    block = table["hashing"]
    joint = replace(block, name=JOINT, factory="whole_encoders:Both", facts={**block.facts, "joint": True})
    facts = {**block.facts, "dim": 0, "role": "reranker"}
    words = replace(block, name=READER, factory="whole_encoders:Overlap", facts={**facts, "reads": ["text"]})
    sees = replace(words, name=f"{READER}-sees", facts=facts)
    return table | {JOINT: joint, READER: words, sees.name: sees}
