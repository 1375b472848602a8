"""The reranker `maxsim`: a late-interaction encoder puts what any encoder found into its own order, row by row."""

from __future__ import annotations

import numpy as np

from mmretrieval import late
from mmretrieval.stages import Reordered
from mmretrieval.types import Array, Vectors


def maxsim(query: tuple[Array, Array], bags: Vectors, n: int, depth: float = 100) -> Reordered:
    """A list of n items, the first `depth` by weighted MaxSim with the query among the places that they hold.

    `query` is one query's rows (t, d) and row weights (t,), as `Tokens` gives them; `bags` are the rows of the first
    items of the list, in its order: of the first `depth` at least, or of all where there are fewer. An item with an
    empty bag (it lacks the view) keeps its place and has no score (NaN), as does all that follows. Equal scores keep
    their earlier order. Scores are those that a search in the encoder's own space gives (`late.maxsim`): Khattab and
    Zaharia, "ColBERT" (SIGIR 2020), whose first use it is to reorder what something cheaper found.
    """
    rows, weights = query
    order, scores = np.arange(n, dtype=np.int64), np.full(n, np.nan)
    first = min(n, int(depth))
    if len(bags) < first:
        raise ValueError(f"there are {len(bags)} bags for the first {first} of {n} items: hand in one for each")
    places = np.flatnonzero(np.diff(bags.offsets[: first + 1])).astype(np.int64)
    if len(rows):
        scores[places] = late.maxsim(rows, weights, bags, places)
        order[places] = places[np.argsort(-scores[places], kind="stable")]
    return Reordered(order, scores)
