"""The panel of one result in a real browser: film, pages, zoom, region, moment, and why it was found."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gradio_client import Client

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.library import Library
from mmretrieval.types import Settings
from page.query import links
from page.query.asking import Asked
from page.query.links import Link
from tests.page.conftest import make_media
from tests.page.serving import served

pytestmark = pytest.mark.browser
PATIENCE = 60_000
TIME = "() => document.querySelector('#detail video').currentTime"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page over the usual small library, whose film is cut into three clips of a second."""
    folder = tmp_path_factory.mktemp("detail")
    media = make_media(folder / "media")
    with Library.create(folder / "library", ("hashing",), Settings(clip_seconds=1.0)) as library:
        assert ingest(library, list(walk([media])), workers=1).failed == 1  # the picture that is broken
    with served(folder / "library", "--read-only") as address:
        yield address


def opened(browser: Any, address: str, asked: Asked, recipe: str, kind: str, **more: Any) -> Any:
    """A visit that has searched, and opened the first result of a kind."""
    page = browser.new_page(**({"viewport": {"width": 1400, "height": 1100}} | more))
    page.set_default_timeout(PATIENCE)
    page.broken = []
    page.on("pageerror", lambda error: page.broken.append(str(error)))
    page.goto(f"{address}?{links.address(Link(asked, recipe, cut=False))}")
    page.locator("#summary").filter(has_text="results for").wait_for()
    page.locator("#results [data-item]:visible").filter(has=page.locator(f".mm-{kind}")).first.click()
    page.locator("#detail .mm-detail").wait_for()
    page.locator("#near .mm-near").wait_for()
    return page


def closed(page: Any) -> None:
    broken = page.broken
    page.close()
    assert not broken


def test_a_film_is_sought_on_the_bar_and_searched_from_a_moment(browser: Any, address: str) -> None:
    page = opened(browser, address, Asked.of("numbers", kinds=("video",)), "hashing@visual", "video")
    page.wait_for_function("document.querySelector('#detail video').readyState >= 1")
    own = page.locator("#detail .mm-this")
    begins = float(own.get_attribute("data-seek"))
    page.wait_for_function(f"Math.abs(({TIME})() - {begins}) < 0.3")
    others = page.locator("#detail .mm-also")
    assert others.count() == 2  # the other clips of the film were found too
    there = float(others.last.get_attribute("data-seek"))
    assert there != begins
    others.last.click()
    page.wait_for_function(f"Math.abs(({TIME})() - {there}) < 0.1")
    box = page.locator("#detail .mm-film").bounding_box()
    now = "parseFloat(document.querySelector('#detail .mm-head-now').style.left)"
    page.wait_for_function(f"Math.abs({now} - 100 * {there} / 3) < 4")
    own.click()
    page.wait_for_function(f"Math.abs(({TIME})() - {begins}) < 0.1")
    assert box and box["width"] > 200
    page.evaluate("document.querySelector('#detail video').currentTime = 1.5")
    page.wait_for_function("!document.querySelector('#detail video').seeking")
    page.get_by_role("button", name="Search from this moment").click()
    page.locator("#summary").filter(has_text="a part of an item of the library").wait_for()
    page.wait_for_function("decodeURIComponent(location.search).includes('#t=1.5&')")
    closed(page)


def test_pages_are_turned_and_enlarged(browser: Any, address: str) -> None:
    page = opened(browser, address, Asked.of("page", kinds=("document",)), "hashing@text", "document")
    assert page.locator("#detail .mm-pages .mm-small").count() == 2
    before = page.locator("#detail h3").inner_text()
    page.locator("#detail .mm-pages .mm-small:not([aria-current])").click()
    page.wait_for_function(f"document.querySelector('#detail h3').textContent !== {before!r}")
    page.wait_for_function("document.querySelector('#detail .mm-large').naturalWidth > 0")
    room = "document.querySelector('#detail .mm-room')"
    assert page.evaluate(f"{room}.scrollWidth <= {room}.clientWidth")
    for _ in range(3):
        page.get_by_role("button", name="Larger").click()
    assert page.locator("#detail .mm-zoomed").inner_text() == "300 %"
    assert page.evaluate(f"{room}.scrollWidth > 2.5 * {room}.clientWidth")
    assert page.evaluate(f"{room}.scrollLeft > 0")
    for _ in range(3):
        page.get_by_role("button", name="Smaller").click()
    assert page.evaluate(f"{room}.scrollWidth <= {room}.clientWidth")
    closed(page)


