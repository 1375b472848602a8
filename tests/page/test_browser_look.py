"""Every tab read as people do who see little, use keys or a thumb: contrast, names, rings of focus, room, width.

What is looked for, and how it is measured, stands in look.js: the Web Content Accessibility Guidelines 2.2, level AA
(1.1.1 alternatives of pictures, 1.4.3 contrast of text, 1.4.10 reflow, 1.4.11 contrast of what is no text, 2.4.7
visible focus, 2.5.8 size of targets, 4.1.2 names).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.conftest import make_library
from tests.page.serving import served
from tests.page.visiting import visited, write

pytestmark = pytest.mark.browser
PATIENCE = 90_000
LOOK = (Path(__file__).parent / "look.js").read_text()
# Colours are read as they end up, not on their way there.
STILL = """
  *, *::before, *::after { transition: none !important; animation: none !important; }
  .pending { opacity: 1 !important; }
"""
NAMED = {
    "button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "slider", "spinbutton", "listbox", "tab",
    "menuitem", "switch", "DisclosureTriangle", "PopUpButton",
}  # fmt: skip
OPEN = "all => all.map((one) => one.setAttribute('open', ''))"


def nameless(page: Any) -> list[str]:
    """What can be worked but has no name in the tree that browsers hand to screen readers."""
    session = page.context.new_cdp_session(page)
    tree = session.send("Accessibility.getFullAXTree")["nodes"]
    found = []
    for node in tree:
        role = node.get("role", {}).get("value")
        if node["ignored"] or role not in NAMED or node.get("name", {}).get("value", "").strip():
            continue
        where = session.send("DOM.describeNode", {"backendNodeId": node["backendDOMNodeId"]})["node"]
        found.append(f"{role} {where['localName']} {' '.join(where.get('attributes', []))}")
    session.detach()
    return found


def ask(page: Any, *typed: str) -> None:
    for words in typed:
        page.locator("#words textarea").fill(words)
        page.locator("#words textarea").press("Enter")
        page.locator("#summary").filter(has_text=words.removeprefix("not ")).wait_for()


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).first.click()


def first_visit(page: Any) -> None:
    page.locator("#results [data-item]").first.wait_for()


def searched(page: Any) -> None:
    """A composed query, its recipe and filters open, a result in detail, and why it was found."""
    ask(page, "red car", "not street", "red car")
    for name in ("Recipe: how it searches", "Filters"):
        page.get_by_role("button", name=name).click()
    page.locator("[data-stage]").select_option("mmr")
    page.locator("#results [data-item]").first.click()
    page.locator("#near .mm-near").wait_for()
    page.get_by_role("button", name="Why this result").click()
    page.locator(".mm-why .mm-sentence").first.wait_for()


def compared(page: Any) -> None:
    tab(page, "Compare")
    write(page, "#left-recipe", "hashing@text")
    write(page, "#right-recipe", "hashing@visual")
    page.locator("#compare-words textarea").fill("red car")
    page.locator("#compare").click()
    page.locator("#compare-left [data-grade]").first.wait_for()
    page.locator('#compare-left [data-grade="2"]').first.click()
    page.locator("#compare-judged").filter(has_text="1 result judged").wait_for()


def queries_compared(page: Any) -> None:
    tab(page, "Many queries")
    page.locator("#set-queries textarea").fill("red car\ngreen frog")
    page.locator("#compare-set").click()
    page.locator("#set-found [data-place]").nth(1).wait_for()


def blind(page: Any) -> None:
    tab(page, "Blind")
    page.locator("#blind-queries textarea").fill("a red apple")
    page.locator("#blind-go").click()
    page.locator("#blind [data-turn]").wait_for()


def judged_blind(page: Any) -> None:
    page.get_by_role("button", name="Left is better").click()
    page.locator("#blind").filter(has_text="Who was who").wait_for()


def mapped(page: Any) -> None:
    tab(page, "Map")
    page.locator(".mm-map[data-drawn]").wait_for()
    page.locator("#map-numbers details").evaluate_all(OPEN)


def diagnosed(page: Any) -> None:
    tab(page, "Diagnostics")
    page.locator("#diagnostic input").click()
    page.get_by_role("option", name="(hubness)").first.click()
    write(page, "#diagnose-left", "hashing@all")
    page.locator("#diagnose").click()
    page.locator("#found .mm-plot .xtitle").first.wait_for()
    page.locator("#found details").evaluate_all(OPEN)


def proved(page: Any) -> None:
    tab(page, "Evaluate")
    write(page, "#evaluate-recipe", "hashing@text")
    write(page, "#stages", "center")
    page.keyboard.press("Escape")
    page.locator("#prove").click()
    page.locator("#evaluated .mm-plot .xtitle").first.wait_for()
    page.locator("#evaluated details").evaluate_all(OPEN)


def kept(page: Any) -> None:
    tab(page, "Library")
    page.locator("#held table").first.wait_for()
    page.locator("#failures [data-do]").first.wait_for()


PLACES: dict[str, Callable[[Any], None]] = {
    "search, first visit": first_visit,
    "search, a result and why": searched,
    "compare": compared,
    "compare, many queries": queries_compared,
    "compare, blind": blind,
    "compare, blind, the end": judged_blind,
    "map": mapped,
    "diagnostics": diagnosed,
    "evaluate": proved,
    "library": kept,
}
WAYS = ((1400, "light"), (1400, "dark"), (390, "light"), (390, "dark"))


# A page that has another width is not laid out at once: plots draw themselves anew, films and pictures come.
RESTS = """async () => {
  const places = () => [...document.querySelectorAll('body *')].map((one) => {
    const {left, top, width, height} = one.getBoundingClientRect();
    return [left, top, width, height].map(Math.round).join();
  }).join(' ');
  const came = () => [...document.images].every((one) => one.complete || one.loading === 'lazy')
    && [...document.querySelectorAll('video')].every((one) => one.readyState > 0 || one.error || !one.currentSrc);
  for (let [before, since] = ['', Infinity]; performance.now() - since < 400;) {
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)));
    const now = places();
    if (now !== before || !came()) since = performance.now();
    before = now;
  }
}"""


def seen(page: Any) -> dict[str, list[str]]:
    """All that is amiss where the page stands, wide and narrow, light and dark."""
    found: dict[str, list[str]] = {"names": nameless(page)}
    for width, way in WAYS:
        page.set_viewport_size({"width": width, "height": 1000})
        page.evaluate("way => document.body.classList.toggle('dark', way === 'dark')", way)
        page.evaluate(RESTS)
        here = page.evaluate(LOOK, {"rings": width > 390})
        assert here.pop("texts") > 10, "there is next to nothing to read"
        for kind, sentences in here.items():
            if (width > 390 and kind == "targets") or (way == "dark" and kind in ("width", "targets", "alts", "ids")):
                continue
            found.setdefault(kind, []).extend(f"{width} px, {way}: {said}" for said in sentences)
    page.set_viewport_size({"width": 1400, "height": 1000})
    page.evaluate("document.body.classList.remove('dark')")
    return found


@pytest.fixture(scope="module")
def looked(browser: Any, things: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Of every place, what is amiss by kind."""
    library = make_library(tmp_path_factory.mktemp("look"))
    found: dict[str, dict[str, list[str]]] = {}
    with served(library, "--dataset", str(things)) as address, visited(browser, address, 1000, PATIENCE) as page:
        page.add_style_tag(content=STILL)
        for place, go in PLACES.items():
            go(page)
            found[place] = seen(page)
    yield found


KINDS = {
    "text": "text that cannot be read",
    "pictures": "text on a picture without a ground of its own",
    "borders": "a field without an edge",
    "focus": "no ring of focus",
    "alts": "a picture without words",
    "names": "a control without a name",
    "targets": "too small for a thumb",
    "width": "wider than a phone",
    "ids": "one id for two things",
}


@pytest.mark.parametrize("place", PLACES)
def test_it_can_be_seen_and_worked(looked: dict[str, Any], place: str) -> None:
    wrong = [f"{KINDS[kind]}: {said}" for kind, all_said in looked[place].items() for said in all_said]
    assert not wrong, "\n".join([place, *wrong])
