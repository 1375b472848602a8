"""The page of a diagnosis: whole in itself, true to its numbers, and deaf to what strangers wrote."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from PIL import Image

from eval.diagnosis import Diagnosis
from eval.diagnosis_page import ROWS, SHOWN, Face, page
from eval.plots import table_of
from eval.tables import file_name
from mmretrieval.findings import Exhibit, Finding, Plot, Trace

NASTY = '</script><script>alert("x")</script><img src=http://x onerror=alert(1)> & <b>'


def trace(name: str, mark: Any = "line", n: int = 5, **more: Any) -> Trace:
    return Trace(name, tuple(float(i) for i in range(n)), tuple(i / n for i in range(n)), mark, **more)


def diagnosis() -> Diagnosis:
    """Two findings with a plot of every kind, items to look at, and strangers' words wherever they can be."""
    band = {"low": (0.0,) * 5, "high": (1.0,) * 5}
    ids = tuple(f"item {i}" for i in range(5))
    plots = (
        Plot(
            "curve", NASTY, NASTY, "share", (trace(NASTY, **band), trace("b")), NASTY, dashed={NASTY: 1.5}, percent="y"
        ),
        Plot(
            "cloud", "Points", "x (m)", "y (m)", (trace("p", "points", labels=ids, items=True), trace("l", "links", 4))
        ),
        Plot("many", "Long", "x", "y", (trace("a", n=ROWS + 50),), log="y"),
    )
    bars = Plot("bars", "Bars", "kind", "count", (Trace("b", ("one", NASTY), (1.0, 2.0), "bars"),), square=True)
    exhibit = Exhibit(
        "To look at", ("times", NASTY), tuple(((ids[i % 5],), (float(i), NASTY)) for i in range(SHOWN + 3))
    )
    first = Finding(
        "gap",
        NASTY,
        {"a": 0.5, "none": None},
        {"a": (0.25, 0.75)},
        plots,
        (exhibit,),
        NASTY,
        ("center",),
        {"n": 5, "k": NASTY},
    )
    second = Finding("hubness", "Two.", {"b": 12345.0}, plots=(bars,), basis={"n": 2, "versions": {"numpy": "9.9"}})
    return Diagnosis(NASTY, {"gap": first, "hubness": second}, {"gram": NASTY}, (NASTY,))


