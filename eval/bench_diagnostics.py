"""The bench of diagnostics: what each takes on a library of a size that people have, made by the bench itself."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.bench_made import Clock, of_length_one, report
from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.errors import RetrievalError, pick
from mmretrieval.geometry import GramFactors, blocks
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix
from mmretrieval.types import Array

# Seconds that were set as goals, for 50,000 pairs of 512 numbers on two cores.
GOALS = {"gap": 20.0, "volumes": 0.05, "hubness": 20.0}
VOLUMES = "volumes"
REPEATS = 15
VIEWS = ("visual", "text", "sound")
LABELS = {"visual": "pictures", "text": "words", "sound": "sounds"}


@dataclass(frozen=True)
class Made:
    """Items in clusters, each seen in three modalities that keep apart: sizes, and the seed that decides all of it.

    A cluster is a direction; an item is its cluster's direction and a deviation of its own of length `own`; a view of
    it adds noise of length `noise`, and the modality's own direction times `offset`. Queries are further such text
    views of items drawn without replacement, and of other items for the bank. The rival is the same items in a space
    turned at random, with noise of its own.
    """

    pairs: int = 50_000
    dim: int = 512
    queries: int = 2000
    clusters: int = 500
    own: float = 0.8
    noise: float = 0.7
    offset: float = 1.0
    seed: int = 20261122

    def draw(self) -> Subject:
        """The items as a subject with three views, questions, a bank and a rival."""
        rng = np.random.default_rng(self.seed)
        ids = tuple(f"{i:08}" for i in range(self.pairs))
        classes = rng.integers(0, self.clusters, self.pairs)
        items: Array = self._scattered(rng, self.clusters, 1.0)[classes] + self._scattered(rng, self.pairs, self.own)
        offsets = np.linalg.qr(rng.standard_normal((self.dim, len(VIEWS))))[0].T * self.offset
        views = {v: Matrix(ids, self._seen(rng, items, offsets[i])) for i, v in enumerate(VIEWS)}
        drawn = rng.permutation(self.pairs)[: 2 * self.queries]
        asking, banked = (np.sort(half) for half in np.array_split(drawn, 2))
        questions = Questions(
            self._seen(rng, items[asking], offsets[1]),
            tuple(f"q{i:08}" for i in asking),
            ("text",) * len(asking),
            tuple(frozenset({ids[i]}) for i in asking),
        )
        bank = self._seen(rng, items[banked], offsets[1])
        pictures = self._seen(rng, items[banked], offsets[0])
        reference = Reference(
            {"visual": views["visual"], "text": views["text"]}, {"text": bank, "image": pictures}, bank
        )
        turn = np.linalg.qr(rng.standard_normal((self.dim, self.dim)))[0].astype(np.float32)
        turned: Array = items @ turn
        seen = {v: Matrix(ids, self._seen(rng, turned, offsets[i])) for i, v in enumerate(VIEWS[:2])}
        rival = Subject(seen, "visual", "the rival", labels=LABELS)
        named = {i: f"cluster {c}" for i, c in zip(ids, classes, strict=True)}
        return Subject(views, "visual", "made items", questions, reference, rival, named, LABELS, nulls=bank)

    def _scattered(self, rng: np.random.Generator, n: int, length: float) -> Array:
        """Rows (n, dim) of about this length, pointing anywhere."""
        return rng.standard_normal((n, self.dim), dtype=np.float32) * np.float32(length / np.sqrt(self.dim))

    def _seen(self, rng: np.random.Generator, items: Array, offset: Any) -> Array:
        rows = items + self._scattered(rng, len(items), self.noise) + offset.astype(np.float32)
        return of_length_one(rows)


def diagnostics(
    made: Made, only: Sequence[str] = (), tell: Callable[[str], None] = lambda _: None, sample: int | None = 10_000
) -> dict[str, Any]:
    """Seconds that each diagnostic takes, and the median of one query's volumes against all items.

    `only` names diagnostics, or "volumes". Raises UnknownName.
    """
    for name in only:
        pick({**DIAGNOSTICS, VOLUMES: None}, name, "diagnostic")
    load = round(os.getloadavg()[0], 2)
    clock = Clock()
    subject = made.draw()
    tell(f"{made.pairs} items of {made.dim} numbers in {len(VIEWS)} views, {made.queries} queries")
    rows = []
    for name in only or (VOLUMES, *DIAGNOSTICS):
        row = _volumes(subject) if name == VOLUMES else _timed(name, subject, sample)
        goal, seconds = GOALS.get(name), row["seconds"]
        met = None if goal is None or seconds is None else seconds <= goal
        about: dict[str, Any] = {"name": name, "goal": goal, "met": met}
        rows.append(about | row)
        tell(f"{name}: {row['said']}")
    found = {"seed": made.seed, "sample": sample, "cores": len(os.sched_getaffinity(0)), "load_before": load}
    return report(made.pairs, made, found | {"rows": rows}, clock)


def _timed(name: str, subject: Subject, sample: int | None) -> dict[str, Any]:
    """Seconds by the clock, and of processor time, which other programs on a busy machine do not stretch."""
    clock, worked = Clock(), time.process_time()
    try:
        found = DIAGNOSTICS[name].run(subject, seed=0, sample=sample)
    except RetrievalError as error:
        return {"seconds": None, "said": f"not here: {error}"}
    seconds, cpu = clock.seconds(), round(time.process_time() - worked, 2)
    said = f"{seconds} s ({cpu} s of processor time) over n = {found.basis['n']}"
    return {"seconds": seconds, "cpu_seconds": cpu, "said": said, "basis_n": found.basis["n"]}


def _volumes(subject: Subject) -> dict[str, Any]:
    """One query's volumes with every item's three views, their own factors being there already."""
    clock = Clock()
    n, d = subject.views["visual"].rows.shape
    stacked = np.empty((n, len(VIEWS), d), dtype=np.float32)
    for block in blocks(n):
        stacked[block] = np.stack([subject.views[v].rows[block] for v in VIEWS], axis=1)
    factors = GramFactors.of(stacked)
    prepared = clock.seconds()
    asked = subject.questions
    assert asked is not None
    taken = []
    for place in range(REPEATS + 1):
        clock = Clock()
        factors.volumes(asked.rows[place % len(asked)])
        taken.append(clock.seconds(6))
    # The first one waits for memory to come in, and is no measure of the others.
    median = statistics.median(taken[1:])
    said = f"{1000 * median:.1f} ms a query (median of {REPEATS}), after {prepared} s of preparing"
    return {
        "seconds": round(median, 5),
        "said": said,
        "slowest": round(max(taken[1:]), 5),
        "prepare_seconds": prepared,
        "views": len(VIEWS),
    }
