"""Fitted values on disk: frozen dataclasses of arrays, numbers and texts as .npz and JSON, without pickle."""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import json
import os
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# A file in a library names the class of what it holds: only what is fitted may be named.
PACKAGES = ("mmretrieval.transforms.", "mmretrieval.search.")
ROOT = Path(__file__).parents[1]
VALUE = "value.json"


def save(folder: Path, value: Any, about: Mapping[str, Any]) -> None:
    """Writes a fitted value and what it was fitted on as one new folder; one that is there and whole is left alone.

    Raises OSError where it cannot be written, TypeError for a value that holds anything but arrays, numbers, texts,
    tuples and mappings of those, and dataclasses of them.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    told = {"about": dict(about), "value": _encoded(value, arrays)}
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    temporary.mkdir(parents=True)
    try:
        with (temporary / "arrays.npz").open("wb") as sink:
            np.savez(sink, **arrays)  # type: ignore[arg-type]  # its stub takes the arrays for the flag allow_pickle
        (temporary / VALUE).write_text(json.dumps(told, indent=1), encoding="utf-8")
        if folder.is_dir() and restore(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():  # not that somebody else was quicker
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def restore(folder: Path, *, note: bool = True) -> Any | None:
    """The value that a folder holds, or None where there is none that can be read: then it is fitted again.

    Notes on the folder that it was used now, where it may; not if `note` is False.
    """
    try:
        with (folder / VALUE).open("rb") as source:
            # Shared with other readers: `remove` lets a folder be while somebody reads it.
            fcntl.flock(source, fcntl.LOCK_SH | fcntl.LOCK_NB)
            told = json.loads(source.read())
            with suppress(OSError):  # a folder that may only be read has no room to make either
                if note:
                    os.utime(source.fileno())
            # Opened here, since numpy leaves a file open that turns out to be no archive.
            with (folder / "arrays.npz").open("rb") as kept, np.load(kept, allow_pickle=False) as arrays:
                return _decoded(told["value"], {name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, ImportError):
        return None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError):  # how zipfile meets bytes that went wrong
        return None


def remove(folder: Path) -> bool:
    """Removes a saved value unless somebody is reading it just now, or it may not be removed; says whether it did."""
    try:
        with (folder / VALUE).open("rb") as source:
            fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
    except FileNotFoundError:  # half of it is gone already
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return False
    return True


def used(folder: Path) -> float:
    """When a saved value was last used, in seconds since 1970; 0 where it is gone."""
    try:
        return (folder / VALUE).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def size(folder: Path) -> int:
    """How many bytes a saved value takes: those of what is left, where another process is removing it."""
    total = 0
    with suppress(FileNotFoundError):
        for file in folder.iterdir():
            total += file.stat().st_size
    return total


@cache
def code_digest() -> str:
    """Sixteen hex digits that change with the code that fits: what older code fitted is not what newer code would."""
    digest = hashlib.sha256()
    own = sorted([*(ROOT / "mmretrieval/transforms").glob("*.py"), *(ROOT / "mmretrieval/search").glob("*.py")])
    trained = sorted((ROOT / "models").glob("*.py"))
    for file in [*own, ROOT / "mmretrieval/geometry.py", *trained]:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _encoded(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return {"plain": value}
    if isinstance(value, np.generic):
        return {"plain": value.item()}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufSU":
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, (tuple, list)):
        return {"tuple": [_encoded(v, arrays) for v in value]}
    if isinstance(value, Mapping):
        return {"mapping": [[_encoded(k, arrays), _encoded(v, arrays)] for k, v in value.items()]}
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        held = {f.name: _encoded(getattr(value, f.name), arrays) for f in fields(value) if f.init}
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": held}
    raise TypeError(f"a fitted value holds {type(value).__name__}, which cannot be saved")


def _decoded(told: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    if "plain" in told:
        return told["plain"]
    if "array" in told:
        return arrays[told["array"]]
    if "tuple" in told:
        return tuple(_decoded(v, arrays) for v in told["tuple"])
    if "mapping" in told:
        return {_decoded(k, arrays): _decoded(v, arrays) for k, v in told["mapping"]}
    module, _, name = told["class"].partition(":")
    if not module.startswith(PACKAGES):
        raise ValueError(f"{module} is no module of fitted values")
    kind = getattr(importlib.import_module(module), name)
    if not (isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == module):
        raise ValueError(f"{told['class']} is no dataclass of its own module")
    return kind(**{field: _decoded(v, arrays) for field, v in told["fields"].items()})
