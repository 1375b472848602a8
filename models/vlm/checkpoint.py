"""A checkpoint's base model and tokenizer, loaded so that every weight is the checkpoint's or an error is raised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoTokenizer,
    LlavaNextModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2_5_VLModel,
    Qwen2VLModel,
    Qwen3VLModel,
)
from transformers.utils import logging as transformers_logging

from mmretrieval.errors import EncoderUnavailable

# The base models: their `last_hidden_state` is the state after the final norm in every version of transformers, which
# `hidden_states[-1]` of the models with a language head on top is not.
MODELS: Mapping[str, type[PreTrainedModel]] = {
    "qwen2_vl": Qwen2VLModel,
    "qwen2_5_vl": Qwen2_5_VLModel,
    "qwen3_vl": Qwen3VLModel,
    "llava_next": LlavaNextModel,
}
# The language head writes text; an embedder has no use for it.
UNUSED = "lm_head"
SEED = 0


def read_config(folder: Path) -> PreTrainedConfig:
    """The config of a checkpoint; raises EncoderUnavailable where it is none that transformers knows."""
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(folder, "its config", error) from error
    return config


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint; raises EncoderUnavailable where it has none."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(folder, "its tokenizer", error) from error
    return tokenizer


def random_model(config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """The model of a config with random weights, the same each time, without touching torch's own random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        cls: Any = MODELS[config.model_type]
        model: PreTrainedModel = cls._from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    return _ready(model.to(dtype))


def trained_model(
    folder: Path, config: PreTrainedConfig, dtype: torch.dtype, allow_pickle: bool = False
) -> PreTrainedModel:
    """The model with a checkpoint's weights.

    Raises EncoderUnavailable where a weight is missing, left over or of another shape: a model with some random weights
    gives numbers too, and they are wrong.
    """
    cls: Any = MODELS[config.model_type]
    try:
        with _quietly():
            model, said = cls.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                attn_implementation="sdpa",
                local_files_only=True,
                use_safetensors=None if allow_pickle else True,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise _unreadable(folder, f"as weights of {cls.__name__}", error) from error
    missing = sorted(said["missing_keys"])
    left_over = sorted(key for key in said["unexpected_keys"] if UNUSED not in key.split("."))
    if missing or left_over or said["mismatched_keys"] or said["error_msgs"]:
        problems = [
            f"{len(keys)} {what} ({', '.join(map(str, keys[:3]))}{', ...' if len(keys) > 3 else ''})"
            for what, keys in (
                ("weights are missing", missing),
                ("are not of this model", left_over),
                ("have another shape", sorted(said["mismatched_keys"])),
                ("could not be read", list(said["error_msgs"])),
            )
            if keys
        ]
        raise EncoderUnavailable(
            f"{folder} does not hold the weights of a {cls.__name__} as its config says: {'; '.join(problems)}. "
            "Give a whole checkpoint (an adapter alone goes into adapter=PATH)"
        )
    return _ready(model)


def _ready(model: PreTrainedModel) -> PreTrainedModel:
    model.eval().requires_grad_(False)
    return model


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' progress bar and its report of what did not fit, which is raised here instead."""
    shown, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if shown:
            transformers_logging.enable_progress_bar()


def _unreadable(folder: Path, what: str, error: Exception) -> EncoderUnavailable:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return EncoderUnavailable(
        f"{folder} cannot be read ({what}: {reason}): give a folder with config.json, tokenizer files and "
        "safetensors of a vision-language model that transformers 5 knows"
    )
