"""`calibration`: what scores say of answers, and which modality leads a mixed list."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from mmretrieval.diagnostics import DIAGNOSTICS, mixed_list
from mmretrieval.diagnostics.calibration import calibration as run
from mmretrieval.diagnostics.subject import Questions, Subject
from mmretrieval.errors import RetrievalError
from mmretrieval.geometry import unit
from mmretrieval.reference import Reference
from mmretrieval.store.exact import Matrix

D = 24


def names(n: int) -> tuple[str, ...]:
    return tuple(f"{i:05d}" for i in range(n))


def world(n: int = 120, gap: float = 1.0, noise: float = 0.6, seed: int = 0, kind: str = "text") -> Subject:
    """Items of two views, each moved along a direction of its own by `gap`, with a question for each, as texts are."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, D)) / math.sqrt(D)
    to_visual, to_text = gap * np.eye(D)[0], gap * np.eye(D)[1]

    def made(offset: np.ndarray, spread: float) -> np.ndarray:
        return unit(hidden + spread * rng.normal(size=(n, D)) / math.sqrt(D) + offset)

    ids = names(n)
    views = {"visual": Matrix(ids, made(to_visual, noise)), "text": Matrix(ids, made(to_text, noise))}
    asked = made(to_text if kind == "text" else to_visual, 0.3)
    bank = unit(rng.normal(size=(40, D)) / math.sqrt(D) + to_text)
    questions = Questions(asked, tuple(f"q{i}" for i in ids), (kind,) * n, tuple(frozenset([i]) for i in ids))
    reference = Reference({"visual": views["visual"], "text": views["text"]}, {"text": bank}, bank)
    return Subject(views, "visual", "one", questions, reference)


def with_questions(subject: Subject, **changes: object) -> Subject:
    assert subject.questions is not None
    return replace(subject, questions=replace(subject.questions, **changes))


def slow_auc(own: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean([(a > other).mean() + (a == other).mean() / 2 for a in own]))


def test_numbers_are_those_of_all_pairs() -> None:
    subject = world()
    questions, matrix = subject.asked()
    scores = questions.rows.astype(np.float64) @ matrix.rows.T.astype(np.float64)
    own = np.eye(len(scores), dtype=bool)
    found = run(subject).numbers
    assert found["text_visual.auc"] == pytest.approx(slow_auc(scores[own], scores[~own]), abs=1e-3)
    slow = [slow_auc(row[seen], row[~seen]) for row, seen in zip(scores, own, strict=True)]
    assert found["text_visual.auc_within"] == pytest.approx(np.mean(slow), abs=2e-3)
    assert found["text_visual.relevant"] == pytest.approx(scores[own].mean(), abs=1e-9)
    assert found["text_visual.irrelevant"] == pytest.approx(scores[~own].mean(), abs=1e-9)
    nulls = subject.reference.queries.astype(np.float64) @ matrix.rows.T.astype(np.float64)
    assert found["null_visual.mean"] == pytest.approx(nulls.mean()) and found["null_visual.deviation"] == pytest.approx(
        nulls.std()
    )
    best = np.quantile(nulls.max(axis=1), 0.95)
    assert found["null_visual.best"] == pytest.approx(best)
    assert found["text_visual.above_null"] == pytest.approx((scores[own] > best).mean())


def test_a_mixed_list_is_taken_by_the_questions_own_modality_until_it_is_centred() -> None:
    finding = run(world(n=200, gap=1.5))
    assert "center" in finding.stages and "search views apart" in finding.advice
    found = finding.numbers
    assert found["mixed_text.text_expected"] == 0.5
    assert found["mixed_text.text_share"] > 0.95
    assert found["mixed_text.text_share_centred"] == pytest.approx(0.5, abs=0.06)
    pictures = run(world(n=200, gap=1.5, kind="image")).numbers
    assert pictures["mixed_image.visual_share"] > 0.95
    assert pictures["mixed_image.visual_share_centred"] == pytest.approx(0.5, abs=0.06)
    level = run(world(n=200, gap=0.0))
    assert "center" not in level.stages
    assert level.numbers["mixed_text.text_share"] == pytest.approx(0.5, abs=0.06)


