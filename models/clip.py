"""`clip-b32` and its like: every model that open_clip builds, with its own preprocessing and tokenizer.

Which model, which weights and which tokenizer a spec means is said in `models/cards/clip_plan.py`; here it is built and
run. Three things make it faster than open_clip's plain call. The towers may compute in bf16 (`precision=bf16`). Text
towers in which the words after the last one that is read cannot change the vector get the batch cut at that word: 77
tokens are what a prompt may have, a dozen what it has. And text attends without torch's MultiheadAttention, which with
a mask transposes the batch and then copies its weights for each prompt: in bf16 that costs more than bf16 saves.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeAlias

import open_clip
import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.transformer import ResidualAttentionBlock, text_global_pool
from safetensors import SafetensorError

from mmretrieval.errors import EncoderUnavailable
from mmretrieval.types import Array, Card, Content, Role
from models import runtime
from models.cards.clip_plan import CONFIG, PICKLED, SAFE, Plan, Published, lacking, plan, weights_file

SEED = 0
# What open_clip warns of where random weights are what was asked for.
RANDOM_WEIGHTS = ("Local config loaded, but no CLIP weights found", "No pretrained weights loaded for model")
Tokenize: TypeAlias = Callable[[list[str]], torch.Tensor]


class OpenClip:
    """Text or a picture -> what open_clip's own encode_text and encode_image give, with its preprocessing."""

    # True leaves the model as open_clip made it, to measure against.
    plain = False

    def __init__(self, card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> None:
        self.card = card
        self._device = runtime.device()
        self._dtype = runtime.precision(settings, on=self._device)
        found = plan(settings)
        if absent := lacking(found, settings):
            raise EncoderUnavailable(f"{card.name} {absent}")
        self._tokenize = _tokenizer(found)
        model = _random(found) if found.weights is None else _trained(found, settings)
        self._model = model.eval().requires_grad_(False).to(self._device, self._dtype)
        if not self.plain:
            _attend_in_place(getattr(model, "text", model))
        self._prepare = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)

    @torch.inference_mode()
    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        """Rows (n, dim) float32, not yet unit; each modality has one tower, so the role plays no part."""
        with runtime.memory_errors(self.card.name):
            if contents[0].text is not None:
                tokens = self._tokenize([c.text or "" for c in contents])
                rows = encode_text(self._model, tokens.to(self._device))
            else:
                pictures = torch.stack([self._prepare(c.image) for c in contents])
                rows = self._model.encode_image(pictures.to(self._device, self._dtype))
            return rows.float().cpu().numpy()


