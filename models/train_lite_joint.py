"""Makes models/lite_joint.safetensors, the trained half of `lite-joint`, anew.

    python -m models.train_lite_joint --cache DIR [--output FILE] [--write]

Packages are fetched into DIR where they are not there yet, features are computed once and kept there (45 ms of a core
for each of 11,040 drawings); training after that took 889 s on two cores that were not idle. Needs the package
resvg_py, which renders the drawings that come as SVG. Everything is drawn by a fixed seed. Without --write and --output
the result is only compared with the weights that lie beside this file; `models.training.joint_report --weights FILE`
judges what --output wrote.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmretrieval import catalog
from models.class_texts import VECTORS, read_classes
from models.efficientnet_lite import VARIANTS, from_state
from models.lite_joint import Tokens
from models.lite_joint_grid import CHANNELS, Grid
from models.lite_joint_net import JointNet, Scale
from models.training.data import drawings
from models.training.joint import Material, Plan, Steps, WordStates, train
from models.training.joint_data import TRAINED, chosen, trainable, unlike_samples
from models.training.joint_grids import grids

WEIGHTS = Path(__file__).with_name("lite_joint.safetensors")
SAMPLES = Path(__file__).resolve().parent.parent / "samples"
SCALED_BY_EVERY = 4  # the means and deviations of places are those of every fourth drawing trained on
SMALLEST_DEVIATION = 1e-3


def prepared(cache: Path) -> tuple[Material, list[int]]:
    """The material, with a network before any training, and the places of the drawings that are trained on."""
    files = catalog.data_files("lite-joint", without=("joint",))
    classifier = from_state(VARIANTS["lite2"], torch.load(files["classifier"], map_location="cpu", weights_only=True))
    found = unlike_samples(cache, chosen(drawings(cache, (*TRAINED, "openmoji"))), SAMPLES)
    rows = grids(cache, Grid(classifier), found)
    trained = trainable(found)
    seen = torch.from_numpy(rows[trained[::SCALED_BY_EVERY]]).float().reshape(-1, CHANNELS)
    texts = load_file(VECTORS)["described"].float()
    deviation = seen.std(0).clamp_min(SMALLEST_DEVIATION)
    scale = Scale(seen.mean(0), deviation, classifier.fc.weight, classifier.fc.bias, texts)
    net = JointNet(load_file(files["sentences"]))
    return Material(found, rows, scale, WordStates(net, Tokens(files["tokenizer"]))), trained


def weights(material: Material) -> dict[str, Tensor]:
    """Everything that the encoder needs beside the packages' weights, as float16."""
    scale = material.scale
    fixed = {"mean": scale.mean, "deviation": scale.deviation, "class_texts": scale.class_texts}
    kept = dict(material.states.net.state_dict()) | fixed
    return {key: value.detach().to(torch.float16).contiguous() for key, value in kept.items()}


def save(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes the weights whole or not at all: under another name first."""
    fresh = path.with_name(path.name + ".new")
    try:
        save_file(tensors, fresh)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def apart(tensors: dict[str, Tensor], path: Path) -> float:
    """The largest difference of a number to the weights in a file; infinite where names or shapes are not the same."""
    kept = load_file(path)
    if {key: value.shape for key, value in kept.items()} != {key: value.shape for key, value in tensors.items()}:
        return math.inf
    return max(float((value.float() - kept[key].float()).abs().max()) for key, value in tensors.items())


def main(
    cache: Annotated[Path, typer.Option(help="Folder for the packages and the pictures' features")],
    output: Annotated[Path | None, typer.Option(help="Where the weights go, to be judged")] = None,
    write: Annotated[bool, typer.Option("--write", help=f"Replace {WEIGHTS.name}")] = False,
    steps: Annotated[int, typer.Option(help="Training steps")] = Plan.steps,
    threads: Annotated[int, typer.Option(help="Threads to compute with")] = 2,
) -> None:
    """Trains lite-joint and compares its weights with those that are kept."""
    if output is not None and not output.parent.is_dir():
        raise typer.BadParameter(f"{output.parent} is no folder: make it first", param_hint="--output")
    torch.set_num_threads(threads)
    torch.manual_seed(Plan.seed)
    began = time.monotonic()
    material, trained = prepared(cache)
    typer.echo(f"{len(material.drawings)} drawings, {len(trained)} to train on; {time.monotonic() - began:.0f} s")
    plan = Plan(steps=steps)

    def report(step: int, composed: float, plain: float) -> None:
        if (step + 1) % 20 == 0:
            passed = time.monotonic() - began
            typer.echo(f"step {step + 1}: composed {composed:.3f}, plain {plain:.3f}; {passed:.0f} s")

    classes = [c.text("described") for c in read_classes()]
    train(Steps(material, trained, plan, classes), material.states.net, plan, report)
    typer.echo(f"trained after {time.monotonic() - began:.0f} s")
    made = weights(material)
    if WEIGHTS.is_file():
        typer.echo(f"largest difference to the weights in {WEIGHTS.name}: {apart(made, WEIGHTS):.2g}")
    for path in [*([output] if output else []), *([WEIGHTS] if write else [])]:
        save(made, path)
        typer.echo(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    typer.run(main)
