"""Queries as the spaces of a recipe have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmretrieval.late_space import LateSpace
from mmretrieval.lexical import Terms
from mmretrieval.lexical_space import LexicalSpace
from mmretrieval.part_rows import PartRows
from mmretrieval.recipe import Source, Stage
from mmretrieval.spaces import Space
from mmretrieval.types import Array, Tokens, View


@dataclass(frozen=True, eq=False)
class Posed:
    """The queries as one space has them: a row (n, d), a bag or terms each, and their parts before any transform."""

    space: Space | LateSpace | LexicalSpace
    rows: Array | Tokens | Sequence[Terms]
    parts: PartRows | None

    def plain(self, place: int, composer: Stage) -> Array:
        """One query (d,), composed from the parts as the encoder gave them."""
        assert isinstance(self.space, Space) and self.parts is not None  # late_space.refuse has seen to it
        parts = replace(self.parts.one(place), centres=self.space.plain_centres)
        return parts.composition(0, composer).row


def views_searched(posed: Posed, source: Source) -> tuple[View, ...]:
    """The views of a space that a source searches."""
    return posed.space.views if source.view == "all" else (source.view,)
