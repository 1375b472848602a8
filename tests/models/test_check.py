"""`python -m models check`: sound encoders pass every check, and each broken promise fails the check named for it."""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mmretrieval import catalog
from mmretrieval.embedding import embed_multi
from mmretrieval.types import Array, Card, Content, Role, Vectors
from models.__main__ import _bags, main
from models.check import CHECKS, SENTENCES, Subject, check, check_reranker, drawn, tolerance
from models.hashing import Hashing

CARD = catalog.card("hashing")


class Sound(Hashing):
    """An encoder that keeps its promises; each class below breaks one."""

    def __init__(self, card: Card = CARD) -> None:
        super().__init__(card, {}, {})


def failed(encoder: Any) -> dict[str, str]:
    subject = Subject(encoder.card, functools.partial(_bags, encoder), 1e-5)
    return {v.check: v.figure for v in check(subject) if not v.passed}


class LeansOnItsBatch(Sound):
    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        rows = super().encode(contents, role)
        return rows + rows.mean(axis=0)


class GivesNaN(Sound):
    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        rows = super().encode(contents, role)
        rows[-1, 0] = np.nan
        return rows


class WrongSize(Sound):
    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        return super().encode(contents, role)[:, 1:]


class NeedsWords(Sound):
    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        if any(c.text is not None and not c.text.strip() for c in contents):
            raise ValueError("text must not be empty")
        return super().encode(contents, role)


class NeedsAGrid(Sound):
    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        for content in contents:
            if content.image is not None and min(content.image.size) < 8:
                raise ZeroDivisionError("cell without pixels")
        return super().encode(contents, role)


class SeesNothing(Sound):
    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        return np.ones((len(contents), self.card.dim), dtype=np.float32)


class KeepsWhatItReads(Sound):
    """Two threads at once get each other's answers: each waits until the other has come in."""

    def __init__(self) -> None:
        super().__init__(replace(CARD, reads=frozenset({"text"})))
        self.both = threading.Barrier(2, timeout=60)

    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        self.kept = contents
        if threading.current_thread() is not threading.main_thread():
            self.both.wait()
        return super().encode(self.kept, role)


class SaysJoint(Sound):
    def __init__(self) -> None:
        super().__init__(replace(CARD, joint=True))


BROKEN = {
    LeansOnItsBatch: ("batch", "differ by up to"),
    GivesNaN: ("vectors", "not finite"),
    WrongSize: ("vectors", r"63\) instead of"),
    NeedsWords: ("empty text", "must not be empty"),
    NeedsAGrid: ("odd pictures", "cell without pixels"),
    SeesNothing: ("differences", "cosine of 1.0000"),
    KeepsWhatItReads: ("threads", "2 threads at once"),
    SaysJoint: ("joint", "picture beside words changes nothing"),
}


def test_a_sound_encoder_fails_nothing() -> None:
    assert failed(Sound()) == {}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda b: b.__name__)
def test_a_broken_promise_fails_the_check_that_is_named_for_it(broken: type[Sound]) -> None:
    name, reason = BROKEN[broken]
    figures = failed(broken())
    assert name in figures, figures
    assert re.search(reason, figures[name]), figures[name]


def test_a_check_that_has_nothing_to_try_says_so() -> None:
    def refusal(reads: frozenset[str]) -> str:
        encoder = Sound(replace(CARD, reads=reads))  # type: ignore[arg-type]
        subject = Subject(encoder.card, functools.partial(_bags, encoder), 1e-5)
        return next(v.figure for v in check(subject) if v.check == "refusal")

    assert "nothing was tried" in refusal(frozenset({"text", "image"}))
    assert refusal(frozenset({"text"})) == "refuses image"
    assert refusal(frozenset({"image"})) == "refuses text"


def test_every_check_that_can_fail_alone_is_seen_failing() -> None:
    assert {name for name, _ in BROKEN.values()} <= set(CHECKS)


class Words(Sound):
    """Late interaction in small: a row for each word."""

    def __init__(self) -> None:
        super().__init__(replace(CARD, multi=True, reads=frozenset({"text"})))

    def encode(self, contents: Sequence[Content], role: Role) -> Vectors:  # type: ignore[override]
        words = [(c.text or "").split() or [""] for c in contents]
        return Vectors.joined(
            [super(Words, self).encode([Content(text=w) for w in some], role) for some in words], self.card.dim
        )


class ForgetsWords(Words):
    def encode(self, contents: Sequence[Content], role: Role) -> Vectors:
        found = super().encode(contents, role)
        if len(contents) == 1:
            return found
        return Vectors.joined([found[n][: n + 1] for n in range(len(found))], self.card.dim)


def test_bags_of_rows_are_held_to_the_same() -> None:
    assert failed(Words()) == {}
    assert len(embed_multi(Words(), [Content(text=SENTENCES[0])], "item").rows) == 7
    assert "inf" in failed(ForgetsWords())["batch"]


def test_a_reranker_is_held_to_its_own_checks() -> None:
    encoder = Sound()

    def score(query: Content, items: Sequence[Content]) -> Any:
        return encoder.encode(items, "item") @ encoder.encode([query], "query")[0]

    def ranks(query: Content, items: Sequence[Content]) -> Any:
        return np.argsort(np.argsort(-score(query, items))).astype(np.float32)

    assert all(v.passed for v in check_reranker(CARD, score, 1e-3))
    assert "batch" in {v.check for v in check_reranker(CARD, ranks, 1e-3) if not v.passed}
    short = check_reranker(CARD, lambda query, items: score(query, items)[1:], 1e-3)
    assert not any(v.passed for v in short)
    assert "scores of the shape" in short[0].figure


def test_tolerance_follows_the_precision() -> None:
    assert tolerance({}) == tolerance({"precision": "fp32"}) == 1e-5
    assert tolerance({"precision": "bf16"}) > 1e-3


def test_the_drawn_pictures_differ_by_their_seed() -> None:
    assert drawn(40, 30, 1).tobytes() != drawn(40, 30, 2).tobytes()
    assert drawn(40, 30, 1).size == (40, 30)


def test_the_command_says_all_and_exits_by_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["check", "hashing", "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert told["passed"]
    assert [row["check"] for row in told["checks"]] == list(CHECKS)
    assert f"{len(CHECKS)} of {len(CHECKS)} checks passed" in printed.err
    monkeypatch.setattr(catalog, "load", lambda spec: LeansOnItsBatch())
    assert main(["check", "hashing"]) == 1
    assert "FAIL batch" in capsys.readouterr().out
    assert main(["check", "hushing"]) == 2
    assert "hashing" in capsys.readouterr().err
