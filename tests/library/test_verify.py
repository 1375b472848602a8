"""verify finds what is wrong in a library, and nothing where all is well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.library import Library
from mmretrieval.library.ledger import VectorRow
from mmretrieval.library.parts import write_part
from mmretrieval.library.verify import verify


@pytest.fixture
def library(tmp_path: Path, pictures: Callable[..., Path]) -> Library:
    made = Library.create(tmp_path / "library", ["hashing"])
    ingest(made, walk([pictures(3)]), workers=1)
    return made


def test_a_sound_library(library: Library) -> None:
    found = verify(library)
    assert (found.parts, found.vectors, found.problems) == (1, 3, ())


def test_a_damaged_part_is_a_problem(library: Library) -> None:
    (part,) = (library.path / "embeddings").rglob("part-*")
    data = bytearray(part.read_bytes())
    place = data.find(library.matrices("hashing")["visual"].rows[0].tobytes())
    assert place > 0
    data[place] ^= 1
    part.write_bytes(data)
    (problem,) = verify(library).problems
    assert "checksum" in problem
    part.unlink()
    (problem,) = verify(library).problems
    assert part.name in problem


def test_a_vector_that_is_not_unit_or_of_no_item_is_a_problem(library: Library) -> None:
    space = library.card("hashing").space
    name = write_part(library.parts_folder(space), ["stranger"], ["visual"], np.full((1, 64), 3, dtype=np.float32))
    with library.ledger.transaction():
        library.ledger.put_part(name, space, [VectorRow(space, "visual", "stranger", "key", name)])
    assert sorted(p.split(": ")[1].split(" ")[0] for p in verify(library).problems) == [name, "the"]
