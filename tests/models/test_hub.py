"""Where checkpoints are looked for, and which are refused; the hub's cache is made here, the hub is not reached."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from mmretrieval.catalog import card, cards, rerankers
from mmretrieval.errors import EncoderUnavailable
from models.cards import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODEL = {"model": "somebody/something"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub's that holds nothing, on a machine without a network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def snapshot(cache: Path, *names: str) -> Path:
    """A snapshot of MODEL as the hub's own client would have left it."""
    repository = cache / "models--somebody--something"
    folder = repository / "snapshots" / COMMIT
    folder.mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for name in names:
        (folder / name).write_text(json.dumps({"hidden_size": 8}))
    return folder


def test_nothing_here_names_both_ways_out(cache: Path) -> None:
    for ask in (hub.folder, hub.revision):
        with pytest.raises(
            EncoderUnavailable, match=r"st: somebody/something is not on this machine.*pull.*checkpoint=PATH"
        ):
            ask(MODEL, "st")
    assert "checkpoint=PATH" in hub.missing(MODEL, "st")
    assert not hub.has(MODEL, "config.json", "st")
    with pytest.raises(EncoderUnavailable, match="no model is named"):
        hub.folder({}, "st")
    with pytest.raises(EncoderUnavailable, match="is no name of the hub"):
        hub.file({"model": "a/b/c/../d"}, "config.json", "st")
    with pytest.raises(EncoderUnavailable, match="cannot be fetched.*HF_HUB_OFFLINE"):
        hub.pull(MODEL, "st")


def test_only_pull_goes_out_to_the_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def reached(*_: object, **__: object) -> None:
        pytest.fail("the network was asked")

    monkeypatch.setattr("httpx.Client.request", reached)
    monkeypatch.setattr("httpx.Client.send", reached)
    hub.missing(MODEL, "st")
    assert not hub.has(MODEL, "config.json", "st")
    for ask in (hub.folder, hub.revision):
        with pytest.raises(EncoderUnavailable):
            ask(MODEL, "st")


def test_a_snapshot_in_the_cache_is_used_and_known_by_its_commit(cache: Path) -> None:
    folder = snapshot(cache, "config.json", "model.safetensors")
    assert hub.folder(MODEL, "st") == folder
    assert hub.missing(MODEL, "st") == ""
    assert hub.read_json(MODEL, "config.json", "st") == {"hidden_size": 8}
    assert hub.revision(MODEL, "st") == COMMIT[: hub.REVISION_DIGITS]
    assert hub.has(MODEL, "config.json", "st")
    with pytest.raises(EncoderUnavailable, match="modules.json is missing"):
        hub.file(MODEL, "modules.json", "st")


def test_a_config_fetched_alone_is_no_checkpoint(cache: Path) -> None:
    snapshot(cache, "config.json")
    assert "models pull" in hub.missing(MODEL, "st")
    with pytest.raises(EncoderUnavailable):
        hub.folder(MODEL, "st")


