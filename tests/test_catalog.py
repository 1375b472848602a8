from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmretrieval import catalog
from mmretrieval.errors import BadRecipe, EncoderError, EncoderUnavailable, UnknownName
from mmretrieval.types import MODALITIES


def test_a_spec_and_its_text_are_inverse_whatever_the_order_of_options() -> None:
    spec = catalog.parse_spec(" clip-b32; precision=bf16 ;checkpoint=/a b/x.pt")
    assert str(spec) == "clip-b32;checkpoint=/a b/x.pt;precision=bf16"
    assert catalog.parse_spec(str(spec)) == spec


def test_family_and_model_pass_through() -> None:
    spec = catalog.parse_spec("open_clip:ViT-L-14/datacomp_xl_s13b_b90k;precision=fp32")
    assert spec.name == "open_clip:ViT-L-14/datacomp_xl_s13b_b90k"


@pytest.mark.parametrize("text", ["lite;checkpoint=/a,b", "open_clip:a+b"])
def test_what_a_recipe_would_cut_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(BadRecipe, match=r"where a recipe would cut it.*MMRETRIEVAL_CATALOG=FILE"):
        catalog.parse_spec(text)


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
    config.write_text(json.dumps({"embed_dim": 24, "vision_cfg": {}, "text_cfg": {}}))
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


def test_a_load_keeps_nobody_waiting_who_asks_for_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def factory(card: Any, files: Any, settings: Any) -> object:
        if card.name == "lite":
            begun.set()
            assert may_end.wait(30)
        return SimpleNamespace(card=card)

    monkeypatch.setattr(catalog, "_loaded", {})
    monkeypatch.setattr(catalog, "_factory", lambda block: factory)
    here = catalog.load("hashing")
    with ThreadPoolExecutor(3) as pool:
        slow = [pool.submit(catalog.load, "lite") for _ in range(2)]
        try:
            assert begun.wait(30)
            assert pool.submit(catalog.load, "hashing").result(10) is here
            assert not any(one.done() for one in slow)
            # What is still being loaded cannot be let go, and what is let go meanwhile is gone.
            assert catalog.unload_idle(0) == ["hashing"]
        finally:
            may_end.set()
        first, second = (one.result(30) for one in slow)
    assert first is second is catalog.load("lite")
    assert catalog.unload_idle(0) == ["lite"]


def test_a_load_that_failed_is_tried_anew_by_the_next_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def factory(card: Any, files: Any, settings: Any) -> object:
        tries.append(1)
        if len(tries) == 1:
            raise EncoderUnavailable("not this time: ask again")
        return SimpleNamespace(card=card)

    monkeypatch.setattr(catalog, "_loaded", {})
    monkeypatch.setattr(catalog, "_factory", lambda block: factory)
    with pytest.raises(EncoderUnavailable, match="ask again"):
        catalog.load("hashing")
    assert catalog.load("hashing") is catalog.load("hashing")
    assert len(tries) == 2


