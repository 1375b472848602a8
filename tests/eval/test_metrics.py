"""The metrics against hand-computed cases, and slow formulas straight from the definitions."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.metrics import METRICS, chance_of_hit, mean, mean_chance, per_query


def descending(ids: list[str]) -> dict[str, float]:
    return {ident: float(len(ids) - i) for i, ident in enumerate(ids)}


def one(ids: list[str], grades: dict[str, int]) -> dict[str, float]:
    return per_query({"q": grades}, {"q": descending(ids)})["q"]


def test_a_case_by_hand() -> None:
    # ranks:                1     2     3    4
    values = one(["b", "x", "a", "z"], {"a": 3, "b": 1, "c": 1, "x": 0})
    dcg = 1 / math.log2(2) + 3 / math.log2(4)
    ideal = 3 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert values == pytest.approx(
        {
            "hit@1": 1.0,
            "hit@5": 1.0,
            "hit@10": 1.0,
            "recall@10": 2 / 3,
            "ndcg@10": dcg / ideal,
            "mrr": 1.0,
            "map": (1 / 1 + 2 / 3 + 0) / 3,
        },
        abs=1e-12,
    )


def test_hit_and_recall_are_told_apart_and_depths_are_exact() -> None:
    filler = [f"x{i}" for i in range(20)]
    fifth = one([*filler[:4], "a", *filler[4:]], {"a": 1, "b": 1})
    assert (fifth["hit@1"], fifth["hit@5"], fifth["hit@10"], fifth["recall@10"]) == (0, 1, 1, 0.5)
    sixth = one([*filler[:5], "a", *filler[5:]], {"a": 1})
    assert (sixth["hit@5"], sixth["hit@10"], sixth["mrr"]) == (0, 1, pytest.approx(1 / 6))
    eleventh = one([*filler[:10], "a"], {"a": 1})
    assert (eleventh["hit@10"], eleventh["recall@10"], eleventh["ndcg@10"]) == (0, 0, 0)
    assert eleventh["map"] == pytest.approx(1 / 11)


def test_no_result_counts_zero_and_no_relevant_entry_is_left_out() -> None:
    qrels = {"q1": {"a": 1}, "q2": {"a": 1}, "q3": {"a": 0}, "q4": {"a": 1}}
    values = per_query(qrels, {"q1": {"a": 1.0}, "q2": {}, "q3": {"a": 1.0}, "unknown": {"a": 1.0}})
    assert set(values) == {"q1", "q2", "q4"}
    assert set(values["q2"].values()) == set(values["q4"].values()) == {0.0}
    means = mean(values)
    assert means["queries"] == 3
    assert means["hit@1"] == pytest.approx(1 / 3)
    assert mean(values, ["q1", "q3"]) == {m: 1.0 for m in METRICS} | {"queries": 1}
    assert mean(values, ["q3"]) == {m: None for m in METRICS} | {"queries": 0}
    assert per_query({"q3": {"a": 0}}, {"q3": {"a": 1.0}}) == {}
    assert per_query({"q1": {"a": 1}}, {})["q1"] == dict.fromkeys(METRICS, 0.0)


def slow(ids: list[str], grades: dict[str, int]) -> dict[str, float]:
    """Every metric as its definition reads."""
    relevant = {i for i, g in grades.items() if g >= 1}
    gains = [grades.get(i, 0) for i in ids]
    ideal = sorted(grades.values(), reverse=True)

    def dcg(values: list[int]) -> float:
        return sum(g / math.log2(rank + 1) for rank, g in enumerate(values[:10], start=1))

    found = [rank for rank, i in enumerate(ids, start=1) if i in relevant]
    return {
        "hit@1": float(bool(relevant & set(ids[:1]))),
        "hit@5": float(bool(relevant & set(ids[:5]))),
        "hit@10": float(bool(relevant & set(ids[:10]))),
        "recall@10": len(relevant & set(ids[:10])) / len(relevant),
        "ndcg@10": dcg(gains) / dcg(ideal),
        "mrr": 1 / found[0] if found else 0.0,
        "map": sum(n / rank for n, rank in enumerate(found, start=1)) / len(relevant),
    }


NAMES = [f"d{i}" for i in range(30)]


@given(
    st.lists(st.sampled_from(NAMES), unique=True, max_size=25),
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 4), min_size=1, max_size=12),
)
def test_equal_to_the_definitions(ids: list[str], grades: dict[str, int]) -> None:
    values = per_query({"q": grades}, {"q": descending(ids)})
    if not any(grades.values()):
        assert values == {}
    else:
        assert values["q"] == pytest.approx(slow(ids, grades), abs=1e-9)


@given(st.integers(1, 12), st.data(), st.integers(1, 15))
def test_chance_is_the_share_of_orders_that_hit(candidates: int, data: st.DataObject, k: int) -> None:
    relevant = data.draw(st.integers(0, candidates))
    miss = 1.0
    for drawn in range(min(k, candidates)):
        miss *= max(0, candidates - relevant - drawn) / (candidates - drawn)
    assert chance_of_hit(candidates, relevant, k) == pytest.approx(1 - miss, abs=1e-12)


def test_chance_agrees_with_random_orders() -> None:
    rng = random.Random(7)
    entries = list(range(50))
    hits = sum(min(rng.sample(entries, 10)) < 3 for _ in range(20_000))
    assert chance_of_hit(50, 3) == pytest.approx(hits / 20_000, abs=0.015)
    assert chance_of_hit(8, 1) == 1.0
    assert mean_chance([(100, 1), (100, 0)]) == pytest.approx(0.05)
    assert mean_chance([]) is None
    with pytest.raises(ValueError, match="5 relevant of 4"):
        chance_of_hit(4, 5)
