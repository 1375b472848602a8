"""How each kind of embedder asks its model: prompts, default instructions, sizes of pictures, positions. No torch here.

The embedding is the state of the last token after the final norm, so a prompt ends where its authors read it. Default
instructions (by what is held; a Content's own instruction takes their place):

style              | role  | held           | instruction
-------------------|-------|----------------|--------------------------------------------------------------------------
vlm2vec            | query | text           | Find me an everyday image that matches the given caption:
vlm2vec            | query | picture        | Find a day-to-day image that looks similar to the provided image.
vlm2vec            | query | picture + text | Given an image, find a similar everyday image with the described changes:
vlm2vec            | query | clip + text    | Find the clip that corresponds to the given sentence and video segment:
vlm2vec            | item  | text           | none: the bare text
vlm2vec            | item  | picture        | Represent the given image.
vlm2vec            | item  | picture + text | Represent the given image with related text information:
vlm2vec            | both  | clip           | Understand the content of the provided video.
gme                | query | text           | Find an image that matches the given text.
gme                | both  | all else       | You are a helpful assistant.
lamra              | query | picture + text | I'm looking for a similar everyday image with the described changes.
lamra              | both  | all else       | none
qwen3_vl_embedding | query | anything       | Retrieve images or text relevant to the user's query.
qwen3_vl_embedding | item  | anything       | Represent the user's input.

VLM2Vec's are those of its tasks MSCOCO_t2i, NIGHTS, CIRR and EDIS (data set ziyjiang/MMEB_Test_Instruct), MomentSeeker
and MSR-VTT (TIGER-AI-Lab/VLM2Vec src/data/eval_dataset/momentseeker_dataset.py, msrvtt_dataset.py); GME's is of the
example in its gme_inference.py, LamRA's of Code-kunkun/LamRA dataset/datasets_circo.py, Qwen3-VL-Embedding's of
QwenLM/Qwen3-VL-Embedding README.md. For a page, VLM2Vec's authors say DOCUMENT (item) and DOCUMENT_QUERY (query); for a
search among clips VIDEO_QUERY: give them as a Content's instruction. An encoder's option item_instruction= takes the
place of the default for items with a picture (a page is one; a clip is not, except for gme, which sees its middle
frame), so that a library of pages can be embedded with what DOCUMENT says.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from mmretrieval.types import Content, Role

DOCUMENT = "Understand the content of the provided document image."
DOCUMENT_QUERY = "Find a document image that matches the given query:"
VIDEO = "Understand the content of the provided video."
VIDEO_QUERY = "Find a video that contains the following visual content:"
ASSISTANT = "You are a helpful assistant."
PICTURE_ITEMS: tuple[tuple[Role, str], ...] = (("item", "image"), ("item", "text+image"))

# VLM2Vec's image tasks end their prompts with a newline; its document and video tasks, which say these, do not.
NO_NEWLINE = frozenset(
    {
        DOCUMENT,
        DOCUMENT_QUERY,
        VIDEO,
        VIDEO_QUERY,
        "Find a video that includes the following described scenes:",
        "Find the video snippet that corresponds to the given summary:",
        "Select a video that fits the description provided:",
        "Find a video that demonstrates the following action while making a recipe:",
        "Find the clip that corresponds to the described scene in the given video:",
        "Find the clip that corresponds to the given sentence and video segment:",
        "Find the clip that corresponds to the given text:",
    }
)


@dataclass(frozen=True)
class Asked:
    """What a prompt is made from: text and instruction (None: none), and the tokens for a picture and a clip ("")."""

    text: str | None
    instruction: str | None
    picture: str = ""
    clip: str = ""


@dataclass(frozen=True)
class Resize:
    """One resize of a picture to sides that the patches divide, with an area of `low`..`high` pixels.

    `shared`: pixels that two frames' worth of the whole clip may have (`high` shrinks with the number of frames).
    `with_torch`: done by torchvision's antialiased bicubic instead of Pillow's, as its authors do.
    """

    low: int
    high: int
    shared: int = 0
    with_torch: bool = False

    def limits(self, frames: int) -> tuple[int, int]:
        """The smallest and largest area for a picture, or for each of so many frames."""
        if not self.shared:
            return self.low, self.high
        return self.low, max(int(min(self.high, self.shared / frames * 2)), int(self.low * 1.05))


@dataclass(frozen=True)
class Style:
    """One way to ask: the same backbone gives other vectors when it is asked otherwise."""

    name: str
    prompt: Callable[[Asked], str]
    # transformers' model_type -> "line" (1, 2, 3 ... on all axes) or "grid" (time, height and width of each patch).
    positions: Mapping[str, Literal["line", "grid"]]
    defaults: Mapping[tuple[Role, str], str]
    fallback: Mapping[Role, str | None]
    pictures: tuple[Resize, ...]
    frames: tuple[Resize, ...]
    # A picture more than 200 times as long as wide: made a square, or cut to 200:1.
    odd_shapes: Literal["square", "ratio"]
    # Frames of a clip: how many are kept, or 0 where the middle one stands for the clip.
    most_frames: int
    transparent: Literal["dropped", "white"] = "dropped"
    padding: Literal["left", "right", ""] = ""
    most_tokens: int = 0
    # Seconds between frames are written before each pair of them, for clips sampled at so many frames a second.
    frames_per_second: float = 0.0
    small_side: int = 0

    def saying(self, item_instruction: str) -> Style:
        """The style with another default instruction for items with a picture, alone or beside words."""
        return replace(self, defaults={**self.defaults, **dict.fromkeys(PICTURE_ITEMS, item_instruction)})

    def instruction(self, content: Content, role: Role) -> str | None:
        """The content's own instruction, else the default for its role and modalities."""
        if content.instruction is not None:
            return content.instruction
        return self.defaults.get((role, "+".join(content.modalities)), self.fallback[role])


