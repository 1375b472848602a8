"""Fixed dimensional encodings: the authors' numbers, the definition in plain loops, and what the encoding is for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmretrieval.errors import BadVectors
from mmretrieval.late import maxsim, plain, together
from mmretrieval.muvera import Fde, Matrices, distances, encode_items, encode_queries, partitions
from mmretrieval.types import Tokens, Vectors

GOLDEN = Path(__file__).parent / "golden" / "muvera_fde_graph_mining"
SAID = json.loads(GOLDEN.with_suffix(".json").read_text())
HELD = np.load(GOLDEN.with_suffix(".npz"))
CASES = SAID["params"]["cases"]


def matrices(case: dict[str, object]) -> Matrices:
    name, reps = case["matrices"], case["repetitions"]
    planes = HELD[f"in_simhash_{name}"] if case["simhash_bits"] else np.empty((reps, 24, 0), dtype=np.float32)  # type: ignore[call-overload]
    projection = HELD[f"in_projection_{name}"] if case["projection"] == "AMS_SKETCH" else None
    if case["final_projection"] is None:
        return Matrices(planes, projection)
    final = case["final_projection"]
    buckets = HELD[f"in_count_sketch_bucket_{final}"].astype(np.int64)
    return Matrices(planes, projection, buckets, HELD[f"in_count_sketch_sign_{final}"], final)  # type: ignore[arg-type]


def bag(rows: np.ndarray) -> Vectors:
    return Vectors(rows, np.array([0, len(rows)], dtype=np.int64))


def unweighted(*bags: np.ndarray) -> Tokens:
    return together([(b, np.ones(len(b), dtype=np.float32)) for b in bags], bags[0].shape[1])


def random_bags(seed: int, lengths: list[int], dim: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    made = [rng.standard_normal((n, dim)) for n in lengths]
    return [(m / np.linalg.norm(m, axis=1, keepdims=True)).astype(np.float32) for m in made]


@pytest.mark.parametrize("name", CASES)
def test_the_authors_encodings_are_reproduced(name: str) -> None:
    case = CASES[name]
    rows, held = HELD[f"in_{case['points']}"], matrices(case)
    if case["points"] == "query":
        found = encode_queries(held, unweighted(rows))
    else:
        found = encode_items(held, bag(rows), fill=case["fill_empty"])
    np.testing.assert_allclose(found[0], HELD[f"out_{name}_f32"], atol=2e-6, rtol=0)
    for rep in range(case["repetitions"] if case["simhash_bits"] else 0):
        assert (partitions(rows, held.planes[rep]) == HELD[f"out_{name}_partitions"][rep]).all()


def test_the_authors_score_is_reproduced_beside_the_exact_one() -> None:
    query, held = unweighted(HELD["in_query"]), matrices(CASES["q_ams8_k4_r3"])
    (score,) = encode_items(held, bag(HELD["in_doc"])) @ encode_queries(held, query)[0]
    assert score == pytest.approx(SAID["outputs"]["score_q_d_ams8_k4_r3_fill"], abs=1e-4)
    exact = maxsim(HELD["in_query"], np.ones(len(HELD["in_query"])), bag(HELD["in_doc"]), [0])
    assert exact[0] == pytest.approx(SAID["outputs"]["exact_chamfer_q_d_NOT_authors_code"], abs=1e-5)


def test_every_output_of_the_authors_has_a_test() -> None:
    arrays = {n for n in HELD.files if n.startswith("out_")}
    assert arrays <= {f"out_{name}_{what}" for name in CASES for what in ("f32", "partitions")}
    others = {"score_q_d_ams8_k4_r3_fill", "exact_chamfer_q_d_NOT_authors_code"}
    assert set(SAID["outputs"]) == {"error_query_with_fill", "error_31_bits", "gray_tables"} | others


@pytest.mark.parametrize("table", SAID["outputs"]["gray_tables"]["value"], ids=lambda t: f"k{t['k']}")
def test_cells_are_numbered_and_apart_as_in_the_authors_tables(table: dict[str, object]) -> None:
    k: int = table["k"]  # type: ignore[assignment]
    assert (distances(k)[table["index_of_bits"]] == np.array(table["distance"])).all()
    # Plane j tells whether coordinate j is positive: row b of the identity planes has the bits of b, first bit first.
    signs = np.array([[1.0 if b >> (k - 1 - j) & 1 else -1.0 for j in range(k)] for b in range(1 << k)])
    assert partitions(signs.astype(np.float32), np.eye(k, dtype=np.float32)).tolist() == table["index_of_bits"]


def test_what_the_authors_refuse_is_refused() -> None:
    with pytest.raises(ValueError, match="k_sim is 31"):
        Fde(k_sim=31)
    with pytest.raises(ValueError, match="reps is 0"):
        Fde(reps=0)
    held = Fde(reps=2).matrices(24)
    with pytest.raises(BadVectors, match="item 1 has no rows"):
        encode_items(held, Vectors.joined([HELD["in_doc"], HELD["in_doc"][:0]], 24))
    with pytest.raises(BadVectors, match="another encoder"):
        encode_items(held, bag(HELD["in_doc"][:, :8]))


def slow_item(held: Matrices, rows: np.ndarray) -> np.ndarray:
    """The definition, point by point, in float64."""
    out = []
    for rep, planes in enumerate(held.planes):
        k = planes.shape[1]
        bits = [[int(v > 0) for v in r] for r in rows @ planes]
        values = rows.astype(np.float64) @ (np.eye(rows.shape[1]) if held.projection is None else held.projection[rep])
        for p in range(1 << k):
            signs = [(p ^ (p >> 1)) >> (k - 1 - j) & 1 for j in range(k)]
            away = [sum(a != b for a, b in zip(signs, own, strict=True)) for own in bits]
            inside = [i for i, n in enumerate(away) if n == 0]
            out.append(values[inside].mean(axis=0) if inside else values[away.index(min(away))])
    return np.concatenate(out)


@pytest.mark.parametrize("fde", [Fde(3, 4, 5), Fde(2, 6, None), Fde(1, 0, 4), Fde(2, 3, 99)], ids=str)
def test_many_ragged_items_are_each_the_definition(fde: Fde, monkeypatch: pytest.MonkeyPatch) -> None:
    bags = random_bags(3, [1, 2, 7, 40, 1, 3, 130], 12)
    held = fde.matrices(12)
    whole = encode_items(held, Vectors.joined(bags, 12))
    assert whole.shape == (7, held.dim) and whole.dtype == np.float32
    for row, rows in zip(whole, bags, strict=True):
        np.testing.assert_allclose(row, slow_item(held, rows), atol=1e-5)
    monkeypatch.setattr("mmretrieval.muvera.BLOCK", 1)  # one item a block
    np.testing.assert_allclose(encode_items(held, Vectors.joined(bags, 12)), whole, atol=1e-6)


def test_the_final_sketch_adds_signed_coordinates() -> None:
    bags = Vectors.joined(random_bags(5, [4, 9], 12), 12)
    wide, held = encode_items(Fde(2, 3, 4).matrices(12), bags), Fde(2, 3, 4, final_dim=10).matrices(12)
    expected = np.zeros((2, 10))
    for i, (bucket, sign) in enumerate(zip(held.buckets, held.signs, strict=True)):  # type: ignore[arg-type]
        expected[:, bucket] += sign * wide[:, i]
    np.testing.assert_allclose(encode_items(held, bags), expected, atol=1e-5)


def test_queries_are_linear_in_their_weights() -> None:
    one, two = random_bags(6, [5, 3], 16)
    held = Fde(4, 3, 8).matrices(16)
    parts = encode_queries(held, unweighted(one, two))
    weights = np.concatenate([np.full(5, 0.75), np.full(3, -0.5)]).astype(np.float32)
    mixed = encode_queries(held, together([(np.concatenate([one, two]), weights)], 16))
    np.testing.assert_allclose(mixed[0], 0.75 * parts[0] - 0.5 * parts[1], atol=1e-5)


def test_the_seed_gives_the_same_matrices_everywhere() -> None:
    assert Fde(2, 3, 4, final_dim=16, seed=7).described(12) == {
        **{"implementation": "graph-mining", "reps": 2, "k_sim": 3, "d_proj": 4, "final_dim": 16, "seed": 7},
        **{"rows_of": 12, "matrices": "5d10516f"},
    }
    first, second = Fde(3, 4, 8, seed=1).matrices(32), Fde(2, 4, 8, seed=2).matrices(32)
    assert (first.planes[1:] == second.planes).all()  # repetition r draws from seed + r
    assert first.projection is not None
    assert (np.count_nonzero(first.projection, axis=2) == 1).all() and set(np.unique(first.projection)) == {-1, 0, 1}


def test_the_encoding_stands_in_for_maxsim() -> None:
    """Clustered bags: the dot product of encodings, divided by reps, follows the Chamfer similarity."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, 48))

    def near(n: int) -> np.ndarray:
        rows = centres[rng.integers(0, 40, n)] + 0.5 * rng.standard_normal((n, 48))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    bags, query = Vectors.joined([near(20) for _ in range(150)], 48), near(8)
    truth = maxsim(query, np.ones(8), bags, range(150))
    held = Fde(20, 5, 16).matrices(48)
    found = encode_items(held, bags) @ encode_queries(held, unweighted(query))[0] / 20
    assert np.corrcoef(truth, found)[0, 1] > 0.75
    assert plain(bags).weights.sum() == pytest.approx(150)
