"""Engine.rank: queries and a recipe in, rankings out. The only search; page, script and evaluation all call it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np

from mmretrieval import catalog, late_space
from mmretrieval.bank import Bank
from mmretrieval.embedding import check_readable, views_of
from mmretrieval.errors import BadQuery, BadRecipe, MediaError
from mmretrieval.late_space import LateSpace
from mmretrieval.library import Library, contents
from mmretrieval.part_rows import PartRows
from mmretrieval.provenance import facts_of, versions
from mmretrieval.recipe import Recipe, Source, Stage, parse
from mmretrieval.search import FUSERS, JOINT, ONE_VIEW, READERS, RERANKERS, UNTRANSFORMED
from mmretrieval.search.compose import read_together
from mmretrieval.search.cur import Approximated
from mmretrieval.search.read import question
from mmretrieval.spaces import Space, Spaces
from mmretrieval.types import (
    Array,
    Card,
    Content,
    Found,
    Hit,
    Mark,
    Query,
    Ranking,
    Reordered,
    Run,
    Selection,
    Tokens,
    View,
)

# How deep each list is searched: fusing and reranking see this many, so that k only cuts.
DEPTH = 200


@dataclass(frozen=True, eq=False)
class Listed:
    """One list on its way: what was found, and where each stage so far had put it."""

    found: Found
    stages: tuple[tuple[str, Found], ...] = ()


@dataclass(frozen=True)
class Reads:
    """How many pairs a model read for the queries, and how many more beforehand, which other queries need not pay."""

    calls: int
    offline: int


@dataclass(frozen=True, eq=False)
class Posed:
    """The queries as one space has them: a row (n, d) or a bag each, and their parts before any transform."""

    space: Space | LateSpace
    rows: Array | Tokens
    parts: PartRows | None

    def plain(self, composer: Stage) -> Array:
        """The queries composed from the parts as the encoder gave them."""
        assert self.parts is not None  # late_space.refuse has seen to it
        return self.parts.composed(composer)


class Engine:
    """Searches one library. `exact` scans every vector instead of asking the index (evaluations do).

    `strangers`: recipes come from people who may not choose what this machine loads, so that models that read items go
    by their catalogue names alone. (Encoders are always those of the library.) `bank`: the reference queries that
    transforms and corrections are fitted on; generic captions where none is given. `remember`: the same Query objects
    will be asked under many recipes, so what encoders made of them is kept.
    """

    def __init__(
        self,
        library: Library,
        *,
        exact: bool = False,
        strangers: bool = False,
        bank: Bank | None = None,
        remember: bool = False,
    ) -> None:
        self.library, self.exact, self.strangers = library, exact, strangers
        self.spaces = Spaces(library, exact=exact, bank=bank)
        self._remembered: dict[tuple[Any, ...], PartRows] | None = {} if remember else None

    def rank(self, queries: Sequence[Query], recipe: str | Recipe, k: int = 10, depth: int | None = None) -> Run:
        """The k best items of each query, in order; k only cuts, it never changes an order.

        `depth` is how far each list is searched before fusing and reranking (default 200, more where a reranker asks
        for more). Items used as query parts are left out of their own results. Under a transductive correction the
        answers belong to this set of queries. Raises BadQuery, BadRecipe, UnknownName and CannotRead before any item is
        scored.
        """
        started = time.perf_counter()
        chosen = parse(recipe) if isinstance(recipe, str) else recipe
        for stage in chosen.rerankers:
            if self.strangers and stage.model and not catalog.is_plain(stage.model):
                raise BadRecipe(f"{stage}: only models that the catalogue names can be used here, without options")
        depth = _depth(chosen, k, depth)
        asked = [_checked(query) for query in queries]
        cards = [self.library.card(s.encoder) for s in chosen.sources]
        late_space.refuse(cards, chosen)
        _check(cards, chosen, asked)
        posed = {s.encoder: self.posed(s.encoder, chosen, asked) for s in chosen.sources}
        lists = [self._search(posed[s.encoder], s, chosen, asked, depth) for s in chosen.sources]
        first = posed[chosen.sources[0].encoder]
        rankings, read = [], dict[str, Reads]()
        for i, query in enumerate(asked):
            listed = _fused([found[i] for found in lists], chosen.fuser)
            for stage in chosen.rerankers:
                reads = stage.name in READERS
                listed = self._read(listed, stage, query, read) if reads else _reranked(listed, stage, first, chosen, i)
            rankings.append(Ranking(query.id, _hits(listed, k)))
        meta = {"recipe": str(chosen), "depth": depth, "k": k, "queries": len(asked), "exact": self.exact}
        meta |= {"encoders": [_described(p.space) for p in posed.values()], "versions": versions()}
        if chosen.transforms or chosen.correction:
            bank = self.spaces.bank
            meta["bank"] = {"name": bank.name, "queries": len(bank.queries), "digest": bank.digest}
        if chosen.transductive:
            meta["transductive"] = True
        if models := [catalog.card(s.model) for s in chosen.rerankers if s.model]:
            meta["rerankers"] = [facts_of(card) for card in models]
        if read:
            meta["reads"] = {stage: vars(counted) for stage, counted in read.items()}
        return Run(str(chosen), tuple(rankings), meta | {"seconds": round(time.perf_counter() - started, 4)})

    def posed(self, spec: str, recipe: Recipe, queries: Sequence[Query]) -> Posed:
        """The space of one of the recipe's encoders, fitted and ready, and the queries in it."""
        space = self.spaces.get(spec, recipe)
        self._check_embedded(spec, space)
        if isinstance(space, LateSpace):
            joint = recipe.composer.name == JOINT and space.encoder.card.joint
            read = [replace(q, parts=read_together(q.parts)) for q in queries] if joint else queries
            return Posed(space, space.composed(read), None)
        parts = self._parts(space, queries, recipe.composer)
        return Posed(space, space.composed(parts, recipe.composer), parts)

    def _parts(self, space: Space, queries: Sequence[Query], composer: Stage) -> PartRows:
        if self._remembered is None:
            return space.asked(queries, composer)
        # Parts are what an encoder reads; filters and exclusions play no part in that.
        key = (space.encoder.card.space, composer.name == JOINT, tuple(q.parts for q in queries))
        if key not in self._remembered:
            self._remembered[key] = space.asked(queries, composer)
        return self._remembered[key]

    def _check_embedded(self, spec: str, space: Space | LateSpace) -> None:
        """Refuses to answer with nothing where a library has items but no vector of an encoder as it is now."""
        card = space.encoder.card
        if space.views or any(self.library.ledger.view_counts(card.space).values()):
            return
        if self.library.ledger.item_counts():
            raise BadQuery(
                f"this library has no vectors of {spec} as it is now (revision {card.revision}): make them with "
                f"`python -m ingest add-encoder '{spec}' --library {self.library.path}`"
            )

    # --- one source ------------------------------------------------------------------------------------------------

    def _search(
        self, posed: Posed, source: Source, recipe: Recipe, queries: Sequence[Query], depth: int
    ) -> list[Listed]:
        space = posed.space
        selections = [Selection(q.filter, q.exclude, q.subset) for q in queries]
        views = space.views if source.view == "all" else (source.view,)
        found = {view: _found(space, view, posed.rows, depth, selections) for view in views}
        corrected = f",{recipe.correction}" if recipe.correction else ""
        if source.view != "all":
            return [Listed(f, ((f"{source}{corrected}", f),)) for f in found[source.view]]
        scales = {view: self.spaces.null(space, view, recipe) for view in views}
        merged = []
        for i in range(len(queries)):
            best = _best_view({view: found[view][i] for view in views}, scales, depth)
            stages = tuple((f"{source.encoder}@{view}{corrected}", found[view][i]) for view in views)
            merged.append(Listed(best, (*stages, (str(source), best))))
        return merged

    def _read(self, listed: Listed, stage: Stage, query: Query, reads: dict[str, Reads]) -> Listed:
        """The list in the order of a model that reads the query and the items; a file that is gone is not read."""
        model = catalog.load_reranker(stage.model)
        shown = Shown(self.library, listed.found.ids[: int(stage.arguments[0])], "image" in model.card.reads)
        result = READERS[stage.name].run(model, query.parts, shown, len(listed.found), *stage.arguments)
        if isinstance(result, Approximated):
            known = reads.get(str(stage), Reads(0, 0))
            reads[str(stage)] = Reads(known.calls + result.calls, known.offline + result.offline)
        return _reordered(listed, stage, result)


