"""Run files: that a reader who sorts by score alone, as trec_eval does, gets our order back."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.reading import load
from eval.runs import Ranked, folder_name, read_trec, save, slug, trec_scores, trec_text
from mmretrieval.errors import DatasetError


def order_of_trec_eval(scores: dict[str, float]) -> list[str]:
    """Falling score in single precision, equal scores by falling id."""
    by_id = sorted(scores, reverse=True)
    return sorted(by_id, key=lambda i: -np.float32(scores[i]))


FINITE = st.floats(-1e3, 1e3, allow_nan=False)


@given(st.lists(st.lists(FINITE, max_size=12), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_survives_whatever_the_scores(lists: list[list[float]], rng: Any) -> None:
    rankings = []
    for i, scores in enumerate(lists):
        ids = [f"d{j}" for j in range(len(scores))]
        rng.shuffle(ids)
        rankings.append(Ranked(f"q{i}", tuple(ids), tuple(scores)))
    written = trec_scores(rankings)
    for ranking in rankings:
        assert order_of_trec_eval(dict(written.scores[ranking.query])) == list(ranking.ids)


def test_own_scores_are_kept_where_they_fall_strictly_in_single_precision() -> None:
    falling = Ranked("q", ("b", "a"), (0.30000001, 0.1))
    assert trec_scores([falling]).kept == "engine"
    assert trec_scores([falling]).scores == {"q": {"b": 0.30000001, "a": 0.1}}
    for scores in ((0.5, 0.5), (0.1, 0.2), (1.0 + 1e-9, 1.0), (math.nan, 0.1), (math.inf, 0.1), (1e300, 1e299)):
        run = trec_scores([falling, Ranked("p", ("b", "a"), scores)])
        assert run.kept == "rank"
        assert run.scores == {"q": {"b": 2.0, "a": 1.0}, "p": {"b": 2.0, "a": 1.0}}


def test_a_run_file_gives_its_scores_back_exactly(write: Any, tmp_path: Path) -> None:
    data = load(write())
    run = trec_scores([Ranked("t1", ("red", "blue"), (1 / 3, 0.1)), Ranked("t2", ("white",), (-2e-7,))])
    text = trec_text(run, "tag")
    assert text.splitlines()[0] == "t1 Q0 red 1 0.3333333333333333 tag"
    path = tmp_path / "run.trec"
    path.write_text(text, encoding="utf-8")
    assert read_trec(path, data) == run.scores


BREACHES = [
    ("t1 Q0 red 1 0.5", "has 5 columns"),
    ("t9 Q0 red 1 0.5 tag", "no query 't9'"),
    ("t1 Q0 pink 1 0.5 tag", "no entry 'pink'"),
    ("t1 Q0 red 1 high tag", "the score 'high'"),
    ("t1 Q0 red 1 nan tag", "the score 'nan'"),
    ("t1 Q0 blue 1 0.9 tag", "ranks 'blue' twice"),
]


@pytest.mark.parametrize(("line", "said"), BREACHES)
def test_a_run_file_that_does_not_fit_is_refused_with_its_line(
    write: Any, tmp_path: Path, line: str, said: str
) -> None:
    data = load(write())
    path = tmp_path / "run.trec"
    path.write_text(f"t1 Q0 blue 1 1.5 tag\n\n{line}\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=rf"run\.trec:3: .*{said}"):
        read_trec(path, data)
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="holds no ranking"):
        read_trec(path, data)


def test_folders_of_runs_are_readable_and_differ() -> None:
    name = folder_name("My set", "lite@visual,sum", {"k": 100})
    assert name.startswith("My-set-lite-visual-sum-")
    assert name == folder_name("My set", "lite@visual,sum", {"k": 100})
    others = {
        folder_name("My set", "lite@visual,sum", {"k": 10}),
        folder_name("My set", "lite@text,sum", {"k": 100}),
        folder_name("my set", "lite@visual,sum", {"k": 100}),
    }
    assert len(others | {name}) == 4
    assert slug("../..") == "unnamed"
    assert slug("x" * 300) == "x" * 80


def test_saving_writes_three_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    run = trec_scores([Ranked("q", ("a",), (0.5,))])
    for _ in range(2):
        save(tmp_path / "r", run, "tag", {"q": {"hit@1": 1.0}}, {"recipe": "x@visual,sum"})
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == ["per_query.jsonl", "run.json", "run.trec"]
    assert json.loads((tmp_path / "r" / "run.json").read_text(encoding="utf-8")) == {"recipe": "x@visual,sum"}
    assert json.loads((tmp_path / "r" / "per_query.jsonl").read_text(encoding="utf-8")) == {"query": "q", "hit@1": 1.0}
