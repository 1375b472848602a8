"""EfficientNet-Lite run as fast as this machine can without changing its numbers: pictures -> features and logits.

On a processor the network is handed to OpenVINO as a graph of its own, batch norms folded into the convolutions, and
pictures go through it one by one, several at a time: a batch gives exactly what each picture alone gives. Where
OpenVINO is not installed, and on a GPU, the same folded network runs in torch.
"""

from __future__ import annotations

import copy
import importlib.util
import itertools
import math
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from mmretrieval.types import Array
from models import runtime
from models.efficientnet_lite import CROP_MARGIN, DEVIATION, MEAN, Block, EfficientNetLite, SameConv

# Two threads share a picture: one alone answers a query half as fast, and more of them wait for each other.
THREADS_A_PICTURE = 2
TORCH_BATCH = 32
Pixels: TypeAlias = npt.NDArray[np.uint8]
Outputs: TypeAlias = tuple[Array, Array]


class Engine(Protocol):
    """Pixels (side, side, 3), one picture after the other -> features (1280,) and logits (1000,) in their order."""

    runtime: str

    def run(self, pictures: Iterable[Pixels]) -> Iterator[Outputs]: ...


class FastEfficientNet:
    """Pictures of any size and mode -> pooled features (n, 1280) and logits (n, 1000); several threads may ask."""

    def __init__(self, net: EfficientNetLite, side: int, dtype: torch.dtype = torch.float32) -> None:
        self._side = side
        where = runtime.device()
        with_openvino = where.type == "cpu" and importlib.util.find_spec("openvino") is not None
        self._engine: Engine = OpenVino(net, side, dtype) if with_openvino else Torch(net, dtype, where)
        self._lock = threading.Lock()

    @property
    def runtime(self) -> str:
        """What runs the network here, for a card: "OpenVINO, fp32"."""
        return self._engine.runtime

    def features_and_logits(self, pictures: Sequence[Image.Image]) -> Outputs:
        """Float32 rows (n, 1280) and (n, 1000), in the order of the pictures; n is at least 1."""
        with self._lock:
            rows = list(self._engine.run(pixels(picture, self._side) for picture in pictures))
        return np.stack([features for features, _ in rows]), np.stack([logits for _, logits in rows])


def pixels(picture: Image.Image, side: int) -> Pixels:
    """The middle crop that the network was trained on, as bytes (side, side, 3), not yet scaled."""
    short = min(picture.size)
    crop = short * side / (side + CROP_MARGIN)
    left, top = (picture.width - crop) / 2, (picture.height - crop) / 2
    box = (left, top, left + crop, top + crop)
    colour = picture if picture.mode == "RGB" else picture.convert("RGB")
    return np.asarray(colour.resize((side, side), Image.Resampling.BICUBIC, box=box))


class OpenVino:
    """The network as an OpenVINO graph; each picture is one request, and as many run at once as there are cores for."""

    def __init__(self, net: EfficientNetLite, side: int, dtype: torch.dtype) -> None:
        import openvino

        threads = torch.get_num_threads()
        streams = max(1, threads // THREADS_A_PICTURE)
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
        }
        compiled = openvino.Core().compile_model(graph(net, side), "CPU", options)
        # One request more for each stream is filled while the others run.
        self._requests = [compiled.create_infer_request() for _ in range(2 * streams)]
        self.runtime = f"OpenVINO, {runtime.name_of(dtype)}"

    def run(self, pictures: Iterable[Pixels]) -> Iterator[Outputs]:
        running: deque[Any] = deque()
        try:
            for picture, request in zip(pictures, itertools.cycle(self._requests), strict=False):
                if len(running) == len(self._requests):
                    yield _answer(running.popleft())
                request.start_async([picture[None]])
                running.append(request)
            while running:
                yield _answer(running.popleft())
        finally:  # a picture that cannot be read must not leave requests busy for the next caller
            for request in running:
                request.wait()


def _answer(request: Any) -> Outputs:
    request.wait()
    features, logits = (request.get_output_tensor(place).data[0].copy() for place in (0, 1))
    return features, logits


