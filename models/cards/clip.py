"""The card of an open_clip model, found without importing it; what a spec may say is in `models/cards/clip_plan.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmretrieval.errors import EncoderUnavailable
from models.cards import hub
from models.cards.clip_plan import FAMILY, HUB, Plan, Published, lacking, plan
from models.processor import how_it_runs

# CLIP's own mean, which most models kept.
CLIPS_MEAN = (0.48145466, 0.4578275, 0.40821073)

Settings = Mapping[str, Any]


def describe(settings: Settings) -> dict[str, Any]:
    """The facts of a card; raises EncoderUnavailable where the checkpoint's config cannot be had."""
    found = plan(settings)
    licence = _licence(found.weights)
    return {
        "dim": int(found.config["embed_dim"]),
        "reads": ["text", "image"],
        "licence": licence,
        "commercial": not hub.forbids_commerce(licence),
        "revision": found.revision,
        "preprocessing": _preprocessing(found),
        "runtime": how_it_runs("open_clip on torch", str(settings.get("precision", "fp32"))),
        "promise": f"open_clip's {found.name}: pictures and words in one trained space",
        "missing": lacking(found, settings),
    }


def missing(settings: Settings) -> str:
    """Why the encoder cannot run here without the network and the way out, or ""."""
    try:
        return lacking(plan(settings), settings)
    except EncoderUnavailable as error:
        return str(error)


def pull(settings: Settings) -> str:
    """Fetches weights, configs and tokenizer into the hub's cache; says what lies where."""
    model = str(settings.get("model", ""))
    if model.startswith(HUB) and not settings.get("checkpoint"):
        _fetch(model.removeprefix(HUB), settings.get("revision"))
    found = plan(settings)
    lines = []
    if isinstance(found.weights, Published):
        _fetch(found.weights.repository, found.weights.revision)
        place = _fetch_weights(found.weights, settings)
        lines.append(f"weights, {place.stat().st_size / 2**20:.0f} MiB, in {place}")
    elif found.weights is not None:
        lines.append(f"weights in {found.weights}")
    for name in dict.fromkeys([found.tokenizer, str(found.text.get("hf_model_name") or "")]):
        if name:
            lines.append(f"tokenizer or text tower's config in {name if Path(name).is_dir() else _fetch(name, None)}")
    return "; ".join(lines) or "nothing to fetch"


def _fetch_weights(published: Published, settings: Settings) -> Path:
    """The weights' file, fetched unless it is here."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    names = published.names(settings)
    for name in names:
        try:
            return Path(hf_hub_download(published.repository, name, revision=published.revision))
        except LocalEntryNotFoundError as error:
            raise _unreachable(published.repository, error) from error
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise _unreachable(published.repository, error) from error
    pickles = "" if settings.get("allow_pickle") == "true" else "; a pickled one is fetched only with allow_pickle=true"
    raise EncoderUnavailable(f"{published.repository} has no {' or '.join(names)} on the hub{pickles}")


def _fetch(repository: str, revision: str | None) -> str:
    """Fetches configs, tokenizer and model card of a repository, not its weights; the folder where they lie."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return snapshot_download(repository, revision=revision, allow_patterns=list(hub.TEXTS))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise _unreachable(repository, error) from error


def _unreachable(repository: str, error: Exception) -> EncoderUnavailable:
    said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return EncoderUnavailable(
        f"{repository} cannot be fetched ({said}): connect to the Hugging Face hub (without HF_HUB_OFFLINE)"
    )


def _licence(weights: Path | Published | None) -> str:
    """The licence that the model card states, where the card is on this machine."""
    if not isinstance(weights, Published):
        return "unknown"
    return hub.licence({"model": weights.repository, "revision": weights.revision}, FAMILY)


def _preprocessing(found: Plan) -> str:
    """One line: how pictures and words are prepared."""
    how = dict(found.preprocess)
    size = found.config["vision_cfg"].get("image_size", 224)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    filtered = how.get("interpolation", "bicubic")
    shapes = {
        "shortest": f"shorter side {filtered} to {min(height, width)}, middle crop",
        "squash": f"{filtered} to {width} x {height}, sides not kept",
        "longest": f"longer side {filtered} to {max(height, width)}, padded",
    }
    shape = shapes[how.get("resize_mode", "shortest")]
    mean, deviation = how.get("mean", CLIPS_MEAN), how.get("std", ())
    spread = "CLIP's mean and deviation"
    if "mean" in how and tuple(how["mean"]) != CLIPS_MEAN:
        spread = f"mean {_numbers(mean)}, deviation {_numbers(deviation)}"
    if not any(how.get("mean", [1])) and set(deviation) == {1}:
        spread = "values from 0 to 1"
    tokens = found.text.get("context_length", 77)
    words = "its own tokenizer" if found.tokenizer else "CLIP's byte pairs"
    bare = (found.text.get("tokenizer_kwargs") or {}).get("clean") == "canonicalize"
    cleaned = "lower case, no punctuation, " if bare else ""
    return f"picture: {shape}, {spread}; text: {cleaned}at most {tokens} tokens, {words}"


def _numbers(values: Any) -> str:
    return ", ".join(f"{float(value):g}" for value in values)
