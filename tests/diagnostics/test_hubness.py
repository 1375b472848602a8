"""Hubness of spaces whose counts are known, of random ones by slow formulas, and what is said at the edges."""

from dataclasses import replace

import numpy as np
import pytest

from mmretrieval.diagnostics.hubness import CHANCE, PLAIN, hubness, written
from mmretrieval.diagnostics.hubness_words import hubby, percent, sentence
from mmretrieval.diagnostics.occurrence import alike, occurrences, robin_hood, shared, skewness
from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import unit
from mmretrieval.recipe import parse
from mmretrieval.reference import Reference
from mmretrieval.search import CORRECTIONS, TRANSDUCTIVE
from mmretrieval.store.corrected import CorrectedStore
from mmretrieval.store.exact import Matrix
from mmretrieval.types import Selection


def subject(items, queries, bank=None, relevant=None, excluded=()):
    """A space of items, asked row by row."""
    ids = tuple(f"{i:05d}" for i in range(len(items)))
    matrix = Matrix(ids, items)
    known = relevant if relevant is not None else [[] for _ in queries]
    answers = tuple(frozenset(ids[p] for p in places) for places in known)
    left_out = tuple(frozenset(ids[p] for p in places) for places in excluded)
    names = tuple(f"q{i}" for i in range(len(queries)))
    questions = Questions(queries, names, ("text",) * len(queries), answers, left_out)
    reference = None if bank is None else Reference({"visual": matrix}, {}, bank)
    return Subject({"visual": matrix}, "visual", "a space", questions, reference)


def circle(count, turned=0.0):
    angles = 2 * np.pi * (np.arange(count) + turned) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def cloud(seed, count, d=64, pull=0.6):
    """Unit rows around a common direction: those nearest to it are hubs."""
    generator = np.random.default_rng(seed)
    middle = np.random.default_rng(99).normal(size=d)
    return unit(generator.normal(size=(count, d)) + pull * middle)


@pytest.fixture(scope="module")
def hubs():
    return hubness(subject(cloud(1, 300), cloud(2, 200), cloud(3, 150), [[i] for i in range(200)]))


# --- known in closed form ------------------------------------------------------------------------------------------


def test_on_a_circle_every_item_is_found_equally_often():
    found = hubness(subject(circle(40), circle(40, 0.1), relevant=[[i] for i in range(40)]))
    said = found.numbers
    assert [said[key] for key in ("skewness", "never_retrieved", "robin_hood")] == [0.0, 0.0, 0.0]
    assert (said["largest_share"], said["first_largest_share"], said["found"]) == (10 / 40, 1 / 40, 1.0)
    assert "no more hubs than chance could make" in found.sentence
    assert (found.advice, found.stages) == ("", ())
    (shown,) = found.exhibits
    assert {row[1][:2] for row in shown.rows} == {(10.0, 0.25)}


def test_an_item_in_the_middle_of_a_simplex_is_in_every_list():
    # Of each corner's query the first two are the corner and the middle: counts 3, 1, 1, 1.
    items = np.vstack([np.full(3, 3**-0.5), np.eye(3)]).astype(np.float32)
    said = hubness(subject(items, np.eye(3, dtype=np.float32))).numbers
    assert said["largest_share"] == 1.0
    assert said["never_retrieved"] == 0.0
    assert said["skewness"] == pytest.approx(0.75 / 0.75**1.5)
    assert said["robin_hood"] == pytest.approx(1.5 / 6)
    assert said["first_largest_share"] == pytest.approx(1 / 3)
    assert said["chance.never_retrieved"] == pytest.approx(0.5**3)


def test_a_bank_of_the_middle_takes_the_hub_away():
    """Queries tilted to the middle find the hub first; nnn with weight 0.75 and its like put the corners first."""
    corners, middle = np.eye(8), np.full(8, 8**-0.5)
    items = unit(np.vstack([middle, corners]))
    found = hubness(
        subject(items, unit(corners + 1.5 * middle), unit(middle - 0.2 * corners), [[i] for i in range(1, 9)])
    )
    assert found.numbers["first_largest_share"] == 1.0
    for name in ("nnn", "csls", "qbnorm"):
        assert found.numbers[f"{name}.first_largest_share"] == 1 / 8


