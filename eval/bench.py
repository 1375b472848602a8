"""`python -m eval bench`: what parts of the system cost and achieve, on data that the bench makes or a dataset has."""

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

bench = typer.Typer(help="Measure parts of the system.", no_args_is_help=True)

MET = {True: "yes", False: "no", None: "-"}


@bench.callback()
def _several() -> None:
    """Measure parts of the system."""


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


@bench.command("page")
def page(
    library: Annotated[
        Path | None,
        typer.Option(help="Folder of a library (default: one made of samples/).", exists=True, file_okay=False),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long the many users ask.", min=1, max=3600)] = 60.0,
    users: Annotated[int, typer.Option(help="How many users ask at once.", min=1, max=60)] = 20,
    searches: Annotated[int, typer.Option(help="How many searches of one user are measured.", min=5)] = 50,
    seed: Annotated[int, typer.Option(help="Decides the words that are asked.", min=0)] = 20261122,
    as_json: AsJson = False,
) -> None:
    """What a search through the page takes, of one user and of many; how soon it is seen; whether its memory grows."""
    from eval.bench_page import Load
    from eval.bench_page import page as measure

    people, errors = console(as_json), console(True)
    with told(errors), tempfile.TemporaryDirectory() as scratch:
        load = Load(searches=searches, users=users, seconds=seconds, seed=seed)
        result = measure(load, Path(scratch), library, tell=lambda line: say(errors, line))
        spread = Table("who", "searches", "p50 ms", "p95 ms", "errors")
        for who, key in (("encoding alone", "encoding"), ("one user", "one_user"), (f"{users} users", "many_users")):
            row = result[key]
            spread.add_row(who, *(str(row[name]) for name in ("n", "p50_ms", "p95_ms")), str(row.get("errors", "-")))
        people.print(spread)
        goals = Table("what", "measured", "goal", "met")
        for row in result["goals"]:
            goals.add_row(row["name"], "-" if row["value"] is None else str(row["value"]), row["goal"], MET[row["met"]])
        people.print(goals)
        many = result["many_users"]
        memory = f"{many['rss_begin_mb']} MB of memory at the begin, {many['rss_end_mb']} MB at the end"
        say(people, f"{many['a_second']} searches a second over {result['n']} items; {memory}")
        if why := result["paint"].get("why"):
            say(people, f"first paint: {why}")
        say(people, f"{result['cores']} cores, load {result['load_before']} before: {result['seconds']} s")
        if as_json:
            last_line(result)


@bench.command("map")
def atlas(
    items: Annotated[int, typer.Option(help="How many items are made.", min=100)] = 50_000,
    umap: Annotated[bool, typer.Option(help="Lay them out by UMAP too, which takes minutes for many items.")] = False,
    seed: Annotated[int, typer.Option(help="Decides all that is made.", min=0)] = 20261122,
    as_json: AsJson = False,
) -> None:
    """What a map of made items takes: laying it out, drawing it in a real browser, pointing and zooming."""
    from eval.bench_map import Made, measured

    people, errors = console(as_json), console(True)
    with told(errors), tempfile.TemporaryDirectory() as scratch:
        result = measured(Path(scratch), items, Made(seed=seed), umap=umap, tell=lambda line: say(errors, line))
        steps = Table("what", "seconds")
        for name, key in (
            ("making the library", "making_seconds"),
            ("principal axes of the pictures", "pca_seconds"),
            ("principal axes of pictures and words", "pca_both_seconds"),
            ("UMAP of the pictures", "umap_seconds"),
            ("from the click until it is drawn", "first_draw_seconds"),
            ("until it is coloured anew", "recoloured_seconds"),
        ):
            steps.add_row(name, str(result.get(key, "-")))
        people.print(steps)
        spread = Table("frames", "how many", "median ms", "p95 ms", "longest ms")
        for name, key in (("at rest", "rest"), ("pointing", "hover"), ("zooming", "zoom")):
            spread.add_row(name, *map(str, result[key].values()))
        people.print(spread)
        drawing = "WebGL" if result["webgl"] else "no WebGL"
        say(people, f"{items:,} points in {result['bytes']:,} bytes, {drawing}, by the processor where there is no GPU")
        say(people, f"seed {seed}, {result['cores']} cores, load {result['load_before']} before: {result['seconds']} s")
        if as_json:
            last_line(result)


@bench.command("cutoff")
def cutoff(
    dataset: Annotated[Path, typer.Option(help="Folder of the dataset.", exists=True, file_okay=False)] = Path(
        "samples/evaluation"
    ),
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="A recipe without cut-off; again for more (default: lite and lite-joint on every view)."),
    ] = None,
    count: Annotated[int, typer.Option(help="How many queries of made-up words are asked.", min=1)] = 100,
    seed: Annotated[int, typer.Option(help="Decides the made-up words.", min=0)] = 20261122,
    out: Annotated[Path, typer.Option(help="Where the dataset's library goes.", file_okay=False)] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """The share of first hits that a cut-off greys: of a dataset's queries, and of queries that mean nothing there."""
    from eval.bench_cutoff import CHANCES, TOP
    from eval.bench_cutoff import cutoff as measure

    people, errors = console(as_json), console(True)
    with told(errors):
        usual = [f"{e}@{v}" for e in ("lite", "lite-joint") for v in ("visual", "text", "all")]
        result = measure(dataset, out, recipe or usual, count, seed)
        table = Table(title=f"{result['dataset']}: share of the first {TOP} hits that a cut-off greys")
        for name in ("recipe", "queries", "", *(f"p = {p:g}" for p in CHANCES), f"answers, {CHANCES[1]:g}"):
            table.add_column(name, no_wrap=True)
        for row in result["rows"]:
            answers = row[f"answers@{CHANCES[1]:g}"]
            shares = [*(row[f"greyed@{p:g}"] for p in CHANCES), answers]
            cells = ["-" if share is None else f"{100 * share:.1f} %" for share in shares]
            table.add_row(row["recipe"], row["queries"], str(row["count"]), *cells)
        people.print(table)
        say(people, f"seed {seed}: {result['seconds']} s. Answers: hits that were judged relevant.")
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
