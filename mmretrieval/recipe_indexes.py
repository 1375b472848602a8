"""Indexes over items as recipes transform them: built, found, opened, and removed once the library has moved on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmretrieval import fits, saved
from mmretrieval.errors import BadRecipe, LibraryBusy, LibraryError, StoreError
from mmretrieval.fits import Fits, digest, is_stale
from mmretrieval.library.index import OPTIMISE_FROM
from mmretrieval.library.locks import FolderLock
from mmretrieval.recipe import DEFAULT_COMPOSER, Recipe, Stage
from mmretrieval.search import AS_AN_ENTRY
from mmretrieval.store.materialised import ABOUT, MaterialisedStore, build, lock_of, remove
from mmretrieval.types import Transform

if TYPE_CHECKING:
    from mmretrieval.library import Library
    from mmretrieval.store.exact import Matrix
    from mmretrieval.types import Card, View


@dataclass(frozen=True)
class RecipeIndex:
    """An index of transformed items on disk; one that is not fresh serves no search until it is built anew.

    `problem` says why it is not: the library, or the code, has changed since ("stale"), what its queries go through is
    gone ("fit missing"), or it cannot be read ("spoilt").
    """

    recipe: str
    items: int
    bytes: int
    fresh: bool
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Opened:
    """An index that this process owns, and the transforms that its queries go through."""

    store: MaterialisedStore
    transforms: tuple[Transform, ...]
    changes: Mapping[str, int]


class RecipeIndexes:
    """The indexes of one library's transformed items, and which of them this process has open."""

    def __init__(self, library: Library, fits: Fits) -> None:
        self.library, self.fits = library, fits
        self._opened: dict[Path, Opened] = {}

    def find(self, recipe: Recipe, facts: Mapping[str, Any]) -> Opened | None:
        """The open index of a recipe for the state that facts tell of, where there is one that can be owned."""
        folder = self._folder(recipe, facts)
        if folder not in self._opened:
            if not (folder / ABOUT).is_file() or (transforms := self.fits.restored(recipe.transforms, facts)) is None:
                return None
            try:
                self._opened[folder] = Opened(
                    MaterialisedStore(folder, self.library.select), transforms, facts["changes"]
                )
            except (LibraryBusy, StoreError):
                return None  # another process has it, or it is spoilt: it is a cache, and a scan gives the same answer
        return self._opened[folder]

    def let_go(self) -> None:
        """Closes and removes what the library has moved on from, as soon as no search is in it any more."""
        for folder, opened in list(self._opened.items()):
            if any(self.library.ledger.last_change(space) != change for space, change in opened.changes.items()):
                del self._opened[folder]
                opened.store.retire()

    def build(
        self,
        spec: str,
        recipe: Recipe,
        facts: Mapping[str, Any],
        items: Mapping[View, Matrix],
        on_batch: Callable[[int], None] | None = None,
    ) -> int:
        """Builds the index of a recipe's items, and removes those of earlier states; gives the number of items.

        Where a process has the index of this very state open, that one is whole, and is left as it is. Raises
        LibraryError where a fit that its queries would go through is not on disk: no search could use it.
        """
        self.fits.check_kept(recipe.transforms, facts)
        folder = self._folder(recipe, facts)
        names = [self.fits.folder(s, recipe.transforms[:i], facts).name for i, s in enumerate(recipe.transforms)]
        composer = [] if recipe.composer == Stage(DEFAULT_COMPOSER) else [str(recipe.composer)]
        written = ",".join([spec, *composer, *map(str, changing(recipe))])
        with self.library.write_lock():
            self._sweep()
            try:
                lock = lock_of(folder)
            except LibraryBusy:
                return int(json.loads((folder / ABOUT).read_text(encoding="utf-8"))["items"])
            try:
                return build(
                    folder,
                    items,
                    lambda ids: {i: item.payload for i, item in self.library.items_by_id(ids).items()},
                    biased=recipe.correction is not None,
                    about={**facts, "recipe": written, "stages": [str(s) for s in changing(recipe)], "fits": names},
                    graph_from=OPTIMISE_FROM,
                    on_batch=on_batch,
                )
            finally:
                lock.remove()

    def _sweep(self) -> None:
        """Removes what no search can use: only the one who may write does so, and what others have open stays."""
        folder = self.library.path / "index"
        for other in folder.glob("*~*"):
            if other.name.endswith(".building"):  # by a build that was killed: there is no other beside this one
                shutil.rmtree(other, ignore_errors=True)
            elif other.name.endswith(".lock"):
                if not other.with_suffix("").exists():
                    _drop(other)
            elif is_stale(other / ABOUT, self.library):
                remove(other)

    def _folder(self, recipe: Recipe, facts: Mapping[str, Any]) -> Path:
        return self.library.path / "index" / f"{facts['space']}~{digest(facts, changing(recipe))}"

    def close(self) -> None:
        """Lets go of the indexes that were opened here."""
        for opened in self._opened.values():
            opened.store.close()
        self._opened.clear()


def _drop(file: Path) -> None:
    """Removes a lock that guards nothing, unless somebody has just taken it."""
    try:
        FolderLock(file, "an index that is gone").remove()
    except LibraryError:
        return


def listed(library: Library) -> tuple[RecipeIndex, ...]:
    """The indexes of transformed items that a library has on disk, by recipe."""
    found = []
    for file in library.path.glob(f"index/*~*/{ABOUT}"):
        folder = file.parent
        if folder.name.endswith(".building"):
            continue
        size = sum(f.stat().st_blocks * 512 for f in folder.rglob("*") if f.is_file())
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
            recipe, items, needed = str(about["recipe"]), int(about["items"]), list(about["fits"])
        except (OSError, ValueError, LookupError, TypeError):  # spoilt, or of an older form: it serves nobody
            found.append(RecipeIndex(folder.name, 0, size, False, "spoilt"))
            continue
        problem = "stale" if is_stale(file, library) else "" if _held(library, needed) else "fit missing"
        found.append(RecipeIndex(recipe, items, size, not problem, problem))
    return tuple(sorted(found, key=lambda index: (index.recipe, not index.fresh)))


def _held(library: Library, needed: Sequence[str]) -> bool:
    """Whether all the fits that an index needs are there; of an index without transforms none are."""
    return all((library.path / fits.FOLDER / name / saved.VALUE).is_file() for name in needed)


def refuse_to_materialise(card: Card, recipe: Recipe) -> None:
    """Raises BadRecipe where an index of a recipe's items would hold nothing of its own, or not all of it."""
    if card.multi or not changing(recipe):
        raise BadRecipe(f"{recipe} changes no vector of an item: the index of the encoder serves it as it is")
    if not can_be_index(recipe):
        raise BadRecipe(f"{recipe}: {recipe.correction} needs all scores of a query, which an index does not give")


def changing(recipe: Recipe) -> list[Stage]:
    """The stages that an index of transformed items depends on."""
    return [*recipe.transforms, *([recipe.correction] if recipe.correction else [])]


def can_be_index(recipe: Recipe) -> bool:
    """Whether the recipe's correction, if it has one, can be part of an item's row."""
    return recipe.correction is None or recipe.correction.name in AS_AN_ENTRY
