"""The page in a real browser, as a visitor uses it. Needs a Chromium; REQUIRE_BROWSER=1 makes its absence a failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client

from tests.page.conftest import PICTURES, draw, make_library
from tests.page.serving import served, visited

pytestmark = pytest.mark.browser
PATIENCE = 30_000
IN_SIGHT = """() => {
  const box = document.querySelector('.mm-detail')?.getBoundingClientRect();
  return box && box.height > 0 && box.top >= 0 && box.top < innerHeight / 2;
}"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of this module's own: its tests add to it."""
    return make_library(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def address(library: Path) -> Iterator[str]:
    with served(library) as address:
        yield address


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    """A fresh visit to the page; fails where a script of the page does."""
    with visited(browser, address, 900, PATIENCE) as page:
        yield page


def ask(page: Any, words: str = "", avoid: str = "", recipe: str = "") -> None:
    """Fills the form and waits for the results of this very query."""
    page.locator("#words textarea").fill(words)
    page.locator("#avoid textarea").fill(avoid)
    if recipe:
        choose(page, "#recipe", recipe)
    page.get_by_role("button", name="Search", exact=True).click()
    said = page.locator("#summary").filter(has_text="results for")
    if words:
        said = said.filter(has_text=words)
    if recipe:
        said = said.filter(has_text=recipe)
    (said.filter(has_text=f"away from “{avoid}”") if avoid else said).wait_for()


def choose(page: Any, menu: str, recipe: str) -> None:
    box = page.locator(f"{menu} input")
    box.fill(recipe)
    box.press("Enter")


def captions(page: Any, where: str = "#results") -> list[str]:
    return list(page.locator(f"{where} .mm-caption, {where} .mm-passage").all_inner_texts())


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
    assert detail.locator("table").get_by_text("hashing@text").count() == 1


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


def test_a_picture_query_then_one_of_its_results(visit: Any, library: Path) -> None:
    choose(visit, "#recipe", "hashing@visual")
    own = library.parent / "media" / "red-apple.png"
    visit.locator('input[type="file"]').first.set_input_files(str(own))
    visit.get_by_role("button", name="Remove Image").or_(visit.get_by_label("Clear")).first.wait_for()
    visit.get_by_role("button", name="Search", exact=True).click()
    visit.locator("#summary").filter(has_text="results for a picture").filter(has_text="hashing@visual").wait_for()
    found = captions(visit)
    assert found[0].startswith("a red") and "a red apple on a table" not in found
    visit.locator("#results [data-item]").first.click()
    visit.get_by_role("button", name="Use this as query").click()
    visit.locator("#summary").filter(has_text="an item of the library").wait_for()
    assert visit.locator("#chip").inner_text().strip() == f"like {found[0]}"
    assert found[0] not in captions(visit) and "a red apple on a table" in captions(visit)
    visit.get_by_role("button", name="Take it out of the query").click()
    visit.locator("#chip .mm-chip").wait_for(state="detached")


def test_a_picture_query_is_taken_over_to_compare(visit: Any, library: Path) -> None:
    own = library.parent / "media" / "blue-boat.png"
    visit.locator('input[type="file"]').first.set_input_files(str(own))
    visit.get_by_role("button", name="Remove Image").or_(visit.get_by_label("Clear")).first.wait_for()
    visit.get_by_role("tab", name="Compare").click()
    choose(visit, "#left-recipe", "hashing@visual")
    visit.get_by_role("button", name="Take the query from Search").click()
    visit.locator("#compare-left").filter(has_text="hashing@visual,sum").wait_for()
    found = captions(visit, "#compare-left")
    assert found[0] == "a blue bird in flight" and "a blue boat on the lake" not in found


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
    ask(visit, "red", avoid="car street", recipe="hashing@text")
    pushed = captions(visit)
    car = "a red car in the street"
    assert plain.index(car) < 3
    assert car not in pushed or pushed.index(car) > plain.index(car)
    visit.get_by_role("button", name="Clear", exact=True).last.click()
    visit.locator("#summary").filter(has_text="Ask for something").wait_for()
    assert visit.locator("#avoid textarea").input_value() == ""


def test_a_result_as_query_keeps_what_the_widgets_show_and_an_example_starts_afresh(visit: Any) -> None:
    ask(visit, "green frog", recipe="hashing@all")
    visit.get_by_role("button", name="Filters").click()
    visit.get_by_label("pictures").check()
    visit.locator("#results [data-item]").first.click()
    visit.get_by_role("button", name="Use this as query").click()
    said = visit.locator("#summary").filter(has_text="an item of the library")
    said.filter(has_text="only pictures").wait_for()
    assert visit.locator("#results .mm-kind").count() == visit.locator("#results .mm-kind", has_text="picture").count()
    visit.get_by_role("tab", name="Compare").click()
    visit.get_by_role("button", name="Take the query from Search").click()
    visit.locator("#compare-summary").filter(has_text="only pictures").wait_for()
    along = visit.locator("#compare-along")
    assert "green frog" in along.inner_text() and "only pictures" in along.inner_text()
    visit.get_by_role("button", name="Take this out of the query").click()
    along.locator(".mm-chip").wait_for(state="detached")
    visit.locator("#compare-clear").click()
    visit.locator("#compare-left [data-card]").first.wait_for(state="detached")
    visit.get_by_role("tab", name="Search").click()
    visit.get_by_role("button", name="famous tower").click()
    visit.locator("#summary").filter(has_text="results for “famous tower”").wait_for()
    assert "only" not in visit.locator("#summary").inner_text()
    assert not visit.get_by_label("pictures").is_checked()
    assert visit.locator("#chip .mm-chip").count() == 0


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
    assert visit.locator("#words textarea").input_value() == "fruit"


def test_mistakes_are_explained_where_they_are_made(visit: Any) -> None:
    choose(visit, "#recipe", "hashing@txt")
    visit.locator("#recipe-problem").filter(has_text="did you mean 'text'").wait_for()
    visit.get_by_role("button", name="Search", exact=True).click()
    visit.locator("#problem").filter(has_text="nothing to look for yet").or_(
        visit.locator("#problem").filter(has_text="did you mean")
    ).first.wait_for()


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
    visit.get_by_role("button", name="Use this as query").click()
    visit.locator("#chip").filter(has_text="onerror").wait_for()
    assert visit.locator("img[onerror]").count() == 0
    assert visit.title() == "Multimodal retrieval"


def test_compare_two_recipes(visit: Any) -> None:
    ask(visit, "red car", recipe="hashing@text")
    visit.get_by_role("tab", name="Compare").click()
    choose(visit, "#left-recipe", "hashing@text")
    choose(visit, "#right-recipe", "hashing@visual")
    visit.get_by_role("button", name="Take the query from Search").click()
    visit.locator("#compare-right").filter(has_text="hashing@visual,sum").wait_for()
    assert visit.locator("#compare-words textarea").input_value() == "red car"
    assert captions(visit, "#compare-left")[0] == "a red car in the street"
    assert "overlap@12" in visit.locator("#compare-summary").inner_text()
    assert visit.locator("#compare-left .mm-only").count() >= 1  # the passage has no pixels
    assert "rank right" in visit.locator("#compare-moved table").inner_text()


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
