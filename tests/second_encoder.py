"""A second space without weights, so that tests can have a library with two encoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mmretrieval import catalog

NAME = "hashing-32"


def blocks() -> Mapping[str, catalog.Block]:
    """The catalogue with one more row: `hashing` with 32 numbers."""
    table = dict(catalog.blocks())
    block = table["hashing"]
    return table | {NAME: replace(block, name=NAME, facts={**block.facts, "dim": 32})}
