"""One small model of every kind that open_clip builds: a real member's config, shrunk, with random weights.

Widths, layers and pictures shrink; what makes the kind (masks, pooling, projections, norms, tokenizer rules,
preprocessing) stays. Tokenizers and text towers that would come from the hub are made here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
import transformers
from safetensors.torch import save_file
from timm.models import register_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from models.cards import clip_plan

WORDS = [
    "a",
    "red",
    "apple",
    "dog",
    "under",
    "the",
    "tree",
    "ein",
    "roter",
    "apfel",
    "un",
    "chien",
    "an",
    "image",
    "of",
]
TEXT = {"width": 32, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}


@register_model
def shrunk_siglip(pretrained: bool = False, **options: Any) -> torch.nn.Module:
    """The picture tower of ViT-B-16-SigLIP and SigLIP2, 32 wide."""
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return timm.create_model("vit_base_patch16_siglip_224", **sizes, **options)


@register_model
def shrunk_eva02(pretrained: bool = False, **options: Any) -> torch.nn.Module:
    """The picture tower of EVA02-B-16, 32 wide."""
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return timm.create_model("eva02_base_patch16_clip_224", **sizes, **options)


@register_model
def shrunk_pe_core(pretrained: bool = False, **options: Any) -> torch.nn.Module:
    """The picture tower of PE-Core-T-16-384, 32 wide."""
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return timm.create_model("vit_pe_core_tiny_patch16_384", **sizes, **options)


@register_model
def shrunk_fastvit(pretrained: bool = False, **options: Any) -> torch.nn.Module:
    """The picture tower of MobileCLIP2-S2, 8 to 64 wide."""
    sizes = {"layers": (1, 1, 1, 1), "embed_dims": (8, 16, 32, 64)}
    return timm.create_model("fastvit_mci2", **sizes, **options)


@dataclass(frozen=True)
class Kind:
    """A member of open_clip's list, a tag of its weights, what shrinks, and the tokenizer or text tower it needs."""

    model: str
    tag: str
    vision: dict[str, Any]
    text: dict[str, Any] = field(default_factory=lambda: TEXT)
    embed_dim: int = 24
    tokenizer: str = ""
    tower: str = ""
    trims: bool = True


KINDS = {
    "clip": Kind("ViT-B-32", "laion2b_s34b_b79k", VISION),
    "clip-quickgelu": Kind("ViT-B-32", "openai", VISION),
    "clip-resnet": Kind("RN50", "openai", {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16}),
    "siglip": Kind(
        "ViT-B-16-SigLIP",
        "webli",
        {"timm_model_name": "shrunk_siglip", "image_size": 32},
        {**TEXT, "vocab_size": 40},
        32,
        tokenizer="t5",
        trims=False,
    ),
    "siglip2": Kind(
        "ViT-B-16-SigLIP2",
        "webli",
        {"timm_model_name": "shrunk_siglip", "image_size": 32},
        {**TEXT, "vocab_size": 40},
        32,
        tokenizer="gemma",
        trims=False,
    ),
    "mobileclip2": Kind(
        "MobileCLIP2-S2", "dfndr2b", {"timm_model_name": "shrunk_fastvit", "image_size": 64}, trims=False
    ),
    "eva02": Kind("EVA02-B-16", "merged2b_s8b_b131k", {"timm_model_name": "shrunk_eva02", "image_size": 32}),
    "coca": Kind("coca_ViT-B-32", "laion2b_s13b_b90k", {**VISION, "attn_pooler_heads": 2}, trims=False),
    "pe-core": Kind("PE-Core-T-16-384", "meta", {"timm_model_name": "shrunk_pe_core", "image_size": 32}),
    "clipa": Kind(
        "ViT-L-14-CLIPA", "datacomp1b", VISION, {**TEXT, "vocab_size": 40}, 24, tokenizer="bert", trims=False
    ),
    "metaclip": Kind("ViT-B-16", "metaclip_fullcc", VISION),
    "metaclip2": Kind(
        "ViT-H-14-worldwide", "metaclip2_worldwide", VISION, {**TEXT, "vocab_size": 40}, 24, tokenizer="roberta"
    ),
    "xlm-roberta": Kind(
        "xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k", VISION, {}, 24, tokenizer="roberta", tower="xlm-roberta"
    ),
    "mt5": Kind("mt5-base-ViT-B-32", "", VISION, {}, 24, tokenizer="t5", tower="mt5"),
    "nllb": Kind("nllb-clip-base", "v1", VISION, {}, 24, tokenizer="nllb", tower="nllb"),
}


