"""embed() and embed_multi(): the only callers of Encoder.encode, which say what a vector is guaranteed to be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import BadVectors, CannotRead, OutOfMemory
from mmretrieval.types import MODALITIES, Array, Card, Content, Encoder, Modality, Role, Vectors, View

# Below this length a row has no direction worth keeping: what is left of it is rounding.
SHORTEST = 1e-12
# What people call the modalities.
SPOKEN: dict[Modality, str] = {"text": "text", "image": "image", "frames": "video"}

# The largest batch that fitted, of encoders that ran out of memory once; by card, since an encoder of somebody's own
# may have no hash.
_fitting: WeakKeyDictionary[Card, int] = WeakKeyDictionary()


def embed(encoder: Encoder, contents: Sequence[Content], role: Role, batch_size: int = 32) -> Array:
    """One vector for each content, in order: float32 (n, card.dim), finite, of unit length; no contents give (0, dim).

    The encoder gets batches of at most `batch_size` contents that all hold the same modalities, and halves where memory
    does not suffice. A clip goes to it whole where its card reads frames; else its vector is the unit mean of its
    frames' unit vectors. Raises CannotRead before any work is done, BadVectors where the encoder returns anything but
    finite non-zero rows, or gives bags of rows (`embed_multi`), OutOfMemory where one content alone does not fit.
    """
    card = encoder.card
    if card.multi:
        raise BadVectors(f"{card.spec} gives a bag of vectors for each content: it is compared token by token")
    rows = np.zeros((len(contents), card.dim), dtype=np.float32)
    for places, as_pictures in _groups(card, contents, role, batch_size):
        chosen = [contents[p] for p in places]
        if as_pictures:
            frames, owners, starts = _frames(chosen, places)
            found = _encode(encoder, frames, owners, role, batch_size)
            sums = np.add.reduceat(np.concatenate(found).astype(np.float64), starts, axis=0)
            rows[places] = _unit(sums, card, places)
        else:
            rows[places] = np.concatenate(_encode(encoder, chosen, places, role, batch_size))
    return rows


def embed_multi(encoder: Encoder, contents: Sequence[Content], role: Role, batch_size: int = 32) -> Vectors:
    """A bag of unit rows (n_i >= 1, card.dim) for each content, in order, from an encoder whose card is `multi`.

    As `embed`; the bag of a clip that goes in as pictures has the rows of all its frames.
    """
    card = encoder.card
    if not card.multi:
        raise BadVectors(f"{card.spec} gives one vector for each content, not a bag of them")
    bags: list[Array] = [np.empty((0, card.dim), dtype=np.float32)] * len(contents)
    for places, as_pictures in _groups(card, contents, role, batch_size):
        chosen = [contents[p] for p in places]
        if as_pictures:
            frames, owners, starts = _frames(chosen, places)
            found = _encode(encoder, frames, owners, role, batch_size)
            ends = [*starts[1:], len(found)]
            found = [np.concatenate(found[s:e]) for s, e in zip(starts, ends, strict=True)]
        else:
            found = _encode(encoder, chosen, places, role, batch_size)
        for place, bag in zip(places, found, strict=True):
            bags[place] = bag
    return Vectors.joined(bags, card.dim)


def check_readable(card: Card, contents: Sequence[Content], role: Role) -> None:
    """Raises CannotRead for the first content that the encoder cannot read, naming both sides."""
    for place, content in enumerate(contents):
        held = content.modalities
        reads, has = spoken(readable(card)), spoken(held)
        if not held:
            raise CannotRead(f"content {place} holds nothing: give {card.name} text, a picture or frames")
        if unread := [m for m in held if m not in readable(card)]:
            raise CannotRead(f"{card.name} reads {reads}; the {role} has {spoken(unread)} (content {place})")
        if "image" in held and "frames" in held and "frames" not in card.reads:
            raise CannotRead(
                f"{card.name} reads a video as pictures; the {role} has a picture beside it (content {place})"
            )
        if len(held) > 1 and not card.joint:
            raise CannotRead(
                f"{card.name} reads one at a time of {reads}; the {role} has {has} at once (content {place}): "
                "embed its parts one by one, or choose a joint encoder"
            )


def spoken(modalities: Collection[Modality]) -> str:
    """Modalities as people call them, in the usual order."""
    return ", ".join(SPOKEN[m] for m in MODALITIES if m in modalities)


def readable(card: Card) -> tuple[Modality, ...]:
    """What an encoder can be given: one that reads pictures reads a video as the pictures that it consists of."""
    return tuple(m for m in MODALITIES if m in card.reads or (m == "frames" and "image" in card.reads))


def views_of(card: Card) -> tuple[View, ...]:
    """The views of items that an encoder can make."""
    able: dict[View, bool] = {
        "visual": bool(card.reads & {"image", "frames"}),
        "text": "text" in card.reads,
        "joint": card.joint,
    }
    return tuple(view for view, can in able.items() if can)


def _groups(card: Card, contents: Sequence[Content], role: Role, batch_size: int) -> list[tuple[list[int], bool]]:
    """The places of contents that hold the same modalities, and whether they go in as the pictures of clips."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it must be at least 1")
    check_readable(card, contents, role)
    groups: dict[tuple[Modality, ...], list[int]] = {}
    for place, content in enumerate(contents):
        groups.setdefault(content.modalities, []).append(place)
    return [(places, "frames" in held and "frames" not in card.reads) for held, places in groups.items()]


