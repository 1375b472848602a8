"""anncur: nearly a cross-encoder's order from few of its scores."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import st_checkpoints as tiny
import whole_encoders
from drawings import drawing
from ingesting import add
from whole_encoders import READER

from mmretrieval import catalog
from mmretrieval.bank import null_bank
from mmretrieval.engine import Engine
from mmretrieval.errors import BadQuery, BadRecipe, BadVectors
from mmretrieval.library import Library
from mmretrieval.search import READERS, cur
from mmretrieval.search.read import cross
from mmretrieval.types import Card, Content, Part, Query, Run

CARD = Card("bilinear", "bilinear", 0, frozenset({"text"}), "", "1", "", "", "")


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    cur._COLUMNS.clear()
    yield
    cur._COLUMNS.clear()


class Bilinear:
    """Scores q' W i of hidden vectors of texts, through a curve, and noise that a pair always gets again."""

    def __init__(self, rank: int = 8, noise: float = 0.0, curve: float = 0.0) -> None:
        self.card, self.rank, self.noise, self.curve = CARD, rank, noise, curve
        self.pairs: list[tuple[str, str]] = []

    def hidden(self, text: str) -> Any:
        return np.random.default_rng(list(text.encode())).normal(size=self.rank)

    def score(self, query: Content, items: Sequence[Content]) -> Any:
        asked = [query.instruction or "", query.text or ""]
        self.pairs += [("|".join(asked), item.text or "") for item in items]
        mixing = np.random.default_rng(5).normal(size=(self.rank, self.rank))
        linear = np.array([self.hidden("".join(asked)) @ mixing @ self.hidden(item.text or "") for item in items])
        odd = [np.random.default_rng(list(f"{query.text}{item.text}".encode())).normal() for item in items]
        return linear + self.curve * np.tanh(linear / self.rank) * self.rank + self.noise * np.array(odd)


@dataclasses.dataclass
class Texts:
    """A list of texts; places in `lost` cannot be read."""

    texts: Sequence[str | None]
    lost: frozenset[int] = frozenset()
    read: list[int] = dataclasses.field(default_factory=list)

    def __call__(self, place: int) -> Content | None:
        self.read.append(place)
        text = self.texts[place]
        return None if text is None or place in self.lost else Content(text=text)

    def key(self, place: int) -> str:
        return str(self.texts[place])


def items(n: int, first: int = 0) -> list[str]:
    return [f"item {i}" for i in range(first, first + n)]


ASKED = (Part(Content(text="what is asked")),)


# --- the decomposition ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_a_matrix_of_low_rank_is_recovered_from_as_many_anchors(rank: int) -> None:
    rng = np.random.default_rng(rank)
    items_side = rng.normal(size=(rank, 50))
    anchored, scores = rng.normal(size=(20, rank)) @ items_side, rng.normal(size=rank) @ items_side
    anchors = rng.choice(50, size=rank + 2, replace=False)
    np.testing.assert_allclose(cur.approximate(anchored, anchors, scores[anchors]), scores, atol=1e-9)
    if rank > 1:
        few = cur.approximate(anchored, anchors[: rank - 1], scores[anchors[: rank - 1]])
        assert np.abs(few - scores).max() > 0.01


def test_it_is_the_least_squares_fit_of_items_to_anchors() -> None:
    # Slowly: each item's column of scores fitted by the anchors' columns, by the normal equations.
    rng = np.random.default_rng(0)
    anchored, anchors = rng.normal(size=(12, 9)), np.array([4, 1, 7])
    known = rng.normal(size=3)
    columns = anchored[:, anchors]
    slow = [known @ np.linalg.solve(columns.T @ columns, columns.T @ anchored[:, j]) for j in range(9)]
    np.testing.assert_allclose(cur.approximate(anchored, anchors, known), slow, atol=1e-10)
    np.testing.assert_allclose(np.asarray(slow)[anchors], known, atol=1e-10)


