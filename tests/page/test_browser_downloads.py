"""Every picture of numbers as files, in a real browser: what is saved is read again and held against what is shown."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from eval.diagnosis import column
from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.library import Library
from page.query import links
from page.query.asking import Asked
from page.query.links import Link
from tests.page.conftest import THINGS, draw, make_media
from tests.page.serving import served
from tests.page.visiting import visited

pytestmark = pytest.mark.browser
PATIENCE = 90_000
SVG = "{http://www.w3.org/2000/svg}"
# What a spreadsheet would run, what XML cannot hold, and what looks like an entity that it does not know.
NASTY = '=HYPERLINK(1);@SUM(2), R&D; <b>red</b> \x08 "quoted" car'


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("downloads")
    media = make_media(folder / "media")
    for place, thing in enumerate(THINGS):
        draw(media / f"{thing}.png", (10 * place, 255 - 9 * place, (70 * place) % 256))
        (media / f"{thing}.txt").write_text(f"a {thing} by a {THINGS[(place * 5) % len(THINGS)]}")
    draw(media / "nasty.png", (90, 10, 10))
    (media / "nasty.txt").write_text(NASTY)
    with Library.create(folder / "library", ("hashing",)) as library:
        assert ingest(library, list(walk([media])), workers=1).failed == 1
    with served(folder / "library") as address:
        yield address


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    with visited(browser, address, 1100, PATIENCE) as page:
        yield page


# --- what is saved ---------------------------------------------------------------------------------------------------


def saved(page: Any, bar: Any, kind: str) -> tuple[str, bytes]:
    """The name and the bytes of the file that a button of a bar gives."""
    with page.expect_download() as coming:
        bar.locator(f'[data-save="{kind}"]').click()
    return coming.value.suggested_filename, Path(coming.value.path()).read_bytes()


def drawing(page: Any, bar: Any) -> ElementTree.Element:
    """The SVG of a bar; its PNG is looked at as well, and shows the same sheet at twice the size."""
    name, data = saved(page, bar, "svg")
    root = ElementTree.fromstring(data)  # raises for what is no XML
    assert root.tag == f"{SVG}svg" and re.fullmatch(r"[A-Za-z0-9.-]+\.svg", name)
    other, pixels = saved(page, bar, "png")
    picture = Image.open(io.BytesIO(pixels))
    picture.load()
    assert picture.format == "PNG" and other.removesuffix(".png") == name.removesuffix(".svg")
    assert picture.size == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))
    assert len(picture.convert("RGB").resize((200, 200)).getcolors(40_000)) > 10, "the picture is empty"
    return root


def marks(root: ElementTree.Element) -> list[str]:
    """The numbers that the marks of a drawing bear, in order."""
    return [one.attrib["data-value"] for one in root.iter() if one.attrib.get("class") == "mark"]


def numbers(page: Any, bar: Any) -> tuple[str, list[dict[str, str]]]:
    """The CSV of a bar: its name, and its rows by the names of the columns."""
    name, data = saved(page, bar, "csv")
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8"))))
    assert rows and all(None not in row and None not in row.values() for row in rows), "a row is too long or too short"
    return name, rows


def shown(bar: Any) -> list[list[str]]:
    """The table that the bar's first button opens."""
    button = bar.locator('[data-save="table"]')
    if button.get_attribute("aria-expanded") == "false":
        button.click()
    assert button.get_attribute("aria-expanded") == "true"
    table = bar.locator(".mm-saved-table table").first
    table.wait_for()
    return list(table.locator("tbody tr").evaluate_all("all => all.map((r) => [...r.cells].map((c) => c.textContent))"))


def words(root: ElementTree.Element) -> str:
    return " ".join("".join(one.itertext()) for one in root.iter(f"{SVG}text"))


# --- diagnostics -----------------------------------------------------------------------------------------------------


def diagnose(page: Any, name: str) -> None:
    page.get_by_role("tab", name="Diagnostics").click()
    page.locator("#diagnostic input").click()
    page.get_by_role("option", name=f"({name})").first.click()
    page.locator("#diagnose").click()
    page.locator("#found .mm-summary").filter(has_text=f"{name} of").wait_for()


