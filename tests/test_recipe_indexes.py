"""Indexes of transformed items through the library's changes: closed, removed, left alone while somebody is in them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kept_fits import add, words_library

from mmretrieval import saved
from mmretrieval.errors import LibraryError
from mmretrieval.fits import FOLDER
from mmretrieval.library import Library
from mmretrieval.library.locks import FolderLock
from mmretrieval.recipe import parse
from mmretrieval.recipe_indexes import listed
from mmretrieval.spaces import Space, Spaces
from mmretrieval.store.exact import ExactStore
from mmretrieval.store.materialised import ABOUT, MaterialisedStore
from mmretrieval.types import Selection

ROOT = Path(__file__).parents[1]
RECIPE = parse("hashing@text,center")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = words_library(tmp_path / "l")
    Spaces(made, exact=False).materialise("hashing", RECIPE)
    made.open_indexes()
    yield made
    made.close()


def on_disk(library: Library) -> list[str]:
    return sorted(p.name for p in (library.path / "index").glob("*~*"))


def space_of(spaces: Spaces) -> Space:
    found = spaces.get("hashing", RECIPE)
    assert isinstance(found, Space)
    return found


def test_what_an_earlier_state_opened_is_closed_and_removed(library: Library) -> None:
    page = Spaces(library, exact=False)
    assert isinstance(space_of(page).store, MaterialisedStore)
    assert len(on_disk(library)) == 2  # the index and its lock
    add(library, ["one more"])
    assert isinstance(space_of(page).store, ExactStore)
    assert on_disk(library) == []
    assert Spaces(library, exact=False).materialise("hashing", RECIPE) == 7
    assert isinstance(space_of(page).store, MaterialisedStore)
    page.close()
    assert len(on_disk(library)) == 1, "closing leaves the index and no lock"


def test_a_recipe_without_transforms_lets_go_of_it_too(library: Library) -> None:
    page = Spaces(library, exact=False)
    space_of(page)
    add(library, ["one more"])
    page.get("hashing", parse("hashing@text"))
    assert on_disk(library) == []


def test_a_search_that_is_in_it_ends_in_peace(library: Library) -> None:
    """As when one thread of a page searches while another finds out that the library has moved on."""
    page = Spaces(library, exact=False)
    searching = space_of(page)
    asked = searching.reference or page.reference("hashing", RECIPE.composer)
    (before,) = searching.store.search("text", asked.queries[:1], 6, [Selection()])
    add(library, ["one more"])
    space_of(page)
    (after,) = searching.store.search("text", asked.queries[:1], 6, [Selection()])
    assert (after.ids, after.scores.tolist()) == (before.ids, before.scores.tolist())
    assert len(on_disk(library)) == 2
    del searching
    assert on_disk(library) == []


def test_building_removes_no_index_that_another_process_has_open(library: Library) -> None:
    """The other one removes it when it sees that the library has moved on; what nobody has open goes at once."""
    held = library.path / "index" / on_disk(library)[0]
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mmretrieval.store.materialised import MaterialisedStore\n"
        f"store = MaterialisedStore(Path({str(held)!r}))\n"
        "print('open', flush=True)\n"
        "sys.stdin.readline()\n"
        "print(store.count('text'), flush=True)\n"
        "store.retire()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "open\n"
        assert Spaces(library, exact=False).materialise("hashing", RECIPE) == 6, "it is whole, and is left as it is"
        add(library, ["one more"])
        assert Spaces(library, exact=False).materialise("hashing", RECIPE) == 7
        assert (held / ABOUT).exists()
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "6\n"
    assert other.returncode == 0
    assert not held.exists()
    assert len(on_disk(library)) == 1


def test_what_killed_processes_left_goes_with_the_next_build(library: Library) -> None:
    index = library.path / "index"
    (index / "hashing-1~aa.lock").touch()
    (index / "hashing-1~bb.12.building").mkdir()
    (index / "hashing-1~cc").mkdir()
    Spaces(library, exact=False).materialise("hashing", parse("hashing@text,center,nnn:3"))
    assert [i.recipe for i in listed(library)] == ["hashing,center", "hashing,center,nnn:3:0.75"]
    assert len(on_disk(library)) == 2


def test_a_lock_that_was_removed_while_another_waited_guards_nothing(tmp_path: Path) -> None:
    first = FolderLock(tmp_path / "x.lock", "x")
    first.remove()
    second = FolderLock(tmp_path / "x.lock", "x")
    assert (tmp_path / "x.lock").exists()
    second.remove()
    second.release()
    assert not (tmp_path / "x.lock").exists()


def test_the_list_tells_fresh_from_stale(library: Library) -> None:
    (index,) = listed(library)
    assert (index.recipe, index.items, index.fresh, index.problem) == ("hashing,center", 6, True, "")
    assert index.bytes > 0
    (kept,) = (library.path / FOLDER).iterdir()
    kept.rename(library.path / "aside")
    assert [(i.fresh, i.problem) for i in listed(library)] == [(False, "fit missing")], "queries cannot be transformed"
    (library.path / "aside").rename(kept)
    assert [i.fresh for i in listed(library)] == [True]
    add(library, ["one more"])
    assert [(i.recipe, i.fresh, i.problem) for i in listed(library)] == [("hashing,center", False, "stale")]
    (about,) = (library.path / "index").glob(f"*~*/{ABOUT}")
    about.write_text(json.dumps({"items": 3}))
    assert [(i.fresh, i.problem) for i in listed(library)] == [(False, "spoilt")]


def test_an_index_that_no_search_could_use_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = words_library(tmp_path / "full")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, library:
        patched.setattr(saved, "save", full)
        with pytest.raises(LibraryError, match=r"fit of center could not be kept in .* \(No space left on device\)"):
            Spaces(library, exact=False).materialise("hashing", RECIPE)
        assert listed(library) == () and on_disk(library) == []
        # What rows hold by themselves needs no fit to be searched.
        assert Spaces(library, exact=False).materialise("hashing", parse("hashing@text,nnn:3")) == 6
        assert [i.fresh for i in listed(library)] == [True]
    with library:
        assert Spaces(library, exact=False).materialise("hashing", RECIPE) == 6
        assert {i.recipe for i in listed(library) if i.fresh} == {"hashing,center", "hashing,nnn:3:0.75"}


def test_an_index_is_built_of_what_its_queries_go_through(library: Library) -> None:
    """A fit that is gone from disk is made and kept again, though this process remembers what it came to."""
    spaces = Spaces(library, exact=True)
    space_of(spaces)
    shutil.rmtree(library.path / FOLDER)
    assert [i.problem for i in listed(library)] == ["fit missing"]
    spaces.materialise("hashing", RECIPE)
    assert [i.fresh for i in listed(library)] == [True]
