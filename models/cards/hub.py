"""Checkpoints: a folder that the user names, or a snapshot in the Hugging Face hub's cache.

Only `pull` goes out to the hub. Everything else looks at what is here, so that nothing waits for a network that is not
there, and a checkpoint stays at the commit at which it was pulled, and its space with it.

Weights are read as safetensors alone, unless the user says `allow_pickle=true`: unpickling runs whatever code the file
holds. A model that brings code of its own is trusted only by name and at a revision that was read (TRUSTED).

Settings that these functions look at: `model` (ORGANISATION/NAME), `checkpoint` (a folder or a file), `revision`,
`allow_pickle`, `weights`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmretrieval.digests import sha256
from mmretrieval.errors import EncoderUnavailable

REVISION_DIGITS = 12
COMMIT = re.compile(r"[0-9a-f]{40}")
# What a checkpoint consists of besides its weights: configs, tokenizers, chat templates.
TEXTS = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.spm", "*.md", "*.metadata")
SAFE, PICKLED = ("*.safetensors",), ("*.bin", "*.pt", "*.pth")
README = "README.md"

# Models whose own code may run, each at the one revision whose code was read. Empty until somebody has read one.
TRUSTED: dict[str, str] = {}

Settings = Mapping[str, Any]


def folder(settings: Settings, family: str) -> Path:
    """Where the checkpoint lies.

    Raises EncoderUnavailable, with both ways out, where it is not here, or has no weights that may be read.
    """
    place = _local(settings, family) or _cached(settings, family)
    if place is None:
        raise _not_here(settings, family)
    if settings.get("weights") != "random":
        _refuse_pickles_alone(place, settings, family)
    return place


def read_json(settings: Settings, name: str, family: str) -> dict[str, Any]:
    """One of the checkpoint's small files as a dictionary; raises EncoderUnavailable where it cannot be had or read."""
    return read_object(file(settings, name, family), family, "fetch the checkpoint anew")


def read_object(path: Path, family: str, way_out: str) -> dict[str, Any]:
    """A JSON file that holds an object; raises EncoderUnavailable, with the way out, where it cannot be read as one."""
    try:
        read = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise EncoderUnavailable(f"{family}: {path} is not JSON ({error}): {way_out}") from error
    if not isinstance(read, dict):
        raise EncoderUnavailable(f"{family}: {path} holds a {type(read).__name__} instead of an object: {way_out}")
    return read


def file(settings: Settings, name: str, family: str) -> Path:
    """Where one file of the checkpoint lies; raises EncoderUnavailable where it is not here."""
    local = _local(settings, family)
    if local is not None:
        place = (local if local.is_dir() else local.parent) / name
        if not place.is_file():
            raise EncoderUnavailable(f"{family}: {place.parent} holds no {name}: is it the checkpoint's folder?")
        return place
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        here = try_to_load_from_cache(_repository(settings, family), name, revision=settings.get("revision"))
    except HFValidationError as error:
        raise EncoderUnavailable(f"{family}: {settings['model']!r} is no name of the hub: {error}") from error
    if not isinstance(here, str):
        raise _not_here(settings, family, f" ({name} is missing)")
    return Path(here)


def has(settings: Settings, name: str, family: str) -> bool:
    """Whether the checkpoint has a file of this name, as far as can be known here."""
    try:
        return file(settings, name, family).is_file()
    except EncoderUnavailable:
        return False


def revision(settings: Settings, family: str, anchor: str = "config.json") -> str:
    """What tells one state of the checkpoint from another: the hub's commit, or the hash of all local weights.

    `anchor` is a file that the checkpoint has, whose place in the hub's cache tells the commit.
    """
    local = _local(settings, family)
    if settings.get("weights") == "random":
        return "random"
    if local is not None:
        return digest(local)[:REVISION_DIGITS]
    if COMMIT.fullmatch(str(settings.get("revision", ""))):
        return str(settings["revision"])
    return commit(settings, file(settings, anchor, family))


def commit(settings: Settings, place: Path) -> str:
    """The commit of a file in the hub's cache: a branch or tag that a spec names may point elsewhere after a pull."""
    named = str(settings.get("revision") or "")
    # .../snapshots/COMMIT/config.json
    return named if COMMIT.fullmatch(named) else place.parent.name[:REVISION_DIGITS]


def missing(settings: Settings, family: str) -> str:
    """Why the encoder cannot run here without the network, and the way out; "" where its weights are here."""
    try:
        if _local(settings, family) is not None or settings.get("weights") == "random":
            return ""
    except EncoderUnavailable as error:
        return str(error)
    if _cached(settings, family) is not None:
        return ""
    return (
        "its weights are not here: `python -m models pull` it once from the Hugging Face hub, or give ;checkpoint=PATH"
    )


def pull(settings: Settings, family: str) -> str:
    """Fetches everything that the encoder needs into the hub's cache; says what lies where."""
    place = _local(settings, family) or _pulled(settings, family)
    _refuse_pickles_alone(place, settings, family)
    files = [place] if place.is_file() else [f for f in sorted(place.rglob("*")) if f.is_file()]
    size = sum(f.stat().st_size for f in files)
    return f"{len(files)} files, {size / 2**20:.0f} MiB, in {place}"


def trusted(settings: Settings) -> dict[str, Any]:
    """The arguments that let a model run its own code: only for those on the list, at the revision that was read."""
    pinned = TRUSTED.get(str(settings.get("model", "")))
    return {} if pinned is None else {"trust_remote_code": True, "revision": pinned}


