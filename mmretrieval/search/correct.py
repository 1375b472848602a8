"""Corrections: scores that make up for items which any query would find.

    run(reference, *arguments) -> a fitted correction; scores(view, (q, n)) -> (q, n)

In a space of many dimensions a few items (hubs) lie near almost every query, and many near none. A correction takes
from an item's score what reference queries, which ask for other things, score on it. The bank is the reference's
queries; the columns of scores are the reference's items of that view, in the order of their ids.

What is kept of an item is rounded to float32, as its vector is. Of a bank of more than 20,000 queries that many, evenly
spaced, are used; zero rows of it say nothing and are left out. A fit says in `remark` where it departed from what was
asked for.

Corrected scores order the items of one query. `qbnorm` corrects some queries and not others, and `csls` takes off each
query's own mean, so scores of different queries must not be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import BadRecipe
from mmretrieval.geometry import AnyRows, Numbers, blocks
from mmretrieval.reference import Reference
from mmretrieval.search.leaders import first_places, largest
from mmretrieval.types import Array, View

Flags = npt.NDArray[np.bool_]

# Reference queries used at most.
MOST = 20_000
# Scores of bank and items held at once: 2**21 float64 are 16 MB.
SCORES_AT_ONCE = 2**21


# --- the formulas --------------------------------------------------------------------------------------------------


def neighbourhood(scores: Numbers, k: int) -> Numbers:
    """The mean of the k highest of each row (n, m): (n,); of all where there are fewer than k."""
    n, m = scores.shape
    k = min(k, m)
    top = np.partition(scores, m - k, axis=1)[:, m - k :]
    means: Numbers = top.mean(axis=1)
    return means


def nnn(scores: Numbers, bias: AnyRows, weight: float) -> Numbers:
    """Scores (q, n) less `weight` times each item's bias (n,), its mean score for the bank queries nearest to it.

    Chowdhury et al., "Nearest Neighbor Normalization Improves Multimodal Retrieval" (EMNLP 2024).
    """
    return scores - weight * np.asarray(bias, dtype=np.float64)


def log_sums(scores: Numbers, scale: float) -> Numbers:
    """log of the sum over the rows of exp(scale * score), for each column of (m, n): (n,); no score overflows it."""
    scaled = scale * scores
    peak = scaled.max(axis=0)
    scaled -= peak
    sums: Numbers = peak + np.log(np.exp(scaled, out=scaled).sum(axis=0))
    return sums


def inverted_softmax(scores: Numbers, sums: Numbers, beta: float) -> Numbers:
    """exp(beta * score) over the sum of the same over the bank's queries: (q, n), from the log of the sums (n,).

    Smith et al., "Offline bilingual word vectors, orthogonal transformations and the inverted softmax" (ICLR 2017).
    """
    values: Numbers = np.exp(beta * scores - sums)
    return values


def activation_set(bank_scores: Numbers, k: int) -> Flags:
    """Which items (n,) are among the k best of any bank query, from the bank's scores (m, n); ties by place."""
    active = np.zeros(bank_scores.shape[1], dtype=np.bool_)
    active[first_places(bank_scores, k)] = True
    return active


def dynamic_inverted_softmax(scores: Numbers, sums: Numbers, active: Flags, beta: float) -> Numbers:
    """The inverted softmax for queries whose best item is in the activation set (n,); other rows stay as they are.

    Bogolin et al., "Cross Modal Retrieval with Querybank Normalisation" (CVPR 2022). A row that is corrected is on
    another scale than one that is not.
    """
    gated = active[scores.argmax(axis=1)]
    corrected = scores.copy()
    corrected[gated] = inverted_softmax(scores[gated], sums, beta)
    return corrected


def csls(scores: Numbers, of_queries: Numbers, of_items: AnyRows) -> Numbers:
    """2 * score - r(query) - r(item), r being the mean score of the nearest neighbours on the other side: (q, n).

    Conneau et al., "Word Translation Without Parallel Data" (ICLR 2018). Their code takes r(item) (n,) over
    the whole set of queries, asked or not, and r(query) (q,) over all items.
    """
    return 2.0 * scores - of_queries[:, None] - np.asarray(of_items, dtype=np.float64)


