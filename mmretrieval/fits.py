"""What stages were fitted to, on disk: by a hash of all that decides it, the last that were used, up to a bound.

A library that is only read has its new fits elsewhere (`Library.caches`), and its own are read where they stand.

A fit is read whole into memory. So removing one takes nothing from a process that uses it, and what is being read at
the moment is left alone (see `saved.remove`); an index of transformed items needs its fits, and keeps them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmretrieval import saved
from mmretrieval.errors import LibraryError
from mmretrieval.provenance import versions
from mmretrieval.store.materialised import ABOUT

if TYPE_CHECKING:
    from mmretrieval.library import Library
    from mmretrieval.recipe import Stage
    from mmretrieval.reference import Reference

logger = logging.getLogger(__name__)

FOLDER = "transforms"
# So many fits of a library are kept, and so many bytes of them: the last that were used.
MOST, MOST_BYTES = 256, 2 * 2**30
# A fit that takes longer than the first is spoken of, and again whenever the second has passed.
SLOW_SECONDS, AGAIN_SECONDS = 2.0, 10.0
# What a process that was killed left half-written is removed after so many seconds.
ABANDONED_SECONDS = 3600.0

_warned: set[Path] = set()


class Fits:
    """The fits of one library. `facts` is what decides how stages come out beside the stages themselves.

    Facts hold "space", "changes" ({space: the last change that the ledger knows of it}, targets included), "bank",
    "composer" and "code".
    """

    def __init__(self, library: Library) -> None:
        self.library = library
        # Why fits of this process are not on disk, by the folders that they should be in.
        self.unkept: dict[Path, str] = {}

    def fit(
        self,
        run: Callable[..., Any],
        reference: Reference,
        stage: Stage,
        after: Sequence[Stage],
        facts: Mapping[str, Any],
    ) -> Any:
        """A stage fitted on this reference, `after` other transforms: from disk where it was fitted before.

        A fit that takes long is spoken of by `logging`, and so is, once for a folder, one that cannot be kept.
        """
        if (made := self._restored(stage, after, facts)) is not None:
            return made
        held = {view: len(matrix.ids) for view, matrix in reference.items.items()}
        started = time.perf_counter()
        with _spoken(f"{stage} of {facts['space'].partition('-')[0]}", sum(held.values())):
            made = run(reference, *stage.arguments)
        about = {**facts, "stage": str(stage), "after": [str(s) for s in after], "items": held}
        about |= {"seconds": round(time.perf_counter() - started, 3), "versions": versions()}
        self._keep(self.folder(stage, after, facts), made, about)
        return made

    def _restored(self, stage: Stage, after: Sequence[Stage], facts: Mapping[str, Any]) -> Any | None:
        """The fit from disk; one in the folder of a library that is only read is not even marked as used."""
        made = saved.restore(self.folder(stage, after, facts))
        if made is None and self.library.reading:
            made = saved.restore(self.library.path / FOLDER / self.folder(stage, after, facts).name, note=False)
        return made

    def _keep(self, folder: Path, made: Any, about: Mapping[str, Any]) -> None:
        try:
            saved.save(folder, made, about)
        except OSError as error:
            self.unkept[folder] = error.strerror or str(error)
            if folder.parent not in _warned:
                _warned.add(folder.parent)
                logger.warning(
                    "the fit of %s could not be kept in %s (%s): it is fitted again whenever it is needed; make room "
                    "there, or make the folder writable (said once)",
                    about["stage"], folder.parent, self.unkept[folder],
                )  # fmt: skip
            return
        self.unkept.pop(folder, None)
        _warned.discard(folder.parent)
        try:
            self._make_room(folder)
        except OSError as error:
            logger.warning(
                "the fit of %s is kept, but earlier ones could not be removed from %s (%s)",
                about["stage"], folder.parent, error.strerror or error,
            )  # fmt: skip

    def restored(self, transforms: Sequence[Stage], facts: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """All fits of a recipe's transforms from disk, or None where one is missing."""
        made = []
        for place, stage in enumerate(transforms):
            if (value := self._restored(stage, transforms[:place], facts)) is None:
                return None
            made.append(value)
        return tuple(made)

    def check_kept(self, transforms: Sequence[Stage], facts: Mapping[str, Any]) -> None:
        """Raises LibraryError unless the fits of all of a recipe's transforms can be read from disk."""
        for place, stage in enumerate(transforms):
            folder = self.folder(stage, transforms[:place], facts)
            if saved.restore(folder) is None:
                raise LibraryError(
                    f"the fit of {stage} could not be kept in {folder.parent} "
                    f"({self.unkept.get(folder, 'it cannot be read there')}), and without it no search could use the "
                    "index: make room there, or make the folder writable, and build the index again"
                )

    def folder(self, stage: Stage, after: Sequence[Stage], facts: Mapping[str, Any]) -> Path:
        """Where the fit of a stage after others is kept."""
        return self.library.caches / FOLDER / f"{facts['space']}-{digest(facts, [*after, stage])}"

    def _make_room(self, newest: Path) -> None:
        """Removes what belongs to earlier states of the library or to other code, then the longest unused."""
        for left in newest.parent.glob(".*"):
            with suppress(FileNotFoundError):  # another process has just put it in its place
                if left.is_dir() and time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
        kept = {}
        for folder in kept_in(self.library.caches):
            if folder != newest and is_stale(folder / saved.VALUE, self.library):
                saved.remove(folder)
            else:
                kept[folder] = saved.used(folder), saved.size(folder)
        needed = _needed(self.library.caches)
        total = sum(size for _, size in kept.values())
        for folder in sorted(kept, key=lambda f: kept[f]):
            if len(kept) <= MOST and total <= MOST_BYTES:
                break
            if folder != newest and folder.name not in needed and saved.remove(folder):
                total -= kept.pop(folder)[1]


