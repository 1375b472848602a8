"""Tables as files, and what is drawn of them: true to the numbers, harmless to a spreadsheet, whole as XML."""

from __future__ import annotations

import csv
import io
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.drawings import Bar, bars, columns, ranks, safe, share, shares
from eval.saving import Offer, toolbar
from eval.tables import Table, file_name, harmless, provenance

texts = st.text(max_size=40)
NASTY = "<script>alert(\"x\")</script> & R&D; \x00\x08\ud800 'q' ]]>"


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def marks(svg: str) -> list[str]:
    """What the marks of a drawing bear; raises where it is no XML."""
    return [one.attrib["data-value"] for one in ElementTree.fromstring(svg).iter() if one.get("class") == "mark"]


@given(st.lists(st.tuples(texts, st.floats(allow_nan=False), texts), min_size=1, max_size=5), texts)
def test_rows_keep_their_cells_and_numbers_their_digits(rows: list[tuple[str, float, str]], recipe: str) -> None:
    names, *found = read(Table(("a", "b (m)", "c"), tuple(rows)).csv({"recipe": recipe, "n": 3, "seed": None}))
    known = ["about recipe"] * bool(recipe) + ["about n"]
    assert names == ["a", "b (m)", "c", *known] and len(found) == len(rows)
    for row, (_, number, _) in zip(found, rows, strict=True):
        assert float(row[1]) == number and row[-1] == "3" and len(row) == len(names)


@given(texts)
def test_no_piece_of_a_text_is_a_formula(text: str) -> None:
    whole = harmless(text)
    for piece in re.split(r"[,;|\t\r\n]", whole):
        assert not piece.strip(' "\u00a0').startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))  # noqa: RUF001
    assert whole.replace("'", "") == re.sub("[\x00-\x1f\x7f-\x9f]", "", " ".join(text.split())).replace("'", "")


@pytest.mark.parametrize(
    ("text", "safely"),
    [
        ("=1+1", "'=1+1"),
        (" @SUM(A1)", "'@SUM(A1)"),
        ("a;=1", "a;'=1"),
        ('a, "-5', "a, \"'-5"),
        ("lite@visual,center", "lite@visual,center"),
        ("−“a”", "−“a”"),  # noqa: RUF001
        ("a - b = c", "a - b = c"),
        ("two\r\nlines\x07", "two lines"),
    ],
)
def test_what_is_defused_and_what_is_left_alone(text: str, safely: str) -> None:
    assert harmless(text) == safely


def test_numbers_stay_numbers_and_nothing_stays_empty() -> None:
    assert Table(("a", "b"), ((-0.5, None), (3, "x"))).csv() == "a,b\n-0.5,\n3,x\n"


def test_provenance_says_what_it_knows() -> None:
    basis = {"n": 5, "of": 9, "seed": 0, "versions": {"numpy": "9.9", "python": "3"}, "labels": {}}
    assert provenance(basis, recipe="r") == {
        "recipe": "r", "n": 5, "of": 9, "seed": 0, "versions": "numpy 9.9; python 3",
    }  # fmt: skip
    assert provenance({"n": 1, "versions": None}) == {"n": 1}


def test_files_are_named_by_what_they_show() -> None:
    assert file_name("gap", "lite", "shift") == "gap-lite-shift"
    assert file_name("why", "lite@visual+bm25,rrf:60", "../..\\x") == "why-lite-visual-bm25-rrf-60-..-..-x"
    assert file_name("gap", "clip-b32;checkpoint=/home/me/x.pt@visual") == "gap-clip-b32-checkpoint-x.pt-visual"
    assert len(file_name("x" * 300)) == 100 and file_name("…", "") == "unnamed"


@given(st.lists(st.tuples(texts, st.floats(-1e6, 1e6), texts), min_size=1, max_size=6))
def test_bars_bear_their_numbers(found: list[tuple[str, float, str]]) -> None:
    drawn = bars([Bar(*one) for one in found], NASTY)
    assert [float(value) for value in marks(drawn)] == [value for _, value, _ in found]


def test_bars_are_as_long_as_their_numbers_and_point_both_ways() -> None:
    root = ElementTree.fromstring(bars([Bar("a", 2.0), Bar("b", -1.0)], "unit"))
    first, second = (one.attrib for one in root.iter() if one.get("class") == "mark")
    assert float(first["width"]) == pytest.approx(2 * float(second["width"]), abs=0.02)
    assert float(second["x"]) + float(second["width"]) == pytest.approx(float(first["x"]), abs=0.02)


def test_lists_have_a_curve_for_what_both_have() -> None:
    drawn = columns(["A", NASTY], [[("i", "one"), ("j", NASTY)], [("j", "two"), ("k", "three")]])
    assert marks(drawn) == ["1", "2", "1", "2"] and drawn.count("<path") == 1


def test_ranks_shares_and_a_share() -> None:
    assert marks(ranks(["a", NASTY, "c"], [40, 2, 1])) == ["40", "2", "1"]
    assert marks(shares([("a", 3.0), (NASTY, 1.0)])) == ["3.0", "1.0"]
    assert marks(share(0.5, 0.25, 0.75, NASTY, "b")) == ["0.25 0.75", "0.5"]


def test_a_bar_of_files_offers_what_there_is_and_escapes_the_rest() -> None:
    table = Table(("a",), ((1,),))
    html = toolbar(Offer(NASTY, NASTY, {"recipe": NASTY, "n": None}, "figure:x", table.address(), "Large."), "<p>1</p>")
    assert re.findall(r'data-save="(\w+)"', html) == ["table", "png", "svg", "csv"]
    assert "<script>" not in html and "recipe &lt;script&gt;" in html and "Large." in html
    data = re.search(r"charset=utf-8,([^\"]+)", html)
    assert data and unquote(data[1]) == "a\n1\n"
    assert re.findall(r'data-save="(\w+)"', toolbar(Offer("a", "b", csv="x"))) == ["csv"]
    drawn = toolbar(Offer("a", "b", picture=bars([Bar("c", 1.0)], "d")))
    assert "<template" in drawn and "data-picture" not in drawn


def test_what_xml_cannot_hold_is_left_out() -> None:
    assert ElementTree.fromstring(f"<a b='{safe(NASTY)}'>{safe(NASTY)}</a>").text == NASTY.replace("\x00\x08\ud800", "")
