"""What a query is made of, in a real browser: dropped, pasted, photographed, cropped, taken from results and films.

And what becomes of the search that way: a link that brings it back, a command and lines of Python that find the same.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.library import Library
from mmretrieval.types import Settings
from tests.page.conftest import draw, make_media
from tests.page.serving import ROOT

pytestmark = pytest.mark.browser
PATIENCE = 30_000
PLUMS = 36
# Ids with their ranks, wherever a card stands: clips of one film stand behind the best of them.
RANKED = """() => [...document.querySelectorAll('#results [data-item]')]
  .map((card) => [Number(card.querySelector('.mm-rank').textContent), card.dataset.item])
  .sort((a, b) => a[0] - b[0]).map(([, id]) => id)"""
COPIED = "() => navigator.clipboard.readText()"
HELD = "async (data) => navigator.clipboard.write([new ClipboardItem({'image/png': await (await fetch(data)).blob()})])"
NOW = "() => document.querySelector('#detail video').currentTime"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The usual small library with a film in three clips, and more plums than one list holds."""
    folder = tmp_path_factory.mktemp("parts")
    media = make_media(folder / "media")
    for number in range(PLUMS):
        draw(media / f"plum-{number:02}.png", (90 + number, 10, 120 - number))
        (media / f"plum-{number:02}.txt").write_text(f"a purple plum, the {number}th of many")
    with Library.create(folder / "library", ("hashing",), Settings(clip_seconds=1.0)) as made:
        assert ingest(made, list(walk([media])), workers=1).failed == 1  # the picture that is broken
    return folder / "library"


@pytest.fixture(scope="module")
def context(browser: Any, address: str) -> Iterator[Any]:
    """One visitor's browser, whose clipboard and camera the page may use."""
    rights = ["clipboard-read", "clipboard-write", "camera"]
    opened = browser.new_context(viewport={"width": 1400, "height": 1000}, permissions=rights)
    opened.set_default_timeout(PATIENCE)
    yield opened
    opened.close()


@pytest.fixture
def visit(context: Any, address: str) -> Iterator[Any]:
    """A fresh visit to the page; fails where a script of the page does."""
    page = context.new_page()
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    arrive(page, f"{address}?recipe=hashing@visual&cut=0&fold=0")
    yield page
    page.close()
    assert not broken


def arrive(page: Any, address: str) -> None:
    """Opens the address and waits for its search, or for the first look where it has none."""
    page.goto(address)
    asks = "&text=" in address.replace("?", "&")
    page.locator("#results .mm-rank" if asks else "#results [data-item]").first.wait_for()


def add(page: Any, words: str) -> None:
    page.locator("#words textarea").fill(words)
    page.locator("#words textarea").press("Enter")
    said(page, words.removeprefix("not "))


def said(page: Any, words: str) -> None:
    """Waits until the line over the results says so of what was asked."""
    page.locator("#summary .mm-summary").filter(has_text=words).wait_for()


def show(page: Any, caption: str, kind: str = "image") -> str:
    """Opens the first result of a kind with such words, wherever it stands; gives its id."""
    cards = page.locator("#results [data-item]:visible").filter(has=page.locator(f".mm-{kind}"))
    card = cards.filter(has_text=caption).first
    ident = str(card.get_attribute("data-item"))
    card.click()
    page.locator(f'#detail [data-about="{ident}"]').wait_for()
    return ident


def drop(page: Any, file: Path, onto: str) -> None:
    """Carries a file from outside over a place of the page and lets it go there, as the system would."""
    box = page.locator(onto).bounding_box()
    held = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 40, "data": held}
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **place})
    session.detach()


def drawn(page: Any) -> Any:
    """The one part of the query, which is a picture that can be seen."""
    page.wait_for_function("document.querySelector('.mm-piece-picture img')?.naturalWidth > 0")
    assert page.locator(".mm-piece").count() == 1
    return page.locator(".mm-piece")


def copied(page: Any, what: str) -> str:
    """What the button copies beside the link, the command or the lines of Python."""
    if not page.locator("#summary details").evaluate("d => d.open"):
        page.locator("#summary summary").click()
    button = page.locator(f'#summary [data-copy="{what}"]')
    button.click()
    button.filter(has_text=re.compile("^copied$")).wait_for()
    return str(page.evaluate(COPIED))


