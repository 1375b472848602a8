"""Anchors: items that have pixels and words, by whose company any other item or query can be described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import AnyRows, Numbers, directions
from mmretrieval.reference import Reference
from mmretrieval.transforms.rows import spread
from mmretrieval.types import Array, Modality, View

# Describing by fewer would leave one number, which says nothing of a direction.
LEAST = 2


@dataclass(frozen=True, eq=False)
class Anchors:
    """The anchors' unit rows (k, d) by view, visual and text at least: row i of each view is anchor i."""

    views: Mapping[View, Numbers]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.views["visual"])

    def of_items(self, view: View) -> Numbers:
        """The anchors as items of that view see them: where they lack a joint view, joint rows see their pixels.

        An encoder that makes joint rows puts them where it puts pixels, so that their cosines mean something.
        """
        return self.views.get(view, self.views["visual"])

    def of_query(self, modality: Modality) -> Numbers:
        """The anchors as queries see them: texts their words, pictures and frames their pixels."""
        return self.views["text" if modality == "text" else "visual"]


def paired(reference: Reference, stage: str) -> tuple[Array, Array, tuple[str, ...]]:
    """Rows (n, d) of pixels and of words, and the ids, of the items that have both and no zero row in either.

    Raises RetrievalError, in the name of a transform, for fewer than 2.
    """
    visual, text, ids = reference.pairs(0)
    whole = np.flatnonzero(visual.any(axis=1) & text.any(axis=1))
    if len(whole) < LEAST:
        raise RetrievalError(
            f"{stage} compares with items that have both pixels and words, of which it needs {LEAST}, and the library "
            f"has {len(whole)}: add pictures with captions or documents, or search with a recipe without {stage}"
        )
    return visual[whole], text[whole], tuple(ids[i] for i in whole)


def anchors(reference: Reference, most: int, stage: str) -> Anchors:
    """At most `most` of the `paired` items, evenly spaced by id; raises what that raises.

    Where all of them have a joint view too, that is there as well.
    """
    visual, text, ids = paired(reference, stage)
    chosen = spread(len(ids), most)
    views: dict[View, Numbers] = {"visual": directions(visual[chosen]), "text": directions(text[chosen])}
    joint = reference.items.get("joint")
    if joint is not None:
        places = joint.places(ids[i] for i in chosen)
        if len(places) and (places >= 0).all():
            views["joint"] = directions(joint.rows[places])
    return Anchors(views)


def cosines(rows: AnyRows, anchor_rows: Numbers) -> Numbers:
    """Relative representations: each row's (n, d) cosines to the anchors, unit rows (k, d); 0 for a zero row."""
    relative: Numbers = directions(rows) @ anchor_rows.T
    return relative
