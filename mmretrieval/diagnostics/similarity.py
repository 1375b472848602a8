"""How alike two spaces of the same items are: rows (n, d) and (n, e), row i of both being item i. Pure functions.

All but `rank_correlation` take the rows as they are: hand them directions where lengths must not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.geometry import Numbers, blocks, directions

Places = npt.NDArray[np.int64]
Counts = npt.NDArray[np.float32]

# --- linear CKA ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Alignment:
    """Linear CKA and its debiased form, each with what items add to it; None where a space does not vary.

    `chance` is the value of `cka` to expect where the items of one space are shuffled; of `debiased` that is 0.
    """

    cka: float | None
    debiased: float | None
    chance: float | None
    terms: tuple[Numbers, Numbers, Numbers]
    debiased_terms: tuple[Numbers, Numbers, Numbers]

    def resampled(self, counts: Counts) -> Numbers:
        """`cka` in each resample of items (count, n), linearised around its value: (count,)."""
        return _linearised(self.cka, self.terms, counts)

    def debiased_resampled(self, counts: Counts) -> Numbers:
        """`debiased` in each resample, likewise; near 0 it is too narrow, as its first-order part vanishes there."""
        return _linearised(self.debiased, self.debiased_terms, counts)


def alignment_of_spaces(x: Numbers, y: Numbers) -> Alignment:
    """Linear CKA of rows (n, d) and (n, e), n of at least 4; takes time n (d^2 + d e + e^2).

    HSIC(x, y) is |X' Y|_F^2 for columns less their means, and CKA is HSIC(x, y) / sqrt(HSIC(x, x) HSIC(y, y))
    (Kornblith et al. 2019, eq. 2 and 3, from features as there in section 3). This biased estimate grows with d / n
    for spaces that have nothing in common. The debiased one puts the unbiased estimate of HSIC (Song et al. 2012,
    eq. 5) in its place, in the features' form: a diagonal of zeros, then U-centred (Szekely and Rizzo 2014).
    The expected value under shuffled items is tr K tr L / ((n - 1) |K|_F |L|_F), K and L being the centred products.
    """
    if len(x) < 4:
        raise ValueError(f"unbiased HSIC needs at least 4 rows, not {len(x)}")
    # Each space on the scale of 1, so that neither products nor their ratios leave the range of float64.
    a, b = _centred(x), _centred(y)
    pairs = ((a, b), (a, a), (b, b))
    terms = tuple(_terms(p, q) for p, q in pairs)
    unbiased = tuple(_unbiased(p, q, term) for (p, q), term in zip(pairs, terms, strict=True))
    cka, debiased = _ratio(terms), _ratio(unbiased)
    chance = None
    if cka is not None:
        traces = float((a**2).sum() * (b**2).sum())
        chance = traces / ((len(x) - 1) * float(np.sqrt(terms[1].sum() * terms[2].sum())))
    return Alignment(
        None if cka is None else min(cka, 1.0),
        None if debiased is None else min(max(debiased, -1.0), 1.0),
        chance,
        (terms[0], terms[1], terms[2]),
        (unbiased[0], unbiased[1], unbiased[2]),
    )


def _centred(rows: Numbers) -> Numbers:
    moved = rows - rows.mean(axis=0)
    length = float(np.sqrt((moved**2).sum(axis=1).mean()))
    largest = float(np.abs(rows).max(initial=0.0))
    # What is left of equal rows is rounding.
    return moved / length if length > 1e-12 * largest else np.zeros_like(moved)


def _terms(x: Numbers, y: Numbers) -> Numbers:
    """What each item adds to |X' Y|_F^2: x_i' (X' Y) y_i, (n,)."""
    product = x.T @ y
    terms = np.empty(len(x))
    for block in blocks(len(x)):
        terms[block] = np.einsum("nd,nd->n", x[block] @ product, y[block])
    return terms


def _unbiased(x: Numbers, y: Numbers, terms: Numbers) -> Numbers:
    """What each item adds to n (n - 3) times the unbiased HSIC: sums of rows of the product of U-centred kernels."""
    n = len(x)
    m = n - 2
    sx, sy = (x**2).sum(axis=1), (y**2).sum(axis=1)
    both = sx * sy
    shift = sy / m - sy.sum() / ((n - 1) * m)
    added: Numbers = (
        terms
        - both
        - shift * sx
        + (x @ (x.T @ sy) + y @ (y.T @ sx) - 2 * both) / m
        + shift * (sx.sum() - sx) / m
        + (both.sum() - both) / m**2
    )
    return added


def _ratio(terms: tuple[Numbers, ...]) -> float | None:
    across, own_x, own_y = (float(t.sum()) for t in terms)
    # A space of unit deviation has products of order n: less is rounding of one that does not vary.
    if min(own_x, own_y) <= 1e-9 * len(terms[0]):
        return None
    return across / float(np.sqrt(own_x * own_y))


def _linearised(value: float | None, terms: tuple[Numbers, Numbers, Numbers], counts: Counts) -> Numbers:
    if value is None:
        return np.full(len(counts), np.nan)
    drawn = counts.astype(np.float64)
    across, own_x, own_y = (drawn @ term for term in terms)
    whole_x, whole_y = float(terms[1].sum()), float(terms[2].sum())
    first = (across - float(terms[0].sum())) / np.sqrt(whole_x * whole_y)
    resampled: Numbers = value + 2 * first - value * (own_x / whole_x - 1 + own_y / whole_y - 1)
    return resampled


# --- neighbours ----------------------------------------------------------------------------------------------------


def shared_neighbours(a: Places, b: Places) -> Numbers:
    """How many of the places (n, k) of `a` are among those of `b` (n, k), row by row: (n,); a row holds none twice."""
    together = np.sort(np.concatenate([a, b], axis=1), axis=1)
    shared: Numbers = (together[:, 1:] == together[:, :-1]).sum(axis=1).astype(np.float64)
    return shared


# --- similarities of pairs -----------------------------------------------------------------------------------------


def pairs_of(n: int, most: int, seed: int) -> Places:
    """At most about `most` different pairs of 0..n-1 as (p, 2): all there are, or each item in as many as the others.

    The drawn ones are steps of 1, 2 ... along one random cycle through all items.
    """
    if n * (n - 1) // 2 <= most:
        return np.stack(np.triu_indices(n, 1), axis=1).astype(np.int64)
    cycle = np.random.default_rng([seed, n, 4]).permutation(n)
    steps = [np.stack([cycle, np.roll(cycle, -step)], axis=1) for step in range(1, max(1, most // n) + 1)]
    return np.concatenate(steps).astype(np.int64)


def cosines_of(rows: Numbers, pairs: Places) -> Numbers:
    """The cosine (p,) of the rows of each pair."""
    found = np.empty(len(pairs))
    unit = directions(rows)
    for block in blocks(len(pairs), 8192):
        found[block] = np.einsum("pd,pd->p", unit[pairs[block, 0]], unit[pairs[block, 1]])
    return np.clip(found, -1.0, 1.0)


def rank_correlation(
    a: Numbers, b: Numbers, pairs: Places, counts: Counts | None = None
) -> tuple[float | None, Numbers]:
    """Spearman's correlation of two values of each of p pairs, and what it is in resamples of items (count, n).

    Ranks are those of all pairs, ties sharing theirs; in a resample a pair counts as often as both of its items were
    drawn together. None (and NaN) where one of the two is the same everywhere. Values nearer than 1e-9 tie.
    """
    from scipy.stats import rankdata

    x, y = (rankdata(np.round(values, 9)) for values in (a, b))
    drawn = np.empty(0) if counts is None else np.full(len(counts), np.nan)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None, drawn
    value = float(_correlation(x, y, np.ones((1, len(x))))[0])
    if counts is not None:
        # As many pairs as resamples at a time as 2 ** 22 numbers hold.
        for block in blocks(len(counts), max(1, 2**22 // len(pairs))):
            weights = counts[block].astype(np.float64)
            drawn[block] = _correlation(x, y, weights[:, pairs[:, 0]] * weights[:, pairs[:, 1]])
    return value, drawn


def _correlation(x: Numbers, y: Numbers, weights: Numbers) -> Numbers:
    """Pearson's correlation of x and y (p,) under each row of weights (c, p)."""
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    total = weights.sum(axis=1)
    safe = np.where(total > 0, total, 1.0)
    mean_x, mean_y = weights @ x / safe, weights @ y / safe
    across = weights @ (x * y) / safe - mean_x * mean_y
    spread = (weights @ (x * x) / safe - mean_x**2) * (weights @ (y * y) / safe - mean_y**2)
    there = (total > 0) & (spread > 1e-18)
    found: Numbers = np.where(there, across / np.sqrt(np.where(there, spread, 1.0)), np.nan)
    return np.clip(found, -1.0, 1.0)


# --- relative representations --------------------------------------------------------------------------------------


def relative(rows: Numbers, anchors: Places) -> Numbers:
    """Cosines (n, a) of all rows to the rows at `anchors`: relative representations (Moschella et al. 2023, eq. 1)."""
    unit = directions(rows)
    cosines: Numbers = np.clip(unit @ unit[anchors].T, -1.0, 1.0)
    return cosines


def row_correlations(a: Numbers, b: Numbers) -> Numbers:
    """Pearson's correlation (n,) of row i of `a` with row i of `b`; 0 where either row is the same everywhere."""
    x, y = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    found: Numbers = np.clip(np.einsum("nk,nk->n", directions(x), directions(y)), -1.0, 1.0)
    return found


def own_ranks(asked: Numbers, rows: Numbers) -> Numbers:
    """At which place (n,), from 1, row i of `rows` comes among all when row i of `asked` is asked, by cosine.

    Cosines nearer than 1e-9 tie, and share their places' mean.
    """
    queries, items = directions(asked), directions(rows)
    ranks = np.empty(len(asked))
    for block in blocks(len(asked)):
        scores = np.round(queries[block] @ items.T, 9)
        own = scores[np.arange(len(scores)), np.arange(block.start, block.stop)][:, None]
        ranks[block] = 1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2
    return ranks
