"""What holds for every transform of a space's geometry: each row for itself, finite, zero where there is nothing."""

import numpy as np
import pytest
from made_references import D, cone, listed, paired, reference

from mmretrieval import saved
from mmretrieval.errors import RetrievalError
from mmretrieval.reference import Reference
from mmretrieval.transforms import TRANSFORMS

CALLS = {
    "center": (),
    "gapshift": (1.0,),
    "whiten": (0,),
    "zca": (),
    "pca": (5,),
    "mrl": (5,),
    "relative": (20,),
    "asif": (10, 3),
    "parallel-anchors": (6, 20),
    "invgc": (1.0, 1.0),
    "invgc-local": (0.5, 0.5, 0.1),
}
every = pytest.mark.parametrize("name", CALLS)


def fitted(name, given=None):
    return TRANSFORMS[name].run(paired(1) if given is None else given, *CALLS[name])


def both(transform, rows):
    """What items and queries of every kind become, by name."""
    return {view: transform.items(view, rows) for view in ("visual", "text")} | {
        modality: transform.query(modality, rows) for modality in ("text", "image", "frames")
    }


@every
def test_a_row_does_not_depend_on_its_neighbours(name):
    transform, rows = fitted(name), cone(2, 150)
    rows[100] = rows[3]
    shuffled = np.random.default_rng(3).permutation(len(rows))
    for side, turned in both(transform, rows).items():
        np.testing.assert_array_equal(turned[100], turned[3])
        np.testing.assert_array_equal(both(transform, rows[shuffled])[side], turned[shuffled])
        np.testing.assert_array_equal(both(transform, rows[3:4])[side][0], turned[3])


@every
def test_rows_are_finite_and_of_length_one_and_nothing_stays_nothing(name):
    given = paired(1)
    transform = fitted(name, given)
    rows = np.concatenate([cone(4, 20), np.zeros((1, D), np.float32), 1e-20 * cone(5, 1), 1e6 * cone(6, 1)])
    for view, turned in both(transform, rows).items():
        assert turned.dtype == np.float32
        assert np.isfinite(turned).all()
        assert not turned[20].any(), view
        if not (name.startswith("invgc") and view in ("image", "frames")):
            lengths = np.linalg.norm(turned[:20], axis=1)
            # A row that no anchor resembles at all has nothing to say in ASIF.
            lengths = lengths[lengths > 0] if name == "asif" else lengths
            assert len(lengths) >= 15
            np.testing.assert_allclose(lengths, 1.0, atol=1e-6)
    assert transform.item_bytes in (4.0 * transform.items("visual", rows).shape[1], 60.0 if name == "asif" else 0)
    assert transform.items("visual", rows[:0]).shape[0] == 0


@every
def test_zero_rows_among_the_items_and_a_row_at_the_mean_spoil_nothing(name):
    given = paired(7)
    items = {}
    for view, matrix in given.items.items():
        rows = matrix.rows.copy()
        rows[[4, 9]] = 0.0
        items[view] = listed(rows)
    transform = fitted(name, Reference(items, given.parts, given.queries))
    at_the_mean = items["visual"].rows.mean(axis=0, dtype=np.float64).astype(np.float32)[None]
    for turned in (transform.items("visual", at_the_mean), transform.items("visual", items["visual"].rows)):
        assert np.isfinite(turned).all()
        assert set(np.round(np.linalg.norm(turned.astype(np.float64), axis=1), 5)) <= {0.0, 1.0}


@every
def test_a_fit_is_the_same_twice_leaves_what_it_was_given_and_can_be_saved(name, tmp_path):
    given = paired(8)
    kept = {view: matrix.rows.copy() for view, matrix in given.items.items()}
    for rows in (*given.rows().values(), *given.parts.values(), given.queries):
        rows.flags.writeable = False
    first, second = fitted(name, given), fitted(name, given)
    saved.save(tmp_path / "fit", first, {"stage": name})
    again = saved.restore(tmp_path / "fit")
    assert type(again) is type(first)
    rows = cone(9, 5)
    for side, turned in both(first, rows).items():
        np.testing.assert_array_equal(both(second, rows)[side], turned)
        np.testing.assert_array_equal(both(again, rows)[side], turned)
    assert again.item_bytes == first.item_bytes
    for view, matrix in given.items.items():
        np.testing.assert_array_equal(matrix.rows, kept[view])


@pytest.mark.parametrize("name", [n for n in CALLS if n != "center"])
def test_a_space_without_vectors_is_refused(name):
    with pytest.raises(RetrievalError):
        TRANSFORMS[name].run(reference({}), *CALLS[name])
