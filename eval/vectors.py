"""Vectors from files made elsewhere, as a space to diagnose: paired .npy files, row i of each being item i."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.errors import DatasetError, MediaError
from mmretrieval.geometry import blocks, directions
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix

LEAST = 4
LETTERS = string.ascii_lowercase
HALVES = (
    "queries: a random half of the second file's rows, each asking for its own row of the first file; the other half "
    "is the bank that corrections are fitted on"
)

Rows = npt.NDArray[Any]


def of_vectors(files: Sequence[Path], seed: int = 0) -> Subject:
    """The files' rows (n, d), made unit, as the views "a", "b", "c" ... of n items, named by the files.

    Items are called by the numbers of their rows, from 0. Queries are asked of the first file: a half of the second
    file's rows, drawn by `seed`, each of kind "caption" with its own row as the right answer; the other half is the
    reference's bank. There are no null questions: files bring no encoder that could read generic captions. float64
    stays float64, all else becomes float32. Raises MediaError for a file that is no array of numbers, DatasetError
    where the arrays do not pair: other shapes, NaN or infinity, fewer than 4 rows.
    """
    if not 2 <= len(files) <= len(LETTERS):
        raise DatasetError(f"{len(files)} files of vectors: give 2 to {len(LETTERS)}, of the same items in one order")
    arrays = _paired(files)
    first = arrays[0].shape
    for file, array in zip(files[1:], arrays[1:], strict=True):
        if array.shape[1] != first[1]:
            raise DatasetError(
                f"{file} has shape {array.shape} and {files[0]} {first}: vectors of one space are equally long (two "
                "encoders' vectors of the same items need not be: --only agreement compares those)"
            )
    ids = _ids(first[0])
    views = {
        LETTERS[i]: Matrix(ids, _unit(file, array)) for i, (file, array) in enumerate(zip(files, arrays, strict=True))
    }
    labels = dict(zip(views, _names(files), strict=True))
    shuffled = np.random.default_rng([seed, len(ids)]).permutation(len(ids))
    asking, bank = np.sort(shuffled[: (len(ids) + 1) // 2]), np.sort(shuffled[(len(ids) + 1) // 2 :])
    words = views["b"].rows
    questions = Questions(
        rows=words[asking],
        ids=tuple(ids[i] for i in asking),
        kinds=("caption",) * len(asking),
        relevant=tuple(frozenset({ids[i]}) for i in asking),
        words=tuple(f"row {i} of {files[1].name}" for i in asking.tolist()),
        captions=labels["b"],
    )
    banked = words[bank]
    reference = Reference(items=views, parts={"text": banked}, queries=banked)  # type: ignore[arg-type]
    name = ", ".join(file.name for file in files)
    return Subject(views=views, searched="a", name=name, questions=questions, reference=reference, labels=labels)


def encoders_of(files: Sequence[Path]) -> Subject:
    """Two files as what two encoders made of the same items: a subject with one view, and its rival.

    Rows are made unit and may differ in length from file to file. Raises as `of_vectors`, and DatasetError for other
    than two files.
    """
    if len(files) != 2:
        raise DatasetError(
            f"agreement compares two encoders, and {len(files)} files were given: give two, each one encoder's vectors "
            "of the same items"
        )
    arrays = _paired(files)
    ids = _ids(len(arrays[0]))
    names = [file.name for file in files] if files[0].name != files[1].name else [str(file) for file in files]
    first, second = (
        Subject(
            {"a": Matrix(ids, _unit(file, array))},
            searched="a",
            name=name,
            labels={"a": "vectors"},
        )
        for file, array, name in zip(files, arrays, names, strict=True)
    )
    return replace(first, rival=second)


def _paired(files: Sequence[Path]) -> list[Rows]:
    """The files' arrays, which have a row for each of the same items."""
    arrays = [_opened(file) for file in files]
    first = arrays[0].shape
    for file, array in zip(files[1:], arrays[1:], strict=True):
        if len(array) != first[0]:
            raise DatasetError(
                f"{file} has shape {array.shape} and {files[0]} {first}: row i of each file must be the same item"
            )
    if first[0] < LEAST or first[1] < 1:
        raise DatasetError(f"{files[0]} has shape {first}: at least {LEAST} rows of at least one number are needed")
    return arrays


def _ids(n: int) -> tuple[str, ...]:
    return tuple(f"{i:0{len(str(n - 1))}}" for i in range(n))


def _opened(file: Path) -> Rows:
    """The file's array, mapped and not read: a shape that the file cannot hold asks for no memory."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise MediaError(f"{file} cannot be read ({error}): write it anew with numpy.save") from error
    except (ValueError, EOFError) as error:
        raise MediaError(f"{file} is no .npy file of numbers: write it with numpy.save") from error
    if not isinstance(array, np.ndarray):
        raise MediaError(f"{file} holds several arrays: write each into a .npy file of its own with numpy.save")
    if array.dtype.kind not in "fiu":
        raise MediaError(f"{file} holds {array.dtype}, no real numbers: write vectors as float32 or float64")
    if array.ndim != 2:
        raise DatasetError(f"{file} has shape {array.shape}: (n, d) is needed, one row an item")
    return array


def _unit(file: Path, array: Rows) -> Any:
    """The rows divided by their lengths; a zero row stays zero."""
    wide = array.dtype == np.float64
    rows = np.empty(array.shape, dtype=np.float64 if wide else np.float32)
    for block in blocks(len(array)):
        part = np.asarray(array[block], dtype=np.float64)
        bad = ~np.isfinite(part).all(axis=1)
        if bad.any():
            raise DatasetError(f"row {block.start + int(bad.argmax())} of {file} holds NaN or infinity: leave it out")
        rows[block] = directions(part)
    return rows


def _names(files: Sequence[Path]) -> list[str]:
    """What to call each file's rows: by its name without the ending, and its letter where two are called the same."""
    stems = Counter(file.stem for file in files)
    told = [f.stem if stems[f.stem] == 1 else f"{f.stem} ({LETTERS[i]})" for i, f in enumerate(files)]
    return [f"rows of {name}" for name in told]
