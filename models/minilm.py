"""all-MiniLM-L6-v2 from a folder of files: sentences -> 384 numbers (Reimers and Gurevych 2019, arXiv 1908.10084).

The network is BERT's encoder (Devlin et al. 2018, arXiv 1810.04805), written out here because importing the package
that holds it takes longer than everything else that a search needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

MAX_TOKENS = 256


class MiniLM:
    """Sentences -> unit rows (n, 384): the mean over the tokens' last states, padding left out, at most 256 tokens."""

    def __init__(self, config: Path, weights: Path, tokenizer: Path) -> None:
        shape = json.loads(config.read_text("utf-8"))
        self._heads, self._layers = int(shape["num_attention_heads"]), int(shape["num_hidden_layers"])
        self._epsilon = float(shape["layer_norm_eps"])
        self._weights = {key: value.float() for key, value in load_file(weights).items() if value.is_floating_point()}
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit rows (n, 384) float32; an empty text has one too, that of its two border tokens."""
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([e.ids for e in encoded])
        mask = torch.tensor([e.attention_mask for e in encoded])
        weights = mask[..., None].float()
        return F.normalize((self._states(ids, mask) * weights).sum(1) / weights.sum(1), dim=1)

    def encode_many(self, texts: Sequence[str], batch_size: int = 64) -> Tensor:
        """The same rows in batches of texts of similar length, so that little of the work is padding."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        rows = torch.cat(
            [self.encode([texts[i] for i in order[s : s + batch_size]]) for s in range(0, len(texts), batch_size)]
        )
        return rows[torch.tensor(order).argsort()]

    def _states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The last states (n, tokens, 384) of token ids; where the mask is 0, no other token looks."""
        table = self._weights
        places = table["embeddings.position_embeddings.weight"][: ids.shape[1]]
        # A sentence alone is a first segment: its token type is 0 everywhere.
        summed = table["embeddings.word_embeddings.weight"][ids] + places
        x = self._normed(summed + table["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        seen = mask[:, None, None, :].bool()
        for layer in range(self._layers):
            name = f"encoder.layer.{layer}"
            heads = [self._split(self._linear(x, f"{name}.attention.self.{p}")) for p in ("query", "key", "value")]
            mixed = F.scaled_dot_product_attention(*heads, attn_mask=seen).transpose(1, 2).flatten(2)
            attended = self._linear(mixed, f"{name}.attention.output.dense")
            x = self._normed(x + attended, f"{name}.attention.output.LayerNorm")
            widened = F.gelu(self._linear(x, f"{name}.intermediate.dense"))
            x = self._normed(x + self._linear(widened, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        return x

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normed(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(x, weight.shape, weight, bias, self._epsilon)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self._heads, -1)).transpose(1, 2)