def test_the_order_of_equal_items_is_no_hub():
    found = hubness(subject(np.repeat(circle(1), 40, axis=0), cloud(3, 60, d=2)))
    assert found.numbers["largest_share"] == 1.0
    assert found.numbers["skewness"] > found.numbers["chance.skewness"]
    assert (found.numbers["copies"], found.numbers["skewness_shared"]) == (40.0, 0.0)
    assert "hubs that the order of equal items makes" in found.sentence
    assert "40 of the 40 items have the same vector as another" in found.sentence
    assert "are hubs" not in found.sentence
    assert (found.advice, found.stages) == ("", ())
    # Two kinds of items, each questioned as often: the same.
    two = hubness(subject(np.repeat(circle(2), 30, axis=0), np.tile(circle(2), (20, 1))))
    assert two.numbers["copies"] == 60.0
    assert "hubs that the order of equal items makes" in two.sentence


def test_copies_are_counted_and_a_hub_beside_them_stays_one(hubs):
    assert hubs.numbers["copies"] == 0
    assert hubs.numbers["skewness_shared"] == pytest.approx(hubs.numbers["skewness"])
    assert "same vector" not in hubs.sentence
    items = np.concatenate([cloud(1, 300), cloud(1, 300)[:40] * np.float32(2)])
    found = hubness(subject(items, cloud(2, 200)))
    assert found.numbers["copies"] == 80.0
    assert "some items are hubs" in found.sentence
    assert found.stages or found.advice


def test_equal_items_share_their_counts():
    rows = np.array([[1, 0], [0, 3], [2, 0], [0, 0], [-0.0, 1], [0, 0]], dtype=np.float32)
    groups = alike(rows)
    assert groups.tolist() == [0, 1, 0, 2, 1, 2]
    assert shared(np.array([4, 1, 0, 6, 3, 0]), groups).tolist() == [2, 2, 2, 3, 2, 3]


# --- against a slow formula ----------------------------------------------------------------------------------------


def slow_lists(items, queries, bank, k, excluded):
    """The lists by a full sort of all corrected scores at once."""
    reference = Reference({"visual": Matrix(tuple(f"{i:05d}" for i in range(len(items))), items)}, {}, bank)
    scores = queries.astype(np.float64) @ items.astype(np.float64).T
    lists = {}
    for name, row in [(PLAIN, None), *CORRECTIONS.items()]:
        corrected = scores.copy()
        if row is not None:
            fitted = row.run(reference, *(p.default for p in row.parameters))
            corrected = fitted.scores("visual", scores)
            if name == "qbnorm":  # each query alone, its best item being one that it may find
                for i, places in enumerate(excluded):
                    mask = np.ones(len(items), dtype=bool)
                    mask[places] = False
                    corrected[i] = fitted.among("visual", scores[i : i + 1], [mask])[0]
        for i, places in enumerate(excluded):
            corrected[i, places] = -np.inf
        lists[name] = np.argsort(-corrected, axis=1, kind="stable")[:, :k]
    return lists


@pytest.mark.parametrize("blocks", [None, (700, 300)])
def test_numbers_are_those_of_a_full_sort_whatever_the_blocks(monkeypatch, blocks):
    if blocks:
        monkeypatch.setattr("mmretrieval.search.leaders.SCORES_AT_ONCE", blocks[0])
        monkeypatch.setattr("mmretrieval.search.leaders.SCORES_HANDED", blocks[1])
    items, queries, bank = cloud(4, 90), cloud(5, 40), cloud(6, 30)
    right = [[i, 2 * i] if i % 3 else [] for i in range(40)]
    excluded = [[i + 1] if i % 2 else [] for i in range(40)]
    found = hubness(subject(items, queries, bank, right, excluded))
    for name, lists in slow_lists(items, queries, bank, 10, excluded).items():
        prefix = "" if name == PLAIN else f"{name}."
        counts = occurrences(lists, 90)
        assert found.numbers[f"{prefix}skewness"] == pytest.approx(skewness(counts))
        assert found.numbers[f"{prefix}robin_hood"] == pytest.approx(robin_hood(counts))
        assert found.numbers[f"{prefix}never_retrieved"] == (counts == 0).mean()
        assert found.numbers[f"{prefix}largest_share"] == counts.max() / 40
        first = occurrences(lists[:, :1], 90)
        assert found.numbers[f"{prefix}first_largest_share"] == first.max() / 40
        hits = [bool(set(places) & set(lists[i].tolist())) for i, places in enumerate(right) if places]
        assert found.numbers[f"{prefix}found"] == pytest.approx(np.mean(hits))
        if prefix:
            change = found.numbers[f"{prefix}skewness"] - found.numbers["skewness"]
            assert found.numbers[f"{prefix}skewness_change"] == pytest.approx(change)


