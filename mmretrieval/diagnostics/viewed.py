"""The rows of one view that a diagnostic looks at, where items need not have the others."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from mmretrieval.diagnostics.subject import Subject, items
from mmretrieval.errors import RetrievalError
from mmretrieval.types import Array


@dataclass(frozen=True, eq=False)
class Viewed:
    """Rows (n, d) of a view with their ids, which rise; `of` how many there are, less `zero` rows without direction."""

    ids: tuple[str, ...]
    rows: Array
    of: int
    zero: int

    def __len__(self) -> int:
        return len(self.ids)


def viewed(subject: Subject, view: str, least: int, seed: int, sample: int | None) -> Viewed:
    """At most `sample` rows of a view, drawn without replacement by `seed`, less those that are zero.

    Raises RetrievalError where there is no such view, and where fewer than `least` rows are left.
    """
    name = subject.name or "this space"
    if view not in subject.views:
        raise RetrievalError(f"{name} has no {view} vectors, only {', '.join(subject.views) or 'none at all'}")
    matrix = subject.views[view]
    drawn = np.arange(len(matrix.ids))
    if sample is not None and len(drawn) > sample:
        drawn = np.sort(np.random.default_rng(seed).choice(len(drawn), size=sample, replace=False))
    rows = np.asarray(matrix.rows[drawn])
    whole = rows.any(axis=1)
    if whole.sum() < least:
        count = int(whole.sum())
        if subject.of_files:
            told = f"{count} of the {subject.label(view)} {'has' if count == 1 else 'have'} a direction"
        else:
            told = f"of {name} {items(count)} a {view} vector"
        larger = ", or look at a larger sample" if len(drawn) < len(matrix.ids) else ""
        way = "give files of more rows" if subject.of_files else "add items"
        raise RetrievalError(f"{told}, and this needs at least {least}: {way}{larger}")
    return Viewed(tuple(matrix.ids[i] for i in drawn[whole]), rows[whole], len(matrix.ids), int((~whole).sum()))


def basis(n: int, seed: int, sample: int | None, *packages: str) -> dict[str, Any]:
    """What every finding is based on: n, seed, sample, and the versions of what computed it."""
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    return {"n": n, "seed": seed, "sample": sample, "versions": versions | {name: version(name) for name in packages}}
