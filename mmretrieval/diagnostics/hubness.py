"""Hubness: items that nearly every query finds, and items that none does; before and after each correction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from mmretrieval.diagnostics import asking
from mmretrieval.diagnostics.hubness_words import advice, sentence, stages
from mmretrieval.diagnostics.occurrence import (
    Measure,
    Places,
    alike,
    by_chance,
    chance_counts,
    measures,
    occurrences,
    shared,
    skewness,
)
from mmretrieval.diagnostics.sampling import RESAMPLES, interval, resamples
from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.errors import BadRecipe, RetrievalError
from mmretrieval.findings import Exhibit, Finding, Plot, Trace
from mmretrieval.geometry import Numbers
from mmretrieval.reference import Reference
from mmretrieval.search import CORRECTIONS
from mmretrieval.search.correct import DualSoftmax
from mmretrieval.search.leaders import dot_products, first_places
from mmretrieval.store.corrected import corrected
from mmretrieval.store.exact import Mask, Matrix
from mmretrieval.types import Array, Correction, View

# The k of N_k, or half the items where there are fewer than twenty.
K = 10
# Items in a table.
SHOWN = 20
# Points of a curve over ranks.
POINTS = 150
PLAIN = "uncorrected"
CHANCE = "by chance"
Intervals = dict[str, tuple[float, float]]


def hubness(subject: Subject, *, seed: int = 0, sample: int | None = 10_000) -> Finding:
    """How unevenly the questions find the items, plainly and after each correction of the table at its defaults.

    N_k is how many questions have an item among their first k = 10 (half the items, where there are fewer than 20), by
    the dot product in float64, all items being searched but those that a question excludes. `sample` bounds the
    questions; zero rows among them are left out. Numbers (see `occurrence.measures`): skewness, never_retrieved,
    largest_share, robin_hood, first_largest_share, and found where right answers are known; the same under each
    correction's name, with skewness_change and found_change (after less before); and what is expected under "chance".
    never_retrieved and skewness depend on how many questions there are, so they are compared with chance, never with
    other data.

    Corrections are fitted on the items and `subject.reference`'s queries; those that cannot be are named in the basis
    under "left_out". A transductive one, marked as such wherever it is named, sees all questions at once; its
    intervals take the other questions' part in it as fixed. Intervals are 95 % percentile bootstraps over questions, of
    each question's influence: those of skewness, never_retrieved and robin_hood are too wide rather than too narrow,
    most where nothing is a hub. "copies" is how many items have the vector of another one; a ranking lists such items
    by id, which makes hubs of the first. "skewness_shared" is the skewness where equal items share their counts: what
    it does not show is no hub of the vectors' making. Raises RetrievalError for less than 2 questions or 2 items.
    """
    asked, matrix = subject.asked()
    questions, zero_rows = _drawn(asked, seed, sample)
    n, q = len(matrix.ids), len(questions)
    excluded = _excluded(questions, matrix)
    left = n - max((len(places) for places in excluded.values()), default=0)
    if left < 2 or q < 2:
        raise RetrievalError(f"hubness needs at least 2 questions and 2 items, not {q} and {left}: give more of them")
    k = min(K, left // 2)
    corrections, left_out = _corrections(subject, matrix)
    lists = _lists(questions.rows, matrix.rows, cast(View, subject.searched), k, corrections, excluded)
    relevant = _relevant(questions, matrix)
    measured = {name: measures(found, n, relevant) for name, found in lists.items()}
    chance = by_chance(n, q, k)
    numbers, intervals = _numbers(measured, seed, q)
    numbers |= {f"chance.{name}": value for name, value in chance.items()}
    titles = {PLAIN: PLAIN, **{name: title(name, fitted) for name, fitted in corrections.items()}}
    counts = {name: occurrences(found, n) for name, found in lists.items()}
    numbers |= _of_copies(matrix, counts[PLAIN])
    bank = 0 if subject.reference is None else len(subject.reference.queries)
    missed = any(numbers[f"{'' if name == PLAIN else f'{name}.'}never_retrieved"] for name in counts)
    lasting = {name: text for name, text in titles.items() if name != PLAIN and not corrections[name].transductive}
    return Finding(
        diagnostic="hubness",
        sentence=sentence(
            _asked(subject, questions), _fitted_on(n, bank), q, n, k, titles, numbers, intervals, left_out
        ),
        numbers=numbers,
        intervals=intervals,
        plots=(
            _curves(counts, titles, n, q, k),
            *([_bars("never_retrieved", titles, numbers, intervals, k)] if missed else []),
            _bars("skewness", titles, numbers, intervals, k),
        ),
        exhibits=_exhibits(counts, titles, matrix, q, k),
        absent=() if missed else (f"Every item is among the first {k} of some question, corrected or not.",),
        advice=advice(lasting, numbers, intervals),
        stages=stages(lasting, numbers, intervals),
        basis={
            "n": q,
            "items": n,
            "k": k,
            "view": subject.searched,
            "of": len(asked),
            "zero_rows": zero_rows,
            "seed": seed,
            "sample": sample,
            "labels": subject.labelled,
            "questions": dict(Counter(questions.kinds)),
            "bank": bank,
            "corrections": {titles[name]: fitted.remark for name, fitted in corrections.items()},
            "left_out": left_out,
            "intervals": "95 % percentile bootstrap over questions, of their influences",
            "resamples": RESAMPLES,
            "versions": {"numpy": np.__version__},
        },
    )


def _of_copies(matrix: Matrix, counts: Places) -> dict[str, float]:
    """How many items have the vector of another, and how uneven counts (n,) are where such items share theirs."""
    groups = alike(matrix.rows)
    return {
        "copies": float((np.bincount(groups)[groups] > 1).sum()),
        "skewness_shared": skewness(shared(counts, groups)),
    }


def _asked(subject: Subject, questions: Questions) -> str:
    """How many questions of what kind are asked of what."""
    of = f" asked of {subject.label(subject.searched)}"
    own = ", each made from one of the items it is asked of" if set(questions.kinds) == {"caption"} else ""
    return asking.counted(questions.kinds, questions.captions) + of + own


def _fitted_on(items: int, bank: int) -> str:
    if not bank:
        return f"the {items:,} items"
    return f"the {items:,} items and a bank of {bank:,} reference queries that are none of these"


def title(name: str, fitted: Correction) -> str:
    """A correction as a stage of a recipe with the table's defaults, marked where it is transductive."""
    return written(name) + (" (transductive)" if fitted.transductive else "")


