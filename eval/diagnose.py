"""`python -m eval diagnose`: what the geometry of a space says, of a library, a dataset or files of vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from eval.terminal import BAD_DATA, AsJson, console, fail, last_line, say, told
from mmretrieval.errors import BadRecipe, RetrievalError, UnknownName

if TYPE_CHECKING:
    from eval.diagnosis import Diagnosis
    from eval.diagnosis_page import Look
    from mmretrieval.diagnostics.subject import Subject
    from mmretrieval.findings import Finding

VECTORS = "--vectors"
DATASET_RECIPE = "lite@visual"


class SeveralAfterOne(TyperCommand):
    """A command whose --vectors takes every word up to the next option: `--vectors a.npy b.npy c.npy --json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Writes the option again before each of its further values, which is what click understands."""
        spelled: list[str] = []
        taking = False
        for place, word in enumerate(args):
            if word == "--":
                return super().parse_args(ctx, spelled + args[place:])
            if word.startswith("-"):
                taking = word == VECTORS or word.startswith(f"{VECTORS}=")
                spelled.append(word)
            else:
                spelled += [VECTORS, word] if taking and spelled[-1] != VECTORS else [word]
        return super().parse_args(ctx, spelled)


@dataclass(frozen=True, eq=False)
class Source:
    """What is diagnosed, what must be said of it, and how its items look."""

    subject: Subject
    notes: tuple[str, ...] = ()
    look: Look | None = None


def diagnose(
    *,
    library: Annotated[Path | None, typer.Option(help="A library.", exists=True, file_okay=False)] = None,
    dataset: Annotated[Path | None, typer.Option(help="An evaluation dataset.", exists=True, file_okay=False)] = None,
    vectors: Annotated[
        list[Path] | None,
        typer.Option(
            VECTORS,
            help="Two or more .npy files (n, d), row i of each being item i; all after one --vectors.",
            metavar="IMAGE.npy TEXT.npy [MORE.npy...]",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help=f"Of a library (default: its own) or dataset (default: {DATASET_RECIPE}).")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this diagnostic; give it again for more.")] = None,
    sample: Annotated[str, typer.Option(help="At most so many items or pairs, drawn by the seed; or all.")] = "10000",
    seed: Annotated[int, typer.Option(help="Decides every draw.", min=0)] = 0,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with plots, which needs nothing else.", dir_okay=False)
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Key of the items' metadata that says of what class each is.", metavar="KEY")
    ] = "",
    out: Annotated[Path, typer.Option(help="Where the library of a dataset lies, as for run.", file_okay=False)] = Path(
        "runs"
    ),
    workers: Annotated[int, typer.Option(help="Processes that read a dataset's files.", min=1)] = 2,
    as_json: AsJson = False,
) -> None:
    """Say what the geometry of a space is, how sure that is, and what to try next.

    One of --library, --dataset and --vectors. A diagnostic that cannot run there is skipped with its reason.
    Exit 0: all well; 1: a problem in the data, also where nothing could run; 2: wrong usage.
    """
    from eval.diagnosis import diagnose as run
    from eval.diagnosis import names

    people, errors = console(as_json), console(True)
    _one_of(library, dataset, vectors, recipe)
    limit = _limit(sample)
    with told(errors), ExitStack() as held:
        names(only or ())
        if html is not None:
            _writable(html)
        if vectors:
            source = _of_vectors(vectors, seed)
        else:
            source = _of_items(held, library, dataset, recipe, out, workers, classes, seed)
        with _running(errors) as running:
            try:
                found = run(source.subject, only or (), seed=seed, sample=limit, notes=source.notes, running=running)
            except (UnknownName, BadRecipe):
                raise
            except RetrievalError as error:
                # Whatever its kind: it is this subject that the diagnostic asked for cannot use.
                raise fail(errors, error, BAD_DATA) from error
        tell(people, found)
        if html is not None:
            from eval.diagnosis_page import page

            html.write_text(page(found, source.look), encoding="utf-8", errors="xmlcharrefreplace")
            say(people, f"-> {html}")
        if as_json:
            last_line(found.json())
    if not found.findings:
        raise typer.Exit(BAD_DATA)


# --- the source ----------------------------------------------------------------------------------------------------


def _one_of(library: Path | None, dataset: Path | None, vectors: Sequence[Path] | None, recipe: str | None) -> None:
    given = [n for n, v in (("--library", library), ("--dataset", dataset), (VECTORS, vectors)) if v]
    if len(given) != 1:
        told_of = f"{' and '.join(given)} were given" if given else "none was given"
        raise typer.BadParameter(f"{told_of}", param_hint="exactly one of --library, --dataset and --vectors")
    if vectors and len(vectors) < 2:
        raise typer.BadParameter(
            f"only {vectors[0]} was given: give two or more files of the same items in one order", param_hint=VECTORS
        )
    if vectors and recipe:
        raise typer.BadParameter("files of vectors have no encoder to ask", param_hint="--recipe")


def _limit(sample: str) -> int | None:
    if sample == "all":
        return None
    if not sample.isascii() or not sample.isdigit() or int(sample) < 1:
        raise typer.BadParameter(f"{sample!r} is neither a number from 1 on nor 'all'", param_hint="--sample")
    return int(sample)


def _writable(html: Path) -> None:
    """Fails before the long work and not after it."""
    try:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.touch()
    except OSError as error:
        raise typer.BadParameter(f"{html} cannot be written: {error}", param_hint="--html") from error


def _of_vectors(files: Sequence[Path], seed: int) -> Source:
    from eval.vectors import HALVES, of_vectors

    return Source(of_vectors(files, seed), (HALVES,))


def _of_items(
    held: ExitStack,
    library: Path | None,
    dataset: Path | None,
    recipe: str | None,
    out: Path,
    workers: int,
    classes: str,
    seed: int,
) -> Source:
    """A library or dataset as a subject; what is opened for it stays open as long as `held`."""
    from eval.diagnosis_page import look_of
    from mmretrieval.library import Library
    from mmretrieval.subjects import of_library

    if library is not None:
        opened = held.enter_context(Library.open(library))
        subject = of_library(opened, recipe or opened.default_recipe, classes=classes, seed=seed)
        return Source(subject, (f"library {library}", *_rival(subject)), look_of(opened))
    assert dataset is not None  # _one_of has seen to it
    return _of_dataset(held, dataset, recipe or DATASET_RECIPE, out, workers, classes, seed)


def _of_dataset(held: ExitStack, folder: Path, recipe: str, out: Path, workers: int, classes: str, seed: int) -> Source:
    """A dataset's corpus, ingested like that of a run into the same library, with its judged queries."""
    from eval import judging
    from eval.diagnosis_page import look_of
    from eval.reading import load
    from eval.recipes import encoders_of, in_full_precision
    from eval.subjects import of_dataset
    from ingest.progress import Progress

    exact = in_full_precision(recipe)
    encoders = encoders_of([exact])
    loaded = load(folder)
    with Progress() as progress:
        progress.expect(len({judging.source_path(e, loaded) for e in loaded.corpus}))
        place = judging.library_folder(loaded, out)
        shelf, _ = judging.shelve(loaded, place, encoders, own=True, workers=workers, on_event=progress.event)
    held.enter_context(shelf.library)
    notes = [f"dataset {loaded.name}: {len(loaded.corpus)} entries, {len(loaded.judged)} judged queries"]
    if shelf.unfindable:
        notes.append(f"{len(shelf.unfindable)} entries could not be read and are left out: `eval check` says why")
    subject = of_dataset(loaded, shelf, exact, classes=classes, seed=seed)
    return Source(subject, (*notes, *_rival(subject)), look_of(shelf.library))


def _rival(subject: Subject) -> tuple[str, ...]:
    """What must be said where a recipe names two encoders: most diagnostics look at the first alone."""
    if subject.rival is None:
        return ()
    return (f"agreement and calibration compare it with {subject.rival.name}; all others look at {subject.name} alone",)


# --- for people ----------------------------------------------------------------------------------------------------


@contextmanager
def _running(errors: Console) -> Iterator[Any]:
    """A bar for each diagnostic, which moves while it runs and then says how long it took."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description:<12}", markup=False), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=errors) as progress:

        @contextmanager
        def running(name: str) -> Iterator[None]:
            task = progress.add_task(name, total=None)
            try:
                yield
            except RetrievalError:
                progress.update(task, description=f"{name} (not here)", total=1, completed=0)
                progress.stop_task(task)
                raise
            progress.update(task, total=1, completed=1)

        yield running


def tell(people: Console, found: Diagnosis) -> None:
    """Everything that was found as text: sentences, numbers with intervals, and what to try next."""
    say(people, found.subject)
    for line in found.notes:
        say(people, line)
    for name, finding in found.findings.items():
        _tell_one(people, name, finding)
    for name, reason in found.skipped.items():
        say(people)
        _paragraph(people, f"{name}: not here. {reason}")


def _tell_one(people: Console, name: str, finding: Finding) -> None:
    from eval.diagnosis import number_rows

    people.rule(Text(f" {name} ", style="bold"), align="left", characters="─")
    _paragraph(people, finding.sentence)
    columns, rows = number_rows(finding)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    people.print(Padding(table, (1, 0, 1, 2)))
    if finding.advice:
        _paragraph(people, f"What to try: {finding.advice}")
    if finding.stages:
        _paragraph(people, f"Stages of a recipe: {'  '.join(finding.stages)}")
    measured = ", ".join(f"{k} = {finding.basis[k]}" for k in ("n", "seed", "sample") if k in finding.basis)
    _paragraph(people, f"Measured on {measured}; brackets hold 95 % intervals.")


def _paragraph(people: Console, text: str) -> None:
    people.print(Text(text), width=min(people.width, 100), highlight=False)
