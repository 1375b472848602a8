"""What `lite-joint` sees of a picture: a grid of places, what EfficientNet-Lite2 makes of each and how it looks.

A classifier's last features say what a thing is and forget how it is drawn, so each place also holds its colours,
finely divided, and how much they change from pixel to pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from models.efficientnet_lite import HEAD, EfficientNetLite, SameConv

SIDE = 3  # places along each side of the grid
PARTS = 4  # each place is divided in two both ways for its colours
LOOKS = 3 * PARTS * 2 + 3 * 2
CHANNELS = HEAD + LOOKS


@dataclass(frozen=True)
class _Layer:
    """A convolution with its batch norm folded in: y = clamp(conv(x) + bias)."""

    weight: Tensor
    bias: Tensor
    stride: int
    groups: int
    clamps: bool

    def __call__(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (3, 2):
            size, kernel = x.shape[axis], self.weight.shape[axis]
            total = max((math.ceil(size / self.stride) - 1) * self.stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        even = pads[0] == pads[1] and pads[2] == pads[3]
        padding = (pads[2], pads[0]) if even else (0, 0)
        x = F.conv2d(x if even else F.pad(x, pads), self.weight, self.bias, self.stride, padding, 1, self.groups)
        return x.clamp_(0, 6) if self.clamps else x


class Grid:
    """Pictures -> places. Holds the classifier's layers folded, which gives the same numbers in half the time."""

    def __init__(self, net: EfficientNetLite) -> None:
        self._stem = _folded(net.conv_stem, net.bn0, True)
        self._blocks = []
        for block in net.blocks:
            layers = [_folded(block.expand_conv, block.bn0, True)] if block.widens else []
            layers += [_folded(block.depthwise_conv, block.bn1, True), _folded(block.project_conv, block.bn2, False)]
            self._blocks.append((layers, bool(block.residual)))
        self._head = _folded(net.conv_head, net.bn1, True)

    @torch.inference_mode()
    def places(self, pictures: Tensor) -> Tensor:
        """Prepared pictures (n, 3, side, side) -> (n, SIDE * SIDE, CHANNELS), row by row: HEAD features, then LOOKS.

        The mean over the places of the features is what the classifier reads, as each place is a third of the last
        map's nine rows and columns.
        """
        x = self._stem(pictures.contiguous(memory_format=torch.channels_last))
        for layers, residual in self._blocks:
            y = x
            for layer in layers:
                y = layer(y)
            x = x + y if residual else y
        features = F.adaptive_avg_pool2d(self._head(x), SIDE)
        return torch.cat([features, looks(pictures)], dim=1).flatten(2).transpose(1, 2).contiguous()


def looks(pictures: Tensor) -> Tensor:
    """(n, 3, side, side) -> (n, LOOKS, SIDE, SIDE): each part's mean colour and its deviation, then the place's edges.

    An edge is the mean absolute difference of neighbouring pixels, across and down, of each channel.
    """
    fine = 2 * SIDE
    means = F.adaptive_avg_pool2d(pictures, fine)
    spread = (F.adaptive_avg_pool2d(pictures.square(), fine) - means.square()).clamp_min(0).sqrt()
    across = F.adaptive_avg_pool2d((pictures[..., 1:] - pictures[..., :-1]).abs(), SIDE)
    down = F.adaptive_avg_pool2d((pictures[..., 1:, :] - pictures[..., :-1, :]).abs(), SIDE)
    return torch.cat([F.pixel_unshuffle(means, 2), F.pixel_unshuffle(spread, 2), across, down], dim=1)


def _folded(conv: SameConv, norm: torch.nn.BatchNorm2d, clamps: bool) -> _Layer:
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = (conv.weight * scale[:, None, None, None]).contiguous(memory_format=torch.channels_last)
    return _Layer(weight, norm.bias - norm.running_mean * scale, conv.stride[0], conv.groups, clamps)
