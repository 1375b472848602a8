"""The Map tab in a real browser: points appear, say what they are, and become a search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from eval import bench_map
from tests.page.conftest import make_library
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
def drawing(chromium: str) -> Iterator[Any]:
    """A browser that has WebGL."""
    with bench_map.browser(chromium) as opened:
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


RANGES = """() => {
  const {xaxis, yaxis} = document.querySelector('.mm-map-plot')._fullLayout;
  return {x: [...xaxis.range], y: [...yaxis.range]};
}"""


class Fingers:
    """Fingers on a screen, as the browser gets them from one."""

    def __init__(self, page: Any) -> None:
        self.session = page.context.new_cdp_session(page)

    def _tell(self, kind: str, places: list[tuple[float, float]]) -> None:
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def drag(self, *ways: list[tuple[float, float]], steps: int = 8) -> None:
        """Puts a finger down for each way, one after the other, moves them along together, and lifts them."""
        for number in range(1, len(ways) + 1):
            self._tell("touchStart", [way[0] for way in ways[:number]])
        for leg in range(len(ways[0]) - 1):
            for step in range(1, steps + 1):
                at = [
                    tuple(a + (b - a) * step / steps for a, b in zip(*way[leg : leg + 2], strict=True)) for way in ways
                ]
                self._tell("touchMove", at)
        self._tell("touchEnd", [])


@pytest.fixture
def touched(drawing: Any, address: str) -> Iterator[Any]:
    """The map on a telephone."""
    context = drawing.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(address)
    there = page.get_by_role("tab", name="Map", exact=True).filter(visible=True)
    there.or_(page.locator(".overflow-menu > button").filter(visible=True)).first.wait_for()
    if not there.count():
        page.locator(".overflow-menu > button").first.tap()
        there = page.locator(".overflow-dropdown button").filter(has_text="Map")
    there.first.tap()
    page.locator(".mm-map[data-drawn]").wait_for()
    page.locator(".mm-map-plot").scroll_into_view_if_needed()
    yield page
    context.close()
    assert not broken


def middle(page: Any) -> tuple[float, float]:
    box = page.locator(".mm-map-plot .nsewdrag").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def rested(page: Any, before: dict[str, list[float]]) -> dict[str, list[float]]:
    """The axes when the map has been drawn anew."""
    page.wait_for_function(f"(was) => JSON.stringify(({RANGES})()) !== JSON.stringify(was)", arg=before)
    page.locator(".mm-moving").wait_for(state="detached")
    return dict(page.evaluate(RANGES))


@pytest.mark.parametrize("mode", ["Move", "Lasso"])
def test_two_fingers_zoom_about_their_middle_whatever_one_does(touched: Any, mode: str) -> None:
    touched.get_by_role("button", name=mode, exact=True).tap()
    x, y = middle(touched)
    before = touched.evaluate(RANGES)
    Fingers(touched).drag([(x - 40, y), (x - 80, y)], [(x + 40, y), (x + 80, y)])
    after = rested(touched, before)
    for axis in ("x", "y"):
        width = before[axis][1] - before[axis][0]
        assert after[axis][1] - after[axis][0] == pytest.approx(width / 2, rel=0.06)
        assert sum(after[axis]) == pytest.approx(sum(before[axis]), abs=0.1 * width)
    assert touched.evaluate("visualViewport.scale") == 1  # it is the map that grows, not the page
    assert touched.locator("#map-among").is_hidden()  # and no lasso was begun


def test_one_finger_moves_the_map_and_not_the_page(touched: Any) -> None:
    x, y = middle(touched)
    before, scrolled = touched.evaluate(RANGES), touched.evaluate("scrollY")
    plot = touched.evaluate("document.querySelector('.mm-map-plot')._fullLayout.yaxis._length")
    Fingers(touched).drag([(x, y), (x, y - 100)])
    after = rested(touched, before)
    height = before["y"][1] - before["y"][0]
    assert before["y"][0] - after["y"][0] == pytest.approx(100 / plot * height, rel=0.1)
    assert after["y"][1] - after["y"][0] == pytest.approx(height, rel=0.01)
    assert after["x"] == pytest.approx(before["x"], abs=0.02 * (before["x"][1] - before["x"][0]))
    assert touched.evaluate("scrollY") == scrolled


def test_one_finger_draws_a_lasso(touched: Any) -> None:
    touched.get_by_role("button", name="Lasso", exact=True).tap()
    box = touched.locator(".mm-map-plot .nsewdrag").bounding_box()
    left, top, right, bottom = box["x"] + 3, box["y"] + 3, box["x"] + box["width"] - 3, box["y"] + box["height"] - 3
    before = touched.evaluate(RANGES)
    Fingers(touched).drag([(left, top), (right, top), (right, bottom), (left, bottom), (left, top + 4)])
    chosen = touched.locator("#map-chosen", has_text="items chosen")
    chosen.wait_for()
    assert chosen.inner_text().split()[0] == touched.locator(".mm-map").get_attribute("data-drawn")
    assert touched.evaluate(RANGES) == before


def test_a_tap_opens_the_point(touched: Any) -> None:
    x, y = touched.evaluate(PLACES)[0]
    touched.touchscreen.tap(x, y)
    touched.get_by_role("region", name="Chosen point").wait_for()
