"""Training the heads: a symmetric contrastive loss in which what says the same is no negative.

Each step draws concepts, one drawing of each and one of its texts, and pseudo-pictures of the ImageNet classes; every
pair is told from all the others in both directions (Radford et al. 2021, arXiv 2103.00020, figure 3). Pairs whose texts
are near each other (cosine above `same`) are left out of each other's negatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from models.heads import Heads

BLOCKED = -1e4


@dataclass(frozen=True)
class Plan:
    """How the heads are trained; the numbers were chosen on the sources that are held out."""

    dim: int = 256
    steps: int = 400
    batch: int = 1024
    classes: int = 256  # pseudo-pictures in a batch
    rate: float = 0.01
    decay: float = 0.1
    dropout: float = 0.2
    caption: float = 0.6  # how often a drawing's text is its caption, and not any of its texts
    same: float = 0.75
    seed: int = 0
    weight: float = 0.85  # of the trained half beside ConSE's


@dataclass(frozen=True, eq=False)
class Material:
    """What is trained on, as tables.

    `features` (n, 1280); `texts` (u, 384), unit; `members[c]` the drawings of concept c and `said[i]` the texts of
    drawing i, caption first, both padded with -1; `class_features` (k, 1280) pseudo-pictures and their `class_texts`.
    """

    features: Tensor
    texts: Tensor
    members: Tensor
    said: Tensor
    class_features: Tensor
    class_texts: Tensor


def padded(lists: Sequence[Sequence[int]]) -> Tensor:
    """Lists of places as one table (n, longest), filled up with -1."""
    table = torch.full((len(lists), max(map(len, lists))), -1)
    for row, places in zip(table, lists, strict=True):
        row[: len(places)] = torch.tensor(places)
    return table


def pseudo_pictures(weights: Tensor, features: Tensor, concepts: Tensor, shrink: float = 0.1) -> Tensor:
    """Features (k, 1280) that stand for the classes of a linear classifier with these weight rows (k, 1280).

    Were the classes normal with one covariance S around their means, the rows would be S^-1 (mean_k - mean) (linear
    discriminant analysis): S times a row leads back to the class's mean. S is that of drawings (n, 1280) of one concept
    around their mean, shrunk towards a multiple of the identity; rows are as long as drawings lie from their centre on
    average, and features are never negative.
    """
    sizes = torch.bincount(concepts).float()
    sums = torch.zeros(len(sizes), features.shape[1]).index_add_(0, concepts, features)
    apart = (features - (sums / sizes[:, None])[concepts])[sizes[concepts] > 1]
    spread = apart.T @ apart / len(apart)
    spread = (1 - shrink) * spread + shrink * spread.diagonal().mean() * torch.eye(len(spread))
    centre = features.mean(0)
    towards = (weights - weights.mean(0)) @ spread
    length = (features - centre).norm(dim=1).mean() / towards.norm(dim=1).mean()
    made: Tensor = (centre + length * towards).clamp(min=0)
    return made


def train(material: Material, plan: Plan) -> Heads:
    """Heads trained by AdamW with a rate that rises for a tenth of the steps and then falls; the seed decides all."""
    chance = torch.Generator().manual_seed(plan.seed)
    parameters = _initial(plan.dim, material, chance)
    scale = torch.tensor(math.log(1 / 0.07), requires_grad=True)
    groups: list[dict[str, Any]] = [{"params": list(parameters)}, {"params": [scale], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=plan.rate, weight_decay=plan.decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=plan.steps, pct_start=0.1)
    for _ in range(plan.steps):
        features, texts = draw(material, plan, chance)
        heads = Heads(*parameters)
        images = heads.image(_dropped(features, plan.dropout, chance))
        words = heads.text(_dropped(texts, plan.dropout / 2, chance))
        loss = contrast(images, words, texts, scale, plan.same)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        rates.step()
    return Heads(*(parameter.detach().clone() for parameter in parameters))


def draw(material: Material, plan: Plan, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """One batch: features (b, 1280) and sentence embeddings (b, 384) of concepts that all differ, then of classes."""
    chosen = torch.randperm(len(material.members), generator=chance)[: plan.batch]
    drawings = _pick(material.members[chosen], chance)
    texts = _pick(material.said[drawings], chance)
    captions = material.said[drawings, 0]
    texts = torch.where(torch.rand(len(texts), generator=chance) < plan.caption, captions, texts)
    classes = torch.randperm(len(material.class_texts), generator=chance)[: plan.classes]
    # Between a class's pseudo-picture and some drawing, nearer to the former: no two batches show the same one.
    others = torch.randint(len(material.features), (len(classes),), generator=chance)
    share = torch.rand(len(classes), 1, generator=chance) / 2 + 0.5
    mixed = share * material.class_features[classes] + (1 - share) * material.features[others]
    return (
        torch.cat([material.features[drawings], mixed]),
        torch.cat([material.texts[texts], material.class_texts[classes]]),
    )


def contrast(images: Tensor, words: Tensor, texts: Tensor, scale: Tensor, same: float) -> Tensor:
    """The loss of unit rows (b, d) and (b, d) that belong together pairwise; `texts` (b, 384) tell who is no negative.

    `scale` is the logarithm of the inverse temperature, kept at most 100.
    """
    logits = scale.exp().clamp(max=100) * images @ words.T
    alike = (texts @ texts.T > same) & ~torch.eye(len(texts), dtype=torch.bool)
    logits = logits.masked_fill(alike, BLOCKED)
    right = torch.arange(len(texts))
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def _initial(dim: int, material: Material, chance: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    made = []
    for width in (material.features.shape[1], material.texts.shape[1]):
        bound = 1 / math.sqrt(width)
        made += [(torch.rand(dim, width, generator=chance) * 2 - 1) * bound, torch.zeros(dim)]
    return tuple(tensor.requires_grad_() for tensor in made)  # type: ignore[return-value]


def _pick(table: Tensor, chance: torch.Generator) -> Tensor:
    """One place out of each row of a padded table."""
    counts = (table >= 0).sum(1)
    places = (torch.rand(len(table), generator=chance) * counts).long()
    return table[torch.arange(len(table)), places]


def _dropped(rows: Tensor, share: float, chance: torch.Generator) -> Tensor:
    kept = torch.rand(rows.shape, generator=chance) >= share
    return rows * kept / (1 - share)
