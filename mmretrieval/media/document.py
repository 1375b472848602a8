"""Documents: each page of a PDF is a cut, seen as a picture and read as its own text.

pypdfium2 is not safe between threads: call these functions from one thread of a process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmretrieval.errors import MediaError
from mmretrieval.media.image import fit, to_rgb
from mmretrieval.types import Content, Cut, Settings

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".pdf"})
MAX_PAGES = 20_000
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\uffff]")
# PDFium marks a word that was broken at the end of a line with U+FFFE (U+0002 in older files).
_BROKEN_WORD = re.compile(r"[\ufffe\x02]\n?")


def recognise(head: bytes) -> bool:
    """Whether the file begins like a PDF, white space and a byte-order mark before it allowed."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\0\t\n\f\r ").startswith(b"%PDF-")


def cut(path: Path, settings: Settings) -> list[Cut]:
    """One cut a page with the words of its text layer ("" for a scan); raises MediaError with the reason."""
    with _opened(path) as pdf:
        pages = len(pdf)
        if not 1 <= pages <= MAX_PAGES:
            raise MediaError(f"the document has {pages} pages; from 1 to {MAX_PAGES} are read: split or remove it")
        return [Cut(f"page={n}", page=n, text=_words(pdf, n)) for n in range(1, pages + 1)]


def read(path: Path, cuts: Sequence[Cut], settings: Settings) -> Iterator[Content]:
    """Each page as it would be printed on white, its long side `settings.picture_side` pixels."""
    with _opened(path) as pdf:
        pdf.init_forms()  # what was typed into a form is part of the page
        for place in cuts:
            yield Content(image=_render(pdf, place.page or 0, settings.picture_side))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import pypdfium2

    try:
        # An open file and not the path: PDFium takes no names that are not UTF-8.
        with path.open("rb") as file, pypdfium2.PdfDocument(file) as pdf:
            yield pdf
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise MediaError("the document is encrypted with a password: save a copy without one") from error
        raise MediaError(f"the document cannot be read ({error}): export it anew or copy it again") from error
    except OSError as error:
        raise MediaError(f"the file cannot be opened: {error.strerror or error}") from error


def _words(pdf: Any, number: int) -> str:
    page = _page(pdf, number)
    try:
        layer = page.get_textpage()
        try:
            found = str(layer.get_text_range())
        finally:
            layer.close()
    finally:
        page.close()
    found = _BROKEN_WORD.sub("", found.replace("\r\n", "\n").replace("\r", "\n"))
    return _CONTROLS.sub("", found).strip()


def _render(pdf: Any, number: int, side: int) -> Image:
    page = _page(pdf, number)
    try:
        longest = max(page.get_size())
        if not longest > 0:
            raise MediaError(f"page {number} has no size: export the document anew")
        bitmap = page.render(scale=side / longest)
        try:
            return fit(to_rgb(bitmap.to_pil()), side)  # PDFium rounds the sides up
        finally:
            bitmap.close()
    finally:
        page.close()


def _page(pdf: Any, number: int) -> Any:
    import pypdfium2

    try:
        return pdf[number - 1]
    except (pypdfium2.PdfiumError, IndexError) as error:
        raise MediaError(f"page {number} of {len(pdf)} cannot be read ({error}): export the document anew") from error
