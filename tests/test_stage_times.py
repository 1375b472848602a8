"""What a search says of its time: the stages of each recipe in order, all of it, each thread its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import token_encoder
import whole_encoders
from composed_library import picture, query, words
from PIL import Image

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval import catalog, engine, provenance
from mmretrieval.engine import Engine
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.spaces import Space
from mmretrieval.store.exact import ExactStore
from mmretrieval.store.lexical import LexicalStore
from mmretrieval.timing import Stopwatch
from mmretrieval.types import Run

LATE = token_encoder.NAME
READ = ["prepare hashing", "encode hashing", "compose hashing"]
ALL = ["search hashing@visual", "search hashing@text", "scale hashing@all", "merge hashing@all"]
WORDS = ["prepare bm25", "encode bm25"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Pictures of one colour with captions; with an encoder of one row and one of several."""
    root = tmp_path_factory.mktemp("times")
    with token_encoder.registered(root):
        (root / "in").mkdir()
        for name, colour in token_encoder.COLOURS.items():
            Image.new("RGB", (64, 64), colour).save(root / "in" / f"{name}.png")
            (root / "in" / f"{name}.txt").write_text(f"a {name} square")
        with Library.create(root / "library", ["hashing", LATE]) as made:
            assert ingest(made, walk([root / "in"]), workers=1).failed == 0
            yield made


@pytest.fixture(scope="module")
def asked(library: Library) -> Engine:
    return Engine(library, exact=True)


def named(run: Run) -> list[str]:
    return [one["stage"] for one in run.meta["stages"]]


@pytest.mark.parametrize(
    ("recipe", "wanted"),
    [
        ("hashing@visual", [*READ, "search hashing@visual"]),
        ("hashing", [*READ, *ALL]),
        ("hashing@text,center,csls:3", [*READ, "search hashing@text", "correct"]),
        ("hashing,csls:3", [*READ, "search hashing@visual", "correct", *ALL[1:]]),
        ("hashing@text,late", [*READ, "search hashing@text"]),
        ("hashing,best,csls:3", [*READ, "scale hashing@all", "search hashing@all", "correct"]),
        ("bm25@text", [*WORDS, "search bm25@text"]),
        (
            "hashing@visual+bm25@text,zscore,gram:5,mmr:0.7:5,cutoff:0.1",
            [*READ, *WORDS, "search hashing@visual", "search bm25@text"]
            + ["fuse zscore", "rerank gram:5", "rerank mmr:0.7:5", "mark cutoff:0.1"],
        ),
        (f"{LATE}@visual", [f"prepare {LATE}", f"encode {LATE}", f"search {LATE}@visual"]),
        (
            f"hashing@visual,maxsim:{LATE}:4",
            [*READ, "search hashing@visual", f"prepare {LATE}", f"encode {LATE}", f"rerank maxsim:{LATE}:4"],
        ),
    ],
)
def test_stages_stand_in_their_order(asked: Engine, recipe: str, wanted: list[str]) -> None:
    one, two = query(words("red square")), query(words("blue"), words("square", -0.5))
    assert named(asked.rank([one], recipe)) == [*wanted, "other"]
    # Of several queries the times are added, stage by stage.
    assert named(asked.rank([one, two], recipe)) == [*wanted, "other"]


def test_what_is_explained_is_a_stage_before_the_cut_off(asked: Engine) -> None:
    run = asked.rank([query(words("red"))], "hashing@visual,cutoff:0.1", explain=True)
    assert named(run)[-3:] == ["explain", "mark cutoff:0.1", "other"]


def test_a_model_that_reads_is_prepared_and_then_reads(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    table = whole_encoders.blocks()
    monkeypatch.setattr(catalog, "blocks", lambda: table)
    monkeypatch.setattr(catalog, "_loaded", {})
    reader = whole_encoders.READER
    run = Engine(library, exact=True).rank([query(words("red"))], f"hashing@text,cross:{reader}:4")
    assert named(run)[-3:] == [f"prepare {reader}", f"rerank cross:{reader}:4", "other"]


def test_the_account_is_of_the_whole_call_and_can_be_written_down(asked: Engine) -> None:
    """On a clock that goes on by one at each look, every look but the first falls into some stage."""
    ticks: list[int] = []

    def tick() -> float:
        ticks.append(1)
        return float(len(ticks))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "Stopwatch", lambda: Stopwatch(tick))
        run = asked.rank([query(words("red"))], "hashing+bm25,rrf:60,gram:5,cutoff:0.1", explain=True)
    spent = {one["stage"]: one["ms"] for one in run.meta["stages"]}
    assert run.meta["seconds"] == len(ticks) - 1 == sum(spent.values()) / 1000
    assert all(spent.values()) and len(spent) == 17
    assert json.loads(json.dumps(run.meta["stages"])) == run.meta["stages"]