def test_a_region_is_drawn_and_searched(browser: Any, address: str) -> None:
    page = opened(browser, address, Asked.of("green frog"), "hashing@text+hashing@visual", "image")
    page.wait_for_function("document.querySelector('#detail .mm-large').naturalWidth > 0")
    page.get_by_role("button", name="Search this region").click()
    page.locator("#detail .mm-told").filter(has_text="Drag a rectangle").wait_for()
    page.keyboard.press("Escape")
    assert page.locator("#detail .mm-choosing").count() == 0
    page.get_by_role("button", name="Search this region").click()
    box = page.locator("#detail .mm-large").bounding_box()
    # The picture is square, and stands in the middle of its room.
    side, middle = min(box["width"], box["height"]), box["x"] + box["width"] / 2
    page.mouse.move(middle - side / 4, box["y"] + box["height"] / 2 - side / 4)
    page.mouse.down()
    page.mouse.move(middle, box["y"] + box["height"] / 2)
    page.locator("#detail .mm-frame").wait_for()
    page.mouse.move(middle + side / 4, box["y"] + box["height"] / 2 + side / 4)
    page.mouse.up()
    page.locator("#summary").filter(has_text="a part of an item of the library").wait_for()
    held = page.evaluate("location.search + document.querySelector('#parts').innerHTML")
    numbers = held.split("percent:")[1].split('"')[0].split("&")[0].replace("%2C", ",").split(",")[:4]
    assert [round(float(n)) for n in numbers] == pytest.approx([25, 25, 50, 50], abs=2)
    closed(page)


def test_more_and_less_like_this_keep_the_panel(browser: Any, address: str) -> None:
    page = opened(browser, address, Asked.of("green frog"), "hashing@text", "image")
    page.get_by_role("button", name="More like this").click()
    page.locator("#summary").filter(has_text="liked: an item").wait_for()
    assert page.locator("#detail .mm-detail").is_visible()
    page.get_by_role("button", name="Less like this").click()
    page.locator("#summary").filter(has_text="disliked: an item").wait_for()
    page.get_by_role("button", name="Use as query").click()
    page.locator("#summary").filter(has_text="results for an item of the library").wait_for()
    closed(page)


def test_neighbours_open(browser: Any, address: str) -> None:
    page = opened(browser, address, Asked.of("green frog"), "hashing@text", "image")
    assert page.locator("#near .mm-small").count() == 8
    about = page.locator("#near .mm-small").first.get_attribute("data-item")
    page.locator("#near .mm-small").first.click()
    page.locator(f'#detail [data-about="{about}"]').wait_for()
    page.wait_for_function(f"!document.querySelector('#near [data-item=\"{about}\"]')")
    closed(page)


@pytest.mark.parametrize("dark", [False, True])
def test_the_map_of_a_picture_appears_and_shows_one_part_at_a_time(browser: Any, address: str, dark: bool) -> None:
    scheme = {"color_scheme": "dark" if dark else "light"}
    asked = Asked.of("green", avoid="red")
    page = opened(browser, address, asked, "hashing@visual", "image", **scheme)
    page.get_by_role("button", name="Why this result?").click()
    page.locator("#why .mm-heat").wait_for()
    assert page.locator('#why [data-layer="all"] i').count() == 64
    boxes = [f"document.querySelector('#why {what}').getBoundingClientRect()" for what in (".mm-heat", ".mm-cells")]
    apart = page.evaluate(f"['x', 'y', 'width', 'height'].map((k) => Math.abs({boxes[0]}[k] - {boxes[1]}[k]))")
    assert max(apart) < 1 and page.evaluate(f"{boxes[0]}.width") > 200
    # Below the rest in its column, not beside it.
    assert page.evaluate("document.querySelector('.mm-side').scrollLeft") == 0
    page.wait_for_function("document.querySelector('#why .mm-heat img').naturalWidth > 0")
    page.locator("#why").get_by_role("button", name="−“red”").click()
    assert page.locator('#why [data-layer="all"]').is_hidden() and page.locator('#why [data-layer="1"]').is_visible()
    page.locator("#why").get_by_role("button", name="Table", exact=True).click()
    assert page.locator("#why table td:visible").count() == 8 * 9
    page.locator("#near .mm-small").first.click()  # another item: what was said of this one goes
    page.locator("#why .mm-why").wait_for(state="detached")
    closed(page)


