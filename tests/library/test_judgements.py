"""Judgements: the last word holds, order of parts makes no other query, and a killed writer costs nothing."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.errors import CorruptLibrary, LibraryError, UnknownName
from mmretrieval.library.judgements import FILE, JudgedPart, JudgedQuery, Judgements, read_query

BIRD = JudgedQuery((JudgedPart("words", "a bird"),))
PARTS = st.builds(
    JudgedPart,
    st.sampled_from(("words", "picture", "item")),
    st.text(min_size=1, max_size=8),
    st.sampled_from((-2.0, -0.5, 1.0, 1.5)),
    st.sampled_from(("", "t=3", "xywh=percent:0,0,50,50")),
    st.booleans(),
)


@given(st.lists(PARTS, min_size=1, max_size=5), st.randoms(), st.text(max_size=12))
def test_the_order_of_parts_makes_no_other_query(parts: list[JudgedPart], chance: object, conditions: str) -> None:
    first = JudgedQuery(tuple(parts), ("image", "video"), conditions, ("b", "a"))
    chance.shuffle(parts)  # type: ignore[attr-defined]
    second = JudgedQuery(
        (*parts, JudgedPart("words", "unheard", 0.0)), ("video", "image"), f" {conditions} ", ("a", "b")
    )
    assert first.text == second.text and first.id == second.id
    assert read_query(first.text).text == first.text
    assert not any(c.isspace() for c in first.id)


def test_what_makes_another_query() -> None:
    others = [
        JudgedQuery((JudgedPart("words", "a bird", 0.5),)),
        JudgedQuery((JudgedPart("item", "a bird"),)),
        JudgedQuery((JudgedPart("words", "a bird"),), kinds=("image",)),
        JudgedQuery((JudgedPart("words", "a bird"),), conditions="year > 3"),
        JudgedQuery((JudgedPart("words", "a bird"),), within=("x",)),
    ]
    assert len({BIRD.id, *(other.id for other in others)}) == 1 + len(others)


def test_the_last_grade_holds_and_none_takes_it_back(tmp_path: Path) -> None:
    known = Judgements(tmp_path)
    assert known.grades() == {} and known.preferences() == []
    for item, grade in (("x", 1), ("y", 0), ("x", 3), ("z", 2), ("z", None)):
        known.judge(BIRD, item, grade)
    assert Judgements(tmp_path).of(BIRD) == {"x": 3, "y": 0}
    assert len((tmp_path / FILE).read_text().splitlines()) == 5  # nothing that was said is lost
    for grade in (4, -1, True, 1.5):
        with pytest.raises(LibraryError, match="no grade"):
            known.judge(BIRD, "x", grade)  # type: ignore[arg-type]
    with pytest.raises(LibraryError, match="no choice"):
        known.prefer(BIRD, "a", "b", "both", "run")  # type: ignore[arg-type]


def test_preferences_and_grades_stand_in_one_file(tmp_path: Path) -> None:
    known = Judgements(tmp_path)
    known.judge(BIRD, "x", 2)
    known.prefer(BIRD, "lite@all,sum", "lite@text,sum", "tie", "r1")
    (made,) = known.preferences()
    assert (made.query, made.left, made.choice, made.run) == (BIRD.text, "lite@all,sum", "tie", "r1")
    assert known.of(BIRD) == {"x": 2}


@pytest.mark.parametrize("cut", range(1, 40, 6))
def test_a_line_that_was_cut_off_is_not_read_and_goes_with_the_next(tmp_path: Path, cut: int) -> None:
    known = Judgements(tmp_path)
    known.judge(BIRD, "x", 2)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole + whole[:cut])
    assert known.of(BIRD) == {"x": 2}
    known.judge(BIRD, "y", 1)
    assert known.of(BIRD) == {"x": 2, "y": 1}
    assert [json.loads(line)["judged"]["item"] for line in (tmp_path / FILE).read_text().splitlines()] == ["x", "y"]


def test_a_line_that_is_no_judgement_is_named(tmp_path: Path) -> None:
    Judgements(tmp_path).judge(BIRD, "x", 2)
    with (tmp_path / FILE).open("a") as sink:
        sink.write('{"judged": {"item": "y"}}\n')
    with pytest.raises(CorruptLibrary, match=r"judgements\.jsonl:2"):
        Judgements(tmp_path).grades()


def write(folder: Path, name: str) -> None:
    for number in range(25):
        Judgements(folder).judge(BIRD, f"{name}-{number}", number % 4)


def test_writers_in_several_processes_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write, args=(tmp_path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert Judgements(tmp_path).of(BIRD) == {f"{name}-{n}": n % 4 for name in "abc" for n in range(25)}


def test_pictures_are_kept_once_and_found_by_their_name_alone(tmp_path: Path) -> None:
    known = Judgements(tmp_path)
    (tmp_path / "shown.png").write_bytes(b"some bytes")
    name = known.keep(tmp_path / "shown.png")
    assert known.keep(tmp_path / "shown.png") == name and known.picture(name).read_bytes() == b"some bytes"
    assert [file.name for file in (tmp_path / "judgements").iterdir()] == [name]
    for foreign in ("../shown.png", "0" * 64, str(tmp_path / "shown.png"), ""):
        with pytest.raises(UnknownName):
            known.picture(foreign)
