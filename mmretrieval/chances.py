"""How likely a random query would score as high: what a cut-off is drawn by.

A score by itself says little: encoders, views and kinds of query each have their own range, and some queries score
high with everything. So a hit is judged by its *excess*, its score less the mean score of the same query over the
library's items, in units of the deviation of such excesses among null queries. Null queries are made as the query is,
of as many parts with the same weights; each part is drawn from the null bank's captions where the query has words, and
from the library's own pictures where it has a picture. Where several views or encoders are searched a hit's excess is
its highest, and so is a null query's. The chance of a hit is then the share of pairs of a null query and an item whose
excess is at least as high, (1 + count) / (1 + pairs): the empirical p-value of Davison and Hinkley (1997, section 4.2).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval.bank import null_bank, nulls
from mmretrieval.bank_rows import bank_rows, sets_together
from mmretrieval.geometry import Numbers
from mmretrieval.part_rows import PartRows
from mmretrieval.posed import Posed, views_searched
from mmretrieval.recipe import DEFAULT_COMPOSER, Recipe, Stage
from mmretrieval.search import CUTOFFS
from mmretrieval.search.compose import read_together
from mmretrieval.spaces import Space, Spaces, near
from mmretrieval.types import Array, Card, Hit, Query, View

# Null queries are scored against at most so many items, evenly spaced by id.
ITEMS = 2_000
# What so many kinds of query score is kept, a few megabytes each: weights come from a slider, so kinds are many.
KEPT = 16
TINY = 1e-9
PLAIN = Stage(DEFAULT_COMPOSER)


@dataclass(frozen=True, eq=False)
class Searched:
    """A space that a recipe searches, the views of it, and one query's parts there, before any transform."""

    space: Space
    views: tuple[View, ...]
    parts: PartRows


@dataclass(frozen=True, eq=False)
class Sample:
    """Some items of a space: their rows by view, as they are searched, and the pictures' as the encoder gave them."""

    rows: dict[View, tuple[Array, npt.NDArray[np.bool_]]]
    pictures: Array
    places: npt.NDArray[np.int64]  # where among the items each picture stands
    size: int


@dataclass(frozen=True, eq=False)
class Range:
    """What null queries of one kind score: the excesses (n,) of all pairs, falling; by space and view their measure.

    `measures` has, for each space in the recipe's order, by view the mean item (d,) and the deviation of excesses.
    """

    falling: Numbers
    measures: tuple[dict[View, tuple[Numbers, float]], ...]

    def chances(self, excess: Numbers) -> Numbers:
        """The share of null pairs whose excess is at least as high, for each of some excesses (n,); never 0."""
        at_least = np.searchsorted(-self.falling, -excess, side="right")
        return np.asarray((1 + at_least) / (1 + len(self.falling)), dtype=np.float64)