def test_what_closes_the_panel_stays_in_sight(browser: Any, address: str) -> None:
    for size in ((1400, 500), (390, 700)):
        page = opened(
            browser, address, Asked.of("green frog"), "hashing@text", "image",
            viewport={"width": size[0], "height": size[1]},
        )  # fmt: skip
        close = page.locator("#detail-close")
        inside = "b => { const r = b.getBoundingClientRect(); return r.top >= 0 && r.bottom <= innerHeight; }"
        page.wait_for_function(
            "document.querySelector('#detail-close').getBoundingClientRect().top <= "
            "document.querySelector('#detail .mm-stage').getBoundingClientRect().top"
        )
        page.evaluate("document.querySelector('#near').scrollIntoView({block: 'end', behavior: 'instant'})")
        assert close.evaluate(inside), size
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        close.click()
        page.locator("#detail .mm-detail").wait_for(state="hidden")
        closed(page)


def test_searching_goes_on_while_a_result_is_looked_into(browser: Any, address: str) -> None:
    page = opened(browser, address, Asked.of("green frog"), "hashing@visual", "image")
    page.get_by_role("button", name="Why this result?").click()
    page.locator("#words textarea, #words input").first.fill("red car")
    page.locator("#words textarea, #words input").first.press("Enter")
    page.locator("#summary").filter(has_text="red car").wait_for()
    closed(page)


def test_it_fits_a_phone(browser: Any, address: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
    page = opened(browser, address, Asked.of("green frog"), "hashing@text+bm25", "image", **phone)
    page.get_by_role("button", name="Why this result?").click()
    page.locator("#why mark").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for box in page.locator("#detail button:visible, #near button:visible").all():
        place = box.bounding_box()
        assert place and place["x"] >= 0 and place["x"] + place["width"] <= 391
    page.wait_for_function("document.querySelector('#why .mm-why').getBoundingClientRect().top < innerHeight")
    closed(page)


class Session:
    """A visitor's program that sends the events of the page's widgets by itself, whatever the page draws."""

    def __init__(self, address: str) -> None:
        self.address, self.name = address, secrets.token_hex(5)
        events = httpx.get(f"{address}config").json()["dependencies"]
        self.events = {event["api_name"]: event["id"] for event in events}

    def send(self, event: str, data: list[Any], said: dict[str, Any] | None = None) -> list[Any]:
        """What the page answers to an event, with the state that this session has there."""
        sent = {"data": data, "event_data": said, "fn_index": self.events[event], "session_hash": self.name}
        httpx.post(f"{self.address}gradio_api/queue/join", json=sent).raise_for_status()
        told = {"session_hash": self.name}
        with httpx.stream("GET", f"{self.address}gradio_api/queue/data", params=told, timeout=60) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:") and (message := json.loads(line[5:]))["msg"] == "process_completed":
                    return list(message["output"]["data"])
        raise AssertionError("no answer came")


def test_no_event_of_a_read_only_page_changes_the_library(browser: Any, address: str) -> None:
    page = opened(browser, address, Asked.of("green frog"), "hashing@text", "image")
    assert not page.get_by_role("button", name="Remove from library").is_visible()
    ident = page.locator("#detail .mm-detail").get_attribute("data-about")
    closed(page)
    client, session = Client(address, verbose=False), Session(address)
    before = client.predict(api_name="/status"), client.predict(api_name="/failures")
    assert f'data-about="{ident}"' in str(session.send("on_select", [None], {"item": ident}))
    assert "read-only" in str(session.send("on_remove", [None]))
    failed = before[1][0]["file"]
    for do in ("retry", "forget"):
        assert "read-only" in session.send("on_failed", [], {"do": do, "file": failed})[0]
    after = client.predict(api_name="/status"), client.predict(api_name="/failures")
    for held in (before, after):
        held[0].pop("disk")
    assert after == before and before[0]["job"] is None
