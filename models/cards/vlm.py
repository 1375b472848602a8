"""What is known of a vision-language embedder from its small JSON files; imports neither torch nor transformers.

A checkpoint is a whole model, or a low-rank adapter as peft saves it, whose base model it names itself: most of the
published VLM2Vec are adapters of Qwen2-VL. Where it is both, the adapter counts, as for transformers with peft, unless
the spec says adapter=none. `base=` names another place for the base model, `adapter=` an adapter of the model or
checkpoint that the spec names; each is a folder or ORGANISATION/NAME on the hub. `item_instruction=` is what the model
is told of items with a picture instead of its style's default (models/vlm/styles.py has those and their authors').
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmretrieval.errors import EncoderUnavailable, pick
from models.cards import hub
from models.processor import how_it_runs
from models.vlm.styles import STYLES, Style, version

Settings = Mapping[str, Any]
CONFIGS = ("preprocessor_config.json", "processor_config.json")
PROMISES = {
    "vlm2vec": "VLM2Vec: instruction, picture, clip and text read together by a vision-language model into one vector",
    "gme": "GME: picture and text read together by a vision-language model; of a clip, the middle frame",
    "lamra": "LamRA: picture, clip and text summed up by a vision-language model in the state before one word",
    "qwen3_vl_embedding": "Qwen3-VL-Embedding: instruction, picture, clip and text in many languages into one vector",
}
ADAPTER_CONFIG = "adapter_config.json"
# What says where one checkpoint lies; all else of the settings holds for model and adapter alike.
PLACE = ("model", "checkpoint", "revision")


@dataclass(frozen=True)
class Parts:
    """Settings that name the whole model, and those that name an adapter of it, if there is one."""

    model: Settings
    adapter: Settings | None = None


def parts(settings: Settings) -> Parts:
    """Model and adapter told apart; raises EncoderUnavailable for an adapter whose base model is nowhere named."""
    name = _name(settings)
    if settings.get("adapter") == "none":
        return Parts(settings)
    if "adapter" in settings:
        return Parts(settings, _place(settings, str(settings["adapter"])))
    if not hub.has(settings, ADAPTER_CONFIG, name):
        return Parts(settings)
    base = settings.get("base") or hub.read_json(settings, ADAPTER_CONFIG, name).get("base_model_name_or_path")
    if not base:
        raise EncoderUnavailable(f"{name} is an adapter that does not say of which model: name that with base=MODEL")
    return Parts(_place(settings, str(base)), settings)


def _place(settings: Settings, where: str) -> Settings:
    """The settings with another checkpoint: a folder that exists, else a name on the hub."""
    kept = {key: value for key, value in settings.items() if key not in PLACE}
    is_folder = hub.spelled(where).exists() or where.startswith(("/", "~", "."))
    return {**kept, ("checkpoint" if is_folder else "model"): where}


def describe(settings: Settings) -> dict[str, Any]:
    """Facts for the card of a checkpoint; raises EncoderUnavailable where it is not to be had or of another kind."""
    style = pick(STYLES, str(settings["style"]), "style of vision-language embedder")
    found = parts(settings)
    name = _name(found.model)
    config = _config(found, name)
    kind = checked_backbone(style, str(config.get("model_type", "none")), name)
    text = config.get("text_config") or config
    if "hidden_size" not in text:
        raise EncoderUnavailable(f"{name}: its config.json does not say the hidden_size of its language model")
    return {
        "dim": int(text["hidden_size"]),
        "reads": ["text", "image"] if kind == "llava_next" else ["text", "image", "frames"],
        "joint": True,
        "multi": False,
        **_licence(found),
        "revision": _revision(found),
        "preprocessing": _preprocessing(style, kind, settings) + _told(settings),
        "runtime": how_it_runs("transformers on torch, SDPA", str(settings.get("precision", "fp32"))),
        "promise": PROMISES[style.name],
        "missing": missing(settings),
    }


def missing(settings: Settings) -> str:
    """Why the checkpoint, its base model or its adapter cannot be loaded here without a network, or ""."""
    try:
        found = parts(settings)
        adapter = hub.missing(found.adapter, _name(found.adapter)) if found.adapter else ""
        return hub.missing(found.model, _name(found.model)) or adapter
    except EncoderUnavailable as error:
        return str(error)


def pull(settings: Settings) -> str:
    """Fetches model and adapter into the hub's cache; says what lies where."""
    # The adapter itself must be here before it can say which model it adapts.
    said = [hub.pull(settings, _name(settings))]
    found = parts(settings)
    others = [place for place in (found.model, found.adapter) if place is not None and place is not settings]
    return "; ".join(said + [hub.pull(place, _name(place)) for place in others])


