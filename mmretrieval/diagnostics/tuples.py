"""Queries with items that belong to them and items that do not, as tuples of vectors, and what is measured of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.geometry import Numbers, blocks, directions, gram_factors
from mmretrieval.types import Array

# What tuples of questions are called first, unless items' own words stand for them.
QUESTIONS = "questions"
# Fewer items, or questions, than this are no sample at all.
LEAST = 4
# A question whose vector is that of an item's own view, but for rounding, was made of it.
COPY = 1e-5

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tuples:
    """Queries (n, d), each with the views (n, k, d) of an item that belongs to it and of one that does not.

    `names` are the views' names, the query's first; `ids` and `others` the items'.
    """

    names: tuple[str, ...]
    queries: Array
    matched: Array
    shuffled: Array
    ids: tuple[str, ...]
    others: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Volumes:
    """What is measured of n tuples of a query and an item's own views: one number (n,) each.

    `volume` is `own` x `sine`, the item's own volume and the query's sine to its span. `cosine` is the mean of the
    query's cosines to the views and `lowest` the lowest of them, `pairwise` the mean cosine of all pairs in the tuple.
    """

    volume: Numbers
    own: Numbers
    sine: Numbers
    cosine: Numbers
    lowest: Numbers
    pairwise: Numbers

    @property
    def guarded(self) -> Numbers:
        """The volume where no cosine of the query is negative, else more than 1: the order of the reranker `gram`."""
        guarded: Numbers = np.where(self.lowest < 0, 1.0 - self.lowest, self.volume)
        return guarded


@dataclass(frozen=True, eq=False)
class Compared:
    """Tuples, what is measured of them as they belong and shuffled, and resamples of them (c, n)."""

    tuples: Tuples
    matched: Volumes
    shuffled: Volumes
    counts: npt.NDArray[np.float32]

    @property
    def size(self) -> int:
        """How many vectors make a tuple."""
        return len(self.tuples.names)


def measure(queries: Array, own: Array) -> Volumes:
    """Volume, factors and cosines of tuples: queries (n, d), and the views (n, k, d) of an item for each."""
    n, k, _ = own.shape
    volumes, sines = gram_factors(queries, own)
    cosine, lowest, pairwise = np.empty(n), np.empty(n), np.empty(n)
    for block in blocks(n):
        asked, views = directions(queries[block]), directions(own[block])
        cosines = np.clip(np.einsum("nd,nkd->nk", asked, views), -1.0, 1.0)
        cosine[block], lowest[block] = cosines.mean(axis=1), cosines.min(axis=1)
        # The squared length of a sum of unit rows is their number and twice the sum over the pairs.
        summed = ((asked + views.sum(axis=1)) ** 2).sum(axis=1)
        lengths = (asked**2).sum(axis=1) + (views**2).sum(axis=(1, 2))
        pairwise[block] = np.clip((summed - lengths) / (k * (k + 1)), -1.0, 1.0)
    return Volumes(volumes * sines, volumes, sines, cosine, lowest, pairwise)


def own_tuples(rows: Mapping[str, Array], ids: Sequence[str], names: Sequence[str], seed: int) -> Tuples:
    """Tuples of items' own rows by view, the first view playing the query; shuffled, it is asked of another item."""
    queries, *rest = rows.values()
    own = np.stack(rest, axis=1)
    (step,) = strangers(len(ids), seed, 1)
    return Tuples(tuple(names), queries, own, own[step], tuple(ids), tuple(ids[i] for i in step))


def mixed(tuples: Tuples, seed: int) -> Array:
    """Each query's views (n, k, d), every one of another item, no two of the same: nothing belongs to anything."""
    steps = strangers(len(tuples), seed, tuples.matched.shape[1])
    return np.stack([tuples.matched[step, j] for j, step in enumerate(steps)], axis=1)


def strangers(n: int, seed: int, count: int) -> list[Places]:
    """`count` (< n) permutations of n places that move every place, and each place somewhere else in each of them.

    They are steps of 1, 2 ... along one random cycle through all places.
    """
    cycle = np.random.default_rng([seed, n, 3]).permutation(n)
    place = np.empty(n, dtype=np.int64)
    place[cycle] = np.arange(n)
    return [cycle[(place + step) % n] for step in range(1, count + 1)]


