"""Changes of a space that are fitted on its items and on reference queries, and applied to items and queries alike.

A new one is a file here and a row in the table.
"""

from __future__ import annotations

from mmretrieval.transforms import center
from mmretrieval.types import StageRow, TransformFit

TRANSFORMS: dict[str, StageRow[TransformFit]] = {
    "center": StageRow(center.fit, "Takes each modality's mean away, so that the gap between modalities narrows."),
}
