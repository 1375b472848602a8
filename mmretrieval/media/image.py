"""Pictures: every format and mode becomes upright RGB on white, no larger than the settings say.

JPEG files are decoded in full and then reduced: Pillow's `draft` is five times as fast but changes the pixels, so
vectors would depend on it.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from mmretrieval.errors import MediaError
from mmretrieval.types import Content, Cut, Settings

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .avif .gif .heic .heif .hif .bmp .tif .tiff".split()  # noqa: SIM905
)
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "HEIF", "BMP", "TIFF")
MAX_PIXELS = 100_000_000
"""More than this is refused before decoding: 100 megapixels of RGB take 300 MB, and twice that while they change."""

STILL_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error)


def recognise(head: bytes) -> bool:
    """Whether the file begins like a picture of a format that is read here."""
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[:2] == b"BM":  # two letters are too few to tell: the four reserved bytes and the header's size as well
        return (
            len(head) >= 18 and head[6:10] == bytes(4) and head[14:18] in {b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"}
        )
    return head[4:8] == b"ftyp" and head[8:12] in STILL_BRANDS


def cut(path: Path, settings: Settings) -> list[Cut]:
    """The whole picture as one cut; raises MediaError where the header is broken or states too many pixels."""
    with _opened(path):
        return [Cut()]


def read(path: Path, cuts: Sequence[Cut], settings: Settings) -> Iterator[Content]:
    """The picture for each cut, its long side at most `settings.picture_side` pixels."""
    for _ in cuts:
        yield Content(image=picture(path, settings.picture_side))


def picture(source: Path | BinaryIO, side: int) -> Image:
    """A picture of any format and mode as upright RGB on white, its long side reduced to `side` pixels.

    Animations give their first frame; 16-bit grey is scaled by 255/65535. Raises MediaError with the reason.
    """
    with _opened(source) as opened:
        opened.load()
        return fit(to_rgb(_upright(opened)), side)


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[Image]:
    """The picture with its header read and its size checked; errors on the way out are MediaErrors."""
    import PIL.Image
    import pillow_heif

    pillow_heif.register_heif_opener()
    try:
        # Pillow warns of notes that it cannot read, and from 89 megapixels on: the limit here is ours, just below.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(source, formats=FORMATS) as opened:
                _refuse_huge(opened.size)
                yield opened
    except PIL.Image.DecompressionBombError as error:
        raise MediaError(_too_large(str(error).split("(")[-1].split(" pixels")[0])) from error
    except PIL.UnidentifiedImageError as error:
        raise MediaError("the picture's header is broken: save it anew or copy it again") from error
    except MemoryError as error:
        raise MediaError("decoding the picture needs more memory than a reader may take: make it smaller") from error
    except _BROKEN as error:
        raise MediaError(f"the picture cannot be decoded ({_reason(error)}): save it anew or copy it again") from error


def _refuse_huge(size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise MediaError(_too_large(str(size[0] * size[1]), f"{size[0]} x {size[1]} = "))


def _too_large(pixels: str, sides: str = "") -> str:
    # Pillow refuses the very largest itself and states their pixels, not their sides.
    amount = f"{int(pixels) / 1e6:.0f}" if pixels.isdigit() else "too many"
    return (
        f"the picture has {sides}{amount} megapixels and was not decoded; "
        f"the limit is {MAX_PIXELS // 1_000_000}: save a smaller copy"
    )


def _reason(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__


def _upright(opened: Image) -> Image:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(opened)
    except _BROKEN:
        return opened  # broken notes on a sound picture: nothing says that it is turned


def to_rgb(opened: Image) -> Image:
    """RGB of a decoded picture of any mode: transparency on white, 16 bit scaled to 8, no metadata kept."""
    import PIL.Image

    if opened.mode.startswith("I") or opened.mode == "F":
        return _from_deep(opened)
    if "transparency" in opened.info or opened.mode in {"RGBA", "LA", "PA", "La", "RGBa"}:
        layer = opened.convert("RGBA")
        rgb = PIL.Image.new("RGB", layer.size, (255, 255, 255))
        rgb.paste(layer, mask=layer.getchannel("A"))
        return rgb
    rgb = opened.convert("RGB") if opened.mode != "RGB" else opened.copy()
    rgb.info = {}
    return rgb


def _from_deep(opened: Image) -> Image:
    """RGB of grey with more than 8 bits: 0..65535 -> 0..255, rounded (Pillow's own conversion clips at 255)."""
    import PIL.Image

    values = np.asarray(opened)
    if values.dtype.kind == "f" or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise MediaError(
            f"the picture's grey values (mode {opened.mode}) have no fixed range: save it with 8 or 16 bits a channel"
        )
    grey = ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    transparent = opened.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return PIL.Image.fromarray(grey).convert("RGB")


def fit(shown: Image, side: int) -> Image:
    """The picture reduced so that its long side is at most `side` pixels (Lanczos); a smaller one as it is."""
    import PIL.Image

    longest = max(shown.size)
    if longest <= side:
        return shown
    width, height = (max(1, round(length * side / longest)) for length in shown.size)
    return shown.resize((width, height), PIL.Image.Resampling.LANCZOS)
