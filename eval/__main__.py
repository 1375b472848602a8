"""`python -m eval`: check a dataset, run recipes over it, score runs made elsewhere."""

from __future__ import annotations

import datetime
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from eval import judging, report, runs
from eval.bench import bench
from eval.checking import inspect
from eval.dataset import Asked, Dataset
from eval.diagnose import SeveralAfterOne, diagnose
from eval.fix import fix
from eval.metrics import DEEPEST, per_query
from eval.reading import load
from eval.search import search
from eval.stages import stages
from eval.terminal import BAD_DATA, GOOD, AsJson, bar, console, last_line, say, told
from mmretrieval.errors import DatasetError

if TYPE_CHECKING:
    from ingest.pipeline import Counts

app = typer.Typer(
    help="Judge recipes on datasets with known right answers, and try them on a query of your own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(bench, name="bench")
app.command("diagnose", cls=SeveralAfterOne)(diagnose)
app.command("fix")(fix)
app.command("search")(search)
app.command("stages")(stages)
Asking = Literal["all", "text", "image", "composed"]
Parts = Literal["all", "text", "image"]
Folder = Annotated[Path, typer.Option("--dataset", help="Folder of the dataset.", exists=True, file_okay=False)]
AskingOption = Annotated[Asking, typer.Option("--queries", help="Only the queries of this form.")]


@app.command()
def run(
    *,
    dataset: Folder,
    recipe: Annotated[list[str], typer.Option(help="A recipe, as in lite@visual; give it again for more.")],
    k: Annotated[int, typer.Option(help="How many entries a ranking keeps.", min=DEEPEST)] = 100,
    out: Annotated[Path, typer.Option(help="Where the folders of runs go.", file_okay=False)] = Path("runs"),
    library: Annotated[
        Path | None,
        typer.Option(
            help="Library for evaluations alone that keeps the embeddings (default: OUT/.libraries/NAME-HASH).",
            file_okay=False,
        ),
    ] = None,
    queries: AskingOption = "all",
    parts: Annotated[
        Parts, typer.Option(help="Only the parts of this modality; queries left with none are dropped.")
    ] = "all",
    workers: Annotated[int, typer.Option(help="Processes that read files.", min=1)] = 2,
    as_json: AsJson = False,
) -> None:
    """Rank a dataset's queries under recipes: a run file and run.json for each, and a table.

    Exit 0: all well; 1: a problem in the data, also a file that cannot be read (the rest is scored); 2: wrong usage.
    """
    from eval.recipes import encoders_of, in_full_precision, transductive
    from ingest.progress import Progress

    people, errors = console(as_json), console(True)
    with told(errors):
        given = {in_full_precision(text): text for text in recipe}
        encoders = encoders_of(list(given))
        loaded = load(dataset)
        asked, dropped = _asked(loaded, queries, parts)
        folder = library if library is not None else judging.library_folder(loaded, out)
        started = time.perf_counter()
        with Progress() as progress:
            progress.expect(len({judging.source_path(e, loaded) for e in loaded.corpus}))
            shelf, counts = judging.shelve(
                loaded, folder, encoders, own=library is None, workers=workers, on_event=progress.event
            )
        with shelf.library:
            prepared = {"ingest_seconds": round(time.perf_counter() - started, 2), "commit": _commit()}
            by_chance = report.chance(loaded, asked, lambda q: _pool(loaded, q, shelf.payloads))
            choices = {"queries": queries, "parts": parts, "k": k}
            results, places = dict[str, dict[str, Any]](), dict[str, Path]()
            for text, typed in given.items():
                facts = prepared | {
                    "recipe_as_given": typed,
                    "choices": choices,
                    "dropped": dropped,
                    "chance": by_chance,
                    "ingest": _counted(counts),
                }
                results[text], places[text] = _one(loaded, shelf, asked, text, k=k, out=out, facts=facts, errors=errors)
        kept = "queries" if queries == "all" else f"{queries} queries"
        title = f"{loaded.name}: {len(asked)} {kept}, {len(loaded.corpus)} entries, k = {k}"
        title += "" if parts == "all" else f", {parts} parts only"
        labelled = {text + transductive(text): result for text, result in results.items()}
        people.print(report.score_table(loaded, labelled, by_chance, title))
        _say_left_out(people, asked, loaded, dropped, shelf.unfindable)
        _say_licences(people, encoders)
        for text, place in places.items():
            say(people, f"{text} -> {place}")
        if as_json:
            last_line(
                {
                    "dataset": loaded.name,
                    "recipes": results,
                    "chance": by_chance,
                    "runs": {t: str(p) for t, p in places.items()},
                }
            )
    raise typer.Exit(BAD_DATA if shelf.unfindable else GOOD)


@app.command()
def score(
    dataset: Folder,
    runfile: Annotated[list[Path], typer.Argument(help="Run files in TREC's form.", exists=True, dir_okay=False)],
    queries: AskingOption = "all",
    as_json: AsJson = False,
) -> None:
    """Score run files that exist already. They need neither the dataset's media nor any encoder."""
    people, errors = console(as_json), console(True)
    with told(errors):
        loaded = load(dataset, files=False)
        asked, _ = _asked(loaded, queries, "all")
        by_chance = report.chance(loaded, asked, lambda q: _pool(loaded, q, None))
        judgements = {q.id: loaded.qrels.get(q.id, {}) for q in asked}
        results = {}
        for path in runfile:
            values = per_query(judgements, runs.read_trec(path, loaded))
            results[str(path)] = report.summary(values, asked)
        people.print(
            report.score_table(
                loaded, results, by_chance, f"{loaded.name}: {len(asked)} queries, {len(loaded.corpus)} entries"
            )
        )
        _say_left_out(people, asked, loaded, 0, {})
        if as_json:
            last_line({"dataset": loaded.name, "recipes": results, "chance": by_chance})


@app.command("compare")
def compare_runs(
    a: Annotated[Path, typer.Argument(help="Folder of a run.", exists=True, file_okay=False)],
    b: Annotated[Path, typer.Argument(help="Folder of another run of the same dataset.", exists=True, file_okay=False)],
    metric: Annotated[str, typer.Option(help="The metric to compare on.")] = "ndcg@10",
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Say whether the second run beats the first by more than chance, paired over their common queries."""
    from eval.runs import marked
    from eval.significance import FEW, RESAMPLES, caution, compare, values_of

    people, errors = console(as_json), console(True)
    with told(errors):
        found = compare(values_of(a, metric), values_of(b, metric), metric, seed=seed)
        by = "permutations and bootstrap samples" if found.queries >= FEW else "permutations at most, interval by t"
        lines = [
            f"a: {a.name}{marked(a)}",
            f"b: {b.name}{marked(b)}",
            f"{metric}: {found.mean_a:.3f} -> {found.mean_b:.3f}, difference {found.difference:+.3f} "
            f"[{found.low:+.3f}, {found.high:+.3f}] (95 %), p = {found.p:.4f}",
            f"{found.queries} queries: b wins {found.wins}, ties {found.ties}, loses {found.losses}; "
            f"{RESAMPLES} {by}, seed {seed}",
            *([f"{few[0].upper()}{few[1:]}."] if (few := caution(found.queries)) else []),
        ]
        for line in lines:
            people.print(line, highlight=False, markup=False, soft_wrap=True)
        if as_json:
            last_line({"a": str(a), "b": str(b)} | vars(found))


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of the dataset.", exists=True, file_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Say everything that is wrong with a dataset, and how much there is of what. Exit 1 where anything is wrong."""
    people, errors = console(as_json), console(True)
    with told(errors):
        found = inspect(folder)
        counts = found.dataset.counts(found.kinds)
        for line in report.check_text(found, counts):
            people.print(line, highlight=False, markup=False, soft_wrap=True)
        if as_json:
            listed = {name: [vars(p) for p in getattr(found, name)] for name in ("problems", "warnings")}
            last_line({"dataset": found.dataset.name, "ok": not found.problems} | listed | {"counts": counts})
    raise typer.Exit(BAD_DATA if found.problems else GOOD)


# --- the steps of a run -------------------------------------------------------------------------------------------


def _asked(dataset: Dataset, form: Asking, parts: Parts) -> tuple[list[Asked], int]:
    """The chosen queries as they stand in the dataset, and how many lost all their parts."""
    chosen = [q for q in dataset.queries if form in ("all", q.form)]
    kept = [q for q in chosen if q.only(parts) is not None]
    if not any(dataset.relevant(q.id) for q in kept):
        raise DatasetError(
            f"{dataset.name} has no judged query left to measure: {len(chosen)} of {len(dataset.queries)} queries are "
            f"of the form {form!r}, {len(kept)} of them have {parts} parts; choose others with --queries and --parts"
        )
    return kept, len(chosen) - len(kept)


def _one(
    dataset: Dataset,
    shelf: judging.Shelf,
    asked: list[Asked],
    recipe: str,
    *,
    k: int,
    out: Path,
    facts: Mapping[str, Any],
    errors: Console,
) -> tuple[dict[str, Any], Path]:
    """Ranks, scores and saves one recipe."""
    started = time.perf_counter()
    shown = [only for q in asked if (only := q.only(facts["choices"]["parts"])) is not None]
    with bar(errors, f"ranking {recipe}", len(shown)) as done:
        ranked, meta = judging.rank(dataset, shelf, shown, recipe, k=k, on_done=done)
    for remark in meta.get("remarks", ()):
        say(errors, remark)
    written = runs.trec_scores(ranked)
    values = per_query({q.id: dataset.qrels.get(q.id, {}) for q in asked}, written.scores)
    result = report.summary(values, asked)
    name = runs.folder_name(dataset.name, meta["recipe"], facts["choices"] | {"content": shelf.content_hash})
    record = {
        "recipe": meta["recipe"],
        "dataset": {"name": dataset.name, "hash": shelf.content_hash, "licence": dataset.licence, "task": dataset.task},
        "metrics": result,
        "main_metric": dataset.main_metric,
        "k": k,
        "depth": meta["depth"],
        "items_asked": meta["items_asked"],
        "scores": SCORES[written.kept],
        "queries": {"ranked": len(asked), "judged": result["queries"], "unjudged": len(asked) - result["queries"]},
        "entries": {"all": len(dataset.corpus), "unfindable": dict(shelf.unfindable)},
        "encoders": meta["encoders"],
        "versions": meta["versions"] | _own_versions(),
        "exact": meta["exact"],
        "bank": meta.get("bank"),
        "transductive": meta.get("transductive", False),
        "remarks": meta.get("remarks", []),
        "engine_seconds": meta["seconds"],
        "seconds": round(time.perf_counter() - started, 4),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    runs.save(out / name, written, runs.slug(meta["recipe"], 40), values, record | dict(facts))
    return result, out / name


SCORES = {
    "engine": "the engine's own: they fall strictly in each ranking, in single precision too",
    "rank": "made from the ranks (n, n - 1, ... 1): in single precision the engine's do not fall strictly everywhere",
}


def _pool(
    dataset: Dataset, query: Asked, payloads: Mapping[str, tuple[Mapping[str, Any], ...]] | None
) -> set[str] | None:
    return dataset.candidates(query, payloads) if query.filter is not None or query.subset is not None else None


def _say_left_out(
    people: Console, asked: list[Asked], dataset: Dataset, dropped: int, unfindable: Mapping[str, str]
) -> None:
    unjudged = sum(not dataset.relevant(q.id) for q in asked)
    lines = [f"{unjudged} queries have no relevant entry and are in no mean"] if unjudged else []
    lines += [f"{dropped} queries have no part of that modality and were dropped"] if dropped else []
    lines += [f"{len(unfindable)} entries can never be found:"] if unfindable else []
    lines += [f"  {ident}: {reason}" for ident, reason in list(unfindable.items())[:20]]
    for line in lines:
        people.print(line, highlight=False, markup=False, soft_wrap=True)


def _say_licences(people: Console, encoders: tuple[str, ...]) -> None:
    from mmretrieval import catalog

    for card in map(catalog.card, encoders):
        if not card.commercial:
            line = f"{card.spec}: the licence of its weights ({card.licence}) forbids commercial use"
            people.print(line, highlight=False, markup=False, soft_wrap=True)


def _counted(counts: Counts) -> dict[str, Any]:
    return {name: getattr(counts, name) for name in ("stored", "unchanged", "replaced", "failed", "removed", "ignored")}


def _own_versions() -> dict[str, str]:
    import importlib.metadata

    return {name: importlib.metadata.version(name) for name in ("ir_measures", "pytrec_eval-terrier")}


def _commit() -> str | None:
    """The commit of the code that ran, with "+" where files differ from it; None outside a git checkout."""
    root = Path(__file__).resolve().parent.parent
    said = []
    for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        if done.returncode:
            return None
        said.append(done.stdout.strip())
    return said[0] + ("+" if said[1] else "")


if __name__ == "__main__":
    app(prog_name="python -m eval")