# --- a picture, by whatever way it comes -----------------------------------------------------------------------------


@pytest.mark.parametrize("onto", ["#results", "#words", "#picture"])
def test_a_picture_is_dropped_anywhere(visit: Any, library: Path, onto: str) -> None:
    drop(visit, library.parent / "media" / "red-car.png", onto)
    said(visit, "for a picture")
    drawn(visit)
    captions = visit.locator("#results .mm-caption").all_inner_texts()
    # The very file is an item of the library, and no answer to itself.
    assert captions[0].startswith("a red") and "a red car in the street" not in captions


def test_what_is_no_picture_is_refused_where_it_is_dropped(visit: Any, library: Path) -> None:
    drop(visit, library.parent / "media" / "two_pages.pdf", "#results")
    visit.locator("#problem").filter(has_text="two_pages.pdf is no picture").wait_for()
    assert visit.locator("#words").is_visible() and visit.locator(".mm-piece").count() == 0


@pytest.mark.parametrize("focused", ["body", "#words textarea"])
def test_a_picture_is_pasted_and_words_still_are(visit: Any, focused: str) -> None:
    visit.bring_to_front()
    colour = "const c = document.createElement('canvas'); const p = c.getContext('2d'); p.fillStyle = 'rgb(20,160,30)';"
    data = visit.evaluate(f"() => {{ {colour} p.fillRect(0, 0, 300, 150); return c.toDataURL('image/png'); }}")
    visit.evaluate(HELD, data)
    if focused != "body":
        visit.locator(focused).focus()
    visit.keyboard.press("Control+v")
    said(visit, "for a picture")
    drawn(visit)
    assert visit.locator("#results .mm-caption").first.inner_text().startswith("a green")
    visit.evaluate("() => navigator.clipboard.writeText('a blue boat')")
    visit.locator("#words textarea").focus()
    visit.keyboard.press("Control+v")
    assert visit.locator("#words textarea").input_value() == "a blue boat"
    assert visit.locator(".mm-piece").count() == 1


def test_a_picture_is_taken_with_the_camera_and_cropped(visit: Any) -> None:
    box = visit.locator("#picture")
    box.get_by_label("Capture from camera").click()
    box.get_by_title("grant webcam access").click()
    visit.wait_for_function("document.querySelector('#picture video')?.videoWidth > 0")
    box.get_by_title("capture photo").click()
    said(visit, "for a picture")
    piece = drawn(visit)
    shape = piece.locator(".mm-piece-picture img").evaluate("i => i.naturalWidth / i.naturalHeight")
    assert shape > 1.2, "the test picture of the camera is wide"
    whole = visit.evaluate(RANKED)
    piece.get_by_role("button", name="crop").click()
    region = piece.locator('[data-do="region"]')
    region.fill("0, 0, 10, 10")
    region.press("Enter")
    said(visit, "for a part of a picture")
    assert visit.locator(".mm-piece-picture .mm-crop-box").evaluate("b => b.style.width") == "10%"
    assert visit.evaluate(RANKED) != whole
    visit.keyboard.press("Escape")
    visit.get_by_role("button", name="Take out your picture").click()
    said(visit, "Ask for something")


# --- parts from results ----------------------------------------------------------------------------------------------


def test_a_result_a_region_and_a_moment_are_added_to_what_is_asked(visit: Any) -> None:
    add(visit, "numbers counting")
    show(visit, "numbers counting", "video")
    visit.wait_for_function("document.querySelector('#detail video').readyState >= 1")
    visit.get_by_label("Keep the other parts of the query").check()
    visit.evaluate("document.querySelector('#detail video').currentTime = 1.25")
    visit.wait_for_function("!document.querySelector('#detail video').seeking")
    visit.get_by_role("button", name="Search from this moment").click()
    said(visit, "“numbers counting” + a part of an item of the library")
    assert visit.locator("#detail video").is_visible() and visit.get_by_label("Keep the other parts").is_checked()
    near = visit.locator("#near .mm-small").first
    about = near.get_attribute("data-item")
    near.click()
    visit.locator(f'#detail [data-about="{about}"]').wait_for()
    visit.get_by_label("Keep the other parts of the query").uncheck()
    visit.get_by_role("button", name="Use as query").click()
    said(visit, "for an item of the library")
    assert visit.locator(".mm-piece").count() == 1 and "text=" not in visit.url


