"""What diagnostics look at, out of a dataset: its corpus as a library, its queries with their answers, its bank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eval.dataset import Asked, Dataset
from eval.judging import Shelf, as_queries, bank_of

if TYPE_CHECKING:
    from mmretrieval.diagnostics.subject import Subject


def of_dataset(dataset: Dataset, shelf: Shelf, recipe: str, *, classes: str = "", seed: int = 0) -> Subject:
    """A dataset's space as a recipe makes it: the questions are its judged queries, the bank its reference queries.

    `shelf` is what `eval.judging.shelve` made of the corpus. Where the dataset brings no reference queries, generic
    captions stand for them. The null questions are generic captions in any case: reference queries ask for something.
    """
    from mmretrieval.engine import Engine
    from mmretrieval.subjects import Question, of_library

    asked = list(dataset.judged)
    engine = Engine(shelf.library, exact=True, bank=bank_of(dataset, shelf, dataset.queries))
    answers = [frozenset(i for entry in dataset.relevant(q.id) for i in shelf.items[entry]) for q in asked]
    posed = as_queries(asked, dataset, shelf)
    questions = [Question(q, a.form, found, said(a)) for q, a, found in zip(posed, asked, answers, strict=True)]
    return of_library(shelf.library, recipe, questions=questions, engine=engine, classes=classes, seed=seed)


def said(query: Asked) -> str:
    """A query as people read it: its words, and pictures by the names of their files; weights other than 1 before them.

    `[apple.jpg] + in snow`, `[bowl.jpg] - fruit`.
    """
    told = ""
    for part in query.parts:
        sign = (" - " if told else "-") if part.weight < 0 else (" + " if told else "")
        size = "" if abs(part.weight) == 1 else f"{abs(part.weight):g} "
        told += (
            f"{sign}{size}{f'[{part.image.name}]' if part.image is not None else ' '.join((part.text or '').split())}"
        )
    return told
