"""Which encoders there are, what is known of them without loading them, and how one is loaded.

`models/catalog.toml` is the table: one block an encoder (or reranker), and one under `family` for each kind of
checkpoint. A spec names a block ("clip-b32;precision=fp32") or a checkpoint of a family ("open_clip:ViT-L-14/openai").
Encoders of one's own stand in a further file of the same form, named by the environment variable MMRETRIEVAL_CATALOG.

A block or its family names a factory as text ("models.clip:OpenClip"), which is imported when the encoder is first
asked for; a factory is called as `factory(card, files, settings)` with the verified data files by name and the block's
settings overlaid by the options of the spec, and returns an Encoder. What a checkpoint says of itself is read by the
family's `card` module, which loads no weights: `describe(settings)` gives facts, `pull(settings)` fetches.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import json
import os
import threading
import time
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from mmretrieval.digests import sha256
from mmretrieval.errors import BadRecipe, EncoderError, EncoderUnavailable, UnknownName, pick
from mmretrieval.spec import LEXICAL, OWN_CATALOG, EncoderSpec, parse_spec
from mmretrieval.types import MODALITIES, Card, ContentReranker, Encoder

# What others know from here, beside what is defined below.
__all__ = ["OWN_CATALOG", "EncoderSpec", "parse_spec"]

CATALOG = Path(__file__).resolve().parent.parent / "models" / "catalog.toml"
FAMILIES = "family"
REVISION_DIGITS = 12
# A branch of a repository: what it holds changes, so that the commit must be asked for.
UNPINNED = "main"
# What a block says of an encoder stays true whatever options a spec gives; all else its checkpoint may say anew.
FIXED = frozenset({"licence", "commercial", "promise", "role"})
# Except where a spec gives other weights: their licence is not the block's.
OTHER_WEIGHTS = frozenset({"checkpoint", "base", "adapter"})
OF_WEIGHTS = frozenset({"licence", "commercial"})

# Held for a look at the tables alone: whoever asks for an encoder that is there waits for nobody who loads another.
_lock = threading.Lock()
# Held for a whole load: while transformers builds a model, it changes torch's default type for the whole process, and
# a model built beside it would come out in that type. Reentrant: a factory may load what it is made of.
_loading = threading.RLock()
_loaded: dict[tuple[str, str], Any] = {}
_used: dict[tuple[str, str], float] = {}


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
    """One block of a catalogue, as it is written there, with what it has from its family; `card` names a module."""

    name: str
    factory: str
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    options: Mapping[str, tuple[str, ...]]
    files: tuple[DataFile, ...]
    family: str = ""
    card: str = ""

    @property
    def revision(self) -> str:
        """The checkpoint's own name where the block gives one, else a hash of everything that decides the numbers."""
        if "revision" in self.facts:
            return str(self.facts["revision"])
        parts = [self.facts["version"], dict(self.settings), [[f.name, f.sha256] for f in self.files]]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:REVISION_DIGITS]

    def described(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What the checkpoint that these settings name says of itself; nothing where no module can tell."""
        return dict(self._module().describe(settings)) if self.card else {}

    def missing(self, settings: Mapping[str, Any]) -> str:
        """Why the checkpoint cannot be loaded here without a network, or ""."""
        return str(self._module().missing(settings)) if self.card else ""

    def pull(self, settings: Mapping[str, Any]) -> str:
        """Fetches the checkpoint for later use without a network; says what lies where."""
        return str(self._module().pull(settings)) if self.card else "everything it needs is installed"

    def _module(self) -> Any:
        return _imported(self.card, self.name)


def cards() -> dict[str, Card]:
    """The card of every encoder in the catalogue, by name, without any option; loads no weights.

    `untold` has those that are left out: a block may leave its facts to a checkpoint that is not here.
    """
    found = {name: _told(name)[0] for name, block in blocks().items() if not _is_reranker(block)}
    return {name: told for name, told in found.items() if told is not None}


def rerankers() -> dict[str, Card]:
    """The card of every model in the catalogue that reads query and item together, by name."""
    found = {name: _told(name)[0] for name, block in blocks().items() if _is_reranker(block)}
    return {name: told for name, told in found.items() if told is not None}


def untold() -> dict[str, str]:
    """Of every name in the catalogue that has no card here why not, and the way out."""
    return {name: why for name in blocks() if (why := _told(name)[1])}


def _told(name: str) -> tuple[Card | None, str]:
    try:
        return card(name), ""
    except EncoderUnavailable as error:
        if not blocks()[name].card:
            raise  # a mistake in a catalogue, and no checkpoint that is elsewhere
        return None, str(error)


def default_encoder() -> str:
    """The encoder of a new library for which none is named: the catalogue's first."""
    return next(iter(blocks()))


def card(spec: str) -> Card:
    """What is known of the encoder that a spec names, without loading it.

    The revision of a local checkpoint is the beginning of the sha256 of its weights. Raises UnknownName for a name,
    an option or a value that the catalogue lacks, EncoderUnavailable for a checkpoint that is not there.
    """
    return _describe(parse_spec(spec))[1]


def check_known(spec: str) -> None:
    """Raises UnknownName for a name or family that no catalogue has; looks at no checkpoint."""
    _block_of(parse_spec(spec))


def is_plain(spec: str) -> bool:
    """Whether the spec is a catalogue's name alone, so that whoever wrote it chose nothing but that."""
    return spec in blocks()


def is_joint(spec: str) -> bool:
    """Whether the catalogue, the family or the spec itself says that the encoder is joint; asks no checkpoint.

    False for what is no spec, and for unknown names.
    """
    try:
        parsed = parse_spec(spec)
        block = _block_of(parsed)
    except (BadRecipe, UnknownName):
        return False
    return bool(block.facts.get("joint")) or {**block.settings, **dict(parsed.options)}.get("joint") == "true"


def resolve(spec: str) -> tuple[Block, Card, Mapping[str, Any]]:
    """The block that a spec names, its card, and the settings that its factory is handed; as `card` does."""
    return _describe(parse_spec(spec))


def in_full_precision(spec: str) -> str:
    """The spec with precision=fp32 where it names no precision and would run in another: what is evaluated.

    An encoder that cannot be asked for fp32 stays as it is.
    """
    parsed = parse_spec(spec)
    block = _block_of(parsed)
    usual, allowed = block.settings.get("precision", "fp32"), block.options.get("precision")
    selectable = allowed is not None and (not allowed or "fp32" in allowed)
    if selectable and usual != "fp32" and "precision" not in dict(parsed.options):
        return str(EncoderSpec(parsed.name, tuple(sorted([*parsed.options, ("precision", "fp32")]))))
    return str(parsed)


def missing(spec: str) -> str:
    """Why the encoder cannot run offline here and the way out, or "" where all that it needs is on this machine."""
    parsed = parse_spec(spec)
    block = _block_of(parsed)
    if absent := [f for f in block.files if f.find() is None]:
        return f"{', '.join(f.package for f in absent)} is not installed: run `pip install -r requirements.txt`"
    if block.facts.get("offline"):
        return ""
    if block.card:
        return block.missing({**block.settings, **dict(parsed.options)})
    return str(block.facts.get("without", ""))


def pull(spec: str) -> str:
    """Fetches what the encoder needs, for later use without a network; says what lies where."""
    parsed = parse_spec(spec)
    block = _block_of(parsed)
    data_files(parsed.name)
    return block.pull({**block.settings, **dict(parsed.options)})


def load(spec: str) -> Encoder:
    """The encoder that a spec names, ready to encode; the same object for everybody who asks in this process.

    Several threads that ask at once load it once, and who asks for what is loaded waits for no other load. Raises
    UnknownName, or EncoderUnavailable with the way out where a package, a data file, a checkpoint or the network is
    missing, or where a file's sha256 is not the catalogue's.
    """
    return cast(Encoder, _load(spec, reranker=False))


def load_reranker(spec: str) -> ContentReranker:
    """The model that a spec names, which scores items by reading each together with the query; as `load` does."""
    return cast(ContentReranker, _load(spec, reranker=True))


def unload_idle(seconds: float) -> list[str]:
    """Lets go of every model that nobody has asked for in so many seconds; gives their specs.

    Whoever still holds one goes on using it; the next to ask loads it anew.
    """
    now = time.monotonic()
    with _lock:
        idle = [key for key in _loaded if now - _used.get(key, now) >= seconds]
        for key in idle:
            del _loaded[key]
            _used.pop(key, None)
    return [spec for spec, _ in idle]


def data_files(name: str, without: Collection[str] = ()) -> dict[str, Path]:
    """Where each data file of an encoder lies, its sha256 checked; raises EncoderUnavailable with the way out."""
    files = blocks()[name].files if name in blocks() else ()
    return {f.name: _verified(name, f) for f in files if f.name not in without}


@functools.cache
def blocks() -> Mapping[str, Block]:
    """The blocks of all catalogues by name, in the order in which they stand there."""
    found: dict[str, Block] = {}
    for path, table in _tables():
        for name, row in table.items():
            if name == FAMILIES:
                continue
            if name == LEXICAL:
                raise EncoderUnavailable(f"{path}: {name!r} is what recipes call search by words: rename this encoder")
            if name in found:
                raise EncoderUnavailable(f"{path}: an encoder called {name!r} is in another catalogue: rename this one")
            try:
                found[name] = _block(path, name, row)
            except (TypeError, ValueError, AttributeError) as error:
                raise EncoderUnavailable(
                    f"{path}: {name} is no block of a catalogue ({error}): models/catalog.toml shows their form"
                ) from error
    return MappingProxyType(found)


@functools.cache
def families() -> Mapping[str, Mapping[str, Any]]:
    """The families of checkpoints by name, as they are written in the catalogues."""
    found: dict[str, Mapping[str, Any]] = {}
    for path, table in _tables():
        for name, row in table.get(FAMILIES, {}).items():
            if name in found:
                raise EncoderUnavailable(f"{path}: a family called {name!r} is in another catalogue: rename this one")
            found[name] = row
    return MappingProxyType(found)


def _tables() -> list[tuple[Path, dict[str, Any]]]:
    own = os.environ.get(OWN_CATALOG)
    tables = []
    for path in [CATALOG, *([Path(own).expanduser()] if own else [])]:
        try:
            tables.append((path, tomllib.loads(path.read_text("utf-8"))))
        except (OSError, ValueError) as error:
            raise EncoderUnavailable(
                f"the catalogue {path} cannot be read: {error}; mend it, or unset {OWN_CATALOG}"
            ) from error
    return tables


def _block(path: Path, name: str, row: Mapping[str, Any]) -> Block:
    facts = dict(row)
    family = facts.pop("family", "")
    inherited = pick(families(), family, "family of encoders") if family else {}
    taken = {key: facts.pop(key, inherited.get(key, "")) for key in ("factory", "card")}
    if not taken["factory"]:
        raise EncoderUnavailable(f"{path}: {name} names neither a factory nor a family: add one of them")
    files = tuple(DataFile(**entry) for entry in facts.pop("files", []))
    options = {
        key: tuple(values) for key, values in {**inherited.get("options", {}), **facts.pop("options", {})}.items()
    }
    settings = {**inherited.get("settings", {}), **facts.pop("settings", {})}
    facts = {key: inherited[key] for key in ("role", "joint") if key in inherited} | facts
    return Block(name, taken["factory"], facts, settings, options, files, family, taken["card"])


def _block_of(spec: EncoderSpec) -> Block:
    """The block that a spec names, or one made for `family:model`."""
    family, colon, model = spec.name.partition(":")
    if spec.name == LEXICAL:
        raise UnknownName(
            f"{LEXICAL} searches the words of a library's items as they are: it is never ingested and takes no "
            f"options. Write it into a recipe, as in lite@visual+{LEXICAL}."
        )
    if not colon or spec.name in blocks():
        try:
            return cast(Block, pick({**blocks(), LEXICAL: None}, spec.name, "encoder"))
        except UnknownName as error:
            raise UnknownName(f"{error} One of your own is in the catalogue that {OWN_CATALOG} names.") from None
    row = pick(families(), family, "family of encoders")
    options = {key: tuple(values) for key, values in row.get("options", {}).items()}
    settings = {**row.get("settings", {}), "model": model}
    facts = {key: row[key] for key in ("role", "joint") if key in row}
    return Block(spec.name, row["factory"], facts, settings, options, (), family, row.get("card", ""))


def _describe(spec: EncoderSpec) -> tuple[Block, Card, Mapping[str, Any]]:
    block = _block_of(spec)
    for key, value in spec.options:
        allowed = pick(block.options, key, f"option of {spec.name}")
        if allowed:  # an option without listed values takes any text, such as a path
            pick(dict.fromkeys(allowed), value, f"value of {key}")
    settings = {**block.settings, **dict(spec.options)}
    named = "licence" in block.facts
    fixed, own = FIXED, block.facts
    if OTHER_WEIGHTS & {key for key, _ in spec.options}:
        fixed, own = FIXED - OF_WEIGHTS, {key: value for key, value in own.items() if key not in OF_WEIGHTS}
    told: Mapping[str, Any] = {}
    if spec.options or not named:
        told = block.described(settings)
    elif block.facts.get("revision") == UNPINNED:
        told = _commit(block, settings)
    facts = {**own, **{key: value for key, value in told.items() if not (named and key in fixed)}}
    return block, _card(block, str(spec), facts, settings), settings


def _commit(block: Block, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The commit that is here of a checkpoint for which the catalogue names none; nothing where it is not here yet."""
    try:
        return {"revision": block.described(settings)["revision"]}
    except EncoderUnavailable:
        return {}


def _card(block: Block, spec: str, facts: Mapping[str, Any], settings: Mapping[str, Any]) -> Card:
    try:
        revision = str(facts["revision"]) if "revision" in facts else block.revision
        if settings.get("weights") == "random" and not revision.startswith("random"):
            revision = f"random-{revision}"
        return Card(
            name=block.name,
            spec=spec,
            dim=int(facts["dim"]),
            reads=frozenset(m for m in MODALITIES if m in facts["reads"]),
            licence=facts.get("licence", "unknown"),
            revision=revision,
            preprocessing=facts.get("preprocessing", ""),
            runtime=facts.get("runtime", ""),
            promise=facts.get("promise", ""),
            joint=facts.get("joint", False),
            offline=facts.get("offline", False) or facts.get("missing") == "",
            multi=facts.get("multi", False),
            commercial=facts.get("commercial", True),
            family=block.family,
        )
    except KeyError as error:
        raise EncoderUnavailable(f"the catalogue's block {block.name} lacks {error}: add it there") from error
    except (TypeError, ValueError) as error:
        raise EncoderUnavailable(
            f"the catalogue's block {block.name} holds a value of another kind than it should ({error}): mend it there"
        ) from error


def _is_reranker(block: Block) -> bool:
    return block.facts.get("role") == "reranker"


def _load(spec: str, *, reranker: bool) -> Any:
    parsed = parse_spec(spec)
    block, described, settings = _describe(parsed)
    if _is_reranker(block) != reranker:
        is_not = "an encoder, not a reranker" if reranker else "a reranker, not an encoder"
        raise EncoderError(f"{described.spec} is {is_not}: `python -m models list` shows which is which")
    key = (described.spec, described.revision)
    if (found := _kept(key)) is not None:
        return found
    with _loading:
        if (found := _kept(key)) is None:  # somebody may have loaded it while this thread waited
            found = _factory(block)(described, data_files(parsed.name), settings)
            with _lock:
                _loaded[key], _used[key] = found, time.monotonic()
    return found


def _kept(key: tuple[str, str]) -> Any:
    """The loaded encoder of this spec and revision, or None; that it was asked for is noted."""
    with _lock:
        if key in _loaded:
            _used[key] = time.monotonic()
        return _loaded.get(key)


def _verified(encoder: str, file: DataFile) -> Path:
    path = file.find()
    if path is None:
        raise EncoderUnavailable(
            f"{encoder} needs {file.path} of the package {file.package}, which is not installed: "
            "run `pip install -r requirements.txt`"
        )
    if (found := sha256(path)) != file.sha256:
        raise EncoderUnavailable(
            f"{encoder}: {path} has the sha256 {found[:12]}..., the catalogue says {file.sha256[:12]}...: "
            f"install the version of {file.package} that requirements.txt names"
        )
    return path


def _factory(block: Block) -> Any:
    module, _, attribute = block.factory.partition(":")
    try:
        return getattr(_imported(module, block.name), attribute)
    except AttributeError as error:
        raise EncoderUnavailable(f"{block.name}: the module {module} has no {attribute!r}: mend its factory") from error


def _imported(module: str, encoder: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        way = "run `pip install -r requirements.txt`, or put the folder that holds it on PYTHONPATH"
        raise EncoderUnavailable(f"{encoder} needs the package {error.name!r}: {way}") from error