def test_pickled_weights_are_refused_unless_trusted(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    local = {"checkpoint": str(folder)}
    with pytest.raises(EncoderUnavailable, match=r"holds pytorch_model.bin, and no .safetensors.*allow_pickle=true"):
        hub.folder(local, "st")
    assert hub.folder(local | {"allow_pickle": "true"}, "st") == folder
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(EncoderUnavailable, match="holds no weights"):
        hub.folder(local | {"allow_pickle": "true"}, "st")
    assert hub.folder(local | {"weights": "random"}, "st") == folder


def test_pickles_of_the_hub_are_not_even_fetched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def fetch(*_: object, allow_patterns: list[str], **__: object) -> str:
        asked.append(allow_patterns)
        return str(snapshot(cache, "model.safetensors"))

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    hub.pull(MODEL, "st")
    hub.pull(MODEL | {"allow_pickle": "true"}, "st")
    assert not any(p.endswith((".bin", ".pt", ".pth", ".pkl", ".py")) for p in asked[0])
    assert "*.bin" in asked[-1]


def test_a_local_checkpoint_is_known_by_all_its_weights(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    for part in ("a", "b"):
        (folder / f"{part}.safetensors").write_text(part)
    before = hub.revision({"checkpoint": str(folder)}, "st")
    assert len(before) == hub.REVISION_DIGITS
    (folder / "b.safetensors").write_text("c!")
    assert hub.revision({"checkpoint": str(folder)}, "st") != before
    assert hub.revision({"model": str(folder)}, "st") == hub.revision({"checkpoint": str(folder)}, "st")
    with pytest.raises(EncoderUnavailable, match="does not exist"):
        hub.revision({"checkpoint": str(tmp_path / "none")}, "st")


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(EncoderUnavailable, match="config.json is not JSON"):
        hub.read_json({"checkpoint": str(tmp_path)}, "config.json", "st")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(EncoderUnavailable, match="holds a list instead of an object"):
        hub.read_json({"checkpoint": str(tmp_path)}, "config.json", "st")


def test_code_of_a_model_runs_only_for_those_on_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.trusted(MODEL) == {}
    assert all(len(pinned) == 40 for pinned in hub.TRUSTED.values()), "a branch or a tag can be moved: pin a commit"
    monkeypatch.setitem(hub.TRUSTED, MODEL["model"], COMMIT)
    assert hub.trusted(MODEL) == {"trust_remote_code": True, "revision": COMMIT}


def test_a_branch_that_a_spec_names_is_known_by_its_commit(cache: Path) -> None:
    snapshot(cache, "config.json")
    assert hub.revision({**MODEL, "revision": "main"}, "st") == COMMIT[: hub.REVISION_DIGITS]
    assert hub.revision({**MODEL, "revision": COMMIT}, "st") == COMMIT


@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "a" * 5000])
def test_a_path_that_cannot_be_looked_at_is_refused_in_words(path: str) -> None:
    assert "cannot be looked at" in hub.missing({"checkpoint": path}, "st")
    with pytest.raises(EncoderUnavailable, match="cannot be looked at"):
        hub.folder({"checkpoint": path}, "st")
    with pytest.raises(EncoderUnavailable, match="cannot be looked at"):
        card("open_clip:ViT-B-32;weights=random;config=" + path)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n# A model\nlicense: none\n", "apache-2.0"),
        ("---\r\ntags:\r\n- a---b\r\nlicense: 'mit'  # as ever\r\n---\r\n", "mit"),
        ("---\nlicense: other\nlicense_name: qwen-research\n---\n", "qwen-research"),
        ("---\nlicense_name: own\nlicense: mit\n---\n", "mit"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlicense:\n- mit\n- cc-by-nc-4.0\ntags: [x]\n---\n", "mit, cc-by-nc-4.0"),
        ("---\ntags:\n- license: mit\n---\n", "unknown"),
        ("# No front matter\n\n---\nlicense: mit\n---\n", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_licence_is_what_the_front_matter_of_the_model_card_names(cache: Path, card: str, licence: str) -> None:
    assert hub.licence(MODEL, "st") == "unknown"
    (snapshot(cache) / "README.md").write_bytes(card.encode())
    assert hub.licence(MODEL, "st") == licence


@pytest.mark.parametrize(
    ("text", "forbidden"),
    [
        ("cc-by-nc-4.0", True),
        ("CC-BY-NC-SA-3.0", True),
        ("polyform-noncommercial-1.0.0", True),
        ("Non-Commercial use", True),
        ("apple-amlr", True),
        ("qwen-research", True),
        ("research_only", True),
        ("mit, cc-by-nc-4.0", True),
        ("apple-ascl", False),
        ("apache-2.0", False),
        ("cc-by-sa-4.0", False),
        ("ncsa", False),
        ("gemma", False),
        ("research and commercial use", False),
        ("unknown", False),
    ],
)
def test_licences_that_surely_forbid_commerce(text: str, forbidden: bool) -> None:
    assert hub.forbids_commerce(text) is forbidden


def test_the_catalogue_says_the_same_of_its_licences() -> None:
    for name, listed in {**cards(), **rerankers()}.items():
        assert listed.commercial is not hub.forbids_commerce(listed.licence), name
