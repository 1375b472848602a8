"""What every test stands on: no hub, no analytics, one core a process, and small pictures that differ."""

from __future__ import annotations

import os

# Read once, when numpy and torch are loaded: a pool of threads for each process would fight over the cores, and costs
# more than it gives on matrices as small as these. What a test starts has it too.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# ruff: noqa: E402
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
    # A camera that shows a moving test picture, for pages that ask for one; no real one is ever used.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def watches(path: str) -> bool:
    """Whether a file of tests drives a browser."""
    return Path(path).name.startswith("test_browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser's tests come first: they take longest, and beside them another process does all the rest."""
    items.sort(key=lambda item: not watches(item.nodeid.split("::")[0]))


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, the browser's tests are as one file: two browsers at once would be slower than one."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class OneBrowser(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path: str = super()._split_scope(nodeid)
            return "browser" if watches(path) else path

    config.option.loadscopereorder = False
    return OneBrowser(config, log)


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


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is; without one the tests are skipped, or fail where REQUIRE_BROWSER is 1."""
    if CHROMIUM is None:
        says = "NO CHROMIUM FOUND: what a browser shows was not looked at. Install chromium to do so."
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(says)
        pytest.skip(says)
    return CHROMIUM


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """A running Chromium."""
    from playwright.sync_api import sync_playwright

    with warnings.catch_warnings():
        warnings.simplefilter("default")  # Playwright's own event loop
        with sync_playwright() as playwright:
            started = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
            yield started
            started.close()
