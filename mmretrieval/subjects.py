"""What diagnostics look at, out of a library: its spaces as a recipe transforms them, with questions and a bank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mmretrieval.bank import nulls
from mmretrieval.bank_rows import bank_rows
from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.engine import Engine
from mmretrieval.errors import BadRecipe, UnknownName
from mmretrieval.geometry import unit
from mmretrieval.lexical import is_lexical
from mmretrieval.library import Library
from mmretrieval.recipe import Recipe, Source, Stage, check_view, parse
from mmretrieval.spaces import Space, banked
from mmretrieval.store.exact import Matrix
from mmretrieval.types import Array, Card, Query, View

# Captions that stand for queries: more would tell little more, and cost time with each correction.
MOST_CAPTIONS = 2000


@dataclass(frozen=True, eq=False)
class Question:
    """A query with known answers: its kind (text, image, composed) and the ids of the items that answer it.

    `words` are what it asks, as people read it: a picture stands in them by the name of its file.
    """

    query: Query
    kind: str
    relevant: frozenset[str]
    words: str = ""


def of_library(
    library: Library,
    recipe: str,
    *,
    questions: Sequence[Question] = (),
    engine: Engine | None = None,
    classes: str = "",
    seed: int = 0,
) -> Subject:
    """A library's space as a recipe's encoder, view and transforms make it; a second encoder is its rival.

    Without `questions` the items' own words ask for their items: at most 2,000 of them, drawn by `seed`. `classes` is
    the key of the items' metadata that says what class an item is of. `engine` brings a bank of its own (it must be
    exact); by default it is that of generic captions. These are the null questions, whatever the bank. What comes after
    the transforms of a recipe does not count here. Raises BadRecipe for a late-interaction encoder, which has no one
    row for an item, and for a view that the encoder does not make, or that no item has.
    """
    chosen = parse(recipe)
    check_compared(chosen, library.card)
    engine = engine or Engine(library, exact=True)
    named = _classes(library, classes) if classes else {}
    for source in compared(chosen):
        _there(library, source)
    seen = [_seen(engine, source, chosen, questions, named, seed) for source in compared(chosen)]
    return replace(seen[0], rival=seen[1]) if len(seen) > 1 else seen[0]


def compared(recipe: Recipe) -> tuple[Source, ...]:
    """The sources that a subject is of: the recipe's first, and the first of another encoder, if there is one.

    Two views of one encoder are one space, which has nothing to say against itself.
    """
    first = recipe.sources[0]
    return (first, *[source for source in recipe.sources if source.encoder != first.encoder][:1])


def check_compared(recipe: Recipe, card_of: Callable[[str], Card]) -> None:
    """Raises BadRecipe for a source that no diagnostic can look at, by what is known of its encoder alone."""
    for source in compared(recipe):
        if is_lexical(source.encoder):
            raise BadRecipe(f"{source.encoder} compares words, and a diagnostic compares vectors: choose an encoder")
        card = card_of(source.encoder)
        check_view(str(source), source.view, card)
        if card.multi:
            raise BadRecipe(
                f"{source.encoder} gives several vectors for each item, and a diagnostic compares one: choose another "
                "encoder"
            )


def _there(library: Library, source: Source) -> None:
    """Refuses a view of which the library has no vector."""
    card = library.card(source.encoder)
    held = [view for view, matrix in library.matrices(source.encoder).items() if len(matrix.ids)]
    if not held:
        raise BadRecipe(f"{source}: no item of this library has a vector of {card.name}: add pictures with captions")
    if source.view != "all" and source.view not in held:
        raise BadRecipe(
            f"{source}: no item of this library has a {source.view} vector of {card.name}: take "
            f"{' or '.join(f'{source.encoder}@{view}' for view in held)}, or add items that have one"
        )


def _seen(
    engine: Engine,
    source: Source,
    recipe: Recipe,
    questions: Sequence[Question],
    classes: Mapping[str, str],
    seed: int,
) -> Subject:
    part = Recipe((source,), recipe.transforms, recipe.composer)
    posed = engine.posed(source.encoder, part, [q.query for q in questions])
    space = posed.space
    # check_compared has refused what has no such space.
    assert isinstance(space, Space)
    reference = space.reference or engine.spaces.reference(source.encoder, recipe.composer)
    held: dict[str, Matrix] = {view: reference.items[view] for view in space.views}
    searched: View = source.view if source.view != "all" else ("visual" if "visual" in held else space.views[0])
    if questions:
        asked = Questions(
            np.asarray(posed.rows, dtype=np.float32),
            tuple(q.query.id for q in questions),
            tuple(q.kind for q in questions),
            tuple(q.relevant for q in questions),
            tuple(q.query.exclude for q in questions),
            words=tuple(q.words for q in questions),
        )
    else:
        asked = _captions(engine, source.encoder, space, searched, seed)
    name = ",".join([str(source), *map(str, recipe.transforms)])
    blank = _nulls(space, recipe.composer)
    return Subject(held, searched, name, asked if len(asked) else None, reference, classes=classes, nulls=blank)


def _nulls(space: Space, composer: Stage) -> Array | None:
    """The generic captions as questions of the space, composed as `Spaces.null` has them; None if it reads no words."""
    if "text" not in space.encoder.card.reads:
        return None
    return space.composed(bank_rows(space.encoder, nulls(), banked(composer)), banked(composer), blank=True)


def _captions(engine: Engine, spec: str, space: Space, searched: View, seed: int) -> Questions:
    """The items' own words as queries for the items themselves, transformed as queries are."""
    matrices = engine.library.matrices(spec)
    ids: list[str] = []
    if "text" in matrices and searched in matrices and searched != "text":
        ids = sorted(set(matrices["text"].ids) & set(matrices[searched].ids))
    if len(ids) > MOST_CAPTIONS:
        drawn = np.random.default_rng([seed, len(ids)]).choice(len(ids), size=MOST_CAPTIONS, replace=False)
        ids = [ids[i] for i in np.sort(drawn)]
    if not ids:
        return Questions(np.empty((0, 0), dtype=np.float32), (), (), ())
    rows: Array = np.asarray(matrices["text"].rows[matrices["text"].places(ids)])
    for transform in space.transforms:
        rows = transform.query("text", rows)
    told = engine.library.items_by_id(ids)
    words = tuple(" ".join(told[i].text.split()) for i in ids)
    return Questions(unit(rows), tuple(ids), ("caption",) * len(ids), tuple(frozenset([i]) for i in ids), words=words)


def _classes(library: Library, key: str) -> dict[str, str]:
    """The class of each item that has one. Raises UnknownName, with the keys that there are, where no item has."""
    keys: dict[str, None] = {}
    found = {}
    for item in library.items():
        keys |= dict.fromkeys(item.meta)
        if item.meta.get(key) not in (None, ""):
            found[item.id] = str(item.meta[key])
    if not found:
        raise UnknownName(
            f"no item has a class under {key!r}: its metadata have {', '.join(sorted(keys)) or 'no keys'}"
        )
    return found
