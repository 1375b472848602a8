"""Odd folders, odd files and hostile captions: what ingest meets on people's disks, and what it says of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from drawings import drawing
from ingesting import add, numbers
from library_contents import every_item_has_its_vectors

from ingest import pipeline, writer
from mmretrieval.errors import LibraryError, RetrievalError
from mmretrieval.filters import parse_filter
from mmretrieval.library import Library

Make = Callable[..., Path]


# --- odd folders ---------------------------------------------------------------------------------------------------


def test_a_library_inside_the_folder_is_not_ingested(tmp_path: Path, pictures: Make) -> None:
    folder = pictures(2)
    with Library.create(folder / "library", ["hashing"]) as inside:
        (inside.path / "uploads" / "1").mkdir(parents=True)
        drawing(9).save(inside.path / "uploads" / "1" / "up.png")
        add(inside, folder, inside.path / "uploads" / "1")
        assert numbers(add(inside, folder, prune=[folder])) == {"unchanged": 2}
        assert len(list(inside.items())) == 3


def test_two_spellings_of_a_folder_are_one(library: Library, pictures: Make) -> None:
    folder = pictures(2)
    add(library, folder)
    assert numbers(add(library, folder / ".." / folder.name, prune=[folder / "." / ".." / "in"])) == {"unchanged": 2}
    assert all(len(i.paths) == 1 for i in library.items())


def test_links_and_pipes(library: Library, pictures: Make, tmp_path: Path) -> None:
    folder = pictures(2)
    (folder / "loop").symlink_to(folder)
    (folder / "dead.png").symlink_to(folder / "nothing")
    (folder / "linked.png").symlink_to(folder / "0.png")
    os.mkfifo(folder / "pipe.png")
    assert numbers(add(library, folder)) == {"stored": 2, "unchanged": 1}
    with pytest.raises(RetrievalError, match="neither a file nor a folder"):
        add(library, folder / "pipe.png")


def test_a_folder_that_cannot_be_listed_is_said_and_not_pruned(
    library: Library, pictures: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pictures(2)
    shut = pictures(1, "in/shut", first=7)
    add(library, folder)
    real = os.scandir

    def refusing(path: str) -> object:
        if Path(path) == shut:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    counts = add(library, folder, prune=[folder])
    assert numbers(counts) == {"unchanged": 2, "failed": 1}
    assert counts.failures == ((str(shut), "the folder cannot be listed: Permission denied"),)
    assert len(list(library.items())) == 3
    monkeypatch.undo()
    assert numbers(add(library, folder, prune=[folder])) == {"unchanged": 3}
    assert library.failures() == []


def test_a_file_that_changes_while_it_is_read(library: Library, pictures: Make) -> None:
    folder = pictures(1)

    def change(event: pipeline.Event) -> None:
        if event.kind == "found":
            drawing(70, side=80).save(folder / "0.png")

    counts = add(library, folder, on_event=change)
    assert "changed while it was being read" in dict(counts.failures)[str(folder / "0.png")]
    assert list(library.items()) == []
    assert numbers(add(library, folder)) == {"stored": 1}
    every_item_has_its_vectors(library)


def test_a_name_that_is_no_utf8_stays_a_failure_when_pruning(library: Library, pictures: Make) -> None:
    folder = pictures(1)
    drawing(3).save(os.fsdecode(os.fsencode(folder) + b"/\xff.png"), format="png")
    assert numbers(add(library, folder, prune=[folder])) == {"stored": 1, "failed": 1}
    assert len(library.failures()) == 1


# --- captions ------------------------------------------------------------------------------------------------------


def test_captions_do_not_depend_on_which_folder_was_named(library: Library, pictures: Make) -> None:
    folder = pictures(1)
    inner = pictures(1, "in/sub", first=5)
    (folder / "captions.jsonl").write_text(json.dumps({"path": "sub/5.png", "caption": "from above"}))
    add(library, folder)
    assert numbers(add(library, inner)) == {"unchanged": 1}
    assert numbers(add(library, inner / "5.png")) == {"unchanged": 1}


def test_a_full_disk_is_said(library: Library, pictures: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(3)

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "write_part", full)
    with pytest.raises(LibraryError, match="No space left.*run the same command again"):
        add(library, folder)
    monkeypatch.undo()
    assert numbers(add(library, folder)) == {"stored": 3}
    every_item_has_its_vectors(library)


@pytest.mark.parametrize("suffix", [".TXT", ".txt", ".JSON", ".json"])
def test_sidecars_in_capitals(library: Library, tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    drawing(1).save(folder / "A.PNG")
    (folder / f"A{suffix}").write_text('{"caption": "said"}' if suffix.lower() == ".json" else "said")
    assert numbers(add(library, folder)) == {"stored": 1}
    assert [i.text for i in library.items()] == ["said"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"caption": "x", "n": ' + "9" * 5000 + "}", "cannot be read"),
        ('{"caption": "x", "n": ' + "[" * 100_000 + "]" * 100_000 + "}", "cannot be read"),
        ('{"caption": "x", "n": ' + "[" * 60 + "]" * 60 + "}", "more than 32 deep"),
    ],
)
def test_hostile_captions_fail_their_picture_alone(library: Library, pictures: Make, text: str, says: str) -> None:
    folder = pictures(2)
    (folder / "0.json").write_text(text)
    counts = add(library, folder)
    assert numbers(counts) == {"stored": 1, "failed": 1}
    assert says in counts.failures[0][1]


def test_metadata_of_every_shape_can_be_filtered_on(library: Library, pictures: Make) -> None:
    folder = pictures(2)
    meta = {"tags": ["a", "b"], "deep": {"er": {"n": 3}}, "yes": True, "none": None, "x.y": 1, "": 0, "ü": "ß"}
    lines = [{"path": "0.png", "caption": "one\u2028two\x85three", **meta}, {"path": "./1.png", "caption": "four"}]
    (folder / "captions.jsonl").write_text("\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    assert numbers(add(library, folder)) == {"stored": 2}
    by_text = {i.text: i for i in library.items()}
    assert set(by_text) == {"one\u2028two\x85three", "four"}
    assert by_text["one\u2028two\x85three"].meta == meta
    wanted = frozenset({by_text["one\u2028two\x85three"].id})
    for asked in ({"meta.tags": "b"}, {"meta.deep.er.n": {"gte": 3}}, {"meta.yes": True}):
        value = parse_filter(asked)
        assert value is not None
        assert library.select(value) == wanted
    every_item_has_its_vectors(library)
