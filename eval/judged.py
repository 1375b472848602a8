"""The judgements of a library as an evaluation dataset: a folder that `python -m eval run` takes as it is.

A corpus entry is a file: an evaluation ranks files, each where the best-placed of its clips, pages or passages stands.
So the grade of a file is the best that one of its items was given. What the format cannot say is said in the README
that is written into the folder, and in `Exported.left_out`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.dataset import RELEVANT
from eval.runs import slug
from mmretrieval import fragments
from mmretrieval.conditions import restriction
from mmretrieval.errors import DatasetError, LibraryError, MediaError, RetrievalError
from mmretrieval.filters import filter_to_json
from mmretrieval.fragments import Place
from mmretrieval.library import contents
from mmretrieval.library.judgements import GRADES, JudgedPart, JudgedQuery, Judgements, Preference, read_query
from mmretrieval.library.ledger import FileRow, meta_of
from mmretrieval.media import subtitles
from mmretrieval.types import Content, Settings

if TYPE_CHECKING:
    from mmretrieval.library import Library
    from mmretrieval.types import Item

# What reads a place in a file of a known kind, maybe in another process: `fragments.of_file`.
Reader = Callable[[Path, str, Place, Settings], Content]
METRIC = "ndcg@10"


@dataclass(frozen=True)
class Exported:
    """Where the dataset is and what it holds; `left_out` says in words what could not be taken along."""

    folder: Path
    entries: int
    queries: int
    grades: int
    preferences: int
    left_out: tuple[str, ...] = ()


@dataclass
class _Draft:
    """The dataset as it is put together in a folder `at` that will be renamed to `target`."""

    library: Library
    at: Path
    target: Path
    copied: bool
    reader: Reader
    judgements: Judgements
    entry_of: dict[str, str] = field(default_factory=dict)  # item -> corpus id
    left_out: list[str] = field(default_factory=list)


def export(
    library: Library, folder: Path, *, copied: bool = False, reader: Reader = fragments.of_file, said: str = ""
) -> Exported:
    """Writes the library's judgements into a new `folder` as a dataset; it appears whole or not at all.

    Files are named where they lie, by paths relative to the folder, or `copied` into it so that it can be moved. Raises
    LibraryError where nothing was judged, DatasetError where there is such a folder already.
    """
    judgements = Judgements(library.path)
    grades, preferences = judgements.grades(), judgements.preferences()
    if not grades and not preferences:
        raise LibraryError("nothing has been judged yet: give results grades, or choose between lists, then export")
    folder = folder.expanduser().absolute()
    if folder.exists():
        raise DatasetError(f"{folder} is there already: name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    at = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        draft = _Draft(library, at, folder, copied, reader, judgements)
        made = _written(draft, grades, preferences, said)
        at.chmod(0o755)
        at.rename(folder)
    except BaseException:
        shutil.rmtree(at, ignore_errors=True)
        raise
    return made


def _written(
    draft: _Draft, grades: Mapping[str, Mapping[str, int]], preferences: Sequence[Preference], said: str
) -> Exported:
    corpus = list(_corpus(draft))
    queries, known = [], dict[str, dict[str, Any]]()
    for text in dict.fromkeys([*grades, *(p.query for p in preferences)]):
        query = read_query(text)
        try:
            known[text] = _query(draft, query)
        except RetrievalError as error:
            draft.left_out.append(f"query {query.id}: {error}")
        else:
            queries.append(known[text])
    qrels = [row for text, given in grades.items() if text in known for row in _qrels(draft, known[text], given)]
    chosen = [_preference(p, known[p.query]["id"]) for p in preferences if p.query in known]
    if not queries:
        raise LibraryError(f"none of the judged queries can be exported: {'; '.join(draft.left_out[:3])}")
    for name, records in (("corpus", corpus), ("queries", queries), ("preferences", chosen)):
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (draft.at / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    rows = ["query-id\tcorpus-id\tscore", *(f"{q}\t{c}\t{g}" for q, c, g in qrels)]
    (draft.at / "qrels.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    if not any(grade >= RELEVANT for *_, grade in qrels):
        draft.left_out.append("no result is judged relevant yet, so there is nothing that `eval run` could score")
    made = Exported(draft.target, len(corpus), len(queries), len(qrels), len(chosen), tuple(draft.left_out))
    (draft.at / "dataset.toml").write_text(_head(draft.library), encoding="utf-8")
    (draft.at / "README.md").write_text(_readme(made, said), encoding="utf-8")
    return made


# --- what is searched ------------------------------------------------------------------------------------------------


def _corpus(draft: _Draft) -> Iterator[dict[str, Any]]:
    """One entry for each content of the library that has items: its file, captions and metadata as they were given."""
    items: dict[str, list[Item]] = {}
    for item in draft.library.items():
        items.setdefault(item.content_hash, []).append(item)
    for sha256, held in items.items():
        rows = [row for row in draft.library.ledger.paths_of(sha256) if not row.reason]
        try:
            entry = _entry(draft, sha256, held, rows)
        except MediaError as error:
            draft.left_out.append(f"{held[0].paths[0] if held[0].paths else held[0].id}: {error}")
            continue
        draft.entry_of |= {item.id: entry["id"] for item in held}
        yield entry


def _entry(draft: _Draft, sha256: str, items: Sequence[Item], rows: Sequence[FileRow]) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    for row in reversed(rows):
        meta |= meta_of(row)
    first = items[0]
    name = Path(rows[0].path).stem if rows else first.kind
    entry: dict[str, Any] = {"id": f"{slug(name, 40)}-{sha256[:12]}"}
    if rows and rows[0].inline:
        entry["text"] = "\n\n".join(item.text for item in items)
    else:
        entry["path"] = _placed(draft, contents.original(draft.library.ledger, first), entry["id"])
        if captions := "\n".join(dict.fromkeys(row.caption for row in rows if row.caption)):
            entry["text"] = captions
    return entry | {"kind": first.kind} | ({"meta": meta} if meta else {})


def _placed(draft: _Draft, file: Path, name: str) -> str:
    """The path of a file relative to the dataset, after copying it where that is wanted."""
    if not draft.copied:
        return os.path.relpath(file, draft.target)
    # A folder for each, so that subtitles can lie beside a video under its own name, as the ingest looks for them.
    there = Path("media") / name / file.name
    (draft.at / there).parent.mkdir(parents=True)
    shutil.copyfile(file, draft.at / there)
    if (spoken := subtitles.beside(file)) is not None:
        shutil.copyfile(spoken, draft.at / there.parent / spoken.name)
    return there.as_posix()


# --- what is asked ---------------------------------------------------------------------------------------------------


def _query(draft: _Draft, query: JudgedQuery) -> dict[str, Any]:
    """The query as a record of queries.jsonl; raises RetrievalError where the format or the library cannot have it."""
    found: dict[str, Any] = {"id": query.id, "parts": []}
    own = set[str]()
    for number, part in enumerate(query.parts):
        shown, excluded = _part(draft, part, f"{query.id}-{number}")
        found["parts"].append(shown | {"weight": part.weight})
        own |= excluded
    barred = sorted({draft.entry_of[item] for item in own if item in draft.entry_of})
    if barred:
        found["exclude"] = barred
    if query.within:
        subset = sorted({draft.entry_of[item] for item in query.within if item in draft.entry_of} - set(barred))
        if not subset:
            raise LibraryError("the items that it was asked among are no longer in the library")
        found["subset"] = subset
    if wanted := restriction(query.kinds, query.conditions):
        found["filter"] = filter_to_json(wanted)
    return found


def _part(draft: _Draft, part: JudgedPart, name: str) -> tuple[dict[str, Any], frozenset[str]]:
    """A part as the format has it, and the items that it is itself."""
    if part.kind == "words":
        return {"text": part.value}, frozenset()
    library = draft.library
    if part.kind == "picture":
        kept = draft.judgements.picture(part.value)
        own = library.own_items(part.value)
        if not part.fragment:
            return {"image": _asset(draft, kept, name)}, own
        place = fragments.parse(f"picture#{part.fragment}")
        return {"image": _drawn(draft, draft.reader(kept, "image", place, library.settings), name)}, own
    item = library.item(part.value)
    own = frozenset({item.id})
    if not item.visual:
        return {"text": item.text.strip()}, own
    if item.kind == "image" and not part.fragment:
        return {"image": _asset(draft, contents.original(library.ledger, item), name)}, own
    place = fragments.parse(f"{fragments.ITEM}{item.id}{f'#{part.fragment}' if part.fragment else ''}")
    path, kind, where = fragments.located(place, item, library)
    return {"image": _drawn(draft, draft.reader(path, kind, where, library.settings), name)}, own


def _asset(draft: _Draft, file: Path, name: str) -> str:
    path = Path("assets") / f"{name}{file.suffix}"
    (draft.at / path).parent.mkdir(exist_ok=True)
    shutil.copyfile(file, draft.at / path)
    return path.as_posix()


def _drawn(draft: _Draft, content: Content, name: str) -> str:
    """A picture of what was read: the picture itself, or the frame in the middle."""
    shown = content.image if content.image is not None else content.frames[len(content.frames) // 2]
    path = Path("assets") / f"{name}.png"
    (draft.at / path).parent.mkdir(exist_ok=True)
    shown.convert("RGB").save(draft.at / path)
    return path.as_posix()


# --- what was thought of it ------------------------------------------------------------------------------------------


def _qrels(draft: _Draft, query: Mapping[str, Any], given: Mapping[str, int]) -> Iterator[tuple[str, str, int]]:
    best: dict[str, int] = {}
    gone = barred = 0
    for item, grade in given.items():
        entry = draft.entry_of.get(item)
        allowed = entry not in query.get("exclude", ()) and ("subset" not in query or entry in query["subset"])
        if entry is None:
            gone += 1
        elif not allowed:
            barred += 1
        else:
            best[entry] = max(grade, best.get(entry, 0))
    if gone:
        draft.left_out.append(f"query {query['id']}: {gone} judged items are no longer in the library")
    if barred:
        draft.left_out.append(f"query {query['id']}: {barred} judged items are of a file that the query itself shows")
    yield from ((query["id"], entry, grade) for entry, grade in sorted(best.items()))


def _preference(made: Preference, query: str) -> dict[str, Any]:
    held = {"left": made.left, "right": made.right, "choice": made.choice, "run": made.run, "at": made.at}
    return {"query": query} | held


def _head(library: Library) -> str:
    told = {
        "name": f"judged-{slug(library.path.name, 40)}",
        "licence": "Not stated: the judgements and the files belong to those who made them.",
        "source": "Judged by the visitors of a library's page, on results that recipes had found.",
        "task": "Find what the query asks for, as those who judged its results saw it.",
        "main_metric": METRIC,
    }
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in told.items())


def _readme(made: Exported, said: str) -> str:
    grades = "\n".join(f"- {number}: {words}" for number, words in enumerate(GRADES))
    left = "\n".join(f"- {line}" for line in made.left_out) or "Nothing."
    return README.format(made=made, grades=grades, left=left, said=f"\n{said}\n" if said else "")


README = """# Judgements of a library

{made.entries} files, {made.queries} queries, {made.grades} grades, {made.preferences} choices between two lists.
To score a recipe on them:

    python -m eval check .
    python -m eval run --dataset . --recipe lite@visual

Grades are the last that was said of a result:

{grades}

Only what some recipe had found was judged. An item without a grade counts as not relevant, so a recipe that finds
other things than those that were judged looks worse than it is: judge its results too before comparing it.

An entry is a file. Where clips of one film, or pages of one document, were judged, its grade is their best. A query's
library item is the picture of it (of a clip, its middle frame), or the words of a passage; liked and disliked items are
parts like any other here. A file that is shown by a query is left out of its answers.

## preferences.jsonl

Each line is one choice between the lists of two recipes, whose names were hidden and whose sides were drawn at random:
`query`, the recipes `left` and `right` as they stood, `choice` (left, right or tie), `run` (one sitting), `at` (time).

The win rate of recipe A over recipe B: take the lines with these two recipes, of each query the last one; leave out
ties; it is the share of the rest, n, in which A stood on the chosen side. Its 95 % interval is Wilson's (1927): with
p the share and z = 1.96, (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
{said}
## Not taken along

{left}
"""
