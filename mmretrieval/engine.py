"""Engine.rank: queries and a recipe in, rankings out. The only search; page, script and evaluation all call it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import numpy as np

from mmretrieval import catalog, late_space, lexical, lexical_space
from mmretrieval.bank import Bank
from mmretrieval.blended import blended
from mmretrieval.chances import Chances, cut_off
from mmretrieval.contributions import explained
from mmretrieval.embedding import check_readable
from mmretrieval.errors import BadQuery, BadRecipe, MediaError
from mmretrieval.late_space import LateSpace
from mmretrieval.lexical import Terms
from mmretrieval.lexical_space import LexicalSpace
from mmretrieval.library import Library, contents
from mmretrieval.lists import Listed, best_view, fused, hits, reordered
from mmretrieval.part_rows import PartRows
from mmretrieval.posed import Posed, views_searched
from mmretrieval.provenance import facts_of, versions
from mmretrieval.recipe import Recipe, Source, Stage, check_view, depth_of, parse
from mmretrieval.search import BLENDS, CENTRED, JOINT, ONE_VIEW, READERS, RERANKERS, ROW_BY_ROW, UNTRANSFORMED
from mmretrieval.search.compose import read_together
from mmretrieval.search.cur import Approximated
from mmretrieval.search.read import question
from mmretrieval.spaces import Space, Spaces, remarks
from mmretrieval.store.corrected import CorrectedStore
from mmretrieval.store.exact import ExactStore
from mmretrieval.timing import Stopwatch
from mmretrieval.types import Array, Card, Content, Found, Part, Query, Ranking, Run, Selection, Tokens, View

# How deep each list is searched: fusing and reranking see this many, so that k only cuts.
DEPTH = 200


@dataclass(frozen=True)
class Reads:
    """How many pairs a model read for the queries, and how many more beforehand, which other queries need not pay."""

    calls: int
    offline: int


@dataclass(frozen=True, eq=False)
class Asking:
    """One call of `rank` on its way: what is asked, how deep lists are searched, where its time goes, what was read."""

    recipe: Recipe
    queries: Sequence[Query]
    depth: int
    watch: Stopwatch
    reads: dict[str, Reads] = field(default_factory=dict)


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
        self.chances = Chances(self.spaces)
        self._remembered: dict[tuple[Any, ...], PartRows] | None = {} if remember else None

    def rank(
        self,
        queries: Sequence[Query],
        recipe: str | Recipe,
        k: int = 10,
        depth: int | None = None,
        *,
        explain: bool = False,
    ) -> Run:
        """The k best items of each query, in order; k only cuts, it never changes an order.

        `depth` is how far each list is searched before fusing and reranking (default 200, more where a reranker asks
        for more). Items used as query parts are left out of their own results. Under a transductive correction the
        answers belong to this set of queries. Raises
        BadQuery, BadRecipe, UnknownName and CannotRead before any item is scored. `explain` adds to every hit what each
        part of the query brought. `meta` has the seconds, and `stages` the milliseconds of each stage (see Stopwatch).
        """
        watch = Stopwatch()
        chosen = parse(recipe) if isinstance(recipe, str) else recipe
        for stage in chosen.rerankers:
            if self.strangers and stage.name in READERS and not catalog.is_plain(stage.model):
                raise BadRecipe(f"{stage}: only models that the catalogue names can be used here, without options")
        depth = _depth(chosen, k, depth)
        asked = [_checked(query) for query in queries]
        cards = [self.library.card(s.encoder) for s in chosen.sources]
        late_space.refuse(cards, chosen)
        lexical_space.refuse(chosen)
        leading = {s: self.library.card(s.model) for s in chosen.rerankers if s.name in ROW_BY_ROW}
        _check(cards, leading, chosen, asked)
        asking = Asking(chosen, asked, depth, watch)
        encoders = dict.fromkeys(source.encoder for source in chosen.sources)
        posed = {spec: self.posed(spec, chosen, asked, watch) for spec in encoders}
        lists = [self._search(posed[source.encoder], source, asking) for source in chosen.sources]
        rankings = []
        for i, query in enumerate(asked):
            listed = _fused([found[i] for found in lists], asking)
            for stage in chosen.rerankers:
                listed = self._reranked(listed, stage, posed[chosen.sources[0].encoder], i, asking)
            shown = hits(listed, k)
            if explain:
                with watch.stage("explain"):
                    shown = explained(self.spaces, shown, posed, chosen, query, i)
            if chosen.cutoff:
                with watch.stage(f"mark {chosen.cutoff}"):
                    shown = cut_off(self.chances, shown, posed, chosen, query, i)
            rankings.append(Ranking(query.id, shown))
        meta = self._meta(chosen, posed.values()) | {"depth": depth, "k": k, "queries": len(asked)}
        if asking.reads:
            meta["reads"] = {stage: vars(counted) for stage, counted in asking.reads.items()}
        return Run(str(chosen), tuple(rankings), meta | watch.account())

    def _meta(self, recipe: Recipe, posed: Collection[Posed]) -> dict[str, Any]:
        """What made the answers: recipe, encoders, bank, models, versions."""
        meta: dict[str, Any] = {"recipe": str(recipe), "exact": self.exact, "versions": versions()}
        meta["encoders"] = [_described(p.space) for p in posed]
        if recipe.transforms or recipe.correction or recipe.composer.name in CENTRED:
            bank = self.spaces.bank
            meta["bank"] = {"name": bank.name, "queries": len(bank.queries), "digest": bank.digest}
        if recipe.transductive:
            meta["transductive"] = True
        if said := remarks(recipe, [p.space for p in posed]):
            meta["remarks"] = said
        if models := [catalog.card(s.model) for s in recipe.rerankers if s.model]:
            meta["rerankers"] = [facts_of(card) for card in models]
        return meta

    def posed(self, spec: str, recipe: Recipe, queries: Sequence[Query], watch: Stopwatch | None = None) -> Posed:
        """The space of one of the recipe's encoders, fitted and ready, and the queries in it."""
        watch = watch or Stopwatch()
        if lexical.is_lexical(spec):
            with watch.stage(f"prepare {spec}"):
                words = self._words()
            alone = all(lexical.is_lexical(s.encoder) for s in recipe.sources)
            with watch.stage(f"encode {spec}"):
                return Posed(words, words.composed(queries, alone=alone), None)
        space = self._space(spec, recipe, watch)
        if isinstance(space, LateSpace):
            return Posed(space, _bags_of(spec, space, recipe, queries, watch), None)
        with watch.stage(f"encode {spec}"):
            parts = self._parts(space, queries, recipe.composer)
        with watch.stage(f"compose {spec}"):
            return Posed(space, space.composed(parts, recipe.composer), parts)

    def _space(self, spec: str, recipe: Recipe, watch: Stopwatch) -> Space | LateSpace:
        """The space of an encoder, ready; refused where the library has none of its vectors."""
        with watch.stage(f"prepare {spec}"):
            space = self.spaces.get(spec, recipe)
            self._check_embedded(spec, space)
            return space

    def _parts(self, space: Space, queries: Sequence[Query], composer: Stage) -> PartRows:
        if self._remembered is None:
            return space.asked(queries, composer)
        # Parts are what an encoder reads; filters and exclusions play no part in that.
        key = (space.encoder.card.space, composer.name == JOINT, tuple(q.parts for q in queries))
        if key not in self._remembered:
            self._remembered[key] = space.asked(queries, composer)
        return self._remembered[key]

    def _words(self) -> LexicalSpace:
        """The library's words; refused where it has items but no words."""
        space = LexicalSpace(self.library.lexical_store())
        if not space.views and self.library.ledger.item_counts():
            raise BadQuery(
                f"no item of this library has words, and {lexical.NAME} searches by words alone: leave it out, or "
                "ingest captions, subtitles, pages or texts"
            )
        return space

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

    def _search(self, posed: Posed, source: Source, asking: Asking) -> list[Listed]:
        space, recipe, watch = posed.space, asking.recipe, asking.watch
        selections = [Selection(q.filter, q.exclude, q.subset) for q in asking.queries]
        views = views_searched(posed, source)
        if recipe.composer.name in BLENDS and isinstance(space, Space):
            return self._blended(posed, source, views, asking, selections)
        found = {}
        for view in views:
            with watch.stage(f"search {source.encoder}@{view}"):
                found[view] = _found(space, view, posed.rows, asking.depth, selections, watch)
        named = f"{source.encoder}@{source.view}"
        corrected = f",{recipe.correction}" if recipe.correction and not isinstance(space, LexicalSpace) else ""
        if source.view != "all":
            return [Listed(f, ((f"{named}{corrected}", f),)) for f in found[source.view]]
        scales = self._scales(space, source, views, asking)
        merged = []
        with watch.stage(f"merge {named}"):
            for i in range(len(asking.queries)):
                best = best_view({view: found[view][i] for view in views}, scales, asking.depth)
                stages = tuple((f"{source.encoder}@{view}{corrected}", found[view][i]) for view in views)
                merged.append(Listed(best, (*stages, (named, best))))
        return merged

    def _scales(
        self, space: Space | LateSpace | LexicalSpace, source: Source, views: Sequence[View], asking: Asking
    ) -> dict[View, tuple[float, float]]:
        """How queries that mean nothing score on each view of a source that searches all."""
        with asking.watch.stage(f"scale {source.encoder}@{source.view}"):
            return {view: self.spaces.null(space, view, asking.recipe) for view in views}

    def _blended(
        self, posed: Posed, source: Source, views: Sequence[View], asking: Asking, selections: Sequence[Selection]
    ) -> list[Listed]:
        """Each query's parts scored one by one, and mixed."""
        space, recipe, watch = posed.space, asking.recipe, asking.watch
        assert isinstance(space, Space) and isinstance(space.store, ExactStore) and posed.parts is not None
        every = source.view == "all"
        scales = self._scales(space, source, views, asking) if every else dict.fromkeys(views, (0.0, 1.0))
        with watch.stage(f"search {source.encoder}@{source.view}"):
            parts = space.turned(posed.parts, recipe.composer)
            found = blended(space.store, scales, parts, recipe.composer, asking.depth, selections, watch)
        said = ",".join([f"{source.encoder}@{source.view}", *map(str, filter(None, [recipe.correction]))])
        return [Listed(f, ((f"{said},{recipe.composer}", f),)) for f in found]

    def _reranked(self, listed: Listed, stage: Stage, first: Posed, place: int, asking: Asking) -> Listed:
        """The list of query number `place` in the order of one reranker, whatever it looks at."""
        if stage.name in READERS:
            return self._read(listed, stage, place, asking)
        if stage.name in ROW_BY_ROW:
            return self._row_by_row(listed, stage, place, asking)
        with asking.watch.stage(f"rerank {stage}"):
            return _by_vectors(listed, stage, first, asking.recipe, place)

    def _row_by_row(self, listed: Listed, stage: Stage, place: int, asking: Asking) -> Listed:
        """The list in the order of a late-interaction encoder of this library."""
        recipe, view = asking.recipe, asking.recipe.sources[0].view
        space = self._space(stage.model, recipe, asking.watch)
        assert view != "all" and isinstance(space, LateSpace)  # parse and _check have seen to it
        rows = _bags_of(stage.model, space, recipe, asking.queries[place : place + 1], asking.watch)
        with asking.watch.stage(f"rerank {stage}"):
            bags = space.store.bags(view, listed.found.ids[: depth_of(stage)])
            run = ROW_BY_ROW[stage.name].run
            return reordered(listed, stage, run(rows[0], bags, len(listed.found), *stage.arguments))

    def _read(self, listed: Listed, stage: Stage, place: int, asking: Asking) -> Listed:
        """The list in the order of a model that reads the query and the items; a file that is gone is not read."""
        with asking.watch.stage(f"prepare {stage.model}"):
            model = catalog.load_reranker(stage.model)
        with asking.watch.stage(f"rerank {stage}"):
            shown = Shown(self.library, listed.found.ids[: depth_of(stage)], "image" in model.card.reads)
            parts, count = asking.queries[place].parts, len(listed.found)
            result = READERS[stage.name].run(model, parts, shown, count, *stage.arguments)
        if isinstance(result, Approximated):
            known = asking.reads.get(str(stage), Reads(0, 0))
            asking.reads[str(stage)] = Reads(known.calls + result.calls, known.offline + result.offline)
        return reordered(listed, stage, result)


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
    depth = depth if depth is not None else max([DEPTH, *map(depth_of, recipe.rerankers)])
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
        if sum(held is not None for held in (part.content, part.item, part.vector)) != 1:
            raise BadQuery(
                f"query {query.id!r}: a part holds content, or the id of an item, or a raw vector: one of them"
            )
        if part.feedback and part.item is None:
            raise BadQuery(f"query {query.id!r}: only items are liked or disliked, by their ids")
        if part.content is not None and _is_empty(part.content):
            raise BadQuery(f"query {query.id!r} has an empty part: give it words or a picture")
        if not np.isfinite(part.weight):
            raise BadQuery(f"query {query.id!r}: weight {part.weight} is not a finite number")
    own = frozenset(p.item for p in parts if p.item is not None)
    return replace(query, parts=parts, exclude=query.exclude | own)