def test_the_mixed_list_is_that_of_sorting_all_rows() -> None:
    subject = world(n=60)
    questions, _ = subject.asked()
    rows = np.concatenate([m.rows for m in subject.views.values()]).astype(np.float64)
    top = np.argsort(-(questions.rows.astype(np.float64) @ rows.T), axis=1)[:, :10]
    found = run(subject).numbers
    assert found["mixed_text.text_share"] == pytest.approx((top >= 60).mean())
    assert found["mixed_text.visual_share"] == pytest.approx((top < 60).mean())
    hit = (top % 60 == np.arange(60)[:, None]).any(axis=1)
    assert found["mixed_text.hit"] == pytest.approx(hit.mean())
    alone = np.argsort(-(questions.rows.astype(np.float64) @ rows[:60].T), axis=1)[:, :10]
    assert found["mixed_text.hit_alone"] == pytest.approx((alone == np.arange(60)[:, None]).any(axis=1).mean())


def test_centring_takes_off_the_means_of_the_reference_or_of_the_views() -> None:
    subject = world(n=50)
    listed = mixed_list.candidates(subject, frozenset(names(50)))
    asked = subject.asked()[0].rows
    for space, mean in (
        (subject, subject.reference.queries),
        (replace(subject, reference=None), subject.views["text"].rows),
    ):
        moved, turned = mixed_list.centred(space, listed, "text", asked)
        np.testing.assert_allclose(turned, unit(asked - mean.mean(axis=0, dtype=np.float64)), atol=1e-6)
        for number, matrix in enumerate(subject.views.values()):
            expected = unit(matrix.rows - matrix.rows.mean(axis=0, dtype=np.float64))
            np.testing.assert_allclose(moved.rows[listed.view == number], expected, atol=1e-6)


def test_questions_at_levels_of_their_own_are_told_by_the_two_areas() -> None:
    subject = world(n=150, gap=0.0)
    lengths = np.random.default_rng(0).uniform(0.2, 3.0, size=(150, 1)).astype(np.float32)
    uneven = run(with_questions(subject, rows=subject.questions.rows * lengths))
    even = run(subject)
    assert uneven.numbers["text_visual.auc_within"] == pytest.approx(even.numbers["text_visual.auc_within"], abs=2e-2)
    assert uneven.numbers["text_visual.auc"] < even.numbers["text_visual.auc"] - 0.02
    assert "csls" in uneven.stages and "csls" not in even.stages


def test_a_caption_is_not_compared_with_its_own_words() -> None:
    subject = world(n=80)
    captions = with_questions(subject, kinds=("caption",) * 80, rows=subject.views["text"].rows)
    joint = replace(captions, views={**captions.views, "joint": captions.views["text"]})
    found = run(joint).numbers
    assert not [name for name in found if name.startswith(("caption_text", "caption_joint"))]
    rows = np.concatenate([m.rows for m in joint.views.values()]).astype(np.float64)
    scores = captions.questions.rows.astype(np.float64) @ rows.T
    for i in range(80):
        scores[i, [80 + i, 160 + i]] = -np.inf
    top = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    assert found["mixed_caption.hit"] == pytest.approx((top == np.arange(80)[:, None]).any(axis=1).mean())
    assert found["mixed_caption.text_share"] == pytest.approx(((top >= 80) & (top < 160)).mean())


def test_excluded_items_are_no_answers() -> None:
    subject = world(n=60)
    others = tuple(frozenset([f"{(i + 1) % 60:05d}"]) for i in range(60))
    found = run(with_questions(subject, excluded=others))
    questions, matrix = subject.asked()
    scores = questions.rows.astype(np.float64) @ matrix.rows.T.astype(np.float64)
    left = ~np.eye(60, dtype=bool)
    left[np.arange(60), (np.arange(60) + 1) % 60] = False
    assert found.numbers["text_visual.irrelevant"] == pytest.approx(scores[left].mean(), abs=1e-9)
    for ids, (question, *_) in found.exhibits[0].rows:
        number = int(str(question)[1:])
        assert ids[1] == f"{number:05d}" and ids[0] != f"{(number + 1) % 60:05d}"


def test_the_exhibit_shows_the_wrong_answers_that_lead_most() -> None:
    subject = world(n=70)
    questions, matrix = subject.asked()
    scores = questions.rows.astype(np.float64) @ matrix.rows.T.astype(np.float64)
    own = np.diag(scores).copy()
    np.fill_diagonal(scores, -np.inf)
    lead = scores.max(axis=1) - own
    rows = run(subject).exhibits[0].rows
    assert [row[1][0] for row in rows] == [f"q{i:05d}" for i in np.argsort(-lead)[:20] if lead[i] > 0]
    first = int(np.argmax(lead))
    assert rows[0][0] == (f"{scores[first].argmax():05d}", f"{first:05d}")