def written(name: str) -> str:
    """A correction as it stands in a recipe, with the table's defaults: nnn:128:0.75."""
    return ":".join([name, *(f"{parameter.default:g}" for parameter in CORRECTIONS[name].parameters)])


def _drawn(asked: Questions, seed: int, sample: int | None) -> tuple[Questions, int]:
    """At most `sample` questions, drawn by `seed`, less those with a zero row; and how many those were."""
    places = np.arange(len(asked))
    if sample is not None and len(asked) > sample:
        places = np.sort(np.random.default_rng([seed, len(asked)]).choice(len(asked), size=sample, replace=False))
    kept = places[asked.rows[places].any(axis=1)]
    drawn = replace(
        asked,
        rows=asked.rows[kept],
        ids=tuple(asked.ids[i] for i in kept),
        kinds=tuple(asked.kinds[i] for i in kept),
        relevant=tuple(asked.relevant[i] for i in kept),
        excluded=tuple(asked.excluded[i] for i in kept) if asked.excluded else (),
    )
    return drawn, len(places) - len(kept)


def _corrections(subject: Subject, matrix: Matrix) -> tuple[dict[str, Correction], dict[str, str]]:
    """Each correction at its defaults, fitted on the items searched; and why those left out could not be."""
    view, bank = cast(View, subject.searched), np.empty((0, matrix.rows.shape[1]), dtype=np.float32)
    own = Reference({view: matrix}, {}, bank if subject.reference is None else subject.reference.queries)
    fitted: dict[str, Correction] = {}
    left_out: dict[str, str] = {}
    for name, row in CORRECTIONS.items():
        try:
            fitted[name] = row.run(own, *(parameter.default for parameter in row.parameters))
        except BadRecipe as reason:
            left_out[written(name)] = str(reason)
    return fitted, left_out


