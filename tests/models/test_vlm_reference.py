"""Against transformers' own processors and forward passes, where these do what an embedder's authors did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vlm_checkpoints as made
from PIL import Image
from transformers import (
    AutoTokenizer,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from transformers.video_utils import VideoMetadata

from mmretrieval import catalog
from mmretrieval.embedding import embed
from mmretrieval.types import Array, Content
from models.vlm.pictures import patch_size, sampled
from models.vlm.styles import STYLES, Asked, Resize

WITHIN = 1e-5
TEXT = "a red bicycle at night"


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def last_state(model: Any, inputs: Any) -> Array:
    """The unit state of the last token, from the base model's own forward pass with the positions it finds itself."""
    with torch.inference_mode():
        state = model.eval().model(**inputs).last_hidden_state[:, -1]
    unit: Array = torch.nn.functional.normalize(state, dim=-1).numpy()
    return unit


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.qwen3_vl(tmp_path_factory.mktemp("vlm") / "qwen3")


def test_qwen3_picture_and_text_as_its_processor_and_model_read_them(qwen3: Path) -> None:
    """A picture that needs no resize: prompt, tokens, pixels and three-axis positions are transformers' own."""
    image = noise(96, 64)
    processor = qwen3_processor(qwen3)
    prompt = (
        "<|im_start|>system\nFind it.<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>"
        f"{TEXT}<|im_end|>\n<|im_start|>assistant\n"
    )
    inputs = processor(text=[prompt], images=[image], do_resize=False, return_tensors="pt")
    wanted = last_state(Qwen3VLForConditionalGeneration.from_pretrained(qwen3), inputs)
    encoder = catalog.load(f"qwen3_vl_embedding:tiny;checkpoint={qwen3}")
    content = Content(text=TEXT, image=image, instruction=" Find it ")
    np.testing.assert_array_equal(encoder.rows.row(content, "query").ids, inputs["input_ids"][0].numpy())  # type: ignore[attr-defined]
    np.testing.assert_allclose(embed(encoder, [content], "query"), wanted, atol=WITHIN)


def test_qwen3_clip_with_its_times_as_its_processor_and_model_read_it(qwen3: Path) -> None:
    """The token stands bare here: the processor of transformers 4.57, which the authors used, puts the frames in the
    place of `<|vision_start|><|video_pad|><|vision_end|>`; that of 5.23 leaves these two around all frames.
    """
    frames = tuple(noise(512, 256, seed) for seed in range(3))
    shown = torch.from_numpy(np.stack([np.asarray(frame).transpose(2, 0, 1) for frame in (*frames, frames[-1])]))
    metadata = VideoMetadata(total_num_frames=4, fps=2.0, frames_indices=[0, 1, 2, 3])
    prompt = (
        "<|im_start|>system\nRepresent the user's input.<|im_end|>\n<|im_start|>user\n"
        "<|video_pad|><|im_end|>\n<|im_start|>assistant\n"
    )
    inputs = qwen3_processor(qwen3)(
        text=[prompt],
        videos=[shown],
        video_metadata=[metadata],
        do_resize=False,
        do_sample_frames=False,
        return_tensors="pt",
    )
    inputs.pop("video_metadata", None)
    wanted = last_state(Qwen3VLForConditionalGeneration.from_pretrained(qwen3), inputs)
    encoder = catalog.load(f"qwen3_vl_embedding:tiny;checkpoint={qwen3}")
    row = encoder.rows.row(Content(frames=frames), "item")  # type: ignore[attr-defined]
    np.testing.assert_array_equal(row.ids, inputs["input_ids"][0].numpy())
    np.testing.assert_allclose(row.clip.values, inputs["pixel_values_videos"].numpy(), atol=1e-6)
    np.testing.assert_allclose(embed(encoder, [Content(frames=frames)], "item"), wanted, atol=WITHIN)