def licence(settings: Settings, family: str) -> str:
    """The licence that the model card's front matter names, "unknown" where there is no card here or it names none."""
    if not has(settings, README, family):
        return "unknown"
    stated = _front_matter(file(settings, README, family).read_text("utf-8", errors="replace"))
    named, own_name = stated.get("license", ""), stated.get("license_name", "")
    return (own_name or named if named in ("", "other") else named) or "unknown"


def forbids_commerce(text: str) -> bool:
    """Whether a licence, by the name that model cards give it, surely forbids commercial use.

    Non-commercial ones say so (cc-by-nc-4.0, polyform-noncommercial); research licences (qwen-research, apple-amlr)
    allow research alone.
    """
    words = re.findall("[a-z]+", text.lower())
    if {"nc", "noncommercial", "amlr"} & set(words) or ("non", "commercial") in zip(words, words[1:], strict=False):
        return True
    return "research" in words and "commercial" not in words


def digest(place: Path) -> str:
    """The sha256 of a file of weights, or of the names and hashes of all of a folder's; in hex."""
    if place.is_file():
        return sha256(place)
    weights = sorted(f for pattern in SAFE + PICKLED for f in place.rglob(pattern))
    lines = "".join(f"{f.relative_to(place).as_posix()} {sha256(f)}\n" for f in weights)
    return hashlib.sha256(lines.encode()).hexdigest()


def _local(settings: Settings, family: str) -> Path | None:
    """The file or folder that the spec names, if it names one; a model that is an absolute path counts as one."""
    named = settings.get("checkpoint") or (settings.get("model") if _is_path(settings) else None)
    if named is None:
        return None
    place = spelled(str(named))
    if not place.exists():
        raise EncoderUnavailable(f"{family}: {named} does not exist: give the path of a checkpoint that is there")
    return place


def _front_matter(text: str) -> dict[str, str]:
    """The top keys of a model card's YAML header; the entries of a list are joined by commas."""
    lines = iter(text.removeprefix("\ufeff").splitlines())
    if next(lines, "").strip() != "---":
        return {}
    found: dict[str, list[str]] = {}
    key = ""
    for line in lines:
        if line.strip() == "---":
            break
        entry, dash = line.strip(), line.strip().startswith("- ")
        if not dash and not line[:1].isspace():
            key, _, entry = line.partition(":")
        value = entry.removeprefix("- ").partition(" #")[0].strip(" []\t'\"")
        if key and value:
            found.setdefault(key.strip(), []).append(value)
    return {key: ", ".join(values) for key, values in found.items()}


def spelled(text: str) -> Path:
    """A path as a spec has it, ~ filled in; raises EncoderUnavailable for one that cannot even be looked at."""
    try:
        place = Path(text).expanduser()
        place.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, no right to look, no such user
        raise EncoderUnavailable(
            f"{text[:80]} cannot be looked at ({str(error)[:120]}): give the path of a file or a folder"
        ) from None
    return place


def _is_path(settings: Settings) -> bool:
    return str(settings.get("model", "")).startswith(("/", "~", "./", "../"))


def _repository(settings: Settings, family: str) -> str:
    model = str(settings.get("model", ""))
    if not model:
        raise EncoderUnavailable(f"{family}: no model is named: write ORGANISATION/NAME after the family's colon")
    return model


def _patterns(settings: Settings) -> list[str]:
    return [*TEXTS, *SAFE, *(PICKLED if settings.get("allow_pickle") == "true" else ())]


def _pulled(settings: Settings, family: str) -> Path:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return _snapshot(settings, family)
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise EncoderUnavailable(
            f"{family}: {settings.get('model')} cannot be fetched ({said}): connect to the Hugging Face hub (without "
            "HF_HUB_OFFLINE), or name a folder that has it with ;checkpoint=PATH"
        ) from error


def _cached(settings: Settings, family: str) -> Path | None:
    """The snapshot in the hub's cache, if its weights are there: a config may have been fetched alone."""
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        place = _snapshot(settings, family, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None
    weights = SAFE + (PICKLED if settings.get("allow_pickle") == "true" else ())
    return place if any(True for pattern in weights for _ in place.rglob(pattern)) else None


def _snapshot(settings: Settings, family: str, **how: Any) -> Path:
    from huggingface_hub import snapshot_download

    repository, commit = _repository(settings, family), settings.get("revision")
    return Path(snapshot_download(repository, revision=commit, allow_patterns=_patterns(settings), **how))


def _refuse_pickles_alone(place: Path, settings: Settings, family: str) -> None:
    if place.is_file() or any(True for _ in place.rglob(SAFE[0])):
        return
    pickles = sorted(f.name for pattern in PICKLED for f in place.rglob(pattern))
    if pickles and settings.get("allow_pickle") == "true":
        return
    raise EncoderUnavailable(
        f"{family}: {place} holds {', '.join(pickles) or 'no weights'}, and no .safetensors: pickled weights can run "
        "any code when they are read; choose a revision with safetensors, convert them, or add allow_pickle=true if "
        "you trust whoever made them"
    )


def _not_here(settings: Settings, family: str, more: str = "") -> EncoderUnavailable:
    return EncoderUnavailable(
        f"{family}: {settings.get('model')} is not on this machine{more}: fetch it once from the Hugging Face hub with "
        "`python -m models pull SPEC`, or name a folder that has it with ;checkpoint=PATH"
    )
