"""GRAM volume as a sign of agreement: what it tells apart, what it cannot see, and what it favours unasked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.gram_plots import exhibits, plots
from mmretrieval.diagnostics.gram_words import advice, sentence
from mmretrieval.diagnostics.prior import (
    EQUAL,
    RANKINGS,
    Retrieved,
    correlated,
    correlated_with,
    retrieved,
    tenth_interval,
    tenth_share,
)
from mmretrieval.diagnostics.sampling import RESAMPLES, Sample, draw, interval, means, resamples, share_interval
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.diagnostics.tuples import (
    LEAST,
    QUESTIONS,
    Compared,
    Tuples,
    askers,
    comparable_views,
    made_of,
    measure,
    mixed,
    own_tuples,
    question_tuples,
)
from mmretrieval.errors import RetrievalError
from mmretrieval.findings import Finding
from mmretrieval.geometry import Numbers

# Questions that rank all items, and how many places of such a ranking count as found.
ASKED = 2000
TOP = 10

# Of an item's own views; None for an item with one.
OWN = ("volume_matched_mean", "volume_shuffled_mean", "auc", "own_volume_mean")

Intervals = dict[str, tuple[float, float]]


def gram(subject: Subject, *, seed: int = 0, sample: int | None = 10_000) -> Finding:
    """Volumes of tuples that belong together against shuffled ones, their factors, their blind spot and their prior.

    A tuple is an item's own views (all but the joint one, 2 or more), the first of which plays the query; shuffled, it
    is put to another item. Volume is that of Cicchetti et al. (ICLR 2025), the item's own volume times the query's
    sine to its span (see `gram_factors`). Numbers:
    - volume_matched_mean, volume_shuffled_mean; auc, the share of (matched, shuffled) comparisons in which the matched
      volume is the smaller, ties counting half: 0.5 is chance. own_volume_mean, sine_matched_mean, sine_shuffled_mean
      and auc_sine are of the factors; with two vectors own_volume_mean is None, and the volume is the sine.
      auc_cosine is the same share for the mean cosine of the query to the views, auc_gain and sine_gain are what
      auc and auc_sine have beyond it.
    - opposed_matched, opposed_shuffled: tuples in which the query has a negative cosine to a view. auc_guarded: with
      those behind the others, as the rerankers `gram` and `span` have it. flip.*: the same matched tuples with the
      query turned to its opposite.
    - mixed.* (from three vectors on): shuffled tuples in which no two vectors are of the same item.
    - volume_cosine_spearman: rank correlation of a matched tuple's volume with the mean cosine of all its pairs.
    - questions.*: the first groups again for (question, views) where questions with answers are given, or captions
      with views that they were not made of.
    - prior.*: correlation of an item's own volume with how often it is among the first when all items are ranked by
      volume, by the guarded volume, by sine and by mean cosine; and the share of those places that goes to the tenth
      of items with the smallest own volume (0.1 would be even; None for fewer than 10 items). Asked are up to 2,000
      questions, or else the first view's rows; a caption does not find its own item.
    Intervals are 95 % percentile bootstraps over tuples (of prior.*: over items), for the shuffle that `seed` gives.
    For a subject with one view and questions the first four are None, and the tuples are under questions.*. Raises
    RetrievalError where neither two views nor questions are given, or fewer than 4 items have all the views.
    """
    names = comparable_views(subject)
    drawn = _drawn(subject, names, seed, sample)
    own = _own(subject, drawn, names, seed) if len(names) > 1 else None
    asked = _asked(subject, names, seed, sample, alone=own is None or own.size > 2)
    found, basis = _prior(subject, drawn, names, seed)
    shown = own if own is not None else asked
    if shown is None:
        raise RetrievalError(
            f"{subject.name or 'this space'} has one view of its items, {subject.label(names[0])}, and fewer than "
            f"{LEAST} questions that an item of it answers: give questions with answers, or items with two views"
        )
    numbers: dict[str, float | None] = dict.fromkeys(OWN)
    intervals: Intervals = {}
    for prefix, compared in (("", own), ("questions.", asked)):
        if compared is not None:
            _take(numbers, intervals, prefix, _separation(compared))
            _take(numbers, intervals, prefix, _cosines(compared))
    if own is not None:
        _take(numbers, intervals, "", _mixed(own, seed))
    _take(numbers, intervals, "", _flipped(shown))
    if found is not None:
        _take(numbers, intervals, "", _favoured(found, seed))
    words = {"own": own.tuples.names if own else (), "questions": asked.tuples.names if asked else ()}
    sizes = {"own": len(drawn), "questions": len(asked.tuples) if asked else 0}
    advised, stages = advice(numbers, intervals, words, sizes)
    return Finding(
        diagnostic="gram",
        sentence=sentence(numbers, intervals, words, sizes, _ranking(subject, basis)),
        numbers=numbers,
        intervals=intervals,
        plots=plots(own, asked, found, drawn.ids, seed),
        exhibits=exhibits(own, asked, found, drawn.ids),
        advice=advised,
        stages=stages,
        basis=dict(drawn.basis)
        | {
            "n": len(drawn),
            "labels": subject.labelled,
            "tuple": list(words["own"]),
            "questions_tuple": list(words["questions"]),
            "questions": sizes["questions"],
            "intervals": "95 % percentile bootstrap over tuples; of prior, over items; Clopper-Pearson for a share for "
            "which all are alike",
            "resamples": RESAMPLES,
        }
        | basis,
    )


def smaller_share(matched: Numbers, shuffled: Numbers, counts: npt.NDArray[np.float32] | None = None) -> Numbers:
    """The share of comparisons of a matched (n,) with a shuffled (m = n,) value that the matched wins by being smaller.

    Ties count half: the area under the ROC curve. One number for each row of counts (c, n), all 1 by default.
    """
    w = np.ones((1, len(matched)), dtype=np.float32) if counts is None else counts
    order = np.argsort(shuffled, kind="stable")
    below = np.searchsorted(shuffled[order], matched, side="left")
    upto = np.searchsorted(shuffled[order], matched, side="right")
    shares = np.empty(len(w))
    for i, weight in enumerate(w.astype(np.float64)):
        running = np.concatenate([[0.0], np.cumsum(weight[order])])
        wins = running[-1] - 0.5 * (running[below] + running[upto])
        shares[i] = float((weight * wins).sum() / weight.sum() ** 2)
    return shares


def wins(matched: Numbers, shuffled: Numbers) -> Numbers:
    """The share of shuffled values (m,) that each matched one (n,) is smaller than, ties counting half: (n,)."""
    ordered = np.sort(shuffled)
    before = np.searchsorted(ordered, matched, side="left") + np.searchsorted(ordered, matched, side="right")
    shares: Numbers = 1.0 - 0.5 * before / len(ordered)
    return shares


def _share_interval(matched: Numbers, shuffled: Numbers, counts: npt.NDArray[np.float32]) -> tuple[float, float]:
    return share_interval(wins(matched, shuffled), smaller_share(matched, shuffled, counts))


def _drawn(subject: Subject, names: tuple[str, ...], seed: int, sample: int | None) -> Sample:
    if len(names) == 1:
        if subject.questions is None or not len(subject.questions):
            subject.pairs()  # says what is missing
        matrix = subject.views[names[0]]
        rows, ids = {names[0]: np.asarray(matrix.rows)}, matrix.ids
    else:
        rows, ids = subject.pairs(names)
    return draw(rows, ids, max(LEAST, len(names)), seed, sample, subject.more)


def _own(subject: Subject, drawn: Sample, names: tuple[str, ...], seed: int) -> Compared:
    rows = {view: drawn.rows[view] for view in names}
    return _compared(own_tuples(rows, drawn.ids, [subject.label(v) for v in names], seed), seed)


def _asked(subject: Subject, names: tuple[str, ...], seed: int, sample: int | None, alone: bool) -> Compared | None:
    """Tuples of questions; not those of a caption and one view where the item's own two views say the same."""
    limit = len(subject.questions) if sample is None and subject.questions is not None else sample or 0
    tuples = question_tuples(subject, names, seed, limit)
    if tuples is None or (not alone and len(tuples.names) == 2 and tuples.names[0] != QUESTIONS):
        return None
    return _compared(tuples, seed)


