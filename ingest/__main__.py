"""python -m ingest: the batch script. With --json the last line on standard output is for machines."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmretrieval.errors import RetrievalError, pick

if TYPE_CHECKING:
    from ingest.pipeline import Counts
    from mmretrieval.library import Library

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Bring pictures, videos, documents and texts into a library."
)
LibraryOption = Annotated[Path, typer.Option("--library", help="Folder of the library.")]
JsonOption = Annotated[bool, typer.Option("--json", help="End with one line of JSON on standard output.")]
WorkersOption = Annotated[int, typer.Option("--workers", min=1, help="Processes that decode files.")]
EncoderOption = Annotated[
    list[str] | None,
    typer.Option("--encoder", help="Encoder; may be repeated. See `python -m models list`."),
]


def main() -> None:
    """Runs the command line: exit 0 all well, 1 some files failed, 2 wrong usage."""
    try:
        app()
    except RetrievalError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


@app.command()
def add(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders.")],
    library: LibraryOption,
    encoder: EncoderOption = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what is gone from these folders.")] = False,
    video_reader: Annotated[
        str | None,
        typer.Option("--video-reader", help="pyav (default) or decord; a library keeps the one it began with."),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Read again what failed before.")] = False,
    workers: WorkersOption = 2,
    as_json: JsonOption = False,
) -> None:
    """Bring files and folders in; unchanged ones are skipped, changed ones replaced. Run it again at any time."""
    from ingest.pipeline import ingest
    from ingest.progress import Progress
    from ingest.walk import walk
    from mmretrieval.library import Library
    from mmretrieval.media.video import READERS
    from mmretrieval.types import Settings

    for path in paths:
        if not path.exists():
            raise RetrievalError(f"{path} does not exist: name a file or a folder")
    if video_reader:
        pick(READERS, video_reader, "video reader")
    settings = Settings(video_reader=video_reader) if video_reader else None
    with Library.create(library, encoder or (), settings) as opened, Progress() as progress:
        if video_reader and opened.settings.video_reader != video_reader:
            raise RetrievalError(
                f"this library reads videos with {opened.settings.video_reader}, and reads all of them alike: "
                f"leave --video-reader out, or name a new folder for {video_reader}"
            )
        sources = list(walk(paths))
        progress.expect(len(sources))
        counts = ingest(
            opened, sources, encoders=encoder or (), prune=paths if prune else (), retry=retry, workers=workers,
            on_event=progress.event,
        )  # fmt: skip
    _report(counts, as_json)


@app.command("add-encoder")
def add_encoder(
    spec: Annotated[str, typer.Argument(help="Encoder spec, for example lite-0 or 'clip-b32;checkpoint=PATH'.")],
    library: LibraryOption,
    workers: WorkersOption = 2,
    as_json: JsonOption = False,
) -> None:
    """Embed everything in the library with one more encoder."""
    from ingest.pipeline import ingest
    from ingest.progress import Progress
    from mmretrieval.library import Library

    with Library.open(library) as opened, Progress() as progress:
        progress.expect(sum(1 for f in opened.files() if not f.reason))
        counts = ingest(opened, (), encoders=(spec,), workers=workers, on_event=progress.event)
    _report(counts, as_json)


@app.command()
def status(library: LibraryOption, as_json: JsonOption = False) -> None:
    """Say what is in the library, and which files failed and why."""
    from mmretrieval.library import Library

    with Library.open(library) as opened:
        state, failures = opened.status(), opened.failures()
    people = sys.stderr if as_json else sys.stdout
    kinds = ", ".join(f"{n} {kind}" for kind, n in state.kinds.items()) or "nothing yet"
    print(f"{state.path}: {state.items} items in {state.files} files ({kinds})", file=people)
    for encoder, views in state.encoders.items():
        vectors = ", ".join(f"{n} {view}" for view, n in views.items()) or "no vectors yet"
        print(f"  {encoder}: {vectors}", file=people)
    for encoder, reason in state.absent.items():
        print(f"  {encoder} is not to be had: {reason}", file=people)
    sizes = (state.embedding_bytes, state.index_bytes, state.thumbnail_bytes)
    print(
        "  on disk: {:.1f} MB embeddings, {:.1f} MB index, {:.1f} MB thumbnails".format(*(s / 1e6 for s in sizes)),
        file=people,
    )
    if state.fits:
        said = f"{state.fits} fits of recipes' stages, {state.fit_bytes / 1e6:.1f} MB"
        print(f"  transforms: {said} (a cache: they are fitted again where they are gone)", file=people)
    for held in state.recipe_indexes:
        size = f"{held.items} items, {held.bytes / 1e6:.1f} MB"
        anew = "searches scan; `python -m ingest index --recipe` builds it anew"
        stands = f"{held.problem}: {anew}" if held.problem else "fresh"
        print(f"  index of {held.recipe}: {size}, {stands}", file=people)
    for failure in failures:
        print(f"  failed: {failure.path}: {failure.reason}", file=people)
    if as_json:
        print(json.dumps(asdict(state) | {"failed": [asdict(f) for f in failures]}))


@app.command()
def verify(library: LibraryOption, as_json: JsonOption = False) -> None:
    """Read every vector and hold it against its checksum and the ledger. Exit 1 where something is wrong."""
    from mmretrieval.library import Library
    from mmretrieval.library.verify import verify as check

    with Library.open(library) as opened:
        found = check(opened)
    people = sys.stderr if as_json else sys.stdout
    for problem in found.problems:
        print(f"problem: {problem}", file=people)
    print(f"{found.vectors} vectors in {found.parts} parts, {len(found.problems)} problems", file=people)
    if as_json:
        print(json.dumps(asdict(found)))
    if found.problems:
        raise typer.Exit(1)


@app.command()
def forget(
    paths: Annotated[list[str], typer.Argument(help="Paths as `status` and the page show them.")],
    library: LibraryOption,
    as_json: JsonOption = False,
) -> None:
    """Take files out of the library; the files themselves are not touched."""
    from ingest.pipeline import forget as forget_paths
    from ingest.walk import spelled
    from mmretrieval.library import Library

    with Library.open(library) as opened:
        wanted = [p if opened.ledger.file(p) else str(spelled(p)) for p in paths]
        unknown = [p for p, w in zip(paths, wanted, strict=True) if opened.ledger.file(w) is None]
        if unknown:
            raise RetrievalError(
                f"the library does not hold {', '.join(unknown)}: `python -m ingest status` lists failures"
            )
        removed = forget_paths(opened, wanted)
    print(f"removed {removed} items of {len(paths)} paths", file=sys.stderr if as_json else sys.stdout)
    if as_json:
        print(json.dumps({"removed": removed, "paths": len(paths)}))


@app.command()
def index(
    library: LibraryOption,
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="Index the items as this recipe transforms them instead; give it again for more."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build every encoder's index anew with a search graph; a page that is open changes over by itself.

    With --recipe: an index of transformed items, for libraries where scanning them is too slow. It serves until the
    library changes; then searches scan again until it is built anew. A page takes it up when it starts.
    """
    from ingest.notes import notes
    from mmretrieval.library import Library

    with Library.open(library) as opened, notes(lambda line: print(line, file=sys.stderr)):
        if recipe:
            built = _transformed(opened, recipe)
        else:
            built = {encoder: opened.build_graph(encoder) for encoder in opened.cards()[0]}
    for name, points in built.items():
        print(f"{name}: {points} points", file=sys.stderr if as_json else sys.stdout)
    if as_json:
        print(json.dumps({"points": built}))