def dual_softmax(scores: Numbers, sums: Numbers, queries: int, temperature: float) -> Numbers:
    """score * queries * softmax over the queries of score / temperature: (b, n) for some of the queries, or all.

    `sums` are `log_sums` (n,) of all the queries' scores with 1 / temperature. Cheng et al., "Improving Video-Text
    Retrieval by Multi-Stream Corpus Alignment and Dual Softmax Loss" (2021). A negative score for which an item
    favours the query becomes more negative.
    """
    revised: Numbers = np.exp(scores / temperature - (sums - np.log(queries)))
    revised *= scores
    return revised


def without_mean(rows: AnyRows, reference: AnyRows, share: float = 0.5) -> Numbers:
    """Rows (n, d) less `share` of the mean of reference rows (m, d) of their own side: distribution normalisation.

    Zhou et al., "Test-Time Distribution Normalization for Contrastively Learned Vision-language Models" (NeurIPS
    2023). The score is the plain dot product of two sides so moved: lengths are not made 1 again.
    """
    moved: Numbers = np.asarray(rows, dtype=np.float64) - share * np.asarray(reference, dtype=np.float64).mean(axis=0)
    return moved


def augmented_items(rows: Array, bias: AnyRows, weight: float) -> Array:
    """Items' rows (n, d) with one entry more, -weight * bias: (n, d + 1); see `augmented_queries`."""
    entry = (-weight * np.asarray(bias, dtype=np.float64)).astype(np.float32)
    return np.concatenate([rows, entry[:, None]], axis=1, dtype=np.float32)


def augmented_queries(rows: Array) -> Array:
    """Queries' rows (q, d) with one entry more, 1: (q, d + 1), whose dot product with `augmented_items` is `nnn`."""
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1, dtype=np.float32)


# --- fitted on a space ---------------------------------------------------------------------------------------------


class _AlongRows:
    """Each query's row is corrected alone."""

    @property
    def transductive(self) -> bool:
        return False


@dataclass(frozen=True, eq=False)
class NearestNeighbours(_AlongRows):
    """`nnn`: `bias` (n,) by view is an item's mean score for the k bank queries nearest to it."""

    bias: Mapping[View, Array]
    weight: float
    k: int
    remark: str = ""

    @property
    def item_bytes(self) -> float:
        """One float32."""
        return 4.0

    def scores(self, view: View, scores: Numbers) -> Numbers:
        """Scores (q, n) less `weight` times the items' bias."""
        return nnn(scores, _of(self.bias, view, scores, "nnn"), self.weight)

    def augmented(self, view: View, rows: Array) -> Array:
        """All items' rows (n, d) of that view with the correction as one entry more, for an index with DOT distance."""
        return augmented_items(rows, self.bias[view], self.weight)


@dataclass(frozen=True, eq=False)
class QueryBank(_AlongRows):
    """`qbnorm`: `popularity` (n,) by view is 1 / beta * log of the bank's mean exp(beta * score); `active` see below.

    A query's best item is that of those which it may find: an item that is excluded or filtered out answers nothing,
    and a query made of an item would always find that very item best. The activation set is of all items, as fitted.
    A query whose best item is in the activation set (`active`, (n,) by view: the k best of any bank query) gets
    score - popularity. That is 1 / beta * log of the inverted softmax times the number of bank queries, so the order is
    the definition's (`dynamic_inverted_softmax`); unlike the exponentials themselves it stays on the scale of scores
    and neither over- nor underflows, whatever beta. Other queries keep their scores.
    """

    popularity: Mapping[View, Array]
    active: Mapping[View, Flags]
    beta: float
    k: int
    remark: str = ""

    @property
    def item_bytes(self) -> float:
        """One float32, and one byte for the flag."""
        return 5.0

    def scores(self, view: View, scores: Numbers) -> Numbers:
        """Scores (q, n), less the items' popularity in the rows whose best item is in the activation set."""
        return self.among(view, scores, [None] * len(scores))

    def among(self, view: View, scores: Numbers, allowed: Sequence[Flags | None]) -> Numbers:
        """The same, each query's best item being that of the items (n,) `allowed` to it; None allows all."""
        popularity = _of(self.popularity, view, scores, "qbnorm")
        if not scores.size:
            return scores.copy()
        pairs = zip(scores, allowed, strict=True)
        best = [int((row if mask is None else np.where(mask, row, -np.inf)).argmax()) for row, mask in pairs]
        gated = self.active[view][best]
        corrected: Numbers = scores - gated[:, None] * popularity.astype(np.float64)
        return corrected


