"""The page in a real browser, as a visitor uses it. Needs a Chromium; REQUIRE_BROWSER=1 makes its absence a failure."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client

from tests.page.conftest import HOSTILE, PICTURES, draw
from tests.page.visiting import ask, captions, choose, visited

pytestmark = pytest.mark.browser
PATIENCE = 60_000
IN_SIGHT = """() => {
  const box = document.querySelector('.mm-detail')?.getBoundingClientRect();
  return box && box.height > 0 && box.top >= 0 && box.top < innerHeight / 2;
}"""


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """A fresh visit to the page; fails where a script of the page does."""
    with visited(browser, address, 900, PATIENCE) as page:
        yield page


def settled(page: Any) -> None:
    """Every picture that can be seen has been loaded, and none is broken."""
    page.wait_for_function(
        "[...document.querySelectorAll('#results img')].filter(i => i.getBoundingClientRect().top < innerHeight)"
        ".every(i => i.complete && i.naturalWidth > 0)"
    )


def test_a_text_query_and_its_detail(visit: Any) -> None:
    ask(visit, "green frog", recipe="hashing@text")
    assert captions(visit)[0] == "a green frog by the pond"
    settled(visit)
    visit.locator("#results [data-item]").first.click()
    detail = visit.get_by_role("region", name="Chosen result")
    detail.filter(has_text="a green frog by the pond").wait_for()
    large = detail.locator("img.mm-large")
    visit.wait_for_function("document.querySelector('img.mm-large').naturalWidth > 0")
    assert large.get_attribute("alt") == "a green frog by the pond"
    assert detail.locator("table").get_by_text("hashing@text").count() >= 1


SPOKEN = """() => {
  window.spoken = [];
  new MutationObserver(() => document.querySelectorAll('[aria-live]').forEach((place) => {
    const words = place.textContent.trim();
    if (words) window.spoken.push(words);
  })).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""


def test_what_is_read_aloud_of_a_search_is_words(visit: Any) -> None:
    visit.evaluate(SPOKEN)
    ask(visit, "green frog")
    visit.wait_for_function("window.spoken.includes('Done')")
    assert not [words for words in visit.evaluate("window.spoken") if words.startswith("common.")]


def upload(page: Any, file: Path) -> None:
    page.locator('#picture input[type="file"]').set_input_files(str(file))


def test_a_picture_query_then_one_of_its_results(visit: Any, library: Path) -> None:
    choose(visit, "hashing@visual")
    upload(visit, library.parent / "media" / "red-apple.png")
    visit.locator("#summary").filter(has_text="for a picture").filter(has_text="hashing@visual").wait_for()
    found = captions(visit)
    assert found[0].startswith("a red") and "a red apple on a table" not in found
    visit.locator("#results [data-item]").first.click()
    visit.locator('#detail [data-do="query"]').click()
    visit.locator("#summary").filter(has_text="an item of the library").wait_for()
    assert visit.locator(".mm-piece-name").inner_text() == found[0]
    assert found[0] not in captions(visit) and "a red apple on a table" in captions(visit)
    visit.get_by_role("button", name=f"Take out {found[0]}").click()
    visit.locator("#summary").filter(has_text="Ask for something").wait_for()
    assert visit.locator(".mm-piece").count() == 0


def test_a_picture_is_pasted_and_cropped(visit: Any, library: Path) -> None:
    choose(visit, "hashing@visual")
    data = base64.b64encode((library.parent / "media" / "green-tree.png").read_bytes()).decode()
    visit.evaluate(PASTE, data)
    visit.locator("#summary").filter(has_text="for a picture").wait_for()
    whole = captions(visit)
    visit.locator('.mm-piece [data-do="open"]').click()
    box = visit.locator(".mm-crop").bounding_box()
    visit.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    visit.mouse.down()
    visit.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"], steps=5)
    visit.mouse.up()
    visit.locator("#summary").filter(has_text="for a part of a picture").wait_for()
    region = visit.locator('[data-do="region"]')
    numbers = [float(n) for n in region.input_value().split(",")]
    assert all(abs(a - b) < 1.5 for a, b in zip(numbers, (50, 50, 25, 50), strict=True)), numbers
    region.fill("0, 0, 1, 1")
    region.press("Enter")
    visit.locator(".mm-crop .mm-crop-box[style*='width:1%']").wait_for()
    visit.keyboard.press("Escape")
    visit.locator(".mm-pop").wait_for(state="hidden")
    visit.locator('.mm-piece [data-do="open"]', has_text="cropped").click()
    visit.get_by_role("button", name="Whole picture").click()
    visit.locator('.mm-piece [data-do="open"]', has_text=re.compile("^crop$")).wait_for()
    assert captions(visit) == whole
    assert "uploads=1" in visit.url and "green" not in visit.url


PASTE = """(data) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const held = new DataTransfer();
  held.items.add(new File([bytes], 'pasted.png', {type: 'image/png'}));
  document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: held, bubbles: true, cancelable: true}));
}"""


def test_a_slider_pushes_away_and_a_link_brings_all_of_it_back(visit: Any, browser: Any) -> None:
    ask(visit, "red", "car street", recipe="hashing@text")
    slider = visit.get_by_label("Weight of red")
    slider.focus()
    for _ in range(10):
        slider.press("ArrowRight")
    visit.locator("#summary").filter(has_text="(weight 1.5)").wait_for()
    assert visit.evaluate("document.activeElement.dataset.do") == "weight"
    visit.get_by_role("button", name="Filters").click()
    visit.get_by_label("pictures").check()
    visit.locator("#summary").filter(has_text="only pictures").wait_for()
    visit.get_by_label("Path pattern").fill("*red*")
    visit.get_by_role("button", name="Add to the conditions").click()
    said = visit.locator("#summary").filter(has_text="where path = *red*")
    said.wait_for()
    found, asked = captions(visit), visit.locator("#summary strong").inner_text()
    assert len(found) == 3 and all("red" in caption for caption in found)
    visit.wait_for_function("location.search.includes('where=')")
    assert {"text=1.5*red", "text=-0.5*car%20street", "kind=image"} <= set(visit.url.partition("?")[2].split("&"))
    other = browser.new_page()
    other.set_default_timeout(PATIENCE)
    other.goto(visit.url)
    other.locator("#summary").filter(has_text="where path = *red*").wait_for()
    assert captions(other) == found and other.locator("#summary strong").inner_text() == asked
    assert other.get_by_label("Weight of red").input_value() == "1.5"
    other.get_by_role("button", name="Filters").click()
    assert other.get_by_label("pictures", exact=True).is_checked()
    assert other.locator("#conditions textarea").input_value() == "path = *red*"
    other.close()
    visit.go_back()
    visit.locator("#summary").filter(has_not_text="where path").filter(has_text="only pictures").wait_for()
    visit.go_forward()
    said.wait_for()


def test_a_recipe_is_built_of_chips(visit: Any) -> None:
    ask(visit, "red car", recipe="hashing@text")
    visit.locator("[data-stage]").select_option("mmr")
    visit.locator('[data-for="mmr"] input').first.fill("0.3")
    visit.get_by_role("button", name="Add mmr").click()
    visit.locator("#summary").filter(has_text="hashing@text,sum,mmr:0.3:100,cutoff:0.02").wait_for()
    visit.get_by_role("button", name="Take mmr:0.3:100 out").click()
    visit.locator("#summary code").filter(has_text=re.compile("^hashing@text,sum,cutoff:0.02$")).wait_for()
    visit.get_by_label("Grey what chance would find as well").uncheck()
    visit.locator("#summary code").filter(has_text=re.compile("^hashing@text,sum$")).wait_for()
    visit.wait_for_function("location.search.includes('cut=0')")


def test_everything_is_done_by_keys(visit: Any) -> None:
    visit.keyboard.press("/")
    visit.keyboard.type("green frog")
    visit.keyboard.press("Enter")
    visit.locator("#summary").filter(has_text="for “green frog”").wait_for()
    visit.keyboard.press("Escape")
    focused = "document.activeElement.dataset.item ?? ''"
    cards = visit.locator("#results [data-item]").evaluate_all("all => all.map((one) => one.dataset.item)")
    visit.keyboard.press("ArrowRight")
    assert visit.evaluate(focused) == cards[0]
    visit.keyboard.press("ArrowRight")
    visit.keyboard.press("ArrowDown")
    below = visit.evaluate(focused)
    visit.keyboard.press("ArrowUp")
    assert visit.evaluate(focused) == cards[1] and cards.index(below) > 1
    visit.keyboard.press("ArrowLeft")
    visit.keyboard.press("Enter")
    visit.get_by_role("region", name="Chosen result").wait_for()
    visit.keyboard.press("Escape")
    visit.get_by_role("region", name="Chosen result").wait_for(state="hidden")
    assert visit.evaluate(focused) == cards[0]


def test_past_queries_are_offered_and_forgotten(visit: Any) -> None:
    ask(visit, "blue boat", recipe="hashing@text")
    ask(visit, "green frog", recipe="hashing@text")
    visit.reload()
    visit.locator("#summary").filter(has_text="green frog").wait_for()
    visit.locator("#past .mm-pill", has_text="blue boat").click()
    visit.locator("#summary").filter(has_text="for “blue boat”").wait_for()
    visit.locator("#words textarea").fill("frog")
    visit.wait_for_function("document.querySelectorAll('#past .mm-pill').length === 1")
    visit.get_by_role("button", name="forget these").click()
    visit.locator("#past .mm-pill").first.wait_for(state="detached")
    assert visit.evaluate("localStorage.getItem('mm-queries')") == "[]"


def test_more_like_one_and_less_like_another(visit: Any) -> None:
    ask(visit, "red", recipe="hashing@all")
    visit.locator("#results [data-item]").first.click()
    visit.locator('#detail [data-do="more"]').click()
    visit.locator("#summary").filter(has_text="liked: an item").wait_for()
    visit.locator("#results [data-item]").last.click()
    visit.locator('#detail [data-do="less"]').click()
    visit.locator("#summary").filter(has_text="disliked: an item").wait_for()
    visit.wait_for_function("location.search.includes('dislike=')")
    assert "&like=" in visit.url and visit.locator(".mm-piece").count() == 3


def test_files_are_served_by_item_only(visit: Any, address: str, library: Path) -> None:
    ident = visit.locator("#results [data-item]").first.get_attribute("data-item")
    assert visit.request.get(f"{address}media/thumb/{ident}").status in (200, 404)  # a passage has none
    for path in (
        library / "ledger.sqlite",
        library / "library.toml",
        library.parent / "media" / "red-car.png",
        "app.py",
    ):
        assert visit.request.get(f"{address}gradio_api/file={path}").status == 403
        assert visit.request.get(f"{address}media/original/{path}").status == 404


def test_a_composed_query_with_a_negative_part(visit: Any) -> None:
    ask(visit, "red", recipe="hashing@text")
    plain = captions(visit)
    ask(visit, "red", "car street", recipe="hashing@text")
    pushed = captions(visit)
    car = "a red car in the street"
    assert plain.index(car) < 3
    assert car not in pushed or pushed.index(car) > plain.index(car)
    assert visit.locator("#results .mm-share.mm-minus").count() > 0
    visit.get_by_role("button", name="Clear", exact=True).first.click()
    visit.locator("#summary").filter(has_text="Ask for something").wait_for()
    assert visit.locator(".mm-piece").count() == 0 and "text=" not in visit.url


def test_the_detail_stays_in_sight_beside_a_result_far_down(visit: Any) -> None:
    visit.set_viewport_size({"width": 1400, "height": 420})
    ask(visit, "red", recipe="hashing@all")
    visit.locator("#results [data-item]").last.click()
    visit.locator(".mm-detail").wait_for()
    assert visit.evaluate("scrollY") > 100
    visit.wait_for_function(IN_SIGHT)
    side = visit.locator(".mm-side").bounding_box()
    assert side["y"] >= 0 and side["y"] + side["height"] <= 420


def test_an_example_runs_with_one_click(visit: Any) -> None:
    visit.get_by_role("button", name="fruit, not apple").click()
    visit.locator("#summary").filter(has_text="“fruit”, away from “apple”").wait_for()
    assert visit.locator(".mm-piece-words").first.input_value() == "fruit"
    assert visit.locator(".mm-piece.mm-away input").first.input_value() == "apple"


def test_mistakes_are_explained_where_they_are_made(visit: Any) -> None:
    visit.get_by_role("button", name="Recipe: how it searches").click()
    visit.locator("#recipe input").fill("hashing@txt")
    visit.locator("#recipe input").press("Enter")
    visit.locator("#recipe-problem").filter(has_text="did you mean 'text'").wait_for()
    visit.get_by_role("button", name="Search", exact=True).click()
    visit.locator("#problem").filter(has_text="nothing to look for yet").wait_for()
    visit.locator("#words textarea").fill("red")
    visit.get_by_role("button", name="Search", exact=True).click()
    visit.locator("#problem").filter(has_text="did you mean 'text'").wait_for()


def test_a_clip_stands_at_its_time(visit: Any) -> None:
    ask(visit, "numbers counting", recipe="hashing@text")
    visit.locator("#results [data-item]").first.click()
    visit.locator("video").wait_for()
    visit.wait_for_function("document.querySelector('video').readyState >= 1")
    assert visit.locator("video").evaluate("v => v.error") is None
    assert "#t=0.000," in visit.locator("video").get_attribute("src")


def test_captions_and_names_are_text(visit: Any) -> None:
    ask(visit, "violet bold", recipe="hashing@text")
    visit.locator("#results [data-item]").first.click()
    detail = visit.get_by_role("region", name="Chosen result")
    detail.filter(has_text="onerror").wait_for()
    assert "${1+1} {{value}} **bold**" in detail.inner_text()
    visit.locator('#detail [data-do="query"]').click()
    visit.locator(".mm-piece-name").filter(has_text="onerror").wait_for()
    visit.locator("#words textarea").fill(HOSTILE)
    visit.locator("#words textarea").press("Enter")
    visit.locator("#summary").filter(has_text="onerror").wait_for()
    assert visit.locator(".mm-piece-words").input_value() == HOSTILE
    visit.locator("#past .mm-pill", has_text="onerror").first.wait_for()
    assert visit.locator("img[onerror]").count() == 0
    assert visit.title() == "Multimodal retrieval"


def test_files_are_added_while_searching_goes_on(visit: Any, address: str, tmp_path: Path) -> None:
    for i in range(12):
        draw(tmp_path / f"lemon-{i}.png", (250, 240, 60 + i), side=900)
        (tmp_path / f"lemon-{i}.txt").write_text(f"a yellow lemon number {i}")
    visit.get_by_role("tab", name="Library").click()
    visit.locator("#status").filter(has_text=f"{len(PICTURES)} pictures").wait_for()
    assert "truncated.png" in visit.locator("#failures").inner_text()
    visit.locator('#files input[type="file"]').set_input_files([str(p) for p in sorted(tmp_path.iterdir())])
    visit.locator("#files tr.file, #files .file-preview").filter(has_text="lemon-9").last.wait_for()
    visit.get_by_role("button", name="Add files").click()
    visit.locator("#job progress").wait_for()
    visit.get_by_role("tab", name="Search").click()
    ask(visit, "green frog", recipe="hashing@text")
    assert captions(visit)[0] == "a green frog by the pond"
    visit.get_by_role("tab", name="Library").click()
    visit.locator("#job").filter(has_text="Done: 12 items new").wait_for()
    visit.locator("#status").filter(has_text=f"{len(PICTURES) + 12} pictures").wait_for()
    visit.get_by_role("tab", name="Search").click()
    ask(visit, "yellow lemon number 7", recipe="hashing@text")
    assert captions(visit)[0] == "a yellow lemon number 7"
    assert Client(address, verbose=False).predict(api_name="/status")["kinds"]["image"] == len(PICTURES) + 12


def test_a_result_is_removed_only_when_meant(visit: Any) -> None:
    ask(visit, "brick wall", recipe="hashing@text")
    visit.locator("#results [data-item]").first.click()
    visit.get_by_role("button", name="Remove from library").first.click()
    visit.get_by_role("button", name="Really remove").click()
    visit.locator("#problem").filter(has_text="1 item was removed").wait_for()
    ask(visit, "brick wall again", recipe="hashing@text")
    assert "a red brick wall" not in captions(visit)


def test_it_fits_a_phone(browser: Any, address: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.locator("#results [data-item]").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ask(page, "green frog", recipe="hashing@text")
    page.wait_for_function("document.querySelector('#results').getBoundingClientRect().top < innerHeight")
    for _ in range(2):  # the same result again, after going back to the list
        page.evaluate("window.scrollTo(0, 0)")
        page.locator("#results [data-item]").first.click()
        page.wait_for_function(IN_SIGHT)
    page.close()


def test_nothing_is_fetched_from_elsewhere_that_the_page_needs(browser: Any, address: str) -> None:
    """Offline is the normal case: with every other host out of reach, the page works all the same."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.route(lambda url: not url.startswith(address), lambda route: route.abort())
    page.goto(address)
    page.locator("#results [data-item]").first.wait_for()
    ask(page, "green frog", recipe="hashing@text")
    assert captions(page)[0] == "a green frog by the pond"
    page.close()


def test_dark_stays_dark_and_more_comes(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}?text=red&recipe=hashing@text&k=4&__theme=dark")
    page.locator("#summary strong", has_text="4 results").wait_for()
    assert page.locator("#results [data-item]").count() == 4
    first = captions(page)
    page.get_by_role("button", name="Show more").click()
    page.locator("#results .mm-end", has_text="These are all").wait_for()
    assert captions(page)[:4] == first and len(captions(page)) > 4
    page.wait_for_function("location.search.includes('k=28')")
    assert "__theme=dark" in page.url
    page.locator("#words textarea").fill("not car")
    page.locator("#words textarea").press("Enter")
    page.locator("#summary").filter(has_text="away from “car”").wait_for()
    assert "__theme=dark" in page.url and page.locator("body.dark").count() == 1
    # The number on a card and the card itself: readable by the rule for small text.
    ratio = page.locator("#results .mm-score").first.evaluate(CONTRAST)
    assert ratio >= 4.5
    page.close()


CONTRAST = """(element) => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((n) => n / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [a, b] = [getComputedStyle(element).color, getComputedStyle(element.closest('.mm-card')).backgroundColor]
    .map(light).sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""
