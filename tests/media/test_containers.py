"""A container's stated length: right for whole files, and silent where the container is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from mmretrieval.media.containers import stated_end
from tests.assets.make_assets import write_video

VIDEOS = Path(__file__).parents[1] / "assets" / "videos"


@pytest.mark.parametrize("name", ["offset.mkv", "vp9.webm"])
def test_matroska_states_the_size_of_the_file(name: str) -> None:
    assert stated_end((VIDEOS / name).read_bytes()[:4096]) == (VIDEOS / name).stat().st_size


def test_avi_states_the_size_of_the_file(tmp_path: Path) -> None:
    write_video(tmp_path / "old.avi", "mpeg4", range(5), Fraction(1, 25), options={})
    assert stated_end((tmp_path / "old.avi").read_bytes()[:4096]) == (tmp_path / "old.avi").stat().st_size


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"RIFF\0\0\0\0AVI ",
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x00",
        b"\x1a\x45\xdf\xa3\x81\x00\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff",  # a live stream
        b"\x1a\x45\xdf\xa3\x81\x00\x18\x53\x80\x67\x01\xff",
        b"\0\0\0\x20ftypisom",
    ],
)
def test_what_does_not_say_is_not_guessed(head: bytes) -> None:
    assert stated_end(head) is None


def test_a_length_of_one_byte() -> None:
    assert stated_end(b"\x1a\x45\xdf\xa3\x81\x00\x18\x53\x80\x67\x85hello") == 16
