"""app.py as a process of its own, as people start it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
READY = "The page is ready: "


@contextmanager
def served(library: Path, *options: str, seconds: float = 120.0) -> Iterator[str]:
    """The address of a page over the library, on a free port; ends the process and checks that it ended well."""
    command = [sys.executable, str(ROOT / "app.py"), "--library", str(library), "--port", "0", *options]
    environment = {k: v for k, v in os.environ.items() if k != "GRADIO_TEMP_DIR"} | {"HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        watch = threading.Timer(seconds, process.kill)
        watch.start()
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if line.startswith(READY):
                break
        watch.cancel()
        assert said and said[-1].startswith(READY), "".join(said)
        address = said[-1].removeprefix(READY).strip()
        # What it says from now on is read, so that a full pipe never stops it.
        reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
        reader.start()
        try:
            yield address
        finally:
            process.terminate()
            code = process.wait(60)
            reader.join(10)
        assert code == 0, "".join(said)
        assert "Traceback" not in "".join(said), "".join(said)


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
