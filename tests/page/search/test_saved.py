"""What is saved of results: every part has its own column, sums are called what they are, and a cut-off is told."""

from __future__ import annotations

import csv
import html
import io
import math
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from mmretrieval.types import Contribution, Hit
from page.query.asking import Asked, AskedPart
from page.search import saved
from page.search import tab as search
from page.state import Page
from tests.page.conftest import by_caption

BROUGHT = "score that the part brought: "
LONG = "a very long sentence about a red car that never ends"
DOT = "the dot product with the item's vector, not the score"


def numbers(drawn: str) -> list[dict[str, str]]:
    """The rows of the first CSV file in some HTML."""
    found = re.search(r'href="data:text/csv;charset=utf-8,([^"]*)"', drawn)
    assert found
    lines = list(csv.reader(io.StringIO(unquote(html.unescape(found[1])))))
    assert len(set(lines[0])) == len(lines[0]), "two columns of one name"
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def brought(row: dict[str, str]) -> dict[str, float]:
    return {name.removeprefix(BROUGHT): float(row[name]) for name in row if name.startswith(BROUGHT) and row[name]}


def heading(drawn: str) -> str:
    found = re.search(r'data-title="([^"]*)"', drawn)
    assert found
    return html.unescape(found[1])


def marks(drawn: str) -> list[float]:
    return [float(value) for value in re.findall(r'class="mark" data-value="([^"]*)"', drawn)]


def alike(page: Page, made: Path, what: str) -> tuple[AskedPart, ...]:
    """Two parts that have the same name."""
    if what == "texts":
        return AskedPart("words", f"{LONG} green"), AskedPart("words", f"{LONG} lake", 0.5)
    if what == "pictures":
        return tuple(AskedPart("picture", str(made.parent / "media" / f"{n}.png")) for n in ("red-car", "blue-boat"))
    first, second = by_caption(page, "red car").id, by_caption(page, "blue boat").id
    liked = what == "liked"
    return AskedPart("item", first, feedback=liked), AskedPart("item", second, 0.5, feedback=liked)


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("items", ("item 1", "item 2")),
        ("liked", ("liked 1", "liked 2")),
        ("pictures", ("picture 1", "picture 2")),
        ("texts", (f"“{LONG[:39]}…” 1", f"“{LONG[:39]}…” 2")),
    ],
)
@pytest.mark.parametrize("third", [False, True])
def test_parts_of_the_same_name_keep_their_own_columns(
    page: Page, made: Path, what: str, names: tuple[str, str], third: bool
) -> None:
    parts = alike(page, made, what)
    asked = Asked((*parts, AskedPart("words", "frog")) if third else parts)
    found = search.search(page, asked, "hashing@visual", 5)
    assert not found.problem
    rows = numbers(found.line)
    named = [f"{name} (hashing@visual)" for name in (*names, *(("“frog”",) if third else ()))]
    assert rows and all(list(brought(row)) == named for row in rows)
    for row in rows:
        assert math.fsum(brought(row).values()) == pytest.approx(float(row["score"]), abs=1e-5)
        assert row["the parts add up to"] == "the score"
    assert marks(found.line) == [value for row in rows for value in brought(row).values()]
    assert ">score that the part brought</text>" in found.line and named[1] in html.unescape(found.line)
    assert heading(found.line).endswith("; the parts add up to the score")
    # So they do in the file of one of them.
    (hit,) = [one for one in found.hits.values() if one.rank == 1]
    told = numbers(saved.contributions(page, page.library.item(hit.id), hit))
    assert [row["part of the query"] for row in told] == [name.removesuffix(" (hashing@visual)") for name in named]


@pytest.mark.parametrize(
    ("recipe", "sums"),
    [
        ("hashing@text", "the score"),
        ("hashing@text,rocchio", "the score"),
        ("bm25@text", "the score"),
        ("hashing@all", DOT),
        ("hashing@all,rocchio", DOT),
        ("bm25@all", "the BM25 score, not the score"),
        ("hashing@text,csls:2", DOT),
        ("hashing@text+bm25,rrf", f"hashing@text: {DOT}; bm25@text: the BM25 score, not the score"),
        ("hashing@text,best", "nothing: each is the score of a part by itself"),
    ],
)
def test_what_parts_add_up_to_is_said(page: Page, recipe: str, sums: str) -> None:
    found = search.search(page, Asked.of("red car", avoid="green"), recipe, 8)
    assert not found.problem
    rows = numbers(found.line)
    assert heading(found.line).endswith(f"; the parts add up to {sums}")
    for row in rows:
        hit, values = found.hits[row["item"]], brought(row)
        assert row["the parts add up to"] in {sums, *sums.replace("hashing@text: ", "").split("; ")}
        if sums == "the score":
            assert math.fsum(values.values()) == pytest.approx(hit.score, abs=1e-4)
        elif sums == DOT:
            (one,) = hit.contributions
            assert math.fsum(one.values) != pytest.approx(hit.score, abs=1e-4)
            if "@all" in recipe:  # a corrected list's mark has what the correction made of the product
                (product,) = [mark.score for mark in hit.trail if mark.stage == one.source]
                assert math.fsum(one.values) == pytest.approx(product, abs=1e-4)
        drawn = saved.contributions(page, page.library.item(hit.id), hit)
        assert all(told["the parts add up to"] in sums for told in numbers(drawn))
        assert f"; the parts add up to {row['the parts add up to']}" in heading(drawn)


def test_the_same_list_twice_is_told_twice(page: Page) -> None:
    found = search.search(page, Asked.of("red car", avoid="green"), "hashing+hashing@visual", 8)
    twice = [row for row in numbers(found.line) if len(brought(row)) == 4]
    assert any("“red car” 2 (hashing@visual)" in brought(row) for row in twice)


def test_an_equal_number_by_accident_is_not_taken_for_the_score(page: Page) -> None:
    lists = (Contribution("hashing@visual", ("“a”",), (0.016,)), Contribution("bm25@text", ("“a”",), (3.0,)))
    hit = Hit("x", 1, 0.016, contributions=lists)
    assert [saved.adds_up_to(hit, one) for one in lists] == [DOT, "the BM25 score, not the score"]


def test_a_cut_off_has_columns_where_there_is_one(page: Page) -> None:
    found = search.search(page, Asked.of("lighthouse"), "hashing@visual+bm25,cutoff:0.3", 20)
    rows = numbers(found.line)
    said = {row["item"]: (row["chance"], row["below the cut-off"]) for row in rows}
    assert set(said) == set(found.hits) and {told for _, told in said.values()} == {"yes", "no", "not judged"}
    for ident, (chance, told) in said.items():
        hit = found.hits[ident]
        assert chance == ("" if hit.chance is None else str(hit.chance))
        assert told == ("not judged" if hit.chance is None else "yes" if hit.weak else "no")
    assert '<th scope="col" >below the cut-off</th>' in found.line
    plain = numbers(search.search(page, Asked.of("lighthouse"), "hashing@visual+bm25", 20).line)
    assert not {"chance", "below the cut-off"} & set(plain[0])