def test_the_last_moment_of_a_film_can_be_searched(visit: Any) -> None:
    add(visit, "numbers")
    show(visit, "numbers counting", "video")
    visit.wait_for_function("document.querySelector('#detail video').readyState >= 1")
    end = visit.locator("#detail .mm-film").get_attribute("data-seconds")
    assert float(end) == 3.0
    visit.evaluate("() => { const v = document.querySelector('#detail video'); v.src = v.src.split('#')[0]; }")
    visit.wait_for_function("document.querySelector('#detail video').readyState >= 1")
    visit.evaluate("() => { const v = document.querySelector('#detail video'); v.currentTime = v.duration; }")
    visit.wait_for_function("document.querySelector('#detail video').ended")
    visit.get_by_role("button", name="Search from this moment").click()
    said(visit, "a part of an item of the library")
    assert visit.locator(".mm-piece-name").inner_text().endswith(", at 0:03")


def test_the_bar_of_a_film_seeks_where_no_clip_was_found(visit: Any, address: str) -> None:
    arrive(visit, f"{address}?text=numbers&kind=video&recipe=hashing@visual&cut=0&fold=0&k=1")
    show(visit, "numbers counting", "video")
    visit.wait_for_function("document.querySelector('#detail video').readyState >= 1")
    assert visit.locator("#detail .mm-also").count() == 0
    own = float(visit.locator("#detail .mm-this").get_attribute("data-seek"))
    share = 0.9 if own < 2 else 0.1
    bar = visit.locator("#detail .mm-film")
    box = bar.bounding_box()
    bar.click(position={"x": share * box["width"], "y": box["height"] / 2})
    visit.wait_for_function(f"Math.abs(({NOW})() - {share} * 3) < 0.1")


# --- the same search elsewhere ---------------------------------------------------------------------------------------


def composed(page: Any) -> None:
    """Words, a region of a picture, a moment of a film, one that is liked and one that is not, by clicks alone."""
    add(page, "green")
    add(page, "not pond")
    show(page, "green frog")
    page.get_by_label("Keep the other parts of the query").check()
    page.wait_for_function("document.querySelector('#detail .mm-large').naturalWidth > 0")
    page.get_by_role("button", name="Search this region").click()
    glass = page.locator("#detail .mm-glass").bounding_box()
    x, y = glass["x"] + glass["width"] / 2, glass["y"] + glass["height"] / 2
    page.mouse.move(x - 60, y - 60)
    page.mouse.down()
    page.mouse.move(x + 30, y + 45, steps=4)
    page.mouse.up()
    said(page, "a part of an item of the library (“a green frog by the pond”)")
    show(page, "green tree")
    page.get_by_role("button", name="More like this").click()
    said(page, "liked: an item of the library (“a green tree on a hill”)")
    show(page, "blue boat")
    page.get_by_role("button", name="Less like this").click()
    said(page, "disliked: an item of the library (“a blue boat on the lake”)")
    show(page, "numbers counting", "video")
    page.wait_for_function("document.querySelector('#detail video').readyState >= 1")
    page.evaluate("document.querySelector('#detail video').currentTime = 1.75")
    page.wait_for_function("!document.querySelector('#detail video').seeking")
    page.get_by_role("button", name="Search from this moment").click()
    said(page, "a part of an item of the library (“numbers counting on a grey card”)")


def uploaded(page: Any, library: Path) -> Path:
    """A picture from the disk, cropped, with words; gives its file."""
    file = library.parent / "media" / "blue-bird.png"
    page.locator('#picture input[type="file"]').set_input_files(str(file))
    drawn(page).get_by_role("button", name="crop").click()
    page.locator('.mm-piece [data-do="region"]').fill("0, 0, 60, 50")
    page.locator('.mm-piece [data-do="region"]').press("Enter")
    said(page, "a part of a picture")
    page.keyboard.press("Escape")
    add(page, "lake")
    return file


