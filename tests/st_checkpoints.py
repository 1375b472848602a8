"""Tiny sentence-transformers checkpoints with random weights, made and saved as the library itself saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = "a the of red blue small big cat dog car photo drawing query passage find what is in on under tree house"
SIDE = 16


def tokenizer(*, extra: tuple[str, ...] = (), **more: Any) -> Any:
    """A WordPiece tokenizer of some words, letters and marks, with BERT's special tokens."""
    from transformers import PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *extra, *",.:;?!'()-/_", *letters]
    words += [f"##{letter}" for letter in letters] + [w for w in WORDS.split() if len(w) > 1]
    inner = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    named = {f"{kind}_token": f"[{kind.upper()}]" for kind in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=64, **named, **more)


def bert(folder: Path, kind: str = "BertModel", **more: Any) -> Path:
    """A BERT of two layers and 32 numbers with its tokenizer."""
    import transformers

    words = tokenizer()
    torch.manual_seed(7)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
        **more,
    )
    getattr(transformers, kind)(config).eval().save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def dense(folder: Path, *, prompts: dict[str, str] | None = None, project: int | None = None) -> Path:
    """BERT, mean pooling, perhaps a dense layer, unit length; with prompts in its config."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    modules: list[Any] = [Transformer(str(bert(folder / "bare"))), Pooling(32, "mean")]
    torch.manual_seed(8)
    modules += [Dense(32, project)] if project else []
    model = SentenceTransformer(modules=[*modules, Normalize()], prompts=prompts, device="cpu")
    return saved(model, folder)


def late_words(folder: Path) -> Path:
    """A ColBERT: BERT, 16 numbers a token, query marks, lengthened queries, punctuation left out of items."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    words = {"strategy": "fixed", "length": 12, "attend": False}
    first = Transformer(str(bert(folder / "bare")), query_expansion=words, document_length=20)
    torch.manual_seed(9)
    modules = [
        first,
        Dense(32, 16, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings"),
        MultiVectorMask(skiplist_words=list(",.:;?!")),
        Normalize(module_input_name="token_embeddings"),
    ]
    prompts = {"query": "query ", "document": "passage "}
    return saved(MultiVectorEncoder(modules=modules, prompts=prompts, device="cpu"), folder)


def cross(folder: Path, labels: int = 1) -> Path:
    """A BERT that classifies pairs."""
    from sentence_transformers import CrossEncoder

    place = bert(folder / "bare", "BertForSequenceClassification", num_labels=labels)
    return saved(CrossEncoder(str(place), device="cpu"), folder)


def clip(folder: Path) -> Path:
    """A CLIP of two layers in each tower and 16 numbers."""
    import transformers
    from sentence_transformers import SentenceTransformer

    words = tokenizer(eos_token="[SEP]", bos_token="[CLS]")
    torch.manual_seed(10)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {**tower, "vocab_size": len(words), "max_position_embeddings": 32, "eos_token_id": 3, "pad_token_id": 0}
    vision = {**tower, "image_size": SIDE, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    size = {"height": SIDE, "width": SIDE}
    pictures = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size)
    words.model_max_length = 32
    transformers.CLIPModel(config).eval().save_pretrained(folder / "bare")
    transformers.CLIPProcessor(pictures, words).save_pretrained(folder / "bare")
    return saved(SentenceTransformer(str(folder / "bare"), device="cpu"), folder)


def saved(model: Any, folder: Path) -> Path:
    """The folder that the model was saved to."""
    place = folder / "saved"
    model.save_pretrained(str(place), create_model_card=False)
    return place


CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif c['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKS = ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad", "endoftext")


def qwen(folder: Path, kind: str = "Qwen2VLModel", *, chat: bool = True) -> Path:
    """A Qwen2-VL of two layers with its processor; `kind` names the class of transformers that it is saved as."""
    import transformers

    words = tokenizer(extra=("yes", "no"))
    words.add_special_tokens({"additional_special_tokens": [f"<|{mark}|>" for mark in MARKS]})
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    words.padding_side = "left"
    words.model_max_length = 512
    ids = {mark: words.convert_tokens_to_ids(f"<|{mark}|>") for mark in MARKS}
    text = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "bos_token_id": ids["im_start"],
        "eos_token_id": ids["im_end"],
        "pad_token_id": 0,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
    }
    vision = {"depth": 2, "embed_dim": 32, "num_heads": 4, "hidden_size": 32, "mlp_ratio": 2, "patch_size": 4}
    config = transformers.Qwen2VLConfig(
        text_config=text,
        vision_config={**vision, "spatial_merge_size": 2, "temporal_patch_size": 2},
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
    )
    shape = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}
    size = {"shortest_edge": 64, "longest_edge": 32 * 32}
    pictures = transformers.Qwen2VLImageProcessor(**shape, size=size)
    torch.manual_seed(11)
    if kind == "ColQwen2ForRetrieval":
        late = transformers.ColQwen2Config(vlm_config=config, embedding_dim=16)
        transformers.ColQwen2ForRetrieval(late).eval().save_pretrained(folder)
        transformers.ColQwen2Processor(pictures, words).save_pretrained(folder)
        return folder
    clips = transformers.Qwen2VLVideoProcessor(**shape, size=size)
    getattr(transformers, kind)(config).eval().save_pretrained(folder)
    template = CHAT if chat else None
    transformers.Qwen2VLProcessor(pictures, words, clips, chat_template=template).save_pretrained(folder)
    return folder