class Torch:
    """The same network in torch, batch norms folded, channels last."""

    def __init__(self, net: EfficientNetLite, dtype: torch.dtype, where: torch.device) -> None:
        self._net = folded(net).to(where, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._dtype, self._where = dtype, where
        self.runtime = f"torch on {where.type}, {runtime.name_of(dtype)}"

    @torch.inference_mode()
    def run(self, pictures: Iterable[Pixels]) -> Iterator[Outputs]:
        if self._where.type == "cpu":
            runtime.keep_freed_memory()
        rest = iter(pictures)
        while some := list(itertools.islice(rest, TORCH_BATCH)):
            batch = torch.from_numpy(np.stack(some)).to(self._where).permute(0, 3, 1, 2)
            features = self._net.features(((batch.float() - MEAN) / DEVIATION).to(self._dtype))
            logits = self._net.fc(features)
            yield from zip(features.float().cpu().numpy(), logits.float().cpu().numpy(), strict=True)


# --- the same function in fewer steps ------------------------------------------------------------------------------


def fold(conv: SameConv, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The weight and the bias of the one convolution that does what `conv` and `norm` do one after the other."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = norm.bias.double() - norm.running_mean.double() * scale
    return (conv.weight.double() * scale[:, None, None, None]).float(), bias.float()


def folded(net: EfficientNetLite) -> EfficientNetLite:
    """A copy whose batch norms do nothing, because its convolutions have learnt to do their work."""
    made = copy.deepcopy(net)
    pairs: list[tuple[nn.Module, str, str]] = [(made, "conv_stem", "bn0"), (made, "conv_head", "bn1")]
    for block in cast(Iterable[Block], made.blocks):
        pairs += [(block, "expand_conv", "bn0")] if block.widens else []
        pairs += [(block, "depthwise_conv", "bn1"), (block, "project_conv", "bn2")]
    for owner, conv, norm in pairs:
        weight, bias = fold(getattr(owner, conv), getattr(owner, norm))
        getattr(owner, conv).weight, getattr(owner, conv).bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
        setattr(owner, norm, nn.Identity())
    return made.eval()


def graph(net: EfficientNetLite, side: int) -> Any:
    """The OpenVINO model: bytes (1, side, side, 3) -> features (1, 1280), logits (1, 1000)."""
    import openvino
    import openvino.opset13 as op

    picture = op.parameter([1, side, side, 3], np.uint8)
    # Scaled before the first convolution and not inside its weights: its zero padding is a zero after scaling.
    scaled = op.divide(op.subtract(op.convert(picture, "f32"), op.constant(np.float32(MEAN))), np.float32(DEVIATION))
    x = op.transpose(scaled, op.constant(np.array([0, 3, 1, 2])))
    x, size = _filtered(x, side, net.conv_stem, net.bn0, True)
    for block in cast(Iterable[Block], net.blocks):
        y, inner = x, size
        if block.widens:
            y, inner = _filtered(y, inner, block.expand_conv, block.bn0, True)
        y, inner = _filtered(y, inner, block.depthwise_conv, block.bn1, True)
        y, inner = _filtered(y, inner, block.project_conv, block.bn2, False)
        x, size = op.add(x, y) if block.residual else y, inner
    x, size = _filtered(x, size, net.conv_head, net.bn1, True)
    features = op.reduce_mean(x, op.constant(np.array([2, 3])), keep_dims=False)
    weight, bias = op.constant(net.fc.weight.numpy()), op.constant(net.fc.bias.numpy())
    logits = op.add(op.matmul(features, weight, False, True), bias)
    return openvino.Model([features, logits], [picture], "efficientnet_lite")


def _filtered(x: Any, size: int, conv: SameConv, norm: nn.BatchNorm2d, clamped: bool) -> tuple[Any, int]:
    """One convolution with its norm, and ReLU6 where `clamped`; with the side of what comes out."""
    import openvino.opset13 as op

    kernel, stride = conv.kernel_size[0], conv.stride[0]
    outputs = math.ceil(size / stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    before, after = [total // 2] * 2, [total - total // 2] * 2
    weight, bias = fold(conv, norm)
    if conv.groups == 1:
        y = op.convolution(x, op.constant(weight.numpy()), [stride] * 2, before, after, [1, 1])
    else:
        grouped = op.constant(weight.numpy().reshape(conv.groups, -1, *weight.shape[1:]))
        y = op.group_convolution(x, grouped, [stride] * 2, before, after, [1, 1])
    y = op.add(y, op.constant(bias.numpy().reshape(1, -1, 1, 1)))
    return (op.clamp(y, 0.0, 6.0) if clamped else y), outputs
