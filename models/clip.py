"""`clip-b32` and its like: any CLIP that open_clip builds from a config, a tag of its hub, or a file of weights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeAlias

import open_clip
import torch
from open_clip.pretrained import download_pretrained, get_pretrained_cfg
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors import SafetensorError

from mmretrieval.errors import EncoderUnavailable
from mmretrieval.types import Array, Card, Content, Role

# open_clip's "bf16" keeps the norms in fp32 and gains little; "pure_bf16" is the fast one.
PRECISIONS = {"fp32": "fp32", "bf16": "pure_bf16"}
SEED = 0
Made: TypeAlias = tuple[Any, Callable[[list[str]], torch.Tensor]]


class OpenClip:
    """Text or a picture -> what open_clip's own encode_text and encode_image give, with its preprocessing."""

    def __init__(self, card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> None:
        self.card = card
        precision = PRECISIONS[settings.get("precision", "fp32")]
        self._dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        make = _random if settings.get("weights") == "random" else _trained
        model, self._tokenize = make(settings, precision)
        self._model = model.eval().requires_grad_(False)
        config = PreprocessCfg(**self._model.visual.preprocess_cfg)
        self._prepare = image_transform_v2(config, is_train=False)

    @torch.inference_mode()
    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        """Rows (n, dim) float32, not yet unit; CLIP has one tower a modality, so the role plays no part."""
        if contents[0].text is not None:
            rows = self._model.encode_text(self._tokenize([c.text or "" for c in contents]))
        else:
            pictures = torch.stack([self._prepare(c.image) for c in contents])
            rows = self._model.encode_image(pictures.to(self._dtype))
        return rows.float().numpy()


def _trained(settings: Mapping[str, Any], precision: str) -> Made:
    """The model with the weights of `checkpoint`, or with those that the hub has under the block's tag."""
    if "checkpoint" not in settings:
        if "config" in settings:
            raise EncoderUnavailable(
                f"config={settings['config']} says how a model is built but names no weights: "
                "add checkpoint=PATH, or weights=random for a test"
            )
        _fetch(settings["model"], settings["tag"])
        model = open_clip.create_model(settings["model"], pretrained=settings["tag"], precision=precision)
        return model, open_clip.get_tokenizer(settings["model"])
    weights = Path(settings["checkpoint"]).expanduser()
    try:
        return _build(settings, precision, weights)
    except (UnpicklingError, SafetensorError) as error:
        raise EncoderUnavailable(
            f"{weights} cannot be read as weights ({_first_line(error)}): only tensors are loaded, never code; "
            "give a state dict (.pt, .bin or .safetensors)"
        ) from error
    except (RuntimeError, ValueError, LookupError, EOFError, AttributeError) as error:
        raise EncoderUnavailable(
            f"{weights} does not hold the weights of {settings.get('config', settings['model'])} "
            f"({_first_line(error)}): give a state dict of that model, or its config=PATH"
        ) from error


def _random(settings: Mapping[str, Any], precision: str) -> Made:
    """The model with random weights, the same each time, without touching torch's own random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return _build(settings, precision, None)


def _build(settings: Mapping[str, Any], precision: str, weights: Path | None) -> Made:
    """The model, with open_clip's checks of the weights, and the tokenizer that its config asks for."""
    if "config" not in settings:
        pretrained = str(weights) if weights else None
        model = open_clip.create_model(settings["model"], pretrained, precision=precision, weights_only=True)
        return model, open_clip.get_tokenizer(settings["model"])
    path = Path(settings["config"]).expanduser()
    try:
        config = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise EncoderUnavailable(f"{path} is not JSON: {error}; give an open_clip model config") from error
    # open_clip reads a model of one's own from a folder; its list of known models stays as it is.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wrapped = config if "model_cfg" in config else {"model_cfg": config, "preprocess_cfg": {}}
        (folder / "open_clip_config.json").write_text(json.dumps(wrapped), "utf-8")
        if weights:
            safe = weights.suffix == ".safetensors"
            link = folder / ("open_clip_model.safetensors" if safe else "open_clip_pytorch_model.bin")
            link.symlink_to(weights.resolve())
        model = open_clip.create_model(f"local-dir:{folder}", precision=precision, weights_only=True)
        return model, open_clip.get_tokenizer(f"local-dir:{folder}")


def _fetch(model: str, tag: str) -> None:
    """Brings the weights into the hub's own cache, unless they are there."""
    try:
        download_pretrained(get_pretrained_cfg(model, tag))
    except (RuntimeError, OSError, ValueError) as error:
        raise EncoderUnavailable(
            f"the weights {model}/{tag} are not on this machine and the hub cannot be reached ({_first_line(error)}): "
            "connect to the Hugging Face hub once (without HF_HUB_OFFLINE), "
            "or give a file of weights, as in clip-b32;checkpoint=PATH"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
