"""What every kind of media promises: the same cuts and pixels each time, small RGB pictures, and reasons."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from ingest.workers import read, scan
from mmretrieval.errors import MediaError
from mmretrieval.media import KINDS, recognise
from mmretrieval.types import Cut, Settings

ASSETS = Path(__file__).parents[1] / "assets"
FOLDERS = {"pictures": "image", "videos": "video", "documents": "document", "texts": "text"}
SOUND = [(p, kind) for folder, kind in FOLDERS.items() for p in sorted((ASSETS / folder).iterdir())]
SOUND = [(p, kind) for p, kind in SOUND if p.suffix != ".srt"]
MISNAMED = {"png_named.jpg": "image", "jpeg_named.txt": "image", "pdf_without_suffix": "document"}
SOUND += [(ASSETS / "misnamed" / name, kind) for name, kind in MISNAMED.items()]
SMALL = Settings(clip_seconds=2.0, frames_per_clip=3, passage_chars=300, picture_side=60, frame_side=50)
LOCATORS = {
    "image": r"",
    "video": r"t=\d+\.\d{3}-\d+\.\d{3}",
    "document": r"page=[1-9]\d*",
    "text": r"chars=\d+-\d+",
}
BROKEN = {
    "truncated.jpg": "truncated",
    "truncated.png": "cannot be decoded",
    "empty.png": "empty",
    "text_named.jpg": "plain text",
    "truncated.mp4": "cannot be read",
    "index_without_data.mp4": "cut off",
    "zero_frames.mp4": "no frame",
    "sound_only.mp4": "no video track",
    "encrypted.pdf": "encrypted",
    "truncated.pdf": "cannot be read",
}
every_sound_file = pytest.mark.parametrize(("path", "kind"), SOUND, ids=[p.name.encode().hex()[-24:] for p, _ in SOUND])


def test_the_table_is_keyed_by_name_and_no_suffix_has_two_kinds() -> None:
    assert [kind.name for kind in KINDS.values()] == list(KINDS) == list(LOCATORS)
    suffixes = [suffix for kind in KINDS.values() for suffix in kind.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert all(re.fullmatch(r"\.[a-z0-9]+", suffix) for suffix in suffixes)
    assert {kind for _, kind in SOUND} == set(KINDS)


@every_sound_file
def test_a_file_is_of_one_kind(path: Path, kind: str) -> None:
    assert recognise(path) == kind
    head = path.read_bytes()[:4096]
    assert [name for name in KINDS if name != "text" and KINDS[name].recognise(head)] == [kind] * (kind != "text")


@every_sound_file
def test_cuts_have_distinct_places_and_say_where(path: Path, kind: str) -> None:
    cuts = KINDS[kind].cut(path, SMALL)
    assert cuts
    assert len({c.locator for c in cuts}) == len(cuts)
    assert all(re.fullmatch(LOCATORS[kind], c.locator) for c in cuts)
    assert all(c.visual or c.text.strip() for c in cuts)
    assert all((c.t0 is not None) == (c.t1 is not None) == (kind == "video") for c in cuts)
    assert all((c.page is not None) == (kind == "document") for c in cuts)
    assert cuts == KINDS[kind].cut(path, SMALL)


@every_sound_file
def test_contents_are_small_rgb_and_hold_what_can_be_seen(path: Path, kind: str) -> None:
    cuts = KINDS[kind].cut(path, SMALL)
    contents = list(KINDS[kind].read(path, cuts, SMALL))
    assert len(contents) == len(cuts)
    for place, content in zip(cuts, contents, strict=True):
        assert content.modalities == {"video": ("frames",), "text": ()}.get(kind, ("image",))
        assert place.visual == bool(content.modalities)
        shown = [*content.frames, *([content.image] if content.image else [])]
        side = SMALL.frame_side if kind == "video" else SMALL.picture_side
        assert all(p.mode == "RGB" and max(p.size) <= side and min(p.size) >= 1 for p in shown)
        assert len(pickle.dumps(content)) < 1000 + len(shown) * (3 * side * side + 1000)


@every_sound_file
def test_reading_twice_or_one_by_one_gives_the_same_pixels(path: Path, kind: str) -> None:
    cuts = KINDS[kind].cut(path, SMALL)
    together = [pixels(path, kind, cuts), pixels(path, kind, cuts)]
    single = [pixels(path, kind, [place])[0] for place in reversed(cuts)][::-1]
    assert together[0] == together[1] == single


@every_sound_file
def test_thumbnails_come_with_pixels_and_are_the_same_each_time(path: Path, kind: str) -> None:
    found = scan(path, SMALL)
    assert found.kind == kind
    thumbnails = [reading.thumbnail for reading in read(path, kind, found.cuts, SMALL)]
    assert all((data is None) == (kind == "text") for data in thumbnails)
    assert thumbnails == [reading.thumbnail for reading in read(path, kind, found.cuts, SMALL)]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_says_what_is_wrong_and_what_to_do(name: str) -> None:
    with pytest.raises(MediaError, match=BROKEN[name]) as caught:
        found = scan(ASSETS / "broken" / name, SMALL)
        assert found.kind is not None
        read(ASSETS / "broken" / name, found.kind, found.cuts, SMALL)
    assert re.search(r": \S+|; copy", str(caught.value))
    assert "broken" not in str(caught.value)  # the ledger has the path beside the reason


def test_every_broken_asset_is_looked_at() -> None:
    assert {p.name for p in (ASSETS / "broken").iterdir()} - {"zeros.bin"} == set(BROKEN)
    assert scan(ASSETS / "broken" / "zeros.bin", SMALL).kind is None


@pytest.mark.parametrize(
    "name",
    [
        "pictures/progressive.jpg",
        "pictures/lossless.webp",
        "pictures/picture.avif",
        "videos/b_frames.mp4",
        "videos/offset.mkv",
        "videos/vp9.webm",
        "documents/scanned.pdf",
    ],
)
def test_a_cut_file_never_gives_less_without_saying_so(name: str, tmp_path: Path) -> None:
    data = (ASSETS / name).read_bytes()
    for share in (0.02, 0.3, 0.6, 0.9):
        path = tmp_path / f"{share}{Path(name).suffix}"
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(MediaError):
            found = scan(path, SMALL)
            assert found.kind is not None, share
            read(path, found.kind, found.cuts, SMALL)


def pixels(path: Path, kind: str, cuts: list[Cut]) -> list[list[bytes]]:
    contents = KINDS[kind].read(path, cuts, SMALL)
    return [[np.asarray(p).tobytes() for p in [*c.frames, *([c.image] if c.image else [])]] for c in contents]
