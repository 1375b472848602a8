"""What the page does to a library and says of it: adding, removing, refusing, keeping up with other processes."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.judging import MARK
from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.errors import LibraryBusy, RetrievalError
from mmretrieval.library import Library
from mmretrieval.types import Content, Part, Query
from page.compare import judging
from page.jobs import Board, Job
from page.library import copies, disk
from page.library import tab as library
from page.query import recipes
from page.query.asking import Asked
from page.search import detail
from page.search import tab as search
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
    assert captions(own, search.search(own, Asked.of("red car"), TEXT, 3))[0] == "a red car in the street"
    own.board.wait()
    assert (job.state, job.stored, job.share) == ("done", 6, 1.0)
    assert "6 items new" in library.progress(job)
    assert captions(own, search.search(own, Asked.of("yellow lemon"), TEXT, 3))[0].startswith("a yellow lemon")


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
    assert "media/view" in detail.detail(own, lemon)


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
    assert frog.id not in search.search(own, Asked.of("green frog"), TEXT, 10).hits
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
    results = search.search(own, Asked.of("a small red boat"), "hashing@text+lite-0@text,rrf:60", 5)
    assert "a blue boat on the lake" in captions(own, results)
    assert "<td >lite-0</td>" in library.holdings(own)


# --- what could not be read, what is there twice, what it takes -------------------------------------------------------


def test_a_file_that_was_mended_is_read_again(own: Page) -> None:
    (failure,) = own.library.failures()
    draw(Path(failure.path), (77, 88, 99))
    job = own.retry([failure.path])
    own.board.wait()
    assert (job.state, job.stored, job.title) == ("done", 1, f"again: {failure.path}"), job.note
    assert own.library.failures() == [] and "Every file could be read" in library.failures(own)
    with pytest.raises(RetrievalError, match="nothing to try again"):
        own.retry()


def test_what_fails_again_keeps_its_reason_and_what_is_gone_is_said(own: Page, tmp_path: Path) -> None:
    lost = tmp_path / "lost.png"
    lost.write_bytes(b"\x89PNG no picture")
    own.add_folder(str(lost))
    own.board.wait()
    assert len(own.library.failures()) == 2
    lost.unlink()
    job = own.retry()
    own.board.wait()
    assert job.title == "again: 2 files that could not be read" and job.failed == 1
    assert "1 failed, 1 file no longer there: take them out" in job.note
    own.remove([str(lost)])
    assert [Path(f.path).name for f in own.library.failures()] == ["truncated.png"]


def test_a_captions_file_is_tried_again_by_its_folder(own: Page, tmp_path: Path) -> None:
    folder = tmp_path / "captioned"
    folder.mkdir()
    draw(folder / "kite.png", (240, 10, 200))
    (folder / "captions.jsonl").write_text("{broken\n")
    own.add_folder(str(folder))
    own.board.wait()
    wrong = str(folder / "captions.jsonl")
    assert wrong in [f.path for f in own.library.failures()]
    (folder / "captions.jsonl").write_text('{"path": "kite.png", "caption": "a pink kite"}\n')
    own.retry([wrong])
    own.board.wait()
    assert wrong not in [f.path for f in own.library.failures()]
    assert by_caption(own, "a pink kite")


@pytest.mark.parametrize("paths", [["/etc/passwd"], ["../x"], "no such"])
def test_only_what_failed_is_tried_again(page: Page, paths: Any) -> None:
    with pytest.raises(RetrievalError, match="no file that could not be read"):
        page.retry(paths)


def test_the_table_of_failures_has_buttons_only_where_the_page_may_change(page: Page, made: Path) -> None:
    shown = library.failures(page)
    assert 'data-do="retry"' in shown and 'data-do="forget"' in shown and "truncated.png" in shown
    reader = Page(Library.open(made), read_only=True)
    try:
        assert "truncated.png" in library.failures(reader) and "data-do" not in library.failures(reader)
    finally:
        reader.close()


def test_files_of_the_same_bytes_are_told(own: Page, tmp_path: Path) -> None:
    assert "No file is there twice" in library.duplicates(own)
    frog = by_caption(own, "green frog")
    twin = tmp_path / "<i>twin.png"
    twin.write_bytes(Path(frog.paths[0]).read_bytes())
    own.add_folder(str(twin))
    own.board.wait()
    assert copies.same(own.library) == [tuple(sorted((frog.paths[0], str(twin))))]
    shown = library.duplicates(own)
    assert "1 content under several paths" in shown and "&lt;i&gt;twin" in shown and "<i>" not in shown


def test_pictures_that_look_the_same_are_found_as_a_plain_count_finds_them(own: Page) -> None:
    views = own.library.matrices("hashing")["visual"]
    cosines = np.asarray(views.rows) @ np.asarray(views.rows).T
    pairs = [(float(cosines[a, b]), a, b) for a in range(len(views.ids)) for b in range(a + 1, len(views.ids))]
    kinds = {ident: item.kind for ident, item in own.library.items_by_id(list(views.ids)).items()}

    def pages(a: str, b: str) -> bool:
        return kinds[a] == kinds[b] == "document"

    for least in (0.8, 0.95):
        wanted = sorted((-c, a, b) for c, a, b in pairs if c >= least and not pages(views.ids[a], views.ids[b]))
        found = copies.near(own, "hashing", least)
        assert (found.all, found.compared, found.items) == (len(wanted), len(views.ids), len(views.ids))
        assert [(a, b) for a, b, _ in found.pairs] == [(views.ids[a], views.ids[b]) for _, a, b in wanted]
    assert copies.near(own, "hashing", 0.8).all > 0
    few = copies.near(own, "hashing", 0.8, most=2)
    assert list(few.pairs) == list(copies.near(own, "hashing", 0.8).pairs)[:2] and few.all > 2


def test_the_parts_on_disk_add_up_to_the_folder(own: Page) -> None:
    (own.library.path / "foreign.bin").write_bytes(b"x" * 50_000)
    search.search(own, Asked.of("red car"), "hashing@all", 3)
    parts = disk.parts(own.library)
    every = sum(f.lstat().st_blocks * 512 for f in own.library.path.rglob("*") if f.is_file())
    assert sum(part.bytes for part in parts) == every
    names = [part.name for part in parts]
    assert {"embeddings", "search indexes", "thumbnails", "ledger", "settings", "other files"} <= set(names)
    assert names == [p.name for p in sorted(parts, key=lambda p: (-p.bytes, p.name))]
    split = disk.parts(own.library, 4096)
    assert sum(part.bytes for part in split) == every and "indexes of recipes" in [p.name for p in split]
    status, sizes = own.library.status(), {part.name: part.bytes for part in parts}
    assert (sizes["embeddings"], sizes["search indexes"]) == (status.embedding_bytes, status.index_bytes)


def test_whatever_the_page_and_the_commands_write_is_known_by_its_name(own: Page) -> None:
    """Of what a page's visitors and an evaluation leave in a library's folder nothing is "not made by this project"."""
    folder = own.library.path
    wanted = Asked.of("red car")
    judging.judge(own, wanted, by_caption(own, "red car").id, 3)
    exported = judging.exported(own).folder
    assert exported.is_relative_to(folder)
    (folder / MARK).write_text("made by an evaluation")
    search.search(own, wanted, "hashing@all", 3)
    found = {part.name: part for part in disk.parts(own.library)}
    assert "other files" not in found and {"exported judgements", "judgements", "settings"} <= set(found)
    held = found["exported judgements"]
    assert held.bytes == sum(f.lstat().st_blocks * 512 for f in exported.rglob("*") if f.is_file()) > 0
    assert not held.again and "when it was exported" in disk.drawn([held])


def test_coverage_is_told_by_view(own: Page, tmp_path: Path) -> None:
    shown = library.holdings(own)
    assert "<td >hashing</td>" in shown and "all 12" in shown
    with Library.open(own.library.path) as other:
        other.config = replace(other.config, encoders=("hashing", "lite-0"))
        other._save()
    own.catch_up()
    assert "0 of 12" in library.holdings(own), "an encoder that was added and has embedded nothing yet"


def test_a_read_only_page_changes_nothing(made: Path, temporary: Path) -> None:
    page = Page(Library.open(made), read_only=True)
    try:
        for change in (
            lambda: page.add_folder(str(made)),
            lambda: page.add_uploads(["x.png"]),
            lambda: page.add_encoder("lite"),
            lambda: page.remove(["x.png"]),
            lambda: page.add_bytes("x.png", b"x"),
            page.retry,
            page.stop,
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
    assert captions(own, search.search(own, Asked.of("pear elsewhere"), TEXT, 2))[0] == "a pear from elsewhere"


def test_the_keeper_takes_in_what_others_ingest_by_itself(own: Page, tmp_path: Path) -> None:
    own.start()
    draw(tmp_path / "plum.png", (90, 20, 90))
    (tmp_path / "plum.txt").write_text("a plum from elsewhere")
    with Library.open(own.library.path) as other:
        ingest(other, list(walk([tmp_path / "plum.png"])), workers=1)
    tick, deadline = threading.Event(), time.monotonic() + 30
    while own.library.indexes_behind() and time.monotonic() < deadline:
        tick.wait(0.05)
    assert captions(own, search.search(own, Asked.of("plum elsewhere"), TEXT, 2))[0] == "a plum from elsewhere"


def test_without_the_index_the_same_is_found_by_scanning(own: Page) -> None:
    second = Page(Library.open(own.library.path))
    try:
        assert "scan all vectors" in second.index_problem
        assert "scan all vectors" in library.overview(second)
        expected = search.search(own, Asked.of("red car", avoid="apple"), "hashing@all", 8)
        found = search.search(second, Asked.of("red car", avoid="apple"), "hashing@all", 8)
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