def _licence(found: Parts) -> dict[str, Any]:
    """What the model cards of model and adapter say: an adapter is of no use without its model, so both count."""
    licences = {"base model": hub.licence(found.model, _name(found.model))}
    if found.adapter is not None:
        licences["adapter"] = hub.licence(found.adapter, _name(found.adapter))
    texts = set(licences.values())
    said = "; ".join(f"{part}: {text}" for part, text in licences.items())
    commercial = not any(hub.forbids_commerce(text) for text in texts)
    return {"licence": said if len(texts) > 1 else texts.pop(), "commercial": commercial}


def _config(found: Parts, name: str) -> dict[str, Any]:
    try:
        return hub.read_json(found.model, "config.json", name)
    except EncoderUnavailable as error:
        if found.adapter is None or "adapter" in found.adapter:
            raise
        raise EncoderUnavailable(
            f"{_name(found.adapter)} is an adapter of {name}, and that is missing: {error}. Name a folder that holds "
            "it with base=PATH; or say adapter=none if the checkpoint holds a whole model too"
        ) from error


def checked_backbone(style: Style, kind: str, name: str) -> str:
    """The model_type of a checkpoint, if it can be asked in this style; raises EncoderUnavailable."""
    if kind in style.positions:
        return kind
    if kind == "phi3_v":
        raise EncoderUnavailable(
            f"{name} is a Phi-3.5-V checkpoint: transformers 5 has no class for it, and the code that comes with it "
            "was written for transformers 4. Choose a VLM2Vec checkpoint on Qwen2-VL, such as VLM2Vec/VLM2Vec-V2.0"
        )
    raise EncoderUnavailable(
        f"{name} is a {kind} checkpoint, and {style.name} asks {', '.join(sorted(style.positions))}: "
        f"choose another family ({', '.join(sorted(STYLES))}) or checkpoint"
    )


def processing_config(settings: Settings, name: str) -> dict[str, Any]:
    """How the checkpoint's pictures are normalised and cut, from whichever file says it; raises EncoderUnavailable."""
    for file in CONFIGS:
        if hub.has(settings, file, name):
            found = hub.read_json(settings, file, name)
            return dict(found.get("image_processor") or found)
    raise EncoderUnavailable(f"{name}: neither {' nor '.join(CONFIGS)} is there: give a checkpoint with one of them")


def number(settings: Settings, option: str, name: str) -> int | None:
    """An option that is a whole number above 0, or None where it is not given; raises EncoderUnavailable."""
    text = settings.get(option)
    if text is None:
        return None
    if not str(text).isdigit() or int(text) < 1:
        raise EncoderUnavailable(f"{name}: {option}={text} is not a whole number above 0")
    return int(text)


def _name(settings: Settings) -> str:
    return str(settings.get("model") or settings.get("checkpoint") or settings["style"])


def _revision(found: Parts) -> str:
    revision = hub.revision(found.model, _name(found.model))
    return f"{revision}+{adapter_revision(found.adapter)}" if found.adapter else revision


def adapter_revision(settings: Settings) -> str:
    """The hub's commit of an adapter, or the hash of its weights where it is a folder."""
    config = hub.file(settings, ADAPTER_CONFIG, _name(settings))
    if "checkpoint" in settings:
        return hub.digest(config.parent)[:8]
    return hub.commit(settings, config)[:8]


def _told(settings: Settings) -> str:
    said = settings.get("item_instruction")
    return f"; told of a picture to be found: {said!r}" if said else ""


def _preprocessing(style: Style, kind: str, settings: Settings) -> str:
    name = _name(settings)
    if kind == "llava_next":
        return f"{style.name} prompts; pictures whole and in tiles, as LLaVA-NeXT's processor cuts them (Pillow)"
    low, high = style.pictures[-1].low, style.pictures[-1].high
    low, high = number(settings, "min_pixels", name) or low, number(settings, "max_pixels", name) or high
    first = style.name == "vlm2vec" and version(str(settings.get("model", "")), settings.get("version")) == 1
    squeezed = "squeezed to 1344 x 1344, then " if first else ""
    most = number(settings, "frames", name) or style.most_frames
    clips = f"at most {most} frames of a clip" if most else "the middle frame of a clip"
    return f"{style.name} prompts; pictures {squeezed}resized to {low:,}-{high:,} pixels (Pillow, bicubic); {clips}"
