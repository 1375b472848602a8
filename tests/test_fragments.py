"""Places in files as text: what is read back, what is shown of each kind, and what is refused in which words."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingesting import add
from PIL import Image

from mmretrieval.errors import BadQuery, MediaError, UnknownName
from mmretrieval.fragments import Place, Region, Span, parse, read
from mmretrieval.library import Library
from mmretrieval.types import Settings
from tests.assets.make_assets import BLUE, GREEN, RED, YELLOW, read_frame_number

ASSETS = Path(__file__).parent / "assets"
PICTURES, VIDEOS, DOCUMENTS = ASSETS / "pictures", ASSETS / "videos", ASSETS / "documents"
UUID = "6f0b1f0e-6a39-5d0b-9c53-4d6c72b0a7f1"
SETTINGS = Settings()

TIMES = st.floats(0, 1e6, allow_subnormal=False)
SIDES = st.integers(1, 10**6).map(float)
REGIONS = st.builds(Region, SIDES.map(lambda n: n - 1), SIDES.map(lambda n: n - 1), SIDES, SIDES) | st.builds(
    Region, TIMES, TIMES, TIMES.filter(bool), TIMES.filter(bool), st.just(True)
)
SPANS = st.builds(Span, TIMES) | st.tuples(TIMES, TIMES).filter(lambda t: t[0] < t[1]).map(lambda t: Span(*t))
NAMES = st.text(min_size=1, max_size=12).filter(lambda t: not t.startswith("item:")) | st.sampled_from(
    ["a#t=1", "a#", "#", "##t=", "a#xywh=1,2,3,4#", "t=1", "photo #3.jpg", "c#=.png", "a&b=c.jpg", "item"]
)
PAGES = st.none() | st.integers(1, 10**6)
PLACES = st.builds(Place, NAMES, st.just(""), st.none() | REGIONS, st.none() | SPANS, PAGES) | st.builds(
    Place, st.just(""), st.uuids().map(str), st.none() | REGIONS, st.none() | SPANS, PAGES
)


@given(PLACES)
def test_a_place_is_read_back_from_its_text(place: Place) -> None:
    assert parse(str(place)) == place


@given(st.text(alphabet="item:#xywht=page&,.:0123456789ns-%AF", max_size=30))
def test_any_text_is_a_place_or_is_refused(text: str) -> None:
    try:
        place = parse(text)
    except BadQuery:
        return
    assert parse(str(place)) == place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a.jpg#xywh=10,20,300,200", Place("a.jpg", region=Region(10, 20, 300, 200))),
        ("a.jpg#xywh=pixel:10,20,300,200", Place("a.jpg", region=Region(10, 20, 300, 200))),
        ("a.jpg#xywh=percent:10,10,50,50", Place("a.jpg", region=Region(10, 10, 50, 50, percent=True))),
        ("a.jpg#xywh=percent%3A10,10,50,50", Place("a.jpg", region=Region(10, 10, 50, 50, percent=True))),
        ("a.mp4#t=12.5,15", Place("a.mp4", span=Span(12.5, 15))),
        ("a.mp4#t=npt:12.5s,15s", Place("a.mp4", span=Span(12.5, 15))),
        ("a.mp4#t=,15", Place("a.mp4", span=Span(0, 15))),
        ("a.mp4#t=1:02.5", Place("a.mp4", span=Span(62.5))),
        ("a.mp4#t=1:00:02,01:01:00", Place("a.mp4", span=Span(3602, 3660))),
        ("a.pdf#page=3", Place("a.pdf", page=3)),
        ("a.pdf#xywh=1,2,3,4&page=3", Place("a.pdf", region=Region(1, 2, 3, 4), page=3)),
        (f"item:{UUID}", Place(item=UUID)),
        (f"item:{UUID.upper()}#page=2", Place(item=UUID, page=2)),
        ("photo #3.jpg", Place("photo #3.jpg")),
        ("a#t=1#", Place("a#t=1")),
        ("./item:a.jpg", Place("./item:a.jpg")),
    ],
)
def test_what_texts_mean(text: str, place: Place) -> None:
    assert parse(text) == place


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.jpg#zoom=3", "'zoom=3' of .* is unknown: places are xywh=, t= and page="),
        ("a.jpg#t=1&t=2", "two places t="),
        ("a.jpg#xywh=1,2,3", "no region"),
        ("a.jpg#xywh=1,2,3,-4", "no region"),
        ("a.jpg#xywh=inch:1,2,3,4", "no region"),
        ("a.jpg#xywh=1,2,0,4", "has no size"),
        ("a.jpg#xywh=1.5,2,3,4", "parts of pixels"),
        ("a.mp4#t=", "no time"),
        ("a.mp4#t=3,", "no time"),
        ("a.mp4#t=4,3", "an end after the beginning"),
        ("a.mp4#t=1:75", "no time"),
        ("a.pdf#page=0", "counted from 1"),
        ("a.pdf#page=two", "counted from 1"),
        ("", "name a file"),
        ("item:7", "no item's id"),
        ("item:", "no item's id"),
        ("#t=1", "name a file"),
    ],
)
def test_what_is_no_place_says_why(text: str, says: str) -> None:
    with pytest.raises(BadQuery, match=says):
        parse(text)


def shown(text: str, library: Library | None = None, settings: Settings = SETTINGS) -> Image.Image:
    image = read(parse(text), settings, library).image
    assert image is not None
    return image


def colour(image: Image.Image) -> tuple[int, ...]:
    pixels = np.asarray(image).reshape(-1, 3)
    assert np.ptp(pixels, axis=0).max() <= 6, "more than one colour"
    return tuple(pixels.mean(axis=0).round().astype(int).tolist())


@pytest.mark.parametrize(
    ("xywh", "wanted"),
    [
        ("0,0,32,24", RED),
        ("percent:50,0,50,50", GREEN),
        ("0,24,32,24", BLUE),
        ("percent:50,50,50,50", YELLOW),
        ("32,24,1000,1000", YELLOW),  # what of it lies inside
    ],
)
def test_a_region_of_a_picture(xywh: str, wanted: tuple[int, int, int]) -> None:
    cut = shown(f"{PICTURES}/lossless.webp#xywh={xywh}")
    assert cut.size == (32, 24) and colour(cut) == wanted


def test_a_region_is_of_the_upright_picture_in_its_own_size(tmp_path: Path) -> None:
    upright = shown(f"{PICTURES}/orientation_6.jpg")
    assert upright.size == (48, 64)
    corner = shown(f"{PICTURES}/orientation_6.jpg#xywh=28,36,16,24")  # outside, if the file's rows were counted
    assert corner.size == (16, 24)
    assert np.abs(np.asarray(corner).astype(int) - np.asarray(upright.crop((28, 36, 44, 60)))).max() == 0
    large = Image.new("RGB", (3000, 1500), (1, 2, 3))
    large.paste((200, 100, 50), (2000, 1000, 2400, 1300))
    large.save(tmp_path / "large.png")
    cut = shown(f"{tmp_path}/large.png#xywh=2000,1000,400,300")
    assert cut.size == (400, 300) and colour(cut) == (200, 100, 50)
    assert shown(f"{tmp_path}/large.png").size == (1024, 512)
    assert shown(f"{tmp_path}/large.png#xywh=percent:0,0,90,100").size == (1024, math.ceil(1024 * 1500 / 2700))


def test_a_region_outside_the_picture_says_how_large_it_is() -> None:
    with pytest.raises(BadQuery, match=r"xywh=64,0,10,10 lies outside the picture, which has 64 x 48 pixels"):
        shown(f"{PICTURES}/lossless.webp#xywh=64,0,10,10")


def numbers(text: str) -> list[int]:
    return [read_frame_number(np.asarray(frame)) for frame in read(parse(text), SETTINGS).frames]


def test_a_moment_is_one_frame_and_a_span_the_frames_of_a_clip() -> None:
    film = VIDEOS / "b_frames.mp4"
    assert numbers(f"{film}#t=4.5") == [112]
    assert numbers(f"{film}#t=2,4") == [53, 59, 65, 71, 78, 84, 90, 96]  # middles of eighths of 2 s
    assert numbers(f"{film}#t=,0.32") == list(range(8))
    assert numbers(f"{film}#t=11.84,99") == [296, 296, 297, 297, 298, 298, 299, 299]
    assert len(numbers(f"{film}")) == 8 and numbers(f"{film}")[-1] > 260


def test_a_region_of_a_moment() -> None:
    (whole,) = read(parse(f"{VIDEOS}/b_frames.mp4#t=3"), SETTINGS).frames
    (cut,) = read(parse(f"{VIDEOS}/b_frames.mp4#t=3&xywh=80,10,40,60"), SETTINGS).frames
    assert cut.size == (40, 60)
    assert np.array_equal(np.asarray(cut), np.asarray(whole.crop((80, 10, 120, 70))))


@pytest.mark.parametrize("t", ["12", "12,13", "400"])
def test_after_the_end_of_the_film(t: str) -> None:
    with pytest.raises(BadQuery, match=r"b_frames.mp4#t=.*: the film ends at 12.00 s: choose an earlier time"):
        numbers(f"{VIDEOS}/b_frames.mp4#t={t}")


def test_a_page_is_seen_and_read() -> None:
    content = read(parse(f"{DOCUMENTS}/two_pages.pdf#page=2"), SETTINGS)
    assert content.text == "The second page speaks of a lighthouse."
    assert content.image is not None and max(content.image.size) == SETTINGS.picture_side
    part = read(parse(f"{DOCUMENTS}/two_pages.pdf#page=2&xywh=percent:0,0,100,25"), SETTINGS)
    assert part.text is None and part.image is not None
    assert part.image.size == (content.image.width, math.ceil(content.image.height / 4))
    assert read(parse(f"{DOCUMENTS}/turned_page.pdf"), SETTINGS).text == "This page is turned by a quarter."


def test_a_page_that_is_not_there() -> None:
    with pytest.raises(BadQuery, match=r"page=3: the document has 2 pages"):
        shown(f"{DOCUMENTS}/two_pages.pdf#page=3")
    with pytest.raises(BadQuery, match=r"two_pages.pdf has 2 pages: say which"):
        shown(f"{DOCUMENTS}/two_pages.pdf")


def test_a_text_is_its_words() -> None:
    content = read(parse(str(ASSETS / "texts" / "headings.md")), SETTINGS)
    assert content.modalities == ("text",) and content.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pictures/lossless.webp#t=3", "a picture has no place t=; it has xywh="),
        ("pictures/lossless.webp#page=1", "a picture has no place page="),
        ("videos/short.mp4#page=1", "a video has no place page=; it has t= and xywh="),
        ("documents/two_pages.pdf#t=1", "a document has no place t="),
        ("texts/utf8.txt#xywh=1,1,1,1", "a text has no place xywh=; it has none"),
    ],
)
def test_a_place_that_a_kind_does_not_have(text: str, says: str) -> None:
    with pytest.raises(BadQuery, match=says):
        read(parse(f"{ASSETS}/{text}"), SETTINGS)


@pytest.mark.parametrize("name", ["nothing.jpg", "broken/truncated.jpg", "broken/zeros.bin", "pictures"])
def test_a_file_that_cannot_be_read_is_named(name: str) -> None:
    with pytest.raises(MediaError, match=rf"{ASSETS}/{name}: "):
        shown(f"{ASSETS}/{name}")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    root = tmp_path_factory.mktemp("library")
    made = Library.create(root / "l", ["hashing"])
    files = [PICTURES / "lossless.webp", VIDEOS / "b_frames.mp4", DOCUMENTS / "two_pages.pdf"]
    files.append(ASSETS / "texts" / "utf8.txt")
    (root / "in").mkdir()
    for file in files:
        (root / "in" / file.name).write_bytes(file.read_bytes())
    assert add(made, root / "in").failed == 0
    return made


def item(library: Library, kind: str, **wanted: object) -> str:
    found = (i for i in library.items() if i.kind == kind and all(getattr(i, k) == v for k, v in wanted.items()))
    return f"item:{next(found).id}"


def test_an_item_is_read_from_its_own_file(library: Library) -> None:
    assert colour(shown(f"{item(library, 'image')}#xywh=percent:50,0,50,50", library)) == GREEN
    clip = item(library, "video", t0=8.0)
    frames = read(parse(f"{clip}#xywh=percent:0,0,100,100"), SETTINGS, library).frames
    assert [read_frame_number(np.asarray(f)) for f in frames] == numbers(f"{VIDEOS}/b_frames.mp4#t=8,12")
    (frame,) = read(parse(f"{clip}#t=1"), SETTINGS, library).frames  # times are the film's, not the clip's
    assert read_frame_number(np.asarray(frame)) == 25
    second = item(library, "document", page=2)
    assert read(parse(second), SETTINGS, library).text == "The second page speaks of a lighthouse."
    band = shown(f"{second}#xywh=percent:0,0,100,25", library)
    expected = shown(f"{DOCUMENTS}/two_pages.pdf#page=2&xywh=percent:0,0,100,25")
    assert np.array_equal(np.asarray(band), np.asarray(expected))


def test_an_item_that_has_no_such_place(library: Library) -> None:
    with pytest.raises(BadQuery, match="a passage, which has neither pages nor pictures"):
        read(parse(f"{item(library, 'text')}#xywh=1,1,1,1"), SETTINGS, library)
    with pytest.raises(UnknownName, match="has no item"):
        read(parse(f"item:{UUID}"), SETTINGS, library)
    with pytest.raises(BadQuery, match="no library"):
        read(parse(f"item:{UUID}"), SETTINGS)


def test_a_file_that_changed_since_is_not_opened(library: Library) -> None:
    picture = item(library, "image")
    (path,) = library.item(parse(picture).item).paths
    before, times = Path(path).read_bytes(), Path(path).stat()
    Path(path).write_bytes(b"something else")
    try:
        with pytest.raises(MediaError, match="has changed since it was ingested"):
            shown(f"{picture}#xywh=0,0,5,5", library)
    finally:
        Path(path).write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
