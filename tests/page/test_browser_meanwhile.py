"""What is done while something else is still answered, in a real browser: nothing of it is lost or mistaken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.page.visiting import Held, ask, visited

pytestmark = pytest.mark.browser
PATIENCE = 60_000
PIECES = "document.querySelectorAll('.mm-piece').length === {}"
# Between the last answer and the word that none is due, so long as `lag` says: as on a machine that has much to do.
LAGGING = """
const plain = window.fetch;
window.fetch = async (input, init) => {
  const reply = await plain(input, init);
  if (!String(input.url ?? input).includes('/queue/data')) return reply;
  const lines = (controller) => ({
    rest: '',
    async write(text) {
      const messages = (this.rest + text).split('\\n\\n');
      this.rest = messages.pop();
      for (const message of messages) {
        if (message.includes('close_stream')) {
          window.closes = (window.closes ?? 0) + 1;
          await new Promise((go) => setTimeout(go, window.lag ?? 0));
        }
        controller.enqueue(`${message}\\n\\n`);
      }
    },
  });
  let each;
  const slow = new TransformStream({
    start(controller) { each = lines(controller); },
    transform(text) { return each.write(text); },
  });
  const body = reply.body.pipeThrough(new TextDecoderStream()).pipeThrough(slow).pipeThrough(new TextEncoderStream());
  return new Response(body, {status: reply.status, headers: reply.headers});
};
"""


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """A fresh visit to the page."""
    with visited(browser, address, 1000, PATIENCE) as page:
        yield page


def test_words_sent_while_others_are_looked_for_are_asked_too(visit: Any) -> None:
    box, held = visit.locator("#words textarea"), Held(visit)
    for words in ("red", "not car", "street"):
        box.fill(words)
        box.press("Enter")
    box.press_sequentially("left")
    held.let_go(3)
    visit.locator("#summary .mm-summary").filter(has_text="street").wait_for()
    said = visit.locator("#summary .mm-summary").inner_text()
    assert all(word in said for word in ("“red”", "“street”", "away from “car”"))
    visit.wait_for_function(PIECES.format(3))
    assert box.input_value() == "left"


def test_what_is_changed_while_a_search_runs_counts_too(visit: Any) -> None:
    ask(visit, "red", "car", recipe="hashing@text")
    visit.locator("#words textarea").fill("street")
    visit.locator("#words textarea").press("Enter")
    visit.locator(".mm-piece").nth(2).wait_for()
    held = Held(visit)
    visit.locator(".mm-piece").nth(0).get_by_role("button", name="Take out").click()
    visit.locator(".mm-piece").nth(2).locator("[data-do=words]").fill("wall")
    visit.locator(".mm-piece").nth(2).locator("[data-do=words]").press("Tab")
    visit.locator(".mm-piece").nth(0).get_by_role("button", name="Take out").click()
    held.let_go(3)
    visit.locator("#problem").filter(has_text="not in the query any more").wait_for()
    asked = visit.locator("#summary .mm-summary").inner_text()
    assert "“wall”" in asked and "away from “car”" in asked and "street" not in asked and "red" not in asked


def test_a_filter_that_is_set_while_a_search_runs_is_searched_with(visit: Any) -> None:
    ask(visit, "red", recipe="hashing@text")
    visit.get_by_role("button", name="Filters").click()
    held = Held(visit)
    for kind in ("pictures", "clips", "passages"):
        visit.locator("#filters label").filter(has_text=kind).click()
    held.let_go(1)
    visit.wait_for_function("[...new URLSearchParams(location.search).getAll('kind')].join() === 'image,video,text'")


def test_what_follows_a_fresh_start_is_not_wiped_away(visit: Any) -> None:
    ask(visit, "red", recipe="hashing@text")
    box, held = visit.locator("#words textarea"), Held(visit)
    for words in ("car", "street"):
        box.fill(words)
        visit.locator("#search").click() if words == "car" else box.press("Enter")
    box.fill("half a wo")
    visit.get_by_role("button", name="Clear", exact=True).first.click()
    visit.locator("#recipe input").fill("hashing@visual")
    visit.locator("#recipe input").press("Enter")
    box.fill("frog")
    box.press("Enter")
    box.fill("po")
    held.let_go(5)
    visit.locator("#summary .mm-summary").filter(has_text="hashing@visual").filter(has_text="frog").wait_for()
    visit.wait_for_function(PIECES.format(1))
    assert box.input_value() == "po"
    visit.wait_for_function("location.search === '?text=frog&recipe=hashing@visual'")
    assert visit.locator("#recipe input").input_value().startswith("hashing@visual")


def test_two_quick_steps_back_are_two_steps(visit: Any) -> None:
    for words in ("red", "car", "street"):
        visit.locator("#words textarea").fill(words)
        visit.locator("#words textarea").press("Enter")
        visit.wait_for_function(f"location.search.includes('{words}')")
    held = Held(visit)
    visit.evaluate("history.back()")
    visit.wait_for_function("location.search.endsWith('text=car&recipe=hashing@all')")
    visit.evaluate("history.back()")
    visit.wait_for_function("!location.search.includes('car')")
    held.let_go(2)
    visit.wait_for_function(PIECES.format(1))
    assert visit.evaluate("location.search") == "?text=red&recipe=hashing@all"
    visit.go_forward()
    visit.go_forward()
    visit.wait_for_function(PIECES.format(3))
    assert visit.evaluate("location.search") == "?text=red&text=car&text=street&recipe=hashing@all"


def test_nothing_is_pressed_in_the_panel_of_the_result_before(visit: Any) -> None:
    ask(visit, "red", recipe="hashing@all")
    cards = visit.locator("#results [data-item]")
    cards.first.click()
    visit.locator("#detail .mm-detail").wait_for()
    held = Held(visit)
    cards.nth(1).click()
    cards.last.click()
    assert visit.locator("#detail .mm-detail[inert]").count() == 1
    held.let_go(2)
    shown = '#detail .mm-detail:not([inert])[data-about="{}"]'
    visit.locator(shown.format(cards.last.get_attribute("data-item"))).wait_for()
    cards.last.click()
    visit.locator("#detail .mm-detail:not([inert])").wait_for()


def test_a_panel_that_cannot_be_had_leaves_the_one_before(visit: Any) -> None:
    ask(visit, "red", recipe="hashing@all")
    visit.locator("#results [data-item]").first.click()
    visit.locator("#detail .mm-detail").wait_for()
    visit.route("**/gradio_api/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "full"}))
    visit.locator("#results [data-item]").last.click()
    visit.locator("#detail .mm-detail:not([inert])").wait_for()


@pytest.fixture
def lagging(browser: Any, address: str) -> Iterator[Any]:
    """A visit whose stream of answers closes late."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(LAGGING)
    page.goto(f"{address}?text=red&recipe=hashing@text")
    page.locator("#results .mm-rank").first.wait_for()
    page.evaluate("window.lag = 1500")
    yield page
    page.close()


def test_an_answer_is_shown_though_the_stream_was_about_to_close(lagging: Any) -> None:
    for words in ("car", "wall", "street"):
        closes = lagging.evaluate("window.closes ?? 0")
        lagging.locator("#words textarea").fill(words)
        lagging.locator("#words textarea").press("Enter")
        lagging.locator("#summary").filter(has_text=words).wait_for()
        lagging.wait_for_function(f"window.closes > {closes}")
    lagging.wait_for_function(PIECES.format(4))