def _compared(tuples: Tuples, seed: int) -> Compared:
    matched, shuffled = measure(tuples.queries, tuples.matched), measure(tuples.queries, tuples.shuffled)
    return Compared(tuples, matched, shuffled, resamples(len(tuples), seed))


Measured = tuple[dict[str, float | None], Intervals]


def _take(numbers: dict[str, float | None], intervals: Intervals, prefix: str, more: Measured) -> None:
    numbers.update({prefix + name: value for name, value in more[0].items()})
    intervals.update({prefix + name: value for name, value in more[1].items()})


def _separation(compared: Compared) -> Measured:
    """How matched differ from shuffled tuples: by volume, by its factors, by cosine, and guarded."""
    a, b, counts = compared.matched, compared.shuffled, compared.counts
    averages = {"volume_matched_mean": a.volume, "volume_shuffled_mean": b.volume}
    sides = {"auc": (a.volume, b.volume), "auc_cosine": (-a.cosine, -b.cosine), "auc_guarded": (a.guarded, b.guarded)}
    if compared.size > 2:
        averages |= {"own_volume_mean": a.own, "sine_matched_mean": a.sine, "sine_shuffled_mean": b.sine}
        sides |= {"auc_sine": (a.sine, b.sine)}
    numbers: dict[str, float | None] = {"own_volume_mean": None}
    numbers |= {name: float(values.mean()) for name, values in averages.items()}
    intervals = {name: interval(means(values, counts)) for name, values in averages.items()}
    opposed = {"opposed_matched": (a.lowest < 0).astype(float), "opposed_shuffled": (b.lowest < 0).astype(float)}
    numbers |= {name: float(values.mean()) for name, values in opposed.items()}
    intervals |= {name: share_interval(values, means(values, counts)) for name, values in opposed.items()}
    shares = {name: float(smaller_share(*side)[0]) for name, side in sides.items()}
    resampled = {name: smaller_share(*side, counts) for name, side in sides.items()}
    each = {name: wins(*side) for name, side in sides.items()}
    intervals |= {name: share_interval(each[name], values) for name, values in resampled.items()}
    for gain, name in {"auc_gain": "auc", "sine_gain": "auc_sine"}.items():
        if name in sides:
            shares[gain] = shares[name] - shares["auc_cosine"]
            difference, drawn = each[name] - each["auc_cosine"], resampled[name] - resampled["auc_cosine"]
            intervals[gain] = share_interval(difference, drawn, least=-1.0)
    return numbers | shares, intervals


