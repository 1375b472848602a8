"""The Compare tab in a real browser: three recipes in step, many queries, blind judging on to an evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eval.__main__ import app
from mmretrieval.library.judgements import Judgements
from tests.page.conftest import HOSTILE
from tests.page.serving import served
from tests.page.visiting import visited, write

pytestmark = pytest.mark.browser
PATIENCE = 60_000


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    with visited(browser, address, 1100, PATIENCE) as page:
        page.get_by_role("tab", name="Compare").click()
        yield page


def compare(page: Any, words: str, *recipes: str) -> None:
    """Fills the tab and waits for the columns of this very query."""
    menus = ("#left-recipe", "#right-recipe", "#third-recipe", "#fourth-recipe")[: len(recipes)]
    for menu, recipe in zip(menus, recipes, strict=True):
        if not page.locator(f"{menu} input").is_visible():
            page.locator("#more-recipes").click()
            page.locator(f"{menu} input").wait_for()
        write(page, menu, recipe)
    page.locator("#compare-words textarea").fill(words)
    page.locator("#compare").click()
    page.locator("#compare-summary").filter(has_text=f"“{words}”").wait_for()


def ids(page: Any, column: str) -> list[str]:
    return list(page.locator(f"{column} [data-card]").evaluate_all("all => all.map(one => one.dataset.card)"))


def test_three_recipes_stand_in_step(visit: Any) -> None:
    compare(visit, "red car", "hashing@text", "hashing@visual", "hashing@all")
    lists = [ids(visit, column) for column in ("#compare-left", "#compare-right", "#compare-third")]
    assert visit.locator("#compare-fourth").count() == 0 and all(lists)
    tops = [
        visit.locator(f"{column} [data-card]").evaluate_all(
            "all => all.map(e => Math.round(e.getBoundingClientRect().top))"
        )
        for column in ("#compare-left", "#compare-right", "#compare-third")
    ]
    shortest = min(map(len, tops))
    assert tops[0][:shortest] == tops[1][:shortest] == tops[2][:shortest]  # a rank is a row
    assert visit.locator("#compare-summary table").inner_text().count("–") == 3  # noqa: RUF001
    shared = next(i for i in lists[0] if i in lists[1] and lists[0].index(i) != lists[1].index(i))
    curve = visit.locator(f'#compare-lists svg >> nth=0 >> path[data-line="{shared}"]')
    ends = curve.evaluate("p => [p.getBoundingClientRect().top, p.getBoundingClientRect().bottom]")
    rows = sorted(
        visit.locator(f'{column} [data-card="{shared}"]').evaluate(
            "e => { const r = e.getBoundingClientRect(); return (r.top + r.bottom) / 2; }"
        )
        for column in ("#compare-left", "#compare-right")
    )
    assert ends == pytest.approx(rows, abs=4)
    visit.locator(f'#compare-left [data-follow="{shared}"]').click()
    assert visit.locator(f'.mm-followed[data-card="{shared}"]').count() == sum(shared in held for held in lists)
    visit.locator("#fewer-recipes").click()
    visit.locator("#third-recipe").wait_for(state="hidden")
    visit.locator("#compare").click()
    visit.locator("#compare-third").wait_for(state="detached")


def test_a_grade_is_kept_and_taken_back(visit: Any, library: Path) -> None:
    compare(visit, "blue boat", "hashing@text", "hashing@visual")
    first = visit.locator("#compare-left [data-judged]").first
    ident = first.get_attribute("data-judged")
    first.locator('[data-grade="2"]').click()
    visit.locator("#compare-judged").filter(has_text="1 result judged").wait_for()
    both = visit.locator(f'[data-judged="{ident}"] [aria-pressed="true"]')
    assert both.all_inner_texts() == ["2"] * visit.locator(f'[data-judged="{ident}"]').count()
    (given,) = [held for text, held in Judgements(library).grades().items() if "blue boat" in text]
    assert given == {ident: 2}
    first.locator('[data-grade="2"]').click()
    visit.locator("#compare-judged").filter(has_text="Nothing is judged").wait_for()
    assert both.count() == 0


def test_many_queries_lead_to_the_one_that_differs(visit: Any) -> None:
    write(visit, "#left-recipe", "hashing@text")
    write(visit, "#right-recipe", "hashing@visual")
    visit.get_by_role("tab", name="Many queries").click()
    visit.locator("#set-queries textarea").fill(f"red car\ngreen frog\n{HOSTILE}")
    visit.locator("#compare-set").click()
    rows = visit.locator("#set-found [data-place]")
    rows.nth(2).wait_for()
    assert "3 queries pasted" in visit.locator("#set-found").inner_text()
    assert visit.locator("img[onerror]").count() == 0
    apart = [float(x) for x in visit.locator("#set-found tbody tr td:nth-child(2)").all_inner_texts()]
    assert apart == sorted(apart, reverse=True)
    said = rows.nth(1).inner_text()
    rows.nth(1).click()
    visit.locator("#compare-summary").filter(has_text=said).wait_for()
    assert visit.locator("#compare-words textarea").input_value() == said.strip("“”")


def test_blind_judging_leads_to_an_evaluation(visit: Any, library: Path, tmp_path: Path) -> None:
    write(visit, "#left-recipe", "hashing@text")
    write(visit, "#right-recipe", "hashing@visual")
    visit.get_by_role("tab", name="Blind").click()
    queries = ["a red apple", "a green tree", "a blue bird"]
    visit.locator("#blind-queries textarea").fill("\n".join(queries))
    visit.locator("#blind-go").click()
    chosen = []
    for number, key in enumerate(("ArrowLeft", "t", None)):
        turn = visit.locator("[data-turn]").filter(has_text=f"{number + 1} of 3")
        turn.wait_for()
        assert "hashing" not in visit.locator("#blind").inner_html()
        query = next(q for q in queries if q in turn.locator("p").first.inner_text())
        right = visit.locator("#blind [data-card]").filter(has_text=query)
        right.first.locator('[data-grade="3"]').click()
        visit.locator("#blind-judged").filter(has_text="1 result judged").wait_for()
        chosen.append({"ArrowLeft": "left", "t": "tie", None: "right"}[key])
        visit.locator("#blind p").first.click()  # the keys are for the page, not for a button
        visit.keyboard.press(key) if key else visit.get_by_role("button", name="Right is better").click()
    visit.locator("#blind").filter(has_text="Who was who").wait_for()
    said = visit.locator("#blind").inner_text()
    assert "hashing@visual,sum" in said and "Wilson" in said and "1 tie" in said
    assert [p.choice for p in Judgements(library).preferences()] == chosen

    visit.get_by_text("Judgements as an evaluation dataset").click()
    visit.locator("#export-judgements").click()
    visit.locator("#exported").filter(has_text="are now a dataset").wait_for()
    (folder,) = (library / "exports").iterdir()
    runs = tmp_path / "runs"
    done = CliRunner().invoke(
        app, ["run", "--dataset", str(folder), "--recipe", "hashing@text", "--out", str(runs), "--workers", "1"]
    )
    assert done.exit_code == 0, done.output
    (record,) = [json.loads(file.read_text()) for file in runs.glob("*/run.json")]
    assert record["metrics"]["mrr"] == 1.0  # each query's words are a caption, which was judged right
    preferences = [json.loads(line) for line in (folder / "preferences.jsonl").read_text().splitlines()]
    assert [p["choice"] for p in preferences] == chosen
    assert {frozenset((p["left"], p["right"])) for p in preferences} == {
        frozenset(("hashing@text,sum", "hashing@visual,sum"))
    }


def test_a_read_only_page_offers_no_judging(browser: Any, library: Path) -> None:
    before = Judgements(library).file.read_bytes() if Judgements(library).file.exists() else b""
    with served(library, "--read-only") as address, visited(browser, address, 900, PATIENCE) as page:
        page.get_by_role("tab", name="Compare").click()
        compare(page, "red car", "hashing@text", "hashing@visual")
        assert page.locator("[data-grade]").count() == 0 and page.locator("#export-judgements").count() == 0
        page.get_by_role("tab", name="Blind").click()
        page.get_by_text("nothing can be judged on it").wait_for()
    assert (Judgements(library).file.read_bytes() if before else b"") == before


def test_columns_can_be_read_on_a_phone(browser: Any, address: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.locator("#results [data-item]").first.wait_for()
    page.get_by_role("tab", name="Compare").click()
    compare(page, "red car", "hashing@text", "hashing@visual")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [page.locator(column).bounding_box() for column in ("#compare-left", "#compare-right")]
    assert boxes[1]["x"] + boxes[1]["width"] <= 390 and boxes[0]["width"] >= 140
    narrow = page.locator("#compare-moved td:first-child").first.bounding_box()
    assert narrow["width"] >= 100  # words stay words
    page.close()


def test_a_composed_query_is_taken_over_from_search(visit: Any) -> None:
    visit.get_by_role("tab", name="Search").click()
    visit.locator("#words textarea").fill("red car")
    visit.locator("#search").click()
    visit.locator("#summary").filter(has_text="red car").wait_for()
    visit.get_by_role("tab", name="Compare").click()
    write(visit, "#left-recipe", "hashing@text")
    visit.get_by_role("button", name="Take the query from Search").click()
    visit.locator("#compare-left").filter(has_text="hashing@text,sum").wait_for()
    assert visit.locator("#compare-words textarea").input_value() == "red car"
    assert visit.locator("#compare-left .mm-caption").first.inner_text() == "a red car in the street"