def test_a_rival_and_every_kind_have_numbers_of_their_own() -> None:
    subject, second = world(n=60), world(n=60, noise=0.2, seed=1)
    kinds = ("text",) * 30 + ("image",) * 27 + ("composed",) * 3
    both = replace(with_questions(subject, kinds=kinds), rival=replace(with_questions(second, kinds=kinds), name="two"))
    found = run(both)
    groups = {name.split(".")[0] for name in found.numbers}
    assert {f"{r}{k}_{v}" for r in ("", "rival_") for k in ("text", "image") for v in ("visual", "text")} < groups
    assert not [g for g in groups if "composed" in g], "three questions are too few"
    alone = run(replace(with_questions(second, kinds=kinds), name="two"))
    assert {name: value for name, value in found.numbers.items() if name.startswith("rival_")} == {
        f"rival_{name}": value for name, value in alone.numbers.items()
    }
    assert found.numbers["rival_text_visual.auc_within"] > found.numbers["text_visual.auc_within"]


def test_a_sample_of_items_is_drawn_by_the_seed_and_stands_for_all() -> None:
    subject = world(n=900)
    few = with_questions(
        subject,
        rows=subject.questions.rows[:60],
        ids=subject.questions.ids[:60],
        kinds=("text",) * 60,
        relevant=subject.questions.relevant[:60],
    )
    whole, first, again = run(few, sample=None), run(few, sample=300, seed=3), run(few, sample=300, seed=3)
    assert first == again and first.numbers != run(few, sample=300, seed=4).numbers
    assert (first.basis["n"], first.basis["seed"], first.basis["sample"]) == (60, 3, 300)
    assert 300 <= first.basis["items"]["text_visual"] <= 360 and whole.basis["items"]["text_visual"] == 900
    for name in ("text_visual.auc", "text_visual.auc_within", "text_visual.overlap", "text_visual.irrelevant"):
        assert first.numbers[name] == pytest.approx(whole.numbers[name], abs=0.06), name


def test_every_value_is_finite_and_plots_name_their_axes() -> None:
    subject = world(n=100)
    found = run(replace(subject, rival=world(n=100, seed=5)))
    assert all(value is None or math.isfinite(value) for value in found.numbers.values())
    assert all(low <= high and math.isfinite(high - low) for low, high in found.intervals.values())
    assert all(name.count(".") == 1 for name in found.numbers)
    assert all(found.numbers[name] is not None for name in found.intervals)
    json.dumps(found.basis)
    assert len({plot.name for plot in found.plots}) == len(found.plots)
    for plot in found.plots:
        assert plot.x and "(" in plot.y
        for trace in plot.traces:
            assert len(trace.x) == len(trace.y) and len(trace.low) in (0, len(trace.y))
            assert np.isfinite(trace.y).all()
    shown = next(plot for plot in found.plots if plot.name == "scores_text_visual")
    assert all(sum(trace.y) == pytest.approx(1.0) for trace in shown.traces)
    assert found.sentence.endswith(".") and found.advice.endswith(".")


def test_without_a_reference_and_with_few_questions() -> None:
    subject = world(n=8)
    found = run(replace(subject, reference=None))
    assert not [name for name in found.numbers if "null" in name]
    assert "text_share_centred" in {name.split(".")[1] for name in found.numbers}
    assert found.numbers["text_visual.threshold"] is None and found.numbers["text_visual.even"] is None
    assert "cannot be said from these" in found.sentence and "With only 8 items" in found.sentence
    zero = subject.views["visual"].rows.copy()
    zero[3] = 0
    views = {**subject.views, "visual": Matrix(names(8), zero)}
    assert run(replace(subject, views=views)).basis["items"]["text_visual"] == 7


def test_what_is_missing_is_asked_for() -> None:
    subject = world(n=10)
    with pytest.raises(RetrievalError, match="no questions to ask"):
        run(replace(subject, questions=None))
    with pytest.raises(RetrievalError, match="fewer than 4 questions of a kind have an answer"):
        run(with_questions(subject, relevant=(frozenset({"elsewhere"}),) * 10))


def test_it_is_in_the_table() -> None:
    assert DIAGNOSTICS["calibration"].run is run
