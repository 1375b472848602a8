"""The nouns, and the protocols that a plugged-in part must keep. Opens no file, model or socket."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from mmretrieval.filters import Filter

if TYPE_CHECKING:
    from PIL.Image import Image

Array: TypeAlias = npt.NDArray[np.float32]
View = Literal["visual", "text", "joint"]
VIEWS: tuple[View, ...] = get_args(View)
Modality = Literal["text", "image", "frames"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
Role = Literal["query", "item"]

# Items of the same bytes and place get the same id in every library, on every machine.
ITEM_NAMESPACE = uuid.UUID("6f0b1f0e-6a39-5d0b-9c53-4d6c72b0a7f1")


# --- what an encoder reads, and what it says of itself -------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Content:
    """What an encoder reads: text, one picture, the frames of a clip, or several at once, with an instruction."""

    text: str | None = None
    image: Image | None = None
    frames: tuple[Image, ...] = ()
    instruction: str | None = None

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What it holds, in the order of MODALITIES."""
        held = {"text": self.text is not None, "image": self.image is not None, "frames": bool(self.frames)}
        return tuple(m for m in MODALITIES if held[m])


@dataclass(frozen=True)
class Card:
    """What is known of an encoder without loading its weights."""

    name: str
    spec: str
    dim: int
    reads: frozenset[Modality]
    licence: str
    revision: str
    preprocessing: str
    runtime: str
    promise: str
    joint: bool = False
    offline: bool = False
    multi: bool = False  # late interaction: a content is a bag of rows, compared by MaxSim
    commercial: bool = True  # False: its licence forbids commercial use
    family: str = ""

    @property
    def space(self) -> str:
        """The space's folder name: a slug of the spec plus 8 hex digits of the hash of spec and revision."""
        slug = "".join(c if c.isalnum() or c in "-." else "-" for c in self.spec.lower()).strip("-.")[:60]
        return f"{slug}-{hashlib.sha256(f'{self.spec}@{self.revision}'.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, eq=False)
class Vectors:
    """The rows of late-interaction contents: content i owns rows[offsets[i]:offsets[i + 1]], one row at least.

    `rows` is (m, d) float32, `offsets` is (n + 1,) int64 and begins with 0.
    """

    rows: Array
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: int) -> Array:
        return self.rows[self.offsets[place] : self.offsets[place + 1]]

    def __iter__(self) -> Iterator[Array]:
        return (self[place] for place in range(len(self)))

    @classmethod
    def joined(cls, bags: Sequence[Array], dim: int) -> Vectors:
        """Bags of rows, (n_i, dim) each, one after the other."""
        offsets = np.zeros(len(bags) + 1, dtype=np.int64)
        np.cumsum([len(bag) for bag in bags], out=offsets[1:])
        return cls(np.concatenate(bags) if bags else np.empty((0, dim), dtype=np.float32), offsets)


@dataclass(frozen=True, eq=False)
class Tokens:
    """Late-interaction queries: query i asks with the rows of bag i, each of which has a weight, (m,) float32.

    An item's score is the sum over the query's rows q of weight(q) * max over the item's rows d of q.d: that is the
    weighted sum of the MaxSim of all the query's parts, for negative weights too.
    """

    bags: Vectors
    weights: Array

    def __len__(self) -> int:
        return len(self.bags)

    def __getitem__(self, place: int) -> tuple[Array, Array]:
        return self.bags[place], self.weights[self.bags.offsets[place] : self.bags.offsets[place + 1]]


class Encoder(Protocol):
    """Content -> vectors. `embed()` and `embed_multi()` are its only callers and check what comes back."""

    @property
    def card(self) -> Card: ...

    def encode(self, contents: Sequence[Content], role: Role) -> Array | Vectors:
        """For each content, in order, a row of `card.dim` numbers, or a bag of them where `card.multi`.

        All contents hold the same modalities. Raises OutOfMemory where the batch does not fit: it gets a smaller one.
        """
        ...


