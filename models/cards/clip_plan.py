"""Which open_clip model a spec names: its config, its preparation of pictures, its weights and its tokenizer.

open_clip is read, not imported: that would load torch. `model` is one of open_clip's own names with the tag of
published weights (ViT-L-14/datacomp_xl_s13b_b90k), a model on the Hugging Face hub (hf-hub:ORGANISATION/NAME), or a
folder in open_clip's own form (local-dir:PATH). `checkpoint` is a file of weights or such a folder, `config` a model
config in JSON, `tokenizer` a folder with the tokenizer's files, and with the config.json of the text tower where that
comes from transformers.
"""

from __future__ import annotations

import ast
import copy
import functools
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmretrieval.digests import sha256
from mmretrieval.errors import EncoderUnavailable, pick
from models.cards import hub

FAMILY = "open_clip"
HUB, FOLDER = "hf-hub:", "local-dir:"
CONFIG = "open_clip_config.json"
SAFE, PICKLED = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
# The order in which open_clip itself looks for weights in a folder.
KNOWN_WEIGHTS = (SAFE, "open_clip_pytorch_model.safetensors", "model.safetensors")
KNOWN_PICKLES = (PICKLED, "open_clip_pytorch_model.pth", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
# A tokenizer is one of these files at least.
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "sentencepiece.bpe.model", "spiece.model", "vocab.txt", "vocab.json")
PREPROCESSING = ("mean", "std", "interpolation", "resize_mode", "fill_color")

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """A file of weights on the hub: `name` is the one that open_clip's table gives, "" for the usual one."""

    repository: str
    name: str = ""
    revision: str | None = None

    @property
    def safe(self) -> str:
        """The name under which they lie there as safetensors."""
        return str(Path(self.name).with_suffix(".safetensors")) if self.name else SAFE

    @property
    def pickled(self) -> tuple[str, ...]:
        """The name under which they may lie there as a pickle."""
        name = self.name or PICKLED
        return () if name == self.safe else (name,)

    def names(self, settings: Settings) -> tuple[str, ...]:
        """The names that may be read, best first."""
        return (self.safe, *(self.pickled if settings.get("allow_pickle") == "true" else ()))

    def cached(self, name: str) -> Path | None:
        """Where a file of the repository lies in the hub's cache, if it does."""
        return in_cache(self.repository, name, self.revision)


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that decides what a model computes.

    `config` is open_clip's model config, `preprocess` what is known of the pictures' preparation beyond its defaults,
    `weights` a file here, one on the hub, or None for random ones, `tokenizer` a folder or a name on the hub, "" for
    open_clip's own byte pairs.
    """

    name: str
    config: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    weights: Path | Published | None
    tokenizer: str
    revision: str

    @property
    def text(self) -> Mapping[str, Any]:
        """The config of the text tower."""
        found: Mapping[str, Any] = self.config["text_cfg"]
        return found


def plan(settings: Settings) -> Plan:
    """The model that the settings name; raises UnknownName for a name or tag that open_clip does not have,
    EncoderUnavailable for a file, folder or config that is not there."""
    model = str(settings.get("model", ""))
    checkpoint = _existing(settings, "checkpoint")
    if checkpoint is not None and checkpoint.is_dir():
        return _of_folder(checkpoint, settings)
    if model.startswith(FOLDER) or model.startswith(("/", "~", "./", "../")):
        return _of_folder(hub.spelled(model.removeprefix(FOLDER)), settings)
    if model.startswith(HUB):
        return _of_hub(model.removeprefix(HUB), checkpoint, settings)
    return _of_name(model, checkpoint, settings)


def lacking(found: Plan, settings: Settings) -> str:
    """What the model needs and is not on this machine, with the way out, or ""; a named file counts as being here."""
    absent = []
    if isinstance(found.weights, Published) and weights_file(found.weights, settings) is None:
        pickled = [name for name in found.weights.pickled if found.weights.cached(name)]
        if pickled:
            return (
                f"{found.weights.repository} is here with {pickled[0]} and no .safetensors: pickled weights are read "
                "only with allow_pickle=true; add it if you trust whoever made them, or convert them"
            )
        absent.append(f"the weights {found.weights.repository}")
    if found.tokenizer and not Path(found.tokenizer).is_dir():
        absent.append(f"the tokenizer {found.tokenizer}")
    if (tower := str(found.text.get("hf_model_name") or "")) and not Path(tower).is_dir():
        absent.append(f"the config of the text tower {tower}")
    if not absent:
        return ""
    ways = ";".join(["checkpoint=FILE", *(["tokenizer=FOLDER"] if found.tokenizer else [])])
    return (
        f"needs {', '.join(absent)}: fetch it once from the Hugging Face hub with `python -m models pull SPEC`, "
        f"or say where it lies with ;{ways}"
    )


def weights_file(published: Published, settings: Settings) -> Path | None:
    """The weights' file in the hub's cache, if it is there; pickled ones count only with allow_pickle=true."""
    found = (published.cached(name) for name in published.names(settings))
    return next((place for place in found if place is not None), None)


@functools.cache
def configs() -> Mapping[str, Path]:
    """The model configs that come with open_clip, by name."""
    return {path.stem: path for path in sorted((_package() / "model_configs").glob("*.json"))}


@functools.cache
def tags() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """open_clip's table of published weights: model -> tag -> where they are and how pictures are prepared.

    Only the statements of open_clip/pretrained.py that make up the table are run: importing the module loads torch.
    Raises EncoderUnavailable for a release of open_clip that writes its table otherwise.
    """
    folder = _package()
    try:
        return _table(folder)
    except Exception as error:  # statements of another release may raise anything
        raise EncoderUnavailable(
            f"{FAMILY}: the table of published weights cannot be read in {folder}, open_clip_torch {_version()} "
            f"({type(error).__name__}: {error}): install the version that requirements.txt names, or name a folder "
            f"with {FAMILY}:{FOLDER}PATH"
        ) from error


def _table(folder: Path) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    space: dict[str, Any] = {"copy": copy}
    exec(compile((folder / "constants.py").read_text("utf-8"), "constants.py", "exec"), space)
    tree = ast.parse((folder / "pretrained.py").read_text("utf-8"))
    table = [node for node in tree.body if _is_of_table(node)]
    exec(compile(ast.Module(table, []), "pretrained.py", "exec"), space)
    found = space["_PRETRAINED"]
    # Every row is a dictionary, which is how the rest of this file reads it.
    return {model: {tag: dict(row) for tag, row in rows.items()} for model, rows in found.items()}


def _version() -> str:
    try:
        return importlib.metadata.version("open_clip_torch")
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"


def _is_of_table(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name.startswith("_") and node.name.endswith("cfg")
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Name) and node.targets[0].id.startswith("_")
    return isinstance(node, ast.For) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))


def _package() -> Path:
    found = importlib.util.find_spec("open_clip")
    if found is None or not found.submodule_search_locations:
        raise EncoderUnavailable(f"{FAMILY} needs the package open_clip: run `pip install -r requirements.txt`")
    return Path(found.submodule_search_locations[0])


def _of_name(model: str, checkpoint: Path | None, settings: Settings) -> Plan:
    """MODEL or MODEL/TAG, with the tag's weights, or those of a file, or random ones."""
    name, _, tag = model.partition("/")
    tag = tag or str(settings.get("tag", ""))
    own = _existing(settings, "config")
    if own is not None:
        config, preprocess = _split(_read(own))
        revision = _of_weights(checkpoint, settings, "") + f"-{sha256(own)[:8]}"
        if checkpoint is None and settings.get("weights") != "random":
            raise EncoderUnavailable(
                f"config={own} says how a model is built but names no weights: "
                "add checkpoint=PATH, or weights=random for a test"
            )
        return Plan(own.stem, config, preprocess, checkpoint, _tokenizer(config, checkpoint, settings), revision)
    config = _read(pick(configs(), name, "model of open_clip"))
    known = tags().get(name, {})
    row = pick(known, tag.lower().replace("-", "_"), f"tag of {name}") if tag else _agreed(list(known.values()))
    # The towers must have the activation that the weights were trained with, whatever the config's default is.
    config["quick_gelu"] = bool(config.get("quick_gelu") or row.get("quick_gelu"))
    preprocess = {key: row[key] for key in PREPROCESSING if key in row}
    weights: Path | Published | None = checkpoint
    if checkpoint is None and settings.get("weights") != "random":
        weights = _published(name, tag, row, settings.get("revision"))
    label = f"{name}/{tag}" if tag and checkpoint is None else name
    here = weights_file(weights, settings) if isinstance(weights, Published) and weights.revision else None
    pinned = hub.commit(settings, here) if here is not None else settings.get("revision")
    revision = _of_weights(checkpoint, settings, str(pinned or tag))
    return Plan(label, config, preprocess, weights, _tokenizer(config, checkpoint, settings), revision)