def _found(
    space: Space | LateSpace | LexicalSpace,
    view: View,
    asked: Array | Tokens | Sequence[Terms],
    depth: int,
    selections: Sequence[Selection],
    watch: Stopwatch,
) -> list[Found]:
    if isinstance(space, LexicalSpace):
        assert isinstance(asked, list)
        return space.store.search(view, asked, depth, selections)
    if isinstance(space, LateSpace):
        assert isinstance(asked, Tokens)
        return space.store.search(view, asked, depth, selections)
    assert isinstance(asked, np.ndarray)
    if isinstance(space.store, CorrectedStore):  # correcting is a stage by itself
        return space.store.search(view, asked, depth, selections, watch)
    return space.store.search(view, asked, depth, selections)


def _bags_of(spec: str, space: LateSpace, recipe: Recipe, queries: Sequence[Query], watch: Stopwatch) -> Tokens:
    """The queries as a late-interaction encoder has them; composing them is part of encoding them."""
    with watch.stage(f"encode {spec}"):
        return space.composed([replace(q, parts=_read_by(space.encoder.card, recipe, q)) for q in queries])


def _fused(lists: Sequence[Listed], asking: Asking) -> Listed:
    """One query's lists as one."""
    fuser, weights = asking.recipe.fuser, [source.weight for source in asking.recipe.sources]
    if fuser is None:
        return fused(lists, weights, None)
    with asking.watch.stage(f"fuse {fuser}"):
        return fused(lists, weights, fuser)


