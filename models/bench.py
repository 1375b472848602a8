"""How fast an encoder is here, how much memory it takes, and how far its vectors are from the plain way's.

Each way runs in a process of its own, so that neither profits from what the other set or allocated; the two take turns,
a round at a time, so that whatever else the machine does falls on both. Pictures are counted from decoded ones to
vectors, preparation included.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmretrieval.errors import DatasetError, EncoderError, RetrievalError
from mmretrieval.types import Card, Content, Encoder

BATCH = 32
ROUNDS_AT_LEAST, ROUNDS_AT_MOST = 3, 15
TEXT_QUERIES, PICTURE_QUERIES = 12, 4
STATUS = Path("/proc/self/status")
Rows: TypeAlias = npt.NDArray[np.float32]
# What embeds: contents, role, batch size -> unit rows, all bags of a late-interaction encoder one after the other.
Embed: TypeAlias = Callable[[Sequence[Content], str, int], Rows]
# Functions of mmretrieval by name: load, resolve, data_files (catalog), embed, embed_multi (embedding).
Library: TypeAlias = Mapping[str, Callable[..., Any]]
# Called in the process that measures: the encoder's card there, and what embeds with it.
Load: TypeAlias = Callable[[], tuple[Card, Embed]]


@dataclass(frozen=True)
class Samples:
    """Real pictures and captions to measure on."""

    pictures: tuple[Path, ...]
    captions: tuple[str, ...]


def read_samples(folder: Path, count: int) -> Samples:
    """`count` pictures and captions spread evenly over the captions.jsonl files below a folder; raises DatasetError."""
    found: list[tuple[Path, str]] = []
    for listing in sorted(folder.glob("*/captions.jsonl")):
        for line in listing.read_text("utf-8").splitlines():
            entry = json.loads(line)
            path = listing.parent / entry["path"]
            if path.suffix in (".webp", ".png", ".jpg"):
                found.append((path, entry["caption"]))
    if len(found) < count:
        raise DatasetError(f"{folder} has {len(found)} pictures with captions: ask for no more than that")
    chosen = [found[i * len(found) // count] for i in range(count)]
    return Samples(tuple(p for p, _ in chosen), tuple(c for _, c in chosen))


# --- the two ways --------------------------------------------------------------------------------------------------


def fast_way(library: Library, spec: str) -> tuple[Card, Embed]:
    """How searches and ingests run an encoder."""
    return _way(library, library["load"](spec))


def plain_way(library: Library, spec: str) -> tuple[Card, Embed]:
    """How its makers' example runs it."""
    from models.plain import PLAIN

    block, card, settings = library["resolve"](spec)
    return _way(library, PLAIN[block.factory](card, library["data_files"](block.name), settings))


def _way(library: Library, encoder: Encoder) -> tuple[Card, Embed]:
    def rows(contents: Sequence[Content], role: str, batch_size: int) -> Rows:
        if encoder.card.multi:
            bags: Rows = library["embed_multi"](encoder, contents, role, batch_size).rows
            return bags
        single: Rows = library["embed"](encoder, contents, role, batch_size)
        return single

    return encoder.card, rows


# --- in the process that measures ----------------------------------------------------------------------------------


def serve(pipe: Connection, load: Load, samples: Samples, threads: int | None) -> None:
    """Loads an encoder and answers requests (kind, argument) with ("done", value) until None; else ("error", text)."""
    started = time.perf_counter()
    import torch

    if threads:
        torch.set_num_threads(threads)
    try:
        card, embed = load()
        loaded = time.perf_counter() - started
        bench = _Bench(card, embed, samples)
        facts = {"runtime": card.runtime, "load_s": loaded, "threads": torch.get_num_threads()}
        kinds = [kind for kind, contents in bench.contents.items() if contents]
        pipe.send(("done", facts | {"kinds": kinds, "n": len(samples.pictures)}))
        while request := pipe.recv():
            kind, argument = request
            pipe.send(("done", getattr(bench, kind)(argument)))
    except Exception as error:  # told by the process that asked
        kind = "" if isinstance(error, RetrievalError) else f"{type(error).__name__}: "
        pipe.send(("error", f"{kind}{error}".strip().splitlines()[0]))


class _Bench:
    def __init__(self, card: Card, embed: Embed, samples: Samples) -> None:
        self._embed = embed
        self.contents: dict[str, list[Content]] = {"image": [], "text": []}
        if "image" in card.reads:
            for path in samples.pictures:
                with Image.open(path) as picture:
                    self.contents["image"].append(Content(image=picture.convert("RGB")))
        if "text" in card.reads:
            self.contents["text"] = [Content(text=caption) for caption in samples.captions]

    def many(self, kind: str) -> float:
        """Seconds for all contents of a kind, in batches."""
        started = time.perf_counter()
        self._embed(self.contents[kind], "item", BATCH)
        return time.perf_counter() - started

    def single(self, argument: tuple[str, int]) -> float:
        """Seconds for one content alone, as a query."""
        kind, place = argument
        content = self.contents[kind][place % len(self.contents[kind])]
        started = time.perf_counter()
        self._embed([content], "query", 1)
        return time.perf_counter() - started

    def rows(self, kind: str) -> Rows:
        return self._embed(self.contents[kind], "item", BATCH)

    def peak_mb(self, _: None) -> float:
        """The most memory that the process has held, in MiB."""
        if STATUS.is_file():
            line = next(line for line in STATUS.read_text("utf-8").splitlines() if line.startswith("VmHWM"))
            return int(line.split()[1]) / 1024
        import resource
        import sys

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1024)


