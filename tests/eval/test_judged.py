"""Judgements of a library exported as a dataset that `check` passes and `run` scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from eval.__main__ import app
from eval.judged import export
from eval.reading import load
from ingest.pipeline import forget, ingest
from ingest.walk import walk
from mmretrieval.engine import Engine
from mmretrieval.errors import DatasetError, LibraryError
from mmretrieval.library import Library
from mmretrieval.library.judgements import JudgedPart, JudgedQuery, Judgements
from mmretrieval.types import Content, Item, Part, Query

ASSETS = Path(__file__).parent.parent / "assets"
WORDS = JudgedQuery((JudgedPart("words", "a red car"),))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Three pictures with captions, one of them twice, a document of two pages, a clip and a passage."""
    media = tmp_path / "media"
    (media / "more").mkdir(parents=True)
    lines = []
    for name, colour in (("red car", (200, 20, 20)), ("green tree", (20, 160, 30)), ("blue boat", (20, 40, 190))):
        Image.new("RGB", (64, 48), colour).save(media / f"{name}.png")
        lines.append(json.dumps({"path": f"{name}.png", "caption": f"a {name}", "year": 1999}))
    (media / "captions.jsonl").write_text("\n".join(lines) + "\n")
    shutil.copy(media / "red car.png", media / "more" / "again.png")
    (media / "more" / "again.txt").write_text("the same car again")
    (media / "passage.txt").write_text("The keeper writes down every ship.\n")
    shutil.copy(ASSETS / "documents" / "two_pages.pdf", media)
    shutil.copy(ASSETS / "videos" / "vp9.webm", media)
    made = Library.create(tmp_path / "library", ("hashing",))
    assert not ingest(made, list(walk([media])), workers=1).failed
    return made


def named(library: Library, words: str, kind: str = "image") -> Item:
    return next(item for item in library.items() if item.kind == kind and words in item.text)


