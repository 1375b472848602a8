"""Composers of scores through the engine, against slow formulas; the same results from every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from composed_library import Numbers, bank, item, liked, make, picture, query, row, rows_of, words

from mmretrieval.engine import Engine
from mmretrieval.errors import BadQuery, BadRecipe
from mmretrieval.filters import Condition
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.search import BLENDS
from mmretrieval.types import Hit, Part, Query, View

VIEWS: tuple[View, View] = ("visual", "text")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with make(tmp_path_factory.mktemp("blended")) as made:
        yield made


@pytest.fixture(scope="module")
def engine(library: Library) -> Engine:
    return Engine(library, exact=True)


def late(scores: Numbers, parts: Sequence[Part], k: float = 60) -> list[float]:
    heaviest, total = max(abs(p.weight) for p in parts), [0.0] * scores.shape[1]
    for part, own in zip(parts, scores, strict=True):
        for rank, place in enumerate(sorted(range(len(own)), key=lambda i: -own[i]), start=1):
            total[place] += part.weight / heaviest / (k + rank)
    return total


def scaled(x: float) -> float:
    return (x / (1 + abs(x)) + 1) / 2


def best(scores: Numbers, parts: Sequence[Part]) -> list[float]:
    heaviest, total = max(abs(p.weight) for p in parts), []
    for column in scores.T:
        said = [(p.weight > 0, abs(p.weight) / heaviest * scaled(x)) for p, x in zip(parts, column, strict=True)]
        towards, away = (max([s for pulls, s in said if pulls is wanted], default=-np.inf) for wanted in (True, False))
        total.append(towards if towards > away else -away)
    return total


def context(scores: Numbers, parts: Sequence[Part]) -> list[float]:
    """With a question and pairs of weights 1: how many pairs have the item on the right side, and the question."""
    asked = [(p.weight, own) for p, own in zip(parts, scores, strict=True) if not p.feedback]
    good = [own for p, own in zip(parts, scores, strict=True) if p.feedback and p.weight > 0]
    bad = [own for p, own in zip(parts, scores, strict=True) if p.feedback and p.weight < 0]
    whole, total = sum(abs(w) for w, _ in asked), []
    for i in range(scores.shape[1]):
        sides = sum(np.sign(g[i] - b[i]) for g in good for b in bad)
        total.append(float(sides) + scaled(sum(w / whole * own[i] for w, own in asked)))
    return total


FORMULAS: dict[str, Callable[..., list[float]]] = {
    "late": late,
    "late:5": lambda scores, parts: late(scores, parts, 5),
    "best": best,
    "context": context,
}


def given(library: Library, **more: object) -> Query:
    good, bad = item(library, "7.png"), item(library, "9.png")
    return query(picture(40, 2.0), words("red fox"), words("sea", -0.5), liked(good), liked(bad, -1.0), **more)


def part_scores(library: Library, view: View, asked: Query) -> dict[str, Numbers]:
    """By item that has the view, the score of each part."""
    ids, rows = rows_of(library, view)
    return dict(zip(ids, rows @ np.stack([row(library, p) for p in asked.parts]).T, strict=True))


def ranked(scores: dict[str, Numbers], asked: Query, left: set[str], stage: str) -> dict[str, float]:
    """The items' mixed scores, best first; ranks are among those that may be found."""
    ids = sorted(set(scores) - left)
    mixed = dict(zip(ids, FORMULAS[stage](np.stack([scores[i] for i in ids]).T, asked.parts), strict=True))
    return dict(sorted(mixed.items(), key=lambda pair: (-pair[1], pair[0])))


def found(engine: Engine, asked: Query, recipe: str) -> dict[str, float]:
    return {h.id: h.score for h in engine.rank([asked], recipe, 14).rankings[0].hits}


def alike(hits: dict[str, float], expected: dict[str, float]) -> None:
    assert hits == pytest.approx(expected, abs=1e-5)
    assert list(hits) == list(expected)


def own(asked: Query) -> set[str]:
    return {p.item for p in asked.parts if p.item}


@pytest.mark.parametrize("stage", FORMULAS)
@pytest.mark.parametrize("view", VIEWS)
def test_a_composer_of_scores_ranks_as_its_formula(library: Library, engine: Engine, stage: str, view: View) -> None:
    asked = given(library)
    alike(
        found(engine, asked, f"hashing@{view},{stage}"),
        ranked(part_scores(library, view, asked), asked, own(asked), stage),
    )


@pytest.mark.parametrize("stage", FORMULAS)
def test_ranks_are_those_among_what_may_be_found(library: Library, engine: Engine, stage: str) -> None:
    plain = given(library)
    scores = part_scores(library, "visual", plain)
    few = frozenset(sorted(scores)[:8])
    narrowed = [
        ({"exclude": few}, few),
        ({"subset": few}, set(scores) - few),
        (
            {"filter": Condition("meta.number", "gte", 3)},
            {i for i in scores if library.item(i).meta.get("number", 0) < 3},
        ),
    ]
    for more, left in narrowed:
        asked = given(library, **more)
        expected = ranked(scores, asked, own(asked) | set(left), stage)
        assert 0 < len(expected) < 10
        alike(found(engine, asked, f"hashing@visual,{stage}"), expected)


