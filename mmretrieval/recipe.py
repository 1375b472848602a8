"""The recipe: every choice that can change a ranking, as one value with one text form.

    lite@visual
    lite@visual+lite-0@visual,rrf:60
    lite,center,sum,gram:100

Stages are separated by commas, arguments follow colons. Their order is fixed: sources (encoders and views, joined
by +, a list that is to count for more with ^ and its weight: lite@visual^2+lite-0@visual), transforms, composer,
correction, fuser, rerankers, cut-off. `parse` and `str` are inverse to each other: the text that
`str` gives always spells out composer, fuser, views and arguments, so that a recipe in a run file hides no default.
"""

from __future__ import annotations

import difflib
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from mmretrieval import catalog
from mmretrieval.embedding import views_of
from mmretrieval.errors import BadRecipe
from mmretrieval.lexical import is_lexical
from mmretrieval.search import (
    BLENDS,
    COMPOSERS,
    CORRECTIONS,
    CUTOFFS,
    FUSERS,
    JOINT,
    ONE_VIEW,
    READERS,
    RERANKERS,
    ROW_BY_ROW,
    TRANSDUCTIVE,
)
from mmretrieval.stages import StageRow
from mmretrieval.transforms import TARGETED, TRANSFORMS
from mmretrieval.types import VIEWS, Card, View

SearchedView = View | Literal["all"]
SEARCHED_VIEWS: tuple[str, ...] = (*VIEWS, "all")

# In the order in which stages stand in a recipe. "one": at most one stage; "many": any number, in the order given.
SLOTS: tuple[tuple[str, Mapping[str, StageRow[Any]], Literal["one", "many"]], ...] = (
    ("transform", TRANSFORMS, "many"),
    ("composer", ChainMap(BLENDS, COMPOSERS), "one"),
    ("correction", CORRECTIONS, "one"),
    ("fuser", FUSERS, "one"),
    ("reranker", ChainMap(READERS, ROW_BY_ROW, RERANKERS), "many"),
    ("cut-off", CUTOFFS, "one"),
)
RERANKING = [slot for slot, _, _ in SLOTS].index("reranker")
# Stages whose model is another encoder of the library.
LEADING = TARGETED | frozenset(ROW_BY_ROW)
DEFAULT_COMPOSER = "sum"
DEFAULT_FUSER = "rrf"
# More than anybody can interpret; a page must not be kept busy by one visitor's list of a thousand.
LONGEST = 16
MOST_CHARS = 4000
MOST_WEIGHT = 1000.0


@dataclass(frozen=True)
class Source:
    """One encoder searched on one view, or on all of them; its list counts by `weight` where lists are fused."""

    encoder: str
    view: SearchedView = "all"
    weight: float = 1.0

    def __str__(self) -> str:
        return f"{self.encoder}@{self.view}{f'^{_written(self.weight)}' if self.weight != 1 else ''}"


@dataclass(frozen=True)
class Stage:
    """One stage with all its arguments; `model` is the spec that a reader reads with, or that a transform leads to."""

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
    correction: Stage | None = None
    fuser: Stage | None = None
    rerankers: tuple[Stage, ...] = ()
    cutoff: Stage | None = None

    def __str__(self) -> str:
        return ",".join(["+".join(map(str, self.sources)), *map(str, self.stages)])

    @property
    def encoders(self) -> tuple[str, ...]:
        """The specs of all encoders whose vectors it needs: those searched, and those that stages lead to."""
        searched = (s.encoder for s in self.sources if not is_lexical(s.encoder))
        led = [stage for stage in (*self.transforms, *self.rerankers) if stage.name in LEADING]
        return tuple(dict.fromkeys([*searched, *(stage.model for stage in led)]))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All that comes after the sources, in order."""
        one = (stage for stage in (self.composer, self.correction, self.fuser) if stage is not None)
        return (*self.transforms, *one, *self.rerankers, *([self.cutoff] if self.cutoff else []))

    @property
    def transductive(self) -> bool:
        """Whether a query's answer depends on the other queries that are asked with it."""
        return self.correction is not None and self.correction.name in TRANSDUCTIVE


