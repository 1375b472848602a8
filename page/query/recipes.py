"""Recipes worth offering for a library's encoders, each with a few words on what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmretrieval import catalog
from mmretrieval.errors import RetrievalError
from mmretrieval.recipe import SLOTS, parse
from mmretrieval.search import READERS
from mmretrieval.transforms import TARGETED

if TYPE_CHECKING:
    from mmretrieval.library import Library

# Combining more than the first few encoders pairwise would fill the menu and say nothing new; so would every stage
# with every encoder.
PAIRED = 3
STAGED = 2
OFFERED = ("transform", "correction", "reranker")
# What may repair a space, each after ENCODER@VIEW.
REPAIRS = (
    ("visual,center", "modality gap narrowed"),
    ("visual,nnn", "hubs lose what they owe to being near everything"),
    ("visual,csls", "nearness against that of the nearest neighbours"),
    ("visual,mrl,rescore", "found by short vectors, ordered by whole ones"),
    ("visual,superglobal", "neighbours in the list speak for each item"),
    ("all,span:100", "first 100 by angle to pixels and words"),
)


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
        if encoder in single[:STAGED]:
            offered += [(f"{encoder}@{rest} — {does}", f"{encoder}@{rest}") for rest, does in REPAIRS]
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


def stages() -> list[tuple[str, str]]:
    """(stage, what it does) of everything that may be tried on a recipe and needs no other model."""
    named = [(name, row) for slot, rows, _ in SLOTS for name, row in rows.items() if slot in OFFERED]
    return [(name, row.promise) for name, row in named if name not in TARGETED and name not in READERS]


def joined(left: str, right: str) -> str:
    """Both recipes' encoders in one recipe, for what compares two of them; "" where they are changed differently."""
    a, b = parse(left), parse(right)
    if len(a.sources) != 1 or len(b.sources) != 1 or a.sources == b.sources or a.transforms != b.transforms:
        return ""
    return str(parse(",".join([f"{a.sources[0]}+{b.sources[0]}", *map(str, a.transforms)])))