@dataclass(frozen=True, eq=False)
class LocalScaling(_AlongRows):
    """`csls`: `of_items` (n,) by view is an item's mean score for the k bank queries nearest to it.

    The queries' own means are over the items searched, so nothing depends on the other queries. As they are the same
    for every item of a view, the order within one view is that of `nnn:k:0.5`; where views are searched together, each
    has its own means, and the order is another.
    """

    of_items: Mapping[View, Array]
    k: int
    remark: str = ""

    @property
    def item_bytes(self) -> float:
        """One float32."""
        return 4.0

    def scores(self, view: View, scores: Numbers) -> Numbers:
        """Twice the scores (q, n), less each query's mean over its k best items, less each item's over the bank."""
        of_items = _of(self.of_items, view, scores, "csls")
        if not scores.size:
            return scores.copy()
        return csls(scores, largest(scores, self.k).mean(axis=1), of_items)


@dataclass(frozen=True, eq=False)
class DualSoftmax:
    """`dualsoftmax`: keeps nothing of items and needs no bank, but all queries at once. One query keeps its scores."""

    temperature: float
    remark: str = ""

    @property
    def transductive(self) -> bool:
        return True

    @property
    def item_bytes(self) -> float:
        """Nothing."""
        return 0.0

    def scores(self, view: View, scores: Numbers) -> Numbers:
        """Scores (q, n) of all the queries there are, each weighted by how much its item prefers that query."""
        return self.over([scores]).scores(view, scores) if scores.size else scores.copy()

    def over(self, all_scores: Iterable[Numbers]) -> Revised:
        """The same, once all queries' scores have been seen in blocks of rows (b, n): then block by block."""
        queries, sums = 0, np.full(1, -np.inf)
        for scores in all_scores:
            queries += len(scores)
            sums = np.logaddexp(sums, log_sums(scores, 1.0 / self.temperature))
        return Revised(self.temperature, queries, sums)


@dataclass(frozen=True, eq=False)
class Revised:
    """A dual softmax whose sums (n,) over all `queries` are known, so that some of their rows can be corrected."""

    temperature: float
    queries: int
    sums: Numbers
    remark: str = ""

    @property
    def transductive(self) -> bool:
        return True

    @property
    def item_bytes(self) -> float:
        """Nothing that outlives the queries."""
        return 0.0

    def scores(self, view: View, scores: Numbers) -> Numbers:
        """The corrected scores (b, n) of some of the queries that it was made from."""
        return dual_softmax(scores, self.sums, self.queries, self.temperature)


def fit_nnn(reference: Reference, k: float = 128, weight: float = 0.75) -> NearestNeighbours:
    """The items' biases from the bank. With k larger than the bank the mean is over all of it, and `remark` says so."""
    bank, remarks = _bank(reference, "nnn")
    near = _clamped(int(k), len(bank), remarks)
    bias = {view: _neighbourhoods(bank, matrix.rows, near) for view, matrix in reference.items.items()}
    return NearestNeighbours(bias, float(weight), near, "; ".join(remarks))


def fit_csls(reference: Reference, k: float = 10) -> LocalScaling:
    """The items' neighbourhoods in the bank; k larger than the bank is treated as in `fit_nnn`."""
    bank, remarks = _bank(reference, "csls")
    near = _clamped(int(k), len(bank), remarks)
    means = {view: _neighbourhoods(bank, matrix.rows, near) for view, matrix in reference.items.items()}
    return LocalScaling(means, int(k), "; ".join(remarks))


