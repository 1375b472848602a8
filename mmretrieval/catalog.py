"""Which encoders there are, what is known of them without loading them, and how one is loaded.

`models/catalog.toml` is the table: one block an encoder. A block names its factory as text ("models.lite:Lite"), which
is imported when the encoder is first asked for; a factory is called as `factory(card, files, settings)` with the
verified data files by name and the block's settings overlaid by the options of the spec, and returns an Encoder.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import json
import threading
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from mmretrieval.errors import BadRecipe, EncoderUnavailable, pick
from mmretrieval.types import MODALITIES, Card, Encoder

CATALOG = Path(__file__).resolve().parent.parent / "models" / "catalog.toml"
REVISION_DIGITS = 12

_lock = threading.RLock()
_loaded: dict[tuple[str, str], Encoder] = {}


@dataclass(frozen=True)
class EncoderSpec:
    """A catalogue name or `family:model`, with options sorted by name; its text is canonical."""

    name: str
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return ";".join([self.name, *(f"{key}={value}" for key, value in self.options)])


@dataclass(frozen=True)
class DataFile:
    """A file that an encoder needs: its path inside an installed package, the sha256 it must have, and where it is."""

    name: str
    package: str
    path: str
    sha256: str

    def find(self) -> Path | None:
        """Where it lies, found without running the package's code; None where package or file is missing."""
        found = importlib.util.find_spec(self.package)
        for folder in (found.submodule_search_locations or ()) if found else ():
            if (place := Path(folder) / self.path).is_file():
                return place
        return None


@dataclass(frozen=True, eq=False)
class Block:
    """One block of the catalogue, as it is written there."""

    name: str
    factory: str
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    options: Mapping[str, tuple[str, ...]]
    files: tuple[DataFile, ...]

    @property
    def revision(self) -> str:
        """The checkpoint's own name where the block gives one, else a hash of everything that decides the numbers."""
        if "revision" in self.facts:
            return str(self.facts["revision"])
        parts = [self.facts["version"], dict(self.settings), [[f.name, f.sha256] for f in self.files]]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:REVISION_DIGITS]


def parse_spec(text: str) -> EncoderSpec:
    """The spec that a text spells ("clip-b32;precision=bf16"), options in any order; raises BadRecipe.

    Whether the name exists is not asked here, so that "family:model" specs pass through.
    """
    name, *pieces = (piece.strip() for piece in text.strip().split(";"))
    if not name:
        raise BadRecipe(f"encoder {text!r} has no name: begin with one, as in 'lite' or 'clip-b32;precision=bf16'")
    options: dict[str, str] = {}
    for piece in pieces:
        key, equals, value = (half.strip() for half in piece.partition("="))
        if not (key and equals and value):
            raise BadRecipe(f"encoder {text!r}: the option {piece!r} is not NAME=VALUE, as in 'precision=bf16'")
        if key in options:
            raise BadRecipe(f"encoder {text!r} gives the option {key!r} twice: keep one")
        options[key] = value
    return EncoderSpec(name, tuple(sorted(options.items())))


def cards() -> dict[str, Card]:
    """The card of every encoder in the catalogue, by name, without any option; loads no weights."""
    return {name: card(name) for name in blocks()}


def default_encoder() -> str:
    """The encoder of a new library for which none is named: the catalogue's first."""
    return next(iter(blocks()))


def card(spec: str) -> Card:
    """What is known of the encoder that a spec names, without loading it.

    The revision of a local checkpoint is the beginning of the sha256 of its weights. Raises UnknownName for a name,
    an option or a value that the catalogue lacks, EncoderUnavailable for a checkpoint that is not there.
    """
    return _describe(parse_spec(spec))[1]


def missing(spec: str) -> str:
    """Why the encoder cannot run offline here and the way out, or "" where all that it needs is on this machine."""
    block, described, _ = _describe(parse_spec(spec))
    absent = [f for f in block.files if f.find() is None]
    if absent:
        return f"{', '.join(f.package for f in absent)} is not installed: run `pip install -r requirements.txt`"
    return "" if described.offline else str(block.facts["without"])