def _lists(
    queries: Array,
    rows: Array,
    view: View,
    k: int,
    corrections: Mapping[str, Correction],
    excluded: Mapping[int, Places],
) -> dict[str, Places]:
    """The places (q, k) of each query's best items: plainly, and by the scores of each correction.

    As in a search, excluded items are taken out after the correction, and none of them counts as a query's best item
    where a correction asks for that.
    """
    ready = dict(corrections)
    for name, correction in corrections.items():
        if isinstance(correction, DualSoftmax):
            ready[name] = correction.over(scores for _, scores in dot_products(queries, rows))
        elif correction.transductive:
            raise TypeError(f"{name} is transductive, and hubness knows no way to see its queries in blocks")
    lists = {name: np.empty((len(queries), k), dtype=np.int64) for name in (PLAIN, *ready)}
    for block, scores in dot_products(queries, rows):
        masks = [_mask(excluded.get(query), len(rows)) for query in range(block.start, block.stop)]
        for name, correction in ready.items():
            lists[name][block] = _best(corrected(correction, view, scores, masks), masks, k)
        lists[PLAIN][block] = _best(scores, masks, k)
    return lists


def _mask(places: Places | None, n: int) -> Mask | None:
    """Which of n items a query may find, None for all, from the places of those that it may not."""
    if places is None:
        return None
    mask = np.ones(n, dtype=np.bool_)
    mask[places] = False
    return mask


def _best(scores: Numbers, masks: Sequence[Mask | None], k: int) -> Places:
    """The first k places of a block of queries; the scores (b, n) of what they may not find are overwritten."""
    for row, mask in zip(scores, masks, strict=True):
        if mask is not None:
            row[~mask] = -np.inf
    return first_places(scores, k)


def _excluded(questions: Questions, matrix: Matrix) -> dict[int, Places]:
    """The places of the items that each question leaves out, where it does."""
    found = {i: matrix.places(sorted(ids)) for i, ids in enumerate(questions.excluded) if ids}
    return {i: places[places >= 0] for i, places in found.items()}


def _relevant(questions: Questions, matrix: Matrix) -> dict[int, Places]:
    """The places of the items that answer each question of which answers are known; an item not there has none."""
    found = {i: matrix.places(sorted(ids)) for i, ids in enumerate(questions.relevant) if ids}
    return {i: places[places >= 0] for i, places in found.items()}


def _numbers(
    measured: Mapping[str, Mapping[str, Measure]], seed: int, q: int
) -> tuple[dict[str, float | None], Intervals]:
    """Every number with its interval, and how each correction changes skewness and found."""
    weights = resamples(q, seed).astype(np.float64) / q
    numbers: dict[str, float | None] = {}
    intervals: Intervals = {}
    for group, said in measured.items():
        every = dict(said)
        for name in ("skewness", "found"):
            if group != PLAIN and name in said:
                plain = measured[PLAIN][name]
                change = Measure(said[name].value - plain.value, said[name].influence - plain.influence)
                every[f"{name}_change"] = change
        moved = weights @ np.stack([measure.influence for measure in every.values()], axis=1)
        for (name, measure), column in zip(every.items(), moved.T, strict=True):
            key = name if group == PLAIN else f"{group}.{name}"
            numbers[key] = measure.value
            intervals[key] = _bounded(name, interval(measure.value + column))
    return numbers, intervals


