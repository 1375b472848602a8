"""From a picture or the frames of a clip to the patches that a Qwen vision tower reads, in its authors' sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import pil_to_tensor, resize, to_pil_image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from mmretrieval.types import Array
from models.vlm.styles import Resize, Style

LONGEST_RATIO = 200
# What the checkpoint's preprocessor_config.json decides; sizes are decided by the style.
TAKEN = ("patch_size", "temporal_patch_size", "merge_size", "image_mean", "image_std", "rescale_factor")


@dataclass(frozen=True, eq=False)
class Patches:
    """Patches (n, channels * times * side * side) of a picture or clip, and the grid (time, height, width) of them."""

    values: Array
    grid: tuple[int, int, int]


class PatchReader:
    """Resizes pictures as a style says and cuts them into patches as the checkpoint says.

    `limits`: smallest and largest area in pixels that replace those of the style's last resize. `squeeze`: side of a
    square that pictures, not frames, are squeezed to first.
    """

    def __init__(
        self,
        style: Style,
        config: Mapping[str, Any],
        limits: tuple[int | None, int | None] = (None, None),
        squeeze: int = 0,
    ) -> None:
        self._processor = Qwen2VLImageProcessorPil(**{key: config[key] for key in TAKEN if key in config})
        self._factor = self._processor.patch_size * self._processor.merge_size
        self._style, self._squeeze = style, squeeze
        self._pictures, self._frames = _limited(style.pictures, limits), _limited(style.frames, limits)

    @property
    def merged(self) -> int:
        """How many patches make one token."""
        return int(self._processor.merge_size) ** 2

    def picture(self, image: Image.Image) -> Patches:
        """The patches of a picture; a still fills both places in time of a patch."""
        image = self._opaque(image)
        if self._squeeze:
            image = image.resize((self._squeeze, self._squeeze))
        if self._style.small_side and min(image.size) < self._factor:
            image = image.resize((self._style.small_side, self._style.small_side))
        return self._cut(self._resized(image, self._pictures, 1))

    def clip(self, frames: Sequence[Image.Image]) -> Patches:
        """The patches of a clip: each two frames share theirs, the last frame pairs with itself if it is alone."""
        first = frames[0].size
        stills = [self._opaque(frame) for frame in frames]
        stills = [frame if frame.size == first else frame.resize(first, Image.Resampling.BICUBIC) for frame in stills]
        stills += stills[-1:] * (len(stills) % 2)
        cut = [self._cut(self._resized(frame, self._frames, len(stills))) for frame in stills]
        side, times = int(self._processor.patch_size), int(self._processor.temporal_patch_size)
        parts = [still.values.reshape(len(still.values), -1, times, side, side)[:, :, :1] for still in cut]
        paired = [np.concatenate(parts[at : at + 2], axis=2) for at in range(0, len(parts), 2)]
        values = np.concatenate([pair.reshape(len(pair), -1) for pair in paired])
        return Patches(values, (len(paired), *cut[0].grid[1:]))

    def _cut(self, image: Image.Image) -> Patches:
        made = self._processor(images=[image], do_resize=False, return_tensors="np")
        time, height, width = (int(n) for n in made["image_grid_thw"][0])
        return Patches(np.ascontiguousarray(made["pixel_values"], dtype=np.float32), (time, height, width))

    def _opaque(self, image: Image.Image) -> Image.Image:
        if self._style.transparent == "white" and image.mode == "RGBA":
            white = Image.new("RGB", image.size, (255, 255, 255))
            white.paste(image, mask=image.getchannel("A"))
            return white
        return image.convert("RGB")

    def _resized(self, image: Image.Image, steps: Sequence[Resize], frames: int) -> Image.Image:
        for step in steps:
            shape = _evened(image.size, self._style.odd_shapes, self._factor)
            size = patch_size(shape, self._factor, *step.limits(frames))
            if size == image.size:
                continue
            if step.with_torch:
                pixels = pil_to_tensor(image)
                image = to_pil_image(resize(pixels, [size[1], size[0]], InterpolationMode.BICUBIC, antialias=True))
            else:
                image = image.resize(size, Image.Resampling.BICUBIC)
        return image


def patch_size(size: tuple[int, int], factor: int, low: int, high: int) -> tuple[int, int]:
    """(width, height) near a size, both divisible by `factor`, with an area within low..high and nearly its shape.

    The rule of Qwen2-VL's image processor: each side is rounded to the nearest multiple; an area beyond a limit is
    brought back by scaling both sides of the original, rounded down from above and up from below.
    """
    near = [max(factor, round(side / factor) * factor) for side in size]
    if near[0] * near[1] > high:
        shrink = math.sqrt(size[0] * size[1] / high)
        near = [max(factor, math.floor(side / shrink / factor) * factor) for side in size]
    elif near[0] * near[1] < low:
        grow = math.sqrt(low / (size[0] * size[1]))
        near = [math.ceil(side * grow / factor) * factor for side in size]
    return near[0], near[1]


def sampled(frames: Sequence[Image.Image], most: int) -> list[Image.Image]:
    """At most so many frames, evenly spread from the first to the last."""
    if len(frames) <= most:
        return list(frames)
    return [frames[i] for i in np.linspace(0, len(frames) - 1, most, dtype=int)]


def stacked(patches: Sequence[Patches]) -> tuple[Array, npt.NDArray[np.int64]]:
    """All patches under each other, and the grids (n, 3)."""
    return np.concatenate([p.values for p in patches]), np.array([p.grid for p in patches], dtype=np.int64)


def _evened(size: tuple[int, int], rule: str, factor: int) -> tuple[int, int]:
    """The shape to aim for: a sliver becomes a square of its longer side, or is cut to the longest ratio allowed."""
    longer, shorter = max(size), min(size)
    if rule == "square":
        return (longer, longer) if shorter < factor or longer / shorter > LONGEST_RATIO else size
    if longer / shorter <= LONGEST_RATIO:
        return size
    return (min(size[0], shorter * LONGEST_RATIO), min(size[1], shorter * LONGEST_RATIO))


def _limited(steps: tuple[Resize, ...], limits: tuple[int | None, int | None]) -> tuple[Resize, ...]:
    if not steps or limits == (None, None):
        return steps
    low, high = limits
    last = steps[-1]
    low = low if low is not None else min(last.low, high if high is not None else last.low)
    return (*steps[:-1], replace(last, low=low, high=max(low, high if high is not None else last.high)))
