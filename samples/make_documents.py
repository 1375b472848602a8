"""Make the sample PDFs from public-domain passages, our own words and the free photographs.

`python samples/make_documents.py` writes samples/documents/ anew; besides this project's requirements it needs
reportlab. It reads no clock, so the same versions of the libraries write the same bytes. The words stand in
document_texts.py.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import document_texts as words
import numpy as np
import pypdfium2
from PIL import Image, ImageFilter
from reportlab import rl_config
from reportlab.lib import colors
from reportlab.lib.enums import TA_CENTER, TA_JUSTIFY
from reportlab.lib.pagesizes import A4, A5, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    FrameBreak,
    KeepTogether,
    NextPageTemplate,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)
from reportlab.platypus import Image as Figure

HERE = Path(__file__).resolve().parent
PHOTOS = HERE / "photos"

BODY = ParagraphStyle("body", fontName="Times-Roman", fontSize=10.5, leading=14, alignment=TA_JUSTIFY, spaceAfter=6)
COLUMN = ParagraphStyle("column", BODY, fontSize=12, leading=16)
STEP = ParagraphStyle("step", BODY, leftIndent=14, bulletIndent=0)
VERSE = ParagraphStyle("verse", BODY, fontSize=11.5, leading=16, alignment=0, spaceAfter=9)
TITLE = ParagraphStyle("title", fontName="Times-Bold", fontSize=20, leading=25, alignment=TA_CENTER, spaceAfter=10)
HEADING = ParagraphStyle(
    "heading", fontName="Helvetica-Bold", fontSize=12.5, leading=16, spaceBefore=6, spaceAfter=4, keepWithNext=1
)
CAPTION = ParagraphStyle("caption", fontName="Helvetica-Oblique", fontSize=8.5, leading=11, spaceBefore=3, spaceAfter=8)
SOURCE = ParagraphStyle("source", fontName="Times-Italic", fontSize=9.5, leading=12, spaceAfter=8, keepWithNext=1)

Size = tuple[float, float]


def photo(name: str, width: float, *, crop: tuple[float, float] | None = None) -> Figure:
    """A photograph as a figure of the given width in points.

    `crop` is (height to width of the part to keep, its place from the top, 0, to the bottom, 1).
    """
    with Image.open(PHOTOS / name) as opened:
        picture = opened.convert("RGB")
    if crop is not None:
        keep = min(picture.height, round(picture.width * crop[0]))
        top = round((picture.height - keep) * crop[1])
        picture = picture.crop((0, top, picture.width, top + keep))
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=78, optimize=True)
    return Figure(jpeg, width, width * picture.height / picture.width)


def figure(name: str, width: float, caption: str, *, crop: tuple[float, float] | None = None) -> Flowable:
    """A photograph with its caption below, never parted by a page break."""
    return KeepTogether([photo(name, width, crop=crop), Paragraph(caption, CAPTION)])


def columns(size: Size, count: int, *, margin: float = 18 * mm, gap: float = 7 * mm, head: float = 0) -> list[Frame]:
    """`count` equal columns on a page, below a full-width frame of height `head` where that is not 0."""
    width, height = size[0] - 2 * margin, size[1] - 2 * margin
    each = (width - gap * (count - 1)) / count
    frames = [Frame(margin + number * (each + gap), margin, each, height - head, 0, 0, 0, 0) for number in range(count)]
    return [Frame(margin, margin + height - head, width, head, 0, 0, 0, 0), *frames] if head else frames


def build(path: Path, title: str, size: Size, templates: Sequence[PageTemplate], story: Iterable[Flowable]) -> None:
    """Lay a story out over page templates and write it."""
    document = BaseDocTemplate(str(path), pagesize=size, title=title, author="", invariant=1)
    document.addPageTemplates(list(templates))
    document.build(list(story))


def page_number(canvas: Canvas, document: BaseDocTemplate) -> None:
    """Draw the number of the page at its foot."""
    canvas.setFont("Times-Roman", 9)
    canvas.drawCentredString(document.pagesize[0] / 2, 9 * mm, str(document.page))


def field_guide(path: Path) -> None:
    """Write a guide to six animals: two figures with captions and paragraphs a page."""
    frames = columns(A5, 1, margin=15 * mm)
    story: list[Flowable] = [Paragraph(words.FIELD_GUIDE_TITLE, TITLE)]
    for number, (name, picture, top, caption, text) in enumerate(words.FIELD_GUIDE, 1):
        story += [
            Paragraph(name, HEADING),
            figure(picture, 265, f"Figure {number}. {caption}", crop=(0.52, top)),
            Paragraph(text, BODY),
        ]
        if number % 2 == 0:
            story.append(PageBreak())
    build(path, words.FIELD_GUIDE_TITLE, A5, [PageTemplate("page", frames, onPage=page_number)], story[:-1])


def founding_texts(path: Path) -> None:
    """Write a page of three columns and a page of two."""
    size = landscape(A4)
    three = PageTemplate("three", columns(size, 3, head=15 * mm), onPage=page_number)
    two = PageTemplate("two", columns(size, 2, head=15 * mm), onPage=page_number)
    (first_title, first), (second_title, second) = words.FOUNDING_TEXTS
    liberty = figure("buildings/statue-of-liberty.webp", 150, "The Statue of Liberty, New York")
    rushmore = figure(
        "buildings/mount-rushmore.webp", 330, "Lincoln is the head on the right of Mount Rushmore.", crop=(0.5, 0.5)
    )
    story: list[Flowable] = [Paragraph(first_title, TITLE), FrameBreak(), NextPageTemplate("two")]
    story += [*sections(first[:1]), liberty, *sections(first[1:]), PageBreak()]
    story += [Paragraph(second_title, TITLE), FrameBreak(), *sections(second), rushmore]
    build(path, "Founding texts", size, [three, two], story)


def sections(texts: words.Sections) -> Iterator[Flowable]:
    """Texts set one after the other: heading, source, paragraphs."""
    for heading, source, paragraphs in texts:
        yield Paragraph(heading, HEADING)
        yield Paragraph(source, SOURCE)
        yield from (Paragraph(paragraph, COLUMN) for paragraph in paragraphs)


def verse_reader(path: Path) -> None:
    """Write a reader of one poem a page, some with a picture."""
    frames = columns(A5, 1, margin=17 * mm)
    story: list[Flowable] = []
    for title, source, stanzas, picture, top in words.VERSES:
        story += [Paragraph(title, TITLE), Paragraph(source, SOURCE)]
        if picture:
            story += [photo(picture, 280, crop=(0.45, top)), Spacer(1, 10)]
        story += [Paragraph(stanza.strip().replace("\n", "<br/>"), VERSE) for stanza in stanzas.strip().split("\n\n")]
        story.append(PageBreak())
    build(path, "A small reader of verse", A5, [PageTemplate("page", frames, onPage=page_number)], story[:-1])


def workshop_cards(path: Path) -> None:
    """Write two cards with a table of tools, each with its picture, and numbered steps."""
    frames = columns(A4, 1)
    rows: list[list[Flowable]] = [[Paragraph(f"<b>{cell}</b>", BODY) for cell in ("Tool", "Name", "What it is for")]]
    for picture, name, use in words.TOOLS:
        rows.append([photo(picture, 110, crop=(0.75, 0.5)), Paragraph(name, BODY), Paragraph(use, BODY)])
    table = Table(rows, colWidths=(130, 110, 250), repeatRows=1)
    lines = ("GRID", (0, 0), (-1, -1), 0.5, colors.grey)
    table.setStyle(
        TableStyle([lines, ("VALIGN", (0, 0), (-1, -1), "MIDDLE"), ("BACKGROUND", (0, 0), (-1, 0), "#eeeeee")])
    )
    story: list[Flowable] = [Paragraph("Card 1: Tools for small repairs", TITLE), table, PageBreak()]
    story += [Paragraph("Card 2: Three small jobs", TITLE)]
    for heading, steps in words.JOBS:
        story.append(Paragraph(heading, HEADING))
        story += [Paragraph(step, STEP, bulletText=f"{number}.") for number, step in enumerate(steps, 1)]
    story.append(figure("objects/solar-roof.webp", 300, "Not a small job: a roof covered with solar panels."))
    build(path, "Workshop cards", A4, [PageTemplate("page", frames, onPage=page_number)], story)


def scanned_pages(path: Path) -> None:
    """Write a document whose pages are only pictures of text, askew, grey and noisy, as a scanner gives them."""
    typeset = io.BytesIO()
    frames = columns(A5, 1, margin=20 * mm)
    story: list[Flowable] = []
    for title, source, paragraphs in words.SCANNED:
        story += [
            Paragraph(title, TITLE),
            Paragraph(source, SOURCE),
            *(Paragraph(p, VERSE) for p in paragraphs),
            PageBreak(),
        ]
    document = BaseDocTemplate(typeset, pagesize=A5, invariant=1)
    document.addPageTemplates([PageTemplate("page", frames, onPage=page_number)])
    document.build(story[:-1])

    canvas = Canvas(str(path), pagesize=A5, invariant=1)
    canvas.setTitle("Scan")
    source_pages = pypdfium2.PdfDocument(typeset.getvalue())
    for number, angle in enumerate((0.8, -1.1)):
        scan = scanned(source_pages[number].render(scale=2.1).to_pil(), angle, seed=number)
        canvas.drawImage(ImageReader(scan), 0, 0, *A5)
        canvas.showPage()
    canvas.save()


def scanned(page: Image.Image, angle: float, seed: int) -> io.BytesIO:
    """A page as a scanner gives it: `angle` degrees askew, blurred, on greyish paper with a shadow and noise; JPEG."""
    askew = page.convert("L").rotate(angle, Image.Resampling.BICUBIC, fillcolor=255)
    ink = np.asarray(askew.filter(ImageFilter.GaussianBlur(0.6)), dtype=np.float32) / 255
    height, width = ink.shape
    shadow = 1 - 0.25 * np.exp(-np.arange(width, dtype=np.float32) / (0.06 * width))
    noise = np.random.default_rng(seed).normal(0, 0.018, (height, width)).astype(np.float32)
    grey = (0.16 + 0.76 * ink) * shadow + noise
    jpeg = io.BytesIO()
    Image.fromarray((255 * grey.clip(0, 1)).round().astype(np.uint8)).save(jpeg, "JPEG", quality=45, optimize=True)
    return jpeg


DOCUMENTS = {
    "field_guide.pdf": field_guide,
    "founding_texts.pdf": founding_texts,
    "verse_reader.pdf": verse_reader,
    "workshop_cards.pdf": workshop_cards,
    "first_lines_scan.pdf": scanned_pages,
}


def main() -> None:
    """Write samples/documents/."""
    rl_config.useA85 = 0  # pictures as they are and not as text: a fifth smaller
    folder = HERE / "documents"
    folder.mkdir(exist_ok=True)
    for name, write in DOCUMENTS.items():
        write(folder / name)
        print(f"{name}: {(folder / name).stat().st_size / 1000:.0f} kB")
    lines = (json.dumps({"path": name, **entry}, ensure_ascii=False) for name, entry in words.CAPTIONS.items())
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
