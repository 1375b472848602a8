"""Trains the recurrent binarisation of BEBR on vectors alone; what it learns is plain arrays.

Gan et al., "Binary Embedding-based Retrieval at Tencent" (KDD 2023, arXiv 2302.08714): b_0 = sign(W_0 f),
then in turn f^ = the direction of R_u(b_u), b_{u+1} = b_u + 2^-(u+1) sign(W_{u+1}(f - f^)). Signs pass gradients
straight through. Three things are this project's own. Turns are learnt one after the other, each with those before it
frozen, so that the codes of fewer turns are a prefix of those of more. A row's answers are not one labelled positive
among negatives but all rows of a batch, weighed by the softmax of the row's own dot products with them: a library has
no labels, and its captions must stay questions that a test may ask. And every turn starts from a solution that needs no
training, successive halving along a rotation of the principal axes, and is only left for what is better on rows held
out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from models.telling import Told

logger = logging.getLogger(__name__)

Arrays = Mapping[str, npt.NDArray[np.float32]]
Weights = dict[str, Tensor]
# Per side ("visual", "text", ...): rows (n, d).
Sides = Mapping[str, npt.NDArray[np.float64]]

STEPS, BATCH = 120, 256
FIRST_RATE, LATER_RATE = 1e-3, 3e-5
# How many deviations of a block of scores make one unit of the softmax: four.
SHARPNESS = 4.0
# Every tenth row is held out. At most this many of them are asked, and at most so many rows answer.
HELD_OUT, ASKED, ANSWERING, LOOK_EVERY = 10, 256, 2048, 20
SEED = 0


class _Sign(torch.autograd.Function):
    """The sign, 1 for 0; its gradient is that of x clipped to -1..1 (the straight-through estimator)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        straight: Tensor = gradients[0] * (x.abs() <= 1)
        return straight


def fit(rows: Sides, centred: Sides, start: npt.NDArray[np.float64], turns: int, steps: int = STEPS) -> list[Arrays]:
    """The arrays of turns 0..`turns`, each trained for `steps` steps, from a space's rows (n, d) by side.

    `centred` are the same rows as they will be binarised; scores are compared with those of `rows`. `start` (d, bits)
    are the directions to begin with. The first turn is {"project"}; those after have "project" (d, bits) and what
    makes R: "back" (bits, d), "into" (bits, h), "shift" (h,), "out" (h, d). Seeded: the same rows give the same arrays
    on one machine and number of threads.
    """
    chance = torch.Generator().manual_seed(SEED)
    raw, seen = _tensors(rows), _tensors(centred)
    known: Mapping[str, Tensor | None] = dict.fromkeys(seen)
    learnt: list[Weights] = []
    for turn in range(turns + 1):
        began = torch.from_numpy(start).float() if turn == 0 else learnt[0]["project"]
        weights = {"project": began.clone()} | (_reconstruction(began, chance) if turn else {})

        rate = LATER_RATE if turn else FIRST_RATE
        told = Told(logger, f"training code {turn + 1} of {turns + 1}", steps)
        coded = _coder(weights, seen, known, turn)
        best = _trained(weights, raw, coded, None, (steps, rate, turn == 0), chance, told)
        learnt.append(best)
        with torch.no_grad():
            known = {side: _turned(best, x, known[side], turn) for side, x in seen.items()}
    return [_arrays(weights) for weights in learnt]


def fit_onto(
    asking: Sides,
    rows: Sides,
    means: Sides,
    turns: Sequence[Arrays],
    starts: Sides,
    steps: int = STEPS,
) -> Arrays:
    """Maps {side: (d, e)} that make another encoder's rows fit for a binarisation that stays as it is.

    `asking` (n, d) are the new encoder's rows of what `rows` (n, e) are the old one's; a row of the former goes
    through its side's map, loses the old `means` and is binarised by `turns`. Trained so that its scores with the old
    codes are in the order of the old encoder's own: the paper's compatible training, with
    the old model itself in place of a new one trained beside it. `starts` are the maps to begin with.
    """
    chance = torch.Generator().manual_seed(SEED)
    raw, asked, middle = _tensors(rows), _tensors(asking), _tensors(means)
    frozen = [{name: torch.from_numpy(array) for name, array in turn.items()} for turn in turns]
    weights = {side: torch.from_numpy(start).float() for side, start in starts.items()}

    def coded(side: str, places: Tensor) -> Tensor:
        mapped = F.normalize(asked[side][places] @ weights[side], dim=1)
        return _codes(frozen, F.normalize(mapped - middle[side], dim=1))

    with torch.no_grad():
        old = {side: _codes(frozen, F.normalize(x - middle[side], dim=1)) for side, x in raw.items()}
    told = Told(logger, "training the way into the codes", steps)
    return _arrays(_trained(weights, raw, coded, old, (steps, LATER_RATE, False), chance, told))


