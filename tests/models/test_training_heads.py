"""Training the heads on a small made-up world, and what is kept of the real training."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from mmretrieval import catalog
from models.heads import read_heads
from models.train_lite import FIGURES, HASHES, HEADS, report, sample_hashes
from models.training.contrast import BLOCKED, Material, Plan, contrast, draw, padded, pseudo_pictures, train
from models.training.drawing import Drawing
from models.training.hashes import near
from models.training.judge import hits, scores, trial

CONCEPTS, EACH, WIDTH, SENTENCE = 40, 3, 48, 24
PLAN = Plan(dim=16, steps=60, batch=30, classes=8)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Matrices this small are not worth a second thread, and the training itself runs in one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def world(seed: int = 0) -> Material:
    """Concepts with a direction of their own in both spaces, drawn three times with noise; eight classes besides."""
    chance = torch.Generator().manual_seed(seed)
    shown = torch.rand(CONCEPTS, WIDTH, generator=chance)
    noise = 0.1 * torch.rand(CONCEPTS * EACH, WIDTH, generator=chance)
    texts = F.normalize(torch.randn(CONCEPTS + 1, SENTENCE, generator=chance), dim=1)
    return Material(
        shown.repeat_interleave(EACH, dim=0) + noise,
        texts,
        padded([range(EACH * c, EACH * c + EACH) for c in range(CONCEPTS)]),
        padded([[c, CONCEPTS] if c % 2 else [c] for c in range(CONCEPTS) for _ in range(EACH)]),
        torch.rand(8, WIDTH, generator=chance),
        F.normalize(torch.randn(8, SENTENCE, generator=chance), dim=1),
    )


def test_lists_are_padded() -> None:
    assert padded([[1], [2, 3], [4, 5, 6]]).tolist() == [[1, -1, -1], [2, 3, -1], [4, 5, 6]]


def test_training_is_decided_by_its_seed() -> None:
    first, again = train(world(), PLAN), train(world(), PLAN)
    other = train(world(), dataclasses.replace(PLAN, seed=1))
    for name, tensor in first.tensors().items():
        assert torch.equal(tensor, again.tensors()[name])
        assert not torch.equal(tensor, other.tensors()[name])
        assert not tensor.requires_grad


def test_training_brings_drawings_to_their_words() -> None:
    made = world()
    heads = train(made, dataclasses.replace(PLAN, steps=200))
    images, words = heads.image(made.features), heads.text(made.texts)
    assert images.shape == (CONCEPTS * EACH, 16)
    torch.testing.assert_close(images.norm(dim=1), torch.ones(len(images)))
    found = (images @ words.T).argmax(1)
    assert (found == made.said[:, 0]).float().mean() > 0.9  # 0.02 by chance


def test_a_batch_holds_different_concepts_with_texts_of_their_own() -> None:
    made = world()
    features, texts = draw(made, PLAN, torch.Generator().manual_seed(3))
    assert features.shape == (38, WIDTH)
    assert texts.shape == (38, SENTENCE)
    drawn = (features[:30, None] == made.features[None]).all(-1).int().argmax(1)
    assert len(set((drawn // EACH).tolist())) == 30
    said = (texts[:30, None] == made.texts[None]).all(-1).int().argmax(1)
    assert all(text in made.said[place] for place, text in zip(drawn.tolist(), said.tolist(), strict=True))


def test_what_says_the_same_is_no_negative() -> None:
    axes = torch.eye(4)
    scale = torch.tensor(math.log(2.0))
    texts = F.normalize(torch.tensor([[1.0, 0, 0], [1, 0.1, 0], [0, 0, 1]]), dim=1)
    loss = contrast(axes[:3], axes[:3], texts, scale, same=0.75)
    logits = 2 * torch.eye(3)
    logits[0, 1] = logits[1, 0] = BLOCKED
    expected = F.cross_entropy(logits, torch.arange(3))
    torch.testing.assert_close(loss, expected)


def test_pseudo_pictures_lead_back_to_the_classes_means() -> None:
    """Classes with one covariance: linear discriminant analysis' rows, put through it, point at the means again."""
    chance = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=chance) / 2
    means = 20 + 3 * torch.randn(5, 6, generator=chance)
    labels = torch.arange(5).repeat_interleave(4000)
    features = means[labels] + torch.randn(len(labels), 6, generator=chance) @ mixing
    rows = (means - means.mean(0)) @ torch.linalg.inv(mixing.T @ mixing)
    made = pseudo_pictures(rows, features, labels, shrink=0.0)
    assert F.cosine_similarity(made - features.mean(0), means - means.mean(0)).min() > 0.99
    assert pseudo_pictures(rows, features - 20, labels).min() >= 0


# --- judging -------------------------------------------------------------------------------------------------------


def test_hits_count_ties_against_the_right_picture() -> None:
    right = torch.zeros(3, 12, dtype=torch.bool)
    right[:, 0] = True
    table = torch.zeros(3, 12)
    table[0, 0] = 1.0
    table[1, 1:10] = 1.0  # nine are better, two equal
    table[2, 1:10], table[2, 10:] = 1.0, -1.0
    assert hits(table, right).tolist() == [True, False, True]


def test_chance_is_that_of_a_random_order() -> None:
    drawings = [
        Drawing(f"a/{i}", "a", str(i), str(i // 2), "", "", (f"thing {i // 2}",), "", Path()) for i in range(30)
    ]
    made = trial("a", drawings, torch.zeros(30, 4), lambda d: d.texts[0])
    assert made.right.shape == (15, 30)
    assert made.chance == pytest.approx(1 - (20 * 19) / (30 * 29))


def test_both_halves_score_as_the_row_of_both_does() -> None:
    chance = torch.Generator().manual_seed(0)
    unit = [F.normalize(torch.randn(5, 7, generator=chance), dim=1) for _ in range(4)]
    both = scores({"conse": (unit[0], unit[1]), "trained": (unit[2], unit[3])}, 0.8)["both"]
    words, pictures = (F.normalize(torch.cat([a, 0.8 * b], dim=1), dim=1) for a, b in (unit[::2], unit[1::2]))
    torch.testing.assert_close(both, words @ pictures.T)


# --- what is kept of the training ----------------------------------------------------------------------------------


def test_the_heads_fit_their_encoder() -> None:
    heads = read_heads(HEADS)
    assert heads.image_weight.shape[1] == 1280
    assert heads.text_weight.shape[1] == 384
    assert catalog.card("lite").dim == 384 + len(heads.image_bias) == 384 + len(heads.text_bias)
    plan = json.loads(FIGURES.read_text("utf-8"))["plan"]
    assert catalog.blocks()["lite"].settings["trained_weight"] == plan["weight"]
    assert all(tensor.isfinite().all() for tensor in heads.tensors().values())
    assert HEADS.stat().st_size < 10_000_000


def test_no_sample_picture_was_trained_on() -> None:
    with np.load(HASHES) as kept:
        trained = kept["hashes"]
    figures = json.loads(FIGURES.read_text("utf-8"))
    assert len(trained) == sum(figures["trained_on"].values()) > 5000
    assert not near(trained, sample_hashes()).any()


def test_the_model_card_says_what_was_measured() -> None:
    rows = json.loads(FIGURES.read_text("utf-8"))["hit@10"]
    card = (Path(__file__).parents[2] / "docs" / "lite.md").read_text("utf-8")
    assert report(rows) in card
