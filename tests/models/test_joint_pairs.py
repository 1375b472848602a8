"""What composed pairs are made of, and that nothing that is judged is trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.training.drawing import Drawing
from models.training.joint_data import chosen, trainable, unlike_samples
from models.training.joint_eval import interval, judge, mixed, sampled
from models.training.joint_pairs import (
    FAMILIES,
    GENDERS,
    STYLES,
    TONES,
    Pair,
    clip_art,
    double_changes,
    exchanges,
    pair,
    single_changes,
    trained_pairs,
    untrained_changes,
)


def emoji(source: str, concept: str, tone: str = "", gender: str = "", kind: str = "person sport") -> Drawing:
    texts = (f"{concept.lower()} name",)
    return Drawing(
        f"{source}/{concept}/{tone}/{gender}", source, concept, concept, tone, gender, texts, kind, Path("x")
    )


def art(name: str, *keywords: str) -> Drawing:
    texts = (name, ", ".join(keywords))
    return Drawing(
        f"openclipart/{name}", "openclipart", "author a", f"text {name}", "", "", texts, "animals", Path("x")
    )


PEOPLE = [
    emoji(source, "1F3C4", tone, gender)
    for source in ("google", "twitter", "openmoji")
    for tone in ("", "dark")
    for gender in ("", "man", "woman")
]


def test_a_single_change_changes_one_thing_and_says_what_it_becomes() -> None:
    pairs = single_changes(PEOPLE)
    assert {p.relation for p in pairs} == {"style", "tone", "gender"}
    for one in pairs:
        before, after = PEOPLE[one.query], PEOPLE[one.target]
        states = {"style": (before.source, after.source), "tone": (before.tone, after.tone)}
        states["gender"] = (before.gender, after.gender)
        assert [name for name, (was, is_) in states.items() if was != is_] == [one.relation]
        table = {"style": STYLES, "tone": TONES, "gender": GENDERS}[one.relation]
        assert one.wordings == tuple(table[states[one.relation][1]])
    # 18 drawings: 2 other styles, 1 other tone, 2 other genders each
    assert len(pairs) == 18 * (2 + 1 + 2)


def test_every_pair_has_its_inverse_in_the_same_cycle() -> None:
    pairs = single_changes(PEOPLE)
    known = {(p.query, p.target, p.relation): p.cycle for p in pairs}
    for one in pairs:
        assert known[one.target, one.query, one.relation] == one.cycle


def test_a_double_change_says_both() -> None:
    pairs = double_changes(PEOPLE)
    assert pairs
    for one in pairs:
        before, after = PEOPLE[one.query], PEOPLE[one.target]
        assert before.tone != after.tone and before.source != after.source and before.gender == after.gender
        assert one.wordings[0] == f"{TONES[after.tone][0]}, {STYLES[after.source][0]}"


def test_exchanges_stay_in_style_and_kind_and_never_lead_within_a_family() -> None:
    hearts = [emoji("google", c, kind="heart") for c in FAMILIES if FAMILIES[c] == "heart"]
    fruits = [emoji("google", c, kind="heart") for c in ("1F34C", "1F347", "1F353")]
    drawings = hearts + fruits + [emoji("twitter", "1F34C", kind="heart"), emoji("google", "1F415", kind="animal")]
    pairs = exchanges(drawings, seed=3)
    assert pairs
    for one in pairs:
        before, after = drawings[one.query], drawings[one.target]
        assert (before.source, before.kind) == (after.source, after.kind)
        assert not (before in hearts and after in hearts)
        assert one.wordings[0] == f"{after.texts[0]} instead"
    assert pairs == exchanges(drawings, seed=3)


def test_untrained_changes_are_in_no_trained_relation() -> None:
    drawings = [emoji("google", c, kind="heart") for c in ("2764", "1F499", "1F436", "1F415")]
    changes = untrained_changes(drawings)
    assert {(p.query, p.target): p.wordings[0] for p in changes} == {
        (0, 1): "in blue",
        (1, 0): "in red",
        (2, 3): "the whole animal",
        (3, 2): "only its face",
    }
    trained = {(p.query, p.target) for pairs in trained_pairs(drawings, 0).values() for p in pairs}
    assert trained.isdisjoint({(p.query, p.target) for p in changes})


def test_clip_art_is_led_by_a_keyword_that_the_query_lacks_and_one_that_both_have() -> None:
    drawings = [art("a", "bird", "sea"), art("b", "bird", "night"), art("c", "night", "car"), art("d", "car", "red")]
    pairs = clip_art(drawings, seed=0)
    assert pairs
    for one in pairs:
        before, after = (set(drawings[p].texts[1].split(", ")) for p in (one.query, one.target))
        assert before & after
        assert one.wordings[0] in after - before


def test_flags_mixed_tones_and_seen_concepts_of_the_unseen_style_take_no_part() -> None:
    held = next(c for c in (f"1F4{i:02X}" for i in range(256)) if emoji("google", c).held_out)
    seen = next(c for c in (f"1F4{i:02X}" for i in range(256)) if not emoji("google", c).held_out)
    given = [
        emoji("google", "1F1E6-1F1E8"),
        emoji("google", seen, "mixed"),
        emoji("openmoji", seen),
        emoji("openmoji", held),
        emoji("google", held, "dark"),
        emoji("google", seen),
        emoji("gcompris-drawings", held),
    ]
    assert chosen(given) == [given[3], given[4], given[5]]


def test_no_held_out_concept_is_trained_on_in_any_style_tone_or_gender() -> None:
    codes = [f"1F4{i:02X}" for i in range(256)]
    given = [
        emoji(source, code, tone, gender)
        for source in STYLES
        for code in codes
        for tone in ("", "dark")
        for gender in ("", "woman")
    ]
    places = trainable(given)
    trained, held = {given[p].concept for p in places}, {d.concept for d in given if d.held_out}
    assert trained.isdisjoint(held)
    assert trained | held == set(codes)
    assert {given[p].source for p in places} == set(STYLES) - {"openmoji"}
    pairs = trained_pairs([given[p] for p in places], 0)
    assert {given[places[p.target]].concept for many in pairs.values() for p in many} <= trained


def test_clip_art_that_a_sample_shows_is_left_out(tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    pixels = np.random.default_rng(0).integers(0, 200, (2, 12, 12, 3)).astype(np.uint8)
    drawings = []
    for name, small in zip("ab", pixels, strict=True):
        place = tmp_path / f"{name}.png"
        Image.fromarray(small).resize((240, 240), Image.Resampling.BICUBIC).save(place)
        drawings.append(replace(art(name, "bird"), place=place))
    with Image.open(tmp_path / "a.png") as shown:
        shown.resize((150, 150)).save(samples / "a.webp", quality=80)
    assert unlike_samples(tmp_path, drawings, samples) == drawings[1:]
    assert unlike_samples(tmp_path, drawings, samples) == drawings[1:]  # the kept hashes say the same


# --- judging -------------------------------------------------------------------------------------------------------


def test_ranks_leave_the_query_out_and_count_ties_against() -> None:
    gallery = np.array([[1, 0], [0.8, 0.6], [0.8, 0.6], [0, 1]], dtype=np.float32)
    pairs = [pair(10, 11, "style", ("x",)), pair(10, 13, "style", ("x",))]
    judged = judge(np.array([[1, 0], [0, 1]], dtype=np.float32), gallery, pairs, [10, 11, 12, 13])
    assert judged.ranks.tolist() == [2, 1]  # 11 ties with 12; 10 itself is out of the first
    assert judged.candidates == 3
    assert judged.hit(1) == 0.5
    assert judged.chance(1) == pytest.approx(1 / 3)


def test_sums_are_unit_and_weighted() -> None:
    rows = mixed(np.array([[1, 0]], dtype=np.float32), np.array([[0, 1]], dtype=np.float32), 0.25)
    np.testing.assert_allclose(rows, [[3 / 10**0.5, 1 / 10**0.5]], rtol=1e-6)


def test_the_interval_draws_whole_concepts() -> None:
    one, other = np.array([True] * 6 + [False] * 2), np.zeros(8, dtype=bool)
    assert interval(one, other, ["a"] * 4 + ["b"] * 4) == (0.5, 1.0)  # a alone: 1, b alone: 1/2
    assert interval(one, one, list("abcdefgh")) == (0.0, 0.0)


def test_samples_take_concepts_in_turn() -> None:
    drawings = [emoji("google", "A")] * 50 + [emoji("google", "B")] * 2
    pairs = [Pair(i, i, "style", ("x",), (i, i)) for i in range(52)]
    some = sampled(pairs, drawings, 4)
    assert sorted(drawings[p.query].concept for p in some) == ["A", "A", "B", "B"]
    assert len(sampled(pairs, drawings, 999)) == 52
