"""Recipes as evaluations take them: known before any work begins, and in the precision that numbers are reported in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eval.runs import TRANSDUCTIVE
from mmretrieval import catalog
from mmretrieval.lexical import is_lexical
from mmretrieval.recipe import check_view, parse, stage_of
from mmretrieval.transforms import TARGETED


def encoders_of(recipes: Sequence[str], stages: Sequence[str] = ()) -> tuple[str, ...]:
    """The encoders of all recipes, and those that stages lead to; what is bad or unknown is refused before any work."""
    led = (stage for stage in map(stage_of, stages) if stage.name in TARGETED)
    found = tuple(
        dict.fromkeys([*(spec for text in recipes for spec in parse(text).encoders), *(s.model for s in led)])
    )
    for spec in found:
        catalog.card(spec)
    for source in (source for text in recipes for source in parse(text).sources):
        if not is_lexical(source.encoder):
            check_view(str(source), source.view, catalog.card(source.encoder))
    return found


def in_full_precision(text: str) -> str:
    """The recipe with precision=fp32 wherever a model would run faster and rougher, and nobody has chosen that."""
    chosen = parse(text)
    sources = tuple(
        s if is_lexical(s.encoder) else replace(s, encoder=catalog.in_full_precision(s.encoder)) for s in chosen.sources
    )
    transforms, rerankers = (
        tuple(replace(s, model=s.model and catalog.in_full_precision(s.model)) for s in stages)
        for stages in (chosen.transforms, chosen.rerankers)
    )
    exact = replace(chosen, sources=sources, transforms=transforms, rerankers=rerankers)
    return text if exact == chosen else str(exact)


def transductive(text: str) -> str:
    """What stands behind a recipe whose answers to one query depend on the others asked with it; else nothing."""
    return TRANSDUCTIVE if parse(text).transductive else ""
