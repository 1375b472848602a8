"""What a cut-off says of results: which are no better than chance, and which nothing can be said of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmretrieval import lexical
from mmretrieval.chances import reads_at_once
from mmretrieval.recipe import Recipe, parse, with_stages
from mmretrieval.search import JOINT
from mmretrieval.types import Hit, Query
from page.notices import escape, notice

if TYPE_CHECKING:
    from page.state import Page

CUT_OFF = "cutoff:0.02"
NONE_LIKE_THAT = "no query that means nothing is made like that"


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
    judges = _judging(page, asked, chosen)
    at_once = [name for name in _judges(page, chosen) if name not in judges]
    where = "what is searched here" if asked.filter or asked.subset is not None else "the library"
    lines = [
        _greyed(judged, len(hits), chosen, judges, at_once, where),
        _left_out(len(hits) - len(judged), len(hits), chosen, judges),
    ]
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


def _judging(page: Page, asked: Query, chosen: Recipe) -> list[str]:
    """Those of them that judge this query: all but the ones that read its words and picture at once."""
    judges = _judges(page, chosen)
    return [name for name in judges if not reads_at_once(page.library.card(name), asked, chosen.composer)]


def _without_vectors(chosen: Recipe) -> str:
    names = _searching(chosen)
    have = f"{' and '.join(names)} {'have' if len(names) > 1 else 'has'}"
    return f"{have} no one vector for each item, so how high a query that means nothing would score is not known."


def _unlike_any(page: Page, asked: Query, chosen: Recipe) -> str:
    """Why no query that means nothing can be made like this one."""
    judges = _judges(page, chosen)
    if judges and not _judging(page, asked, chosen):
        instead = " With sum in place of joint in the recipe they are judged." if chosen.composer.name == JOINT else ""
        return f"{' and '.join(judges)} read the words and the picture at once, and {NONE_LIKE_THAT}.{instead}"
    return "the query has a picture, and the library has none from which a query that means nothing could be made."


def _greyed(
    judged: Sequence[Hit], shown: int, chosen: Recipe, judges: Sequence[str], at_once: Sequence[str], where: str
) -> str:
    """How many hits are greyed, and by whose vectors; `at_once` are the encoders that read the query as one."""
    weak, cutoff = sum(hit.weak for hit in judged), chosen.cutoff
    others = [name for name in _searching(chosen) if name not in judges]
    beside = (
        f"Judged by the vectors of {' and '.join(judges)} alone: what {' and '.join(others)} found counts neither "
        "for nor against."
        if others
        else ""
    )
    if at_once:
        read = "reads" if len(at_once) == 1 else "read"
        beside += f" {' and '.join(at_once)} {read} the words and the picture at once, and {NONE_LIKE_THAT}."
    if not weak or cutoff is None:
        return f"None of these is greyed. {beside}" if at_once else ""
    alone = weak == shown
    some = "All of these are" if alone else f"{weak} of these {shown} {'is' if weak == 1 else 'are'}"
    said = (
        f"{some} greyed, as no better than chance: a query that means nothing would score as high in more than "
        f"{100 * cutoff.arguments[0]:g} % of cases."
    )
    likely = f"Probably {where} has nothing of the kind." if alone and not others else ""
    return " ".join(filter(None, [said, beside, likely]))


def _left_out(number: int, shown: int, chosen: Recipe, judges: Sequence[str]) -> str:
    if not number:
        return ""
    searched = ", ".join(str(source) for source in chosen.sources if source.encoder in judges)
    were, they, them = ("was", "it has", "it") if number == 1 else ("were", "they have", "them")
    return (
        f"{number} of these {shown} {were} not judged, as the card says: {they} no vector that {searched} searches, "
        f"and another part of the recipe found {them}. That nothing is greyed there does not make {them} good."
    )
