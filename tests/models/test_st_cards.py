"""What is said of a sentence-transformers checkpoint before it is loaded, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import st_checkpoints as tiny
import torch
from drawings import drawing
from safetensors.torch import load_file, save_file

from mmretrieval import catalog
from mmretrieval.errors import EncoderUnavailable
from mmretrieval.types import Content
from models.cards import hub, st
from models.st import embedder

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEXTS = ["a red cat", "the big blue dog, is on a small tree!"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tiny.dense(tmp_path, prompts={"query": "query: "}, project=8)


def rewrite(path: Path, **changes: Any) -> None:
    table = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**table, **changes}))


def described(place: Path, **settings: Any) -> dict[str, Any]:
    return st.describe({"model": "tiny", "checkpoint": str(place), **settings})


def test_describing_imports_no_torch(place: Path) -> None:
    code = (
        "import sys; from mmretrieval import catalog; "
        f"c = catalog.card('st:tiny;checkpoint={place}'); print(c.dim, *c.reads); "
        "print([m for m in ('torch', 'transformers', 'sentence_transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["8 text", "[]"]


def test_the_revision_follows_the_weights_and_the_settings_the_text(place: Path) -> None:
    before = described(place)
    assert re.fullmatch("[0-9a-f]{12}-[0-9a-f]{8}", before["revision"]) and before["missing"] == ""
    assert "'query: '" in before["preprocessing"] and "Transformer > Pooling > Dense > Normalize" in before["promise"]
    weights = load_file(place / "2_Dense/model.safetensors")
    save_file({key: value + 1 for key, value in weights.items()}, place / "2_Dense/model.safetensors")
    after = described(place)["revision"]
    assert after[:12] != before["revision"][:12] and after[13:] == before["revision"][13:]
    rewrite(place / "1_Pooling/config.json", pooling_mode="max")
    assert described(place)["revision"][:12] == after[:12] and described(place)["revision"] != after
    assert "at most 9 tokens" in described(place, max_length="9")["preprocessing"]


def test_several_poolings_side_by_side(place: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    modules = [Transformer(str(place.parent / "bare")), Pooling(32, ("mean", "max", "cls"))]
    wide = tiny.saved(SentenceTransformer(modules=modules, device="cpu"), place.parent / "wide")
    assert described(wide)["dim"] == 96
    old = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}
    (wide / "1_Pooling/config.json").write_text(json.dumps(old))
    assert described(wide)["dim"] == 64
    encoder = catalog.load(f"st:wide;checkpoint={wide}")
    assert encoder.encode([Content(text="cat")], "query").shape == (1, 64)


def test_a_table_of_word_vectors_is_measured_by_its_header(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    inner = tiny.tokenizer().backend_tokenizer
    torch.manual_seed(3)
    table = StaticEmbedding(inner, embedding_dim=12)
    place = tiny.saved(SentenceTransformer(modules=[table], device="cpu"), tmp_path)
    assert described(place)["dim"] == 12
    encoder = catalog.load(f"st:static;checkpoint={place}")
    found = encoder.encode([Content(text=t) for t in TEXTS], "query")
    expected = SentenceTransformer(str(place), device="cpu", local_files_only=True).encode_query(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_chat_model_without_the_librarys_files_reads_what_it_reads_once_loaded(tmp_path: Path) -> None:
    place = tiny.qwen(tmp_path)
    facts = described(place)
    assert (facts["dim"], facts["reads"], facts["joint"]) == (32, ["text", "image", "frames"], True)
    encoder = catalog.load(f"st:bare;checkpoint={place}")
    assert encoder.encode([Content(text="cat", image=drawing(1))], "item").shape == (1, 32)
    silent = tiny.qwen(tmp_path / "silent", chat=False)
    assert not described(silent)["joint"]


def test_a_pylate_checkpoint_is_late_interaction(tmp_path: Path) -> None:
    from sentence_transformers import MultiVectorEncoder

    place = tiny.late_words(tmp_path)
    said = {"model_type": "ColBERT", "query_prefix": "[CLS] ", "document_prefix": "[SEP] ", "query_length": 10}
    (place / "config_sentence_transformers.json").write_text(json.dumps({**said, "document_length": 20}))
    rows = json.loads((place / "modules.json").read_text())[:2]
    rows[1]["type"] = "pylate.models.Dense.Dense"
    (place / "modules.json").write_text(json.dumps(rows))
    own = json.loads((place / "sentence_bert_config.json").read_text())
    (place / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20, "do_lower_case": False}))
    assert "query_expansion" in own
    facts = described(place)
    assert facts["multi"] and facts["dim"] == 16 and facts["missing"] == ""
    encoder = catalog.load(f"st:pylate;checkpoint={place}")
    model = MultiVectorEncoder(str(place), device="cpu", local_files_only=True)
    for role, encode in (("query", model.encode_query), ("item", model.encode_document)):
        found = encoder.encode([Content(text=t) for t in TEXTS], role)
        for i, rows_of in enumerate(encode(TEXTS, convert_to_numpy=True)):
            np.testing.assert_allclose(found[i], rows_of, atol=1e-5)
    assert np.diff(encoder.encode([Content(text="cat")], "query").offsets).tolist() == [10]


def test_a_stanford_colbert_is_late_interaction(tmp_path: Path) -> None:
    from sentence_transformers import MultiVectorEncoder

    place = tiny.bert(tmp_path)
    rewrite(place / "config.json", architectures=["HF_ColBERT"])
    torch.manual_seed(4)
    weights = {f"bert.{key}": value for key, value in load_file(place / "model.safetensors").items()}
    save_file({**weights, "linear.weight": torch.randn(16, 32)}, place / "model.safetensors", {"format": "pt"})
    rewrite(place / "artifact.metadata", dim=16, query_maxlen=9, doc_maxlen=30, mask_punctuation=True)
    facts = described(place)
    assert facts["multi"] and facts["dim"] == 16
    encoder = catalog.load(f"st:stanford;checkpoint={place}")
    found = encoder.encode([Content(text=t) for t in TEXTS], "item")
    model = MultiVectorEncoder(str(place), device="cpu", local_files_only=True)
    for i, rows in enumerate(model.encode_document(TEXTS, convert_to_numpy=True)):
        np.testing.assert_allclose(found[i], rows, atol=1e-5)


def test_sparse_checkpoints_and_unknown_shapes_are_refused(place: Path) -> None:
    rewrite(place / "2_Dense/config.json", out_features="many")
    rewrite(place / "1_Pooling/config.json", embedding_dimension="?")
    rewrite(place / "config.json", hidden_size="?")
    with pytest.raises(EncoderUnavailable, match="do not say how many numbers"):
        described(place)
    rewrite(place / "config_sentence_transformers.json", model_type="SparseEncoder")
    with pytest.raises(EncoderUnavailable, match="sparse vectors"):
        described(place)


def test_a_card_that_is_wrong_is_found_out_at_loading(place: Path) -> None:
    settings = {"model": "tiny", "checkpoint": str(place)}
    card = catalog.card(f"st:tiny;checkpoint={place}")
    with pytest.raises(EncoderUnavailable, match="reads text once it is loaded .* its card says image, text"):
        embedder(replace(card, reads=frozenset({"text", "image"})), {}, settings)
    with pytest.raises(EncoderUnavailable, match="gives 8 numbers, its card says 9"):
        embedder(replace(card, dim=9), {}, settings)
    rewrite(place / "2_Dense/config.json", out_features=9)
    with pytest.raises(EncoderUnavailable, match="cannot be loaded by sentence-transformers"):
        catalog.load(f"st:wrong;checkpoint={place}")


def test_an_old_clip_checkpoint_lies_in_a_folder_of_its_own(tmp_path: Path) -> None:
    place = tiny.clip(tmp_path)
    expected = catalog.load(f"st:new;checkpoint={place}")
    old = tmp_path / "old"
    shutil.copytree(place, old / "0_CLIPModel")
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (old / "0_CLIPModel" / name).unlink()
    row = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
    (old / "modules.json").write_text(json.dumps([row]))
    facts = described(old)
    assert (facts["dim"], facts["reads"], facts["joint"]) == (16, ["text", "image"], False)
    encoder = catalog.load(f"st:old;checkpoint={old}")
    for content in (Content(text="a red cat"), Content(image=drawing(2))):
        row = encoder.encode([content], "query")
        np.testing.assert_allclose(row, expected.encode([content], "query"), atol=1e-5)


def test_pickled_weights_of_one_module_are_refused_unless_trusted(place: Path) -> None:
    expected = catalog.load(f"st:tiny;checkpoint={place}").encode([Content(text="cat")], "query")
    torch.save(load_file(place / "2_Dense/model.safetensors"), place / "2_Dense/pytorch_model.bin")
    (place / "2_Dense/model.safetensors").unlink()
    with pytest.raises(EncoderUnavailable, match="pytorch_model.bin and no .safetensors"):
        catalog.load(f"st:tiny;checkpoint={place}")
    trusted = catalog.load(f"st:tiny;checkpoint={place};allow_pickle=true")
    np.testing.assert_allclose(trusted.encode([Content(text="cat")], "query"), expected, atol=1e-6)
    (place / "model.safetensors").unlink()
    with pytest.raises(EncoderUnavailable, match="allow_pickle=true"):
        catalog.load(f"st:tiny;checkpoint={place}")


def test_a_checkpoint_with_code_of_its_own_is_not_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = json.loads((place / "modules.json").read_text())
    rows[0]["type"] = "custom_st.Transformer"
    (place / "modules.json").write_text(json.dumps(rows))
    witness = place.parent / "ran"
    (place / "custom_st.py").write_text(f"open({str(witness)!r}, 'w').close()\n")
    assert "custom_st.Transformer would run code" in described(place)["missing"]
    # a name on the list vouches for the hub's revision, not for whatever lies in a folder
    monkeypatch.setitem(hub.TRUSTED, "tiny", COMMIT)
    assert st.trusted({"model": "tiny"}) == {"trust_remote_code": True, "revision": COMMIT}
    assert not st.trusted({"model": "tiny", "revision": "main"})
    with pytest.raises(EncoderUnavailable, match="brings code of its own"):
        catalog.load(f"st:tiny;checkpoint={place}")
    assert not witness.exists()


def test_an_adapter_says_what_it_needs(place: Path) -> None:
    (place / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somewhere/base"}))
    assert "pip install peft" in described(place)["missing"]
    with pytest.raises(EncoderUnavailable, match="peft"):
        catalog.load(f"st:tiny;checkpoint={place}")


@pytest.mark.parametrize(
    ("header", "licence", "commercial"),
    [
        ("license: apache-2.0\ntags:\n- a", "apache-2.0", True),
        ("license: other\nlicense_name: my-research-licence", "my-research-licence", False),
        ("license: cc-by-nc-4.0", "cc-by-nc-4.0", False),
        ("tags: [a]", "unknown", True),
    ],
)
def test_the_licence_comes_from_the_model_card(place: Path, header: str, licence: str, commercial: bool) -> None:
    (place / "README.md").write_text(f"---\n{header}\n---\n# A model\nlicense: none\n")
    facts = described(place)
    assert (facts["licence"], facts["commercial"]) == (licence, commercial)


def cached(place: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint as the hub's cache would hold it under the name nobody/tiny; gives its snapshot."""
    kept = root / "cache/models--nobody--tiny"
    shutil.copytree(place, kept / "snapshots" / COMMIT)
    (kept / "refs").mkdir()
    (kept / "refs/main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root / "cache"))
    return kept / "snapshots" / COMMIT


def test_code_runs_for_a_model_on_the_list_at_its_revision_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tiny.dense(tmp_path / "made")
    expected = catalog.load(f"st:tiny;checkpoint={place}").encode([Content(text="cat")], "query")
    kept = cached(place, tmp_path, monkeypatch)
    rows = json.loads((kept / "modules.json").read_text())
    rows[2]["type"] = "custom_turn.Turn"
    (kept / "modules.json").write_text(json.dumps(rows))
    (kept / "custom_turn.py").write_text(
        "from sentence_transformers.base.modules import Normalize\n\n\nclass Turn(Normalize):\n"
        "    def forward(self, features):\n        features = super().forward(features)\n"
        "        features['sentence_embedding'] = -features['sentence_embedding']\n        return features\n"
    )
    modules = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", modules)
    monkeypatch.syspath_prepend(modules)
    with pytest.raises(EncoderUnavailable, match="brings code of its own"):
        catalog.load("st:nobody/tiny")
    monkeypatch.setitem(hub.TRUSTED, "nobody/tiny", COMMIT)
    with pytest.raises(EncoderUnavailable, match="brings code of its own"):
        catalog.load("st:nobody/tiny;revision=main")
    encoder = catalog.load("st:nobody/tiny")
    assert encoder.card.revision == COMMIT
    np.testing.assert_allclose(encoder.encode([Content(text="cat")], "query"), -expected, atol=1e-6)
    rewrite(kept / "config.json", auto_map={"AutoModel": "somebody/else--modeling.Model"})
    with pytest.raises(EncoderUnavailable, match="takes code from somebody/else--modeling.Model"):
        embedder(encoder.card, {}, {"model": "nobody/tiny"})


def test_a_snapshot_in_the_hubs_cache_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tiny.dense(tmp_path / "made", project=8)
    kept = cached(place, tmp_path, monkeypatch)
    card = catalog.card("st:nobody/tiny")
    assert (card.revision, card.dim, card.offline) == (COMMIT[:12], 8, True)
    found = catalog.load("st:nobody/tiny").encode([Content(text="cat")], "query")
    expected = catalog.load(f"st:tiny;checkpoint={place}").encode([Content(text="cat")], "query")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert catalog.missing("st:nobody/tiny") == ""
    (kept / "model.safetensors").unlink()
    (kept / "2_Dense/model.safetensors").unlink()
    assert "models pull" in catalog.missing("st:nobody/tiny")


def test_what_is_not_here_says_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="does not exist"):
        catalog.load(f"st:tiny;checkpoint={tmp_path / 'nowhere'}")
    with pytest.raises(EncoderUnavailable, match=r"models pull.*;checkpoint=PATH"):
        catalog.load("st:nobody/nothing-of-this-name")
    with pytest.raises(EncoderUnavailable, match="config.json"):
        catalog.load(f"st:tiny;checkpoint={tmp_path}")


def test_the_catalogues_blocks_have_every_fact_without_a_network() -> None:
    table = {**catalog.cards(), **catalog.rerankers()}
    named = {name: card for name, card in table.items() if card.family in ("st", "st_cross")}
    assert {"e5-small", "embeddinggemma", "qwen3-embedding", "lateon", "colqwen2", "msmarco-minilm"} <= set(named)
    for name, card in named.items():
        assert card.licence and card.revision and card.preprocessing and card.promise and not card.offline, name
        assert card.multi == (name in ("lateon", "colqwen2", "colsmol")), name
