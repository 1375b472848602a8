"""The recipe: every choice that can change a ranking, as one value with one text form.

    lite@visual
    lite@visual+lite-0@visual,rrf:60
    lite,center,sum,gram:100

Stages are separated by commas, arguments follow colons. Their order is fixed: sources (encoders and views, joined
by +), transforms, composer, fuser, rerankers. `parse` and `str` are inverse to each other: the text that `str` gives
always spells out composer, fuser, views and arguments, so that a recipe in a run file hides no default.
"""

from __future__ import annotations

import difflib
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mmretrieval import catalog
from mmretrieval.errors import BadRecipe
from mmretrieval.search import COMPOSERS, FUSERS, JOINT, READERS, RERANKERS
from mmretrieval.transforms import TRANSFORMS
from mmretrieval.types import VIEWS, StageRow, View

SearchedView = View | Literal["all"]
SEARCHED_VIEWS: tuple[str, ...] = (*VIEWS, "all")

# In the order in which stages stand in a recipe. "one": at most one stage; "many": any number, in the order given.
SLOTS: tuple[tuple[str, Mapping[str, StageRow[Any]], Literal["one", "many"]], ...] = (
    ("transform", TRANSFORMS, "many"),
    ("composer", COMPOSERS, "one"),
    ("fuser", FUSERS, "one"),
    ("reranker", ChainMap(READERS, RERANKERS), "many"),
)
DEFAULT_COMPOSER = "sum"
DEFAULT_FUSER = "rrf"
# More than anybody can interpret; a page must not be kept busy by one visitor's list of a thousand.
LONGEST = 16


@dataclass(frozen=True)
class Source:
    """One encoder searched on one view, or on all of them."""

    encoder: str
    view: SearchedView = "all"

    def __str__(self) -> str:
        return f"{self.encoder}@{self.view}"


@dataclass(frozen=True)
class Stage:
    """One stage with all its arguments; `model` is the spec of what a stage of READERS reads with."""

    name: str
    arguments: tuple[float, ...] = ()
    model: str = ""

    def __str__(self) -> str:
        return ":".join([self.name, *([self.model] if self.model else []), *map(_written, self.arguments)])


@dataclass(frozen=True)
class Recipe:
    """Which spaces are searched, and what happens to vectors, scores and lists on the way."""

    sources: tuple[Source, ...]
    transforms: tuple[Stage, ...] = ()
    composer: Stage = Stage(DEFAULT_COMPOSER)
    fuser: Stage | None = None
    rerankers: tuple[Stage, ...] = ()

    def __str__(self) -> str:
        stages = [*self.transforms, self.composer, *([self.fuser] if self.fuser else []), *self.rerankers]
        return ",".join(["+".join(map(str, self.sources)), *map(str, stages)])


def parse(text: str) -> Recipe:
    """The recipe that a text spells; defaults are filled in. Raises BadRecipe, which names the nearest valid stage."""
    head, *rest = (piece.strip() for piece in text.strip().split(","))
    if not head:
        raise BadRecipe(f"recipe {text!r} names no encoder: begin with one, as in lite@visual")
    if len(rest) + head.count("+") > LONGEST:
        raise BadRecipe(f"recipe {text[:60]!r}... has more than {LONGEST} encoders and stages: leave some out")
    sources = tuple(_source(piece.strip(), text) for piece in head.split("+"))
    if len(set(sources)) != len(sources):
        raise BadRecipe(f"recipe {text!r} names the same encoder and view twice")
    found: dict[str, list[Stage]] = {slot: [] for slot, _, _ in SLOTS}
    reached = 0
    for piece in rest:
        place, stage = _stage(piece, text)
        slot, _, many = SLOTS[place]
        if place < reached:
            raise BadRecipe(
                f"recipe {text!r}: {slot} {stage.name!r} stands after a {SLOTS[reached][0]}; "
                f"the order is {', '.join(s for s, _, _ in SLOTS)}"
            )
        if many == "one" and found[slot]:
            raise BadRecipe(f"recipe {text!r} has two {slot}s, {found[slot][0].name!r} and {stage.name!r}: keep one")
        found[slot].append(stage)
        reached = place
    return _whole(sources, found, text)