def plain_prompt(asked: Asked) -> str:
    """VLM2Vec: visual tokens, instruction and text in one line, no chat template.

    After process_input_text in TIGER-AI-Lab/VLM2Vec src/model/processor.py and, for line ends, the parsers in
    src/data/eval_dataset/. An empty text without instruction becomes one newline: a prompt needs a token.
    """
    words = (asked.instruction or "") + (f" {asked.text}" if asked.instruction and asked.text else asked.text or "")
    line = asked.picture + (" " if asked.picture and (words or asked.clip) else "") + asked.clip
    line += (" " if asked.clip and words else "") + words
    image_task = bool(asked.instruction) and not asked.clip and asked.instruction not in NO_NEWLINE
    return (line.replace(" \n", "\n") + "\n" if image_task else line) or "\n"


def gme_prompt(asked: Asked) -> str:
    """GME: the instruction as system turn, then picture and text; read at an end token behind the assistant's turn.

    After GmeQwen2VL.embed in TIGER-AI-Lab/VLM2Vec src/model/baseline_backbone/gme/gme_inference.py (a copy of the
    file that Alibaba-NLP/gme-Qwen2-VL-2B-Instruct ships).
    """
    return _chat(asked.instruction or ASSISTANT, _seen(asked) + (asked.text or "")) + "<|endoftext|>"


def lamra_prompt(asked: Asked) -> str:
    """LamRA: asks for one word that sums up what came before; read at the newline that the word would follow.

    After construct_messages in Code-kunkun/LamRA dataset/datasets_mbeir.py, datasets_circo.py and datasets_msrvtt.py,
    and the forward of models/qwen2_vl.py, which reads the state before "<emb>".
    """
    words = " ".join(part for part in (asked.instruction, asked.text) if part)
    named = [
        name
        for name, held in (
            ("image", asked.picture),
            ("video", asked.clip),
            ("sentence", words or not (asked.picture or asked.clip)),
        )
        if held
    ]
    task = f"\nSummarize above {' and '.join(named)} in one word: "
    return _chat(ASSISTANT, _seen(asked) + words + task)


def qwen3_prompt(asked: Asked) -> str:
    """Qwen3-VL-Embedding: the instruction as system turn, ended by punctuation; then clip, picture and text.

    After Qwen3VLEmbedder.format_model_input in QwenLM/Qwen3-VL-Embedding src/models/qwen3_vl_embedding.py.
    """
    instruction = (asked.instruction or "").strip() or "Represent the user's input."
    if not unicodedata.category(instruction[-1]).startswith("P"):
        instruction += "."
    visual = "".join(f"<|vision_start|>{token}<|vision_end|>" for token in (asked.clip, asked.picture) if token)
    return _chat(instruction, visual + (asked.text or "") if visual or asked.text is not None else "NULL")


