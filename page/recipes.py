"""Recipes worth offering for a library's encoders, each with a few words on what it does."""

from __future__ import annotations

from collections.abc import Sequence

from mmretrieval.errors import RetrievalError
from mmretrieval.recipe import parse

# Combining more than the first few encoders pairwise would fill the menu and say nothing new.
PAIRED = 3


def suggestions(encoders: Sequence[str]) -> list[tuple[str, str]]:
    """(label, recipe) for a menu: each encoder by itself and by view, pairs fused, and the transforms and rerankers."""
    offered: list[tuple[str, str]] = []
    for encoder in encoders:
        offered += [
            (f"{encoder}@all — pixels and words", f"{encoder}@all"),
            (f"{encoder}@visual — pixels only", f"{encoder}@visual"),
            (f"{encoder}@text — words only", f"{encoder}@text"),
            (f"{encoder}@visual,center — modality gap closed", f"{encoder}@visual,center"),
            (f"{encoder}@all,gram:100 — first 100 by volume", f"{encoder}@all,gram:100"),
        ]
    few = list(encoders)[:PAIRED]
    for i, first in enumerate(few):
        for second in few[i + 1 :]:
            joined = f"{first}@visual+{second}@visual,rrf:60"
            offered.append((f"{joined} — two lists fused", joined))
    return offered


def rival(encoders: Sequence[str], recipe: str) -> str:
    """Something to compare a recipe with: the second encoder if there is one, else the first one's pixels only."""
    other = f"{encoders[1]}@visual" if len(encoders) > 1 else f"{encoders[0]}@visual"
    return other if other != recipe else f"{encoders[0]}@text"


def complaint(text: str | None, encoders: Sequence[str]) -> str:
    """What is wrong with a recipe that somebody typed, or "" if it can be used here."""
    if not text or not text.strip():
        return "No recipe is chosen: pick one from the list."
    try:
        recipe = parse(text)
    except RetrievalError as error:
        return str(error)
    missing = [s.encoder for s in recipe.sources if s.encoder not in encoders]
    if missing:
        return (
            f"This library has no vectors of {', '.join(missing)}, it has {', '.join(encoders)}: "
            "add the encoder in the Library tab."
        )
    return ""
