"""Could any query find exactly these two items, and do those that exist? The LIMIT question on one's own space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mmretrieval.diagnostics.free import RESTARTS, STEPS, critical, pairs_of, placed
from mmretrieval.diagnostics.reached import Reach, reached
from mmretrieval.diagnostics.sampling import caution
from mmretrieval.diagnostics.separable import TOLERANCE, least_axes, separate
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.diagnostics.viewed import Viewed, basis, viewed
from mmretrieval.errors import RetrievalError
from mmretrieval.findings import Finding, Plot, Trace
from mmretrieval.geometry import AnyRows, Numbers, directions

# Dimensions that vectors are placed in freely, and how many of the items are looked at, so many times.
DIMS = (2, 3, 4, 5, 6)
ITEMS, DRAWS = 16, 2
# The authors' fit of critical n over d, which they measured from 4 dimensions on.
FIT, FIT_FROM = (-10.5322, 4.0309, 0.0520, 0.0037), 4
# What geometry allows on a circle and on a sphere, whatever the descent; from 4 dimensions on it sets no limit.
GEOMETRY = {2: 3, 3: 4}
# Below this share of pairs found the sentence says that queries are what is missing.
MISSED = 0.9


def capacity(
    subject: Subject,
    *,
    seed: int = 0,
    sample: int | None = 10_000,
    dims: tuple[int, ...] = DIMS,
    items: int = ITEMS,
) -> Finding:
    """Which pairs of items can be the top 2 of a query: of vectors placed freely, of this space, and in practice.

    After Weller et al., "On the Theoretical Limitations of Embedding-Based Retrieval" (2025), with k = 2:
    - "free.critical_4": the most documents all of whose pairs gradient descent got on top in 4 dimensions, each pair
      with a query of its own, and so for each of `dims` (see `free`: a limit of the descent, not of geometry, from 4
      dimensions on).
    - "any.share": of the pairs of `items` items, drawn twice, the share that is the top 2 of some query vector at all,
      by linear programming with certificates (see `separable`). It is 1 wherever vectors are affinely independent, as
      fewer items than dimensions mostly are, so the informative number is "any.axes": how many leading principal axes
      of these items it takes until no further pair can be had (the larger of the draws); "random.axes" is the same for
      as many random vectors, and "free.axes" the fewest of `dims` in which documents that descent placed let every pair
      be had, by any query (None beyond `dims`): the distance between these is how far the encoder is from the best.
    - "words.reached": the share of pairs that are exactly the top 2 of the sum of their two questions, or of their two
      rows of another view where there are no questions, among `items` items; "words.reached_all" among all. Likewise
      "own.reached" for the sum of the two items' own vectors. "words.alone" is the share of single questions that put
      their one item first among `items`, "words.chance" what a random pair would get.
    Intervals of reached are bootstraps over random draws of items (over pairs for _all). Raises RetrievalError where
    fewer than `items` distinct items have a vector in the searched view. `dims` must rise, `items` be at least 4.
    """
    if items < 4 or list(dims) != sorted(set(dims)) or not dims or dims[0] < 2:
        raise ValueError(f"dims {dims} must rise from 2 or more, and items ({items}) be at least 4")
    seen = viewed(subject, subject.searched, items, seed, sample)
    limits = critical(dims, seed)
    dim = seen.rows.shape[1]
    space, chance = _space(seen.rows, items, seed), _random(items, dim, seed)
    reach = reached(subject, seen, items, seed)
    numbers: dict[str, float | None] = {f"free.critical_{d}": float(n) for d, n in zip(dims, limits, strict=True)}
    numbers |= {
        "free.axes": next((float(d) for d in dims if _free_share(items, d, seed) == 1.0), None),
        "any.share": space.share,
        "any.axes": float(space.axes),
        "random.axes": float(chance.axes),
        "words.chance": 2.0 / (items * (items - 1)),
        **reach.numbers,
    }
    return Finding(
        diagnostic="capacity",
        sentence=_sentence(subject, seen, items, dims, numbers, reach),
        numbers=numbers,
        intervals=reach.intervals,
        plots=(
            _limits_plot(dims, limits),
            _axes_plot(subject, space, chance, items, dims, seed),
            reach.plot,
        ),
        advice=_advice(numbers, reach, _center(subject)),
        stages=_center(subject) if _missed(numbers) else (),
        basis=basis(len(seen), seed, sample, "scipy")
        | {
            "labels": subject.labelled,
            "of": seen.of,
            "zero_rows": seen.zero,
            "items": items,
            "draws": DRAWS,
            "descent": {"steps": STEPS, "restarts": RESTARTS, "dims": list(dims)},
            "tolerance": TOLERANCE,
            "undecided": space.undecided,
            **reach.basis,
        },
    )


# --- what some query could find ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Space:
    """The share of pairs that some query finds, the axes it takes, and the share by number of axes 1..n-1."""

    share: float
    axes: int
    by_axes: tuple[float, ...]
    undecided: int


def _space(rows: AnyRows, items: int, seed: int) -> Space:
    """Of random draws of items, copies left out: no query can part them."""
    unit = directions(rows)
    _, first = np.unique(unit.astype(np.float32), axis=0, return_index=True)
    if len(first) < items:
        raise RetrievalError(
            f"{len(first)} different vectors are there, the others are copies, and this needs at least {items}: look "
            "at more items"
        )
    distinct, chance = unit[np.sort(first)], np.random.default_rng([seed, len(first), 8])
    return _shares([distinct[np.sort(chance.choice(len(distinct), size=items, replace=False))] for _ in range(DRAWS)])


@lru_cache(maxsize=8)
def _random(items: int, dim: int, seed: int) -> Space:
    """As many random vectors."""
    chance = np.random.default_rng([seed, items, 11])
    return _shares([directions(chance.normal(size=(items, dim))) for _ in range(DRAWS)])


def _shares(draws: list[Numbers]) -> Space:
    found = [least_axes(draw) for draw in draws]
    can = [axes.needed <= axes.rank for axes in found]
    by_axes = tuple(
        float(np.mean([(axes.needed[c] <= p).sum() / len(c) for axes, c in zip(found, can, strict=True)]))
        for p in range(1, len(draws[0]))
    )
    most = max(int(axes.needed[c].max(initial=0)) for axes, c in zip(found, can, strict=True))
    return Space(float(np.mean([c.mean() for c in can])), most, by_axes, sum(axes.undecided for axes in found))


@lru_cache(maxsize=32)
def _free_share(items: int, d: int, seed: int) -> float:
    """The share of pairs, of documents that descent placed in d dimensions, that some query finds: not only its own."""
    documents, _, share = placed(items, d, seed * RESTARTS)
    if share == 1.0:
        return share
    return float(np.mean([bool(separate(documents, int(i), int(j)).yes) for i, j in pairs_of(items)]))


# --- what is said of it --------------------------------------------------------------------------------------------


def _limits_plot(dims: tuple[int, ...], limits: tuple[int, ...]) -> Plot:
    fitted = [d for d in dims if d >= FIT_FROM]
    fit = tuple(float(sum(c * d**power for power, c in enumerate(FIT))) for d in fitted)
    traces = [Trace("descent, here", dims, tuple(float(n) for n in limits))]
    if fitted:
        traces.append(Trace("the authors' cubic fit", tuple(fitted), fit))
    bounded = [d for d in dims if d in GEOMETRY]
    if bounded:
        most = tuple(float(GEOMETRY[d]) for d in bounded)
        traces.append(Trace("most that geometry allows", tuple(bounded), most, mark="points"))
    return Plot(
        "critical",
        "Documents all of whose pairs descent found queries for",
        "dimensions (count)",
        "documents (count, critical n)",
        tuple(traces),
        note="Documents and a query for each pair, placed freely by gradient descent. Other queries may find the pairs "
        "of more: from 4 dimensions on geometry sets no limit (points on a moment curve serve any number), so the "
        "curves are what descent finds.",
    )


def _axes_plot(subject: Subject, space: Space, chance: Space, items: int, dims: tuple[int, ...], seed: int) -> Plot:
    def trace(name: str, shares: tuple[float, ...]) -> Trace:
        return Trace(name, tuple(range(1, len(shares) + 1)), shares)

    free = tuple(_free_share(items, d, seed) for d in dims)
    return Plot(
        "axes",
        f"Pairs of {items} items that some query finds",
        "dimensions (count of leading principal axes)",
        "pairs that some query finds (share)",
        (
            trace(subject.label(subject.searched), space.by_axes),
            trace("random vectors", chance.by_axes),
            Trace("placed freely", dims, free),
        ),
        note="With as many axes as items less one every pair can be found, whatever the encoder. Descent is after all "
        "pairs at once, and may have fewer than random vectors where it cannot have all.",
        percent="y",
    )


def _missed(numbers: Mapping[str, float | None]) -> bool:
    share = numbers["words.reached"]
    return share is not None and share < MISSED


def _sentence(
    subject: Subject,
    seen: Viewed,
    items: int,
    dims: tuple[int, ...],
    numbers: Mapping[str, float | None],
    reach: Reach,
) -> str:
    label, share = subject.label(subject.searched), numbers["any.share"] or 0.0
    dim = seen.rows.shape[1]
    said = (
        f"Gradient descent, which placed documents and a query for each pair freely in {dims[-1]} dimensions, found "
        f"queries for every pair of up to {numbers[f'free.critical_{dims[-1]}']:.0f} documents; that is its own limit, "
        f"and other queries may find the pairs of more. Of {items} of these "
        f"{label} ({DRAWS} random draws), "
    )
    every = "every pair is" if share == 1.0 else f"{share:.0%} of the pairs are"
    said += f"{every} the first two of some query with all {dim} numbers, and already with {numbers['any.axes']:.0f} "
    said += "of their principal axes"
    free = numbers["free.axes"]
    placed_in = f"{free:.0f}" if free is not None else f"more than {dims[-1]}"
    said += f" (random vectors: {numbers['random.axes']:.0f}; placed freely: {placed_in})."
    own = numbers["own.reached"] or 0.0
    if not reach.asked:
        return (
            f"{said} The sum of two items' own vectors puts exactly these two first in {own:.0%} of draws; there are "
            f"no questions or words to ask with.{caution(len(seen))}"
        )
    low, high = reach.intervals["words.reached"]
    among, alone = (f"{numbers[f'words.{name}']:.0%}" for name in ("reached_all", "alone"))
    said += (
        f" The sum of two items' {reach.asked} puts exactly these two first of {items} in "
        f"{numbers['words.reached']:.0%} of draws ({low:.0%} to {high:.0%}; first of all "
        f"{reach.basis['asked_for']:,} in {among}; a single one puts its item first of {items} in {alone}), the sum "
        f"of their own vectors in {own:.0%}."
    )
    if _missed(numbers) and share == 1.0:
        said += f" Among {items} items, what is missing is not room in the space but queries that land there."
    return said + caution(len(seen))


def _center(subject: Subject) -> tuple[str, ...]:
    """center, which often brings queries and items nearer, unless the recipe centres already."""
    return () if any(stage.split(":")[0] == "center" for stage in subject.name.split(",")[1:]) else ("center",)


def _advice(numbers: Mapping[str, float | None], reach: Reach, center: tuple[str, ...]) -> str:
    if not reach.asked:
        return "Add captions, or take a dataset with questions, to see how much of what is possible queries reach."
    if _missed(numbers):
        tried = " Try center, and evaluate whether it helps." if center else ""
        alone = numbers["words.alone"] or 0.0
        if alone < MISSED:
            return (
                f"A single one of these finds its item in {alone:.0%} only, so that sums of two cannot do well: a "
                f"stronger encoder comes first.{tried}"
            )
        return f"Ask for one thing at a time and fuse the lists.{tried}"
    return "Nothing to repair here: queries reach nearly all pairs that exist."