def test_rounding_in_dependent_anchors_is_not_blown_up() -> None:
    rng = np.random.default_rng(1)
    items_side = rng.normal(size=(3, 40))
    exact = rng.normal(size=3) @ items_side
    anchored = (rng.normal(size=(20, 3)) @ items_side).astype(np.float32).astype(np.float64)
    found = cur.approximate(anchored, np.arange(12), exact[:12].astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(found, exact, atol=1e-4)


def test_what_is_exact_is_the_models_and_the_budget_is_kept() -> None:
    rng = np.random.default_rng(2)
    anchored, scores = rng.normal(size=(30, 60)), rng.normal(size=60)
    for calls, rounds in ((10, 1), (25, 4), (60, 2), (200, 3)):
        asked: list[int] = []

        def exact(places: Any, asked: list[int] = asked) -> Any:
            asked += list(places)
            return scores[places]

        values, known = cur.nearest(anchored, exact, calls, 6, rounds)
        assert len(asked) == len(set(asked)) == known.sum() == min(calls, 60)
        assert set(range(6)) <= set(asked) and np.isfinite(values).all()
        np.testing.assert_array_equal(values[known], scores[known])


def test_unreadable_items_cost_no_call_and_have_no_score() -> None:
    rng = np.random.default_rng(3)
    anchored, scores = rng.normal(size=(30, 40)), rng.normal(size=40)
    scores[[0, 3, 5, 6, 7, 30]] = np.nan
    values, known = cur.nearest(anchored, lambda places: scores[places], 20, 5, 3)
    assert known.sum() == 20 and not known[np.isnan(scores)].any()
    assert known[[1, 2, 4, 8, 9]].all(), "the anchors are the first that can be read"
    assert np.isnan(values[[0, 3, 5, 6, 7]]).all()


def test_more_rounds_find_more_of_the_best() -> None:
    found = {rounds: recall_over_worlds(rounds=rounds) for rounds in (1, 4)}
    assert found[4] > found[1] > recall_over_worlds(rounds=0) + 0.05


def recall_over_worlds(rounds: int) -> float:
    """Recall of the 10 best of 200 with 50 calls; 0 rounds stand for reading the first 50 of the list."""
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        items_side = rng.normal(size=(16, 200))
        anchored = rng.normal(size=(60, 16)) @ items_side + 0.5 * rng.normal(size=(60, 200))
        scores = rng.normal(size=16) @ items_side + 0.5 * rng.normal(size=200)
        first = np.argsort(-(scores + 4 * rng.normal(size=200)))
        anchored, scores = anchored[:, first], scores[first]
        if rounds:
            _, known = cur.nearest(anchored, lambda places, scores=scores: scores[places], 50, 16, rounds)
        else:
            known = np.arange(200) < 50
        shares.append(known[np.argsort(-scores)[:10]].mean())
    return float(np.mean(shares))


# --- the stage -----------------------------------------------------------------------------------------------------


def test_of_scores_of_low_rank_it_finds_the_order_of_cross() -> None:
    shelf, n = Texts(items(120)), 120
    plain, model = Bilinear(rank=6), Bilinear(rank=6)
    expected = cross(plain, ASKED, shelf, n, 100)
    found = cur.anncur(model, ASKED, shelf, n, 100, 30, 12, 2, 40)
    assert (found.calls, found.offline, found.exact.sum()) == (30, 40 * 100, 30)
    np.testing.assert_array_equal(found.order[:18], expected.order[:18])  # 30 calls, 12 of them on anchors
    np.testing.assert_array_equal(found.order[100:], np.arange(100, 120))
    assert np.isnan(found.scores[100:]).all()
    np.testing.assert_allclose(found.scores[:100], expected.scores[:100], atol=1e-4)
    assert sorted(found.order) == list(range(120))


def test_recall_grows_with_the_budget_and_beats_reading_as_many_from_the_top() -> None:
    texts, n = items(150), 150
    recall: dict[int, list[float]] = {24: [], 40: [], 150: []}
    plain: dict[int, list[float]] = {24: [], 40: []}
    for q in range(12):
        model, parts = Bilinear(rank=20, noise=5.0, curve=0.5), (Part(Content(text=f"asked {q}")),)
        truth = model.score(Content(text=f"asked {q}"), [Content(text=t) for t in texts])
        noisy = np.argsort(-(truth + 40 * np.random.default_rng(q).normal(size=n)))
        shelf = Texts([texts[i] for i in noisy])
        best = set(np.argsort(-truth[noisy])[:10])
        for calls, shares in recall.items():
            found = cur.anncur(model, parts, shelf, n, n, calls)
            shares.append(len(best & set(found.order[:10].tolist())) / 10)
        for calls, shares in plain.items():
            shares.append(len(best & set(range(calls))) / 10)
    mean = {calls: float(np.mean(shares)) for calls, shares in recall.items()}
    assert mean[24] < mean[40] < mean[150] == 1.0
    assert all(mean[calls] > np.mean(shares) + 0.1 for calls, shares in plain.items())


def test_a_budget_for_all_is_cross_and_asks_no_anchor_query() -> None:
    shelf, model = Texts([*items(20), None, *items(9, 20)]), Bilinear(noise=1.0)
    found, expected = cur.anncur(model, ASKED, shelf, 30, 25, 25), cross(model, ASKED, shelf, 30, 25)
    np.testing.assert_array_equal(found.order, expected.order)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert (found.calls, found.offline) == (24, 0) and not found.exact[20]


def test_anchor_queries_are_asked_once_of_an_item() -> None:
    model = Bilinear()
    first = cur.anncur(model, ASKED, Texts(items(50)), 50, 50, 20, 8, 1, 32)
    again = cur.anncur(model, ASKED, Texts(items(50)), 50, 50, 20, 8, 1, 32)
    assert (first.offline, again.offline) == (50 * 32, 0)
    np.testing.assert_array_equal(first.order, again.order)
    shelf = Texts(items(50, first=10))
    assert cur.anncur(model, ASKED, shelf, 50, 50, 20, 8, 1, 32).offline == 10 * 32
    assert len(set(shelf.read)) < 50, "items whose columns are known are read only where their score is asked for"
    told = (Part(Content(text="what is asked", instruction="find")),)
    assert cur.anncur(model, told, Texts(items(50)), 50, 50, 20, 8, 1, 32).offline == 50 * 32
    other = Bilinear()
    other.card = dataclasses.replace(CARD, revision="2")
    assert cur.anncur(other, ASKED, Texts(items(50)), 50, 50, 20, 8, 1, 32).offline == 50 * 32


def test_what_is_kept_has_a_bound_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cur, "KEPT", 30)
    model = Bilinear()
    cur.anncur(model, ASKED, Texts(items(25)), 25, 25, 10, 4, 1, 8)
    cur.anncur(model, ASKED, Texts(items(25, first=20)), 25, 25, 10, 4, 1, 8)
    assert len(cur._COLUMNS) == 30
    assert {key[-1] for key in cur._COLUMNS} == set(items(30, first=15))


