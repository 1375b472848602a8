"""Low-rank adapters merged by hand: the arithmetic, where they are found, and what is no such adapter."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vlm_checkpoints as made
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.errors import EncoderUnavailable
from mmretrieval.types import Content
from models.vlm.adapters import merge

BASE = made.GOLDEN / "checkpoint"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
Write = Callable[..., Path]


class Small(torch.nn.Module):
    """A model with one matrix where transformers 5 has it."""

    def __init__(self) -> None:
        super().__init__()
        self.language_model = torch.nn.ModuleDict({"up_proj": torch.nn.Linear(5, 3, bias=False)})
        self.requires_grad_(False)


@pytest.fixture
def adapter(tmp_path: Path) -> Write:
    """Writes an adapter of `Small` as peft does; keyword arguments change its config or (None) its tensors."""

    def write(tensors: dict[str, torch.Tensor | None] | None = None, **config: Any) -> Path:
        torch.manual_seed(3)
        key = "base_model.model.model.up_proj"
        held: dict[str, torch.Tensor | None] = {
            f"{key}.lora_A.weight": torch.randn(2, 5),
            f"{key}.lora_B.weight": torch.randn(3, 2),
            **(tensors or {}),
        }
        folder = tmp_path / "adapter"
        folder.mkdir(exist_ok=True)
        save_file({k: v for k, v in held.items() if v is not None}, folder / "adapter_model.safetensors")
        usual = {"peft_type": "LORA", "bias": "none", "r": 2, "lora_alpha": 8}
        (folder / "adapter_config.json").write_text(json.dumps({**usual, **config}), "utf-8")
        return folder

    return write


def change(folder: Path) -> torch.Tensor:
    """What merging the adapter adds to the matrix of a `Small`."""
    model = Small()
    weight = model.language_model["up_proj"].weight
    before = weight.clone()
    assert merge(model, folder) == 1
    return weight - before


def product(folder: Path) -> torch.Tensor:
    held = load_file(folder / "adapter_model.safetensors")
    key = "base_model.model.model.up_proj"
    return held[f"{key}.lora_B.weight"] @ held[f"{key}.lora_A.weight"]


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 4.0),
        ({"use_rslora": True}, 8 / math.sqrt(2)),
        ({"alpha_pattern": {"up_proj": 6}}, 3.0),
        ({"alpha_pattern": {"down_proj": 6}}, 4.0),
    ],
)
def test_lora_adds_its_scaled_product(adapter: Write, config: dict[str, Any], scale: float) -> None:
    folder = adapter(**config)
    torch.testing.assert_close(change(folder), scale * product(folder), atol=1e-5, rtol=1e-5)


def test_dora_gives_each_row_its_trained_length(adapter: Write) -> None:
    lengths = torch.tensor([1.0, 2.0, 3.0])
    folder = adapter({"base_model.model.model.up_proj.lora_magnitude_vector": lengths}, use_dora=True)
    model = Small()
    before = model.language_model["up_proj"].weight.clone()
    merge(model, folder)
    after = model.language_model["up_proj"].weight
    torch.testing.assert_close(after.norm(dim=1), lengths)
    directions = torch.nn.functional.normalize(before + 4 * product(folder), dim=1)
    torch.testing.assert_close(torch.nn.functional.normalize(after, dim=1), directions)


KEY = "base_model.model.model.up_proj"


@pytest.mark.parametrize(
    ("tensors", "config", "says"),
    [
        ({}, {"peft_type": "IA3"}, "not plain LoRA or DoRA"),
        ({}, {"bias": "all"}, "not plain LoRA or DoRA"),
        ({}, {"modules_to_save": ["embed_tokens"]}, "with modules_to_save"),
        ({}, {"use_dora": True}, "instead of .*lora_magnitude_vector"),
        ({f"{KEY}.lora_B.weight": None}, {}, r"holds \['lora_A'\]"),
        ({f"{KEY}.lora_B.weight": torch.zeros(4, 2)}, {}, r"whose weight is \(3, 5\)"),
        ({"base_model.model.model.other.lora_A.weight": torch.zeros(2, 5)}, {}, "changes model.other"),
        ({"base_model.model.model.embed.lora_embedding_A": torch.zeros(2, 5)}, {}, "no part of LoRA or DoRA"),
    ],
)
def test_what_is_no_such_adapter_is_refused(
    adapter: Write, tensors: dict[str, torch.Tensor | None], config: dict[str, Any], says: str
) -> None:
    folder = adapter(tensors, **config)
    with pytest.raises(EncoderUnavailable, match=says):
        merge(Small(), folder)


def test_adapter_of_another_model_is_refused_at_load(adapter: Write) -> None:
    with pytest.raises(EncoderUnavailable, match="changes model.up_proj, which the model has not"):
        catalog.load(f"vlm2vec:tiny;checkpoint={BASE};adapter={adapter()}")


def test_adapter_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="does not exist"):
        catalog.card(f"vlm2vec:tiny;checkpoint={BASE};adapter={tmp_path / 'none'}")


def test_a_whole_model_beside_an_adapter_is_taken_only_when_asked_for(tmp_path: Path) -> None:
    folder = made.copied(tmp_path / "both")
    for file in (made.GOLDEN / "adapter-lora").iterdir():
        shutil.copy(file, folder)
    content = [Content(text="a cat")]

    def row(spec: str) -> Any:
        return embed(catalog.load(spec), content, "item")

    whole = row(f"vlm2vec:tiny;checkpoint={BASE}")
    adapted = row(f"vlm2vec:tiny;checkpoint={BASE};adapter={made.GOLDEN / 'adapter-lora'}")
    assert whole @ adapted.T < 0.999
    np.testing.assert_array_equal(row(f"vlm2vec:tiny;checkpoint={folder};adapter=none"), whole)
    np.testing.assert_array_equal(row(f"vlm2vec:tiny;checkpoint={folder};base={BASE}"), adapted)


def test_adapter_on_the_hub_brings_its_base_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache as the hub's library keeps it: `ORGANISATION/NAME` holds an adapter that names the model it adapts."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    cached(tmp_path, "tiny/base", BASE)
    snapshot = cached(tmp_path, "tiny/adapted", made.GOLDEN / "adapter-lora")
    config = json.loads((snapshot / "adapter_config.json").read_text("utf-8"))
    (snapshot / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "tiny/base"}))
    loaded = catalog.load("vlm2vec:tiny/adapted")
    named = catalog.load(f"vlm2vec:tiny;checkpoint={BASE};adapter={made.GOLDEN / 'adapter-lora'}")
    content = [Content(text="a cat")]
    np.testing.assert_array_equal(embed(loaded, content, "item"), embed(named, content, "item"))
    assert loaded.card.revision == f"{COMMIT[:12]}+{COMMIT[:8]}"
    assert loaded.card.offline
    assert "tiny+adapted" in catalog.pull("vlm2vec:tiny/adapted").replace("--", "+")
    with pytest.raises(EncoderUnavailable, match="tiny/elsewhere"):
        catalog.card("vlm2vec:tiny/adapted;base=tiny/elsewhere")


@pytest.mark.parametrize("adapted", [False, True])
def test_pull_fetches_what_is_not_here_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapted: bool) -> None:
    """On a machine whose cache is empty, with a hub of two repositories: a whole model, and an adapter of it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    published = {"tiny/base": BASE, "tiny/adapted": made.GOLDEN / "adapter-lora"}
    fetched: list[str] = []

    def download(name: str, *, local_files_only: bool = False, **_: object) -> str:
        snapshot = tmp_path / f"models--{name.replace('/', '--')}" / "snapshots" / COMMIT
        if not snapshot.exists():
            if local_files_only:
                raise LocalEntryNotFoundError(f"{name} is not here")
            fetched.append(name)
            cached(tmp_path, name, published[name])
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    spec = "vlm2vec:tiny/adapted;base=tiny/base" if adapted else "vlm2vec:tiny/base"
    assert "not on this machine" in catalog.missing(spec) or "not here" in catalog.missing(spec)
    said = catalog.pull(spec)
    assert fetched == (["tiny/adapted", "tiny/base"] if adapted else ["tiny/base"])
    assert said.count(" files, ") == len(fetched)
    assert catalog.missing(spec) == ""
    assert embed(catalog.load(spec), [Content(text="a cat")], "item").shape == (1, 64)


