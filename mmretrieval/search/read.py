"""Rerankers that read: a model scores each item with the query before it, from contents instead of vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmretrieval.embedding import readable, spoken
from mmretrieval.errors import BadQuery, BadVectors
from mmretrieval.geometry import Numbers
from mmretrieval.search.compose import read_together
from mmretrieval.stages import Reordered
from mmretrieval.types import Card, Content, ContentReranker, Part


def cross(
    model: ContentReranker, parts: Sequence[Part], content: Callable[[int], Content | None], n: int, depth: float = 100
) -> Reordered:
    """A list of n items whose first `depth` are put in the order of the model's scores among the places they hold.

    `content(i)` is what is in item i, or None where it cannot be had. Items of which the model can read nothing stay
    where they are and have no score. Nogueira and Cho 2019 (arXiv 1901.04085).
    """
    query = question(parts, model.card)
    order = np.arange(n, dtype=np.int64)
    scores = np.full(n, np.nan)
    read = {place: seen for place in range(min(n, int(depth))) if (seen := shown(content(place), model.card))}
    if read:
        places = np.fromiter(read, dtype=np.int64)
        found = scored(model, query, list(read.values()))
        scores[places] = found
        order[places] = places[np.argsort(-found, kind="stable")]
    return Reordered(order, scores)


def scored(model: ContentReranker, query: Content, items: Sequence[Content]) -> Numbers:
    """The model's scores (n,) of items that it can read; BadVectors where it gives something else."""
    found = np.asarray(model.score(query, items), dtype=np.float64)
    if found.shape != (len(items),) or not np.isfinite(found).all():
        raise BadVectors(f"{model.card.spec} gave {len(items)} items scores of the shape {found.shape}, or not finite")
    return found


def question(parts: Sequence[Part], card: Card) -> Content:
    """The query as one content that the model can read; raises BadQuery where it is more, or something else."""
    if any(p.content is None for p in parts):
        raise BadQuery(f"{card.name} reads words and pictures: a stored item cannot be asked for, give its picture")
    if any(p.weight < 0 for p in parts):
        raise BadQuery(f"{card.name} cannot read what a query pushes away: leave out its negative parts, or this stage")
    whole = [p.content for p in read_together(parts) if p.content is not None]
    if len(whole) > 1:
        raise BadQuery(f"{card.name} reads one picture at a time, the query has {len(whole)}: leave one")
    if unread := [m for m in whole[0].modalities if m not in readable(card)]:
        raise BadQuery(f"{card.name} reads {spoken(readable(card))}; the query has {spoken(unread)}")
    return whole[0]


def shown(content: Content | None, card: Card) -> Content | None:
    """What the model can read of an item: all of it, or the picture, or the words."""
    if content is None or set(content.modalities) <= card.reads and (card.joint or len(content.modalities) == 1):
        return content if content is not None and content.modalities else None
    frame = content.image or (content.frames[len(content.frames) // 2] if content.frames else None)
    text = content.text if "text" in card.reads else None
    if frame is not None and "image" in card.reads:
        return Content(image=frame, text=text if card.joint else None)
    return Content(text=text) if text else None
