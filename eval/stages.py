"""What can stand in a recipe, from the tables of stages: at the terminal, for programs, and as docs/stages.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eval.terminal import AsJson, console, last_line, told
from mmretrieval.errors import BadRecipe, pick

if TYPE_CHECKING:
    from mmretrieval.stages import Parameter, StageRow

COMMAND = "python -m eval stages --markdown > docs/stages.md"
GRAMMAR = (
    "ENCODER@VIEW^WEIGHT+ENCODER@VIEW...,STAGE:ARGUMENT:ARGUMENT...,STAGE...",
    "ENCODER: see `python -m models list`; or bm25, words alone. VIEW: visual, text, joint or all (if left out: all).",
    "WEIGHT: how much a list counts where several are fused (if left out: 1).",
    "STAGE: transforms, then composer, correction, fuser, rerankers, cut-off. ARGUMENT: a number. MODEL: a name.",
)
MARKDOWN_SAYS = (
    "`python -m eval stages NAME` says the same of one stage. Reference queries are a dataset's `bank.jsonl` in an",
    "evaluation, else the project's generic captions. Late-interaction encoders, which give an item several vectors,",
    "take no transforms and no corrections, and as a recipe's first encoder no rerankers but those with a MODEL.",
)
# Of each slot: its heading, what its stages do, and how many of them a recipe has.
SLOT_SAYS = {
    "transform": (
        "Transforms",
        "Change the vectors of items and queries before they are compared.",
        "any number, in the order written",
    ),
    "composer": (
        "Composers",
        "Make one query of several parts.",
        "one; if none is written `sum`, or `joint` where an encoder is joint",
    ),
    "correction": (
        "Corrections",
        "Change scores, so that items which any query finds (hubs) lose what they owe to that.",
        "one at most",
    ),
    "fuser": (
        "Fusers",
        "Make one list of those of several encoders.",
        "one where there are several encoders, `rrf` if none is written",
    ),
    "reranker": (
        "Rerankers",
        "Put the first items of the list in a new order.",
        "any number, each after the one before",
    ),
    "cut-off": (
        "Cut-off",
        "Marks hits that are no better than chance; none is taken away.",
        "one at most, at the end",
    ),
}
# What a model is at the place of MODEL, of transforms and of rerankers.
MODELS = {
    "transform": "MODEL is another encoder, which the library has vectors of",
    "late": "MODEL is a late-interaction encoder, which the library has vectors of",
    "reranker": "MODEL is a model that reads query and item together (KIND reranker in `python -m models list`)",
}
FACTS = {
    "blend": "mixes scores instead of vectors, so every item is scanned; where one vector of the query is needed (by a "
    "reranker or a cut-off), it is that of `sum`",
    "transductive": "transductive: an answer depends on the other queries that are asked with it",
    "one_view": "compares items by one view, which the recipe names after the first encoder's @",
    "every_view": "takes every view that the items have of the first encoder, whichever is searched",
    "untransformed": "sees vectors as the encoder gave them, before any transform",
    "as_an_entry": "an index can hold it, as one more number of each item",
}


@dataclass(frozen=True)
class Argument:
    """One argument of a stage, as its row has it, and what it says in one line."""

    name: str
    meaning: str
    default: float
    low: float
    high: float
    whole: bool
    unit: str
    values: str


@dataclass(frozen=True)
class Described:
    """A stage as people and programs read of it; `model` says what MODEL in `written` is, "" where there is none."""

    slot: str
    name: str
    written: str
    promise: str
    arguments: tuple[Argument, ...]
    fitted: str
    model: str
    blend: bool
    transductive: bool
    one_view: bool
    every_view: bool
    untransformed: bool
    as_an_entry: bool
    source: str
    example: str

    def facts(self) -> list[str]:
        """What else is to be known of it, a clause each."""
        said = [f"fitted to {self.fitted}"] if self.fitted else []
        said += [self.model] if self.model else []
        return said + [clause for name, clause in FACTS.items() if getattr(self, name)]


def stages(
    name: Annotated[str | None, typer.Argument(help="One stage, as in nnn; all of them if left out.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Everything as docs/stages.md has it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what can stand in a recipe: every stage, what its arguments mean, what it is fitted to, where it is from."""
    people, errors = console(as_json), console(True)
    with told(errors):
        if name is not None and markdown:
            raise BadRecipe(f"--markdown is of all stages, not of {name!r} alone: leave one of the two out")
        found = described() if name is None else (one(name),)
        lines = as_markdown(found) if markdown else as_text(found, people.width, whole=name is None)
        # As they are: a console would make pictures of some of what stands between colons.
        people.file.write("\n".join(lines) + "\n")
        if as_json:
            last_line({"grammar": list(GRAMMAR), "stages": [asdict(stage) for stage in found]})


def described() -> tuple[Described, ...]:
    """Every stage, in the order in which they stand in a recipe and in their tables."""
    from mmretrieval.recipe import SLOTS

    return tuple(_described(slot, name, row) for slot, table, _ in SLOTS for name, row in table.items())