@pytest.mark.parametrize("name", ["gap", "hubness"])
def test_the_plots_of_a_diagnosis(visit: Any, address: str, name: str) -> None:
    diagnose(visit, name)
    recipe = visit.locator("#found .mm-summary code").first.inner_text()
    places = visit.locator("#found .mm-boxed")
    assert places.count() > 1
    for place in places.all():
        bar = place.locator(".mm-saving")
        file, rows = numbers(visit, bar)
        assert file.startswith(f"{name}-hashing-") and rows[0]["about recipe"] == recipe
        assert rows[0]["about seed"] == "0" and rows[0]["about n"].isdigit() and "numpy" in rows[0]["about versions"]
        table = shown(bar)
        heads = [head for head in rows[0] if not head.startswith("about ")]
        assert heads == bar.locator("th").all_inner_texts()
        for number in range(len(heads)):
            cells = [row[heads[number]] for row in rows[: len(table)]]
            assert [row[number].lstrip("'") for row in table] == formatted(cells), heads[number]
        root = drawing(visit, bar)
        figure = visit.request.get(
            f"{address.rstrip('/')}/{place.locator('.mm-plot').get_attribute('data-figure')}"
        ).json()
        drawn = [one for one in root.iter(f"{SVG}g") if "trace" in one.attrib.get("class", "").split()]
        assert len(drawn) == len(figure["data"])
        title = place.locator("h3").inner_text()
        assert " ".join(title.split())[:40] in words(root) and recipe in words(root)
    everything = visit.locator("#found .mm-numbers .mm-saving")
    assert everything.locator("button").count() == 0
    _, rows = numbers(visit, everything)
    assert all(row["recipe"] == recipe for row in rows) and len(rows) > 5


def formatted(cells: list[str]) -> list[str]:
    """A column of the CSV as the page shows it."""

    def read(cell: str) -> float | str | None:
        try:
            return float(cell) if cell else None
        except ValueError:
            return cell.lstrip("'")

    return column([read(cell) for cell in cells])


# --- why -------------------------------------------------------------------------------------------------------------


def asked(browser: Any, address: str, query: Asked, recipe: str, kind: str) -> Any:
    """A visit with the reasons for the first result of a kind."""
    page = browser.new_page(viewport={"width": 1400, "height": 1100})
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}?{links.address(Link(query, recipe, cut=False))}")
    page.locator("#summary code").wait_for()
    page.locator("#results [data-item]:visible").filter(has=page.locator(f".mm-{kind}")).first.click()
    page.locator("#near .mm-near").wait_for()
    page.get_by_role("button", name="Why this result?").click()
    page.locator("#why .mm-saving").first.wait_for()
    return page


def test_the_map_of_a_picture(browser: Any, address: str) -> None:
    page = asked(browser, address, Asked.of("green", avoid="red"), "hashing@visual", "image")
    page.wait_for_function("document.querySelector('#why .mm-heat img').naturalWidth > 0")
    bar = page.locator("#why .mm-saving")
    name, rows = numbers(page, bar)
    assert name.startswith("why-hashing-visual-") and name.endswith("-regions.csv") and len(rows) == 3 * 64
    assert rows[0]["about recipe"] == "hashing@visual,sum" and "hashing " in rows[0]["about models"]
    part, fall = "part of the query", "fall of the score when it is hidden"
    grid = shown(bar)
    assert len(grid) == 8
    whole = [row for row in rows if row[part] == "the whole query"]
    for row in whole:
        assert f"{float(row[fall]):+.3f}" == grid[int(row["row"]) - 1][int(row["column"])]
    for layer in ("the whole query", "−“red”"):
        page.locator("#why").get_by_role("button", name=layer).click()
        root = drawing(page, bar)
        assert [float(value) for value in marks(root)] == [float(row[fall]) for row in rows if row[part] == layer]
        (image,) = root.iter(f"{SVG}image")
        kind, _, data = image.attrib["href"].partition(",")
        assert kind == "data:image/jpeg;base64" and Image.open(io.BytesIO(base64.b64decode(data))).format == "JPEG"
    page.close()


