"""The transforms `bebr` and `align-bebr`: the recurrence, prefixes, symmetric distances, and codes of two versions."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from mmretrieval.errors import BadQuery, BadRecipe, RetrievalError
from mmretrieval.geometry import directions, unit
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix
from mmretrieval.transforms import bebr
from models import bebr as training

D, BITS, STEPS = 24, 16, 2


def drawn(seed, n, d=D):
    """Unit rows whose directions do not weigh the same, in a cone."""
    chance = np.random.default_rng(seed)
    return unit(chance.normal(size=(n, d)) * 0.9 ** np.arange(d) + 0.6 * chance.normal(size=d))


def space(rows, bank, target=None):
    items = {v: Matrix(tuple(f"{i:05d}" for i in range(len(found))), found) for v, found in rows.items()}
    return Reference(items, {"text": bank}, bank, target)


@pytest.fixture(scope="module")
def reference():
    return space({"visual": drawn(0, 500), "text": drawn(1, 400)}, drawn(1, 460)[400:])


@pytest.fixture(scope="module")
def fitted(reference):
    return bebr.run(reference, BITS, STEPS)


def kept(reference, fitted, modality="text", side="text"):
    """The share of the ten best pictures of words that are still there."""
    asked, rows = drawn(1, 560)[460:], reference.items["visual"].rows
    best = np.argsort(-(asked @ rows.T), axis=1)[:, :10]
    scores = fitted.query(modality, asked) @ fitted.items("visual", rows).T
    found = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(best, found, strict=True)]))


def slowly(fitted, mean, row):
    """The recurrence, one row at a time, in float64: the codes as signs, and the levels."""
    seen = directions(directions(row) - mean)
    levels, signs = np.zeros(fitted.bits), []
    for step, turn in enumerate(fitted.turns):
        f = np.zeros(len(seen))
        if step:
            f = levels @ turn.back + np.maximum(levels @ turn.into + turn.shift, 0) @ turn.out
            f = f / np.linalg.norm(f)
        signs.append(np.where((seen - f) @ turn.project >= 0, 1, -1))
        levels = levels + 2.0**-step * signs[-1]
    return np.array(signs), levels


def test_it_is_the_recurrence(reference, fitted):
    rows = reference.items["visual"].rows[:40]
    back, codes = fitted.items("visual", rows), fitted.codes("visual", rows)
    assert (codes.shape, codes.dtype) == ((STEPS + 1, 40, BITS // 8), np.uint8)
    assert fitted.item_bytes == BITS * (STEPS + 1) / 8
    differing = 0
    for i, row in enumerate(rows):
        signs, levels = slowly(fitted, fitted.means["visual"], row)
        same = (np.packbits(signs > 0, axis=1) == codes[:, i]).all()
        differing += not same
        if same:
            np.testing.assert_allclose(back[i], levels / np.linalg.norm(levels), atol=1e-6)
    assert differing <= 1  # float32 may see another sign where float64 sees next to nothing


def test_symmetric_distances_from_codes_are_the_products_of_rows(reference, fitted):
    a, b = reference.items["visual"].rows[:20], reference.items["text"].rows[:30]
    products = fitted.query("image", a).astype(np.float64) @ fitted.items("text", b).T
    codes = fitted.codes("visual", a), fitted.codes("text", b)
    np.testing.assert_allclose(bebr.symmetric(*codes, fitted.bits), products, atol=1e-6)
    # One code alone is plain Hamming distance.
    first = fitted.shortened(0)
    apart = np.bitwise_count(codes[0][0][:, None] ^ codes[1][0][None]).sum(axis=2)
    products = first.items("visual", a).astype(np.float64) @ first.items("text", b).T
    np.testing.assert_allclose(1 - 2 * apart / BITS, products, atol=1e-6)


def test_fewer_codes_are_a_prefix_of_more_fitted_together_or_apart(reference, fitted):
    rows = reference.items["visual"].rows
    for steps in range(STEPS + 1):
        short = fitted.shortened(steps)
        assert short.item_bytes == BITS * (steps + 1) / 8
        np.testing.assert_array_equal(short.codes("visual", rows), fitted.codes("visual", rows)[: steps + 1])
    apart = bebr.run(reference, BITS, 1)
    np.testing.assert_array_equal(apart.codes("visual", rows), fitted.codes("visual", rows)[:2])


def test_more_codes_rank_better(reference, fitted):
    shares = [kept(reference, fitted.shortened(steps)) for steps in range(STEPS + 1)]
    assert shares == sorted(shares)
    assert shares[0] > 3 * 10 / 500
    assert shares[-1] > shares[0] + 0.1


def clustered(seed, n):
    """Directions in six clusters: what there is to learn from (evenly spread ones leave nothing)."""
    chance = np.random.default_rng(seed)
    middles = np.random.default_rng(99).normal(size=(6, D))
    return directions(middles[chance.integers(6, size=n)] + 0.7 * chance.normal(size=(n, D)))


def centred_of(rows):
    return {view: directions(found - found.mean(axis=0)) for view, found in rows.items()}


def test_training_brings_all_scores_nearer_to_those_of_the_numbers():
    rows = {"visual": clustered(0, 500), "text": clustered(1, 400)}
    centred = centred_of(rows)
    start = bebr.start(np.concatenate(list(centred.values())), BITS)

    def losses(turns):
        import torch

        signs = {v: np.where(x @ turns[0]["project"] >= 0, 1, -1) / np.sqrt(BITS) for v, x in centred.items()}
        found = []
        for a, b in itertools.product(rows, rows):
            wanted, got = (torch.from_numpy(m[a] @ m[b].T) for m in (rows, signs))
            hidden = torch.eye(*wanted.shape, dtype=torch.bool) & (a == b)
            found.append(float(training._apart(wanted, got, hidden)))
        return np.array(found)

    begun, trained = (training.fit(rows, centred, start, 0, steps) for steps in (0, 120))
    np.testing.assert_allclose(begun[0]["project"], start, atol=1e-6)
    assert (losses(trained) < 0.97 * losses(begun)).all()
    # It stays a rotation.
    np.testing.assert_allclose(trained[0]["project"].T @ trained[0]["project"], np.eye(BITS), atol=1e-3)


def test_the_loss_is_the_divergence_of_two_softmaxes():
    import torch

    chance = np.random.default_rng(5)
    wanted, got = chance.normal(size=(3, 6)), chance.normal(size=(3, 6))

    def soft(scores):
        centred = scores - scores.mean(axis=1, keepdims=True)
        powers = np.exp(training.SHARPNESS * centred / np.sqrt((centred**2).mean()))
        return powers / powers.sum(axis=1, keepdims=True)

    p, q = soft(wanted), soft(got)
    expected = (p * np.log(p / q)).sum(axis=1).mean()
    none = torch.zeros(3, 6, dtype=torch.bool)
    found = float(training._apart(torch.from_numpy(wanted), torch.from_numpy(got), none))
    assert found == pytest.approx(expected, rel=1e-9)
    assert float(training._apart(torch.from_numpy(wanted), torch.from_numpy(3 * wanted), none)) == pytest.approx(0)


def test_signs_pass_gradients_straight_through_where_they_are_near():
    import torch

    x = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0], requires_grad=True)
    signs = training._sign(x)
    (signs * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])).sum().backward()
    assert signs.tolist() == [-1, -1, 1, 1, 1]
    assert x.grad.tolist() == [0, 2, 3, 4, 0]


def test_more_bits_than_dimensions(reference):
    few = bebr.Bebr({"visual": reference.items["visual"].rows.mean(axis=0, dtype=np.float64)}, ())
    rows = {view: directions(matrix.rows) for view, matrix in reference.items.items()}
    centred = centred_of(rows)
    start = bebr.start(centred["visual"], 40)
    np.testing.assert_allclose(start[:, :D].T @ start[:, :D], np.eye(D), atol=1e-10)
    turns = training.fit(rows, centred, start, 1, steps=3)
    wide = replace(few, turns=tuple(bebr._turn(t) for t in turns))
    assert wide.items("visual", reference.items["visual"].rows).shape == (500, 40)
    assert wide.item_bytes == 10


@pytest.fixture(scope="module")
def versions():
    """An old encoder, and a new one of another dimension that sees the same things a little differently."""
    chance = np.random.default_rng(11)
    turn = np.linalg.qr(chance.normal(size=(32, 32)))[0][:D]
    old = {"visual": drawn(20, 700), "text": drawn(21, 700)}
    new = {v: unit(rows @ turn + 0.03 * chance.normal(size=(700, 32))) for v, rows in old.items()}
    bank = drawn(22, 40)
    seen = {v: rows[:500] for v, rows in new.items()}  # the last 200 items are the old encoder's alone
    target = space(old, bank)
    return space(seen, unit(bank @ turn), target), old, new


def test_a_new_encoders_codes_compare_with_the_old_ones(versions):
    reference, old, new = versions
    fitted = bebr.run_onto(reference, BITS, 1)
    alone = bebr.run(reference.target, BITS, 0)
    target = fitted.target
    assert fitted.item_bytes == target.item_bytes == 2 * alone.item_bytes
    # The old index stays as it is, to the bit.
    np.testing.assert_array_equal(fitted.items("visual", old["visual"]), target.items("visual", old["visual"]))
    np.testing.assert_array_equal(
        target.shortened(0).codes("visual", old["visual"]), alone.codes("visual", old["visual"])
    )
    items = fitted.items("visual", old["visual"]).astype(np.float64)
    levels = fitted.query("image", new["visual"][500:])

    def found(rows):
        return float(np.mean((rows @ items.T).argmax(axis=1) == np.arange(500, 700)))

    own = found(target.query("image", old["visual"][500:]))
    assert own > 0.95
    assert found(levels) > 0.6
    # Codes of the new encoder that were trained by themselves say nothing to the old ones.
    stranger = bebr.run(replace(reference, target=None), BITS, 0)
    items = alone.items("visual", old["visual"]).astype(np.float64)
    assert found(stranger.query("image", new["visual"][500:])) < 0.05


def test_what_cannot_be_binarised_is_refused(reference, fitted):
    with pytest.raises(RetrievalError, match="needs 20, and there are 5"):
        bebr.run(space({"visual": drawn(0, 5)}, np.empty((0, D), dtype=np.float32)), BITS, STEPS)
    with pytest.raises(BadRecipe, match="no mean of the joint view"):
        fitted.items("joint", drawn(0, 5))
    with pytest.raises(BadQuery, match="without anything like image queries"):
        replace(fitted, means={"text": fitted.means["text"]}).query("image", drawn(0, 5))
