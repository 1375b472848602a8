"""The bench of the map: a made library of many items, laid out, and drawn in a real browser."""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.bench_made import Clock, of_length_one, report
from eval.bench_page import BROWSERS, served
from mmretrieval import projection
from mmretrieval.errors import LibraryError
from mmretrieval.library import Library
from mmretrieval.library.ledger import VectorRow
from mmretrieval.library.parts import write_part
from mmretrieval.media import KINDS
from mmretrieval.types import Item, View, item_id

PART = 10_000
THUMBNAILS = 24
SUBJECTS = ("animals", "food", "transport", "buildings", "plants", "tools", "music", "sport")
# Pointing and turning the wheel go on for so long while frames are counted.
SECONDS = 3.0


@dataclass(frozen=True)
class Made:
    """What the made vectors are like: directions around so many centres, in two modalities that lie a gap apart."""

    groups: int = 40
    spread: float = 0.6
    gap: float = 0.7
    seed: int = 0


def library(folder: Path, n: int, made: Made = Made()) -> Path:
    """A library of n made items with a picture's and a caption's vector each, written as an ingest writes them.

    Items have kinds, subjects and years, and one of 24 thumbnails; there are no files behind them.
    """
    chance, kinds = np.random.default_rng([made.seed, n]), sorted(KINDS)
    with Library.create(folder, ("hashing",)) as opened, opened.write_lock():
        card = opened.card("hashing")
        centres = chance.normal(size=(made.groups, card.dim))
        group = chance.integers(made.groups, size=n)
        shared = centres[group] + made.spread * np.sqrt(made.groups) * chance.normal(size=(n, card.dim)) / 4
        apart = np.zeros(card.dim)
        apart[0] = made.gap * np.sqrt(card.dim)
        views: dict[View, Any] = {
            "visual": of_length_one(shared + apart),
            "text": of_length_one(shared - apart + 0.3 * chance.normal(size=(n, card.dim))),
        }
        ids = [item_id("made", str(i)) for i in range(n)]
        for start in range(0, n, PART):
            some = slice(start, min(start + PART, n))
            with opened.ledger.transaction():
                for i in range(some.start, some.stop):
                    subject, year = SUBJECTS[group[i] % len(SUBJECTS)], 1950 + int(chance.integers(70))
                    text = f"made item {i:,}: {subject} of group {group[i]}"
                    meta = {"subject": subject, "year": year}
                    kind = kinds[int(chance.integers(len(kinds)))]
                    opened.ledger.put_item(Item(ids[i], kind, f"{i:064x}", text=text, meta=meta), text, "made")
            for view, rows in views.items():
                name = write_part(opened.parts_folder(card.space), ids[some], [view] * (some.stop - start), rows[some])
                with opened.ledger.transaction():
                    held = [VectorRow(card.space, view, ident, "made", name) for ident in ids[some]]
                    opened.ledger.put_part(name, card.space, held)
        _thumbnails(opened, ids)
    return folder


def _thumbnails(opened: Library, ids: list[str]) -> None:
    """A few pictures, each the thumbnail of many items under as many names."""
    firsts: list[Path] = []
    for place, ident in enumerate(ids):
        path = opened.thumbnail_path(ident)
        path.parent.mkdir(parents=True, exist_ok=True)
        if place < THUMBNAILS:
            Image.new("RGB", (160, 120), (place * 10, 255 - place * 9, place * 61 % 256)).save(path)
            firsts.append(path)
        else:
            os.link(firsts[place % THUMBNAILS], path)


def laid_out(folder: Path, *, umap: bool) -> dict[str, Any]:
    """Seconds that planes of the pictures' vectors, and of both views together, take; UMAP is of the first alone."""
    with Library.open(folder) as opened:
        one = projection.cloud(opened, "hashing", ("visual",))
        both = projection.cloud(opened, "hashing", ("visual", "text"))
        found: dict[str, Any] = {}
        for name, seen in (("pca", one), ("pca_both", both)):
            clock = Clock()
            projection.principal(seen.rows)
            found[f"{name}_seconds"] = clock.seconds()
        if umap:
            clock = Clock()
            projection.umap(one.rows)
            found["umap_seconds"] = clock.seconds()
    return found


