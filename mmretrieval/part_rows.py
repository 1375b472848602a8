"""The parts of queries as rows of one space: embedded, then transformed, then composed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mmretrieval.embedding import embed
from mmretrieval.errors import BadQuery
from mmretrieval.recipe import Stage
from mmretrieval.search import COMPOSERS
from mmretrieval.types import Array, Encoder, Modality, Query, Transform


@dataclass(frozen=True, eq=False)
class PartRows:
    """The rows (p, d) of all parts of some queries, in order; part i is of `modalities[i]` and has `weights[i]`.

    Query j owns the parts offsets[j]:offsets[j + 1].
    """

    rows: Array
    modalities: tuple[Modality, ...]
    weights: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.int64]
    names: tuple[str, ...]

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
        for i, (name, start, stop) in enumerate(zip(self.names, self.offsets, self.offsets[1:], strict=False)):
            try:
                parts, weights = self.rows[start:stop], self.weights[start:stop]
                out[i] = COMPOSERS[composer.name].run(parts, weights, *composer.arguments)
            except BadQuery as error:
                if not blank:
                    raise BadQuery(f"query {name!r}: {error}") from error
        return out

    def _places(self, modality: Modality) -> npt.NDArray[np.int64]:
        return np.array([i for i, m in enumerate(self.modalities) if m == modality], dtype=np.int64)


def part_rows(encoder: Encoder, queries: Sequence[Query], item: Callable[[str], tuple[Modality, Array]]) -> PartRows:
    """The parts of queries as an encoder sees them; `item` gives a library item's own modality and row (d,)."""
    parts = [part for query in queries for part in query.parts]
    rows = np.zeros((len(parts), encoder.card.dim), dtype=np.float32)
    modalities: list[Modality] = ["text"] * len(parts)
    groups: dict[Modality, list[int]] = {}
    for place, part in enumerate(parts):
        if part.content is None:
            modalities[place], rows[place] = item(part.item or "")
        else:
            modalities[place] = part.content.modalities[-1]
            groups.setdefault(modalities[place], []).append(place)
    for places in groups.values():
        rows[places] = embed(encoder, [c for p in places if (c := parts[p].content) is not None], "query")
    offsets = np.cumsum([0, *(len(query.parts) for query in queries)])
    weights = np.array([part.weight for part in parts], dtype=np.float64)
    return PartRows(rows, tuple(modalities), weights, offsets.astype(np.int64), tuple(query.id for query in queries))
