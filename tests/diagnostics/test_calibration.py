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
    """Items of two views, each moved along a direction of its own by `gap`, with a question for each, as texts are.

    The null questions lie where texts do, and the bank of the reference asks for items, as a dataset's may.
    """
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, D)) / math.sqrt(D)
    to_visual, to_text = gap * np.eye(D)[0], gap * np.eye(D)[1]

    def made(offset: np.ndarray, spread: float) -> np.ndarray:
        return unit(hidden + spread * rng.normal(size=(n, D)) / math.sqrt(D) + offset)

    ids = names(n)
    views = {"visual": Matrix(ids, made(to_visual, noise)), "text": Matrix(ids, made(to_text, noise))}
    asked = made(to_text if kind == "text" else to_visual, 0.3)
    bank, nulls = made(to_text, 0.3)[:40], unit(rng.normal(size=(30, D)) / math.sqrt(D) + to_text)
    questions = Questions(asked, tuple(f"q{i}" for i in ids), (kind,) * n, tuple(frozenset([i]) for i in ids))
    reference = Reference({"visual": views["visual"], "text": views["text"]}, {"text": bank}, bank)
    return Subject(views, "visual", "one", questions, reference, nulls=nulls)


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


def test_of_several_views_the_one_farthest_from_its_share_is_spoken_of() -> None:
    subject = world(gap=2.0)
    items = subject.views["text"].ids
    rng = np.random.default_rng(5)
    away = Matrix(items, unit(rng.normal(size=(len(items), D)) / math.sqrt(D) + 2 * np.eye(D)[3]))
    views = {"a": subject.views["visual"], "b": subject.views["text"], "c": away}
    three = replace(subject, views=views, searched="a", labels={"a": "pictures", "b": "words", "c": "sounds"})
    found = run(three)
    shares = {v: found.numbers[f"mixed_text.{v}_share"] for v in "abc"}
    assert shares["b"] > 0.9 and max(shares["a"], shares["c"]) < 0.1
    assert f"{shares['b']:.0%} of the first 10 answers to questions in words are words" in found.sentence
    assert f"(words: {shares['b']:.0%} where 33% are listed)" in found.advice


def test_a_recipe_that_searches_views_apart_is_not_told_to() -> None:
    assert "search views apart, as @all does" in run(world()).advice
    told = run(replace(world(), name="lite@all,center")).advice
    assert "this recipe searches views apart" in told and "as @all does" not in told


def test_items_without_direction_and_excluded_ones_weigh_nothing() -> None:
    """They are no answers that were left undrawn: the numbers are those of the library without them."""
    subject = world()
    matrix = subject.views["visual"]
    more = tuple(f"x{i:03d}" for i in range(60))
    zero = Matrix((*matrix.ids, *more), np.concatenate([matrix.rows, np.zeros((60, D), dtype=np.float32)]))
    found = run(replace(subject, views={"visual": zero, "text": subject.views["text"]})).numbers
    plain = run(subject).numbers
    left = np.concatenate([matrix.rows, np.tile(matrix.rows[:1], (60, 1))])
    many = with_questions(
        replace(subject, views={"visual": Matrix((*matrix.ids, *more), left), "text": subject.views["text"]}),
        excluded=(frozenset(more),) * len(matrix.ids),
    )
    excluded = run(many).numbers
    for name in ("auc", "auc_within", "threshold", "precision", "recall", "irrelevant"):
        assert found[f"text_visual.{name}"] == pytest.approx(plain[f"text_visual.{name}"], abs=1e-12), name
        assert excluded[f"text_visual.{name}"] == pytest.approx(plain[f"text_visual.{name}"], abs=1e-12), name


def test_null_scores_are_those_of_the_null_questions_and_not_of_the_bank() -> None:
    subject = world()
    questions, matrix = subject.asked()
    wide = matrix.rows.T.astype(np.float64)
    own = np.diag(questions.rows.astype(np.float64) @ wide)
    nulls, bank = subject.nulls.astype(np.float64) @ wide, subject.reference.queries.astype(np.float64) @ wide
    finding = run(subject)
    found = finding.numbers
    assert found["null_visual.mean"] == pytest.approx(nulls.mean())
    assert found["null_visual.deviation"] == pytest.approx(nulls.std())
    best = np.quantile(nulls.max(axis=1), 0.95)
    assert found["null_visual.best"] == pytest.approx(best)
    assert best < np.quantile(bank.max(axis=1), 0.95) - 0.02
    assert found["text_visual.above_null"] == pytest.approx((own > best).mean())
    assert not [said for said in finding.absent if "generic captions" in said]
    shown = next(plot for plot in finding.plots if plot.name == "scores_text_visual")
    (grey,) = [trace for trace in shown.traces if trace.name == "generic captions, all items"]
    assert np.dot(grey.x, grey.y) == pytest.approx(nulls.mean(), abs=grey.x[1] - grey.x[0])
    assert shown.dashed["best of 95 % of generic captions"] == pytest.approx(best)
    assert "a score that many of their pairs reach says little" in shown.note


def test_null_questions_without_direction_are_left_out() -> None:
    subject = world()
    some = subject.nulls.copy()
    some[::2] = 0
    assert run(replace(subject, nulls=some)).numbers == run(replace(subject, nulls=subject.nulls[1::2])).numbers
    none = run(replace(subject, nulls=np.zeros_like(some)))
    assert none.numbers == run(replace(subject, nulls=None)).numbers
    assert len([said for said in none.absent if "generic captions" in said]) == 1


