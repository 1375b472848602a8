"""`lite-joint`: an instruction, a picture and words together -> one vector, offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from mmretrieval.types import Array, Card, Content, Modality, Role
from models.efficientnet_lite import VARIANTS, from_state, prepare
from models.lite_joint_grid import Grid
from models.lite_joint_net import PREFIX, JointNet, Scale, Words

# What the network is told to do where the content says nothing else; it was trained with these words.
INSTRUCTIONS: dict[tuple[Role, tuple[Modality, ...]], str] = {
    ("query", ("text",)): "",
    ("query", ("image",)): "find it",
    ("query", ("text", "image")): "change it",
    ("item", ("text",)): "",
    ("item", ("image",)): "picture",
    ("item", ("text", "image")): "picture with words",
}
MAX_TOKENS = 256 - PREFIX
MAX_INSTRUCTION = 64


class Tokens:
    """Instruction and text -> token ids and which of them count in the mean: all but the instruction's."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._first, self._last = (self._tokenizer.token_to_id(t) for t in ("[CLS]", "[SEP]"))

    def row(self, instruction: str, text: str) -> tuple[list[int], list[int]]:
        """[CLS] instruction : text [SEP], at most MAX_TOKENS long; an empty instruction leaves no colon either."""
        said = self._ids(f"{instruction}:")[:MAX_INSTRUCTION] if instruction else []
        words = self._ids(text)[: MAX_TOKENS - 2 - len(said)]
        counted = [1] + [0] * len(said) + [1] * len(words) + [1]
        return [self._first, *said, *words, self._last], counted

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def padded(rows: Sequence[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of ids and what counts -> ids, what is no padding, and what counts, each (n, longest)."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([i + [0] * (longest - len(i)) for i, _ in rows])
    seen = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i, _ in rows])
    pooled = torch.tensor([c + [0] * (longest - len(c)) for _, c in rows], dtype=torch.float32)
    return ids, seen, pooled


class LiteJoint:
    """Text, a picture or both, with an instruction -> a row of 384 numbers."""

    def __init__(self, card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> None:
        self.card = card
        self._variant = VARIANTS[settings["variant"]]
        state = torch.load(files["classifier"], map_location="cpu", weights_only=True)
        classifier = from_state(self._variant, state)
        self._grid = Grid(classifier)
        self._tokens = Tokens(files["tokenizer"])
        kept = {key: value.float() for key, value in load_file(files["joint"]).items()}
        fixed = {key: kept.pop(key) for key in ("mean", "deviation", "class_texts")}
        self._scale = Scale(fc_weight=classifier.fc.weight, fc_bias=classifier.fc.bias, **fixed)
        self._net = JointNet(load_file(files["sentences"])).eval().requires_grad_(False)
        self._net.load_state_dict(kept)

    @torch.inference_mode()
    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        """Unit rows (n, 384); queries and items differ by their default instruction, unless a content has its own."""
        default = INSTRUCTIONS[role, contents[0].modalities]
        ids, seen, pooled = padded(
            [self._tokens.row(default if c.instruction is None else c.instruction, c.text or "") for c in contents]
        )
        words = Words(self._net.read(ids, seen), seen, pooled)
        pictures = [prepare(c.image, self._variant.side) for c in contents if c.image is not None]
        sight = self._scale.sight(self._grid.places(torch.stack(pictures))) if pictures else None
        rows: Array = self._net(words, sight).numpy()
        return rows
