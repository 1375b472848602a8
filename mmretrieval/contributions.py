"""What each part of a query added to the score of a hit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mmretrieval.bank_rows import together
from mmretrieval.blended import part_scores
from mmretrieval.geometry import Numbers
from mmretrieval.lexical_space import LexicalSpace
from mmretrieval.part_rows import PartRows
from mmretrieval.posed import Posed, views_searched
from mmretrieval.recipe import Recipe, Source, Stage
from mmretrieval.search import BLENDS
from mmretrieval.spaces import Space, Spaces
from mmretrieval.store.exact import ExactStore
from mmretrieval.types import Contribution, Hit, Part, Query, Selection, View

LABEL_CHARS = 40
OTHER = "what no part brought"


def explained(
    spaces: Spaces, shown: Sequence[Hit], posed: Mapping[str, Posed], recipe: Recipe, query: Query, place: int
) -> tuple[Hit, ...]:
    """Hits with what each part of query number `place` brought, in each source's list, on the view that counted there.

    An encoder that gives several vectors for each item says nothing of parts.
    """
    ids = [hit.id for hit in shown]
    brought: dict[str, list[Contribution]] = {ident: [] for ident in ids}
    for source in recipe.sources:
        one = posed[source.encoder]
        if isinstance(one.space, LexicalSpace):
            found = of_words(one.space, source.encoder, query, ids)
        elif isinstance(one.space, Space) and recipe.composer.name in BLENDS:
            found = _mixed(spaces, one, source, recipe, query, place, ids)
        elif isinstance(one.space, Space):
            found = _best(spaces, one, source, recipe, query, place, shown)
        else:
            continue
        for ident, said in found.items():
            brought[ident].append(said)
    return tuple(replace(hit, contributions=tuple(brought[hit.id])) for hit in shown)


def _best(
    spaces: Spaces, posed: Posed, source: Source, recipe: Recipe, query: Query, place: int, shown: Sequence[Hit]
) -> dict[str, Contribution]:
    """Each hit's contributions on the view that counted: that of its highest score by the trail, as `@all` compares.

    A hit that another source alone has found has no such mark, and is looked up on the first view that it has.
    """
    space = posed.space
    assert isinstance(space, Space) and posed.parts is not None
    alone, views = posed.parts.one(place), views_searched(posed, source)
    by_view = {
        view: of_space(space, source.encoder, alone, query, recipe.composer, view, [hit.id for hit in shown])
        for view in views
    }
    scales = {view: spaces.null(space, view, recipe) if len(views) > 1 else (0.0, 1.0) for view in views}
    best: dict[str, Contribution] = {}
    for hit in shown:
        marked = {mark.stage.partition(",")[0]: mark.score for mark in reversed(hit.trail)}
        scored: dict[View, float] = {}
        for view, (mean, deviation) in scales.items():
            if hit.id in by_view[view]:
                score = marked.get(f"{source.encoder}@{view}")
                scored[view] = -math.inf if score is None else (score - mean) / deviation
        if scored:
            best[hit.id] = by_view[max(scored, key=lambda view: scored[view])][hit.id]
    return best


def _mixed(
    spaces: Spaces, posed: Posed, source: Source, recipe: Recipe, query: Query, place: int, ids: Sequence[str]
) -> dict[str, Contribution]:
    """The scores of each part by itself, as a composer of scores was given them; they do not add up."""
    space = posed.space
    assert isinstance(space, Space) and isinstance(space.store, ExactStore) and posed.parts is not None
    views = views_searched(posed, source)
    scales = {v: spaces.null(space, v, recipe) if source.view == "all" else (0.0, 1.0) for v in views}
    rows = space.turned(posed.parts.one(place), recipe.composer).rows
    selection = Selection(query.filter, query.exclude, query.subset)
    found, scores = part_scores(space.store, scales, rows, selection)
    places = {ident: column for column, ident in enumerate(found)}
    labels = _labels(space, query, recipe.composer)
    return {
        ident: Contribution(
            f"{source.encoder}@{source.view}", labels, _floats(scores[:, places[ident]]), additive=False
        )
        for ident in ids
        if ident in places
    }


def of_space(
    space: Space, name: str, parts: PartRows, query: Query, composer: Stage, view: View, ids: Sequence[str]
) -> dict[str, Contribution]:
    """By item, what a query's parts add to its dot product with the query's row on one view; items without it are out.

    `parts` are the query's alone, before any transform. A correction of scores, which no part brings, is left out.
    """
    turned = space.turned(parts, composer)
    composed, vectors = turned.composition(0, composer), turned.vectors(0)
    rows, present = space.store.rows(view, ids)
    labels = _labels(space, query, composer)
    added = composed.contributions(vectors.rows, rows)
    if not composed.base.any():
        added = added[:, :-1]
    else:
        labels = (*labels, OTHER)
    return _by_item(f"{name}@{view}", labels, ids, added, present.tolist())


def of_words(space: LexicalSpace, name: str, query: Query, ids: Sequence[str]) -> dict[str, Contribution]:
    """By item, what the parts of a query that have words add to its BM25 score."""
    labels = tuple(label(part) for part in query.parts)
    added = space.contributions(query, ids)
    return _by_item(f"{name}@text", labels, ids, added, [bool(row.any()) for row in added])


def _labels(space: Space, query: Query, composer: Stage) -> tuple[str, ...]:
    return tuple(label(part) for part in together(space.encoder, [query], composer)[0].parts)


def _floats(values: Numbers) -> tuple[float, ...]:
    return tuple(map(float, values))


def _by_item(
    source: str, labels: tuple[str, ...], ids: Sequence[str], added: Numbers, present: Sequence[bool]
) -> dict[str, Contribution]:
    return {
        ident: Contribution(source, labels, _floats(row))
        for ident, row, there in zip(ids, added, present, strict=True)
        if there
    }


def label(part: Part) -> str:
    """A part in a few words: its own words in quotes, what else it is, and a sign where it pushes away."""
    sign = "−" if part.weight < 0 else ""
    if part.item is not None:
        return f"{sign}item" if not part.feedback else "liked" if part.weight > 0 else "disliked"
    if part.content is None:
        return f"{sign}vector"
    held = part.content
    said = " ".join((held.text or "").split())
    words = f"“{said if len(said) <= LABEL_CHARS else said[: LABEL_CHARS - 1].rstrip() + '…'}”" if said else ""
    seen = "clip" if held.frames else "picture" if held.image is not None else ""
    return sign + " and ".join(filter(None, [seen, words]))