def encode_text(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """What `model.encode_text` gives for tokens (n, length), computed on as many of them as can matter.

    A causal tower hands nothing from a word to the words before it, so what follows the last word that is read may go;
    a tower of transformers masks its padding, so columns that hold nothing else may go. Other towers look at all
    tokens (SigLIP's, which has no mask; CoCa's, which reads a token behind them) and get them all.
    """
    tower = getattr(model, "text", model)
    if isinstance(tower, HFTextEncoder):
        return model.encode_text(tokens[:, : _unpadded(tokens, tower.config.pad_token_id)])
    length = _read_length(tower, tokens)
    if length is None or length == tokens.shape[1]:
        return model.encode_text(tokens)
    return _causal(tower, tokens[:, :length])


def _unpadded(tokens: torch.Tensor, padding: int) -> int:
    """How many columns there are up to the last that holds more than padding."""
    held = (tokens != padding).any(dim=0).nonzero()
    return int(held[-1]) + 1 if len(held) else tokens.shape[1]


def _read_length(tower: Any, tokens: torch.Tensor) -> int | None:
    """How many leading tokens decide the vectors of a causal tower; None where the tower is not of that kind."""
    if tower.attn_mask is None or getattr(tower, "cls_emb", None) is not None:
        return None
    pooled = _pooling(tower)
    if pooled == "argmax":
        return int(tokens.argmax(dim=-1).max()) + 1
    if pooled == "eos":
        return int((tokens == _end(tower)).int().argmax(dim=-1).max()) + 1
    return None


def _causal(tower: Any, tokens: torch.Tensor) -> torch.Tensor:
    """CLIP.encode_text and TextTransformer.forward for prompts shorter than the tower's positions."""
    length = tokens.shape[1]
    dtype = tower.transformer.get_cast_dtype()
    states = tower.token_embedding(tokens).to(dtype) + tower.positional_embedding[:length].to(dtype)
    states = tower.ln_final(tower.transformer(states, attn_mask=tower.attn_mask[:length, :length]))
    rows = text_global_pool(states, tokens, _pooling(tower), eos_token_id=_end(tower))
    projection = tower.text_projection
    if projection is None:
        return rows
    return projection(rows) if isinstance(projection, torch.nn.Linear) else rows @ projection


def _attend_in_place(tower: Any) -> None:
    """Lets the blocks of a text tower of open_clip's own attend by `_attention`."""
    if isinstance(tower, HFTextEncoder):
        return
    for block in tower.transformer.resblocks:
        if isinstance(block, ResidualAttentionBlock):  # others have an attention of their own
            block.attention = partial(_attention, block.attn)


def _attention(
    weights: torch.nn.MultiheadAttention,
    q_x: torch.Tensor,
    k_x: torch.Tensor | None = None,
    v_x: torch.Tensor | None = None,
    attn_mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """ResidualAttentionBlock.attention of states (n, length, width) to themselves, under an additive mask."""
    assert k_x is None and v_x is None, "text attends to itself alone"
    count, length, width = q_x.shape
    heads = weights.num_heads
    projected = torch.nn.functional.linear(q_x, weights.in_proj_weight, weights.in_proj_bias)
    q, k, v = projected.view(count, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    if attn_mask is not None:  # (length, length), or one for each prompt and head
        shape = attn_mask.shape if attn_mask.ndim == 2 else (count, heads, length, length)
        attn_mask = attn_mask.to(q_x.dtype).view(shape)
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
    result: torch.Tensor = weights.out_proj(mixed.transpose(1, 2).reshape(count, length, width))
    return result


def _pooling(tower: Any) -> str:
    return str(tower.text_pool_type if isinstance(tower, open_clip.CLIP) else tower.pool_type)


def _end(tower: Any) -> int:
    return int(tower.text_eos_id if isinstance(tower, open_clip.CLIP) else tower.eos_id)


def _tokenizer(found: Plan) -> Tokenize:
    """The tokenizer that open_clip gives a model of this config."""
    length = found.text.get("context_length", 77)
    options = dict(found.text.get("tokenizer_kwargs") or {})
    if not found.tokenizer:
        made: Tokenize = SimpleTokenizer(context_length=length, **options)
        return made
    mode = found.text.get("tokenizer_mode")
    try:
        made = HFTokenizer(found.tokenizer, context_length=length, tokenizer_mode=mode, **options)
    except (OSError, ValueError) as error:
        raise EncoderUnavailable(
            f"{found.tokenizer} holds no tokenizer that can be read ({_first_line(error)}): "
            "name a folder with its files, as in ;tokenizer=FOLDER"
        ) from error
    return made


def _trained(found: Plan, settings: Mapping[str, Any]) -> Any:
    """The model with the plan's weights; only tensors are read from them, never code."""
    weights = weights_file(found.weights, settings) if isinstance(found.weights, Published) else found.weights
    assert weights is not None
    try:
        return _build(found, weights)
    except (UnpicklingError, SafetensorError) as error:
        raise EncoderUnavailable(
            f"{weights} cannot be read as weights ({_first_line(error)}): only tensors are loaded, never code; "
            "give a state dict (.safetensors, .pt or .bin)"
        ) from error
    except (RuntimeError, ValueError, LookupError, EOFError, AttributeError, TypeError, OSError) as error:
        raise EncoderUnavailable(
            f"{weights} does not hold the weights of {found.name} ({_first_line(error)}): "
            "give a state dict of that model, or its config=PATH"
        ) from error


def _random(found: Plan) -> Any:
    """The model with random weights, the same each time, without touching torch's own random state."""
    with torch.random.fork_rng(devices=[]), _unsaid(*RANDOM_WEIGHTS):
        torch.manual_seed(SEED)
        return _build(found, None)


@contextmanager
def _unsaid(*beginnings: str) -> Iterator[None]:
    """Keeps the warnings of open_clip's factory that begin so out of the root logger, where it writes them."""

    def other(record: logging.LogRecord) -> bool:
        said = record.getMessage().startswith(beginnings) and record.levelno == logging.WARNING
        return not (said and record.pathname == open_clip.factory.__file__)

    logger = logging.getLogger()
    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


def _build(found: Plan, weights: Path | None) -> Any:
    """The model as open_clip makes it, in fp32, with its own checks and conversions of the weights."""
    # open_clip reads a model of one's own from a folder; its list of known models stays as it is.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = {"model_cfg": dict(found.config), "preprocess_cfg": dict(found.preprocess)}
        (folder / CONFIG).write_text(json.dumps(config), "utf-8")
        if weights is not None:
            (folder / (SAFE if weights.suffix == ".safetensors" else PICKLED)).symlink_to(weights.resolve())
        # The weights of towers alone are never fetched: the model's own hold them, and random ones are random.
        return open_clip.create_model(f"local-dir:{folder}", pretrained_text=False, weights_only=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
