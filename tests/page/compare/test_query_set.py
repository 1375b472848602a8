"""A dataset's queries on the page keep their filters, and find what `eval run` finds under them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval import judging
from eval.dataset import Dataset
from eval.judging import Shelf
from eval.reading import load
from mmretrieval.engine import Engine
from mmretrieval.library import Library
from mmretrieval.timing import Account, added
from mmretrieval.types import Query, Run
from page.compare import query_set
from page.query.asking import query
from page.query.typed import NOTHING
from page.state import Page
from tests.page.conftest import THINGS

FILTERS = (
    {"meta.shelf": "shelf 1"},
    {"kind": ["image"], "meta.shelf": {"glob": "*2"}},
    {"any": [{"meta.shelf": "shelf 0"}, {"meta.shelf": "shelf 2"}]},
    {"meta.shelf": "shelf 9"},
    {"any": [{"meta.shelf": "shelf 8"}, {"meta.shelf": "shelf 9"}]},
    None,
)


@pytest.fixture(scope="module")
def dataset(things: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The things, each query with one of the filters."""
    folder = tmp_path_factory.mktemp("filtered") / "things"
    shutil.copytree(things, folder)
    records = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    for number, record in enumerate(records):
        if wanted := FILTERS[number % len(FILTERS)]:
            record["filter"] = wanted
    records[0]["subset"] = [THINGS[0], THINGS[1]]
    (folder / "queries.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return load(folder)


@pytest.fixture(scope="module")
def shelf(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    made, _ = judging.shelve(dataset, tmp_path_factory.mktemp("shelf") / "library", ["hashing"], own=True, workers=1)
    with made.library:
        yield made


@pytest.fixture(scope="module")
def filtered(dataset: Dataset, shelf: Shelf, temporary: Path) -> Iterator[Page]:
    opened = Page(Library.open(shelf.library.path), dataset=dataset)
    yield opened
    opened.close()


@pytest.mark.parametrize("recipe", ["hashing@text", "hashing@visual"])
def test_filters_of_a_dataset_let_by_what_an_evaluation_lets_by(
    filtered: Page, dataset: Dataset, shelf: Shelf, recipe: str
) -> None:
    asked, _ = query_set.chosen(filtered, "")
    entries = len(dataset.corpus)
    scored, _ = judging.rank(dataset, shelf, dataset.queries[1:], recipe, k=entries, on_done=lambda _: None)
    engine = Engine(filtered.library, exact=True)  # as evaluations do: an index may round what ties
    found = engine.rank([query(filtered, one) for one in asked[1:]], recipe, 100).rankings
    here = [[entry for hit in ranking.hits for entry in shelf.entries[hit.id]] for ranking in found]
    assert here == [list(one.ids) for one in scored]
    sizes = {len(ids) for ids in here}
    assert 0 in sizes and entries in sizes and len(sizes) >= 4


def test_filters_are_said_as_they_would_be_typed_and_kept_when_a_query_is_opened(
    filtered: Page, dataset: Dataset
) -> None:
    asked, whence = query_set.chosen(filtered, "")
    assert (asked[0].kinds, asked[0].conditions) == ((), "shelf = shelf 1")
    assert (asked[1].kinds, asked[1].conditions) == (("image",), "shelf ~ *2")
    assert len(asked[2].within) == sum(e.meta["shelf"] in ("shelf 0", "shelf 2") for e in dataset.corpus)
    assert asked[3].conditions == "shelf = shelf 9" and asked[4].conditions == NOTHING
    assert (asked[5].kinds, asked[5].conditions, asked[5].within) == ((), "", ())
    assert "one asks among entries of the dataset alone, which here is not applied" in whence
    rows, spent = query_set.disagreement(filtered, asked, ("hashing@text", "hashing@visual"))
    assert {row.asked for row in rows} == set(asked)
    assert "where shelf = shelf 1" in query_set.drawn(rows, ("hashing@text", "hashing@visual"), spent, whence)


def account(**taken: float) -> Account:
    stages = [{"stage": name.replace("_", " "), "ms": ms} for name, ms in taken.items()]
    return {"seconds": sum(taken.values()) / 1000, "stages": stages}  # type: ignore[typeddict-item]


def test_the_time_of_a_query_leaves_out_what_is_made_once(filtered: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    number, recipes = query_set.AT_ONCE + 4, ("hashing@all", "hashing@all,sum")
    cold = account(prepare_hashing=38_000.0, encode_hashing=1_600.0, scale_hashing=480.0, other=0.0)
    warm = account(prepare_hashing=2.0, encode_hashing=900.0, scale_hashing=1.0, other=0.0)
    plain, given = Engine.rank, [cold, warm, warm, warm]  # two lots of queries, by both recipes in turn

    def timed(engine: Engine, queries: Sequence[Query], *rest: Any) -> Run:
        run = plain(engine, queries, *rest)
        return replace(run, meta=run.meta | given.pop(0))

    monkeypatch.setattr(Engine, "rank", timed)
    asked = query_set.of_lines("\n".join(f"red car {place}" for place in range(number)))
    rows, spent = query_set.disagreement(filtered, asked, recipes)
    assert not given and spent == [added([cold, warm]), added([warm, warm])]
    shown = query_set.drawn(rows, recipes, spent, "pasted")
    assert re.findall(r"</code> · ([^<]+)</li>", shown) == [
        "125 ms a query + 38.48 s to get ready, once",  # 1,600 and 900 ms over 20 queries
        "90 ms a query",
    ]
    assert query_set.BY_ITSELF in shown and "waiting for them is counted" in shown
