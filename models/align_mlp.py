"""Trains the small network that leads from one encoder's space into another's; what it learns is plain arrays.

In the manner of NESSA (Gao et al., "Post-Training Embedding Alignment for Decoupling Enrollment and Runtime Speaker
Recognition Models", 2024, arXiv 2401.12440), who join two models by a light network trained after both. There both
sides may go through one; here the items stay where they are, so that an index is of use as it is, and only what is
asked is mapped.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from models.telling import Told

logger = logging.getLogger(__name__)

Numbers = npt.NDArray[np.float64]

HIDDEN = 256
STEPS, BATCH = 400, 256
RATE, DECAY = 1e-3, 1e-2
# Every tenth pair is not trained on: it says when to stop.
HELD_OUT, LOOK_EVERY = 10, 20
SEED = 0


def fit(source: Numbers, target: Numbers, start: Numbers, steps: int = STEPS) -> Mapping[str, Numbers]:
    """Arrays of the map x -> x `linear` + relu(x `into` + `shift`) `out`, for paired rows (n, d) and (n, e).

    `linear` (d, e) begins as `start`, and `out` as zero, so that training begins at the linear map. The loss is
    1 - the cosine of a pair: a contrastive one tells pairs apart better, but not in the target's own measure. Of all
    states looked at, the one with the least loss on the pairs held out is kept, the start among them. The same rows
    give the same arrays on one machine and number of threads.
    """
    chance = torch.Generator().manual_seed(SEED)
    x, y = (F.normalize(torch.from_numpy(rows).float(), dim=1) for rows in (source, target))
    held = torch.arange(len(x)) % HELD_OUT == HELD_OUT - 1
    learnt = torch.nonzero(~held)[:, 0]
    judged = held if bool(held.any()) else ~held
    d = x.shape[1]
    weights = {
        "linear": torch.from_numpy(start).float(),
        "into": torch.randn(d, HIDDEN, generator=chance) / d**0.5,
        "shift": torch.zeros(HIDDEN),
        "out": torch.zeros(HIDDEN, y.shape[1]),
    }
    for weight in weights.values():
        weight.requires_grad_()
    optimiser = torch.optim.AdamW(list(weights.values()), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    best, least = _copied(weights), _judged(weights, x[judged], y[judged])
    told = Told(logger, "training the map between the encoders", steps)
    for step in range(steps):
        drawn = learnt[torch.randint(len(learnt), (min(BATCH, len(learnt)),), generator=chance)]
        optimiser.zero_grad()
        _loss(weights, x[drawn], y[drawn]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        told(step + 1)
        if (step + 1) % LOOK_EVERY == 0:
            loss = _judged(weights, x[judged], y[judged])
            if loss < least:
                best, least = _copied(weights), loss
    return best


def _mapped(weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    hidden = F.relu(x @ weights["into"] + weights["shift"])
    return F.normalize(x @ weights["linear"] + hidden @ weights["out"], dim=1)


def _loss(weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    return (1 - (_mapped(weights, x) * y).sum(1)).mean()


@torch.no_grad()
def _judged(weights: Mapping[str, Tensor], x: Tensor, y: Tensor) -> float:
    return float(_loss(weights, x, y))


def _copied(weights: Mapping[str, Tensor]) -> dict[str, Numbers]:
    return {name: weight.detach().numpy().astype(np.float64) for name, weight in weights.items()}
