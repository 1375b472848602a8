"""Which changes of a recipe help a dataset: tried on one half of its queries, reported on the other.

Nothing that is fitted ever sees a query that it is judged on. While stages are chosen, each half of the fitting half
stands as reference queries for the other; for the report the whole fitting half does. Reference queries that the
dataset brings are added to both.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from eval.dataset import Dataset
from eval.judging import Shelf
from eval.significance import ALPHA, Comparison, caution, compare, holm, smallest_effect
from eval.trial import Cost, Geometry, Trial, halves
from mmretrieval.errors import BadRecipe, RetrievalError

if TYPE_CHECKING:
    from mmretrieval.recipe import Recipe

# What is tried where nobody says: all that is fitted in seconds and might raise a score. Compression (int8, binary,
# opq, bebr, mrl, pca) is worth a try where space is what is wanted.
USUAL = (
    "center", "gapshift", "whiten", "zca", "invgc", "invgc-local", "relative", "nnn", "qbnorm", "csls", "superglobal",
)  # fmt: skip
# Where every view is searched anyway; else they would let the words of items answer for their pixels.
USUAL_OF_ALL = ("span",)
# Stages that bring in the words of items, or of items like them, where only pixels are searched: a gain of theirs is
# to be compared with searching the words.
WORDED = frozenset({"asif", "gram", "parallel-anchors", "relative", "span"})
PAIRED = 4  # of the best stages alone, so many are also tried in pairs
REPORTED = 5
ROUNDS = 7


@dataclass(frozen=True)
class Tried:
    """One change on the fitting half: stages, the recipe ("" if it cannot hold them), its metric; or the problem.

    `replaces` are the recipe's own stages whose place the new ones take; without new ones they are left out.
    """

    stages: tuple[str, ...]
    recipe: str
    value: float | None = None
    difference: float | None = None
    problem: str = ""
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One change on the held-out half, beside the plain recipe; `replaces` as in `Tried`.

    `without` is the metric of the plain recipe without the correction that this change replaces, None where it replaces
    none: what is gained from there on is the new stages' own. `remarks` say where a correction is not as asked for.
    """

    stages: tuple[str, ...]
    recipe: str
    comparison: Comparison
    p_holm: float
    smallest: float | None  # None where too few queries differ to show any
    cost: Cost
    geometry: Geometry | None
    transductive: bool
    found_by_words: bool
    verdict: str
    replaces: tuple[str, ...] = ()
    without: float | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fixed:
    """What was tried and what it was worth; `rows` are of the held-out half, best on the fitting half first."""

    dataset: str
    recipe: str
    metric: str
    seed: int
    fitting: int
    held_out: int
    bank: int
    plain_fitting: float
    plain: float
    plain_cost: Cost
    plain_geometry: Geometry | None
    tried: tuple[Tried, ...]
    rows: tuple[Row, ...]


