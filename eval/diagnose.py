"""`python -m eval diagnose`: what the geometry of a space says, of a library, a dataset or files of vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
Projection = Literal["pca", "umap"]
DATASET_RECIPE = "lite@visual"
# So many rows of each table of items are told.
LOOKED_AT = 4


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
    title: str
    notes: tuple[str, ...] = ()
    look: Look | None = None
    # Subjects of diagnostics that look at another than this.
    others: Mapping[str, Subject] = field(default_factory=dict)


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
    projection: Annotated[
        Projection, typer.Option(help="How gap draws pairs in a plane: on principal axes, or by UMAP, in seconds more.")
    ] = "pca",
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
    _one_of(library, dataset, vectors, recipe, classes)
    limit = _limit(sample)
    with told(errors), ExitStack() as held:
        names(only or ())
        if html is not None:
            _writable(html)
        if vectors:
            source = _of_vectors(vectors, seed, only or ())
        else:
            source = _of_items(held, library, dataset, recipe, out, workers, classes, seed)
        said: dict[str, Any] = {"title": source.title, "notes": source.notes, "others": source.others}
        said["more"] = {"gap": {"projection": projection}}
        try:
            with _running(errors) as running:
                found = run(source.subject, only or (), seed=seed, sample=limit, running=running, **said)
        except (UnknownName, BadRecipe):
            raise
        except RetrievalError as error:
            # Whatever its kind: it is this subject that the diagnostic asked for cannot use.
            raise fail(errors, error, BAD_DATA) from error
        tell(people, found, source.look)
        if html is not None:
            from eval.diagnosis_page import page

            html.write_text(page(found, source.look), encoding="utf-8", errors="xmlcharrefreplace")
            say(people, f"-> {html}")
        if as_json:
            last_line(found.json())
    if not found.findings:
        raise typer.Exit(BAD_DATA)


# --- the source ----------------------------------------------------------------------------------------------------


def _one_of(
    library: Path | None, dataset: Path | None, vectors: Sequence[Path] | None, recipe: str | None, classes: str
) -> None:
    given = [n for n, v in (("--library", library), ("--dataset", dataset), (VECTORS, vectors)) if v]
    if len(given) != 1:
        told_of = f"{' and '.join(given)} were given" if given else "none was given"
        raise typer.BadParameter(f"{told_of}", param_hint="exactly one of --library, --dataset and --vectors")
    if vectors and len(vectors) < 2:
        raise typer.BadParameter(
            f"only {vectors[0]} was given: give two or more files of the same items in one order", param_hint=VECTORS
        )
    if vectors and recipe is not None:
        raise typer.BadParameter("files of vectors have no encoder to ask", param_hint="--recipe")
    if vectors and classes:
        raise typer.BadParameter("rows of files have no metadata to take classes from", param_hint="--classes")


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


def _of_vectors(files: Sequence[Path], seed: int, only: Sequence[str]) -> Source:
    """The files as modalities of one space; for agreement, where it is asked for, as what two encoders made."""
    from eval.vectors import HALVES, encoders_of, of_vectors

    title = ", ".join(file.name for file in files)
    compared = encoders_of(files) if "agreement" in only else None
    if compared is not None and set(only) == {"agreement"}:
        return Source(compared, title, ("each file is one encoder's vectors of the same items",))
    return Source(of_vectors(files, seed), title, (HALVES,), others={"agreement": compared} if compared else {})


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
        asked = opened.default_recipe if recipe is None else recipe
        subject = of_library(opened, asked, classes=classes, seed=seed)
        return Source(subject, f"{asked} on {library}", _spelled(asked, subject), look_of(opened))
    assert dataset is not None  # _one_of has seen to it
    return _of_dataset(held, dataset, DATASET_RECIPE if recipe is None else recipe, out, workers, classes, seed)


def _of_dataset(held: ExitStack, folder: Path, recipe: str, out: Path, workers: int, classes: str, seed: int) -> Source:
    """A dataset's corpus, ingested like that of a run into the same library, with its judged queries."""
    from eval import judging
    from eval.diagnosis_page import look_of
    from eval.reading import load
    from eval.recipes import encoders_of, in_full_precision
    from eval.subjects import of_dataset
    from ingest.progress import Progress
    from mmretrieval import catalog
    from mmretrieval.recipe import parse
    from mmretrieval.subjects import check_compared

    exact = in_full_precision(recipe)  # which numbers are reported in
    encoders = encoders_of([exact])
    check_compared(parse(exact), catalog.card)
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
    return Source(subject, f"{recipe} on {folder}", (*notes, *_spelled(recipe, subject)), look_of(shelf.library))


