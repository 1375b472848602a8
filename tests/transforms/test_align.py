"""The transforms `align`, `align-ridge` and `align-mlp`: known maps are found again, and queries find their items."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval import saved
from mmretrieval.errors import BadQuery, BadRecipe, EncoderUnavailable, RetrievalError
from mmretrieval.geometry import unit
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix
from mmretrieval.transforms import TARGETED, TRANSFORMS, align
from mmretrieval.transforms.fitting import trainer
from models import align_mlp

seeds = st.integers(0, 2**32 - 1)
NAMES = ("align", "align-ridge", "align-mlp")


def rotation(chance, d, e):
    """A (d, e) matrix with orthonormal rows or columns, whichever are fewer."""
    q = np.linalg.qr(chance.normal(size=(max(d, e), max(d, e))))[0]
    return q[:d, :e]


def cone(chance, n, d, offset=1.0):
    return unit(chance.normal(size=(n, d)) + offset * chance.normal(size=d))


def space(rows, bank, target=None, skip=0):
    """Items 0..n of each view but every `skip`-th, which one encoder has not seen."""
    items = {}
    for view, found in rows.items():
        kept = [i for i in range(len(found)) if not skip or i % skip]
        items[view] = Matrix(tuple(f"{i:05d}" for i in kept), found[kept])
    return Reference(items, {"text": bank}, bank, target)


def two(seed, n=200, d=24, e=24, change=None, noise=0.0):
    """Two spaces of the same things; `change` leads from rows of the first to those of the second."""
    chance = np.random.default_rng(seed)
    turn = rotation(chance, d, e)
    change = change or (lambda rows: rows @ turn)
    made = {"visual": cone(chance, n, d), "text": cone(chance, n, d)}
    bank = cone(chance, 40, d)

    def other(rows):
        return unit(change(rows.astype(np.float64)) + noise * chance.normal(size=(len(rows), e)))

    target = space({view: other(rows) for view, rows in made.items()}, other(bank), skip=7)
    return space(made, bank, target, skip=5), made, turn, change


def asked(made, skip=5):
    """Rows that the first space has no items of, so that no map was fitted on them."""
    return {view: rows[::skip] for view, rows in made.items()}


@given(seeds, st.sampled_from([(24, 24), (16, 24), (8, 40)]))
def test_a_rotation_is_found_again_exactly(seed, dims):
    reference, made, turn, _ = two(seed, d=dims[0], e=dims[1])
    for name, arguments in (("align", ()), ("align-ridge", (0.0,))):
        fitted = TRANSFORMS[name].run(reference, *arguments)
        assert set(fitted.maps) == {"visual", "text"}
        for side in fitted.maps:
            np.testing.assert_allclose(fitted.maps[side].linear, turn, atol=1e-5)
        new = asked(made)
        np.testing.assert_allclose(fitted.query("text", new["text"]), unit(new["text"] @ turn), atol=1e-5)
        for modality in ("image", "frames"):
            np.testing.assert_allclose(fitted.query(modality, new["visual"]), unit(new["visual"] @ turn), atol=1e-5)
        assert fitted.item_bytes == 4 * dims[1]


@given(seeds, st.sampled_from([(12, 12), (9, 14), (14, 9)]))
def test_procrustes_is_the_nearest_of_its_kind(seed, dims):
    chance = np.random.default_rng(seed)
    x, y = chance.normal(size=(30, dims[0])), chance.normal(size=(30, dims[1]))
    found = align.turned(x, y)
    small = min(dims)
    product = found @ found.T if dims[0] <= dims[1] else found.T @ found
    np.testing.assert_allclose(product, np.eye(small), atol=1e-10)
    # Of all such matrices it has the largest trace with x'y; any turn of it has less.
    agreement = np.trace(found.T @ x.T @ y)
    for _ in range(20):
        other = rotation(chance, *dims)
        assert np.trace(other.T @ x.T @ y) <= agreement + 1e-9


@given(seeds, st.sampled_from([0.0, 0.01, 0.5, 30.0]))
def test_ridge_is_the_solution_of_its_equation(seed, strength):
    chance = np.random.default_rng(seed)
    x, y = chance.normal(size=(40, 7)), chance.normal(size=(40, 5))
    found = align.least_squares(x, y, strength)

    def loss(w):
        return ((x @ w - y) ** 2).sum() + strength * np.trace(x.T @ x) / 7 * (w**2).sum()

    gradient = x.T @ (x @ found - y) + strength * np.trace(x.T @ x) / 7 * found
    np.testing.assert_allclose(gradient, 0, atol=1e-9)
    assert all(loss(found) <= loss(found + 1e-3 * chance.normal(size=found.shape)) for _ in range(10))
    if strength == 0:
        np.testing.assert_allclose(found, np.linalg.pinv(x) @ y, atol=1e-9)


def test_directions_that_no_pair_shows_are_dropped():
    chance = np.random.default_rng(1)
    x = np.concatenate([chance.normal(size=(20, 3)), np.zeros((20, 2))], axis=1)
    for w in (align.turned(x, x), align.least_squares(x, x, 0.0)):
        np.testing.assert_allclose(w, np.diag([1, 1, 1, 0, 0]), atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_new_encoders_queries_find_the_old_ones_items(name):
    reference, made, turn, _ = two(3, n=400, noise=0.05)
    fitted = TRANSFORMS[name].run(reference)
    old = reference.target.items["visual"]
    np.testing.assert_array_equal(fitted.items("visual", old.rows), old.rows)
    wanted = [i for i in range(0, 400, 5) if i % 7]  # the old space has them, the maps have not seen them
    scores = fitted.query("image", made["visual"][wanted]) @ old.rows.T
    places = old.places([f"{i:05d}" for i in wanted])
    assert np.mean(scores.argmax(axis=1) == places) > 0.9
    again = TRANSFORMS[name].run(reference)
    np.testing.assert_array_equal(again.query("text", made["text"]), fitted.query("text", made["text"]))


def test_the_network_learns_what_no_linear_map_can():
    chance = np.random.default_rng(4)
    into, out = chance.normal(size=(12, 40)), chance.normal(size=(40, 12))
    reference, made, _, change = two(5, n=3000, d=12, e=12, change=lambda rows: np.maximum(rows @ into, 0) @ out)
    new = asked(made)["visual"]
    expected = unit(change(new.astype(np.float64)))

    def cosine(name):
        return float((TRANSFORMS[name].run(reference).query("image", new) * expected).sum(axis=1).mean())

    assert 1 - cosine("align-mlp") < 0.6 * (1 - cosine("align-ridge"))


def test_the_network_keeps_the_linear_map_where_training_makes_nothing_better():
    chance = np.random.default_rng(6)
    x = cone(chance, 60, 8).astype(np.float64)
    turn = rotation(chance, 8, 8)
    made = align_mlp.fit(x, x @ turn, turn, steps=0)
    np.testing.assert_allclose(made.arrays["linear"], turn, atol=1e-6)
    assert not made.arrays["out"].any()
    assert (made.steps, made.best) == (0, 0)
    # Pairs that have nothing to do with each other: what is learnt of some makes the others worse.
    rows, noise = (unit(chance.normal(size=(300, 8))).astype(np.float64) for _ in range(2))
    start = align.least_squares(rows, noise, 1.0)
    trained, begun = align_mlp.fit(rows, noise, start), align_mlp.fit(rows, noise, start, steps=0)

    def held_out(w):
        mapped = rows @ w["linear"] + np.maximum(rows @ w["into"] + w["shift"], 0) @ w["out"]
        return float((unit(mapped)[9::10] * noise[9::10]).sum(axis=1).mean())

    assert held_out(trained.arrays) >= held_out(begun.arrays) - 1e-6
    assert not trained.cut
    assert trained.steps < align_mlp.MOST_STEPS


def test_training_goes_on_until_the_pairs_held_out_get_no_better():
    """A map through tanh, which 400 steps do not tell from its linear part."""
    chance = np.random.default_rng(0)
    into, out = chance.normal(size=(8, 16)), chance.normal(size=(16, 8))
    rows = unit(chance.normal(size=(1500, 8))).astype(np.float64)
    wanted = unit(np.tanh(2 * rows @ into) @ out).astype(np.float64)
    x, y = rows[:1000], wanted[:1000]
    start = align.least_squares(x, y, 0.1)
    made = align_mlp.fit(x, y, start)

    def missed(network):
        return 1 - float((network(rows[1000:].astype(np.float32)) * wanted[1000:]).sum(axis=1).mean())

    assert missed(align.Map(**made.arrays)) < 0.1 * missed(align._linear(start))
    assert made.best > 400
    again = align_mlp.fit(x, y, start)
    assert (again.steps, again.best) == (made.steps, made.best)
    np.testing.assert_array_equal(again.arrays["into"], made.arrays["into"])
    assert align_mlp.fit(x, y, start, steps=40).cut
    assert align_mlp.fit(x, y, start, seconds=0.0).steps == 0


def test_a_fit_says_how_its_training_ended(monkeypatch, tmp_path):
    reference, _, _, _ = two(3, n=400, noise=0.05)
    ended = iter([(820, 0, False), (4000, 3990, True)])

    def trained(x, y, start, real=align_mlp.fit):
        steps, best, cut = next(ended)
        return align_mlp.Trained(real(x, y, start, steps=0).arrays, steps, best, cut)

    monkeypatch.setattr(align_mlp, "fit", trained)
    fitted = TRANSFORMS["align-mlp"].run(reference)
    assert fitted.remark == (
        "the map of words stayed at the ridge solution: 820 steps made the pairs held out no better; "
        "the map of pictures might still get better: training was cut short after 4,000 steps"
    )
    saved.save(tmp_path / "fit", fitted, {})
    again = saved.restore(tmp_path / "fit")
    assert (again.remark, again.steps) == (fitted.remark, {"text": 820, "visual": 4000})
    assert TRANSFORMS["align-ridge"].run(reference).remark == ""


def test_two_trainings_at_once_leave_torch_as_it_was():
    chance = np.random.default_rng(0)
    rows, before = unit(chance.normal(size=(60, 8))).astype(np.float64), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        started = [threading.Thread(target=align_mlp.fit, args=(rows, rows, np.eye(8), n)) for n in (60, 200)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_side_with_fewer_pairs_than_dimensions_takes_all():
    reference, _, _, _ = two(8, n=200)
    few = {"visual": Matrix(reference.items["visual"].ids[:10], reference.items["visual"].rows[:10])}
    found = align.pairs(replace(reference, items=reference.items | few), "align")
    sides = align.by_side(found)
    assert len(found["visual"][0]) < 24 <= len(found["text"][0]) == len(sides["text"][0])
    assert len(sides["visual"][0]) == len(found["visual"][0]) + len(found["text"][0])


@pytest.mark.parametrize("name", sorted(TARGETED))
def test_what_cannot_be_joined_is_refused(name):
    reference, made, _, _ = two(9, n=60)
    run = TRANSFORMS[name].run
    with pytest.raises(BadRecipe, match=f"{name}:NAME"):
        run(replace(reference, target=None))
    apart = replace(reference, items={}, parts={})
    with pytest.raises(RetrievalError, match="there are 0"):
        run(apart)


def test_pictures_are_refused_where_no_picture_joins_the_spaces():
    reference, made, _, _ = two(10, n=60)
    words = replace(reference, items={"text": reference.items["text"]})
    fitted = TRANSFORMS["align"].run(words)
    assert fitted.query("text", made["text"]).shape == (60, 24)
    with pytest.raises(BadQuery, match="image queries"):
        fitted.query("image", made["visual"])


def test_a_trainer_that_is_not_there_is_said():
    with pytest.raises(EncoderUnavailable, match="models.nowhere:fit could not be imported"):
        trainer("models.nowhere:fit")
