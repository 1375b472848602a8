"""What holds for every composer and every blend: of a query only the parts and their proportions count."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.composition import PartVectors
from mmretrieval.errors import BadQuery
from mmretrieval.geometry import unit
from mmretrieval.search import BLENDS, COMPOSERS

DIM, ITEMS = 16, 40
KINDS = ("text", "image", "frames")
TABLE = COMPOSERS | BLENDS

algebra = pytest.mark.parametrize("name", TABLE)
composers = pytest.mark.parametrize("name", COMPOSERS)
blends = pytest.mark.parametrize("name", BLENDS)


def some(random, kinds, centres):
    """Unit rows around the means of their kinds, which lie well apart."""
    return unit(np.array([centres[kind] for kind in kinds]) + 0.7 * unit(random.normal(size=(len(kinds), DIM))))


@st.composite
def asked(draw, least=1, most=6):
    """The parts of a query, and the items that are ranked by it."""
    p, random = draw(st.integers(least, most)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = random.choice([-1.0, 1.0], size=p) * random.choice([0.1, 0.5, 1.0, random.uniform(0.1, 10)], size=p)
    kinds = tuple(map(str, random.choice(KINDS, size=p)))
    centres = {kind: (0.7 * unit(random.normal(size=(1, DIM)))[0]).astype(np.float32) for kind in KINDS}
    rows = some(random, kinds, centres)
    items = some(random, [KINDS[i % 3] for i in range(ITEMS)], centres)
    return PartVectors(rows, weights, kinds, random.random(p) < 0.5, centres), items


def fitting(name, parts):
    """The parts, none of them feedback where a blend could not do with what there is of it."""
    liked = (parts.feedback & (parts.weights > 0)).any()
    disliked = (parts.feedback & (parts.weights < 0)).any()
    if name == "context" and liked != disliked:
        return replace(parts, feedback=np.zeros_like(parts.feedback))
    return parts


def arguments(name):
    return tuple(parameter.default for parameter in TABLE[name].parameters)


def each_alone(parts, items):
    """The scores of each part with each item (p, n), each summed by itself: no part's bits hang on the others'."""
    return (parts.rows.astype(np.float64)[:, None] * items.astype(np.float64)).sum(axis=2)


def outcome(name, parts, items):
    """What a query comes to: the composed row, or the items' blended scores."""
    if name in COMPOSERS:
        return COMPOSERS[name].run(parts, *arguments(name)).row
    return BLENDS[name].run(each_alone(parts, items), parts.weights, parts.feedback, *arguments(name))


def taken(parts, places):
    kinds = tuple(parts.modalities[i] for i in places)
    return PartVectors(parts.rows[places], parts.weights[places], kinds, parts.feedback[places], parts.centres)


@algebra
@given(asked(), st.floats(1e-250, 1e250))
def test_the_scale_of_all_weights_changes_nothing(name, query, scale):
    parts, items = fitting(name, query[0]), query[1]
    np.testing.assert_allclose(
        outcome(name, replace(parts, weights=parts.weights * scale), items), outcome(name, parts, items), atol=1e-6
    )


@algebra
@given(asked(least=2), st.randoms(use_true_random=False))
def test_the_order_of_the_parts_changes_no_bit(name, query, random):
    parts, items = fitting(name, query[0]), query[1]
    order = random.sample(range(len(parts.rows)), len(parts.rows))
    turned = taken(parts, order)
    np.testing.assert_array_equal(outcome(name, turned, items), outcome(name, parts, items))
    if name in COMPOSERS:
        run = COMPOSERS[name].run
        shares = run(parts, *arguments(name)).shares
        np.testing.assert_array_equal(run(turned, *arguments(name)).shares, shares[order])


@algebra
@given(asked(least=2), st.data())
def test_a_part_of_weight_zero_is_as_good_as_absent(name, query, data):
    place = data.draw(st.integers(0, len(query[0].rows) - 1))
    weights = query[0].weights.copy()
    weights[place] = 0
    parts, items = fitting(name, replace(query[0], weights=weights)), query[1]
    fewer = taken(parts, [i for i in range(len(parts.rows)) if i != place])
    np.testing.assert_array_equal(outcome(name, parts, items), outcome(name, fewer, items))
    if name in COMPOSERS:
        assert COMPOSERS[name].run(parts, *arguments(name)).shares[place] == 0


@composers
@given(asked(most=1))
def test_one_part_that_pulls_is_itself(name, query):
    parts = replace(query[0], weights=np.abs(query[0].weights))
    made = COMPOSERS[name].run(parts, *arguments(name))
    np.testing.assert_allclose(made.row, parts.rows[0], atol=1e-6)
    np.testing.assert_allclose(made.shares, [1], atol=1e-6)
    np.testing.assert_allclose(made.base, 0, atol=1e-6)