class ContentReranker(Protocol):
    """Reads a query and an item together and says how well they match: a cross-encoder."""

    @property
    def card(self) -> Card: ...

    def score(self, query: Content, items: Sequence[Content]) -> npt.NDArray[Any]:
        """How well each item answers the query (n,), higher is better."""
        ...


# --- what is retrieved ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """One retrievable place inside a file, found without decoding pixels; `text` is the words found there."""

    locator: str = ""
    t0: float | None = None
    t1: float | None = None
    page: int | None = None
    text: str = ""
    visual: bool = True


@dataclass(frozen=True)
class Item:
    """One retrievable thing: a picture, a clip (seconds t0..t1), a page (from 1), a passage. Holds no pixels."""

    id: str
    kind: str
    content_hash: str
    locator: str = ""
    t0: float | None = None
    t1: float | None = None
    page: int | None = None
    paths: tuple[str, ...] = ()
    text: str = ""
    lang: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    visual: bool = True

    @property
    def views(self) -> tuple[View, ...]:
        """The single-modality views that it has content for."""
        held: dict[View, bool] = {"visual": self.visual, "text": bool(self.text.strip())}
        return tuple(view for view, there in held.items() if there)

    @property
    def payload(self) -> dict[str, Any]:
        """What stores keep beside the vectors, and filters look at."""
        fields = {"kind": self.kind, "t0": self.t0, "t1": self.t1, "page": self.page, "lang": self.lang or None}
        return {k: v for k, v in fields.items() if v is not None} | ({"meta": dict(self.meta)} if self.meta else {})


def item_id(content_hash: str, locator: str) -> str:
    """uuid5 of (sha256 of the file's bytes, place inside it): a renamed file keeps its items."""
    return str(uuid.uuid5(ITEM_NAMESPACE, f"{content_hash}:{locator}"))


@dataclass(frozen=True)
class Settings:
    """What decides how files are cut and read; two settings never share a vector."""

    clip_seconds: float = 8.0
    frames_per_clip: int = 8
    passage_chars: int = 900
    picture_side: int = 1024
    frame_side: int = 512
    video_reader: str = "pyav"

    @property
    def key(self) -> str:
        """Eight hex digits that change when any setting does."""
        return hashlib.sha256(json.dumps(vars(self), sort_keys=True).encode()).hexdigest()[:8]


# --- what is asked -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Part:
    """One weighted part of a query: content to embed, an item whose stored vector stands for it, or a raw vector.

    `feedback`: a liked (weight above 0) or disliked item, which speaks of the answer and is no part of the question. A
    `vector` (d,) is a row of the encoder's own space, and stands for what has `modality`.
    """

    content: Content | None = None
    item: str | None = None
    weight: float = 1.0
    feedback: bool = False
    vector: Array | None = None
    modality: Modality = "text"


@dataclass(frozen=True, eq=False)
class Query:
    """Weighted parts (negative pushes away), a filter, items to leave out, and (`subset`) the only items to rank."""

    parts: tuple[Part, ...]
    id: str = "q"
    filter: Filter | None = None
    exclude: frozenset[str] = frozenset()
    subset: frozenset[str] | None = None


@dataclass(frozen=True)
class Selection:
    """Which items of a store may be found: those that pass the filter, less `exclude`, within `subset` if given."""

    filter: Filter | None = None
    exclude: frozenset[str] = frozenset()
    subset: frozenset[str] | None = None


# --- what comes back -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Found:
    """A list of ids with scores (float64), best first, ties by id; higher is better, always."""

    ids: tuple[str, ...]
    scores: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def ordered(cls, ids: Sequence[str], scores: Sequence[float] | npt.NDArray[Any]) -> Found:
        """The list sorted by falling score, equal scores by rising id."""
        values = np.asarray(scores, dtype=np.float64)
        order = sorted(range(len(ids)), key=lambda i: (-values[i], ids[i]))
        return cls(tuple(ids[i] for i in order), values[order] if order else values)


@dataclass(frozen=True)
class Mark:
    """What one stage thought of an item: its rank (from 1) and score there."""

    stage: str
    rank: int
    score: float


