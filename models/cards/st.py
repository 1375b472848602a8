"""What a sentence-transformers checkpoint says of itself, read from its JSON files alone.

modules.json lists the modules that a text or picture goes through; config_sentence_transformers.json tells an embedder
from a late-interaction model and from a cross-encoder, and holds the prompts; each module's own config holds its shape.
A checkpoint without modules.json is one of transformers', which the library completes by a rule of its own.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmretrieval.errors import EncoderUnavailable
from models import processor
from models.cards import hub, st_shape

FAMILY, CROSS_FAMILY = "st", "st_cross"
# Beside modules.json: in which file the transformer's own settings stand, whatever it was called when it was saved.
TRANSFORMER_CONFIGS = tuple(
    f"sentence_{kind}_config.json" for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta")
)
LATE_TYPES, PLAIN_TYPES = ("MultiVectorEncoder", "ColBERT"), (None, "SentenceTransformer")
# Prompts that the authors ask for in words, and that their checkpoints do not hold. The longest beginning wins.
STATED_PROMPTS = {
    "intfloat/e5-": ("query: ", "passage: "),
    "intfloat/multilingual-e5-": ("query: ", "passage: "),
    "intfloat/multilingual-e5-large-instruct": ("", ""),
    "intfloat/e5-mistral-7b-instruct": ("", ""),
    "BAAI/bge-small-en": ("Represent this sentence for searching relevant passages: ", ""),
    "BAAI/bge-base-en": ("Represent this sentence for searching relevant passages: ", ""),
    "BAAI/bge-large-en": ("Represent this sentence for searching relevant passages: ", ""),
}
ITEM_PROMPTS = ("document", "passage", "corpus")

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """Its kind ("dense", "multi" or "cross"), modules (class and folder of each), and what its files say."""

    kind: str
    modules: tuple[tuple[str, str], ...]
    sentence: Mapping[str, Any]
    transformer: Mapping[str, Any]
    config: Mapping[str, Any]

    @property
    def own_code(self) -> tuple[str, ...]:
        """The modules that are no part of sentence-transformers: loading them would run the checkpoint's code."""
        known = ("sentence_transformers.", "pylate.")
        return tuple(name for name, _ in self.modules if not name.startswith(known))


def describe(settings: Settings) -> dict[str, Any]:
    """The facts of a checkpoint: dim, what it reads, prompts and so on; raises EncoderUnavailable where it is not here.

    `settings["kind"]` is "cross" for a reranker; else an embedder and a late-interaction model are told apart by the
    files.
    """
    settings = pinned(settings)
    found = read(settings)
    modalities = st_shape.modalities(settings, found.modules, found.transformer, found.config)
    reads = [ours for theirs, ours in st_shape.READS.items() if theirs in modalities]
    precision = str(settings.get("precision", "fp32"))
    licence = hub.licence(settings, _family(settings))
    return {
        "dim": 0 if found.kind == "cross" else _dim(settings, found),
        "reads": reads,
        "joint": st_shape.joint(modalities),
        "multi": found.kind == "multi",
        "licence": licence,
        "commercial": not hub.forbids_commerce(licence),
        "revision": _revision(settings, found),
        "preprocessing": _preprocessing(settings, found, reads),
        "runtime": processor.how_it_runs("sentence-transformers on torch", precision),
        "promise": _promise(settings, found, reads),
        "missing": missing(settings),
    }


def missing(settings: Settings) -> str:
    """Why the checkpoint cannot be loaded here without a network, and the way out; "" where it can."""
    settings = pinned(settings)
    absent = hub.missing(settings, _family(settings))
    if absent:
        return absent
    if hub.has(settings, "adapter_config.json", _family(settings)) and importlib.util.find_spec("peft") is None:
        return "its weights are an adapter for another checkpoint: `pip install peft`, or name a merged checkpoint"
    found = read(settings)
    if found.own_code and not trusted(settings):
        return f"{', '.join(found.own_code)} would run code of the checkpoint's own, which nobody here has read"
    return ""


def pull(settings: Settings) -> str:
    """Fetches the checkpoint into the hub's cache, with its code where that is trusted; says what lies where."""
    said = hub.pull(pinned(settings), _family(settings))
    if trusted(settings):
        said += f", and its code in {code(settings)}"
    return said


