"""Whether a library holds what its ledger says: every part read, every checksum compared, every vector looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmretrieval import catalog
from mmretrieval.errors import CorruptLibrary
from mmretrieval.library import Library
from mmretrieval.library.parts import read_part

# How far the length of a stored unit row may be from 1.
LENGTH_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Verified:
    """How much was read, and what is wrong, in words."""

    parts: int
    vectors: int
    problems: tuple[str, ...]


def verify(library: Library) -> Verified:
    """Reads every part of every encoder; a part that is lost or damaged is a problem, not an error."""
    parts = vectors = 0
    problems: list[str] = []
    known = {item.id for item in library.items()}
    for encoder in library.encoders:
        space = catalog.card(encoder).space
        for name in library.ledger.parts(space):
            parts += 1
            wanted = library.ledger.vectors_in(name)
            try:
                ids, views, rows = read_part(library.parts_folder(space), name)
            except CorruptLibrary as error:
                problems.append(f"{encoder}: {error}")
                continue
            vectors += len(rows)
            lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
            held = set(zip(ids, views, strict=True))
            for (ident, view), length in zip(zip(ids, views, strict=True), lengths, strict=True):
                if not abs(length - 1) <= LENGTH_TOLERANCE:
                    problems.append(f"{encoder}: the {view} vector of {ident} in {name} has length {length:.6g}, not 1")
            problems += [
                f"{encoder}: {name} lacks the {view} vector of {i}" for i, view in wanted if (i, view) not in held
            ]
            problems += [f"{encoder}: {name} holds {i}, which is no item" for i, _ in wanted if i not in known]
    return Verified(parts, vectors, tuple(problems))
