"""The modality gap: pictures and texts of one space, each keeping to a region of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval import geometry
from mmretrieval.diagnostics.sampling import RESAMPLES, caution, draw, interval, means, require, resamples
from mmretrieval.geometry import Numbers
from mmretrieval.types import Array, Finding, View

LEAST = 4
# More points than this hide each other in a plot.
PLOTTED = 2000


def gap(views: Mapping[View, Array], ids: Sequence[str], *, seed: int = 0, sample: int = 10_000) -> Finding:
    """How far apart the visual and text vectors of the same items lie, as wholes and pair by pair.

    From paired rows (n, d) of the views "visual" and "text". Numbers:
    - centroid_distance: length of the difference of the two mean directions (Liang et al. 2022). Sampling noise
      alone makes it longer than 0, so centroid_distance_corrected takes the noise off (see `squared_distance`).
    - centroid_cosine, pair_cosine, pair_distance, alignment, uniformity_visual, uniformity_text, uniformity_cross
      as in Fahim et al. 2024 (arXiv 2405.18570), where alignment and uniformity are Wang and Isola's, t = 2.
    - centroid_distance_centred, pair_cosine_centred: after mean-centring with means fitted on one random half of the
      pairs and measured on the other half; on the half it was fitted on, the distance would be 0 by construction.
      The distance is corrected for noise.
    Intervals are 95 % percentile bootstrap over items. Series: `pca`, both views in one plane, and `dimensions`, the
    gap vector's largest entries. Raises RetrievalError where a view is missing or fewer than 4 items have both.
    """
    require(views, ("visual", "text"), "the gap")
    drawn = draw({"visual": views["visual"], "text": views["text"]}, ids, LEAST, seed, sample)
    x, y = geometry.directions(drawn.rows["visual"]), geometry.directions(drawn.rows["text"])
    counts = resamples(len(drawn), seed)
    numbers, intervals = _distances(x, y, counts)
    uniform, uniform_intervals = _uniformities(x, y, counts)
    centred, centred_intervals = _after_centring(x, y, seed)
    numbers |= uniform | centred
    intervals |= uniform_intervals | centred_intervals
    return Finding(
        diagnostic="gap",
        sentence=_sentence(len(drawn), numbers, intervals),
        numbers=numbers,
        intervals=intervals,
        series={"pca": _plane(x, y, drawn.ids, seed), "dimensions": _dimensions(geometry.centroid_gap(x, y))},
        basis=dict(drawn.basis)
        | {
            "pairs": len(drawn),
            "pairs_centred": len(drawn) - len(drawn) // 2,
            "intervals": "95 % percentile bootstrap over items",
            "resamples": RESAMPLES,
            "plotted": min(len(drawn), PLOTTED),
        },
    )


def squared_distance(difference: Numbers, counts: npt.NDArray[np.float32]) -> Numbers:
    """The squared length of the mean of rows (n, d) without the part that noise adds, in each resample: (count,).

    The mean of z_i . z_j over i != j, which has no bias, where the squared length of the mean of n rows is too long
    by their variance over n. It may be slightly negative where the true length is near 0. NaN for a resample that
    drew one row only.
    """
    w = counts.astype(np.float64)
    own = (w**2) @ (difference**2).sum(axis=1)
    pairs = w.sum(axis=1) ** 2 - (w**2).sum(axis=1)
    across = ((w @ difference) ** 2).sum(axis=1) - own
    values: Numbers = np.divide(across, pairs, out=np.full(len(w), np.nan), where=pairs > 0)
    return values


def _corrected(difference: Numbers, counts: npt.NDArray[np.float32]) -> tuple[float, tuple[float, float]]:
    """The corrected distance between two centroids, and its interval; 0 where the square comes out negative."""
    estimate = squared_distance(difference, np.ones((1, len(difference)), dtype=np.float32))[0]
    low, high = interval(squared_distance(difference, counts))
    root = np.sqrt(np.maximum([estimate, low, high], 0.0))
    return float(root[0]), (float(root[1]), float(root[2]))


Measured = tuple[dict[str, float], dict[str, tuple[float, float]]]


def _distances(x: Numbers, y: Numbers, counts: npt.NDArray[np.float32]) -> Measured:
    cosines, distances = geometry.pair_cosines(x, y), geometry.pair_distances(x, y)
    corrected, corrected_interval = _corrected(x - y, counts)
    numbers = {
        "centroid_distance": float(np.linalg.norm(geometry.centroid_gap(x, y))),
        "centroid_distance_corrected": corrected,
        "centroid_cosine": geometry.centroid_cosine(x, y),
        "pair_cosine": float(cosines.mean()),
        "pair_distance": float(distances.mean()),
        "alignment": geometry.alignment(x, y),
    }
    intervals = {
        "centroid_distance_corrected": corrected_interval,
        "pair_cosine": interval(means(cosines, counts)),
        "pair_distance": interval(means(distances, counts)),
        "alignment": interval(means(distances**2, counts)),
    }
    return numbers, intervals


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


def _uniformities(x: Numbers, y: Numbers, counts: npt.NDArray[np.float32]) -> Measured:
    numbers, intervals = {}, {}
    for name, kernel in (
        ("uniformity_visual", geometry.kernel_means(x)),
        ("uniformity_text", geometry.kernel_means(y)),
        ("uniformity_cross", geometry.kernel_means(x, y)),
    ):
        numbers[name], values = log_kernel_mean(kernel, counts)
        intervals[name] = interval(values)
    return numbers, intervals


def _after_centring(x: Numbers, y: Numbers, seed: int) -> Measured:
    """Means fitted on a random half of the pairs, taken from the other half, which is measured."""
    shuffled = np.random.default_rng([seed, len(x), 1]).permutation(len(x))
    fitted, held = shuffled[: len(x) // 2], shuffled[len(x) // 2 :]
    a = geometry.directions(x[held] - x[fitted].mean(axis=0))
    b = geometry.directions(y[held] - y[fitted].mean(axis=0))
    counts = resamples(len(held), seed)
    cosines = geometry.pair_cosines(a, b)
    distance, distance_interval = _corrected(a - b, counts)
    return (
        {"centroid_distance_centred": distance, "pair_cosine_centred": float(cosines.mean())},
        {"centroid_distance_centred": distance_interval, "pair_cosine_centred": interval(means(cosines, counts))},
    )


def _plane(x: Numbers, y: Numbers, ids: Sequence[str], seed: int) -> dict[str, Any]:
    """Both views of (at most PLOTTED) items on the first two principal axes of both together."""
    points, shares = geometry.principal_plane(np.concatenate([x, y]))
    shown = np.arange(len(ids))
    if len(ids) > PLOTTED:
        shown = np.sort(np.random.default_rng([seed, len(ids), 2]).choice(len(ids), size=PLOTTED, replace=False))
    rows = np.concatenate([shown, shown + len(ids)])
    return {
        "axes": [f"component {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares)],
        "x": points[rows, 0].tolist(),
        "y": points[rows, 1].tolist(),
        "modality": ["visual"] * len(shown) + ["text"] * len(shown),
        "id": [ids[int(i)] for i in shown] * 2,
        "explained": shares.tolist(),
    }


def _dimensions(vector: Numbers, count: int = 20) -> dict[str, Any]:
    """The dimensions in which the two means differ most, and the share of the squared distance in each."""
    largest = np.argsort(-np.abs(vector), kind="stable")[:count]
    squared = float((vector**2).sum())
    shares = vector[largest] ** 2 / squared if squared > 0 else np.zeros(len(largest))
    return {"dimension": largest.tolist(), "difference": vector[largest].tolist(), "share": shares.tolist()}


def _sentence(n: int, numbers: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> str:
    low, high = intervals["centroid_distance_corrected"]
    if low > 0:
        said = (
            f"Over {n} items with both, the centres of pictures and texts lie "
            f"{numbers['centroid_distance_corrected']:.2f} apart (95 % interval {low:.2f} to {high:.2f}; "
            f"0 is none, 2 the most possible)"
        )
    else:
        said = (
            f"Over {n} items with both, the centres of pictures and texts are no further apart than the noise of such "
            f"a sample (0.00 to {high:.2f}, 95 % interval)"
        )
    return (
        f"{said}, and an item's picture and text have a mean cosine of {numbers['pair_cosine']:.2f}; after "
        f"mean-centring these are {numbers['centroid_distance_centred']:.2f} and "
        f"{numbers['pair_cosine_centred']:.2f} on pairs held back. "
        f"A gap alone does not say that retrieval suffers: evaluate with and without center." + caution(n)
    )
