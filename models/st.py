"""Every checkpoint that sentence-transformers 6 reads: one vector a content, a bag of vectors, or a score for a pair.

The library does the encoding, batch by batch; here is what it is given and what becomes of it. Texts go in as text even
where they look like the name of a picture file, frames as frames that have been chosen already, and what stands before
a text depends on its role (Reimers and Gurevych 2019, arXiv 1908.10084; Khattab and Zaharia 2020, arXiv 2004.12832).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mmretrieval.errors import BadVectors, CannotRead, EncoderUnavailable, OutOfMemory
from mmretrieval.types import Array, Card, Content, Role, Vectors
from models.cards import st, st_shape
from models.runtime import memory_errors
from models.st_loading import load

# The pattern in which some models expect a task: Wang et al. 2024, arXiv 2401.00368, section 3.1.
TASK = re.compile(r"\A(Instruct:\s*)(.*?)(\n+\s*Query:.*)\Z", re.DOTALL)
# A frame stands for a second, as in a clip cut by default; only models that read times look at it.
FRAMES_PER_SECOND = 1.0
PAIRS = 32


def embedder(card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> Dense | LateInteraction:
    """The checkpoint as an encoder, of single vectors or of bags of them, as the card says."""
    return (LateInteraction if card.multi else Dense)(card, files, settings)


class _Embedder:
    """What both kinds share: grouping by instruction, prompts, and one caller at a time."""

    card: Card
    _model: Any

    def __init__(self, card: Card, settings: Mapping[str, Any], model: Any) -> None:
        self.card, self._model = card, model
        self._prompts = st.prompts(settings, model.prompts)
        # A fast tokenizer that is asked to pad and to cut by two threads at once fails.
        self._lock = threading.Lock()
        check_reads(card, model)

    def _runs(self, contents: Sequence[Content], role: Role) -> list[tuple[list[int], dict[str, Any]]]:
        """Places of contents that share an instruction, each with the arguments of one call."""
        groups: dict[str | None, list[int]] = {}
        for place, content in enumerate(contents):
            groups.setdefault(content.instruction, []).append(place)
        return [
            (places, arguments([contents[p] for p in places], self._model) | {"prompt": self._prompt(role, said)})
            for said, places in groups.items()
        ]

    def _prompt(self, role: Role, instruction: str | None) -> str:
        return prompt(self._prompts[role], instruction, chat=self._model.supports("message"))

    def _call(self, role: Role) -> Any:
        return self._model.encode_query if role == "query" else self._model.encode_document


class Dense(_Embedder):
    """A SentenceTransformer: content -> (dim,) numbers, query and item each behind its own prompt."""

    def __init__(self, card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> None:  # noqa: ARG002
        from sentence_transformers import SentenceTransformer

        model = load(SentenceTransformer, card, settings, truncate_dim=st.whole(settings, "dim"))
        if (length := st.whole(settings, "max_length")) is not None:
            model.max_seq_length = length
        super().__init__(card, settings, model)
        size = model.get_embedding_dimension()
        if size not in (None, card.dim):
            raise EncoderUnavailable(f"{card.spec} gives {size} numbers, its card says {card.dim}: mend its block")

    def encode(self, contents: Sequence[Content], role: Role) -> Array:
        """Rows (n, dim) float32 in order. Raises OutOfMemory where the batch does not fit."""
        rows = np.empty((len(contents), self.card.dim), dtype=np.float32)
        with self._lock, memory_errors(self.card.name):
            for places, given in self._runs(contents, role):
                rows[places] = self._call(role)(**given, convert_to_numpy=True)
        return rows


class LateInteraction(_Embedder):
    """A MultiVectorEncoder: content -> a row a token (a patch), without padding.

    Queries are lengthened and items stripped of punctuation where the checkpoint was trained so; `pool=FACTOR` merges
    an item's rows, FACTOR to one, by Ward's clustering (Clavie et al. 2024, arXiv 2409.14683), the library's own code.
    """

    def __init__(self, card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> None:  # noqa: ARG002
        from sentence_transformers import MultiVectorEncoder

        model: Any = load(MultiVectorEncoder, card, settings)
        if (length := st.whole(settings, "max_length")) is not None:
            model[0].document_length = length
        self._factor = _factor(card, settings.get("pool"))
        super().__init__(card, settings, model)

    def encode(self, contents: Sequence[Content], role: Role) -> Vectors:
        """Bags of rows (n_i, dim) float32 in order. Raises OutOfMemory where the batch does not fit."""
        bags: list[Array] = [np.empty((0, self.card.dim), dtype=np.float32)] * len(contents)
        with self._lock, memory_errors(self.card.name):
            for places, given in self._runs(contents, role):
                found = self._call(role)(**given, convert_to_numpy=True, **self._pooling(contents[places[0]], role))
                for place, bag in zip(places, found, strict=True):
                    bags[place] = np.asarray(bag, dtype=np.float32)
        empty = next((place for place, bag in enumerate(bags) if not len(bag)), None)
        if empty is not None:
            held = " and ".join(contents[empty].modalities)
            raise BadVectors(f"{self.card.spec} keeps no token of content {empty} ({held}) as {role}: nothing to store")
        return Vectors.joined(bags, self.card.dim)

    def _pooling(self, content: Content, role: Role) -> dict[str, Any]:
        """Pooling of items. A text's first token stands for the whole and is kept as it is; a picture has none such."""
        if self._factor == 1 or role == "query":
            return {}
        from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

        kept = 1 if content.modalities == ("text",) else 0
        pooling = HierarchicalTokenPooling(self._factor, num_protected_tokens=kept)
        return {"token_pooling": pooling, "normalize_embeddings": True}

    def _prompt(self, role: Role, instruction: str | None) -> str:
        """The mark of the role ("[Q] ") stays where an instruction is given: these models were trained with it."""
        own = self._prompts[role]
        said = super()._prompt(role, instruction)
        marked = instruction is not None and own and not self._model.supports("message") and not TASK.match(own)
        return own + said if marked else said


