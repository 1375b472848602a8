"""`lite` and `lite-0`: pictures and words in one space, offline, joined without any training.

A picture is what a classifier takes it for: the softmax over the 1000 ImageNet classes, the `top` best of them, and the
mean of the embeddings of those classes' texts weighted by their probabilities (ConSE, Norouzi et al. 2014, arXiv
1312.5650). Words are embedded by the same sentence encoder that embedded the classes' texts (class_texts.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmretrieval.types import Array, Card, Content, Role
from models.efficientnet_lite import VARIANTS, from_state, prepare
from models.minilm import MiniLM


class Lite:
    """Text or a picture -> a row of 384 numbers in the sentence encoder's space."""

    def __init__(self, card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> None:
        self.card = card
        self._variant = VARIANTS[settings["variant"]]
        self._temperature, self._top = float(settings["temperature"]), int(settings["top"])
        self._classifier = from_state(
            self._variant, torch.load(files["classifier"], map_location="cpu", weights_only=True)
        )
        self._sentences = MiniLM(files["config"], files["sentences"], files["tokenizer"])
        self._classes = load_file(files["classes"])[settings["class_text"]].float()

    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        """Rows (n, 384), the same for queries and items."""
        if contents[0].text is not None:
            return self._sentences.encode([c.text or "" for c in contents]).numpy()
        pictures = torch.stack([prepare(c.image, self._variant.side) for c in contents if c.image is not None])
        with torch.inference_mode():
            logits = self._classifier(pictures.contiguous(memory_format=torch.channels_last))
            return conse(logits, self._classes, self._temperature, self._top).numpy()


def conse(logits: Tensor, classes: Tensor, temperature: float, top: int) -> Tensor:
    """Logits (n, c) and class embeddings (c, d) -> (n, d): the convex combination of the `top` likeliest classes.

    Equation 3 of the paper, with a softmax at `temperature` (1 is the classifier's own) before the choice.
    """
    likely, places = torch.softmax(logits / temperature, dim=1).topk(top, dim=1)
    weights = likely / likely.sum(dim=1, keepdim=True)
    return torch.einsum("nk,nkd->nd", weights, classes[places])