def fix(
    dataset: Dataset,
    shelf: Shelf,
    recipe: str,
    *,
    tries: Sequence[str] = (),
    metric: str = "",
    seed: int = 0,
    report: int = REPORTED,
    pairs: bool = True,
    on_step: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> Fixed:
    """Tries stages (`tries`, or the usual ones) and pairs of the best, and judges those that did best on other queries.

    `metric` is the dataset's main one by default. Everything in `tries` is reported; of the rest, the `report` best of
    the fitting half. Where a change takes the place of the recipe's correction, the recipe without any is tried and
    reported as well, since a gain may be due to what went. `on_step` hears what is being done. Raises DatasetError
    where there are too few queries.
    """
    from mmretrieval.recipe import parse

    metric = metric or dataset.main_metric
    plain = parse(recipe)
    usual = (*USUAL, *(USUAL_OF_ALL if plain.sources[0].view == "all" else ()))
    singles = _different(tries or usual)
    trial = Trial(dataset, shelf, metric, halves(dataset, shelf, seed))
    base = trial.fitted(plain)
    tried = [_try(trial, plain, base, (stage,), on_step, i, len(singles)) for i, stage in enumerate(singles)]
    good = sorted((t for t in tried if t.value is not None), key=lambda t: -(t.difference or 0))[:PAIRED]
    both = _pairs(plain, [t.stages[0] for t in good]) if pairs else []
    tried += [_try(trial, plain, base, pair, on_step, i, len(both)) for i, pair in enumerate(both)]
    if any(_corrects_anew(plain, t) for t in tried):
        tried.append(_try(trial, plain, base, (), on_step, 0, 1))
    chosen = _chosen(plain, tried, tuple(tries), report)
    if not chosen:
        problems = "; ".join(f"{named(t.stages, t.replaces)}: {t.problem}" for t in tried)
        raise BadRecipe(f"nothing of what was tried works with {recipe}: {problems}")
    return _reported(trial, plain, base, tried, chosen, seed, on_step)


def named(stages: Sequence[str], replaces: Sequence[str] = ()) -> str:
    """A change before people: "nnn:128:0.75 instead of csls:10", or "without csls:10" where nothing takes its place."""
    new, old = ",".join(stages), " and ".join(replaces)
    if not old:
        return new
    return f"{new} instead of {old}" if new else f"without {old}"


# --- what to try ----------------------------------------------------------------------------------------------------


def _different(stages: Sequence[str]) -> list[str]:
    """The stages less those that another one spells with other words: nnn and nnn:128:0.75 are one test, not two."""
    from mmretrieval.recipe import stage_of

    found: dict[str, str] = {}
    for stage in stages:
        found.setdefault(str(stage_of(stage)), stage)
    return list(found.values())


def _pairs(plain: Recipe, stages: Sequence[str]) -> list[tuple[str, ...]]:
    """Every two of the stages together that a recipe can hold; two transforms in both orders."""
    from mmretrieval.recipe import with_stages

    found: dict[str, tuple[str, ...]] = {}
    for pair in itertools.permutations(stages, 2):
        try:
            found.setdefault(str(with_stages(plain, *pair)), pair)
        except BadRecipe:
            continue  # two corrections, say: a recipe holds one
    return list(found.values())


def _try(
    trial: Trial,
    plain: Recipe,
    base: Mapping[str, float],
    stages: tuple[str, ...],
    on_step: Callable[[str, int, int], None],
    done: int,
    of: int,
) -> Tried:
    """The plain recipe with these stages, or without its correction where there are none."""
    from mmretrieval.recipe import place_of, with_stages

    on_step(f"trying {','.join(stages) or f'without {plain.correction}'}", done, of)
    changed, replaces = "", tuple[str, ...]()
    try:
        stages = tuple(sorted(stages, key=place_of))
        recipe = with_stages(plain, *stages) if stages else replace(plain, correction=None)
        changed, replaces = str(recipe), _replaced(plain, recipe)
        values = trial.fitted(recipe)
    except RetrievalError as error:
        return Tried(stages, changed, problem=str(error), replaces=replaces)
    value = statistics.fmean(values.values())
    return Tried(stages, changed, value, value - statistics.fmean(base.values()), replaces=replaces)


def _replaced(plain: Recipe, changed: Recipe) -> tuple[str, ...]:
    """The stages of which a recipe holds one, where the changed recipe holds another, or none."""
    pairs = (
        (plain.composer, changed.composer), (plain.correction, changed.correction), (plain.fuser, changed.fuser),
    )  # fmt: skip
    return tuple(str(own) for own, other in pairs if own is not None and own != other)


def _corrects_anew(plain: Recipe, tried: Tried) -> bool:
    """Whether a change that can be searched with has another correction in the place of the recipe's own."""
    return tried.value is not None and bool(tried.stages) and str(plain.correction) in tried.replaces


def _chosen(plain: Recipe, every: Sequence[Tried], wanted: tuple[str, ...], report: int) -> list[Tried]:
    """What is judged on the other half: all that was asked for, and the best of the fitting half, best first.

    Of two transforms in both orders only the better one goes on: the other would be nearly the same test again. The
    recipe without its correction goes on beside anything that replaces this, over and above the best.
    """
    tried = [t for t in every if t.stages]
    able = sorted((t for t in tried if t.value is not None), key=lambda t: -(t.difference or 0))
    orders = {frozenset(t.stages): t for t in reversed(able)}
    able = [t for t in able if orders[frozenset(t.stages)] is t]
    asked = [t for t in able if len(t.stages) == 1 and t.stages[0] in wanted]
    best = [t for t in able if t not in asked][: report if not wanted else max(0, report - len(asked))]
    if any(_corrects_anew(plain, t) for t in (*asked, *best)):
        best += [t for t in every if not t.stages and t.value is not None]
    return sorted([*asked, *best], key=lambda t: -(t.difference or 0))


# --- what it was worth ----------------------------------------------------------------------------------------------


def _reported(
    trial: Trial,
    plain: Recipe,
    base: Mapping[str, float],
    tried: Sequence[Tried],
    chosen: Sequence[Tried],
    seed: int,
    on_step: Callable[[str, int, int], None],
) -> Fixed:
    from mmretrieval.recipe import parse

    recipes = [parse(t.recipe) for t in chosen]
    before = trial.held_out(plain)
    compared: list[Comparison] = []
    for place, recipe in enumerate(recipes):
        on_step(f"judging {named(chosen[place].stages, chosen[place].replaces)}", place, len(chosen))
        compared.append(compare(before, trial.held_out(recipe), trial.metric, seed=seed))
    corrected = holm([c.p for c in compared])
    costs = _costs(trial, [plain, *recipes])
    shape = trial.geometry(plain)
    bare = next((c.mean_b for t, c in zip(chosen, compared, strict=True) if not t.stages), None)
    rows = []
    for place, (t, recipe, found) in enumerate(zip(chosen, recipes, compared, strict=True)):
        after = trial.held_out(recipe)
        differences = np.array([after[q] - before[q] for q in sorted(before)])
        row = Row(
            stages=t.stages,
            recipe=t.recipe,
            comparison=found,
            p_holm=corrected[place],
            smallest=smallest_effect(differences, len(chosen)),
            cost=costs[place + 1],
            geometry=trial.geometry(recipe),
            transductive=recipe.transductive,
            found_by_words=recipe.sources[0].view == "visual" and any(s.split(":")[0] in WORDED for s in t.stages),
            verdict="",
            replaces=t.replaces,
            without=bare if _corrects_anew(plain, t) else None,
            remarks=trial.remarks(recipe),
        )
        rows.append(replace(row, verdict=verdict(row, costs[0], shape)))
    return Fixed(
        dataset=trial.dataset.name,
        recipe=str(plain),
        metric=trial.metric,
        seed=seed,
        fitting=len(base),
        held_out=len(before),
        bank=trial.bank,
        plain_fitting=statistics.fmean(base.values()),
        plain=statistics.fmean(before.values()),
        plain_cost=costs[0],
        plain_geometry=shape,
        tried=tuple(tried),
        rows=tuple(rows),
    )


def _costs(trial: Trial, recipes: Sequence[Recipe]) -> list[Cost]:
    """What each recipe takes, the first being the plain one.

    All are timed in turns, so that what else the machine does falls on all alike, after one turn that does not count:
    what is asked first waits for what the others find ready.
    """
    for recipe in recipes:
        trial.seconds(recipe)
    rounds = [[1000 * trial.seconds(recipe) for recipe in recipes] for _ in range(ROUNDS)]
    costs = []
    for i, recipe in enumerate(recipes):
        more = [r[i] - r[0] for r in rounds]
        surely = all(r[i] - r[0] > max(0.1, 0.1 * r[0]) for r in rounds)
        slower = statistics.median(more) if surely else 0.0
        costs.append(Cost(statistics.median(r[i] for r in rounds), trial.item_bytes(recipe), slower))
    return costs


def verdict(row: Row, plain: Cost, shape: Geometry | None) -> str:
    """One sentence: what the change does, how sure that is, and what it costs."""
    found, name = row.comparison, named(row.stages, row.replaces)
    moved = f"{found.metric} from {found.mean_a:.3f} to {found.mean_b:.3f}"
    sure = f"95 % interval of the difference {found.low:+.3f} to {found.high:+.3f}, p = {row.p_holm:.4f} after Holm"
    cost = _spoken(row.cost, plain)
    if row.p_holm < ALPHA:
        said = f"{name} {'raises' if found.difference > 0 else 'lowers'} {moved} ({sure})"
        said += f" and {cost}" if cost else ""
    elif not (found.wins or found.losses):
        said = f"{name} changes no query's {found.metric} ({found.mean_a:.3f})" + (f"; it {cost}" if cost else "")
    else:
        said = f"{name} changes nothing that {found.queries} queries can show: {moved} ({sure}); {_unseen(row)}" + (
            f"; it {cost}" if cost else ""
        )
    if found.wins or found.losses:
        said += f"; {few}" if (few := caution(found.queries)) else ""
    if row.without is not None:
        said += f"; with no correction at all {found.metric} is {row.without:.3f}"
    said += "".join(f"; {remark}" for remark in row.remarks)
    if row.transductive:
        said += "; transductive: it saw all test queries at once, which a search of one query cannot"
    if row.found_by_words:
        said += "; it uses items' words where the recipe searches their pixels: compare it with a search of the words"
    return said + _shape(shape, row.geometry) + "."


def _unseen(row: Row) -> str:
    if row.smallest is None:
        differ = row.comparison.wins + row.comparison.losses
        return f"only {differ} of them differ, too few to show any effect after Holm"
    return f"an effect of less than {row.smallest:.3f} would have stayed unseen"


def _spoken(cost: Cost, plain: Cost) -> str:
    more = cost.item_bytes - plain.item_bytes
    parts = []
    if more > 0:
        parts.append(f"costs {more:,.4g} bytes more for each item's vector")
    elif more < 0:
        parts.append(f"takes {cost.item_bytes:,.4g} bytes for each item's vector instead of {plain.item_bytes:,.4g}")
    if cost.slower:
        parts.append(f"{'' if parts else 'costs '}{cost.slower:.1f} ms more a query")
    return " and ".join(parts)


def _shape(before: Geometry | None, after: Geometry | None) -> str:
    """What happened to the gap and the hubs, where that is more than a shade."""
    if before is None or after is None:
        return ""
    said = []
    if before.gap is not None and after.gap is not None and abs(after.gap - before.gap) > 0.02:
        way = "narrows" if after.gap < before.gap else "widens"
        said.append(f"it {way} the gap from {before.gap:.2f} to {after.gap:.2f}")
    if abs(after.hubness - before.hubness) > max(0.2, 0.1 * abs(before.hubness)):
        said.append(
            f"{'takes' if said else 'it takes'} the skewness of how often items are found from {before.hubness:.1f} "
            f"to {after.hubness:.1f}"
        )
    return "; " + " and ".join(said) if said else ""
