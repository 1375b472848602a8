"""Why a hit scored as it did: what becomes of its score as parts of it are hidden. Opens no file and keeps nothing.

Pictures: one patch after the other is painted over with the picture's mean colour, and the fall of the score is what
the patch carried: occlusion, after Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014
(section 4.2), for a similarity in place of a class. Stylianou et al., "Visualizing Deep Similarity Networks", 2019, ask
the same question of the pooled features inside a network; occlusion asks it of any encoder, from outside.
Words: one word after the other is left out of the text, or one sentence where the text is long.
Clips: each frame is scored by itself, and the frame that scores highest is looked at as a picture.

What is scored is the query's composed row against the item, through the recipe's transforms. A correction, a fuser and
a reranker come after that and are not looked into.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from mmretrieval import catalog, late, lexical
from mmretrieval.bank_rows import together
from mmretrieval.contributions import OTHER, label
from mmretrieval.embedding import embed, embed_multi, views_of
from mmretrieval.errors import BadQuery
from mmretrieval.geometry import Numbers
from mmretrieval.late_space import LateSpace
from mmretrieval.lexical import Ids, Terms
from mmretrieval.lexical_space import LexicalSpace
from mmretrieval.library.contents import cut_of
from mmretrieval.media.video import frame_times
from mmretrieval.posed import Posed, views_searched
from mmretrieval.recipe import Recipe, Source, parse
from mmretrieval.search import BLENDS
from mmretrieval.spaces import Space
from mmretrieval.types import Content, Encoder, Item, Part, Query, Transform, View

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmretrieval.engine import Engine

# A picture is looked at in so many squares a side, and patches of PATCH x PATCH squares of it are hidden.
GRID, MOST_GRID, PATCH = 8, 16, 2
# Contents that an encoder is given at once: between two batches a search gets its turn.
BATCH = 10
# Texts of more words are taken sentence by sentence, and very long ones by runs of sentences.
MOST_WORDS, MOST_PIECES = 60, 60
# BM25 needs no encoder, and takes ten times as many.
MOST_TERMS = 600
WORD = re.compile(r"\w+(?:['’.-]\w+)*")
SENTENCE = re.compile(r"\S.*?(?:[.!?…]+(?=\s)|$)", re.MULTILINE | re.DOTALL)

Ends = tuple[int, int]
# Contents of an item to what each part of the query adds to their scores (n, p); a row's sum is the score.
Scored = Callable[[Sequence[Content]], Numbers]


@dataclass(frozen=True, eq=False)
class Falls:
    """By how much the score of an item on `source` falls as each of n pieces of it is hidden, part by part.

    `parts` name the p parts of the query, `scores` (p,) are what each adds to the score of the whole item, `falls`
    (p, n) what of that is lost without each piece: above 0, the piece speaks for the hit; below 0, against it.
    """

    source: str
    parts: tuple[str, ...]
    scores: Numbers
    falls: Numbers

    @property
    def score(self) -> float:
        """The score of the whole item."""
        return float(self.scores.sum())

    @cached_property
    def total(self) -> Numbers:
        """The falls (n,) of the score itself: the sum over the parts."""
        total: Numbers = self.falls.sum(axis=0)
        return total


@dataclass(frozen=True, eq=False)
class Regions(Falls):
    """The squares of a picture, row by row; `grid` is (rows, columns). `at`: the time in seconds of a clip's frame."""

    picture: Image
    grid: tuple[int, int]
    at: float | None = None

    def map(self, part: int | None = None) -> Numbers:
        """The falls (rows, columns) of the score, or of what one part adds to it."""
        chosen: Numbers = self.total if part is None else self.falls[part]
        return chosen.reshape(self.grid)


@dataclass(frozen=True, eq=False)
class Words(Falls):
    """The pieces of a text, each from `spans[i][0]` to before `spans[i][1]`; `whole`: they are sentences, not words."""

    text: str
    spans: tuple[tuple[int, int], ...]
    whole: bool = False


@dataclass(frozen=True, eq=False)
class Moments:
    """The frames of a clip, each scored by itself: (p, n) by part, at `times` in seconds from the film's start."""

    source: str
    parts: tuple[str, ...]
    times: tuple[float, ...]
    scores: Numbers

    @cached_property
    def total(self) -> Numbers:
        """The frames' scores (n,)."""
        total: Numbers = self.scores.sum(axis=0)
        return total


Finding = Regions | Words | Moments


