"""What can be said of a space: vectors by view to a Finding.

    run({view: rows (n, d), row i of every view being item i}, ids, *, seed=0, sample=10_000) -> Finding

A new one is a file here and a row in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from mmretrieval.diagnostics.gap import gap
from mmretrieval.diagnostics.gram import gram
from mmretrieval.diagnostics.pairs import paired
from mmretrieval.types import Finding, StageRow

__all__ = ["DIAGNOSTICS", "Diagnostic", "paired"]

Diagnostic: TypeAlias = Callable[..., Finding]

DIAGNOSTICS: dict[str, StageRow[Diagnostic]] = {
    "gap": StageRow(gap, "How far apart pictures and texts lie as wholes, and how near an item's own two are."),
    "gram": StageRow(gram, "Whether what belongs together spans less volume than what was mixed up."),
}
