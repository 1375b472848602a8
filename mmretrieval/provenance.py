"""Where numbers come from: which models, and which versions of what can change a number."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from functools import cache
from typing import Any

from mmretrieval.types import Card

# The packages that decode, tokenise, multiply or search.
PACKAGES = (
    *("numpy", "torch", "torchvision", "openvino", "open_clip_torch", "transformers", "sentence-transformers"),
    *("tokenizers", "pillow", "pillow_heif", "av", "decord", "pypdfium2", "qdrant-edge-py"),
)


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """The versions of Python and of those packages that are installed; others have no part in the numbers."""
    return dict(_versions(tuple(packages)))


@cache  # a search asks each time, and looking takes longer than many searches
def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def facts_of(card: Card) -> dict[str, Any]:
    """What a record of numbers says of a model: what it was, what it ran on, and under which licence."""
    facts = {"spec": card.spec, "revision": card.revision, "runtime": card.runtime}
    return facts | {"licence": card.licence, "commercial_use": card.commercial}
