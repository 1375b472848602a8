"""The modality gap: two modalities of one space, each keeping to a region of its own, before and after centring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mmretrieval import geometry
from mmretrieval.diagnostics import gap_plots, shift, spectrum
from mmretrieval.diagnostics.gap_classifier import LOOKED_AT_ONCE, centred, centred_apart, judged, learnt_of, split
from mmretrieval.diagnostics.gap_words import advice, sentence
from mmretrieval.diagnostics.sampling import RESAMPLES, chosen, interval, means, resample_blocks, resamples, versions
from mmretrieval.diagnostics.spectrum import Moments
from mmretrieval.diagnostics.subject import Subject, items
from mmretrieval.errors import RetrievalError
from mmretrieval.findings import Finding, Plot
from mmretrieval.geometry import AnyRows, Numbers
from mmretrieval.types import Array

LEAST = 4
SHARES = (90, 95, 99)

INTERVALS = (
    "95 % percentile bootstrap over pairs; after centring the means are held fixed. Shares for which all pairs are "
    "alike: Clopper-Pearson. Losses: Student's t over batches, none of one batch. No interval: components, ranks and "
    "w2_uniformity, since pairs drawn twice make a spectrum steeper than it is; distances after centring, which are 0 "
    "by construction; deltas and distances of the shift, which are places on a grid and depend on all pairs at once"
)

Intervals = dict[str, tuple[float, float]]
Measured = tuple[dict[str, float | None], Intervals]


def gap(
    subject: Subject, *, seed: int = 0, sample: int | None = 10_000, projection: Literal["pca", "umap"] = "pca"
) -> Finding:
    """How far apart two modalities of the same items lie, as wholes and pair by pair, before and after mean-centring.

    `a` and `b` are the first two views of the subject that are not joint; all is said of directions. Numbers:
    - centroid_distance: length of the difference of the means of unit rows (Liang et al. 2022). Sampling noise alone
      makes it longer than 0; centroid_distance_corrected takes that off (see `squared_distance`).
    - centroid_cosine, pair_cosine, pair_l2, alignment, uniformity_a, uniformity_b, uniformity (their mean), xuniformity
      as in Fahim et al. 2024 (arXiv 2405.18570): t = 2, pairs of different items. mixed_cosine is the mean cosine of
      members of different pairs, which tells what a pair_cosine is worth.
    - separability: how many held-out rows logistic regression gives to the right modality (see `separability`).
    - components_90_a ...: principal components that hold 90, 95, 99 % of a modality's variance; rank_a: singular
      values of its directions above 1 (both Fahim et al.); effective_rank_a is ours (`geometry.effective_rank`).
    - intra_cosine_a: mean cosine of different rows of one modality, which is how narrow its cone is.
    - w2_uniformity as in the ModGap paper (see `geometry.w2_uniformity`).
    - centered.separability_unseen, ours: the same with means of their own for the pairs that the classifier learns
      from and for those held out, for which 0.5 is chance (see `centred_apart`). Any mean that both share, or that one
      half lends the other, makes what is left of the two point opposite ways: with few pairs for the dimension the
      classifier scores below chance then, as in centered.separability.
    - shift_...: what moving both modalities along the gap does to contrastive loss and recall (see `shift.measured`).
    All but the last two also as centered.NAME: each modality's mean direction taken off, rows renormalised. The
    centroid distance is then about 0 by construction and says nothing; the others say what a raw gap hides (arXiv
    2604.00279). A number is None where it has no value: where nothing is left after centring, or no gap to move along.
    Intervals are 95 % percentile bootstrap over pairs, the means of centring held fixed, and for losses Student's t
    over batches; basis says which numbers have none. Sums over pairs of pairs and the shift take `sample` pairs, None
    for all; the rest takes all. `projection` says how pairs are drawn: on principal
    axes, or by UMAP, which takes seconds. Raises RetrievalError where fewer than 4 items have both views.
    """
    names = [view for view in subject.views if view != "joint"][:2]
    if sample is not None and sample < LEAST:
        raise RetrievalError(f"a sample of {sample} pairs is too small for the gap: take {LEAST} or more, or all")
    rows, ids = subject.pairs(names, LEAST)
    x, y, ids = _with_directions(rows[names[0]], rows[names[1]], ids, subject.more)
    labels = (subject.label(names[0]), subject.label(names[1]))
    before = _look(x, y)
    some = chosen(len(ids), sample, seed)
    a, b = geometry.directions(x[some]), geometry.directions(y[some])
    curves, shift_numbers, shift_intervals = shift.measured(a, b, seed)
    numbers, intervals = _measured(before, a, b, seed)
    after = _after_centring(x, y, before, sample, seed)
    centred_numbers, centred_intervals = ({}, {}) if after is None else after.measured
    also = [*numbers, "separability_unseen"]
    numbers |= {f"centered.{name}": centred_numbers.get(name) for name in also} | shift_numbers
    intervals |= {f"centered.{name}": value for name, value in centred_intervals.items()} | shift_intervals
    plots = (
        *_planes(x, y, ids, after, labels, seed, projection),
        gap_plots.dimensions(before.a.mean - before.b.mean, labels),
        gap_plots.explained((spectrum.variances(before.a), spectrum.variances(before.b)), labels),
        gap_plots.cosines("cosines", "Cosines before centring", before, a, b, seed, labels),
        *([] if after is None else [after.cosines(labels, seed)]),
        *([] if curves is None else gap_plots.shifted(curves, labels)),
    )
    return Finding(
        diagnostic="gap",
        sentence=sentence(len(ids), labels, numbers, intervals),
        numbers=numbers,
        intervals=intervals,
        plots=plots,
        **advice(len(some), labels, numbers, intervals),
        basis={
            "n": len(ids),
            "of": len(next(iter(rows.values()))),
            "a": names[0],
            "b": names[1],
            "labels": subject.labelled,
            "seed": seed,
            "sample": sample,
            "n_centered": 0 if after is None else len(after.look),
            "projection": projection,
        }
        | _basis(len(ids), len(some), projection),
    )


def _basis(pairs: int, sampled: int, projection: str) -> dict[str, Any]:
    """How the numbers came about."""
    learnt = learnt_of(pairs)
    return {
        "sampled": {"uniformity, xuniformity, shift": sampled, "all else": pairs},
        "intervals": INTERVALS,
        "resamples": RESAMPLES,
        "separability": (
            "scikit-learn LogisticRegression as it comes (L2, C = 1, lbfgs, at most 100 iterations), learnt on "
            f"{learnt} pairs drawn by seed, judged on the other {pairs - learnt}"
        ),
        "loss": f"batches of {min(shift.BATCH, sampled)} pairs, both directions",
        "batch": min(shift.BATCH, sampled),
        "versions": versions("scipy", "scikit-learn", *(["umap-learn"] if projection == "umap" else [])),
    }


# --- one look at all pairs -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Look:
    """What one pass over all pairs finds: moments of each side, cosine and distance of each pair, (n,), and the
    directions as float32 (n, d), for what is resampled or learnt."""

    a: Moments
    b: Moments
    pair_cosines: Numbers
    pair_distances: Numbers
    narrow_a: Array
    narrow_b: Array

    def __len__(self) -> int:
        return self.a.n


def _with_directions(x: Array, y: Array, ids: Sequence[str], more: str) -> tuple[Array, Array, tuple[str, ...]]:
    """The pairs without a zero row on either side."""
    whole = x.any(axis=1) & y.any(axis=1)
    if whole.sum() < LEAST:
        raise RetrievalError(
            f"{items(int(whole.sum()))} two vectors with a direction, and the gap needs at least {LEAST}: {more}"
        )
    if whole.all():
        return x, y, tuple(ids)
    return x[whole], y[whole], tuple(ids[int(i)] for i in np.flatnonzero(whole))


def _look(x: AnyRows, y: AnyRows) -> Look:
    n = len(x)
    cosines, distances = np.empty(n), np.empty(n)
    narrow = np.empty((2, *x.shape), dtype=np.float32)
    sides = [spectrum.Gathering(n, x.shape[1]) for _ in range(2)]
    for block in geometry.blocks(n, LOOKED_AT_ONCE):
        a, b = geometry.directions(x[block]), geometry.directions(y[block])
        cosines[block] = np.clip(np.einsum("nd,nd->n", a, b), -1.0, 1.0)
        distances[block] = np.minimum(np.linalg.norm(a - b, axis=1), 2.0)
        narrow[0, block], narrow[1, block] = a, b
        for gathered, rows in zip(sides, (a, b), strict=True):
            gathered.add(rows)
    return Look(sides[0].moments(), sides[1].moments(), cosines, distances, narrow[0], narrow[1])


@dataclass(frozen=True, eq=False)
class Centred:
    """What is left of the pairs once each side's mean is taken off.

    `kept` (n,) says of which pairs something is, `some` (k,) which of those are sampled, `measured` what they come to.
    """

    kept: npt.NDArray[np.bool_]
    look: Look
    some: npt.NDArray[np.int64]
    measured: Measured

    def cosines(self, labels: tuple[str, str], seed: int) -> Plot:
        """Their cosines, as they are shown before centring."""
        a, b = (geometry.directions(side[self.some]) for side in (self.look.narrow_a, self.look.narrow_b))
        return gap_plots.cosines("cosines_centered", "Cosines after centring", self.look, a, b, seed, labels)


def _after_centring(x: Array, y: Array, before: Look, sample: int | None, seed: int) -> Centred | None:
    """The same numbers of what is left after centring; None where a side is one point."""
    a, b = centred(x, before.a.mean), centred(y, before.b.mean)
    whole = np.logical_and(a.any(axis=1), b.any(axis=1))
    if whole.sum() < LEAST:
        return None
    narrow = (before.narrow_a, before.narrow_b)
    if not whole.all():
        a, b, x, y = a[whole], b[whole], x[whole], y[whole]
        narrow = (narrow[0][whole], narrow[1][whole])
    after = _look(a, b)
    some = chosen(len(a), sample, seed)
    numbers, intervals = _measured(after, geometry.directions(a[some]), geometry.directions(b[some]), seed)
    # What centring makes 0 has no spread to speak of.
    for name in ("centroid_distance", "centroid_distance_corrected", "centroid_cosine"):
        del intervals[name]
    learnt, held = split(len(a), seed)
    apart = [centred_apart(side, rows, (learnt, held)) for side, rows in zip((x, y), narrow, strict=True)]
    name = "separability_unseen"
    numbers[name], intervals[name] = judged(apart[0], apart[1], learnt, held, seed)
    return Centred(whole, after, some, (numbers, intervals))


def _planes(
    x: Array, y: Array, ids: Sequence[str], after: Centred | None, labels: tuple[str, str], seed: int, projection: str
) -> tuple[Plot, ...]:
    """Pairs in a plane as they are, and as they are after centring where something is left of them."""
    before = gap_plots.plane(x, y, ids, labels, seed, projection)
    if after is None:
        return (before,)
    kept = [ids[int(i)] for i in np.flatnonzero(after.kept)]
    look = after.look
    return before, gap_plots.plane(look.narrow_a, look.narrow_b, kept, labels, seed, projection, centred=True)


# --- numbers -------------------------------------------------------------------------------------------------------


def _measured(look: Look, a: Numbers, b: Numbers, seed: int) -> Measured:
    """Every number that is said both before and after centring; `a`, `b` are the directions that are sampled."""
    numbers, intervals = _distances(look, seed)
    uniform, uniform_intervals = _uniformities(a, b, seed)
    numbers |= uniform
    intervals |= uniform_intervals
    name = "separability"
    numbers[name], intervals[name] = judged(look.narrow_a, look.narrow_b, *split(len(look), seed), seed)
    for name, side in (("a", look.a), ("b", look.b)):
        variances = spectrum.variances(side)
        numbers |= {f"components_{share}_{name}": geometry.components(variances, share / 100) for share in SHARES}
        numbers[f"effective_rank_{name}"] = geometry.effective_rank(variances)
        numbers[f"rank_{name}"] = int((spectrum.singular_values(side) > 1.0).sum())
    both = look.a + look.b
    numbers["w2_uniformity"] = geometry.w2_uniformity(both.mean, spectrum.variances(both))
    return numbers, intervals


def squared_distance(total: Numbers, squared: Numbers | float, counts: Numbers | float) -> Numbers:
    """The squared length of the mean of rows (n, d) without the part that noise adds: the mean of z_i . z_j, i != j.

    From the sum of the rows (..., d), the sum of their squared lengths (...), each row times how often it was drawn
    (for the squares, times that squared), and from those counts' sum squared less the sum of their squares (...).
    It has no bias, where the squared length of the mean of n rows is too long by their variance over n. It may be
    slightly negative where the true length is near 0. NaN where only one row was drawn. Of the directions of one
    modality it is their mean cosine.
    """
    across = np.asarray(np.einsum("...d,...d->...", total, total) - squared)
    pairs = np.broadcast_to(np.asarray(counts, dtype=np.float64), across.shape)
    values: Numbers = np.divide(across, pairs, out=np.full(across.shape, np.nan), where=pairs > 0)
    return values


def _distances(look: Look, seed: int) -> Measured:
    n, a, b = len(look), look.a.total, look.b.total
    squares = look.pair_distances**2
    drawn = _resampled(look, squares, seed)
    apart = float(np.linalg.norm(a - b)) / n
    corrected = float(squared_distance(a - b, squares.sum(), n * n - n))
    cosine = geometry.cosine(a[None], b[None])[0, 0]
    mixed = (a @ b - look.pair_cosines.sum()) / (n * n - n)
    numbers: dict[str, float | None] = {
        "centroid_distance": apart,
        "centroid_distance_corrected": _root(corrected),
        "centroid_cosine": float(cosine),
        "pair_cosine": float(look.pair_cosines.mean()),
        "mixed_cosine": float(mixed),
        "pair_l2": float(look.pair_distances.mean()),
        "alignment": float(squares.mean()),
        "intra_cosine_a": geometry.mean_cosine(a, n, n),
        "intra_cosine_b": geometry.mean_cosine(b, n, n),
    }
    low, high = interval(drawn["squared"])
    # Resampled means are longer than the one they come from, by the noise that they add: it is taken off again.
    noise = (squares.mean() - apart**2) / n
    near, far = interval(drawn["apart"] ** 2 - noise)
    # The same for their cosine: from means over different pairs, none of which noise makes longer.
    lengths = np.sqrt(np.maximum(drawn["intra_cosine_a"], 0.0) * np.maximum(drawn["intra_cosine_b"], 0.0))
    turned = np.divide(drawn["mixed_cosine"], lengths, out=np.full(len(lengths), np.nan), where=lengths > 0)
    least, most = interval(np.clip(turned, -1.0, 1.0)) if np.isfinite(turned).any() else (-1.0, 1.0)
    intervals: Intervals = {
        "centroid_distance": (min(_root(near), apart), max(_root(far), apart)),
        "centroid_distance_corrected": (_root(low), _root(high)),
        "centroid_cosine": (min(least, float(cosine)), max(most, float(cosine))),
        **{name: interval(drawn[name]) for name in ("pair_cosine", "mixed_cosine", "pair_l2", "alignment")},
        **{name: interval(drawn[name]) for name in ("intra_cosine_a", "intra_cosine_b")},
    }
    return numbers, intervals


def _resampled(look: Look, squares: Numbers, seed: int) -> dict[str, Numbers]:
    """What the means come to in each resample of pairs, by name: (RESAMPLES,) each."""
    n = len(look)
    # All in float32, but for differences of large numbers: an interval needs four digits, not sixteen.
    values = np.stack([look.pair_cosines, look.pair_distances, squares], axis=1).astype(np.float32)
    parts: list[dict[str, Numbers]] = []
    for counts in resample_blocks(n, seed):
        a, b = ((counts @ side).astype(np.float64) for side in (look.narrow_a, look.narrow_b))
        averages = (counts @ values).astype(np.float64) / n
        counts_squared = counts**2
        own = (counts_squared @ values).astype(np.float64)
        repeated = counts_squared.sum(axis=1, dtype=np.float64)
        pairs = float(n) ** 2 - repeated
        products = np.einsum("rd,rd->r", a, b)
        parts.append(
            {
                "squared": squared_distance(a - b, own[:, 2], pairs),
                "apart": np.linalg.norm(a - b, axis=1) / n,
                "pair_cosine": averages[:, 0],
                "pair_l2": averages[:, 1],
                "alignment": averages[:, 2],
                "mixed_cosine": np.divide(products - own[:, 0], pairs, out=np.full(len(a), np.nan), where=pairs > 0),
                "intra_cosine_a": squared_distance(a, repeated, pairs),
                "intra_cosine_b": squared_distance(b, repeated, pairs),
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _root(squared: float) -> float:
    return float(np.sqrt(max(squared, 0.0)))


def log_kernel_mean(means_each: tuple[Numbers, Numbers], counts: npt.NDArray[np.float32]) -> tuple[float, Numbers]:
    """Uniformity from an item's mean over the others, each way, and what it is in each resample: (count,).

    To resample a mean over pairs takes the kernel of all pairs each time. Here its logarithm is linearised, as the
    mean of one number for each item (Hajek's projection), which a resample of items averages. For clustered rows the
    spread is that of resampled pairs; for evenly spread ones both are wider than the truth, this one less so.
    """
    rows, columns = means_each
    mean = float(rows.mean())
    value = float(np.log(mean))
    return value, value + means((rows + columns) / mean - 2.0, counts)


def _uniformities(a: Numbers, b: Numbers, seed: int) -> Measured:
    counts = resamples(len(a), seed)
    own_a, drawn_a = log_kernel_mean(geometry.kernel_means(a), counts)
    own_b, drawn_b = log_kernel_mean(geometry.kernel_means(b), counts)
    across, drawn_across = log_kernel_mean(geometry.kernel_means(a, b), counts)
    return (
        {"uniformity_a": own_a, "uniformity_b": own_b, "uniformity": 0.5 * (own_a + own_b), "xuniformity": across},
        {
            "uniformity_a": interval(drawn_a),
            "uniformity_b": interval(drawn_b),
            "uniformity": interval(0.5 * (drawn_a + drawn_b)),
            "xuniformity": interval(drawn_across),
        },
    )