@dataclass(frozen=True, eq=False)
class Why:
    """What was found, the view first on which the item scored best, and what must be known to read it."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()


def why(engine: Engine, query: Query, recipe: str | Recipe, item: Item, content: Content, *, grid: int = GRID) -> Why:
    """What in an item carried its score for a query under a recipe; `content` is what the item holds.

    Looked at are the recipe's first encoder, on each view that it searches and the item has, and BM25 where it is
    asked too. Costs (grid - 1)^2 + 1 pictures for a picture, and a text for each of its words (60 at most). Raises
    BadQuery where the item has nothing that the recipe searches, and for a grid outside 2..16; else as Engine.rank.
    """
    if not 2 <= grid <= MOST_GRID:
        raise BadQuery(f"a grid of {grid} x {grid} squares cannot be looked at: take 2 to {MOST_GRID}")
    chosen = parse(recipe) if isinstance(recipe, str) else recipe
    query = replace(query, parts=tuple(part for part in query.parts if part.weight))
    encoders = [source for source in chosen.sources if not lexical.is_lexical(source.encoder)]
    findings: list[Finding] = []
    for source in encoders[:1]:
        findings += _of_encoder(engine, source, chosen, query, item, content, grid)
    for source in chosen.sources:
        if lexical.is_lexical(source.encoder) and (content.text or "").strip():
            findings += _of_words(engine, source, chosen, query, item, content.text or "")
    if not findings:
        searched = " and ".join(str(source) for source in chosen.sources)
        raise BadQuery(f"this item has nothing that {searched} looks at: choose a recipe that found it")
    return Why(tuple(findings), tuple(_notes(chosen, encoders, findings)))


def _notes(recipe: Recipe, encoders: Sequence[Source], findings: Sequence[Finding]) -> Iterator[str]:
    if len(encoders) > 1:
        rest = ", ".join(map(str, encoders[1:]))
        yield f"Shown for {encoders[0]}; {rest} had a say in the order too: ask with that encoder alone to see it."
    if recipe.composer.name in BLENDS:
        yield f"{recipe.composer} compares each part with every item by itself; shown is their weighted sum."
    after = [str(s) for s in (recipe.correction, recipe.fuser, *recipe.rerankers) if s is not None]
    if after:
        yield f"Shown is the score that {', '.join(after)} began with."
    if any(isinstance(found, Moments) for found in findings):
        yield "Each frame was scored by itself; the clip's own score is that of all of them together."


# --- scoring contents ------------------------------------------------------------------------------------------------


def _of_encoder(
    engine: Engine, source: Source, recipe: Recipe, query: Query, item: Item, content: Content, grid: int
) -> list[Finding]:
    """What one encoder saw on each view, the view first that counted: standardised, as `@all` compares them."""
    posed = engine.posed(source.encoder, recipe, [query])
    space = posed.space
    assert isinstance(space, Space | LateSpace)
    if isinstance(space, Space):
        encoder, transforms = _side_of_items(space, recipe)
    else:
        encoder, transforms = space.encoder, ()
    able = [view for view in views_searched(posed, source) if view in views_of(encoder.card)]
    found: list[tuple[float, list[Finding]]] = []
    for view in able:
        held = _held(view, content)
        if held is None:
            continue
        parts, scored = _scorer(posed, recipe, query, view, encoder, transforms)
        name = f"{source.encoder}@{view}"
        if held.text is not None and held.image is None and not held.frames:
            one: list[Finding] = [_words(name, parts, scored, held.text)]
        else:
            one = _seen(name, parts, scored, held, item, grid)
        mean, deviation = engine.spaces.null(space, view, recipe) if len(able) > 1 else (0.0, 1.0)
        found.append(((_best(one) - mean) / deviation, one))
    return [finding for _, some in sorted(found, key=lambda f: -f[0]) for finding in some]


def _best(found: Sequence[Finding]) -> float:
    return max(f.score if isinstance(f, Falls) else float(f.total.max()) for f in found)


def _held(view: View, content: Content) -> Content | None:
    """What an encoder is shown of an item for one view; None where the item lacks it."""
    text = content.text if (content.text or "").strip() else None
    seen = content.image is not None or bool(content.frames)
    if view == "text":
        return None if text is None else Content(text=text)
    if not seen or (view == "joint" and text is None):
        return None
    return replace(content, text=text if view == "joint" else None)


def _side_of_items(space: Space, recipe: Recipe) -> tuple[Encoder, tuple[Transform, ...]]:
    """What makes an item's row: the encoder whose items are searched, and the transforms from there on.

    A transform that leads to another encoder's items leaves those as that encoder made them, until the next stage.
    """
    encoder, first = space.encoder, 0
    for place, stage in enumerate(recipe.transforms):
        if stage.model:
            encoder, first = catalog.load(stage.model), place
    return encoder, space.transforms[first:]


def _scorer(
    posed: Posed, recipe: Recipe, query: Query, view: View, encoder: Encoder, transforms: Sequence[Transform]
) -> tuple[tuple[str, ...], Scored]:
    """The names of the query's parts, and what each adds to the score of contents that stand for one view."""
    if isinstance(posed.space, LateSpace):
        return ("the query",), partial(_row_by_row, posed, encoder)
    assert isinstance(posed.space, Space) and posed.parts is not None
    turned = posed.space.turned(posed.parts, recipe.composer)
    composed, vectors = turned.composition(0, recipe.composer), turned.vectors(0)
    labels = tuple(label(part) for part in together(posed.space.encoder, [query], recipe.composer)[0].parts)
    based = bool(composed.base.any())

    def scored(contents: Sequence[Content]) -> Numbers:
        rows = embed(encoder, contents, "item", BATCH)
        for transform in transforms:
            rows = transform.items(view, rows)
        added = composed.contributions(vectors.rows, rows)
        return added if based else added[:, :-1]

    return (*labels, *([OTHER] if based else [])), scored