def test_lamra_on_qwen2_5_uses_the_models_own_three_axes(tmp_path: Path) -> None:
    folder = made.qwen2_5_vl(tmp_path / "c")
    image = noise(84, 112)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pictures = Qwen2VLImageProcessorPil()
    processor = Qwen2_5_VLProcessor(pictures, tokenizer, Qwen2VLVideoProcessor())
    prompt = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|><|image_pad|>"
        f"<|vision_end|>{TEXT}\nSummarize above image and sentence in one word: <|im_end|>\n<|im_start|>assistant\n"
    )
    inputs = processor(text=[prompt], images=[image], do_resize=False, return_tensors="pt")
    wanted = last_state(Qwen2_5_VLForConditionalGeneration.from_pretrained(folder), inputs)
    encoder = catalog.load(f"lamra:tiny;checkpoint={folder}")
    row = embed(encoder, [Content(text=TEXT, image=image)], "item")
    np.testing.assert_allclose(row, wanted, atol=WITHIN)


def test_lamra_reads_the_state_before_the_word_that_its_authors_add(tmp_path: Path) -> None:
    """Their prompt goes on with `<emb>.<|im_end|>...`; nothing after a token changes its state."""
    folder = made.copied(tmp_path / "c")
    encoder = catalog.load(f"lamra:tiny;checkpoint={folder}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    content = Content(text=TEXT)
    prompt = encoder.rows.row(content, "item").prompt  # type: ignore[attr-defined]
    before = len(tokenizer(prompt)["input_ids"])
    whole = tokenizer(prompt + "<|vision_pad|>.<|im_end|>\n<|im_start|>assistant\n", return_tensors="pt")
    model = Qwen2VLForConditionalGeneration.from_pretrained(folder).eval()
    with torch.inference_mode():
        state = model.model(**whole).last_hidden_state[:, before - 1]
    wanted = torch.nn.functional.normalize(state, dim=-1).numpy()
    np.testing.assert_allclose(embed(encoder, [content], "item"), wanted, atol=WITHIN)


def test_gme_counts_positions_in_one_line_and_resizes_twice(tmp_path: Path) -> None:
    folder = made.copied(tmp_path / "c")
    image = noise(84, 112)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pictures = Qwen2VLImageProcessorPil(min_pixels=256 * 784, max_pixels=1280 * 784)
    processor = Qwen2VLProcessor(pictures, tokenizer, Qwen2VLVideoProcessor())
    prompt = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        f"<|vision_start|><|image_pad|><|vision_end|>{TEXT}<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
    )
    inputs = processor(text=[prompt], images=[image], return_tensors="pt")
    inputs.pop("mm_token_type_ids")
    length = inputs["input_ids"].shape[1]
    inputs["position_ids"] = torch.arange(length).expand(3, 1, -1)
    wanted = last_state(Qwen2VLForConditionalGeneration.from_pretrained(folder), inputs)
    encoder = catalog.load(f"gme:tiny;checkpoint={folder}")
    np.testing.assert_allclose(embed(encoder, [Content(text=TEXT, image=image)], "item"), wanted, atol=WITHIN)


def test_llava_next_as_its_processor_and_model_read_it(tmp_path: Path) -> None:
    folder = made.llava_next(tmp_path / "c")
    image = noise(90, 61)
    config = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
    pictures = LlavaNextImageProcessorPil(**{key: config[key] for key in ("size", "crop_size", "image_grid_pinpoints")})
    processor = LlavaNextProcessor(
        pictures,
        AutoTokenizer.from_pretrained(folder),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    inputs = processor(text=[f"<image> Find it: {TEXT}\n"], images=[image], return_tensors="pt")
    wanted = last_state(LlavaNextForConditionalGeneration.from_pretrained(folder), inputs)
    encoder = catalog.load(f"vlm2vec:tiny;checkpoint={folder}")
    content = Content(text=TEXT, image=image, instruction="Find it:")
    np.testing.assert_allclose(embed(encoder, [content], "query"), wanted, atol=WITHIN)


def qwen3_processor(folder: Path) -> Any:
    mean = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "patch_size": 16}
    pictures, videos = Qwen2VLImageProcessorPil(**mean), Qwen3VLVideoProcessor(**mean)
    return Qwen3VLProcessor(pictures, AutoTokenizer.from_pretrained(folder), videos)


