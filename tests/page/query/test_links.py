"""A search as an address, a command and a notebook's lines: each brings the same search back."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmretrieval.engine import DEPTH
from mmretrieval.errors import BadQuery, RetrievalError
from page.query import links
from page.query.asking import KIND_NAMES, Asked, AskedPart
from page.query.links import Link
from page.search import results
from page.state import Page
from tests.page.conftest import HOSTILE, by_caption

ROOT = Path(__file__).resolve().parents[3]
# Anything that a text box can give: no halves of pairs, no NUL, not only blanks.
WORDS = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).map(str.strip).filter(bool)
)
WEIGHTS = st.floats(-2, 2, allow_nan=False)
ITEMS = st.uuids().map(str)
PERCENT = st.integers(1, 1000).map(lambda n: f"{n / 10:g}")
REGIONS = st.tuples(PERCENT, PERCENT, PERCENT, PERCENT).map(lambda n: f"xywh=percent:{','.join(n)}")
PLACES = st.one_of(st.just(""), REGIONS, st.just("t=12.5,15"), st.just("page=3"))
PARTS = st.one_of(
    st.builds(AskedPart, st.just("words"), WORDS, WEIGHTS),
    st.builds(AskedPart, st.just("item"), ITEMS, WEIGHTS, PLACES),
    st.builds(AskedPart, st.just("item"), ITEMS, WEIGHTS.filter(bool), st.just(""), st.just(True)),
)
ASKED = st.builds(
    Asked,
    st.lists(PARTS, max_size=6).map(tuple),
    st.lists(st.sampled_from(sorted(KIND_NAMES)), unique=True).map(tuple),
    st.one_of(st.just(""), WORDS),
    st.lists(ITEMS, max_size=5).map(tuple),
)
LINKS = st.builds(
    Link,
    ASKED,
    st.sampled_from(["", "lite@all", "lite@visual^2+bm25,rrf:60"]),
    st.integers(1, DEPTH),
    st.booleans(),
    st.booleans(),
)


@settings(deadline=None)
@given(LINKS)
def test_an_address_brings_the_very_search_back(link: Link) -> None:
    address = links.address(link)
    assert address.isascii() and not set(address) & set(" \"'<>#\n")
    assert links.parse(f"?{address}") == link
    assert links.address(links.parse(address)) == address


@settings(deadline=None)
@given(st.text())
def test_any_address_is_read_or_refused_in_words(text: str) -> None:
    try:
        link = links.parse(text)
    except RetrievalError as error:
        assert str(error)
    else:
        assert links.parse(links.address(link)) == link


def test_what_an_address_cannot_hold_is_counted() -> None:
    many = tuple(f"{n:08}-0000-0000-0000-000000000000" for n in range(links.MOST_AMONG + 1))
    asked = Asked((AskedPart("picture", "/tmp/secret/cat.png"), AskedPart("words", "red")), within=many)
    address = links.address(Link(asked))
    assert "secret" not in address and "cat" not in address
    assert links.parse(address) == Link(Asked.of("red"), lost=1, beyond=len(many))


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("item=../../etc/passwd", "no item's id"),
        ("item=8f14e45f-ceea-467f-a9d5-0c1d5a3b9c11%23xywh=1,2", "is no region"),
        ("text=9*red", "the weight"),
        ("text=", "says nothing"),
        ("k=0", "k of the address"),
        ("k=many", "whole number"),
        ("kind=hologram", "kind"),
        ("text=a&" * 65, "65 parts"),
        ("text=%00", "NUL"),
        ("where=" + "x" * 40_000, "characters"),
        ("dislike=-1*8f14e45f-ceea-467f-a9d5-0c1d5a3b9c11", "below 0"),
    ],
)
def test_a_broken_address_says_what_is_wrong(address: str, says: str) -> None:
    with pytest.raises(BadQuery, match=says):
        links.parse(address)


def test_what_is_not_of_a_search_is_left_alone() -> None:
    assert links.parse("?__theme=dark&text=red") == Link(Asked.of("red"))


# --- the same search elsewhere ---------------------------------------------------------------------------------------


def _all(page: Page) -> list[tuple[Asked, str, int]]:
    apple, frog, boat = (by_caption(page, words).id for words in ("red apple", "green frog", "blue boat"))
    region = AskedPart("item", frog, 0.7, "xywh=percent:10,10,60,60")
    liked, disliked = AskedPart("item", apple, 1.0, feedback=True), AskedPart("item", boat, -0.5, feedback=True)
    return [
        (Asked.of("red car", avoid="table"), "hashing@text,sum,cutoff:0.02", 6),
        (Asked((AskedPart("words", "-0.5*green 'pond' \"a\" $HOME"), AskedPart("words", "--where"))), "hashing@all", 5),
        (Asked((region, AskedPart("words", "red", 0.0), AskedPart("item", apple, -0.5))), "hashing@visual", 7),
        (Asked((AskedPart("words", "boat"), liked, disliked)), "hashing@text,rocchio", 5),
        (Asked.of("red", kinds=("image", "text"), conditions='year >= 2000, note != "a, b"'), "hashing@text", 9),
        (Asked.of("lighthouse", kinds=("text",)), "", 3),
    ]


def _ids(page: Page, asked: Asked, recipe: str, k: int) -> list[str]:
    found = results.search(page, asked, recipe or page.library.default_recipe, k)
    assert not found.problem, found.problem
    return list(found.hits)


@pytest.mark.parametrize("number", range(6))
def test_the_command_finds_the_same(page: Page, number: int) -> None:
    """One shell reads the line as a person's would."""
    asked, recipe, k = _all(page)[number]
    line = links.command(Link(asked, recipe, k), str(page.library.path)).replace("python", sys.executable, 1)
    ran = subprocess.run(f"{line} --json", shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = [hit["id"] for hit in json.loads(ran.stdout.splitlines()[-1])["hits"]]
    assert found == _ids(page, asked, recipe, k)


@pytest.mark.parametrize("few", [True, False])
def test_the_command_searches_among_the_same_items(
    page: Page, few: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some items by their ids; more than a line can hold from the file that the page offers beside it."""
    if not few:
        monkeypatch.setattr(links, "MOST_AMONG", 3)
    some = tuple(item.id for item in page.library.items() if item.kind == "image")[1:6]
    asked = Asked((AskedPart("words", "red"),), within=some)
    wanted = _ids(page, asked, "hashing@text", 9)
    assert set(wanted) == set(some) != {item.id for item in page.library.items()}
    shown = results.search(page, asked, "hashing@text", 9).line
    line = html.unescape(re.findall(r'<pre data-copied="command"[^>]*>(.*?)</pre>', shown)[0])
    assert line.count("--within=") == (5 if few else 1)
    saved = re.findall(r'<a download="([^"]+)" href="data:text/plain;charset=utf-8,([^"]*)"', shown)
    assert len(saved) == (0 if few else 1)
    for name, text in saved:
        (tmp_path / name).write_text(unquote(text))
    line, here = f"{line.replace('python', sys.executable, 1)} --json", os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(line, shell=True, cwd=tmp_path, env=here, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert [hit["id"] for hit in json.loads(ran.stdout.splitlines()[-1])["hits"]] == wanted


@pytest.mark.parametrize("number", range(7))
def test_the_notebook_finds_the_same(page: Page, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    cases = _all(page)
    some = tuple(item.id for item in page.library.items() if item.kind == "image")[:4]
    cases.append((Asked((AskedPart("words", "red"),), within=some), "hashing@text", 9))
    asked, recipe, k = cases[number]
    scope: dict[str, Any] = {}
    lines = links.notebook(Link(asked, recipe, k), str(page.library.path))
    assert lines.startswith("# Run it from the checkout's root: ")
    exec(lines, scope)
    scope["library"].close()
    assert [hit.id for hit in scope["hits"]] == _ids(page, asked, recipe, k)
    assert len(capsys.readouterr().out.splitlines()) == len(scope["hits"])


@pytest.mark.parametrize("way", ["-c", "-", "saved"])
def test_the_lines_of_python_run_as_they_say(page: Page, way: str, tmp_path: Path) -> None:
    lines = links.notebook(Link(Asked.of("red"), "hashing@text", 4), str(page.library.path))
    file = tmp_path / "search.py"
    file.write_text(lines, encoding="utf-8")
    given = {"-c": ["-c", lines], "-": ["-"], "saved": [str(file)]}[way]
    here = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    here |= {"PYTHONPATH": "."} if way == "saved" else {}
    ran = subprocess.run(
        [sys.executable, *given], input=lines, cwd=ROOT, env=here, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 4


@pytest.mark.parametrize("write", [links.command, links.notebook])
def test_an_upload_is_named_by_its_file_alone(write: Callable[[Link, str], str], page: Page) -> None:
    asked = Asked((AskedPart("picture", "/tmp/gradio/0f/cat.png", 1.0, "xywh=percent:0,0,50,50"),))
    assert "./cat.png#xywh=percent:0,0,50,50" in (said := write(Link(asked, "lite"), "L")) and "gradio" not in said


def test_strangers_are_not_told_where_the_library_lies(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "trusted", False)
    line = results.search(page, Asked.of(f"red {HOSTILE}"), "hashing@text", 3).line
    assert str(page.library.path) not in line and "--library LIBRARY" in line
