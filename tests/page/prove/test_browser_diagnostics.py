"""Diagnosing, trying a fix and proving it in a real browser. Needs a Chromium, as test_browser.py does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client

from mmretrieval.diagnostics import DIAGNOSTICS
from tests.page.serving import served
from tests.page.visiting import visited

pytestmark = pytest.mark.browser
PATIENCE = 90_000
CUT = """() => [...document.querySelectorAll('#found .mm-plot')].flatMap((place) => {
  const room = place.getBoundingClientRect();
  return [...place.querySelectorAll('.xtitle, .ytitle, .legend, .nsewdrag')].filter((part) => {
    const box = part.getBoundingClientRect();
    const wide = box.left < room.left - 1 || box.right > room.right + 1;
    return wide || box.top < room.top - 1 || box.bottom > room.bottom + 1;
  }).map((part) => part.textContent || 'the plot');
})"""


REACHES = """() => {
  const found = {};
  document.querySelectorAll('#found .mm-plot').forEach((place) => {
    const {xaxis, yaxis} = place.layout, rounded = (axis) => axis.range.map((end) => end.toPrecision(6)).join();
    if (yaxis.scaleanchor) return;
    (found[place.getAttribute('aria-label')] ??= []).push(`${rounded(xaxis)} ${rounded(yaxis)}`);
  });
  return found;
}"""


@pytest.fixture(scope="module")
def address(wide: Path, things: Path) -> Iterator[str]:
    with served(wide, "--dataset", str(things)) as address:
        yield address


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """A visit to the Diagnostics tab; fails where a script of the page does."""
    with visited(browser, address, 1000, PATIENCE) as page:
        page.get_by_role("tab", name="Diagnostics").click()
        yield page


def type_in(page: Any, menu: str, text: str) -> None:
    box = page.locator(f"{menu} input")
    box.fill(text)
    box.press("Enter")


def pick(page: Any, menu: str, label: str) -> None:
    page.locator(f"{menu} input").click()
    page.get_by_role("option", name=label).first.click()


def diagnose(page: Any, name: str, left: str = "hashing@visual", right: str = "") -> None:
    """Runs a diagnostic and waits until it says something of this very recipe."""
    pick(page, "#diagnostic", f"({name})")
    type_in(page, "#diagnose-left", left)
    if right:
        type_in(page, "#diagnose-right", right)
    else:
        pick(page, "#diagnose-right", "nothing")
    page.locator("#diagnose").click()
    said = [f"{name} of {text}" for text in (left, right) if text and name != "agreement"]
    for text in said or [f"{name} of"]:
        page.locator("#found .mm-summary").filter(has_text=text).first.wait_for()


def drawn(page: Any) -> int:
    """Scrolls past every plot, waits until each is drawn, and gives their number."""
    places = page.locator("#found .mm-plot")
    for i in range(places.count()):
        places.nth(i).scroll_into_view_if_needed()
        places.nth(i).locator("svg.main-svg, .gl-container").first.wait_for()
    return int(places.count())


def test_every_diagnostic_is_drawn_with_named_axes(visit: Any) -> None:
    for name in DIAGNOSTICS:
        left = "hashing@visual+lite-0@visual" if name == "agreement" else "hashing@visual"
        diagnose(visit, name, left)
        count = drawn(visit)
        assert count > 0, name
        assert visit.locator("#found .mm-plot .xtitle").count() == count, name
        assert visit.locator("#found .mm-plot .ytitle").count() == count, name
        assert "seed 0" in visit.locator("#found details summary").last.inner_text()
    assert visit.evaluate("document.documentElement.scrollWidth") <= 1400


def test_two_recipes_and_the_numbers_of_a_plot(visit: Any) -> None:
    diagnose(visit, "gap", right="hashing@visual,center")
    heads = visit.locator("#found .mm-numbers th").all_inner_texts()
    one = ["number", "left: hashing@visual,sum", "right: hashing@visual,center,sum"]
    assert heads and heads == one * (len(heads) // 3)  # of each table
    drawn(visit)
    reaches = visit.evaluate(REACHES)
    assert len(reaches) > 4 and all(len(two) == 2 and two[0] == two[1] for two in reaches.values())
    visit.locator("#found").get_by_role("button", name="Table", exact=True).first.click()
    visit.locator("#found .mm-plot ~ .mm-saving th", has_text="series").first.wait_for()


def test_a_fix_is_compared_and_then_proved(visit: Any, address: str) -> None:
    visit.get_by_role("tab", name="Search").click()
    for typed in ("a boat", "not dog"):
        visit.locator("#words textarea").fill(typed)
        visit.locator("#words textarea").press("Enter")
        visit.locator("#summary").filter(has_text=typed.removeprefix("not ")).wait_for()
    assert visit.locator("#words textarea").input_value() == ""  # the query has them, not the box
    visit.get_by_role("tab", name="Diagnostics").click()
    diagnose(visit, "concepts")
    visit.get_by_role("button", name="Try this fix: center").click()
    visit.locator("#compare-right").filter(has_text="hashing@visual,center,sum").wait_for()
    assert visit.locator("#compare-left").filter(has_text="hashing@visual,sum").count() == 1
    visit.locator("#compare-summary").filter(has_text="“a boat”, away from “dog”").wait_for()
    assert visit.locator("#compare-words textarea").input_value() == "a boat"

    visit.get_by_role("tab", name="Diagnostics").click()
    visit.get_by_role("button", name="Prove it: center").click()
    visit.locator("#stages").filter(has_text="center").wait_for()
    visit.locator("#evaluate-problem").filter(has_text="Prove asks the dataset’s queries").wait_for()
    type_in(visit, "#evaluate-recipe", "hashing@text")
    type_in(visit, "#stages", "dualsoftmax")
    visit.keyboard.press("Escape")  # its menu lies over the button
    visit.locator("#prove").click()
    visit.locator("#evaluated .mm-verdicts").wait_for()
    assert "Prove asks" not in visit.locator("#evaluate-problem").inner_text()
    said = visit.locator("#evaluated").inner_text()
    assert "24 held-out queries" in said and "smallest" in said
    assert visit.locator("#evaluated .mm-flag", has_text="transductive").count() >= 1
    visit.locator("#evaluated .mm-plot .xtitle").wait_for()
    assert Client(address, verbose=False).predict(api_name="/status")["fix"]["found"]["held_out"] == 24
    visit.get_by_role("button", name="Compare center with").first.click()
    visit.locator("#compare-right").filter(has_text="hashing@text,center,sum").wait_for()


def test_captions_in_findings_are_text(visit: Any) -> None:
    diagnose(visit, "gap")
    drawn(visit)
    diagnose(visit, "concepts")
    shown = visit.locator("#found")
    for button in shown.locator("details summary, [data-save=table]").all():
        button.click()
    shown.get_by_text("onerror").first.wait_for()
    assert visit.locator("img[onerror]").count() == 0
    assert visit.title() == "Multimodal retrieval"


def test_what_cannot_be_diagnosed_says_why(visit: Any) -> None:
    type_in(visit, "#diagnose-left", "hashing@visual,centre")
    visit.locator("#diagnose-left-problem").filter(has_text="Did you mean 'center'").wait_for()
    visit.locator("#diagnose").click()
    visit.locator("#diagnose-problem").filter(has_text="Did you mean 'center'").wait_for()
    diagnose(visit, "agreement")
    visit.locator("#found").filter(has_text="agreement says nothing here").wait_for()


def test_it_fits_a_phone_and_the_dark(browser: Any, address: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}?__theme=dark")
    page.locator("#results [data-item]").first.wait_for()
    page.locator(".overflow-menu button").first.click()
    page.locator(".overflow-dropdown button").filter(has_text="Diagnostics").click()
    diagnose(page, "gap", right="hashing@visual,center")
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(CUT) == []
    title = page.locator("#found .xtitle").first
    assert title.evaluate("t => getComputedStyle(t).fill") == "rgb(203, 213, 225)"
    page.close()


def test_a_read_only_page_shows_the_proof_and_makes_none(browser: Any, wide: Path, things: Path) -> None:
    with served(wide, "--dataset", str(things), "--read-only") as address:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.locator("#results [data-item]").first.wait_for()
        page.get_by_role("tab", name="Evaluate").click()
        page.locator("#evaluate-about").filter(has_text="read-only").wait_for()
        assert page.locator("#prove").count() == 0 or not page.locator("#prove").is_visible()
        page.get_by_role("tab", name="Diagnostics").click()
        pick(page, "#of", "the dataset things")
        diagnose(page, "hubness")
        page.locator("#found").filter(has_text="Measured on the dataset").wait_for()
        page.close()