# --- in the process that asks --------------------------------------------------------------------------------------


class Worker:
    """A process that holds one way of running an encoder; `facts` is what it said once it was loaded."""

    def __init__(self, load: Load, samples: Samples, threads: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=serve, args=(other, load, samples, threads), daemon=True)
        self._process.start()
        other.close()
        self.facts: dict[str, Any] = self._answer()

    def ask(self, kind: str, argument: Any = None) -> Any:
        """The answer of _Bench's method of that name."""
        self._pipe.send((kind, argument))
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        if self._process.is_alive():
            self._pipe.send(None)
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def _answer(self) -> Any:
        try:
            state, value = self._pipe.recv()
        except EOFError as error:
            self._process.join()
            code = self._process.exitcode
            raise EncoderError(f"the process that measures ended with {code}: is there enough memory?") from error
        if state == "error":
            raise EncoderError(str(value))
        return value


def measure(fast: Worker, plain: Worker | None, seconds: float) -> dict[str, Any]:
    """The figures of one encoder: medians over rounds of about `seconds` altogether, three rounds at least."""
    ways = {"": fast} | ({"plain_": plain} if plain else {})
    kinds = fast.facts["kinds"]
    vectors = {way: {kind: worker.ask("rows", kind) for kind in kinds} for way, worker in ways.items()}  # and warms up
    for worker in ways.values():
        for kind in kinds:
            worker.ask("single", (kind, 0))
    many: dict[tuple[str, str], list[float]] = {(way, kind): [] for way in ways for kind in kinds}
    single: dict[tuple[str, str], list[float]] = {(way, kind): [] for way in ways for kind in kinds}
    until, rounds = time.monotonic() + seconds, 0
    while rounds < ROUNDS_AT_LEAST or (time.monotonic() < until and rounds < ROUNDS_AT_MOST):
        turn = list(ways.items())[:: 1 if rounds % 2 else -1]
        for kind in kinds:
            for way, worker in turn:
                many[way, kind].append(worker.ask("many", kind))
            for place in range(TEXT_QUERIES if kind == "text" else PICTURE_QUERIES):
                for way, worker in turn:
                    single[way, kind].append(worker.ask("single", (kind, rounds * TEXT_QUERIES + place)))
        rounds += 1
    return _figures(fast, plain, many, single) | _agreement(vectors) | {"rounds": rounds}


def _figures(
    fast: Worker,
    plain: Worker | None,
    many: dict[tuple[str, str], list[float]],
    single: dict[tuple[str, str], list[float]],
) -> dict[str, Any]:
    row: dict[str, Any] = {"runtime": fast.facts["runtime"]}
    names = {"image": ("images_per_s", "picture_query_ms"), "text": ("texts_per_s", "text_query_ms")}
    for kind, (rate, latency) in names.items():
        for way in ("", "plain_"):
            measured = (way, kind) in many
            row[way + rate] = fast.facts["n"] / statistics.median(many[way, kind]) if measured else None
            row[way + latency] = statistics.median(single[way, kind]) * 1000 if measured else None
        paired = ("plain_", kind) in many
        row[f"{rate}_ratio"] = _ratio(many["plain_", kind], many["", kind]) if paired else None
        row[f"{latency}_ratio"] = _ratio(single["plain_", kind], single["", kind]) if paired else None
    return row | {
        "peak_rss_mb": fast.ask("peak_mb"),
        "plain_peak_rss_mb": plain.ask("peak_mb") if plain else None,
        "load_s": fast.facts["load_s"],
        "threads": fast.facts["threads"],
        "n": fast.facts["n"],
    }


def _ratio(plain: list[float], fast: list[float]) -> float:
    """How many times as fast: the median over the rounds, each of which is compared with itself."""
    return statistics.median(p / f for p, f in zip(plain, fast, strict=True))


def _agreement(vectors: dict[str, dict[str, Rows]]) -> dict[str, Any]:
    """Cosines between both ways' vectors of the same contents, smallest and median, over all and by modality."""
    if "plain_" not in vectors:
        return {"min_cosine": None, "median_cosine": None}
    found = {kind: cosines(rows, vectors["plain_"][kind]) for kind, rows in vectors[""].items()}
    together = np.concatenate(list(found.values()))
    row = {"min_cosine": float(together.min()), "median_cosine": float(np.median(together))}
    return row | {f"min_cosine_{kind}": float(values.min()) for kind, values in found.items()}


def cosines(left: Rows, right: Rows) -> npt.NDArray[np.float64]:
    """The cosine of each row with its counterpart; raises EncoderError where they have not the same shape."""
    if left.shape != right.shape:
        raise EncoderError(f"the two ways give rows of {left.shape} and {right.shape}")
    a, b = left.astype(np.float64), right.astype(np.float64)
    product: npt.NDArray[np.float64] = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return product
