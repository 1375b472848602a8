"""Trainings say how far they are: not at once, not at every step."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from mmretrieval.geometry import directions
from models import align_mlp, bebr, telling


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="models")


def test_it_speaks_when_its_time_has_passed(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 10.0, 11.0, 20.5])
    monkeypatch.setattr(telling.time, "monotonic", lambda: next(now))
    told = telling.Told(logging.getLogger("models.x"), "training", 40)
    for step in (10, 20, 30, 40):
        told(step)
    assert said(caplog) == ["training: step 20 of 40", "training: step 40 of 40"]


def test_both_trainers_tell_their_steps(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    rows = {"visual": directions(chance.normal(size=(60, 8))), "text": directions(chance.normal(size=(60, 8)))}
    bebr.fit(rows, rows, np.eye(8), 1, steps=2)
    align_mlp.fit(rows["visual"], rows["text"], np.eye(8), steps=2)
    assert not caplog.records
    monkeypatch.setattr(telling, "EVERY_SECONDS", 0.0)
    bebr.fit(rows, rows, np.eye(8), 1, steps=2)
    assert said(caplog) == [f"training code {c} of 2: step {s} of 2" for c in (1, 2) for s in (1, 2)]
    caplog.clear()
    align_mlp.fit(rows["visual"], rows["text"], np.eye(8), steps=2)
    assert said(caplog) == [f"training the map between the encoders: step {s} of 2" for s in (1, 2)]
