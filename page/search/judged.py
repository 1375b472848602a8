"""What a cut-off says of results: which are no better than chance, and which nothing can be said of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmretrieval import lexical
from mmretrieval.recipe import Recipe, parse, with_stages
from mmretrieval.search import JOINT
from mmretrieval.search.compose import read_together
from mmretrieval.types import Hit, Query
from page.notices import escape, notice

if TYPE_CHECKING:
    from page.state import Page

CUT_OFF = "cutoff:0.02"


def with_cut_off(page: Page, recipe: str) -> str:
    """The recipe with the usual cut-off, if it has none and one of its encoders gives one vector for each item."""
    chosen = parse(recipe)
    return str(chosen) if chosen.cutoff or not _judges(page, chosen) else str(with_stages(chosen, CUT_OFF))


def told(page: Page, asked: Query, hits: Sequence[Hit], recipe: str, *, wanted: bool) -> str:
    """Which hits are greyed and which were not judged, and why; nothing where all were judged and are better.

    `recipe` is the one that was searched; `wanted` whether a cut-off was asked for, whatever the recipe can do.
    """
    chosen = parse(recipe)
    if chosen.cutoff is None:
        return _hint(_without_vectors(chosen)) if wanted else ""
    judged = [hit for hit in hits if hit.chance is not None]
    if not judged:
        return _hint(_unlike_any(page, asked, chosen))
    lines = [_greyed(page, judged, len(hits), chosen), _left_out(page, len(hits) - len(judged), len(hits), chosen)]
    return notice("\n".join(filter(None, lines)))


def _hint(why: str) -> str:
    said = f"Not judged against chance: {why} That nothing is greyed does not make these good."
    return f'<p class="mm-hint mm-unjudged-all">{escape(said)}</p>'


def _searching(chosen: Recipe) -> list[str]:
    """Whatever the recipe searches by, once each."""
    return list(dict.fromkeys(source.encoder for source in chosen.sources))


def _judges(page: Page, chosen: Recipe) -> list[str]:
    """The recipe's encoders that give one vector for each item, by which chances are told."""
    return [e for e in _searching(chosen) if not lexical.is_lexical(e) and not page.library.card(e).multi]


def _without_vectors(chosen: Recipe) -> str:
    names = _searching(chosen)
    have = f"{' and '.join(names)} {'have' if len(names) > 1 else 'has'}"
    return f"{have} no one vector for each item, so how high a query that means nothing would score is not known."


def _unlike_any(page: Page, asked: Query, chosen: Recipe) -> str:
    """Why no query that means nothing can be made like this one."""
    judges = _judges(page, chosen)
    joint = [encoder for encoder in judges if page.library.card(encoder).joint]
    read = any(part.content and len(part.content.modalities) > 1 for part in read_together(asked.parts))
    if chosen.composer.name == JOINT and read and joint == judges:
        return (
            f"{' and '.join(joint)} read the words and the picture at once, and no query that means nothing is made "
            "like that. With sum in place of joint in the recipe they are judged."
        )
    return "the query has a picture, and the library has none from which a query that means nothing could be made."


def _greyed(page: Page, judged: Sequence[Hit], shown: int, chosen: Recipe) -> str:
    weak, cutoff = sum(hit.weak for hit in judged), chosen.cutoff
    if not weak or cutoff is None:
        return ""
    alone = weak == shown
    some = "All of these are" if alone else f"{weak} of these {shown} {'is' if weak == 1 else 'are'}"
    judges = _judges(page, chosen)
    others = [name for name in _searching(chosen) if name not in judges]
    beside = (
        f" Judged by the vectors of {' and '.join(judges)} alone: what {' and '.join(others)} found counts neither "
        "for nor against."
        if others
        else ""
    )
    return (
        f"{some} greyed, as no better than chance: a query that means nothing would score as high in more than "
        f"{100 * cutoff.arguments[0]:g} % of cases.{beside}"
        + (" Probably the library has nothing of the kind." if alone and not others else "")
    )


def _left_out(page: Page, number: int, shown: int, chosen: Recipe) -> str:
    if not number:
        return ""
    judges = ", ".join(str(source) for source in chosen.sources if source.encoder in _judges(page, chosen))
    were, they, them = ("was", "it has", "it") if number == 1 else ("were", "they have", "them")
    return (
        f"{number} of these {shown} {were} not judged, as the card says: {they} no vector that {judges} searches, and "
        f"another part of the recipe found {them}. That nothing is greyed there does not make {them} good."
    )
