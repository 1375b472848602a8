"""A late-interaction encoder's space as a recipe sees it: queries are bags of weighted rows, scores are MaxSim."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mmretrieval import late
from mmretrieval.bank import null_bank
from mmretrieval.embedding import embed_multi
from mmretrieval.errors import BadQuery, BadRecipe
from mmretrieval.muvera import encoding_of
from mmretrieval.recipe import DEFAULT_COMPOSER, Recipe
from mmretrieval.search import JOINT, RERANKERS
from mmretrieval.store.late import LEAST, OVERSAMPLING
from mmretrieval.types import VIEWS, Array, Card, Content, Encoder, LateStore, Query, Tokens, View

# Which view of an item stands for it as a query, as it is with one vector for an item.
STANDING: tuple[View, ...] = ("visual", "text", "joint")
# The null bank's scores are taken against at most this many items of a view, evenly spaced by id: a bag may have a
# thousand rows, and is compared with every row of every query of the bank.
NULL_BAGS = 128

_banks: dict[str, Tokens] = {}
_bank_lock = threading.Lock()


def refuse(cards: Sequence[Card], recipe: Recipe) -> None:
    """Raises BadRecipe for stages that need one vector for an item, where an encoder gives a bag of them.

    `cards` are those of the recipe's sources, in its order.
    """
    names = sorted({card.name for card in cards if card.multi})
    if not names:
        return
    if recipe.transforms:
        stages = ", ".join(map(str, recipe.transforms))
        raise BadRecipe(
            f"{stages} changes one vector for each item, and {', '.join(names)} gives several: leave it out"
        )
    if recipe.correction:
        raise BadRecipe(
            f"{recipe.correction} needs one vector for each item, and {', '.join(names)} gives several: leave it out"
        )
    if recipe.composer.name not in (DEFAULT_COMPOSER, JOINT):
        raise BadRecipe(
            f"{recipe.composer} mixes one vector for each part, and {', '.join(names)} gives several: write "
            f"{DEFAULT_COMPOSER}, which adds the parts' scores"
        )
    needing = [str(stage) for stage in recipe.rerankers if stage.name in RERANKERS]
    if needing and cards[0].multi:
        raise BadRecipe(
            f"{', '.join(needing)} needs one vector for each view in the space of the first encoder, and "
            f"{cards[0].name} gives several: name another encoder first, or leave it out"
        )


@dataclass(frozen=True, eq=False)
class LateSpace:
    """One encoder's space: its store, ready to search."""

    encoder: Encoder
    store: LateStore

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The views that at least one item has; asked of the store once."""
        return tuple(v for v in VIEWS if self.store.count(v))

    def composed(self, queries: Sequence[Query]) -> Tokens:
        """Each query as the weighted rows of its parts, as `late.composed` has it."""
        contents = [part.content for query in queries for part in query.parts if part.content is not None]
        bags = iter(embed_multi(self.encoder, contents, "query"))
        made = []
        for query in queries:
            own = [next(bags) if part.content is not None else self._item(part.item or "") for part in query.parts]
            try:
                made.append(late.composed(own, [part.weight for part in query.parts]))
            except BadQuery as error:
                raise BadQuery(f"query {query.id!r}: {error}") from error
        return late.together(made, self.encoder.card.dim)

    def null_scores(self, view: View, ids: Sequence[str]) -> late.Numbers:
        """The scores (q, n) of the null bank's queries against those of the items, evenly spaced, that are there."""
        held = self.store.bags(view, ids[:: max(1, -(-len(ids) // NULL_BAGS))])
        bags = late.taken(held, np.flatnonzero(np.diff(held.offsets)))
        bank = self._bank()
        return np.array([late.scan(*bank[place], bags) for place in range(len(bank))], dtype=np.float64)

    def described(self) -> dict[str, Any]:
        """How an index of this space is searched, for the record of a run."""
        fde = encoding_of(self.encoder.card)
        assert fde is not None, f"{self.encoder.card.name} gives one vector for a content"
        searched = {"oversampling": OVERSAMPLING, "least_candidates": LEAST}
        return {"late": fde.described(self.encoder.card.dim) | searched}

    def _item(self, ident: str) -> Array:
        for view in STANDING:
            if len(bag := self.store.bags(view, [ident])[0]):
                return bag
        raise BadQuery(
            f"item {ident} has no vector of {self.encoder.card.name}: it was removed, or is not embedded yet"
        )

    def _bank(self) -> Tokens:
        with _bank_lock:
            space = self.encoder.card.space
            if space not in _banks:
                contents = [Content(text=text) for text in null_bank()]
                _banks[space] = late.plain(embed_multi(self.encoder, contents, "query"))
            return _banks[space]
