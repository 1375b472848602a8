"""Every row of DIAGNOSTICS says the same of the same space, in whatever frame its vectors are written."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.errors import RetrievalError
from mmretrieval.findings import Finding, Plot
from mmretrieval.geometry import unit
from mmretrieval.recipe import place_of
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix
from mmretrieval.types import Array

N, DIM = 80, 10
IDS = tuple(f"{n:03}" for n in range(N))


def made(turn: Array | None = None, count: int = N) -> Subject:
    """Pairs that agree somewhat, a gap apart, in clusters; questions near the pictures; and a second space of them."""
    chance = np.random.default_rng(0)
    centres = chance.normal(size=(5, DIM))
    place = np.arange(N) % 5
    visual = centres[place] + chance.normal(size=(N, DIM)) + np.eye(DIM)[0]
    text = 0.5 * visual + chance.normal(size=(N, DIM)) + np.eye(DIM)[1]
    asked = text + 0.1 * chance.normal(size=(N, DIM))
    bank = chance.normal(size=(40, DIM)) + np.eye(DIM)[1]
    frame = np.eye(DIM) if turn is None else turn

    def rows(values: Array) -> Array:
        return unit(values @ frame)

    def space(first: Array, second: Array) -> dict[str, Matrix]:
        return {
            "visual": Matrix(IDS[:count], rows(first)[:count]),
            "text": Matrix(IDS[:count], rows(second)[:count]),
        }

    held = space(visual, text)
    reference = Reference(held, {"text": rows(bank)}, rows(bank))  # type: ignore[arg-type]
    own = tuple(frozenset([i]) for i in IDS)
    kinds = ("text", "composed") * (N // 2)
    questions = Questions(rows(asked)[:count], IDS[:count], kinds[:count], own[:count])
    classes = {i: "abcde"[p] for i, p in zip(IDS, place, strict=True)}
    other = space(visual + chance.normal(size=(N, DIM)), text + chance.normal(size=(N, DIM)))
    rival = Subject(other, "visual", "the other", questions, reference, classes=classes)
    return Subject(held, "visual", "made", questions, reference, rival, classes, nulls=rows(bank))


@pytest.fixture(scope="module")
def findings() -> dict[str, Finding]:
    """What each says of the made space; what takes long is done once."""
    return {}


def finding(findings: dict[str, Finding], name: str) -> Finding:
    if name not in findings:
        findings[name] = DIAGNOSTICS[name].run(made())
    return findings[name]


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_numbers_are_finite_in_their_intervals_and_on_a_stated_basis(name: str, findings: dict[str, Finding]) -> None:
    found = finding(findings, name)
    assert found.diagnostic == name
    assert found.numbers
    assert all(value is None or np.isfinite(value) for value in found.numbers.values())
    assert all(number.count(".") <= 1 for number in found.numbers)
    assert set(found.intervals) <= set(found.numbers)
    for number, (low, high) in found.intervals.items():
        value = found.numbers[number]
        assert value is not None
        assert low - 1e-9 <= value <= high + 1e-9, number
    assert found.sentence.endswith(".")
    assert not found.advice or found.advice.endswith(".")
    assert {"n", "seed", "sample", "versions"} <= set(found.basis)
    json.dumps(asdict(found), allow_nan=False)
    for stage in found.stages:
        place_of(stage)


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_plots_have_named_axes_and_points_that_can_be_drawn(name: str, findings: dict[str, Finding]) -> None:
    found = finding(findings, name)
    assert found.plots
    assert len({plot.name for plot in found.plots}) == len(found.plots)
    for plot in found.plots:
        assert plot.title
        assert plot.x
        assert plot.y
        assert plot.traces, plot.name
        check_traces(plot)
    for exhibit in found.exhibits:
        for ids, values in exhibit.rows:
            assert set(ids) <= set(IDS)
            assert len(values) == len(exhibit.columns)


def check_traces(plot: Plot) -> None:
    for trace in plot.traces:
        assert len(trace.x) == len(trace.y) <= 4500, (plot.name, trace.name)
        assert all(np.isfinite(y) for y in trace.y)
        for more in (trace.low, trace.high, trace.labels):
            assert len(more) in (0, len(trace.x))
        if trace.mark == "links":
            assert len(trace.x) % 2 == 0
        if trace.items:
            assert set(trace.labels) <= set(IDS)


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_a_second_look_says_the_same_and_a_rotation_of_the_space_changes_no_number(
    name: str, findings: dict[str, Finding]
) -> None:
    found = finding(findings, name)
    if name not in SLOW:
        assert asdict(DIAGNOSTICS[name].run(made())) == asdict(found)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(DIM, DIM)))
    turned = DIAGNOSTICS[name].run(made(turn)).numbers
    assert turned.keys() == found.numbers.keys()
    for number, value in found.numbers.items():
        if value is None or number.startswith(FRAME_DEPENDENT):
            continue
        assert turned[number] == pytest.approx(value, abs=2e-4), number


# What takes seconds is looked at twice only, once in each frame.
SLOW = {"capacity", "dimension"}
# Numbers that speak of the axes as they are written, or of chance that the vectors' last digits decide.
FRAME_DEPENDENT = ("dimensions_",)


@pytest.mark.parametrize("name", DIAGNOSTICS)
def test_too_few_items_are_an_error_that_says_so(name: str) -> None:
    few = made(count=1)
    with pytest.raises(RetrievalError, match=r"(?i)at least|fewer|only|needs"):
        DIAGNOSTICS[name].run(replace(few, rival=few))
