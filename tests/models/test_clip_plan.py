"""What a spec of open_clip names is found without importing it, and is what open_clip would take."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import numpy as np
import open_clip
import pytest
import tiny_clips
import torch
from huggingface_hub import constants
from open_clip.pretrained import _PRETRAINED

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.errors import EncoderUnavailable, UnknownName
from mmretrieval.types import Content
from models.cards import clip, clip_plan

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [Content(text=t) for t in ("a red apple", "the dog")]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the Hugging Face hub, out of reach of the network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def snapshot(hub: Path, repository: str) -> Path:
    """The folder in which the hub's cache keeps a repository's files, as if they had been fetched."""
    root = hub / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    folder = root / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tiny_clips.Tiny:
    return tiny_clips.make("clip", tmp_path_factory.mktemp("clip"))


def test_the_table_of_published_weights_is_open_clips() -> None:
    assert clip_plan.tags() == _PRETRAINED
    assert set(clip_plan.configs()) == set(open_clip.list_models())


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ("PUBLISHED = {}\n", "KeyError: '_PRETRAINED'"),
        ("_PRETRAINED = dict(tiny=row_of('a/b'))\n", "NameError"),
        ("_PRETRAINED = {'tiny': {'tag': 3}}\n", "TypeError"),
        ("_PRETRAINED = [1]\n", "AttributeError"),
        ("def _(:\n", "SyntaxError"),
        (None, "FileNotFoundError"),
    ],
)
def test_a_release_with_another_table_is_named_with_the_way_out(
    table: str | None, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "constants.py").write_text("")
    if table is not None:
        (tmp_path / "pretrained.py").write_text(table)
    monkeypatch.setattr(clip_plan, "_package", lambda: tmp_path)
    clip_plan.tags.cache_clear()
    with pytest.raises(EncoderUnavailable) as raised:
        clip_plan.tags()
    said = str(raised.value)
    assert what in said
    assert f"open_clip_torch {version('open_clip_torch')}" in said
    assert "requirements.txt" in said


def test_every_published_model_is_described_as_open_clip_has_it() -> None:
    for model, tag in open_clip.list_pretrained():
        if model.endswith("-quickgelu") and model not in clip_plan.configs():
            continue
        row, config = open_clip.get_pretrained_cfg(model, tag), open_clip.get_model_config(model)
        found = clip_plan.plan({"model": f"{model}/{tag}"})
        assert found.config["embed_dim"] == config["embed_dim"]
        assert all(found.preprocess[key] == row[key] for key in ("mean", "std", "interpolation", "resize_mode"))
        assert found.config["quick_gelu"] == bool(row.get("quick_gelu") or config.get("quick_gelu"))
        assert found.revision == tag
        assert isinstance(found.weights, clip_plan.Published)
        assert row["hf_hub"].startswith(found.weights.repository + "/")
        facts = clip.describe({"model": f"{model}/{tag}"})
        assert facts["dim"] == config["embed_dim"]
        assert str(found.text.get("context_length", 77)) in facts["preprocessing"]


def test_the_catalogues_blocks_say_what_their_checkpoints_say() -> None:
    named = [block for block in catalog.blocks().values() if block.family == clip_plan.FAMILY]
    assert len(named) > 5
    for block in named:
        told, card = clip.describe(block.settings), catalog.card(block.name)
        assert (card.dim, card.revision) == (told["dim"], told["revision"]), block.name
        assert card.preprocessing == told["preprocessing"], block.name
        assert card.reads == set(told["reads"])


def test_cards_and_lists_of_open_clip_models_load_no_torch() -> None:
    code = (
        "import sys; from mmretrieval import catalog; "
        "card = catalog.card('open_clip:ViT-L-14/datacomp_xl_s13b_b90k;precision=bf16'); "
        "assert (card.dim, card.revision) == (768, 'datacomp_xl_s13b_b90k'), card; "
        "catalog.missing('open_clip:ViT-B-16-SigLIP2/webli'); "
        "sys.exit(str({'torch', 'open_clip', 'timm', 'transformers'} & set(sys.modules) or ''))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr.strip() == ""


def test_names_that_open_clip_does_not_have_are_told_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="ViT-L-14"):
        catalog.card("open_clip:ViT-L-41/openai")
    with pytest.raises(UnknownName, match="datacomp_xl_s13b_b90k"):
        catalog.card("open_clip:ViT-L-14/datacomp_xl")
    with pytest.raises(EncoderUnavailable, match="ViT-L-14/TAG"):
        catalog.card("open_clip:ViT-L-14")


def test_published_weights_can_be_pinned_to_a_commit(hub: Path) -> None:
    spec = f"open_clip:ViT-B-32/laion2b_s34b_b79k;revision={COMMIT}"
    assert catalog.card(spec).revision == COMMIT
    folder = snapshot(hub, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
    (folder / clip_plan.SAFE).write_bytes(b"weights")
    assert catalog.missing(spec) == ""
    assert "the weights" in catalog.missing(f"open_clip:ViT-B-32/laion2b_s34b_b79k;revision={COMMIT[::-1]}")


def test_what_all_weights_of_a_model_share_holds_for_a_file_too(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"any")
    facts = clip.describe({"model": "ViT-B-16-SigLIP2", "checkpoint": str(weights)})
    assert "sides not kept" in facts["preprocessing"]
    assert "0.5" in facts["preprocessing"]
    # Two sets of published weights of ViT-L-14 were trained with other means: open_clip's default stands.
    assert "CLIP's mean" in clip.describe({"model": "ViT-L-14", "checkpoint": str(weights)})["preprocessing"]
    other = clip.describe({"model": "ViT-L-14/laion2b_s32b_b82k", "checkpoint": str(weights)})
    assert "mean 0.5, 0.5, 0.5" in other["preprocessing"]


def test_a_model_of_the_hub_loads_from_its_cache(hub: Path, tiny: tiny_clips.Tiny) -> None:
    spec = "open_clip:hf-hub:somebody/tiny"
    with pytest.raises(EncoderUnavailable, match=r"somebody/tiny is not on this machine.*models pull"):
        catalog.load(spec)
    assert "not on this machine" in catalog.missing(spec)
    folder = snapshot(hub, "somebody/tiny")
    (folder / clip_plan.CONFIG).write_bytes((tiny.folder / clip_plan.CONFIG).read_bytes())
    assert "weights somebody/tiny" in catalog.missing(spec)
    (folder / clip_plan.SAFE).write_bytes(tiny.weights.read_bytes())
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\ntags:\n- clip\n---\n# Tiny\n")
    assert catalog.missing(spec) == ""
    encoder = catalog.load(spec)
    assert encoder.card.revision == COMMIT[:12]
    assert encoder.card.licence == "cc-by-nc-4.0"
    assert not encoder.card.commercial
    assert encoder.card.offline
    local = catalog.load(f"open_clip:local-dir:{tiny.folder}")
    np.testing.assert_array_equal(embed(encoder, TEXTS, "item"), embed(local, TEXTS, "item"))


def test_pickled_weights_of_the_hub_are_read_only_when_allowed(hub: Path, tiny: tiny_clips.Tiny) -> None:
    folder = snapshot(hub, "somebody/pickled")
    (folder / clip_plan.CONFIG).write_bytes((tiny.folder / clip_plan.CONFIG).read_bytes())
    torch.save(tiny.reference.state_dict(), folder / clip_plan.PICKLED)
    with pytest.raises(EncoderUnavailable, match=r"open_clip_pytorch_model.bin.*allow_pickle=true"):
        catalog.load("open_clip:hf-hub:somebody/pickled")
    allowed = catalog.load("open_clip:hf-hub:somebody/pickled;allow_pickle=true")
    local = catalog.load(f"open_clip:local-dir:{tiny.folder}")
    np.testing.assert_array_equal(embed(allowed, TEXTS, "item"), embed(local, TEXTS, "item"))


def test_a_tokenizer_of_the_hub_is_asked_for_by_name_or_given_as_a_folder(hub: Path, tmp_path: Path) -> None:
    made = tiny_clips.make("clipa", tmp_path)
    path = tmp_path / "bare.json"
    path.write_text(json.dumps(made.config))
    bare = tmp_path / "elsewhere" / "w.safetensors"
    bare.parent.mkdir()
    bare.write_bytes(made.weights.read_bytes())
    spec = f"open_clip:any;config={path};checkpoint={bare}"
    assert "tokenizer=FOLDER" in catalog.missing(spec)
    with pytest.raises(EncoderUnavailable, match=r"bert-base-uncased.*tokenizer=FOLDER"):
        catalog.load(spec)
    given = catalog.load(f"{spec};tokenizer={tmp_path}")
    local = embed(catalog.load(f"open_clip:local-dir:{tmp_path}"), TEXTS, "item")
    np.testing.assert_array_equal(embed(given, TEXTS, "item"), local)
    folder = snapshot(hub, "bert-base-uncased")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tmp_path / name).read_bytes())
    assert catalog.missing(spec) == ""
    np.testing.assert_array_equal(embed(catalog.load(spec), TEXTS, "item"), local)


def test_pulling_without_a_network_says_so(hub: Path) -> None:
    for spec in ("clip-b32", "open_clip:hf-hub:somebody/tiny", "clip-b32-multilingual"):
        with pytest.raises(EncoderUnavailable, match=r"cannot be fetched.*Hugging Face hub"):
            catalog.pull(spec)


def test_a_text_towers_config_that_is_not_here_is_told(hub: Path, tmp_path: Path) -> None:
    tiny_clips.make_tokenizer("roberta", tmp_path)
    spec = f"open_clip:xlm-roberta-base-ViT-B-32;weights=random;tokenizer={tmp_path}"
    assert "text tower xlm-roberta-base" in catalog.missing(spec)
    with pytest.raises(EncoderUnavailable, match=r"text tower xlm-roberta-base.*tokenizer=FOLDER"):
        catalog.load(spec)
    tiny_clips.make_text_tower("xlm-roberta", tmp_path)
    assert catalog.missing(spec) == ""


def test_folders_without_config_or_safe_weights_are_refused(tiny: tiny_clips.Tiny, tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match=clip_plan.CONFIG):
        catalog.card(f"open_clip:local-dir:{tmp_path}")
    (tmp_path / clip_plan.CONFIG).write_bytes((tiny.folder / clip_plan.CONFIG).read_bytes())
    torch.save(tiny.reference.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(EncoderUnavailable, match=r"open_clip_pytorch_model.bin.*allow_pickle=true"):
        catalog.card(f"open_clip:local-dir:{tmp_path}")
    allowed = catalog.load(f"open_clip:local-dir:{tmp_path};allow_pickle=true")
    assert embed(allowed, TEXTS, "item").shape == (2, 24)
    random = catalog.load(f"open_clip:local-dir:{tmp_path};weights=random")
    assert random.card.revision.startswith("random")


def test_weights_that_want_the_other_activation_get_it(
    tiny: tiny_clips.Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ViT-B-32's config says GELU, and OpenAI's weights of it were trained with QuickGELU."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({k: v for k, v in tiny.config.items() if k != "quick_gelu"}))
    monkeypatch.setattr(clip_plan, "configs", lambda: MappingProxyType({"ViT-B-32": config}))
    plain = catalog.load(f"open_clip:ViT-B-32/laion2b_s34b_b79k;checkpoint={tiny.weights}")
    quick = catalog.load(f"open_clip:ViT-B-32/openai;checkpoint={tiny.weights}")
    assert np.abs(embed(plain, TEXTS, "item") - embed(quick, TEXTS, "item")).max() > 1e-4
