"""SubRip and WebVTT files become plain lines with their times."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmretrieval.errors import MediaError
from mmretrieval.media.subtitles import Line, beside, parse, subtitles

VTT = """WEBVTT - a film

STYLE
::cue { color: red }

NOTE no line: 00:00

intro
00:01.500 --> 00:02.000 align:start
<v Fox>Hens &amp; <00:01.700>geese

01:00:00.000 --> 01:00:01.250
Late
"""


def test_webvtt() -> None:
    assert parse(VTT) == [Line(1.5, 2.0, "Hens & geese"), Line(3600.0, 3601.25, "Late")]


def test_subrip_with_markup_out_of_order_and_empty_lines() -> None:
    words = (
        "2\n00:00:03,000 --> 00:00:04,5\n{\\an8}<i>Second</i>\n\n"
        "1\n00:00:01,000 --> 00:00:02,000\nFirst\nof two < three\n\n"
        "3\n00:00:05,000 --> 00:00:05,000\nnever shown\n\n4\n00:00:06,000 --> 00:00:07,000\n \n"
    )
    assert parse(words) == [Line(1.0, 2.0, "First of two < three"), Line(3.0, 4.5, "Second")]


def test_srt_goes_before_vtt(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    assert beside(film) is None
    assert subtitles(film) == []
    (tmp_path / "film.vtt").write_text(VTT)
    assert len(subtitles(film)) == 2
    (tmp_path / "film.srt").write_bytes(b"\xff\xfe" + "1\r\n00:00:01,0 --> 00:00:02,0\r\nHi\r\n".encode("utf-16-le"))
    assert subtitles(film) == [Line(1.0, 2.0, "Hi")]


@pytest.mark.parametrize(("data", "reason"), [(b"\0\1\2", "are not text"), (b"words only", "no timed line")])
def test_what_is_no_subtitle_file_is_named(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "film.srt").write_bytes(data)
    with pytest.raises(MediaError, match=rf"subtitles.*\.srt.*{reason}.*remove"):
        subtitles(tmp_path / "film.mp4")
