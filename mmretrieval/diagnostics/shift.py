"""What happens when both modalities are moved along the gap: the experiment of "Mind the Gap" (Liang et al. 2022).

    x' = norm(x - delta/2 g), y' = norm(y + delta/2 g), g the direction of mean(x) - mean(y)

At delta 0 nothing moves; where delta is about the gap's length, the means meet; beyond it they have changed sides.
A moved cosine needs only the cosine before and what each row has along g, so the rows are compared once for all deltas.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval import geometry
from mmretrieval.diagnostics.sampling import means, resamples, share_interval, student
from mmretrieval.geometry import AnyRows, Numbers

Bytes = npt.NDArray[np.uint8]

DELTAS = np.arange(-20, 21) / 4.0
# The paper's logit scales: temperatures of 0.01, 0.033, 0.1 and 1.
SCALES = (100.0, 30.0, 10.0, 1.0)
KS = (1, 5, 10)
BATCH = 50
# exp(-2 scale) must stay above the smallest float64.
MOST_SCALE = 300.0
# A moved row shorter than this was moved to 0: it has no direction, and a cosine of 0 with everything.
AT_ZERO = 1e-6
# Scores nearer than this are ties: what rounding can do to a cosine of float32 and of float64 rows.
TIES = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-12}
NARROW_FROM = 2048
PRODUCT_ROWS, RANK_ROWS, RANK_COLUMNS = 512, 64, 1024


@dataclass(frozen=True, eq=False)
class Along:
    """Directions (n, d) of two modalities, and for each delta how they are moved along the gap direction g (d,).

    `x_along`, `y_along` (n,) are the rows' parts along g; `x_scale`, `y_scale` (s, n) are 1 over the lengths of the
    moved rows, 0 where nothing is left of a row.
    """

    x: Numbers
    y: Numbers
    direction: Numbers
    deltas: Numbers
    x_along: Numbers
    y_along: Numbers
    x_scale: Numbers
    y_scale: Numbers

    @property
    def halves(self) -> Numbers:
        """How far each side moves, (s,)."""
        return 0.5 * self.deltas


@dataclass(frozen=True, eq=False)
class Curves:
    """The shift experiment by delta (s,): signed distance, loss at each scale (scales, s), recall (ks, s) over both
    directions, and 95 % bands (2, s) of the loss at the first scale and of the recall at the last k."""

    deltas: Numbers
    distance: Numbers
    scales: tuple[float, ...]
    loss: Numbers
    loss_band: Numbers
    ks: tuple[int, ...]
    recall: Numbers
    recall_band: Numbers
    pairs: int
    batch: int


# The names of its numbers, which have no value where there is no gap to move along.
NAMES = (
    "shift_loss",
    "shift_best_delta",
    "shift_best_distance",
    "shift_best_loss",
    *(f"shift_best_delta_scale_{scale:g}" for scale in SCALES[1:]),
    "shift_closed_delta",
    "shift_closed_distance",
    "shift_closed_loss",
    *(f"shift{when}_recall_{k}_{side}" for when in ("", "_closed") for k in KS for side in "ab"),
    "shift_closed_recall_change",
)


def measured(
    x: AnyRows, y: AnyRows, seed: int
) -> tuple[Curves | None, dict[str, float | None], dict[str, tuple[float, float]]]:
    """The experiment on paired rows (n, d) of two modalities: curves, numbers and intervals. Numbers:

    - shift_loss: the loss where nothing is moved, at the first scale; shift_best_...: where it is least, and
      shift_best_delta_scale_30 ...: where it is least at higher temperatures;
    - shift_closed_...: where the means come nearest to each other;
    - shift_recall_10_a: recall at 10, among all pairs, asking with side a for b; shift_closed_recall_change: what
      closing the gap does to recall at 10, over both directions.
    Intervals are bootstraps over pairs, and Student's t over the batches for the loss (none of one batch), for the
    gallery and the gap as they are.
    """
    moved = along(x, y)
    if moved is None:
        return None, dict.fromkeys(NAMES), {}
    distance, loss = distances(moved), losses(moved)
    before = ranks(moved)
    hits = np.stack([before < k for k in KS])
    recall = hits.mean(axis=-1)
    n, symmetric = hits.shape[-1], loss.mean(axis=2)
    mean_loss = symmetric.mean(axis=-1)
    default = int(np.abs(moved.deltas).argmin())
    best, closed = int(mean_loss[0].argmin()), int(np.abs(distance).argmin())
    counts = resamples(n, seed)
    both = 0.5 * hits[-1].sum(axis=1)
    drawn = means(both, counts)
    values: list[float] = [float(mean_loss[0, default]), float(moved.deltas[best]), float(distance[best])]
    values += [float(mean_loss[0, best]), *(float(moved.deltas[at.argmin()]) for at in mean_loss[1:])]
    values += [float(moved.deltas[closed]), float(distance[closed]), float(mean_loss[0, closed])]
    values += [float(recall[k, at, side]) for at in (default, closed) for k in range(len(KS)) for side in (0, 1)]
    values.append(float(recall[-1, closed].mean() - recall[-1, default].mean()))
    # One batch has nothing to be compared with.
    several = symmetric.shape[-1] > 1
    band = np.maximum(student(symmetric[0]), 0.0) if several else np.empty((2, 0))
    losses_at = {"shift_loss": default, "shift_best_loss": best, "shift_closed_loss": closed} if several else {}
    intervals = {name: (float(band[0, at]), float(band[1, at])) for name, at in losses_at.items()}
    change, drawn_change = both[closed] - both[default], drawn[closed] - drawn[default]
    # Where nothing is moved nothing changes, however many pairs there are.
    moves = closed != default
    intervals["shift_closed_recall_change"] = share_interval(change, drawn_change, -1.0) if moves else (0.0, 0.0)
    for name, at in (("shift", default), ("shift_closed", closed)):
        found = hits[:, at].astype(np.float64)
        for k, of_k, drawn_k in zip(KS, found, means(found, counts), strict=True):
            for side, of_side, drawn_side in zip("ab", of_k, drawn_k, strict=True):
                intervals[f"{name}_recall_{k}_{side}"] = share_interval(of_side, drawn_side)
    curves = Curves(
        deltas=moved.deltas,
        distance=distance,
        scales=SCALES,
        loss=mean_loss,
        loss_band=band,
        ks=KS,
        recall=recall.mean(axis=-1),
        recall_band=np.array([share_interval(*at) for at in zip(both, drawn, strict=True)]).T,
        pairs=n,
        batch=min(BATCH, n),
    )
    return curves, dict(zip(NAMES, values, strict=True)), intervals


def along(x: AnyRows, y: AnyRows, deltas: Numbers = DELTAS) -> Along | None:
    """Paired rows (n, d) of two modalities made ready to be moved; None where their means are one: there is no g."""
    a, b = geometry.directions(x), geometry.directions(y)
    gap = a.mean(axis=0) - b.mean(axis=0)
    length = float(np.linalg.norm(gap))
    if length <= geometry.NOTHING:
        return None
    direction = gap / length
    half = 0.5 * deltas[:, None]
    a_along, b_along = a @ direction, b @ direction
    a_squared = np.einsum("nd,nd->n", a, a) - 2.0 * half * a_along + half**2
    b_squared = np.einsum("nd,nd->n", b, b) + 2.0 * half * b_along + half**2
    return Along(a, b, direction, deltas, a_along, b_along, _inverse_root(a_squared), _inverse_root(b_squared))


def distances(moved: Along) -> Numbers:
    """The signed distance of the two means at each delta (s,): the length of their difference, with the sign of its
    dot product with the gap direction, so that it is negative where they have changed sides."""
    n, half = len(moved.x), moved.halves[:, None]
    a = (moved.x_scale @ moved.x - half * moved.x_scale.sum(axis=1)[:, None] * moved.direction) / n
    b = (moved.y_scale @ moved.y + half * moved.y_scale.sum(axis=1)[:, None] * moved.direction) / n
    signed: Numbers = np.linalg.norm(a - b, axis=1) * np.sign((a - b) @ moved.direction)
    return signed


def losses(moved: Along, scales: Sequence[float] = SCALES, batch: int = BATCH) -> Numbers:
    """The contrastive loss of each batch, in nats, by scale, delta and direction: (scales, s, 2, batches).

    Direction 0 asks with `x` for its `y`, direction 1 with `y` for its `x`. The loss of the definition is the mean of
    both; the authors' code transposes twice and so has direction 0 alone. Batches are `batch` pairs that follow each
    other; pairs left over are dropped, as there, since a loss depends on how many it is among (fewer pairs than a
    batch are one batch). A scale is 1 over the temperature, above 0 and at most 300.
    """
    if not all(0 < scale <= MOST_SCALE for scale in scales):
        raise ValueError(f"logit scales lie above 0 and not above {MOST_SCALE:g}, not {tuple(scales)}")
    size = min(batch, len(moved.x))
    count = len(moved.x) // size
    whole, shape = slice(0, count * size), (count, size)
    cosines = moved.x[whole].reshape(*shape, -1) @ moved.y[whole].reshape(*shape, -1).transpose(0, 2, 1)
    a_along, b_along = moved.x_along[whole].reshape(shape), moved.y_along[whole].reshape(shape)
    result = np.empty((len(scales), len(moved.deltas), 2, count))
    for i, half in enumerate(moved.halves):
        a_scale, b_scale = (scale[i, whole].reshape(shape) for scale in (moved.x_scale, moved.y_scale))
        at = cosines + (half * a_along - half**2)[:, :, None]
        at -= (half * b_along)[:, None, :]
        at *= a_scale[:, :, None]
        at *= b_scale[:, None, :]
        own = np.einsum("bii->bi", at)
        for j, scale in enumerate(scales):
            # Less the scale: no exponential overflows, and the sums underflow for no scale that is allowed.
            likely = np.exp(scale * (at - 1.0))
            right = scale * (own - 1.0)
            result[j, i, 0] = (np.log(likely.sum(axis=2)) - right).mean(axis=1)
            result[j, i, 1] = (np.log(likely.sum(axis=1)) - right).mean(axis=1)
    return result


def ranks(moved: Along, narrow: bool | None = None) -> Numbers:
    """How many others come before a pair's own partner, by delta and direction: (s, 2, n).

    Direction 0 asks with `x` among all `y`, direction 1 with `y` among all `x`. Recall at k is the share below k.
    Others at the same place as the partner count half, at every delta, so that a space whose rows are all one has the
    recall of chance. `narrow` compares in float32; by default from 2,048 pairs on.
    """
    n = len(moved.x)
    kind = np.dtype(np.float32 if (n >= NARROW_FROM if narrow is None else narrow) else np.float64)
    bars = _bars(moved, kind)
    x, y = moved.x.astype(kind), moved.y.astype(kind)
    result, ties = np.zeros((len(moved.deltas), 2, n)), np.zeros((2, n))
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for block in geometry.blocks(n, PRODUCT_ROWS):
            # The product has threads of its own, so it is taken before the others set to work.
            cosines = x[block] @ y.T
            strips = list(geometry.blocks(len(cosines), RANK_ROWS))
            places = [slice(block.start + strip.start, block.start + strip.stop) for strip in strips]
            counted = pool.map(bars.count, [cosines[strip] for strip in strips], places)
            for rows, (across, down, tied_across, tied_down) in zip(places, counted, strict=True):
                result[:, 0, rows] = across
                result[:, 1] += down
                ties[0, rows] = tied_across
                ties[1] += tied_down
    for i in np.flatnonzero((moved.x_scale == 0).any(axis=1) | (moved.y_scale == 0).any(axis=1)):
        result[i] = _ranks_of_moved_rows(moved, int(i))
    # A pair ties with itself. At delta 0 both members are whole, so ties there are equal rows, which stay equal.
    result += 0.5 * np.maximum(ties - 1.0, 0.0)
    return result


@dataclass(frozen=True, eq=False)
class _Bars:
    """What an unmoved cosine of row i and column j must exceed to come before a partner, at each delta.

    The moved cosine is (cosine + c_i - h b_j) / (m_i n_j), with lengths m and n of the moved rows. It exceeds the
    partner's, of row i or of column j, where the cosine exceeds own m_i n_j + h b_j - c_i: a product of three columns
    (s, n, 3) and three rows (s, 3, n), so that no step goes over all pairs for each of its terms.
    """

    of_row: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    of_column: tuple[npt.NDArray[Any], npt.NDArray[Any]]
    pairs: npt.NDArray[Any]
    tie: float

    def count(self, strip: npt.NDArray[Any], rows: slice) -> tuple[Numbers, Bytes, Numbers, Bytes]:
        """Of some rows of `x`, by their cosines with all `y` (m, n): how many `y` come before each one's own (s, m),
        and before each `y`'s own how many of these rows (s, n); the same for ties before moving, (m,) and (n,)."""
        s, (m, n) = len(self.of_row[0]), strip.shape
        across, down = np.zeros((s, m)), np.zeros((s, n), dtype=np.uint8)
        tied_across, tied_down = np.zeros(m), np.zeros(n, dtype=np.uint8)
        for columns in geometry.blocks(n, RANK_COLUMNS):
            cosines = np.ascontiguousarray(strip[:, columns])
            bar, before = np.empty_like(cosines), np.empty(cosines.shape, dtype=np.bool_)
            np.subtract(cosines, self.pairs[rows, None], out=bar)
            tied_across += _row_counts(np.less_equal(np.abs(bar, out=bar), self.tie, out=before))
            np.subtract(cosines, self.pairs[columns], out=bar)
            tied_down[columns] = _column_counts(np.less_equal(np.abs(bar, out=bar), self.tie, out=before))
            for i in range(s):
                np.matmul(self.of_row[0][i, rows], self.of_row[1][i, :, columns], out=bar)
                across[i] += _row_counts(np.greater(cosines, bar, out=before))
                np.matmul(self.of_column[0][i, rows], self.of_column[1][i, :, columns], out=bar)
                down[i, columns] = _column_counts(np.greater(cosines, bar, out=before))
        return across, down, tied_across, tied_down