class Shown:
    """The items of a list by their place in it, to be read; what was taken out since, or is gone, cannot be."""

    def __init__(self, library: Library, ids: Sequence[str], pixels: bool) -> None:
        self.library, self.ids, self.pixels = library, ids, pixels
        self.items = library.items_by_id(ids)

    def __call__(self, place: int) -> Content | None:
        """What is in the item, or None where it cannot be had."""
        item = self.items.get(self.ids[place])
        if item is None:
            return None
        try:
            return contents.content(self.library.ledger, item, self.library.settings, pixels=self.pixels)
        except MediaError:
            return None

    def key(self, place: int) -> str:
        """What tells the item's content from every other: its bytes and place, its words, and how it is cut."""
        item = self.items.get(self.ids[place])
        said = "" if item is None else hashlib.sha256(item.text.encode()).hexdigest()
        return f"{self.ids[place]}:{said}:{self.library.settings.key}:{self.pixels}"


def _depth(recipe: Recipe, k: int, depth: int | None) -> int:
    """How far lists are searched: as far as is asked for, or as the recipe needs. Raises BadQuery where k cannot be."""
    depth = depth if depth is not None else max([DEPTH, *(int(s.arguments[0]) for s in recipe.rerankers)])
    for name, count in (("k", k), ("depth", depth)):
        if not isinstance(count, Integral):
            raise BadQuery(f"{name} = {count!r} is not a whole number: it counts items")
    if not 1 <= k <= depth:
        raise BadQuery(f"k = {k} is outside 1..{depth}, the depth of the search: ask for a greater depth")
    return depth


