"""Trains the small network that leads from one encoder's space into another's; what it learns is plain arrays.

In the manner of NESSA (Gao et al., "Post-Training Embedding Alignment for Decoupling Enrollment and Runtime Speaker
Recognition Models", 2024, arXiv 2401.12440), who join two models by a light network trained after both. There both
sides may go through one; here the items stay where they are, so that an index is of use as it is, and only what is
asked is mapped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from models.telling import Told

logger = logging.getLogger(__name__)

Numbers = npt.NDArray[np.float64]

HIDDEN, BATCH = 256, 256
RATE, DECAY = 1e-3, 1e-2
# The hidden side begins this small beside the usual 1 / sqrt(d). At full size its chance directions fit noise long
# before they turn: pairs held out get worse at first and training that stops then has learnt nothing.
BEGUN_AT = 0.1
# Every tenth pair is not trained on: it says when to stop, which is when so many steps made it no better.
HELD_OUT, LOOK_EVERY, PATIENCE = 10, 20, 300
MOST_STEPS, MOST_SECONDS = 2000, 60.0
SEED = 0
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, eq=False)
class Trained:
    """The arrays of a map; the steps that training took, and after how many the arrays were as they are (0: never).

    `cut` says that not the pairs held out ended it but the bound on steps or on seconds.
    """

    arrays: Mapping[str, Numbers]
    steps: int
    best: int
    cut: bool


def fit(
    source: Numbers, target: Numbers, start: Numbers, steps: int = MOST_STEPS, seconds: float = MOST_SECONDS
) -> Trained:
    """Arrays of the map x -> x `linear` + relu(x `into` + `shift`) `out`, for paired rows (n, d) and (n, e).

    `linear` (d, e) begins as `start`, and `out` as zero, so that training begins at the linear map. The loss is
    1 - the cosine of a pair: a contrastive one tells pairs apart better, but not in the target's own measure. Of all
    states looked at, the one with the least loss on the pairs held out is kept, the start among them. Training ends
    when 300 steps made the pairs held out no better than they were since it began, or after `steps` or `seconds`. The
    same rows give the same arrays on one machine, unless the seconds ended it.
    """
    # Sums in one order, however many cores there are; and threads that wait for busy cores take ten times as long.
    # How many there are is the process's setting: of two trainings at once, one would put back what the other has set.
    with _ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return _trained(source, target, start, steps, seconds)
        finally:
            torch.set_num_threads(threads)


def _trained(source: Numbers, target: Numbers, start: Numbers, steps: int, seconds: float) -> Trained:
    chance = torch.Generator().manual_seed(SEED)
    x, y = (F.normalize(torch.from_numpy(rows).float(), dim=1) for rows in (source, target))
    held = torch.arange(len(x)) % HELD_OUT == HELD_OUT - 1
    learnt = torch.nonzero(~held)[:, 0]
    judged = held if bool(held.any()) else ~held
    weights = _begun(start, chance)
    optimiser = torch.optim.AdamW(list(weights.values()), lr=RATE, weight_decay=DECAY)
    kept, least, best = _copied(weights), _judged(weights, x[judged], y[judged]), 0
    # The start is left out of what patience goes by: what is learnt may be ahead of it only after getting worse.
    lowest, lowest_at, step = float("inf"), 0, 0
    told, until = Told(logger, "training the map between the encoders", steps), time.monotonic() + seconds
    while step < steps and step - lowest_at < PATIENCE and time.monotonic() < until:
        drawn = learnt[torch.randint(len(learnt), (min(BATCH, len(learnt)),), generator=chance)]
        optimiser.zero_grad()
        _loss(weights, x[drawn], y[drawn]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        told(step := step + 1)
        if step % LOOK_EVERY == 0 and (loss := _judged(weights, x[judged], y[judged])) < lowest:
            lowest, lowest_at = loss, step
            if loss < least:
                kept, least, best = _copied(weights), loss, step
    return Trained(kept, step, best, step - lowest_at < PATIENCE)


def _begun(start: Numbers, chance: torch.Generator) -> dict[str, Tensor]:
    d, e = start.shape
    weights = {
        "linear": torch.from_numpy(start).float(),
        "into": BEGUN_AT * torch.randn(d, HIDDEN, generator=chance) / d**0.5,
        "shift": torch.zeros(HIDDEN),
        "out": torch.zeros(HIDDEN, e),
    }
    for weight in weights.values():
        weight.requires_grad_()
    return weights


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
