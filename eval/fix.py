"""`python -m eval fix`: what change of a recipe helps a dataset: chosen on half of its queries, judged on the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from eval.runs import slug
from eval.terminal import AsJson, console, last_line, say, told

if TYPE_CHECKING:
    from eval.fixing import Fixed


def fix(
    *,
    dataset: Annotated[Path, typer.Option(help="Folder of the dataset.", exists=True, file_okay=False)],
    recipe: Annotated[str, typer.Option(help="The recipe to improve.")],
    tries: Annotated[
        list[str] | None,
        typer.Option(
            "--try", help="A stage to try, as in nnn:64:0.5, instead of the usual ones; give it again for more."
        ),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="What is to rise (default: the dataset's main metric).")] = None,
    most: Annotated[
        int, typer.Option("--report", help="How many of the best are judged on the held-out half.", min=1)
    ] = 5,
    pairs: Annotated[bool, typer.Option(help="Whether pairs of the best are tried too.")] = True,
    seed: Annotated[int, typer.Option(help="Decides the halves, and every draw.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="Where the report and the dataset's library go.", file_okay=False)] = Path(
        "runs"
    ),
    workers: Annotated[int, typer.Option(help="Processes that read files.", min=1)] = 2,
    as_json: AsJson = False,
) -> None:
    """Try transforms, corrections and rerankers, and pairs of the best, and say what each is worth.

    Half of the judged queries choose and are what is fitted on; the other half judges: difference with interval, paired
    permutation test after Holm, the smallest effect that would have shown, cost, and a verdict in words. Where a change
    takes the place of the recipe's correction, the recipe without any correction is judged beside it.
    """
    from eval.metrics import METRICS
    from mmretrieval.errors import pick
    from mmretrieval.recipe import place_of

    people, errors = console(as_json), console(True)
    with told(errors):
        if metric is not None:
            pick(dict.fromkeys(METRICS), metric, "metric")
        for stage in tries or ():
            place_of(stage)
        found = _found(errors, dataset, recipe, tries or (), metric or "", most, pairs, seed, out, workers)
        tell(people, found)
        key = hashlib.sha256(json.dumps([found.recipe, found.metric, seed, most, pairs, tries]).encode()).hexdigest()
        place = out / f"fix-{slug(f'{found.dataset}-{found.recipe}', 70)}-{key[:8]}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(as_record(found), indent=1), encoding="utf-8")
        say(people, f"-> {place}")
        if as_json:
            last_line(as_record(found))


def _found(
    errors: Console,
    folder: Path,
    recipe: str,
    tries: Sequence[str],
    metric: str,
    most: int,
    pairs: bool,
    seed: int,
    out: Path,
    workers: int,
) -> Fixed:
    from eval import judging
    from eval.fixing import fix as work
    from eval.reading import load
    from eval.recipes import encoders_of, in_full_precision
    from ingest.progress import Progress

    exact = in_full_precision(recipe)
    # A stage that leads to another encoder needs that encoder's vectors too.
    encoders = encoders_of([exact], tries)
    loaded = load(folder)
    with Progress() as progress:
        progress.expect(len({judging.source_path(e, loaded) for e in loaded.corpus}))
        place = judging.library_folder(loaded, out)
        shelf, _ = judging.shelve(loaded, place, encoders, own=True, workers=workers, on_event=progress.event)
    with shelf.library, _steps(errors) as on_step:
        return work(
            loaded, shelf, exact, tries=tries, metric=metric, seed=seed, report=most, pairs=pairs, on_step=on_step
        )


def as_record(found: Fixed) -> dict[str, Any]:
    """What was found, for programs, with the versions of what it was found with."""
    from mmretrieval.provenance import versions

    return asdict(found) | {"versions": versions(), "precision": "fp32"}


def tell(people: Console, found: Fixed) -> None:
    """What was tried, what it was worth on the held-out half, and the verdicts."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from eval.fixing import named

    say(
        people,
        f"{found.dataset}, {found.recipe}: {found.fitting} queries to choose on, {found.held_out} to judge on, "
        f"{found.bank} reference queries; {found.metric}, fp32, seed {found.seed}",
    )
    table = Table(title=Text("tried on the fitting half"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in (("stages", "left"), (found.metric, "right"), ("difference", "right")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_row("(as it is)", f"{found.plain_fitting:.3f}", "")
    for t in sorted(found.tried, key=lambda t: -(t.difference if t.difference is not None else -9.0)):
        shown = (
            (f"{t.value:.3f}", f"{t.difference:+.3f}") if t.value is not None else ("", Text(f"not here: {t.problem}"))
        )
        table.add_row(Text(named(t.stages, t.replaces)), *shown)
    people.print(table)
    table = Table(title=Text("on the held-out half"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("stages", found.metric, "difference, 95 %", "p (Holm)", "could show", "ms/query", "bytes/vector"):
        table.add_column(name, justify="left" if name == "stages" else "right", overflow="fold")
    plain = found.plain_cost
    table.add_row("(as it is)", f"{found.plain:.3f}", "", "", "", f"{plain.milliseconds:.2f}", f"{plain.item_bytes:g}")
    for row in found.rows:
        c = row.comparison
        table.add_row(
            Text(named(row.stages, row.replaces) + (" (transductive)" if row.transductive else "")),
            f"{c.mean_b:.3f}",
            Text(f"{c.difference:+.3f} [{c.low:+.3f}, {c.high:+.3f}]"),
            f"{row.p_holm:.4f}",
            "-" if row.smallest is None else f"{row.smallest:.3f}",
            f"{row.cost.milliseconds:.2f}",
            f"{row.cost.item_bytes:g}",
        )
    people.print(table)
    for row in found.rows:
        say(people, row.verdict)


@contextmanager
def _steps(errors: Console) -> Iterator[Callable[[str, int, int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("{task.description:<34}", markup=False), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("fix")
        yield lambda what, done, of: progress.update(task, description=what, completed=done, total=of)