def _trained(
    weights: Weights,
    raw: Mapping[str, Tensor],
    coded: Callable[[str, Tensor], Tensor],
    answers: Mapping[str, Tensor] | None,
    plan: tuple[int, float, bool],
    chance: torch.Generator,
    told: Told,
) -> Weights:
    """The weights, as they were when the rows held out were answered best; the start counts.

    `coded` gives the codes of a side's rows at some places. Rows answer with those, or with `answers` where given.
    `plan` is (steps, rate, whether "project" stays orthogonal).
    """
    steps, rate, orthogonal = plan
    held = {side: torch.arange(len(x)) % HELD_OUT == HELD_OUT - 1 for side, x in raw.items()}
    learnt = {side: torch.nonzero(~there)[:, 0] for side, there in held.items()}
    test = {
        side: (_spaced(there.nonzero()[:, 0], ASKED), _spaced(torch.arange(len(there)), ANSWERING))
        for side, there in held.items()
    }

    def losses(places: Mapping[str, tuple[Tensor, Tensor]]) -> dict[tuple[str, str], Tensor]:
        codes = {side: coded(side, asking) for side, (asking, _) in places.items()}
        others = {
            side: answers[side][there] if answers else (codes[side] if there is asking else coded(side, there))
            for side, (asking, there) in places.items()
        }
        return {
            (a, b): _apart(
                raw[a][places[a][0]] @ raw[b][places[b][1]].T,
                F.normalize(codes[a], dim=1) @ F.normalize(others[b], dim=1).T,
                # A row is no answer to itself, unless it is another encoder that answers.
                (places[a][0][:, None] == places[b][1][None]) & (a == b and answers is None),
            )
            for a in places
            for b in places
            if len(places[a][0]) and len(places[b][1]) > 1
        }

    with torch.no_grad():
        first = {pair: float(loss) for pair, loss in losses(test).items()}
    # Each kind of question counts by how far it has come: else the hardest would have all the say.
    shares = {pair: 1 / max(loss, 1e-6) for pair, loss in first.items()}
    best, least = {name: w.clone() for name, w in weights.items()}, float(len(first))
    for weight in weights.values():
        weight.requires_grad_()
    optimiser = torch.optim.Adam(list(weights.values()), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
    for step in range(steps if first else 0):
        drawn = {side: places[torch.randperm(len(places), generator=chance)[:BATCH]] for side, places in learnt.items()}
        found = losses({side: (places, places) for side, places in drawn.items()})
        total = torch.stack([shares[pair] * loss for pair, loss in found.items() if pair in shares]).sum()
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if orthogonal:
            _straighten(weights["project"])
        told(step + 1)
        if (step + 1) % LOOK_EVERY == 0:
            with torch.no_grad():
                now = sum(shares[pair] * float(loss) for pair, loss in losses(test).items())
            if now < least:
                best, least = {name: w.detach().clone() for name, w in weights.items()}, now
    return best


def _coder(
    weights: Weights, seen: Mapping[str, Tensor], known: Mapping[str, Tensor | None], turn: int
) -> Callable[[str, Tensor], Tensor]:
    """What gives the codes of a side's rows at some places after one more turn on those `known`."""

    def coded(side: str, places: Tensor) -> Tensor:
        before = known[side]
        return _turned(weights, seen[side][places], None if before is None else before[places], turn)

    return coded


def _turned(weights: Weights, x: Tensor, before: Tensor | None, turn: int) -> Tensor:
    if before is None:
        return _sign(x @ weights["project"])
    made = before @ weights["back"] + F.relu(before @ weights["into"] + weights["shift"]) @ weights["out"]
    return before + 2.0**-turn * _sign((x - F.normalize(made, dim=1)) @ weights["project"])


def _codes(turns: Sequence[Weights], x: Tensor) -> Tensor:
    codes = _turned(turns[0], x, None, 0)
    for turn, weights in enumerate(turns[1:], start=1):
        codes = _turned(weights, x, codes, turn)
    return codes


def _sign(x: Tensor) -> Tensor:
    signs: Tensor = _Sign.apply(x)
    return signs


def _apart(wanted: Tensor, got: Tensor, hidden: Tensor) -> Tensor:
    """The mean divergence of the softmax of scores `got` (q, n) from that of `wanted`, both put on one scale."""
    wide = [_scaled(scores, hidden).masked_fill(hidden, -1e9) for scores in (wanted, got)]
    target, given = (scores.log_softmax(1) for scores in wide)
    return (target.exp() * (target - given)).masked_fill(hidden, 0.0).sum(1).mean()


def _scaled(scores: Tensor, hidden: Tensor) -> Tensor:
    centred = scores - scores.mean(1, keepdim=True)
    return centred / centred[~hidden].pow(2).mean().clamp_min(1e-12).sqrt() * SHARPNESS


@torch.no_grad()
def _straighten(project: Tensor) -> None:
    """One Newton step towards orthogonal columns (d, bits), or orthogonal rows where there are more bits."""
    d, bits = project.shape
    if bits <= d:
        project.copy_(1.5 * project - 0.5 * project @ (project.T @ project))
    else:
        project.copy_(1.5 * project - 0.5 * (project @ project.T) @ project * (d / bits))


def _reconstruction(project: Tensor, chance: torch.Generator) -> Weights:
    d, bits = project.shape
    hidden = max(bits // 2, 1)
    return {
        "back": project.T.clone(),
        "into": torch.randn(bits, hidden, generator=chance) / bits**0.5,
        "shift": torch.zeros(hidden),
        "out": torch.zeros(hidden, d),
    }


def _spaced(places: Tensor, most: int) -> Tensor:
    return places if len(places) <= most else places[torch.arange(most) * len(places) // most]


def _tensors(rows: Sides) -> dict[str, Tensor]:
    return {side: torch.from_numpy(np.asarray(r)).float() for side, r in rows.items()}


def _arrays(weights: Weights) -> Arrays:
    return {name: weight.detach().numpy().astype(np.float32) for name, weight in weights.items()}
