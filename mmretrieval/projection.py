"""A library's vectors in a plane to look at: principal axes at once, or UMAP, which takes minutes and is kept.

What has no distance in the space has none in the plane: equal rows are laid once, and share their point.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from mmretrieval import geometry
from mmretrieval.errors import BadQuery
from mmretrieval.geometry import AnyRows
from mmretrieval.provenance import versions
from mmretrieval.store.exact import Matrix
from mmretrieval.types import Array, View

if TYPE_CHECKING:
    from mmretrieval.library import Library

Method = Literal["pca", "umap"]
Say = Callable[[str, float], None]

FOLDER = "map"
# Fewer different rows than this have no neighbourhoods to keep.
LEAST = 5
NEIGHBOURS, NEAREST = 15, 0.1


@dataclass(frozen=True, eq=False)
class Plane:
    """Where n points lie, `points` (n, 2) float32, and the share of the variance on each axis (none for UMAP)."""

    points: Array
    shares: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Cloud:
    """The vectors of one or more views of a space, as they were after its change number `change`."""

    space: str
    change: int
    views: tuple[View, ...]
    matrices: tuple[Matrix, ...]

    def __len__(self) -> int:
        return sum(len(m.ids) for m in self.matrices)

    @property
    def ids(self) -> list[str]:
        """The item of each point, view after view."""
        return [ident for matrix in self.matrices for ident in matrix.ids]

    @property
    def rows(self) -> list[Array]:
        """The vectors (n_i, d) of each view."""
        return [matrix.rows for matrix in self.matrices]

    def key(self, method: Method, seed: int) -> str:
        """What a plane of these vectors depends on, in a name for a file."""
        said: dict[str, Any] = {"space": self.space, "change": self.change, "views": self.views, "method": method}
        if method == "umap":
            said |= {"seed": seed, "neighbours": NEIGHBOURS, "nearest": NEAREST}
            said["versions"] = versions(("numpy", "numba", "umap-learn"))
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:24]


def cloud(library: Library, encoder: str, views: Sequence[View]) -> Cloud:
    """The vectors of an encoder's views. Raises BadQuery where a view has none, BadRecipe for late interaction."""
    change, matrices, _ = library.scanned(encoder)
    for view in views:
        if view not in matrices or not len(matrices[view].ids):
            have = ", ".join(name for name, matrix in matrices.items() if len(matrix.ids)) or "none at all"
            raise BadQuery(f"no item has a {view} vector of {encoder} here: choose among the vectors it has ({have})")
    return Cloud(library.card(encoder).space, change, tuple(views), tuple(matrices[view] for view in views))


# --- planes ----------------------------------------------------------------------------------------------------------


def principal(parts: Sequence[AnyRows]) -> Plane:
    """The directions of all rows, parts of (n_i, d), on the two principal axes of all of them together.

    Mean-centred, by the eigenvectors of the covariance over n. An axis' sign is arbitrary: its largest loading is
    positive here, so that equal rows give equal pictures. Turning the space turns or mirrors nothing but that. Memory
    beyond the rows is d^2 and a block, whatever n. Where nothing varies, all points are at 0 and the shares are 0.
    """
    from scipy.linalg import eigh

    n, d = sum(map(len, parts)), parts[0].shape[1]
    mean = sum((geometry.directions(block).sum(axis=0) for block in _blocks(parts)), np.zeros(d)) / max(n, 1)
    product = np.zeros((d, d))
    for block in _blocks(parts):
        centred = geometry.directions(block) - mean
        product += centred.T @ centred
    total = float(np.trace(product))
    axes, shares = np.zeros((d, 2)), np.zeros(2)
    # What rounding alone leaves of n equal rows is no variance.
    if total > n * geometry.NOTHING**1.5:
        values, vectors = eigh(product, subset_by_index=[max(d - 2, 0), d - 1])
        for i, j in enumerate(reversed(range(len(values)))):
            share = float(values[j]) / total
            if share > geometry.NOTHING:
                axis = vectors[:, j]
                axes[:, i], shares[i] = axis * np.sign(axis[np.abs(axis).argmax()]), share
    first, place = distinct(parts)
    laid = np.concatenate([(geometry.directions(block) - mean) @ axes for block in _picked(parts, first)])
    return Plane(laid.astype(np.float32)[place], (float(shares[0]), float(shares[1])))


