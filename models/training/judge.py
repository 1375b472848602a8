"""Judging `lite` on sources that were not trained on: how often one of the right pictures is among the first ten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.training.drawing import Drawing

FIRST = 10


@dataclass(frozen=True, eq=False)
class Trial:
    """Texts and pictures of one source: `right[q, p]` says whether picture p is what text q asks for."""

    name: str
    texts: tuple[str, ...]
    features: Tensor
    right: Tensor

    @property
    def chance(self) -> float:
        """The share of texts that a random order answers among its first ten, computed and not drawn."""
        pictures, wanted = self.right.shape[1], self.right.sum(1).double()
        missed = torch.ones_like(wanted)
        for place in range(min(FIRST, pictures)):
            missed *= (pictures - wanted - place).clamp(min=0) / (pictures - place)
        return float((1 - missed).mean())


def trial(
    name: str,
    drawings: Sequence[Drawing],
    features: Tensor,
    asked: Callable[[Drawing], str],
) -> Trial:
    """One query for each different text that `asked` gives ("" for none); right is what shows the same concept."""
    queries: dict[str, set[str]] = {}
    for drawing in drawings:
        if text := asked(drawing):
            queries.setdefault(text, set()).add(drawing.concept)
    right = torch.tensor([[drawing.concept in wanted for drawing in drawings] for wanted in queries.values()])
    return Trial(name, tuple(queries), features, right)


def hits(scores: Tensor, right: Tensor) -> Tensor:
    """Per text, whether a right picture is among the ten best of `scores` (q, p); equal scores count against it."""
    best = scores.masked_fill(~right, -torch.inf).max(1).values
    return ((scores >= best[:, None]).logical_and(~right).sum(1)) < FIRST


def scores(parts: Mapping[str, tuple[Tensor, Tensor]], weight: float) -> dict[str, Tensor]:
    """Scores (q, p) of each half alone and of both: `parts` holds (text rows, picture rows), all unit.

    Both halves one after the other, the trained one times `weight`, have the cosine (conse + weight^2 trained) /
    (1 + weight^2).
    """
    conse, trained = (words @ pictures.T for words, pictures in (parts["conse"], parts["trained"]))
    return {"conse": conse, "trained": trained, "both": (conse + weight**2 * trained) / (1 + weight**2)}
