"""A visit to the page in a real browser, and what a visitor does on the Search tab."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def visited(browser: Any, address: str, height: int, patience: int) -> Iterator[Any]:
    """A fresh visit that has shown its first results and waits `patience` ms; fails where a script of the page does."""
    page = browser.new_page(viewport={"width": 1400, "height": height})
    page.set_default_timeout(patience)
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(address)
    page.locator("#results [data-item]").first.wait_for()
    yield page
    page.close()
    assert not broken


def ask(page: Any, words: str = "", avoid: str = "", recipe: str = "") -> None:
    """Starts afresh, adds the parts as a visitor types them, and waits for the results of this very query."""
    with page.expect_response("**/gradio_api/queue/join*"):
        page.get_by_role("button", name="Clear", exact=True).first.click()
    page.locator("#summary").filter(has_text="Ask for something").wait_for()
    if recipe:
        choose(page, recipe)
    for typed in filter(None, [words, f"not {avoid}" if avoid else ""]):
        page.locator("#words textarea").fill(typed)
        page.locator("#words textarea").press("Enter")
        said = page.locator("#summary").filter(has_text="for “" if typed == words else "away from “")
        said.filter(has_text=f"“{typed.removeprefix('not ')}”").filter(has_text=recipe).wait_for()


def write(page: Any, menu: str, text: str) -> None:
    """Writes into a menu that takes what it does not offer."""
    page.locator(f"{menu} input").fill(text)
    page.locator(f"{menu} input").press("Enter")


def choose(page: Any, recipe: str) -> None:
    """Chooses the recipe of searches."""
    if not page.locator("#recipe input").is_visible():
        page.get_by_role("button", name="Recipe: how it searches").click()
    write(page, "#recipe", recipe)
    page.locator("#steps").filter(has_text=recipe.partition(",")[0]).wait_for()


def captions(page: Any, where: str = "#results") -> list[str]:
    return list(page.locator(f"{where} .mm-caption, {where} .mm-passage").all_inner_texts())


class Held:
    """Requests of a visit that are held back, as if the one before were still answered, until they are let go."""

    def __init__(self, visit: Any) -> None:
        self.visit, self.routes, self.open = visit, list[Any](), False
        visit.route("**/gradio_api/queue/join*", self.meet)

    def meet(self, route: Any) -> None:
        if self.open:
            route.continue_()
        else:
            self.routes.append(route)

    def let_go(self, number: int) -> None:
        """Lets what was held go on, once there is at least so much of it, all in its order, and holds no more."""
        for _ in range(3000):
            if len(self.routes) >= number:
                break
            self.visit.wait_for_timeout(20)
        assert len(self.routes) >= number
        while self.routes:
            with self.visit.expect_response("**/gradio_api/queue/join*"):
                self.routes.pop(0).continue_()
        self.open = True