FAMILY = """
[family.shapes]
factory = "shapes:Shape"
card = "shapes"
joint = true
settings = { precision = "bf16", corners = "3" }
options = { corners = [], precision = ["fp32", "bf16"], weights = ["random"] }

[family.judges]
factory = "shapes:Shape"
card = "shapes"
role = "reranker"

[triangle]
family = "shapes"
dim = 3
reads = ["text"]
licence = "MIT"
revision = "first"
settings = { model = "plain" }

[judge]
family = "judges"
dim = 0
reads = ["text"]
licence = "CC-BY-NC-4.0"
commercial = false
revision = "first"
"""
SHAPES = """
from types import SimpleNamespace

def describe(settings):
    return {"dim": int(settings.get("corners", 3)), "reads": ["text", "image"], "licence": "of the checkpoint",
            "joint": True, "revision": settings["model"], "promise": "it says so itself", "missing": missing(settings)}

def missing(settings):
    return "" if settings["model"] == "here" else "it lies elsewhere"

def pull(settings):
    return "fetched " + settings["model"]

def Shape(card, files, settings):
    return SimpleNamespace(card=card, settings=settings)
"""


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A catalogue of one's own with two families, and the module behind them."""
    (tmp_path / "shapes.py").write_text(SHAPES)
    own = tmp_path / "own.toml"
    own.write_text(FAMILY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(catalog.OWN_CATALOG, str(own))
    monkeypatch.setattr(catalog, "_loaded", {})
    catalog.blocks.cache_clear()
    catalog.families.cache_clear()
    yield own
    monkeypatch.undo()
    catalog.blocks.cache_clear()
    catalog.families.cache_clear()


@pytest.mark.usefixtures("shapes")
def test_a_block_has_what_its_family_gives_and_its_checkpoint_speaks_where_options_do() -> None:
    card = catalog.card("triangle")
    assert (card.dim, card.revision, card.licence, card.joint, card.family) == (3, "first", "MIT", True, "shapes")
    assert catalog.load("triangle").settings == {"precision": "bf16", "corners": "3", "model": "plain"}  # type: ignore[attr-defined]
    square = catalog.card("triangle;corners=4")
    assert (square.dim, square.reads, square.licence) == (4, {"text", "image"}, "MIT")
    assert square.space != card.space
    assert catalog.card("triangle;weights=random").revision == "random-plain"


@pytest.mark.usefixtures("shapes")
def test_any_checkpoint_of_a_family_is_an_encoder() -> None:
    card = catalog.card("shapes:here;corners=5")
    assert (card.name, card.spec) == ("shapes:here", "shapes:here;corners=5")
    assert (card.dim, card.licence, card.offline, card.revision) == (5, "of the checkpoint", True, "here")
    assert catalog.missing("shapes:here") == ""
    assert catalog.missing("shapes:there") == "it lies elsewhere"
    assert not catalog.card("shapes:there").offline
    assert catalog.pull("shapes:there") == "fetched there"
    assert catalog.load("shapes:here").settings["model"] == "here"  # type: ignore[attr-defined]
    with pytest.raises(UnknownName, match="no family of encoders is called 'shape'.*shapes"):
        catalog.card("shape:here")
    with pytest.raises(UnknownName, match="no option of shapes:here is called 'sides'"):
        catalog.card("shapes:here;sides=4")


@pytest.mark.usefixtures("shapes")
def test_what_is_joint_is_known_without_asking_a_checkpoint() -> None:
    assert catalog.is_joint("triangle;corners=4")
    assert catalog.is_joint("shapes:there")
    assert not any(map(catalog.is_joint, ["judges:here", "lite", "nobody", "nobody:knows"]))


@pytest.mark.usefixtures("shapes")
def test_evaluations_run_in_full_precision_unless_somebody_chose_another() -> None:
    assert catalog.in_full_precision("triangle;corners=4") == "triangle;corners=4;precision=fp32"
    assert catalog.in_full_precision("shapes:here;precision=bf16") == "shapes:here;precision=bf16"
    assert catalog.in_full_precision("hashing") == "hashing"


@pytest.mark.usefixtures("shapes")
def test_rerankers_are_told_from_encoders() -> None:
    assert "judge" in catalog.rerankers()
    assert "judge" not in catalog.cards()
    assert not catalog.rerankers()["judge"].commercial
    assert catalog.load_reranker("judges:here").card.spec == "judges:here"
    with pytest.raises(EncoderError, match="judge is a reranker, not an encoder"):
        catalog.load("judge")
    with pytest.raises(EncoderError, match="triangle is an encoder, not a reranker"):
        catalog.load_reranker("triangle")


def test_a_blocks_licence_is_not_that_of_other_weights(tmp_path: Path) -> None:
    block = catalog.card("metaclip-b16")
    assert (block.licence, block.commercial) == ("CC-BY-NC-4.0", False)
    assert catalog.card("metaclip-b16;precision=bf16").licence == "CC-BY-NC-4.0"
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"any")
    other = catalog.card(f"metaclip-b16;checkpoint={weights}")
    assert (other.licence, other.commercial) == ("unknown", True)
    folder = Path(__file__).parent / "golden/vlm2vec"
    joint = catalog.card(f"vlm2vec-v2;checkpoint={folder / 'checkpoint'};adapter={folder / 'adapter-lora'}")
    assert joint.licence == "unknown"
    assert joint.promise == catalog.card("vlm2vec-v2").promise


