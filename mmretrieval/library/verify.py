"""Whether a library holds what its ledger says: every part read, every checksum compared, every vector looked at."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from mmretrieval.errors import CorruptLibrary
from mmretrieval.library import Library
from mmretrieval.library.parts import read_part
from mmretrieval.types import Array, Vectors

# How far the length of a stored unit row may be from 1.
LENGTH_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Verified:
    """How much was read, and what is wrong, in words."""

    parts: int
    vectors: int
    problems: tuple[str, ...]


def verify(library: Library) -> Verified:
    """Reads every part of every encoder; a part that is lost or damaged is a problem, not an error.

    So is an encoder that is not to be had, since what it made cannot be told from what another checkpoint made.
    """
    parts = vectors = 0
    cards, absent = library.cards()
    problems = [f"{encoder} is not to be had: {reason}" for encoder, reason in absent.items()]
    known = {item.id for item in library.items()}
    for encoder, card in cards.items():
        space = card.space
        for name in library.ledger.parts(space):
            parts += 1
            wanted = library.ledger.vectors_in(name)
            try:
                ids, views, rows = read_part(library.parts_folder(space), name)
            except CorruptLibrary as error:
                problems.append(f"{encoder}: {error}")
                continue
            vectors += len(rows)
            held = set(zip(ids, views, strict=True))
            for ident, view, length in zip(ids, views, _lengths(rows), strict=True):
                if not abs(length - 1) <= LENGTH_TOLERANCE:
                    problems.append(f"{encoder}: the {view} vector of {ident} in {name} has length {length:.6g}, not 1")
            problems += [
                f"{encoder}: {name} lacks the {view} vector of {i}" for i, view in wanted if (i, view) not in held
            ]
            problems += [f"{encoder}: {name} holds {i}, which is no item" for i, _ in wanted if i not in known]
    return Verified(parts, vectors, tuple(problems))


def _lengths(rows: Array | Vectors) -> list[float]:
    """The length of each row; of a bag that of the row that is farthest from length 1, and 0 for an empty bag."""
    flat = rows.rows if isinstance(rows, Vectors) else rows
    lengths = np.linalg.norm(flat.astype(np.float64), axis=1)
    if not isinstance(rows, Vectors):
        return [float(length) for length in lengths]
    bags = [lengths[start:stop] for start, stop in itertools.pairwise(rows.offsets)]
    # argmax takes NaN for the largest.
    return [float(bag[np.abs(bag - 1).argmax()]) if len(bag) else 0.0 for bag in bags]