def _whole(sources: tuple[Source, ...], found: dict[str, list[Stage]], text: str) -> Recipe:
    fuser = found["fuser"][0] if found["fuser"] else None
    if fuser and len(sources) == 1:
        raise BadRecipe(f"recipe {text!r}: {fuser.name} joins several lists; add an encoder with +, or leave it out")
    if fuser is None and len(sources) > 1:
        fuser = Stage(DEFAULT_FUSER, _defaults(FUSERS[DEFAULT_FUSER]))
    usual = JOINT if any(catalog.is_joint(s.encoder) for s in sources) else DEFAULT_COMPOSER
    composer = found["composer"][0] if found["composer"] else Stage(usual, _defaults(COMPOSERS[usual]))
    return Recipe(sources, tuple(found["transform"]), composer, fuser, tuple(found["reranker"]))


def _source(piece: str, text: str) -> Source:
    encoder, _, view = (half.strip() for half in (piece.rpartition("@") if "@" in piece else (piece, "@", "all")))
    if not encoder:
        raise BadRecipe(f"recipe {text!r}: {piece!r} names no encoder before the @")
    if view not in SEARCHED_VIEWS:
        near = difflib.get_close_matches(view, SEARCHED_VIEWS, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BadRecipe(f"recipe {text!r}: {view!r} is not a view, use {', '.join(SEARCHED_VIEWS)}{hint}")
    return Source(str(catalog.parse_spec(encoder)), view)  # type: ignore[arg-type]  # checked against SEARCHED_VIEWS just above


def _stage(piece: str, text: str) -> tuple[int, Stage]:
    name, *raw = piece.split(":")
    if name in READERS:
        return len(SLOTS) - 1, _reading(name, raw, text)
    for place, (_, table, _) in enumerate(SLOTS):
        if name in table:
            return place, Stage(name, _arguments(name, raw, table[name], text))
    known = [n for _, table, _ in SLOTS for n in table]
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise BadRecipe(f"recipe {text!r}: no stage is called {name!r}.{hint} There are: {', '.join(known)}.")


def _reading(name: str, raw: list[str], text: str) -> Stage:
    """cross:SPEC or cross:SPEC:DEPTH, where the spec may hold colons itself."""
    depth = [raw.pop()] if len(raw) > 1 and raw[-1].strip().lstrip("+-").replace(".", "").isdigit() else []
    if not (spec := ":".join(raw).strip()):
        raise BadRecipe(
            f"recipe {text!r}: {name} names no model: write {name}:MODEL:DEPTH; `python -m models list` has them"
        )
    return Stage(name, _arguments(name, depth, READERS[name], text), str(catalog.parse_spec(spec)))


def _written(number: float) -> str:
    """The shortest text that `float` reads back as the same number: 60 rather than 60.0."""
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(float(number))


def _defaults(row: StageRow[Any]) -> tuple[float, ...]:
    return tuple(p.default for p in row.parameters)


def _arguments(name: str, raw: list[str], row: StageRow[Any], text: str) -> tuple[float, ...]:
    if len(raw) > len(row.parameters):
        takes = ":".join([name, *(p.name for p in row.parameters)])
        raise BadRecipe(f"recipe {text!r}: {name} takes {len(row.parameters)} arguments ({takes}), not {len(raw)}")
    values = list(_defaults(row))
    for i, (written, parameter) in enumerate(zip(raw, row.parameters, strict=False)):
        try:
            value = float(written)
        except ValueError:
            value = float("nan")
        if not parameter.low <= value <= parameter.high or (parameter.whole and value != int(value)):
            number = "a whole number" if parameter.whole else "a number"
            raise BadRecipe(
                f"recipe {text!r}: {name}'s {parameter.name} is {number} from {parameter.low:g} to {parameter.high:g}, "
                f"not {written!r}"
            )
        values[i] = value
    return tuple(values)
