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
        self._joined = [self._three_in_one(f"encoder.layer.{n}.attention.self") for n in range(self._layers)]
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()

    def _three_in_one(self, name: str) -> tuple[Tensor, Tensor]:
        """One weight and one bias for queries, keys and values: one product instead of three."""
        parts = [f"{name}.{part}" for part in ("query", "key", "value")]
        weight, bias = (torch.cat([self._weights.pop(f"{p}.{kind}") for p in parts]) for kind in ("weight", "bias"))
        return weight, bias

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit rows (n, 384) float32; an empty text has one too, that of its two border tokens."""
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([e.ids for e in encoded])
        real = torch.tensor([e.attention_mask for e in encoded]).bool()
        owners, lengths = real.nonzero()[:, 0], real.sum(1)
        states = self._states(ids[real], real)
        sums = states.new_zeros(len(texts), states.shape[1]).index_add_(0, owners, states)
        return F.normalize(sums / lengths[:, None], dim=1)

    def encode_many(self, texts: Sequence[str], batch_size: int = 64) -> Tensor:
        """The same rows in batches of texts of similar length, so that little of the work is padding."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        rows = torch.cat(
            [self.encode([texts[i] for i in order[s : s + batch_size]]) for s in range(0, len(texts), batch_size)]
        )
        return rows[torch.tensor(order).argsort()]

    def _states(self, ids: Tensor, real: Tensor) -> Tensor:
        """The last states (m, 384) of the m tokens that are no padding: `real` (n, tokens) says where they stand.

        Padding takes part in attention alone, where nothing looks at it: all else is done for each token by itself.
        """
        table = self._weights
        places = real.nonzero()[:, 1]
        # A sentence alone is a first segment: its token type is 0 everywhere.
        summed = F.embedding(ids, table["embeddings.word_embeddings.weight"])
        summed = summed + table["embeddings.position_embeddings.weight"][places]
        x = self._normed(summed + table["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        full = bool(real.all())
        for layer in range(self._layers):
            name = f"encoder.layer.{layer}"
            weight, bias = self._joined[layer]
            mixed = self._mixed(F.linear(x, weight, bias), real, full)
            attended = self._linear(mixed, f"{name}.attention.output.dense")
            x = self._normed(x + attended, f"{name}.attention.output.LayerNorm")
            widened = F.gelu(self._linear(x, f"{name}.intermediate.dense"))
            x = self._normed(x + self._linear(widened, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        return x

    def _mixed(self, looked: Tensor, real: Tensor, full: bool) -> Tensor:
        """Attention within each sentence: (m, 3 * 384) queries, keys and values -> (m, 384)."""
        if full:
            rows = looked.unflatten(0, tuple(real.shape))
        else:
            rows = looked.new_zeros(*real.shape, looked.shape[1])
            rows[real] = looked
        query, key, value = rows.unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        seen = None if full else real[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen).transpose(1, 2).flatten(2)
        return mixed.flatten(0, 1) if full else mixed[real]

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normed(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(x, weight.shape, weight, bias, self._epsilon)
