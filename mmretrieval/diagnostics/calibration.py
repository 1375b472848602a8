"""Calibration: what does a score say? By kind of question, by view, by encoder; and in a list of all modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics import asking, calibration_plots, calibration_words, mixed_list, thresholds
from mmretrieval.diagnostics.calibration_words import K
from mmretrieval.diagnostics.sampling import RESAMPLES, interval, means, resamples
from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.diagnostics.thresholds import Odds, Threshold
from mmretrieval.diagnostics.viewed import basis
from mmretrieval.errors import RetrievalError
from mmretrieval.findings import Exhibit, Finding
from mmretrieval.geometry import Numbers
from mmretrieval.store.exact import Matrix

# Questions of a kind that are asked at most.
ASKED = 1_000
LEAST = 4
SHOWN = 20

Measured: TypeAlias = tuple[dict[str, float | None], dict[str, tuple[float, float]]]
Places: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Group:
    """The scores (q, n) of questions of one kind with one view of one encoder's space, NaN for what is excluded."""

    encoder: str
    rival: bool
    kind: str
    view: str
    label: str
    searched: bool
    scores: Numbers
    relevant: npt.NDArray[np.bool_]
    weights: Numbers
    asked: tuple[str, ...]
    ids: tuple[str, ...]
    called: str
    nulls: Numbers
    null_best: float | None
    threshold: Threshold | None
    odds: Odds | None

    @property
    def name(self) -> str:
        """What the group's numbers begin with."""
        return f"{'rival_' if self.rival else ''}{self.kind}_{self.view}"


def calibration(subject: Subject, *, seed: int = 0, sample: int | None = 10_000) -> Finding:
    """What scores say of answers, for each kind of question K and view V, of the subject and of its rival.

    A relevant item's score is compared with those of the other items, at most `sample` of them drawn (each counts for
    as many as it stands for), with at most 1,000 questions of a kind. A group's name is K_V, of the rival rival_K_V:
    - K_V.auc: over all pairs of all questions together; K_V.auc_within: mean over questions of each one's own pairs.
      The second is what ranking needs, the first what one threshold for all questions needs. K_V.overlap: 1 less the
      largest difference of the two distribution functions. Scores tie within 1024 bins.
    - K_V.relevant, K_V.irrelevant: mean scores. K_V.threshold: the score of the best F1 on half of the questions,
      K_V.precision and K_V.recall of it on the other half, among all pairs of question and item.
    - K_V.even: the score above which one of the first 10 answers is more likely relevant than not, by a logistic
      curve (Platt 1999); None where that cannot be estimated (see `odds`).
    - null_V.mean, null_V.deviation, null_V.best: scores of generic captions (`subject.nulls`), written with no item in
      mind, and what 95 % of their best scores stay below; K_V.above_null: the share of relevant pairs above it, for
      words. A caption may fit some item (a bird), so that a low share is no fault by itself. All are left out where
      there are no such captions.
    - mixed_K.V_share: of the first 10 in one list of all views' rows, how many are of view V; mixed_K.V_expected is
      V's share of the rows; mixed_K.hit: how often a relevant item is among the first 10, mixed_K.hit_alone in a list
      of the searched view. The same with `_centred` after `center`.
    Captions are not compared with views that have the words themselves (text and joint, and any that they are copies
    of). Questions with a zero row ask for nothing and are left out; the basis counts them in zero_rows, the rival's in
    rival_zero_rows. Intervals are 95 % percentile bootstrap over questions. Raises RetrievalError where fewer than 4
    questions have a known answer.
    """
    spaces = [(subject, False)] + ([(subject.rival, True)] if subject.rival and subject.rival.questions else [])
    questions, _ = subject.asked()
    kinds = tuple(dict.fromkeys(questions.kinds))
    drawn = {kind: _drawn(questions, kind, seed) for kind in kinds}
    zero_rows = {f"{'rival_' if rival else ''}zero_rows": _zero_rows(space, seed) for space, rival in spaces}
    groups = [g for space, rival in spaces for kind in kinds for g in _groups(space, rival, kind, seed, sample)]
    if not groups:
        way = "take a dataset with judgements, or a library whose pictures have captions"
        raise RetrievalError(
            f"fewer than {LEAST} questions of a kind have an answer among the items of {subject.name or 'this space'}"
            f"{f', and {zero} have a zero row' if (zero := zero_rows['zero_rows']) else ''}: "
            f"{'give files of more rows' if subject.of_files else way}"
        )
    measured = [_measured(group, seed) for group in groups]
    measured += [_nulls(space, rival) for space, rival in spaces]
    mixes = [m for space, rival in spaces for m in _mixes(space, rival, seed, sample)]
    measured += [m.measured for m in mixes]
    numbers, intervals = _joined(measured)
    first = [group for group in groups if group.searched and not group.rival] or groups[:1]
    confused = {group: _confusions(group) for group in groups if group.searched}
    advice, stages = calibration_words.advice(first, mixes, numbers, intervals)
    return Finding(
        diagnostic="calibration",
        sentence=calibration_words.sentence(first, mixes, numbers, intervals),
        numbers=numbers,
        intervals=intervals,
        plots=calibration_plots.drawn(groups, mixes),
        exhibits=tuple(table for table in confused.values() if table.rows),
        absent=tuple(
            f"No {group.called} ({group.encoder}, {group.label}) have a wrong answer before the right one."
            for group, table in confused.items()
            if not table.rows
        )
        + calibration_words.without_nulls([space for space, _ in spaces if not len(_null_rows(space))]),
        advice=advice,
        stages=stages,
        basis=basis(max(len(g.asked) for g in groups), seed, sample)
        | {
            "labels": subject.labelled,
            "captions": questions.captions,
            "questions": {kind: len(places) for kind, places in drawn.items()},
            **zero_rows,
            "items": {g.name: len(g.ids) for g in groups},
            "spaces": [space.name for space, _ in spaces],
            "first": K,
            "intervals": "95 % percentile bootstrap over questions",
            "resamples": RESAMPLES,
        },
    )


