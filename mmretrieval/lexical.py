"""Words as BM25 has them: Qdrant's own tokeniser and weights, and the scores that Qdrant gives. Arrays in, arrays out.

A text is split, put into lower case, freed of English stop words and stemmed by `qdrant_edge.Bm25` (Snowball), and a
term is the 32-bit hash of what is left of a word. A term that occurs n times in a text of `length` terms weighs

    n (K + 1) / (n + K (1 - B + B length / AVERAGE))                                      (Qdrant's `lib/bm25`)

and the score of a text is the sum over the terms that it shares with the query of weight * idf, with

    idf = ln(1 + (N - df + 0.5) / (df + 0.5))                                   (`fancy_idf`, Qdrant's modifier Idf)

where N counts the texts that have a term at all and df those that have this one: of the whole library, whatever a
filter lets pass. That is Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with
a constant in place of the mean length, so that a text's weights do not change when others come.
"""

from __future__ import annotations

import functools
import importlib.metadata
import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import BadQuery
from mmretrieval.spec import LEXICAL
from mmretrieval.types import Card

if TYPE_CHECKING:
    import qdrant_edge as qe

NAME = LEXICAL
# Qdrant's defaults. AVERAGE is the length of text at which neither short nor long is favoured.
K, B, AVERAGE = 1.2, 0.75, 256.0

Ids = npt.NDArray[np.uint32]
Places = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Terms:
    """A query: distinct terms (t,), rising, and what each counts (t,), below 0 where it pushes away."""

    terms: Ids
    shares: Numbers

    def __len__(self) -> int:
        return len(self.terms)


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts as terms: text i has terms[offsets[i]:offsets[i + 1]], rising, each with its weight; it may have none."""

    terms: Ids
    weights: npt.NDArray[np.float32]
    offsets: Places

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: int) -> Ids:
        return self.terms[self.offsets[place] : self.offsets[place + 1]]

    def taken(self, places: Places) -> Texts:
        """The texts at `places`, in that order."""
        lengths = np.diff(self.offsets)[places]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        chosen = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[:-1][places], lengths)
        return Texts(self.terms[chosen], self.weights[chosen], offsets)

    def followed_by(self, other: Texts) -> Texts:
        """These texts and then the others."""
        return Texts(
            np.concatenate([self.terms, other.terms]),
            np.concatenate([self.weights, other.weights]),
            np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]]),
        )


@functools.cache
def card() -> Card:
    """What is known of BM25, in the form in which encoders are described; `dim` is 0: it makes no vectors."""
    return Card(
        name=NAME,
        spec=NAME,
        dim=0,
        reads=frozenset({"text"}),
        licence="Apache-2.0",
        revision=f"qdrant-edge-{importlib.metadata.version('qdrant-edge-py')}-english-{K:g}-{B:g}-{AVERAGE:g}",
        preprocessing="Qdrant's word tokeniser, lower case, English stop words and stemming",
        runtime="exact scan of postings in float64",
        promise="Finds the items whose words the query has: names, numbers and rare words that encoders blur.",
        offline=True,
        family="lexical",
    )


def is_lexical(spec: str) -> bool:
    """Whether a source of a recipe is searched by words and no encoder is asked."""
    return spec == NAME


# --- texts and queries as terms ------------------------------------------------------------------------------------


def read(texts: Iterable[str]) -> Texts:
    """Texts as Qdrant weighs their terms for its index."""
    terms, weights, offsets = array("I"), array("f"), array("q", [0])
    for text in texts:
        found = _model().embed_document(text)
        terms.extend(found.indices)
        weights.extend(found.values)
        offsets.append(len(terms))
    return Texts(np.array(terms, dtype=np.uint32), np.array(weights, dtype=np.float32), np.array(offsets))


def terms_of(text: str) -> Ids:
    """The distinct terms of a text, rising; none where it has nothing but stop words and signs."""
    return np.array(_model().embed_query(text).indices, dtype=np.uint32)


def composed(parts: Sequence[Ids], weights: npt.ArrayLike) -> Terms:
    """A query of several parts: an item's score is the sum of w_i * BM25 with part i over the sum of |w_i|.

    Terms of parts with a negative weight push away. The order of the parts and the scale of the weights change nothing.
    Raises BadQuery where no term is left that pulls: all have weight 0 or less, or are taken away again.
    """
    w = [float(x) for x in np.asarray(weights, dtype=np.float64)]
    whole = math.fsum(map(abs, w))
    found: dict[int, list[float]] = {}
    for own, weight in zip(parts, w, strict=True):
        for term in own.tolist():
            found.setdefault(term, []).append(weight / whole if whole else 0.0)
    summed = {term: math.fsum(shares) for term, shares in sorted(found.items())}
    # What is left of equal shares of opposite signs is rounding.
    kept = {term: share for term, share in summed.items() if abs(share) > 1e-12}
    if not any(share > 0 for share in kept.values()):
        raise BadQuery("no word is left to search for: its words are stop words, push away, or cancel out")
    return Terms(np.fromiter(kept, dtype=np.uint32), np.fromiter(kept.values(), dtype=np.float64))


NOTHING = Terms(np.empty(0, dtype=np.uint32), np.empty(0, dtype=np.float64))


# --- scores --------------------------------------------------------------------------------------------------------


def idf(count: int, having: npt.ArrayLike) -> Numbers:
    """How telling terms are that `having` of `count` texts have; always above 0."""
    df = np.asarray(having, dtype=np.float64)
    return np.asarray(np.log1p((count - df + 0.5) / (df + 0.5)), dtype=np.float64)


class Postings:
    """Texts turned round: for each term the texts that have it, and its weight in each."""

    def __init__(self, texts: Texts) -> None:
        lengths = np.diff(texts.offsets)
        # A stable sort keeps the texts of a term in their order.
        order = np.argsort(texts.terms, kind="stable")
        terms = texts.terms[order]
        starts = np.flatnonzero(np.concatenate([[True], terms[1:] != terms[:-1]])[: len(terms)])
        self._terms, self._starts = terms[starts], np.append(starts, len(terms))
        self._places = np.repeat(np.arange(len(texts), dtype=np.int32), lengths)[order]
        self._weights = texts.weights[order]
        self._size = len(texts)
        self.count = int((lengths > 0).sum())

    def scores(self, query: Terms) -> tuple[Numbers, npt.NDArray[np.bool_]]:
        """The score of every text (n,), 0 where it shares no term, and which share one that pulls (n,).

        Added up in float64 in the order of the terms: texts of the same terms and length score the same to the last
        bit, and a text's score does not depend on what else is asked.
        """
        scores, pulled = np.zeros(self._size), np.zeros(self._size, dtype=np.bool_)
        at = np.searchsorted(self._terms, query.terms)
        for term, place, share in zip(query.terms, at, query.shares, strict=True):
            if place == len(self._terms) or self._terms[place] != term:
                continue
            own = slice(int(self._starts[place]), int(self._starts[place + 1]))
            telling = float(idf(self.count, own.stop - own.start))
            scores[self._places[own]] += share * telling * self._weights[own].astype(np.float64)
            if share > 0:
                pulled[self._places[own]] = True
        return scores, pulled


@functools.cache
def _model() -> qe.Bm25:
    import qdrant_edge as qe

    return qe.Bm25(qe.Bm25Config(k=K, b=B, avg_len=AVERAGE, language="english"))