def _checked(query: Query) -> Query:
    parts = tuple(p for p in query.parts if p.weight != 0)
    if not parts:
        raise BadQuery(f"query {query.id!r} has no parts: give it words or a picture with a weight other than 0")
    for part in parts:
        if (part.content is None) == (part.item is None):
            raise BadQuery(f"query {query.id!r}: a part holds either content or the id of an item")
        if part.content is not None and _is_empty(part.content):
            raise BadQuery(f"query {query.id!r} has an empty part: give it words or a picture")
        if not np.isfinite(part.weight):
            raise BadQuery(f"query {query.id!r}: weight {part.weight} is not a finite number")
    own = frozenset(p.item for p in parts if p.item is not None)
    return replace(query, parts=parts, exclude=query.exclude | own)


def _found(
    space: Space | LateSpace, view: View, asked: Array | Tokens, depth: int, selections: Sequence[Selection]
) -> list[Found]:
    if isinstance(space, LateSpace):
        assert isinstance(asked, Tokens)
        return space.store.search(view, asked, depth, selections)
    assert not isinstance(asked, Tokens)
    return space.store.search(view, asked, depth, selections)


def _check(cards: Sequence[Card], recipe: Recipe, queries: Sequence[Query]) -> None:
    """Refuses what some encoder or reranker of the recipe cannot do, before any of them is loaded."""
    if recipe.composer.name == JOINT and not any(card.joint for card in cards):
        raise BadRecipe(f"{cards[0].name} reads words and pictures one at a time: write sum instead of {JOINT}")
    for source, card in zip(recipe.sources, cards, strict=True):
        if source.view != "all" and source.view not in (able := views_of(card)):
            raise BadRecipe(f"{source}: {card.name} makes no {source.view} view, only {', '.join(able)}")
    for query in queries:
        for card in cards:
            together = recipe.composer.name == JOINT and card.joint
            parts = read_together(query.parts) if together else query.parts
            check_readable(card, [p.content for p in parts if p.content is not None], "query")
        for stage in recipe.rerankers:
            if stage.model:
                question(query.parts, catalog.card(stage.model))


def _is_empty(content: Content) -> bool:
    return not content.modalities or (content.modalities == ("text",) and not (content.text or "").strip())


def _best_view(found: Mapping[View, Found], nulls: Mapping[View, tuple[float, float]], depth: int) -> Found:
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


def _fused(lists: Sequence[Listed], fuser: Stage | None) -> Listed:
    if fuser is None:
        return lists[0]
    found: Found = FUSERS[fuser.name].run([listed.found for listed in lists], *fuser.arguments)
    stages = tuple(stage for listed in lists for stage in listed.stages)
    return Listed(found, (*stages, (str(fuser), found)))


def _reranked(listed: Listed, stage: Stage, posed: Posed, recipe: Recipe, place: int) -> Listed:
    space, rows = posed.space, posed.rows
    assert isinstance(space, Space) and not isinstance(rows, Tokens)  # late_space.refuse has seen to it
    ids = listed.found.ids
    plain = stage.name in UNTRANSFORMED
    searched = recipe.sources[0].view
    wanted = (searched,) if stage.name in ONE_VIEW and searched != "all" else space.views
    views = {view: (space.raw if plain else space.store).rows(view, ids) for view in wanted}
    query = posed.plain(recipe.composer)[place] if plain else rows[place]
    return _reordered(listed, stage, RERANKERS[stage.name].run(query, views, *stage.arguments))


def _reordered(listed: Listed, stage: Stage, result: Reordered) -> Listed:
    ids = listed.found.ids
    scores = np.where(np.isnan(result.scores), listed.found.scores, result.scores)[result.order]
    scored = [p for p in result.order if not np.isnan(result.scores[p])]
    opinion = Found(tuple(ids[p] for p in scored), result.scores[scored])
    return Listed(Found(tuple(ids[p] for p in result.order), scores), (*listed.stages, (str(stage), opinion)))


def _hits(listed: Listed, k: int) -> tuple[Hit, ...]:
    top = listed.found.ids[:k]
    trails: dict[str, list[Mark]] = {ident: [] for ident in top}
    for stage, found in listed.stages:
        for rank, (ident, score) in enumerate(zip(found.ids, found.scores, strict=True), start=1):
            if ident in trails:
                trails[ident].append(Mark(stage, rank, float(score)))
    scores = listed.found.scores
    return tuple(Hit(ident, i + 1, float(scores[i]), tuple(trails[ident])) for i, ident in enumerate(top))


def _described(space: Space | LateSpace) -> dict[str, Any]:
    card = space.encoder.card
    counts = {view: space.store.count(view) for view in space.views}
    more = space.described() if isinstance(space, LateSpace) else {}
    return more | facts_of(card) | {"space": card.space, "dim": card.dim, "items": counts}