def _row_by_row(posed: Posed, encoder: Encoder, contents: Sequence[Content]) -> Numbers:
    """MaxSim of the whole query (n, 1): what matches a row of the item may come from any of its parts."""
    rows, weights = posed.rows[0]  # type: ignore[misc]
    bags = embed_multi(encoder, contents, "item", BATCH)
    return late.maxsim(rows, weights, bags, range(len(bags)))[:, None]


# --- pictures and clips ----------------------------------------------------------------------------------------------


def _seen(name: str, parts: tuple[str, ...], scored: Scored, held: Content, item: Item, grid: int) -> list[Finding]:
    if held.image is not None:
        return [regions(name, parts, scored, held, grid)]
    frames = [replace(held, image=frame, frames=()) for frame in held.frames]
    scores = scored(frames).T
    times = tuple(frame_times(cut_of(item), len(frames)))
    moments = Moments(name, parts, times, scores)
    best = int(moments.total.argmax())
    return [moments, replace(regions(name, parts, scored, frames[best], grid), at=times[best])]


def regions(name: str, parts: tuple[str, ...], scored: Scored, held: Content, grid: int = GRID) -> Regions:
    """How the score falls as patches of a picture are painted over with its mean colour; words stay beside it.

    A patch is two squares wide and high and moves by one, so that (grid - 1)^2 are looked at; a square's fall is the
    mean over the patches that cover it: 4, or fewer at the edge. Single squares say less: what one hides, its
    neighbours still show. Pictures narrower than the grid have a square for each pixel.
    """
    shown = held.image
    assert shown is not None
    rows, columns = min(grid, shown.height), min(grid, shown.width)
    tops = [(n, n + min(PATCH, rows)) for n in range(max(1, rows - PATCH + 1))]
    lefts = [(n, n + min(PATCH, columns)) for n in range(max(1, columns - PATCH + 1))]
    places = [(top, left) for top in tops for left in lefts]
    scores = scored([held, *(replace(held, image=hidden) for hidden in _occluded(shown, rows, columns, places))])
    falls, covered = np.zeros((scores.shape[1], rows, columns)), np.zeros((rows, columns))
    for (top, left), fallen in zip(places, scores[0] - scores[1:], strict=True):
        falls[:, slice(*top), slice(*left)] += fallen[:, None, None]
        covered[slice(*top), slice(*left)] += 1
    flat = (falls / covered).reshape(len(falls), rows * columns)
    return Regions(name, parts, scores[0], flat, shown, (rows, columns))


def _occluded(shown: Image, rows: int, columns: int, places: Sequence[tuple[Ends, Ends]]) -> Iterator[Image]:
    """The picture once for each place (first and last row, first and last column), that in the mean colour of all."""
    shown = shown.convert("RGB")
    red, green, blue = (round(float(value)) for value in np.asarray(shown, dtype=np.float64).mean(axis=(0, 1)))
    down, across = _edges(shown.height, rows), _edges(shown.width, columns)
    for (top, bottom), (left, right) in places:
        painted = shown.copy()
        painted.paste((red, green, blue), (across[left], down[top], across[right], down[bottom]))
        yield painted


