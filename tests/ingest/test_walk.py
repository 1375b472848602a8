"""Which files are sources, and whose words are whose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drawings import drawing

from ingest.walk import Source, walk
from mmretrieval.errors import RetrievalError


def found(*paths: Path) -> dict[str, Source]:
    return {Path(s.path).name: s for s in walk(paths)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    for name in ("a.png", "b.png", "sub/c.png", "sub/d.png"):
        drawing(1).save(root / name)
    return root


def test_what_is_not_a_source(folder: Path) -> None:
    for name in (
        "ATTRIBUTION.md",
        "captions.jsonl",
        "qrels.tsv",
        "dataset.toml",
        ".hidden.png",
        "a.txt",
        "b.json",
        "v.srt",
    ):
        (folder / name).write_text("{}" if name.endswith("json") else "")
    (folder / "poem.txt").write_text("a passage")
    for hidden in (".git", "assets"):  # assets: dataset.toml is beside it
        (folder / hidden).mkdir()
        drawing(3).save(folder / hidden / "query.png")
    drawing(2).save(folder / ".git" / "x.png")
    assert set(found(folder)) == {"a.png", "b.png", "c.png", "d.png", "poem.txt"}


def test_order_is_sorted_and_each_path_comes_once(folder: Path) -> None:
    paths = [s.path for s in walk([folder, folder / "a.png", folder / "sub"])]
    assert len(paths) == len(set(paths)) == 4
    assert paths == sorted(paths)


def test_the_nearest_caption_wins(folder: Path) -> None:
    lines = [
        {"path": "a.png", "caption": "far a", "lang": "en", "year": 1900},
        {"path": "sub/c.png", "caption": "far c"},
    ]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "sub" / "captions.jsonl").write_text(json.dumps({"path": "c.png", "caption": "near c"}))
    (folder / "sub" / "d.json").write_text(json.dumps({"caption": "own d", "tags": ["x", "y"]}))
    (folder / "b.txt").write_text(" own b \n")
    sources = found(folder)
    assert (sources["a.png"].caption, sources["a.png"].lang, sources["a.png"].meta) == ("far a", "en", {"year": 1900})
    assert (sources["b.png"].caption, sources["c.png"].caption) == ("own b", "near c")
    assert (sources["d.png"].caption, sources["d.png"].meta) == ("own d", {"tags": ["x", "y"]})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"caption": ', "is not JSON"),
        ("[1]", "an object"),
        ('{"caption": 3}', "both are strings"),
        ('{"caption": "x", "n": NaN}', "the number nan"),
        ('{"caption": "x", "n": [36893488147419103232]}', "beyond 64 bits"),
        (r'{"caption": "a\u0000b"}', "no text"),
        (r'{"caption": "a", "k": {"\ud800": 1}}', "no text"),
    ],
)
def test_a_caption_that_cannot_be_read_is_a_problem_of_that_file(folder: Path, text: str, says: str) -> None:
    (folder / "a.json").write_text(text)
    sources = found(folder)
    assert says in sources["a.png"].problem
    assert not sources["b.png"].problem


def test_subtitles_belong_to_their_video(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"x")
    before = found(tmp_path)["v.mp4"].beside
    (tmp_path / "v.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    assert found(tmp_path)["v.mp4"].beside != before


def test_a_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="nowhere does not exist"):
        list(walk([tmp_path / "nowhere"]))
