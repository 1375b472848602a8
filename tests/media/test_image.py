"""Pictures of every format and mode come out as the same upright RGB, and hostile ones are refused with a reason."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from mmretrieval.errors import MediaError
from mmretrieval.media import image
from mmretrieval.types import Cut, Settings
from tests.assets.make_assets import BLUE, GREEN, RED, YELLOW, four_colours, write_huge_png, write_odd_names

PICTURES = Path(__file__).parents[1] / "assets" / "pictures"
WHITE = (255, 255, 255)


def corners(shown: PIL.Image.Image) -> list[tuple[int, ...]]:
    """The colours at the middles of the four quadrants: top left, top right, bottom left, bottom right."""
    pixels = np.asarray(shown).astype(int)
    height, width = pixels.shape[:2]
    return [tuple(pixels[y, x]) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]


def close(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]], within: int) -> bool:
    return bool(np.abs(np.array(found) - np.array(wanted)).max() <= within)


@pytest.mark.parametrize(
    ("name", "last", "within"),
    [
        ("lossless.webp", YELLOW, 0),
        ("alpha.png", WHITE, 0),
        ("palette_transparent.png", WHITE, 0),
        ("cmyk.jpg", YELLOW, 3),
        ("progressive.jpg", YELLOW, 3),
        ("orientation_6.jpg", YELLOW, 3),
        ("picture.avif", YELLOW, 3),
        ("picture.heic", YELLOW, 3),
    ],
)
def test_every_format_shows_the_four_colours(name: str, last: tuple[int, int, int], within: int) -> None:
    shown = image.picture(PICTURES / name, 1024)
    assert shown.mode == "RGB"
    assert shown.size == ((48, 64) if name == "orientation_6.jpg" else (64, 48))
    assert close(corners(shown), [RED, GREEN, BLUE, last], within)


def test_an_animation_gives_its_first_frame() -> None:
    shown = image.picture(PICTURES / "animated.gif", 1024)
    assert np.asarray(shown).reshape(-1, 3).tolist() == [list(RED)] * (64 * 48)


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    columns = np.asarray(image.picture(PICTURES / "grey_16_bit.png", 1024))[0, :, 0].astype(int)
    expected = np.round(np.round(np.linspace(0, 65535, 64)) * 255 / 65535)
    assert np.array_equal(columns, expected)


@pytest.mark.parametrize(
    ("values", "words"), [(np.full((4, 4), 0.5, np.float32), "mode F"), (np.full((4, 4), -1, np.int32), "mode I")]
)
def test_grey_without_a_range_is_refused(tmp_path: Path, values: np.ndarray, words: str) -> None:
    PIL.Image.fromarray(values).save(tmp_path / "deep.tif")
    with pytest.raises(MediaError, match=f"{words}.*8 or 16 bits"):
        image.picture(tmp_path / "deep.tif", 64)


def test_partial_transparency_is_mixed_with_white(tmp_path: Path) -> None:
    PIL.Image.new("LA", (4, 4), (0, 51)).save(tmp_path / "half.png")  # a fifth of black
    assert image.picture(tmp_path / "half.png", 64).getpixel((1, 1)) == (204, 204, 204)


@pytest.mark.parametrize(("size", "side", "wanted"), [((400, 20), 100, (100, 5)), ((3, 9000), 90, (1, 90))])
def test_the_long_side_is_reduced_and_nothing_vanishes(
    size: tuple[int, int], side: int, wanted: tuple[int, int]
) -> None:
    assert image.fit(PIL.Image.new("RGB", size), side).size == wanted


def test_small_pictures_are_not_enlarged() -> None:
    assert image.picture(PICTURES / "one_pixel.png", 1024).size == (1, 1)


def test_a_large_jpeg_is_decoded_in_full_before_it_is_reduced(tmp_path: Path) -> None:
    # `draft` would let the JPEG decoder reduce by powers of two: quicker, but other pixels than these.
    noise = np.random.default_rng(5).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "noise.jpg", quality=95)
    with PIL.Image.open(tmp_path / "noise.jpg") as whole:
        wanted = whole.convert("RGB").resize((100, 100), PIL.Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(image.picture(tmp_path / "noise.jpg", 100)), np.asarray(wanted))


@pytest.mark.parametrize(("width", "height"), [(20_000, 10_000), (11_000, 10_000)])
def test_a_bomb_is_refused_before_decoding(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "huge.png"
    write_huge_png(path, width, height)
    megapixels = width * height // 1_000_000
    for step in (
        lambda: image.cut(path, Settings()),
        lambda: image.picture(path, 64),
    ):
        with pytest.raises(MediaError, match=rf"{megapixels} megapixels .*not decoded.*limit is 100.*smaller copy"):
            step()


def test_pillows_own_limit_is_left_as_it_was(tmp_path: Path) -> None:
    before = PIL.Image.MAX_IMAGE_PIXELS
    image.picture(PICTURES / "alpha.png", 64)
    assert before == PIL.Image.MAX_IMAGE_PIXELS
    with pytest.raises(PIL.Image.DecompressionBombWarning):
        write_huge_png(tmp_path / "huge.png", 10_000, 9_500)
        PIL.Image.open(tmp_path / "huge.png")


def test_broken_exif_leaves_a_sound_picture_readable(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    four_colours(64, 48).save(buffer, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    (tmp_path / "odd.jpg").write_bytes(buffer.getvalue())
    assert image.picture(tmp_path / "odd.jpg", 1024).size == (64, 48)


def test_odd_names_are_read(tmp_path: Path) -> None:
    for number, path in enumerate(write_odd_names(tmp_path)):
        shown = next(image.read(path, [Cut()], Settings())).image
        assert shown is not None
        assert shown.getpixel((0, 0)) == (20 * number, 100, 200)


def test_nothing_but_pixels_travels(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x010E] = "x" * 10_000
    four_colours(64, 48).save(tmp_path / "noted.jpg", exif=exif)
    assert image.picture(tmp_path / "noted.jpg", 1024).info == {}
