"""What a diagnostic looks at: a space's rows by view, and perhaps questions, reference queries and a second space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mmretrieval.errors import RetrievalError
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix
from mmretrieval.types import VIEWS, Array


@dataclass(frozen=True, eq=False)
class Questions:
    """Queries as composed rows (q, d), each with its id, its kind and the ids of the items that answer it.

    Kinds are "text", "image" and "composed", or "caption" where an item's own words stand for a query. `relevant` is
    empty for a query of which nothing is known. `excluded` are items that are no answers to a query (the picture that
    it shows, where that is in the library); it may be left empty. `words` are what each asks, as people read it, and
    `captions` is what questions of the kind "caption" are called.
    """

    rows: Array
    ids: tuple[str, ...]
    kinds: tuple[str, ...]
    relevant: tuple[frozenset[str], ...]
    excluded: tuple[frozenset[str], ...] = ()
    words: tuple[str, ...] = ()
    captions: str = "captions"

    def said(self, place: int) -> str:
        """What a question asks, or its id where no words are known."""
        return (self.words[place] if self.words else "") or self.ids[place]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Subject:
    """One space as a diagnostic sees it: rows (n, d) by view, with ids that rise; they need not be unit.

    `views` are in an order that counts: the first two are the two modalities that are compared (in a library visual
    and text). `searched` is the view that questions are asked of. `name` is the recipe or the files. `reference` is
    what corrections are fitted on: its queries are none of the questions, and they may well ask for something. `rival`
    is the same library as a second encoder sees it.
    """

    views: Mapping[str, Matrix]
    searched: str
    name: str = ""
    questions: Questions | None = None
    reference: Reference | None = None
    rival: Subject | None = None
    # A class of each item (a tag of its metadata), for what compares clusters with classes; may be empty.
    classes: Mapping[str, str] = field(default_factory=dict)
    # How a view is called in sentences and plots.
    labels: Mapping[str, str] = field(default_factory=lambda: {"visual": "pictures", "text": "words"})
    # Rows (m, d) of the generic captions as questions of this space, written with no item in mind (see
    # `mmretrieval.bank`); None where no encoder reads them.
    nulls: Array | None = None

    def label(self, view: str) -> str:
        """What to call a view before people."""
        return self.labels.get(view, view)

    @property
    def labelled(self) -> dict[str, str]:
        """What each view is called before people."""
        return {view: self.label(view) for view in self.views}

    @property
    def of_files(self) -> bool:
        """Whether its rows come from files of vectors, which have neither words nor an encoder."""
        return not set(self.views) <= set(VIEWS)

    @property
    def more(self) -> str:
        """How to get more items that have two views."""
        return "give files of more rows" if self.of_files else "add pictures with captions, or documents"

    def pairs(self, names: Sequence[str] | None = None, least: int = 2) -> tuple[dict[str, Array], tuple[str, ...]]:
        """The rows of the items that have all these views (default: all views but the joint one), and their ids.

        Row i of each is item i. Raises RetrievalError where there are fewer than two views, or than `least` items.
        """
        wanted = [v for v in self.views if v != "joint"] if names is None else list(names)
        held = [v for v in wanted if v in self.views and len(self.views[v].ids)]
        if len(held) < max(2, len(wanted)):
            has = f"only {self._vectors(held)}" if held else "no vectors"
            way = "add pictures with captions (captions.jsonl, or NAME.txt beside each), or documents"
            raise RetrievalError(
                f"{self.name or 'this space'} has {has}, and this compares at least two views of the same items: "
                f"{'give two or more files of the same items in one order' if self.of_files else way}"
            )
        ids = sorted(set.intersection(*(set(self.views[v].ids) for v in held)))
        if len(ids) < least:
            raise RetrievalError(
                f"{items(len(ids))} {self._vectors(held)}, and this needs at least {least}: {self.more}"
            )
        return {v: np.asarray(self.views[v].rows[self.views[v].places(ids)]) for v in held}, tuple(ids)

    def asked(self) -> tuple[Questions, Matrix]:
        """The questions and what they are asked of. Raises RetrievalError where there are none."""
        if self.questions is None or not len(self.questions):
            # Captions ask for what they belong to; of a search among themselves each would find itself.
            way = (
                "captions cannot ask for themselves: search another view, as in @visual, or take a dataset"
                if self.searched == "text" and "visual" in self.views
                else "take a dataset, or a library whose pictures have captions"
            )
            raise RetrievalError(f"{self.name or 'this space'} has no questions to ask: {way}")
        return self.questions, self.views[self.searched]

    def _vectors(self, views: Sequence[str]) -> str:
        """As in `visual and text vectors`; of files, whose views are letters, `rows of image and rows of text`."""
        named = " and ".join(map(self.label, views) if self.of_files else views)
        return named if self.of_files else f"{named} vectors"


def items(count: int) -> str:
    """As in `1 item has` and `3 items have`."""
    return f"{count} item has" if count == 1 else f"{count} items have"
