"""Cross-encoder nearest neighbours with few calls: CUR decomposition of the matrix of scores.

A cross-encoder's scores of queries with items make a matrix of low rank, nearly. The scores R of some anchor queries
with all items are taken once; a new query is scored exactly with a few anchor items only, c, and its scores of all
items are c pinv(R[:, anchors]) R. The best of them are scored exactly. Yadav et al., "Efficient Nearest Neighbor
Search for Cross-Encoder Models using Matrix Factorization", EMNLP 2022 (ANNCUR); with several rounds, in which what
was scored exactly becomes an anchor for the next, Yadav et al., "Efficient k-NN Search with Cross-Encoders using
Adaptive Multi-Round CUR Decomposition", 2023 (ADACUR).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mmretrieval.bank import null_bank
from mmretrieval.errors import BadRecipe
from mmretrieval.geometry import Numbers
from mmretrieval.search.read import question, scored, shown
from mmretrieval.stages import Reordered
from mmretrieval.types import Content, ContentReranker, Part

# Directions in which the anchors' scores vary so much less than in their first are the rounding of float32.
CUTOFF = 1e-5
# Columns kept in this process: of 64 numbers each, some 50 MB.
KEPT = 100_000

Places = npt.NDArray[np.int64]


class Shelf(Protocol):
    """The items of a list by their place in it, to be read."""

    def __call__(self, place: int) -> Content | None:
        """What is in the item, or None where it cannot be had."""
        ...

    def key(self, place: int) -> str:
        """What tells the item's content from every other, without reading it: it changes where the content does."""
        ...


@dataclass(frozen=True, eq=False)
class Approximated(Reordered):
    """A list in a new order, with how many pairs the model read for it.

    `calls` are the pairs of this query. `offline` are the pairs of anchor queries with items that had not been met
    before, which another query does not cost again. `exact` (n,) says which scores are the model's own; the others
    are approximations, and NaN where there is neither.
    """

    calls: int
    offline: int
    exact: npt.NDArray[np.bool_]


# --- the decomposition ---------------------------------------------------------------------------------------------


def interpolation(anchored: Numbers, anchors: npt.ArrayLike) -> Numbers:
    """pinv(R[:, anchors]) R, (a, n): how each item's score follows from those of the `anchors` (a,).

    `anchored` is R, the scores of q anchor queries with n items. Singular values below CUTOFF of the largest count
    as zero. Where R has rank r and its columns at the anchors have it too, scores that follow are exact.
    """
    chosen = np.asarray(anchors, dtype=np.int64)
    weights: Numbers = np.linalg.pinv(anchored[:, chosen], rcond=CUTOFF) @ anchored
    return weights


def approximate(anchored: Numbers, anchors: npt.ArrayLike, known: Numbers) -> Numbers:
    """Scores (n,) of a query with all items from its scores `known` (a,) with the anchor items: CUR, eq. 3."""
    scores: Numbers = known @ interpolation(anchored, anchors)
    return scores