def test_words_and_frames(browser: Any, address: str) -> None:
    page = asked(browser, address, Asked.of("green frog", avoid="pond"), "hashing@text", "image")
    bar = page.locator("#why .mm-saving")
    _, rows = numbers(page, bar)
    fall = "fall of the score when it is hidden"
    assert {row["word"]: f"{float(row[fall]):+.4f}" for row in rows} == {row[0]: row[1] for row in shown(bar)}
    assert sorted(marks(drawing(page, bar)), key=float) == sorted((row[fall] for row in rows), key=float)
    page.close()

    page = asked(browser, address, Asked.of("numbers", kinds=("video",)), "hashing@visual", "video")
    bar = page.locator("#why .mm-saving").first
    name, rows = numbers(page, bar)
    assert name.endswith("-frames.csv")
    assert [f"{float(row['score of the frame alone']):.4f}" for row in rows] == [row[1] for row in shown(bar)]
    assert len(marks(drawing(page, bar))) == len(rows) == page.locator("#why .mm-moments button").count()
    page.close()


# --- the map ---------------------------------------------------------------------------------------------------------


def test_the_map_has_a_circle_for_every_point(visit: Any) -> None:
    visit.get_by_role("tab", name="Map", exact=True).click()
    visit.locator(".mm-map[data-drawn]").wait_for()
    bar = visit.locator("#map-numbers .mm-saving, .mm-found > .mm-saving").filter(visible=True).first
    name, rows = numbers(visit, bar)
    assert name == "map-hashing-visual-pca-kind.csv" and rows[0]["about encoder"] == "hashing"
    points = int(visit.locator(".mm-map").get_attribute("data-drawn"))
    assert len(rows) == points == int(rows[0]["about n"])
    assert any(row["title"].startswith("'=HYPERLINK(1);'@SUM(2), R&D;") for row in rows)
    root = drawing(visit, bar)
    assert (root.attrib["width"], len(circles(root))) == ("1200", points)
    # In the place of each point: the axes of the picture are straight, so that distances are in proportion.
    xs = sorted(float(row[next(head for head in row if head.startswith("principal axis 1"))]) for row in rows)
    drawn = sorted(float(one.attrib["cx"]) for one in circles(root))
    scale = (drawn[-1] - drawn[0]) / (xs[-1] - xs[0])
    assert drawn == pytest.approx([drawn[0] + scale * (x - xs[0]) for x in xs], abs=0.3)
    visit.locator(".mm-map-name", has_text="clip").click()
    assert len(circles(drawing(visit, bar))) == points - sum(row["kind"] == "clip" for row in rows) < points
    groups = shown(bar)
    assert sum(int(row[1]) for row in groups) == points


def circles(root: ElementTree.Element) -> list[ElementTree.Element]:
    return [
        one for group in root.iter(f"{SVG}g") if group.get("class") == "mm-points" for one in group.iter(f"{SVG}circle")
    ]


# --- results and comparisons -----------------------------------------------------------------------------------------


def test_results_their_parts_and_their_ranks(visit: Any, address: str) -> None:
    visit.goto(f"{address}?{links.address(Link(Asked.of('red car', avoid=NASTY), 'hashing@text,mmr:0.5', cut=False))}")
    visit.locator("#summary").filter(has_text="results for").wait_for()
    bar = visit.locator("#summary .mm-saving")
    name, rows = numbers(visit, bar)
    assert name.startswith("results-hashing-text-sum-mmr-0.5-") and len(rows) == int(rows[0]["about n"])
    assert rows[0]["about query"].startswith("“red car”, away from “=HYPERLINK(1);'@SUM(2)")
    # Near copies stand behind the best of them on the page, and at their own rank in the file.
    cards = "all => all.map((c) => [c.querySelector('.mm-rank').textContent, c.querySelector('.mm-score').textContent])"
    scores = sorted(visit.locator("#results .mm-card").evaluate_all(cards), key=lambda pair: int(pair[0]))
    assert [[row["rank"], f"{float(row['score']):.3f}"] for row in rows] == scores
    table = shown(bar)
    assert [row[0] for row in table] == [row["rank"] for row in rows[: len(table)]]
    values = [
        row[head] for row in rows[:24] for head in row if head.startswith("score that the part brought") and row[head]
    ]
    root = drawing(visit, bar)
    assert marks(root) == values and "<b>red</b>" in words(root)

    visit.locator("#results [data-item]").first.click()
    visit.locator("#detail .mm-detail").wait_for()
    bars = visit.locator("#detail .mm-saving")
    _, stages = numbers(visit, bars.nth(0))
    assert [row["stage"] for row in stages][-1].startswith("mmr") and len(stages) == 2
    assert marks(drawing(visit, bars.nth(0))) == [row["rank"] for row in stages]
    _, parts = numbers(visit, bars.nth(1))
    told = visit.locator("#detail .mm-partly tbody tr:not(.mm-sum) .mm-number").all_inner_texts()
    brought = [row["score that the part brought"] for row in parts]
    assert [f"{float(value):+.4f}" for value in brought] == told and marks(drawing(visit, bars.nth(1))) == brought


