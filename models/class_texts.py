"""What stands for each ImageNet class in `lite`: its words, and their embeddings, made once and kept beside them.

`python -m models remake-class-texts` remakes imagenet_classes.safetensors from imagenet_classes.tsv; a test holds the
two together. Embedding 2,000 texts at every start would take longer than anything else that a search does first.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from models.efficientnet_lite import CLASSES
from models.minilm import MiniLM

SOURCE = Path(__file__).with_name("imagenet_classes.tsv")
VECTORS = SOURCE.with_suffix(".safetensors")
FORMS = ("described", "name")


@dataclass(frozen=True)
class ImageClass:
    """One ImageNet class: its name, what kinds of thing it is, and a few words that describe it."""

    name: str
    kind: str
    description: str

    def text(self, form: str) -> str:
        """The words that stand for the class: "name" alone, or "described" with description and kind."""
        return self.name if form == "name" else f"{self.name}, {self.description}, {self.kind}"


def read_classes(path: Path = SOURCE) -> list[ImageClass]:
    """The 1000 classes in the classifier's order, from tab-separated lines of name, kind, description."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    if len(rows) != CLASSES or any(len(row) != 3 or not all(row) for row in rows):
        raise ValueError(f"{path} does not hold {CLASSES} lines of name, kind and description")
    return [ImageClass(*row) for row in rows]


def make(encoder: MiniLM) -> None:
    """Writes the unit embeddings of all forms as float16 (1000, 384), with the hash of the words they stand for."""
    classes = read_classes()
    rows = {form: encoder.encode_many([c.text(form) for c in classes]).to(torch.float16) for form in FORMS}
    save_file(rows, VECTORS, metadata={"source_sha256": hashlib.sha256(SOURCE.read_bytes()).hexdigest()})
