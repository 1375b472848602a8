"""The Map tab in a real browser: points appear, say what they are, and become a search."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval import bench_map
from tests.page.conftest import PICTURES, make_library
from tests.page.serving import served

pytestmark = pytest.mark.browser
PATIENCE = 60_000
# Where on the screen the points of the map are, all of them.
PLACES = """() => {
  const plot = document.querySelector('.mm-map-plot'), box = plot.getBoundingClientRect();
  const {xaxis, yaxis} = plot._fullLayout;
  return plot.data.flatMap((trace) => Array.from(trace.x, (x, i) =>
    [box.left + xaxis._offset + xaxis.d2p(x), box.top + yaxis._offset + yaxis.d2p(trace.y[i])]));
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(make_library(tmp_path_factory.mktemp("map")), "--read-only") as address:
        yield address


@pytest.fixture(scope="module")
def drawing() -> Iterator[Any]:
    """A browser that has WebGL."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("there is no Chromium")
    with bench_map.browser(executable) as opened:
        yield opened


@pytest.fixture
def visit(drawing: Any, address: str) -> Iterator[Any]:
    """The map as it is when the tab was opened; fails where a script of the page does."""
    page = drawing.new_page(viewport={"width": 1400, "height": 1100})
    page.set_default_timeout(PATIENCE)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(address)
    page.get_by_role("tab", name="Map", exact=True).click()
    page.locator(".mm-map[data-drawn]").wait_for()
    yield page
    page.close()
    assert not broken


def choose(page: Any, menu: str, words: str) -> None:
    page.locator(f"#{menu} input").click()
    page.get_by_role("option", name=words).first.click()


def around(page: Any) -> None:
    """Draws a lasso around everything."""
    page.get_by_role("button", name="Lasso", exact=True).click()
    box = page.locator(".mm-map-plot .nsewdrag").bounding_box()
    left, top = box["x"] + 3, box["y"] + 3
    right, bottom = box["x"] + box["width"] - 3, box["y"] + box["height"] - 3
    page.mouse.move(left, top)
    page.mouse.down()
    for corner in ((right, top), (right, bottom), (left, bottom), (left, top + 4)):
        page.mouse.move(*corner, steps=6)
    page.mouse.up()


def test_points_appear_and_say_what_they_are(visit: Any) -> None:
    assert visit.locator(".mm-map").get_attribute("data-drawn") == str(len(visit.evaluate(PLACES)))
    visit.locator(".mm-map-legend", has_text="picture").wait_for()
    x, y = visit.evaluate(PLACES)[0]
    visit.mouse.move(x - 2, y)
    visit.mouse.move(x, y)
    tip = visit.locator(".mm-map-tip")
    tip.wait_for()
    assert tip.locator("strong").inner_text() and "kind:" in tip.inner_text()
    visit.wait_for_function("document.querySelector('.mm-map-tip img')?.naturalWidth > 0")
    visit.mouse.click(x, y)
    panel = visit.get_by_role("region", name="Chosen point")
    panel.wait_for()
    assert visit.title() != "owned"


def test_a_lasso_becomes_a_search_among_these(visit: Any) -> None:
    visit.get_by_role("tab", name="Search", exact=True).click()
    visit.locator("#words textarea").fill("red")
    visit.get_by_role("button", name="Search", exact=True).click()
    visit.locator("#summary").filter(has_text="“red”").wait_for()
    visit.get_by_role("tab", name="Map", exact=True).click()
    around(visit)
    visit.locator("#map-chosen", has_text="items chosen").wait_for()
    visit.locator("#map-among").click()
    visit.locator("#summary").filter(has_text="chosen items").wait_for()


def test_a_lasso_becomes_a_search_for_what_they_have_in_common(visit: Any) -> None:
    around(visit)
    visit.locator("#map-chosen", has_text="items chosen").wait_for()
    visit.locator("#map-none").click()
    visit.locator("#map-among").wait_for(state="hidden")
    around(visit)
    visit.locator("#map-common").click()
    visit.locator("#summary").filter(has_text="an item of the library").wait_for()


def test_colours_and_foreign_words(visit: Any) -> None:
    choose(visit, "map-colour", "metadata: note")
    visit.locator(".mm-map-legend", has_text="<img src=x").wait_for()
    assert visit.title() != "owned" and not visit.locator(".mm-map-legend img").count()
    choose(visit, "map-colour", "metadata: subject")
    visit.locator(".mm-map-legend", has_text="animals").wait_for()
    name = visit.locator(".mm-map-name", has_text="animals")
    name.click()
    assert name.get_attribute("aria-pressed") == "false"
    choose(visit, "map-vectors", "both, in one plane")
    choose(visit, "map-colour", "what the vector is made of")
    visit.locator(".mm-map-legend", has_text="words").wait_for()


def test_downloads(visit: Any, tmp_path: Path) -> None:
    heads = {"PNG": b"\x89PNG", "SVG": b"<svg", "CSV": b"item,vector,"}
    for name, head in heads.items():
        with visit.expect_download() as coming:
            visit.locator(".mm-map-tool", has_text=name).click()
        coming.value.save_as(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(head)
    assert all(caption.encode() in (tmp_path / "CSV").read_bytes() for caption, *_ in list(PICTURES.values())[:5])


def test_the_wheel_zooms_about_the_pointer_and_the_whole_map_comes_back(visit: Any) -> None:
    ranges = "() => { const {xaxis} = document.querySelector('.mm-map-plot')._fullLayout; return [...xaxis.range]; }"
    box = visit.locator(".mm-map-plot .nsewdrag").bounding_box()
    before = visit.evaluate(ranges)
    visit.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visit.mouse.wheel(0, -100)
    visit.wait_for_function(f"() => {{ const r = ({ranges})(); return r[1] - r[0] < {before[1] - before[0]} * 0.9; }}")
    visit.locator(".mm-moving").wait_for(state="detached")
    after = visit.evaluate(ranges)
    assert sum(after) == pytest.approx(sum(before), abs=0.02 * (before[1] - before[0]))
    visit.get_by_role("button", name="Whole map").click()
    visit.wait_for_function(f"() => {{ const r = ({ranges})(); return r[1] - r[0] > {before[1] - before[0]} * 0.9; }}")


def test_on_a_phone_nothing_is_wider_than_the_page(drawing: Any, address: str) -> None:
    page = drawing.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto(address)
    # Which tabs find room beside each other depends on the fonts of the machine.
    there = page.get_by_role("tab", name="Map", exact=True).filter(visible=True)
    more = page.locator(".overflow-menu > button").filter(visible=True)
    there.or_(more).first.wait_for()
    if there.count():
        there.first.click()
    else:
        more.first.click()
        page.locator(".overflow-dropdown button").filter(has_text="Map").click()
    page.locator(".mm-map[data-drawn]").wait_for(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
