"""Makes models/lite_heads.safetensors, the trained half of `lite`, anew from the packages that its drawings come from.

    python -m models.train_lite --cache DIR [--write]

Packages are fetched into DIR where they are not there yet (npm and apt-get must reach their registries then), features
are computed once and kept there. Needs the package resvg_py beside the project's own requirements. Without --write the
result is only judged and compared with the weights that lie beside this file.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from mmretrieval import catalog
from mmretrieval.media.image import to_rgb
from models.class_texts import read_classes
from models.efficientnet_fast import FastEfficientNet
from models.efficientnet_lite import VARIANTS, from_state
from models.heads import Heads, read_heads
from models.lite import conse
from models.minilm import MiniLM
from models.training.contrast import Material, Plan, padded, pseudo_pictures, train
from models.training.data import JUDGED, TRAINED, drawings, plain_emoji
from models.training.features import Featured, featured, joined
from models.training.hashes import Hashes, hashes, near
from models.training.judge import Trial, hits, scores, trial

HEADS = Path(__file__).with_name("lite_heads.safetensors")
HASHES = Path(__file__).with_name("training") / "hashes.npz"
FIGURES = Path(__file__).with_name("training") / "figures.json"
SAMPLES = Path(__file__).resolve().parent.parent / "samples"
SUFFIXES = {".webp", ".png", ".jpg", ".jpeg"}
log = logging.getLogger("models.train_lite")


@dataclass(frozen=True, eq=False)
class Frozen:
    """What is not trained: the classifier with its last layer, the sentence encoder, the classes' embeddings."""

    network: FastEfficientNet
    weight: Tensor
    bias: Tensor
    sentences: MiniLM
    classes: Tensor
    temperature: float
    top: int

    def conse(self, features: Tensor) -> Tensor:
        """Unit rows (n, 384) of pooled features (n, 1280): the untrained half."""
        rows = conse(features @ self.weight.T + self.bias, self.classes, self.temperature, self.top)
        return torch.nn.functional.normalize(rows, dim=1)


def classifier() -> FastEfficientNet:
    """The network of `lite`, on as many threads as torch has when this is called."""
    variant = VARIANTS[catalog.blocks()["lite"].settings["variant"]]
    file = catalog.data_files("lite", without=("heads",))["classifier"]
    state = torch.load(file, map_location="cpu", weights_only=True)
    return FastEfficientNet(from_state(variant, state), variant.side)


def frozen(network: FastEfficientNet) -> Frozen:
    """The frozen parts of `lite` as the catalogue describes them."""
    files = catalog.data_files("lite", without=("heads",))
    settings = catalog.blocks()["lite"].settings
    state = torch.load(files["classifier"], map_location="cpu", weights_only=True)
    sentences = MiniLM(files["config"], files["sentences"], files["tokenizer"])
    classes = sentences.encode_many([c.text(settings["class_text"]) for c in read_classes()])
    return Frozen(
        network,
        state["_fc.weight"].float(),
        state["_fc.bias"].float(),
        sentences,
        classes,
        float(settings["temperature"]),
        int(settings["top"]),
    )


def sample_hashes() -> Hashes:
    """The perceptual hashes (n, 2) of every picture in samples/, which evaluations are made from."""
    paths = sorted(path for path in SAMPLES.rglob("*") if path.suffix in SUFFIXES)
    return np.stack([hashes(to_rgb(Image.open(path))) for path in paths])


def collect(cache: Path, parts: Frozen) -> dict[str, Featured]:
    """The features of every source, without skin tone variants and without what lies in samples/."""
    known, samples = [d for d in drawings(cache) if plain_emoji(d)], sample_hashes()
    found = {}
    for source in TRAINED + JUDGED:
        start = time.perf_counter()
        whole = featured(cache, source, [d for d in known if d.source == source], parts.network)
        found[source] = whole.where(~near(whole.hashes, samples))
        log.info(
            "%s: %d pictures in %.0f s, %d of them dropped as near a picture in samples/",
            source,
            len(whole.drawings),
            time.perf_counter() - start,
            len(whole.drawings) - len(found[source].drawings),
        )
    return found


def trained_on(found: dict[str, Featured]) -> Featured:
    """The training part: the four sources without the groups that are held out."""
    whole = joined([found[source] for source in TRAINED])
    return whole.where(np.array([not drawing.held_out for drawing in whole.drawings]))


