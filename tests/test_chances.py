"""How likely a random query would score as high, against slow formulas; and what a cut-off marks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import whole_encoders
from composed_library import SAID, Numbers, bank, item, liked, make, picture, query, row, rows_of, unit, words
from drawings import drawing

from ingest.pipeline import ingest
from ingest.walk import Source, walk
from mmretrieval import catalog
from mmretrieval.bank import null_bank
from mmretrieval.chances import Chances, Range
from mmretrieval.engine import Engine
from mmretrieval.errors import BadRecipe
from mmretrieval.library import Library
from mmretrieval.search import cutoff
from mmretrieval.types import Content, Hit, Part, Query


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with make(tmp_path_factory.mktemp("chances")) as made:
        yield made


@pytest.fixture(scope="module")
def engine(library: Library) -> Engine:
    return Engine(library, exact=True)


def hits(engine: Engine, given: Query, recipe: str) -> tuple[Hit, ...]:
    return engine.rank([given], recipe, 14).rankings[0].hits


def chances(engine: Engine, given: Query, recipe: str) -> dict[str, float]:
    found = hits(engine, given, recipe)
    assert all(h.chance is not None for h in found)
    return {h.id: h.chance for h in found if h.chance is not None}


def test_a_chance_is_the_share_of_pairs_as_high_and_never_nothing() -> None:
    held = Range(np.array([3.0, 2.0, 2.0, -1.0]), ())
    np.testing.assert_allclose(held.chances(np.array([4.0, 3.0, 2.5, 2.0, -5.0])), np.array([1, 2, 2, 4, 5]) / 5)
    np.testing.assert_allclose(Range(np.empty(0), ()).chances(np.array([4.0])), [1.0])
    np.testing.assert_array_equal(cutoff.weak(np.array([0.02, 0.0201, 1.0]), 0.02), [False, True, True])


def test_words_are_judged_by_the_null_banks_captions(library: Library, engine: Engine) -> None:
    ids, rows = rows_of(library, "text")
    far = rows - rows.mean(axis=0)
    null = bank() @ far.T
    own = far @ row(library, words("two red foxes")) / null.std()
    expected = {i: (1 + np.sum(null / null.std() >= x)) / (1 + null.size) for i, x in zip(ids, own, strict=True)}
    found = hits(engine, query(words("two red foxes")), "hashing@text,cutoff:0.05")
    assert {h.id: h.chance for h in found} == pytest.approx(expected, abs=1e-9)
    assert [h.weak for h in found] == [h.chance > 0.05 for h in found if h.chance is not None]
    assert {h.weak for h in found} == {True, False}
    assert next(h for h in found if h.id == item(library, "1.png")).chance == min(expected.values()) < 0.01


def test_pictures_are_judged_by_pictures_that_are_not_compared_with_themselves(
    library: Library, engine: Engine
) -> None:
    """Each picture asks equally often (14 times 12 are the 168 null queries), and never finds itself."""
    ids, rows = rows_of(library, "visual")
    times = len(null_bank()) // len(ids)
    assert times * len(ids) == len(null_bank())
    far = rows - rows.mean(axis=0)
    pairs = (rows @ far.T)[~np.eye(len(ids), dtype=bool)]
    own = far @ row(library, picture(40)) / pairs.std()
    counts = [times * int(np.sum(pairs / pairs.std() >= x)) for x in own]
    expected = {i: (1 + c) / (1 + times * pairs.size) for i, c in zip(ids, counts, strict=True)}
    assert chances(engine, query(picture(40)), "hashing@visual,cutoff") == pytest.approx(expected, abs=1e-9)


def test_of_several_views_the_highest_excess_counts(library: Library, engine: Engine) -> None:
    every = sorted(i.id for i in library.items())
    asked, highest, own = row(library, words("blue whale")), np.full((168, 14), -np.inf), np.full(14, -np.inf)
    for view in ("visual", "text"):
        ids, rows = rows_of(library, view)  # type: ignore[arg-type]
        far = rows - rows.mean(axis=0)
        null, places = bank() @ far.T, [every.index(i) for i in ids]
        highest[:, places] = np.maximum(highest[:, places], null / null.std())
        own[places] = np.maximum(own[places], far @ asked / null.std())
    expected = {i: (1 + np.sum(highest >= x)) / (1 + highest.size) for i, x in zip(every, own, strict=True)}
    assert chances(engine, query(words("blue whale")), "hashing,cutoff") == pytest.approx(expected, abs=1e-9)


def test_random_queries_of_the_same_kind_are_as_likely_as_they_say(tmp_path: Path) -> None:
    """Queries made as null queries are, of pictures that are not in the library: p of their hits have a chance of p."""
    texts = null_bank()
    asked = [query(words(texts[3 * n]), picture(200 + n, 0.5)) for n in range(50)]
    with Library.create(tmp_path / "l", ["hashing"]) as drawn:
        (tmp_path / "in").mkdir()
        for seed in range(80):
            drawing(seed).save(tmp_path / "in" / f"{seed}.png")
        ingest(drawn, walk([tmp_path / "in"]), workers=1)
        engine = Engine(drawn, exact=True)
        for stages in ("", "center,anchor,", "slerp:0.3,", "late,"):
            rankings = engine.rank(asked, f"hashing@visual,{stages}cutoff", 80).rankings
            found = np.array([h.chance for r in rankings for h in r.hits], dtype=np.float64)
            assert len(found) == 50 * 80
            for p, near in ((0.02, 0.015), (0.1, 0.04), (0.5, 0.1), (0.9, 0.06)):
                assert np.mean(found <= p) == pytest.approx(p, abs=near), stages


@pytest.mark.parametrize("recipe", ["hashing@visual", "hashing@text,slerp", "hashing@visual,center,anchor"])
def test_what_scores_more_is_less_likely_chance(engine: Engine, recipe: str) -> None:
    """Not strictly: an excess is taken off the mean item, not off the mean score of anything else."""
    found = hits(engine, query(picture(40), words("red fox", 0.3)), f"{recipe},cutoff")
    assert len(found) >= 8
    likely = [h.chance for h in found if h.chance is not None]
    assert likely == sorted(likely) and likely[0] > 0


def test_the_order_stays_and_a_reranker_changes_no_chance(engine: Engine) -> None:
    given = query(picture(40), words("red fox"))
    plain = hits(engine, given, "hashing@visual,mmr:0.3")
    marked = hits(engine, given, "hashing@visual,mmr:0.3,cutoff:0.2")
    assert [(h.id, h.score, h.trail) for h in plain] == [(h.id, h.score, h.trail) for h in marked]
    assert {h.chance for h in plain} == {None} and not any(h.weak for h in plain)
    before = chances(engine, given, "hashing@visual,cutoff")
    assert {h.id: h.chance for h in marked} == before


def test_scale_and_order_of_parts_change_nothing(library: Library, engine: Engine) -> None:
    parts = [picture(40, 2.0), words("red fox"), words("sea", -0.5), liked(item(library, "3.png"), 0.5)]
    once = chances(engine, query(*parts), "hashing,cutoff")
    kept = len(engine.chances._kept)
    assert chances(engine, query(*reversed(parts)), "hashing,cutoff") == pytest.approx(once, abs=1e-3)
    twice = [Part(p.content, p.item, p.weight * 4, p.feedback) for p in parts]
    assert chances(engine, query(*twice), "hashing,cutoff") == pytest.approx(once, abs=1e-3)
    assert len(engine.chances._kept) == kept


def test_null_queries_are_asked_once_a_kind_until_the_library_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, measured = [], Chances._measured

    def counted(self: Chances, *arguments: object) -> Range | None:
        asked.append(arguments)
        return measured(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Chances, "_measured", counted)
    with make(tmp_path) as grown:
        engine = Engine(grown, exact=True)
        for text in ("fox", "whale"):
            engine.rank([query(words(text)), query(words("sea", 3.0))], "hashing,cutoff:0.1")
        assert len(asked) == 1
        engine.rank([query(words("fox"), words("sea", -0.5))], "hashing,cutoff")
        engine.rank([query(picture(40))], "hashing,cutoff")
        engine.rank([query(words("fox"))], "hashing@text,cutoff")
        assert len(asked) == 4
        (tmp_path / "in" / "c.txt").write_text("Something new under the sun.")
        ingest(grown, walk([tmp_path / "in"]), workers=1)
        engine.rank([query(words("fox"))], "hashing,cutoff")
        assert len(asked) == 5
        monkeypatch.setattr("mmretrieval.chances.KEPT", 2)
        for n in range(2, 6):
            engine.rank([query(words("fox"), words("sea", 1 / n))], "hashing,cutoff")
        assert len(engine.chances._kept) <= 5


def test_of_several_sources_those_with_one_vector_an_item_judge(library: Library, engine: Engine) -> None:
    given = query(words("two red foxes"))
    alone = chances(engine, given, "hashing@text,cutoff")
    beside = hits(engine, given, "hashing@text+bm25,cutoff")
    assert {h.id: h.chance for h in beside} == pytest.approx(alone)
    both = hits(engine, given, "hashing@text+hashing@visual,cutoff")
    assert {h.id: h.chance for h in both} == pytest.approx(chances(engine, given, "hashing,cutoff"))
    with pytest.raises(BadRecipe, match=r"cutoff:0.02 needs an encoder that gives one vector for each item"):
        engine.rank([given], "bm25@text,cutoff")


def test_an_item_without_the_view_is_not_judged(library: Library, engine: Engine) -> None:
    """No vector speaks of it: it is neither better than chance nor no better."""
    found = hits(engine, query(words("the fox")), "hashing@visual+bm25,cutoff:0")
    passages = {item(library, name) for name in ("a.txt", "b.txt")}
    unseen = [h for h in found if h.id in passages]
    assert unseen and {(h.chance, h.weak) for h in unseen} == {(None, False)}
    assert all(h.weak and h.chance for h in found if h.id not in passages) and len(found) > len(unseen)


def test_two_encoders_judge_together(tmp_path: Path, second_encoder: str) -> None:
    with Library.create(tmp_path / "l", ["hashing", second_encoder]) as two:
        ingest(two, [Source(f"{n}", data=text.encode()) for n, text in enumerate(SAID)], workers=1)
        found = hits(Engine(two, exact=True), query(words("a red fox")), f"hashing+{second_encoder},cutoff")
        likely = [h.chance for h in found if h.chance is not None]
        assert len(likely) == 6 and likely[0] == min(likely) < 0.02


def test_where_no_null_query_can_be_made_nothing_is_marked(tmp_path: Path) -> None:
    """A picture asks a library that has none; or a joint encoder reads words and a picture at once."""
    with Library.create(tmp_path / "l", ["hashing"]) as texts:
        ingest(texts, [Source(f"{n}", data=text.encode()) for n, text in enumerate(SAID)], workers=1)
        found = hits(Engine(texts, exact=True), query(picture(1)), "hashing,cutoff:0")
        assert len(found) == 6 and {(h.chance, h.weak) for h in found} == {(None, False)}
    table = whole_encoders.blocks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "blocks", lambda: table)
        with make(tmp_path, (whole_encoders.JOINT,)) as joint:
            engine, parts = Engine(joint, exact=True), (picture(40), words("red fox"))
            recipe = f"{whole_encoders.JOINT}@visual"
            assert {h.chance for h in hits(engine, query(*parts), f"{recipe},cutoff:0")} == {None}
            for given, stage in ((parts, "sum,cutoff:0"), (parts[1:], "cutoff:0")):
                assert all(h.weak for h in hits(engine, query(*given), f"{recipe},{stage}"))


def test_raw_vectors_and_clips_are_judged_as_what_they_stand_for(library: Library, engine: Engine) -> None:
    vector = unit(row(library, picture(40))).astype(np.float32)
    whole: Numbers = np.array(list(chances(engine, query(picture(40)), "hashing@visual,cutoff").values()))
    for part in (Part(vector=vector, modality="image"), Part(Content(frames=(drawing(40),)))):
        found = chances(engine, query(part), "hashing@visual,cutoff")
        np.testing.assert_allclose(list(found.values()), whole, atol=1e-3)
