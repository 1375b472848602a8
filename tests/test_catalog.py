from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmretrieval import catalog
from mmretrieval.errors import BadRecipe, EncoderUnavailable, UnknownName
from mmretrieval.types import MODALITIES


def test_a_spec_and_its_text_are_inverse_whatever_the_order_of_options() -> None:
    spec = catalog.parse_spec(" clip-b32; precision=bf16 ;checkpoint=/a b/x.pt")
    assert str(spec) == "clip-b32;checkpoint=/a b/x.pt;precision=bf16"
    assert catalog.parse_spec(str(spec)) == spec


def test_family_and_model_pass_through() -> None:
    spec = catalog.parse_spec("open_clip:ViT-L-14/datacomp_xl_s13b_b90k;precision=fp32")
    assert spec.name == "open_clip:ViT-L-14/datacomp_xl_s13b_b90k"


@pytest.mark.parametrize("text", ["", ";a=b", "lite;", "lite;precision", "lite;=x", "lite;a=", "lite;a=1;a=2"])
def test_what_is_no_spec_is_refused(text: str) -> None:
    with pytest.raises(BadRecipe, match="encoder"):
        catalog.parse_spec(text)


def test_every_card_is_whole() -> None:
    for name, card in catalog.cards().items():
        assert card.name == card.spec == name
        assert card.dim > 0
        assert card.reads <= set(MODALITIES)
        assert all([card.licence, card.revision, card.preprocessing, card.runtime, card.promise])
    assert len({card.space for card in catalog.cards().values()}) == len(catalog.cards())


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("lit", "did you mean 'lite'"),
        ("clip-b32;precison=bf16", "option of clip-b32.*did you mean 'precision'"),
        ("clip-b32;precision=fp8", "value of precision.*bf16"),
        ("lite;checkpoint=/x", "no option of lite"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(spec: str, says: str) -> None:
    with pytest.raises(UnknownName, match=f"(?i){says}"):
        catalog.card(spec)


def test_a_checkpoint_is_known_by_the_hash_of_its_weights(tmp_path: Path) -> None:
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"one")
    card = catalog.card(f"clip-b32;checkpoint={weights}")
    assert card.revision == hashlib.sha256(b"one").hexdigest()[:12]
    assert card.offline
    weights.write_bytes(b"another")
    assert catalog.card(f"clip-b32;checkpoint={weights}").revision == hashlib.sha256(b"another").hexdigest()[:12]
    with pytest.raises(EncoderUnavailable, match="not a file"):
        catalog.card(f"clip-b32;checkpoint={tmp_path}/none.pt")


def test_random_weights_show_in_the_revision_and_a_config_gives_the_dim(tmp_path: Path) -> None:
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps({"embed_dim": 24}))
    card = catalog.card(f"clip-b32;config={config};weights=random")
    assert card.revision.startswith("random")
    assert card.dim == 24
    config.write_text("[]")
    with pytest.raises(EncoderUnavailable, match="embed_dim"):
        catalog.card(f"clip-b32;config={config}")


def test_what_is_missing_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert catalog.missing("hashing") == ""
    assert catalog.missing("lite") == ""
    assert "checkpoint=" in catalog.missing("clip-b32")
    replace_block(monkeypatch, "lite", package="no_such_package_anywhere")
    assert "requirements.txt" in catalog.missing("lite")
    with pytest.raises(EncoderUnavailable, match="no_such_package_anywhere.*requirements.txt"):
        catalog.load("lite")


def test_a_file_with_another_sha256_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_block(monkeypatch, "lite", sha256="0" * 64)
    with pytest.raises(EncoderUnavailable, match="sha256.*the catalogue says 000000000000"):
        catalog.load("lite")


def test_the_revision_follows_settings_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    before = catalog.card("lite").revision
    replace_block(monkeypatch, "lite", sha256="0" * 64)
    assert catalog.card("lite").revision != before


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    block = dataclasses.replace(catalog.blocks()["hashing"], factory="no_such_module.at_all:Thing")
    monkeypatch.setattr(catalog, "blocks", lambda: {"hashing": block})
    monkeypatch.setattr(catalog, "_loaded", {})
    with pytest.raises(EncoderUnavailable, match="no_such_module"):
        catalog.load("hashing")


def test_four_threads_that_ask_at_once_load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    start = threading.Barrier(4)

    def factory(card: Any, files: Any, settings: Any) -> object:
        made.append(SimpleNamespace(card=card))
        return made[-1]

    monkeypatch.setattr(catalog, "_loaded", {})
    monkeypatch.setattr(catalog, "_factory", lambda block: factory)

    def ask(_: int) -> object:
        start.wait(10)
        return catalog.load("hashing")

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(ask, range(4)))
    assert len(made) == 1
    assert all(encoder is made[0] for encoder in got)


def replace_block(monkeypatch: pytest.MonkeyPatch, name: str, **changes: str) -> None:
    """The catalogue with the first data file of one block changed, and nothing loaded yet."""
    block = catalog.blocks()[name]
    files = (dataclasses.replace(block.files[0], **changes), *block.files[1:])
    blocks = {**catalog.blocks(), name: dataclasses.replace(block, files=files)}
    monkeypatch.setattr(catalog, "blocks", lambda: blocks)
    monkeypatch.setattr(catalog, "_loaded", {})
