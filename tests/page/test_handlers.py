"""What the tabs do, as functions: no browser, no server, but the real library, engine and readers."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingest.pipeline import Counts, ingest
from ingest.walk import walk
from mmretrieval.errors import BadFilter, BadQuery, LibraryBusy, MediaError, RetrievalError
from mmretrieval.filters import matches
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.types import Content, Item, Part, Query
from page import cards, compare, diagnostics, library, recipes, search
from page.asking import Asked, query, restriction
from page.jobs import Board, Job
from page.notices import attempt, notice, table
from page.state import Page
from tests.page.conftest import HOSTILE, PICTURES, draw, make_library, make_media

TEXT = "hashing@text"


@pytest.fixture(scope="module")
def page(made: Path, temporary: Path) -> Iterator[Page]:
    opened = Page(Library.open(made))
    yield opened
    opened.close()


@pytest.fixture
def own(tmp_path: Path, temporary: Path) -> Iterator[Page]:
    """A page over a library of its own, that a test may change."""
    opened = Page(Library.open(make_library(tmp_path)))
    yield opened
    opened.board.wait()
    opened.close()


def by_caption(page: Page, words: str) -> Item:
    (found,) = [item for item in page.library.items() if words in item.text]
    return found


def captions(page: Page, results: search.Results) -> list[str]:
    assert not results.problem, results.problem
    items = page.library.items_by_id(list(results.hits))
    return [items[ident].text for ident in results.hits]


# --- searching -------------------------------------------------------------------------------------------------------


def test_words_find_the_caption_that_holds_them(page: Page) -> None:
    found = search.search(page, Asked("green frog"), TEXT, 4)
    assert captions(page, found)[0] == "a green frog by the pond"
    assert found.cards.count("data-item=") == 4
    assert "4 results" in found.line and "hashing@text,sum" in found.line


def test_what_is_avoided_moves_away(page: Page) -> None:
    plain = captions(page, search.search(page, Asked("red"), TEXT, 8))
    pushed = captions(page, search.search(page, Asked("red", avoid="apple table", avoid_weight=1.0), TEXT, 8))
    apple = "a red apple on a table"
    assert apple in plain
    assert apple not in pushed or pushed.index(apple) > plain.index(apple)


def test_a_zero_weight_is_as_if_the_part_were_not_there(page: Page) -> None:
    plain = search.search(page, Asked("red car"), TEXT, 8)
    silent = search.search(page, Asked("red car", avoid="car", avoid_weight=0.0), TEXT, 8)
    assert list(plain.hits) == list(silent.hits)


def test_a_picture_finds_its_like_and_not_its_own_file(page: Page, made: Path) -> None:
    file = made.parent / "media" / "red-apple.png"
    apple = by_caption(page, "red apple")
    results = search.search(page, Asked(picture=str(file)), "hashing@visual", 5)
    assert apple.id not in results.hits
    assert captions(page, results)[0].startswith("a red")


def test_a_picture_of_other_bytes_finds_every_file(page: Page, tmp_path: Path) -> None:
    draw(tmp_path / "other.png", (201, 21, 20))
    results = search.search(page, Asked(picture=str(tmp_path / "other.png")), "hashing@visual", 5)
    assert captions(page, results)[0] == "a red apple on a table"


def test_a_result_as_the_query_leaves_itself_out(page: Page) -> None:
    frog = by_caption(page, "green frog")
    results = search.search(page, Asked(item=frog.id), "hashing@visual", 5)
    assert frog.id not in results.hits
    assert captions(page, results)[0] == "a green tree on a hill"


def test_a_file_that_is_no_picture_is_refused_as_a_query(page: Page, made: Path) -> None:
    with pytest.raises(MediaError, match="not a picture"):
        query(page, Asked(picture=str(made.parent / "media" / "two_pages.pdf")))


@pytest.mark.parametrize(
    ("asked", "recipe", "says"),
    [
        (Asked(), TEXT, "nothing to look for"),
        (Asked("red"), "hashing@txt", "did you mean 'text'"),
        (Asked("red"), "nobody@text", "no encoder is called 'nobody'"),
        (Asked("red"), "lite-0@text", "has no vectors of 'lite-0'"),
        (Asked("red", conditions="subject = submarines"), TEXT, "clear the kinds or the metadata filter"),
        (Asked("red", conditions="subject ~ food"), TEXT, "is no condition"),
        (Asked(item="00000000-0000-0000-0000-000000000000"), TEXT, "has no item"),
    ],
)
def test_what_cannot_be_asked_says_what_to_do(page: Page, asked: Asked, recipe: str, says: str) -> None:
    results = search.search(page, asked, recipe, 5)
    assert says in results.problem
    assert not results.cards


def test_an_empty_library_says_how_to_fill_it(tmp_path: Path, temporary: Path) -> None:
    page = Page(Library.create(tmp_path / "library", ("hashing",)))
    try:
        assert "Library tab" in search.search(page, Asked("red"), TEXT, 5).problem
        assert "Library tab" in search.first_look(page)[0]
        assert "nothing yet" in library.overview(page)
        assert "add pictures with captions" in diagnostics.diagnose(page, "hashing", "gap", 100, 0).problem
    finally:
        page.close()


@pytest.mark.parametrize(
    ("kinds", "conditions", "payload", "passes"),
    [
        ((), "", {"kind": "text"}, True),
        (("image", "video"), "", {"kind": "video"}, True),
        (("image",), "", {"kind": "video"}, False),
        ((), "subject = food", {"kind": "image", "meta": {"subject": "food"}}, True),
        ((), "year >= 2000, year < 2010", {"meta": {"year": 2005}}, True),
        ((), "year >= 2000, year < 2010", {"meta": {"year": 2010}}, False),
        ((), "year = 2005", {"meta": {"year": "2005"}}, True),
        ((), "year = 2005", {"meta": {"year": 2005}}, True),
        ((), "page = 2", {"page": 2}, True),
        ((), "generated = true", {"meta": {"generated": True}}, True),
        ((), 'author = "A. B."', {"meta": {"author": "A. B."}}, True),
        ((), 'title = "a, b", year = 3', {"meta": {"title": "a, b", "year": 3}}, True),
        ((), "title = 'a, b'", {"meta": {"title": "a"}}, False),
        ((), 'year = "2005"', {"meta": {"year": 2005}}, False),
        ((), 'year = "2005"', {"meta": {"year": "2005"}}, True),
        ((), "name = O'Brien, year = 3", {"meta": {"name": "O'Brien", "year": 3}}, True),
        ((), "unit = inf", {"meta": {"unit": "inf"}}, True),
        ((), " , subject = food, ", {"meta": {"subject": "food"}}, True),
    ],
)
def test_filters_mean_what_they_say(kinds: tuple[str, ...], conditions: str, payload: object, passes: bool) -> None:
    value = restriction(kinds, conditions)
    assert (value is None or matches(value, payload)) is passes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ("year < recent", "year"),
        ("year < nan", "year"),
        ("year = " + "9" * 400, "too large a number"),
        ("year < -" + "9" * 19, "too large a number"),
        ('title = "a, b', "put quotes around"),
        ("title = ", "is no condition"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(conditions: str, says: str) -> None:
    with pytest.raises(BadFilter, match=says):
        restriction((), conditions)


def test_every_suggested_recipe_parses_and_is_usable(page: Page) -> None:
    for _, recipe in recipes.suggestions(("lite", "lite-0", "hashing")):
        parse(recipe)
    offered = [recipe for _, recipe in recipes.suggestions(("hashing",))]
    assert [recipes.complaint(recipe, page.library) for recipe in offered] == [""] * len(offered)
    assert "hashing@all,span:100" in offered and offered[-1] == "hashing@all,gram:100"
    assert "pick one" in recipes.complaint("", page.library)


@pytest.mark.parametrize("recipe", ["lite-0@all", "nobody@all", "hashing@txt", "hashing@all,grm"])
def test_a_typed_recipe_is_refused_in_the_words_of_the_search(page: Page, recipe: str) -> None:
    assert recipes.complaint(recipe, page.library) == search.search(page, Asked("red"), recipe, 4).problem != ""


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (Asked("red", avoid="car"), "“red”, away from “car”"),
        (Asked("red", words_weight=-1, item="x"), "an item of the library, away from “red”"),
        (Asked("red", words_weight=-1.5, avoid="car"), "away from “red” (weight 1.5) and “car”"),
        (Asked("red", picture="p", picture_weight=0, avoid="car", avoid_weight=0), "“red”"),
        (Asked("red", kinds=("image", "video")), "“red”, only pictures and clips"),
        (Asked("red", conditions="year > 3"), "“red”, where year > 3"),
    ],
)
def test_the_sentence_says_what_is_asked(asked: Asked, sentence: str) -> None:
    assert asked.sentence == sentence


def test_words_and_items_can_be_pushed_away(page: Page) -> None:
    apple = by_caption(page, "red apple")
    turned = query(page, Asked("red car", item=apple.id, words_weight=-0.5, item_weight=-2))
    assert [part.weight for part in turned.parts] == [-0.5, -2]
    near = captions(page, search.search(page, Asked("red car"), TEXT, 20))
    far = captions(page, search.search(page, Asked("red car", words_weight=-1), TEXT, 20))
    assert near[0] == "a red car in the street" == far[-1]


def test_a_part_of_weight_0_is_neither_read_nor_excluded(page: Page, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    asked = Asked("red", picture=str(tmp_path / "broken.png"), picture_weight=0)
    assert len(query(page, asked).parts) == 1
    with pytest.raises(BadQuery, match="weight 0"):
        query(page, replace(asked, words_weight=0))


def test_errors_of_the_engine_name_no_internal_query(page: Page) -> None:
    problem = search.search(page, Asked("red", avoid="red", avoid_weight=1.0), TEXT, 4).problem
    assert problem and "query '" not in problem


def test_what_scores_count_is_said_where_it_is_no_cosine(page: Page) -> None:
    joined, single = (search.search(page, Asked("red"), recipe, 4) for recipe in ("hashing@all", TEXT))
    assert "queries that mean nothing" in joined.line and "queries that mean nothing" not in single.line
    assert "queries that mean nothing" in search.show_detail(page, next(iter(joined.hits)), joined.hits)


def test_what_is_compared_is_said(page: Page) -> None:
    frog = by_caption(page, "green frog")
    wanted = Asked("red", item=frog.id, item_weight=-1, kinds=("image",))
    summary = compare.compare(page, wanted, TEXT, "hashing@visual", 4).summary
    assert "“red”, away from an item of the library (“a green frog by the pond”), only pictures" in summary
    along = compare.brought(page, frog.id, (1.0, 1.0, -1.0, 0.5, ["image"], "year > 3"))
    assert "library item -1" in along and "only pictures, where year &gt; 3" in along and "green frog" in along
    assert compare.brought(page, None, search.EMPTY[4:]) == ""


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_foreign_words_are_shown_as_text_everywhere(page: Page) -> None:
    item = by_caption(page, "onerror")
    hit = search.search(page, Asked("violet"), TEXT, 3)
    shown = [
        hit.cards,
        cards.detail(page, item),
        search.chip(page, item.id),
        notice(HOSTILE),
        table(HOSTILE, (HOSTILE,), [(HOSTILE,)]),
        compare.compare(page, Asked("violet"), TEXT, "hashing@visual", 4).left,
        library.progress(Job(HOSTILE)),
    ]
    for html in shown:
        assert "<img src=x" not in html
        assert "&lt;img src=x" in html


def test_the_detail_of_a_clip_plays_from_its_time(page: Page) -> None:
    clip = next(item for item in page.library.items() if item.kind == "video")
    html = cards.detail(page, clip)
    assert re.search(rf'src="media/original/{clip.id}#t=0\.000,\d+\.\d{{3}}"', html)
    assert "numbers counting on a grey card" in html


def test_the_detail_has_the_trail(page: Page) -> None:
    results = search.search(page, Asked("red car"), "hashing@all", 4)
    first = next(iter(results.hits))
    html = search.show_detail(page, first, results.hits)
    assert "hashing@text" in html and "hashing@all" in html
    assert "removed since the search" in search.show_detail(page, "gone", results.hits)


def test_a_moved_and_a_changed_original_say_so(own: Page, tmp_path: Path) -> None:
    item = by_caption(own, "blue boat")
    file = Path(item.paths[0])
    file.rename(tmp_path / "elsewhere.png")
    assert "no longer there: put it back" in cards.detail(own, item)
    draw(file, (1, 2, 3))
    assert "has changed since it was ingested" in cards.detail(own, item)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (8.2, "0:08"), (61, "1:01"), (3599.7, "1:00:00"), (7265, "2:01:05")]
)
def test_clock(seconds: float, text: str) -> None:
    assert cards.clock(seconds) == text


def test_unexpected_errors_show_a_reference_that_the_log_has(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ZeroDivisionError("secret detail")

    with caplog.at_level(logging.ERROR, logger="page"):
        told = attempt(broken)
    reference = re.search(r"reference ([0-9a-f]{8})", told.problem)
    assert reference and "secret" not in told.problem
    assert reference.group(1) in caplog.text and "secret detail" in caplog.text


# --- comparing -------------------------------------------------------------------------------------------------------


def test_comparing_a_recipe_with_itself_moves_nothing(page: Page) -> None:
    found = compare.compare(page, Asked("red"), TEXT, TEXT, 5)
    assert "5 of the first 5" in found.summary and "overlap@5 1.00" in found.summary
    assert "Nothing moved" in found.moved
    assert found.left.count("same place") == 5


def test_comparing_marks_what_moved(page: Page) -> None:
    found = compare.compare(page, Asked("red car"), TEXT, "hashing@visual", 6)
    assert not found.problem
    left, right, _ = compare.ranks(page, Asked("red car"), (TEXT, "hashing@visual"))
    passage = next(h for h in left if not page.library.item(h.id).visual)
    assert passage.id not in {h.id for h in right}
    assert "What moved" in found.moved and "—" in found.moved
    assert "rank left" in found.moved


def test_comparing_with_a_broken_recipe_says_which(page: Page) -> None:
    assert "hashign" in compare.compare(page, Asked("red"), TEXT, "hashign@all", 5).problem


# --- diagnosing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(diagnostics.DIAGNOSTICS))
def test_a_diagnosis_shows_sentence_figure_numbers_and_sample(page: Page, name: str) -> None:
    shown = diagnostics.diagnose(page, "hashing", name, 10_000, 7)
    assert not shown.problem
    assert "seed 7" in shown.numbers and "n = 11 of 11" in shown.numbers
    layout = shown.figure.layout
    assert layout.xaxis.title.text and layout.yaxis.title.text
    assert sum(len(trace.x) for trace in shown.figure.data) > 0


def test_pairs_are_rows_of_the_same_item(page: Page) -> None:
    rows, ids = diagnostics.paired(page.library.matrices("hashing"))
    matrices = page.library.matrices("hashing")
    for view, matrix in matrices.items():
        places = {ident: i for i, ident in enumerate(matrix.ids)}
        for row, ident in zip(rows[view], ids, strict=True):
            assert (row == matrix.rows[places[ident]]).all()


def test_too_few_pairs_say_what_to_add(tmp_path: Path, temporary: Path) -> None:
    with Library.create(tmp_path / "library", ("hashing",)) as made:
        draw(tmp_path / "one.png", (9, 9, 9))
        ingest(made, list(walk([tmp_path / "one.png"])), workers=1)
    page = Page(Library.open(tmp_path / "library"))
    try:
        problem = diagnostics.diagnose(page, "hashing", "gap", 100, 0).problem
        assert "add pictures with captions" in problem
    finally:
        page.close()


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

    def work(job: Job) -> Counts:
        go.wait(30)
        return Counts(0, 0, 0, 0, 0, 0, 0.0, ())

    board.start("the first", work)
    with pytest.raises(LibraryBusy, match="the first"):
        board.start("the second", work)
    go.set()
    board.wait()
    assert board.start("the second", work).title == "the second"
    board.wait()


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


def test_a_query_without_parts_is_refused_by_name(page: Page) -> None:
    with pytest.raises(BadQuery, match="write some words"):
        query(page, Asked(kinds=("image",)))