def test_without_null_questions_nothing_is_said_of_them_but_that() -> None:
    subject = replace(world(), nulls=None)
    finding = run(subject)
    assert not [name for name in finding.numbers if "null" in name]
    shown = next(plot for plot in finding.plots if plot.name == "scores_text_visual")
    assert [trace.name for trace in shown.traces] == ["relevant items", "other items"]
    assert not [name for name in shown.dashed if "generic" in name] and "captions" not in shown.note
    (said,) = [said for said in finding.absent if "generic captions" in said]
    assert said == (
        "How generic captions score, written with no item in mind, is not shown for one: none have a vector here, as "
        "where an encoder reads no words."
    )
    rival = replace(world(seed=1), name="two")
    both = run(replace(world(), rival=replace(rival, nulls=None)))
    assert "null_visual.best" in both.numbers and "rival_null_visual.best" not in both.numbers
    assert [said.split(":")[0][-3:] for said in both.absent if "generic captions" in said] == ["two"]


def test_questions_by_picture_are_not_held_against_captions() -> None:
    finding = run(world(kind="image"))
    assert "null_visual.best" in finding.numbers and "image_visual.above_null" not in finding.numbers
    shown = next(plot for plot in finding.plots if plot.name == "scores_image_visual")
    assert "another level" in shown.note and "says little" not in shown.note
    assert list(shown.dashed) == [name for name in shown.dashed if "generic" not in name]


def blanked(subject: Subject, places: np.ndarray) -> Subject:
    rows = subject.questions.rows.copy()
    rows[places] = 0
    return with_questions(subject, rows=rows)


def only(subject: Subject, places: np.ndarray) -> Subject:
    asked = subject.questions
    return with_questions(
        subject,
        rows=asked.rows[places],
        ids=tuple(asked.ids[i] for i in places),
        kinds=tuple(asked.kinds[i] for i in places),
        relevant=tuple(asked.relevant[i] for i in places),
    )


def test_questions_without_direction_are_not_asked() -> None:
    subject = world(n=160)
    order = np.random.default_rng(5).permutation(160)
    blank, left = np.sort(order[:80]), np.sort(order[80:])
    found, expected = run(blanked(subject, blank)), run(only(subject, left))
    assert found.numbers == expected.numbers and found.intervals == expected.intervals
    assert (found.basis["zero_rows"], expected.basis["zero_rows"]) == (80, 0)
    assert found.basis["questions"] == {"text": 80} and found.basis["n"] == 80
    perfect = world(n=400, gap=0.0, noise=0.0)
    rows = perfect.views["visual"].rows.copy()
    rows[::2] = 0
    assert run(with_questions(perfect, rows=rows)).numbers["text_visual.auc_within"] == pytest.approx(1.0, abs=2e-3)
    with pytest.raises(RetrievalError, match=r"have an answer among the items of one, and 157 have a zero row: take"):
        run(blanked(subject, np.arange(157)))


def test_a_rivals_questions_without_direction_are_counted_by_themselves() -> None:
    both = replace(world(n=60), rival=replace(blanked(world(n=60, seed=1), np.arange(7)), name="two"))
    found = run(both)
    assert (found.basis["zero_rows"], found.basis["rival_zero_rows"]) == (0, 7)
    alone = run(only(world(n=60, seed=1), np.arange(7, 60)))
    assert found.numbers["rival_text_visual.auc_within"] == alone.numbers["text_visual.auc_within"]


def test_captions_are_known_for_copies_though_most_have_no_direction() -> None:
    subject = world(n=90)
    views = {"a": subject.views["visual"], "b": subject.views["text"]}
    rows = views["b"].rows.copy()
    rows[10:] = 0
    captions = with_questions(replace(subject, views=views, searched="a"), kinds=("caption",) * 90, rows=rows)
    assert "b" in mixed_list.own_words(captions) and "a" not in mixed_list.own_words(captions)
    assert not [name for name in run(captions).numbers if name.startswith("caption_b")]


def test_a_question_that_centring_leaves_nothing_of_has_no_places() -> None:
    subject = world(n=40)
    listed = mixed_list.candidates(subject, frozenset(names(40)))
    places = np.arange(40)
    rows = subject.questions.rows.copy()
    whole = mixed_list.mixed(listed, subject.questions, places, rows, 10, "visual")
    rows[[3, 8]] = 0
    found = mixed_list.mixed(listed, subject.questions, places, rows, 10, "visual")
    for before, after in ((whole.shares, found.shares), (whole.hit, found.hit), (whole.alone, found.alone)):
        assert np.isnan(after[[3, 8]]).all()
        np.testing.assert_array_equal(np.delete(after, [3, 8], axis=0), np.delete(before, [3, 8], axis=0))


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
    assert "text_share_centred" in {name.split(".")[1] for name in found.numbers}
    assert found.numbers["text_visual.threshold"] is None and found.numbers["text_visual.even"] is None
    assert "cannot be said from these" in found.sentence and "With only 8 items" in found.sentence
    zero = subject.views["visual"].rows.copy()
    zero[3] = 0
    views = {**subject.views, "visual": Matrix(names(8), zero)}
    assert run(replace(subject, views=views)).basis["items"]["text_visual"] == 7
    views = {**subject.views, "text": Matrix(names(8), np.zeros_like(zero))}
    assert set(run(replace(subject, views=views)).basis["items"]) == {"text_visual"}


def test_what_is_missing_is_asked_for() -> None:
    subject = world(n=10)
    with pytest.raises(RetrievalError, match="no questions to ask"):
        run(replace(subject, questions=None))
    with pytest.raises(RetrievalError, match="fewer than 4 questions of a kind have an answer"):
        run(with_questions(subject, relevant=(frozenset({"elsewhere"}),) * 10))


def test_it_is_in_the_table() -> None:
    assert DIAGNOSTICS["calibration"].run is run
