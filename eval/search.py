"""`python -m eval search`: what a recipe finds for one query, composed as freely as on the page."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eval.terminal import BAD_USAGE, AsJson, console, fail, last_line, say, told
from mmretrieval.errors import BadQuery

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mmretrieval.fragments import Place
    from mmretrieval.library import Library
    from mmretrieval.types import Content, Hit, Item, Part, Run

# `W*` before a part: its weight.
WEIGHT = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))\s*\*(.*)\Z", re.DOTALL)
CAPTION = 160  # characters of a caption in the table
WEIGHED = "W* before it is its weight, below 0 to go away from it; may be repeated."
Given = tuple[tuple[str, str, float], ...]  # option, what follows it, weight


def search(
    *,
    library: Annotated[Path, typer.Option(help="Folder of the library.", exists=True, file_okay=False)],
    recipe: Annotated[str, typer.Option(help="The recipe (default: the library's own).")] = "",
    text: Annotated[list[str] | None, typer.Option(help=f"Words. {WEIGHED}", metavar="[W*]WORDS")] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(
            help="A file, or a place in one: photo.jpg#xywh=percent:10,10,50,50, film.mp4#t=12.5,15, paper.pdf#page=3; "
            f"or a place in an item: item:UUID#xywh=... {WEIGHED}",
            metavar="[W*]PLACE",
        ),
    ] = None,
    item: Annotated[
        list[str] | None, typer.Option(help=f"An item, by the id that results show. {WEIGHED}", metavar="[W*]UUID")
    ] = None,
    like: Annotated[list[str] | None, typer.Option(help="An item that is right.", metavar="[W*]UUID")] = None,
    dislike: Annotated[list[str] | None, typer.Option(help="An item that is wrong.", metavar="[W*]UUID")] = None,
    where: Annotated[
        str,
        typer.Option(
            help="Conditions that an answer meets: kind = image, year >= 2000, taken < 2020-05, path = cats/*.jpg, "
            "duration > 5, has_text = true, tag = red, title ~ *fox*."
        ),
    ] = "",
    within: Annotated[
        list[str] | None,
        typer.Option(
            help="The only items to rank: an item's id, or a file of ids, one a line; may be repeated.",
            metavar="UUID|FILE",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many answers.", min=1)] = 10,
    as_json: AsJson = False,
) -> None:
    """Search a library: words, pictures, films, pages, regions and items, each with a weight.

    A weight is written before what it weighs, as in --text '-0.5*night' or --part '2*photo.jpg'; 1 where there is none
    (write 1* before a text that itself begins like that). Places are written as W3C media fragments. Items that the
    query is made of are left out of the answers.
    """
    from mmretrieval.conditions import restriction
    from mmretrieval.engine import Engine
    from mmretrieval.library import Library as Opened
    from mmretrieval.types import Query

    people, errors = console(as_json), console(True)
    options = {"text": text, "part": part, "item": item, "like": like, "dislike": dislike}
    with told(errors):
        given = tuple((name, *weighed(one)) for name, many in options.items() for one in many or ())
        if not given:
            raise fail(errors, "nothing to look for: give --text, --part, --item, --like or --dislike", BAD_USAGE)
        wanted, subset = restriction((), where), chosen(within or ())
        with Opened.open(library) as opened:
            parts, own = asked(given, opened)
            if gone := _gone(opened, subset):
                say(people, f"{len(gone):,} of the {len(subset or ()):,} items of --within are not in this library")
            query = Query(parts, "the query", filter=wanted, exclude=own, subset=subset)
            run = Engine(opened).rank([query], recipe or opened.default_recipe, k)
            hits = run.rankings[0].hits
            items = opened.items_by_id([hit.id for hit in hits])
        found = [(hit, items[hit.id]) for hit in hits if hit.id in items]
        _show(people, found, run, _way_out(where, subset))
        if as_json:
            said = [{"given": name, "part": rest, "weight": weight} for name, rest, weight in given]
            about: dict[str, Any] = {"library": str(library), "recipe": run.recipe, "query": said, "where": where}
            about |= {"within": None if subset is None else sorted(subset)}
            spent = {name: run.meta[name] for name in ("seconds", "stages")}
            last_line(about | {"hits": [_told(hit, one) for hit, one in found]} | spent)


def weighed(text: str) -> tuple[str, float]:
    """What an option says, and its weight: 1 where none is written before it. BadQuery where nothing is said."""
    match = WEIGHT.match(text)
    rest, weight = (match[2], float(match[1])) if match else (text, 1.0)
    if not rest.strip() or not math.isfinite(weight):
        raise BadQuery(f"{text!r} says nothing to look for: write it, or WEIGHT*IT")
    return rest.strip(), weight


def asked(given: Given, library: Library) -> tuple[tuple[Part, ...], frozenset[str]]:
    """The parts of a query, and the items that the answers leave out: those that its files and places are.

    Raises BadQuery, MediaError and UnknownName for what cannot be asked, before any encoder is loaded.
    """
    from mmretrieval import fragments
    from mmretrieval.types import Content, Part

    parts: list[Part] = []
    own: set[str] = set()
    for name, rest, weight in given:
        if name == "text":
            parts.append(Part(Content(text=rest), weight=weight))
        elif name == "part" and not ((place := fragments.parse(rest)).item and place.is_whole):
            parts.append(Part(_seen(fragments.read(place, library.settings, library)), weight=weight))
            own |= {place.item} if place.item else library.own_items(_sha256(place))
        else:
            ident = library.item(rest.removeprefix(fragments.ITEM)).id
            if name in ("like", "dislike") and weight <= 0:
                raise BadQuery(f"--{name} {rest}: its weight {weight:g} is not above 0: choose --like or --dislike")
            sign = -1.0 if name == "dislike" else 1.0
            parts.append(Part(item=ident, weight=sign * weight, feedback=name in ("like", "dislike")))
    return tuple(parts), frozenset(own)


def chosen(given: Sequence[str]) -> frozenset[str] | None:
    """The items that `--within` names, by ids and by files of ids, one a line; None where it was not given.

    Raises BadQuery for what is neither, and where a file holds something else, or nothing.
    """
    from mmretrieval import fragments

    found: set[str] = set()
    for one in given:
        ident = one.strip().removeprefix(fragments.ITEM)
        found |= {ident} if fragments.UUID.match(ident) else _listed(one)
    return frozenset(found) if given else None


def _listed(path: str) -> set[str]:
    """The ids in a file."""
    from mmretrieval import fragments

    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadQuery(f"--within {path}: no item's id, and no file that can be read ({why})") from error
    found = {number: line.strip().removeprefix(fragments.ITEM) for number, line in enumerate(lines, 1) if line.strip()}
    if wrong := next((number for number, ident in found.items() if not fragments.UUID.match(ident)), None):
        raise BadQuery(f"--within {path}: line {wrong}, {found[wrong][:60]!r}, is no item's id: write one a line")
    if not found:
        raise BadQuery(f"--within {path}: there is no id in it, and so nothing to rank: write one a line")
    return set(found.values())


def _gone(library: Library, subset: frozenset[str] | None) -> frozenset[str]:
    return frozenset() if subset is None else subset - library.items_by_id(list(subset)).keys()


def _way_out(where: str, subset: frozenset[str] | None) -> str:
    given = [name for name, value in (("--where", where), ("--within", subset)) if value]
    return f"loosen {' or '.join(given)}" if given else "there is nothing else in the library"


def _seen(content: Content) -> Content:
    """A page asks by its picture, as an item of the library does: most encoders read one thing at a time."""
    from mmretrieval.types import Content

    return Content(image=content.image) if content.image is not None else content


def _sha256(place: Place) -> str:
    with Path(place.path).expanduser().open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- what is shown --------------------------------------------------------------------------------------------------


def place_of(item: Item) -> str:
    """Where an item is, as `--part` takes it: its first path, with its time or page."""
    from mmretrieval.fragments import Place, Span

    if not item.paths:
        return f"item:{item.id}"
    path = item.paths[0] if not item.paths[0].startswith("item:") else f"./{item.paths[0]}"
    span = Span(item.t0, item.t1) if item.t0 is not None else None
    return str(Place(path, span=span, page=item.page))


def _show(people: Console, found: Sequence[tuple[Hit, Item]], run: Run, way_out: str) -> None:
    """What was found, or the way out where nothing was, and how long it took."""
    from mmretrieval.recipe import parse
    from mmretrieval.timing import in_words

    if found:
        people.print(_table(found, run.recipe))
    else:
        say(people, f"nothing was found: {way_out}")
    if weak := sum(hit.weak for hit, _ in found):
        say(people, f"{weak} of these {len(found)} (dim) are no better than chance, by the recipe's cut-off")
    unjudged = sum(hit.chance is None for hit, _ in found) if parse(run.recipe).cutoff else 0
    if unjudged:
        bright = "that they are not dim does not make them good"
        say(people, f"{unjudged} of these {len(found)} could not be judged by the recipe's cut-off: {bright}")
    for remark in run.meta.get("remarks", ()):
        say(people, remark)
    say(people, in_words(run.meta))


def _table(found: Sequence[tuple[Hit, Item]], recipe: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(recipe))
    for name in ("rank", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("place, and the item", min_width=len("item:") + 36)
    table.add_column("caption")
    for hit, item in found:
        words = " ".join(item.text.split())
        caption = words if len(words) <= CAPTION else f"{words[: CAPTION - 1]}…"
        places = dict.fromkeys([_near(place_of(item)), f"item:{item.id}"])
        cells = (str(hit.rank), f"{hit.score:.4f}", item.kind, "\n".join(places), caption)
        # As text: file names and captions are other people's.
        table.add_row(*(Text(cell, overflow="fold") for cell in cells), style="dim" if hit.weak else None)
    return table


def _near(place: str) -> str:
    """A place with its path as seen from here, where it lies below."""
    return place.removeprefix(f"{Path.cwd()}/")


def _told(hit: Hit, item: Item) -> dict[str, Any]:
    about = {name: getattr(item, name) for name in ("kind", "paths", "t0", "t1", "page", "text")}
    return asdict(hit) | about | {"place": place_of(item), "meta": dict(item.meta)}