def trusted(settings: Settings) -> dict[str, Any]:
    """The arguments that let the model run its own code, for those on the list at the revision that was read.

    Never for a folder, whose contents no revision vouches for, nor where the spec names another revision.
    """
    allowed = {} if settings.get("checkpoint") else hub.trusted(settings)
    return allowed if settings.get("revision") in (None, allowed.get("revision")) else {}


def pinned(settings: Settings) -> Settings:
    """The settings, with the revision at which a model's own code may run where there is one."""
    allowed = trusted(settings)
    return {**settings, "revision": allowed["revision"]} if allowed else settings


def code(settings: Settings) -> Path:
    """Where the checkpoint lies with its own code beside it, fetched if need be; raises EncoderUnavailable."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    model, revision = str(settings["model"]), trusted(settings)["revision"]
    classes = _optional(pinned(settings), "config.json", _family(settings)).get("auto_map") or {}
    if elsewhere := [str(name) for name in classes.values() if "--" in str(name)]:
        raise EncoderUnavailable(
            f"{_family(settings)}: {model} takes code from {elsewhere[0]}, at no revision: it cannot be trusted"
        )
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=["*.py"]))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise EncoderUnavailable(
            f"{_family(settings)}: the code of {model} at {revision} is not here and cannot be fetched "
            f"({type(error).__name__}): connect to the Hugging Face hub once and `python -m models pull` it"
        ) from error


def read(settings: Settings) -> Checkpoint:
    """What kind of checkpoint it is and what its files say; raises EncoderUnavailable where it is not one of these."""
    family = _family(settings)
    modules = _modules(settings, family)
    sentence = _optional(settings, "config_sentence_transformers.json", family)
    folder = modules[0][1] if modules else ""
    config = _optional(settings, _inside(folder, "config.json"), family)
    if not modules:
        config = hub.read_json(settings, "config.json", family)
    transformer: dict[str, Any] = {}
    for name in TRANSFORMER_CONFIGS:
        transformer = transformer or _optional(settings, _inside(folder, name), family)
    kind = _kind(settings, bool(modules), sentence.get("model_type"), config)
    return Checkpoint(kind, modules, sentence, transformer, config)


def prompts(settings: Settings, saved: Mapping[str, str | None]) -> dict[str, str]:
    """What is put before a text by role: what the spec says, else what the checkpoint says, else what its authors say.

    sentence-transformers 6 gives every model an empty prompt "document", which hides a saved "passage" from its
    encode_document; here the first that is not empty counts.
    """
    stated = ("", "")
    for beginning in sorted(STATED_PROMPTS, key=len):
        if str(settings.get("model", "")).startswith(beginning):
            stated = STATED_PROMPTS[beginning]
    query = saved.get("query") or ""
    item = next((saved[name] for name in ITEM_PROMPTS if saved.get(name)), "") or ""
    if not (query or item):
        query, item = stated
    return {
        "query": str(settings.get("query_prompt", query)),
        "item": str(settings.get("item_prompt", item)),
    }


def whole(settings: Settings, option: str) -> int | None:
    """An option that must be a whole number from 1, or None where it is not given."""
    text = settings.get(option)
    if text is None:
        return None
    if not str(text).isdigit() or int(text) < 1:
        raise EncoderUnavailable(f"{_family(settings)}: {option}={text} is not a whole number from 1")
    return int(text)


def _family(settings: Settings) -> str:
    return CROSS_FAMILY if settings.get("kind") == "cross" else FAMILY


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _optional(settings: Settings, name: str, family: str) -> dict[str, Any]:
    return hub.read_json(settings, name, family) if hub.has(settings, name, family) else {}


def _modules(settings: Settings, family: str) -> tuple[tuple[str, str], ...]:
    if not hub.has(settings, "modules.json", family):
        return ()
    path = hub.file(settings, "modules.json", family)
    try:
        rows = json.loads(path.read_text("utf-8"))
        return tuple((str(row["type"]), str(row["path"]).strip("/")) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise EncoderUnavailable(f"{family}: {path} lists no modules ({error!r}): fetch the checkpoint anew") from error


def _kind(settings: Settings, has_modules: bool, saved_type: str | None, config: Mapping[str, Any]) -> str:
    name = settings.get("checkpoint") or settings.get("model")
    architectures = [str(a) for a in config.get("architectures") or []]
    classifies = not has_modules and any(a.endswith("ForSequenceClassification") for a in architectures)
    if saved_type == "SparseEncoder":
        raise EncoderUnavailable(f"{FAMILY}: {name} makes sparse vectors, which are not stored here: take a dense one")
    late = saved_type in LATE_TYPES or "HF_ColBERT" in architectures
    late = late or (not has_modules and any(a.endswith("ForRetrieval") for a in architectures))
    embeds = late or (has_modules and saved_type in PLAIN_TYPES)
    if settings.get("kind") == "cross":
        if embeds:
            raise EncoderUnavailable(f"{CROSS_FAMILY}: {name} is an embedder, not a reranker: write {FAMILY}:{name}")
        return "cross"
    if saved_type == "CrossEncoder" or classifies:
        raise EncoderUnavailable(f"{FAMILY}: {name} is a reranker, not an encoder: write {CROSS_FAMILY}:{name}")
    return "multi" if late else "dense"


def _dim(settings: Settings, found: Checkpoint) -> int:
    size = st_shape.dim(settings, found.modules, found.transformer, found.config, found.kind)
    if size is None:
        raise EncoderUnavailable(
            f"{FAMILY}: {settings.get('checkpoint') or settings.get('model')}: its files do not say how many numbers "
            "a vector has: give it a block with its `dim` in a catalogue of your own (MMRETRIEVAL_CATALOG)"
        )
    asked = whole(settings, "dim")
    if asked is not None and found.kind == "multi":
        raise EncoderUnavailable(f"{FAMILY}: dim={asked} shortens single vectors; this model gives bags of them")
    if asked is not None and asked > size:
        raise EncoderUnavailable(f"{FAMILY}: dim={asked} is more than the {size} numbers that the model gives")
    shortened = found.sentence.get("truncate_dim") if found.kind == "dense" else None
    return asked or min(size, int(shortened or size))


def _revision(settings: Settings, found: Checkpoint) -> str:
    """The hub's commit; of a folder, the weights' hash and 8 hex digits of what its configs make of them."""
    family, anchor = _family(settings), "modules.json" if found.modules else "config.json"
    revision = hub.revision(settings, family, anchor)
    if hub.file(settings, anchor, family).parent.parent.name == "snapshots" and settings.get("weights") != "random":
        return revision
    sentence = {key: value for key, value in found.sentence.items() if key != "__version__"}
    parts = [_file_of(settings, family, folder) for _, folder in found.modules[1:]]
    told = json.dumps([found.modules, sentence, found.transformer, found.config, parts], sort_keys=True)
    return f"{revision}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def _file_of(settings: Settings, family: str, folder: str) -> dict[str, Any]:
    return _optional(settings, _inside(folder, "config.json"), family) if folder else {}


def _preprocessing(settings: Settings, found: Checkpoint, reads: list[str]) -> str:
    said = "the checkpoint's own tokenizer" + (" and picture processor" if set(reads) - {"text"} else "")
    length = whole(settings, "max_length") or found.transformer.get("max_seq_length")
    said += f"; text: at most {length} tokens" if length else ""
    if found.kind == "cross":
        return said
    put = prompts(settings, found.sentence.get("prompts") or {})
    said += "".join(f"; before {role} text: {text!r}" for role, text in put.items() if text)
    return said + (f"; item tokens pooled {settings['pool']} to 1" if settings.get("pool") else "")


def _promise(settings: Settings, found: Checkpoint, reads: list[str]) -> str:
    name = settings.get("checkpoint") or settings.get("model")
    what = {"dense": "one vector a content", "multi": "one vector a token, compared by MaxSim", "cross": "a reranker"}
    chain = " > ".join(kind.rsplit(".", 1)[-1] for kind, _ in found.modules) or "a bare transformer"
    return f"{name}: {what[found.kind]}; reads {', '.join(reads)}; {chain}"
