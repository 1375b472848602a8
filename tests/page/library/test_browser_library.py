"""The Library tab in a real browser: a folder is added while people search; what failed is tried again, taken off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import TimeoutError as NotSeen

from tests.page.conftest import draw, make_library
from tests.page.serving import served
from tests.page.visiting import visited

pytestmark = pytest.mark.browser
LEMONS = 220


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return make_library(tmp_path)


@pytest.fixture
def visit(browser: Any, library: Path) -> Iterator[Any]:
    with served(library) as address, visited(browser, address, 1000, 60_000) as page:
        page.get_by_role("tab", name="Library").click()
        page.locator("#held table").first.wait_for()
        yield page


def press(button: Any, effect: Any) -> None:
    """Clicks until it is seen to work: a tab draws its lists twice as it opens, and a click in between is lost."""
    for _ in range(12):
        if effect.count() or not button.count():
            break
        button.click()
        with suppress(NotSeen):
            effect.first.wait_for(timeout=5_000)
    effect.first.wait_for()


def test_what_failed_is_tried_again_by_its_button(visit: Any, library: Path) -> None:
    broken = library.parent / "media" / "truncated.png"
    again = visit.locator("#failures").get_by_role("button", name=f"Try {broken} again")
    job = visit.locator("#job")
    press(again, job.filter(has_text="1 failed"))
    assert f"again: {broken}" in job.inner_text()
    draw(broken, (5, 6, 7))
    again.click()
    job.filter(has_text="1 item new").wait_for()
    visit.locator("#failures").filter(has_text="Every file could be read").wait_for()


def test_what_failed_is_taken_off_the_list(visit: Any) -> None:
    told = visit.locator("#failures").filter(has_text="Every file could be read")
    press(visit.locator("#failures [data-do='forget']"), told)
    assert "0 items were removed" in visit.locator("#library-problem").inner_text()


STRANGE = "<img src=x onerror=\"document.title='owned'\">"
# From now on: what the progress of a job says, and how long the page makes a visitor wait for the smallest thing.
WATCH = """(small) => {
  window.seen = {shares: [], reading: new Set(), beats: 0, longest: 0, going: true};
  const {seen} = window;
  new MutationObserver(() => {
    const bar = document.querySelector('#job progress'), file = document.querySelector('#job .mm-path');
    if (bar && seen.shares.at(-1) !== bar.value) seen.shares.push(bar.value);
    if (file) seen.reading.add(file.textContent);
  }).observe(document.body, {childList: true, subtree: true, characterData: true, attributes: true});
  (async () => {
    while (seen.going) {
      const asked = performance.now();
      await (await fetch(small, {cache: 'no-store'})).blob();
      seen.longest = Math.max(seen.longest, performance.now() - asked);
      seen.beats += 1;
    }
  })();
}"""
BEATS = 20
TOLD = "() => { seen.going = false; return {...seen, reading: [...seen.reading]}; }"
UNDER_WAY = "() => !/Done|Stopped/.test(document.querySelector('#job')?.textContent ?? '')"


def test_a_folder_is_added_with_live_progress_while_searching_goes_on(visit: Any, tmp_path: Path) -> None:
    folder = tmp_path / "lemons"
    folder.mkdir()
    for number in range(LEMONS):
        draw(folder / f"lemon-{number:03}.png", (250, 240 - number % 200, 60 + number % 150), side=500)
    draw(folder / f"{STRANGE}.png", (250, 240, 0))
    (folder / f"broken {STRANGE}.png").write_bytes((folder / "lemon-000.png").read_bytes()[:200])
    ident = visit.locator("#results [data-item]").filter(has=visit.locator("img")).first.get_attribute("data-item")
    visit.evaluate(WATCH, f"media/thumb/{ident}")
    visit.locator("#folder textarea, #folder input").first.fill(str(folder))
    visit.get_by_role("button", name="Add folder").click()
    visit.locator("#job progress").wait_for()
    visit.get_by_role("tab", name="Search").click()
    searches = 0
    while visit.evaluate(UNDER_WAY) and searches < 40:
        searches += 1
        visit.locator("#words textarea").fill(f"frog {searches}")
        visit.locator("#words textarea").press("Enter")
        visit.locator("#summary .mm-summary").filter(has_text=f"“frog {searches}”").wait_for()
    visit.get_by_role("tab", name="Library").click()
    visit.locator("#job").filter(has_text=f"Done: {LEMONS + 1} items new").wait_for()
    told = visit.evaluate(TOLD)
    assert searches >= 3 and told["beats"] >= BEATS
    # How long is a matter for a bench on a quiet machine; here, that nobody is stopped until the ingest is over.
    assert told["longest"] < 10_000
    shares = told["shares"]
    assert shares == sorted(shares) and len([s for s in shares if 0 < s < 1]) >= 2, shares
    assert len(told["reading"]) >= 3
    # Names of files are text, in what failed as in results.
    visit.locator("#failures").filter(has_text=f"broken {STRANGE}.png").wait_for()
    visit.get_by_role("tab", name="Search").click()
    visit.get_by_role("button", name="Clear", exact=True).first.click()
    visit.get_by_role("button", name="Filters").click()
    visit.get_by_label("Path pattern").fill("*onerror*")
    visit.get_by_role("button", name="Add to the conditions").click()
    visit.locator("#words textarea").fill("lemon")
    visit.locator("#words textarea").press("Enter")
    visit.locator("#summary .mm-summary strong").filter(has_text="1 result").wait_for()
    card = visit.locator("#results [data-item]")
    assert card.locator(".mm-caption").inner_text() == f"{STRANGE}.png"
    card.click()
    visit.locator("#detail .mm-facts").filter(has_text=f"{STRANGE}.png").wait_for()
    visit.locator('#detail [data-do="query"]').click()
    visit.locator(".mm-piece-name").filter(has_text="onerror").wait_for()
    assert visit.locator("img[onerror]").count() == 0 and visit.title() == "Multimodal retrieval"