def _transformed(library: Library, recipes: list[str]) -> dict[str, int]:
    """Indexes of all spaces of recipes, each as its recipe transforms it; a wrong recipe is refused before any work."""
    from mmretrieval import catalog
    from mmretrieval.recipe import parse
    from mmretrieval.recipe_indexes import refuse_to_materialise
    from mmretrieval.spaces import Spaces

    wanted = [(source.encoder, parsed) for parsed in map(parse, recipes) for source in parsed.sources]
    for encoder, parsed in wanted:
        library.card(encoder)
        refuse_to_materialise(catalog.card(encoder), parsed)
    spaces = Spaces(library, exact=False)
    return {f"{encoder} under {parsed}": spaces.materialise(encoder, parsed) for encoder, parsed in wanted}


def _report(counts: Counts, as_json: bool) -> None:
    people = sys.stderr if as_json else sys.stdout
    did = f"{counts.stored} stored, {counts.unchanged} unchanged, {counts.replaced} replaced, {counts.removed} removed"
    print(f"{did}, {counts.failed} failed in {counts.seconds:.1f} s", file=people)
    if counts.ignored:
        print(f"{counts.ignored} files are no pictures, videos, documents or texts and were passed over", file=people)
    for path, reason in counts.failures:
        print(f"failed: {path}: {reason}", file=people)
    if not counts.indexed:
        print("a page has this library open: it takes the new items into its index by itself", file=people)
    if as_json:
        print(json.dumps(_as_json(counts)))
    if counts.failed:
        raise typer.Exit(1)


def _as_json(counts: Counts) -> dict[str, Any]:
    kept = ("stored", "unchanged", "replaced", "failed", "removed", "ignored", "seconds", "indexed")
    failures = [{"path": path, "reason": reason} for path, reason in counts.failures]
    return {name: getattr(counts, name) for name in kept} | {"failures": failures}


if __name__ == "__main__":
    main()
