"""`cross`: a model that reads the query and the items puts the first of a list in order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import whole_encoders
from drawings import drawing
from ingesting import add
from whole_encoders import READER

from ingest.pipeline import forget
from mmretrieval import catalog
from mmretrieval.engine import Engine
from mmretrieval.errors import BadQuery, BadVectors, EncoderError, UnknownName
from mmretrieval.library import Library
from mmretrieval.types import Content, Part, Query

SAID = ["a fox", "a red fox in the snow", "snow", "", "the red snow fox"]


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    table = whole_encoders.blocks()
    monkeypatch.setattr(catalog, "blocks", lambda: table)
    monkeypatch.setattr(catalog, "_loaded", {})


@pytest.fixture
def library(tmp_path: Path) -> Library:
    files = tmp_path / "files"
    files.mkdir()
    for seed, caption in enumerate(SAID):
        drawing(seed).save(files / f"{seed}.png")
        (files / f"{seed}.json").write_text(json.dumps({"caption": caption}))
    library = Library.create(tmp_path / "l", ["hashing"])
    add(library, files)
    return library


def asked(*parts: Part) -> Query:
    return Query(parts or (Part(Content(text="red fox snow")),))


def seeds(library: Library, recipe: str, query: Query | None = None) -> list[int]:
    hits = Engine(library, exact=True).rank([query or asked()], recipe, 5).rankings[0].hits
    items = library.items_by_id([h.id for h in hits])
    return [int(Path(items[h.id].paths[0]).stem) for h in hits]


def shared(seed: int) -> int:
    return len({"red", "fox", "snow"} & set(SAID[seed].split()))


def test_items_with_words_are_put_in_order_and_the_others_keep_their_places(library: Library) -> None:
    before, after = (seeds(library, f"hashing@visual{s}") for s in ("", f",cross:{READER}"))
    assert after.index(3) == before.index(3), "a picture without words says nothing to a reader of words"
    wordy = [s for s in before if s != 3]
    assert [s for s in after if s != 3] == sorted(wordy, key=lambda s: (-shared(s), wordy.index(s)))


def test_only_the_first_depth_are_read(library: Library) -> None:
    before, after = (seeds(library, f"hashing@visual{s}") for s in ("", f",cross:{READER}:2"))
    assert after[2:] == before[2:]
    assert sorted(after[:2]) == sorted(before[:2])
    model = catalog.load_reranker(READER)
    assert max(len(batch) for batch in model.seen) <= 2  # type: ignore[attr-defined]


def test_a_reader_of_pictures_gets_the_pixels_and_a_lost_file_keeps_its_place(library: Library) -> None:
    # It reads one at a time: the picture, where there is one.
    recipe = f"hashing@visual,cross:{READER}-sees"
    red = [float(np.asarray(drawing(s))[..., 0].mean()) for s in range(5)]
    before = seeds(library, "hashing@visual")
    assert seeds(library, recipe) == sorted(before, key=lambda s: -red[s])
    gone = before[0]
    path = next(i.paths[0] for i in library.items() if Path(i.paths[0]).stem == str(gone))
    Path(path).unlink()
    after = seeds(library, recipe)
    # Its words can still be read, but a picture is what this model compares: it stays where it was.
    assert after[0] == gone
    assert after[1:] == sorted(before[1:], key=lambda s: -red[s])


def test_the_trail_says_what_the_model_thought(library: Library) -> None:
    run = Engine(library, exact=True).rank([asked()], f"hashing@visual,cross:{READER}:3", 5)
    stage = f"cross:{READER}:3"
    assert run.recipe.endswith(stage)
    hits = run.rankings[0].hits
    marks = [m for h in hits for m in h.trail if m.stage == stage]
    assert [m.rank for m in marks] == list(range(1, len(marks) + 1))
    assert all(h.score == m.score for h in hits for m in h.trail if m.stage == stage)
    (model,) = run.meta["rerankers"]
    assert (model["spec"], model["licence"]) == (READER, catalog.card(READER).licence)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        (asked(Part(Content(text="a")), Part(Content(text="b"), weight=-1.0)), "leave out its negative parts"),
        (asked(Part(Content(image=drawing(0)))), "reads text; the query has image"),
        (asked(Part(item="x")), "a stored item cannot be asked for"),
    ],
)
def test_what_a_reader_cannot_be_asked_is_refused(library: Library, query: Query, says: str) -> None:
    with pytest.raises(BadQuery, match=says):
        seeds(library, f"hashing@visual,cross:{READER}", query)


def test_an_encoder_is_no_reader_and_a_reader_no_encoder(library: Library) -> None:
    with pytest.raises(EncoderError, match="hashing is an encoder, not a reranker"):
        seeds(library, "hashing@visual,cross:hashing")
    with pytest.raises(UnknownName, match=f"no encoder is called 'overlop'.*{READER}"):
        seeds(library, "hashing@visual,cross:overlop")
    with pytest.raises(EncoderError, match=f"{READER} is a reranker, not an encoder"):
        library.register([READER])
    assert READER not in catalog.cards()
    assert READER in catalog.rerankers()


def test_scores_that_are_none_are_refused(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whole_encoders.Overlap._one", lambda *_: float("nan"))
    with pytest.raises(BadVectors, match=f"{READER}.*not finite"):
        seeds(library, f"hashing@visual,cross:{READER}")


def test_an_item_that_was_removed_since_the_index_last_looked_is_not_read(library: Library) -> None:
    library.open_indexes()
    library.sync_indexes()
    try:
        with Library.open(library.path) as other:
            assert forget(other, [next(f.path for f in other.files())]) == 1
        assert library.indexes_behind()
        ranking = Engine(library).rank([asked()], f"hashing@visual,cross:{READER}", 5).rankings[0]
        assert len(ranking.hits) == len(SAID)
    finally:
        library.close()
