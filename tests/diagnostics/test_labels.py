"""Every number has a label for people and a reason where it may have no value; nothing empty is shown."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.diagnostics.asking import counted
from mmretrieval.diagnostics.labels import TABLES, place
from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.errors import RetrievalError
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix

N = 60
VIEWS = ("visual", "text", "joint")


def rows(seed: int, n: int = N, shift: float = 0.0) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(n, 8)) + shift * np.eye(8)[seed % 8]
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def subject(kinds: tuple[str, ...] = ("text", "caption", "composed", "image")) -> Subject:
    ids = tuple(f"{i:03}" for i in range(N))
    views = {view: Matrix(ids, rows(seed, shift=2.0)) for seed, view in enumerate(VIEWS)}
    asked = Questions(
        rows(9),
        tuple(f"q{i}" for i in range(N)),
        tuple(kinds[i % len(kinds)] for i in range(N)),
        tuple(frozenset([i]) for i in ids),
        words=tuple(f"what number {i} is" for i in range(N)),
    )
    bank = rows(10, 40)
    reference = Reference(views, {"text": bank}, bank)  # type: ignore[arg-type]
    classes = {ident: str(i % 3) for i, ident in enumerate(ids)}
    made = Subject(views, "visual", "new@visual", asked, reference, classes=classes, nulls=rows(11, 30))  # type: ignore[arg-type]
    others = {view: Matrix(ids, rows(20 + seed)) for seed, view in enumerate(VIEWS)}
    return replace(made, rival=replace(made, views=others, name="old@visual"))


@pytest.mark.parametrize("name", sorted(DIAGNOSTICS))
@pytest.mark.parametrize("classes", [True, False])
def test_every_number_has_a_place_and_its_key_is_its_column_and_its_row(name: str, classes: bool) -> None:
    looked = subject() if classes else replace(subject(), classes={}, questions=None, reference=None)
    if name in ("hubness", "calibration") and not classes:
        with pytest.raises(RetrievalError, match="no questions"):
            DIAGNOSTICS[name].run(looked, seed=0)
        return
    found = DIAGNOSTICS[name].run(looked, seed=0)
    assert set(TABLES) == set(DIAGNOSTICS)
    seen = set()
    for key, value in found.numbers.items():
        placed = place(name, key, found.basis)
        assert placed.prefix + placed.suffix == key
        assert placed.table and placed.row and placed.column, key
        assert "{" not in placed.row + placed.column and "  " not in placed.row, placed
        assert not placed.row.startswith((" ", "of ")) and " of (" not in placed.row, placed
        assert (placed.table, placed.column, placed.row) not in seen, key
        # The same words for two numbers would tell nobody which is which.
        if not placed.row.startswith("..."):
            seen.add((placed.table, placed.column, placed.row))
        assert value is None or math.isfinite(value)
        assert value is not None or placed.absent, f"{key} has no value, and no reason why"
    for plot in found.plots:
        assert any(trace.y for trace in plot.traces), plot.name
    for exhibit in found.exhibits:
        assert exhibit.rows, exhibit.title


def test_sides_are_called_by_their_views() -> None:
    basis = {"labels": {"a": "rows of image", "b": "rows of text"}, "a": "a", "b": "b"}
    assert place("gap", "centered.uniformity_b", basis).row.startswith("uniformity of rows of text")
    named = place("calibration", "rival_caption_visual.auc", {"labels": {"visual": "pictures"}})
    assert named.column == "captions, of pictures (second encoder)"


def test_labels_say_what_a_number_is_of() -> None:
    found = DIAGNOSTICS["gap"].run(subject(), seed=0)
    assert place("gap", "shift_loss", found.basis).row.endswith("0.01, in batches of 50 pairs (nats)")
    assert place("gap", "centroid_distance", found.basis).row == "distance of the means of unit vectors (0 to 2)"
    # What descent did not find, another query may.
    row = place("capacity", "free.critical_5", {}).row
    assert row == "documents all of whose pairs descent found queries for, in 5 dimensions (count)"


def test_questions_are_called_what_they_are() -> None:
    assert counted(("text", "composed", "text")) == "2 questions in words and 1 question of a picture with words"
    assert counted(("caption",) * 3, "rows of b") == "3 rows of b that stand for questions"


def test_calibration_shows_what_was_asked_and_hubness_what_the_questions_are() -> None:
    found = DIAGNOSTICS["calibration"].run(subject(("text",)), seed=0)
    assert found.exhibits[0].rows[0][1][0].startswith("what number ")
    hubs = DIAGNOSTICS["hubness"].run(subject(("caption",)), seed=0)
    assert "Over 60 captions that stand for questions asked of pictures" in hubs.sentence
    assert "a bank of 40 reference queries" in hubs.sentence
    assert "60 questions in words asked" in DIAGNOSTICS["hubness"].run(subject(("text",)), seed=0).sentence


def test_what_would_be_empty_is_a_sentence() -> None:
    ids = tuple(f"{i:02}" for i in range(16))
    apart = np.eye(16, dtype=np.float32)
    space = Subject({"visual": Matrix(ids, apart)}, "visual", "apart")  # type: ignore[arg-type]
    concepts = DIAGNOSTICS["concepts"].run(space, seed=0)
    assert "duplicates" not in {p.name for p in concepts.plots}
    assert concepts.absent == ("No two items have a cosine of 0.8 or more.",)
    right = Questions(apart, ids, ("text",) * 16, tuple(frozenset([i]) for i in ids))
    asked = replace(space, questions=right)
    calibration = DIAGNOSTICS["calibration"].run(asked, seed=0)
    assert not calibration.exhibits and "No questions in words" in calibration.absent[0]
    assert "generic captions score" in calibration.absent[1]
    everyone = np.tile(apart, (4, 1))
    many = Questions(everyone, tuple(map(str, range(64))), ("text",) * 64, (frozenset(),) * 64)
    hubs = DIAGNOSTICS["hubness"].run(replace(space, questions=many), seed=0)
    assert hubs.numbers["never_retrieved"] == 0
    assert "never_retrieved" not in {p.name for p in hubs.plots} and "Every item is among the first 8" in hubs.absent[0]