def comparable_views(subject: Subject) -> tuple[str, ...]:
    """The views that make tuples: all that have vectors but the joint one; the searched one where too few share them.

    Without questions there is nothing to compare a single view with, and it is up to `Subject.pairs` to refuse.
    """
    names = tuple(v for v in subject.views if v != "joint" and len(subject.views[v].ids))
    if subject.questions is None or not len(subject.questions) or (names and len(shared(subject, names)) >= LEAST):
        return names
    return (subject.searched,)


def shared(subject: Subject, names: Sequence[str]) -> tuple[str, ...]:
    """The ids of the items that have all these views, rising."""
    return tuple(sorted(set.intersection(*(set(subject.views[v].ids) for v in names))))


def askers(questions: Questions) -> tuple[Places, bool]:
    """The questions that ask with vectors of their own, by place; else those that items' own words stand for (True)."""
    lively = questions.rows.any(axis=1)
    captions = np.array([kind == "caption" for kind in questions.kinds], dtype=np.bool_)
    if (lively & ~captions).any():
        return np.flatnonzero(lively & ~captions), False
    return np.flatnonzero(lively), True


def question_tuples(subject: Subject, names: Sequence[str], seed: int, sample: int) -> Tuples | None:
    """(query, views) of at most `sample` questions: of an item that answers it, and of one that does not.

    Where several items answer, one is drawn. Captions are compared with the views that they were not made of. None
    where fewer than 4 questions are answered by an item with these views.
    """
    if subject.questions is None or not len(subject.questions):
        return None
    questions = subject.questions
    places, captions = askers(questions)
    if captions:
        names = tuple(v for v in names if v != "text" and not made_of(subject, v, places))
    if not names:
        return None
    generator = np.random.default_rng([seed, 4])
    pool = _directed(subject, names)
    among = frozenset(pool)
    chosen: list[int] = []
    ids: list[str] = []
    others: list[str] = []
    for place in generator.permutation(places):
        answers = sorted(questions.relevant[place] & among)
        if len(chosen) == sample:
            break
        if not answers or len(answers) == len(pool):
            continue
        chosen.append(int(place))
        ids.append(answers[int(generator.integers(len(answers)))])
        others.append(_other(pool, questions.relevant[place], generator))
    if len(chosen) < LEAST:
        return None
    matched, shuffled = (_stacked(subject, names, some) for some in (ids, others))
    labels = (questions.captions if captions else "questions", *(subject.label(v) for v in names))
    return Tuples(labels, questions.rows[chosen], matched, shuffled, tuple(ids), tuple(others))


def made_of(subject: Subject, view: str, places: Places) -> bool:
    """Whether most of these questions are copies of this view of the item that answers them."""
    questions, matrix = subject.questions, subject.views[view]
    if questions is None:
        return False
    pairs = [(int(p), i) for p in places for i in sorted(questions.relevant[p])[:1]]
    at = matrix.places(i for _, i in pairs)
    held = at >= 0
    if not held.any():
        return False
    asked = directions(questions.rows[[p for p, _ in pairs]][held])
    apart = np.linalg.norm(asked - directions(matrix.rows[at[held]]), axis=1)
    return bool((apart < COPY).mean() > 0.5)


def _directed(subject: Subject, names: Sequence[str]) -> tuple[str, ...]:
    """The ids of the items that have all these views and no zero row among them."""
    ids = shared(subject, names)
    whole = np.ones(len(ids), dtype=np.bool_)
    for view in names:
        matrix = subject.views[view]
        for block in blocks(len(ids)):
            whole[block] &= matrix.rows[matrix.places(ids[block])].any(axis=1)
    return tuple(ids[i] for i in np.flatnonzero(whole))


def _other(pool: Sequence[str], answers: frozenset[str], generator: np.random.Generator) -> str:
    """An item of the pool that is no answer: drawn until one is found, since answers are few."""
    while True:
        drawn = pool[int(generator.integers(len(pool)))]
        if drawn not in answers:
            return drawn


def _stacked(subject: Subject, names: Sequence[str], ids: Sequence[str]) -> Array:
    return np.stack([subject.views[v].rows[subject.views[v].places(ids)] for v in names], axis=1)