def test_a_comparison(visit: Any) -> None:
    visit.get_by_role("tab", name="Compare").click()
    for menu, recipe in (("#left-recipe", "hashing@text"), ("#right-recipe", "hashing@visual")):
        visit.locator(f"{menu} input").fill(recipe)
        visit.locator(f"{menu} input").press("Enter")
    visit.locator("#compare-words textarea").fill("red car")
    visit.locator("#compare").click()
    visit.locator("#compare-summary").filter(has_text="“red car”").wait_for()
    _, rows = numbers(visit, visit.locator("#compare-summary .mm-saving"))
    assert f"(overlap@12 {float(rows[0]['overlap@12']):.2f})" in visit.locator("#compare-summary").inner_text()
    bar = visit.locator("#compare-lists .mm-compared ~ .mm-saving")
    _, rows = numbers(visit, bar)
    for letter, place in (("A", "#compare-left"), ("B", "#compare-right")):
        ids = visit.locator(f"{place} [data-card]").evaluate_all("all => all.map((one) => one.dataset.card)")
        ranks = {row["item"]: row[f"rank in {letter}"] for row in rows}
        assert [ranks[ident] for ident in ids] == [str(rank + 1) for rank in range(12)]
    root = drawing(visit, bar)
    assert marks(root) == [str(rank + 1) for rank in range(12)] * 2
    curves = [one for one in root.iter(f"{SVG}path") if one.get("fill") == "none"]
    assert len(curves) == visit.locator("#compare-lists .mm-curves path").count()
    visit.locator(".mm-times summary").click()
    times = visit.locator(".mm-times .mm-saving")
    _, rows = numbers(visit, times)
    assert marks(drawing(visit, times)) == [row["time (ms)"] for row in rows]

    visit.get_by_role("tab", name="Many queries").click()
    visit.locator("#set-queries textarea").fill("red car\n=1+1 frog")
    visit.locator("#compare-set").click()
    _, rows = numbers(visit, visit.locator("#set-found .mm-saving"))
    apart = visit.locator("#set-found tbody tr td:nth-child(2)").all_inner_texts()
    assert [f"{float(row['apart (1 - mean overlap@10)']):.2f}" for row in rows] == apart

    visit.get_by_role("tab", name="Blind").click()
    visit.locator("#blind-queries textarea").fill("a red apple\na green tree\na blue bird")
    visit.locator("#blind-go").click()
    for turn in (1, 2, 3):
        visit.locator("[data-turn]").filter(has_text=f"{turn} of 3").wait_for()
        visit.get_by_role("button", name="Left is better").click()
    visit.locator("#blind").filter(has_text="Who was who").wait_for()
    bar = visit.locator("#blind .mm-saving")
    name, rows = numbers(visit, bar)
    assert name == "win-rate-hashing-text-sum-hashing-visual-sum.csv"
    interval, rate = marks(drawing(visit, bar))
    assert int(rows[0]["first preferred"]) + int(rows[0]["second preferred"]) == 3
    assert rate == rows[0]["win rate of the first"]
    assert interval.split() == [rows[0][f"95 % interval (Wilson), {end}"] for end in ("low", "high")]


def test_disk_use_and_a_narrow_page(browser: Any, address: str) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.get_by_role("tab", name="Library").click()
    bar = page.locator(".mm-disk-use .mm-saving")
    _, rows = numbers(page, bar)
    assert [float(value) for value in marks(drawing(page, bar))] == [float(row["on disk (bytes)"]) for row in rows]
    page.close()
