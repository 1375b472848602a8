"""A library that was opened to be read: its folder stays as it is, to the byte; new caches lie elsewhere."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from folder_digest import digest_of
from kept_fits import add, found, words_library

from ingest.pipeline import ingest
from ingest.walk import Source
from mmretrieval import projection
from mmretrieval.engine import Engine
from mmretrieval.errors import LibraryError
from mmretrieval.fits import kept_in
from mmretrieval.library import Library, texts
from mmretrieval.projection import Plane
from mmretrieval.recipe import parse

RECIPE = "hashing@text,center,csls"
RECIPES = (RECIPE, "hashing@all", "bm25", "hashing@text+bm25,rrf:60", "hashing@text,binary:64")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with words_library(tmp_path / "library"):
        pass
    return tmp_path / "library"


@pytest.fixture
def reader(folder: Path, tmp_path: Path) -> Iterator[Library]:
    with Library.open(folder, caches=tmp_path / "elsewhere") as library:
        yield library


def test_searching_and_fitting_write_into_the_other_folder_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "WRITTEN_FROM", 1)
    before, elsewhere = digest_of(folder), tmp_path / "elsewhere"
    assert "cache" not in before and "transforms" not in before, "the caches that reading would make are not there yet"
    with Library.open(folder, caches=elsewhere) as library:
        read = [found(Engine(library), recipe) for recipe in RECIPES]
        library.status()
    assert digest_of(folder) == before
    assert len(kept_in(elsewhere)) == 3 and len(list((elsewhere / "cache").iterdir())) == 2
    with Library.open(folder) as library:
        assert [found(Engine(library), recipe) for recipe in RECIPES] == read
    assert digest_of(folder) != before, "a library that may be written keeps its caches with it"


def test_threads_that_let_go_at_once_leave_no_journal(folder: Path) -> None:
    left = []
    for _ in range(60):
        with Library.open(folder) as library:
            ready = threading.Barrier(4)

            def read(library: Library = library, ready: threading.Barrier = ready) -> None:
                ledger = library.ledger
                ledger.item_counts()
                ready.wait()
                ledger.close()

            threads = [threading.Thread(target=read) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        left += [path.name for path in folder.iterdir() if path.name.startswith("ledger.sqlite-")]
    assert not left


def test_what_the_library_has_is_used_and_not_even_marked_as_used(folder: Path, tmp_path: Path) -> None:
    with Library.open(folder) as library:
        wanted = [found(Engine(library), recipe) for recipe in RECIPES]
        seen = projection.cloud(library, "hashing", ("text",))
        projection.keep(library, seen, "umap", 0, Plane(np.zeros((6, 2), dtype=np.float32)))
    before = digest_of(folder)
    with Library.open(folder, caches=tmp_path / "elsewhere") as library:
        assert [found(Engine(library), recipe) for recipe in RECIPES] == wanted
        assert projection.kept(library, projection.cloud(library, "hashing", ("text",)), "umap", 0) is not None
    assert digest_of(folder) == before
    assert not (tmp_path / "elsewhere").exists(), "everything was there already"


def test_planes_are_kept_in_the_other_folder(reader: Library, folder: Path) -> None:
    before = digest_of(folder)
    seen = projection.cloud(reader, "hashing", ("text",))
    assert projection.kept(reader, seen, "umap", 0) is None
    assert projection.keep(reader, seen, "umap", 0, Plane(np.zeros((6, 2), dtype=np.float32)))
    assert projection.kept(reader, seen, "umap", 0) is not None
    reader.close()
    assert digest_of(folder) == before


def test_it_follows_what_another_process_writes(reader: Library, folder: Path) -> None:
    assert len(found(Engine(reader), RECIPE)) == 6
    with Library.open(folder) as writer:
        add(writer, ["a red boat"])
    run = Engine(reader)
    assert len(reader.matrices("hashing")["text"].ids) == len(list(reader.items())) == 7
    assert any(reader.item(ident).text == "a red boat" for ident, _ in found(run, RECIPE, "red boat"))


def test_whatever_would_change_it_is_refused(reader: Library, folder: Path) -> None:
    before = digest_of(folder)
    for change in (
        reader.write_lock,
        reader.update_indexes,
        lambda: reader.register(["lite-0"]),
        lambda: reader.build_graph("hashing"),
        lambda: ingest(reader, [Source("more", data=b"more")], workers=1),
        lambda: Engine(reader).spaces.materialise("hashing", parse(RECIPE.removesuffix(",csls"))),
    ):
        with pytest.raises(LibraryError, match="opened to be read"):
            change()
    with pytest.raises(Exception, match="readonly"):
        reader.ledger.ask_words_again("x")
    reader.open_indexes()
    assert not reader.owns_indexes
    reader.close()
    assert digest_of(folder) == before


def test_a_library_on_a_full_or_sealed_disk_is_read_from_memory(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where no folder can be")
    with Library.open(folder, caches=tmp_path / "file" / "below") as library:
        read = found(Engine(library), RECIPE)
    shutil.rmtree(tmp_path / "elsewhere", ignore_errors=True)
    with Library.open(folder, caches=tmp_path / "elsewhere") as library:
        assert found(Engine(library), RECIPE) == read
