"""What a file is shows in its bytes; its name only says what somebody expects."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import PIL.Image
import pytest

from mmretrieval.errors import MediaError
from mmretrieval.media import recognise, thumbnail
from mmretrieval.types import Content

ASSETS = Path(__file__).parents[1] / "assets"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("misnamed/png_named.jpg", "image"),
        ("misnamed/jpeg_named.txt", "image"),
        ("misnamed/pdf_without_suffix", "document"),
        ("broken/zeros.bin", None),
        ("videos/subtitled.srt", None),
        ("make_assets.py", None),
        ("README.md", "text"),
        ("texts/naïve 猫 🐈.txt", "text"),
    ],
)
def test_content_goes_before_the_name(name: str, kind: str | None) -> None:
    assert recognise(ASSETS / name) == kind


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jpg", b"words", r"named \.jpg, but its content is plain text: rename it or remove it"),
        ("a.PDF", bytes(64), r"named \.pdf, but its content is in no format"),
        ("a.txt", bytes(64), r"named \.txt, but its content is in no format"),
        ("a.mp4", b"", "the file is empty"),
        ("a.md", b"", "the file is empty"),
    ],
)
def test_a_media_name_over_something_else_is_an_error(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=reason):
        recognise(tmp_path / name)


@pytest.mark.parametrize(("name", "content"), [("a.py", b"print()"), ("a", b""), ("a.bin", bytes(9))])
def test_what_is_no_media_is_no_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert recognise(tmp_path / name) is None


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x20ftypavif", "image"),
        (b"\0\0\0\x20ftypheic", "image"),
        (b"\0\0\0\x20ftypisom", "video"),
        (b"\0\0\0\x20ftypqt  ", "video"),
        (b"\0\0\0\x20ftypM4A ", None),
        (b"RIFF\1\2\3\4WEBPVP8 ", "image"),
        (b"RIFF\1\2\3\4AVI LIST", "video"),
        (b"RIFF\1\2\3\4WAVEfmt ", None),
        (b"OggS" + bytes(24) + b"\1vorbis", None),
        (b"OggS" + bytes(24) + b"\x80theora", "video"),
        ((b"\x47" + bytes(187)) * 3, "video"),
        (b"BMW drivers", None),
        (b"\xef\xbb\xbf\n%PDF-1.7", "document"),
        (b"A book on %PDF-1.7", None),
    ],
)
def test_first_bytes(tmp_path: Path, head: bytes, kind: str | None) -> None:
    (tmp_path / "file.unknown").write_bytes(head)
    assert recognise(tmp_path / "file.unknown") == kind


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert recognise(tmp_path / "pipe.png") is None


def test_what_is_gone_or_locked_says_so(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="cannot be opened: No such file"):
        recognise(tmp_path / "gone.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(MediaError, match="cannot be opened: Too many levels"):
        recognise(tmp_path / "loop.png")


def test_thumbnails_are_small_webp_of_the_middle_frame() -> None:
    frames = tuple(PIL.Image.new("RGB", (640, 480), (0, 0, 100 * n)) for n in range(3))
    data = thumbnail(Content(frames=frames), 160)
    assert data is not None
    with PIL.Image.open(io.BytesIO(data)) as shown:
        assert (shown.format, shown.size) == ("WEBP", (160, 120))
        assert abs(shown.convert("RGB").getpixel((80, 60))[2] - 100) < 8
    assert thumbnail(Content(frames=frames), 160) == data
    assert thumbnail(Content(text="words")) is None


def test_suffixes_in_capitals(tmp_path: Path) -> None:
    shutil.copyfile(ASSETS / "texts" / "utf8.txt", tmp_path / "README.TXT")
    assert recognise(tmp_path / "README.TXT") == "text"