def test_items_that_cannot_be_read_keep_their_places() -> None:
    texts: list[str | None] = list(items(40))
    texts[2] = texts[17] = None
    model = Bilinear()
    found = cur.anncur(model, ASKED, Texts(texts), 40, 40, 15, 6, 2, 20)
    assert found.order[2] == 2 and found.order[17] == 17
    assert np.isnan(found.scores[[2, 17]]).all() and np.isfinite(np.delete(found.scores, [2, 17])).all()
    # Items that are lost after their columns were taken: their approximation is not shown for a score.
    later = cur.anncur(model, ASKED, Texts(texts, frozenset({0, 1})), 40, 40, 15, 6, 2, 20)
    assert later.calls == 15 and later.offline == 0
    assert list(later.order[:3]) == [0, 1, 2] and np.isnan(later.scores[:3]).all()


def test_anchor_queries_are_texts_of_the_null_bank() -> None:
    model = Bilinear()
    cur.anncur(model, ASKED, Texts(items(30)), 30, 30, 10, 4, 1, 10_000)
    asked = {query for query, _ in model.pairs}
    assert asked == {f"|{text}" for text in null_bank()} | {"|what is asked"}
    cur._COLUMNS.clear()
    model.pairs.clear()
    cur.anncur(model, ASKED, Texts(items(30)), 30, 30, 10, 4, 1, 16)
    assert len({query for query, _ in model.pairs}) == 17


def test_an_empty_list_and_one_item() -> None:
    empty = cur.anncur(Bilinear(), ASKED, Texts([]), 0)
    assert len(empty.order) == len(empty.scores) == empty.calls == 0
    one = cur.anncur(Bilinear(), ASKED, Texts(["x"]), 1)
    assert (one.calls, one.offline, list(one.order)) == (1, 0, [0])
    nothing = cur.anncur(Bilinear(), ASKED, Texts([None] * 50), 50, 50, 10)
    assert (nothing.calls, nothing.offline, list(nothing.order)) == (0, 0, list(range(50)))


