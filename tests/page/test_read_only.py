"""A page that only shows leaves the library's folder as it is, to the byte, whatever is asked of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from eval.reading import load
from mmretrieval.errors import LibraryError
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from page.compare import query_set
from page.compare import tab as compare
from page.library import tab as library
from page.map import tab as atlas
from page.map.mapping import Work
from page.originals import view
from page.prove import findings
from page.query.asking import Asked
from page.search import tab as search
from page.search import why
from page.state import Page
from tests.folder_digest import digest_of
from tests.page.conftest import by_caption, captions

FITTED = "hashing@visual,center,csls"
RECIPES = ("hashing@all", FITTED, "hashing@text,binary:64", "hashing@text+bm25,rrf:60", "hashing@all,span:20")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the library that a page may write to."""
    return Path(shutil.copytree(made, tmp_path / "library"))


@pytest.fixture
def reader(made: Path, things: Path, temporary: Path) -> Iterator[Page]:
    opened = Page(Library.open(made), read_only=True, dataset=load(things))
    yield opened
    opened.close()


def use(page: Page, method: str) -> None:
    """Searches by fitted recipes, compares, explains, diagnoses, lays a map out, looks at pictures."""
    for recipe in RECIPES:
        assert captions(page, search.search(page, Asked.of("red car"), recipe, 5, cut=True))
    assert compare.compare(page, Asked.of("green"), list(RECIPES[:3]), 4).columns
    query_set.disagreement(page, [Asked.of("red"), Asked.of("blue")], list(RECIPES[:2]))
    car = by_caption(page, "red car")
    assert "mm-finding-why" in why.told(page, car.id, Asked.of("red car"), "hashing@all")
    assert view(page, car)
    for of in ("library", "dataset"):
        task = page.findings.ask(findings.wanted(page, FITTED, "gap", of=of))
        assert task.ended.wait(120) and task.found is not None, task.problem
    laid = page.maps.lay(page.maps.wanted("", "visual", method))
    if isinstance(laid, Work):
        assert laid.ended.wait(400) and laid.state == "done", laid.problem
    shown = atlas.show(page, atlas.View("", "visual", method, "score"), Asked.of("red"), FITTED)
    assert shown.plot and not shown.problem and not shown.waiting
    assert library.overview(page) and library.holdings(page) and library.duplicates(page)


def test_nothing_in_the_folder_changes(made: Path, reader: Page) -> None:
    before = digest_of(made)
    reader.start()
    use(reader, "umap")
    reader.catch_up()
    planes = list((reader.library.caches / "cache" / "map").iterdir())
    reader.close()
    assert digest_of(made) == before and len(planes) == 1
    assert not (set(before) & {"transforms", "cache", "evaluation"}), "what a page that writes would have made"


def test_a_page_that_may_write_keeps_what_it_made(folder: Path, things: Path, temporary: Path) -> None:
    page = Page(Library.open(folder), dataset=load(things))
    use(page, "pca")
    page.close()
    assert {"transforms", "cache", "evaluation"} <= set(digest_of(folder))


def test_what_it_made_goes_when_it_ends(reader: Page, temporary: Path) -> None:
    search.search(reader, Asked.of("red car"), FITTED, 5)
    made = reader.library.caches
    assert made.parent == temporary and {"cache", "transforms"} <= set(digest_of(made))
    reader.close()
    assert not made.exists()


def test_two_pages_share_nothing(made: Path, temporary: Path) -> None:
    """Two libraries may have the same space after as many changes: a fit of one would pass for the other's."""
    pages = [Page(Library.open(made), read_only=True) for _ in range(2)]
    assert pages[0].library.caches != pages[1].library.caches
    for page in pages:
        page.close()


def test_it_answers_as_a_page_that_owns_an_index(folder: Path, temporary: Path) -> None:
    found = []
    for read_only in (False, True):
        page = Page(Library.open(folder), read_only=read_only)
        assert page.library.owns_indexes is not read_only and not page.index_problem
        found.append([captions(page, search.search(page, Asked.of("red car"), recipe, 8)) for recipe in RECIPES])
        page.close()
    assert found[0] == found[1]


def test_whatever_forgets_to_ask_whether_it_may_write_is_refused_by_the_library(reader: Page) -> None:
    with pytest.raises(LibraryError, match="opened to be read"):
        reader.library.write_lock()
    with pytest.raises(LibraryError, match="opened to be read"):
        reader.engine.spaces.materialise("hashing", parse("hashing@visual,center"))
