"""Runs diagnostics over a subject, and says what they found as JSON and as numbers to print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.diagnostics.gap_words import CHANCE
from mmretrieval.diagnostics.labels import Place, place
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.errors import RetrievalError, pick
from mmretrieval.findings import Exhibit, Finding

if TYPE_CHECKING:
    from eval.diagnosis_page import Look

# So many columns of values stand beside each other before the others get a table of their own.
BESIDE = 4
# What is nearer to 0 is rounding.
NOISE = 1e-12


@dataclass(frozen=True)
class Diagnosis:
    """What was found of a subject, and why each diagnostic that did not run did not; `notes` say what it is.

    `subject` spells the recipe out, `title` is what people asked for.
    """

    subject: str
    findings: Mapping[str, Finding]
    skipped: Mapping[str, str]
    notes: Sequence[str] = field(default_factory=tuple)
    title: str = ""

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
    title: str = "",
    notes: Sequence[str] = (),
    others: Mapping[str, Subject] | None = None,
    running: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> Diagnosis:
    """Runs the diagnostics named, or all, each inside `running(name)`; `others` have subjects of their own, by name,
    and `more` arguments of their own.

    One that cannot run on this subject is skipped with its reason; of those named, its RetrievalError is raised.
    """
    findings: dict[str, Finding] = {}
    skipped: dict[str, str] = {}
    for name in names(only):
        try:
            with running(name):
                own, arguments = (others or {}).get(name, subject), (more or {}).get(name, {})
                findings[name] = DIAGNOSTICS[name].run(own, seed=seed, sample=sample, **arguments)
        except RetrievalError as error:
            if only:
                raise
            skipped[name] = str(error)
    return Diagnosis(subject.name, findings, skipped, tuple(notes), title)


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


@dataclass(frozen=True)
class NumberTable:
    """Numbers that stand together: a title, named columns of values, and rows of a label, a key and a cell a column.

    A key in JSON is the beginning in `prefixes` that its column has, and the row's key. A cell is a value and its 95 %
    interval as text, or two empty texts.
    """

    title: str
    columns: tuple[str, ...]
    prefixes: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]


def number_tables(finding: Finding, beside: int = BESIDE) -> tuple[NumberTable, ...]:
    """The numbers of a finding as people read them, at most `beside` columns of values in a table.

    A row, or a column, without any value is left out: `absent` says which they are.
    """
    held: dict[str, list[tuple[str, Place]]] = {}
    for name, value in finding.numbers.items():
        if value is not None:
            placed = place(finding.diagnostic, name, finding.basis)
            held.setdefault(placed.table, []).append((name, placed))
    found = []
    for title, group in held.items():
        columns = list(dict.fromkeys((p.prefix, p.column) for _, p in group))
        for start in range(0, len(columns), beside):
            found.append(_table(finding, title, group, columns[start : start + beside]))
    return tuple(found)


def _table(
    finding: Finding, title: str, group: Sequence[tuple[str, Place]], columns: Sequence[tuple[str, str]]
) -> NumberTable:
    prefixes = [prefix for prefix, _ in columns]
    cells = {(p.suffix, p.prefix): (name, p) for name, p in group if p.prefix in prefixes}
    # A row keeps its place among the rows of its table, and rows of one pattern the order in which they came.
    labels = {p.suffix: p for _, p in cells.values()}
    rows = []
    for suffix in sorted(labels, key=lambda s: labels[s].order):
        said = []
        for prefix in prefixes:
            name, held = cells.get((suffix, prefix), ("", labels[suffix]))
            value = finding.numbers[name] if name else None
            shown = (
                f"{value:,.0f}" if held.counts and value is not None and float(value).is_integer() else figure(value)
            )
            said.append((shown, interval(finding.intervals.get(name))) if name else ("", ""))
        rows.append((labels[suffix].row, suffix, tuple(said)))
    return NumberTable(title, tuple(column for _, column in columns), tuple(prefixes), tuple(rows))


def absent(finding: Finding) -> tuple[str, ...]:
    """A sentence for each reason why numbers have no value here, with their keys."""
    reasons: dict[str, list[str]] = {}
    for name, value in finding.numbers.items():
        if value is None:
            why = place(finding.diagnostic, name, finding.basis).absent or "it could not be estimated from what is here"
            reasons.setdefault(why, []).append(name)
    return tuple(f"No value for {_few(names)}: {why}." for why, names in reasons.items())


def below_chance(finding: Finding) -> tuple[str, ...]:
    """Why numbers whose whole interval is below chance are no sign of anything, a sentence for each reason."""
    low = (name for name, bounds in finding.intervals.items() if bounds[1] < CHANCE)
    return tuple(dict.fromkeys(filter(None, (place(finding.diagnostic, n, finding.basis).below for n in low))))


def _few(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def fact(key: object) -> str:
    """The name of a fact for people; a stage, as in nnn:128:0.75, stays as it is written."""
    return str(key) if ":" in str(key) else str(key).replace("_", " ")


def figure(value: float | None) -> str:
    """A number as people read it: three decimals or digits, whole numbers whole, nothing as a dash.

    What is nearer to 0 than float64 rounds sums of numbers around 1 is 0, which has no sign.
    """
    if value is None:
        return "-"
    if abs(value) < NOISE:
        return "0.000"
    if float(value).is_integer() and abs(value) >= 2:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:,.1f}"
    if abs(value) >= 0.01:
        return f"{value:.3f}"
    # No exponent while plain digits stay short.
    return f"{value:.2g}" if abs(value) >= 1e-4 or abs(value) < 1e-6 else f"{value:.6f}"


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


def measured_on(basis: Mapping[str, Any]) -> str:
    """`n = 500 of 661, seed = 0`, with the bound on the sample where it cut something off."""
    n, of, sample = basis.get("n"), basis.get("of"), basis.get("sample")
    drawn = isinstance(of, int) and isinstance(n, int) and of > n
    said = f"n = {n} of {of}" if drawn else f"n = {n}"
    if "seed" in basis:
        said += f", seed = {basis['seed']}"
    return f"{said}, at most {sample:,} drawn" if drawn and sample is not None else said


def exhibited(exhibit: Exhibit, look: Look | None, most: int) -> list[str]:
    """The first rows of a table of items as lines: how the items look, and each value with its column's name."""
    rows = exhibit.rows[:most]
    faces = look([i for ids, _ in rows for i in ids]) if look is not None else {}
    columns = [column(values) for values in zip(*(values for _, values in rows), strict=True)]
    lines = []
    for place_, (ids, _) in enumerate(rows):
        items = " | ".join(shortened(faces[i].caption) if i in faces else i for i in ids)
        values = [f"{name} {told[place_]}" for name, told in zip(exhibit.columns, columns, strict=True) if told[place_]]
        lines.append(f"{items}: {', '.join(values)}" if values else items)
    return lines


def shortened(text: str, most: int = 70) -> str:
    """The text in at most `most` letters, its end shown where it is cut: file names stand there."""
    if len(text) <= most:
        return text
    kept = most // 3
    return f"{text[: most - kept - 3]}...{text[-kept:]}"