def size(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as shown:
        return shown.size


def front(*arguments: object) -> int:
    """The exit status of `python -m eval`."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done.exit_code


def evaluate(dataset: Path, out: Path) -> dict[str, float]:
    """The means of `eval run` with the encoder that needs no weights."""
    done = front("run", "--dataset", dataset, "--recipe", "hashing@text", "--out", out, "--workers", 1)
    assert done == 0
    (record,) = [json.loads(file.read_text()) for file in out.glob("*/run.json")]
    return dict(record["metrics"])


@pytest.mark.parametrize("copied", [False, True])
def test_an_export_is_checked_and_scored(library: Library, tmp_path: Path, copied: bool) -> None:
    known = Judgements(library.path)
    car, tree = named(library, "red car"), named(library, "green tree")
    known.judge(WORDS, car.id, 3)
    known.judge(WORDS, tree.id, 0)
    known.prefer(WORDS, "hashing@text,sum", "hashing@visual,sum", "left", "r")
    made = export(library, tmp_path / "out" / "judged", copied=copied)
    assert (made.queries, made.grades, made.preferences, made.left_out) == (1, 2, 1, ())
    assert made.entries == len({item.content_hash for item in library.items()})
    folder = made.folder
    if copied:
        shutil.rmtree(tmp_path / "media")
        folder = folder.rename(tmp_path / "moved")
    data = load(folder)
    entry = next(e for e in data.corpus if e.id in data.relevant(WORDS.id))
    assert entry.text == "the same car again\na red car" and entry.meta["year"] == 1999
    assert front("check", folder) == 0
    assert evaluate(folder, tmp_path / "runs")["mrr"] == 1.0
    (choice,) = [json.loads(line) for line in (folder / "preferences.jsonl").read_text().splitlines()]
    assert choice["query"] == WORDS.id and choice["choice"] == "left" and "Wilson" in (folder / "README.md").read_text()


def test_every_part_of_a_query_goes_along(library: Library, tmp_path: Path) -> None:
    known = Judgements(library.path)
    Image.new("RGB", (40, 40), (190, 30, 30)).save(tmp_path / "shown.png")
    shown = known.keep(tmp_path / "shown.png")
    car, passage = named(library, "red car"), named(library, "keeper", "text")
    clip = next(item for item in library.items() if item.kind == "video")
    pages = [item for item in library.items() if item.kind == "document"]
    query = JudgedQuery(
        (
            JudgedPart("words", "on the lake", 0.5),
            JudgedPart("picture", shown),
            JudgedPart("picture", shown, fragment="xywh=percent:0,0,50,50"),
            JudgedPart("item", car.id, -1.0, feedback=True),
            JudgedPart("item", clip.id),
            JudgedPart("item", passage.id),
        ),
        kinds=("image", "document"),
        conditions="year < 2020",
        within=tuple(item.id for item in library.items()),
    )
    boat = named(library, "blue boat")
    for item, grade in ((boat, 2), (car, 1), (pages[0], 1), (pages[-1], 3)):
        known.judge(query, item.id, grade)
    made = export(library, tmp_path / "judged")
    (asked,) = load(made.folder).queries
    shapes = [(part.text, part.image is not None, part.weight) for part in asked.parts]
    assert sorted(shapes, key=str) == sorted(
        [("on the lake", False, 0.5), (None, True, 1.0), (None, True, 1.0), (None, True, -1.0), (None, True, 1.0)]
        + [(passage.text.strip(), False, 1.0)],
        key=str,
    )
    sizes = {size(part.image) for part in asked.parts if part.image is not None}
    assert (40, 40) in sizes and (20, 20) in sizes
    assert asked.filter is not None and asked.subset is not None and len(asked.exclude) == 3
    assert any("of a file that the query itself shows" in line for line in made.left_out)  # the disliked car
    grades = load(made.folder).qrels[query.id]
    assert sorted(grades.values()) == [2, 3]  # a document has the best grade of its pages
    assert front("check", made.folder) == 0


def test_what_a_recipe_finds_in_the_export_is_what_it_finds_in_the_library(library: Library, tmp_path: Path) -> None:
    known = Judgements(library.path)
    query = Query((Part(Content(text="a boat on the lake")),))
    hits = Engine(library).rank([query], "hashing@text", 5).rankings[0].hits
    known.judge(JudgedQuery((JudgedPart("words", "a boat on the lake"),)), hits[0].id, 3)
    made = export(library, tmp_path / "judged")
    evaluate(made.folder, tmp_path / "runs")
    (lines,) = [file.read_text().splitlines() for file in (tmp_path / "runs").glob("*/run.trec")]
    items = {item.id: item for item in library.items()}
    files = list(dict.fromkeys(items[hit.id].content_hash[:12] for hit in hits))
    assert [line.split()[2].rsplit("-", 1)[1] for line in lines][: len(files)] == files


def test_what_is_gone_is_said(library: Library, tmp_path: Path) -> None:
    known = Judgements(library.path)
    tree, car = named(library, "green tree"), named(library, "red car")
    known.judge(WORDS, tree.id, 2)
    known.judge(WORDS, car.id, 2)
    lost = JudgedQuery((JudgedPart("item", tree.id),))
    known.judge(lost, car.id, 2)
    forget(library, tree.paths)
    made = export(library, tmp_path / "judged")
    assert made.queries == 1 and made.grades == 1
    assert any("1 judged items are no longer in the library" in line for line in made.left_out)
    assert any(line.startswith(f"query {lost.id}") and "no item" in line for line in made.left_out)
    assert lost.id in (made.folder / "README.md").read_text()


def test_refusals_leave_nothing_behind(library: Library, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="nothing has been judged"):
        export(library, tmp_path / "judged")
    Judgements(library.path).judge(WORDS, named(library, "red car").id, 1)
    (tmp_path / "there").mkdir()
    with pytest.raises(DatasetError, match="there already"):
        export(library, tmp_path / "there")
    Judgements(library.path).judge(WORDS, named(library, "red car").id, None)
    Judgements(library.path).judge(JudgedQuery((JudgedPart("item", "gone"),)), named(library, "red car").id, 1)
    with pytest.raises(LibraryError, match="none of the judged queries"):
        export(library, tmp_path / "judged")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["library", "media", "there"]
