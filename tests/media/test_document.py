"""Pages are seen and read; a document that cannot be opened says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pypdfium2
import pytest

from mmretrieval.errors import MediaError
from mmretrieval.media import document
from mmretrieval.types import Cut, Settings

ASSETS = Path(__file__).parents[1] / "assets"
DOCUMENTS = ASSETS / "documents"


def test_each_page_is_a_cut_with_its_words() -> None:
    cuts = document.cut(DOCUMENTS / "two_pages.pdf", Settings())
    assert [(c.locator, c.page, c.visual) for c in cuts] == [("page=1", 1, True), ("page=2", 2, True)]
    assert cuts[0].text == "The first page speaks of a red fox.\nIt has two lines."
    assert cuts[1].text == "The second page speaks of a lighthouse."


def test_a_scan_has_no_words_but_can_be_seen() -> None:
    assert [c.text for c in document.cut(DOCUMENTS / "scanned.pdf", Settings())] == [""]
    shown = next(document.read(DOCUMENTS / "scanned.pdf", [Cut("page=1", page=1)], Settings())).image
    assert shown is not None
    assert np.asarray(shown).std() > 5


@pytest.mark.parametrize(("name", "size"), [("two_pages.pdf", (355, 500)), ("turned_page.pdf", (500, 355))])
def test_pages_are_rendered_upright_on_white(name: str, size: tuple[int, int]) -> None:
    shown = next(document.read(DOCUMENTS / name, [Cut("page=1", page=1)], Settings(picture_side=500))).image
    assert shown is not None
    assert shown.mode == "RGB"
    assert max(shown.size) == 500
    assert np.abs(np.array(shown.size) - size).max() <= 1
    pixels = np.asarray(shown)
    assert pixels[-1, -1].tolist() == [255, 255, 255]
    assert (pixels.min(axis=2) < 100).sum() > 50  # the words


def test_pages_come_in_the_order_asked() -> None:
    cuts = document.cut(DOCUMENTS / "two_pages.pdf", Settings())
    forth = [np.asarray(c.image) for c in document.read(DOCUMENTS / "two_pages.pdf", cuts, Settings())]
    back = [np.asarray(c.image) for c in document.read(DOCUMENTS / "two_pages.pdf", cuts[::-1], Settings())]
    assert not np.array_equal(forth[0], forth[1])
    assert np.array_equal(forth[0], back[1])
    assert np.array_equal(forth[1], back[0])


@pytest.mark.parametrize(
    ("name", "reason"),
    [("encrypted.pdf", "encrypted with a password: save a copy"), ("truncated.pdf", "cannot be read.*copy it again")],
)
def test_what_cannot_be_opened_says_why(name: str, reason: str) -> None:
    with pytest.raises(MediaError, match=reason):
        document.cut(ASSETS / "broken" / name, Settings())


def test_a_page_that_is_not_there_is_named() -> None:
    with pytest.raises(MediaError, match="page 3 of 2"):
        list(document.read(DOCUMENTS / "two_pages.pdf", [Cut("page=3", page=3)], Settings()))


def test_a_document_without_pages_is_refused(tmp_path: Path) -> None:
    with pypdfium2.PdfDocument.new() as pdf:
        pdf.save(tmp_path / "none.pdf")
    with pytest.raises(MediaError, match="0 pages|cannot be read"):
        document.cut(tmp_path / "none.pdf", Settings())


def test_a_vast_page_takes_no_more_pixels_than_any_other(tmp_path: Path) -> None:
    with pypdfium2.PdfDocument.new() as pdf:
        pdf.new_page(14_400, 3).close()
        pdf.save(tmp_path / "vast.pdf")
    shown = next(document.read(tmp_path / "vast.pdf", [Cut("page=1", page=1)], Settings(picture_side=200))).image
    assert shown is not None
    assert shown.size == (200, 1)


def test_names_that_are_not_utf8_are_read(tmp_path: Path) -> None:
    path = tmp_path / "b\udcff 猫.pdf"
    path.write_bytes((DOCUMENTS / "two_pages.pdf").read_bytes())
    assert len(document.cut(path, Settings())) == 2