@dataclass(frozen=True)
class Tiny:
    """The folder in open_clip's form, the config in it, and open_clip's own model, whose weights were saved there."""

    kind: Kind
    folder: Path
    config: dict[str, Any]
    reference: Any

    @property
    def weights(self) -> Path:
        return self.folder / clip_plan.SAFE


def make(name: str, folder: Path) -> Tiny:
    """The kind's config, tokenizer and random weights, saved in `folder` as open_clip publishes models."""
    kind = KINDS[name]
    config = json.loads(clip_plan.configs()[kind.model].read_text("utf-8"))
    config["embed_dim"] = kind.embed_dim
    config["vision_cfg"].update(kind.vision)
    config["text_cfg"].update(kind.text)
    if "multimodal_cfg" in config:
        config["multimodal_cfg"].update({**TEXT, "attn_pooler_heads": 2})
    if kind.tokenizer:
        make_tokenizer(kind.tokenizer, folder)
    if kind.tower:
        make_text_tower(kind.tower, folder)
        config["text_cfg"].update(hf_model_name=str(folder))
    row = clip_plan.tags().get(kind.model, {}).get(kind.tag, {})
    config["quick_gelu"] = bool(config.get("quick_gelu") or row.get("quick_gelu"))
    preprocess = {key: row[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in row}
    (folder / clip_plan.CONFIG).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False).eval()
        for parameter in model.parameters():
            # What starts as zero or one (biases, norms, layer scales) would hide a difference.
            parameter.data.add_(torch.randn_like(parameter) * 0.02)
    # Towers of transformers may share tensors between names, which the format does not hold.
    save_file({key: value.clone().contiguous() for key, value in model.state_dict().items()}, folder / clip_plan.SAFE)
    return Tiny(kind, folder, config, model.requires_grad_(False))


def make_tokenizer(style: str, folder: Path) -> None:
    """A tokenizer of whole words that frames and pads a prompt as the named kind does."""
    special = {
        "t5": ["<pad>", "</s>", "<unk>"],
        "gemma": ["<pad>", "</s>", "<unk>"],
        "bert": ["[PAD]", "[CLS]", "[SEP]", "[UNK]"],
        "roberta": ["<s>", "<pad>", "</s>", "<unk>"],
        "nllb": ["<s>", "<pad>", "</s>", "<unk>", "eng_Latn"],
    }[style]
    frame = {
        "t5": "$A </s>",
        "gemma": "$A </s>",
        "bert": "[CLS] $A [SEP]",
        "roberta": "<s> $A </s>",
        "nllb": "eng_Latn $A </s>",
    }[style]
    vocabulary = {word: place for place, word in enumerate([*special, *WORDS])}
    unknown = next(word for word in special if "unk" in word.lower())
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single=frame, special_tokens=[(word, vocabulary[word]) for word in special]
    )
    ends = {"eos_token": "</s>"} if "</s>" in vocabulary else {"sep_token": "[SEP]", "cls_token": "[CLS]"}
    padding = next(word for word in special if "pad" in word.lower())
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token=padding, unk_token=unknown, **ends
    ).save_pretrained(folder)


def make_text_tower(style: str, folder: Path) -> None:
    """The config of a small text tower of transformers; the model's weights hold the tower's too."""
    made = {
        "xlm-roberta": lambda: transformers.XLMRobertaConfig(
            vocab_size=40,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=90,
            pad_token_id=1,
        ),
        "mt5": lambda: transformers.MT5Config(vocab_size=40, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2),
        "nllb": lambda: transformers.M2M100Config(
            vocab_size=40,
            d_model=32,
            encoder_layers=2,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_position_embeddings=90,
        ),
    }[style]()
    made.save_pretrained(folder)