def qwen3(folder: Path) -> Path:
    """A bare Qwen3-VL of three layers: it tells a clip's frames by their seconds."""
    import transformers

    words = tokenizer()
    words.add_special_tokens({"additional_special_tokens": [f"<|{mark}|>" for mark in MARKS]})
    words.padding_side, words.model_max_length = "left", 512
    ids = {mark: words.convert_tokens_to_ids(f"<|{mark}|>") for mark in MARKS}
    width = {"hidden_size": 32, "intermediate_size": 64}
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True, "rope_theta": 10000.0}
    heads = {"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    ends = {"bos_token_id": None, "eos_token_id": ids["im_end"], "pad_token_id": 0}
    shape = {"patch_size": 4, "temporal_patch_size": 2}
    deep = {"depth": 3, "num_heads": 4, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
    config = transformers.Qwen3VLConfig(
        text_config={**width, **heads, **ends, "vocab_size": len(words), "rope_parameters": rope},
        vision_config={**width, **deep, **shape, "out_hidden_size": 32, "spatial_merge_size": 2},
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
    )
    sizes = [{"shortest_edge": 64, "longest_edge": 32 * 32 * frames} for frames in (1, 8)]
    pictures = transformers.Qwen2VLImageProcessor(**shape, merge_size=2, size=sizes[0])
    clips = transformers.Qwen3VLVideoProcessor(**shape, merge_size=2, size=sizes[1])
    torch.manual_seed(12)
    transformers.Qwen3VLModel(config).eval().save_pretrained(folder)
    transformers.Qwen3VLProcessor(pictures, words, clips, chat_template=CHAT).save_pretrained(folder)
    return folder


def colpali(folder: Path) -> Path:
    """A ColPali of two layers that cuts every page into four patches."""
    import transformers

    words = tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<image>"]})
    words.model_max_length = 256
    width = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    # the processor adds places to the vocabulary: 1024 of boxes and 128 of segments
    text = {**width, **ends, "model_type": "gemma", "vocab_size": 2048, "num_key_value_heads": 1, "head_dim": 8}
    vision = {**width, "model_type": "siglip_vision_model", "image_size": SIDE, "patch_size": 8, "projection_dim": 32}
    inner = transformers.PaliGemmaConfig(
        text_config=text,
        vision_config={**vision, "vision_use_head": False},
        image_token_index=words.convert_tokens_to_ids("<image>"),
        projection_dim=32,
    )
    torch.manual_seed(13)
    late = transformers.ColPaliConfig(vlm_config=inner, text_config=None, embedding_dim=16)
    transformers.ColPaliForRetrieval(late).eval().save_pretrained(folder)
    pictures = transformers.SiglipImageProcessor(size={"height": SIDE, "width": SIDE})
    pictures.image_seq_length = 4
    transformers.ColPaliProcessor(pictures, words).save_pretrained(folder)
    return folder


def chat_embedder(folder: Path) -> Path:
    """A Qwen2-VL whose last token's state is the vector: reads text, pictures, frames, and several at once."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    modules = [Transformer(str(qwen(folder / "bare"))), Pooling(32, "lasttoken"), Normalize()]
    prompts = {"query": "find a photo", "document": "a photo"}
    return saved(SentenceTransformer(modules=modules, prompts=prompts, device="cpu"), folder)


def chat_reranker(folder: Path) -> Path:
    """A Qwen2-VL that answers yes or no to a pair of texts or pictures."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    place = qwen(folder / "bare", "Qwen2VLForConditionalGeneration")
    first = Transformer(str(place), transformer_task="any-to-any")
    last = LogitScore(*(first.tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no")))
    return saved(CrossEncoder(modules=[first, last], device="cpu"), folder)