# --- which questions and items -------------------------------------------------------------------------------------


def _drawn(questions: Questions, kind: str, seed: int) -> Places:
    """The places of at most ASKED questions of a kind, less those with a zero row."""
    places = _with_zeros(questions, kind, seed)
    kept: Places = places[questions.rows[places].any(axis=1)]
    return kept


def _with_zeros(questions: Questions, kind: str, seed: int) -> Places:
    places = np.flatnonzero([k == kind for k in questions.kinds])
    if len(places) > ASKED:
        places = np.sort(np.random.default_rng([seed, len(places), 8]).choice(places, size=ASKED, replace=False))
    return places.astype(np.int64)


def _zero_rows(space: Subject, seed: int) -> int:
    """How many questions that were drawn have a zero row."""
    questions, _ = space.asked()
    kinds = dict.fromkeys(questions.kinds)
    return sum(len(_with_zeros(questions, kind, seed)) - len(_drawn(questions, kind, seed)) for kind in kinds)


def _items(matrix: Matrix, questions: Questions, asked: Places, seed: int, sample: int | None) -> Places:
    """The places of the items that scores are taken of: `sample` drawn ones and all relevant ones, less zero rows."""
    n = len(matrix.ids)
    drawn = np.arange(n, dtype=np.int64)
    if sample is not None and n > sample:
        wanted = matrix.places(sorted(frozenset().union(*(questions.relevant[i] for i in asked))))
        some = np.random.default_rng([seed, n, 9]).choice(n, size=sample, replace=False)
        drawn = np.unique(np.concatenate([some, wanted[wanted >= 0]]))
    kept: Places = drawn[np.asarray(matrix.rows[drawn]).any(axis=1)]
    return kept


def _groups(space: Subject, rival: bool, kind: str, seed: int, sample: int | None) -> list[Group]:
    """One group for each view in which at least LEAST questions of the kind have a relevant item."""
    questions, _ = space.asked()
    asked, found = _drawn(questions, kind, seed), []
    own = mixed_list.own_words(space) if kind == "caption" else frozenset()
    for view, matrix in space.views.items():
        if view in own:
            continue
        known = set(matrix.ids)
        answered = np.array([i for i in asked if questions.relevant[i] & known], dtype=np.int64)
        if len(answered) < LEAST:
            continue
        items = _items(matrix, questions, answered, seed, sample)
        group = _group(space, rival, kind, view, answered, items, seed)
        if group.relevant.any(axis=1).sum() >= LEAST:
            found.append(group)
    return found


