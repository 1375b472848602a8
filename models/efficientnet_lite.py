"""EfficientNet-Lite0..4 in torch: the ImageNet classifiers whose weights the offline encoders use.

Tan and Le 2019 (arXiv 1905.11946); the Lite variants drop squeeze-and-excitation, use ReLU6, and keep the stem and the
head at their unscaled widths. The weights come from TensorFlow, hence its "SAME" padding (the odd pixel goes to the
right and the bottom) and its batch norm epsilon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor, nn

CLASSES = 1000
# kernel, repeats, stride of the first block, expansion, channels out
STAGES = (
    (3, 1, 1, 1, 16),
    (3, 2, 2, 6, 24),
    (5, 2, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (5, 3, 1, 6, 112),
    (5, 4, 2, 6, 192),
    (3, 1, 1, 6, 320),
)
STEM, HEAD = 32, 1280
# TensorFlow's preprocessing keeps the middle size/(size+32) of the shorter side and maps bytes to (x - 127) / 128.
CROP_MARGIN, MEAN, DEVIATION = 32, 127.0, 128.0


@dataclass(frozen=True)
class Variant:
    """How far one size is scaled: channels by `width`, repeats by `depth`, and the side of the pictures it reads."""

    width: float
    depth: float
    side: int


VARIANTS = {
    "lite0": Variant(1.0, 1.0, 224),
    "lite1": Variant(1.0, 1.1, 240),
    "lite2": Variant(1.1, 1.2, 260),
    "lite3": Variant(1.2, 1.4, 280),
    "lite4": Variant(1.4, 1.8, 300),
}


def scaled_channels(channels: int, width: float, divisor: int = 8) -> int:
    """The channels times `width`, rounded to a multiple of `divisor` that is not below nine tenths of the product."""
    wanted = channels * width
    rounded = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * wanted else rounded


class SameConv(nn.Conv2d):
    """A convolution without bias whose output side is ceil(side / stride), padded as TensorFlow does."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (1, 0):  # F.pad begins with the last dimension
            size, kernel, stride = x.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        even = pads[0] == pads[1] and pads[2] == pads[3]  # then the convolution pads for itself, without a copy
        padding = (pads[2], pads[0]) if even else (0, 0)
        return F.conv2d(x if even else F.pad(x, pads), self.weight, self.bias, self.stride, padding, 1, self.groups)


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with TensorFlow's epsilon."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    """An inverted residual block: widen, filter each channel, narrow; the input is added where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.widens = expansion != 1
        if self.widens:
            self.expand_conv = SameConv(inputs, wide, 1)
            self.bn0 = norm(wide)
        self.depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide)
        self.bn1 = norm(wide)
        self.project_conv = SameConv(wide, outputs, 1)
        self.bn2 = norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.bn0(self.expand_conv(x)), inplace=True) if self.widens else x
        y = F.relu6(self.bn1(self.depthwise_conv(y)), inplace=True)
        y = self.bn2(self.project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """Pictures (n, 3, side, side), scaled to about -1..1 -> logits (n, 1000) in the usual order of the classes."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, STEM, 3, 2)
        self.bn0 = norm(STEM)
        blocks: list[nn.Module] = []
        inputs = STEM
        for place, (kernel, repeats, stride, expansion, channels) in enumerate(STAGES):
            outputs = scaled_channels(channels, variant.width)
            fixed = place in (0, len(STAGES) - 1)
            for i in range(repeats if fixed else math.ceil(repeats * variant.depth)):
                blocks.append(Block(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.conv_head = SameConv(inputs, HEAD, 1)
        self.bn1 = norm(HEAD)
        self.fc = nn.Linear(HEAD, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """The pooled features (n, 1280) that the classifier reads."""
        return self.last_map(x).mean(dim=(2, 3))

    def last_map(self, x: Tensor) -> Tensor:
        """The features (n, 1280, places, places) before they are pooled; a place for 32 pixels each way, rounded up."""
        x = F.relu6(self.bn0(self.conv_stem(x)), inplace=True)
        for block in self.blocks:
            x = block(x)
        return F.relu6(self.bn1(self.conv_head(x)), inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(x))
        return logits


def from_state(variant: Variant, state: Mapping[str, Any]) -> EfficientNetLite:
    """The network with exactly these weights, ready to run; a key too many or too few raises RuntimeError.

    The published files begin every part of a key with an underscore (`_blocks.0._bn1.weight`).
    """
    net = EfficientNetLite(variant)
    net.load_state_dict({".".join(p.lstrip("_") for p in key.split(".")): value for key, value in state.items()})
    return net.eval().requires_grad_(False)


def prepare(picture: Image.Image, side: int) -> Tensor:
    """One RGB picture -> (3, side, side) float32: the middle crop, resized (bicubic), scaled as in training."""
    short = min(picture.size)
    crop = short * side / (side + CROP_MARGIN)
    left, top = (picture.width - crop) / 2, (picture.height - crop) / 2
    box = (left, top, left + crop, top + crop)
    resized = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, box=box)
    pixels = (np.asarray(resized, dtype=np.float32) - MEAN) / DEVIATION
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