def umap(parts: Sequence[AnyRows], seed: int = 0, say: Say = lambda _what, _share: None) -> Plane:
    """All rows, parts of (n_i, d), by UMAP (McInnes, Healy and Melville 2018) of their cosines, repeatable by `seed`.

    15 neighbours (fewer where there are fewer rows), least distance 0.1, from the principal plane. One thread, for a
    seed's sake. Distances between far points, and sizes of groups, mean nothing. `say` hears what is done, and the
    share of it. Raises BadQuery where fewer than five rows differ.
    """
    first, place = distinct(parts)
    if len(first) < LEAST:
        raise BadQuery(
            f"UMAP needs at least {LEAST} different vectors, here there are {len(first)}: choose the principal axes"
        )
    say("looking for neighbours", 0.0)
    rows = np.concatenate(list(_picked(parts, first))).astype(np.float32)
    with warnings.catch_warnings():
        # It warns of what a seed costs, and of deprecations inside its own dependencies.
        warnings.simplefilter("ignore")
        from threadpoolctl import threadpool_limits
        from umap import UMAP

        # Sums of several threads come in any order, and what follows from a last digit is another picture.
        with threadpool_limits(limits=1):
            laid = UMAP(
                n_components=2,
                n_neighbors=min(NEIGHBOURS, len(rows) - 1),
                min_dist=NEAREST,
                metric="cosine",
                init="pca",
                random_state=seed,
                n_jobs=1,
                tqdm_kwds={
                    "disable": False,
                    "file": _Heard(say),
                    "bar_format": "{n_fmt} {total_fmt}",
                    "mininterval": 0.5,
                },
            ).fit_transform(rows)
    return Plane(np.asarray(laid, dtype=np.float32)[place])


class _Heard:
    """What a progress bar writes to: tells how far UMAP's rounds are."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def write(self, text: str) -> None:
        done, _, total = text.strip().partition(" ")
        if done.isdigit() and total.isdigit() and int(total):
            self._say("laying out", int(done) / int(total))

    def flush(self) -> None:
        """Nothing is held back."""


def distinct(parts: Sequence[AnyRows]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The place of the first of each kind of equal rows, among all n of them; and for each row, which of those (n,)."""
    known: dict[bytes, int] = {}
    first, place = list[int](), np.empty(sum(map(len, parts)), dtype=np.int64)
    number = 0
    for part in parts:
        for row in part:
            which = known.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), len(first))
            if which == len(first):
                first.append(number)
            place[number] = which
            number += 1
    return np.array(first, dtype=np.int64), place


def _blocks(parts: Sequence[AnyRows]) -> list[AnyRows]:
    return [part[block] for part in parts for block in geometry.blocks(len(part))]


def _picked(parts: Sequence[AnyRows], places: npt.NDArray[np.int64]) -> list[AnyRows]:
    """The rows at these places, rising, among all of the parts: in blocks."""
    found, start = list[AnyRows](), 0
    for part in parts:
        own = places[(places >= start) & (places < start + len(part))] - start
        found += [part[own[block]] for block in geometry.blocks(len(own))]
        start += len(part)
    return found


def spoken_share(value: float) -> str:
    """A share of the variance in words: `12 %`, `0.4 %`."""
    return f"{value * 100:.{0 if value >= 0.0995 or value == 0 else 1 if value >= 0.0005 else 4}f} %"


# --- what is kept ----------------------------------------------------------------------------------------------------


def kept(library: Library, seen: Cloud, method: Method, seed: int) -> Plane | None:
    """The plane of these very vectors that was kept in the library's cache, if it was and can be read."""
    for place in dict.fromkeys((library.path, library.caches)):
        try:
            with _file(place, seen, method, seed).open("rb") as source:
                points = np.asarray(np.load(source, allow_pickle=False), dtype=np.float32)
        except (OSError, ValueError, EOFError):  # a cache that cannot be read is made again
            continue
        if points.shape == (len(seen), 2) and np.isfinite(points).all():
            return Plane(points)
    return None


def keep(library: Library, seen: Cloud, method: Method, seed: int, plane: Plane) -> bool:
    """Keeps a plane, in place of those of the same vectors before a change; whether the cache could be written."""
    file = _file(library.caches, seen, method, seed)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as sink:
            np.save(sink, plane.points)
        temporary.rename(file)
        for other in file.parent.glob(f"{_stem(seen)}-*.npy"):
            if other.name.split("-")[-2] != str(seen.change):
                other.unlink(missing_ok=True)
    except OSError:  # a full disk, or a folder that may only be read: it is worked out again next time
        return False
    return True


def _stem(seen: Cloud) -> str:
    return f"{seen.space}-{'+'.join(seen.views)}"


def _file(place: Path, seen: Cloud, method: Method, seed: int) -> Path:
    return place / "cache" / FOLDER / f"{_stem(seen)}-{seen.change}-{seen.key(method, seed)}.npy"
