"""What the numbers that are saved from a page were measured with: models with their revisions, and versions."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from eval.tables import spoken
from mmretrieval.provenance import versions
from mmretrieval.recipe import parse

if TYPE_CHECKING:
    from mmretrieval.library import Library


def about(library: Library, *recipes: str, **said: object) -> dict[str, object]:
    """What `said` says, then the models of the recipes as the library has them, and the versions of what ran them."""
    return said | {"models": models(library, *recipes), "versions": installed()}


def models(library: Library, *recipes: str) -> str:
    """The recipes' encoders with their revisions: `lite 06db88c10f7d; hashing 4a9db3bd8184`."""
    specs = dict.fromkeys(spec for recipe in recipes for spec in parse(recipe).encoders)
    return "; ".join(f"{spec} {library.card(spec).revision}" for spec in specs if spec in library.encoders)


@cache
def installed() -> str:
    """The versions of whatever is installed here that can change a number."""
    return spoken(versions())