# Frames while the pointer goes over the points, and while the wheel turns: how long each took, in milliseconds.
FRAMES = """async ([kind, seconds]) => {
  const plot = document.querySelector('.mm-map-plot');
  const box = plot.getBoundingClientRect();
  const target = plot.querySelector('.nsewdrag');
  const taken = [];
  let last = performance.now();
  const end = last + 1000 * seconds;
  // However slow they are, some frames are needed for a median.
  for (let i = 0; last < end || i < 6; i += 1) {
    const at = {bubbles: true, cancelable: true, view: window,
      clientX: box.left + box.width * (0.5 + 0.3 * Math.sin(i / 17)),
      clientY: box.top + box.height * (0.5 + 0.3 * Math.cos(i / 23))};
    if (kind === 'hover') target.dispatchEvent(new MouseEvent('mousemove', at));
    if (kind === 'zoom') target.dispatchEvent(new WheelEvent('wheel', {...at, deltaY: i % 40 < 20 ? -60 : 60}));
    const now = await new Promise((done) => requestAnimationFrame(() => done(performance.now())));
    taken.push(now - last);
    last = now;
  }
  return taken;
}"""


def frames(taken: list[float]) -> dict[str, float]:
    """What frames took, in milliseconds."""
    rising = sorted(taken[2:])
    return {
        "frames": len(rising),
        "median_ms": round(statistics.median(rising), 1),
        "p95_ms": round(rising[int(0.95 * (len(rising) - 1))], 1),
        "longest_ms": round(rising[-1], 1),
    }


@contextmanager
def browser(executable: str) -> Iterator[Any]:
    """Chromium with WebGL, by the processor where there is no graphics card."""
    from playwright.sync_api import sync_playwright

    software = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-background-networking", *software]
        )
        yield opened
        opened.close()


def drawn(address: str, executable: str, points: int) -> dict[str, Any]:
    """What drawing a map of so many points costs a visitor: until it is there, again recoloured, and its frames."""
    found: dict[str, Any] = {}
    with browser(executable) as chromium:
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(address)
        tab = page.get_by_role("tab", name="Map", exact=True)
        tab.wait_for()
        sizes: dict[str, int] = {}
        page.on("response", lambda r: sizes.update({r.url: int(r.headers.get("content-length") or 0)}))
        clock = Clock()
        tab.click()
        there = f'.mm-map[data-drawn="{points}"]'
        page.locator(there).wait_for(timeout=120_000)
        found["first_draw_seconds"] = clock.seconds()
        found["bytes"] = sum(size for url, size in sizes.items() if "/map/points/" in url or "/map/colours/" in url)
        for kind in ("rest", "hover", "zoom"):
            found[kind] = frames(page.evaluate(FRAMES, [kind, SECONDS]))
        menu = page.locator("#map-colour input")
        clock = Clock()
        menu.click()
        page.get_by_role("option", name="metadata: subject").click()
        page.locator(there).filter(has_text="animals").wait_for(timeout=120_000)
        found["recoloured_seconds"] = clock.seconds()
        found["webgl"] = page.evaluate("Boolean(document.querySelector('.mm-map-plot .gl-canvas'))")
    return found


def chromium() -> str:
    """Where the browser is that draws. Raises LibraryError where there is none, or no playwright to lead it."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        raise LibraryError(f"no browser: none of {', '.join(BROWSERS)} is here. Install one to see how a map is drawn")
    if importlib.util.find_spec("playwright") is None:
        raise LibraryError("the package playwright is not installed: `pip install playwright` leads the browser")
    return executable


def measured(
    scratch: Path, n: int, made: Made = Made(), *, umap: bool, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """The whole bench, in an empty folder: n items are made, laid out, and drawn from a page of their own.

    Raises LibraryError where there is no browser, or the page does not start.
    """
    executable, clock, before = chromium(), Clock(), round(os.getloadavg()[0], 2)
    tell(f"making a library of {n:,} items")
    folder = library(scratch / "library", n, made)
    found: dict[str, Any] = {"making_seconds": clock.seconds()}
    tell("laying it out")
    found |= laid_out(folder, umap=umap)
    tell("drawing it")
    with served(folder, scratch) as (address, _):
        found |= drawn(address, executable, n)
    return report(n, made, {"cores": os.cpu_count(), "load_before": before} | found, clock)
