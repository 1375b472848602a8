"""How sure the diagnostic `gram` is of shares in which all tuples, or all items found, are alike."""

import numpy as np
import pytest

from mmretrieval.diagnostics.gram import gram
from mmretrieval.diagnostics.prior import Retrieved, tenth_interval, tenth_share
from mmretrieval.diagnostics.sampling import resamples
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.geometry import unit
from mmretrieval.store.exact import Matrix


def subject(n, k):
    """Items whose k views say nearly the same."""
    generator = np.random.default_rng(31)
    content = generator.normal(size=(n, 24))
    ids = tuple(f"item-{i:04}" for i in range(n))
    views = {view: Matrix(ids, unit(content + 0.05 * generator.normal(size=(n, 24)))) for view in "abc"[:k]}
    return Subject(views, "a", "some space", labels={})


@pytest.mark.parametrize("k", [2, 3])
def test_what_all_tuples_agree_on_is_as_sure_as_they_are_many(k):
    found = gram(subject(50, k))
    bound = 1 - 0.025 ** (1 / 50)
    assert (found.numbers["opposed_matched"], found.numbers["auc"], found.numbers["auc_gain"]) == (0.0, 1.0, 0.0)
    assert found.intervals["opposed_matched"] == pytest.approx((0.0, bound))
    assert found.intervals["auc"] == found.intervals["auc_cosine"] == pytest.approx((1 - bound, 1.0))
    assert found.intervals["auc_gain"] == pytest.approx((-bound, bound))


def test_a_tenth_that_takes_every_place_is_not_sure_to_take_all():
    times = np.zeros(40)
    times[:3] = [5.0, 2.0, 1.0]
    found = Retrieved(np.linspace(0.1, 0.9, 40), {"volume": times}, 8, 1)
    assert tenth_share(found, "volume")[0] == 1.0
    assert tenth_interval(found, "volume", resamples(40, 0)) == pytest.approx((0.025 ** (1 / 3), 1.0))
