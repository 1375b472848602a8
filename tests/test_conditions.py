"""Filters as people type them: which filter a text is, and what is refused. (What they find: tests/contracts.)"""

from __future__ import annotations

import contextlib
import time

import pytest

from mmretrieval.conditions import restriction
from mmretrieval.errors import BadFilter
from mmretrieval.filters import AllOf, AnyOf, Condition, Filter, Not


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", None),
        ("path = cats/*", Condition("path", "glob", "cats/*")),
        ('path = "a, b.jpg"', Condition("path", "glob", "a, b.jpg")),
        ("path != *.gif", Not(Condition("path", "glob", "*.gif"))),
        ("title ~ *fox*", Condition("meta.title", "glob", "*fox*")),
        ("tag = cat", Condition("meta.tags", "eq", "cat")),
        ("tags = cat", Condition("meta.tags", "eq", "cat")),
        ("meta.tag = cat", Condition("meta.tag", "eq", "cat")),
        ("has_text = false", Condition("has_text", "in", (False, "false"))),
        ("duration >= 2.5", Condition("duration", "gte", 2.5)),
        ("duration >= 2000", Condition("duration", "gte", 2000)),
        ("taken > 2020-05", Condition("meta.taken", "gt", "2020-05")),
        ("year > 2020", AnyOf((Condition("meta.year", "gt", 2020), Condition("meta.year", "gt", "2020")))),
        ('taken >= "2020"', Condition("meta.taken", "gte", "2020")),
        ("kind != image", Not(Condition("kind", "eq", "image"))),
        ("page < 3, lang = en", AllOf((Condition("page", "lt", 3), Condition("lang", "eq", "en")))),
    ],
)
def test_what_a_text_means(text: str, wanted: Filter | None) -> None:
    assert repr(restriction((), text)) == repr(wanted)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("taken > yesterday", "'yesterday': give a number, or a date such as 2020, 2020-05"),
        ("taken > 2020-02-30", "2020-02-30"),
        ("year ! 3", "is no condition"),
        ("cats", "is no condition"),
    ],
)
def test_what_is_no_condition_says_why(text: str, says: str) -> None:
    with pytest.raises(BadFilter, match=says):
        restriction((), text)


def test_no_text_takes_long_and_too_much_is_refused() -> None:
    """Spaces before the end once took time with the square of their number."""
    for text in ("a=b" + " " * 3990 + "x", "a=" + "b " * 1990, " " * 4000, '"' * 4000, "a=b," * 10 + " " * 3900):
        started = time.process_time()
        with contextlib.suppress(BadFilter):
            restriction((), text)
        assert time.process_time() - started < 0.1
    assert restriction((), "a = b c  , d = 1") == restriction((), "a=b c,d=1")
    with pytest.raises(BadFilter, match="4,001 characters"):
        restriction((), " " * 4001)
    with pytest.raises(BadFilter, match="more than 32 conditions"):
        restriction((), "a=b," * 33)
