"""A recipe as chips that can be taken out, and a menu of stages, with their arguments, to put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.stages import SLOT_SAYS, Argument, Described, described
from mmretrieval import catalog
from mmretrieval.errors import BadRecipe, RetrievalError
from mmretrieval.recipe import Recipe, parse, with_stages
from mmretrieval.search import READERS, ROW_BY_ROW
from page import arguments
from page.notices import escape

if TYPE_CHECKING:
    from page.state import Page

STAGES_JS = Path(__file__).with_name("staging.js").read_text()
STAGE_CHARS = 200


@cache
def _promises() -> dict[str, str]:
    return {stage.name: stage.promise for stage in described()}


def without(recipe: Recipe, place: int) -> Recipe:
    """The recipe without its stage number `place`, of those that it writes; BadRecipe where that is needed."""
    stages = [str(stage) for stage in recipe.stages]
    if not 0 <= place < len(stages):
        raise BadRecipe("this stage is not in the recipe any more: look at its chips again")
    return parse(",".join(["+".join(map(str, recipe.sources)), *stages[:place], *stages[place + 1 :]]))


def restaged(recipe: str, said: Mapping[str, Any]) -> str:
    """The recipe after a stage was added where it belongs, or one was taken out. Raises BadRecipe."""
    chosen = parse(recipe)
    if said.get("do") == "add":
        return str(with_stages(chosen, arguments.text(said.get("stage"), "the stage", STAGE_CHARS)))
    return str(without(chosen, arguments.whole(said.get("place"), "the stage", 0, STAGE_CHARS)))


def chips(recipe: str | None) -> str:
    """The sources and stages of a recipe, each as a chip; nothing for a recipe that cannot be read."""
    try:
        chosen = parse(recipe or "")
    except RetrievalError:
        return ""
    drawn = [
        f'<li class="mm-recipe-step mm-source" title="an encoder, and what of the items it searches">{escape(s)}</li>'
        for s in chosen.sources
    ]
    drawn += [_chip(chosen, place) for place in range(len(chosen.stages))]
    return f'<ul class="mm-recipe-steps" aria-label="The recipe, step by step">{"".join(drawn)}</ul>'


def _chip(chosen: Recipe, place: int) -> str:
    stage = chosen.stages[place]
    name = escape(str(stage))
    try:
        needed = without(chosen, place) == chosen
    except BadRecipe:
        needed = True
    cross = (
        ""
        if needed
        else f'<button type="button" class="mm-cross" data-out="{place}" aria-label="Take {name} out">×</button>'
    )
    return f'<li class="mm-recipe-step" title="{escape(_promises().get(stage.name, ""))}">{name}{cross}</li>'


def menu(page: Page) -> str:
    """All stages that this library can use, by kind, with a field for each argument."""
    stages = [(stage, models) for stage in described() for models in [_models(page, stage)] if models is not None]
    groups = groupby(stages, key=lambda one: one[0].slot)
    options = "".join(
        f'<optgroup label="{escape(SLOT_SAYS[slot][0])}">'
        + "".join(f'<option value="{escape(s.name)}">{escape(s.name)}</option>' for s, _ in group)
        + "</optgroup>"
        for slot, group in groups
    )
    return (
        '<div class="mm-add-stage"><label>Add a stage <select data-stage aria-label="Add a stage to the recipe">'
        f'<option value="">choose…</option>{options}</select></label>'
        + "".join(_fields(stage, models) for stage, models in stages)
        + "</div>"
    )


def _models(page: Page, stage: Described) -> Sequence[str] | None:
    """What may stand for MODEL, () where nothing does; None where something must and there is nothing."""
    if not stage.model:
        return ()
    library = page.library
    if stage.name in ROW_BY_ROW:
        found = [encoder for encoder in library.encoders if library.card(encoder).multi]
    elif stage.name in READERS:
        found = [name for name in catalog.rerankers() if page.tells_paths or catalog.is_plain(name)]
    else:
        found = list(library.encoders) if len(library.encoders) > 1 else []
    return found or None


def _fields(stage: Described, models: Sequence[str]) -> str:
    choose = "".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in models)
    model = f"<label>model <select data-argument>{choose}</select></label>" if models else ""
    numbers = "".join(_number(argument) for argument in stage.arguments)
    return (
        f'<div class="mm-fields" data-for="{escape(stage.name)}" hidden><p class="mm-hint">{escape(stage.promise)}</p>'
        f'{model}{numbers}<button type="button" data-add>Add {escape(stage.name)}</button></div>'
    )


def _number(argument: Argument) -> str:
    step = "1" if argument.whole else "any"
    return (
        f'<label title="{escape(f"{argument.meaning} ({argument.values})")}">{escape(argument.name)} '
        f'<input type="number" data-argument value="{argument.default:g}" min="{argument.low:g}" '
        f'max="{argument.high:g}" step="{step}"></label>'
    )
