"""Recipes on two halves of a dataset's queries, by engines that were never fitted on what they are asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from eval import judging
from eval.dataset import FORMS, Asked, Dataset
from eval.judging import Shelf
from eval.metrics import per_query
from eval.runs import trec_scores
from mmretrieval.errors import DatasetError

if TYPE_CHECKING:
    from mmretrieval.bank import Bank
    from mmretrieval.engine import Engine
    from mmretrieval.recipe import Recipe
    from mmretrieval.types import Query

# Queries in each half: all of 8 one way is p = 2 / 2^8, which Holm's correction for six changes leaves below 5 %.
LEAST = 8
TIMED = 32  # queries that a time is taken over


@dataclass(frozen=True)
class Geometry:
    """What a recipe makes of the space: distance of the centres of pictures and words, and its hubs.

    `hubness` is the skewness of how often items are among the first ten of the queries' rankings, `never` the share of
    items that are among none.
    """

    gap: float | None
    hubness: float
    never: float


@dataclass(frozen=True)
class Cost:
    """What a recipe takes: milliseconds a query beside embedding it (median of rounds), and bytes an item's vector.

    `slower` is the median difference from the plain recipe in the same round, 0 where not every round was slower by
    more than a tenth: then it may be the machine's noise.
    """

    milliseconds: float
    item_bytes: float
    slower: float = 0.0


@dataclass(frozen=True, eq=False)
class Posed:
    """Queries ready to be posed, beside what they are in the dataset."""

    asked: tuple[Asked, ...]
    queries: tuple[Query, ...]


class Trial:
    """One dataset's halves, and engines that have never seen the queries they are asked."""

    def __init__(self, dataset: Dataset, shelf: Shelf, metric: str, halves: tuple[Posed, Posed, Posed]) -> None:
        self.dataset, self.shelf, self.metric = dataset, shelf, metric
        self.first, self.second, self.held = halves
        own = dataset.bank
        self.engines = (
            self._engine("one quarter of the queries", (*own, *self.second.asked), self.first),
            self._engine("one quarter of the queries", (*own, *self.first.asked), self.second),
            self._engine("the fitting half of the queries", (*own, *self.first.asked, *self.second.asked), self.held),
        )
        self.bank = len(self.engines[2].spaces.bank.queries)

    def _engine(self, name: str, bank: Sequence[Asked], judged: Posed) -> Engine:
        from mmretrieval.engine import Engine

        known = {judging.asks(query) for query in judged.asked}
        kept = [query for query in bank if judging.asks(query) not in known]
        made: Bank = judging.as_bank(name, kept, self.dataset, self.shelf)
        return Engine(self.shelf.library, exact=True, bank=made, remember=True)

    def fitted(self, recipe: Recipe) -> dict[str, float]:
        """The metric of each query of the fitting half, each quarter judged with the other as its bank."""
        return self._values(self.engines[0], self.first, recipe) | self._values(self.engines[1], self.second, recipe)

    def held_out(self, recipe: Recipe) -> dict[str, float]:
        """The metric of each query of the held-out half."""
        return self._values(self.engines[2], self.held, recipe)

    def _values(self, engine: Engine, posed: Posed, recipe: Recipe) -> dict[str, float]:
        ranked, _ = judging.answers(engine, self.shelf, posed.asked, posed.queries, recipe, 100)
        qrels = {q.id: self.dataset.qrels.get(q.id, {}) for q in posed.asked}
        return {q: values[self.metric] for q, values in per_query(qrels, trec_scores(ranked).scores).items()}

    def seconds(self, recipe: Recipe) -> float:
        """How long some held-out queries take, with their embeddings and all that is fitted at hand."""
        queries = self.held.queries[:TIMED]
        for source in recipe.sources:
            self.engines[2].spaces.get(source.encoder, recipe)
        started = time.perf_counter()
        self.engines[2].rank(queries, recipe, k=10)
        return (time.perf_counter() - started) / len(queries)

    def item_bytes(self, recipe: Recipe) -> float:
        """What a vector of an item takes under a recipe, with what a correction keeps beside it.

        Of an encoder that gives several vectors for an item, all of them, in the mean over items and views.
        """
        from mmretrieval.spaces import Space
        from mmretrieval.store.corrected import CorrectedStore

        total = 0.0
        for source in recipe.sources:
            space = self.engines[2].spaces.get(source.encoder, recipe)
            if not isinstance(space, Space):
                total += self._bag_bytes(source.encoder)
                continue
            total += space.transforms[-1].item_bytes if space.transforms else 4.0 * space.encoder.card.dim
            if isinstance(space.store, CorrectedStore):
                total += space.store.correction.item_bytes
        return total

    def remarks(self, recipe: Recipe) -> tuple[str, ...]:
        """Where the held-out half's correction is not as the recipe asks for it."""
        from mmretrieval.spaces import remarks

        spaces = self.engines[2].spaces
        return tuple(remarks(recipe, [spaces.get(source.encoder, recipe) for source in recipe.sources]))

    def _bag_bytes(self, encoder: str) -> float:
        held = [bags for bags in self.shelf.library.bags(encoder).values() if len(bags.ids)]
        rows, items = (sum(len(b.vectors.rows) for b in held), sum(len(b.ids) for b in held))
        return 4.0 * self.shelf.library.card(encoder).dim * rows / items if items else 0.0

    def geometry(self, recipe: Recipe) -> Geometry | None:
        """What a recipe makes of the space of its first encoder, before reranking; the held-out queries ask.

        Items are counted in rankings as searches give them: what a query excludes, or its filter leaves out, is not
        in its ranking.
        """
        from mmretrieval import geometry
        from mmretrieval.recipe import first_alone
        from mmretrieval.spaces import Space
        from mmretrieval.store.exact import ExactStore

        engine, source = self.engines[2], recipe.sources[0]
        space = engine.spaces.get(source.encoder, recipe)
        if not isinstance(space, Space) or not isinstance(space.store, ExactStore):
            return None
        matrices = space.store.matrices
        gap = None
        if {"visual", "text"} <= matrices.keys():
            gap = float(np.linalg.norm(geometry.centroid_gap(matrices["visual"].rows, matrices["text"].rows)))
        views = space.views if source.view == "all" else (source.view,)
        # What a shared library holds beside this corpus is no query's to find.
        findable = sorted({i for view in views for i in matrices[view].ids if i in self.shelf.entries})
        places = {ident: place for place, ident in enumerate(findable)}
        run = engine.rank(self.held.queries, replace(first_alone(recipe), rerankers=()), k=10)
        found = [places[hit.id] for ranking in run.rankings for hit in ranking.hits]
        counts = np.bincount(np.array(found, dtype=np.int64), minlength=len(places)).astype(np.float64)
        spread = counts.std()
        skew = float((((counts - counts.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0
        return Geometry(gap, skew, float((counts == 0).mean()))


def halves(dataset: Dataset, shelf: Shelf, seed: int) -> tuple[Posed, Posed, Posed]:
    """The judged queries as two quarters to fit on and one half to judge on, each with its share of each form.

    Queries that ask the same thing in other spelling, or by another file of the same picture, stay together.
    """
    generator = np.random.default_rng([seed, len(dataset.judged)])
    taken: tuple[list[Asked], list[Asked], list[Asked]] = ([], [], [])
    for form in FORMS:
        alike: dict[tuple[tuple[str, str, bool], ...], list[Asked]] = {}
        for query in dataset.judged:
            if query.form == form:
                alike.setdefault(judging.asks(query), []).append(query)
        groups = list(alike.values())
        for place, i in enumerate(generator.permutation(len(groups))):
            taken[(2, 0, 2, 1)[place % 4]].extend(groups[i])
    if min(len(taken[0]) + len(taken[1]), len(taken[2])) < LEAST:
        raise DatasetError(
            f"{dataset.name} has {len(dataset.judged)} judged queries: at least {2 * LEAST} are needed to choose on "
            "one half and to judge on the other"
        )
    order = [sorted(some, key=lambda q: q.id) for some in taken]
    first, second, held = (Posed(tuple(s), tuple(judging.as_queries(s, dataset, shelf))) for s in order)
    return first, second, held
