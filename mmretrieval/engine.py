"""Engine.rank: queries and a recipe in, rankings out. The only search; page, script and evaluation all call it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval import catalog, late_space
from mmretrieval.bank import null_bank
from mmretrieval.embedding import check_readable, embed, views_of
from mmretrieval.errors import BadQuery, BadRecipe, MediaError
from mmretrieval.late_space import LateSpace
from mmretrieval.library import Library, contents
from mmretrieval.provenance import facts_of, versions
from mmretrieval.recipe import Recipe, Source, Stage, parse
from mmretrieval.search import COMPOSERS, FUSERS, JOINT, READERS, RERANKERS
from mmretrieval.search.compose import read_together
from mmretrieval.search.read import question
from mmretrieval.store.exact import ExactStore, Matrix
from mmretrieval.transforms import TRANSFORMS
from mmretrieval.types import (
    VIEWS,
    Array,
    Card,
    Content,
    Encoder,
    Found,
    Hit,
    Mark,
    Modality,
    Query,
    Ranking,
    Reordered,
    Run,
    Selection,
    Tokens,
    Transform,
    VectorStore,
    View,
)

# How deep each list is searched: fusing and reranking see this many, so that k only cuts.
DEPTH = 200
# The null bank's scores are taken against at most this many items of a view, evenly spaced by id.
NULL_ITEMS = 10_000
# By how much of its items a view may change before a page takes the null bank's scores again.
DRIFT = 0.02


@dataclass(frozen=True)
class Null:
    """How the null bank scores on a view: mean and deviation, and the state of the view that they belong to."""

    mean: float
    deviation: float
    change: int
    count: int


@dataclass(frozen=True, eq=False)
class Listed:
    """One list on its way: what was found, and where each stage so far had put it."""

    found: Found
    stages: tuple[tuple[str, Found], ...] = ()


@dataclass(frozen=True, eq=False)
class Space:
    """One encoder's space as a recipe sees it: its store and transforms, ready to search."""

    encoder: Encoder
    store: VectorStore
    transforms: tuple[Transform, ...]
    raw: VectorStore

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The views that at least one item has; asked of the store once."""
        return tuple(v for v in VIEWS if self.store.count(v))

    def turned(self, modality: Modality, rows: Array) -> Array:
        """Query rows of one modality after the recipe's transforms."""
        for transform in self.transforms:
            rows = transform.query(modality, rows)
        return rows

    def embedded(self, modality: Modality, contents: Sequence[Content]) -> Array:
        """Query contents of one modality as transformed rows (n, dim)."""
        return self.turned(modality, embed(self.encoder, contents, "query"))

    def null_scores(self, view: View, ids: Sequence[str], bank: Array) -> npt.NDArray[np.float64]:
        """The scores (q, n) of the null bank's rows against those of the items, evenly spaced, that are there."""
        rows, present = self.store.rows(view, ids[:: max(1, -(-len(ids) // NULL_ITEMS))])
        scores: npt.NDArray[np.float64] = (
            self.turned("text", bank).astype(np.float64) @ rows[present].astype(np.float64).T
        )
        return scores


class Engine:
    """Searches one library. `exact` scans every vector instead of asking the index (evaluations do).

    `strangers`: recipes come from people who may not choose what this machine loads, so that models that read items go
    by their catalogue names alone. (Encoders are always those of the library.)
    """

    def __init__(self, library: Library, *, exact: bool = False, strangers: bool = False) -> None:
        self.library, self.exact, self.strangers = library, exact, strangers
        self._lock = threading.Lock()
        self._transformed: dict[tuple[Any, ...], tuple[tuple[Transform, ...], ExactStore]] = {}
        self._nulls: dict[tuple[Any, ...], Null] = {}

    def rank(self, queries: Sequence[Query], recipe: str | Recipe, k: int = 10, depth: int | None = None) -> Run:
        """The k best items of each query, in order; k only cuts, it never changes an order.

        `depth` is how far each list is searched before fusing and reranking (default 200, more where a reranker asks
        for more). Items used as query parts are left out of their own results. Raises BadQuery, BadRecipe,
        UnknownName and CannotRead before any item is scored.
        """
        started = time.perf_counter()
        chosen = parse(recipe) if isinstance(recipe, str) else recipe
        for stage in chosen.rerankers:
            if self.strangers and stage.model and not catalog.is_plain(stage.model):
                raise BadRecipe(f"{stage}: only models that the catalogue names can be used here, without options")
        depth = depth if depth is not None else max([DEPTH, *(int(s.arguments[0]) for s in chosen.rerankers)])
        if not 1 <= k <= depth:
            raise BadQuery(f"k = {k} is outside 1..{depth}, the depth of the search: ask for a greater depth")
        asked = [_checked(query) for query in queries]
        cards = [self.library.card(s.encoder) for s in chosen.sources]
        late_space.refuse(cards, chosen)
        _check(cards, chosen, asked)
        spaces = {s.encoder: self._space(s.encoder, chosen.transforms) for s in chosen.sources}
        self._check_embedded(spaces)
        first = spaces[chosen.sources[0].encoder]
        composed = {name: self._composed(space, asked, chosen.composer) for name, space in spaces.items()}
        lists = [self._search(spaces[s.encoder], s, chosen, composed[s.encoder], asked, depth) for s in chosen.sources]
        rankings = []
        for i, query in enumerate(asked):
            listed = _fused([found[i] for found in lists], chosen.fuser)
            for stage in chosen.rerankers:
                if stage.model:
                    listed = self._read(listed, stage, query)
                else:
                    rows = composed[chosen.sources[0].encoder]
                    assert isinstance(first, Space) and not isinstance(rows, Tokens)  # late_space.refuse has seen to it
                    listed = _reranked(listed, stage, first, rows[i])
            rankings.append(Ranking(query.id, _hits(listed, k)))
        meta = {"recipe": str(chosen), "depth": depth, "k": k, "queries": len(asked), "exact": self.exact}
        meta |= {"encoders": [_described(s) for s in spaces.values()], "versions": versions()}
        if models := [catalog.card(s.model) for s in chosen.rerankers if s.model]:
            meta["rerankers"] = [facts_of(card) for card in models]
        return Run(str(chosen), tuple(rankings), meta | {"seconds": round(time.perf_counter() - started, 4)})

    def _check_embedded(self, spaces: Mapping[str, Space | LateSpace]) -> None:
        """Refuses to answer with nothing where a library has items but no vector of an encoder as it is now."""
        for spec, space in spaces.items():
            card = space.encoder.card
            if space.views or any(self.library.ledger.view_counts(card.space).values()):
                continue
            if self.library.ledger.item_counts():
                raise BadQuery(
                    f"this library has no vectors of {spec} as it is now (revision {card.revision}): make them with "
                    f"`python -m ingest add-encoder '{spec}' --library {self.library.path}`"
                )

    # --- spaces ----------------------------------------------------------------------------------------------------

    def _space(self, spec: str, stages: Sequence[Stage]) -> Space | LateSpace:
        card = self.library.card(spec)
        encoder = catalog.load(spec)
        if card.multi:
            return LateSpace(encoder, self.library.late_store(spec, exact=self.exact))
        raw = self.library.exact_store(spec) if self.exact else self.library.store(spec)
        if not stages:
            return Space(encoder, raw, (), raw)
        key = (encoder.card.space, self.library.ledger.last_change(encoder.card.space), tuple(stages))
        with self._lock:
            if key not in self._transformed:
                # What was fitted to an earlier state of this space is of no use any more.
                self._transformed = {k: v for k, v in self._transformed.items() if k[0] != key[0] or k[1] == key[1]}
                self._transformed[key] = self._fitted(spec, encoder, stages)
            transforms, store = self._transformed[key]
        return Space(encoder, store, transforms, raw)

    def _fitted(self, spec: str, encoder: Encoder, stages: Sequence[Stage]) -> tuple[tuple[Transform, ...], ExactStore]:
        matrices = self.library.matrices(spec)
        bank: dict[Modality, Array] = {"text": self._bank(encoder)}
        fitted: list[Transform] = []
        for stage in stages:
            transform = TRANSFORMS[stage.name].run({v: m.rows for v, m in matrices.items()}, bank, *stage.arguments)
            matrices = {v: Matrix(m.ids, transform.items(v, m.rows)) for v, m in matrices.items()}
            bank = {m: transform.query(m, rows) for m, rows in bank.items()}
            fitted.append(transform)
        return tuple(fitted), ExactStore(matrices, self.library.select)

    def _bank(self, encoder: Encoder) -> Array:
        key = ("bank", encoder.card.space)
        with _BANK_LOCK:
            if key not in _BANKS:
                _BANKS[key] = embed(encoder, [Content(text=t) for t in null_bank()], "query")
            return _BANKS[key]

    def _null(self, space: Space | LateSpace, view: View, recipe: Recipe) -> tuple[float, float]:
        """Mean and deviation of the null bank's scores on a view.

        An exact engine takes them from the library as it is. Another keeps them until the view has grown or shrunk by
        DRIFT, so that searching while files come in does not read the library again after every batch.
        """
        if "text" not in space.encoder.card.reads:
            return 0.0, 1.0  # it cannot read the bank; and of its one view, the pixels', any scale keeps the order
        name = space.encoder.card.space
        key, change, count = (
            (name, recipe.transforms, view),
            self.library.ledger.last_change(name),
            space.store.count(view),
        )
        known = self._nulls.get(key)
        if known is not None and (
            known.change == change or (not self.exact and abs(count - known.count) <= DRIFT * known.count)
        ):
            return known.mean, known.deviation
        ids = self.library.ledger.items_with(name, view)
        if isinstance(space, LateSpace):
            scores = space.null_scores(view, ids)
        else:
            scores = space.null_scores(view, ids, self._bank(space.encoder))
        deviation = float(scores.std()) if scores.size else 0.0
        mean = float(scores.mean()) if scores.size else 0.0
        self._nulls[key] = Null(mean, deviation if deviation > 1e-9 else 1.0, change, count)
        return self._nulls[key].mean, self._nulls[key].deviation

    # --- one source ------------------------------------------------------------------------------------------------

    def _composed(self, space: Space | LateSpace, queries: Sequence[Query], composer: Stage) -> Array | Tokens:
        """Each query as one row (n, dim), or one bag: its parts embedded, transformed by modality, and composed."""
        if composer.name == JOINT and space.encoder.card.joint:
            queries = [replace(q, parts=read_together(q.parts)) for q in queries]
        if isinstance(space, LateSpace):
            return space.composed(queries)
        places = [(i, j) for i, q in enumerate(queries) for j in range(len(q.parts))]
        rows = np.zeros((len(places), space.encoder.card.dim), dtype=np.float32)
        by_modality: dict[Modality, list[int]] = {}
        for n, (i, j) in enumerate(places):
            content = queries[i].parts[j].content
            if content is not None:
                by_modality.setdefault(content.modalities[-1], []).append(n)
        for modality, wanted in by_modality.items():
            contents = [queries[places[n][0]].parts[places[n][1]].content for n in wanted]
            rows[wanted] = space.embedded(modality, [c for c in contents if c is not None])
        for n, (i, j) in enumerate(places):
            ident = queries[i].parts[j].item
            if ident is not None:
                rows[n] = _item_row(space, ident)
        composed, start = np.zeros((len(queries), rows.shape[1]), dtype=np.float32), 0
        for i, query in enumerate(queries):
            stop = start + len(query.parts)
            weights = np.array([p.weight for p in query.parts], dtype=np.float64)
            try:
                composed[i] = COMPOSERS[composer.name].run(rows[start:stop], weights, *composer.arguments)
            except BadQuery as error:
                raise BadQuery(f"query {query.id!r}: {error}") from error
            start = stop
        return composed

    def _search(
        self,
        space: Space | LateSpace,
        source: Source,
        recipe: Recipe,
        vectors: Array | Tokens,
        queries: Sequence[Query],
        depth: int,
    ) -> list[Listed]:
        selections = [Selection(q.filter, q.exclude, q.subset) for q in queries]
        views = space.views if source.view == "all" else (source.view,)
        found = {view: _found(space, view, vectors, depth, selections) for view in views}
        if source.view != "all":
            return [Listed(f, ((str(source), f),)) for f in found[source.view]]
        nulls = {view: self._null(space, view, recipe) for view in views}
        merged = []
        for i in range(len(queries)):
            best = _best_view({view: found[view][i] for view in views}, nulls, depth)
            stages = tuple((f"{source.encoder}@{view}", found[view][i]) for view in views)
            merged.append(Listed(best, (*stages, (str(source), best))))
        return merged

    def _read(self, listed: Listed, stage: Stage, query: Query) -> Listed:
        """The list in the order of a model that reads the query and the items; a file that is gone is not read."""
        model = catalog.load_reranker(stage.model)
        pixels = "image" in model.card.reads
        ids = listed.found.ids[: int(stage.arguments[0])]
        items = self.library.items_by_id(ids)

        def content(place: int) -> Content | None:
            if ids[place] not in items:
                return None  # taken out of the library since the index last looked
            try:
                return contents.content(self.library.ledger, items[ids[place]], self.library.settings, pixels=pixels)
            except MediaError:
                return None

        result = READERS[stage.name].run(model, query.parts, content, len(listed.found), *stage.arguments)
        return _reordered(listed, stage, result)


_BANKS: dict[tuple[str, str], Array] = {}
_BANK_LOCK = threading.Lock()


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


def _item_row(space: Space, ident: str) -> Array:
    """What an item stands for as a query: its pixels, or its words where it has no pixels; transformed as a query."""
    modalities: tuple[tuple[View, Modality], ...] = (("visual", "image"), ("text", "text"), ("joint", "image"))
    for view, modality in modalities:
        rows, present = space.raw.rows(view, [ident])
        if present[0]:
            row: Array = space.turned(modality, rows)[0]
            return row
    raise BadQuery(f"item {ident} has no vector of {space.encoder.card.name}: it was removed, or is not embedded yet")


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


def _reranked(listed: Listed, stage: Stage, space: Space, query: Array) -> Listed:
    ids = listed.found.ids
    views = {view: space.store.rows(view, ids) for view in space.views}
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