def test_a_query_that_excludes_its_own_picture_does_not_count_it():
    items = cloud(7, 60)
    own = subject(items, items, relevant=[[i] for i in range(60)])
    assert hubness(own).numbers["found"] == 1.0
    without = hubness(subject(items, items, relevant=[[i] for i in range(60)], excluded=[[i] for i in range(60)]))
    assert without.numbers["found"] == 0.0


def test_every_correction_counts_the_items_that_a_search_finds():
    """Queries that are items, each without itself: the best item of each is another, which decides qbnorm's gate."""
    items, bank = cloud(20, 80), cloud(21, 50)
    found = hubness(subject(items, items, bank, excluded=[[i] for i in range(80)]))
    matrix = Matrix(tuple(f"{i:05d}" for i in range(80)), items)
    selections = [Selection(exclude=frozenset([ident])) for ident in matrix.ids]
    for name, row in CORRECTIONS.items():
        fitted = row.run(Reference({"visual": matrix}, {}, bank), *(p.default for p in row.parameters))
        store = CorrectedStore({"visual": matrix}, lambda _: frozenset(), fitted)
        lists = [matrix.places(one.ids) for one in store.search("visual", items, 10, selections)]
        counts = occurrences(np.stack(lists), 80)
        assert found.numbers[f"{name}.skewness"] == pytest.approx(skewness(counts)), name
        assert found.numbers[f"{name}.never_retrieved"] == (counts == 0).mean(), name


# --- what is said --------------------------------------------------------------------------------------------------


def test_hubs_are_named_and_corrections_lower_them(hubs):
    said = hubs.numbers
    assert said["skewness"] > said["chance.skewness"] + 1
    for name in ("nnn", "csls", "qbnorm"):
        assert said[f"{name}.skewness"] < said["skewness"]
    assert hubs.intervals["nnn.skewness_change"][1] < 0
    assert "some items are hubs" in hubs.sentence
    best = min(CORRECTIONS, key=lambda name: said[f"{name}.skewness_change"])
    assert f"Of the corrections tried, {written(best)} lowers the skewness most" in hubs.sentence
    assert hubs.stages
    assert hubs.stages[0] == written(best)
    assert hubs.stages[0] in hubs.advice
    for stage in hubs.stages:
        assert str(parse(f"lite,{stage}").correction) == stage
    top = hubs.exhibits[0]
    counts = [row[1][0] for row in top.rows]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] / 200 == said["largest_share"] == top.rows[0][1][1]
    never = hubs.exhibits[1]
    assert f"of {round(300 * said['never_retrieved'])} items" in never.title
    assert {row[1][0] for row in never.rows} == {0.0}


def test_what_is_transductive_says_so_wherever_it_is_named(hubs):
    stage = written("dualsoftmax")
    assert [name for name in CORRECTIONS if name in TRANSDUCTIVE] == ["dualsoftmax"]
    named = [trace.name for trace in hubs.plots[0].traces] + list(hubs.plots[1].traces[0].x)
    named += [column for exhibit in hubs.exhibits for column in exhibit.columns] + list(hubs.basis["corrections"])
    mentions = [text for text in named if "dualsoftmax" in text]
    assert len(mentions) == 5
    assert all(f"{stage} (transductive)" in text for text in mentions)
    assert "dualsoftmax" not in "".join(hubs.stages)
    for text in (hubs.sentence, hubs.advice):
        assert text.count(stage) == text.count(f"{stage} (transductive)")


def test_plots_are_whole(hubs):
    curves, never, skew = hubs.plots
    assert [trace.name for trace in curves.traces][::5] == [PLAIN, CHANCE]
    assert curves.traces[0].y[0] == 200 * hubs.numbers["largest_share"]
    for plot in hubs.plots:
        assert "(" in plot.y
        for trace in plot.traces:
            assert len(trace.x) == len(trace.y) <= 2000
            assert np.isfinite(trace.y).all()
    assert min(y for trace in curves.traces for y in trace.y) > 0, "the axes are logarithmic"
    for plot, key in ((never, "never_retrieved"), (skew, "skewness")):
        (bars,) = plot.traces
        assert bars.x[:2] == (CHANCE, PLAIN)
        assert bars.y[:2] == (hubs.numbers[f"chance.{key}"], hubs.numbers[key])
        assert len(bars.x) == len(bars.low) == len(bars.high) == 6
        assert all(low <= y <= high for low, y, high in zip(bars.low, bars.y, bars.high, strict=True))


