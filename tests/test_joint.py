"""A joint encoder reads words and pictures at once: as queries, and as the joint view of an item."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import whole_encoders
from drawings import drawing
from ingesting import add, numbers
from whole_encoders import JOINT

from mmretrieval import catalog
from mmretrieval.composition import PartVectors
from mmretrieval.embedding import embed
from mmretrieval.engine import Engine
from mmretrieval.errors import BadRecipe, CannotRead
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.search.compose import read_together, weighted_sum
from mmretrieval.types import Content, Part, Query


@pytest.fixture(autouse=True)
def joint_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    table = whole_encoders.blocks()
    monkeypatch.setattr(catalog, "blocks", lambda: table)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = tmp_path / "files"
    files.mkdir()
    for seed, caption in enumerate(["a red fox", "a blue whale", ""]):
        drawing(seed).save(files / f"{seed}.png")
        (files / f"{seed}.json").write_text(json.dumps({"caption": caption}))
    return files


@pytest.fixture
def library(tmp_path: Path, folder: Path) -> Library:
    library = Library.create(tmp_path / "l", [JOINT, "hashing"])
    assert numbers(add(library, folder)) == {"stored": 3}
    return library


def vector(*contents: Content) -> np.ndarray:
    return embed(catalog.load(JOINT), list(contents), "item")


def test_items_with_both_get_a_joint_view_and_others_do_not(library: Library) -> None:
    matrices = library.matrices(JOINT)
    assert {view: len(m.ids) for view, m in matrices.items()} == {"visual": 3, "text": 2, "joint": 2}
    assert set(library.matrices("hashing")) == {"visual", "text"}
    by_id = library.items_by_id(matrices["joint"].ids)
    expected = [vector(Content(text=by_id[i].text, image=_picture(by_id[i])))[0] for i in matrices["joint"].ids]
    np.testing.assert_allclose(matrices["joint"].rows, expected, atol=1e-6)


def _picture(item):  # type: ignore[no-untyped-def]
    return drawing(int(Path(item.paths[0]).stem))


def test_a_changed_caption_changes_the_joint_view_and_a_removed_one_drops_it(library: Library, folder: Path) -> None:
    before = {v: m.rows.copy() for v, m in library.matrices(JOINT).items()}
    (folder / "0.json").write_text('{"caption": "a green frog"}')
    assert numbers(add(library, folder)) == {"replaced": 1, "unchanged": 2}
    after = library.matrices(JOINT)
    np.testing.assert_array_equal(after["visual"].rows, before["visual"])
    assert not np.array_equal(after["joint"].rows, before["joint"])
    (folder / "0.json").write_text('{"caption": ""}')
    assert numbers(add(library, folder)) == {"replaced": 1, "unchanged": 2}
    assert {view: len(m.ids) for view, m in library.matrices(JOINT).items()} == {"visual": 3, "text": 1, "joint": 1}


def test_parts_that_pull_are_read_at_once_and_the_rest_is_added(library: Library) -> None:
    engine = Engine(library, exact=True)
    parts = (
        Part(Content(text="a fox")),
        Part(Content(image=drawing(1)), weight=2.0),
        Part(Content(text="at night"), weight=0.5),
        Part(Content(text="blue"), weight=-0.5),
    )
    both, blue = vector(Content(text="a fox at night", image=drawing(1)), Content(text="blue"))
    expected = weighted_sum(PartVectors.of(np.stack([both, blue]), [2.0, -0.5])).row
    matrix = library.matrices(JOINT)["visual"]
    order = np.argsort(-(matrix.rows @ expected), kind="stable")
    run = engine.rank([Query(parts)], f"{JOINT}@visual", 3)
    assert run.recipe == f"{JOINT}@visual,joint"
    assert [h.id for h in run.rankings[0].hits] == [matrix.ids[i] for i in order]
    scores = [h.score for h in run.rankings[0].hits]
    np.testing.assert_allclose(scores, (matrix.rows @ expected)[order], atol=1e-6)
    # The order of the words is the encoder's affair; said with `sum`, each part is read alone.
    summed = engine.rank([Query(parts)], f"{JOINT}@visual,sum", 3).rankings[0]
    assert not np.allclose([h.score for h in summed.hits], scores)


def test_a_plain_encoder_beside_a_joint_one_adds_its_parts(library: Library) -> None:
    query = Query((Part(Content(text="a fox")), Part(Content(image=drawing(1)))))
    run = Engine(library, exact=True).rank([query], f"hashing@visual+{JOINT}@visual", 3)
    assert run.recipe == f"hashing@visual+{JOINT}@visual,joint,rrf:60"
    alone = Engine(library, exact=True).rank([query], "hashing@visual", 3).rankings[0]
    marks = {h.id: next(m for m in h.trail if m.stage == "hashing@visual").score for h in run.rankings[0].hits}
    assert marks == {h.id: h.score for h in alone.hits}


def test_the_default_composer_is_the_encoders_own() -> None:
    assert str(parse(JOINT)) == f"{JOINT}@all,joint"
    assert str(parse("hashing")) == "hashing@all,sum"
    assert str(parse("nobody-knows-it")) == "nobody-knows-it@all,sum"


def test_joint_is_refused_where_nobody_reads_both(library: Library) -> None:
    with pytest.raises(BadRecipe, match="hashing reads words and pictures one at a time: write sum instead of joint"):
        Engine(library).rank([Query((Part(Content(text="x")),))], "hashing,joint")


def test_what_an_encoder_cannot_read_is_refused_before_any_work(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = whole_encoders.blocks()
    blind = {**table["hashing"].facts, "reads": ["text"]}
    table = {**table, "hashing": type(table["hashing"])(**{**vars(table["hashing"]), "facts": blind})}
    monkeypatch.setattr(catalog, "blocks", lambda: table)
    monkeypatch.setattr(catalog, "_loaded", {})
    monkeypatch.setattr(catalog, "load", lambda spec: pytest.fail(f"loaded {spec} before refusing"))
    query = Query((Part(Content(image=drawing(0))),))
    with pytest.raises(CannotRead, match="hashing reads text; the query has image"):
        Engine(library, exact=True).rank([query], f"{JOINT}@visual+hashing@text")


def test_reading_together_keeps_what_it_does_not_join() -> None:
    words, more, seen, clip = Content(text="a"), Content(text=" b "), Content(image=drawing(0)), drawing(1)
    away, stored = Part(Content(text="c"), weight=-1.0), Part(item="i", weight=3.0)
    frames = Content(frames=(clip, clip), instruction="find")
    got = read_together([Part(words), stored, Part(seen, weight=0.5), away, Part(more), Part(frames)])
    assert [(p.content.text if p.content else p.item, p.weight) for p in got] == [
        ("a b", 0.5), ("a b", 1.0), ("i", 3.0), ("c", -1.0),
    ]  # fmt: skip
    assert all(p.content is None or p.content.instruction in ("find", None) for p in got)
    (only,) = read_together([Part(words, weight=0.25), Part(more)])
    assert (only.content, only.weight) is not None
    assert only.content is not None
    assert (only.content.text, only.content.image, only.weight) == ("a b", None, 1.25)
    assert read_together([Part(seen), away]) == (Part(seen), away) or len(read_together([Part(seen), away])) == 2


@pytest.mark.parametrize(
    ("recipe", "says"), [("hashing@joint", "hashing@joint: hashing makes no joint view, only visual, text")]
)
def test_a_view_that_an_encoder_does_not_make_is_refused(library: Library, recipe: str, says: str) -> None:
    with pytest.raises(BadRecipe, match=says):
        Engine(library).rank([Query((Part(Content(text="x")),))], recipe)
