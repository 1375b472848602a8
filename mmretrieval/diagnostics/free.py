"""Vectors that nothing but gradient descent places: how many documents can have every pair of them as some top 2.

The experiment of Weller, Boratko, Naim and Lee, "On the Theoretical Limitations of Embedding-Based Retrieval" (2025,
arXiv 2508.21038, section 4): unit documents and a unit query for each pair, Adam on the InfoNCE loss over the full
batch, rate 0.01, temperature 0.1, rows normalised after each step, until every query has its pair on top.

What it measures is what that descent reaches, not what is possible: on the trigonometric moment curve (cos t, sin t,
cos 2t, sin 2t) every pair of any number of documents is the top 2 of some query, in 4 dimensions, with a margin that
shrinks as they grow in number. Below 4 dimensions geometry itself is the limit: 3 documents on a circle, 4 on a sphere.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mmretrieval.geometry import Numbers

RATE, TEMPERATURE = 0.01, 0.1
STEPS, RESTARTS = 3000, 3
# Whether it is solved is looked at after so many steps.
LOOK = 25
# A pair counts as on top by more than rounding.
MARGIN = 1e-9


def pairs_of(n: int) -> npt.NDArray[np.int64]:
    """All pairs of 0..n-1, (n (n-1) / 2, 2), in order."""
    return np.stack(np.triu_indices(n, 1), axis=1).astype(np.int64)


def margins(queries: Numbers, documents: Numbers, pairs: npt.NDArray[np.int64]) -> Numbers:
    """For each query (m, d) the lesser product with its pair of documents (n, d), less the largest with the rest: (m,).

    Above 0 where the pair is the top 2; infinite where there are no other documents.
    """
    products = queries @ documents.T
    rows = np.arange(len(pairs))[:, None]
    wanted = products[rows, pairs].min(axis=1)
    products[rows, pairs] = -np.inf
    values: Numbers = wanted - products.max(axis=1)
    return values


def placed(n: int, d: int, start: int, steps: int = STEPS) -> tuple[Numbers, Numbers, float]:
    """Documents (n, d) and queries (pairs, d) after descent from the random start of that number; the share solved.

    Ends as soon as every pair is the top 2 of its query (a share of 1), or after `steps`.
    """
    chance = np.random.default_rng([start, n, d])
    pairs = pairs_of(n)
    documents, queries = _unit(chance.normal(size=(n, d))), _unit(chance.normal(size=(len(pairs), d)))
    wanted = np.zeros((len(pairs), n))
    wanted[np.arange(len(pairs))[:, None], pairs] = 0.5
    first = [np.zeros_like(queries), np.zeros_like(documents)]
    second = [np.zeros_like(queries), np.zeros_like(documents)]
    for step in range(1, steps + 1):
        gradients = _gradients(queries, documents, wanted)
        _moved(queries, gradients[0], first[0], second[0], step)
        _moved(documents, gradients[1], first[1], second[1], step)
        if step % LOOK == 0 or step == steps:
            share = float((margins(queries, documents, pairs) > MARGIN).mean())
            if share == 1.0:
                break
    return documents, queries, share


@lru_cache(maxsize=8)
def critical(dims: tuple[int, ...], seed: int, steps: int = STEPS, restarts: int = RESTARTS) -> tuple[int, ...]:
    """The critical n of each of rising dimensions: the most documents all of whose pairs descent got on top.

    n grows by one until none of `restarts` random starts solves it, and goes on in the next dimension from there (what
    d dimensions hold, d + 1 do). The same for the same seed, on the same machine; elsewhere rounding may move it by 1.
    """
    found: list[int] = []
    n = 2
    for d in dims:
        while solved(n + 1, d, range(seed * restarts, (seed + 1) * restarts), steps):
            n += 1
        found.append(n)
    return tuple(found)


def solved(n: int, d: int, starts: Sequence[int], steps: int = STEPS) -> bool:
    """Whether descent from one of the starts gets all pairs of n documents in d dimensions on top."""
    return any(placed(n, d, start, steps)[2] == 1.0 for start in starts)


def _gradients(queries: Numbers, documents: Numbers, wanted: Numbers) -> tuple[Numbers, Numbers]:
    """Of the mean of -log softmax(products / temperature) over each query's two documents, 1/2 each in `wanted`."""
    logits = queries @ documents.T
    logits /= TEMPERATURE
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    logits -= wanted
    logits /= TEMPERATURE * len(queries)
    return logits @ documents, logits.T @ queries


def _moved(rows: Numbers, gradient: Numbers, mean: Numbers, square: Numbers, step: int) -> None:
    """One step of Adam on unit rows, in place; `mean` and `square` are its running moments."""
    mean += 0.1 * (gradient - mean)
    square += 0.001 * (gradient**2 - square)
    rows -= RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)


def _unit(rows: Numbers) -> Numbers:
    unit: Numbers = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
