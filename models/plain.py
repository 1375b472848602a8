"""The plain way to run the models of the catalogue: what the fast way is measured against, and must agree with.

Each is what the makers' own example does: eager, fp32, torch's defaults, their own preprocessing and tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from PIL import Image

from mmretrieval.types import Array, Card, Content, Encoder, Role
from models import runtime
from models.efficientnet_fast import Outputs
from models.efficientnet_lite import VARIANTS, from_state, prepare

Make: TypeAlias = Callable[[Card, Mapping[str, Path], Mapping[str, Any]], Encoder]


def plain_open_clip(card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> Encoder:
    """open_clip's README: encode_image of its own transforms, encode_text of its own tokens, all 77 of them."""
    from models.clip import OpenClip

    class Plain(OpenClip):
        plain = True

        @torch.no_grad()
        def encode(self, contents: Sequence[Content], role: Role) -> Array:  # noqa: ARG002
            if contents[0].text is not None:
                tokens = self._tokenize([c.text or "" for c in contents])
                rows = self._model.encode_text(tokens.to(self._device))
            else:
                pictures = torch.stack([self._prepare(c.image) for c in contents])
                rows = self._model.encode_image(pictures.to(self._device))
            numbers: Array = rows.cpu().numpy()
            return numbers

    return Plain(card, files, {**settings, "precision": "fp32"})


class PlainEfficientNet:
    """EfficientNet-Lite as a torch module in its default memory layout, each batch prepared picture by picture."""

    def __init__(self, variant: str, weights: Path) -> None:
        self._side = VARIANTS[variant].side
        self._device = runtime.device()
        net = from_state(VARIANTS[variant], torch.load(weights, map_location="cpu", weights_only=True))
        self._net = net.to(self._device)

    @torch.no_grad()
    def features_and_logits(self, pictures: Sequence[Image.Image]) -> Outputs:
        """As FastEfficientNet's."""
        batch = torch.stack([prepare(p, self._side) for p in pictures])
        features = self._net.features(batch.to(self._device))
        return features.cpu().numpy(), self._net.fc(features).cpu().numpy()


class PlainMiniLM:
    """What the model's card describes: transformers' BertModel, and the mean over the tokens that are no padding.

    On the processor, where `lite` runs it too; rows of length 1.
    """

    def __init__(self, weights: Path) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        self._tokenizer = AutoTokenizer.from_pretrained(weights.parent)
        self._model = AutoModel.from_pretrained(weights.parent).float().eval()

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """As MiniLM's."""
        given = self._tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")
        states = self._model(**given)[0]
        means = [row[seen].mean(0) for row, seen in zip(states, given["attention_mask"].bool(), strict=True)]
        return torch.nn.functional.normalize(torch.stack(means), dim=1)


def plain_lite(card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> Encoder:
    """`lite` with both of its networks in their plain form; what it makes of their outputs is its own."""
    from models.lite import Lite

    class Plain(Lite):
        def __init__(self) -> None:
            super().__init__(card, files, settings)
            self._classifier: Any = PlainEfficientNet(settings["variant"], files["classifier"])
            self._sentences: Any = PlainMiniLM(files["sentences"])

    return Plain()


# By the factory that a block or a family names; an encoder that is not here has no plain way to be measured against.
PLAIN: dict[str, Make] = {
    "models.clip:OpenClip": plain_open_clip,
    "models.lite:Lite": plain_lite,
}
