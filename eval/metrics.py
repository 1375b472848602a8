"""What a ranking is worth: one number a query and metric, and their means.

Computed by ir-measures over trec_eval's code, so a run scores here what it scores anywhere else. trec_eval ignores
the rank column: it sorts by falling score in single precision, equal scores by falling id (`eval.runs` writes scores
that keep our order under that rule).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Qrels: TypeAlias = Mapping[str, Mapping[str, int]]
Scores: TypeAlias = Mapping[str, Mapping[str, float]]
PerQuery: TypeAlias = dict[str, dict[str, float]]

# Our name -> trec_eval's measure as ir-measures writes it. Relevant = grade 1 or more.
METRICS: dict[str, str] = {
    "hit@1": "Success@1",  # any relevant entry in the top k: what the cross-modal literature calls R@K
    "hit@5": "Success@5",
    "hit@10": "Success@10",
    "recall@10": "R@10",  # the share of the relevant ones that is in the top k
    "ndcg@10": "nDCG@10",  # gain = grade (linear), discount 1 / log2(rank + 1), over the best order of all judged
    "mrr": "RR",  # 1 / rank of the first relevant one within the run's k, else 0
    "map": "AP",  # mean over all relevant ones of the precision at their ranks, 0 for those beyond the run's k
}
DEEPEST = 10  # a run must be at least this long for "@10" to mean what it says


def per_query(qrels: Qrels, run: Scores) -> PerQuery:
    """{query: {metric: value}} for every query that has a relevant entry; one without any result gets zeros.

    `qrels` is {query: {id: grade >= 0}} and `run` {query: {id: score}}, higher is better. Queries with no relevant
    entry are left out: no ranking of theirs is better than another.
    """
    import ir_measures

    judged = {q: dict(grades) for q, grades in qrels.items() if any(g >= 1 for g in grades.values())}
    values: PerQuery = {q: dict.fromkeys(METRICS, 0.0) for q in judged}
    if not judged:
        return values
    names = {ir_measures.parse_measure(text): name for name, text in METRICS.items()}
    asked = {q: dict(run[q]) for q in judged if run.get(q)}
    for metric in ir_measures.iter_calc(list(names), judged, asked):
        values[metric.query_id][names[metric.measure]] = float(metric.value)
    return values


def mean(values: Mapping[str, Mapping[str, float]], queries: Iterable[str] | None = None) -> dict[str, Any]:
    """{metric: mean over the queries, ..., "queries": how many}; over none of them every mean is None."""
    chosen = [values[q] for q in (values if queries is None else queries) if q in values]
    count = len(chosen)
    means: dict[str, Any] = {m: math.fsum(v[m] for v in chosen) / count if count else None for m in METRICS}
    return means | {"queries": count}


def chance_of_hit(candidates: int, relevant: int, k: int = 10) -> float:
    """The expected hit@k of a random order of `candidates` entries, `relevant` of them relevant.

    1 - C(candidates - relevant, k) / C(candidates, k): the hypergeometric chance that the top k holds at least one.
    """
    if not 0 <= relevant <= candidates:
        raise ValueError(
            f"{relevant} relevant of {candidates} candidates: there cannot be more relevant ones than entries"
        )
    k = min(k, candidates)
    return 1.0 - math.comb(candidates - relevant, k) / math.comb(candidates, k)


def mean_chance(pools: Sequence[tuple[int, int]], k: int = 10) -> float | None:
    """The mean over queries of `chance_of_hit`, given (candidates, relevant among them) of each; None over none."""
    return math.fsum(chance_of_hit(n, r, k) for n, r in pools) / len(pools) if pools else None