def _group(space: Subject, rival: bool, kind: str, view: str, answered: Places, items: Places, seed: int) -> Group:
    questions, _ = space.asked()
    matrix = space.views[view]
    ids = tuple(matrix.ids[i] for i in items)
    place = {ident: i for i, ident in enumerate(ids)}
    wide = np.asarray(matrix.rows[items], dtype=np.float64)
    scores = questions.rows[answered].astype(np.float64) @ wide.T
    relevant = np.zeros(scores.shape, dtype=np.bool_)
    for row, number in enumerate(answered):
        relevant[row, [place[i] for i in questions.relevant[number] if i in place]] = True
        if questions.excluded:
            scores[row, [place[i] for i in questions.excluded[number] if i in place]] = np.nan
    whole = (relevant & np.isfinite(scores)).any(axis=1)
    scores, relevant, answered = scores[whole], relevant[whole], answered[whole]
    relevant &= np.isfinite(scores)
    others = np.isfinite(scores) & ~relevant
    # Items without a direction, and those that a question excludes, are no answers that were not drawn.
    able = {matrix.ids[i] for i in np.flatnonzero(np.asarray(matrix.rows).any(axis=1))}
    left_out = np.array([len(able & questions.excluded[i]) if questions.excluded else 0 for i in answered.tolist()])
    stands = (len(able) - left_out - relevant.sum(axis=1)) / np.maximum(others.sum(axis=1), 1)
    weights = others * np.maximum(stands, 1.0)[:, None]
    nulls = _null_rows(space) @ wide.T
    best = float(np.quantile(nulls.max(axis=1), 0.95)) if nulls.size and kind in ("text", "caption") else None
    filled = np.where(np.isfinite(scores), scores, float(np.nanmin(scores))) if len(scores) else scores
    pairs = thresholds.binned(filled, relevant, weights) if len(scores) else None
    top = np.argsort(-np.where(np.isfinite(scores), scores, -np.inf), axis=1, kind="stable")[:, :K]
    answers, right = np.take_along_axis(scores, top, axis=1), np.take_along_axis(relevant, top, axis=1)
    return Group(
        space.name or ("the second encoder" if rival else "the encoder"),
        rival,
        kind,
        view,
        space.label(view),
        view == space.searched,
        scores,
        relevant,
        weights,
        tuple(questions.said(i) for i in answered.tolist()),
        ids,
        asking.called(kind, questions.captions),
        nulls,
        best,
        thresholds.threshold(pairs, seed) if pairs else None,
        thresholds.odds(answers, right, seed) if pairs else None,
    )


def _null_rows(space: Subject) -> Numbers:
    """The null questions (m, d) that have a direction; none where the space has no null questions."""
    if space.nulls is None:
        return np.empty((0, space.views[space.searched].rows.shape[1]))
    kept: Numbers = space.nulls[space.nulls.any(axis=1)].astype(np.float64)
    return kept


# --- what is measured ----------------------------------------------------------------------------------------------


def _joined(measured: Sequence[Measured]) -> Measured:
    numbers: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for some, their in measured:
        numbers |= some
        intervals |= their
    return numbers, intervals


def _measured(group: Group, seed: int) -> Measured:
    scores, relevant, weights = group.scores, group.relevant, group.weights
    filled = np.where(np.isfinite(scores), scores, float(np.nanmin(scores)))
    pairs = thresholds.binned(filled, relevant, weights)
    counts = resamples(len(scores), seed)
    area, overlap = (float(values[0]) for values in thresholds.pooled(pairs))
    areas, overlaps = thresholds.pooled(pairs, counts)
    own = thresholds.within(pairs)
    own, drawn = own[np.isfinite(own)], counts[:, np.isfinite(own)]
    sums = {"relevant": relevant.astype(np.float64), "irrelevant": weights}
    numbers: dict[str, float | None] = {"auc": area, "overlap": overlap, "auc_within": float(own.mean())}
    intervals = {"auc": interval(areas), "overlap": interval(overlaps), "auc_within": interval(means(own, drawn))}
    for name, share in sums.items():
        total, heft = (filled * share).sum(axis=1), share.sum(axis=1)
        numbers[name] = float(total.sum() / heft.sum())
        intervals[name] = interval((counts @ total) / (counts @ heft))
    split, curve = group.threshold, group.odds
    numbers |= {"threshold": None, "precision": None, "recall": None, "even": curve.even if curve else None}
    if split:
        numbers |= {"threshold": split.score, "precision": split.precision, "recall": split.recall}
        intervals |= {"precision": split.precision_interval, "recall": split.recall_interval}
    if curve and curve.even_interval:
        intervals["even"] = curve.even_interval
    if group.null_best is not None:
        above, asked = (relevant & (scores > group.null_best)).sum(axis=1), relevant.sum(axis=1)
        numbers["above_null"] = float(above.sum() / asked.sum())
        intervals["above_null"] = interval((counts @ above) / (counts @ asked))
    return {f"{group.name}.{k}": v for k, v in numbers.items()}, {f"{group.name}.{k}": v for k, v in intervals.items()}


