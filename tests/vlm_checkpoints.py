"""Small vision-language checkpoints with random weights, made and saved as published ones are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

GOLDEN = Path(__file__).parent / "golden" / "vlm2vec"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")
TOKENS = {
    "bos_token_id": 360,
    "eos_token_id": 362,
    "vision_start_token_id": 363,
    "vision_end_token_id": 364,
    "image_token_id": 366,
    "video_token_id": 367,
}
TEXT = {
    "vocab_size": 368,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,
}
HALVES = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


def qwen2_5_vl(folder: Path) -> Path:
    """A Qwen2.5-VL with two layers each, one of them with windowed attention."""
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 64,
        "window_size": 56,
        "fullatt_block_indexes": [1],
        "initializer_range": 0.2,
    }
    scaling = {"rope_type": "default", "rope_theta": 1000.0, "mrope_section": [2, 3, 3]}
    config = Qwen2_5_VLConfig(text_config={**TEXT, "rope_parameters": scaling}, vision_config=vision, **TOKENS)
    return _saved(folder, Qwen2_5_VLForConditionalGeneration, config, {"patch_size": 14})


def qwen3_vl(folder: Path) -> Path:
    """A Qwen3-VL with two layers each, of which both feed the language model."""
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 64,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
        "initializer_range": 0.2,
    }
    scaling = {"rope_type": "default", "rope_theta": 1000.0, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    text = {**TEXT, "head_dim": 16, "rope_parameters": scaling}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **TOKENS)
    return _saved(folder, Qwen3VLForConditionalGeneration, config, {"patch_size": 16, **HALVES})


def llava_next(folder: Path) -> Path:
    """A LLaVA-NeXT with a CLIP tower of 4 patches a tile and up to 2 x 2 tiles."""
    tower = {
        "model_type": "clip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    pinpoints = [[28, 56], [56, 28], [56, 56]]
    config = LlavaNextConfig(
        text_config={"model_type": "llama", **TEXT, "vocab_size": 369},
        vision_config=tower,
        image_token_index=368,
        image_grid_pinpoints=pinpoints,
    )
    processing = {
        "image_processor_type": "LlavaNextImageProcessor",
        "size": {"shortest_edge": 28},
        "crop_size": {"height": 28, "width": 28},
        "image_grid_pinpoints": pinpoints,
    }
    _saved(folder, LlavaNextForConditionalGeneration, config, processing)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    return folder


def copied(folder: Path) -> Path:
    """A copy of the golden Qwen2-VL checkpoint that may be changed."""
    shutil.copytree(GOLDEN / "checkpoint", folder)
    return folder


def _saved(folder: Path, cls: Any, config: Any, processing: dict[str, Any]) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        cls(config).save_pretrained(folder)
    for name in TOKENIZER:
        shutil.copy(GOLDEN / "checkpoint" / name, folder)
    shared = {"temporal_patch_size": 2, "merge_size": 2} if "patch_size" in processing else {}
    (folder / "preprocessor_config.json").write_text(json.dumps({**shared, **processing}), "utf-8")
    return folder
