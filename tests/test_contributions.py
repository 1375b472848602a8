"""What each part of a query brought to a hit: parts add up to the score that the list gave, before corrections."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from composed_library import bank, item, liked, make, picture, query, row, rows_of, words

from mmretrieval.contributions import OTHER, label
from mmretrieval.engine import Engine
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.search import BLENDS
from mmretrieval.types import Content, Contribution, Hit, Part, Query

LABELS = ("picture", "“red fox”", "−“sea”", "liked", "disliked")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with make(tmp_path_factory.mktemp("contributions")) as made:
        yield made


@pytest.fixture(scope="module")
def engine(library: Library) -> Engine:
    return Engine(library, exact=True)


def asked(library: Library) -> Query:
    good, bad = item(library, "7.png"), item(library, "9.png")
    return query(picture(40, 2.0), words("red fox"), words("sea", -0.5), liked(good), liked(bad, -1.0))


def hits(engine: Engine, given: Query, recipe: str) -> tuple[Hit, ...]:
    return engine.rank([given], recipe, 14, explain=True).rankings[0].hits


def only(hit: Hit) -> Contribution:
    (said,) = hit.contributions
    return said


def marked(hit: Hit, stage: str) -> float:
    return next(mark.score for mark in hit.trail if mark.stage == stage)


@pytest.mark.parametrize("recipe", ["hashing@visual", "hashing@visual,slerp", "hashing@visual,whiten:8,slerp:0.3"])
def test_parts_alone_make_the_score(library: Library, engine: Engine, recipe: str) -> None:
    for hit in hits(engine, asked(library), recipe):
        said = only(hit)
        assert (said.source, said.parts, said.additive) == ("hashing@visual", LABELS, True)
        assert sum(said.values) == pytest.approx(marked(hit, "hashing@visual"), abs=1e-6)


@pytest.mark.parametrize("recipe", ["hashing@text,anchor", "hashing@text,rocchio", "hashing@text,center,rocchio:1:1:1"])
def test_means_that_were_put_back_are_told_apart(library: Library, engine: Engine, recipe: str) -> None:
    for hit in hits(engine, asked(library), recipe):
        said = only(hit)
        assert said.parts == (*LABELS, OTHER)
        assert sum(said.values) == pytest.approx(marked(hit, "hashing@text"), abs=1e-6)


def test_what_a_part_brought_is_its_weight_times_its_score(library: Library, engine: Engine) -> None:
    given = asked(library)
    ids, rows = rows_of(library, "visual")
    mixture = sum(p.weight * row(library, p) for p in given.parts)
    for hit in hits(engine, given, "hashing@visual"):
        own = [p.weight * row(library, p) @ rows[ids.index(hit.id)] / np.linalg.norm(mixture) for p in given.parts]
        assert only(hit).values == pytest.approx(own, abs=1e-6)


@pytest.mark.parametrize("recipe", ["hashing", "hashing,slerp,nnn:5:2", "hashing,anchor,csls", "hashing,center,gram"])
def test_of_all_views_the_one_that_counted_speaks(library: Library, engine: Engine, recipe: str) -> None:
    """By corrected scores where there is a correction: it may prefer another view than the scores alone."""
    corrected = next((s for s in recipe.split(",") if s.startswith(("nnn", "csls"))), "")
    views = set()
    for hit in hits(engine, asked(library), recipe):
        said, best = only(hit), marked(hit, "hashing@all")
        stage = next(m.stage for m in hit.trail if m.stage.partition(",")[0] == said.source)
        assert bool(corrected) is ("," in stage)
        space = engine.posed("hashing", parse(recipe), [asked(library)]).space
        mean, deviation = engine.spaces.null(space, said.source.partition("@")[2], parse(recipe))  # type: ignore[arg-type]
        assert (marked(hit, stage) - mean) / deviation == pytest.approx(best, abs=1e-6)
        if not corrected:
            assert sum(said.values) == pytest.approx(marked(hit, stage), abs=1e-6)
        views.add(said.source)
    assert views == {"hashing@visual", "hashing@text"}


def test_a_correction_is_no_parts_doing(library: Library, engine: Engine) -> None:
    plain = {h.id: only(h).values for h in hits(engine, asked(library), "hashing@visual")}
    for hit in hits(engine, asked(library), "hashing@visual,nnn:5:2"):
        assert only(hit).values == pytest.approx(plain[hit.id], abs=1e-6)
        assert sum(only(hit).values) > hit.score + 0.01


@pytest.mark.parametrize("stage", BLENDS)
def test_scores_that_are_mixed_are_told_one_by_one(library: Library, engine: Engine, stage: str) -> None:
    given = asked(library)
    ids, rows = rows_of(library, "visual")
    for hit in hits(engine, given, f"hashing@visual,{stage}"):
        said = only(hit)
        assert (said.source, said.parts, said.additive) == ("hashing@visual", LABELS, False)
        own = [row(library, p) @ rows[ids.index(hit.id)] for p in given.parts]
        assert said.values == pytest.approx(own, abs=1e-6)


def test_scores_that_are_mixed_over_all_views_are_each_parts_best(library: Library, engine: Engine) -> None:
    given = asked(library)
    standard: dict[str, list[list[float]]] = {}
    for view in ("visual", "text"):
        ids, rows = rows_of(library, view)  # type: ignore[arg-type]
        null = bank() @ rows.T
        for ident, own in zip(ids, rows @ np.stack([row(library, p) for p in given.parts]).T, strict=True):
            standard.setdefault(ident, []).append(((own - null.mean()) / null.std()).tolist())
    for hit in hits(engine, given, "hashing,late"):
        assert only(hit).source == "hashing@all"
        assert only(hit).values == pytest.approx(np.max(standard[hit.id], axis=0).tolist(), abs=1e-5)


def test_every_list_has_its_own(library: Library, engine: Engine) -> None:
    """Words alone have a say in BM25; an item has the words of its caption, and these two have none."""
    found = hits(engine, asked(library), "hashing@visual+bm25@text,zscore")
    assert {c.source for h in found for c in h.contributions} == {"hashing@visual", "bm25@text"}
    scored = 0
    for hit in found:
        for said in hit.contributions:
            assert said.parts == LABELS
            score = next((m.score for m in hit.trail if m.stage == said.source), None)
            if score is not None:
                assert sum(said.values) == pytest.approx(score, abs=1e-6)
                scored += said.source == "bm25@text"
    assert scored >= 3


def test_what_another_list_alone_has_found_is_explained_too(library: Library, engine: Engine) -> None:
    fox = item(library, "0.png")
    found = engine.rank([query(words("red fox"))], "hashing+bm25", 14, depth=14, explain=True).rankings[0].hits
    sources = {c.source.partition("@")[0] for h in found if h.id == fox for c in h.contributions}
    assert sources == {"hashing", "bm25"}
    assert engine.rank([query(words("red fox"))], "hashing").rankings[0].hits[0].contributions == ()


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (words("a  red\nfox"), "“a red fox”"),
        (words("sea", -2), "−“sea”"),
        (words("w" * 50), f"“{'w' * 39}…”"),
        (picture(1), "picture"),
        (Part(Content(image=picture(1).content.image, text="at night")), "picture and “at night”"),  # type: ignore[union-attr]
        (Part(Content(frames=(picture(1).content.image,))), "clip"),  # type: ignore[union-attr, arg-type]
        (Part(item="x"), "item"),
        (Part(item="x", weight=-1), "−item"),
        (liked("x"), "liked"),
        (liked("x", -1), "disliked"),
        (Part(vector=np.ones(3, dtype=np.float32), weight=-1), "−vector"),
    ],
)
def test_a_part_is_told_in_a_few_words(part: Part, said: str) -> None:
    assert label(part) == said
