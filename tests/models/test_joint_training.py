"""The network of lite-joint, its reading of pictures and words, and its training on a slice of a few drawings."""

from __future__ import annotations

import copy
import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import typer
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from mmretrieval import catalog
from models import train_lite_joint
from models.class_texts import VECTORS, read_classes
from models.efficientnet_lite import HEAD, VARIANTS, EfficientNetLite, from_state, prepare
from models.lite_joint import MAX_TOKENS, Tokens, padded
from models.lite_joint_grid import CHANNELS, LOOKS, SIDE, Grid, looks
from models.lite_joint_net import PREFIX, JointNet, Scale, Sight, Words
from models.minilm import MiniLM
from models.train_lite_joint import WEIGHTS
from models.training.drawing import Drawing
from models.training.joint import Material, Plan, Steps, WordStates, contrast, identical, pseudo, train
from models.training.joint_grids import grids

SHAPES = {"1F534": "ellipse", "1F7E5": "rectangle", "1F53A": "triangle", "1F4A0": "line"}
TEXTS = ["a red circle", "", "a longer sentence about boats on the sea"]


@functools.cache
def classifier() -> EfficientNetLite:
    path = catalog.data_files("lite-joint", without=("joint",))["classifier"]
    return from_state(VARIANTS["lite2"], torch.load(path, map_location="cpu", weights_only=True))


@functools.cache
def table() -> dict[str, torch.Tensor]:
    return load_file(catalog.data_files("lite-joint", without=("joint",))["sentences"])


def tokens() -> Tokens:
    return Tokens(catalog.data_files("lite-joint", without=("joint",))["tokenizer"])


def network(seed: int = 0) -> JointNet:
    torch.manual_seed(seed)
    return JointNet(table())


def scale() -> Scale:
    net = classifier()
    texts = load_file(VECTORS)["described"].float()
    return Scale(torch.zeros(CHANNELS), torch.ones(CHANNELS), net.fc.weight, net.fc.bias, texts)


def read(net: JointNet, rows: list[tuple[str, str]]) -> Words:
    ids, seen, pooled = padded([tokens().row(*row) for row in rows])
    return Words(net.read(ids, seen), seen, pooled)


def some_sight(count: int) -> Sight:
    places = torch.randn(count, SIDE * SIDE, CHANNELS, generator=torch.Generator().manual_seed(1)).abs()
    return scale().sight(places)


# --- pictures ------------------------------------------------------------------------------------------------------


def test_the_places_mean_is_what_the_classifier_reads() -> None:
    pictures = torch.rand(2, 3, 260, 260, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = classifier().features(pictures)
    places = Grid(classifier()).places(pictures)
    assert places.shape == (2, SIDE * SIDE, CHANNELS)
    torch.testing.assert_close(places[..., :HEAD].mean(1), expected, atol=1e-4, rtol=0)


def test_looks_are_colours_spreads_and_edges_of_each_place() -> None:
    picture = torch.zeros(1, 3, 12, 12)
    picture[:, 0] = 0.5
    picture[:, 1, :, 0::2] = 1.0  # green: columns of 1 and 0 in turn
    found = looks(picture)
    assert found.shape == (1, LOOKS, SIDE, SIDE)
    means, spread, edges = found[0, :12], found[0, 12:24], found[0, 24:]
    assert torch.equal(means[:4], torch.full((4, SIDE, SIDE), 0.5))  # red
    torch.testing.assert_close(means[4:8], torch.full((4, SIDE, SIDE), 0.5))
    torch.testing.assert_close(spread[4:8], torch.full((4, SIDE, SIDE), 0.5))
    assert torch.equal(spread[8:], torch.zeros(4, SIDE, SIDE))  # blue is flat
    torch.testing.assert_close(edges[:3].mean((1, 2)), torch.tensor([0.0, 1.0, 0.0]))  # across
    assert torch.equal(edges[3:], torch.zeros(3, SIDE, SIDE))  # down: nothing changes


# --- words ---------------------------------------------------------------------------------------------------------


def test_words_alone_have_minilms_own_vectors_whatever_was_trained() -> None:
    net = network().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)
        rows = net(read(net, [("", text) for text in TEXTS]))
    files = catalog.data_files("lite-0")
    expected = MiniLM(files["config"], files["sentences"], files["tokenizer"]).encode(TEXTS)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)


