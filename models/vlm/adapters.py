"""Low-rank adapters (LoRA, DoRA) as peft writes them, merged into a model's weights without peft."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mmretrieval.errors import EncoderUnavailable

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PARTS = ("lora_A", "lora_B", "lora_magnitude_vector")
# Ways in which peft can train more than low-rank factors; none of the known embedders does.
UNKNOWN = ("modules_to_save", "layer_replication", "trainable_token_indices", "lora_bias", "fan_in_fan_out")
# Where the language model of a published checkpoint hangs in transformers 5.
MOVED = (("model.language_model.", "language_model."), ("model.visual.", "visual."), ("model.", "language_model."))


def merge(model: torch.nn.Module, folder: Path) -> int:
    """Adds an adapter to the weights of a model, in place; the number of matrices that changed.

    LoRA (arXiv:2106.09685): W + s B A, with s = alpha / r, or alpha / sqrt(r) for rank-stabilised adapters. DoRA
    (arXiv:2402.09353): the rows of that sum, each brought to its trained length. Computed in fp32. Raises
    EncoderUnavailable for an adapter that is not there, is of another kind, or does not fit every matrix it names.
    """
    config, tensors = _read(folder)
    grouped: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        module, part = _split(key, folder)
        grouped.setdefault(module, {})[part] = tensor.float()
    modules = dict(model.named_modules())
    for name, parts in grouped.items():
        target = _target(name, modules, folder)
        target.copy_(_merged(target.float(), name, parts, config, folder))
    return len(grouped)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise EncoderUnavailable(
            f"the adapter {folder} cannot be read ({error}): give a folder with {CONFIG} and {WEIGHTS}, as peft saves"
        ) from error
    kind = config.get("peft_type")
    extras = [key for key in UNKNOWN if config.get(key)]
    if kind != "LORA" or config.get("bias", "none") != "none" or extras or not tensors:
        what = f"peft_type {kind}, bias {config.get('bias')}" + (f", with {', '.join(extras)}" if extras else "")
        raise EncoderUnavailable(
            f"the adapter {folder} is not plain LoRA or DoRA ({what}, {len(tensors)} tensors): "
            "merge it with peft into a checkpoint, and name that with checkpoint=PATH"
        )
    return config, tensors


def _split(key: str, folder: Path) -> tuple[str, str]:
    """A tensor's key -> its module's path and which part of the adapter it is."""
    found = re.fullmatch(rf"(?:base_model\.model\.)?(.+)\.({'|'.join(PARTS)})(?:\.default)?(?:\.weight)?", key)
    if found is None:
        raise EncoderUnavailable(
            f"the adapter {folder} holds {key}, which is no part of LoRA or DoRA on a linear layer: "
            "merge it with peft into a checkpoint, and name that with checkpoint=PATH"
        )
    return found.group(1), found.group(2)


def _target(name: str, modules: Mapping[str, torch.nn.Module], folder: Path) -> torch.Tensor:
    moved = [new + name.removeprefix(old) for old, new in MOVED if name.startswith(old)]
    for path in (name, *moved):
        module = modules.get(path)
        if isinstance(module, torch.nn.Linear):
            return module.weight
    raise EncoderUnavailable(
        f"the adapter {folder} changes {name}, which the model has not: is it an adapter of this very model?"
    )


def _merged(
    weight: torch.Tensor, name: str, parts: Mapping[str, torch.Tensor], config: Mapping[str, Any], folder: Path
) -> torch.Tensor:
    needed = set(PARTS) if config.get("use_dora") else set(PARTS[:2])
    if set(parts) != needed:
        raise EncoderUnavailable(f"the adapter {folder} holds {sorted(parts)} for {name} instead of {sorted(needed)}")
    down, up = parts["lora_A"], parts["lora_B"]
    if down.ndim != 2 or (up.shape[0], down.shape[1]) != tuple(weight.shape) or up.shape[1] != down.shape[0]:
        raise EncoderUnavailable(
            f"the adapter {folder} has factors {tuple(up.shape)} and {tuple(down.shape)} for {name}, "
            f"whose weight is {tuple(weight.shape)}: is it an adapter of this very model?"
        )
    rank = down.shape[0]
    alpha = _by_pattern(config.get("alpha_pattern") or {}, name, config["lora_alpha"])
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    summed: torch.Tensor = weight + scale * (up.to(weight.device) @ down.to(weight.device))
    if not config.get("use_dora"):
        return summed
    magnitude = parts["lora_magnitude_vector"].to(weight.device).reshape(-1, 1)
    return summed * (magnitude / torch.linalg.norm(summed, dim=1, keepdim=True))


def _by_pattern(patterns: Mapping[str, float], name: str, otherwise: float) -> float:
    """The value of the first pattern that ends a module's path, as peft reads alpha_pattern."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", name)), otherwise)