def check_view(named: str, view: SearchedView, card: Card) -> None:
    """Raises BadRecipe, in the name of a source or stage, where its encoder cannot make the view."""
    if view != "all" and view not in (able := views_of(card)):
        raise BadRecipe(f"{named}: {card.name} makes no {view} view, only {', '.join(able)}")


def parse(text: str) -> Recipe:
    """The recipe that a text spells; defaults are filled in. Raises BadRecipe, which names the nearest valid stage."""
    if len(text) > MOST_CHARS:
        raise BadRecipe(f"recipe {text[:60]!r}... has {len(text):,} characters, at most {MOST_CHARS:,} are read")
    head, *rest = (piece.strip() for piece in text.strip().split(","))
    if not head:
        raise BadRecipe(f"recipe {text!r} names no encoder: begin with one, as in lite@visual")
    if len(rest) + head.count("+") > LONGEST:
        raise BadRecipe(f"recipe {text[:60]!r}... has more than {LONGEST} encoders and stages: leave some out")
    sources = tuple(_source(piece.strip(), text) for piece in head.split("+"))
    if len({(s.encoder, s.view) for s in sources}) != len(sources):
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


def place_of(stage: str) -> int:
    """Where a stage, as it is written, stands in the order of stages. Raises BadRecipe for an unknown one."""
    return _stage(stage, stage)[0]


def stage_of(stage: str) -> Stage:
    """A stage by itself, with all its arguments. Raises BadRecipe for an unknown one."""
    return _stage(stage, stage)[1]


def depth_of(stage: Stage) -> int:
    """How many of the first items of a list a reranker looks at."""
    row = SLOTS[RERANKING][1][stage.name]
    return int(next(v for p, v in zip(row.parameters, stage.arguments, strict=True) if p.name == "depth"))


def joins(stage: str) -> bool:
    """Whether a stage joins the lists of several sources. Raises BadRecipe for an unknown one."""
    return SLOTS[place_of(stage)][0] == "fuser"


def with_stages(recipe: Recipe, *stages: str) -> Recipe:
    """The recipe with further stages, each where it belongs: of its kind after the recipe's own, or in place of it.

    Of what a recipe holds once (composer, correction, fuser) the new one takes the old one's place. Raises BadRecipe
    for an unknown stage, for two new ones of which a recipe holds one, and where this recipe cannot hold them.
    """
    places = [place_of(stage) for stage in stages]
    single = [place for place in places if SLOTS[place][2] == "one"]
    for place in single:
        if single.count(place) > 1:
            both = " and ".join(s for s, p in zip(stages, places, strict=True) if p == place)
            raise BadRecipe(f"a recipe holds one {SLOTS[place][0]}, not {both}: keep one")
    kept = [written for s in recipe.stages if place_of(written := str(s)) not in single]
    ordered = sorted([*kept, *stages], key=place_of)  # stable: of one kind, the recipe's own come first
    return parse(",".join(["+".join(map(str, recipe.sources)), *ordered]))


def first_alone(recipe: Recipe) -> Recipe:
    """The recipe with its first source alone, and so without its fuser.

    An encoder that reads words and pictures one at a time has its parts added up, as it has beside one that reads them
    together.
    """
    first = replace(recipe.sources[0], weight=1.0)
    apart = recipe.composer.name == JOINT and not catalog.is_joint(first.encoder)
    composer = Stage(DEFAULT_COMPOSER, _defaults(COMPOSERS[DEFAULT_COMPOSER])) if apart else recipe.composer
    return replace(recipe, sources=(first,), composer=composer, fuser=None)


