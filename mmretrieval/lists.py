"""Lists of found items on their way through a recipe: several views or sources as one, put in a new order, cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmretrieval.recipe import Stage
from mmretrieval.search import FUSERS
from mmretrieval.stages import Reordered
from mmretrieval.types import Found, Hit, Mark, View


@dataclass(frozen=True, eq=False)
class Listed:
    """One list on its way: what was found, and where each stage so far had put it."""

    found: Found
    stages: tuple[tuple[str, Found], ...] = ()


def best_view(found: Mapping[View, Found], nulls: Mapping[View, tuple[float, float]], depth: int) -> Found:
    """The lists as one: scores standardised by the null bank's, an item's score is that of its best view.

    Where best views tie (the clips of a film share its caption) the other view decides, then the id. Cutting each list
    at `depth` loses nothing of the first `depth` places: whatever was cut has `depth` items of its own view before it.
    """
    scores: dict[str, list[float]] = {}
    for view, listed in found.items():
        mean, deviation = nulls[view]
        for ident, score in zip(listed.ids, (listed.scores - mean) / deviation, strict=True):
            scores.setdefault(ident, []).append(float(score))
    # A shorter list, of an item that lacks a view, comes after a longer one that begins alike.
    falling = {ident: [*sorted(-v for v in values), np.inf] for ident, values in scores.items()}
    order = sorted(falling, key=lambda ident: (falling[ident], ident))[:depth]
    return Found(tuple(order), np.array([-falling[ident][0] for ident in order], dtype=np.float64))


def fused(lists: Sequence[Listed], weights: Sequence[float], fuser: Stage | None) -> Listed:
    """The lists of one query's sources as one list, each counting by its weight."""
    if fuser is None:
        return lists[0]
    found: Found = FUSERS[fuser.name].run([listed.found for listed in lists], weights, *fuser.arguments)
    stages = tuple(stage for listed in lists for stage in listed.stages)
    return Listed(found, (*stages, (str(fuser), found)))


def reordered(listed: Listed, stage: Stage, result: Reordered) -> Listed:
    """The list in a reranker's order, with its scores where it had a say."""
    ids = listed.found.ids
    scores = np.where(np.isnan(result.scores), listed.found.scores, result.scores)[result.order]
    scored = [p for p in result.order if not np.isnan(result.scores[p])]
    opinion = Found(tuple(ids[p] for p in scored), result.scores[scored])
    return Listed(Found(tuple(ids[p] for p in result.order), scores), (*listed.stages, (str(stage), opinion)))


def hits(listed: Listed, k: int) -> tuple[Hit, ...]:
    """The first k of a list, each with its trail."""
    top = listed.found.ids[:k]
    trails: dict[str, list[Mark]] = {ident: [] for ident in top}
    for stage, found in listed.stages:
        for rank, (ident, score) in enumerate(zip(found.ids, found.scores, strict=True), start=1):
            if ident in trails:
                trails[ident].append(Mark(stage, rank, float(score)))
    scores = listed.found.scores
    return tuple(Hit(ident, i + 1, float(scores[i]), tuple(trails[ident])) for i, ident in enumerate(top))