def material(training: Featured, parts: Frozen) -> Material:
    """The tables that the training reads."""
    concepts = {concept: place for place, concept in enumerate(dict.fromkeys(d.concept for d in training.drawings))}
    texts = {text: place for place, text in enumerate(dict.fromkeys(t for d in training.drawings for t in d.texts))}
    of = [concepts[drawing.concept] for drawing in training.drawings]
    members: list[list[int]] = [[] for _ in concepts]
    for place, concept in enumerate(of):
        members[concept].append(place)
    return Material(
        training.rows,
        parts.sentences.encode_many(list(texts)),
        padded(members),
        padded([[texts[text] for text in drawing.texts] for drawing in training.drawings]),
        pseudo_pictures(parts.weight, training.rows, torch.tensor(of)),
        parts.classes,
    )


def trials(found: dict[str, Featured]) -> list[Trial]:
    """The held-out sources: photographs and drawings of GCompris, openmoji by names and by tags, held-out clip art."""
    emoji, clipart = found["openmoji"], found["openclipart"]
    kept = clipart.where(np.array([drawing.held_out for drawing in clipart.drawings]))
    made = [trial(s, found[s].drawings, found[s].rows, lambda d: d.texts[0]) for s in JUDGED if s != "openmoji"]
    asked = {
        "openmoji, unseen concepts": lambda d: d.texts[0] if d.held_out else "",
        "openmoji, unseen concepts, by tags": lambda d: d.texts[1] if d.held_out and len(d.texts) > 1 else "",
        "openmoji, seen concepts": lambda d: "" if d.held_out else d.texts[0],
    }
    made += [trial(name, emoji.drawings, emoji.rows, ask) for name, ask in asked.items()]
    return [*made, trial("openclipart, unseen authors", kept.drawings, kept.rows, lambda d: d.texts[0])]


def judged(cases: Sequence[Trial], heads: Heads, parts: Frozen, weight: float) -> list[dict[str, Any]]:
    """Per held-out source: texts, pictures, chance, and hit@10 of ConSE alone, the heads alone, and both."""
    rows = []
    for case in cases:
        texts = parts.sentences.encode_many(list(case.texts))
        halves = {
            "conse": (texts, parts.conse(case.features)),
            "trained": (heads.text(texts), heads.image(case.features)),
        }
        found = {name: float(hits(table, case.right).float().mean()) for name, table in scores(halves, weight).items()}
        count = {"texts": len(case.texts), "pictures": len(case.features), "chance": case.chance}
        rows.append({"source": case.name, **count, **found})
    return rows


def report(rows: Sequence[dict[str, Any]]) -> str:
    """The judgements as a Markdown table."""
    lines = [
        "| held-out source | texts | pictures | chance | ConSE | trained | both |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = " | ".join(f"{row[name]:.3f}" for name in ("chance", "conse", "trained", "both"))
        lines.append(f"| {row['source']} | {row['texts']} | {row['pictures']} | {figures} |")
    return "\n".join(lines)


def write(heads: Heads, training: Featured, rows: Sequence[dict[str, Any]], plan: Plan) -> None:
    """Puts weights, figures and the hashes of what was trained on beside this file."""
    save_file({name: tensor.contiguous() for name, tensor in heads.tensors().items()}, HEADS)
    np.savez_compressed(HASHES, hashes=training.hashes)
    counts = {source: sum(d.source == source for d in training.drawings) for source in TRAINED}
    figures = {"plan": asdict(plan), "trained_on": counts, "hit@10": list(rows)}
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for packages and features, about 1 GB")
    parser.add_argument("--write", action="store_true", help=f"replace {HEADS.name} and what is kept of the training")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    start, plan = time.perf_counter(), Plan()
    network = classifier()  # before the next line: its threads are counted when it is built
    torch.set_num_threads(1)  # sums in one order, however many cores there are
    parts = frozen(network)
    found = collect(arguments.cache, parts)
    training = trained_on(found)
    made = material(training, parts)
    log.info("%d texts embedded after %.0f s", len(made.texts), time.perf_counter() - start)
    heads = train(made, plan)
    log.info("trained after %.0f s", time.perf_counter() - start)
    rows = judged(trials(found), heads, parts, plan.weight)
    log.info(
        "\n%s\n\ntrained on %d pictures, %.0f s", report(rows), len(training.drawings), time.perf_counter() - start
    )
    if HEADS.is_file():
        kept = read_heads(HEADS).tensors()
        apart = max(float((tensor - kept[name]).abs().max()) for name, tensor in heads.tensors().items())
        log.info("largest difference to the weights in %s: %.2g", HEADS.name, apart)
    if arguments.write:
        write(heads, training, rows, plan)


if __name__ == "__main__":
    main()