def kept_in(library: Path) -> list[Path]:
    """The folders of a library's fits."""
    folder = library / FOLDER
    return sorted(f for f in folder.iterdir() if not f.name.startswith(".")) if folder.is_dir() else []


def digest(facts: Mapping[str, Any], stages: Sequence[Stage]) -> str:
    """Sixteen hex digits that change with the facts and with the stages."""
    told = {**facts, "stages": [str(stage) for stage in stages]}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def is_stale(file: Path, library: Library) -> bool:
    """Whether what a file tells of was made of an earlier state of the library, or by other code, or is spoilt."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        about = told.get("about", told)
        moved = any(library.ledger.last_change(space) != change for space, change in about["changes"].items())
        return moved or bool(about["code"] != saved.code_digest())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # spoilt, or of an older form
        return True


def _needed(library: Path) -> set[str]:
    """The names of the fits that indexes of transformed items need: their queries go through them."""
    names = set[str]()
    for file in library.glob(f"index/*~*/{ABOUT}"):
        try:
            names.update(json.loads(file.read_text(encoding="utf-8"))["fits"])
        except (OSError, ValueError, LookupError, TypeError):  # gone meanwhile, or spoilt: then it serves nobody
            continue
    return names


@contextmanager
def _spoken(what: str, rows: int) -> Iterator[None]:
    """Says by `logging` that a fit goes on, once it has taken longer than people wait without a word."""
    started, ended = time.perf_counter(), threading.Event()

    def speak() -> None:
        wait = SLOW_SECONDS
        while not ended.wait(wait):
            so_far = time.perf_counter() - started
            logger.info("fitting %s on %s vectors: %.0f s so far", what, f"{rows:,}", so_far)
            wait = AGAIN_SECONDS

    thread = threading.Thread(target=speak, name="fit-clock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if (took := time.perf_counter() - started) > SLOW_SECONDS:
        logger.info("%s was fitted in %.0f s", what, took)
