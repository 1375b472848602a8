"""What diagnostics are given of a library: views in order, the items' own words as questions, classes, a rival."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import whole_encoders
from drawings import drawing

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval import catalog, subjects
from mmretrieval.bank import Bank, null_bank
from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.engine import Engine
from mmretrieval.errors import BadRecipe, RetrievalError, UnknownName
from mmretrieval.geometry import unit
from mmretrieval.library import Library
from mmretrieval.subjects import Question, of_library
from mmretrieval.types import Array, Content, Part, Query


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Nine pictures, eight with captions, six with a colour; two encoders, one of them joint."""
    table = whole_encoders.blocks()
    monkeypatch.setattr(catalog, "blocks", lambda: table)
    folder = tmp_path / "files"
    folder.mkdir()
    for seed in range(9):
        drawing(seed).save(folder / f"{seed}.png")
        told = {"caption": f"thing number {seed}" if seed < 8 else "", "size": seed}
        (folder / f"{seed}.json").write_text(json.dumps(told | ({"colour": "red"} if seed < 6 else {})))
    made = Library.create(tmp_path / "l", ["hashing", whole_encoders.JOINT])
    assert ingest(made, walk([folder]), workers=1).failed == 0
    return made


def test_views_come_pictures_first_and_words_ask_for_their_own_pictures(library: Library) -> None:
    subject = of_library(library, "hashing")
    assert list(subject.views) == ["visual", "text"]
    assert (subject.searched, subject.name) == ("visual", "hashing@all")
    matrices = library.matrices("hashing")
    np.testing.assert_array_equal(subject.views["visual"].rows, matrices["visual"].rows)
    asked, searched = subject.asked()
    assert searched is subject.views["visual"]
    assert asked.ids == matrices["text"].ids
    assert set(asked.kinds) == {"caption"}
    assert asked.relevant == tuple(frozenset([i]) for i in asked.ids)
    np.testing.assert_array_equal(asked.rows, matrices["text"].rows)
    assert subject.reference is not None
    assert len(subject.reference.queries) == len(subject.reference.parts["text"]) > 100
    assert list(of_library(library, whole_encoders.JOINT).views) == ["visual", "text", "joint"]


def test_transforms_change_items_and_questions_and_what_comes_later_does_not(library: Library) -> None:
    subject = of_library(library, "hashing@visual,center,nnn,gram")
    assert subject.name == "hashing@visual,center"
    rows = library.matrices("hashing")["visual"].rows.astype(np.float64)
    np.testing.assert_allclose(subject.views["visual"].rows, unit(rows - rows.mean(axis=0)), atol=1e-6)
    plain = of_library(library, "hashing@visual").asked()[0].rows
    moved = subject.asked()[0].rows
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-6)
    assert not np.allclose(moved, plain)


@pytest.mark.parametrize("recipe", ["hashing", "hashing@visual,center,whiten:8", f"{whole_encoders.JOINT},joint"])
def test_null_questions_are_the_generic_captions_whatever_the_bank(library: Library, recipe: str) -> None:
    usual = of_library(library, recipe)
    assert usual.nulls is not None and usual.reference is not None
    # Without a bank of its own, a library's corrections are fitted on the very same.
    np.testing.assert_array_equal(usual.nulls, usual.reference.queries)
    own = Bank("asks", tuple(Query((Part(Content(text=f"thing number {i}")),), id=f"b{i}") for i in range(8)))
    banked = of_library(library, recipe, engine=Engine(library, exact=True, bank=own))
    assert banked.nulls is not None and banked.reference is not None
    assert (len(banked.reference.queries), len(banked.nulls)) == (8, len(null_bank()))
    plain = hashed(null_bank())
    if "center" not in recipe:
        np.testing.assert_allclose(banked.nulls, plain, atol=1e-6)
        np.testing.assert_allclose(banked.reference.queries, hashed([f"thing number {i}" for i in range(8)]), atol=1e-6)


def test_null_questions_are_transformed_as_questions_are(library: Library) -> None:
    own = Bank("asks", tuple(Query((Part(Content(text=f"thing number {i}")),), id=f"b{i}") for i in range(8)))
    found = of_library(library, "hashing@visual,center", engine=Engine(library, exact=True, bank=own)).nulls
    mean = hashed([f"thing number {i}" for i in range(8)]).astype(np.float64).mean(axis=0)
    assert found is not None
    np.testing.assert_allclose(found, unit(hashed(null_bank()) - mean), atol=1e-5)


