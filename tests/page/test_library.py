"""What the page does to a library and says of it: adding, removing, refusing, keeping up with other processes."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.errors import LibraryBusy, RetrievalError
from mmretrieval.library import Library
from mmretrieval.types import Content, Part, Query
from page import cards, library, recipes, search
from page.asking import Asked
from page.jobs import Board, Job
from page.state import Page
from tests.page.conftest import PICTURES, by_caption, captions, draw, make_media

TEXT = "hashing@text"


# --- the library -----------------------------------------------------------------------------------------------------


def test_the_overview_and_the_failures(page: Page) -> None:
    assert f"{len(PICTURES)} pictures" in library.overview(page)
    failed = library.failures(page)
    assert "truncated.png" in failed and "cannot be decoded" in failed


def test_a_folder_is_added_while_searching_goes_on(own: Page, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    for i in range(6):
        draw(folder / f"yellow-{i}.png", (250, 240, i))
        (folder / f"yellow-{i}.txt").write_text(f"a yellow lemon number {i}")
    job = own.add_folder(str(folder))
    assert captions(own, search.search(own, Asked("red car"), TEXT, 3))[0] == "a red car in the street"
    own.board.wait()
    assert (job.state, job.stored, job.share) == ("done", 6, 1.0)
    assert "6 items new" in library.progress(job)
    assert captions(own, search.search(own, Asked("yellow lemon"), TEXT, 3))[0].startswith("a yellow lemon")


def test_uploads_are_copied_into_the_library(own: Page, tmp_path: Path) -> None:
    source = tmp_path / "upload" / "lemon.png"
    source.parent.mkdir()
    draw(source, (255, 250, 10))
    (tmp_path / "upload" / "lemon.txt").write_text("a lemon from an upload")
    job = own.add_uploads([str(source), str(source.with_suffix(".txt"))])
    own.board.wait()
    assert job.state == "done", job.note
    source.unlink()
    lemon = by_caption(own, "lemon from an upload")
    assert Path(lemon.paths[0]).is_relative_to(own.library.path / "uploads")
    assert "media/view" in cards.detail(own, lemon)


def test_two_uploads_of_one_name_are_both_kept(own: Page, tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / str(i)).mkdir()
        draw(tmp_path / str(i) / "same.png", (255, 250, i))
    own.add_uploads([str(tmp_path / "0" / "same.png"), str(tmp_path / "1" / "same.png")])
    own.board.wait()
    assert sum(1 for item in own.library.items() if "same.png" in item.paths[0]) == 2


def test_removing_a_file_takes_its_items_away(own: Page) -> None:
    frog = by_caption(own, "green frog")
    assert own.remove(frog.paths) == 1
    assert frog.id not in search.search(own, Asked("green frog"), TEXT, 10).hits
    assert Path(frog.paths[0]).exists()
    with pytest.raises(RetrievalError, match="holds no file"):
        own.remove(["/nowhere.png"])


def test_a_library_that_another_process_writes_says_so(own: Page, tmp_path: Path) -> None:
    lock = own.library.write_lock()
    try:
        own.add_folder(str(make_media(tmp_path / "again")))
        own.board.wait()
        assert own.board.job is not None and own.board.job.state == "failed"
        assert "in use by" in library.progress(own.board.job)
        with pytest.raises(LibraryBusy):
            own.remove([next(iter(own.library.items())).paths[0]])
    finally:
        lock.release()


def test_only_one_job_at_a_time() -> None:
    board, go = Board(), threading.Event()

    def work(job: Job) -> str:
        go.wait(30)
        return "all of it"

    board.start("the first", work)
    with pytest.raises(LibraryBusy, match="the first"):
        board.start("the second", work)
    go.set()
    board.wait()
    second = board.start("the second", work)
    board.wait()
    assert (second.title, second.state, second.note) == ("the second", "done", "all of it")


def test_an_encoder_that_nobody_knows_or_that_is_there_is_refused(own: Page) -> None:
    with pytest.raises(RetrievalError, match="no encoder is called"):
        own.add_encoder("liet")
    with pytest.raises(RetrievalError, match="already"):
        own.add_encoder("hashing")
    with pytest.raises(RetrievalError, match="no encoder was chosen"):
        own.add_encoder("")
    names = [name for _, name in library.available(own.library.encoders)]
    assert "lite" in names and "hashing" not in names


def test_an_encoder_is_added_and_at_once_of_use(own: Page) -> None:
    job = own.add_encoder("lite-0")
    own.board.wait()
    assert job.state == "done", job.note
    assert own.library.encoders == ("hashing", "lite-0")
    assert "lite-0@visual" in [recipe for _, recipe in recipes.suggestions(own.library.encoders)]
    results = search.search(own, Asked("a small red boat"), "hashing@text+lite-0@text,rrf:60", 5)
    assert "a blue boat on the lake" in captions(own, results)
    assert "<td >lite-0</td>" in library.overview(own)


def test_a_read_only_page_changes_nothing(made: Path, temporary: Path) -> None:
    page = Page(Library.open(made), read_only=True)
    try:
        for change in (
            lambda: page.add_folder(str(made)),
            lambda: page.add_uploads(["x.png"]),
            lambda: page.add_encoder("lite"),
            lambda: page.remove(["x.png"]),
        ):
            with pytest.raises(RetrievalError, match="read-only"):
                change()
        assert page.board.job is None
    finally:
        page.close()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (None, "no folder was named"),
        (["x"], "give a text"),
        ("~nosuchuser/x", "cannot be looked at"),
        ("/x" + "y" * 3000, "cannot be looked at"),
        ("/" + "x" * 5000, "5,001 characters"),
        ("/a\0b", "NUL"),
    ],
)
def test_a_path_that_cannot_be_is_refused_in_words(page: Page, path: Any, says: str) -> None:
    with pytest.raises(RetrievalError, match=says):
        page.add_folder(path)


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (None, "none was named"),
        ([1], "give a list"),
        ({"a": 1}, "give a list"),
        ("nope", "holds no file nope:"),
        (3, "give"),
    ],
)
def test_paths_to_remove_are_a_list_of_texts(page: Page, paths: Any, says: str) -> None:
    with pytest.raises(RetrievalError, match=says):
        page.remove(paths)


@pytest.mark.parametrize("spec", [None, 5, ["lite"], "lite\0", ""])
def test_an_encoder_that_is_no_name_is_refused(page: Page, spec: Any) -> None:
    with pytest.raises(RetrievalError):
        page.add_encoder(spec)


def test_strangers_may_not_name_folders_or_checkpoints(page: Page, made: Path) -> None:
    stranger = Page(Library.open(made), trusted=False)
    query = Query((Part(Content(text="a pear")),))
    try:
        with pytest.raises(RetrievalError, match="upload the files"):
            stranger.add_folder(str(made))
        for spec in ("clip-b32;checkpoint=/etc/passwd", "http:m;url=http://10.0.0.1/v1;dim=4", "open_clip:local-dir:/"):
            with pytest.raises(RetrievalError, match="no name of the catalogue"):
                stranger.add_encoder(spec)
            with pytest.raises(RetrievalError, match="only models that the catalogue names"):
                stranger.engine.rank([query], f"{stranger.library.encoders[0]},cross:{spec}")
    finally:
        stranger.close()
    with pytest.raises(RetrievalError, match="does not exist"):
        page.add_folder("/no/such/folder")


# --- keeping up with others ------------------------------------------------------------------------------------------


def test_what_another_process_ingests_appears(own: Page, tmp_path: Path) -> None:
    draw(tmp_path / "pear.png", (180, 200, 40))
    (tmp_path / "pear.txt").write_text("a pear from elsewhere")
    with Library.open(own.library.path) as other:
        counts = ingest(other, list(walk([tmp_path / "pear.png"])), workers=1)
    assert not counts.indexed, "the page owns the index"
    assert own.library.indexes_behind()
    own.catch_up()
    assert captions(own, search.search(own, Asked("pear elsewhere"), TEXT, 2))[0] == "a pear from elsewhere"


def test_the_keeper_takes_in_what_others_ingest_by_itself(own: Page, tmp_path: Path) -> None:
    own.start()
    draw(tmp_path / "plum.png", (90, 20, 90))
    (tmp_path / "plum.txt").write_text("a plum from elsewhere")
    with Library.open(own.library.path) as other:
        ingest(other, list(walk([tmp_path / "plum.png"])), workers=1)
    tick, deadline = threading.Event(), time.monotonic() + 30
    while own.library.indexes_behind() and time.monotonic() < deadline:
        tick.wait(0.05)
    assert captions(own, search.search(own, Asked("plum elsewhere"), TEXT, 2))[0] == "a plum from elsewhere"


def test_without_the_index_the_same_is_found_by_scanning(own: Page) -> None:
    second = Page(Library.open(own.library.path))
    try:
        assert "scan all vectors" in second.index_problem
        assert "scan all vectors" in library.overview(second)
        expected = search.search(own, Asked("red car", avoid="apple"), "hashing@all", 8)
        found = search.search(second, Asked("red car", avoid="apple"), "hashing@all", 8)
        assert list(found.hits) == list(expected.hits)
        own.library.close_indexes()
        second.take_indexes()
        assert second.index_problem == ""
    finally:
        second.close()


def test_an_encoder_added_elsewhere_is_offered(own: Page) -> None:
    with Library.open(own.library.path) as other:
        other.config = replace(other.config, encoders=("hashing", "lite"))
        other._save()
    own.catch_up()
    assert own.library.encoders == ("hashing", "lite")