@pytest.mark.parametrize(
    ("of_base", "of_adapter", "licence", "commercial"),
    [
        ("apache-2.0", "apache-2.0", "apache-2.0", True),
        ("qwen-research", "mit", "base model: qwen-research; adapter: mit", False),
        ("mit", "cc-by-nc-4.0", "base model: mit; adapter: cc-by-nc-4.0", False),
        ("mit", "", "base model: mit; adapter: unknown", True),
        ("", "", "unknown", True),
    ],
)
def test_licences_of_model_and_adapter_both_count(
    tmp_path: Path, of_base: str, of_adapter: str, licence: str, commercial: bool
) -> None:
    base = made.copied(tmp_path / "base")
    adapter = tmp_path / "adapter"
    shutil.copytree(made.GOLDEN / "adapter-lora", adapter)
    for folder, named in ((base, of_base), (adapter, of_adapter)):
        if named:
            (folder / "README.md").write_text(f"---\nlicense: {named}\n---\n")
    card = catalog.card(f"vlm2vec:tiny;checkpoint={adapter};base={base}")
    assert (card.licence, card.commercial) == (licence, commercial)


def cached(cache: Path, name: str, content: Path) -> Path:
    """Puts the files of a folder where huggingface_hub would have them after a download; where they lie."""
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    snapshot = folder / "snapshots" / COMMIT
    shutil.copytree(content, snapshot)
    return snapshot


def test_a_card_is_read_without_torch_or_transformers() -> None:
    code = (
        "import sys; from mmretrieval import catalog\n"
        f"card = catalog.card('vlm2vec:tiny;checkpoint={BASE}')\n"
        "assert card.dim == 64, card\n"
        "heavy = {'torch', 'transformers', 'PIL.Image'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    "name", ["vlm2vec-v2", "vlm2vec-v1-2b", "vlm2vec-v1-7b", "gme-2b", "lamra-7b", "qwen3-vl-embedding-2b"]
)
def test_blocks_of_the_catalogue_are_joint_and_say_what_is_missing(name: str) -> None:
    card = catalog.card(name)
    assert card.joint
    assert card.reads == {"text", "image", "frames"}
    assert not card.offline
    assert "models pull" in catalog.missing(name)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_stays_close(precision: str) -> None:
    contents = [Content(text="a cat"), Content(text="a dog on the beach")]
    full = embed(catalog.load(f"vlm2vec:tiny;checkpoint={BASE}"), contents, "query")
    short = embed(catalog.load(f"vlm2vec:tiny;checkpoint={BASE};precision={precision}"), contents, "query")
    assert (full * short).sum(axis=1).min() > 0.995
