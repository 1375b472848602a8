"""library.toml: which encoders a library has, its default recipe, and how its files are cut."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from mmretrieval.errors import NotALibrary
from mmretrieval.types import Settings

FORMAT = 1


@dataclass(frozen=True)
class LibraryConfig:
    """What library.toml says."""

    encoders: tuple[str, ...]
    default_recipe: str
    settings: Settings = Settings()


def read(file: Path) -> LibraryConfig:
    """What a library.toml says; NotALibrary where it cannot be read, or is of another format."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        if data.get("format", FORMAT) != FORMAT:
            raise NotALibrary(f"{file} has format {data['format']}, this version reads {FORMAT}")
        return LibraryConfig(tuple(data["encoders"]), data["default_recipe"], Settings(**data["settings"]))
    except (ValueError, KeyError, TypeError) as error:  # not UTF-8, no TOML, a key that is missing or unknown
        raise NotALibrary(
            f"{file} does not say what a library is made of ({type(error).__name__}: {error}): mend the file, or "
            f"delete the folder {file.parent} and ingest again"
        ) from error


def written(config: LibraryConfig) -> str:
    """The text of library.toml."""
    lines = [
        f"format = {FORMAT}",
        f"encoders = {_toml(list(config.encoders))}",
        f"default_recipe = {_toml(config.default_recipe)}",
        "",
        "[settings]  # how files are cut and read; change them only in an empty library",
        *(f"{k} = {_toml(v)}" for k, v in asdict(config.settings).items()),
    ]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """A string, number, or list of strings in TOML, whose strings are JSON's but for the escape of a surrogate pair."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
