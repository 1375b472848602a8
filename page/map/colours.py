"""What the points of a map are coloured by: kind, vector, cluster, metadata, or the score of a query."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.clusters import clustered
from mmretrieval.errors import RetrievalError, pick
from mmretrieval.recipe import Recipe
from mmretrieval.types import Query
from page.query.asking import KIND_NAMES
from page.search.cards import cut

if TYPE_CHECKING:
    from page.map.mapping import Laid, Maps

# So many groups have a colour and a sign of their own; what is rarer is grey.
NAMED = 12
FEWEST_CLUSTERS, MOST_CLUSTERS = 2, 24
NAME_CHARS = 40
KIND, VECTOR, CLUSTER, SCORE, META = "kind", "vector", "cluster", "score", "meta."
OTHER, NONE = "other", "none"
VIEW_NAMES = {"visual": "pictures", "text": "words", "joint": "pictures and words as one"}

Codes = npt.NDArray[np.uint16]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Colouring:
    """A colour for each of n points: a group (`codes` (n,) into `names`, largest first), or a number (`values` (n,)).

    Points that have no number are NaN. `greys` of the names, the last ones, are drawn in grey.
    """

    title: str
    names: tuple[str, ...] = ()
    codes: Codes | None = None
    values: Values | None = None
    greys: int = 0
    note: str = ""

    def of(self, place: int) -> str | float | None:
        """What a point has: its group, its number, or None where it has none."""
        if self.codes is not None:
            return self.names[int(self.codes[place])]
        assert self.values is not None
        value = float(self.values[place])
        return value if math.isfinite(value) else None


def choices(maps: Maps) -> list[tuple[str, str]]:
    """(what a menu says, value): what this library's points can be coloured by."""
    facts = maps.facts()
    keys = Counter(key for meta in facts.metas.values() for key, value in meta.items() if _said(value))
    offered = [("kind of item", KIND), ("what the vector is made of", VECTOR), ("cluster", CLUSTER)]
    offered.append(("score of a query", SCORE))
    return offered + [(f"metadata: {cut(key, NAME_CHARS)}", META + key) for key, _ in sorted(keys.items())]


def coloured(
    maps: Maps, laid: Laid, by: str, clusters: int, asked: Query | None = None, recipe: Recipe | None = None
) -> Colouring:
    """The colours of a map's points. Raises UnknownName for metadata that no item has, RetrievalError without a query.

    `clusters` is into how many groups k-means puts the vectors; `asked` and `recipe` are what scores are of.
    """
    if by == SCORE:
        if asked is None or recipe is None:
            raise RetrievalError(
                "there is no query to score points by: write some words, or ask for something in Search"
            )
        return scores(maps, laid, asked, recipe)
    if by == CLUSTER:
        rows = np.concatenate(laid.cloud.rows)
        labels = clustered(rows, min(clusters, len(rows)), laid.wanted.seed).labels
        names = tuple(f"cluster {i + 1}" for i in range(int(labels.max()) + 1))
        note = "Clusters are of the vectors themselves (k-means of directions), not of where points lie here."
        return replace(_folded("cluster", names, labels), note=note)
    if by == VECTOR:
        views = [VIEW_NAMES[view] for view, m in zip(laid.cloud.views, laid.cloud.matrices, strict=True) for _ in m.ids]
        return grouped("vector made of", views)
    facts = maps.facts()
    if by == KIND:
        return grouped("kind", [KIND_NAMES.get(facts.kinds.get(i, ""), NONE) for i in laid.cloud.ids])
    keys = {META + key: key for meta in facts.metas.values() for key in meta}
    pick({KIND: KIND, VECTOR: VECTOR, CLUSTER: CLUSTER, SCORE: SCORE} | keys, by, "colour")
    return _metadata(keys[by], laid.cloud.ids, facts.metas)


def scores(maps: Maps, laid: Laid, asked: Query, recipe: Recipe) -> Colouring:
    """Every item's score before anything is reranked or cut off: what the recipe's search and fusion give it."""
    plain = replace(recipe, rerankers=(), cutoff=None)
    n = max(len(maps.facts().kinds), 1)
    run = maps.engine.rank([asked], plain, k=n, depth=n)
    held = {hit.id: hit.score for hit in run.rankings[0].hits}
    values = np.array([held.get(ident, np.nan) for ident in laid.cloud.ids], dtype=np.float32)
    left = (
        f" Left out, since they only reorder a list: {', '.join(map(str, recipe.rerankers))}."
        if recipe.rerankers
        else ""
    )
    missing = int(np.isnan(values).sum())
    blank = f" {missing:,} points have no score (grey): they are in the query, or filtered out, or lack the vector." * (
        missing > 0
    )
    return Colouring(f"score ({cut(str(plain), NAME_CHARS)})", values=values, note=f"Scores of {plain}.{left}{blank}")


def _metadata(key: str, ids: Sequence[str], metas: Mapping[str, Mapping[str, Any]]) -> Colouring:
    given = [_said(metas.get(ident, {}).get(key)) for ident in ids]
    numbers = [one[0] for one in given if one]
    if all(isinstance(n, (int, float)) for n in numbers) and len(set(numbers)) > NAMED:
        values = np.array([one[0] if one else np.nan for one in given], dtype=np.float32)
        return Colouring(key, values=values)
    often = Counter(str(value) for one in given for value in one)
    # An item of several tags stands with the most frequent of them.
    names = [max((str(v) for v in one), key=lambda v: (often[v], v)) if one else NONE for one in given]
    note = "An item with several values has the colour of the most frequent of them." * any(len(o) > 1 for o in given)
    return replace(grouped(key, names), note=note)


def _said(value: Any) -> tuple[Any, ...]:
    """The values of a metadatum: of a list each, of anything else itself; nothing where it says nothing."""
    some = value if isinstance(value, (list, tuple)) else (value,)
    kept: list[Any] = []
    for one in some:
        if isinstance(one, bool):
            kept.append("yes" if one else "no")
        elif isinstance(one, (int, float)) and math.isfinite(one):
            kept.append(one)
        elif isinstance(one, str) and one.strip():
            kept.append(" ".join(one.split()))
    return tuple(kept)


def grouped(title: str, names: Sequence[str]) -> Colouring:
    """A group for each name, the largest first; what is rarer than the twelfth is `other`, what has none is `none`."""
    counts = Counter(names)
    order = sorted((name for name in counts if name != NONE), key=lambda name: (-counts[name], name))
    order += [NONE] if NONE in counts else []
    place = {name: i for i, name in enumerate(order)}
    return _folded(title, tuple(order), np.array([place[name] for name in names], dtype=np.int64))


def _folded(title: str, names: tuple[str, ...], labels: npt.NDArray[np.int64]) -> Colouring:
    """Groups by falling size with those from the thirteenth on as one grey group, and `none` grey as well."""
    none = names[-1:] == (NONE,)
    real = names[: len(names) - none]
    shown = real if len(real) <= NAMED else real[: NAMED - 1]
    rest = [f"{OTHER} ({len(real) - len(shown)} more)"] if len(shown) < len(real) else []
    at = np.minimum(labels, len(shown))
    if none:
        at = np.where(labels == len(real), len(shown) + len(rest), at)
    said = tuple(cut(name, NAME_CHARS) for name in shown) + tuple(rest) + ((NONE,) if none else ())
    return Colouring(title, said, at.astype(np.uint16), greys=len(rest) + none)