def repeated(page: Any, library: Path, file: Path | None = None) -> None:
    """Runs what the page gives to be copied, as a person would: the same items in the same order."""
    found = page.evaluate(RANKED)
    assert len(found) >= 12
    command, lines = copied(page, "command"), copied(page, "python")
    if file is not None:  # what the page says of uploads: put the path of yours
        assert command.count(f"./{file.name}") == 1 == lines.count(f"./{file.name}")
        command, lines = (text.replace(f"./{file.name}", str(file)) for text in (command, lines))
    assert command.startswith("python -m eval search ")
    line = f"{command.replace('python', sys.executable, 1)} --json"
    ran = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert [hit["id"] for hit in json.loads(ran.stdout.splitlines()[-1])["hits"]] == found
    lines += "\nimport json\nprint(json.dumps([hit.id for hit in hits]))\n"
    ran = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == found


def test_a_query_of_all_kinds_of_parts_is_linked_and_repeated(visit: Any, context: Any, library: Path) -> None:
    composed(visit)
    link = copied(visit, "link")
    for name in ("text=green", "text=-0.5*pond", "xywh%3Dpercent", "t%3D1.75", "&like=", "&dislike="):
        assert name in link, link
    other = context.new_page()
    arrive(other, link)
    asked = [page.locator("#parts [data-said]").get_attribute("data-said") for page in (visit, other)]
    assert asked[0] == asked[1] and "liked" in asked[0]
    assert other.evaluate(RANKED) == visit.evaluate(RANKED)
    pieces = [page.locator(".mm-piece").all_inner_texts() for page in (visit, other)]
    assert pieces[0] == pieces[1] and len(pieces[0]) == 6
    box = "i => i.style.cssText"
    boxes = [page.locator(".mm-piece-picture .mm-crop-box:visible").evaluate(box) for page in (visit, other)]
    assert boxes[0] == boxes[1] != ""
    other.close()
    repeated(visit, library)


def test_liked_and_disliked_items_teach_and_are_repeated(visit: Any, address: str, library: Path) -> None:
    arrive(visit, f"{address}?text=numbers&recipe=hashing@visual,rocchio&cut=0&fold=0&k=60")
    reds = visit.locator("#results [data-item]").filter(has=visit.locator(".mm-image")).filter(has_text="a red")
    others = set(reds.evaluate_all("all => all.map((card) => card.dataset.item)"))
    others.remove(show(visit, "a red"))
    assert len(others) == 2
    visit.get_by_role("button", name="Less like this").click()
    said(visit, "disliked: an item")
    found = set(visit.evaluate(RANKED))
    assert len(found) == 24 and not found & others, "what looks like the disliked one sinks"
    repeated(visit, library)
    visit.get_by_role("button", name="More like this").click()
    said(visit, " + liked: an item")
    assert set(visit.evaluate(RANKED)[:2]) == others, "what looks like the liked one comes first"


def test_a_cropped_upload_with_words_is_repeated(visit: Any, library: Path) -> None:
    file = uploaded(visit, library)
    repeated(visit, library, file)


# --- reading on ------------------------------------------------------------------------------------------------------


def test_more_comes_by_itself_to_who_reads_on(visit: Any) -> None:
    add(visit, "plum")
    visit.wait_for_function(f"({RANKED})().length === 24")
    first = visit.evaluate(RANKED)
    visit.locator("#results [data-item]").first.click()
    visit.locator("#detail .mm-detail").wait_for()
    about = visit.locator("#detail .mm-detail").get_attribute("data-about")
    visit.mouse.move(300, 700)
    reads_on = f"() => {{ scrollTo(0, document.documentElement.scrollHeight); return ({RANKED})().length; }}"
    visit.wait_for_function(f"() => ({reads_on})() >= 48")
    depth = visit.evaluate("scrollY")
    visit.locator("#results .mm-end").wait_for()
    every = visit.evaluate(RANKED)
    assert every[:24] == first and len(every) == len(set(every)) > 44
    assert visit.evaluate("scrollY") >= depth - 50, "who reads on is not sent back"
    assert visit.locator("#detail .mm-detail").get_attribute("data-about") == about
