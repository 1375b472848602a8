"""A mixed list: every vector of every item as an answer of its own. Which modality do its first places go to?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.diagnostics.tuples import made_of
from mmretrieval.geometry import Numbers, blocks
from mmretrieval.reference import Reference
from mmretrieval.transforms import center
from mmretrieval.types import VIEWS, Array, Modality, View

# What a kind of question is made of, where it is one thing: centring must know which mean to take off.
MADE_OF: Mapping[str, Modality] = {"text": "text", "caption": "text", "image": "image"}
# The views that hold an item's own words by their names: a caption that is asked finds itself there.
OWN_WORDS = frozenset({"text", "joint"})
# The scores of so many questions are held at once.
ASKED_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Mixed:
    """The first places of questions (q,) in one list of all views' rows.

    `shares` (q, views) of the first k are rows of each view. `hit` (q,) is 1 where a row of a relevant item is among
    them, 0 where none is, NaN where nothing is known to be relevant; `alone` the same for a list of one view. All are
    NaN for a question without direction, which asks for nothing.
    """

    shares: Numbers
    hit: Numbers
    alone: Numbers


@dataclass(frozen=True, eq=False)
class Candidates:
    """The rows (n, d) of some views one after the other, whose items they are, and which view each is of."""

    rows: Array
    owners: npt.NDArray[np.int64]
    view: npt.NDArray[np.int64]
    ids: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def expected(self) -> Numbers:
        """The share (views,) of the candidates that each view has."""
        counted: Numbers = np.bincount(self.view, minlength=len(self.names)) / max(len(self.view), 1)
        return counted


def candidates(subject: Subject, kept: frozenset[str]) -> Candidates:
    """The rows of all views of these items, less those without direction."""
    ids = tuple(sorted(kept))
    rows, owners, view = [], [], []
    for number, matrix in enumerate(subject.views.values()):
        places = matrix.places(ids)
        held = np.flatnonzero(places >= 0)
        taken = np.asarray(matrix.rows[places[held]])
        there = taken.any(axis=1)
        rows.append(taken[there])
        owners.append(held[there])
        view.append(np.full(int(there.sum()), number, dtype=np.int64))
    return Candidates(np.concatenate(rows), np.concatenate(owners), np.concatenate(view), ids, tuple(subject.views))


def centred(subject: Subject, listed: Candidates, kind: str, asked: Array) -> tuple[Candidates, Array]:
    """The candidates and the questions of one kind after `center`, fitted on the subject's reference.

    Without a reference, words that are asked lose the mean of the items' words.
    """
    held: list[Array] = []
    reference = subject.reference
    if reference is None:
        views = {cast(View, name): matrix for name, matrix in subject.views.items()}
        words: dict[Modality, Array] = {"text": views["text"].rows} if "text" in views else {}
        reference = Reference(views, words, asked[:0])
    fitted = center.run(reference)
    for number, name in enumerate(listed.names):
        held.append(fitted.items(cast(View, name), listed.rows[listed.view == number]))
    moved = Candidates(np.concatenate(held), listed.owners, listed.view, listed.ids, listed.names)
    return moved, fitted.query(MADE_OF[kind], asked)


def own_words(subject: Subject) -> frozenset[str]:
    """The views in which captions that are asked would find themselves: by name, and those that they are copies of."""
    questions = subject.questions
    if questions is None:
        return OWN_WORDS
    worded = np.array([kind == "caption" for kind in questions.kinds], dtype=np.bool_)
    captions = np.flatnonzero(worded & questions.rows.any(axis=1)).astype(np.int64)
    return OWN_WORDS | {view for view in subject.views if len(captions) and made_of(subject, view, captions)}


def can_centre(subject: Subject, kind: str) -> bool:
    """Whether there is a mean for questions of this kind, and for each view."""
    made_of, reference = MADE_OF.get(kind), subject.reference
    if made_of is None or not set(subject.views) <= set(VIEWS):
        return False
    if reference is not None and not set(subject.views) <= {v for v, m in reference.items.items() if len(m.rows)}:
        return False
    if made_of == "image":
        return "visual" in subject.views
    return bool(len(reference.parts.get("text", ()))) if reference is not None else "text" in subject.views


def mixed(
    listed: Candidates,
    questions: Questions,
    chosen: npt.NDArray[np.int64],
    rows: Array,
    k: int,
    alone: str,
    own: frozenset[str] = OWN_WORDS,
) -> Mixed:
    """Where the first k places go for the chosen questions, asked by `rows` (q, d); `alone` is searched by itself too.

    Items that a question excludes are left out, and so are rows of views in `own`, which hold the words that a caption
    was taken from: it would find itself.
    """
    q, names = len(chosen), listed.names
    place = {ident: i for i, ident in enumerate(listed.ids)}
    shares, hit, single = np.full((q, len(names)), np.nan), np.full(q, np.nan), np.full(q, np.nan)
    wordy = np.isin(listed.view, [names.index(name) for name in own if name in names])
    lone = listed.view == names.index(alone)
    wide = listed.rows.astype(np.float64)
    for block in blocks(q, ASKED_AT_ONCE):
        scores = rows[block].astype(np.float64) @ wide.T
        for i, row in zip(range(block.start, block.stop), scores, strict=True):
            if not rows[i].any():
                continue
            number = int(chosen[i])
            relevant = _owned(listed, place, questions.relevant[number])
            if questions.excluded:
                row[_owned(listed, place, questions.excluded[number])] = -np.inf
            if questions.kinds[number] == "caption":
                row[relevant & wordy] = -np.inf
            first = _first(row, k)
            shares[i] = np.bincount(listed.view[first], minlength=len(names)) / max(len(first), 1)
            if relevant.any():
                hit[i] = relevant[first].any()
                single[i] = relevant[_first(np.where(lone, row, -np.inf), k)].any()
    return Mixed(shares, hit, single)


def _owned(listed: Candidates, place: Mapping[str, int], ids: frozenset[str]) -> npt.NDArray[np.bool_]:
    return np.isin(listed.owners, [place[i] for i in ids if i in place])


def _first(scores: Numbers, k: int) -> npt.NDArray[np.int64]:
    """The places of the k highest scores that are not ruled out, ties by place."""
    allowed = np.flatnonzero(scores > -np.inf)
    if len(allowed) > k:
        last = np.partition(scores[allowed], len(allowed) - k)[len(allowed) - k]
        allowed = allowed[scores[allowed] >= last]
    found: npt.NDArray[np.int64] = allowed[np.argsort(-scores[allowed], kind="stable")[:k]]
    return found
