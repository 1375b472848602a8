"""The bench of diagnostics: what it makes, what it times, and its command."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from eval.__main__ import app
from eval.bench_diagnostics import GOALS, Made, diagnostics
from mmretrieval.diagnostics import DIAGNOSTICS
from mmretrieval.errors import UnknownName
from mmretrieval.findings import Finding
from mmretrieval.stages import StageRow

SMALL = Made(pairs=300, dim=24, queries=60, clusters=12, seed=3)


def test_made_items_are_clustered_pairs_apart_by_modality() -> None:
    subject = SMALL.draw()
    again, other = SMALL.draw(), Made(pairs=300, dim=24, queries=60, clusters=12, seed=4).draw()
    visual, text = (subject.views[v].rows for v in ("visual", "text"))
    assert visual.tobytes() == again.views["visual"].rows.tobytes() != other.views["visual"].rows.tobytes()
    assert list(subject.views) == ["visual", "text", "sound"]
    assert all(m.rows.shape == (300, 24) and m.rows.dtype == np.float32 for m in subject.views.values())
    np.testing.assert_allclose(np.linalg.norm(visual, axis=1), 1, atol=1e-6)
    matched = np.einsum("nd,nd->n", visual, text).mean()
    assert matched > np.einsum("nd,nd->n", visual, np.roll(text, 1, axis=0)).mean() + 0.2
    assert np.linalg.norm(visual.mean(axis=0) - text.mean(axis=0)) > 0.5
    groups = np.unique([subject.classes[i] for i in subject.views["visual"].ids], return_inverse=True)[1]
    same = groups[:, None] == groups[None]
    cosines = visual @ visual.T
    assert cosines[same].mean() > cosines[~same].mean() + 0.1


def test_the_bank_asks_for_none_of_the_items_that_questions_ask_for() -> None:
    subject = SMALL.draw()
    asked, reference, rival = subject.questions, subject.reference, subject.rival
    assert asked is not None and reference is not None and rival is not None
    assert (len(asked), len(reference.queries)) == (60, 60)
    wanted = subject.views["text"].places(next(iter(r)) for r in asked.relevant)
    assert len(set(wanted)) == 60
    texts = subject.views["text"].rows
    nearest_asked, nearest_banked = ((rows @ texts.T).argmax(axis=1) for rows in (asked.rows, reference.queries))
    assert (nearest_asked == wanted).mean() > 0.5
    assert np.isin(nearest_banked, wanted).mean() < 0.3
    assert rival.views["visual"].ids == subject.views["visual"].ids


def test_goals_are_met_or_not_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Finding("gap", "One.", {}, basis={"n": 7})
    monkeypatch.setitem(DIAGNOSTICS, "gap", StageRow(lambda *_, **__: found, ""))
    for goal, met in ((1e9, True), (-1.0, False)):
        monkeypatch.setitem(GOALS, "gap", goal)
        (row,) = diagnostics(SMALL, ["gap"])["rows"]
        assert (row["name"], row["goal"], row["met"], row["basis_n"]) == ("gap", goal, met, 7)
    with pytest.raises(UnknownName, match="volumes"):
        diagnostics(SMALL, ["volume"])


def test_the_command_ends_with_one_json_object() -> None:
    arguments = [
        "bench",
        "diagnostics",
        "--pairs",
        "300",
        "--dim",
        "24",
        "--only",
        "volumes",
        "--only",
        "gram",
        "--json",
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    result: dict[str, Any] = json.loads(done.stdout)
    assert (result["n"], result["made"]["dim"], result["made"]["queries"]) == (300, 24, 150)
    assert {"seed", "versions", "cores", "sample", "seconds", "load_before"} <= set(result)
    volumes, gram = result["rows"]
    assert (volumes["name"], volumes["views"], volumes["goal"]) == ("volumes", 3, 0.05)
    assert 0 < volumes["seconds"] <= volumes["slowest"]
    assert gram["name"] == "gram" and gram["goal"] is None and gram["met"] is None and gram["cpu_seconds"] > 0
    assert "gram" in done.stderr
    wrong = CliRunner().invoke(app, ["bench", "diagnostics", "--pairs", "300", "--queries", "200"])
    assert wrong.exit_code == 2
