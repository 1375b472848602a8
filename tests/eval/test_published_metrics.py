"""The metrics, and the restrictions of composed queries, against what the benchmarks' own programs give.

What a program cuts at k is compared by cutting the run there: then "hit@10" is the hit within k, and "mrr" and "map"
those within k. Average precision divides by all relevant entries here, by at most k of them there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.metrics import mean, per_query
from mmretrieval.composition import PartVectors
from mmretrieval.geometry import unit
from mmretrieval.search import COMPOSERS
from mmretrieval.store.exact import ExactStore, Matrix
from mmretrieval.types import Array, Selection

GOLDEN = Path(__file__).parent.parent / "golden"
Lists = Mapping[str, Sequence[str]]
Truths = Mapping[str, Sequence[str]]


def told(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return data


def scored(ids: Iterable[str]) -> dict[str, float]:
    """A list as a run has it, each entry once, at its first place."""
    return {ident: -float(place) for place, ident in enumerate(dict.fromkeys(ids))}


def within(lists: Lists, truths: Truths, k: int) -> dict[str, dict[str, float]]:
    """Every metric of each query when its list ends at k."""
    qrels = {q: dict.fromkeys(right, 1) for q, right in truths.items()}
    return per_query(qrels, {q: scored(ids[:k]) for q, ids in lists.items()})


def hit(lists: Lists, truths: Truths, k: int) -> float:
    """How many queries have a relevant entry in the top k: one whose reciprocal rank is not 0."""
    values = within(lists, truths, k).values()
    assert len(values) == len(truths)
    return math.fsum(v["mrr"] > 0 for v in values) / len(truths)


def precision_dividing_by_k(values: Mapping[str, Mapping[str, float]], truths: Truths, k: int) -> dict[str, Any]:
    return {q: dict(v) | {"map": v["map"] * len(truths[q]) / min(len(truths[q]), k)} for q, v in values.items()}


# --- VLM2Vec -------------------------------------------------------------------------------------------------------

RANKED = told("ranking_metrics")
BINARY = [name for name, queries in RANKED["inputs"].items() if isinstance(queries["value"], list)]
WITHOUT_LABELS = "empty_label"


def labels(query: Mapping[str, Any]) -> list[str]:
    given = query["label"]
    return [str(i) for i in dict.fromkeys(given if isinstance(given, list) else [given])]


@pytest.mark.parametrize("k", RANKED["params"]["k"])
@pytest.mark.parametrize("name", [n for n in BINARY if n != WITHOUT_LABELS])
def test_what_is_found_within_k_is_what_vlm2vec_s_program_counts(name: str, k: int) -> None:
    queries = RANKED["inputs"][name]["value"]
    # A prediction made twice is held once; within k places of theirs, as it takes two of them.
    lists = {str(i): [str(p) for p in q["prediction"]][:k] for i, q in enumerate(queries)}
    truths = {str(i): labels(q) for i, q in enumerate(queries)}
    means = mean(precision_dividing_by_k(within(lists, truths, k), truths, k))
    assert means["queries"] == len(queries)
    theirs = RANKED["outputs"][name]
    ours = {"hit": means["hit@10"], "recall": means["recall@10"], "mrr": means["mrr"]}
    # There an entry that is predicted three times is found three times: an average precision of 3.
    if name != "duplicate_predictions":
        ours |= {"map": means["map"]}
    for metric, value in ours.items():
        assert value == pytest.approx(theirs[f"{metric}@{k}"], abs=1e-12), metric
    for depth in (d for d in (1, 5, 10) if d <= k):
        assert means[f"hit@{depth}"] == pytest.approx(theirs[f"hit@{depth}"], abs=1e-12)


@pytest.mark.parametrize("name", [n for n in BINARY if n not in (WITHOUT_LABELS, "duplicate_predictions")])
def test_ndcg_is_vlm2vec_s_with_linear_gain(name: str) -> None:
    queries = RANKED["inputs"][name]["value"]
    qrels: dict[str, dict[str, int]] = {}
    for i, query in enumerate(queries):
        grades = dict.fromkeys(labels(query), 1)
        if query["rel_scores"] is not None:
            # Their program puts labels into a set before it gives them grades by place: these are what they got.
            grades = RANKED["outputs"]["effective_grades_after_set"]
        qrels[str(i)] = grades
    run = {str(i): scored(str(p) for p in q["prediction"]) for i, q in enumerate(queries)}
    assert mean(per_query(qrels, run))["ndcg@10"] == pytest.approx(RANKED["outputs"][name]["ndcg_linear@10"], abs=1e-12)


def test_graded_ndcg_has_the_value_of_the_definition() -> None:
    outputs, inputs = RANKED["outputs"], RANKED["inputs"]
    for query, expected in (
        (
            inputs["graded_integers_reordered_by_set"]["value"][0],
            outputs["ndcg_with_the_intended_grades_NOT_authors_code"]["ndcg_linear@10"],
        ),
        (
            inputs["string_graded_case"]["value"],
            outputs["string_graded_intended_ndcg_linear@3_NOT_authors_code"],
        ),
    ):
        grades = dict(zip(labels(query), query["rel_scores"], strict=True))
        values = per_query({"q": grades}, {"q": scored(str(p) for p in query["prediction"])})
        assert values["q"]["ndcg@10"] == pytest.approx(expected, abs=1e-12)


def test_a_query_without_labels_is_in_no_mean_where_vlm2vec_gives_it_a_recall_of_1() -> None:
    assert RANKED["outputs"][WITHOUT_LABELS]["recall@10"] == 1.0
    (query,) = RANKED["inputs"][WITHOUT_LABELS]["value"]
    assert per_query({"q": {}}, {"q": scored(str(p) for p in query["prediction"])}) == {}


# --- CIRCO ---------------------------------------------------------------------------------------------------------

CIRCO = told("circo_map")
DEPTHS = (5, 10, 25, 50)


def circo() -> tuple[dict[str, list[str]], dict[str, list[str]], dict[str, list[str]], list[dict[str, Any]]]:
    annotations: list[dict[str, Any]] = CIRCO["inputs"]["annotations"]["value"]
    lists = {q: [str(i) for i in ids] for q, ids in CIRCO["inputs"]["predictions"]["value"].items()}
    truths = {str(q): [str(i) for i in a["gt_img_ids"]] for q, a in enumerate(annotations)}
    targets = {str(q): [str(a["target_img_id"])] for q, a in enumerate(annotations)}
    return lists, truths, targets, annotations


@pytest.mark.parametrize("k", DEPTHS)
def test_mean_average_precision_with_several_truths_is_circo_s(k: int) -> None:
    lists, truths, targets, annotations = circo()
    values = precision_dividing_by_k(within(lists, truths, k), truths, k)
    assert mean(values)["map"] == pytest.approx(CIRCO["outputs"]["map_at_k"][str(k)], abs=1e-12)
    assert hit(lists, targets, k) == pytest.approx(CIRCO["outputs"]["recall_at_k"][str(k)], abs=1e-12)
    if k == 10:
        for aspect, theirs in CIRCO["outputs"]["semantic_map_at_10"].items():
            with_it = [str(q) for q, a in enumerate(annotations) if aspect in a["semantic_aspects"]]
            ours = mean(values, with_it)["map"]
            assert ours == (None if theirs == "nan" else pytest.approx(theirs, abs=1e-12)), aspect


@pytest.mark.parametrize("k", [5, 10, 50])
def test_a_list_that_ends_early_scores_as_circo_says(k: int) -> None:
    lists, truths, _, _ = circo()
    short = {q: ids[:7] for q, ids in lists.items()}
    values = precision_dividing_by_k(within(short, truths, k), truths, k)
    theirs = CIRCO["outputs"]["map_with_only_7_predictions"][str(k)]
    assert mean(values)["map"] == pytest.approx(theirs, abs=1e-12)


def indexed(rows: Array, names: Sequence[str]) -> ExactStore:
    """A store of items under the names that they are ranked by, which it wants in rising order."""
    order = sorted(range(len(names)), key=lambda i: names[i])
    matrix = Matrix(tuple(names[i] for i in order), unit(rows)[order])
    return ExactStore({"visual": matrix}, lambda _: frozenset())


def ranked(store: ExactStore, queries: Array, selections: Sequence[Selection], depth: int = 50) -> dict[str, list[str]]:
    found = store.search("visual", queries, depth, selections)
    return {str(q): list(one.ids) for q, one in enumerate(found)}


@pytest.mark.parametrize("k", DEPTHS)
def test_ranked_by_vectors_it_is_searle_s_validation_of_circo(k: int) -> None:
    arrays = np.load(GOLDEN / "circo_map.npz")
    names = [f"i{i}" for i in range(len(arrays["in_feature_index"]))]
    queries = arrays["in_feature_query"]
    lists = ranked(indexed(arrays["in_feature_index"], names), queries, [Selection()] * len(queries))
    truths = {str(q): ids for q, ids in enumerate(CIRCO["inputs"]["feature_ground_truth"]["value"])}
    theirs = CIRCO["outputs"]["from_features"]
    values = precision_dividing_by_k(within(lists, truths, k), truths, k)
    assert 100 * mean(values)["map"] == pytest.approx(theirs[f"circo_map_at{k}"], abs=2e-4)
    targets = {q: ids[:1] for q, ids in truths.items()}
    assert 100 * hit(lists, targets, k) == pytest.approx(theirs[f"circo_recall_at{k}"], abs=1e-4)


# --- CIRR and FashionIQ --------------------------------------------------------------------------------------------


def test_recall_without_the_reference_and_within_a_subset_is_cirr_s() -> None:
    facts, arrays = told("cirr_fashioniq_recall"), np.load(GOLDEN / "cirr_fashioniq_recall.npz")
    given, theirs = {name: v.get("value") for name, v in facts["inputs"].items()}, facts["outputs"]
    store = indexed(arrays["in_index"], [f"i{i}" for i in range(len(arrays["in_index"]))])
    queries = arrays["in_query"]
    targets = {str(q): [target] for q, target in enumerate(given["target"])}
    whole = ranked(store, queries, [Selection()] * len(queries))
    without = ranked(store, queries, [Selection(exclude=frozenset({r})) for r in given["reference"]])
    inside = ranked(
        store,
        queries,
        [
            Selection(exclude=frozenset({r}), subset=frozenset(members))
            for r, members in zip(given["reference"], given["group_members"], strict=True)
        ],
    )
    assert all(len(ids) == 5 for ids in inside.values())
    kept = theirs["recall_if_reference_were_kept_NOT_authors_code"]
    for k in (1, 5, 10, 50):
        assert 100 * hit(without, targets, k) == pytest.approx(theirs["cirr"][f"cirr_recall_at{k}"], abs=1e-4)
        assert 100 * hit(whole, targets, k) == pytest.approx(kept[str(k)], abs=1e-4)
    for k in (1, 2, 3):
        assert 100 * hit(inside, targets, k) == pytest.approx(theirs["cirr"][f"cirr_group_recall_at{k}"], abs=1e-4)
    headline = 50 * (hit(without, targets, 5) + hit(inside, targets, 1))
    assert headline == pytest.approx(theirs["headline_mean_of_recall5_and_subset1_NOT_authors_code"], abs=1e-4)
    # FashionIQ leaves the reference in.
    for k in (10, 50):
        assert 100 * hit(whole, targets, k) == pytest.approx(theirs["fashioniq"][f"fiq_recall_at{k}"], abs=1e-4)
    assert mean(within(without, targets, 50))["hit@5"] == hit(without, targets, 5)


# --- GeneCIS -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["image_only", "text_only", "image_plus_text"])
def test_recall_in_a_small_gallery_of_each_query_is_genecis_s(asked: str) -> None:
    facts, arrays = told("genecis_recall"), np.load(GOLDEN / "genecis_recall.npz")
    galleries = arrays["in_gallery_features"]
    count, size, dim = galleries.shape
    names = [f"{q:02d}-{place:02d}" for q in range(count) for place in range(size)]
    store = indexed(galleries.reshape(count * size, dim), names)
    weights = {"image_only": (1.0, 0.0), "text_only": (0.0, 1.0), "image_plus_text": (0.5, 0.5)}[asked]
    # They mix features of any length half and half, so that the longer one counts more: parts as they come.
    rows = [
        COMPOSERS["sum"].run(PartVectors.of(np.stack(pair), weights)).row
        for pair in zip(arrays["in_reference_features"], arrays["in_caption_features"], strict=True)
    ]
    own = [frozenset(names[q * size : (q + 1) * size]) for q in range(count)]
    lists = ranked(store, np.stack(rows), [Selection(subset=ids) for ids in own])
    assert all(len(ids) == size for ids in lists.values())
    targets = {str(q): [f"{q:02d}-{place:02d}"] for q, place in enumerate(arrays["in_target_rank"])}
    for k in (1, 2, 3):
        theirs = facts["outputs"][asked][f"recall@{k}"]
        assert hit(lists, targets, k) == pytest.approx(theirs, abs=1e-6)


def test_a_hit_counts_once_where_genecis_counts_a_repeated_entry_twice() -> None:
    facts = told("genecis_recall")
    given = {name: facts["inputs"][name]["value"] for name in ("indices", "single_targets", "multi_targets")}
    lists = {str(q): [str(i) for i in ids] for q, ids in enumerate(given["indices"])}
    several = {str(q): [str(i) for i in ids] for q, ids in enumerate(given["multi_targets"])}
    single = {str(q): [str(i)] for q, i in enumerate(given["single_targets"])}
    assert hit(lists, several, 3) == pytest.approx(facts["outputs"]["get_recall_multi"], abs=1e-6)
    # Three hits in three rows are 1.0 there, of which one row has two.
    assert facts["outputs"]["get_recall_single"] == 1.0
    assert hit(lists, single, 3) == pytest.approx(2 / 3)