@dataclass(frozen=True)
class Contribution:
    """What each part of a query brought to a hit in one list, `source`: an encoder and a view.

    Where `additive`, the values add up to the query's dot product (or BM25 score) with the item; else each is the
    score of a part by itself.
    """

    source: str
    parts: tuple[str, ...]
    values: tuple[float, ...]
    additive: bool = True


@dataclass(frozen=True)
class Hit:
    """An item's place in a ranking; `score` is the last stage's that scored it, the trail has them all.

    `contributions` are there where they were asked for. With a cut-off, `chance` is how likely a random query would
    score as high (see mmretrieval.chances), None where that is not known, and a `weak` hit is no better than that.
    """

    id: str
    rank: int
    score: float
    trail: tuple[Mark, ...] = ()
    contributions: tuple[Contribution, ...] = ()
    chance: float | None = None
    weak: bool = False


@dataclass(frozen=True)
class Ranking:
    """The hits of one query, best first."""

    query: str
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Run:
    """The rankings of many queries under one recipe, with what made them."""

    recipe: str
    rankings: tuple[Ranking, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)


# --- what can be plugged in ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Point:
    """One item in a store: all its vectors by view, a row (d,) or a bag (n, d) each, and its payload."""

    id: str
    vectors: Mapping[View, Array]
    payload: Mapping[str, Any]


class VectorStore(Protocol):
    """Vectors of one space, by view, that can be searched by dot product. It checks nothing: `embed()` has."""

    def search(self, view: View, queries: Array, depth: int, selections: Sequence[Selection]) -> list[Found]:
        """For each query row the `depth` best items by dot product among its selection that have this view."""
        ...

    def rows(self, view: View, ids: Sequence[str]) -> tuple[Array, npt.NDArray[np.bool_]]:
        """The items' vectors (n, dim), zero where an item lacks the view, and which of them have it (n,)."""
        ...

    def count(self, view: View) -> int:
        """How many items have this view."""
        ...


class LateStore(Protocol):
    """Bags of rows of one late-interaction space, by view, that can be searched by weighted MaxSim."""

    def search(self, view: View, queries: Tokens, depth: int, selections: Sequence[Selection]) -> list[Found]:
        """For each query the `depth` best items by weighted MaxSim among its selection that have this view."""
        ...

    def bags(self, view: View, ids: Sequence[str]) -> Vectors:
        """The items' bags in the order of `ids`, empty where an item lacks the view."""
        ...

    def count(self, view: View) -> int:
        """How many items have this view."""
        ...


class Writable(Protocol):
    """What a store has that can be written to."""

    def put(self, points: Sequence[Point]) -> None:
        """Stores each point whole: an earlier point of that id is replaced, with all its views and its payload."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Forgets the points; unknown ids are no error."""
        ...

    def flush(self) -> None:
        """Returns when everything put and deleted before is on disk."""
        ...

    def close(self) -> None:
        """Flushes and lets go; the object is of no use afterwards."""
        ...


class Index(VectorStore, Writable, Protocol):
    """A store of vectors that can be written to."""


class LateIndex(LateStore, Writable, Protocol):
    """A store of bags that can be written to."""


class Transform(Protocol):
    """A fitted change of a space: items by view, queries by modality; rows that come back need not be unit."""

    @property
    def item_bytes(self) -> float:
        """What one vector of an item takes, kept as compactly as the transform allows."""
        ...

    def items(self, view: View, rows: Array) -> Array: ...

    def query(self, modality: Modality, rows: Array) -> Array: ...


class Correction(Protocol):
    """A fitted change of scores. `transductive`: an answer depends on the other queries that are asked with it."""

    @property
    def transductive(self) -> bool: ...

    @property
    def item_bytes(self) -> float:
        """What it keeps for each vector of an item, beside the vector."""
        ...

    @property
    def remark(self) -> str:
        """Where the fit departed from what was asked for, such as more neighbours than there are; else empty."""
        ...

    def scores(self, view: View, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Corrected scores (q, n) from the dot products of queries with all items that have the view, in id order."""
        ...
