"""What corrections find, against what their authors' programs say that they find."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmretrieval.geometry import unit
from mmretrieval.reference import Reference
from mmretrieval.search import CORRECTIONS, correct
from mmretrieval.search.leaders import first_places
from mmretrieval.store.exact import Matrix

GOLDEN = Path(__file__).parent.parent / "golden"
PRECISION = pytest.mark.parametrize("given", ["f32", "f64"])


def golden(name):
    return dict(np.load(GOLDEN / f"{name}.npz")), json.loads((GOLDEN / f"{name}.json").read_text())["outputs"]


def wide(rows):
    return rows.astype(np.float64)


def fitted(name, items, bank, *arguments):
    ids = tuple(f"{i:06d}" for i in range(len(items)))
    return CORRECTIONS[name].run(Reference({"visual": Matrix(ids, items)}, {}, bank), *arguments)


def found(scores, own, k):
    """In percent, how many queries have an own item (a set each) among the k best."""
    leaders = first_places(scores, k)
    return 100 * np.mean([bool(set(row.tolist()) & mine) for row, mine in zip(leaders, own, strict=True)])


@PRECISION
def test_what_csls_and_the_inverted_softmax_find_is_what_their_authors_find(given):
    arrays, told = golden("csls")
    source, target = unit(arrays["in_source"]), unit(arrays["in_target"])
    # A word counts once, and any of its translations will do.
    own = {}
    for word, translation in arrays["in_pairs"].tolist():
        own.setdefault(word, set()).add(translation)
    asked = sorted(own)
    everything = wide(source) @ wide(target).T
    plain = everything[asked]
    corrected = {
        "nn": plain,
        "csls_knn_1": fitted("csls", target, source, 1).scores("visual", plain),
        "csls_knn_10": fitted("csls", target, source, 10).scores("visual", plain),
        "invsm_beta_30": correct.inverted_softmax(plain, correct.log_sums(everything, 30), 30),
    }
    for name, scores in corrected.items():
        for k in (1, 5, 10):
            expected = told[f"precision_{name}_{given}"][f"precision_at_{k}"]
            assert found(scores, [own[word] for word in asked], k) == pytest.approx(expected, abs=1e-9), (name, k)


@PRECISION
def test_what_qbnorm_finds_is_what_its_authors_find(given):
    arrays, told = golden("qbnorm")
    bank, queries, items = (arrays[f"in_{n}"] for n in ("bank_query", "test_query", "test_gallery"))
    scores = wide(queries) @ wide(items).T
    corrected = fitted("qbnorm", items, bank).scores("visual", scores)
    own = [{i} for i in range(len(items))]
    for name, values in {
        f"metrics_before_{given}": scores,
        f"v2t_metrics_before_{given}": scores.T,
        f"metrics_after_k1_beta20_{given}": corrected,
    }.items():
        for k in (1, 5, 10, 50):
            # They round to one decimal.
            assert found(values, own, k) == pytest.approx(told[name][f"R{k}"], abs=0.0501), (name, k)