def _of_hub(repository: str, checkpoint: Path | None, settings: Settings) -> Plan:
    pinned = str(settings["revision"]) if settings.get("revision") else None
    where = {"model": repository, "revision": pinned}
    path = hub.file(where, CONFIG, FAMILY)
    config, preprocess = _split(_read(path))
    weights = checkpoint or (None if settings.get("weights") == "random" else Published(repository, "", pinned))
    revision = _of_weights(checkpoint, settings, hub.commit(settings, path))
    tokenizer = _tokenizer(config, checkpoint, settings)
    return Plan(f"{HUB}{repository}", config, preprocess, weights, tokenizer, revision)


def _of_folder(folder: Path, settings: Settings) -> Plan:
    path = folder / CONFIG
    if not path.is_file():
        raise EncoderUnavailable(
            f"{folder} holds no {CONFIG}: give a folder in open_clip's own form, or MODEL;checkpoint=FILE"
        )
    config, preprocess = _split(_read(path))
    weights = None if settings.get("weights") == "random" else _weights_in(folder, settings)
    revision = _of_weights(weights, settings, "") + f"-{sha256(path)[:8]}"
    text = config["text_cfg"]
    if text.get("hf_model_name") and (folder / "config.json").is_file():
        config["text_cfg"] = {**text, "hf_model_name": str(folder)}
    beside = {"tokenizer": str(folder), **settings} if text.get("hf_tokenizer_name") else settings
    return Plan(folder.name, config, preprocess, weights, _tokenizer(config, None, beside), revision)