def _spelled(asked: str, subject: Subject) -> tuple[str, ...]:
    """What the recipe stands for, where it hides a view or a precision, what of it is not looked at, and by whom."""
    from mmretrieval.recipe import SLOTS, parse, place_of
    from mmretrieval.subjects import compared

    head, *stages = (piece.strip() for piece in asked.split(","))
    sources = [source.strip() for source in head.split("+")]
    slots = [SLOTS[place_of(stage)][0] for stage in stages]
    recipe = parse(asked)
    taken = [recipe.sources.index(source) for source in compared(recipe)]
    shown = ",".join([sources[0], *(s for s, slot in zip(stages, slots, strict=True) if slot == "transform")])
    said = [f"{shown} is short for {subject.name}"] if subject.name != shown and subject.rival is None else []
    for place, source in enumerate(sources):
        if place in taken:
            continue
        one = recipe.sources[place].encoder == recipe.sources[0].encoder
        said.append(
            f"{source} is left out: "
            + ("another view of the first encoder is the same space" if one else "two encoders are compared, not more")
        )
    # A composer, which is how questions of several parts are posed, has its part in the geometry.
    later = [s for s, slot in zip(stages, slots, strict=True) if slot in ("correction", "fuser", "reranker")]
    if later:
        said.append(
            "corrections, fusers and rerankers change scores and lists, which have no part in the geometry: "
            f"{', '.join(later)} left out"
        )
    if subject.rival is not None:
        both = f"{subject.name} with {subject.rival.name}"
        said.append(f"agreement and calibration compare {both}; all others look at the first alone")
    return tuple(said)


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


def tell(people: Console, found: Diagnosis, look: Look | None = None) -> None:
    """Everything that was found as text: sentences, numbers with intervals, items to look at, and what to try next."""
    say(people, f"Diagnosis of {found.title or found.subject}")
    for line in found.notes:
        _paragraph(people, line)
    for name, finding in found.findings.items():
        _tell_one(people, name, finding, look)
    for name, reason in found.skipped.items():
        say(people)
        _paragraph(people, f"{name}: not here. {reason}")


def _tell_one(people: Console, name: str, finding: Finding, look: Look | None) -> None:
    from eval.diagnosis import absent, below_chance, measured_on

    people.rule(Text(f" {name} ", style="bold"), align="left", characters="─")
    _paragraph(people, finding.sentence)
    _tell_numbers(people, finding)
    for line in (*below_chance(finding), *absent(finding), *finding.absent):
        _paragraph(people, line)
    _tell_items(people, finding, look)
    if finding.advice:
        _paragraph(people, f"What to try: {finding.advice}")
    if finding.stages:
        _paragraph(people, f"Stages of a recipe: {'  '.join(finding.stages)}")
    _paragraph(people, f"Measured on {measured_on(finding.basis)}; brackets hold 95 % intervals.")


def _tell_numbers(people: Console, finding: Finding) -> None:
    """Its tables; under a column the beginning of its numbers' keys, beside a row their end."""
    from eval.diagnosis import number_tables

    for numbers in number_tables(finding):
        table = Table(
            box=None, padding=(0, 2, 0, 0), header_style="bold", title=numbers.title or None, title_justify="left"
        )
        table.add_column(Text("number"), overflow="fold", ratio=3)
        table.add_column(Text("key in JSON"), style="dim", overflow="fold")
        for column, prefix in zip(numbers.columns, numbers.prefixes, strict=True):
            table.add_column(Text(f"{column}\n{prefix}…" if prefix else column), justify="right")
        # Many columns have room for one figure beside the other, but not for its interval as well.
        between = "\n" if len(numbers.columns) > 2 else " "
        for label, key, cells in numbers.rows:
            table.add_row(Text(label), Text(key), *(Text(between.join(filter(None, cell))) for cell in cells))
        people.print(Padding(table, (1, 0, 0, 2)))
    people.print()


def _tell_items(people: Console, finding: Finding, look: Look | None) -> None:
    """The first rows of each table of items, by their words and files' names."""
    from eval.diagnosis import exhibited

    for exhibit in finding.exhibits:
        lines = exhibited(exhibit, look, LOOKED_AT)
        if lines:
            _paragraph(people, f"{exhibit.title}:")
            for line in lines:
                people.print(Padding(Text(line), (0, 0, 0, 2)), highlight=False)
            if len(exhibit.rows) > LOOKED_AT:
                say(people, f"  ... and {len(exhibit.rows) - LOOKED_AT} more on the page that --html writes")
            say(people)


def _paragraph(people: Console, text: str) -> None:
    people.print(Text(text), width=min(people.width, 100), highlight=False)
