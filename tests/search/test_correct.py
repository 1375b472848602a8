"""Corrections against their authors' values, slow direct formulas, and what must hold whatever the vectors."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmretrieval import saved
from mmretrieval.errors import BadRecipe
from mmretrieval.geometry import directions, unit
from mmretrieval.reference import Reference
from mmretrieval.search import CORRECTIONS, TRANSDUCTIVE, correct
from mmretrieval.search.leaders import dot_products, first_places, largest
from mmretrieval.store.exact import Matrix

GOLDEN = Path(__file__).parent.parent / "golden"
PRECISION = pytest.mark.parametrize("given", ["f32", "f64"])
EVERY = pytest.mark.parametrize("name", sorted(CORRECTIONS))
BANKED = ("csls", "nnn", "qbnorm")
seeds = st.integers(0, 2**32 - 1)


def golden(name):
    """The arrays of a golden file, and its tolerances by what they are for."""
    told = json.loads((GOLDEN / f"{name}.json").read_text())
    arrays = dict(np.load(GOLDEN / f"{name}.npz"))
    return arrays, {check["what"]: check["tolerance"] for check in told["own_check"]}


def wide(rows):
    return rows.astype(np.float64)


def reference(items, bank, view="visual"):
    ids = tuple(f"{i:06d}" for i in range(len(items)))
    return Reference({view: Matrix(ids, items)}, {}, bank)


def space(seed, items=40, bank=15, queries=9, d=6):
    """Items, bank and queries around common directions, so that some items are hubs."""
    generator = np.random.default_rng(seed)
    middle = generator.normal(size=d)
    return tuple(unit(generator.normal(size=(n, d)) + middle) for n in (items, bank, queries))


def fitted(name, items, bank, *arguments):
    row = CORRECTIONS[name]
    return row.run(reference(items, bank), *(arguments or [p.default for p in row.parameters]))


# --- authors' values -----------------------------------------------------------------------------------------------


@PRECISION
def test_nnn_gives_its_authors_biases_and_scores(given):
    arrays, tolerances = golden("nnn")
    bank, queries, items = (wide(arrays[f"in_{n}"]) for n in ("reference_query", "query", "gallery"))
    scores = queries @ items.T
    np.testing.assert_allclose(scores, arrays[f"out_scores_plain_{given}"], atol=1e-5)
    for k in (1, 8, 128):
        bias = correct.neighbourhood(items @ bank.T, k)
        np.testing.assert_allclose(bias, arrays[f"out_bias_k{k}_{given}"], atol=tolerances[f"bias k={k} {given}"])
    for k, weight in ((1, 0.5), (8, 0.75), (128, 0.75), (128, 1.0)):
        expected = arrays[f"out_scores_k{k}_w{weight}_{given}"]
        tolerance = tolerances[f"scores k={k} w={weight} {given}"]
        direct = correct.nnn(scores, correct.neighbourhood(items @ bank.T, k), weight)
        np.testing.assert_allclose(direct, expected, atol=tolerance)
        kept = fitted("nnn", arrays["in_gallery"], arrays["in_reference_query"], k, weight)
        np.testing.assert_allclose(kept.scores("visual", scores), expected, atol=tolerance)
    kept = fitted("nnn", arrays["in_gallery"], arrays["in_reference_query"])
    assert kept.remark == ""
    np.testing.assert_array_equal(
        first_places(kept.scores("visual", scores), 10), arrays[f"out_top10_k128_w0.75_{given}"]
    )


@PRECISION
def test_distribution_normalisation_gives_its_authors_scores(given):
    arrays, tolerances = golden("nnn")
    bank, queries, items, other = (
        wide(arrays[f"in_{n}"]) for n in ("reference_query", "query", "gallery", "gallery_dev")
    )
    asked, found = correct.without_mean(queries, bank), correct.without_mean(items, other)
    scores = asked @ found.T
    np.testing.assert_allclose(scores, arrays[f"out_scores_dn_{given}"], atol=tolerances[f"DN {given}"])
    bias = correct.neighbourhood(found @ correct.without_mean(bank, bank).T, 8)
    expected = arrays[f"out_scores_dn_then_nnn_k8_w0.75_{given}"]
    np.testing.assert_allclose(correct.nnn(scores, bias, 0.75), expected, atol=tolerances[f"DN then NNN {given}"])


@PRECISION
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize(("beta", "named"), [(20, "20"), (1 / 1.99, "1_1.99")])
def test_qbnorm_gives_its_authors_scores(given, k, beta, named):
    arrays, tolerances = golden("qbnorm")
    rows = [arrays[f"in_{n}"] for n in ("bank_query", "test_query", "test_gallery")]
    bank, queries, items = map(wide, rows)
    scores, asked = queries @ items.T, bank @ items.T
    active = correct.activation_set(asked, k)
    np.testing.assert_array_equal(np.flatnonzero(active), arrays[f"out_activation_set_k{k}"])
    expected = arrays[f"out_k{k}_beta{named}_{given}"]
    kept = scores.copy()
    values = correct.dynamic_inverted_softmax(scores, correct.log_sums(asked, beta), active, beta)
    tolerance = tolerances[f"k{k} beta {named} {given}"]
    # The exponentials reach 9: those of a float32 run carry its rounding in proportion.
    np.testing.assert_allclose(values, expected, rtol=tolerance if given == "f32" else 0, atol=tolerance)
    np.testing.assert_array_equal(scores, kept, "the authors' code overwrites what it is given; ours must not")
    # The fitted one: the same rows corrected, and exp(beta * score) / bank's number is the definition's value.
    gated = np.flatnonzero(active[scores.argmax(axis=1)])
    if (k, beta) == (1, 20):
        np.testing.assert_array_equal(gated, arrays["out_rows_normalised_k1_f32"])
    correction = fitted("qbnorm", rows[2], rows[0], beta, k)
    corrected = correction.scores("visual", scores)
    others = np.setdiff1d(np.arange(len(scores)), gated)
    np.testing.assert_array_equal(corrected[others], scores[others])
    back = np.exp(beta * corrected[gated]) / len(bank)
    np.testing.assert_allclose(back, values[gated], rtol=1e-5)
    np.testing.assert_array_equal(first_places(corrected[gated], 10), first_places(values[gated], 10))


@PRECISION
def test_csls_and_the_inverted_softmax_give_their_authors_scores(given):
    arrays, tolerances = golden("csls")
    source, target = directions(arrays["in_source"]), directions(arrays["in_target"])
    everything = source @ target.T
    asked = arrays["in_pairs"][:, 0]
    np.testing.assert_allclose(everything[asked], arrays[f"out_scores_nn_{given}"], atol=tolerances[f"nn {given}"])
    for k in (1, 10):
        of_queries = correct.neighbourhood(everything, k)[asked]
        of_items = correct.neighbourhood(everything.T, k)
        expected = arrays[f"out_scores_csls_knn_{k}_{given}"]
        values = correct.csls(everything[asked], of_queries, of_items)
        np.testing.assert_allclose(values, expected, atol=tolerances[f"csls_knn_{k} {given}"])
        # With the whole source as the bank, the fitted one is the authors' own.
        kept = fitted("csls", unit(target), unit(source), k)
        np.testing.assert_allclose(
            kept.scores("visual", everything[asked]), expected, atol=tolerances[f"csls_knn_{k} {given}"]
        )
    values = correct.inverted_softmax(everything[asked], correct.log_sums(everything, 30), 30)
    expected = arrays[f"out_scores_invsm_beta_30_{given}"]
    np.testing.assert_allclose(values, expected, atol=tolerances[f"invsm_beta_30 {given}"])


@PRECISION
@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("temperature", [1000, 0.05])
def test_dual_softmax_gives_its_authors_scores(given, scale, temperature):
    arrays, tolerances = golden("dual_softmax")
    scores = scale * (wide(arrays["in_query"]) @ wide(arrays["in_gallery"]).T)
    expected = arrays[f"out_revised_scale{scale}_temp{temperature}_{given}"]
    tolerance = tolerances[f"revised scale {float(scale)} temp {temperature} {given}"]
    correction = correct.DualSoftmax(temperature)
    np.testing.assert_allclose(correction.scores("visual", scores), expected, atol=tolerance)
    parts = [scores[:5], scores[5:40], scores[40:]]
    known = correction.over(parts)
    in_parts = np.concatenate([known.scores("visual", part) for part in parts])
    np.testing.assert_allclose(in_parts, expected, atol=tolerance)


# --- slow direct formulas ------------------------------------------------------------------------------------------


def slow(name, items, bank, scores, arguments):
    """The corrected score of each query and item by loops over the definition."""
    against = [[float(wide(b) @ wide(g)) for b in bank] for g in items]
    out = np.empty_like(scores)
    for i, row in enumerate(scores):
        for j, score in enumerate(row):
            match name:
                case "nnn":
                    k, weight = arguments
                    out[i, j] = score - weight * np.mean(sorted(against[j])[-k:])
                case "csls":
                    (k,) = arguments
                    out[i, j] = 2 * score - np.mean(sorted(row)[-k:]) - np.mean(sorted(against[j])[-k:])
                case "qbnorm":
                    beta, k = arguments
                    hit = {p for b in zip(*against, strict=True) for p in np.argsort(-np.array(b), kind="stable")[:k]}
                    mean = np.mean([np.exp(beta * value) for value in against[j]])
                    out[i, j] = np.log(np.exp(beta * score) / mean) / beta if int(np.argmax(row)) in hit else score
                case "dualsoftmax":
                    (temperature,) = arguments
                    prior = np.exp(score / temperature) / np.exp(scores[:, j] / temperature).sum()
                    out[i, j] = score * prior * len(scores)
    return out


CASES = [("nnn", 4, 0.75), ("nnn", 15, 2), ("csls", 3), ("qbnorm", 20, 1), ("qbnorm", 3, 4), ("dualsoftmax", 0.1)]


@pytest.mark.parametrize("case", CASES, ids=[":".join(map(str, case)) for case in CASES])
@pytest.mark.parametrize("at_once", [2**22, 50])
def test_a_correction_is_its_definition_whatever_the_blocks(monkeypatch, case, at_once):
    name, *arguments = case
    monkeypatch.setattr(correct, "SCORES_AT_ONCE", at_once)
    items, bank, queries = space(3)
    scores = wide(queries) @ wide(items).T
    corrected = fitted(name, items, bank, *arguments).scores("visual", scores)
    np.testing.assert_allclose(corrected, slow(name, items, bank, scores, arguments), atol=3e-7)


@given(seeds, st.integers(1, 2000), st.integers(1, 12), st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_first_places_are_those_of_a_stable_sort(seed, n, k, values):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(5, n)) if values == 0 else generator.integers(0, values, size=(5, n)).astype(float)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(first_places(scores, k), order)
    np.testing.assert_array_equal(largest(scores, k), np.take_along_axis(scores, order, axis=1))


def test_dot_products_come_in_blocks_that_cover_all(monkeypatch):
    monkeypatch.setattr("mmretrieval.search.leaders.SCORES_AT_ONCE", 160)
    monkeypatch.setattr("mmretrieval.search.leaders.SCORES_HANDED", 120)
    monkeypatch.setattr("mmretrieval.search.leaders.ROWS_AT_ONCE", 7)
    items, _, queries = space(5)
    blocks = [(block.start, scores.copy()) for block, scores in dot_products(queries, items)]
    assert [start for start, _ in blocks] == [0, 3, 4, 7, 8]
    np.testing.assert_allclose(np.concatenate([s for _, s in blocks]), wide(queries) @ wide(items).T, atol=1e-14)


# --- what must hold ------------------------------------------------------------------------------------------------


@EVERY
def test_a_correction_keeps_the_protocol(name, tmp_path):
    items, bank, queries = space(7)
    correction = fitted(name, items, bank)
    assert correction.transductive == (name in TRANSDUCTIVE)
    scores = wide(queries) @ wide(items).T
    given = scores.copy()
    corrected = correction.scores("visual", scores)
    np.testing.assert_array_equal(scores, given)
    assert corrected.dtype == np.float64
    assert np.isfinite(corrected).all()
    alone = np.concatenate([correction.scores("visual", row[None]) for row in scores])
    assert np.array_equal(alone, corrected) != correction.transductive
    kept = sum(a.nbytes for field in vars(correction).values() if isinstance(field, dict) for a in field.values())
    assert kept == correction.item_bytes * len(items)
    saved.save(tmp_path / "fit", correction, {})
    np.testing.assert_array_equal(saved.restore(tmp_path / "fit").scores("visual", scores), corrected)
    assert correction.scores("visual", scores[:0]).shape == (0, len(items))


@given(seeds, st.floats(-2, 2))
@settings(max_examples=25, deadline=None)
def test_what_is_added_to_a_whole_row_changes_no_order(seed, added):
    items, bank, queries = space(seed)
    scores = wide(queries) @ wide(items).T
    for name in BANKED:
        correction = fitted(name, items, bank)
        before, after = (correction.scores("visual", s) for s in (scores, scores + added))
        np.testing.assert_allclose(np.diff(after, axis=1), np.diff(before, axis=1), atol=1e-12)


@given(seeds, st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_csls_orders_as_nnn_with_half_the_bias_does(seed, k):
    items, bank, queries = space(seed)
    scores = wide(queries) @ wide(items).T
    scaled = fitted("csls", items, bank, k).scores("visual", scores)
    halved = fitted("nnn", items, bank, k, 0.5).scores("visual", scores)
    np.testing.assert_allclose(np.diff(scaled, axis=1), 2 * np.diff(halved, axis=1), atol=1e-12)


def test_nnn_without_weight_and_a_bank_that_favours_nobody_change_nothing():
    items, bank, queries = space(9)
    scores = wide(queries) @ wide(items).T
    np.testing.assert_array_equal(fitted("nnn", items, bank, 8, 0).scores("visual", scores), scores)
    # Items of the standard basis, and a bank of one query that is as near to each: every item's bias is 1 / sqrt(6).
    basis, even = np.eye(6, dtype=np.float32), np.full((1, 6), 6**-0.5, dtype=np.float32)
    scores = wide(queries) @ wide(basis).T
    np.testing.assert_allclose(fitted("nnn", basis, even, 1, 1).scores("visual", scores), scores - 6**-0.5, atol=1e-7)


@given(seeds, st.integers(1, 20), st.floats(0, 4))
@settings(max_examples=25, deadline=None)
def test_nnn_as_one_dimension_more_gives_the_same_scores(seed, k, weight):
    items, bank, queries = space(seed)
    correction = fitted("nnn", items, bank, k, weight)
    longer, asked = correction.augmented("visual", items), correct.augmented_queries(queries)
    assert (longer.shape, longer.dtype, asked.dtype) == ((40, 7), np.float32, np.float32)
    corrected = correction.scores("visual", wide(queries) @ wide(items).T)
    np.testing.assert_allclose(wide(asked) @ wide(longer).T, corrected, atol=4e-7)


@pytest.mark.parametrize("beta", [0.01, 1000])
def test_qbnorm_keeps_every_order_at_any_beta(beta):
    items, bank, queries = space(11, items=60)
    scores = wide(queries) @ wide(items).T
    corrected = fitted("qbnorm", items, bank, beta, 60).scores("visual", scores)
    assert (np.ptp(corrected, axis=1) > 0).all()
    assert all(len(np.unique(row)) == len(items) for row in corrected), "an exponential would have underflown to ties"


def test_a_hub_loses_its_place():
    # Item 0 stands in the middle of eight orthogonal ones, and is nearer to item i tilted to the middle than i is.
    d = 8
    basis, middle = np.eye(d), np.full(d, d**-0.5)
    items = unit(np.vstack([middle, basis]))
    queries = unit(basis + 1.5 * middle)
    bank = unit(-0.2 * basis + middle)
    scores = wide(queries) @ wide(items).T
    assert (scores.argmax(axis=1) == 0).all()
    for name in BANKED:
        corrected = fitted(name, items, bank).scores("visual", scores)
        np.testing.assert_array_equal(corrected.argmax(axis=1), np.arange(1, d + 1))


def test_dual_softmax_follows_its_edges():
    items, bank, queries = space(13)
    scores = wide(queries) @ wide(items).T
    np.testing.assert_allclose(correct.DualSoftmax(0.05).scores("visual", scores[:1]), scores[:1], rtol=1e-12)
    sharp = correct.DualSoftmax(0.001).scores("visual", scores)
    assert np.isfinite(sharp).all()
    # Almost all the weight of an item lies on the query that is nearest to it.
    np.testing.assert_array_equal(sharp.argmax(axis=0), np.where(scores > 0, scores, 0).argmax(axis=0))


@pytest.mark.parametrize("name", BANKED)
def test_a_bank_without_directions_is_refused_and_zero_rows_of_one_say_nothing(name):
    items, bank, queries = space(15)
    for empty in (bank[:0], np.zeros((3, 6), dtype=np.float32), np.empty((0, 0), dtype=np.float32)):
        with pytest.raises(BadRecipe, match=rf"{name} is fitted on reference queries, .*of {len(empty)}.*bank.jsonl"):
            fitted(name, items, empty)
    scores = wide(queries) @ wide(items).T
    padded = np.concatenate([np.zeros((4, 6), dtype=np.float32), bank])
    np.testing.assert_array_equal(
        fitted(name, items, padded).scores("visual", scores), fitted(name, items, bank).scores("visual", scores)
    )


def test_more_neighbours_than_the_bank_has_are_all_of_it_and_the_fit_says_so():
    items, bank, queries = space(17)
    scores = wide(queries) @ wide(items).T
    for name, arguments, most in (("nnn", (500, 1), (15, 1)), ("csls", (30,), None)):
        clamped = fitted(name, items, bank, *arguments)
        assert clamped.remark == f"an item's mean is over all 15 reference queries, as there are no {arguments[0]}"
        if most:
            whole = fitted(name, items, bank, *most)
            assert (whole.remark, clamped.k) == ("", 15)
            np.testing.assert_array_equal(clamped.scores("visual", scores), whole.scores("visual", scores))


def test_a_large_bank_is_thinned_evenly_and_the_fit_says_so(monkeypatch):
    monkeypatch.setattr(correct, "MOST", 5)
    items, bank, queries = space(19, bank=17)
    scores = wide(queries) @ wide(items).T
    thinned = fitted("nnn", items, bank, 5, 1)
    assert thinned.remark == "5 of 17 reference queries were used, evenly spaced"
    np.testing.assert_array_equal(
        thinned.scores("visual", scores), fitted("nnn", items, bank[::4], 5, 1).scores("visual", scores)
    )


@pytest.mark.parametrize("name", BANKED)
def test_what_was_not_fitted_is_refused(name):
    items, bank, queries = space(21)
    scores = wide(queries) @ wide(items).T
    correction = fitted(name, items, bank)
    with pytest.raises(BadRecipe, match=f"{name} knows nothing of the text view"):
        correction.scores("text", scores)
    with pytest.raises(ValueError, match="fitted on 40 items of the visual view, not 39"):
        correction.scores("visual", scores[:, :39])


def test_qbnorm_s_gate_looks_at_what_a_query_may_find():
    items, bank, queries = space(3)
    scores = wide(queries) @ wide(items).T
    correction = fitted("qbnorm", items, bank, 20, 1)
    active, popularity = correction.active["visual"], wide(correction.popularity["visual"])
    chance = np.random.default_rng(5)
    masks = [chance.random(len(items)) < 0.2 for _ in queries]
    moved = 0
    for row, got, mask in zip(scores, correction.among("visual", scores, masks), masks, strict=True):
        best = max(np.flatnonzero(mask), key=lambda i: row[i])
        np.testing.assert_array_equal(got, row - popularity if active[best] else row)
        moved += active[best] != active[row.argmax()]
    assert moved
    np.testing.assert_array_equal(
        correction.among("visual", scores, [None] * len(scores)), correction.scores("visual", scores)
    )
    nothing = correction.among("visual", scores[:1], [np.zeros(len(items), dtype=np.bool_)])
    assert np.isfinite(nothing).all()