@composers
@given(asked(most=1))
def test_one_part_that_pushes_is_its_opposite(name, query):
    parts = replace(query[0], weights=-np.abs(query[0].weights))
    opposite = -parts.rows[0].astype(np.float64)
    if name == "anchor":  # as seen from where its kind of rows lies
        opposite += 2 * parts.centres[parts.modalities[0]].astype(np.float64)
    np.testing.assert_allclose(outcome(name, parts, None), opposite / np.linalg.norm(opposite), atol=1e-6)


@blends
@given(asked(most=1), st.sampled_from([1, -1]))
def test_one_part_orders_the_items_by_its_own_scores_and_the_other_way_where_it_pushes(name, query, sign):
    parts, items = fitting(name, replace(query[0], weights=sign * np.abs(query[0].weights))), query[1]
    alone = each_alone(parts, items)[0]
    assert np.diff(np.sort(alone)).min() > 0
    np.testing.assert_array_equal(np.argsort(outcome(name, parts, items)), np.argsort(sign * alone))


@composers
@given(asked())
def test_contributions_add_up_to_the_score(name, query):
    parts, items = query
    made = COMPOSERS[name].run(parts, *arguments(name))
    assert (made.row.dtype, made.shares.shape, made.base.shape) == (np.float32, (len(parts.rows),), (DIM,))
    assert np.linalg.norm(made.row.astype(np.float64)) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(made.shares @ parts.rows.astype(np.float64) + made.base, made.row, atol=1e-6)
    each = made.contributions(parts.rows, items)
    assert each.shape == (ITEMS, len(parts.rows) + 1)
    np.testing.assert_allclose(each.sum(axis=1), items.astype(np.float64) @ made.row.astype(np.float64), atol=1e-5)


@composers
@given(asked())
def test_a_part_pulls_or_pushes_as_its_weight_says(name, query):
    parts, _ = query
    shares = COMPOSERS[name].run(parts, *arguments(name)).shares
    np.testing.assert_array_equal(np.sign(shares), np.sign(parts.weights))


@composers
@given(asked(), st.floats(1e-3, 1e3))
def test_the_length_of_all_rows_changes_nothing(name, query, scale):
    parts, _ = query
    centres = {kind: (row * scale).astype(np.float32) for kind, row in parts.centres.items()}
    longer = replace(parts, rows=(parts.rows * scale).astype(np.float32), centres=centres)
    run = COMPOSERS[name].run
    np.testing.assert_allclose(run(longer, *arguments(name)).row, run(parts, *arguments(name)).row, atol=2e-5)


@given(asked(), st.floats(0, 1), st.sampled_from(KINDS))
def test_slerp_of_one_kind_of_parts_is_their_sum(query, a, kind):
    parts = replace(query[0], modalities=(kind,) * len(query[0].rows))
    made, plain = COMPOSERS["slerp"].run(parts, a), COMPOSERS["sum"].run(parts)
    np.testing.assert_array_equal(made.row, plain.row)
    np.testing.assert_array_equal(made.shares, plain.shares)


@given(asked(least=2, most=2))
def test_slerp_goes_from_the_picture_to_the_words(query):
    parts = replace(query[0], modalities=("text", "image"), weights=np.abs(query[0].weights))
    ends = {a: COMPOSERS["slerp"].run(parts, a).row for a in (0.0, 1.0)}
    np.testing.assert_allclose(ends[0.0], parts.rows[1], atol=1e-6)
    np.testing.assert_allclose(ends[1.0], parts.rows[0], atol=1e-6)


@algebra
@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([0.0, 0.0], "no part of the query has a weight"),
        ([1.0, np.nan], "finite numbers, not 1, nan"),
        ([np.inf, 1.0], "finite numbers, not inf, 1"),
    ],
)
def test_weights_that_say_nothing_are_refused(name, weights, said):
    rows = np.eye(2, DIM, dtype=np.float32)
    centres = {kind: np.full(DIM, 0.1, dtype=np.float32) for kind in KINDS}
    none = np.zeros(2, dtype=np.bool_)
    with pytest.raises(BadQuery, match=said):
        outcome(name, PartVectors(rows, np.array(weights), ("text", "image"), none, centres), np.eye(3, DIM))


@composers
def test_parts_without_direction_are_refused(name):
    centres = {kind: np.full(DIM, 0.1, dtype=np.float32) for kind in KINDS}
    for feedback in (False, True):
        parts = PartVectors(
            np.zeros((2, DIM), dtype=np.float32), np.ones(2), ("text", "image"), np.array([False, feedback]), centres
        )
        with pytest.raises(BadQuery, match="no part of the query has a direction"):
            COMPOSERS[name].run(parts, *arguments(name))


@algebra
@given(asked())
def test_nothing_that_is_handed_in_is_changed(name, query):
    parts, items = fitting(name, query[0]), query[1]
    given_in = (parts.rows, parts.weights, parts.feedback, *parts.centres.values(), items)
    kept = [array.copy() for array in given_in]
    outcome(name, parts, items)
    for before, after in zip(kept, given_in, strict=True):
        np.testing.assert_array_equal(before, after)