def _flipped(compared: Compared) -> Measured:
    """Every query turned to its opposite: the volume stays, so an opposite passes for a match; the guard sees it."""
    flipped, shuffled = measure(-compared.tuples.queries, compared.tuples.matched), compared.shuffled
    numbers: dict[str, float | None] = {
        "flip.volume_largest_change": float(np.abs(flipped.volume - compared.matched.volume).max()),
        "flip.auc": float(smaller_share(flipped.volume, shuffled.volume)[0]),
        "flip.auc_guarded": float(smaller_share(flipped.guarded, shuffled.guarded)[0]),
    }
    intervals = {
        "flip.auc": _share_interval(flipped.volume, shuffled.volume, compared.counts),
        "flip.auc_guarded": _share_interval(flipped.guarded, shuffled.guarded, compared.counts),
    }
    return numbers, intervals


def _mixed(compared: Compared, seed: int) -> Measured:
    if compared.size < 3:
        return {}, {}
    volumes = measure(compared.tuples.queries, mixed(compared.tuples, seed)).volume
    matched, counts = compared.matched.volume, compared.counts
    return (
        {"mixed.volume_mean": float(volumes.mean()), "mixed.auc": float(smaller_share(matched, volumes)[0])},
        {
            "mixed.volume_mean": interval(means(volumes, counts)),
            "mixed.auc": _share_interval(matched, volumes, counts),
        },
    )


def _cosines(compared: Compared) -> Measured:
    values = correlated(compared.matched.volume, compared.matched.pairwise, compared.counts).get("spearman")
    if values is None:
        return {"volume_cosine_spearman": None}, {}
    return {"volume_cosine_spearman": values[0]}, {"volume_cosine_spearman": values[1]}


def _prior(
    subject: Subject, drawn: Sample, names: tuple[str, ...], seed: int
) -> tuple[Retrieved | None, dict[str, object]]:
    """How often each item is found, by the questions, or else by the first view's rows among the other views.

    None where items have a single view to be found by: their own volume is 1 then, and favours nobody.
    """
    top = min(TOP, max(1, len(drawn) // 10))
    itself = None
    if subject.questions is not None and len(subject.questions):
        places, captions = askers(subject.questions)
        rows, views = subject.questions.rows, names
        who = subject.questions.captions if captions else QUESTIONS
        if captions:
            others = tuple(v for v in names if v != "text" and not made_of(subject, v, places))
            if len(others) > 1:
                views = others
            else:
                at = {item: place for place, item in enumerate(drawn.ids)}
                answers = subject.questions.relevant
                itself = np.array([at.get(min(a), -1) if a else -1 for a in answers], dtype=np.int64)
                who += ", each without its own item"
    else:
        rows, views, who = drawn.rows[names[0]], names[1:], f"the rows of {subject.label(names[0])}"
        places = np.arange(len(drawn))
    if len(views) < 2 or not len(places):
        return None, {}
    if len(places) > ASKED:
        places = np.sort(np.random.default_rng([seed, 5]).choice(places, size=ASKED, replace=False))
    own = np.stack([drawn.rows[view] for view in views], axis=1)
    found = retrieved(rows[places], own, top, None if itself is None else itself[places])
    return found, {"prior_asked": len(places), "prior_by": who, "prior_top": top, "prior_views": list(views)}


def _ranking(subject: Subject, basis: Mapping[str, object]) -> str:
    """Who ranks all items by what, as the beginning of what is said of it."""
    views = basis.get("prior_views")
    if not isinstance(views, list):
        return ""
    by = " and ".join(map(subject.label, views))
    return f"Then all items were ranked, by their {by} together, for {basis['prior_by']} ({basis['prior_asked']}). "


def _favoured(found: Retrieved, seed: int) -> Measured:
    numbers: dict[str, float | None] = {}
    intervals: Intervals = {}
    counts = resamples(len(found.own), seed)
    measured = correlated_with(found.own, found.times, counts)
    for ranking in RANKINGS:
        values = measured[ranking]
        for kind in ("spearman", "pearson"):
            numbers[f"prior.{ranking}_{kind}"] = values[kind][0] if values else None
            if values:
                intervals[f"prior.{ranking}_{kind}"] = values[kind][1]
        numbers[f"prior.{ranking}_tenth"] = None
        if len(found.own) >= 10 and np.ptp(found.own) >= EQUAL:
            numbers[f"prior.{ranking}_tenth"] = float(tenth_share(found, ranking)[0])
            intervals[f"prior.{ranking}_tenth"] = tenth_interval(found, ranking, counts)
    return numbers, intervals