def _chat(system: str, user: str) -> str:
    return f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"


def _seen(asked: Asked) -> str:
    return "".join(f"<|vision_start|>{token}<|vision_end|>" for token in (asked.picture, asked.clip) if token)


# In pixels: 28 x 28 is what one token of Qwen2-VL sees, 32 x 32 of Qwen3-VL.
Q2, Q3 = 28 * 28, 32 * 32

STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "vlm2vec": Style(
            name="vlm2vec",
            prompt=plain_prompt,
            # Without <|vision_start|> in the prompt, the authors' code counts no picture: one line of positions.
            positions={"qwen2_vl": "line", "qwen2_5_vl": "line", "llava_next": "line"},
            defaults={
                ("query", "text"): "Find me an everyday image that matches the given caption:",
                ("query", "image"): "Find a day-to-day image that looks similar to the provided image.",
                ("query", "text+image"): ("Given an image, find a similar everyday image with the described changes:"),
                ("query", "text+frames"): ("Find the clip that corresponds to the given sentence and video segment:"),
                ("item", "image"): "Represent the given image.",
                ("item", "text+image"): "Represent the given image with related text information:",
                ("query", "frames"): VIDEO,
                ("item", "frames"): VIDEO,
                ("item", "text+frames"): VIDEO,
            },
            fallback={"query": None, "item": None},
            pictures=(Resize(4 * Q2, 1280 * Q2),),
            frames=(Resize(4 * Q2, 1280 * Q2),),
            odd_shapes="square",
            most_frames=8,
            small_side=56,
        ),
        "gme": Style(
            name="gme",
            prompt=gme_prompt,
            # Its code hands the language model embeddings without positions: one line.
            positions={"qwen2_vl": "line"},
            defaults={("query", "text"): "Find an image that matches the given text."},
            fallback={"query": ASSISTANT, "item": ASSISTANT},
            pictures=(Resize(4 * Q2, 16384 * Q2), Resize(256 * Q2, 1280 * Q2)),
            frames=(),
            odd_shapes="ratio",
            most_frames=0,
            most_tokens=1800,
        ),
        "lamra": Style(
            name="lamra",
            prompt=lamra_prompt,
            # The branch for Qwen2.5-VL computes true positions, that for Qwen2-VL hands over none.
            positions={"qwen2_vl": "line", "qwen2_5_vl": "grid"},
            defaults={("query", "text+image"): "I'm looking for a similar everyday image with the described changes."},
            fallback={"query": None, "item": None},
            pictures=(Resize(4 * Q2, 300 * Q2),),
            frames=(Resize(128 * Q2, 768 * Q2, shared=24576 * Q2, with_torch=True),),
            odd_shapes="ratio",
            most_frames=768,
        ),
        "qwen3_vl_embedding": Style(
            name="qwen3_vl_embedding",
            prompt=qwen3_prompt,
            positions={"qwen3_vl": "grid"},
            defaults={},
            fallback={
                "query": "Retrieve images or text relevant to the user's query.",
                "item": "Represent the user's input.",
            },
            pictures=(Resize(4 * Q3, 1800 * Q3),),
            frames=(
                Resize(4 * Q3, 16384 * Q3),
                Resize(128 * Q3, 768 * Q3, shared=7680 * Q3, with_torch=True),
            ),
            odd_shapes="ratio",
            most_frames=64,
            transparent="white",
            padding="right",
            most_tokens=8192,
            frames_per_second=2.0,
        ),
    }
)

# transformers' model_type -> tokens that stand for a picture and for a clip ("": it reads none).
VISUAL_TOKENS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "qwen2_vl": ("<|image_pad|>", "<|video_pad|>"),
        "qwen2_5_vl": ("<|image_pad|>", "<|video_pad|>"),
        "qwen3_vl": ("<|image_pad|>", "<|video_pad|>"),
        "llava_next": ("<image>", ""),
    }
)

# Checkpoints of the first VLM2Vec were evaluated on pictures squeezed to this square first.
VERSION_1_SIDE = 1344


def version(model: str, asked: str | None) -> int:
    """1 or 2: what is asked for, else 1 for the hub's TIGER-Lab/VLM2Vec-... checkpoints and 2 for all others."""
    return int(asked) if asked else 1 if model.startswith("TIGER-Lab/VLM2Vec") else 2