def _edges(size: int, count: int) -> list[int]:
    """Where `count` parts of a side begin, and where the last one ends."""
    return [round(place * size / count) for place in range(count + 1)]


# --- words -----------------------------------------------------------------------------------------------------------


def _words(name: str, parts: tuple[str, ...], scored: Scored, text: str, most: int = MOST_WORDS) -> Words:
    """How the score falls as each piece of a text is left out; without its only piece a text scores 0."""
    spans, whole = pieces(text, most)
    rest = [without(text, span) for span in spans]
    kept = [place for place, left in enumerate(rest) if WORD.search(left)]
    found = scored([Content(text=text), *(Content(text=rest[place]) for place in kept)])
    falls = np.repeat(found[:1], len(spans), axis=0)
    falls[kept] -= found[1:]
    return Words(name, parts, found[0], falls.T, text, spans, whole)


def pieces(text: str, most: int = MOST_WORDS) -> tuple[tuple[tuple[int, int], ...], bool]:
    """The spans of a text's words, or, with True, of its sentences where it has more than `most` words.

    Of more than 60 sentences neighbours are taken together. A text without words is one piece.
    """
    words = [found.span() for found in WORD.finditer(text)]
    if 0 < len(words) <= most:
        return tuple(words), False
    sentences = [found.span() for found in SENTENCE.finditer(text) if WORD.search(found.group())]
    if not sentences:
        return ((0, len(text)),), True
    runs = np.array_split(np.arange(len(sentences)), min(len(sentences), MOST_PIECES))
    return tuple((sentences[run[0]][0], sentences[run[-1]][1]) for run in runs), True


def without(text: str, span: tuple[int, int]) -> str:
    """The text with one span cut out, and no space doubled where it stood."""
    before, after = text[: span[0]].rstrip(), text[span[1] :].lstrip()
    return f"{before} {after}".strip()


def _of_words(engine: Engine, source: Source, recipe: Recipe, query: Query, item: Item, text: str) -> list[Finding]:
    """The words of a text as BM25 weighs them, where the query shares one with it."""
    space = engine.posed(source.encoder, recipe, [query]).space
    assert isinstance(space, LexicalSpace)
    parts = tuple(label(part) for part in query.parts)
    found = _words(f"{source.encoder}@text", parts, by_terms(space, query, item.id), text, MOST_TERMS)
    return [found] if found.scores.any() else []


def by_terms(space: LexicalSpace, query: Query, ident: str) -> Scored:
    """BM25 of texts that are an item's own less some words: each term is as telling as in the library as it is."""
    own = space.store.terms(ident)
    if not len(own):
        return lambda contents: np.zeros((len(contents), len(query.parts)))
    place = int(space.store.listing.places([ident])[0])
    weights = space.store.texts.taken(np.array([place])).weights.astype(np.float64)
    alone = [space.store.scores(Terms(own[[at]], np.ones(1)), [ident])[0] for at in range(len(own))]
    spoken = [_terms(space, part) for part in query.parts]
    whole = math.fsum(abs(p.weight) for p, terms in zip(query.parts, spoken, strict=True) if terms is not None)
    told = np.zeros((len(spoken), len(own)))  # what a weight of 1 of each term adds, by part
    for row, part, terms in zip(told, query.parts, spoken, strict=True):
        if terms is not None:
            row[:] = np.isin(own, terms) * np.array(alone) / weights * (part.weight / whole)

    def scored(contents: Sequence[Content]) -> Numbers:
        texts = lexical.read(content.text or "" for content in contents)
        out = np.zeros((len(contents), len(told)))
        for row, at in zip(out, range(len(texts)), strict=True):
            one = texts.taken(np.array([at]))
            known = np.isin(one.terms, own)
            row[:] = told[:, np.searchsorted(own, one.terms[known])] @ one.weights[known].astype(np.float64)
        return out

    return scored


def _terms(space: LexicalSpace, part: Part) -> Ids | None:
    """The terms of a part of a query, as `LexicalSpace` has them; None where it is no words."""
    if part.content is None:
        return space.store.terms(part.item) if part.item and len(space.store.terms(part.item)) else None
    return None if part.content.text is None else lexical.terms_of(part.content.text)
