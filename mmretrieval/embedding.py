"""embed(): the only caller of Encoder.encode, and the one place that says what a vector is guaranteed to be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmretrieval.errors import BadVectors, CannotRead
from mmretrieval.types import Array, Card, Content, Encoder, Modality, Role

# Below this length a row has no direction worth keeping: what is left of it is rounding.
SHORTEST = 1e-12


def embed(encoder: Encoder, contents: Sequence[Content], role: Role, batch_size: int = 32) -> Array:
    """One vector for each content, in order: float32 (n, card.dim), finite, of unit length; no contents give (0, dim).

    The encoder gets batches of at most `batch_size` contents that all hold the same modalities. A clip goes to it
    whole where its card reads frames; else its vector is the unit mean of its frames' unit vectors. Raises CannotRead
    before any work is done, BadVectors where the encoder returns anything but finite non-zero rows.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it must be at least 1")
    card = encoder.card
    for place, content in enumerate(contents):
        _check_readable(card, content, place)
    rows = np.zeros((len(contents), card.dim), dtype=np.float32)
    groups: dict[tuple[Modality, ...], list[int]] = {}
    for place, content in enumerate(contents):
        groups.setdefault(content.modalities, []).append(place)
    for modalities, places in groups.items():
        if modalities == ("frames",) and "frames" not in card.reads:
            rows[places] = _clips(encoder, contents, places, role, batch_size)
        else:
            rows[places] = _encode(encoder, [contents[p] for p in places], places, role, batch_size)
    return rows


def _check_readable(card: Card, content: Content, place: int) -> None:
    held = content.modalities
    reads = ", ".join(sorted(card.reads))
    if not held:
        raise CannotRead(f"content {place} holds nothing: give {card.name} text, a picture or frames")
    if len(held) > 1 and not card.joint:
        raise CannotRead(
            f"content {place} holds {' and '.join(held)}, but {card.name} reads one at a time ({reads}): "
            "embed its parts one by one, or choose a joint encoder"
        )
    as_pictures = held == ("frames",) and "image" in card.reads
    unread = [m for m in held if m not in card.reads]
    if unread and not as_pictures:
        raise CannotRead(f"content {place} holds {' and '.join(unread)}, but {card.name} reads only {reads}")


def _clips(encoder: Encoder, contents: Sequence[Content], places: list[int], role: Role, batch_size: int) -> Array:
    frames = [
        (place, Content(image=frame, instruction=contents[place].instruction))
        for place in places
        for frame in contents[place].frames
    ]
    owners = [place for place, _ in frames]
    rows = _encode(encoder, [frame for _, frame in frames], owners, role, batch_size)
    starts = np.cumsum([0, *(len(contents[p].frames) for p in places[:-1])])
    sums = np.add.reduceat(rows.astype(np.float64), starts, axis=0)
    return _unit(sums, encoder.card, places)


def _encode(encoder: Encoder, contents: list[Content], places: list[int], role: Role, batch_size: int) -> Array:
    """Unit rows of contents of one kind; `places` says, for messages, where each stands in the caller's list."""
    done: list[Array] = []
    for start in range(0, len(contents), batch_size):
        batch = contents[start : start + batch_size]
        done.append(_checked(encoder.encode(batch, role), encoder.card, places[start : start + len(batch)]))
    return np.concatenate(done)


def _checked(returned: object, card: Card, places: list[int]) -> Array:
    if not isinstance(returned, np.ndarray) or returned.dtype.kind != "f":
        kind = f"an array of {returned.dtype}" if isinstance(returned, np.ndarray) else type(returned).__name__
        raise BadVectors(f"{card.spec} returned {kind} instead of an array of floats")
    if returned.shape != (len(places), card.dim):
        raise BadVectors(f"{card.spec} returned the shape {returned.shape} instead of {(len(places), card.dim)}")
    bad = np.flatnonzero(~np.isfinite(returned).all(axis=1))
    if len(bad):
        raise BadVectors(f"{card.spec} returned numbers that are not finite for content {places[bad[0]]}")
    return _unit(returned.astype(np.float64), card, places)


def _unit(rows: npt.NDArray[np.float64], card: Card, places: list[int]) -> Array:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    short = np.flatnonzero(lengths[:, 0] < SHORTEST)
    if len(short):
        raise BadVectors(f"{card.spec} returned a zero vector for content {places[short[0]]}: it has no direction")
    units: Array = (rows / lengths).astype(np.float32)
    return units
