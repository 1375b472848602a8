"""Runs diagnostics over a subject, and says what they found as JSON and as numbers to print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.errors import RetrievalError, pick
from mmretrieval.findings import Finding

# How many groups of numbers ("centered", ...) stand beside the plain ones before each gets lines of its own.
BESIDE = 3


@dataclass(frozen=True)
class Diagnosis:
    """What was found of a subject, and why each diagnostic that did not run did not; `notes` say what it is."""

    subject: str
    findings: Mapping[str, Finding]
    skipped: Mapping[str, str]
    notes: Sequence[str] = field(default_factory=tuple)

    def json(self) -> dict[str, Any]:
        """{diagnostic: numbers, groups, n, seed, ci, sentence, advice, stages, basis}, and {"skipped": reasons}."""
        about = {"source": self.subject} | ({"notes": list(self.notes)} if self.notes else {})
        return {name: as_json(f, about) for name, f in self.findings.items()} | {"skipped": dict(self.skipped)}


def names(only: Sequence[str]) -> tuple[str, ...]:
    """The diagnostics to run: those asked for, each once, or all. Raises UnknownName."""
    for name in only:
        pick(DIAGNOSTICS, name, "diagnostic")
    return tuple(dict.fromkeys(only)) or tuple(DIAGNOSTICS)


def diagnose(
    subject: Subject,
    only: Sequence[str] = (),
    *,
    seed: int = 0,
    sample: int | None = 10_000,
    notes: Sequence[str] = (),
    running: Callable[[str], AbstractContextManager[Any]] = nullcontext,
) -> Diagnosis:
    """Runs the diagnostics named, or all, each inside `running(name)`.

    One that cannot run on this subject is skipped with its reason; of those named, its RetrievalError is raised.
    """
    findings: dict[str, Finding] = {}
    skipped: dict[str, str] = {}
    for name in names(only):
        try:
            with running(name):
                findings[name] = DIAGNOSTICS[name].run(subject, seed=seed, sample=sample)
        except RetrievalError as error:
            if only:
                raise
            skipped[name] = str(error)
    return Diagnosis(subject.name, findings, skipped, tuple(notes))


def as_json(finding: Finding, about: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A finding as JSON: "centered.alignment" stands as "alignment" within "centered", beside that group's own "ci".

    `about` joins what the finding says of its basis.
    """
    basis = plain({**finding.basis, **(about or {})})
    found: dict[str, Any] = {}
    for name, value in finding.numbers.items():
        group, _, key = name.rpartition(".")
        (found.setdefault(group, {}) if group else found)[key] = plain(value)
    intervals: dict[str, dict[str, list[float]]] = {"": {}}
    intervals |= {group: {} for group, held in found.items() if isinstance(held, dict)}
    for name, (low, high) in finding.intervals.items():
        group, _, key = name.rpartition(".")
        intervals[group][key] = [plain(low), plain(high)]
    for group, bounds in intervals.items():
        (found[group] if group else found)["ci"] = bounds
    said = {"sentence": finding.sentence, "advice": finding.advice, "stages": list(finding.stages), "basis": basis}
    return found | {"n": plain(finding.basis["n"]), "seed": plain(finding.basis["seed"])} | said


def plain(value: Any) -> Any:
    """The same in what JSON knows; numpy's numbers become Python's. NaN stays NaN, for the writer to refuse."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(v) for v in value)
    return str(value) if isinstance(value, PurePath) else value


# --- as people read it ---------------------------------------------------------------------------------------------


def number_rows(finding: Finding, beside: int = BESIDE) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The numbers as a table of text: columns, and a row for each with its 95 % interval behind it.

    Groups stand beside the plain numbers where they say the same of another state of things and are at most
    `beside`.
    """
    groups = tuple(dict.fromkeys(n.rpartition(".")[0] for n in finding.numbers if "." in n))
    alone = [n for n in finding.numbers if "." not in n]
    shared = (
        groups
        and alone
        and len(groups) <= beside
        and all(f"{g}.{n}" in finding.numbers for g in groups for n in alone[:1])
    )
    if not shared:
        return ("number", "value", "95 % interval"), [
            (words(n), figure(v), interval(finding.intervals.get(n))) for n, v in finding.numbers.items()
        ]
    keys = dict.fromkeys(n.rpartition(".")[2] for n in finding.numbers)
    rows = [(words(key), *(_cell(finding, f"{g}.{key}" if g else key) for g in ("", *groups))) for key in keys]
    return ("number", "as it is", *map(words, groups)), rows


def _cell(finding: Finding, name: str) -> str:
    if name not in finding.numbers:
        return ""
    return " ".join(filter(None, (figure(finding.numbers[name]), interval(finding.intervals.get(name)))))


def words(name: str) -> str:
    """`centroid_distance` as `centroid distance`."""
    return name.replace("_", " ").replace(".", ": ")


def fact(key: object) -> str:
    """The name of a fact for people; a stage, as in nnn:128:0.75, stays as it is written."""
    return str(key) if ":" in str(key) else str(key).replace("_", " ")


def figure(value: float | None) -> str:
    """A number as people read it: three decimals or digits, whole numbers whole, nothing as a dash."""
    if value is None:
        return "-"
    if float(value).is_integer() and abs(value) >= 2:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:,.1f}"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def column(values: Sequence[str | float | None]) -> list[str]:
    """The cells of one column as text: whole numbers as such where all of its numbers are whole."""
    counts = all(float(v).is_integer() for v in values if isinstance(v, float | int))
    return [v if isinstance(v, str) else "" if v is None else f"{v:,.0f}" if counts else figure(v) for v in values]


def interval(found: tuple[float, float] | None) -> str:
    """`[0.310, 0.352]`, or nothing."""
    return f"[{figure(found[0])}, {figure(found[1])}]" if found else ""


def facts(basis: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """What a finding was measured on, flat: `versions: numpy` and its value."""
    for key, value in basis.items():
        if isinstance(value, Mapping):
            yield from facts(value, f"{prefix}{fact(key)}: ")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{fact(key)}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{fact(key)}", "-" if value is None else str(value)
