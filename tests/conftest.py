"""What every test stands on: no hub, no analytics, and small pictures that differ."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import second_encoder as second
from drawings import drawing
from hypothesis import settings

from mmretrieval import catalog

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

# The same cases on every run, and a busy machine fails none of them.
settings.register_profile("steady", deadline=None, derandomize=True, database=None)
settings.load_profile("steady")

ASSETS = Path(__file__).parent / "assets"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def second_encoder(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an encoder beside `hashing`, in the catalogue while the test runs."""
    table = second.blocks()
    monkeypatch.setattr(catalog, "blocks", lambda: table)
    return second.NAME


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of numbered PNG pictures: pictures(3) -> folder with 0.png, 1.png, 2.png."""

    def make(count: int, folder: str = "in", first: int = 0) -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        for seed in range(first, first + count):
            drawing(seed).save(root / f"{seed}.png")
        return root

    return make


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A running Chromium; without one the tests are skipped, or fail where REQUIRE_BROWSER is 1."""
    if CHROMIUM is None:
        says = "NO CHROMIUM FOUND: what a browser shows was not looked at. Install chromium to do so."
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(says)
        pytest.skip(says)
    from playwright.sync_api import sync_playwright

    with warnings.catch_warnings():
        warnings.simplefilter("default")  # Playwright's own event loop
        with sync_playwright() as playwright:
            started = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
            yield started
            started.close()
