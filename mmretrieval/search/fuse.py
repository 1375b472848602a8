"""Fusers: several lists to one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from mmretrieval.types import Found


def reciprocal_rank(lists: Sequence[Found], k: float = 60.0) -> Found:
    """One list scored by the sum of 1 / (k + rank) over the lists, ranks from 1; best first, ties by id.

    A list in which an item does not occur adds nothing for it. The order of the lists changes nothing. Cormack,
    Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual rank learning methods", 2009.
    """
    terms: defaultdict[str, list[float]] = defaultdict(list)
    for found in lists:
        for rank, item in enumerate(found.ids, start=1):
            terms[item].append(1.0 / (k + rank))
    # fsum rounds once, whatever the order: equal sets of ranks tie exactly.
    return Found.ordered(list(terms), [math.fsum(values) for values in terms.values()])
