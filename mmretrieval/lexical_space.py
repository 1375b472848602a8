"""A library's words as a recipe sees them: `bm25`, which stands where an encoder stands and has no vectors."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from mmretrieval import lexical
from mmretrieval.bank import null_bank
from mmretrieval.errors import BadQuery, BadRecipe
from mmretrieval.lexical import Ids, Numbers, Terms
from mmretrieval.recipe import DEFAULT_COMPOSER, Recipe
from mmretrieval.search import JOINT, RERANKERS
from mmretrieval.store.lexical import LexicalStore
from mmretrieval.types import Card, Part, Query, View

# What the null bank scores with the words of one moment, for as long as somebody holds them.
_scales: WeakKeyDictionary[LexicalStore, tuple[float, float]] = WeakKeyDictionary()
_lock = threading.Lock()


def refuse(recipe: Recipe) -> None:
    """Raises BadRecipe for stages that work on vectors, where the recipe's first source has none.

    As a later source BM25 stands beside them: they change the lists of the others.
    """
    first = recipe.sources[0]
    if not lexical.is_lexical(first.encoder):
        return
    stages = [*recipe.transforms, *([recipe.correction] if recipe.correction else [])]
    stages += [stage for stage in recipe.rerankers if stage.name in RERANKERS]
    if len(recipe.sources) == 1 and recipe.composer.name not in (DEFAULT_COMPOSER, JOINT):
        stages.append(recipe.composer)
    if stages:
        raise BadRecipe(
            f"{', '.join(map(str, stages))} works on vectors in the space of the first encoder, and {first.encoder} "
            f"compares words: name an encoder first, as in lite@visual+{first.encoder}, or leave it out"
        )


@dataclass(frozen=True, eq=False)
class LexicalSpace:
    """The words of a library's items, ready to search; there is one view, `text`."""

    store: LexicalStore

    @property
    def card(self) -> Card:
        """What is known of BM25 itself."""
        return lexical.card()

    @property
    def views(self) -> tuple[View, ...]:
        """`text` where at least one item has words."""
        return ("text",) if self.store.count("text") else ()

    def composed(self, queries: Sequence[Query], *, alone: bool) -> list[Terms]:
        """Each query as the weighted terms of its parts; an item stands for its own words, a picture has none.

        Where nothing is left to search for, a query finds nothing, and the other sources answer it; `alone` raises
        BadQuery instead.
        """
        made = []
        for query in queries:
            spoken = [(terms, part.weight) for part in query.parts if (terms := self._terms(part)) is not None]
            try:
                if not spoken:
                    raise BadQuery(f"it has no words, and {lexical.NAME} searches by words alone: write some")
                made.append(lexical.composed([terms for terms, _ in spoken], [weight for _, weight in spoken]))
            except BadQuery as error:
                if alone:
                    raise BadQuery(f"query {query.id!r}: {error}") from error
                made.append(lexical.NOTHING)
        return made

    def contributions(self, query: Query, ids: Sequence[str]) -> Numbers:
        """What each part of a query adds to its score with each item (n, p); their sum is the score."""
        parts = [(part.weight, self._terms(part)) for part in query.parts]
        whole = math.fsum(abs(weight) for weight, terms in parts if terms is not None)
        out = np.zeros((len(ids), len(parts)))
        for place, (weight, terms) in enumerate(parts):
            if terms is not None and weight:
                out[:, place] = self.store.scores(Terms(terms, np.full(len(terms), weight / whole)), ids)
        return out

    def null(self) -> tuple[float, float]:
        """Mean and deviation of the null bank's scores on all items, most of which share no word with it."""
        with _lock:
            if self.store not in _scales:
                # A query at a time: all scores at once would be a hundred and more numbers for every item.
                each = [(s.mean(), s.var()) for q in _bank() if len(s := self.store.postings.scores(q)[0])]
                means, variances = np.array(each, dtype=np.float64).reshape(-1, 2).T
                mean = float(means.mean()) if each else 0.0
                deviation = math.sqrt(variances.mean() + means.var()) if each else 0.0
                _scales[self.store] = mean, deviation if deviation > 1e-9 else 1.0
            return _scales[self.store]

    def described(self) -> dict[str, Any]:
        """How words are weighed, for the record of a run."""
        return {"bm25": {"k": lexical.K, "b": lexical.B, "avg_len": lexical.AVERAGE, "language": "english"}}

    def _terms(self, part: Part) -> Ids | None:
        """The terms of a part, None where it is no words."""
        if part.content is None:
            terms = self.store.terms(part.item or "")
            return terms if len(terms) else None
        return None if part.content.text is None else lexical.terms_of(part.content.text)


@cache
def _bank() -> tuple[Terms, ...]:
    terms = [lexical.terms_of(text) for text in null_bank()]
    return tuple(lexical.composed([own], [1.0]) for own in terms if len(own))