def _whole(sources: tuple[Source, ...], found: dict[str, list[Stage]], text: str) -> Recipe:
    fuser = found["fuser"][0] if found["fuser"] else None
    if fuser and len(sources) == 1:
        raise BadRecipe(f"recipe {text!r}: {fuser.name} joins several lists; add an encoder with +, or leave it out")
    if fuser is None and len(sources) > 1:
        fuser = Stage(DEFAULT_FUSER, _defaults(FUSERS[DEFAULT_FUSER]))
    if len(sources) == 1 and sources[0].weight != 1:
        raise BadRecipe(f"recipe {text!r}: ^ weighs one list against another, and there is one: leave it out")
    usual = JOINT if any(catalog.is_joint(s.encoder) for s in sources) else DEFAULT_COMPOSER
    composer = found["composer"][0] if found["composer"] else Stage(usual, _defaults(COMPOSERS[usual]))
    correction = found["correction"][0] if found["correction"] else None
    if correction and correction.name in TRANSDUCTIVE and composer.name in BLENDS:
        raise BadRecipe(
            f"recipe {text!r}: {correction.name} weighs whole queries against each other, and {composer.name} scores "
            "their parts one by one: leave one of them out"
        )
    for stage in found["reranker"]:
        if stage.name in ONE_VIEW and sources[0].view == "all":  # scores of two views cannot be compared
            named = f"{sources[0].encoder}@{'text' if is_lexical(sources[0].encoder) else 'visual'}"
            raise BadRecipe(f"recipe {text!r}: {stage.name} compares items by one view: name it, as in {named}")
    rerankers, cutoff = tuple(found["reranker"]), found["cut-off"][0] if found["cut-off"] else None
    return Recipe(sources, tuple(found["transform"]), composer, correction, fuser, rerankers, cutoff)


def _source(piece: str, text: str) -> Source:
    whole, hat, weighed = piece.rpartition("^")
    piece, weight = (whole.strip(), _weight(weighed, text)) if hat else (piece, 1.0)
    encoder, _, view = (half.strip() for half in (piece.rpartition("@") if "@" in piece else (piece, "@", "all")))
    if not encoder:
        raise BadRecipe(f"recipe {text!r}: {piece!r} names no encoder before the @")
    if view not in SEARCHED_VIEWS:
        near = difflib.get_close_matches(view.lower(), SEARCHED_VIEWS, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BadRecipe(f"recipe {text!r}: {view!r} is not a view, use {', '.join(SEARCHED_VIEWS)}{hint}")
    # The view is checked against SEARCHED_VIEWS just above.
    return Source(str(catalog.parse_spec(encoder)), view, weight)  # type: ignore[arg-type]


def _weight(written: str, text: str) -> float:
    weight = float(written) if _is_number(written) else 0.0
    if not 0 < weight <= MOST_WEIGHT:
        raise BadRecipe(
            f"recipe {text!r}: after ^ stands how much a list counts, a number above 0 and at most {MOST_WEIGHT:g}, "
            f"as in lite@visual^2+lite-0@visual, not {written!r}"
        )
    return weight


def _stage(piece: str, text: str) -> tuple[int, Stage]:
    name, *raw = piece.split(":")
    for place, (_, table, _) in enumerate(SLOTS):
        if name in table:
            modelled = name in READERS or name in LEADING
            return place, (_modelled if modelled else _plain)(name, raw, table[name], text)
    known = [n for _, table, _ in SLOTS for n in table]
    near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.6)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise BadRecipe(f"recipe {text!r}: no stage is called {name!r}.{hint} There are: {', '.join(known)}.")


def _plain(name: str, raw: list[str], row: StageRow[Any], text: str) -> Stage:
    return Stage(name, _arguments(name, raw, row, text))


def _modelled(name: str, raw: list[str], row: StageRow[Any], text: str) -> Stage:
    """cross:SPEC or cross:SPEC:DEPTH: a spec, which may hold colons itself, before the numbers."""
    numbers: list[str] = []
    while len(raw) > 1 and len(numbers) < len(row.parameters) and _is_number(raw[-1]):
        numbers.insert(0, raw.pop())
    if not (spec := ":".join(raw).strip()):
        written = ":".join([name, "MODEL", *(p.name.upper() for p in row.parameters)])
        raise BadRecipe(f"recipe {text!r}: {name} names no model: write {written}; `python -m models list` has them")
    return Stage(name, _arguments(name, numbers, row, text), str(catalog.parse_spec(spec)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
                f"not {written!r}: it says {parameter.meaning}"
            )
        values[i] = value
    return tuple(values)