def _weights_in(folder: Path, settings: Settings) -> Path:
    """The weights of a folder: those under a name that open_clip knows, or the only ones."""
    pickles = settings.get("allow_pickle") == "true"
    known = [folder / name for name in KNOWN_WEIGHTS + (KNOWN_PICKLES if pickles else ())]
    found = [path for path in known if path.is_file()] or sorted(folder.glob("*.safetensors"))
    if found:
        return found[0]
    others = [p.name for p in sorted(folder.iterdir()) if p.suffix in (".bin", ".pt", ".pth")]
    raise EncoderUnavailable(
        f"{folder} holds {', '.join(others) or 'no weights'} and no .safetensors: "
        + ("add allow_pickle=true to read them (tensors only, never code)" if others else f"put {SAFE} there")
    )


def _tokenizer(config: dict[str, Any], checkpoint: Path | None, settings: Settings) -> str:
    """Where the tokenizer is: the folder that is given, that of the weights, or one in the hub's cache.

    The name on the hub where it is nowhere here, "" for byte pairs. The text tower's config is looked for beside it.
    """
    text = config["text_cfg"] = dict(config["text_cfg"])
    name, tower = str(text.get("hf_tokenizer_name") or ""), str(text.get("hf_model_name") or "")
    given = _existing(settings, "tokenizer")
    if given is None and name and checkpoint is not None and (checkpoint.parent / "tokenizer_config.json").is_file():
        given = checkpoint.parent
    if tower and not Path(tower).is_dir():
        beside = given / "config.json" if given is not None else None
        place = beside if beside is not None and beside.is_file() else in_cache(tower, "config.json", None)
        text["hf_model_name"] = str(place.parent) if place is not None else tower
    if given is None and name:
        cached = (in_cache(name, file, None) for file in TOKENIZERS)
        given = next((place.parent for place in cached if place is not None), None)
    return str(given or name)


def _published(name: str, tag: str, row: Mapping[str, Any], revision: str | None) -> Published:
    if not row or not tag:
        known = ", ".join(tags().get(name, {}))
        raise EncoderUnavailable(
            f"{FAMILY}:{name} names no weights: write {name}/TAG"
            + (f" with one of {known}," if known else " (open_clip has none for it),")
            + f" or {name};checkpoint=PATH"
        )
    repository, _, file = str(row["hf_hub"]).rpartition("/")
    return Published(repository, file, revision)


def _agreed(rows: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What all published weights of a model have in common of preprocessing and activation: it holds for a file too."""
    keys = (*PREPROCESSING, "quick_gelu")
    return {key: rows[0][key] for key in keys if rows and all(row.get(key) == rows[0].get(key, ...) for row in rows)}


def _split(read: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Model config and preprocessing of a config file, which may hold the first alone."""
    config = dict(read.get("model_cfg", read))
    if absent := [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]:
        raise EncoderUnavailable(f"the model config lacks {', '.join(absent)}: give one in open_clip's form")
    return config, dict(read.get("preprocess_cfg") or {}) if "model_cfg" in read else {}


def _read(path: Path) -> dict[str, Any]:
    return hub.read_object(path, FAMILY, "give an open_clip model config with embed_dim")


def _existing(settings: Settings, option: str) -> Path | None:
    if not settings.get(option):
        return None
    path = hub.spelled(str(settings[option]))
    if not (path.is_dir() if option == "tokenizer" else path.exists()):
        kind = "folder" if option == "tokenizer" else "file"
        raise EncoderUnavailable(f"{option}={settings[option]} is not a {kind}; give the path of an existing one")
    return path


def _of_weights(weights: Path | None, settings: Settings, otherwise: str) -> str:
    if settings.get("weights") == "random":
        return f"random-{otherwise}".rstrip("-")
    return sha256(weights)[: hub.REVISION_DIGITS] if weights is not None else otherwise


def in_cache(repository: str, name: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        place = try_to_load_from_cache(repository, name, revision=revision)
    except HFValidationError as error:
        raise EncoderUnavailable(f"{repository!r} is no name of the hub ({error}): write ORGANISATION/NAME") from error
    return Path(place) if isinstance(place, str) else None
