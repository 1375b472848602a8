"""What a visitor's program sent: each value in its type, or refused in words."""

from __future__ import annotations

from typing import Any

import pytest

from mmretrieval.errors import BadQuery
from page import arguments


def test_an_event_is_names_with_plain_values() -> None:
    said = {"do": "weight", "part": 1, "weight": -0.5, "keep": True, "item": None}
    assert arguments.event(said) == said
    assert arguments.event(None) == {}


@pytest.mark.parametrize(
    "said",
    [
        7, "do", True, [], [["do", "act"]], {1: 2}, {"do": []}, {"do": {"a": 1}}, {"k": float("nan")}, {"item": "a\0b"},
        {"item": "\ud800"}, {"k": float("inf")}, {str(n): n for n in range(1000)},
        {"bits": "x" * (arguments.EVENT_CHARS + 1)},
    ],
)  # fmt: skip
def test_anything_else_is_no_event(said: Any) -> None:
    with pytest.raises(BadQuery) as refused:
        arguments.event(said)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("value", ["1", [1], None, True, float("nan"), float("-inf"), {}])
def test_a_number_is_a_number(value: Any) -> None:
    with pytest.raises(BadQuery, match="give a number"):
        arguments.finite(value, "seed")
    assert arguments.finite(-3.5, "seed") == -3.5 and arguments.finite(10**40, "seed") == 10**40


@pytest.mark.parametrize("value", ["true", 1, 0, [], {}])
def test_yes_and_no_are_not_guessed(value: Any) -> None:
    with pytest.raises(BadQuery, match="true or false"):
        arguments.yes(value, "cut")
    assert [arguments.yes(one, "cut") for one in (True, False, None)] == [True, False, False]


def test_a_plain_value_holds_no_others() -> None:
    assert [arguments.plain(one, "x") for one in ("a", 1, 2.5, True, None)] == ["a", 1, 2.5, True, None]
    for held in ([1], {"a": 1}, (1,), b"a"):
        with pytest.raises(BadQuery):
            arguments.plain(held, "x")