def _bars(moved: Along, kind: np.dtype[Any]) -> _Bars:
    pairs = np.einsum("nd,nd->n", moved.x, moved.y)
    half = moved.halves[:, None]
    shift_x, shift_y = half**2 - half * moved.x_along, half * moved.y_along
    # Rows without a length are counted again by themselves.
    x_length, y_length = (
        np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0) for scale in (moved.x_scale, moved.y_scale)
    )
    own = (pairs - shift_x - shift_y) * moved.x_scale * moved.y_scale + TIES[kind]
    ones = np.ones_like(own)
    return _Bars(
        of_row=(
            np.stack([own * x_length, ones, shift_x], axis=2).astype(kind),
            np.stack([y_length, shift_y, ones], axis=1).astype(kind),
        ),
        of_column=(
            np.stack([x_length, ones, shift_x], axis=2).astype(kind),
            np.stack([own * y_length, shift_y, ones], axis=1).astype(kind),
        ),
        pairs=pairs.astype(kind),
        tie=TIES[kind],
    )


def _ranks_of_moved_rows(moved: Along, i: int) -> Numbers:
    """The same counts at one delta from the moved rows themselves, where some of them have no length: (2, n)."""
    half = moved.halves[i]
    x = (moved.x - half * moved.direction) * moved.x_scale[i, :, None]
    y = (moved.y + half * moved.direction) * moved.y_scale[i, :, None]
    own = np.einsum("nd,nd->n", x, y) + TIES[np.dtype(np.float64)]
    counts = np.zeros((2, len(x)))
    for block in geometry.blocks(len(x), PRODUCT_ROWS):
        cosines = x[block] @ y.T
        counts[0, block] = (cosines > own[block, None]).sum(axis=1)
        counts[1] += (cosines > own).sum(axis=0)
    return counts


def _row_counts(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    # Eight answers a byte first: adding up booleans widens each of them.
    counts: npt.NDArray[np.int64] = np.bitwise_count(np.packbits(mask, axis=1)).sum(axis=1, dtype=np.int64)
    return counts


def _column_counts(mask: npt.NDArray[np.bool_]) -> Bytes:
    counts: Bytes = np.add.reduce(mask.view(np.uint8), axis=0, dtype=np.uint8)
    return counts


def _inverse_root(squared: Numbers) -> Numbers:
    length = np.sqrt(np.maximum(squared, 0.0))
    return np.divide(1.0, length, out=np.zeros_like(length), where=length > AT_ZERO)
