"""app.py as a process of its own, as people start it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Logged:
    """A page in a process of its own: its address, the folder of its library, and what it has written so far."""

    address: str
    library: Path
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def logged(program: str, library: Path, folder: Path, *options: str, **environment: str) -> Iterator[Logged]:
    """A page over the library, started by a program that may change it first; what it says goes into the folder."""
    command = [sys.executable, "-c", program, "--library", str(library), "--port", "0", *options]
    plain = {k: v for k, v in os.environ.items() if not k.startswith("GRADIO_")} | {"HF_HUB_OFFLINE": "1"}
    log = folder / "log"
    with (
        log.open("wb") as sink,
        subprocess.Popen(command, cwd=ROOT, env=plain | environment, stdout=sink, stderr=subprocess.STDOUT) as process,
    ):
        try:
            yield Logged(_ready(log, process), library, log, process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(60)


def _ready(log: Path, process: subprocess.Popen[bytes]) -> str:
    for _ in range(2400):
        if found := re.search(rf"^{READY}(\S+)$", log.read_text(errors="replace"), re.M):
            return found[1]
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(log.read_text(errors="replace"))
