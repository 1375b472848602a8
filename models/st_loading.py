"""How sentence-transformers loads a checkpoint here: from a folder, safetensors alone, without running its code."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch

from mmretrieval.errors import EncoderUnavailable
from mmretrieval.types import Card
from models.cards import hub, st
from models.runtime import device, memory_errors, precision

M = TypeVar("M")

WEIGHTS = (*hub.SAFE, *hub.PICKLED)
SEED = 0


def load(make: Callable[..., M], card: Card, settings: Mapping[str, Any], **more: Any) -> M:
    """The model that `make` (one of sentence-transformers' classes) builds from the checkpoint, on the device.

    Raises EncoderUnavailable, with the way out, where the files are missing, unsafe, or not what `make` reads.
    """
    family = st.CROSS_FAMILY if settings.get("kind") == "cross" else st.FAMILY
    arguments: dict[str, Any] = {
        "device": str(device()),
        "model_kwargs": {"dtype": precision(settings)},
        "local_files_only": True,  # the folder is complete
        "trust_remote_code": bool(st.trusted(settings)),
        **more,
    }
    if settings.get("allow_pickle") != "true":
        arguments["model_kwargs"]["use_safetensors"] = True
    with _no_bars(), _place(settings, family) as place, memory_errors(card.name):
        try:
            with _none_missing(card, whole=family == st.CROSS_FAMILY):
                return make(place, **arguments)
        except (ValueError, KeyError, TypeError, AttributeError, ImportError, OSError, RuntimeError) as error:
            if "not enough memory" in str(error) or isinstance(error, torch.OutOfMemoryError):
                raise
            raise EncoderUnavailable(_reason(card, error)) from error


@contextmanager
def _none_missing(card: Card, *, whole: bool) -> Iterator[None]:
    """Raises EncoderUnavailable where transformers had to invent weights: it fills them at random and says so in a log.

    Its report is the only place that has the names. A BERT's pooler, which embedders leave out because nothing here
    reads it, may be missing unless the model is needed `whole`.
    """
    from transformers import modeling_utils

    invented: set[str] = set()
    report: Any = modeling_utils.log_state_dict_report

    def noted(*args: Any, loading_info: Any, **more: Any) -> None:
        invented.update(loading_info.missing_keys)
        invented.update(key for key, *_ in loading_info.mismatched_keys)
        report(*args, loading_info=loading_info, **more)

    modeling_utils.log_state_dict_report = noted
    try:
        yield
    finally:
        modeling_utils.log_state_dict_report = report
    if absent := sorted(key for key in invented if whole or ".pooler." not in f".{key}"):
        raise EncoderUnavailable(
            f"{card.spec}: its files lack {len(absent)} weights of the model ({', '.join(absent[:3])} ...), which "
            "would be random: fetch the checkpoint anew, or choose another"
        )


@contextmanager
def _place(settings: Mapping[str, Any], family: str) -> Iterator[str]:
    """Where the checkpoint is loaded from: its folder, or a copy with random weights."""
    folder = hub.folder(st.pinned(settings), family)
    if st.trusted(settings):
        st.code(settings)
    if not folder.is_dir():
        raise EncoderUnavailable(f"{family}: checkpoint={folder} is a file: name the folder that holds it")
    if settings.get("weights") == "random":
        with tempfile.TemporaryDirectory(prefix="st-random-") as copy:
            _randomise(folder, Path(copy), st.read(settings))
            yield copy
        return
    if settings.get("allow_pickle") != "true":
        _refuse_pickled_parts(folder, st.read(settings), family)
    yield str(folder)


def _refuse_pickled_parts(folder: Path, checkpoint: st.Checkpoint, family: str) -> None:
    """A module whose weights are a pickle alone; sentence-transformers would read it beside the others' safetensors."""
    for _, part in checkpoint.modules:
        place = folder / part
        pickles = sorted(f.name for pattern in hub.PICKLED for f in place.glob(pattern))
        if pickles and not any(place.glob(hub.SAFE[0])):
            raise EncoderUnavailable(
                f"{family}: {place} holds {', '.join(pickles)} and no .safetensors: pickled weights can run any code "
                "when they are read; convert them, or add allow_pickle=true if you trust whoever made them"
            )


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the bar that transformers draws while it reads weights: a library does not print."""
    from transformers.utils import logging

    bars: Any = logging  # its functions carry no types
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _reason(card: Card, error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    if "trust_remote_code" in str(error):
        return (
            f"{card.spec} brings code of its own, which is run only for models whose code was read, at that revision "
            f"(TRUSTED in models/cards/hub.py): read it and add it there, or choose another model ({text})"
        )
    if "peft" in text.lower():
        return f"{card.spec} is an adapter for another checkpoint: `pip install peft`, or name a merged one ({text})"
    return (
        f"{card.spec} cannot be loaded by sentence-transformers ({type(error).__name__}: {text}): "
        "is the folder complete, and is it a checkpoint of this family?"
    )


def _randomise(folder: Path, copy: Path, checkpoint: st.Checkpoint) -> None:
    """Copies a checkpoint without its weights and writes random ones of the same shapes, always the same.

    Raises EncoderUnavailable for modules whose shapes their configs do not give.
    """
    shutil.copytree(folder, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*WEIGHTS, "*.index.json"))
    parts = checkpoint.modules or (("Transformer", ""),)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        for name, part in parts:
            kind, place = name.rsplit(".", 1)[-1], copy / part
            if kind in ("Transformer", "CLIPModel"):
                _random_transformer(place, checkpoint)
            elif kind == "Dense":
                _random_dense(place)
            elif any((folder / part).glob(hub.SAFE[0])) and part:
                raise EncoderUnavailable(f"weights=random cannot make a {kind}: leave it out, or choose another model")


def _random_transformer(place: Path, checkpoint: st.Checkpoint) -> None:
    import transformers

    config = transformers.AutoConfig.from_pretrained(place, local_files_only=True)
    if "HF_ColBERT" in (config.architectures or []):
        raise EncoderUnavailable("weights=random cannot make a Stanford ColBERT: its projection has no config")
    named = [getattr(transformers, architecture, None) for architecture in config.architectures or []]
    if checkpoint.kind == "cross" and not named:
        named = [transformers.AutoModelForSequenceClassification]
    kind: Any = next((found for found in named if found is not None), transformers.AutoModel)
    model = kind.from_config(config) if hasattr(kind, "from_config") else kind(config)
    model.save_pretrained(place)


def _random_dense(place: Path) -> None:
    import json

    from safetensors.torch import save_file

    own = json.loads((place / "config.json").read_text("utf-8"))
    layer = torch.nn.Linear(own["in_features"], own["out_features"], bias=own.get("bias", True))
    tensors = {f"linear.{key}": value.contiguous() for key, value in layer.state_dict().items()}
    if own.get("use_residual") and own["in_features"] != own["out_features"]:
        residual = torch.nn.Linear(own["in_features"], own["out_features"], bias=False)
        tensors["residual.weight"] = residual.weight.detach().contiguous()
    save_file(tensors, place / "model.safetensors")
