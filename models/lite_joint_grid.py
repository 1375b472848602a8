"""What `lite-joint` sees of a picture: a grid of places, what EfficientNet-Lite2 makes of each and how it looks.

A classifier's last features say what a thing is and forget how it is drawn, so each place also holds its colours,
finely divided, and how much they change from pixel to pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from models.efficientnet_fast import folded
from models.efficientnet_lite import HEAD, EfficientNetLite

SIDE = 3  # places along each side of the grid
PARTS = 4  # each place is divided in two both ways for its colours
LOOKS = 3 * PARTS * 2 + 3 * 2
CHANNELS = HEAD + LOOKS


class Grid:
    """Pictures -> places. Its classifier's batch norms are folded into the convolutions."""

    def __init__(self, net: EfficientNetLite) -> None:
        self._net = folded(net).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def places(self, pictures: Tensor) -> Tensor:
        """Prepared pictures (n, 3, side, side) -> (n, SIDE * SIDE, CHANNELS), row by row: HEAD features, then LOOKS.

        The mean over the places of the features is what the classifier reads, as each place is a third of the last
        map's nine rows and columns.
        """
        last = self._net.last_map(pictures.contiguous(memory_format=torch.channels_last))
        features = F.adaptive_avg_pool2d(last, SIDE)
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
