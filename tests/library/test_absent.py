"""A library one of whose encoders is not to be had any more: all else of it goes on, and it says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import whole_encoders
from drawings import drawing
from ingesting import add
from typer.testing import CliRunner
from whole_encoders import JOINT

from ingest.__main__ import app
from ingest.pipeline import forget
from mmretrieval import catalog
from mmretrieval.errors import UnknownName
from mmretrieval.library import Library
from mmretrieval.library.verify import verify
from page.library.tab import overview
from page.state import Page


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Three pictures, embedded with an encoder whose catalogue is not named any more, and with another."""
    folder = tmp_path / "files"
    folder.mkdir()
    for seed in range(3):
        drawing(seed).save(folder / f"{seed}.png")
    library = Library.create(tmp_path / "l", ["hashing"])
    with monkeypatch.context() as patch:
        table = whole_encoders.blocks()
        patch.setattr(catalog, "blocks", lambda: table)
        add(library, folder, encoders=(JOINT,))
    return library


def test_status_and_verify_say_which_encoder_is_missing_and_look_at_the_rest(library: Library) -> None:
    status = library.status()
    assert status.encoders == {"hashing": {"visual": 3}}
    assert list(status.absent) == [JOINT] and f"no encoder is called {JOINT!r}" in status.absent[JOINT]
    told = CliRunner().invoke(app, ["status", "--library", str(library.path)])
    assert told.exit_code == 0 and f"{JOINT} is not to be had: no encoder" in told.output
    found = verify(library)
    assert found.vectors == 3
    assert [p.split(":")[0] for p in found.problems] == [f"{JOINT} is not to be had"]


def test_the_others_are_searched_and_files_are_forgotten(library: Library) -> None:
    assert len(library.search("a fox", recipe="hashing@all", k=5).hits) == 3
    (path, *_) = (f.path for f in library.files())
    assert forget(library, [path]) == 1
    library.open_indexes()
    library.sync_indexes()
    assert len(library.search("a fox", recipe="hashing@all", k=5).hits) == 2
    library.close()


def test_what_needs_the_missing_encoder_is_refused_before_anything_is_stored(library: Library, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=f"no encoder is called '{JOINT}'"):
        library.search("a fox", recipe=JOINT)
    drawing(9).save(tmp_path / "files" / "9.png")
    with pytest.raises(UnknownName, match=f"no encoder is called '{JOINT}'"):
        add(library, tmp_path / "files")
    assert library.status().items == 3


def test_the_page_opens_and_says_so(library: Library) -> None:
    page = Page(library)
    try:
        assert page.index_problem == ""
        assert f"{JOINT} is not to be had, and cannot be searched" in overview(page).replace("&#x27;", "'")
    finally:
        page.close()
