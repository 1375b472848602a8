"""The folder of a library: made, opened, spoilt, shared between threads and processes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawings import drawing
from library_contents import contents

from ingest.pipeline import ingest
from ingest.walk import Source, walk
from mmretrieval.engine import Engine
from mmretrieval.errors import CorruptLibrary, EncoderUnavailable, LibraryBusy, LibraryError, NotALibrary
from mmretrieval.library import Library
from mmretrieval.library.index import SpaceIndex
from mmretrieval.library.locks import FolderLock
from mmretrieval.types import Content, Part, Query

Make = Callable[..., Path]
WORDS = ["red", "blue", "fox", "whale", "bridge", "sea", "tall", "old", "night", "stone"]


def passages(count: int, first: int = 0) -> list[Source]:
    texts = [f"{WORDS[n % 10]} {WORDS[n // 10 % 10]} number {n}" for n in range(first, first + count)]
    return [Source(f"set#{n}", data=t.encode()) for n, t in enumerate(texts, start=first)]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library.create(tmp_path / "a=b" / "büro und mehr 🗂", ["hashing"])
    ingest(library, passages(12), workers=1)
    return library


def asked(text: str) -> Query:
    return Query((Part(Content(text=text)),))


# --- made and opened -----------------------------------------------------------------------------------------------


def test_odd_characters_in_the_path_do_no_harm(library: Library) -> None:
    held = contents(library)
    assert len(held["vectors"]["hashing@text"]) == 12
    assert held["index"] == held["vectors"]


def test_an_encoder_that_is_not_to_be_had_leaves_no_library(tmp_path: Path) -> None:
    (tmp_path / "no-weights.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(EncoderUnavailable, match="cannot be read as weights"):
        Library.create(tmp_path / "l", [f"clip-b32;checkpoint={tmp_path / 'no-weights.safetensors'}"])
    assert not (tmp_path / "l").exists()
    assert Library.create(tmp_path / "l", ["hashing"]).encoders == ("hashing",)


def test_a_create_that_was_killed_is_taken_up(tmp_path: Path) -> None:
    folder = tmp_path / "l"
    Library.create(folder, ["hashing"]).close()
    (folder / "library.toml").unlink()
    (folder / ".library.toml.tmp").touch()
    assert Library.create(folder, ["hashing"]).encoders == ("hashing",)
    shutil.rmtree(folder)
    folder.mkdir()
    sqlite3.connect(folder / "ledger.sqlite").close()  # killed before its tables were made
    Library.create(folder, ["hashing"])
    assert list(Library.open(folder).items()) == []
    shutil.rmtree(folder)
    folder.mkdir()
    # Killed within the first write, before there is a write-ahead log.
    begun = "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN'); c.execute('CREATE TABLE a(x)')"
    ended = f"import os, sqlite3, sys; {begun}; os._exit(0)"
    subprocess.run([sys.executable, "-c", ended, str(folder / "ledger.sqlite")], check=True)
    assert (folder / "ledger.sqlite-journal").exists()
    Library.create(folder, ["hashing"])
    assert list(Library.open(folder).items()) == []


def test_two_processes_make_one_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Library.create(tmp_path / "l", ["hashing"])
    exists, calls = Path.exists, 0

    def not_yet(path: Path) -> bool:
        nonlocal calls
        calls += path.name == "library.toml"
        return False if path.name == "library.toml" and calls == 1 else exists(path)

    ingest(first, passages(1), workers=1)
    for folder in ("embeddings", "index", "thumbs", "cache"):
        shutil.rmtree(first.path / folder, ignore_errors=True)
    monkeypatch.setattr(Path, "exists", not_yet)
    second = Library.create(tmp_path / "l", ["hashing", "lite"])
    assert second.encoders == ("hashing",)


@pytest.mark.parametrize("text", ["", "format = 1\n", "encoders = [", "\x00", "format = 1\nencoders = 3\n"])
def test_a_spoilt_config_says_so(library: Library, text: str) -> None:
    (library.path / "library.toml").write_text(text)
    with pytest.raises(NotALibrary, match="mend the file, or delete the folder"):
        Library.open(library.path)


def test_text_outside_the_first_plane_survives_in_the_config(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "l", ["hashing"])
    library.config = type(library.config)(("hashing", 'a;x="😀"\x7f\\'), "hashing@all")
    library._save()
    assert Library.open(library.path).encoders == library.encoders


def test_a_ledger_that_is_gone_or_damaged_says_the_way_out(library: Library) -> None:
    library.close()
    file = library.path / "ledger.sqlite"
    file.write_bytes(b"no database at all" * 1000)
    with pytest.raises(CorruptLibrary, match="delete the folder"):
        Library.open(library.path).items()
    file.unlink()
    with pytest.raises(NotALibrary, match="delete the folder"):
        Library.open(library.path).items()


def test_a_spoilt_part_says_which(library: Library) -> None:
    (part,) = (library.path / "embeddings").rglob("part-*")
    shutil.rmtree(library.path / "cache", ignore_errors=True)
    part.write_bytes(part.read_bytes()[:200])
    with pytest.raises(CorruptLibrary, match=part.name):
        Library.open(library.path).matrices("hashing")
    part.unlink()
    with pytest.raises(CorruptLibrary, match=part.name):
        Library.open(library.path).matrices("hashing")


def test_a_spoilt_index_is_built_again(library: Library) -> None:
    held = contents(library)
    (config,) = (library.path / "index").rglob("edge_config.json")
    for file in config.parent.rglob("*"):
        if file.is_file() and file != config:
            file.unlink()
    config.write_text("{")
    assert contents(library) == held


def test_a_spoilt_cache_is_made_again(library: Library) -> None:
    held = contents(library)
    (rows,) = (library.path / "cache").rglob("text.npy")
    rows.unlink()
    assert contents(Library.open(library.path)) == held
    (pointer,) = (library.path / "cache").rglob("current.json")
    pointer.write_text("{")
    assert contents(Library.open(library.path)) == held


def test_a_library_that_may_not_be_written_to_can_be_searched(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = library.search("red fox").hits
    library.close()
    ledger_module = sys.modules[type(library.ledger).__module__]
    library.close()
    monkeypatch.setattr(ledger_module.os, "access", lambda *_: False)
    opened = Library.open(library.path)
    assert opened.search("red fox").hits == found
    with pytest.raises(LibraryError, match="cannot be written to|readonly"):
        ingest(opened, passages(1, first=50), workers=1)


def test_an_index_without_room_is_refused_and_searching_goes_on(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type(shutil.disk_usage(library.path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 2**20))
    with pytest.raises(LibraryError, match="the vectors are stored and searches scan them"):
        ingest(library, passages(3, first=20), workers=1)
    assert library.search("number 22", recipe="hashing@text").hits
    assert len(library.matrices("hashing")["text"].ids) == 15
    monkeypatch.undo()
    held = contents(library)
    assert held["index"] == held["vectors"]


def test_a_cache_that_cannot_be_written_is_held_in_memory(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {v: (m.ids, m.rows.tobytes()) for v, m in library.matrices("hashing").items()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for broken in (np, os):
        shutil.rmtree(library.path / "cache")
        with monkeypatch.context() as patch:
            patch.setattr(broken, "save" if broken is np else "open", full)
            opened = Library.open(library.path)
            assert {v: (m.ids, m.rows.tobytes()) for v, m in opened.matrices("hashing").items()} == held
        library.matrices("hashing")
        Library.open(library.path).matrices("hashing")


def test_a_lock_waits_where_it_is_told_to(tmp_path: Path) -> None:
    first = FolderLock(tmp_path / "lock", "it")
    with pytest.raises(LibraryBusy, match="it is in use by process"):
        FolderLock(tmp_path / "lock", "it")
    got = threading.Event()

    def second() -> None:
        with FolderLock(tmp_path / "lock", "it", wait=True):
            got.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not got.is_set()
    first.release()
    thread.join(10)
    assert got.is_set()


# --- shared --------------------------------------------------------------------------------------------------------


def together(*works: Callable[[], object]) -> None:
    """Runs the works in threads of their own, and raises what the first of them raised."""
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_many_threads_ask_for_a_cache_that_is_not_there(library: Library) -> None:
    for _ in range(5):
        shutil.rmtree(library.path / "cache", ignore_errors=True)
        fresh = [Library.open(library.path) for _ in range(8)]
        together(*(lambda one=one: one.matrices("hashing") for one in fresh))


@pytest.mark.parametrize("indexed", [False, True])
def test_searching_goes_on_while_a_thread_ingests(library: Library, indexed: bool) -> None:
    if indexed:
        library.open_indexes()
    engine, done = Engine(library), threading.Event()
    searched = 0

    def search() -> None:
        nonlocal searched
        while not done.is_set():
            for recipe in ("hashing", "hashing@text,center", "hashing,gram"):
                hits = engine.rank([asked("red fox")], recipe).rankings[0].hits
                assert len(hits) == 10
                searched += 1

    def work() -> None:
        try:
            for start in (100, 200, 300):
                ingest(library, passages(60, first=start), workers=1)
        finally:
            done.set()

    together(work, search, search, search)
    assert searched > 3
    library.close()
    assert contents(library)["vectors"] == contents(library)["index"]


def test_changing_over_does_not_disturb_a_search(library: Library) -> None:
    library.open_indexes()
    before = library.store("hashing")
    assert library.build_graph("hashing") == 12
    assert library.indexes_behind() == 1
    library.sync_indexes()
    assert library.indexes_behind() == 0
    assert library.store("hashing") is not before
    assert before.count("text") == 12
    library.close()


def test_what_a_killed_build_left_is_removed(library: Library) -> None:
    space = library.card("hashing").space
    left = library.path / "index" / space / "0123.building"
    left.mkdir(parents=True)
    library.build_graph("hashing")
    assert not left.exists()


def test_another_process_holds_one_of_two_indexes(library: Library, second_encoder: str) -> None:
    card = library.card("hashing")
    folder, parts = library.path / "index" / card.space, library.parts_folder(card.space)
    page = SpaceIndex(library.ledger, card.space, card.dim, folder, parts)
    counts = ingest(library, passages(3, first=30), encoders=[second_encoder], workers=1)
    assert (counts.stored, counts.indexed) == (15, False)
    assert page.sync(library.ledger) == 3
    page.close()
    other = library.card(second_encoder).space
    state = library.ledger.index_state(other)
    assert state is not None
    assert state[1] == library.ledger.last_change(other)


def test_an_encoder_taken_out_of_the_config_and_put_back(library: Library, second_encoder: str) -> None:
    ingest(library, (), encoders=[second_encoder], workers=1)
    file = library.path / "library.toml"
    whole = file.read_text()
    file.write_text(whole.replace(f', "{second_encoder}"', ""))
    less = Library.open(library.path)
    assert less.encoders == ("hashing",)
    ingest(less, passages(2, first=40), workers=1)
    file.write_text(whole)
    back = Library.open(library.path)
    ingest(back, (), workers=1)
    held = contents(back)
    assert set(held["vectors"][f"{second_encoder}@text"]) == set(held["vectors"]["hashing@text"])


def test_two_libraries_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(6):
        drawing(seed).save(folder / f"{seed}.png")
    both = [Library.create(tmp_path / name, ["hashing"]) for name in ("a", "b")]
    together(*(lambda one=one: ingest(one, walk([folder]), workers=1) for one in both))
    assert contents(both[0]) == contents(both[1])


def test_one_line_searches_a_library_and_prints_what_was_found(library: Library) -> None:
    found = Library.open(library.path).search("number 2", recipe="hashing@text,center", k=3)
    lines = repr(found).splitlines()
    assert lines[0] == f"3 items under {found.recipe}" and "center" in found.recipe
    assert len(lines) == 4
    for line, hit in zip(lines[1:], found.hits, strict=True):
        item = library.item(hit.id)
        assert line.split()[:3] == [str(hit.rank), f"{hit.score:.4f}", item.kind]
        assert " ".join(item.text.split())[:20] in line
    assert all(len(line) < 120 for line in lines)
