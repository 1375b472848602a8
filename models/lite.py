"""`lite`, `lite-conse` and `lite-0`: pictures and words in one space, offline.

A picture is what a classifier takes it for: the softmax over the 1000 ImageNet classes, the `top` best of them, and the
mean of the embeddings of those classes' texts weighted by their probabilities (ConSE, Norouzi et al. 2014, arXiv
1312.5650). Words are embedded by the same sentence encoder that embedded the classes' texts (class_texts.py). That is
`lite-conse`, and `lite-0` with a smaller classifier; nothing in it is trained.

`lite` sets a trained half beside it (heads.py, train_lite.py): its row is both unit halves, the second one times
`trained_weight` w, so that a cosine is (ConSE's + w^2 times the heads') / (1 + w^2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file
from torch import Tensor

from mmretrieval.types import Array, Card, Content, Role
from models import runtime
from models.efficientnet_fast import FastEfficientNet
from models.efficientnet_lite import VARIANTS, from_state
from models.heads import read_heads
from models.minilm import MiniLM


class Lite:
    """Text or a picture -> a row of 384 numbers in the sentence encoder's space, then those of the heads if any."""

    def __init__(self, card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> None:
        variant = VARIANTS[settings["variant"]]
        self._temperature, self._top = float(settings["temperature"]), int(settings["top"])
        net = from_state(variant, torch.load(files["classifier"], map_location="cpu", weights_only=True))
        self._classifier = FastEfficientNet(net, variant.side, runtime.precision(settings))
        self.card = replace(card, runtime=f"pictures: {self._classifier.runtime}; text: torch, fp32")
        self._sentences = MiniLM(files["config"], files["sentences"], files["tokenizer"])
        self._classes = load_file(files["classes"])[settings["class_text"]].float()
        self._heads = read_heads(files["heads"]) if "heads" in files else None
        self._weight = float(settings.get("trained_weight", 0))

    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        """Rows (n, dim), the same for queries and items; not of unit length where there are heads."""
        if contents[0].text is not None:
            sentences = self._sentences.encode([c.text or "" for c in contents])
            return self._both(sentences, self._heads.text(sentences) if self._heads else None).numpy()
        features, logits = self._classifier.features_and_logits([c.image for c in contents if c.image is not None])
        named = conse(torch.from_numpy(logits), self._classes, self._temperature, self._top)
        trained = self._heads.image(torch.from_numpy(features)) if self._heads else None
        return self._both(named, trained).numpy()

    def _both(self, named: Tensor, trained: Tensor | None) -> Tensor:
        if trained is None:
            return named
        return torch.cat([F.normalize(named, dim=1), self._weight * trained], dim=1)


def conse(logits: Tensor, classes: Tensor, temperature: float, top: int) -> Tensor:
    """Logits (n, c) and class embeddings (c, d) -> (n, d): the convex combination of the `top` likeliest classes.

    Equation 3 of the paper, with a softmax at `temperature` (1 is the classifier's own) before the choice.
    """
    likely, places = torch.softmax(logits / temperature, dim=1).topk(top, dim=1)
    weights = likely / likely.sum(dim=1, keepdim=True)
    return torch.einsum("nk,nkd->nd", weights, classes[places])