def _check(cards: Sequence[Card], leading: Mapping[Stage, Card], recipe: Recipe, queries: Sequence[Query]) -> None:
    """Refuses what some encoder or reranker of the recipe cannot do, before any of them is loaded.

    `cards` are those of the sources, in order; `leading` those of the encoders that rerank row by row.
    """
    if recipe.composer.name == JOINT and not any(card.joint for card in cards):
        raise BadRecipe(f"{cards[0].name} reads words and pictures one at a time: write sum instead of {JOINT}")
    if recipe.cutoff and all(card.multi or lexical.is_lexical(card.spec) for card in cards):
        raise BadRecipe(f"{recipe.cutoff} needs an encoder that gives one vector for each item: add one")
    for source, card in zip(recipe.sources, cards, strict=True):
        check_view(str(source), source.view, card)
    for stage, card in leading.items():
        if not card.multi:
            raise BadRecipe(f"{stage}: {card.name} gives one vector for each item: name a late-interaction encoder")
        check_view(str(stage), recipe.sources[0].view, card)
    # BM25 searches by the words that a query has, and by no other part.
    readers = [card for card in (*cards, *leading.values()) if not lexical.is_lexical(card.spec)]
    for query in queries:
        for card in readers:
            _check_read(card, recipe, query)
        for stage in recipe.rerankers:
            if stage.name in READERS:
                question(query.parts, catalog.card(stage.model))


