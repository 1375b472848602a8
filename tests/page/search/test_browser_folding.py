"""Folded results in a real browser: unfolded in place, by keys too, and as the address says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.library import Library
from tests.page.serving import served
from tests.page.visiting import visited

pytestmark = pytest.mark.browser
PATIENCE = 60_000
IN_SIGHT = (
    "[...document.querySelectorAll('#results [data-item]')].filter((card) => card.getClientRects().length).length"
)
HARBOURS, OTHERS = 3, 30


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page over one harbour in three sizes and thirty boats, no two of which look alike."""
    folder = tmp_path_factory.mktemp("folding") / "media"
    folder.mkdir()
    generator = np.random.default_rng(3)
    for number in range(OTHERS + 1):
        blocks = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        picture = Image.fromarray(blocks).resize((180, 180), Image.Resampling.BICUBIC)
        name = "the old harbour" if number == 0 else f"boat number {number}"
        for side in (180, 120, 60) if number == 0 else (180,):
            picture.resize((side, side)).save(folder / f"{number}-{side}.png")
            (folder / f"{number}-{side}.txt").write_text(name)
    with Library.create(folder.parent / "library", ["hashing"]) as made:
        assert not ingest(made, walk([folder]), workers=1).failed
    with served(folder.parent / "library") as found:
        yield found


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Any]:
    with visited(browser, f"{address}?text=the%20old%20harbour&recipe=hashing@text", 900, PATIENCE) as page:
        page.locator("[data-alike]").wait_for()
        yield page


def in_sight(page: Any, number: int) -> None:
    page.wait_for_function(f"{IN_SIGHT} === {number}")


def test_copies_unfold_in_place_by_keys_and_stay_so_when_more_come(visit: Any) -> None:
    in_sight(visit, 24 - HARBOURS + 1)
    button = visit.locator("[data-alike]")
    assert button.inner_text() == "and 2 near copies" and button.get_attribute("aria-expanded") == "false"
    button.focus()
    button.press("Enter")
    in_sight(visit, 24)
    assert button.get_attribute("aria-expanded") == "true"
    assert visit.locator("#results .mm-rank").all_inner_texts()[:4] == ["1", "2", "3", "4"]
    for rank in ("2", "3", "4"):
        visit.keyboard.press("ArrowRight")
        label = visit.evaluate("document.activeElement.getAttribute('aria-label')")
        assert label.startswith(f"{rank}, picture") and ("like 1" in label) == (rank != "4")
    visit.keyboard.press("ArrowLeft")
    visit.keyboard.press("Enter")
    visit.get_by_role("region", name="Chosen result").filter(has_text="the old harbour").wait_for()
    visit.locator("[data-more]").click()
    in_sight(visit, HARBOURS + OTHERS)
    assert button.get_attribute("aria-expanded") == "true"
    button.click()
    in_sight(visit, 1 + OTHERS)


def test_everything_by_itself_is_a_link(visit: Any) -> None:
    visit.get_by_role("button", name="Show every result by itself").click()
    in_sight(visit, 24)
    visit.wait_for_function("location.search.includes('fold=0')")
    visit.locator("[data-more]").click()
    in_sight(visit, HARBOURS + OTHERS)
    visit.reload()
    in_sight(visit, HARBOURS + OTHERS)
    assert visit.locator("[data-alike]").count() == 0
    visit.get_by_role("button", name="Fold what shows the same").click()
    in_sight(visit, 1 + OTHERS)
    visit.wait_for_function("!location.search.includes('fold=')")
