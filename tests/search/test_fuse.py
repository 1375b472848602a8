"""The fuser `rrf`."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.search import FUSERS
from mmretrieval.types import Found

rrf = FUSERS["rrf"].run
names = st.sampled_from("abcdefghij")
rankings = st.lists(st.lists(names, unique=True, max_size=8), max_size=4)


def listed(ids):
    return Found(tuple(ids), np.arange(len(ids), 0, -1.0))


@given(rankings, st.sampled_from([0.0, 1.0, 60.0, 12.5]))
def test_equals_the_formula(lists, k):
    fused = rrf([listed(ids) for ids in lists], k)
    scores = {}
    for item in set(itertools.chain(*lists)):
        scores[item] = sum(1 / (k + 1 + ids.index(item)) for ids in lists if item in ids)
    assert dict(zip(fused.ids, fused.scores, strict=True)) == pytest.approx(scores)
    assert (np.diff(fused.scores) <= 0).all()


@given(rankings, st.randoms(use_true_random=False))
def test_the_order_of_the_lists_changes_nothing(lists, random):
    shuffled = random.sample(lists, len(lists))
    one, other = (rrf([listed(ids) for ids in each]) for each in (lists, shuffled))
    assert one.ids == other.ids
    np.testing.assert_array_equal(one.scores, other.scores)


def test_an_example_by_hand():
    fused = rrf([listed("abc"), listed("ca")], 60)
    assert fused.ids == ("a", "c", "b")
    np.testing.assert_allclose(fused.scores, [1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62])


def test_equal_ranks_are_ordered_by_id():
    assert rrf([listed("za"), listed("az")]).ids == ("a", "z")


def test_scores_of_the_lists_do_not_count():
    loud = Found(("a", "b"), np.array([1e9, -1e9]))
    assert rrf([loud, listed("ba")]).ids == ("a", "b")
    assert rrf([loud, listed("ba")]).scores[0] == rrf([loud, listed("ba")]).scores[1]


def test_one_list_keeps_its_order_and_none_gives_none():
    assert rrf([listed("cab")]).ids == ("c", "a", "b")
    assert len(rrf([])) == len(rrf([listed("")])) == 0