def _bounded(name: str, given: tuple[float, float]) -> tuple[float, float]:
    """Shares lie in [0, 1], though a linearised resample may not."""
    if name.startswith("skewness") or name.endswith("_change"):
        return given
    return max(given[0], 0.0), min(given[1], 1.0)


# --- what there is to look at --------------------------------------------------------------------------------------


def _curves(counts: Mapping[str, Places], titles: Mapping[str, str], n: int, q: int, k: int) -> Plot:
    """Each item's count by its rank among the counts, with what chance would give."""
    ranks = np.unique(np.geomspace(1, n, POINTS).round().astype(np.int64))

    def curve(name: str, heights: Numbers) -> Trace:
        seen = heights > 0
        return Trace(name, tuple(ranks[seen].astype(float).tolist()), tuple(heights[seen].tolist()))

    falling = {titles[name]: np.sort(found)[::-1][ranks - 1].astype(np.float64) for name, found in counts.items()}
    falling[CHANCE] = chance_counts(n, q, k, ranks.astype(np.float64))
    return Plot(
        name="occurrence",
        title=f"How often each item is among the first {k}",
        x="items by falling count (rank)",
        y=f"questions that find it in their first {k} (count)",
        traces=tuple(curve(name, heights) for name, heights in falling.items()),
        note="A curve that starts high and falls early means hubs; it ends where items are found by no question.",
        log="xy",
    )


def _bars(
    number: str,
    titles: Mapping[str, str],
    numbers: Mapping[str, float | None],
    intervals: Mapping[str, tuple[float, float]],
    k: int,
) -> Plot:
    """One number before and after each correction, and by chance."""
    keys = [number if name == PLAIN else f"{name}.{number}" for name in titles]
    chance = float(numbers[f"chance.{number}"] or 0.0)
    heights = [float(numbers[key] or 0.0) for key in keys]
    share = number == "never_retrieved"
    unseen, lopsided = f"items in no question's first {k} (share)", "skewness of the counts (no unit)"
    return Plot(
        name=number,
        title="Items that no question finds" if share else "How lopsided the counts are",
        x="correction (stage of a recipe)",
        y=unseen if share else lopsided,
        traces=(
            Trace(
                name="items never found" if share else "skewness",
                x=(CHANCE, *titles.values()),
                y=(chance, *heights),
                mark="bars",
                low=(chance, *(intervals[key][0] for key in keys)),
                high=(chance, *(intervals[key][1] for key in keys)),
            ),
        ),
        note="Lower is better, and it depends on how many questions there are: compare with chance. Whiskers are 95 % "
        "intervals over questions.",
        percent="y" if share else "",
    )


def _exhibits(
    counts: Mapping[str, Places], titles: Mapping[str, str], matrix: Matrix, q: int, k: int
) -> tuple[Exhibit, ...]:
    """The items found most often, and some of those never found, with their counts after each correction."""
    plain, after = counts[PLAIN], [name for name in counts if name != PLAIN]
    columns = (f"questions (of {q})", "share of questions", *(f"questions after {titles[name]}" for name in after))

    def table(title: str, places: Places) -> Exhibit:
        rows = [
            (
                (matrix.ids[int(i)],),
                (float(plain[i]), float(plain[i]) / q, *(float(counts[name][i]) for name in after)),
            )
            for i in places
        ]
        return Exhibit(title, columns, tuple(rows))

    hubs = np.argsort(-plain, kind="stable")[:SHOWN]
    never = np.flatnonzero(plain == 0)
    spread = never[np.unique(np.linspace(0, len(never) - 1, SHOWN).round().astype(np.int64))] if len(never) else never
    shown = [table(f"Found most often: among the first {k} of the most questions", hubs)]
    if len(never):
        shown.append(table(f"Never among the first {k}: {len(spread)} of {len(never)} items, evenly spaced", spread))
    return tuple(shown)