def test_numbers_are_finite_and_within_their_intervals_and_the_same_again(hubs):
    again = hubness(subject(cloud(1, 300), cloud(2, 200), cloud(3, 150), [[i] for i in range(200)]))
    assert again == hubs
    assert all(np.isfinite(value) for value in hubs.numbers.values())
    for key, (low, high) in hubs.intervals.items():
        assert low <= hubs.numbers[key] <= high
    bare = {key for key in hubs.numbers if key.startswith("chance.")} | {"copies", "skewness_shared"}
    assert set(hubs.numbers) - set(hubs.intervals) == bare
    assert (hubs.basis["n"], hubs.basis["items"], hubs.basis["bank"], hubs.basis["k"]) == (200, 300, 150, 10)


def test_random_rankings_are_rarely_called_hubs():
    """Queries that find items at random: orthogonal blocks, so that no item is nearer to all than another."""
    called = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        items, queries = np.eye(50, dtype=np.float32), generator.normal(size=(120, 50)).astype(np.float32)
        called += "some items are hubs" in hubness(subject(items, queries)).sentence
    assert called <= 2


def test_without_a_bank_only_what_needs_none_is_tried():
    found = hubness(subject(cloud(8, 50), cloud(9, 40)))
    assert list(found.basis["corrections"]) == ["dualsoftmax:1000 (transductive)"]
    assert list(found.basis["left_out"]) == ["nnn:128:0.75", "qbnorm:20:1", "csls:10"]
    assert "nnn:128:0.75, qbnorm:20:1, csls:10 could not be tried: nnn is fitted on reference queries" in found.sentence
    assert "found" not in found.numbers
    assert found.sentence.endswith(".")
    assert found.stages == ()
    assert found.advice == "" or "Look at the items found most often" in found.advice


def test_what_was_clamped_sampled_or_left_out_is_said():
    queries = cloud(10, 40)
    queries[::8] = 0
    found = hubness(subject(cloud(11, 16), queries, cloud(12, 5)), sample=25, seed=3)
    assert found.basis["of"] == 40
    assert found.basis["n"] + found.basis["zero_rows"] == 25
    assert found.basis["zero_rows"] > 0
    assert found.basis["k"] == 8
    remark = "an item's mean is over all 5 reference queries, as there are no 128"
    assert found.basis["corrections"]["nnn:128:0.75"] == remark
    assert f"With only {found.basis['n']} questions the intervals say little" in found.sentence
    assert hubness(subject(cloud(11, 16), queries, cloud(12, 5)), sample=None).basis["n"] == 35


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(RetrievalError, match="no questions to ask"):
        hubness(replace(subject(cloud(1, 9), cloud(2, 9)), questions=None))
    for items, queries, counted in ((1, 5, "5 and 1"), (5, 1, "1 and 5")):
        with pytest.raises(RetrievalError, match=f"at least 2 questions and 2 items, not {counted}"):
            hubness(subject(cloud(1, items), cloud(2, queries)))
    with pytest.raises(RetrievalError, match="not 3 and 1"):
        hubness(subject(cloud(1, 4), cloud(2, 3), excluded=[[0, 1, 2], [], []]))


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.0004, "less than 0.1 %"),
        (0.9996, "more than 99.9 %"),
        (0.034, "3.4 %"),
        (0.4, "40 %"),
    ],
)
def test_a_percentage_never_rounds_to_none_or_all(share, text):
    assert percent(share) == text


def test_a_correction_that_makes_it_worse_is_named():
    numbers = {"skewness": 1.0, "never_retrieved": 0.1, "largest_share": 0.1}
    numbers |= {f"chance.{name}": 0.1 for name in numbers} | {"skewness_shared": 1.0, "copies": 0.0}
    intervals = {"skewness": (0.5, 1.5)}
    for name, change in (("nnn", (-0.1, 0.2)), ("qbnorm", (0.2, 0.9)), ("csls", (0.1, 0.7))):
        numbers[f"{name}.skewness"] = 1.0 + sum(change) / 2
        intervals[f"{name}.skewness_change"] = change
    titles = {"nnn": "nnn:128:0.75", "qbnorm": "qbnorm:20:1", "csls": "csls:10"}
    said = sentence("60 questions in words", "the 60 items", 60, 60, 10, titles, numbers, intervals, {})
    assert said.endswith("lowers the skewness beyond noise. qbnorm:20:1 and csls:10 raise it.")


def test_what_equal_items_leave_of_skewness_must_exceed_chance_by_more_than_noise() -> None:
    def told(shared: float) -> bool:
        numbers = {"skewness": 1.15, "skewness_shared": shared, "chance.skewness": 0.3}
        return hubby(numbers, {"skewness": (1.0, 1.3)})

    assert told(1.15) and told(0.5)
    assert not told(0.4) and not told(0.0)
