"""Every kind of model that open_clip builds gives open_clip's own vectors, from a folder and from a file of weights."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import open_clip
import pytest
import tiny_clips
import torch
from drawings import drawing
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.types import Array, Content
from models.cards import clip_plan
from models.clip import encode_text

TEXTS = ["a red apple", "", "the dog, under: the TREE! " * 30, "ein roter apfel"]
PICTURES = [drawing(1), drawing(2, 300).crop((0, 0, 300, 40)), Image.new("L", (1, 1), 90)]


@pytest.fixture(scope="module", params=list(tiny_clips.KINDS))
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tiny_clips.Tiny:
    return tiny_clips.make(request.param, tmp_path_factory.mktemp(request.param))


def own_vectors(tiny: tiny_clips.Tiny, tag: dict[str, Any]) -> tuple[Array, Array]:
    """What open_clip's encode_image and encode_text give, prepared as its table of published weights says."""
    size = {"size": tiny.reference.visual.image_size}
    keys = ("mean", "std", "interpolation", "resize_mode")
    prepare = image_transform_v2(PreprocessCfg(**size, **{key: tag[key] for key in keys if key in tag}), is_train=False)
    tokens = open_clip.get_tokenizer(f"local-dir:{tiny.folder}")(TEXTS)
    with torch.inference_mode():
        rows = tiny.reference.encode_image(torch.stack([prepare(p) for p in PICTURES]), normalize=True)
        words = tiny.reference.encode_text(tokens, normalize=True)
    return rows.numpy(), words.numpy()


def test_vectors_equal_open_clips_own(tiny: tiny_clips.Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once from the folder; once as MODEL/TAG with a file of weights, where all but sizes comes from open_clip."""
    tag = open_clip.get_pretrained_cfg(tiny.kind.model, tiny.kind.tag)
    rows, words = own_vectors(tiny, tag)
    config = tmp_path / "config.json"
    # The weights' activation is the tag's business, not the config's.
    config.write_text(json.dumps({k: v for k, v in tiny.config.items() if k != "quick_gelu"}))
    monkeypatch.setattr(clip_plan, "configs", lambda: MappingProxyType({tiny.kind.model: config}))
    named = f"open_clip:{tiny.kind.model}/{tiny.kind.tag}".rstrip("/") + f";checkpoint={tiny.weights}"
    for spec in (f"open_clip:local-dir:{tiny.folder}", named):
        encoder = catalog.load(spec)
        assert encoder.card.dim == tiny.kind.embed_dim
        for contents, own in (
            ([Content(image=p) for p in PICTURES], rows),
            ([Content(text=t) for t in TEXTS], words),
        ):
            np.testing.assert_allclose(embed(encoder, contents, "item"), own, atol=1e-5, err_msg=spec)
            alone = embed(encoder, contents, "query", batch_size=1)
            np.testing.assert_allclose(alone, own, atol=1e-5, err_msg=spec)


def test_a_batch_is_cut_at_its_longest_prompt_where_that_is_exact(tiny: tiny_clips.Tiny) -> None:
    tokens = open_clip.get_tokenizer(f"local-dir:{tiny.folder}")(["a red apple", "the dog"])
    tower = getattr(tiny.reference, "text", tiny.reference)
    seen: list[int] = []

    def note(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((kwargs["input_ids"] if "input_ids" in kwargs else args[0]).shape[1])

    handle = tower.transformer.register_forward_pre_hook(note, with_kwargs=True)
    try:
        with torch.inference_mode():
            full, cut = tiny.reference.encode_text(tokens), encode_text(tiny.reference, tokens)
    finally:
        handle.remove()
    torch.testing.assert_close(cut, full, atol=1e-5, rtol=0)
    whole, short = seen
    assert whole >= tokens.shape[1]
    if tiny.kind.trims:
        assert short <= 7 < whole
    else:
        assert short == whole


def test_bf16_stays_near(tiny: tiny_clips.Tiny) -> None:
    spec = f"open_clip:local-dir:{tiny.folder}"
    exact, fast = catalog.load(spec), catalog.load(f"{spec};precision=bf16")
    assert exact.card.space != fast.card.space
    contents = [Content(text=t) for t in TEXTS] + [Content(image=p) for p in PICTURES]
    cosines = (embed(exact, contents, "item") * embed(fast, contents, "item")).sum(axis=1)
    assert cosines.min() > 0.99