def test_an_encoder_that_reads_no_words_has_no_null_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = catalog.blocks()
    block = replace(table["hashing"], name="sees", facts={**table["hashing"].facts, "reads": ["image"]})
    monkeypatch.setattr(catalog, "blocks", lambda: {**table, "sees": block})
    for seed in range(5):
        drawing(seed).save(tmp_path / f"{seed}.png")
    library = Library.create(tmp_path / "l", ["sees"])
    assert ingest(library, walk([tmp_path]), workers=1).failed == 0
    pictures = [
        Question(Query((Part(Content(image=drawing(i))),), id=f"q{i}"), "image", frozenset([ident]))
        for i, ident in enumerate(library.matrices("sees")["visual"].ids)
    ]
    subject = of_library(library, "sees", questions=pictures)
    assert subject.nulls is None
    found = DIAGNOSTICS["calibration"].run(subject)
    assert not [name for name in found.numbers if "null" in name]
    assert "an encoder reads no words" in found.absent[-1]


def hashed(words: Sequence[str]) -> Array:
    return unit(catalog.load("hashing").encode([Content(text=said) for said in words], "query"))


def test_questions_are_posed_with_their_answers_and_what_is_no_answer(library: Library) -> None:
    first, second = library.matrices("hashing")["visual"].ids[:2]
    query = Query((Part(Content(text="thing")), Part(item=second, weight=0.5)), id="q", exclude=frozenset([second]))
    subject = of_library(library, "hashing@visual", questions=[Question(query, "composed", frozenset([first]))])
    asked, _ = subject.asked()
    assert (asked.ids, asked.kinds, asked.relevant) == (("q",), ("composed",), (frozenset([first]),))
    assert asked.excluded == (frozenset([second]),)
    posed = Engine(library, exact=True).rank([query], "hashing@visual", 9).rankings[0].hits
    scores = subject.views["visual"].rows.astype(np.float64) @ asked.rows[0].astype(np.float64)
    best = [i for i in np.argsort(-scores, kind="stable") if subject.views["visual"].ids[i] != second]
    assert [subject.views["visual"].ids[i] for i in best] == [h.id for h in posed]


def test_the_second_encoder_is_the_rival_of_the_first(library: Library) -> None:
    subject = of_library(library, f"hashing@visual+{whole_encoders.JOINT}@visual")
    assert subject.rival is not None
    assert subject.rival.name == f"{whole_encoders.JOINT}@visual"
    assert subject.rival.views["visual"].ids == subject.views["visual"].ids


def test_two_views_of_one_encoder_are_no_rivals(library: Library) -> None:
    alone = of_library(library, "hashing@visual+hashing@text")
    assert alone.rival is None and alone.name == "hashing@visual"
    third = of_library(library, f"hashing@visual+hashing@text+{whole_encoders.JOINT}@text").rival
    assert third is not None and third.name == f"{whole_encoders.JOINT}@text"


def test_a_view_that_is_not_there_is_refused_in_words(library: Library, tmp_path: Path) -> None:
    for recipe in ("hashing@joint", f"{whole_encoders.JOINT}@visual+hashing@joint"):
        with pytest.raises(BadRecipe, match="^hashing@joint: hashing makes no joint view, only visual, text$"):
            of_library(library, recipe)
    drawing(1).save(tmp_path / "only.png")
    plain = Library.create(tmp_path / "plain", ["hashing"])
    with pytest.raises(
        BadRecipe, match="^hashing@all: no item of this library has a vector of hashing: add pictures with captions$"
    ):
        of_library(plain, "hashing")
    assert ingest(plain, walk([tmp_path / "only.png"]), workers=1).failed == 0
    with pytest.raises(BadRecipe, match="^hashing@text: no item .* has a text vector of hashing: take hashing@visual,"):
        of_library(plain, "hashing@text")
    assert of_library(plain, "hashing").searched == "visual"


def test_a_search_among_captions_has_no_captions_to_ask_with(library: Library, tmp_path: Path) -> None:
    with pytest.raises(
        RetrievalError, match="^hashing@text has no questions to ask: captions cannot ask for themselves"
    ):
        of_library(library, "hashing@text").asked()


def test_classes_are_a_key_of_the_metadata_and_a_wrong_one_is_refused(library: Library) -> None:
    subject = of_library(library, "hashing@visual", classes="colour")
    assert sorted(subject.classes.values()) == ["red"] * 6
    with pytest.raises(UnknownName, match=r"no item has a class under 'color': its metadata have colour, size"):
        of_library(library, "hashing@visual", classes="color")


def test_of_many_captions_some_are_drawn_by_the_seed(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "MOST_CAPTIONS", 5)
    draws = [of_library(library, "hashing@visual", seed=seed).asked()[0].ids for seed in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1]
    assert len(set(draws)) > 1
    assert all(len(set(ids)) == 5 and list(ids) == sorted(ids) for ids in draws)