def fit_qbnorm(reference: Reference, beta: float = 20, k: float = 1) -> QueryBank:
    """The items' popularity over all the bank, and which are among the k best of a bank query (all, with fewer)."""
    bank, remarks = _bank(reference, "qbnorm")
    fitted = {view: _popularity(bank, matrix.rows, beta, int(k)) for view, matrix in reference.items.items()}
    popularity = {view: values for view, (values, _) in fitted.items()}
    active = {view: flags for view, (_, flags) in fitted.items()}
    return QueryBank(popularity, active, float(beta), int(k), "; ".join(remarks))


def fit_dualsoftmax(_reference: Reference, temperature: float = 1000) -> DualSoftmax:
    """Nothing is fitted. At the published temperature of 1000, cosines are hardly changed."""
    return DualSoftmax(float(temperature))


# --- over many items -----------------------------------------------------------------------------------------------


def _bank(reference: Reference, name: str) -> tuple[Numbers, list[str]]:
    """The bank's rows (m, d) that say something, MOST at most, and remarks on what was left out."""
    rows = reference.queries[reference.queries.any(axis=1)] if reference.queries.size else reference.queries
    if not len(rows):
        raise BadRecipe(
            f"{name} is fitted on reference queries, and the bank has none with a direction (of "
            f"{len(reference.queries)}): give the dataset a bank.jsonl, or leave {name} out"
        )
    remarks = []
    if len(rows) > MOST:
        remarks.append(f"{MOST} of {len(rows)} reference queries were used, evenly spaced")
        rows = rows[np.linspace(0, len(rows) - 1, MOST).round().astype(np.int64)]
    return np.asarray(rows, dtype=np.float64), remarks


def _clamped(k: int, bank: int, remarks: list[str]) -> int:
    if k > bank:
        remarks.append(f"an item's mean is over all {bank} reference queries, as there are no {k}")
    return min(k, bank)


def _widened(bank: Numbers, rows: Array) -> Iterator[tuple[slice, Numbers]]:
    """Items' rows in float64, so many at a time that their scores with the whole bank are not too many."""
    for block in blocks(len(rows), max(1, SCORES_AT_ONCE // len(bank))):
        yield block, np.asarray(rows[block], dtype=np.float64)


def _neighbourhoods(bank: Numbers, rows: Array, k: int) -> Array:
    means = np.empty(len(rows), dtype=np.float32)
    for block, wide in _widened(bank, rows):
        means[block] = neighbourhood(wide @ bank.T, k)
    return means


def _popularity(bank: Numbers, rows: Array, beta: float, k: int) -> tuple[Array, Flags]:
    """1 / beta * log mean exp(beta * score) over the bank (n,), and the activation set (n,) of its k best."""
    popularity = np.empty(len(rows), dtype=np.float32)
    # Of each bank query the k best items so far. They stand before newer ones, so equal scores keep the earlier item.
    best, places = np.empty((len(bank), 0)), np.empty((len(bank), 0), dtype=np.int64)
    for block, wide in _widened(bank, rows):
        asked = bank @ wide.T
        popularity[block] = (log_sums(asked, beta) - np.log(len(bank))) / beta
        here = first_places(asked, k)
        best = np.concatenate([best, np.take_along_axis(asked, here, axis=1)], axis=1)
        places = np.concatenate([places, here + block.start], axis=1)
        kept = first_places(best, k)
        best, places = np.take_along_axis(best, kept, axis=1), np.take_along_axis(places, kept, axis=1)
    active = np.zeros(len(rows), dtype=np.bool_)
    active[places] = True
    return popularity, active


def _of(fitted: Mapping[View, Array], view: View, scores: Numbers, name: str) -> Array:
    """The items' numbers (n,) of a view. Raises BadRecipe where it was not fitted, ValueError for other items."""
    if view not in fitted:
        raise BadRecipe(f"{name} knows nothing of the {view} view: no item had one when it was fitted")
    if len(fitted[view]) != scores.shape[1]:
        raise ValueError(f"{name} was fitted on {len(fitted[view])} items of the {view} view, not {scores.shape[1]}")
    return fitted[view]