def _check_read(card: Card, recipe: Recipe, query: Query) -> None:
    if card.multi and any(part.vector is not None for part in query.parts):
        raise BadQuery(
            f"query {query.id!r}: a raw vector is one row, and {card.name} asks with several: give it words, a picture "
            "or an item instead"
        )
    parts = _read_by(card, recipe, query)
    check_readable(card, [part.content for part in parts if part.content is not None], "query")


def _read_by(card: Card, recipe: Recipe, query: Query) -> tuple[Part, ...]:
    """The parts of a query as an encoder reads them: together, where it can and the recipe asks for it."""
    return read_together(query.parts) if recipe.composer.name == JOINT and card.joint else query.parts


def _is_empty(content: Content) -> bool:
    return not content.modalities or (content.modalities == ("text",) and not (content.text or "").strip())


def _by_vectors(listed: Listed, stage: Stage, posed: Posed, recipe: Recipe, place: int) -> Listed:
    space, rows = posed.space, posed.rows
    # late_space.refuse and lexical_space.refuse have seen to it.
    assert isinstance(space, Space) and isinstance(rows, np.ndarray)
    ids = listed.found.ids
    plain = stage.name in UNTRANSFORMED
    searched = recipe.sources[0].view
    wanted = (searched,) if stage.name in ONE_VIEW and searched != "all" else space.views
    views = {view: (space.raw if plain else space.store).rows(view, ids) for view in wanted}
    query = posed.plain(place, recipe.composer) if plain else rows[place]
    return reordered(listed, stage, RERANKERS[stage.name].run(query, views, *stage.arguments))


def _described(space: Space | LateSpace | LexicalSpace) -> dict[str, Any]:
    card = space.card if isinstance(space, LexicalSpace) else space.encoder.card
    counts = {view: space.store.count(view) for view in space.views}
    more = {} if isinstance(space, Space) else space.described()
    return more | facts_of(card) | {"space": card.space, "dim": card.dim, "items": counts}