@pytest.mark.parametrize("stage", FORMULAS)
def test_all_views_are_compared_part_by_part_on_the_null_banks_scale(
    library: Library, engine: Engine, stage: str
) -> None:
    asked, standard = given(library), dict[str, Numbers]()
    for view in VIEWS:
        null = bank() @ rows_of(library, view)[1].T
        for ident, scores in part_scores(library, view, asked).items():
            z = (scores - null.mean()) / null.std()
            standard[ident] = np.maximum(standard.get(ident, -np.inf), z)
    hits, expected = found(engine, asked, f"hashing,{stage}"), ranked(standard, asked, own(asked), stage)
    alike(hits, expected)


@pytest.mark.parametrize("stage", FORMULAS)
def test_parts_are_transformed_and_corrected_before_they_are_mixed(
    library: Library, engine: Engine, stage: str
) -> None:
    asked = given(library)
    centre = bank().mean(axis=0)
    ids, rows = rows_of(library, "visual")
    middle = rows.mean(axis=0)

    def centred(vectors: Numbers, mean: Numbers) -> Numbers:
        moved = vectors - mean
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True))

    parts = np.stack(
        [
            centred(row(library, p)[None], centre if p.content is not None and p.content.text else middle)[0]
            for p in asked.parts
        ]
    )
    items, null = centred(rows, middle), centred(bank(), centre)
    hubs = np.sort(null @ items.T, axis=0)[-5:].mean(axis=0)
    scores = dict(zip(ids, (parts @ items.T - 0.5 * hubs).T, strict=True))
    alike(found(engine, asked, f"hashing@visual,center,{stage},nnn:5:0.5"), ranked(scores, asked, own(asked), stage))


def test_what_cannot_be_mixed_is_refused(library: Library, engine: Engine) -> None:
    with pytest.raises(BadQuery, match=r"query 'lone'.*none is disliked"):
        engine.rank([query(words("fox"), liked(item(library, "1.png")), id="lone")], "hashing@visual,context")
    for stage in BLENDS:
        with pytest.raises(BadRecipe, match=f"dualsoftmax weighs whole queries .* {stage} scores"):
            parse(f"hashing@visual,{stage},dualsoftmax")


@pytest.mark.parametrize("stage", BLENDS)
def test_an_empty_library_and_a_view_that_nothing_has(tmp_path_factory: pytest.TempPathFactory, stage: str) -> None:
    with Library.create(tmp_path_factory.mktemp("empty") / "l", ["hashing"]) as empty:
        for recipe in (
            f"hashing,{stage}",
            f"hashing@text,{stage}",
            f"hashing,{stage},cutoff",
            f"hashing,center,{stage}",
        ):
            assert Engine(empty).rank([query(words("x"))], recipe, explain=True).rankings[0].hits == ()


# --- the same from every store -------------------------------------------------------------------------------------

RECIPES = (
    "hashing@visual,slerp",
    "hashing,anchor",
    "hashing@visual,rocchio",
    "hashing@visual,late",
    "hashing,best",
    "hashing,context",
    "hashing,center,anchor",
    "hashing,center,rocchio,nnn",
    "hashing,center,late,nnn",
    "hashing@visual,center,slerp,mmr",
    "hashing@visual^2+bm25,center,anchor,zscore,cutoff:0.3",
)


def test_every_store_gives_the_same_hits_contributions_and_chances(library: Library, engine: Engine) -> None:
    """A scan, an index of the library, and an index of what a recipe makes of it."""
    asked = [given(library), given(library, filter=Condition("kind", "eq", "image"))]
    library.open_indexes()
    try:
        library.sync_indexes()
        through = Engine(library)
        for text in ("hashing,center,anchor", "hashing,center,rocchio,nnn", "hashing@visual,center,slerp"):
            through.spaces.materialise("hashing", parse(text))
        for recipe in RECIPES:
            scanned, indexed = (e.rank(asked, recipe, 12, explain=True).rankings for e in (engine, through))
            for one, other in zip(scanned, indexed, strict=True):
                assert [h.id for h in one.hits] == [h.id for h in other.hits]
                for a, b in zip(one.hits, other.hits, strict=True):
                    _equal(a, b)
        through.spaces.close()
    finally:
        library.close_indexes()


def _equal(a: Hit, b: Hit) -> None:
    assert (a.score, a.chance, a.weak) == (pytest.approx(b.score, abs=1e-5), pytest.approx(b.chance, abs=0.01), b.weak)
    assert [(c.source, c.parts, c.additive) for c in a.contributions] == [
        (c.source, c.parts, c.additive) for c in b.contributions
    ]
    for one, other in zip(a.contributions, b.contributions, strict=True):
        assert one.values == pytest.approx(other.values, abs=1e-5)