def nearest(
    anchored: Numbers,
    exact: Callable[[Places], Numbers],
    calls: int,
    anchors: int,
    rounds: int = 1,
) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """Scores (n,) of one query with n items, and which of them are exact, from at most `calls` exact ones.

    `anchored` is R (q, n), the items in the order of an earlier search. `exact(places)` is the model's scores there,
    NaN for an item that it cannot read after all: such an item has no score, and a call is not spent on it. First
    come the `anchors` first items, then in each round the best by approximation from all that is exact so far. At
    most q / 2 anchors are fitted to, the first: with as many anchors as anchor queries a fit follows the noise.
    """
    n = anchored.shape[1]
    scores, tried, left = np.full(n, np.nan), np.zeros(n, dtype=np.bool_), min(calls, n)

    def score(order: Places, wanted: int) -> int:
        """Scores the first `wanted` of `order` that can be read and have not been; how many there were."""
        done, waiting = 0, order[~tried[order]]
        while done < wanted and len(waiting):
            batch, waiting = waiting[: wanted - done], waiting[wanted - done :]
            tried[batch] = True
            scores[batch] = exact(batch)
            done += int(np.isfinite(scores[batch]).sum())
        return done

    everything = np.arange(n, dtype=np.int64)
    left -= score(everything, n if calls >= n else min(anchors, left))
    fitted = [int(p) for p in np.flatnonzero(np.isfinite(scores))]
    guess = np.zeros(n)
    for i in range(rounds):
        taken = fitted[: max(1, anchored.shape[0] // 2)]
        guess = approximate(anchored, taken, scores[taken]) if taken else guess
        if left <= 0 or tried.all():
            break
        order = np.argsort(-guess, kind="stable").astype(np.int64)
        before = np.isfinite(scores)
        left -= score(order, -(-left // (rounds - i)))
        fresh = np.isfinite(scores) & ~before
        fitted += [int(p) for p in order if fresh[p]]
    known = np.isfinite(scores)
    scores[~tried] = guess[~tried]
    return scores, known


# --- the stage -----------------------------------------------------------------------------------------------------


def anncur(
    model: ContentReranker,
    parts: Sequence[Part],
    content: Shelf,
    n: int,
    depth: float = 100,
    calls: float = 40,
    anchors: float = 16,
    rounds: float = 4,
    queries: float = 64,
) -> Approximated:
    """Nearly the order that `cross` gives the first `depth` of a list of n items, from `calls` pairs read.

    Of these, the first `anchors` of the list are read in any case; where `calls` reach `depth` everything is read and
    the order is that of `cross`. Items that were read come first, by their scores, then the others by approximation;
    both among the places that readable items hold. The anchor queries are `queries` texts of the null bank, evenly
    spaced, with the query's own instruction; their scores are kept for KEPT items in this process. One round is
    ANNCUR (with the head of an earlier list for anchors, which serves better than random items), more are ADACUR.
    Raises what `cross` raises, and BadRecipe where the model reads no words.
    """
    query = question(parts, model.card)
    if "text" not in model.card.reads:
        raise BadRecipe(f"anncur asks {model.card.name} with words, and it reads none: use cross instead")
    asked = _anchor_queries(int(queries), query.instruction)
    contents: dict[int, Content | None] = {}

    def read(place: int) -> Content | None:
        if place not in contents:
            contents[place] = shown(content(place), model.card)
        return contents[place]

    places, anchored, offline = _anchored(model, asked, content, read, min(n, int(depth)), int(calls))
    spent = 0

    def exact(wanted: Places) -> Numbers:
        nonlocal spent
        there = [p for p in wanted if read(int(places[p])) is not None]
        scores = np.full(len(wanted), np.nan)
        if there:
            spent += len(there)
            found = scored(model, query, [c for p in there if (c := read(int(places[p]))) is not None])
            scores[np.isin(wanted, there)] = found
        return scores

    values, known = nearest(anchored, exact, int(calls), int(anchors), int(rounds))
    order, scores, own = np.arange(n, dtype=np.int64), np.full(n, np.nan), np.zeros(n, dtype=np.bool_)
    held = places[np.isfinite(values)]
    scores[places], own[places] = values, known
    order[held] = held[np.lexsort((-scores[held], ~own[held]))]
    return Approximated(order, scores, spent, offline, own)


def _anchor_queries(count: int, instruction: str | None) -> list[Content]:
    texts = null_bank()
    spaced = np.unique(np.linspace(0, len(texts) - 1, min(count, len(texts))).round().astype(np.int64))
    return [Content(text=texts[i], instruction=instruction) for i in spaced]


_COLUMNS: OrderedDict[tuple[Any, ...], npt.NDArray[np.float32]] = OrderedDict()
_LOCK = threading.Lock()


def _anchored(
    model: ContentReranker,
    asked: Sequence[Content],
    shelf: Shelf,
    read: Callable[[int], Content | None],
    depth: int,
    calls: int,
) -> tuple[Places, Numbers, int]:
    """The places that can be read, the scores R (q, m) of the anchor queries there, and how many were made for it.

    Where all may be read for the query itself, R is not needed and holds no row.
    """
    card = model.card
    if calls >= depth:
        places = [p for p in range(depth) if read(p) is not None]
        return np.array(places, dtype=np.int64), np.zeros((0, len(places))), 0
    told = (card.spec, card.revision, asked[0].instruction, len(asked))
    keys = [(*told, shelf.key(place)) for place in range(depth)]
    with _LOCK:
        columns = {place: _COLUMNS[key] for place, key in enumerate(keys) if key in _COLUMNS}
        for place in columns:
            _COLUMNS.move_to_end(keys[place])
    missing = {p: seen for p in range(depth) if p not in columns and (seen := read(p)) is not None}
    if missing:
        made = np.stack([scored(model, query, list(missing.values())) for query in asked])
        fresh = {place: made[:, i].astype(np.float32) for i, place in enumerate(missing)}
        columns |= fresh
        with _LOCK:
            _COLUMNS.update((keys[place], column) for place, column in fresh.items())
            while len(_COLUMNS) > KEPT:
                _COLUMNS.popitem(last=False)
    places = sorted(columns)
    anchored = np.array([columns[p] for p in places], dtype=np.float64).reshape(len(places), len(asked)).T
    return np.array(places, dtype=np.int64), anchored, len(asked) * len(missing)
