"""Agreement: do two encoders see the same items alike, and where do they differ most?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from mmretrieval.diagnostics import similarity
from mmretrieval.diagnostics.neighbours import nearest_of
from mmretrieval.diagnostics.sampling import RESAMPLES, caution, draw, interval, means, resamples
from mmretrieval.diagnostics.similarity import Counts, Places
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.errors import RetrievalError
from mmretrieval.findings import Exhibit, Finding, Plot, Trace
from mmretrieval.geometry import Numbers, directions

LEAST = 8
# The neighbours of Huh et al., and those at which the curve is drawn.
K = 10
CURVE = (1, 2, 5, 10, 20, 50)
# Pairs whose similarities are compared.
PAIRS = 20_000
# Items whose neighbours are looked for, among all that were drawn.
ASKED = 5_000
# Anchors of relative representations, as many as Moschella et al. took; and rows that are told apart by theirs.
ANCHORS, TOLD_APART = 300, 4_000
PLOTTED = 2_000
SHOWN = 20

Measured: TypeAlias = tuple[dict[str, float | None], dict[str, tuple[float, float]]]
# At each k the mean share of neighbours that are the same, and its interval.
Curve: TypeAlias = tuple[tuple[int, float, tuple[float, float]], ...]


def agreement(subject: Subject, *, seed: int = 0, sample: int | None = 10_000) -> Finding:
    """How alike a subject and its rival see the items that both have, for each view that both make.

    For a view V, of the directions of rows; a drawn sample stands for the items, neighbours too are found within it:
    - V.cka, V.cka_debiased: linear CKA (see `alignment_of_spaces`); V.cka_chance is the former's value to expect of
      shuffled items, the latter's is 0. Intervals linearise.
    - V.mutual_knn: the mean share of an item's k = 10 nearest that are the same (Huh et al. 2024, "The Platonic
      Representation Hypothesis"; k is at most half of the others), over at most 5,000 items; V.mutual_knn_chance is
      k / (n - 1).
    - V.spearman: rank correlation of the cosines of about 20,000 pairs of items; every item is in as many.
    - V.relative_correlation: an item's cosines to 300 shared items (anchors; at most half) in one space correlated
      with those in the other, mean over items. V.relative_hit, V.relative_mrr: an item is asked by its cosines to
      anchors in the one space, and looked for among those of at most 4,000 items in the other, by cosine: how often
      it comes first, and the mean of 1 / its place (Moschella et al. 2023). The same with `_centred`, each anchor's
      cosines less their mean over items; and with `_chance`.
    Intervals are 95 % percentile bootstrap over items. The exhibit has the items whose neighbours differ most, each
    with its nearest in either space. Where one of the two spaces does not vary, nothing is near, and what compares them
    is None. Raises RetrievalError where there is no rival, and where fewer than 8 items are shared in every view.
    """
    rival = subject.rival
    if rival is None:
        raise RetrievalError(
            "agreement compares two encoders on the same items, and only one is given (two views of one encoder are "
            "the same vectors): give a recipe with two encoders joined by +, as in lite@visual+lite-joint@visual, or "
            "(on the command line) two files, each one encoder's vectors of the same items, with --only agreement"
        )
    names = _names(subject, rival)
    seen = [_of_view(subject, rival, view, names, seed, sample) for view in _shared_views(subject, rival)]
    numbers: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for found in seen:
        numbers |= {f"{found.view}.{name}": value for name, value in found.numbers.items()}
        intervals |= {f"{found.view}.{name}": value for name, value in found.intervals.items()}
    advice, stages = _advice(seen, names, rival)
    return Finding(
        diagnostic="agreement",
        sentence=_sentence(seen, names),
        numbers=numbers,
        intervals=intervals,
        plots=_plots(seen, names),
        exhibits=tuple(found.exhibit for found in seen if found.exhibit.rows),
        absent=tuple(_alike(found) for found in seen if not found.exhibit.rows),
        advice=advice,
        stages=stages,
        # The view with the most items stands for all in `n` and `of`; `items` has each.
        basis=dict(max(seen, key=lambda found: len(found.ids)).basis)
        | {
            "labels": subject.labelled,
            "items": {found.view: len(found.ids) for found in seen},
            "spaces": list(names),
            "asked": {found.view: len(found.shared) for found in seen},
            "pairs": {found.view: found.pairs for found in seen},
            "anchors": {found.view: found.anchors for found in seen},
            "told_apart": {found.view: found.told_apart for found in seen},
            "intervals": "95 % percentile bootstrap over items; CKA linearised",
            "resamples": RESAMPLES,
        },
    )


@dataclass(frozen=True, eq=False)
class ViewSeen:
    """What one view of two spaces gave."""

    view: str
    label: str
    ids: tuple[str, ...]
    basis: dict[str, Any]
    k: int
    shared: Numbers
    exhibit: Exhibit
    curve: Curve
    sampled: tuple[Numbers, Numbers]
    pairs: int
    anchors: int
    told_apart: int
    numbers: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]]

    @property
    def varies(self) -> bool:
        """Whether both spaces do, so that some items are nearer than others."""
        return self.numbers["mutual_knn"] is not None


def _names(subject: Subject, rival: Subject) -> tuple[str, str]:
    first, second = subject.name or "the first encoder", rival.name or "the second encoder"
    return (first, second) if first != second else (f"{first} (1)", f"{second} (2)")


def _shared_views(subject: Subject, rival: Subject) -> list[str]:
    """The views of which both have the same LEAST items at least; RetrievalError where there is none."""
    counts = {
        view: len(set(matrix.ids) & set(rival.views[view].ids))
        for view, matrix in subject.views.items()
        if view in rival.views
    }
    kept = [view for view, count in counts.items() if count >= LEAST]
    if not kept:
        if subject.of_files:
            raise RetrievalError(
                f"the files hold {max(counts.values(), default=0)} rows each, and agreement needs {LEAST}: give files "
                "of more rows"
            )
        told = ", ".join(f"{count} in the {view} view" for view, count in counts.items())
        raise RetrievalError(
            f"{subject.name or 'one encoder'} and {rival.name or 'the other'} share {told or 'no view'}, and agreement "
            f"needs {LEAST} items that both have in one: embed the library with both encoders"
        )
    return kept


def _of_view(
    subject: Subject, rival: Subject, view: str, names: tuple[str, str], seed: int, sample: int | None
) -> ViewSeen:
    a, b = subject.views[view], rival.views[view]
    ids = sorted(set(a.ids) & set(b.ids))
    if sample is not None and len(ids) > sample:
        places = np.sort(np.random.default_rng(seed).choice(len(ids), size=sample, replace=False))
        drawn_ids, of = [ids[i] for i in places], len(ids)
    else:
        drawn_ids, of = ids, len(ids)
    rows = {name: np.asarray(m.rows[m.places(drawn_ids)]) for name, m in zip(names, (a, b), strict=True)}
    drawn = draw(rows, drawn_ids, LEAST, seed, max(len(drawn_ids), 1), subject.more)
    x, y = (directions(drawn.rows[name]) for name in names)
    counts = resamples(len(drawn), seed)
    cka = _cka(x, y, counts)
    varies = cka[0]["cka"] is not None
    near = _neighbours(x, y, seed, varies)
    pairs = similarity.pairs_of(len(x), PAIRS, seed)
    sampled = (similarity.cosines_of(x, pairs), similarity.cosines_of(y, pairs))
    correlated, resampled = similarity.rank_correlation(*sampled, pairs, counts)
    ranked: Measured = {"spearman": correlated}, {} if correlated is None else {"spearman": interval(resampled)}
    told, alike, anchors, told_apart = _relative(x, y, seed, varies)
    numbers, intervals = _joined(cka, near.measured, ranked, told)
    return ViewSeen(
        view,
        subject.label(view),
        drawn.ids,
        dict(drawn.basis) | {"of": of, "sample": sample},
        near.k,
        near.shared,
        _differing(drawn.ids, near, alike, subject.label(view), names),
        near.curve,
        sampled,
        len(pairs),
        anchors,
        told_apart,
        numbers,
        intervals,
    )


# --- what is measured ----------------------------------------------------------------------------------------------


def _joined(*measured: Measured) -> Measured:
    numbers: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for some, their in measured:
        numbers |= some
        intervals |= their
    return numbers, intervals


def _cka(x: Numbers, y: Numbers, counts: Counts) -> Measured:
    found = similarity.alignment_of_spaces(x, y)
    intervals = {}
    if found.cka is not None:
        intervals["cka"] = interval(np.clip(found.resampled(counts), 0.0, 1.0))
    if found.debiased is not None:
        intervals["cka_debiased"] = interval(np.clip(found.debiased_resampled(counts), -1.0, 1.0))
    return {"cka": found.cka, "cka_debiased": found.debiased, "cka_chance": found.chance}, intervals


@dataclass(frozen=True, eq=False)
class Near:
    """What two spaces say of the neighbours of the `asked`: how many of k they share, the nearest in each, by k.

    Nobody is asked where one of them does not vary: only the order of ids would tell who is nearest.
    """

    asked: Places
    k: int
    shared: Numbers
    first: tuple[Places, Places]
    curve: Curve
    measured: Measured


def _neighbours(x: Numbers, y: Numbers, seed: int, varies: bool) -> Near:
    n = len(x)
    asked = np.sort(np.random.default_rng([seed, n, 6]).permutation(n)[:ASKED])
    counts = resamples(len(asked), seed)
    most = (n - 1) // 2
    k, steps = min(K, most), sorted({min(step, most) for step in CURVE})
    if not varies:
        none = np.empty(0, dtype=np.int64)
        told: Measured = {"mutual_knn": None, "mutual_knn_chance": None}, {}
        return Near(none, k, np.empty(0), (none, none), (), told)
    a, b = (nearest_of(rows[asked], rows, steps[-1], asked).places for rows in (x, y))
    shared = similarity.shared_neighbours(a[:, :k], b[:, :k])
    curve = []
    for step in steps:
        share = similarity.shared_neighbours(a[:, :step], b[:, :step]) / step
        curve.append((step, float(share.mean()), interval(means(share, counts))))
    measured: Measured = (
        {"mutual_knn": float(shared.mean()) / k, "mutual_knn_chance": k / (n - 1)},
        {"mutual_knn": interval(means(shared / k, counts))},
    )
    return Near(asked, k, shared, (a[:, 0], b[:, 0]), tuple(curve), measured)


def _relative(x: Numbers, y: Numbers, seed: int, varies: bool) -> tuple[Measured, Numbers, int, int]:
    """How each item's cosines to the anchors correlate (n,); how many anchors, and items that were told apart."""
    n = len(x)
    shuffled = np.random.default_rng([seed, n, 5]).permutation(n)
    count = min(ANCHORS, n // 2)
    anchors, others = np.sort(shuffled[:count]), np.sort(shuffled[count : count + TOLD_APART])
    a, b = similarity.relative(x, anchors), similarity.relative(y, anchors)
    counts = resamples(len(others), seed)
    correlations = similarity.row_correlations(_without_self(a, anchors), _without_self(b, anchors))
    numbers: dict[str, float | None] = {"relative_correlation": float(correlations[others].mean())}
    intervals = {"relative_correlation": interval(means(correlations[others], counts))}
    for suffix, (asked, rows) in {
        "": (a[others], b[others]),
        "_centred": (a[others] - a[others].mean(axis=0), b[others] - b[others].mean(axis=0)),
    }.items():
        ranks = similarity.own_ranks(asked, rows)
        for name, values in (("relative_hit", (ranks == 1).astype(np.float64)), ("relative_mrr", 1.0 / ranks)):
            numbers[name + suffix] = float(values.mean())
            intervals[name + suffix] = interval(means(values, counts))
    m = len(others)
    numbers |= {"relative_hit_chance": 1 / m, "relative_mrr_chance": float((1 / np.arange(1, m + 1)).sum()) / m}
    if not varies:
        numbers, intervals = dict.fromkeys(numbers), {}
    return (numbers, intervals), correlations, count, m


def _without_self(cosines: Numbers, anchors: Places) -> Numbers:
    """Cosines (n, a) in which an anchor's cosine to itself, 1 in every space, is the mean of its others."""
    kept = cosines.copy()
    columns = np.arange(len(anchors))
    others = (kept[anchors].sum(axis=1) - kept[anchors, columns]) / max(len(anchors) - 1, 1)
    kept[anchors, columns] = others
    return kept


def _differing(ids: Sequence[str], near: Near, alike: Numbers, label: str, names: tuple[str, str]) -> Exhibit:
    order = np.lexsort((alike[near.asked], near.shared))
    worst = order[near.shared[order] < near.k][:SHOWN]  # those that share all are no items that differ
    return Exhibit(
        f"Items that {names[0]} and {names[1]} see most differently by their {label}: the item, its nearest for "
        f"{names[0]}, its nearest for {names[1]}",
        (f"shared of the {near.k} nearest", "correlation of cosines to anchors"),
        tuple(
            (
                (ids[int(near.asked[i])], ids[int(near.first[0][i])], ids[int(near.first[1][i])]),
                (float(near.shared[i]), round(float(alike[near.asked[i]]), 4)),
            )
            for i in worst
        ),
    )


# --- what is shown and said ----------------------------------------------------------------------------------------


def _alike(found: ViewSeen) -> str:
    if not found.varies:
        return f"By {found.label} one of the two spaces does not vary: no item is nearer than another there."
    return f"By {found.label} every item that was looked at has the same {found.k} nearest for both."


def _plots(seen: Sequence[ViewSeen], names: tuple[str, str]) -> tuple[Plot, ...]:
    varied = [found for found in seen if found.varies]
    return (_curves(varied), _scatter(seen, names), _histogram(varied)) if varied else (_scatter(seen, names),)


def _curves(seen: Sequence[ViewSeen]) -> Plot:
    traces = []
    for found in seen:
        steps = tuple(float(step) for step, _, _ in found.curve)
        traces.append(
            Trace(
                found.label,
                steps,
                tuple(share for _, share, _ in found.curve),
                low=tuple(low for _, _, (low, _) in found.curve),
                high=tuple(high for _, _, (_, high) in found.curve),
            )
        )
        traces.append(Trace(f"{found.label}, chance", steps, tuple(s / (len(found.ids) - 1) for s in steps)))
    return Plot(
        "neighbours",
        "Nearest items that both encoders name",
        "k (nearest items counted)",
        "neighbours that both name (share of the k nearest)",
        tuple(traces),
        note="100 % where both have the same neighbours; the grey lines are what unrelated encoders would share. "
        "Bands are 95 % intervals over items.",
        percent="y",
        log="x",
    )


def _scatter(seen: Sequence[ViewSeen], names: tuple[str, str]) -> Plot:
    traces = []
    for found in seen:
        spaced = np.unique(np.linspace(0, found.pairs - 1, min(PLOTTED, found.pairs)).round().astype(np.int64))
        x, y = (values[spaced] for values in found.sampled)
        traces.append(Trace(found.label, tuple(x.tolist()), tuple(y.tolist()), "points"))
    return Plot(
        "similarities",
        "How alike pairs of items are to either encoder",
        f"cosine of two items, {names[0]} (-1 to 1)",
        f"cosine of two items, {names[1]} (-1 to 1)",
        tuple(traces),
        note="A point is a pair of items. On one rising curve both encoders order all pairs alike.",
        square=True,
    )


def _histogram(seen: Sequence[ViewSeen]) -> Plot:
    traces = []
    for found in seen:
        shares = np.bincount(found.shared.astype(np.int64), minlength=found.k + 1) / len(found.shared)
        traces.append(Trace(found.label, tuple(float(i) for i in range(found.k + 1)), tuple(shares.tolist()), "bars"))
    return Plot(
        "shared",
        "How much of an item's neighbourhood both share",
        f"nearest items that both name (count, of {max(found.k for found in seen)})",
        "items (share)",
        tuple(traces),
        note="Bars at the left: items that the two encoders see differently; at the right: alike.",
        percent="y",
    )


def _sentence(seen: Sequence[ViewSeen], names: tuple[str, str]) -> str:
    said = []
    for found in seen:
        if not found.varies:
            said.append(f"by {found.label} one of the spaces does not vary, so that no item is nearer than another")
            continue
        share, (low, high) = found.numbers["mutual_knn"], found.intervals["mutual_knn"]
        chance, cka = found.numbers["mutual_knn_chance"], found.numbers["cka_debiased"]
        assert share is not None and chance is not None
        told = f"of an item's {found.k} nearest by {found.label}, {share:.0%} are the same for both"
        more = f" (95 % interval {low:.0%} to {high:.0%}; chance is {_percent(chance)})"
        if low <= chance:
            more = f" ({low:.0%} to {high:.0%}, 95 % interval), no more than the {_percent(chance)} of chance"
        alike = "; one of the spaces does not vary" if cka is None else f"; debiased linear CKA is {cka:.2f}"
        said.append(f"{told}{more}{alike}")
    fewest = min(len(found.ids) for found in seen)
    most = max(len(found.ids) for found in seen)
    counted = f"{most}" if fewest == most else f"{most} ({', '.join(f'{len(f.ids)} by {f.label}' for f in seen)})"
    return f"Over {counted} items seen by {names[0]} and {names[1]}: " + ". And ".join(said) + "." + caution(fewest)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else f"{share:.2%}"


def _advice(seen: Sequence[ViewSeen], names: tuple[str, str], rival: Subject) -> tuple[str, tuple[str, ...]]:
    """Where they see different things, join their lists; where each item is found across, one index could do."""
    varied = [found for found in seen if found.varies]
    if not varied:
        return "", ()
    apart = min(varied, key=lambda found: found.numbers["mutual_knn"] or 0.0)
    hit = min(found.numbers["relative_hit_centred"] or 0.0 for found in varied)
    share = apart.numbers["mutual_knn"] or 0.0
    sentences: list[str] = []
    stages: list[str] = []
    if share < 0.5:
        sentences.append(
            f"They name mostly different neighbours by {apart.label}: both together (joined by + in a recipe) may find "
            "what one alone misses; evaluate that against each."
        )
    else:
        sentences.append("They name mostly the same neighbours: fusing them can add little, the cheaper one may do.")
    if hit >= 0.5:
        least = "at least " if len(varied) > 1 and round(hit, 2) < 1 else ""
        sentences.append(
            f"By their cosines to shared items alone {least}{hit:.0%} of the items are found again in the other "
            "space: a map between them (align) may let a new encoder search the old one's index."
        )
        # Files of vectors have no recipe whose stages could be tried.
        encoder = rival.name.split(",")[0].split("@")[0].strip()
        stages += [f"align:{encoder}"] if not rival.of_files and encoder and not set(encoder) & set("+ ") else []
    return " ".join(sentences), tuple(stages)