@pytest.mark.usefixtures("shapes")
def test_what_nobody_asks_for_any_more_is_let_go() -> None:
    first = catalog.load("triangle")
    assert catalog.unload_idle(3600) == []
    assert catalog.load("triangle") is first
    assert catalog.unload_idle(0) == ["triangle"]
    assert catalog.load("triangle") is not first


def test_a_catalogue_that_cannot_be_used_is_named(shapes: Path) -> None:
    for text, says in [
        ("[a]\ndim = 1\n", "a names neither a factory nor a family"),
        ('[a]\nfamily = "shaps"\n', "no family of encoders is called 'shaps'"),
        ("[a\n", "own.toml cannot be read"),
        ("a = 1\n", "a is no block of a catalogue"),
        ('[a]\nfactory = "x:X"\nfiles = [{ name = "a" }]\n', "a is no block of a catalogue"),
        ('[a]\nfactory = "x:X"\nsettings = 3\n', "a is no block of a catalogue"),
        ('[family.st]\nfactory = "x:X"\n[a]\nfamily = "st"\n', "a family called 'st' is in another catalogue"),
    ]:
        shapes.write_text(text)
        catalog.blocks.cache_clear()
        catalog.families.cache_clear()
        with pytest.raises((EncoderUnavailable, UnknownName), match=says):
            catalog.blocks()


def test_a_value_of_another_kind_in_a_block_is_named(shapes: Path) -> None:
    shapes.write_text('[a]\nfactory = "x:X"\nversion = 1\ndim = "three"\nreads = ["text"]\n')
    catalog.blocks.cache_clear()
    with pytest.raises(EncoderUnavailable, match=r"block a holds a value of another kind.*three"):
        catalog.card("a")


@pytest.mark.parametrize(
    ("spec", "joint"),
    [
        ("vlm2vec-v2", True),
        ("vlm2vec:VLM2Vec/VLM2Vec-V2.0;checkpoint=/nowhere", True),
        ("gme:a/b", True),
        ("lamra:a/b", True),
        ("qwen3_vl_embedding:a/b", True),
        ("http:m;url=http://127.0.0.1/v1;dim=3;reads=text-image;joint=true", True),
        ("http:m;url=http://127.0.0.1/v1;dim=3;reads=text-image", False),
        (" lite-joint ", True),
        ("lite", False),
        ("nobody", False),
        ("lite;;", False),
    ],
)
def test_a_spec_is_known_to_be_joint_without_its_checkpoint(spec: str, joint: bool) -> None:
    assert catalog.is_joint(spec) is joint


def test_an_encoder_without_that_option_is_evaluated_as_it_is(shapes: Path) -> None:
    shapes.write_text('[a]\nfactory = "x:X"\nversion = 1\ndim = 3\nsettings = { precision = "bf16" }\n')
    catalog.blocks.cache_clear()
    assert catalog.in_full_precision("a") == "a"
    assert catalog.in_full_precision("clip-b32") == "clip-b32;precision=fp32"


@pytest.mark.usefixtures("shapes")
def test_a_block_whose_checkpoint_is_gone_costs_only_itself(shapes: Path) -> None:
    shapes.write_text(FAMILY + '[gone]\nfamily = "vlm2vec"\nsettings = { checkpoint = "/nowhere" }\n')
    catalog.blocks.cache_clear()
    catalog.families.cache_clear()
    assert "gone" not in catalog.cards() and "triangle" in catalog.cards()
    assert list(catalog.untold()) == ["gone"]
    assert "/nowhere does not exist" in catalog.untold()["gone"]


def replace_block(monkeypatch: pytest.MonkeyPatch, name: str, **changes: str) -> None:
    """The catalogue with the first data file of one block changed, and nothing loaded yet."""
    block = catalog.blocks()[name]
    files = (dataclasses.replace(block.files[0], **changes), *block.files[1:])
    blocks = {**catalog.blocks(), name: dataclasses.replace(block, files=files)}
    monkeypatch.setattr(catalog, "blocks", lambda: blocks)
    monkeypatch.setattr(catalog, "_loaded", {})