# --- prompts and sizes that no checkpoint is needed for -------------------------------------------------------------


@pytest.mark.parametrize(
    ("style", "asked", "prompt"),
    [
        ("vlm2vec", Asked("a cat", None), "a cat"),
        ("vlm2vec", Asked("", None), "\n"),
        ("vlm2vec", Asked("a cat", "Find it:"), "Find it: a cat\n"),
        ("vlm2vec", Asked("", "Find it:", picture="<i>"), "<i> Find it:\n"),
        ("vlm2vec", Asked("now", "\nSelect", picture="<i>"), "<i>\nSelect now\n"),
        ("vlm2vec", Asked("now", "Find it:", clip="<v>"), "<v> Find it: now"),
        ("vlm2vec", Asked("now", "Find it:", "<i>", "<v>"), "<i> <v> Find it: now"),
        ("vlm2vec", Asked("tax", "Find a document image that matches the given query:"), "DOC tax"),
        ("qwen3_vl_embedding", Asked(None, "Find it"), "SYS Find it. USER NULL END"),
        ("qwen3_vl_embedding", Asked("a", "Find it?"), "SYS Find it? USER a END"),
        ("qwen3_vl_embedding", Asked("a", "  "), "SYS Represent the user's input. USER a END"),
        ("lamra", Asked("a", "Find it.", clip="<v>"), "LAMRA <v> Find it. a video and sentence"),
        ("lamra", Asked(None, None, picture="<i>"), "LAMRA <i>  image"),
    ],
)
def test_prompt_of_a_style(style: str, asked: Asked, prompt: str) -> None:
    made_prompt = STYLES[style].prompt(asked)
    begin, end = "<|im_start|>system\n", "<|im_end|>\n<|im_start|>assistant\n"
    user = "<|im_end|>\n<|im_start|>user\n"
    if prompt.startswith("DOC"):
        prompt = prompt.replace("DOC", "Find a document image that matches the given query:")
    if prompt.startswith("SYS"):
        prompt = prompt.replace("SYS ", begin).replace(" USER ", user).replace(" END", end)
    if prompt.startswith("LAMRA"):
        _, seen, rest = prompt.split(" ", 2)
        words, named = (rest.split("a video")[0] + "a", "video and sentence") if "video" in rest else ("", "image")
        prompt = (
            f"{begin}You are a helpful assistant.{user}<|vision_start|>{seen}<|vision_end|>{words}"
            f"\nSummarize above {named} in one word: {end}"
        )
    assert made_prompt == prompt


@pytest.mark.parametrize(
    ("size", "low", "high", "wanted"),
    [
        ((84, 112), 3136, 1003520, (84, 112)),
        ((1344, 1344), 3136, 1003520, (980, 980)),  # the 1225 tokens of the first VLM2Vec's pictures
        ((10, 10), 3136, 1003520, (56, 56)),
        ((100, 50), 3136, 1003520, (112, 56)),
        ((4000, 3000), 3136, 1003520, (1148, 840)),
    ],
)
def test_size_that_patches_divide(size: tuple[int, int], low: int, high: int, wanted: tuple[int, int]) -> None:
    assert patch_size(size, 28, low, high) == wanted


def test_a_long_clip_shares_its_pixels() -> None:
    step = Resize(131_072, 786_432, shared=7_864_320)
    assert step.limits(8) == (131_072, 786_432)
    assert step.limits(32) == (131_072, 491_520)
    assert step.limits(200) == (131_072, 137_625)


def test_frames_are_spread_from_first_to_last() -> None:
    frames = [noise(2, 2, seed) for seed in range(20)]
    kept = sampled(frames, 8)
    assert [frames.index(frame) for frame in kept] == [0, 2, 5, 8, 10, 13, 16, 19]
    assert sampled(frames[:3], 8) == frames[:3]
