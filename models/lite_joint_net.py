"""The network of `lite-joint`: MiniLM's transformer reading a picture's places before the words, with low-rank changes.

In the manner of VLM2Vec (Jiang et al. 2024, arXiv 2410.05160): an instruction, a picture and a text go through one
transformer and come out as one vector. The first ENTRY layers read the words alone, as they were trained; there the
picture joins as PREFIX further tokens, and from there on each weight W is W + B A (Hu et al. 2021, arXiv 2106.09685).
Words without a picture meet W alone: they keep MiniLM's own vectors, and pictures are trained to land among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from models.efficientnet_lite import HEAD
from models.lite import conse
from models.lite_joint_grid import CHANNELS, SIDE

WIDTH, HEADS, LAYERS, ENTRY, RANK = 384, 12, 6, 4, 24
PREFIX = SIDE * SIDE + 1
EPSILON = 1e-12  # of MiniLM's layer norms
TEMPERATURE, TOP = 1.5, 50  # of the classes' mixture, as in `lite`
LINEARS = {
    "attention.self.query": (WIDTH, WIDTH),
    "attention.self.key": (WIDTH, WIDTH),
    "attention.self.value": (WIDTH, WIDTH),
    "attention.output.dense": (WIDTH, WIDTH),
    "intermediate.dense": (4 * WIDTH, WIDTH),
    "output.dense": (WIDTH, 4 * WIDTH),
}


@dataclass(frozen=True)
class Words:
    """Token rows: `states` (n, t, WIDTH) at ENTRY, and (n, t) each: `seen`, no padding; `pooled`, part of the mean."""

    states: Tensor
    seen: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class Sight:
    """Pictures: their `places` (n, SIDE * SIDE, CHANNELS), standardised, and `classes` (n, WIDTH), their ConSE rows."""

    places: Tensor
    classes: Tensor


class LowRank(nn.Module):
    """What is added to one frozen weight (out, in): B A, zero at the start."""

    def __init__(self, out: int, inputs: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(RANK, inputs) / inputs**0.5)
        self.b = nn.Parameter(torch.zeros(out, RANK))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.a), self.b)


class JointNet(nn.Module):
    """(words, pictures or none) -> unit rows (n, WIDTH). Its parameters are trained; MiniLM's weights are frozen."""

    def __init__(self, table: Mapping[str, Tensor]) -> None:
        """`table` is MiniLM's weights by their published names."""
        super().__init__()
        self._table = {key: value.float() for key, value in table.items() if value.is_floating_point()}
        self.project = nn.Linear(CHANNELS, WIDTH)
        self.classes = nn.Linear(WIDTH, WIDTH)
        self.where = nn.Parameter(torch.randn(PREFIX, WIDTH) * 0.02)
        self.norm = nn.LayerNorm(WIDTH)
        self.changes = nn.ModuleDict(
            {
                f"{layer}:{name.replace('.', '_')}": LowRank(*shape)
                for layer in range(ENTRY, LAYERS)
                for name, shape in LINEARS.items()
            }
        )
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.gate = nn.Linear(WIDTH, 1)
        with torch.no_grad():
            self.out.weight.copy_(torch.eye(WIDTH))
            self.gate.weight.zero_()
            self.gate.bias.zero_()

    @torch.no_grad()
    def read(self, ids: Tensor, seen: Tensor) -> Tensor:
        """Token ids (n, t) and their mask -> states (n, t, WIDTH) after the first ENTRY layers: MiniLM's own."""
        table = self._table
        places = table["embeddings.position_embeddings.weight"][: ids.shape[1]]
        summed = table["embeddings.word_embeddings.weight"][ids] + places
        x = self._normed(summed + table["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(ENTRY):
            x = self._layer(x, seen, layer, False)
        return x

    def forward(self, words: Words, sight: Sight | None = None) -> Tensor:
        x, seen, pooled = words.states, words.seen, words.pooled
        if sight is not None:
            prefix = self._prefix(sight)
            x = torch.cat([prefix, x], dim=1)
            ones = seen.new_ones(prefix.shape[:2])
            seen, pooled = torch.cat([ones, seen], dim=1), torch.cat([ones.to(pooled.dtype), pooled], dim=1)
        for layer in range(ENTRY, LAYERS):
            x = self._layer(x, seen, layer, sight is not None)
        weights = pooled[..., None].to(x.dtype)
        mean = (x * weights).sum(1) / weights.sum(1)
        if sight is None:
            return F.normalize(mean.float(), dim=1)
        row = F.normalize(self.out(mean).float(), dim=1)
        row = row + torch.sigmoid(self.gate(row).float()) * F.normalize(sight.classes, dim=1)
        return F.normalize(row, dim=1)

    def _prefix(self, sight: Sight) -> Tensor:
        tokens = torch.cat([self.classes(sight.classes)[:, None], self.project(sight.places)], dim=1)
        return self.norm(tokens + self.where)

    def _layer(self, x: Tensor, seen: Tensor, layer: int, changed: bool) -> Tensor:
        name = f"encoder.layer.{layer}."
        heads = [
            self._linear(x, layer, f"attention.self.{part}", changed).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        ]
        mixed = F.scaled_dot_product_attention(*heads, attn_mask=seen[:, None, None, :].bool())
        attended = self._linear(mixed.transpose(1, 2).flatten(2), layer, "attention.output.dense", changed)
        x = self._normed(x + attended, f"{name}attention.output.LayerNorm")
        widened = F.gelu(self._linear(x, layer, "intermediate.dense", changed))
        return self._normed(x + self._linear(widened, layer, "output.dense", changed), f"{name}output.LayerNorm")

    def _linear(self, x: Tensor, layer: int, part: str, changed: bool) -> Tensor:
        name = f"encoder.layer.{layer}.{part}"
        y = F.linear(x, self._table[f"{name}.weight"], self._table[f"{name}.bias"])
        key = f"{layer}:{part.replace('.', '_')}"
        return y + self.changes[key](x) if changed else y

    def _normed(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self._table[f"{name}.weight"], self._table[f"{name}.bias"]
        return F.layer_norm(x, weight.shape, weight, bias, EPSILON)


@dataclass(frozen=True)
class Scale:
    """Means and deviations (CHANNELS,) that standardise places, and the classifier's last layer with its texts."""

    mean: Tensor
    deviation: Tensor
    fc_weight: Tensor
    fc_bias: Tensor
    class_texts: Tensor

    def sight(self, places: Tensor) -> Sight:
        """Raw places (n, SIDE * SIDE, CHANNELS) -> what the network reads of them."""
        places = places.float()
        logits = F.linear(places[..., :HEAD].mean(dim=1), self.fc_weight, self.fc_bias)
        return Sight((places - self.mean) / self.deviation, conse(logits, self.class_texts, TEMPERATURE, TOP))
