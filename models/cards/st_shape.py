"""How many numbers a sentence-transformers checkpoint gives, and what it reads, from the configs of its modules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mmretrieval.errors import EncoderUnavailable
from models.cards import hub

# What sentence-transformers calls a modality, and what is called so here.
READS = {"text": "text", "image": "image", "video": "frames"}
POOLING_FLAGS = (
    "pooling_mode_cls_token",
    "pooling_mode_max_tokens",
    "pooling_mode_mean_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens",
    "pooling_mode_lasttoken",
)
WIDTHS = ("hidden_size", "hidden_dim", "d_model", "n_embd", "dim")
HEADER_LIMIT = 1 << 20

Settings = Mapping[str, Any]
Modules = tuple[tuple[str, str], ...]


def modalities(
    settings: Settings, modules: Modules, transformer: Mapping[str, Any], config: Mapping[str, Any]
) -> frozenset[str]:
    """The modalities by sentence-transformers' names ("text", "image", "video", "message", "image+text")."""
    told = transformer.get("modality_config")
    if told:
        return frozenset(told)
    if modules:  # saved before there were others than text, but for this one class
        return frozenset({"text", "image"}) if _class(modules[0][0]) == "CLIPModel" else frozenset({"text"})
    if any(str(a).endswith("ForRetrieval") for a in config.get("architectures") or []):
        return frozenset({"text", "image"})
    return frozenset(_from_processor(settings, config))


def joint(names: Iterable[str]) -> bool:
    """Whether text and a picture can be read at once: as a pair, or as one chat message."""
    held = set(names)
    return bool({"image+text", "text+image"} & held) or {"message", "text", "image"} <= held


def dim(
    settings: Settings, modules: Modules, transformer: Mapping[str, Any], config: Mapping[str, Any], kind: str
) -> int | None:
    """How many numbers a vector has: what the last module that changes it says; None where none says it."""
    if not modules:
        return _bare(settings, config, kind)
    for name, folder in reversed(modules):
        size = _of_module(settings, _class(name), folder, transformer, config)
        if size is not None:
            return size
    return None


def _class(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _bare(settings: Settings, config: Mapping[str, Any], kind: str) -> int | None:
    """A checkpoint of transformers': its head, the projection file of a Stanford ColBERT, or its last states."""
    if kind == "multi":
        if "HF_ColBERT" in (config.get("architectures") or []):
            told = _config(settings, "artifact.metadata")
            return int(told["dim"]) if "dim" in told else None
        return int(config.get("embedding_dim", 128))
    pair = "vision_config" in config and "projection_dim" in config and config.get("model_type") != "blip-2"
    return _width(config, projected=pair)


def _of_module(
    settings: Settings, name: str, folder: str, transformer: Mapping[str, Any], config: Mapping[str, Any]
) -> int | None:
    if name in ("Normalize", "Dropout", "MultiVectorMask", "HierarchicalTokenPooling", "LogitScore"):
        return None
    if name in ("Transformer", "CLIPModel"):
        if transformer.get("transformer_task") == "retrieval" and "embedding_dim" in config:
            return int(config["embedding_dim"])
        finished = name == "CLIPModel" or transformer.get("module_output_name") == "sentence_embedding"
        return _width(config, projected=finished)
    if name == "StaticEmbedding":
        return _columns(settings, f"{folder}/model.safetensors" if folder else "model.safetensors")
    own = _config(settings, f"{folder}/config.json" if folder else "config.json")
    found = [_number(own, key) for key in ("out_features", "embedding_dimension", "word_embedding_dimension", *WIDTHS)]
    size = next((size for size in found if size is not None), None)
    return size * _poolings(own) if size is not None and name == "Pooling" else size


def _poolings(own: Mapping[str, Any]) -> int:
    """How many poolings are laid side by side."""
    mode = own.get("pooling_mode")
    if mode is not None:
        return 1 if isinstance(mode, str) else len(mode)
    return max(1, sum(bool(own.get(flag)) for flag in POOLING_FLAGS))


def _width(config: Mapping[str, Any], *, projected: bool) -> int | None:
    if projected and (size := _number(config, "projection_dim")) is not None:
        return size
    nested = [config.get(part) for part in ("text_config", "thinker_config", "vlm_config", "encoder")]
    for part in [config, *(p for p in nested if isinstance(p, Mapping))]:
        for key in WIDTHS:
            if (size := _number(part, key)) is not None:
                return size
    return None


def _number(table: Mapping[str, Any], key: str) -> int | None:
    value = table.get(key)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _config(settings: Settings, name: str) -> dict[str, Any]:
    return hub.read_json(settings, name, "st") if hub.has(settings, name, "st") else {}


def _columns(settings: Settings, name: str) -> int | None:
    """The columns of a table of embeddings, from the header of its safetensors file: 8 bytes of length, then JSON."""
    path = hub.file(settings, name, "st")
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > HEADER_LIMIT:
            raise EncoderUnavailable(f"st: {path} is no safetensors file: fetch the checkpoint anew")
        header = json.loads(stream.read(length))
    shapes = [tensor["shape"] for key, tensor in header.items() if key.startswith("embedding")]
    return int(shapes[0][-1]) if shapes else None


def _from_processor(settings: Settings, config: Mapping[str, Any]) -> set[str]:
    """What the processor files of a bare checkpoint tell: a tokenizer, a picture processor, a chat template."""
    found = {"text"}
    processor = _config(settings, "processor_config.json")
    if hub.has(settings, "preprocessor_config.json", "st") or "image_processor" in processor:
        found.add("image")
    if hub.has(settings, "video_preprocessor_config.json", "st") or "video_processor" in processor:
        found.add("video")
    chat = [hub.has(settings, f"chat_template.{end}", "st") for end in ("jinja", "json")]
    if any(chat) or "chat_template" in processor or "chat_template" in _config(settings, "tokenizer_config.json"):
        found.add("message")
    if "vision_config" not in config and "image" in found and "audio_config" not in config:
        found.discard("text")  # a picture model alone has no tokenizer
    return found
