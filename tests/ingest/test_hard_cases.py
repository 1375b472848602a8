"""Copies, swaps and half-done runs: where a library could quietly lose something."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from drawings import drawing
from ingesting import add, numbers
from library_contents import contents, every_item_has_its_vectors

from ingest import pipeline, writer
from ingest.pipeline import forget, ingest
from ingest.walk import Source
from mmretrieval.embedding import embed
from mmretrieval.errors import BadVectors, CannotRead
from mmretrieval.library import Library
from mmretrieval.library.matrices import current_rows
from mmretrieval.types import Array, Content, Encoder, Role, Settings

Make = Callable[..., Path]
ASSETS = Path(__file__).parents[1] / "assets"


class Killed(BaseException):
    """Stands for the end of the process: nothing after it in the run is done."""


def killed(library: Library, *paths: Path, at: str, nth: int = 1, **more: object) -> None:
    met = 0

    def checkpoint(name: str) -> None:
        nonlocal met
        met += name == at
        if name == at and met == nth:
            raise Killed

    with pytest.raises(Killed):
        add(library, *paths, checkpoint=checkpoint, **more)


# --- content that changes its path ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 32])
def test_a_name_that_is_taken_over(
    library: Library, pictures: Make, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BATCH", batch)
    folder = pictures(1)
    add(library, folder)
    (folder / "0.png").rename(folder / "1.png")
    drawing(50).save(folder / "0.png")
    add(library, folder)
    every_item_has_its_vectors(library)
    assert {Path(p).name for i in library.items() for p in i.paths} == {"0.png", "1.png"}


def test_two_files_change_places(library: Library, pictures: Make) -> None:
    folder = pictures(2)
    add(library, folder)
    before = contents(library)["vectors"]
    (folder / "0.png").rename(folder / "x")
    (folder / "1.png").rename(folder / "0.png")
    (folder / "x").rename(folder / "1.png")
    add(library, folder)
    every_item_has_its_vectors(library)
    assert contents(library)["vectors"] == before


@pytest.mark.parametrize("batch", [1, 32])
def test_a_caption_leaves_with_the_path_that_had_it(
    library: Library, pictures: Make, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BATCH", batch)
    folder = pictures(1, first=5)
    (folder / "5.txt").write_text("said of five")
    add(library, folder)
    shutil.copy(folder / "5.png", folder / "1.png")  # met while the ledger still has 5.png with the same bytes
    drawing(60).save(folder / "5.png")
    add(library, folder)
    assert {Path(i.paths[0]).name: i.text for i in library.items()} == {"1.png": "", "5.png": "said of five"}
    every_item_has_its_vectors(library)


def test_what_no_path_holds_goes_with_its_thumbnail(library: Library, pictures: Make) -> None:
    folder = pictures(2)
    add(library, folder)
    drawing(60).save(folder / "0.png")
    add(library, folder)
    forget(library, [str(folder / "1.png")])
    (item,) = library.items()
    assert [p.stem for p in (library.path / "thumbs").glob("*/*")] == [item.id]


# --- copies --------------------------------------------------------------------------------------------------------


def test_copies_of_a_picture_that_cannot_be_read_all_fail(library: Library, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    drawing(1, side=400).save(folder / "a.jpg", quality=95)
    whole = (folder / "a.jpg").read_bytes()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(whole[: len(whole) // 2])
    drawing(2).save(folder / "d.png")
    counts = add(library, folder)
    assert {Path(p).name for p, _ in counts.failures} == {"a.jpg", "b.jpg", "c.jpg"}
    assert counts.stored == 1
    every_item_has_its_vectors(library)


@pytest.mark.parametrize("batch", [1, 32])
def test_copies_of_what_an_encoder_fails_on_all_fail(
    library: Library, pictures: Make, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(encoder: Encoder, contents: Sequence[Content], role: Role) -> Array:
        if any(c.image is not None and c.image.getpixel((0, 0)) == spoilt for c in contents):
            raise BadVectors("it cannot")
        return embed(encoder, contents, role)

    monkeypatch.setattr(pipeline, "BATCH", batch)
    monkeypatch.setattr(writer, "embed", refuse)
    folder = pictures(3)
    spoilt = drawing(0).getpixel((0, 0))
    shutil.copy(folder / "0.png", folder / "copy.png")
    counts = add(library, folder)
    assert {Path(p).name for p, _ in counts.failures} == {"0.png", "copy.png"}
    assert counts.stored == 2
    every_item_has_its_vectors(library)


def test_a_text_that_an_encoder_cannot_read_costs_itself_alone(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(encoder: Encoder, contents: Sequence[Content], role: Role) -> Array:
        if any("endless" in (c.text or "") for c in contents):
            raise CannotRead("it takes 900 tokens, and the model reads 512")
        return embed(encoder, contents, role)

    monkeypatch.setattr(writer, "embed", refuse)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("sea", "endless", "boat", "snow"):
        (folder / f"{name}.txt").write_text(f"Of the {name}.")
    counts = add(library, folder)
    assert (counts.stored, counts.failed) == (3, 1)
    ((path, reason),) = counts.failures
    assert (Path(path).name, reason) == ("endless.txt", "it takes 900 tokens, and the model reads 512")
    every_item_has_its_vectors(library)


def test_a_copy_whose_file_is_sound_is_stored_where_the_other_vanished(library: Library, pictures: Make) -> None:
    folder = pictures(1)
    shutil.copy(folder / "0.png", folder / "copy.png")

    def vanish(event: pipeline.Event) -> None:
        if event.kind == "found":
            (folder / "0.png").unlink(missing_ok=True)

    counts = add(library, folder, on_event=vanish)
    assert counts.stored + counts.unchanged == 2 - counts.failed
    every_item_has_its_vectors(library)
    assert str(folder / "copy.png") in {p for i in library.items() for p in i.paths}


def test_forgetting_one_copy_takes_its_caption(library: Library, pictures: Make) -> None:
    folder = pictures(1)
    shutil.copy(folder / "0.png", folder / "copy.png")
    (folder / "0.txt").write_text("first")
    (folder / "copy.txt").write_text("second")
    add(library, folder)
    assert forget(library, [str(folder / "copy.png")]) == 0
    (item,) = library.items()
    assert (item.text, item.paths) == ("first", (str(folder / "0.png"),))
    every_item_has_its_vectors(library)


def test_killed_between_pruning_and_mending(library: Library, pictures: Make) -> None:
    folder = pictures(1)
    other = pictures(1, "other")
    (folder / "0.txt").write_text("first")
    (other / "0.txt").write_text("second")
    add(library, folder, other)
    (other / "0.png").unlink()
    (other / "0.txt").unlink()
    (other / "fresh.txt").write_text("A passage, so that there is something to store.")

    def die(event: pipeline.Event) -> None:
        if event.kind == "removed":
            raise Killed

    with pytest.raises(Killed):
        add(library, other, prune=[other], on_event=die)
    add(library, other)  # not the folder of the copy that is left
    assert {i.text for i in library.items()} == {"first", "A passage, so that there is something to store."}
    every_item_has_its_vectors(library)


# --- runs that were killed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "nth"), [("part", 1), ("ledger", 1), ("ledger", 2)])
def test_a_killed_add_encoder_is_completed_by_the_same_command(
    library: Library, pictures: Make, second_encoder: str, at: str, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BATCH", 2)
    add(library, pictures(5))
    killed(library, at=at, nth=nth, encoders=[second_encoder])
    again = Library.open(library.path)
    ingest(again, (), encoders=[second_encoder], workers=1)
    every_item_has_its_vectors(again)


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_video_killed_between_its_clips(tmp_path: Path, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "BATCH", 1)
    videos = tmp_path / "in"
    videos.mkdir()
    for name in ("subtitled.mp4", "subtitled.srt"):
        shutil.copy(ASSETS / "videos" / name, videos / name)
    settings = Settings(clip_seconds=0.5, frames_per_clip=2)
    whole, hurt = (Library.create(tmp_path / name, ["hashing"], settings) for name in ("whole", "hurt"))
    clips = add(whole, videos).stored
    assert clips > 3
    killed(hurt, videos, at="ledger", nth=nth)
    counts = add(hurt, videos)
    assert (counts.stored, counts.unchanged) == (clips - nth, nth)
    assert contents(hurt) == contents(whole)


def test_other_cuts_take_the_place_of_the_old_ones(tmp_path: Path) -> None:
    videos = tmp_path / "in"
    videos.mkdir()
    shutil.copy(ASSETS / "videos" / "subtitled.mp4", videos)
    library = Library.create(tmp_path / "l", ["hashing"], Settings(clip_seconds=0.5))
    add(library, videos)
    file = library.path / "library.toml"
    file.write_text(file.read_text().replace("clip_seconds = 0.5", "clip_seconds = 1.0"))
    again = Library.open(library.path)
    add(again, videos)
    fresh = Library.create(tmp_path / "fresh", ["hashing"], Settings(clip_seconds=1.0))
    add(fresh, videos)
    assert contents(again) == contents(fresh)


def test_an_encoder_is_run_over_words_that_stand_in_no_file(library: Library, second_encoder: str) -> None:
    sources = [Source("set#1", data=b"The first words."), Source("set#2", data=b"Other words.", caption="said")]
    assert numbers(ingest(library, sources, workers=1)) == {"stored": 2}
    assert numbers(ingest(library, (), encoders=[second_encoder], workers=1)) == {"stored": 2}
    every_item_has_its_vectors(library)
    assert numbers(ingest(library, sources, workers=1)) == {"unchanged": 2}


def test_killed_while_merging(library: Library, pictures: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MANY_PARTS", 3)
    monkeypatch.setattr(writer, "MERGED_PART", 2)
    monkeypatch.setattr(pipeline, "BATCH", 1)
    for at in ("merge", "merged"):
        killed(library, pictures(6, at), at=at)
    add(library, pictures(1))
    every_item_has_its_vectors(library)


def test_merging_while_somebody_reads_the_parts(
    library: Library, pictures: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BATCH", 1)
    folder = pictures(4)
    add(library, folder)
    reader = Library.open(library.path)
    matrices = sys.modules[current_rows.__module__]
    real, calls = matrices.read_part, 0

    def interrupted(parts: Path, name: str) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            monkeypatch.setattr(writer, "MANY_PARTS", 2)
            add(library, folder)  # merges
            add(library, folder)  # sweeps the old parts away
        return real(parts, name)

    monkeypatch.setattr(matrices, "read_part", interrupted)
    assert len(reader.matrices("hashing")["visual"].ids) == 4


def test_another_process_added_an_encoder(library: Library, pictures: Make, second_encoder: str) -> None:
    stale = Library.open(library.path)
    ingest(library, (), encoders=[second_encoder], workers=1)
    add(stale, pictures(2))
    assert stale.encoders == ("hashing", second_encoder)
    every_item_has_its_vectors(stale)