def _frames(clips: Sequence[Content], places: Sequence[int]) -> tuple[list[Content], list[int], list[int]]:
    """The frames of clips as pictures, each with the clip's words, whose clip each is, and where each clip begins."""
    frames = [replace(clip, image=f, frames=()) for clip in clips for f in clip.frames]
    owners = [place for place, clip in zip(places, clips, strict=True) for _ in clip.frames]
    starts = np.cumsum([0, *(len(clip.frames) for clip in clips[:-1])])
    return frames, owners, [int(s) for s in starts]


def _encode(encoder: Encoder, contents: list[Content], places: list[int], role: Role, batch_size: int) -> list[Array]:
    """A bag of unit rows for each content, all of one kind; `places` says where each stands in the caller's list."""
    done: list[Array] = []
    while len(done) < len(contents):
        size = min(batch_size, _fitting.get(encoder.card, batch_size))
        batch = contents[len(done) : len(done) + size]
        try:
            returned = encoder.encode(batch, role)
        except OutOfMemory:
            if len(batch) == 1:
                raise
            _fitting[encoder.card] = len(batch) // 2
            continue
        own = places[len(done) : len(done) + len(batch)]
        done += (
            _checked_bags(returned, encoder.card, own) if encoder.card.multi else _checked(returned, encoder.card, own)
        )
    return done


def _checked(returned: object, card: Card, places: list[int]) -> list[Array]:
    rows = _finite(returned, card, (len(places), card.dim), places)
    return list(_unit(rows.astype(np.float64), card, places)[:, None, :])


def _checked_bags(returned: object, card: Card, places: list[int]) -> list[Array]:
    if not isinstance(returned, Vectors):
        raise BadVectors(f"{card.spec} returned {type(returned).__name__} instead of Vectors")
    offsets = np.asarray(returned.offsets)
    if len(offsets) != len(places) + 1 or offsets[0] != 0 or (np.diff(offsets) < 1).any():
        raise BadVectors(
            f"{card.spec} returned the offsets {offsets[:8].tolist()}... for {len(places)} contents: "
            "they begin with 0 and give each content one row at least"
        )
    owners = np.repeat(places, np.diff(offsets)).tolist()
    rows = _unit(_finite(returned.rows, card, (int(offsets[-1]), card.dim), owners).astype(np.float64), card, owners)
    return [rows[start:end] for start, end in zip(offsets[:-1], offsets[1:], strict=True)]


def _finite(returned: object, card: Card, shape: tuple[int, int], places: list[int]) -> npt.NDArray[np.floating]:
    if not isinstance(returned, np.ndarray) or returned.dtype.kind != "f":
        kind = f"an array of {returned.dtype}" if isinstance(returned, np.ndarray) else type(returned).__name__
        raise BadVectors(f"{card.spec} returned {kind} instead of an array of floats")
    if returned.shape != shape:
        raise BadVectors(f"{card.spec} returned the shape {returned.shape} instead of {shape}")
    bad = np.flatnonzero(~np.isfinite(returned).all(axis=1))
    if len(bad):
        raise BadVectors(f"{card.spec} returned numbers that are not finite for content {places[bad[0]]}")
    return returned


def _unit(rows: npt.NDArray[np.float64], card: Card, places: list[int]) -> Array:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    short = np.flatnonzero(lengths[:, 0] < SHORTEST)
    if len(short):
        raise BadVectors(f"{card.spec} returned a zero vector for content {places[short[0]]}: it has no direction")
    units: Array = (rows / lengths).astype(np.float32)
    return units