def _nulls(space: Subject, rival: bool) -> Measured:
    """How generic captions score on each view, over at most 10,000 items evenly spaced."""
    numbers: dict[str, float | None] = {}
    asked = _null_rows(space)
    for view, matrix in space.views.items():
        rows = np.asarray(matrix.rows[:: max(1, -(-len(matrix.ids) // 10_000))], dtype=np.float64)
        scores = asked @ rows[rows.any(axis=1)].T
        if scores.size:
            group = f"{'rival_' if rival else ''}null_{view}"
            numbers |= {f"{group}.mean": float(scores.mean()), f"{group}.deviation": float(scores.std())}
            numbers[f"{group}.best"] = float(np.quantile(scores.max(axis=1), 0.95))
    return numbers, {}


@dataclass(frozen=True, eq=False)
class Mix:
    """The mixed list of one kind of question: its numbers, and the views' shares, expected, as is, and centred."""

    encoder: str
    rival: bool
    kind: str
    captions: str
    labels: tuple[str, ...]
    names: tuple[str, ...]
    measured: Measured

    @property
    def called(self) -> str:
        """What its questions are called."""
        return asking.called(self.kind, self.captions)

    @property
    def group(self) -> str:
        """What the mix's numbers begin with."""
        return f"{'rival_' if self.rival else ''}mixed_{self.kind}"


def _mixes(space: Subject, rival: bool, seed: int, sample: int | None) -> list[Mix]:
    """One for each kind of question, where the space has several views that can be searched at once."""
    questions, _ = space.asked()
    if len(space.views) < 2 or len({m.rows.shape[1] for m in space.views.values()}) > 1:
        return []
    own = mixed_list.own_words(space)
    every = sorted(set().union(*(m.ids for m in space.views.values())))
    if sample is not None and len(every) > sample:
        some = np.random.default_rng([seed, len(every), 10]).choice(len(every), size=sample, replace=False)
        every = [every[i] for i in np.sort(some)]
    found = []
    for kind in dict.fromkeys(questions.kinds):
        asked = _drawn(questions, kind, seed)
        if len(asked) < LEAST:
            continue
        wanted = frozenset().union(*(questions.relevant[i] for i in asked))
        listed = mixed_list.candidates(space, frozenset(every) | wanted)
        rows = questions.rows[asked]
        found_in = mixed_list.mixed(listed, questions, asked, rows, K, space.searched, own)
        numbers, intervals = _mix(found_in, listed, "", seed)
        for view, share in zip(listed.names, listed.expected, strict=True):
            numbers[f"{view}_expected"] = float(share)
        if mixed_list.can_centre(space, kind):
            moved, turned = mixed_list.centred(space, listed, kind, rows)
            found_in = mixed_list.mixed(moved, questions, asked, turned, K, space.searched, own)
            after = _mix(found_in, listed, "_centred", seed)
            numbers, intervals = numbers | after[0], intervals | after[1]
        mix = Mix(
            space.name, rival, kind, questions.captions, tuple(map(space.label, listed.names)), listed.names, ({}, {})
        )
        named: Measured = (
            {f"{mix.group}.{k}": v for k, v in numbers.items()},
            {f"{mix.group}.{k}": v for k, v in intervals.items()},
        )
        found.append(replace(mix, measured=named))
    return found


def _mix(found: mixed_list.Mixed, listed: mixed_list.Candidates, suffix: str, seed: int) -> Measured:
    numbers: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float]] = {}
    # Centring may leave nothing of a question.
    shares = found.shares[np.isfinite(found.shares).all(axis=1)]
    if len(shares) < LEAST:
        return numbers, intervals
    counts = resamples(len(shares), seed)
    for view, share in zip(listed.names, shares.T, strict=True):
        numbers[f"{view}_share{suffix}"] = float(share.mean())
        intervals[f"{view}_share{suffix}"] = interval(means(share, counts))
    known = np.isfinite(found.hit)
    if known.sum() >= LEAST:
        drawn = resamples(int(known.sum()), seed)
        for name, values in (("hit", found.hit[known]), ("hit_alone", found.alone[known])):
            numbers[name + suffix] = float(values.mean())
            intervals[name + suffix] = interval(means(values, drawn))
    return numbers, intervals


def _confusions(group: Group) -> Exhibit:
    """The wrong answers that come furthest before the right one."""
    right = np.where(group.relevant, group.scores, -np.inf)
    wrong = np.where(group.weights > 0, group.scores, -np.inf)
    first, best = wrong.argmax(axis=1), right.argmax(axis=1)
    lead = wrong.max(axis=1) - right.max(axis=1)
    worst = np.argsort(-lead, kind="stable")[:SHOWN]
    return Exhibit(
        f"Wrong answers that {group.encoder} prefers most ({group.called}, {group.label}): the answer, and the item "
        "that was meant",
        ("question", "score of the answer", "score of what was meant"),
        tuple(
            (
                (group.ids[int(first[i])], group.ids[int(best[i])]),
                (group.asked[i], round(float(wrong[i, first[i]]), 4), round(float(right[i, best[i]]), 4)),
            )
            for i in worst
            if lead[i] > 0
        ),
    )
