"""The diagnostic `gram`: matched against shuffled volumes."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.diagnostics.gram import _shuffle, smaller_share
from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import gram_factors, gram_volume, unit

run = DIAGNOSTICS["gram"].run


def triples(seed, n, d=24, noise=0.6):
    """Rows of pictures, texts and queries that share content."""
    generator = np.random.default_rng(seed)
    content = generator.normal(size=(n, d))
    visual, text, queries = (unit(content + noise * generator.normal(size=(n, d))) for _ in range(3))
    return {"visual": visual, "text": text}, queries, [f"item-{i}" for i in range(n)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_share_equals_counting_all_comparisons(values):
    matched, shuffled = (np.array(side, dtype=np.float64) / 5 for side in zip(*values, strict=True))
    wins = np.mean([1.0 if m < s else 0.5 if m == s else 0.0 for m in matched for s in shuffled])
    assert smaller_share(matched, shuffled)[0] == pytest.approx(wins)


@given(st.integers(0, 2**32 - 1), st.integers(1, 10))
def test_counts_mean_as_many_copies(seed, n):
    generator = np.random.default_rng(seed)
    matched, shuffled = generator.integers(0, 4, size=(2, n)) / 4
    counts = generator.multinomial(n, np.ones(n) / n, size=3).astype(np.float32)
    for count, share in zip(counts, smaller_share(matched, shuffled, counts), strict=True):
        copied = np.repeat(np.arange(n), count.astype(int))
        assert share == pytest.approx(smaller_share(matched[copied], shuffled[copied])[0])


@given(st.integers(0, 2**32 - 1), st.integers(4, 20), st.integers(2, 4), st.booleans())
def test_no_shuffled_tuple_holds_two_rows_of_an_item_but_whole_items(seed, n, k, whole):
    tuples = np.repeat(np.arange(n)[:, None], k, axis=1)[:, :, None]
    mixed = _shuffle(tuples, seed, whole)[:, :, 0]
    for row in mixed:
        assert len(set(row.tolist())) == (2 if whole else k)
    assert all(sorted(column.tolist()) == list(range(n)) for column in mixed.T)
    if whole:
        assert all(len(set(row[1:].tolist())) == 1 for row in mixed)


def test_matched_views_span_less_than_shuffled_ones():
    views, _, ids = triples(0, 200)
    found = run(views, ids)
    pairs = np.stack([views["visual"], views["text"]], axis=1)
    assert found.numbers["volume_matched"] == pytest.approx(gram_volume(pairs).mean())
    cosines = np.einsum("nd,nd->n", views["visual"], views["text"], dtype=np.float64)
    assert found.numbers["volume_matched"] == pytest.approx(np.sqrt(1 - cosines**2).mean(), abs=1e-6)
    assert found.numbers["opposed_matched"] == pytest.approx((cosines < 0).mean())
    assert found.numbers["auc"] > 0.9
    assert found.numbers["volume_matched"] < found.numbers["volume_shuffled"]
    for name, (low, high) in found.intervals.items():
        assert low <= found.numbers[name] <= high, name
    assert "cannot tell agreement from opposition" in found.sentence
    assert "(visual, text)" in found.sentence


def test_unrelated_views_are_at_chance():
    generator = np.random.default_rng(1)
    views = {view: unit(generator.normal(size=(300, 24))) for view in ("visual", "text")}
    found = run(views, [str(i) for i in range(300)])
    low, high = found.intervals["auc"]
    assert low < 0.5 < high
    assert "50 % is chance" in found.sentence


def test_queries_make_triples_and_both_factors():
    views, queries, ids = triples(2, 150)
    found = run(views, ids, queries=queries)
    own = np.stack([views["visual"], views["text"]], axis=1)
    volumes, sines = gram_factors(queries, own)
    assert found.basis["tuple"] == ["query", "visual", "text"]
    assert found.basis["shuffled"] == "query"
    assert found.numbers["own_volume"] == pytest.approx(volumes.mean())
    assert found.numbers["sine_matched"] == pytest.approx(sines.mean())
    assert found.numbers["volume_matched"] == pytest.approx((volumes * sines).mean())
    assert found.numbers["sine_matched"] < found.numbers["sine_shuffled"]
    assert found.numbers["auc_sine"] > 0.9
    assert "sine to the item's span" in found.sentence
    assert "opposition" not in found.sentence


def test_one_view_and_a_query_is_enough_but_one_row_is_not():
    views, queries, ids = triples(3, 30)
    assert run({"visual": views["visual"]}, ids, queries=queries).basis["tuple"] == ["query", "visual"]
    with pytest.raises(RetrievalError, match="this space has only visual: add captions, or give queries"):
        run({"visual": views["visual"]}, ids)
    with pytest.raises(RetrievalError, match="at least 4"):
        run({view: rows[:3] for view, rows in views.items()}, ids[:3])


def test_the_histogram_holds_everything_once():
    views, queries, ids = triples(4, 100)
    series = run(views, ids, queries=queries).series["volumes"]
    assert (series["edges"][0], series["edges"][-1]) == (0.0, 1.0)
    for side in ("matched", "shuffled"):
        assert len(series[side]) == len(series["edges"]) - 1
        assert sum(series[side]) == pytest.approx(1.0)
    copies = run({"visual": views["visual"], "text": views["visual"]}, ids)
    assert copies.series["volumes"]["matched"][0] == 1.0
    assert copies.numbers["auc"] == 1.0


def test_seed_sample_and_plain_values():
    views, _, ids = triples(5, 300)
    found = run(views, ids, sample=60, seed=9)
    assert found == run(views, ids, sample=60, seed=9)
    assert found.numbers != run(views, ids, sample=60, seed=10).numbers
    assert (found.basis["pairs"], found.basis["of"], found.basis["seed"]) == (60, 300, 9)
    json.dumps({"series": found.series, "numbers": found.numbers, "basis": found.basis, "intervals": found.intervals})