def test_rows_hold_the_instruction_and_count_all_but_it() -> None:
    ids, counted = tokens().row("change it", "red hair")
    plain, _ = tokens().row("", "red hair")
    assert counted == [1, 0, 0, 0, 1, 1, 1]  # [CLS] change it : red hair [SEP]
    assert [i for i, c in zip(ids, counted, strict=True) if c] == plain


def test_rows_are_cut_so_that_a_picture_still_fits() -> None:
    ids, counted = tokens().row("describe " * 100, "word " * 500)
    assert len(ids) == len(counted) == MAX_TOKENS == 256 - PREFIX
    assert counted.count(0) == 64
    assert ids[-1] == tokens().row("", "")[0][-1]


# --- the network ---------------------------------------------------------------------------------------------------


def test_padding_and_company_change_nothing() -> None:
    net, asked, sight = network().eval(), [("change it", text) for text in TEXTS], some_sight(3)
    with torch.no_grad():
        together = net(read(net, asked), sight)
        for i in range(3):
            alone = net(read(net, asked[i : i + 1]), Sight(sight.places[i : i + 1], sight.classes[i : i + 1]))
            torch.testing.assert_close(together[i], alone[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))


def test_picture_words_and_instruction_all_matter() -> None:
    net, sight = network().eval(), some_sight(2)
    asked = [("change it", "red"), ("change it", "red"), ("change it", "blue"), ("describe it", "red")]
    order = torch.tensor([0, 1, 0, 0])
    with torch.no_grad():
        rows = net(read(net, asked), Sight(sight.places[order], sight.classes[order]))
    cosines = rows @ rows[0]
    assert cosines[0] > 0.99999
    assert (cosines[1:] < 0.9999).all()


def test_a_low_rank_change_begins_as_none() -> None:
    net = network().eval()
    x = torch.randn(5, 384)
    for change in net.changes.values():
        if change.a.shape[1] == 384:
            assert torch.equal(change(x), torch.zeros(5, change.b.shape[0]))


# --- losses --------------------------------------------------------------------------------------------------------


def test_contrast_is_infonce_both_ways_without_false_negatives() -> None:
    a, b = F.normalize(torch.randn(3, 8), dim=1), F.normalize(torch.randn(3, 8), dim=1)
    scores = (a @ b.T / 0.1).double().numpy()
    scores[0, 2] = scores[2, 0] = -np.inf  # the first and the last show the same
    expected = np.mean(
        [np.log(np.exp(m).sum(1)) - np.diag(m) for m in (scores, scores.T)]  # -log softmax at the diagonal
    )
    found = contrast(a, b, identical(["x", "y", "x"]), torch.tensor(0.1))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_a_pseudo_picture_lies_at_its_class() -> None:
    sight = pseudo(scale(), torch.tensor([3, 500]), torch.Generator().manual_seed(0))
    texts = scale().class_texts
    nearest = (F.normalize(sight.classes, dim=1) @ F.normalize(texts, dim=1).T).argmax(1)
    assert nearest.tolist() == [3, 500]
    assert torch.equal(sight.places[..., HEAD:], torch.zeros(2, SIDE * SIDE, LOOKS))


# --- training ------------------------------------------------------------------------------------------------------


def drawn(folder: Path) -> list[Drawing]:
    """Four shapes in two styles and two tones, on disk."""
    found = []
    for source, border in (("google", 0), ("twitter", 6)):
        for tone, colour in (("", "gold"), ("dark", "saddlebrown")):
            for concept, shape in SHAPES.items():
                image = Image.new("RGB", (64, 64), "white")
                pen = ImageDraw.Draw(image)
                if shape == "triangle":
                    pen.polygon([(10, 50), (32, 8), (54, 50)], colour, "black", border)
                elif shape == "line":
                    pen.line([(8, 8), (56, 56)], colour, 9 - border)
                else:
                    getattr(pen, shape)((10, 10, 54, 54), colour, "black", border)
                place = folder / f"{source}-{concept}-{tone}.png"
                image.save(place)
                text = (f"{tone} {shape}".strip(),)
                key = f"{source}/{concept}/{tone}"
                found.append(Drawing(key, source, concept, concept, tone, "", text, "geometric", place))
    return found


