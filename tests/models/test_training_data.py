"""How packages become records, on small things made here; no package is fetched."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmretrieval.errors import EncoderUnavailable
from models.training import packages
from models.training.clipart import read_metadata, texts_of
from models.training.drawing import Drawing, picture, words
from models.training.emoji import concept_of, emoji_names, plain, toned, without_tone
from models.training.gcompris import unpack
from models.training.hashes import NEAR, hashes, near

# --- emoji ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "concept", "tone", "gender"),
    [
        ("1F600", "1F600", "", ""),
        ("1F44B-1F3FD", "1F44B", "medium", ""),
        ("1F468-1F3FF-200D-2695-FE0F", "1F9D1-200D-2695", "dark", "man"),  # man health worker
        ("1F469-200D-2695-FE0F", "1F9D1-200D-2695", "", "woman"),
        ("1F9D1-200D-2695-FE0F", "1F9D1-200D-2695", "", ""),
        ("1F3C3-1F3FB-200D-2640-FE0F", "1F3C3", "light", "woman"),  # woman running
        ("1F3C3-200D-2642-FE0F-200D-27A1-FE0F", "1F3C3-200D-27A1", "", "man"),  # facing right: another drawing
        ("1F467-1F3FC", "1F9D2", "medium-light", "woman"),
        ("1F934", "1FAC5", "", "man"),
        ("1F468-200D-1F469-200D-1F467", "1F468-200D-1F469-200D-1F467", "", ""),  # a family stays what it is
        ("1F469-1F3FB-200D-2764-FE0F-200D-1F468-1F3FF", "1F469-200D-2764-200D-1F468", "mixed", ""),
        ("0023-fe0f-20e3", "0023-20E3", "", ""),
    ],
)
def test_a_concept_is_free_of_tone_and_gender(code: str, concept: str, tone: str, gender: str) -> None:
    assert concept_of(code) == (concept, tone, gender)


def test_sequences_are_compared_without_selectors_and_tones() -> None:
    assert plain("2764-fe0f") == "2764"
    assert without_tone("1F44B-1F3FD") == "1F44B"


def test_a_tone_is_said_in_words() -> None:
    assert toned(["waving hand"], "") == ("waving hand",)
    assert toned(["waving hand", "wave"], "medium-dark") == (
        "waving hand, medium-dark skin tone",
        "wave, medium-dark skin tone",
    )
    assert toned(["kiss"], "mixed") == ("kiss, mixed skin tones",)


def test_names_of_both_packages_come_together_in_a_fixed_order() -> None:
    table = [
        {"unified": "1F44B", "name": "WAVING HAND SIGN", "short_names": ["wave"]},
        {"unified": "2764-FE0F", "name": None, "short_names": ["heart", "red_heart"]},
    ]
    chars = {"1f44b": "waving-hand", "1f44b-1f3fb": "waving-hand-light", "2764": "red-heart"}
    assert emoji_names(table, chars) == {
        "1F44B": ("waving hand", "waving hand sign", "wave"),
        "2764": ("red heart", "heart"),
    }


def test_what_is_held_out_is_decided_by_the_group_alone() -> None:
    def drawing(key: str, group: str) -> Drawing:
        return Drawing(key, key.split("/", maxsplit=1)[0], group, group, "", "", ("a",), "", Path())

    groups = [f"1F{number:03X}" for number in range(1000)]
    held = {group for group in groups if drawing(f"google/{group}", group).held_out}
    assert held == {group for group in groups if drawing(f"openmoji/{group}", group).held_out}
    assert 120 <= len(held) <= 180  # 15 of 100


# --- clip art ------------------------------------------------------------------------------------------------------

SVG = """<svg><metadata><rdf:RDF><cc:Work><dc:title>{title}</dc:title>
<dc:subject><rdf:Bag><rdf:li>hash(0x8a1)</rdf:li>
<rdf:li>mammal</rdf:li><rdf:li>Given Name</rdf:li></rdf:Bag></dc:subject>
<dc:creator><cc:Agent><dc:title>Given Name</dc:title></cc:Agent></dc:creator>
<cc:license rdf:resource="http://web.resource.org/cc/{licence}"/></cc:Work></rdf:RDF></metadata></svg>"""


def test_metadata_of_clip_art() -> None:
    found = read_metadata(SVG.format(title="Cat &amp; dog", licence="PublicDomain"))
    assert (found.title, found.author, found.public_domain) == ("Cat & dog", "Given Name", True)
    assert not read_metadata(SVG.format(title="Cat", licence="GPL")).public_domain
    assert read_metadata("<svg/>").keywords == ()


def test_texts_of_clip_art_leave_out_authors_numbers_and_junk() -> None:
    path = Path("animals/big_cats/red_tiger_given_n_02.svg")
    found = read_metadata(SVG.format(title="Tiger 02", licence="PublicDomain"))
    assert texts_of(path, found, series=False) == ("tiger", "mammal, big cats, animals")
    assert texts_of(path, found, series=True)[0] == "red tiger"  # the title is a whole series'
    unnamed = read_metadata(SVG.format(title="Clipart by Given Name - dog", licence="PublicDomain"))
    assert texts_of(path, unnamed, series=False)[0] == "red tiger"


def test_words_of_file_names() -> None:
    assert words("redSquare_02-b.x") == "red square b x"


# --- packages and pictures -----------------------------------------------------------------------------------------


def test_a_package_file_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    package = packages.PACKAGES["google"]
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / package.file).write_bytes(b"something else")
    with pytest.raises(EncoderUnavailable, match="put that package's file there"):
        packages.unpacked(tmp_path, "google")


def test_every_source_states_author_and_licence() -> None:
    for package in packages.PACKAGES.values():
        assert package.author
        assert package.licence
        assert len(package.sha256) == 64
    assert not packages.PACKAGES["openmoji"].trained  # share-alike: only judged on


def test_a_transparent_drawing_is_cut_out_and_laid_on_white(tmp_path: Path) -> None:
    page = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
    page.paste((255, 0, 0, 255), (200, 100, 300, 150))
    page.save(tmp_path / "a.png")
    drawing = Drawing("a", "google", "a", "a", "", "", ("a",), "", tmp_path / "a.png")
    cut = picture(drawing)
    assert (cut.mode, cut.size) == ("RGB", (112, 62))
    assert cut.getpixel((0, 0)) == (255, 255, 255)
    assert cut.getpixel((6, 6)) == cut.getpixel((105, 55)) == (255, 0, 0)


def test_a_qt_resource_is_read_back() -> None:
    names, blobs = b"", b""
    places = {}
    for name in ("folder", "plain.txt", "packed.txt"):
        places[name] = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    contents = [b"as it is", zlib.compress(b"squeezed " * 9)]
    offsets = []
    for flag, content in enumerate(contents):
        offsets.append(len(blobs))
        stored = struct.pack(">I", 81) + content if flag else content
        blobs += struct.pack(">I", len(stored)) + stored
    tree = struct.pack(">IHII", 0, 2, 1, 1) + struct.pack(">IHII", places["folder"], 2, 2, 2)
    for name, flag, offset in (("plain.txt", 0, offsets[0]), ("packed.txt", 1, offsets[1])):
        tree += struct.pack(">IHHHI", places[name], flag, 0, 0, offset)
    head = struct.pack(">4s4I", b"qres", 1, 20, 20 + len(tree), 20 + len(tree) + len(blobs))
    found = dict(unpack(head + tree + blobs + names))
    assert found == {"folder/plain.txt": b"as it is", "folder/packed.txt": b"squeezed " * 9}
    with pytest.raises(ValueError, match="no Qt resource"):
        list(unpack(b"x" * 40))


# --- perceptual hashes ---------------------------------------------------------------------------------------------


def scene(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (240, 180), tuple(int(v) for v in rng.integers(60, 200, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(9):
        x, y, w, h = (int(v) for v in rng.integers(0, 120, 4))
        draw.ellipse((x, y, x + w + 20, y + h + 20), fill=tuple(int(v) for v in rng.integers(0, 255, 3)))
    return image


def test_the_same_picture_is_found_after_scaling_framing_and_reencoding(tmp_path: Path) -> None:
    image = scene(1)
    image.resize((90, 68), Image.Resampling.LANCZOS).save(tmp_path / "small.webp", quality=60)
    framed = Image.new("RGB", (320, 260), (255, 255, 255))
    framed.paste(image, (40, 40))
    for other in (Image.open(tmp_path / "small.webp").convert("RGB"), framed):
        assert near(hashes(other)[None], hashes(image)[None]).all()


def test_other_pictures_are_told_apart() -> None:
    table = np.stack([hashes(scene(seed)) for seed in range(40)])
    for place in range(len(table)):
        assert not near(table[place : place + 1], np.delete(table, place, axis=0)).any()


def test_both_hashes_must_be_near() -> None:
    zero = np.zeros((1, 2), dtype=np.uint64)
    bits = (1 << NEAR) - 1
    assert near(np.array([[bits, bits]], dtype=np.uint64), zero).all()
    assert not near(np.array([[bits * 2 + 1, 0]], dtype=np.uint64), zero).any()


def test_an_empty_picture_has_hashes_too() -> None:
    assert hashes(Image.new("RGB", (30, 20), (255, 255, 255))).shape == (2,)
