"""What transforms are fitted on: which rows, how many of them, and by whom where that takes training."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mmretrieval.errors import BadRecipe, EncoderUnavailable
from mmretrieval.reference import Reference
from mmretrieval.transforms.rows import spread
from mmretrieval.types import VIEWS, Array, Modality, View

# A fit reads at most this many rows of a view, so that its time does not grow with the library.
MOST_ROWS = 20_000
# The view whose vectors a query of each modality resembles: words resemble words, whatever view is searched.
SIDE: Mapping[Modality, View] = {"text": "text", "image": "visual", "frames": "visual"}

# Why a transform cannot change a view, and the way out.
UNSEEN = "which no item had when it was fitted: search a view that items have, or add items that have it"


def spaced(rows: Array, most: int = MOST_ROWS) -> Array:
    """At most `most` of the rows (n, d), evenly spaced in their order: the same ones every time."""
    return rows[spread(len(rows), most)]


def by_side(reference: Reference) -> dict[View, Array]:
    """The rows to fit on: a view's items, and with them the bank's rows that resemble them; views without any are out.

    The bank's texts stand with the text view, its pictures and frames with the visual one: queries are written as the
    bank is. At most MOST_ROWS of the items of a view.
    """
    found: dict[View, Array] = {}
    for view in VIEWS:
        held = [spaced(reference.items[view].rows)] if view in reference.items else []
        held += [rows for modality, rows in reference.parts.items() if SIDE[modality] == view]
        if sum(map(len, held)):
            found[view] = np.concatenate([rows for rows in held if len(rows)])
    return found


def width(reference: Reference, name: str) -> int:
    """How many numbers a row of the space has. Raises BadRecipe, in the name of a transform, where it has no rows."""
    held = [*reference.rows().values(), *reference.parts.values()]
    if not sum(map(len, held)):
        raise BadRecipe(
            f"{name} has nothing to be fitted on: the library has no vectors of this encoder; ingest first, or give it "
            "the encoder with `python -m ingest add-encoder`"
        )
    dim: int = next(rows.shape[1] for rows in held if len(rows))
    return dim


def trainer(factory: str) -> Callable[..., Any]:
    """The function that a text like "models.bebr:fit" names: what needs torch is imported when it is first fitted."""
    module, _, attribute = factory.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
    except ImportError as error:
        raise EncoderUnavailable(
            f"{factory} could not be imported ({error}): install what requirements.txt lists"
        ) from error
