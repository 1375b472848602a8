"""What questions are called in sentences: nobody should take captions that stand for questions for real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

CALLED = {
    "text": ("question in words", "questions in words"),
    "image": ("question by a picture", "questions by a picture"),
    "composed": ("question of a picture with words", "questions of a picture with words"),
}


def called(kind: str, captions: str = "captions", count: int = 2) -> str:
    """What questions of a kind are called; `captions` are what the kind "caption" is made of."""
    if kind in CALLED:
        return CALLED[kind][count != 1]
    return f"{captions} that stand for questions"


def counted(kinds: Sequence[str], captions: str = "captions") -> str:
    """How many questions of each kind there are: `216 questions in words and 1 question by a picture`."""
    said = [f"{count:,} {called(kind, captions, count)}" for kind, count in Counter(kinds).items()]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
