"""What counts as the same picture once more, on real pictures; and who stands behind whom."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from drawings import drawing
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw

from ingest.pipeline import ingest
from ingest.walk import Source, walk
from mmretrieval import copies
from mmretrieval.copies import Looks, Prints, leaders, looks, seen
from mmretrieval.library import Library
from mmretrieval.types import Item

PHOTOS = Path(__file__).parents[1] / "samples" / "photos"
Edit = Callable[[Image.Image], Image.Image]


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=quality)
    return Image.open(io.BytesIO(held.getvalue())).convert("RGB")


def half(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2))


def marked(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    height = picture.height // 14
    ImageDraw.Draw(picture).text(
        (10, picture.height - 2 * height), "made up, 2020", fill=(255, 255, 255), font_size=height
    )
    return picture


EDITS: dict[str, Edit] = {
    "half": half,
    "quarter": lambda picture: half(half(picture)),
    "jpeg": lambda picture: jpeg(picture, 20),
    "marked": marked,
    "brighter": lambda picture: picture.point(lambda value: min(255, int(value * 1.1))),
}


@pytest.fixture(scope="module")
def photos() -> dict[str, Image.Image]:
    found = {}
    for path in sorted(PHOTOS.glob("*/*.webp"))[::4]:
        with Image.open(path) as picture:
            found[path.stem] = picture.convert("RGB")
    assert len(found) >= 20
    return found


def as_looks(pictures: dict[str, Image.Image]) -> Looks:
    class Held(Prints):
        def __init__(self) -> None:
            self._kept = {name: copies.printed(picture) for name, picture in pictures.items()}

        def of(self, ids: object) -> tuple[copies.Print, copies.Mask]:
            assert self._kept is not None
            return np.stack(list(self._kept.values())), np.ones(len(self._kept), dtype=np.bool_)

    return seen(Held(), [Item(name, "image", name) for name in pictures])


@pytest.mark.parametrize("edit", EDITS)
def test_a_picture_that_was_edited_a_little_is_a_copy_of_itself_and_of_no_other(
    photos: dict[str, Image.Image], edit: str
) -> None:
    edited = {f"{name} {edit}": EDITS[edit](picture) for name, picture in photos.items()}
    found, _ = as_looks(photos | edited).alike(slice(0, len(photos)), slice(len(photos), None))
    own = np.eye(len(photos), dtype=bool)
    assert found[own].mean() >= 0.9
    assert not found[~own].any()


def test_another_colour_and_another_place_are_no_copies(photos: dict[str, Image.Image]) -> None:
    picture = next(iter(photos.values()))
    red, green, blue = picture.split()
    turned = {"as it is": picture, "upside down": picture.rotate(180), "dark": picture.point(lambda value: value // 2)}
    turned["redder"] = Image.merge("RGB", (red.point(lambda value: min(255, value + 60)), green, blue))
    found, _ = as_looks(turned).alike(slice(0, 1), slice(1, None))
    assert not found.any()


def test_a_picture_without_anything_on_it_is_like_none() -> None:
    plain = {name: Image.new("RGB", (40, 40), (250, 250, 250)) for name in "ab"}
    assert not as_looks(plain).alike(slice(None), slice(None))[0].any()


def page(ident: str, text: str, of: str, kind: str = "document") -> Item:
    return Item(ident, kind, of, text=text, visual=kind != "text")


def test_words_tell_pages_apart_and_passages_together() -> None:
    items = [
        page("a", "One two.", "first"),
        page("b", "one, TWO", "second"),
        page("c", "one three", "third"),
        page("d", "", "first"),
        page("e", "", "first"),
        page("f", "", "second"),
        page("g", "one two", "h", "image"),
    ]
    rows = np.tile(np.array([[0.6, 0.8]], dtype=np.float32), (len(items), 1))
    found = looks(items, rows).alike(slice(None), slice(None))[0]
    wanted = {"ab", "ag", "bg", "cg", "dg", "eg", "fg", "df", "ef"}  # words, or nothing that tells them apart
    wanted |= {"bd", "be", "af", "cd", "ce", "cf"}  # a page with words and a scan of another document
    told = {items[i].id + items[j].id for i, j in zip(*np.nonzero(np.triu(found, 1)), strict=True)}
    assert told == wanted
    passages = [page(*one, "text") for one in (("p", "The sea.", "1"), ("q", "the sea", "2"), ("r", "The sky.", "3"))]
    passages.append(page("s", "", "4", "text"))
    none = np.zeros((4, 2), dtype=np.float32)
    found = looks(passages, none).alike(slice(None), slice(None))[0]
    assert {(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(found, 1)), strict=True)} == {(0, 1)}


@given(arrays.arrays(np.bool_, st.integers(0, 12).map(lambda n: (n, n))), st.integers(0, 12))
def test_nothing_stands_behind_what_stands_behind_another(related: copies.Mask, cut: int) -> None:
    found = leaders(related)
    assert len(found) == len(related)
    for place, leader in enumerate(found):
        assert found[leader] == leader <= place
        assert leader == place or related[place, leader]
        better = [first for first in range(leader) if found[first] == first and related[place, first]]
        assert not better
    assert leaders(related[:cut, :cut]) == found[:cut]


# --- of a library ----------------------------------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    folder = tmp_path / "in"
    folder.mkdir()
    for seed in range(6):
        drawing(seed, 96).save(folder / f"{seed}.png")
    jpeg(drawing(2, 60), 50).save(folder / "again.png")
    with Library.create(tmp_path / "library", ["hashing"]) as made:
        ingest(made, [*walk([folder]), Source("words", data=b"The fox is red.")], workers=1)
        yield made


def of_name(library: Library, name: str) -> Item:
    return next(item for item in library.items() if Path(item.paths[0]).name == name)


def test_prints_are_those_of_the_thumbnails_and_stay_when_those_are_gone(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "WRITTEN_FROM", 7)
    items = sorted(library.items(), key=lambda item: item.paths)
    prints = Prints(library)
    found, present = prints.of([item.id for item in items])
    assert [item.visual for item in items] == present.tolist()
    with Image.open(library.thumbnail(items[0].id) or "") as thumbnail:
        np.testing.assert_array_equal(found[0], copies.printed(thumbnail))
    twins = seen(prints, items).alike(slice(None), slice(None))[0]
    pairs = {(items[i].paths[0], items[j].paths[0]) for i, j in zip(*np.nonzero(np.triu(twins, 1)), strict=True)}
    assert {tuple(sorted(Path(p).name for p in pair)) for pair in pairs} == {("2.png", "again.png")}
    shutil.rmtree(library.path / "thumbs")
    np.testing.assert_array_equal(Prints(library).of([item.id for item in items])[0], found)
    assert prints.of([items[0].id, "00000000-0000-0000-0000-000000000000"])[1].tolist() == [True, False]


def test_prints_on_disk_that_cannot_be_read_are_made_again(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "WRITTEN_FROM", 1)
    ids = [of_name(library, "2.png").id]
    found, _ = Prints(library).of(ids)
    file = library.path / "cache" / "prints.npz"
    file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(Prints(library).of(ids)[0], found)
    monkeypatch.setattr(copies, "KEPT", 1)
    few = Prints(library)
    few.of([item.id for item in library.items()])
    assert few._kept is not None and len(few._kept) == 1
    assert not list(file.parent.glob(".*"))
