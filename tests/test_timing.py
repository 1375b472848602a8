"""The stopwatch by itself, on a clock that a test sets: every moment is somebody's, and nobody's twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.timing import Stopwatch, added, apart, in_words, milliseconds


class Clock:
    """Stands still until somebody moves it on."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def stages(watch: Stopwatch) -> list[tuple[str, float]]:
    return [(one["stage"], one["ms"]) for one in watch.account()["stages"]]


def test_time_belongs_to_the_stage_that_is_open() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    clock.seconds += 0.5
    with watch.stage("encode"):
        clock.seconds += 2
    with watch.stage("search"):
        clock.seconds += 3
    clock.seconds += 0.25
    assert stages(watch) == [("encode", 2000.0), ("search", 3000.0), ("other", 750.0)]
    assert watch.account()["seconds"] == 5.75


def test_a_stage_inside_another_interrupts_it() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    with watch.stage("search"):
        clock.seconds += 1
        with watch.stage("correct"):
            clock.seconds += 4
        clock.seconds += 2
    assert stages(watch) == [("search", 3000.0), ("correct", 4000.0), ("other", 0.0)]


def test_a_stage_that_is_met_again_goes_on_where_it_was() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    for _ in range(3):
        for name, seconds in (("fuse", 1), ("rerank", 2)):
            with watch.stage(name):
                clock.seconds += seconds
    assert stages(watch) == [("fuse", 3000.0), ("rerank", 6000.0), ("other", 0.0)]


def test_a_stage_that_fails_is_closed() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    with pytest.raises(ValueError, match="no"), watch.stage("search"):
        clock.seconds += 1
        raise ValueError("no")
    clock.seconds += 2
    assert stages(watch) == [("search", 1000.0), ("other", 2000.0)]


# Nested stages as nested lists: an int is so many milliseconds, a pair is a stage and what happens in it.
WORK = st.recursive(
    st.lists(st.integers(0, 9), max_size=3),
    lambda inner: st.lists(st.one_of(st.integers(0, 9), st.tuples(st.sampled_from("abcd"), inner)), max_size=4),
    max_leaves=12,
)


@given(WORK)
def test_the_stages_add_up_to_the_whole_whatever_happens(work: list) -> None:  # type: ignore[type-arg]
    clock = Clock()
    watch = Stopwatch(clock)
    own: dict[str, int] = {"other": 0}

    def do(things: list, name: str) -> None:  # type: ignore[type-arg]
        for thing in things:
            if isinstance(thing, int):
                clock.seconds += thing / 1000
                own[name] = own.get(name, 0) + thing
            else:
                own.setdefault(thing[0], 0)
                with watch.stage(thing[0]):
                    do(thing[1], thing[0])

    do(work, "other")
    found = dict(stages(watch))
    assert found == pytest.approx(own, abs=1e-3) and list(found)[-1] == "other"
    assert watch.account()["seconds"] == pytest.approx(sum(own.values()) / 1000, abs=1e-3)


def test_several_accounts_are_one() -> None:
    first = {"seconds": 1.0, "stages": [{"stage": "encode", "ms": 900.0}, {"stage": "other", "ms": 100.0}], "k": 3}
    second = {"seconds": 2.5, "stages": [{"stage": "search", "ms": 2400.0}, {"stage": "other", "ms": 100.0}]}
    both = added([first, second])
    assert both["seconds"] == 3.5
    assert [(one["stage"], one["ms"]) for one in both["stages"]] == [
        ("encode", 900.0),
        ("search", 2400.0),
        ("other", 200.0),
    ]
    assert added([]) == {"seconds": 0, "stages": [{"stage": "other", "ms": 0.0}]}


def spent(**taken: float) -> list[dict[str, object]]:
    return [{"stage": name.replace("_", " "), "ms": ms} for name, ms in taken.items()]


def test_what_is_made_once_is_apart_from_what_every_search_takes() -> None:
    cold = spent(prepare_lite=7483.0, encode_lite=90.0, search_lite=40.0, scale_lite=531.0, merge=3.0, other=20.0)
    once, search = apart({"seconds": 8.167, "stages": cold, "recipe": "lite@all"})
    assert once == {"seconds": 8.014, "stages": spent(prepare_lite=7483.0, scale_lite=531.0)}
    assert search == {"seconds": 0.153, "stages": spent(encode_lite=90.0, search_lite=40.0, merge=3.0, other=20.0)}
    both = added([once, search])
    assert both["seconds"] == 8.167 and {one["stage"]: one["ms"] for one in both["stages"]} == {
        one["stage"]: one["ms"] for one in cold
    }


def test_only_the_first_word_of_a_stage_says_that_it_is_made_once() -> None:
    stages = spent(encode_prepare=5.0, scaled=6.0, rerank_scale=7.0, other=0.0)
    assert apart({"seconds": 0.018, "stages": stages}) == (
        {"seconds": 0, "stages": []},
        {"seconds": 0.018, "stages": stages},
    )


def test_a_search_never_takes_less_than_nothing() -> None:
    once, search = apart({"seconds": 0.0100, "stages": spent(prepare=10.049, other=0.0)})
    assert (once["seconds"], search["seconds"]) == (0.01, 0.0)
    assert apart({"seconds": 0.4, "stages": []})[1]["seconds"] == 0.4


def test_in_words_what_is_short_is_told_with_the_rest() -> None:
    spent = [("encode", 12.34), ("fuse", 0.04), ("search", 3.25), ("mark", 0.02), ("other", 1.5)]
    account = {"seconds": 0.0171, "stages": [{"stage": name, "ms": ms} for name, ms in spent]}
    assert in_words(account) == "0.017 s: encode 12 ms, search 3.2 ms, other 1.6 ms"
    assert [milliseconds(ms) for ms in (0.04, 9.94, 12.6, 3456.0)] == ["0.0 ms", "9.9 ms", "13 ms", "3,456 ms"]
