"""What can be said of a space: a Subject to a Finding.

    run(subject, *, seed=0, sample=10_000) -> Finding; sample=None looks at everything

A new one is a file here and a row in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from mmretrieval.diagnostics.agreement import agreement
from mmretrieval.diagnostics.calibration import calibration
from mmretrieval.diagnostics.capacity import capacity
from mmretrieval.diagnostics.concepts import concepts
from mmretrieval.diagnostics.dimension import dimension
from mmretrieval.diagnostics.gap import gap
from mmretrieval.diagnostics.gram import gram
from mmretrieval.diagnostics.hubness import hubness
from mmretrieval.findings import Finding
from mmretrieval.stages import StageRow

__all__ = ["DIAGNOSTICS", "Diagnostic"]

Diagnostic: TypeAlias = Callable[..., Finding]

DIAGNOSTICS: dict[str, StageRow[Diagnostic]] = {
    "gap": StageRow(gap, "How far apart two modalities lie, before and after centring, and what moving them does."),
    "gram": StageRow(gram, "Whether volume tells what belongs together, and which items it favours unasked."),
    "hubness": StageRow(hubness, "Which items nearly every query finds, which none does, and what corrections change."),
    "agreement": StageRow(agreement, "Whether two encoders see items alike, and which they see most differently."),
    "calibration": StageRow(calibration, "What a score says: of an answer, across questions, and across modalities."),
    "dimension": StageRow(dimension, "How many directions items spread into, and what that costs a search graph."),
    "concepts": StageRow(concepts, "What the items are of: clusters, copies, odd items, and whether modalities mix."),
    "capacity": StageRow(capacity, "Which pairs of items any query could find, and which the ones at hand do find."),
}
