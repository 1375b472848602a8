"""Whether any query vector at all has two given items, and no other, on top: a linear question with a certificate.

Items i and j are the top 2 of some query q exactly where a hyperplane parts them from the rest: q.v_i and q.v_j above
a threshold, the others below. Where none does, a weighted mean of the two equals a weighted mean of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.free import margins, pairs_of
from mmretrieval.geometry import Numbers

# A margin counts above this, of rows whose largest entry is 1 and queries with entries in [-1, 1]: the solver's own
# tolerance is 1e-7.
TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Answer:
    """Whether a pair can be the top 2: `yes` with a query (d,) that has been checked, or not, or None: not decided.

    `margin` is what the query was seen to reach, `bound` what none can exceed, proven by the weights (n,) that the
    solver gave: the pair's are positive and sum to 1/2, the others' negative and sum to -1/2.
    """

    yes: bool | None
    query: Numbers
    margin: float
    weights: Numbers
    bound: float


def separate(rows: Numbers, i: int, j: int) -> Answer:
    """The query with entries in [-1, 1] under which the lesser of rows i and j (n, d) leads the rest by most.

    Rows are scaled so that the largest entry is 1 after their mean is taken off (which shifts all products alike). The
    margin is measured again on the query that comes back, and the bound on the weights, so neither rests on the solver.
    Raises RuntimeError where the solver gives no answer, which a bounded problem with a solution always has.
    """
    from scipy.optimize import linprog

    centred = rows - rows.mean(axis=0)
    centred = centred / max(float(np.abs(centred).max()), np.finfo(np.float64).tiny)
    n, d = centred.shape
    side = np.full(n, -1.0)
    side[[i, j]] = 1.0
    # Variables: q (d), the threshold, the margin on either side of it. side (q.v - threshold) >= margin.
    constraints = np.concatenate([-side[:, None] * centred, side[:, None], np.ones((n, 1))], axis=1)
    solution = linprog(
        np.concatenate([np.zeros(d + 1), [-1.0]]),
        A_ub=constraints,
        b_ub=np.zeros(n),
        bounds=[(-1.0, 1.0)] * d + [(None, None), (0.0, None)],
        method="highs",
    )
    if solution.status != 0:
        raise RuntimeError(f"the linear program of pair ({i}, {j}) of {n} rows was not solved: {solution.message}")
    query = np.asarray(solution.x[:d], dtype=np.float64)
    margin = float(margins(query[None], centred, np.array([[i, j]]))[0])
    weights = np.maximum(-np.asarray(solution.ineqlin.marginals, dtype=np.float64), 0.0)
    bound = np.inf
    pair, rest = weights[[i, j]].sum(), weights[side < 0].sum()
    if pair > 0 and rest > 0:
        weights = np.where(side > 0, weights / (2 * pair), -weights / (2 * rest))
        # For any such weights: margin = 2 * half-margin <= 2 * sum of weights * q.v <= 2 |weights @ rows| summed.
        bound = 2.0 * float(np.abs(weights @ centred).sum())
    yes = True if margin > TOLERANCE else False if bound <= TOLERANCE else None
    return Answer(yes, query, margin, weights, bound)


@dataclass(frozen=True, eq=False)
class Axes:
    """For each pair of rows the fewest leading principal axes in which it can be the top 2, `needed` (pairs,).

    `rank` is how many axes the rows have; rank + 1 stands for a pair that cannot be the top 2 at all. `undecided` is
    how many programs ended between yes and no, which counted as no.
    """

    needed: npt.NDArray[np.int64]
    rank: int
    undecided: int


def least_axes(rows: Numbers) -> Axes:
    """The fewest leading principal axes of rows (n, d) for each of their pairs; takes a program or four for each.

    A query that uses p axes may leave the next one out, so that what p allow p + 1 do, and the number is found by
    halving.
    """
    centred = rows - rows.mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    rank = int((values > values[0] * max(rows.shape) * np.finfo(np.float64).eps).sum())
    coordinates = left[:, :rank] * values[:rank]
    pairs = pairs_of(len(rows))
    needed, undecided = np.empty(len(pairs), dtype=np.int64), 0
    for place, (i, j) in enumerate(pairs):
        low, high = 1, rank + 1
        while low < high:
            middle = (low + high) // 2
            yes = separate(coordinates[:, :middle], int(i), int(j)).yes
            undecided += yes is None
            low, high = (low, middle) if yes else (middle + 1, high)
        needed[place] = low
    return Axes(needed, rank, undecided)
