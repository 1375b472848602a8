"""A small library for the page: pictures with captions that say their colours, a clip, a document, a passage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client
from PIL import Image, ImageDraw

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.library import Library
from mmretrieval.types import Item
from page.search.tab import Results
from page.state import Page
from tests.page.serving import served

ASSETS = Path(__file__).parent.parent / "assets"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"> ${1+1} {{value}} **bold** violet"
PICTURES = {
    "red-apple": ("a red apple on a table", (200, 20, 20), {"subject": "food", "year": 1999}),
    "red-car": ("a red car in the street", (210, 30, 25), {"subject": "transport", "year": 2005}),
    "red-brick": ("a red brick wall", (180, 40, 30), {"subject": "buildings", "year": 2010}),
    "green-tree": ("a green tree on a hill", (20, 160, 30), {"subject": "plants", "year": 2005}),
    "green-frog": ("a green frog by the pond", (30, 170, 40), {"subject": "animals"}),
    "blue-boat": ("a blue boat on the lake", (20, 40, 190), {"subject": "transport"}),
    "blue-bird": ("a blue bird in flight", (30, 50, 200), {"subject": "animals"}),
    "hostile": (HOSTILE, (140, 20, 180), {"note": HOSTILE}),
}


def draw(path: Path, colour: tuple[int, int, int], side: int = 96) -> None:
    """A picture of a bright disc on a colour; no two of them have the same bytes."""
    picture = Image.new("RGB", (side, side), colour)
    ImageDraw.Draw(picture).ellipse((10, 10, 40 + colour[0] % 17, 40 + colour[2] % 13), fill=(250, 250, 220))
    picture.save(path)


def make_media(folder: Path) -> Path:
    """The files of the library, with a captions file and one picture that is broken."""
    folder.mkdir(parents=True)
    lines = []
    for name, (caption, colour, meta) in PICTURES.items():
        draw(folder / f"{name}.png", colour)
        lines.append(json.dumps({"path": f"{name}.png", "caption": caption, **meta}))
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "passage.txt").write_text("The lighthouse keeper writes down every ship that passes the cape.\n")
    shutil.copy(ASSETS / "documents" / "two_pages.pdf", folder)
    shutil.copy(ASSETS / "videos" / "vp9.webm", folder)
    (folder / "vp9.txt").write_text("numbers counting on a grey card")
    shutil.copy(ASSETS / "broken" / "truncated.png", folder)
    return folder


def make_library(folder: Path) -> Path:
    """A library of those files under `folder`, with the encoder that needs no weights."""
    media = make_media(folder / "media")
    with Library.create(folder / "library", ("hashing",)) as library:
        counts = ingest(library, list(walk([media])), workers=1)
    assert counts.failed == 1, counts.failures
    return folder / "library"


def by_caption(page: Page, words: str) -> Item:
    """The one item whose caption holds the words."""
    (found,) = [item for item in page.library.items() if words in item.text]
    return found


def captions(page: Page, results: Results) -> list[str]:
    """The captions of what was found, best first."""
    assert not results.problem, results.problem
    items = page.library.items_by_id(list(results.hits))
    return [items[ident].text for ident in results.hits]


THINGS = (
    "apple", "boat", "cloud", "dog", "engine", "forest", "garden", "harbour", "island", "jacket", "kettle", "ladder",
    "mountain", "needle", "orchard", "pencil", "quarry", "river", "saddle", "temple", "umbrella", "valley", "window",
    "yard",
)  # fmt: skip


def make_dataset(folder: Path) -> Path:
    """Twenty-four pictures, each with a caption on one thing, one that names all of them, two queries a thing."""
    (folder / "assets").mkdir(parents=True)
    corpus, queries, judged = [], [], ["query-id\tcorpus-id\tscore"]
    for place, thing in enumerate([*THINGS, "all"]):
        draw(folder / "assets" / f"{thing}.png", (10 * place, 255 - 9 * place, (70 * place) % 256))
        words = " ".join(THINGS) if thing == "all" else f"The {thing} stood there, a {thing} like any other {thing}."
        corpus.append(
            {"id": thing, "path": f"assets/{thing}.png", "text": words, "meta": {"shelf": f"shelf {place % 3}"}}
        )
    for thing in THINGS:
        for number, asked in enumerate((f"a {thing}", f"{thing} there")):
            queries.append({"id": f"{thing}-{number}", "parts": [{"text": asked}]})
            judged.append(f"{thing}-{number}\t{thing}\t1")
    for name, records in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (folder / "qrels.tsv").write_text("\n".join(judged) + "\n")
    (folder / "dataset.toml").write_text(TOML)
    return folder


TOML = """name = "things"
task = "Find the thing."
licence = "CC0-1.0"
source = "Made up for a test."
main_metric = "mrr"
"""


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dataset of pictures with captions, and queries in words."""
    return make_dataset(tmp_path_factory.mktemp("dataset") / "things")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a library that the tests of a module share: they must leave it as it is."""
    return make_library(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the page of a module keeps uploads."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("uploads")
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        yield folder


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a library that a module's tests may change, through the page at `address`."""
    return make_library(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def address(library: Path) -> Iterator[str]:
    """Where that library is served, by a process of its own."""
    with served(library) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    """A program that speaks with that page."""
    return Client(address, verbose=False, download_files=False)


@pytest.fixture(scope="module")
def page(made: Path, temporary: Path) -> Iterator[Page]:
    """A page over the library that the tests of a module share."""
    opened = Page(Library.open(made))
    yield opened
    opened.close()


@pytest.fixture
def own(tmp_path: Path, temporary: Path) -> Iterator[Page]:
    """A page over a library of its own, that a test may change."""
    opened = Page(Library.open(make_library(tmp_path)))
    yield opened
    opened.board.wait()
    opened.close()


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of thirty pictures with captions, one of them hostile, as two encoders see them."""
    folder = tmp_path_factory.mktemp("wide")
    media = folder / "media"
    media.mkdir()
    for place, thing in enumerate((*THINGS, "one", "two", "three", "four", "five")):
        draw(media / f"{thing}.png", (9 * place, 255 - 7 * place, (50 * place) % 256))
        (media / f"{thing}.txt").write_text(f"a {thing} by a {THINGS[(place * 5) % len(THINGS)]}")
    draw(media / "hostile.png", (140, 20, 180))
    (media / "hostile.txt").write_text(HOSTILE)
    with Library.create(folder / "library", ("hashing", "lite-0")) as library:
        assert not ingest(library, list(walk([media])), workers=1).failed
    return folder / "library"