def test_a_model_without_words_and_a_query_that_it_cannot_read_are_refused() -> None:
    model = Bilinear()
    with pytest.raises(BadQuery, match="reads text; the query has image"):
        cur.anncur(model, (Part(Content(image=drawing(0))),), Texts(items(5)), 5)
    model.card = dataclasses.replace(CARD, reads=frozenset({"image"}))
    with pytest.raises(BadRecipe, match="use cross instead"):
        cur.anncur(model, (Part(Content(image=drawing(0))),), Texts(items(5)), 5)


def test_scores_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Bilinear()
    monkeypatch.setattr(model, "score", lambda query, items: np.full(len(items), np.nan))
    with pytest.raises(BadVectors, match="bilinear gave 30 items"):
        cur.anncur(model, ASKED, Texts(items(30)), 30, 30, 10)


def test_the_rows_arguments_are_those_of_the_function() -> None:
    row = READERS["anncur"]
    assert [p.name for p in row.parameters] == ["depth", "calls", "anchors", "rounds", "queries"]
    assert row.run is cur.anncur
    defaults = cur.anncur.__defaults__
    assert defaults == tuple(p.default for p in row.parameters)


def test_with_a_real_cross_encoder(tmp_path: Path) -> None:
    model = catalog.load_reranker(f"st_cross:tiny;checkpoint={tiny.cross(tmp_path)}")
    words = ["cat", "dog", "tree", "house", "car", "red", "blue", "big"]
    texts = [f"a {a} {b} on the {c}" for a in words[5:] for b in words[:5] for c in words[2:5]]
    shelf, n, parts = Texts(texts), len(texts), (Part(Content(text="a red cat in a tree")),)
    expected = cross(model, parts, shelf, n, n)
    found = cur.anncur(model, parts, shelf, n, n, 20, 8, 3, 24)
    assert found.calls == found.exact.sum() == 20 and found.offline == 24 * n
    np.testing.assert_allclose(found.scores[found.exact], expected.scores[found.exact], atol=1e-5)
    errors = (found.scores - expected.scores)[~found.exact]
    assert np.sqrt((errors**2).mean()) < 0.5 * expected.scores.std()
    assert len(set(found.order[:10].tolist()) & set(expected.order[:10].tolist())) >= 7


# --- in a recipe ---------------------------------------------------------------------------------------------------


def test_in_a_recipe_it_reads_a_librarys_items_and_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = whole_encoders.blocks()
    monkeypatch.setattr(catalog, "blocks", lambda: table)
    monkeypatch.setattr(catalog, "_loaded", {})
    (tmp_path / "files").mkdir()
    said = ["fox", "a picture of a fox", "a thing", "a photo of a red fox in the snow", "snow", "red", "an image", ""]
    for seed, caption in enumerate(said):
        drawing(seed).save(tmp_path / "files" / f"{seed}.png")
        (tmp_path / "files" / f"{seed}.json").write_text(json.dumps({"caption": caption}))
    library = Library.create(tmp_path / "l", ["hashing"])
    add(library, tmp_path / "files")
    engine = Engine(library, exact=True)
    asked = [Query((Part(Content(text=text)),), text) for text in ("a red fox", "snow", "a photo of a thing")]

    def run(stage: str) -> Run:
        return engine.rank(asked, f"hashing@visual,{stage}", 8)

    whole, same = run(f"cross:{READER}:8"), run(f"anncur:{READER}:8:8")
    assert [[h.id for h in r.hits] for r in whole.rankings] == [[h.id for h in r.hits] for r in same.rankings]
    first, again = (run(f"anncur:{READER}:8:4:2:2:32") for _ in range(2))
    assert first.rankings == again.rankings
    assert first.recipe.endswith(f"anncur:{READER}:8:4:2:2:32")
    (counted, later) = (list(r.meta["reads"].values())[0] for r in (first, again))
    # Seven items have words; each question has four of them read, and 32 reference questions had all of them once.
    assert (counted["calls"], counted["offline"]) == (12, 7 * 32)
    assert (later["calls"], later["offline"]) == (12, 0)
