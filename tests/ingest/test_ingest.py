"""What ingest promises: everything once, nothing lost, nothing done twice, whatever the order."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from drawings import drawing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingesting import add, numbers
from library_contents import contents, leftovers

from ingest.pipeline import Event, forget, ingest
from ingest.walk import Source, walk
from mmretrieval.errors import LibraryBusy, UnknownName
from mmretrieval.library import Library

Make = Callable[..., Path]


def test_twice_is_once(library: Library, pictures: Make) -> None:
    folder = pictures(5)
    (folder / "poem.txt").write_text("Shall I compare thee to a summer's day?")
    assert numbers(add(library, folder)) == {"stored": 6}
    before = contents(library)
    assert numbers(add(library, folder)) == {"unchanged": 6}
    assert contents(library) == before
    assert before["index"] == before["vectors"]
    assert leftovers(library) == []


def test_unchanged_files_are_not_opened(library: Library, pictures: Make) -> None:
    folder = pictures(3)
    add(library, folder)
    for path in folder.iterdir():  # same size, same time, other bytes: only opening the file could tell
        stat = path.stat()
        path.write_bytes(b"x" * stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert numbers(add(library, folder)) == {"unchanged": 3}


def test_an_unchanged_run_loads_no_encoder(library: Library, pictures: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pictures(2)
    add(library, folder)

    def refuse(spec: str) -> None:
        raise AssertionError(f"{spec} was loaded")

    monkeypatch.setattr("mmretrieval.catalog.load", refuse)
    assert numbers(add(library, folder)) == {"unchanged": 2}


def test_a_renamed_file_keeps_its_vectors(library: Library, pictures: Make) -> None:
    folder = pictures(2)
    add(library, folder)
    before = contents(library)["vectors"]
    parts = sorted((library.path / "embeddings").rglob("part-*"))
    (folder / "0.png").rename(folder / "renamed.png")
    assert numbers(add(library, folder, prune=[folder])) == {"unchanged": 2}
    assert contents(library)["vectors"] == before
    assert sorted((library.path / "embeddings").rglob("part-*")) == parts
    assert {p for i in library.items() for p in i.paths} == {str(folder / "1.png"), str(folder / "renamed.png")}


def test_the_same_bytes_twice_are_one_item_with_two_paths(library: Library, pictures: Make) -> None:
    folder = pictures(1)
    shutil.copy(folder / "0.png", folder / "copy.png")
    counts = add(library, folder)
    assert (counts.stored, counts.unchanged) == (1, 1)
    (item,) = library.items()
    assert item.paths == (str(folder / "0.png"), str(folder / "copy.png"))


def test_a_changed_file_replaces(library: Library, pictures: Make) -> None:
    folder = pictures(2)
    add(library, folder)
    old = {i.id for i in library.items()}
    drawing(77, side=64).save(folder / "0.png")
    assert numbers(add(library, folder)) == {"replaced": 1, "unchanged": 1}
    new = {i.id for i in library.items()}
    assert len(new) == 2
    assert len(new & old) == 1
    assert contents(library)["index"] == contents(library)["vectors"]


def test_an_edited_caption_embeds_only_words(library: Library, pictures: Make) -> None:
    folder = pictures(2)
    (folder / "0.txt").write_text("a red block")
    add(library, folder)
    before = contents(library)["vectors"]
    (folder / "0.txt").write_text("a blue block")
    (folder / "0.png").unlink()  # decoding would fail: only the words may be looked at
    counts = ingest(library, [s for s in _with_gone(folder)], workers=1)
    assert counts.failed == 1  # the file itself is gone, and that is said
    drawing(0).save(folder / "0.png")
    assert numbers(add(library, folder)) == {"replaced": 1, "unchanged": 1}
    after = contents(library)["vectors"]
    assert after["hashing@visual"] == before["hashing@visual"]
    assert after["hashing@text"] != before["hashing@text"]


def _with_gone(folder: Path) -> list[Source]:
    return [Source(str(folder / "0.png"), "a blue block"), *walk([folder / "1.png"])]


def test_a_caption_taken_away_takes_the_text_view(library: Library, pictures: Make) -> None:
    folder = pictures(1)
    (folder / "captions.jsonl").write_text(json.dumps({"path": "0.png", "caption": "a block", "year": 1999}) + "\n")
    add(library, folder)
    (item,) = library.items()
    assert (item.text, item.meta) == ("a block", {"year": 1999})
    (folder / "captions.jsonl").unlink()
    assert numbers(add(library, folder)) == {"replaced": 1}
    (item,) = library.items()
    assert (item.text, item.meta) == ("", {})
    held = contents(library)
    assert set(held["vectors"]) == {"hashing@visual"} == set(held["index"])


def test_captions_of_copies_are_joined_and_leave_with_their_path(library: Library, pictures: Make) -> None:
    folder = pictures(1)
    shutil.copy(folder / "0.png", folder / "copy.png")
    (folder / "0.txt").write_text("first")
    (folder / "copy.txt").write_text("second")
    add(library, folder)
    (item,) = library.items()
    assert item.text == "first\nsecond"
    (folder / "copy.png").unlink()
    (folder / "copy.txt").unlink()  # on its own it would be a passage
    add(library, folder, prune=[folder])
    (item,) = library.items()
    assert (item.text, item.paths) == ("first", (str(folder / "0.png"),))


def test_prune_removes_what_is_gone_and_nothing_else(library: Library, pictures: Make) -> None:
    folder, other = pictures(3), pictures(2, "other", first=50)
    add(library, folder, other)
    (folder / "1.png").unlink()
    assert numbers(add(library, folder)) == {"unchanged": 2}
    assert numbers(add(library, folder, prune=[folder])) == {"unchanged": 2, "removed": 1}
    assert len(list(library.items())) == 4
    assert contents(library)["index"] == contents(library)["vectors"]


def test_forget_takes_items_out(library: Library, pictures: Make) -> None:
    folder = pictures(2)
    add(library, folder)
    assert forget(library, [str(folder / "0.png")]) == 1
    assert [i.paths for i in library.items()] == [(str(folder / "1.png"),)]
    assert contents(library)["index"] == contents(library)["vectors"]


def test_a_broken_file_is_reported_kept_and_retried(library: Library, pictures: Make) -> None:
    folder = pictures(2)
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:60])
    (folder / "empty.jpg").touch()
    counts = add(library, folder)
    assert numbers(counts) == {"stored": 2, "failed": 2}
    reasons = dict(counts.failures)
    assert set(reasons) == {str(folder / "broken.png"), str(folder / "empty.jpg")}
    assert "empty" in reasons[str(folder / "empty.jpg")]
    assert [f.path for f in library.failures()] == sorted(reasons)
    assert numbers(add(library, folder)) == {"unchanged": 2, "failed": 2}
    drawing(9).save(folder / "broken.png")
    assert numbers(add(library, folder)) == {"unchanged": 2, "stored": 1, "failed": 1}
    assert numbers(add(library, folder, retry=True)) == {"unchanged": 3, "failed": 1}


def test_a_bad_caption_line_costs_only_itself(library: Library, pictures: Make) -> None:
    folder = pictures(3)
    good = ['{"path": "0.png", "caption": "nought"}', '{"path": "1.png", "caption": "one"}']
    (folder / "captions.jsonl").write_text("\n".join([good[0], '{"path": "1.png", "captio', "[]"]))
    counts = add(library, folder)
    assert numbers(counts) == {"stored": 3, "failed": 1}
    ((path, reason),) = counts.failures
    assert path == str(folder / "captions.jsonl")
    assert "line 2 is not JSON" in reason
    assert "1 more lines" in reason
    assert sorted(i.text for i in library.items()) == ["", "", "nought"]
    assert numbers(add(library, folder)) == {"unchanged": 3, "failed": 1}
    (folder / "captions.jsonl").write_text("\n".join(good))
    assert numbers(add(library, folder)) == {"unchanged": 2, "replaced": 1}
    assert library.failures() == []


@pytest.mark.parametrize("spoilt", [b'{"path": "0.png", "capt', b"\xff\xfe\x00\xff"])
def test_a_spoilt_caption_file_takes_no_captions_away(library: Library, pictures: Make, spoilt: bytes) -> None:
    folder = pictures(2)
    (folder / "captions.jsonl").write_text('{"path": "0.png", "caption": "nought", "year": 1999}\n')
    add(library, folder)
    before = contents(library)
    (folder / "captions.jsonl").write_bytes(spoilt)
    assert numbers(add(library, folder)) == {"unchanged": 2, "failed": 1}
    assert contents(library) == before
    (folder / "captions.jsonl").unlink()
    assert numbers(add(library, folder)) == {"unchanged": 1, "replaced": 1}
    assert library.failures() == []


def test_a_second_encoder_is_run_over_everything(library: Library, pictures: Make, second_encoder: str) -> None:
    folder = pictures(3)
    add(library, folder)
    before = contents(library)["vectors"]
    with pytest.raises(UnknownName):
        library.matrices(second_encoder)
    counts = ingest(library, (), encoders=[second_encoder], workers=1)
    assert numbers(counts) == {"stored": 3}
    after = contents(library)["vectors"]
    assert after["hashing@visual"] == before["hashing@visual"]
    assert set(after[f"{second_encoder}@visual"]) == set(before["hashing@visual"])
    assert numbers(add(library, folder)) == {"unchanged": 3}


def test_one_writer_at_a_time(library: Library, pictures: Make) -> None:
    lock = library.write_lock()
    try:
        with pytest.raises(LibraryBusy, match="in use by process"):
            add(library, pictures(1))
    finally:
        lock.release()
    assert numbers(add(library, pictures(1))) == {"stored": 1}


def test_an_open_page_keeps_the_index_and_applies_changes(library: Library, pictures: Make) -> None:
    page = Library.open(library.path)
    page.open_indexes()
    folder = pictures(3)
    counts = add(library, folder)
    assert not counts.indexed
    assert page.indexes_behind() == 1
    assert page.sync_indexes() == 3
    assert page.store("hashing").count("visual") == 3
    assert page.sync_indexes() == 0
    page.close()


def test_events_say_found_before_stored_and_add_up(library: Library, pictures: Make) -> None:
    seen: list[Event] = []
    counts = add(library, pictures(4), on_event=seen.append)
    assert sum(e.items for e in seen if e.kind == "found") == 4 == counts.stored
    for path in {e.path for e in seen}:
        assert next(e.kind for e in seen if e.path == path) == "found"


def test_small_parts_are_merged_in_passing(library: Library, pictures: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.writer.MANY_PARTS", 3)
    space = library.card("hashing").space
    for n in range(3):
        add(library, pictures(1, first=n))
    assert len(library.ledger.parts(space)) == 1
    held = contents(library)
    assert len(held["items"]) == 3
    add(library, pictures(1, first=3))
    assert leftovers(library) == []
    later = contents(library)
    assert later["index"] == later["vectors"]
    assert later["vectors"]["hashing@visual"].items() >= held["vectors"]["hashing@visual"].items()


def test_deleted_caches_are_made_again(library: Library, pictures: Make) -> None:
    add(library, pictures(3))
    before = contents(library)
    shutil.rmtree(library.path / "index")
    shutil.rmtree(library.path / "cache")
    assert contents(library) == before


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), batch=st.integers(1, 6))
def test_order_and_batch_size_do_not_show(
    order: list[int], batch: int, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.pipeline.BATCH", batch)
    root = tmp_path_factory.mktemp("order")
    folder = root / "in"
    folder.mkdir()
    for seed in range(5):
        drawing(seed).save(folder / f"{seed}.png")
    shutil.copy(folder / "0.png", folder / "copy.png")
    (folder / "0.txt").write_text("one")
    (folder / "copy.txt").write_text("another")
    sources = list(walk([folder]))
    straight, shuffled = Library.create(root / "a", ["hashing"]), Library.create(root / "b", ["hashing"])
    ingest(straight, sources, workers=1)
    ingest(shuffled, [sources[i] for i in order], workers=1)
    assert contents(straight) == contents(shuffled)
    straight.close()
    shuffled.close()