def one(name: str) -> Described:
    """The stage of that name, with or without arguments after it; raises UnknownName, with the nearest, for others."""
    return pick({stage.name: stage for stage in described()}, name.partition(":")[0].strip(), "stage")


def as_text(found: Sequence[Described], width: int, whole: bool) -> Iterator[str]:
    """Lines for a terminal of so many columns; the `whole` of it has the grammar and a heading for each slot."""
    if whole:
        yield from GRAMMAR
    slot = None
    for stage in found:
        if whole and stage.slot != slot:
            heading, does, many = SLOT_SAYS[stage.slot]
            yield from ("", *_wrapped(f"{heading.upper()} ({many}). {does}", width, 0))
            slot = stage.slot
        yield from ("", *([stage.written] if whole else [f"{stage.written} ({stage.slot})"]))
        yield from _wrapped(stage.promise, width)
        for argument in stage.arguments:
            yield from _wrapped(f"{argument.name}: {argument.meaning} ({argument.values})", width, 4)
        for clause in stage.facts():
            yield from _wrapped(clause, width)
        yield from _wrapped(f"source: {stage.source}", width)
        yield f"  example: {stage.example}"


def as_markdown(found: Sequence[Described]) -> Iterator[str]:
    """The lines of docs/stages.md."""
    yield from ("# Stages", "", f"<!-- Made by `{COMMAND}` from the tables of stages: change those, not this. -->", "")
    yield from ("A recipe in four lines:", "", "```", *GRAMMAR, "```", "")
    yield from MARKDOWN_SAYS
    for slot, (heading, does, many) in SLOT_SAYS.items():
        there = [stage for stage in found if stage.slot == slot]
        yield from ("", f"## {heading}", "", f"{does} In a recipe: {many}.", "")
        yield from ("| stage | what it does |", "|---|---|")
        yield from (f"| [`{s.written}`](#{s.name}) | {s.promise} |" for s in there)
        for stage in there:
            yield from ("", f"### {stage.name}", "", f"`{stage.written}`, as in `{stage.example}`. {stage.promise}", "")
            for argument in stage.arguments:
                yield f"- **{argument.name}**: {argument.meaning} ({argument.values})."
            yield from (f"- {clause[0].upper()}{clause[1:]}." for clause in stage.facts())
            yield f"- Source: {stage.source}."


def _described(slot: str, name: str, row: StageRow[Any]) -> Described:
    from mmretrieval.recipe import LEADING
    from mmretrieval.search import AS_AN_ENTRY, BLENDS, ONE_VIEW, READERS, ROW_BY_ROW, TRANSDUCTIVE, UNTRANSFORMED

    modelled = name in READERS or name in LEADING
    return Described(
        slot=slot,
        name=name,
        written=":".join([name, *(["MODEL"] if modelled else []), *(p.name for p in row.parameters)]),
        promise=row.promise,
        arguments=tuple(Argument(**vars(p), values=_values(p)) for p in row.parameters),
        fitted=row.fitted,
        model=MODELS["late" if name in ROW_BY_ROW else slot] if modelled else "",
        blend=name in BLENDS,
        transductive=name in TRANSDUCTIVE,
        one_view=name in ONE_VIEW,
        every_view=slot == "reranker" and name not in ONE_VIEW | READERS.keys(),
        untransformed=name in UNTRANSFORMED,
        as_an_entry=name in AS_AN_ENTRY,
        source=row.source,
        example=_example(slot, name, row),
    )


def _values(parameter: Parameter) -> str:
    """As in "a whole number of items, 1 to 1,000; 100 if left out"."""
    kind = "a whole number" if parameter.whole else "a number"
    counted = f" of {parameter.unit}" if parameter.unit else ""
    low, high, default = (f"{value:,}" for value in (parameter.low, parameter.high, parameter.default))
    return f"{kind}{counted}, {low} to {high}; {default} if left out"


def _example(slot: str, name: str, row: StageRow[Any]) -> str:
    """A recipe with the stage, its arguments at their defaults; where 0 stands for a number that depends, at 64."""
    from mmretrieval.search import JOINT, ONE_VIEW, READERS, ROW_BY_ROW, UNTRANSFORMED
    from mmretrieval.transforms import TARGETED

    sources = {"fuser": "lite@visual+lite-joint@visual", "reranker": "lite"}.get(slot, "lite@visual")
    if name in ONE_VIEW:
        sources = "lite@visual,mrl:64" if name in UNTRANSFORMED else "lite@visual"
    elif name in TARGETED or name == JOINT:
        sources = "lite-joint@visual"
    model = ["lite"] if name in TARGETED else ["msmarco-minilm"] if name in READERS else []
    model = ["colsmol"] if name in ROW_BY_ROW else model
    numbers = [f"{64 if p.whole and not p.default else p.default:g}" for p in row.parameters]
    return f"{sources},{':'.join([name, *model, *numbers])}"


def _wrapped(text: str, width: int, indent: int = 2) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2 if indent else 0),
        break_on_hyphens=False,
        break_long_words=False,
    )
