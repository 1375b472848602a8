"""Joint encoders made of a vision-language model: VLM2Vec, GME, LamRA, Qwen3-VL-Embedding and their like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmretrieval.errors import EncoderUnavailable, pick
from mmretrieval.types import Array, Card, Content, Role
from models.cards import hub
from models.cards.vlm import checked_backbone, number, parts, processing_config
from models.runtime import device, memory_errors, precision
from models.vlm import adapters, rows
from models.vlm.checkpoint import random_model, read_config, read_tokenizer, trained_model
from models.vlm.pictures import PatchReader
from models.vlm.styles import STYLES, VERSION_1_SIDE, VISUAL_TOKENS, Style, version


class VlmEncoder:
    """Text, picture, clip or several at once -> the unit state of the prompt's last token after the final norm.

    `settings`: style, model or checkpoint, and the options of the family. Raises EncoderUnavailable where checkpoint or
    adapter are missing, incomplete or of another kind.
    """

    def __init__(self, card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> None:
        self.card = card
        self.style = pick(STYLES, str(settings["style"]), "style of vision-language embedder")
        if "item_instruction" in settings:
            self.style = self.style.saying(str(settings["item_instruction"]))
        self._device = device()
        dtype = precision(settings, on=self._device)
        found = parts(settings)
        folder = hub.folder(found.model, card.name)
        config = read_config(folder)
        kind = checked_backbone(self.style, config.model_type, card.name)
        self.tokenizer = read_tokenizer(folder)
        self._side = _padding_side(settings, self.style.padding or self.tokenizer.padding_side)
        self._pad = _first(self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0)
        self._grid = self.style.positions[kind] == "grid"
        processing = processing_config(found.model, card.name)
        self.rows = _rows(self.style, kind, config, self.tokenizer, settings, processing, card.name)
        if settings.get("weights") == "random":
            self.model = random_model(config, dtype)
        else:
            self.model = trained_model(folder, config, dtype, settings.get("allow_pickle") == "true")
        if found.adapter:
            adapters.merge(self.model, hub.folder(found.adapter, card.name))
        self.model.to(self._device)

    @torch.inference_mode()
    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        """Unit rows (n, dim) float32 in order; contents of several modalities may be mixed."""
        prepared = [self.rows.row(content, role) for content in contents]
        embedded = np.empty((len(prepared), self.card.dim), dtype=np.float32)
        for places in rows.alike([len(row.ids) for row in prepared]):
            with memory_errors(self.card.name):
                embedded[places] = self._embedded([prepared[place] for place in places])
        return embedded

    def arguments(self, batch: Sequence[rows.Row]) -> dict[str, torch.Tensor]:
        """What the model is called with for a batch: tokens, mask, positions, pixels, on its device."""
        ids, mask = rows.padded(batch, self._side, self._pad)
        visual = self.rows.arguments(batch)
        if self._grid:
            positions = rows.grid_positions(self.model, ids, mask, visual)
        else:
            line = rows.line_positions(mask)
            positions = line if self.model.config.model_type == "llava_next" else line.expand(3, -1, -1)
        visual = {
            key: value.to(self.model.dtype) if value.is_floating_point() else value for key, value in visual.items()
        }
        made = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, **visual}
        return {key: value.to(self._device) for key, value in made.items()}

    def _embedded(self, batch: Sequence[rows.Row]) -> Array:
        arguments = self.arguments(batch)
        states = self.model(**arguments, use_cache=False, return_dict=True).last_hidden_state
        pooled = states[torch.arange(len(batch), device=states.device), rows.last_tokens(arguments["attention_mask"])]
        unit: Array = torch.nn.functional.normalize(pooled.float(), dim=-1).cpu().numpy()
        return unit


def _rows(
    style: Style,
    kind: str,
    config: Any,
    tokenizer: Any,
    settings: Mapping[str, Any],
    processing: dict[str, Any],
    name: str,
) -> rows.Rows:
    longest = min(int(tokenizer.model_max_length), int(config.get_text_config().max_position_embeddings))
    most_tokens = min(style.most_tokens or longest, longest)
    if kind == "llava_next":
        return rows.LlavaRows(style, tokenizer, config, processing, most_tokens)
    limits = (number(settings, "min_pixels", name), number(settings, "max_pixels", name))
    first = style.name == "vlm2vec" and version(str(settings.get("model", "")), settings.get("version")) == 1
    patches = PatchReader(style, processing, limits, VERSION_1_SIDE if first else 0)
    most_frames = number(settings, "frames", name) or style.most_frames
    return rows.QwenRows(style, tokenizer, patches, VISUAL_TOKENS[kind], most_frames, most_tokens)


def _padding_side(settings: Mapping[str, Any], usual: str) -> str:
    side = str(settings.get("padding", usual))
    if side not in ("left", "right"):
        raise EncoderUnavailable(f"padding={side}: rows are filled up on the left or on the right")
    return side


def _first(*candidates: int | None) -> int:
    return next(c for c in candidates if c is not None)
