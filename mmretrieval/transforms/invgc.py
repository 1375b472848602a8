"""Inverse graph convolution (Jian and Wang, "InvGC", EMNLP Findings 2023): items pushed off what crowds around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmretrieval.errors import BadRecipe, RetrievalError
from mmretrieval.geometry import AnyRows, Numbers, directions
from mmretrieval.reference import Reference
from mmretrieval.transforms.fitting import MOST_ROWS, UNSEEN, spaced
from mmretrieval.transforms.rows import changed, largest, lengths, settled
from mmretrieval.types import Array, Modality, View

# Every item is compared with every row of a local bank: 50,000 items with 2,000 rows in seconds.
LOCAL_BANK = 2000


@dataclass(frozen=True, eq=False)
class Push:
    """What a bank T pushes with: `product` T'T / |T| (d, d), and `offset` (d,), the mean similarity times T's mean."""

    strength: float
    product: Numbers
    offset: Numbers

    def __call__(self, rows: Numbers) -> Numbers:
        """X - r / |T| (X T' - m) T, which is X - r (X product - offset); not normalised."""
        pushed: Numbers = rows - self.strength * (rows @ self.product - self.offset)
        return pushed


@dataclass(frozen=True, eq=False)
class LocalPush:
    """What the `pool` rows of a bank (t, d) that are nearest to a row push it with."""

    strength: float
    bank: Numbers
    pool: int

    def __call__(self, rows: Numbers) -> Numbers:
        """X - r / pool S T, where S keeps each row's `pool` largest of X T' and is 0 elsewhere; not normalised."""
        near = rows @ self.bank.T
        near[~largest(near, self.pool)] = 0.0
        pushed: Numbers = rows - self.strength / self.pool * (near @ self.bank)
        return pushed


@dataclass(frozen=True, eq=False)
class Inverted:
    """A space whose items are pushed off other items (by view) and off queries; queries stay as they are."""

    stage: str
    width: int
    items_push: Mapping[View, Push | LocalPush]
    queries_push: Mapping[View, Push | LocalPush]

    @property
    def item_bytes(self) -> float:
        """Four bytes a coordinate."""
        return 4.0 * self.width

    def items(self, view: View, rows: Array) -> Array:
        """The items' directions (n, d) after both pushes, each normalised, and their mean normalised: unit rows."""
        if view not in self.items_push and not rows.any():
            return np.zeros_like(rows)
        if view not in self.items_push:
            raise BadRecipe(f"{self.stage} knows no {view} view, {UNSEEN}")
        own, asked = self.items_push[view], self.queries_push[view]
        return changed(rows, self.width, lambda block: inverted(directions(block), own, asked))

    def query(self, modality: Modality, rows: Array) -> Array:
        """The queries' rows as they come."""
        return rows


def run(reference: Reference, items_strength: float, queries_strength: float) -> Inverted:
    """InvGC: all of the bank pushes. The items stand for the gallery of training, the bank's queries for its queries.

    The authors tune the strengths and give none. Here both are 1 unless said: the eigenvalues of T'T / |T| lie
    between 0 and 1 for unit rows, so up to 1 no component of an item can change its sign. The part m T puts back
    about as much of the banks' mean as the rest takes, so that a cone of items stays one (`center` opens it); what is
    damped are the axes along which items vary most around it. Items of a view are pushed by
    at most 20,000 of their own, evenly spaced by id. Raises RetrievalError without items or bank queries.
    """
    asked = _asked(reference, "invgc", MOST_ROWS)
    own_push: dict[View, Push | LocalPush] = {}
    asked_push: dict[View, Push | LocalPush] = {}
    for view, bank in _banks(reference, "invgc", MOST_ROWS).items():
        own_push[view] = push(bank, items_strength, bank.mean(axis=0))
        asked_push[view] = push(asked, queries_strength, bank.mean(axis=0))
    return Inverted("invgc", asked.shape[1], own_push, asked_push)


def run_local(reference: Reference, items_strength: float, queries_strength: float, pool: float) -> Inverted:
    """InvGC with LocalAdj: only the nearest share `pool` of each bank pushes an item.

    The authors tune the strengths and give none. Here both are 0.5 unless said: it leaves half of an item that stands
    among copies of itself, where 1 leaves nothing. Each bank holds at most 2,000 rows, evenly spaced by id; an item
    that is in it is its own nearest, which shortens it but does not turn it. Raises RetrievalError where a
    pool, rounded down as the authors do, is empty: they would divide by 0.
    """
    asked = _asked(reference, "invgc-local", LOCAL_BANK)
    own_push: dict[View, Push | LocalPush] = {}
    asked_push: dict[View, Push | LocalPush] = {}
    for view, bank in _banks(reference, "invgc-local", LOCAL_BANK).items():
        own_push[view] = local_push(bank, items_strength, pool)
        asked_push[view] = local_push(asked, queries_strength, pool)
    return Inverted("invgc-local", asked.shape[1], own_push, asked_push)


def push(bank: AnyRows, strength: float, centroid: AnyRows) -> Push:
    """What a bank (t, d) pushes items with whose mean is `centroid` (d,).

    The mean of all similarities between items and bank is the product of their means, so that nothing of the size of
    items times bank is made.
    """
    rows = np.asarray(bank, dtype=np.float64)
    mean = rows.mean(axis=0)
    return Push(float(strength), rows.T @ rows / len(rows), float(centroid @ mean) * mean)


def local_push(bank: AnyRows, strength: float, pool: float) -> LocalPush:
    """What the nearest int(pool * t) rows of a bank (t, d) push with. Raises RetrievalError where that is none."""
    count = int(pool * len(bank))
    if count < 1:
        raise RetrievalError(
            f"invgc-local with a pool of {pool:g} takes no row of a bank of {len(bank)}: write a pool of at least "
            f"{_share(len(bank))}, or add items and reference queries"
        )
    return LocalPush(float(strength), np.asarray(bank, dtype=np.float64), count)


def inverted(rows: Numbers, own: Push | LocalPush, asked: Push | LocalPush) -> Numbers:
    """normalise(0.5 normalise(pushed by items) + 0.5 normalise(pushed by queries)): (n, d).

    A row of which a push leaves nothing but rounding has only the other half; it is zero where both leave that.
    """
    before = lengths(rows)
    halves = [0.5 * settled(each(rows), before) for each in (own, asked)]
    return settled(halves[0] + halves[1], np.ones(len(rows)))


def _banks(reference: Reference, stage: str, most: int) -> dict[View, Numbers]:
    held = {view: _nonzero(spaced(m.rows, most)) for view, m in reference.items.items()}
    held = {view: rows for view, rows in held.items() if len(rows)}
    if not held:
        raise RetrievalError(f"{stage} pushes items off each other, and this space has none yet: add files first")
    return held


def _asked(reference: Reference, stage: str, most: int) -> Numbers:
    rows = _nonzero(spaced(reference.queries, most))
    if not len(rows):
        raise RetrievalError(
            f"{stage} pushes items off reference queries, and there are none: give a bank of queries (bank.jsonl), or "
            f"search with a recipe without {stage}"
        )
    return rows


def _nonzero(rows: Array) -> Numbers:
    wide = directions(rows)
    kept: Numbers = wide[wide.any(axis=1)]
    return kept


def _share(count: int) -> str:
    """The least share, with two digits, of which int(share * count) is 1 or more; 1 for an empty bank."""
    share = int(100 / max(count, 1)) / 100
    while share < 1 and int(share * count) < 1:
        share += 0.01
    return f"{min(share, 1.0):.2f}"