class Chances:
    """The chances of a library's hits. What null queries score is kept until a view has changed (see spaces.near)."""

    def __init__(self, spaces: Spaces) -> None:
        self.spaces = spaces
        self._lock = threading.Lock()
        self._kept: dict[tuple[Any, ...], tuple[Sequence[Mapping[str, int]], int, Range | None]] = {}

    def of(self, searched: Sequence[Searched], recipe: Recipe, ids: Sequence[str]) -> Numbers | None:
        """The chance of each of some items (n,) as the answer to one query, NaN for an item that has no view searched.

        None where no null query can be made: the query has a picture, and the library has none to draw from.
        """
        known = self._range(searched, recipe)
        if known is None:
            return None
        highest = np.full(len(ids), -np.inf)
        for one, measures in zip(searched, known.measures, strict=True):
            asked = one.space.composed(one.parts, recipe.composer)[0].astype(np.float64)
            for view in one.views:
                rows, present = one.space.store.rows(view, ids)
                mean, deviation = measures[view]
                excess = (rows.astype(np.float64) - mean) @ asked / deviation
                highest = np.maximum(highest, np.where(present, excess, -np.inf))
        return np.where(np.isfinite(highest), known.chances(highest), np.nan)

    def _range(self, searched: Sequence[Searched], recipe: Recipe) -> Range | None:
        searched = [replace(one, parts=_in_order(one.parts)) for one in searched]
        first = searched[0].parts
        spaces = [one.space.encoder.card.space for one in searched]
        views = tuple(one.views for one in searched)
        made = first.modalities, tuple(first.weights / np.abs(first.weights).max()), tuple(first.feedback)
        key = (*spaces, views, recipe.transforms, recipe.composer, made)
        changes = [self.spaces.changes(space, recipe) for space in spaces]
        count = sum(one.space.store.count(view) for one in searched for view in one.views)
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or not (kept[0] == changes or (not self.spaces.exact and near(count, kept[1]))):
                if len(self._kept) >= KEPT:
                    del self._kept[next(iter(self._kept))]
                kept = self._kept[key] = changes, count, self._measured(searched, recipe)
        return kept[2]

    def _measured(self, searched: Sequence[Searched], recipe: Recipe) -> Range | None:
        held = {i for one in searched for view in one.views for i in self.spaces.ids(one.space, view, recipe)}
        ids = sorted(held)[:: max(1, -(-len(held) // ITEMS))]
        highest = np.full((len(null_bank()), len(ids)), -np.inf)
        measures: list[dict[View, tuple[Numbers, float]]] = []
        own = np.zeros(highest.shape, dtype=np.bool_)
        for one in searched:
            sample = _sampled(one, ids)
            drawn = _drawn(one, sample, len(highest))
            if drawn is None:
                return None
            asked = one.space.composed(drawn[0], recipe.composer, blank=True).astype(np.float64)
            own |= drawn[1]
            measures.append({})
            for view, (rows, present) in sample.rows.items():
                wide = rows.astype(np.float64)
                mean = wide[present].mean(axis=0) if present.any() else np.zeros(wide.shape[1])
                excess = asked @ (wide - mean).T
                valid = present & ~drawn[1]
                deviation = float(excess[valid].std()) if valid.any() else 0.0
                deviation = deviation if deviation > TINY else 1.0
                measures[-1][view] = mean, deviation
                highest = np.where(valid, np.maximum(highest, excess / deviation), highest)
        pairs = highest[~own & np.isfinite(highest)]
        return Range(-np.sort(-pairs), tuple(measures))


def cut_off(
    chances: Chances, shown: Sequence[Hit], posed: Mapping[str, Posed], recipe: Recipe, query: Query, place: int
) -> tuple[Hit, ...]:
    """The hits of `query`, number `place`, those whose chance is above that of the recipe's cut-off marked as weak.

    Sources that have no vectors, or several for an item, play no part; nor do those that read the query's words and
    picture at once, since no null query can be made like that without reading pictures. Where no other is left, and
    where no null query can be made, hits have no chance and none is weak; nor has an item that such a source found
    and that has no view which the others search.
    """
    if recipe.cutoff is None or not shown:
        return tuple(shown)
    searched = [
        Searched(one.space, views, one.parts.one(place))
        for source in recipe.sources
        if isinstance((one := posed[source.encoder]).space, Space) and one.parts is not None
        if not reads_at_once(one.space.encoder.card, query, recipe.composer) and (views := views_searched(one, source))
    ]
    found = chances.of(searched, recipe, [hit.id for hit in shown]) if searched else None
    if found is None:
        return tuple(shown)
    weak = CUTOFFS[recipe.cutoff.name].run(found, *recipe.cutoff.arguments)
    told = zip(shown, found, weak, strict=True)
    return tuple(
        hit if np.isnan(chance) else replace(hit, chance=float(chance), weak=bool(no_better))
        for hit, chance, no_better in told
    )


def reads_at_once(card: Card, query: Query, composer: Stage) -> bool:
    """Whether an encoder reads words and a picture of the query as one, so that it judges nothing (see `cut_off`)."""
    parts = read_together(query.parts) if sets_together(card, composer) else query.parts
    return any(part.content is not None and len(part.content.modalities) > 1 for part in parts)


def _in_order(parts: PartRows) -> PartRows:
    """One query's parts in an order that does not depend on how it was written, so that equal queries draw alike."""
    facts = list(zip(parts.modalities, parts.weights.tolist(), parts.feedback.tolist(), strict=True))
    order = sorted(range(len(facts)), key=lambda i: facts[i])
    modalities = tuple(parts.modalities[i] for i in order)
    turned = replace(parts, rows=parts.rows[order], modalities=modalities, weights=parts.weights[order])
    return replace(turned, feedback=parts.feedback[order])


def _sampled(one: Searched, ids: Sequence[str]) -> Sample:
    rows = {view: one.space.store.rows(view, ids) for view in one.views}
    pictures, present = one.space.raw.rows("visual", ids)
    return Sample(rows, pictures[present], np.flatnonzero(present).astype(np.int64), len(ids))


def _drawn(one: Searched, sample: Sample, count: int) -> tuple[PartRows, npt.NDArray[np.bool_]] | None:
    """`count` null queries of the same kind as the query, and (count, items) which item each of them holds itself.

    Words are drawn from the null bank, pictures from the sample; where there is none to draw from, nothing comes back.
    """
    parts = one.parts
    texts = bank_rows(one.space.encoder, nulls(), PLAIN).rows if "text" in parts.modalities else np.empty((0, 0))
    rows = np.zeros((count, len(parts.rows), parts.rows.shape[1]), dtype=np.float32)
    own = np.zeros((count, sample.size), dtype=np.bool_)
    for place, modality in enumerate(parts.modalities):
        pool = texts if modality == "text" else sample.pictures
        if not len(pool):
            return None
        # Each in turn, in an order of the part's own, so that two parts of a query are not drawn in step.
        order = np.resize(np.random.default_rng(place).permutation(len(pool)), count)
        rows[:, place] = pool[order]
        if modality != "text":
            own[np.arange(count), sample.places[order]] = True
    many = PartRows(
        rows=rows.reshape(-1, rows.shape[-1]),
        modalities=parts.modalities * count,
        weights=np.tile(parts.weights, count),
        offsets=np.arange(count + 1, dtype=np.int64) * len(parts.rows),
        names=tuple(f"null {i}" for i in range(count)),
        feedback=np.tile(parts.feedback, count),
    )
    return many, own
