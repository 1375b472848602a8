"""Filters over all that is known of an item mean the same in the ledger and in every store that searches with it.

What payloads hold is held to its meaning in `test_stores.py`; here are the paths, durations, words, patterns and dates.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import drawing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ingesting import add

from mmretrieval.conditions import restriction
from mmretrieval.engine import Engine
from mmretrieval.errors import StoreError
from mmretrieval.filters import AllOf, AnyOf, Condition, Filter, Not, facts, matches
from mmretrieval.library import Library
from mmretrieval.library.ledger import FileRow, Ledger
from mmretrieval.muvera import Fde
from mmretrieval.recipe import parse
from mmretrieval.store.edge import EdgeStore, LateEdgeStore
from mmretrieval.store.exact import ExactStore, Matrix
from mmretrieval.store.server import ServerStore
from mmretrieval.types import Content, Index, Item, Part, Point, Query, Selection, Tokens, Vectors
from tests.store.strategies import FILTERS

IDS = sorted(str(uuid.uuid5(uuid.NAMESPACE_URL, f"item {i}")) for i in range(6))
ROW = np.array([1, 0, 0, 0], dtype=np.float32)

PATHS = st.sampled_from(
    ["/a/cats/one.jpg", "/a/cats/two.PNG", "/a/dogs [1]/one.jpg", "/b/*.jpg", "/b/?", "é😀/one", "one.jpg", "corpus:7"]
) | st.text("/a[]*?^!-é\n", max_size=6)
DATES = st.sampled_from(
    "2020 2020-05 2020-05-03 2020-05-03T16:30 2020-05-03T16:30:05 2021 2021-01-01 1999-12-31T23:59:59Z".split()  # noqa: SIM905
)
NEARLY = st.sampled_from(
    [
        "20200",
        "2020-5",
        "2020-05-03 16:30:05.5+02:00",
        "2020-99-99",
        "2020-05-03T1",
        "2020-05-03T16:30:5",
        "x2020",
        "２０２０",
    ]
)
TOLD = DATES | NEARLY | PATHS | st.integers(-3, 3) | st.integers(2019, 2021) | st.booleans() | st.none()
META = st.dictionaries(st.sampled_from(["a", "tags", "taken"]), TOLD | st.lists(TOLD, max_size=3), max_size=3)
SECONDS = st.sampled_from([0.0, 0.1, 0.3, 2.0, 8.0, 8.1])
SPANS = st.sampled_from([(None, None), (None, 3.0)]) | st.tuples(SECONDS, SECONDS.map(lambda s: s + 8.2))
TEXTS = st.sampled_from(["", " ", "\n\t\x1c\x85\u2028\u3000", "words", "\u200b", "  x"])
ITEMS = st.builds(
    lambda ident, paths, span, text, meta: Item(
        ident, "video", f"sha of {ident}", "", *span, None, paths, text, meta=meta
    ),
    st.sampled_from(IDS),
    st.lists(PATHS, max_size=2, unique=True).map(lambda p: tuple(sorted(p))),
    SPANS,
    TEXTS,
    META,
)

WHERE = st.sampled_from(["path", "meta.a", "meta.tags", "meta.taken", "kind", "duration", "has_text"])
GLOBS = st.builds(
    Condition, WHERE, st.just("glob"), PATHS | st.sampled_from(["*", "?", "*.jpg", "cats/*", "*2020*", ""])
)
ORDERED = st.builds(Condition, WHERE, st.sampled_from(["lt", "lte", "gt", "gte"]), DATES | SECONDS | st.integers(0, 9))
EQUAL = st.builds(Condition, WHERE, st.just("eq"), TOLD.filter(lambda v: v is not None))
AMONG = st.builds(Condition, WHERE, st.just("in"), st.lists(PATHS | st.booleans() | SECONDS, max_size=3).map(tuple))
THERE = st.builds(Condition, WHERE, st.just("exists"), st.booleans())
WANTED: st.SearchStrategy[Filter] = st.recursive(
    GLOBS | ORDERED | EQUAL | AMONG | THERE | FILTERS,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(AllOf, st.lists(inner, max_size=3).map(tuple))
        | st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=4,
)


class Kept:
    """Items in a ledger, and in a store that asks it."""

    def __init__(self, ledger: Ledger, store: Index | None) -> None:
        self.ledger, self.store, self.ids = ledger, store, list[str]()

    def fill(self, items: list[Item]) -> None:
        with self.ledger.transaction() as connection:
            connection.execute("DELETE FROM items")
            connection.execute("DELETE FROM files")
            taken: dict[str, str] = {}
            for item in items:
                self.ledger.put_item(item, "", "s")
                for path in item.paths:
                    taken.setdefault(path, item.content_hash)
            for path, sha in taken.items():
                self.ledger.put_file(FileRow(path, "video", 1, 1, sha, "s", "", "", "{}", "w"))
        if self.store is not None:
            self.store.delete(IDS)
            self.store.put([Point(i.id, {"visual": ROW}, i.payload) for i in items])
        self.ids = sorted(i.id for i in items)

    def found(self, filters: list[Filter], **more: Any) -> list[list[str]]:
        rows = np.tile(ROW, (len(self.ids), 1)) if self.ids else np.empty((0, 4), dtype=np.float32)
        store = self.store or ExactStore({"visual": Matrix(tuple(self.ids), rows)}, self.ledger.select)
        asked = np.tile(ROW, (len(filters), 1))
        return [list(f.ids) for f in store.search("visual", asked, 10, [Selection(f, **more) for f in filters])]


@pytest.fixture(scope="module", params=["exact", "edge", "memory"])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("kept")
    ledger = Ledger(folder / "ledger.sqlite", create=True)
    ledger.connection.execute("PRAGMA synchronous=OFF")
    if request.param == "exact":
        yield Kept(ledger, None)
    elif request.param == "edge":
        edge = EdgeStore(folder / "edge", 4, ("visual",), select=ledger.select)
        yield Kept(ledger, edge)
        edge.close()
    else:
        from qdrant_client import QdrantClient

        with closing(QdrantClient(":memory:")) as client:
            yield Kept(ledger, ServerStore(client, "contract", 4, ("visual",), select=ledger.select))
    ledger.close()


def film(number: int, **more: Any) -> Item:
    return Item(IDS[number], "video", f"sha of {number}", **more)


@settings(deadline=None, max_examples=120)
@given(st.lists(ITEMS, max_size=6, unique_by=lambda i: i.id), st.lists(WANTED, min_size=1, max_size=8))
@example(
    [film(0, paths=("/x/[a]/b.jpg",)), film(1, paths=("/x/a/b.jpg", "/y")), film(2)],
    [Condition("path", "glob", "[a]/*"), Condition("path", "glob", "y"), Condition("path", "exists", False)],
)
@example(
    [film(0, meta={"taken": "2020-05-03 16:30:05.5+02:00"}), film(1, meta={"taken": ["2020", 2021, "x"]})],
    [Condition("meta.taken", op, date) for op in ("lt", "gte") for date in ("2020", "2020-05", "2020-05-03T16:31")],
)
@example(
    [film(0, meta={"taken": "2020-05-03T16:30:05"}), film(1, meta={"taken": "2020-05-03 16:30:40.9Z"})],
    [Condition("meta.taken", op, f"2020-05-03T16:30:{s}") for op in ("lt", "lte", "gt") for s in ("05", "30", "40")],
)
@example(
    [film(0, text="\u2028\u3000"), film(1, text="\u200b"), film(2, text="\x1c\x85"), film(3, text=" x")],
    [Condition("has_text", "eq", True), Condition("has_text", "eq", False), Condition("has_text", "exists", True)],
)
def test_all_facts_mean_the_same_in_every_store(kept: Kept, items: list[Item], filters: list[Filter]) -> None:
    kept.fill(items)
    # As the ledger has them: a path belongs to one content.
    known = {item.id: facts(item) for item in kept.ledger.items()}
    for value, found in zip(filters, kept.found(filters), strict=True):
        passing = [ident for ident in sorted(known) if matches(value, known[ident])]
        wrong = [known[ident] for ident in set(passing) ^ set(found)]
        assert found == passing, f"{value} is answered wrongly for {wrong}"


def test_typed_conditions_find_the_same_in_every_store(kept: Kept) -> None:
    items = [
        film(
            0,
            paths=("/in/cats/a.mp4",),
            t0=0.0,
            t1=8.0,
            text="a cat",
            meta={"tags": ["cat", "pet"], "taken": "2020-05-03"},
        ),
        film(1, paths=("/in/dogs/b.mp4",), t0=8.0, t1=11.5, meta={"tags": "dog", "taken": "2021", "year": 2021}),
        film(2, paths=("/in/dogs/c.mp4", "/in/cats/c.mp4"), text=" ", meta={"taken": "2020-06-01T10:00:00Z"}),
    ]
    kept.fill(items)
    expected = {
        "path = cats/*": [0, 2],
        "path != cats/*": [1],
        "path ~ b.mp4": [1],
        "duration > 3, duration < 5": [1],
        "has_text = true": [0],
        "has_text = false": [1, 2],
        "tag = pet": [0],
        "tag ~ *o*": [1],
        "taken >= 2020-06": [1, 2],
        "taken <= 2020": [0, 2],
        "taken >= 2020-05-03, taken < 2020-06": [0],
        "year > 2020": [1],
        "kind = video, path = dogs/*, has_text = false, taken < 2021": [2],
    }
    order = [i.id for i in items]
    asked = [f for text in expected if (f := restriction((), text)) is not None]
    found = dict(zip(expected, kept.found(asked), strict=True))
    assert found == {text: sorted(order[n] for n in places) for text, places in expected.items()}
    # What else a selection says holds beside the ids of the ledger.
    (rest,) = kept.found(asked[:1], exclude=frozenset([order[0]]))
    assert rest == [order[2]]
    (rest,) = kept.found(asked[:1], subset=frozenset([order[0], order[1]]))
    assert rest == [order[0]]


def test_an_index_of_bags_asks_the_ledger_too(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "ledger.sqlite", create=True)) as ledger:
        kept = Kept(ledger, None)
        kept.fill([film(0, paths=("/cats/a",)), film(1, paths=("/dogs/b",))])
        bags = np.eye(4, dtype=np.float32)[:2]
        with closing(LateEdgeStore(tmp_path / "late", 4, ("text",), Fde(), select=ledger.select)) as late:
            late.put([Point(i, {"text": bags}, {}) for i in IDS[:2]])
            asked = Tokens(Vectors.joined([bags], 4), np.ones(2, dtype=np.float32))
            (found,) = late.search("text", asked, 5, [Selection(Condition("path", "glob", "dogs/*"))])
    assert found.ids == (IDS[1],)


def test_an_index_without_a_ledger_says_what_it_cannot_answer(tmp_path: Path) -> None:
    wanted = Selection(Condition("path", "glob", "*.jpg"))
    with closing(EdgeStore(tmp_path / "0", 4, ("visual",))) as edge, pytest.raises(StoreError, match=r"\*.jpg"):
        edge.search("visual", ROW[None], 5, [wanted])


def test_equal_filters_are_asked_of_the_ledger_once(tmp_path: Path) -> None:
    asked: list[Filter] = []

    def select(value: Filter) -> frozenset[str]:
        asked.append(value)
        return frozenset(IDS[:1])

    with closing(EdgeStore(tmp_path / "0", 4, ("visual",), select=select)) as edge:
        edge.put([Point(i, {"visual": ROW}, {}) for i in IDS])
        wanted = [Selection(Condition("path", "glob", "*"))] * 5 + [Selection(Condition("kind", "eq", "image"))]
        found = edge.search("visual", np.tile(ROW, (6, 1)), 3, wanted)
    assert [len(f.ids) for f in found] == [1, 1, 1, 1, 1, 0]
    assert len(asked) == 1


@pytest.mark.parametrize("recipe", ["hashing@visual", "hashing@visual,center"])
def test_a_library_s_own_indexes_ask_its_ledger(recipe: str, tmp_path: Path) -> None:
    for folder in ("cats", "dogs"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    for n in range(6):
        drawing(n).save(tmp_path / "in" / ("cats" if n % 2 else "dogs") / f"{n}.png")
    query = Query((Part(Content(image=drawing(9))),), filter=restriction((), "path = cats/*, has_text = false"))
    with Library.create(tmp_path / "library", ["hashing"]) as library:
        add(library, tmp_path / "in")
        scanned = Engine(library, exact=True).rank([query], recipe).rankings[0].hits
        library.open_indexes()
        library.sync_indexes()
        engine = Engine(library)
        if "," in recipe:
            engine.spaces.materialise("hashing", parse(recipe))
        assert not isinstance(engine.spaces.get("hashing", parse(recipe)).store, ExactStore)
        hits = engine.rank([query], recipe).rankings[0].hits
        assert [h.id for h in hits] == [h.id for h in scanned]
        items = library.items_by_id([h.id for h in hits])
        assert sorted(Path(p).parts[-2:] for i in items.values() for p in i.paths) == [
            ("cats", f"{n}.png") for n in (1, 3, 5)
        ]
        engine.spaces.close()
