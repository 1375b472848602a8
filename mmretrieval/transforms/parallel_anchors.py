"""Anchors grown from a few known pairs: which picture goes with which text, found without comparing the two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.geometry import Numbers, directions
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix
from mmretrieval.transforms.anchors import LEAST, Anchors, cosines, paired
from mmretrieval.transforms.relative import Relative
from mmretrieval.transforms.rows import spread
from mmretrieval.types import Array, Modality, View

Pairs = npt.NDArray[np.int64]

# Items among which partners are looked for, evenly spaced by id: a round compares all pixels with all words.
POOL = 2000
# Of how many neighbours a similarity is taken relative to (CSLS; Conneau et al., "Word Translation", 2018).
NEIGHBOURS = 10
# Rounds after which growing ends even where the pairs still change.
ROUNDS = 20


@dataclass(frozen=True, eq=False)
class Grown:
    """Relative representations by anchors of which only the first `known` are pairs for certain.

    Anchor i is the pixels of item `pictures[i]` and the words of item `texts[i]`.
    """

    relative: Relative
    known: int
    pictures: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def item_bytes(self) -> float:
        """Four bytes an anchor."""
        return self.relative.item_bytes

    def items(self, view: View, rows: Array) -> Array:
        """The items' cosines to that side of the anchors, (n, d) to unit rows (n, k); of joint rows, to the pixels."""
        return self.relative.items(view, rows)

    def query(self, modality: Modality, rows: Array) -> Array:
        """The queries' cosines to the anchors' words, or pixels for pictures and frames: unit rows (n, k)."""
        return self.relative.query(modality, rows)


def run(reference: Reference, seeds: float, k: float) -> Grown:
    """Relative representations by `k` anchors at most, of which `seeds` are known to be pairs and the rest are found.

    The question is that of Cannistraci et al., "Bootstrapping Parallel Anchors for Relative Representations", 2023;
    the method is another, see `grow`. The seeds are items with pixels and words, evenly spaced by id; of all others it
    is not used which words belong to which pixels. At most 2,000 items beside the seeds are looked at; seeds stay even
    where they are more than `k`. How many of the pairs found are true depends on how alike the two sides are: nearly
    all where one is the other turned round, few where an encoder matches pictures and texts poorly. Raises
    RetrievalError where fewer than 2 items have both.
    """
    *_, whole = paired(reference, "parallel-anchors")
    known = [whole[i] for i in spread(len(whole), max(int(seeds), LEAST))]
    held = [reference.items["visual"], reference.items["text"]]
    every = sorted({ident for matrix in held for ident in matrix.ids})
    wanted = sorted({*(every[i] for i in spread(len(every), POOL)), *known})
    sides = [_pool(matrix, wanted) for matrix in held]
    places = np.stack([listed.places(known) for listed in sides], axis=1)
    pairs = grow(sides[0].rows, sides[1].rows, places, int(k))
    found: dict[View, Numbers] = {
        "visual": directions(sides[0].rows[pairs[:, 0]]),
        "text": directions(sides[1].rows[pairs[:, 1]]),
    }
    pictures, texts = (tuple(side.ids[i] for i in pairs[:, column]) for column, side in enumerate(sides))
    return Grown(Relative(Anchors(found)), len(known), pictures, texts)


def grow(a: Array, b: Array, known: Pairs, most: int) -> Pairs:
    """Pairs (p, 2) of rows of `a` (n, d) and `b` (m, e): the `known` ones (s, 2) first, then those found, as long as
    there are no more than `most`.

    A round describes every row by its cosines to its own side's anchors, each anchor's column brought to mean 0 and
    deviation 1 over the side (which takes the gap between the sides away), and compares the descriptions. Rows without
    a known partner that are each other's nearest, by CSLS, are pairs; the best of them become anchors beside the known
    ones, at most twice as many as in the round before. All but the known pairs are chosen anew in each round, until
    they stay the same, or for 20 rounds. The two sides may have different widths: rows of one are never compared
    with rows of the other.

    Cannistraci et al. instead optimise the missing anchors as free vectors by gradient steps, with a Sinkhorn matching
    between the sides; here they are rows of the data, chosen by mutual nearest neighbours as in the self-learning of
    word translation (Artetxe et al. 2018).
    """
    pairs = known
    free_a, free_b = (np.setdiff1d(np.arange(len(rows)), known[:, i]) for i, rows in enumerate((a, b)))
    if not len(free_a) or not len(free_b):
        return pairs
    for _ in range(ROUNDS):
        told_a, told_b = _told(a, pairs[:, 0])[free_a], _told(b, pairs[:, 1])[free_b]
        partners, scores = _mutual(told_a @ told_b.T)
        room = max(min(2 * len(pairs), most) - len(known), 0)
        best = np.argsort(-scores, kind="stable")[:room]
        chosen = np.stack([free_a[partners[best, 0]], free_b[partners[best, 1]]], axis=1)
        grown = np.concatenate([known, chosen[np.argsort(chosen[:, 0])]])
        if np.array_equal(grown, pairs):
            break
        pairs = grown
    return pairs


def _told(rows: Array, chosen: npt.NDArray[np.int64]) -> Numbers:
    """Unit rows (n, k): cosines to the chosen rows, each column standardised; a column that does not vary is 0."""
    told = cosines(rows, directions(rows[chosen]))
    told = told - told.mean(axis=0)
    deviation = told.std(axis=0)
    return directions(np.divide(told, deviation, out=np.zeros_like(told), where=deviation > 1e-9))


def _mutual(similar: Numbers) -> tuple[Pairs, Numbers]:
    """The places (p, 2) that are each other's best by CSLS in a matrix (n, m), and how good they are (p,)."""
    n, m = similar.shape
    rows = np.partition(similar, m - min(NEIGHBOURS, m), axis=1)[:, -min(NEIGHBOURS, m) :].mean(axis=1)
    columns = np.partition(similar, n - min(NEIGHBOURS, n), axis=0)[-min(NEIGHBOURS, n) :].mean(axis=0)
    scaled = 2.0 * similar - rows[:, None] - columns[None]
    best, back = scaled.argmax(axis=1), scaled.argmax(axis=0)
    places = np.flatnonzero(back[best] == np.arange(n))
    return np.stack([places, best[places]], axis=1), scaled[places, best[places]]


def _pool(matrix: Matrix, wanted: list[str]) -> Matrix:
    """The wanted items (ids that rise) that a side has, less those with a zero row."""
    places = matrix.places(wanted)
    places = places[places >= 0]
    rows = np.asarray(matrix.rows[places])
    kept = np.flatnonzero(rows.any(axis=1))
    return Matrix(tuple(matrix.ids[i] for i in places[kept]), rows[kept])
