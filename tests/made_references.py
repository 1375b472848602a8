"""References for the tests of transforms: rows made up by a seed, with ids that pair them."""

import numpy as np

from mmretrieval.geometry import unit
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix

D = 12


def cone(seed, n, d=D, offset=2.0):
    """Unit rows in a cone of their own, as the vectors of one modality are."""
    generator = np.random.default_rng(seed)
    return unit(generator.normal(size=(n, d)) + offset * generator.normal(size=d))


def listed(rows, first=0):
    """The rows as items with rising ids, from `first` on."""
    return Matrix(tuple(f"item {i:06d}" for i in range(first, first + len(rows))), rows)


def reference(items, parts=None, queries=None):
    """A reference of items (rows or a Matrix by view), a bank's parts and its queries (default: its texts)."""
    parts = parts or {}
    none = np.zeros((0, D), dtype=np.float32)
    matrices = {view: rows if isinstance(rows, Matrix) else listed(rows) for view, rows in items.items()}
    return Reference(matrices, parts, parts.get("text", none) if queries is None else queries)


def paired(seed, n=60, d=D, bank=40, noise=0.5):
    """Items with pixels and words that mean about the same, each modality in a cone of its own, and a bank of texts."""
    generator = np.random.default_rng(seed)
    meaning = generator.normal(size=(n, d))
    sides = {}
    for view in ("visual", "text"):
        offset = generator.normal(size=d)
        sides[view] = unit(meaning + noise * generator.normal(size=(n, d)) + offset)
        if view == "text":
            asked = unit(generator.normal(size=(bank, d)) + offset)
    return reference(sides, {"text": asked})
