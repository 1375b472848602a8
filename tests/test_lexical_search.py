"""`bm25` where an encoder stands: searched, fused, kept in step with the library, refused where it cannot work."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drawings import drawing
from ingesting import add

from mmretrieval import lexical, lexical_space
from mmretrieval.engine import Engine
from mmretrieval.errors import BadQuery, BadRecipe, UnknownName
from mmretrieval.filters import Condition
from mmretrieval.library import Library, texts
from mmretrieval.recipe import parse
from mmretrieval.subjects import of_library
from mmretrieval.types import Content, Part, Query

SAID = ["a red fox", "two red foxes", "a blue whale", "the tall lighthouse", "an old bridge", "fox and whale"]


def files_in(folder: Path) -> Path:
    """Eight pictures, the first six with captions, and a passage."""
    folder.mkdir()
    for seed in range(8):
        drawing(seed).save(folder / f"{seed}.png")
    for seed, caption in enumerate(SAID):
        (folder / f"{seed}.json").write_text(json.dumps({"caption": caption, "number": seed}))
    (folder / "a.txt").write_text("The fox is red, and so is the sun over the sea where the lighthouse stands.")
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    root = tmp_path_factory.mktemp("lexical")
    with Library.create(root / "l", ["hashing"]) as made:
        add(made, files_in(root / "in"))
        yield made


@pytest.fixture(scope="module")
def engine(library: Library) -> Engine:
    return Engine(library, exact=True)


def words(text: str, weight: float = 1.0, **more: object) -> Query:
    return Query((Part(Content(text=text), weight=weight),), **more)  # type: ignore[arg-type]


def with_words(library: Library) -> dict[str, str]:
    return {item.text: item.id for item in library.items() if item.text}


def found(engine: Engine, query: Query, recipe: str, k: int = 10) -> dict[str, float]:
    return {hit.id: hit.score for hit in engine.rank([query], recipe, k).rankings[0].hits}


# --- searching -----------------------------------------------------------------------------------------------------


def test_items_are_found_by_their_words_and_scored_by_hand(library: Library, engine: Engine) -> None:
    """Seven texts; 'whale' is in two, of two terms each ('blue whale', 'fox whale'): they tie, and the id decides."""
    held = with_words(library)
    weight, telling = 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / 256)), math.log(1 + 5.5 / 2.5)
    hits = found(engine, words("whales"), "bm25@text")
    assert list(hits) == sorted([held["a blue whale"], held["fox and whale"]])
    assert list(hits.values()) == pytest.approx([weight * telling] * 2, rel=1e-6)
    whole = found(engine, words("red foxes"), "bm25@text")
    assert len(whole) == 4 and set(hits) & set(whole) == {held["fox and whale"]}


def test_filters_exclusions_and_subsets_narrow_and_change_no_score(library: Library, engine: Engine) -> None:
    whole = found(engine, words("red fox"), "bm25@text")
    held = with_words(library)
    few = found(engine, words("red fox", filter=Condition("meta.number", "lte", 1)), "bm25@text")
    assert set(few) == {held["a red fox"], held["two red foxes"]}
    fewer = found(engine, words("red fox", exclude=frozenset([held["a red fox"]])), "bm25@text")
    assert set(fewer) == set(whole) - {held["a red fox"]}
    one = found(engine, words("red fox", subset=frozenset([held["fox and whale"]])), "bm25@text")
    assert list(one) == [held["fox and whale"]]
    assert all(scores[i] == whole[i] for scores in (few, fewer, one) for i in scores)


def test_all_views_are_the_one_view_on_the_null_banks_scale(engine: Engine) -> None:
    plain, scaled = (found(engine, words("red fox"), recipe) for recipe in ("bm25@text", "bm25"))
    assert list(plain) == list(scaled)
    mean, deviation = engine._words().null()
    every = np.array([engine._words().store.postings.scores(query)[0] for query in lexical_space._bank()])
    assert (mean, deviation) == pytest.approx((every.mean(), every.std())) and deviation > 0
    np.testing.assert_allclose(list(scaled.values()), (np.array(list(plain.values())) - mean) / deviation)


def test_words_that_push_away_lower_what_has_them(library: Library, engine: Engine) -> None:
    held = with_words(library)
    parts = (Part(Content(text="fox")), Part(Content(text="red"), weight=-1.0))
    hits = found(engine, Query(parts), "bm25@text")
    assert next(iter(hits)) == held["fox and whale"]
    assert hits[held["a red fox"]] < hits[held["fox and whale"]]


def test_the_parts_contributions_add_up_to_the_score(library: Library, engine: Engine) -> None:
    held = with_words(library)
    parts = [Part(Content(text="red fox")), Part(Content(text="whale"), weight=-0.5)]
    query = Query((*parts, Part(Content(image=drawing(2))), Part(item=held["an old bridge"], weight=0.25)))
    hits = found(engine, query, "bm25@text")
    each = engine._words().contributions(query, list(hits))
    assert each.shape == (len(hits), 4) and len(hits) >= 3
    np.testing.assert_allclose(each.sum(axis=1), list(hits.values()), atol=1e-12)
    assert not each[:, 2].any() and (each[:, 1] <= 0).all() and each[:, 1].any()


def test_an_item_asks_with_its_own_words_and_is_left_out(library: Library, engine: Engine) -> None:
    held = with_words(library)
    hits = found(engine, Query((Part(item=held["a red fox"]),)), "bm25@text")
    assert hits == {i: s for i, s in found(engine, words("a red fox"), "bm25@text").items() if i != held["a red fox"]}


def test_many_queries_are_each_alone_and_k_only_cuts(engine: Engine) -> None:
    queries = [words("red fox", id="a"), words("castle", id="b"), words("old lighthouse", id="c")]
    together = engine.rank(queries, "bm25", 3).rankings
    assert [engine.rank([q], "bm25", 3).rankings[0] for q in queries] == list(together)
    assert together[1].hits == ()  # no item has the word
    whole = list(found(engine, queries[0], "bm25"))
    assert list(found(engine, queries[0], "bm25", 2)) == whole[:2]


def test_a_run_says_what_was_searched(engine: Engine) -> None:
    (told,) = engine.rank([words("fox")], "bm25@text").meta["encoders"]
    assert told["spec"] == "bm25" and told["items"] == {"text": 7} and told["licence"] == "Apache-2.0"
    assert told["bm25"] == {"k": 1.2, "b": 0.75, "avg_len": 256.0, "language": "english"}


# --- beside an encoder ---------------------------------------------------------------------------------------------


def test_hybrid_search_fuses_both_lists(engine: Engine) -> None:
    query = words("the red whale")
    lists = [list(found(engine, query, recipe, 20)) for recipe in ("hashing@visual", "bm25@text")]
    expected: dict[str, float] = {}
    for listed in lists:
        for rank, ident in enumerate(listed, start=1):
            expected[ident] = expected.get(ident, 0.0) + 1 / (60 + rank)
    hits = found(engine, query, "hashing@visual+bm25,rrf:60", 20)
    assert hits == pytest.approx(expected)
    assert list(hits) == sorted(expected, key=lambda i: (-hits[i], i))
    trail = {m.stage for h in engine.rank([query], "hashing@visual,nnn").rankings[0].hits for m in h.trail}
    beside = engine.rank([query], "hashing@visual+bm25@text,center,nnn", 20).rankings[0].hits
    stages = {m.stage for h in beside for m in h.trail}
    assert "bm25@text" in stages and any(t in stages for t in trail)  # a correction is of vectors, not of words


def test_a_picture_is_answered_by_the_others(engine: Engine) -> None:
    shown = Query((Part(Content(image=drawing(3))),))
    seen, both = (found(engine, shown, recipe, 20) for recipe in ("hashing@visual", "hashing@visual+bm25"))
    assert list(seen) == list(both)
    with pytest.raises(BadQuery, match="'q'.*no words.*bm25"):
        engine.rank([shown], "bm25")
    mixed = Query((*shown.parts, Part(Content(text="old bridge"))))
    assert found(engine, mixed, "bm25@text") == found(engine, words("old bridge"), "bm25@text")


@pytest.mark.parametrize("text", ["the of", "...", "-"])
def test_words_that_are_none_are_refused_alone(engine: Engine, text: str) -> None:
    with pytest.raises(BadQuery, match="no word is left"):
        engine.rank([words(text)], "bm25")
    assert found(engine, words(text), "hashing@visual+bm25")


# --- what it cannot do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("bm25,center", "center"),
        ("bm25,nnn", "nnn"),
        ("bm25@text,gram:5", "gram:5"),
        ("bm25@text,rescore", "rescore"),
        ("bm25+hashing@visual,center,rrf:60", "center"),
        ("bm25+hashing@visual,rrf:60,gram:5", "gram:5"),
        ("bm25@visual", "no visual view"),
        ("hashing@visual+bm25@joint", "no joint view"),
        ("bm25,joint", "one at a time"),
    ],
)
def test_stages_of_vectors_and_other_views_are_refused(engine: Engine, recipe: str, said: str) -> None:
    with pytest.raises(BadRecipe, match=said):
        engine.rank([words("fox")], recipe)


@pytest.mark.parametrize(
    "recipe", ["hashing@visual+bm25,center,rrf:60", "hashing@text+bm25,nnn", "hashing+bm25,gram:5"]
)
def test_as_a_later_source_it_stands_beside_them(engine: Engine, recipe: str) -> None:
    assert found(engine, words("red fox"), recipe)


def test_names_near_it_and_options_are_answered_in_words(library: Library, engine: Engine) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'bm25'"):
        engine.rank([words("fox")], "bm52")
    with pytest.raises(UnknownName, match="takes no options"):
        engine.rank([words("fox")], "bm25;language=german")
    with pytest.raises(UnknownName, match="never ingested"):
        library.register(["bm25"])
    assert library.card("bm25") == lexical.card()


def test_a_library_without_words_says_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    drawing(1).save(tmp_path / "in" / "1.png")
    with Library.create(tmp_path / "l", ["hashing"]) as bare:
        assert found(Engine(bare), words("fox"), "bm25") == {}  # nothing is in it at all
        add(bare, tmp_path / "in")
        with pytest.raises(BadQuery, match="no item of this library has words"):
            Engine(bare).rank([words("fox")], "bm25")


def test_what_needs_vectors_refuses_it(library: Library, engine: Engine) -> None:
    with pytest.raises(BadRecipe, match="no vectors"):
        engine.spaces.get("bm25", parse("bm25"))
    for recipe in ("bm25", "hashing@visual+bm25"):
        with pytest.raises(BadRecipe, match="compares words"):
            of_library(library, recipe)


def test_a_recipe_needs_no_vectors_for_it() -> None:
    chosen = parse("lite@visual+bm25,rrf:60")
    assert chosen.encoders == ("lite",) and str(parse(str(chosen))) == str(chosen)
    assert str(chosen) == "lite@visual+bm25@all,sum,rrf:60" and parse("bm25").encoders == ()


# --- in step with the library --------------------------------------------------------------------------------------


def test_changed_added_and_removed_words_are_found_at_once(tmp_path: Path) -> None:
    folder = files_in(tmp_path / "in")
    with Library.create(tmp_path / "l", ["hashing"]) as made, Library.open(tmp_path / "l") as reader:
        add(made, folder)
        engine = Engine(reader)
        assert len(found(engine, words("lighthouse"), "bm25")) == 2
        (folder / "3.json").write_text(json.dumps({"caption": "a castle"}))
        (folder / "7.txt").write_text("the second castle")
        (folder / "a.txt").unlink()
        add(made, folder, prune=(folder,))
        assert found(engine, words("lighthouse"), "bm25") == {}
        assert len(found(engine, words("castles"), "bm25")) == 2
        assert reader.lexical_store().count("text") == 7
        followed, anew = reader.lexical_store(), Library.open(tmp_path / "l").lexical_store()
        assert followed.listing.ids == anew.listing.ids
        for ours, theirs in zip(vars(followed.texts).values(), vars(anew.texts).values(), strict=True):
            assert ours.tolist() == theirs.tolist()
        assert reader.lexical_store() is followed  # nothing has changed


def test_words_need_no_encoder_that_reads_them(tmp_path: Path, second_encoder: str) -> None:
    """Items without any vector are on the tape too: here of a ledger that only ever stored items."""
    with Library.create(tmp_path / "l", ["hashing"]) as made:
        add(made, files_in(tmp_path / "in"))
        held = with_words(made)
        with made.ledger.transaction():
            made.ledger.connection.execute("DELETE FROM vectors")
            made.ledger.connection.execute("DELETE FROM changes")
        engine = Engine(made)
        assert len(found(engine, words("whale"), "bm25")) == 2
        with made.ledger.transaction():
            made.ledger.drop_items([held["a blue whale"]])
        assert list(found(engine, words("whale"), "bm25")) == [held["fox and whale"]]


def test_a_large_librarys_terms_are_kept_and_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "WRITTEN_FROM", 5)
    folder, read = files_in(tmp_path / "in"), list[str]()

    def noting(many: Iterator[str]) -> lexical.Texts:
        known = list(many)
        read.extend(known)
        return straight(known)

    straight = lexical.read
    monkeypatch.setattr(lexical, "read", noting)
    with Library.create(tmp_path / "l", ["hashing"]) as made:
        add(made, folder)
        first = made.lexical_store()
    (kept,) = (tmp_path / "l" / "cache").glob("bm25-*/terms.npz")
    assert len(read) == 7
    with Library.open(tmp_path / "l") as again:
        assert again.lexical_store().listing.ids == first.listing.ids and len(read) == 7
        (folder / "3.json").write_text(json.dumps({"caption": "a castle"}))
        add(again, folder)
        assert found(Engine(again), words("castle"), "bm25") and read[7:] == ["a castle"]
    kept.write_bytes(b"spoilt")
    with Library.open(tmp_path / "l") as spoilt:
        assert found(Engine(spoilt), words("castle"), "bm25") and len(read) == 15


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "WRITTEN_FROM", 1)
    with Library.create(tmp_path / "l", ["hashing"]) as made:
        add(made, files_in(tmp_path / "in"))
        (made.path / "cache").mkdir(exist_ok=True)
        (made.path / "cache" / lexical.card().space).write_text("a file where the folder would be")
        assert len(found(Engine(made), words("whale"), "bm25")) == 2