class Reranker:
    """A CrossEncoder: reads a query and an item at once and says how well they match."""

    def __init__(self, card: Card, files: Mapping[str, Path], settings: Mapping[str, Any]) -> None:  # noqa: ARG002
        from sentence_transformers import CrossEncoder

        self.card = card
        self._model = load(CrossEncoder, card, settings, max_length=st.whole(settings, "max_length"))
        self._lock = threading.Lock()
        check_reads(card, self._model)
        if self._model.num_labels != 1:
            raise EncoderUnavailable(
                f"{card.spec} gives {self._model.num_labels} scores for a pair: a reranker gives one; choose another"
            )

    def score(self, query: Content, items: Sequence[Content]) -> npt.NDArray[np.float64]:
        """How well each item answers the query (n,), higher is better.

        A clip is read as its middle frame by a model that reads pictures and no clips. A batch that does not fit is
        halved. Raises CannotRead before any work, OutOfMemory where one pair does not fit.
        """
        query, *items = (self._readable(content) for content in (query, *items))
        chat = self._model.supports("message")
        said = None if query.instruction is None else prompt("", query.instruction, chat=chat)
        pairs = [(_half(query, chat=chat), _half(item, chat=chat)) for item in items]
        scores = np.empty(len(pairs), dtype=np.float64)
        done, size = 0, PAIRS
        while done < len(pairs):
            try:
                scores[done : done + size] = self._predict(pairs[done : done + size], said)
            except OutOfMemory:
                if size == 1:
                    raise
                size = max(1, size // 2)
            else:
                done += size
        return scores

    def _predict(self, pairs: list[tuple[Any, Any]], said: str | None) -> npt.NDArray[Any]:
        with self._lock, memory_errors(self.card.name):
            found = self._model.predict(pairs, prompt=said, batch_size=len(pairs), show_progress_bar=False)
        scores: npt.NDArray[Any] = np.asarray(found).reshape(len(pairs))
        return scores

    def _readable(self, content: Content) -> Content:
        if content.frames and "frames" not in self.card.reads and "image" in self.card.reads and not content.image:
            content = replace(content, image=content.frames[len(content.frames) // 2], frames=())
        held = content.modalities
        unread = [m for m in held if m not in self.card.reads]
        if unread or not held or (len(held) > 1 and not self.card.joint):
            reads = (" and " if self.card.joint else " or ").join(sorted(self.card.reads))
            raise CannotRead(f"{self.card.name} reads {reads}; it was given {' and '.join(held) or 'nothing'}")
        return content


def prompt(own: str, instruction: str | None, *, chat: bool) -> str:
    """What stands before a content: the role's own prompt, or the user's instruction in its stead.

    Where the own prompt has the form "Instruct: ... Query:" the instruction takes the task's place in it; a chat model
    gets it as the system's message; elsewhere it is put before the text, and parted from it.
    """
    if instruction is None:
        return own
    if (parts := TASK.match(own)) is not None and not TASK.match(instruction):
        return parts[1] + instruction + parts[3]
    return instruction if chat or not instruction or instruction[-1].isspace() else f"{instruction} "


def arguments(contents: Sequence[Content], model: Any) -> dict[str, Any]:
    """What encode_query and encode_document are called with for contents of one kind, but for the prompt."""
    given: dict[str, Any] = {
        "inputs": [_input(content, plain=set(model.modalities) == {"text"}) for content in contents],
        "batch_size": max(1, len(contents)),
        "show_progress_bar": False,
    }
    if any(content.frames for content in contents):
        given["processing_kwargs"] = {"video": {"do_sample_frames": False}}
    return given


def check_reads(card: Card, model: Any) -> None:
    """Raises EncoderUnavailable where the loaded model does not read what its card says."""
    named = {"+".join(m) if isinstance(m, tuple) else m for m in model.modalities}
    reads = {ours for theirs, ours in st_shape.READS.items() if theirs in named}
    if not card.reads <= reads or (card.joint and not st_shape.joint(named)):
        raise EncoderUnavailable(
            f"{card.spec} reads {', '.join(sorted(reads))} once it is loaded (modalities {', '.join(sorted(named))}), "
            f"its card says {', '.join(sorted(card.reads))}{' jointly' if card.joint else ''}: mend its block"
        )


def _input(content: Content, *, plain: bool) -> Any:
    """One content as the library takes it; keyed by modality, else a text that names a picture file would be opened."""
    if plain:
        return content.text
    given: dict[str, Any] = {}
    if content.image is not None:
        given["image"] = content.image.convert("RGB")
    if content.frames:
        count = len(content.frames)
        about = {"fps": FRAMES_PER_SECOND, "total_num_frames": count, "frames_indices": list(range(count))}
        pixels = torch.from_numpy(np.stack([np.asarray(f.convert("RGB")) for f in _same_size(content.frames)]))
        given["video"] = {"array": pixels.permute(0, 3, 1, 2), "video_metadata": about}
    if content.text is not None:
        given["text"] = content.text
    return given


def _same_size(frames: Sequence[Any]) -> list[Any]:
    """Frames of a clip in the first one's size: a tensor holds no others."""
    return [f if f.size == frames[0].size else f.resize(frames[0].size) for f in frames]


def _half(content: Content, *, chat: bool) -> Any:
    """One half of a pair: a plain text for a model of text pairs, else keyed by modality."""
    return _input(content, plain=not chat and content.modalities == ("text",))


def _factor(card: Card, text: Any) -> float:
    """The option pool=FACTOR; 1 where it is not given."""
    try:
        factor = float(text) if text is not None else 1.0
    except ValueError:
        factor = float("nan")
    if not (1 <= factor < float("inf")):
        raise EncoderUnavailable(f"{card.spec}: pool={text} is not a number from 1, such as pool=3")
    return factor