class Hands:
    """A clock in each thread that stands still until somebody there moves it on."""

    def __init__(self) -> None:
        self.own = threading.local()

    def __call__(self) -> float:
        return float(getattr(self.own, "seconds", 0.0))

    def before(self, work: Callable[..., Any], seconds: Callable[[], float]) -> Callable[..., Any]:
        """The work, which takes so many seconds."""

        def slow(*arguments: Any, **more: Any) -> Any:
            self.own.seconds = self() + seconds()
            return work(*arguments, **more)

        return slow


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    made = Hands()
    monkeypatch.setattr(engine, "Stopwatch", lambda: Stopwatch(made))
    return made


def spent(run: Run) -> dict[str, float]:
    """The stages that took time, in seconds."""
    return {one["stage"]: one["ms"] / 1000 for one in run.meta["stages"] if one["ms"]}


def test_time_falls_to_the_stage_that_did_the_work(
    asked: Engine, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(owner: Any, name: str, seconds: float) -> None:
        monkeypatch.setattr(owner, name, hands.before(getattr(owner, name), lambda: seconds))

    (reranker,) = (stage for stage in parse("hashing,gram:5").rerankers)
    row = engine.RERANKERS[reranker.name]
    monkeypatch.setitem(engine.RERANKERS, reranker.name, replace(row, run=hands.before(row.run, lambda: 7)))
    slow(asked.spaces, "get", 1)
    slow(Space, "asked", 2)
    slow(Space, "composed", 3)
    slow(ExactStore, "search", 4)
    slow(LexicalStore, "search", 5)
    slow(engine, "fused", 6)
    slow(engine, "cut_off", 8)
    slow(engine, "explained", 9)
    slow(engine, "versions", 10)
    run = asked.rank([query(words("red"))], "hashing@text+bm25@text,rrf:60,gram:5,cutoff:0.1", explain=True)
    wanted = {"prepare hashing": 1, "encode hashing": 2, "compose hashing": 3, "search hashing@text": 4}
    wanted |= {"search bm25@text": 5, "fuse rrf:60": 6, "rerank gram:5": 7, "mark cutoff:0.1": 8, "explain": 9}
    told = spent(run)
    # The cut-off composes the query once more.
    assert told.pop("mark cutoff:0.1") >= wanted.pop("mark cutoff:0.1")
    assert told == wanted | {"other": 10}


def test_each_thread_has_its_own_account(library: Library, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four searches are all encoding at once, each for another time; none hears of the others."""
    recipes = ["hashing@visual", "hashing@text,gram:5", "hashing", "hashing@visual+hashing@text,rrf:60"]
    together, shared = threading.Barrier(len(recipes), timeout=60), Engine(library, exact=True)
    own = threading.local()

    def meet(work: Callable[..., Any]) -> Callable[..., Any]:
        def met(*arguments: Any) -> Any:
            together.wait()
            return work(*arguments)

        return met

    plain = [named(shared.rank([query(picture(3))], recipe)) for recipe in recipes]
    monkeypatch.setattr(Space, "asked", meet(hands.before(meet(Space.asked), lambda: own.seconds)))

    def rank(number: int) -> Run:
        own.seconds = number + 1
        return shared.rank([query(picture(3))], recipes[number])

    with ThreadPoolExecutor(len(recipes)) as pool:
        runs = list(pool.map(rank, range(len(recipes))))
    assert [named(run) for run in runs] == plain
    assert [spent(run) for run in runs] == [{"encode hashing": number + 1} for number in range(len(recipes))]
    assert [run.meta["seconds"] for run in runs] == [1, 2, 3, 4]


def test_versions_are_looked_up_once_and_each_asker_has_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    first = provenance.versions()
    monkeypatch.setattr(provenance.importlib.metadata, "version", lambda name: pytest.fail("looked up again"))
    first["numpy"] = "mine"
    assert provenance.versions()["numpy"] != "mine"
