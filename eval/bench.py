"""`python -m eval bench`: what parts of the system cost and achieve, on data that the bench makes itself."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from eval.terminal import AsJson, console, last_line, say, told

bench = typer.Typer(help="Measure parts of the system on made data.", no_args_is_help=True)

MET = {True: "yes", False: "no", None: "-"}


@bench.callback()
def _several() -> None:
    """Measure parts of the system on made data."""


@bench.command("late-interaction")
def late_interaction(
    documents: Annotated[int, typer.Option(help="How many documents are made.", min=100)] = 5000,
    queries: Annotated[int, typer.Option(help="How many queries are made.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="Decides all that is made.", min=0)] = 20261122,
    as_json: Annotated[
        bool, typer.Option("--json", help="End standard output with one JSON object; people read standard error.")
    ] = False,
) -> None:
    """Candidates that late interaction needs: fixed dimensional encodings (MUVERA) against nearest single rows."""
    from eval.bench_late import Made
    from eval.bench_late import late_interaction as measure

    people = Console(stderr=as_json, width=120, highlight=False)
    progress = Console(stderr=True, highlight=False)
    made = Made(documents=documents, queries=queries, seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(made, Path(scratch), tell=lambda line: progress.print(line, markup=False))
    for table in _tables(result):
        people.print(table)
    sizes = f"{documents} documents of {made.rows} rows, {queries} queries of {made.query_rows}, seed {seed}"
    people.print(f"{sizes}: {result['seconds']} s", markup=False)
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")


@bench.command("diagnostics")
def diagnostics(
    pairs: Annotated[int, typer.Option(help="How many items are made, each in three views.", min=100)] = 50_000,
    dim: Annotated[int, typer.Option(help="How many numbers a vector has.", min=8)] = 512,
    queries: Annotated[
        int | None, typer.Option(help="How many queries are made (default: 2,000, or half the items).", min=2)
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this diagnostic, or volumes; give it again for more.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides all that is made.", min=0)] = 20261122,
    as_json: AsJson = False,
) -> None:
    """What each diagnostic takes on made items, beside the goals that were set for 50,000 pairs of 512 numbers."""
    from eval.bench_diagnostics import Made
    from eval.bench_diagnostics import diagnostics as measure

    people, errors = console(as_json), console(True)
    with told(errors):
        asked = min(2000, pairs // 2) if queries is None else queries
        if 2 * asked > pairs:
            raise typer.BadParameter(f"{asked} and as many for the bank need {2 * asked} items", param_hint="--queries")
        made = Made(pairs=pairs, dim=dim, queries=asked, seed=seed)
        result = measure(made, only or (), tell=lambda line: say(errors, line))
        table = Table("diagnostic", "time", "goal", "met")
        for row in result["rows"]:
            goal = "-" if row["goal"] is None else f"{row['goal']} s"
            table.add_row(row["name"], row["said"], goal, MET[row["met"]])
        people.print(table)
        sizes = f"{pairs} items of {dim} numbers, {asked} queries, seed {seed}"
        say(people, f"{sizes}, {result['cores']} cores, load {result['load_before']} before: {result['seconds']} s")
        if as_json:
            last_line(result)


def _tables(result: dict[str, Any]) -> tuple[Table, ...]:
    needed = f"candidates for recall@{result['best']} >= {result['recall']}"
    ways = Table("way", "numbers an item", needed, "of single rows", "found by 40", "seconds to encode")
    for row in result["rows"]:
        told = (row.get("recall_of_40"), row.get("encode_seconds"))
        cells = [row["way"], row["numbers"] or "-", row["candidates"], row["of_single"]]
        ways.add_row(*map(str, cells), *("-" if v is None else str(v) for v in told))
    index = Table("depth", "candidates", "recall@10", "ms a query", title="the default encoding in an Edge index")
    for row in result["index"]["searches"]:
        index.add_row(*(str(row[key]) for key in ("depth", "candidates", "recall_at_10", "ms_a_query")))
    pooled = Table("rows to one", "rows an item", "recall@10", "seconds", title="items pooled, and compared exactly")
    for row in result["pooled"]:
        pooled.add_row(*(str(row[key]) for key in ("factor", "rows", "recall_at_10", "seconds")))
    return ways, index, pooled
