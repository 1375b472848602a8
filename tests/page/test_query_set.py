"""A dataset's queries on the page keep their filters, and find what `eval run` finds under them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from eval import judging
from eval.dataset import Dataset
from eval.judging import Shelf
from eval.reading import load
from mmretrieval.engine import Engine
from mmretrieval.library import Library
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
    rows, _ = query_set.disagreement(filtered, asked, ("hashing@text", "hashing@visual"))
    assert {row.asked for row in rows} == set(asked)
    assert "where shelf = shelf 1" in query_set.drawn(rows, ("hashing@text", "hashing@visual"), [1.0, 1.0], whence)
