"""Recipes worth offering for a library's encoders, each with a few words on what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmretrieval import catalog
from mmretrieval.errors import RetrievalError
from mmretrieval.recipe import parse

if TYPE_CHECKING:
    from mmretrieval.library import Library

# Combining more than the first few encoders pairwise would fill the menu and say nothing new.
PAIRED = 3


def suggestions(encoders: Sequence[str]) -> list[tuple[str, str]]:
    """(label, recipe) for a menu: each encoder by itself and by view, pairs fused, and the transforms and rerankers."""
    offered: list[tuple[str, str]] = []
    single = [e for e in encoders if not _gives_bags(e)]
    for encoder in encoders:
        offered += [
            (f"{encoder}@all — every view, the best counts", f"{encoder}@all"),
            (f"{encoder}@visual — pixels only", f"{encoder}@visual"),
            (f"{encoder}@text — words only", f"{encoder}@text"),
        ]
        if catalog.is_joint(encoder):
            summed = f"{encoder}@visual,sum"
            both = f"{encoder}@joint"
            offered.append((f"{summed} — parts added instead of read at once", summed))
            offered.append((f"{both} — items' pixels and words read at once", both))
        if encoder in single:
            offered += [
                (f"{encoder}@visual,center — modality gap narrowed", f"{encoder}@visual,center"),
                (f"{encoder}@all,span:100 — first 100 by angle to pixels and words", f"{encoder}@all,span:100"),
            ]
    few = list(encoders)[:PAIRED]
    for i, first in enumerate(few):
        for second in few[i + 1 :]:
            joined = f"{first}@visual+{second}@visual,rrf:60"
            offered.append((f"{joined} — two lists fused", joined))
    for encoder in single:
        volume = f"{encoder}@all,gram:100"
        offered.append((f"{volume} — by volume; for encoders trained for it", volume))
    return offered


def _gives_bags(encoder: str) -> bool:
    """Whether it is known for late interaction: transforms and rerankers of vectors refuse it."""
    try:
        return catalog.card(encoder).multi
    except RetrievalError:
        return False


def rival(encoders: Sequence[str], recipe: str) -> str:
    """Something to compare a recipe with: the second encoder if there is one, else the first one's pixels only."""
    other = f"{encoders[1]}@visual" if len(encoders) > 1 else f"{encoders[0]}@visual"
    return other if other != recipe else f"{encoders[0]}@text"


def complaint(text: str | None, library: Library) -> str:
    """What is wrong with a recipe that somebody typed, in the words of the search itself, or "" if nothing is."""
    if not text or not text.strip():
        return "No recipe is chosen: pick one from the list."
    try:
        for source in parse(text).sources:
            library.card(source.encoder)
    except RetrievalError as error:
        return str(error)
    return ""
