"""The parts of queries as rows of one space: embedded, then transformed, then composed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mmretrieval.composition import Composed, PartVectors
from mmretrieval.embedding import embed
from mmretrieval.errors import BadQuery
from mmretrieval.geometry import unit
from mmretrieval.recipe import Stage
from mmretrieval.search import BLENDS, COMPOSERS
from mmretrieval.search.compose import weighted_sum
from mmretrieval.types import Array, Card, Encoder, Modality, Query, Transform


@dataclass(frozen=True, eq=False)
class PartRows:
    """The rows (p, d) of all parts of some queries, in order; part i is of `modalities[i]` and has `weights[i]`.

    Query j owns the parts offsets[j]:offsets[j + 1]. `feedback` marks liked and disliked items. `centres` has the mean
    row (d,) of each modality of the space as these rows have it, where the composer wants them.
    """

    rows: Array
    modalities: tuple[Modality, ...]
    weights: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.int64]
    names: tuple[str, ...]
    feedback: npt.NDArray[np.bool_]
    centres: Mapping[Modality, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def vectors(self, place: int) -> PartVectors:
        """The parts of one query."""
        own = slice(int(self.offsets[place]), int(self.offsets[place + 1]))
        return PartVectors(self.rows[own], self.weights[own], self.modalities[own], self.feedback[own], self.centres)

    def one(self, place: int) -> PartRows:
        """One query alone."""
        own = slice(int(self.offsets[place]), int(self.offsets[place + 1]))
        ends = np.array([0, own.stop - own.start], dtype=np.int64)
        alone = self.rows[own], self.modalities[own], self.weights[own], ends
        return PartRows(*alone, self.names[place : place + 1], self.feedback[own], self.centres)

    def composition(self, place: int, composer: Stage) -> Composed:
        """One query composed, with what each part has in it. Raises BadQuery, which names the query."""
        try:
            return _run(composer, self.vectors(place))
        except BadQuery as error:
            raise BadQuery(f"query {self.names[place]!r}: {error}") from error

    def by_modality(self) -> dict[Modality, Array]:
        """The rows of each modality that occurs."""
        return {m: self.rows[self._places(m)] for m in dict.fromkeys(self.modalities)}

    def turned(self, transform: Transform) -> PartRows:
        """The same parts after a transform, each as its modality asks."""
        done = {m: transform.query(m, self.rows[self._places(m)]) for m in dict.fromkeys(self.modalities)}
        rows = np.zeros((len(self.rows), next(r.shape[1] for r in done.values())) if done else (0, 0), dtype=np.float32)
        for modality, values in done.items():
            rows[self._places(modality)] = values
        return replace(self, rows=rows)

    def composed(self, composer: Stage, *, blank: bool = False) -> Array:
        """Each query as one row (n, d).

        Where a query's parts cancel out, or a transform left nothing of them, it has no direction: that raises
        BadQuery, which names the query, or with `blank` gives a zero row.
        """
        out = np.zeros((len(self.names), self.rows.shape[1]), dtype=np.float32)
        for i in range(len(self.names)):
            try:
                out[i] = self.composition(i, composer).row
            except BadQuery:
                if not blank:
                    raise
        return out

    def _places(self, modality: Modality) -> npt.NDArray[np.int64]:
        return np.array([i for i, m in enumerate(self.modalities) if m == modality], dtype=np.int64)


def _run(composer: Stage, parts: PartVectors) -> Composed:
    """Composers of scores have no row of their own: where one row is needed, it is the weighted sum."""
    if composer.name in BLENDS:
        return weighted_sum(parts)
    composed: Composed = COMPOSERS[composer.name].run(parts, *composer.arguments)
    return composed


def _row(vector: Array, card: Card) -> Array:
    """A raw vector as a unit row of an encoder's space."""
    if vector.shape != (card.dim,):
        raise BadQuery(
            f"a raw vector of shape {vector.shape} is no row of {card.name}, whose rows have {card.dim} numbers"
        )
    if not np.isfinite(vector).all() or not vector.any():
        raise BadQuery("a raw vector must hold finite numbers, and not only zeros")
    return unit(vector)


def part_rows(encoder: Encoder, queries: Sequence[Query], item: Callable[[str], tuple[Modality, Array]]) -> PartRows:
    """The parts of queries as an encoder sees them; `item` gives a library item's own modality and row (d,)."""
    parts = [part for query in queries for part in query.parts]
    asking = [query.id for query in queries for _ in query.parts]
    rows = np.zeros((len(parts), encoder.card.dim), dtype=np.float32)
    modalities: list[Modality] = ["text"] * len(parts)
    groups: dict[Modality, list[int]] = {}
    for place, part in enumerate(parts):
        if part.vector is not None:
            try:
                modalities[place], rows[place] = part.modality, _row(part.vector, encoder.card)
            except BadQuery as error:
                raise BadQuery(f"query {asking[place]!r}: {error}") from error
        elif part.content is None:
            modalities[place], rows[place] = item(part.item or "")
        else:
            modalities[place] = part.content.modalities[-1]
            groups.setdefault(modalities[place], []).append(place)
    for places in groups.values():
        rows[places] = embed(encoder, [c for p in places if (c := parts[p].content) is not None], "query")
    offsets = np.cumsum([0, *(len(query.parts) for query in queries)])
    weights = np.array([part.weight for part in parts], dtype=np.float64)
    feedback = np.array([part.feedback for part in parts], dtype=np.bool_)
    names = tuple(query.id for query in queries)
    return PartRows(rows, tuple(modalities), weights, offsets.astype(np.int64), names, feedback)
