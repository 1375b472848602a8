"""Every value of tests/golden/vlm2vec, which the authors' own code gave for a tiny Qwen2-VL, is met again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from vlm_checkpoints import GOLDEN

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.types import Array, Content, Role
from models.vlm.encoder import VlmEncoder
from models.vlm.rows import last_tokens

VALUES = json.loads((GOLDEN / "golden.json").read_text("utf-8"))
CASES = {case["id"]: case for case in VALUES["cases"]}
WITHIN = 1e-5
Encoders = Callable[..., VlmEncoder]


@pytest.fixture(scope="module")
def encoder() -> Encoders:
    """The golden checkpoint as an encoder: encoder(version="1") adds options to its spec."""

    def load(**options: str) -> VlmEncoder:
        given = "".join(f";{key}={value}" for key, value in options.items())
        loaded = catalog.load(f"vlm2vec:tiny;checkpoint={GOLDEN / 'checkpoint'}{given}")
        assert isinstance(loaded, VlmEncoder)
        return loaded

    return load


def picture(name: str) -> Image.Image:
    with Image.open(GOLDEN / "images" / name) as image:
        image.load()
        return image


def asked(case: dict[str, Any]) -> tuple[Content, Role]:
    """A case as the content and role that must lead to its prompt."""
    if case["kind"] == "text" and "instruction" not in case:
        return Content(text=case["prompt"]), "item"  # candidates are bare text
    image = picture(case["images"][0]) if case["kind"] == "image" else None
    frames = tuple(picture(name) for name in case.get("frames", ()))
    role: Role = "query" if case["kind"] == "text" else "item"
    return Content(case.get("text"), image, frames, case["instruction"]), role


def of_case(encoder: Encoders, case: dict[str, Any]) -> VlmEncoder:
    return encoder(version="1") if "resize_before_processor" in case else encoder()


def difference(rows: Array, wanted: Any) -> float:
    return float(np.abs(np.asarray(rows, np.float64) - np.asarray(wanted)).max())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_prompt_tokens_and_positions_of_a_case_are_the_authors(encoder: Encoders, case: dict[str, Any]) -> None:
    model = of_case(encoder, case)
    row = model.rows.row(*asked(case))
    arguments = model.arguments([row])
    assert row.prompt == case["prompt"]
    assert row.ids.tolist() == case["input_ids"]
    assert len(row.ids) == case["n_tokens"]
    assert arguments["position_ids"][:, 0].tolist() == case["position_ids"]
    assert last_tokens(arguments["attention_mask"]).tolist() == [case["pooled_index"]]


@pytest.mark.parametrize("case", [c for c in CASES.values() if c["kind"] != "text"], ids=lambda case: case["id"])
def test_pixels_of_a_case_are_the_authors_to_the_last_bit(encoder: Encoders, case: dict[str, Any]) -> None:
    row = of_case(encoder, case).rows.row(*asked(case))
    seen = row.picture or row.clip
    assert seen is not None
    wanted = case["pixel_values"] if row.picture else case["pixel_values_videos"]
    assert [list(seen.grid)] == (case["image_grid_thw"] if row.picture else case["video_grid_thw"])
    assert list(seen.values.shape) == wanted["shape"]
    np.testing.assert_allclose(seen.values.ravel()[:8], wanted["first8"], rtol=1e-6)
    assert hashlib.sha256(seen.values.astype("<f4").tobytes()).hexdigest() == wanted["sha256_float32_le"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_embedding_of_a_case_is_the_authors(encoder: Encoders, case: dict[str, Any]) -> None:
    content, role = asked(case)
    model = of_case(encoder, case)
    assert difference(embed(model, [content], role)[0], case["embedding"]) < WITHIN


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_state_is_taken_after_the_final_norm(encoder: Encoders, case: dict[str, Any]) -> None:
    model = of_case(encoder, case)
    arguments = model.arguments([model.rows.row(*asked(case))])
    with torch.inference_mode():
        states = model.model(**arguments, use_cache=False).last_hidden_state
    assert float(states[0, -1].norm()) == pytest.approx(case["hidden_norm_before_normalisation"], abs=2e-5)


@pytest.mark.parametrize("batch", VALUES["batches"], ids=lambda batch: batch["id"])
def test_padded_batch_is_the_authors(encoder: Encoders, batch: dict[str, Any]) -> None:
    model = encoder(padding=batch["padding_side"])
    members = [asked(CASES[name]) for name in batch["members"]]
    rows = [model.rows.row(content, role) for content, role in members]
    arguments = model.arguments(rows)
    assert arguments["input_ids"].tolist() == batch["input_ids"]
    assert arguments["attention_mask"].tolist() == batch["attention_mask"]
    for axis in arguments["position_ids"]:
        assert axis.tolist() == batch["position_ids"]
    with torch.inference_mode():
        states = model.model(**arguments, use_cache=False).last_hidden_state
    pooled = states[torch.arange(len(rows)), last_tokens(arguments["attention_mask"])]
    unit = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    assert difference(unit, batch["embeddings"]) < WITHIN


@pytest.mark.parametrize("batch", VALUES["batches"], ids=lambda batch: batch["id"])
def test_mixed_batch_through_embed_is_the_authors(encoder: Encoders, batch: dict[str, Any]) -> None:
    model = encoder(padding=batch["padding_side"])
    for role in ("query", "item"):
        places = [i for i, name in enumerate(batch["members"]) if asked(CASES[name])[1] == role]
        contents = [asked(CASES[batch["members"][i]])[0] for i in places]
        wanted = np.array(batch["embeddings"])[places]
        assert difference(embed(model, contents, role), wanted) < WITHIN
        assert difference(model.encode(contents, role), wanted) < WITHIN


@pytest.mark.parametrize("adapter", VALUES["adapters"], ids=lambda adapter: adapter["id"])
def test_merged_adapter_is_the_authors(encoder: Encoders, adapter: dict[str, Any]) -> None:
    model = encoder(adapter=str(GOLDEN / adapter["folder"]))
    for value in adapter["values"]:
        content, role = asked(CASES[value["case"]])
        row = embed(model, [content], role)[0]
        assert difference(row, value["embedding"]) < WITHIN
        to_base = float(row @ embed(encoder(), [content], role)[0])
        assert to_base == pytest.approx(value["cosine_to_base"], abs=1e-4)


def test_adapter_folder_alone_finds_its_base_model(encoder: Encoders) -> None:
    folder = GOLDEN / "adapter-lora"
    alone = catalog.load(f"vlm2vec:tiny;checkpoint={folder};base={GOLDEN / 'checkpoint'}")
    named = encoder(adapter=str(folder))
    content = Content(text="a cat")
    np.testing.assert_array_equal(embed(alone, [content], "item"), embed(named, [content], "item"))
    assert alone.card.revision == named.card.revision != encoder().card.revision


def test_revision_tells_local_weights_apart_even_in_a_block_that_pins_one() -> None:
    lora, dora = (
        catalog.card(f"vlm2vec-v2;checkpoint={GOLDEN / name};base={GOLDEN / 'checkpoint'}")
        for name in ("adapter-lora", "adapter-dora")
    )
    assert lora.revision.split("+")[0] == dora.revision.split("+")[0]
    assert lora.revision != dora.revision
    assert lora.dim == 64
