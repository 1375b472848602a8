"""The Library tab in a real browser: what failed is tried again and taken off, with buttons on each file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import TimeoutError as NotSeen

from tests.page.conftest import draw, make_library
from tests.page.serving import served, visited

pytestmark = pytest.mark.browser


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