class Parsed(HTMLParser):
    """Elements with their attributes, scripts by their text, and all the words that are shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words = ""
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif not self.inside:
            self.words += data


@pytest.fixture(scope="module")
def thumbnail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("thumbs") / "1.webp"
    Image.new("RGB", (8, 8), (200, 30, 30)).save(file)
    return file


@pytest.fixture(scope="module")
def written(thumbnail: Path) -> str:
    return page(diagnosis(), lambda ids: {i: Face(f"{NASTY} {i}", thumbnail) for i in ids})


@pytest.fixture(scope="module")
def parsed(written: str) -> Parsed:
    return Parsed(written)


def test_it_needs_nothing_else_and_holds_one_copy_of_plotly(parsed: Parsed, written: str) -> None:
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    running = [text for attributes, text in parsed.scripts if attributes.get("type") != "application/json"]
    assert len(running) == 2 and sum(len(text) > 1_000_000 for text in running) == 1
    assert "showSendToCloud: false" in running[1]
    assert "prefers-color-scheme: dark" in written


def test_what_strangers_wrote_is_shown_and_does_nothing(parsed: Parsed) -> None:
    assert all(not name.startswith("on") for _, a in parsed.elements for name in a)
    # Title, heading, note, sentence, advice, plot's title and note, exhibit's column and cells, basis, reason.
    assert parsed.words.count(NASTY) >= 10
    images = [a["src"] for t, a in parsed.elements if t == "img"]
    assert images and all(str(src).startswith("data:image/webp;base64,") for src in images)


def test_figures_are_data_that_draw_every_trace(parsed: Parsed) -> None:
    figures = [json.loads(text) for attributes, text in parsed.scripts if attributes.get("type") == "application/json"]
    places = [a["data-figure"] for t, a in parsed.elements if a.get("class") == "plot"]
    assert places == [a["id"] for a, _ in parsed.scripts if a.get("type") == "application/json"]
    assert [len(f["data"]) for f in figures] == [3, 2, 1, 1]
    assert figures[1]["data"][1]["text"][0].startswith("&lt;/script&gt;")


def test_every_plot_has_its_numbers_as_a_table_and_as_a_file(parsed: Parsed) -> None:
    found = diagnosis()
    plots = [(d, p) for d, f in found.findings.items() for p in f.plots]
    links = [a for t, a in parsed.elements if t == "a" and "download" in a]
    names = [file_name(diagnostic, NASTY, plot.name) for diagnostic, plot in plots]
    assert [a["download"] for a in links] == [f"{name}.csv" for name in names]
    assert names[0].startswith("gap-script-script-alert-x-")
    for (diagnostic, plot), link in zip(plots, links, strict=True):
        kind, data = str(link["href"]).split(",", 1)
        assert kind == "data:text/csv;charset=utf-8"
        rows = list(csv.reader(io.StringIO(unquote(data))))
        table = table_of(plot)
        assert len(rows) == len(table.rows) + 1
        assert [r[:3] for r in rows[1:]] == [["" if c is None else str(c) for c in r[:3]] for r in table.rows]
        about = dict(zip(rows[0], rows[1], strict=True))
        assert about["about diagnostic"] == diagnostic and about["about recipe"] == NASTY
        assert about["about n"] == str(found.findings[diagnostic].basis["n"])
    assert about["about versions"] == "numpy 9.9"
    assert f"{ROWS + 50} rows, of which the first {ROWS} are here" in parsed.words
    assert "1 values of 0 or less have no place on a logarithmic axis" in parsed.words


def test_numbers_intervals_advice_and_basis_are_there(parsed: Parsed) -> None:
    for words in ("0.500", "[0.250, 0.750]", "12,345", "center", "versions: numpy", "9.9", "3 more", "Not here"):
        assert words in parsed.words, words
    assert [a["href"] for t, a in parsed.elements if t == "a" and "download" not in a] == ["#gap", "#hubness"]


def test_without_items_to_show_their_ids_stand() -> None:
    parsed = Parsed(page(diagnosis()))
    assert "item 3" in parsed.words
    assert not [t for t, _ in parsed.elements if t == "img"]


# --- in a browser --------------------------------------------------------------------------------------------------

BOXES = """() => [...document.querySelectorAll('.plot')].map((place) => {
  const box = (selector) => {
    const found = place.querySelector(selector)?.getBoundingClientRect();
    return found && {left: found.left, top: found.top, right: found.right, bottom: found.bottom};
  };
  return {place: place.getBoundingClientRect().toJSON(), legend: box('.legend'), plot: box('.nsewdrag'),
    x: box('.g-xtitle'), y: box('.g-ytitle'), ink: getComputedStyle(place.querySelector('.g-xtitle text')).fill};
})"""


@pytest.mark.browser
@pytest.mark.parametrize(
    ("scheme", "ink", "width"), [("light", "rgb(30, 41, 59)", 1200), ("dark", "rgb(226, 232, 240)", 420)]
)
def test_a_browser_draws_all_plots_without_overlaps(
    browser: Any, written: str, tmp_path: Path, scheme: str, ink: str, width: int
) -> None:
    file = tmp_path / "page.html"
    file.write_text(written, encoding="utf-8")
    visit = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    broken: list[str] = []
    visit.on("pageerror", lambda error: broken.append(str(error)))
    visit.on("dialog", lambda dialog: (broken.append(dialog.message), dialog.dismiss()))
    visit.on(
        "request", lambda request: None if request.url.startswith(("file:", "data:")) else broken.append(request.url)
    )
    visit.goto(file.as_uri())
    for place in visit.locator(".plot").all():
        place.scroll_into_view_if_needed()
        place.locator(".main-svg").first.wait_for()
    boxes = visit.evaluate(BOXES)
    assert len(boxes) == 4 and not broken
    for box in boxes:
        assert box["ink"] == ink
        assert box["legend"] is None or box["legend"]["bottom"] <= box["plot"]["top"] + 1
        assert box["x"]["top"] >= box["plot"]["bottom"] and box["y"]["right"] <= box["plot"]["left"]
        assert box["x"]["bottom"] <= box["place"]["bottom"] and box["y"]["left"] >= box["place"]["left"]
    assert visit.evaluate("document.documentElement.scrollWidth") <= width
    visit.close()


@pytest.mark.browser
def test_a_browser_saves_every_plot_of_a_report(browser: Any, written: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(written, encoding="utf-8")
    visit = browser.new_page()
    visit.goto(file.as_uri())
    figures = [json.loads(text) for a, text in Parsed(written).scripts if a.get("type") == "application/json"]
    bars = visit.locator(".mm-saving").all()
    assert len(bars) == len(figures) == 4
    for bar, figure in zip(bars, figures, strict=True):
        found = {}
        for kind in ("svg", "png"):
            with visit.expect_download() as coming:
                bar.locator(f'[data-save="{kind}"]').click()
            found[kind] = Path(coming.value.path()).read_bytes()
        root = ElementTree.fromstring(found["svg"])
        drawn = [one for one in root.iter() if "trace" in one.attrib.get("class", "").split()]
        assert len(drawn) == len(figure["data"])
        size = Image.open(io.BytesIO(found["png"])).size
        assert size == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))
    bars[0].locator('[data-save="table"]').click()
    assert bars[0].locator("tbody tr").count() == len(table_of(diagnosis().findings["gap"].plots[0]).rows)
    visit.close()
