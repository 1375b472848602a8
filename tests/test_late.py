"""MaxSim of ragged bags, composed queries, pooling: against plain loops, and against the code of others."""

from __future__ import annotations

import numpy as np
import pytest

from mmretrieval import late
from mmretrieval.errors import BadQuery
from mmretrieval.types import Vectors

RNG = np.random.default_rng(11)


def units(n: int, dim: int = 16) -> np.ndarray:
    rows = RNG.standard_normal((n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


BAGS = Vectors.joined([units(n) for n in (1, 5, 2, 30, 1, 8)], 16)


def slow(query: np.ndarray, weights: np.ndarray, bag: np.ndarray) -> float:
    return sum(w * max(float(np.dot(q, d)) for d in bag.astype(float)) for q, w in zip(query, weights, strict=True))


def test_maxsim_is_the_weighted_sum_of_best_matches() -> None:
    query, weights = units(4), np.array([1.0, 0.5, -0.75, 2.0])
    expected = [slow(query.astype(float), weights, BAGS[i]) for i in range(6)]
    assert late.maxsim(query, weights, BAGS, range(6)) == pytest.approx(expected, abs=1e-12)
    assert late.maxsim(query, weights, BAGS, [3, 1]) == pytest.approx([expected[3], expected[1]], abs=1e-12)


@pytest.mark.parametrize("products", [1, 40, 2**23])
def test_the_scan_is_maxsim_to_within_rounding(products: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "PRODUCTS", products)
    query, weights = units(7), RNG.standard_normal(7)
    apart = np.abs(late.scan(query, weights, BAGS) - late.maxsim(query, weights, BAGS, range(6)))
    assert apart.max() < late.rounding(query, weights, 1.0) < 1e-3


def test_a_score_does_not_depend_on_the_bags_beside_it() -> None:
    query, weights = units(9), np.ones(9)
    whole = late.maxsim(query, weights, BAGS, range(6))
    for place in range(6):
        assert late.maxsim(query, weights, late.taken(BAGS, [place]), [0])[0] == whole[place]


def test_taken_gives_bags_in_the_order_asked() -> None:
    got = late.taken(BAGS, [3, -1, 0, 3])
    assert np.diff(got.offsets).tolist() == [30, 0, 1, 30]
    np.testing.assert_array_equal(got[3], BAGS[3])
    np.testing.assert_array_equal(got[2], BAGS[0])


def test_a_composed_query_is_the_weighted_mean_of_its_parts() -> None:
    one, two = units(3), units(10)
    rows, weights = late.composed([one, two], [2.0, -1.0])
    alone = [late.maxsim(part, np.full(len(part), 1 / len(part)), BAGS, range(6)) for part in (one, two)]
    assert late.maxsim(rows, weights, BAGS, range(6)) == pytest.approx((2 * alone[0] - alone[1]) / 3, abs=1e-7)


def test_one_part_is_ranked_as_by_plain_maxsim() -> None:
    part = units(6)
    rows, weights = late.composed([part], [0.3])
    np.testing.assert_array_equal(rows, part)
    np.testing.assert_allclose(weights, 1 / 6)
    np.testing.assert_allclose(late.plain(Vectors.joined([part], 16)).weights, weights)


def test_parts_that_cancel_are_refused_and_repeated_rows_join() -> None:
    part = units(4)
    with pytest.raises(BadQuery, match="cancel"):
        late.composed([part, part], [1.0, -1.0])
    with pytest.raises(BadQuery, match="finite"):
        late.composed([part], [float("nan")])
    rows, weights = late.composed([part, part[:1]], [1.0, 1.0])
    assert len(rows) == 4 and weights[0] == pytest.approx(0.5 / 4 + 0.5)


def test_pooling_keeps_one_row_in_factor() -> None:
    got = late.pooled(BAGS, 3)
    assert np.diff(got.offsets).tolist() == [1, 1, 1, 10, 1, 2]
    np.testing.assert_allclose(np.linalg.norm(got.rows, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(late.pooled(BAGS, 3).rows, got.rows)
    assert late.pooled(BAGS, 1) is BAGS
    with pytest.raises(ValueError, match="factor is 0.5"):
        late.pooled(BAGS, 0.5)


def test_pooling_puts_like_rows_together() -> None:
    three = np.eye(16, dtype=np.float32)[:3]
    bag = np.repeat(three, 4, axis=0)[[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]]
    got = late.pooled(Vectors.joined([bag + 0.001 * units(12)], 16), 4)
    assert np.round(got.rows).tolist() == three.tolist()


def test_pooling_agrees_with_sentence_transformers() -> None:
    import torch
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    theirs = HierarchicalTokenPooling(3.0, num_protected_tokens=0)
    rows = units(60)
    expected = theirs.pool([torch.from_numpy(rows)])[0].numpy()
    got = late.pooled(Vectors.joined([rows], 16), 3).rows
    assert got.shape == expected.shape
    matched = (expected @ got.T).argmax(axis=1)
    assert sorted(matched.tolist()) == list(range(20))
    np.testing.assert_allclose(got[matched], expected, atol=1e-5)