def load(spec: str) -> Encoder:
    """The encoder that a spec names, ready to encode; the same object for everybody who asks in this process.

    Several threads that ask at once load it once. Raises UnknownName, or EncoderUnavailable with the way out where
    a package, a data file, a checkpoint or the network is missing, or where a file's sha256 is not the catalogue's.
    """
    parsed = parse_spec(spec)
    with _lock:
        block, described, settings = _describe(parsed)
        key = (described.spec, described.revision)
        if key not in _loaded:
            _loaded[key] = cast(Encoder, _factory(block)(described, data_files(parsed.name), settings))
        return _loaded[key]


def data_files(name: str, without: Collection[str] = ()) -> dict[str, Path]:
    """Where each data file of an encoder lies, its sha256 checked; raises EncoderUnavailable with the way out."""
    return {f.name: _verified(name, f) for f in pick(blocks(), name, "encoder").files if f.name not in without}


@functools.cache
def blocks() -> Mapping[str, Block]:
    """The blocks of models/catalog.toml by name, in the order in which they stand there."""
    with CATALOG.open("rb") as stream:
        table = tomllib.load(stream)
    return MappingProxyType({name: _block(name, dict(row)) for name, row in table.items()})


def digest(path: Path) -> str:
    """The sha256 of a file in hex, computed once a process as long as size and time of change stay the same."""
    state = path.stat()
    return _digest(str(path), state.st_size, state.st_mtime_ns)


@functools.cache
def _digest(path: str, size: int, mtime_ns: int) -> str:  # noqa: ARG001  # size and time only key the cache
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _block(name: str, row: dict[str, Any]) -> Block:
    files = tuple(DataFile(**entry) for entry in row.pop("files", []))
    options = {key: tuple(values) for key, values in row.pop("options", {}).items()}
    return Block(name, row.pop("factory"), row, row.pop("settings", {}), options, files)


def _describe(spec: EncoderSpec) -> tuple[Block, Card, Mapping[str, Any]]:
    block = pick(blocks(), spec.name, "encoder")
    for key, value in spec.options:
        allowed = pick(block.options, key, f"option of {spec.name}")
        if allowed:  # an option without listed values takes any text, such as a path
            pick(dict.fromkeys(allowed), value, f"value of {key}")
    options = dict(spec.options)
    facts = block.facts
    described = Card(
        name=block.name,
        spec=str(spec),
        dim=_dim(block, options),
        reads=frozenset(m for m in MODALITIES if m in facts["reads"]),
        licence=facts["licence"],
        revision=_revision(block, options),
        preprocessing=facts["preprocessing"],
        runtime=facts["runtime"],
        promise=facts["promise"],
        joint=facts.get("joint", False),
        offline=_offline(block, options),
    )
    return block, described, {**block.settings, **options}


def _offline(block: Block, options: Mapping[str, str]) -> bool:
    return bool(block.facts["offline"]) or "checkpoint" in options or options.get("weights") == "random"


def _dim(block: Block, options: Mapping[str, str]) -> int:
    if "config" not in options:
        return int(block.facts["dim"])
    path = _local(block, "config", options["config"])
    try:
        config = json.loads(path.read_text("utf-8"))
        return int(config.get("model_cfg", config)["embed_dim"])
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise EncoderUnavailable(f"{block.name}: {path} is no model config with an embed_dim ({error!r})") from error


def _revision(block: Block, options: Mapping[str, str]) -> str:
    revision = block.revision
    if "checkpoint" in options:
        revision = digest(_local(block, "checkpoint", options["checkpoint"]))[:REVISION_DIGITS]
    if options.get("weights") == "random":
        revision = f"random-{revision}"
    if "config" in options:
        revision += "-" + digest(_local(block, "config", options["config"]))[:8]
    return revision


def _local(block: Block, option: str, text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_file():
        raise EncoderUnavailable(f"{block.name}: {option}={text} is not a file; give the path of an existing one")
    return path


def _verified(encoder: str, file: DataFile) -> Path:
    path = file.find()
    if path is None:
        raise EncoderUnavailable(
            f"{encoder} needs {file.path} of the package {file.package}, which is not installed: "
            "run `pip install -r requirements.txt`"
        )
    if (found := digest(path)) != file.sha256:
        raise EncoderUnavailable(
            f"{encoder}: {path} has the sha256 {found[:12]}..., the catalogue says {file.sha256[:12]}...: "
            f"install the version of {file.package} that requirements.txt names"
        )
    return path


def _factory(block: Block) -> Any:
    module, _, attribute = block.factory.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise EncoderUnavailable(
            f"{block.name} needs the package {error.name!r}: run `pip install -r requirements.txt`"
        ) from error
