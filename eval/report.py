"""Scores as people read them: a row a recipe and form, what chance would give, and what was left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eval.dataset import FORMS, Asked, Dataset
from eval.metrics import METRICS, PerQuery, mean, mean_chance

if TYPE_CHECKING:
    from rich.table import Table

    from eval.checking import Inspection


def summary(values: PerQuery, queries: Sequence[Asked]) -> dict[str, Any]:
    """The means over all queries, and under `forms` over those of each form that has a judged query."""
    chosen = [q for q in queries if q.id in values]
    by_form = {form: [q.id for q in chosen if q.form == form] for form in FORMS}
    forms = {form: mean(values, ids) for form, ids in by_form.items() if ids}
    return mean(values, [q.id for q in chosen]) | {"forms": forms}


def chance(
    dataset: Dataset, queries: Sequence[Asked], candidates: Callable[[Asked], set[str] | None]
) -> dict[str, Any]:
    """The expected hit@10 of a random order: over all judged queries, and by form.

    `candidates` gives the corpus ids that may answer a query, None for "all but those it excludes".
    """
    pools: dict[str, tuple[int, int]] = {}
    for query in queries:
        relevant = {c for c in dataset.relevant(query.id) if query.allows(c)}
        if dataset.relevant(query.id):
            pool = candidates(query)
            count = len(dataset.corpus) - len(query.exclude) if pool is None else len(pool)
            pools[query.id] = (count, len(relevant if pool is None else relevant & pool))
    forms = {f: mean_chance([pools[q.id] for q in queries if q.form == f and q.id in pools]) for f in FORMS}
    return {
        "hit@10": mean_chance(list(pools.values())),
        "forms": {f: {"hit@10": v} for f, v in forms.items() if v is not None},
    }


def score_table(
    dataset: Dataset, results: Mapping[str, Mapping[str, Any]], by_chance: Mapping[str, Any], title: str
) -> Table:
    """Every recipe's means, in all and below by form, and chance in the last rows; the main metric is in bold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("recipe", overflow="fold")
    table.add_column("n", justify="right", no_wrap=True)
    for name in METRICS:
        bold = "bold" if name == dataset.main_metric else ""
        table.add_column(name, justify="right", no_wrap=True, style=bold)
    for name, result in results.items():
        _rows(table, name, result)
        table.add_section()
    _rows(table, "random order", by_chance)
    return table


def _rows(table: Table, name: str, result: Mapping[str, Any]) -> None:
    from rich.text import Text

    forms: Mapping[str, Any] = result["forms"] if len(result["forms"]) > 1 else {}
    for label, values in [(name, result), *((f"  {form}", v) for form, v in forms.items())]:
        cells = ["" if values.get(m) is None else f"{values[m]:.3f}" for m in METRICS]
        table.add_row(Text(label), str(values.get("queries", "")), *cells)


def check_text(inspection: Inspection, counts: Mapping[str, Any], most_warnings: int = 50) -> list[str]:
    """What `check` says: every problem, the warnings (so many of them), and the counts."""
    found = inspection
    lines = [f"problem  {p}" for p in found.problems]
    lines += [f"warning  {w}" for w in found.warnings[:most_warnings]]
    if len(found.warnings) > most_warnings:
        lines.append(f"warning  ... and {len(found.warnings) - most_warnings} more")
    relevant = counts["relevant_per_query"]
    lines += [
        f"{found.dataset.name or found.dataset.folder.name}: {counts['corpus']} entries "
        f"({_listed(counts['corpus_by_kind'])}), {counts['queries']} queries "
        f"({_listed(counts['queries_by_form'])}), {counts['bank']} reference queries",
        f"{counts['judgements']} judgements; {counts['queries_judged']} queries have relevant entries: "
        f"{relevant['min']} to {relevant['max']}, {relevant['mean']:.2f} on average",
        f"{len(found.problems)} problems, {len(found.warnings)} warnings",
    ]
    return lines


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items()) or "none"
