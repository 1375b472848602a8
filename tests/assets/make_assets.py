"""Make the tiny files that the tests read: one of every kind and variation, and one broken of each.

Run `python tests/assets/make_assets.py` to write them anew beside this file. Besides this project's own
requirements it needs reportlab (documents). The encoders run on one thread and no clock is read, so the same versions
of the libraries write the same bytes. README.md says what each file is and what holds for it.

Names with a newline, and pictures that are huge only when decoded, do not belong in a repository: `write_odd_names`
and `write_huge_png` make them where a test wants them.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 160, 60), (40, 60, 200), (240, 200, 40)
"""The quadrants of every upright four-colour picture: top left, top right, bottom left, bottom right."""

VIDEO_SIZE = (160, 96)
"""Width and height of every numbered video."""

NUMBER_BITS = 10
"""A frame's number stands in its upper third as this many blocks, most significant first, white for one."""

PDF_PASSWORD = "open sesame"
"""The user password of broken/encrypted.pdf, stated so that a test can prove that the file is sound."""


def four_colours(width: int, height: int) -> Image.Image:
    """A picture of four plain quadrants: red, green above blue, yellow."""
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for index, colour in enumerate((RED, GREEN, BLUE, YELLOW)):
        left, top = (index % 2) * width // 2, (index // 2) * height // 2
        draw.rectangle((left, top, left + width // 2, top + height // 2), fill=colour)
    return image


# Pictures


def write_pictures(folder: Path) -> None:
    """Write one picture of every format and mode that an ingest has to bring to upright RGB."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_jpegs(folder)
    _write_pngs(folder)
    upright = four_colours(64, 48)
    upright.save(folder / "lossless.webp", lossless=True)
    upright.save(folder / "picture.avif", quality=90)
    plain = [Image.new("RGB", (64, 48), colour) for colour in (RED, GREEN, BLUE)]
    plain[0].save(folder / "animated.gif", save_all=True, append_images=plain[1:], duration=100, loop=0)
    import pillow_heif

    pillow_heif.from_pillow(upright).save(folder / "picture.heic", quality=90)


def _write_jpegs(folder: Path) -> None:
    upright = four_colours(48, 64)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to show": so the pixels are stored turned the other way
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.save(folder / "orientation_6.jpg", quality=92, subsampling=0, exif=exif)
    four_colours(64, 48).convert("CMYK").save(folder / "cmyk.jpg", quality=92)
    four_colours(64, 48).save(folder / "progressive.jpg", quality=92, progressive=True)


def _write_pngs(folder: Path) -> None:
    upright = four_colours(64, 48)
    alpha = Image.new("L", upright.size, 255)
    alpha.paste(0, (32, 24, 64, 48))
    with_alpha = upright.copy()
    with_alpha.putalpha(alpha)
    with_alpha.save(folder / "alpha.png")

    ramp = np.linspace(0, 65535, 64).round().astype(np.uint16)
    Image.fromarray(np.tile(ramp, (48, 1))).save(folder / "grey_16_bit.png")

    palette = upright.convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    palette.save(folder / "palette_transparent.png", transparency=palette.getpixel((63, 47)))

    Image.new("RGB", (1, 1), RED).save(folder / "one_pixel.png")
    four_colours(400, 20).save(folder / "wide_20_to_1.png")
    four_colours(20, 400).save(folder / "tall_1_to_20.png")


# Videos


def numbered_frame(number: int) -> Image.Image:
    """Frame `number` of every numbered video: its number in blocks, in figures, and a bar that moves."""
    width, height = VIDEO_SIZE
    image = Image.new("RGB", VIDEO_SIZE, (96, 96, 96))
    draw = ImageDraw.Draw(image)
    block = width // NUMBER_BITS
    for bit in range(NUMBER_BITS):
        value = 255 * (number >> (NUMBER_BITS - 1 - bit) & 1)
        draw.rectangle((bit * block, 0, (bit + 1) * block - 1, height // 3 - 1), fill=(value,) * 3)
    draw.text((8, height // 2), str(number), fill=(255, 220, 0), font=ImageFont.load_default(28))
    left = (number * 3) % width
    draw.rectangle((left, height - 12, left + 12, height - 1), fill=(40, 200, 220))
    return image


def read_frame_number(pixels: np.ndarray) -> int:
    """The number that is drawn in a frame of a numbered video; pixels (height, width, 3) uint8, of any size."""
    height, width = pixels.shape[:2]
    row = pixels[height // 6].astype(float).mean(axis=1)
    centres = ((np.arange(NUMBER_BITS) + 0.5) * width / NUMBER_BITS).astype(int)
    return int(sum(1 << (NUMBER_BITS - 1 - bit) for bit, at in enumerate(centres) if row[at] > 127))


def vfr_times(frames: int) -> list[int]:
    """Presentation times in milliseconds of variable_rate.mp4: 40 ms a frame, then 100, then 20, in turns of ten."""
    times, now = [], 0
    for number in range(frames):
        times.append(now)
        now += (40, 100, 20)[number // 10 % 3]
    return times


def write_video(
    path: Path,
    codec: str,
    times: Sequence[int],
    time_base: Fraction,
    *,
    options: dict[str, str],
    container_options: dict[str, str] | None = None,
) -> None:
    """Write a numbered video whose frame i is shown at times[i] * time_base seconds."""
    exact = {"fflags": "+bitexact"}  # without it Matroska and WebM get a random identifier
    with av.open(str(path), "w", options=exact | (container_options or {})) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = VIDEO_SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_image(numbered_frame(number))
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


# Without mbtree: with it x264 may write other bytes on each run, on one thread too.
X264 = {"crf": "28", "preset": "veryslow", "g": "50", "keyint_min": "50", "sc_threshold": "0", "bf": "3", "mbtree": "0"}
X265 = {
    "preset": "medium",
    "crf": "30",
    "x265-params": "keyint=30:min-keyint=30:open-gop=1:bframes=4:b-adapt=0:scenecut=0"
    ":pools=none:frame-threads=1:log-level=error",
}
VP9 = {"crf": "40", "b": "0", "g": "50", "deadline": "good", "cpu-used": "2"}
FRAME_25 = Fraction(1, 25)
MILLISECOND = Fraction(1, 1000)


def write_videos(folder: Path) -> None:
    """Write the numbered videos, one of every way in which a careless reader returns the wrong frame."""
    folder.mkdir(parents=True, exist_ok=True)
    write_video(folder / "b_frames.mp4", "libx264", range(300), FRAME_25, options=X264)
    write_video(folder / "variable_rate.mp4", "libx264", vfr_times(90), MILLISECOND, options=X264)
    write_video(folder / "offset.mkv", "libx264", range(125, 200), FRAME_25, options=X264)
    write_video(folder / "vp9.webm", "libvpx-vp9", range(75), FRAME_25, options=VP9)
    write_video(folder / "hevc_open_gop.mp4", "libx265", range(180), FRAME_25, options=X265 | {"tag": "hvc1"})
    write_video(folder / "short.mp4", "libx264", range(10), FRAME_25, options=X264)
    write_video(folder / "subtitled.mp4", "libx264", range(100), FRAME_25, options=X264)
    (folder / "subtitled.srt").write_text(SUBTITLES, encoding="utf-8")
    _write_rotated(folder / "rotated_90.mp4", folder / "short.mp4")


SUBTITLES = """1
00:00:00,200 --> 00:00:01,500
The counting starts at nought.

2
00:00:02,000 --> 00:00:03,600
<i>Fifty</i> frames have gone by,
a hundred are in sight.
"""


def _write_rotated(path: Path, upright: Path) -> None:
    # Telephones store a film as the sensor saw it and turn it by the display matrix of the track header, in 16.16
    # fixed point; PyAV cannot write that matrix, so the nine words of the finished file are replaced.
    data = bytearray(upright.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one, w = 0x00010000, 0x40000000
    struct.pack_into(">9i", data, at, 0, one, 0, -one, 0, 0, VIDEO_SIZE[1] * one, 0, w)
    path.write_bytes(data)


# Documents


def write_documents(folder: Path) -> None:
    """Write a PDF with text, one that is a picture of text only, and one whose page is turned."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = [["The first page speaks of a red fox.", "It has two lines."], ["The second page speaks of a lighthouse."]]
    (folder / "two_pages.pdf").write_bytes(pdf_of_lines(pages))
    (folder / "scanned.pdf").write_bytes(_pdf_of_picture("No text layer holds these words."))
    (folder / "turned_page.pdf").write_bytes(pdf_of_lines([["This page is turned by a quarter."]], rotate=90))


def pdf_of_lines(pages: Iterable[Sequence[str]], *, rotate: int = 0, password: str | None = None) -> bytes:
    """A PDF of A6 pages, each with its lines set in Helvetica; encrypted where a password is given."""
    from reportlab.lib.pagesizes import A6, landscape
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    encrypt = StandardEncryption(password, ownerPassword="owner", strength=128) if password else None
    size = landscape(A6) if rotate else A6  # reportlab takes the size as shown, after the turn
    canvas = Canvas(buffer, pagesize=size, invariant=1, encrypt=encrypt)
    for lines in pages:
        canvas.setPageRotation(rotate)
        for number, line in enumerate(lines):
            canvas.drawString(30, A6[1] - 50 - 20 * number, line)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def _pdf_of_picture(words: str) -> bytes:
    from reportlab.lib.pagesizes import A6
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    page = Image.new("L", (420, 592), 235)
    draw = ImageDraw.Draw(page)
    draw.text((30, 60), words, fill=40, font=ImageFont.load_default(20))
    jpeg, buffer = io.BytesIO(), io.BytesIO()
    page.rotate(1.0, fillcolor=235, resample=Image.Resampling.BICUBIC).save(jpeg, "JPEG", quality=60)
    canvas = Canvas(buffer, pagesize=A6, invariant=1)
    canvas.drawImage(ImageReader(jpeg), 0, 0, *A6)
    canvas.save()
    return buffer.getvalue()


# Texts and names

ACCENTS = "Ein Käfer, ein Écureuil und ein Piñón.\n"
MARKDOWN = """# Two headings

Words below the first heading.

## The second

More words, *in italics*, and a [link](#).
"""


def write_texts(folder: Path) -> None:
    """Write the same words in several encodings, a Markdown file, and a name outside ASCII."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, encoding in (("utf8.txt", "utf-8"), ("utf8_bom.txt", "utf-8-sig"), ("latin1.txt", "latin-1")):
        (folder / name).write_bytes(ACCENTS.encode(encoding))
    (folder / "utf16.txt").write_bytes(b"\xff\xfe" + ACCENTS.encode("utf-16-le"))
    (folder / "headings.md").write_text(MARKDOWN, encoding="utf-8")
    paragraphs = (
        f"Paragraph {n} counts to {n}: " + ", ".join(str(i) for i in range(n + 20)) + "." for n in range(1, 41)
    )
    (folder / "long.txt").write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    (folder / "naïve 猫 🐈.txt").write_text("A cat with a name in three scripts.\n", encoding="utf-8")


def write_misnamed(folder: Path) -> None:
    """Write sound files whose name says something else, or nothing: what they are shows in their first bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    four_colours(64, 48).save(folder / "png_named.jpg", "PNG")
    four_colours(64, 48).save(folder / "jpeg_named.txt", "JPEG", quality=92)
    (folder / "pdf_without_suffix").write_bytes(pdf_of_lines([["A document without a suffix."]]))


# Broken files


def write_broken(folder: Path, sound: Path) -> None:
    """Write one broken file of each kind; `sound` is the folder with the sound assets that some are cut from."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(7).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    for name, form in (("truncated.jpg", "JPEG"), ("truncated.png", "PNG")):
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, form)
        (folder / name).write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 3])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text_named.jpg").write_text("These are words and not a picture.\n", encoding="utf-8")
    (folder / "zeros.bin").write_bytes(bytes(512))

    video = (sound / "videos" / "b_frames.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(video[: len(video) // 2])  # the index stands at the end: it is gone
    _write_half_video(folder / "index_without_data.mp4")
    _write_empty_video(folder / "zero_frames.mp4")
    _write_sound_only(folder / "sound_only.mp4")

    (folder / "encrypted.pdf").write_bytes(pdf_of_lines([["Behind a password."]], password=PDF_PASSWORD))
    document = (sound / "documents" / "two_pages.pdf").read_bytes()
    (folder / "truncated.pdf").write_bytes(document[: len(document) // 3])


def _write_half_video(path: Path) -> None:
    # With the index in front the file opens, states all of its frames, and then lacks nearly all of their bytes.
    write_video(path, "libx264", range(50), FRAME_25, options=X264, container_options={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 200])


def _write_empty_video(path: Path) -> None:
    # The head of a fragmented file states one track; cut before the first fragment, that track has no frame.
    fragmented = {"movflags": "frag_keyframe+empty_moov+delay_moov"}
    write_video(path, "libx264", range(10), FRAME_25, options=X264, container_options=fragmented)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])


def _write_sound_only(path: Path) -> None:
    rate = 16000
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate)).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone[None, :], format="s16", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


# Made only where a test asks for them


def write_huge_png(path: Path, width: int = 20_000, height: int = 10_000) -> None:
    """Write a sound PNG of 200 megapixels that takes a few dozen kilobytes: the smallest of decompression bombs."""
    Image.new("1", (width, height), 1).save(path, compress_level=9)


def write_odd_names(folder: Path) -> list[Path]:
    """Write small sound pictures under names that are legal on Linux and rarely thought of; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    names = (
        "two\nlines.png",
        " leading space.png",
        "trailing .png",
        "-dash.png",
        "quote'\".png",
        "%41#?&.png",
        "emoji 🦊.png",
        "a;b|c$d.png",
        "n" * 250 + ".png",
    )
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        Image.new("RGB", (8, 8), (20 * number, 100, 200)).save(path)
    return paths


WRITERS: dict[str, Callable[[Path], None]] = {
    "pictures": write_pictures,
    "videos": write_videos,
    "documents": write_documents,
    "texts": write_texts,
    "misnamed": write_misnamed,
}


def main(folder: Path = HERE) -> None:
    """Write every asset under `folder`."""
    for name, write in WRITERS.items():
        write(folder / name)
    write_broken(folder / "broken", folder)


if __name__ == "__main__":
    main()
