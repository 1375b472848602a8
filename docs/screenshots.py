"""Takes the pictures of the page that the README shows: `python docs/screenshots.py --library library [--only NAME]`.

It works on a copy of the library, so that grades and proofs of the pictures stay out of yours. Needs a Chromium and
Playwright, as the browser tests do; a few minutes, most of them the proof that evaluate.png shows.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402

from eval.bench_map import browser  # noqa: E402
from eval.bench_page import BROWSERS  # noqa: E402

WIDTH, PATIENCE, COLOURS = 1440, 1_200_000, 256


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).first.click()


def choose(page: Any, menu: str, text: str) -> None:
    box = page.locator(f"{menu} input")
    box.fill(text)
    box.press("Enter")


def pick(page: Any, menu: str, label: str) -> None:
    page.locator(f"{menu} input").click()
    page.get_by_role("option", name=label).first.click()


def settled(page: Any) -> None:
    """Nothing is being worked out, every picture in sight is there, and nothing is pointed at."""
    page.mouse.move(2, 2)
    page.wait_for_function(
        "!document.querySelector('.pending') && [...document.images].filter((i) => i.checkVisibility()"
        " && i.getBoundingClientRect().top < innerHeight).every((i) => i.complete && i.naturalWidth)"
    )
    page.evaluate("document.activeElement?.blur()")


def ask(page: Any, address: str, query: str, opened: str) -> None:
    """A search by its address, and the result with a caption opened."""
    page.goto(f"{address}?{query}")
    page.locator("#summary").filter(has_text="results for").wait_for()
    page.locator("#results [data-item]").filter(has_text=opened).first.click()
    page.locator("#near .mm-near").wait_for()


def search(page: Any, address: str) -> None:
    ask(page, address, "text=an%20animal%20in%20the%20grass&text=-0.6*drawing&recipe=lite", "hedgehog")
    page.locator('#detail [data-do="more"]').click()
    page.locator("#summary").filter(has_text="liked: an item").wait_for()
    page.locator("#search").click()  # once more: the first time fits the scale of each view
    settled(page)
    page.locator("#results [data-item]").first.click()
    page.locator("#near .mm-near").wait_for()


def why(page: Any, address: str) -> None:
    ask(page, address, "text=fruit&text=-0.5*bowl&recipe=lite%40visual", "fig in a red bowl")
    page.get_by_role("button", name="Why this result").click()
    page.locator(".mm-why .mm-heat").first.wait_for()
    page.locator("#summary").evaluate("one => scrollTo(0, one.getBoundingClientRect().top + scrollY - 8)")
    settled(page)
    page.locator(".mm-why").first.evaluate(
        "one => { one.closest('.mm-side').scrollTop += one.getBoundingClientRect().top - 16; }"
    )


def compare(page: Any, address: str) -> None:
    page.goto(address)
    tab(page, "Compare")
    page.locator("#more-recipes").click()
    for menu, recipe in (
        ("#left-recipe", "lite@visual"),
        ("#right-recipe", "lite-joint@visual"),
        ("#third-recipe", "lite@visual+bm25,rrf:60"),
    ):
        choose(page, menu, recipe)
    page.locator("#compare-words textarea").fill("a bird flying")
    page.locator("#compare").click()
    page.locator("#compare-third [data-grade]").first.wait_for()
    seagull = page.locator("#compare-left .mm-row").filter(has_text="Seagull landing").first
    seagull.locator("[data-follow]").click()


def blind(page: Any, address: str) -> None:
    page.goto(address)
    tab(page, "Compare")
    choose(page, "#left-recipe", "lite@visual")
    choose(page, "#right-recipe", "lite-joint@visual")
    tab(page, "Blind")
    page.locator("#blind-queries textarea").fill("a ship in a storm\na red flower\nsomething to write with")
    page.locator("#blind-go").click()
    page.locator("#blind [data-turn]").wait_for()


def atlas(page: Any, address: str) -> None:
    page.goto(address)
    tab(page, "Map")
    page.locator(".mm-map[data-drawn]").wait_for()
    pick(page, "#map-colour", "metadata: subject")
    page.locator(".mm-map-legend", has_text="animals").wait_for()


def diagnostics(page: Any, address: str) -> None:
    page.goto(address)
    tab(page, "Diagnostics")
    pick(page, "#diagnostic", "(gap)")
    choose(page, "#diagnose-left", "lite@visual")
    choose(page, "#diagnose-right", "lite@visual,center")
    page.locator("#diagnose").click()
    page.locator("#found .mm-plot .xtitle").nth(1).wait_for()


def evaluate(page: Any, address: str) -> None:
    page.goto(address)
    tab(page, "Evaluate")
    choose(page, "#evaluate-recipe", "lite")
    for stage in ("gapshift", "csls", "span", "gram"):
        choose(page, "#stages", stage)
    page.keyboard.press("Escape")
    page.locator("#prove").click()
    page.locator("#evaluated .mm-verdicts").wait_for()
    page.locator("#evaluated .mm-plot .xtitle").first.wait_for()


def library(page: Any, address: str) -> None:
    page.goto(address)
    tab(page, "Library")
    page.locator("#held table").nth(1).wait_for()


# What each picture shows, and how high it is.
PICTURES: dict[str, tuple[Callable[[Any, str], None], int]] = {
    "search": (search, 1120),
    "why": (why, 930),
    "compare": (compare, 1420),
    "blind": (blind, 1200),
    "map": (atlas, 1260),
    "diagnostics": (diagnostics, 1590),
    "library": (library, 1500),
    "evaluate": (evaluate, 1400),
}


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a page over the library and the sample set, in a process of its own."""
    command = [sys.executable, "app.py", "--library", str(folder), "--dataset", "samples/evaluation", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            said = next((line for line in process.stdout if line.startswith("The page is ready: ")), "")
            if not said:
                sys.exit("the page did not start: try `python app.py` with the same library")
            yield said.rpartition(" ")[2].strip()
        finally:
            process.terminate()


def main() -> None:
    """Takes all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--library", type=Path, required=True, help="a library of samples/, as `make demo` makes it")
    parser.add_argument("--only", choices=PICTURES, nargs="+", default=list(PICTURES))
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    wanted = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        sys.exit(f"there is no browser: install one of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory(prefix="mmretrieval-") as scratch:
        folder = Path(scratch) / "library"
        # Indexes have holes, which take no room, and would when copied byte by byte.
        subprocess.run(["cp", "-r", "--sparse=always", str(wanted.library), str(folder)], check=True)
        with served(folder) as address, browser(chromium) as opened:
            for name in wanted.only:
                go, height = PICTURES[name]
                page = opened.new_page(viewport={"width": WIDTH, "height": height})
                page.set_default_timeout(PATIENCE)
                go(page, address)
                settled(page)
                taken = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
                file = wanted.out / f"{name}.png"
                taken.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
                sys.stdout.write(f"{file}: {file.stat().st_size // 1000} kB\n")
                page.close()


if __name__ == "__main__":
    main()