def trained(folder: Path, drawings: list[Drawing], count: int) -> tuple[dict[str, torch.Tensor], list[float]]:
    net = network(5)
    material = Material(drawings, grids(folder, Grid(classifier()), drawings), scale(), WordStates(net, tokens()))
    plan = Plan(steps=count, pairs=8, rate=3e-3, warm=2, seed=4)
    losses: list[float] = []
    steps = Steps(material, range(len(drawings)), plan, [c.name for c in read_classes()])
    train(steps, net, plan, lambda _, composed, plain: losses.append(composed + plain))
    return copy.deepcopy(net.state_dict()), losses


def test_grids_are_computed_once_and_go_on_after_a_cut(tmp_path: Path) -> None:
    drawings, grid = drawn(tmp_path)[:5], Grid(classifier())
    first = grids(tmp_path, grid, drawings[:3])
    with (tmp_path / "joint_grids.f16").open("ab") as stream:
        stream.write(b"half a row of a run that was stopped")
    both = grids(tmp_path, grid, drawings[::-1])
    assert json.loads((tmp_path / "joint_keys.json").read_text("utf-8")) == [
        *(d.key for d in drawings[:3]), *(d.key for d in drawings[:2:-1])
    ]  # fmt: skip
    np.testing.assert_array_equal(both[::-1][:3], first)
    from models.training.drawing import picture

    alone = grid.places(prepare(picture(drawings[4]), 260)[None])[0].numpy()
    np.testing.assert_allclose(both[0], alone, atol=2e-2)


def test_training_is_the_same_twice_and_learns(tmp_path: Path) -> None:
    drawings = drawn(tmp_path)
    once, losses = trained(tmp_path, drawings, 12)
    again, _ = trained(tmp_path, drawings, 12)
    for name, value in once.items():
        assert torch.equal(value, again[name]), name
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
    fresh = network(5).state_dict()
    assert {name for name, value in once.items() if not torch.equal(value, fresh[name])} == set(fresh)


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights to compare with, and a command that trains on a few drawings instead of the packages'."""
    drawings = drawn(tmp_path)

    def prepared(cache: Path) -> tuple[Material, list[int]]:
        rows = grids(cache, Grid(classifier()), drawings)
        return Material(drawings, rows, scale(), WordStates(network(5), tokens())), list(range(len(drawings)))

    kept = tmp_path / "shipped.safetensors"
    train_lite_joint.save(train_lite_joint.weights(prepared(tmp_path)[0]), kept)
    monkeypatch.setattr(train_lite_joint, "prepared", prepared)
    monkeypatch.setattr(train_lite_joint, "WEIGHTS", kept)
    return kept


def ran(folder: Path, output: Path | None = None, write: bool = False) -> None:
    train_lite_joint.main(folder, output, write, steps=1, threads=torch.get_num_threads())


def test_the_command_replaces_the_kept_weights_only_when_told(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, made = shipped.read_bytes(), tmp_path / "made.safetensors"
    ran(tmp_path)
    assert re.search(r"largest difference to the weights in shipped.safetensors: \d", capsys.readouterr().out)
    ran(tmp_path, made)
    assert shipped.read_bytes() == before
    ran(tmp_path, write=True)
    assert shipped.read_bytes() == made.read_bytes() != before
    assert 0 < train_lite_joint.apart(train_lite_joint.load_file(made), WEIGHTS) < np.inf
    with pytest.raises(typer.BadParameter, match="no folder"):
        ran(tmp_path, tmp_path / "nowhere" / "w.safetensors")


def test_a_training_that_fails_leaves_the_kept_weights(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, files = shipped.read_bytes(), sorted(tmp_path.iterdir())

    def half(tensors: object, path: Path) -> None:
        path.write_bytes(before[:100])
        raise OSError("no space left on the device")

    monkeypatch.setattr(train_lite_joint, "save_file", half)
    with pytest.raises(OSError, match="no space left"):
        ran(tmp_path, write=True)
    assert shipped.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == files


def test_weights_of_other_shapes_are_infinitely_far(tmp_path: Path) -> None:
    train_lite_joint.save({"a": torch.ones(2, 3), "b": torch.zeros(1)}, tmp_path / "w")
    assert train_lite_joint.apart({"a": torch.full((2, 3), 1.5), "b": torch.zeros(1)}, tmp_path / "w") == 0.5
    assert train_lite_joint.apart({"a": torch.ones(3, 2), "b": torch.zeros(1)}, tmp_path / "w") == np.inf
    assert train_lite_joint.apart({"a": torch.ones(2, 3)}, tmp_path / "w") == np.inf
