"""BM25 by hand: terms, weights, IDF, queries of several parts, and the postings against a plain sum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval import lexical
from mmretrieval.errors import BadQuery
from mmretrieval.lexical import Postings, Terms, composed, idf, read, terms_of


def one(word: str) -> int:
    (term,) = terms_of(word).tolist()
    return int(term)


def asked(*parts: tuple[str, float]) -> Terms:
    return composed([terms_of(text) for text, _ in parts], [weight for _, weight in parts])


def test_scores_by_hand() -> None:
    """'red' is in both texts that have terms, 'car' in one; 'red red house' has three terms, of which two are red."""
    postings = Postings(read(["Red car", "red red house", "the of"]))
    assert postings.count == 2  # a text of stop words alone has no term, and does not count
    telling = {"red": math.log(1 + 0.5 / 2.5), "car": math.log(1 + 1.5 / 1.5)}
    two, three = 1.2 * (0.25 + 0.75 * 2 / 256), 1.2 * (0.25 + 0.75 * 3 / 256)
    once, twice = 2.2 / (1 + two), 2 * 2.2 / (2 + three)
    scores, pulled = postings.scores(asked(("red car", 1.0)))
    np.testing.assert_allclose(scores, [once * (telling["red"] + telling["car"]), twice * telling["red"], 0], rtol=1e-6)
    assert pulled.tolist() == [True, True, False]
    # The same as plain numbers.
    np.testing.assert_allclose(scores, [1.473592, 0.347197, 0], rtol=1e-5)


def test_idf_is_qdrants() -> None:
    np.testing.assert_allclose(idf(3, [2, 1, 3, 0]), [np.log(1.6), np.log(8 / 3), np.log(8 / 7), np.log(8)])
    assert (idf(1000, np.arange(1001)) > 0).all()


def test_words_are_stemmed_and_stop_words_go() -> None:
    assert terms_of("The foxes JUMPED").tolist() == terms_of("fox jumping").tolist()
    assert len(terms_of("the of and")) == len(terms_of("  ...  ")) == len(terms_of("")) == 0
    assert len(terms_of("fox fox fox")) == 1
    assert terms_of("naïve").tolist() != terms_of("naive").tolist()
    assert set(terms_of("IMG-2041").tolist()) == {one("img"), one("2041")}


def test_a_text_is_weighed_as_the_formula_says() -> None:
    texts = read(["fox " * 7 + "sea", "bridge"])
    length = 8
    norm = 1.2 * (0.25 + 0.75 * length / 256)
    weighed = dict(zip(texts.terms[: texts.offsets[1]].tolist(), texts.weights.tolist(), strict=False))
    assert weighed == pytest.approx({one("fox"): 7 * 2.2 / (7 + norm), one("sea"): 2.2 / (1 + norm)}, rel=1e-6)


def test_a_long_text_weighs_less_than_a_short_one() -> None:
    scores, _ = Postings(read(["fox", "fox " + "sea bridge whale " * 200])).scores(asked(("fox", 1.0)))
    assert scores[0] > 1.5 * scores[1] > 0


# --- queries of several parts --------------------------------------------------------------------------------------

PARTS = st.lists(
    st.tuples(st.sampled_from(["red fox", "blue whale", "the red sea", "bridge", "fox"]), st.sampled_from([1, 2, 0.5])),
    min_size=1,
    max_size=5,
)


@given(PARTS, st.sampled_from([0.25, 3.0, 1000.0]), st.randoms(use_true_random=False))
def test_neither_order_nor_scale_nor_absent_parts_change_a_query(
    parts: list[tuple[str, float]], scale: float, random: object
) -> None:
    plain = asked(*parts)
    turned = list(parts)
    random.shuffle(turned)  # type: ignore[attr-defined]
    again = asked(*turned)
    assert again.terms.tobytes() == plain.terms.tobytes() and again.shares.tobytes() == plain.shares.tobytes()
    np.testing.assert_allclose(asked(*[(t, w * scale) for t, w in parts]).shares, plain.shares, rtol=1e-12)
    none = asked(*parts, ("castle", 0.0))
    assert none.terms.tolist() == plain.terms.tolist() and none.shares.tolist() == plain.shares.tolist()


def test_a_score_is_the_weighted_mean_of_the_parts_scores() -> None:
    postings = Postings(read(["red fox", "fox whale sea", "blue sea", "red red sea whale"]))
    (first, _), (second, _) = (postings.scores(asked((text, 1.0))) for text in ("red fox", "whale sea"))
    mixed, _ = postings.scores(asked(("red fox", 2.0), ("whale sea", -1.0)))
    np.testing.assert_allclose(mixed, (2 * first - second) / 3, atol=1e-12)


def test_what_pushes_away_lowers_and_finds_nothing_by_itself() -> None:
    postings = Postings(read(["red fox", "fox", "sea"]))
    scores, pulled = postings.scores(asked(("fox", 1.0), ("red sea", -1.0)))
    assert scores[1] > scores[0] and scores[2] < 0
    assert pulled.tolist() == [True, True, False]


@pytest.mark.parametrize(
    "parts", [[("fox", -1.0)], [("the", 1.0)], [("fox", 1.0), ("foxes", -1.0)], [("fox", 0.0)], [("", 1.0)]]
)
def test_a_query_with_nothing_to_search_for_is_refused(parts: list[tuple[str, float]]) -> None:
    with pytest.raises(BadQuery, match="no word is left"):
        asked(*parts)


# --- postings ------------------------------------------------------------------------------------------------------

TEXTS = st.lists(st.lists(st.sampled_from(["fox", "red", "the", "sea", "whale"]), max_size=6).map(" ".join), max_size=9)


@given(TEXTS, PARTS)
def test_postings_give_the_plain_sum(texts: list[str], parts: list[tuple[str, float]]) -> None:
    held, query = read(texts), asked(*parts)
    count = sum(len(held[n]) > 0 for n in range(len(held)))
    expected = []
    for n in range(len(held)):
        weights = dict(zip(held[n].tolist(), held.weights[held.offsets[n] : held.offsets[n + 1]].tolist(), strict=True))
        having = {t: sum(t in held[m].tolist() for m in range(len(held))) for t in weights}
        shared = [(t, s) for t, s in zip(query.terms.tolist(), query.shares.tolist(), strict=True) if t in weights]
        expected.append(
            sum(s * weights[t] * math.log(1 + (count - having[t] + 0.5) / (having[t] + 0.5)) for t, s in shared)
        )
    scores, pulled = Postings(held).scores(query)
    np.testing.assert_allclose(scores, expected, atol=1e-12)
    assert pulled.tolist() == [score > 0 for score in expected]  # every part pulls here


@given(TEXTS, TEXTS, st.randoms(use_true_random=False))
def test_texts_are_taken_and_joined_whole(first: list[str], second: list[str], random: object) -> None:
    together = read(first).followed_by(read(second))
    order = list(range(len(first) + len(second)))
    random.shuffle(order)  # type: ignore[attr-defined]
    taken = together.taken(np.array(order, dtype=np.int64))
    straight = read([[*first, *second][n] for n in order])
    for ours, theirs in zip(vars(taken).values(), vars(straight).values(), strict=True):
        assert ours.dtype == theirs.dtype and ours.tolist() == theirs.tolist()


def test_bm25_is_described_as_what_it_is() -> None:
    card = lexical.card()
    assert (card.name, card.dim, card.reads, card.offline) == ("bm25", 0, frozenset({"text"}), True)
    assert lexical.is_lexical("bm25") and not lexical.is_lexical("lite")
