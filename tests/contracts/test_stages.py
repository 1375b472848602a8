"""Every row of the tables of stages keeps what the engine counts on, whoever wrote it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mmretrieval.composition import PartVectors
from mmretrieval.recipe import SLOTS
from mmretrieval.reference import Reference
from mmretrieval.search import AS_AN_ENTRY, BLENDS, COMPOSERS, CORRECTIONS, FUSERS, ONE_VIEW, RERANKERS, TRANSDUCTIVE
from mmretrieval.stages import StageRow
from mmretrieval.store.exact import Matrix
from mmretrieval.transforms import TARGETED, TRANSFORMS
from mmretrieval.types import Array, Found, Modality, View

DIM = 12


def units(count: int, seed: int, dim: int = DIM) -> Array:
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def defaults(row: StageRow[Any]) -> tuple[float, ...]:
    return tuple(parameter.default for parameter in row.parameters)


CENTRES: dict[Modality, Array] = {"text": 0.3 * units(1, 20)[0], "image": 0.3 * units(1, 21)[0]}
EVERY = {name: row for _, table, _ in SLOTS for name, row in table.items()}
# How an indirect question begins: every meaning reads on after "it says".
ASKS = re.compile(r"(how|which|what|(over|in|to|by) (how many|what|which))\b")


@pytest.mark.parametrize("name", EVERY)
def test_a_row_says_what_its_arguments_mean_and_where_it_is_from(name: str) -> None:
    """`python -m eval stages`, docs/stages.md and the errors of recipes say what is in the row: none leaves it out."""
    row = EVERY[name]
    assert row.source, "a paper with its year, or that it is a textbook's or this project's"
    if not row.source.startswith(("textbook", "this project's")):
        assert re.search(r"\b(19|20)\d\d\b", row.source)
    for arxiv in re.findall(r"arXiv ([^),]*)", row.source):
        assert re.fullmatch(r"\d{4}\.\d{5}", arxiv)
    names = [parameter.name for parameter in row.parameters]
    assert len(set(names)) == len(names)
    for parameter in row.parameters:
        assert ASKS.match(parameter.meaning), parameter
        assert not parameter.meaning.endswith(".")
        # A count is of something; a share, a weight or a temperature is not.
        assert bool(parameter.unit) == parameter.whole
        # The table's 0 is no number of axes, bits or parts: it must say what it stands for.
        if parameter.whole and parameter.low == 0 and parameter.default == 0:
            assert "; 0 " in parameter.meaning


@pytest.mark.parametrize("row", COMPOSERS.values(), ids=COMPOSERS)
def test_a_composer_gives_one_unit_row_and_leaves_what_it_was_given(row: StageRow[Any]) -> None:
    rows, weights, feedback = units(3, 0), np.array([1.0, 2.0, -0.5]), np.array([False, False, True])
    kept = rows.copy(), weights.copy()
    composed = row.run(PartVectors(rows, weights, ("text", "image", "image"), feedback, CENTRES), *defaults(row))
    assert (composed.row.shape, composed.row.dtype) == ((DIM,), np.float32)
    assert np.linalg.norm(composed.row.astype(np.float64)) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(composed.shares @ rows.astype(np.float64) + composed.base, composed.row, atol=1e-6)
    np.testing.assert_array_equal(rows, kept[0])
    np.testing.assert_array_equal(weights, kept[1])
    alone = PartVectors(rows[:1], np.array([0.3]), ("text",), feedback[:1], CENTRES)
    np.testing.assert_allclose(row.run(alone, *defaults(row)).row, rows[0], atol=1e-6)


@pytest.mark.parametrize("row", BLENDS.values(), ids=BLENDS)
def test_a_blend_gives_every_item_a_finite_score_and_leaves_what_it_was_given(row: StageRow[Any]) -> None:
    scores, weights = np.random.default_rng(0).uniform(-1, 1, size=(3, 9)), np.array([1.0, 2.0, -0.5])
    kept = scores.copy(), weights.copy()
    blended = row.run(scores, weights, np.array([False, True, True]), *defaults(row))
    assert (blended.shape, blended.dtype) == ((9,), np.float64)
    assert np.isfinite(blended).all()
    np.testing.assert_array_equal(scores, kept[0])
    np.testing.assert_array_equal(weights, kept[1])
    alone = row.run(scores[:1], np.array([0.3]), np.array([False]), *defaults(row))
    np.testing.assert_array_equal(np.argsort(-alone), np.argsort(-scores[0]))


@pytest.mark.parametrize("row", FUSERS.values(), ids=FUSERS)
def test_a_fuser_gives_every_id_once_best_first_in_whatever_order_the_lists_come(row: StageRow[Any]) -> None:
    chance = np.random.default_rng(1)
    lists = []
    for length in (9, 4, 6):
        names = [f"item {n}" for n in chance.permutation(12)[:length]]
        lists.append(Found.ordered(names, chance.normal(size=length)))
    kept = [(found.ids, found.scores.copy()) for found in lists]
    fused = row.run(lists, (1.0, 2.0, 0.5), *defaults(row))
    assert sorted(fused.ids) == sorted({i for found in lists for i in found.ids})
    assert np.isfinite(fused.scores).all()
    assert (np.diff(fused.scores) <= 0).all()
    turned = row.run(lists[::-1], (0.5, 2.0, 1.0), *defaults(row))
    assert turned.ids == fused.ids
    np.testing.assert_array_equal(turned.scores, fused.scores)
    for found, (ids, scores) in zip(lists, kept, strict=True):
        assert found.ids == ids
        np.testing.assert_array_equal(found.scores, scores)


@pytest.mark.parametrize("name", RERANKERS)
def test_a_reranker_permutes_the_first_depth_and_leaves_the_rest(name: str) -> None:
    row = RERANKERS[name]
    arguments = dict(zip((p.name for p in row.parameters), defaults(row), strict=True))
    assert "depth" in arguments, "the engine searches as deep as the argument of that name says"
    n, depth = 30, 20
    present = np.random.default_rng(2).random(n) < 0.7
    views: dict[View, tuple[Array, Any]] = {
        "visual": (units(n, 3), np.ones(n, dtype=np.bool_)),
        "text": (np.where(present[:, None], units(n, 4), np.float32(0)), present),
    }
    if name in ONE_VIEW:
        del views["visual"]
    kept = {view: rows.copy() for view, (rows, _) in views.items()}
    done = row.run(units(1, 5)[0], views, *(arguments | {"depth": depth}).values())
    assert sorted(done.order.tolist()) == list(range(n))
    assert done.order[depth:].tolist() == list(range(depth, n))
    assert done.scores.shape == (n,)
    assert np.isnan(done.scores[depth:]).all()
    assert not np.isinf(done.scores).any()
    for view, rows in kept.items():
        np.testing.assert_array_equal(views[view][0], rows)


IDS = tuple(f"{i:03d}" for i in range(80))
QUICK = {"bebr": (8.0, 0.0), "align-bebr": (8.0, 0.0)}  # one code is trained in a fraction of the time of three
SMALL = {"pca": (6.0,), "mrl": (6.0,)}  # fewer than the rows have numbers


def reference(dim: int, seed: int) -> Reference:
    """Eighty items with pixels, fifty of them with words, and a bank of words."""
    items = {"visual": Matrix(IDS, units(80, seed, dim)), "text": Matrix(IDS[:50], units(50, seed + 1, dim))}
    return Reference(items, {"text": units(40, seed + 2, dim)}, units(40, seed + 2, dim))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_gives_finite_rows_each_as_if_it_were_alone(name: str) -> None:
    """Items and queries end with as many numbers, zero rows stay zero, and nothing handed in is changed."""
    given = reference(DIM, 6)
    searched = given
    if name in TARGETED:
        searched = reference(DIM + 3, 16)
        given = replace(given, target=searched)
    kept = {view: matrix.rows.copy() for view, matrix in searched.items.items()}
    fitted = TRANSFORMS[name].run(given, *SMALL.get(name, defaults(TRANSFORMS[name])))
    asked = units(5, 9)
    asked[4] = 0
    length = fitted.query("text", asked).shape[1]
    assert fitted.item_bytes > 0
    for view, matrix in searched.items.items():
        rows = matrix.rows.copy()
        rows[3] = 0
        turned = fitted.items(view, rows)
        assert (turned.shape, turned.dtype) == ((len(rows), length), np.float32)
        assert np.isfinite(turned).all()
        assert not turned[3].any()
        np.testing.assert_allclose(fitted.items(view, rows[5:6]), turned[5:6], atol=1e-6)
        np.testing.assert_array_equal(matrix.rows, kept[view])
    for modality in ("text", "image", "frames"):
        turned = fitted.query(modality, asked)
        assert (turned.shape, turned.dtype) == ((5, length), np.float32)
        assert np.isfinite(turned).all()
        assert not turned[4].any()
        np.testing.assert_allclose(fitted.query(modality, asked[2:3]), turned[2:3], atol=1e-6)


def result(name: str, given: Reference, searched: Reference) -> Array:
    """What a stage, fitted to one reference, makes of the pixels of another and of a query in words."""
    if name in CORRECTIONS:
        fitted = CORRECTIONS[name].run(given, *defaults(CORRECTIONS[name]))
        scores = np.random.default_rng(3).uniform(-1, 1, size=(7, len(IDS)))
        return np.asarray(fitted.scores("visual", scores), dtype=np.float32)
    turned = TRANSFORMS[name].run(given, *(SMALL | QUICK).get(name, defaults(TRANSFORMS[name])))
    asked = turned.query("text", units(5, 9))
    return np.concatenate([turned.items("visual", searched.items["visual"].rows), asked])


@pytest.mark.parametrize("name", [*TRANSFORMS, *CORRECTIONS])
def test_a_row_names_what_it_is_fitted_to(name: str) -> None:
    """Other items, and other reference queries, change what comes out exactly where the row names them."""
    given, other = reference(DIM, 6), reference(DIM, 60)
    changed = {
        "items": replace(given, items=other.items),
        "reference queries": replace(given, parts=other.parts, queries=other.queries),
    }
    # Without words of items there are no pairs: what is fitted to these may then fall back to the bank.
    bare = replace(given, items={"visual": given.items["visual"]})
    cases = [(given, changed)]
    if "without any" in EVERY[name].fitted:
        cases.append((bare, {"reference queries": replace(changed["reference queries"], items=bare.items)}))
    told = {what: False for what in changed}
    target = reference(DIM + 3, 16) if name in TARGETED else None
    for start, ways in cases:
        before = result(name, replace(start, target=target), target or start)
        for what, way in ways.items():
            told[what] |= not np.array_equal(before, result(name, replace(way, target=target), target or start))
    assert told == {what: what in EVERY[name].fitted for what in changed}


@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_correction_gives_finite_scores_and_each_row_alone_unless_it_says_otherwise(name: str) -> None:
    row = CORRECTIONS[name]
    given = reference(DIM, 6)
    fitted = row.run(given, *defaults(row))
    assert fitted.transductive == (name in TRANSDUCTIVE)
    assert fitted.item_bytes >= 0
    for view, matrix in given.items.items():
        scores = np.random.default_rng(3).uniform(-1, 1, size=(7, len(matrix.ids)))
        kept = scores.copy()
        corrected = fitted.scores(view, scores)
        assert (corrected.shape, corrected.dtype) == (scores.shape, np.float64)
        assert np.isfinite(corrected).all()
        np.testing.assert_array_equal(scores, kept)
        if not fitted.transductive:
            np.testing.assert_array_equal(fitted.scores(view, scores[2:3]), corrected[2:3])


@pytest.mark.parametrize("name", sorted(AS_AN_ENTRY))
def test_a_correction_in_an_index_is_the_same_correction(name: str) -> None:
    given = reference(DIM, 6)
    fitted = CORRECTIONS[name].run(given, *defaults(CORRECTIONS[name]))
    asked, rows = units(4, 11), given.items["visual"].rows
    longer = np.concatenate([asked, np.ones((4, 1), dtype=np.float32)], axis=1)
    expected = fitted.scores("visual", asked.astype(np.float64) @ rows.T.astype(np.float64))
    np.testing.assert_allclose(longer @ fitted.augmented("visual", rows).T, expected, atol=1e-6)
