"""The trained half of `lite`: one linear map from the classifier's pooled features and one from the sentence encoder.

    z_image = normalise(A normalise(features) + a)        z_text = normalise(T sentence + t)

Trained so that a drawing and its words agree (models/train_lite.py); linear, because deeper heads learned the training
sets' styles and carried less far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Heads:
    """The two maps: weights (d, 1280) and (d, 384), biases (d,)."""

    image_weight: Tensor
    image_bias: Tensor
    text_weight: Tensor
    text_bias: Tensor

    def image(self, features: Tensor) -> Tensor:
        """Pooled features (n, 1280) -> unit rows (n, d)."""
        return F.normalize(F.linear(F.normalize(features, dim=1), self.image_weight, self.image_bias), dim=1)

    def text(self, sentences: Tensor) -> Tensor:
        """Unit sentence embeddings (n, 384) -> unit rows (n, d)."""
        return F.normalize(F.linear(sentences, self.text_weight, self.text_bias), dim=1)

    def tensors(self) -> Mapping[str, Tensor]:
        """The maps by name, as the file of weights holds them."""
        return dict(vars(self))


def read_heads(path: Path) -> Heads:
    """The heads out of a safetensors file."""
    return Heads(**{name: value.float() for name, value in load_file(path).items()})
