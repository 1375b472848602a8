"""The contract of an encoder, asked of one on this machine: each check says what it saw, also where all is well."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmretrieval.errors import CannotRead, RetrievalError
from mmretrieval.types import Array, Card, Content, Role

# Float32 sums of a batch and of one content differ in their order; a reduced precision rounds a thousand times coarser.
TOLERANCES = {"fp32": 1e-5}
REDUCED_TOLERANCE = 3e-2
# Two contents whose vectors agree to this many digits cannot be told apart by a search.
SAME = 0.99999
THREADS = 4
SENTENCES = ("a red apple on a wooden table", "", "dog", "a long sentence about boats and the sea " * 80, "Größe 猫")
Bags: TypeAlias = list[Array]
# embed(), or embed_multi() cut into bags: contents, role -> for each content its unit rows, (1, dim) or (n, dim).
Embed: TypeAlias = Callable[[Sequence[Content], Role], Bags]


@dataclass(frozen=True)
class Verdict:
    """What one check found: whether the contract is kept, and the figure or the reason."""

    check: str
    passed: bool
    figure: str


@dataclass(frozen=True, eq=False)
class Subject:
    """The model under examination: its card, what embeds with it, and how close equal vectors must be.

    `whole` says that a video goes only to a model that reads frames, and never as the pictures that it consists of.
    """

    card: Card
    embed: Embed
    tolerance: float
    whole: bool = False

    @property
    def samples(self) -> list[list[Content]]:
        """One list for each modality that it reads, of contents that are hard in different ways."""
        found = []
        if "text" in self.card.reads:
            found.append([Content(text=s) for s in SENTENCES])
        if {"image", "frames"} & self.card.reads:
            sizes = [(320, 240), (64, 64), (200, 300)]
            pictures = [drawn(w, h, seed) for seed, (w, h) in enumerate(sizes)]
            if "image" in self.card.reads:
                found.append([Content(image=p) for p in pictures])
            if "frames" in self.card.reads or not self.whole:
                found.append([Content(frames=tuple(drawn(160, 120, seed + i) for i in range(8))) for seed in (0, 20)])
        return found


def tolerance(settings: Mapping[str, object]) -> float:
    """How far two vectors of one content may differ in a coordinate, in the precision that the settings name."""
    return TOLERANCES.get(str(settings.get("precision", "fp32")), REDUCED_TOLERANCE)


def check(subject: Subject) -> list[Verdict]:
    """All checks, in the order of CHECKS; one that raises has failed, with the error as its reason."""
    return [_verdict(name, run, subject) for name, run in CHECKS.items()]


def _verdict(name: str, run: Callable[[Subject], str], subject: Subject) -> Verdict:
    try:
        return Verdict(name, True, run(subject))
    except Broken as broken:
        return Verdict(name, False, str(broken))
    except Exception as error:  # somebody else's encoder may raise anything: that is the finding
        reason = str(error) if isinstance(error, RetrievalError) else f"{type(error).__name__}: {error}"
        return Verdict(name, False, reason.strip().splitlines()[0][:300])


class Broken(Exception):
    """The contract is not kept; the text is the figure."""


def drawn(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture with structure, made by integer arithmetic: the same bytes on every machine."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [(x * 5 + seed * 37) % 256, (y * 3 + x // 7 * 11) % 256, ((x - width // 2) ** 2 + y * seed) // 16 % 256]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


# --- the checks: each returns its figure or raises -----------------------------------------------------------------


def _vectors(subject: Subject) -> str:
    worst, rows = 0.0, 0
    for contents in subject.samples:
        for bag in subject.embed(contents, "item"):
            if bag.dtype != np.float32 or bag.ndim != 2 or bag.shape[1] != subject.card.dim:
                raise Broken(f"{bag.dtype} {bag.shape} instead of float32 (n, {subject.card.dim})")
            if not np.isfinite(bag).all():
                raise Broken("numbers that are not finite")
            worst = max(worst, float(np.abs(np.linalg.norm(bag.astype(np.float64), axis=1) - 1).max()))
            rows += len(bag)
    if worst > 1e-5:
        raise Broken(f"lengths differ from 1 by up to {worst:.1e}")
    return f"{rows} float32 rows of {subject.card.dim}, lengths within {worst:.0e} of 1"


def _batch(subject: Subject) -> str:
    worst = 0.0
    for contents in subject.samples:
        together = subject.embed(contents, "item")
        alone = [subject.embed([c], "item")[0] for c in contents]
        worst = max(worst, _apart(together, alone))
    return _within(worst, subject.tolerance, "a batch and each alone differ by up to")


def _order(subject: Subject) -> str:
    mixed = [c for contents in subject.samples for c in contents]
    mixed = mixed[::2] + mixed[1::2]
    forward, backward = subject.embed(mixed, "query"), subject.embed(mixed[::-1], "query")[::-1]
    return _within(_apart(forward, backward), subject.tolerance, "the same list from both ends differs by up to")


def _empty(subject: Subject) -> str:
    if "text" not in subject.card.reads:
        return "reads no text"
    bags = subject.embed([Content(text=""), Content(text=" \n")], "query")
    return f"an empty text has {len(bags[0])} row{'s' * (len(bags[0]) > 1)}"


def _odd_pictures(subject: Subject) -> str:
    if "image" not in subject.card.reads:
        return "reads no picture"
    sizes = [(1, 1), (400, 20), (20, 400)]
    contents = [Content(image=drawn(w, h)) for w, h in sizes]
    grey = drawn(100, 80).convert("L")
    contents += [Content(image=grey), Content(image=grey.convert("RGB"))]
    bags = subject.embed(contents, "item")
    _within(_apart(bags[3:4], bags[4:5]), subject.tolerance, "a grey picture and the same in RGB differ by")
    return "1 x 1, 20:1, 1:20 and grey pictures are read"


def _video(subject: Subject) -> str:
    if not {"image", "frames"} & subject.card.reads:
        return "reads no video"
    frames = tuple(drawn(160, 120, seed) for seed in range(8))
    subject.embed([Content(frames=frames), Content(frames=frames[:1])], "item")
    return f"8 frames, read {'whole' if 'frames' in subject.card.reads else 'as pictures'}"


def _joint(subject: Subject) -> str:
    both = Content(text="the same at night", image=drawn(320, 240))
    if subject.card.joint:
        alone = [Content(text=both.text), Content(image=both.image)]
        composed, *parts = (subject.embed([c], "query")[0] for c in (both, *alone))
        cosines = [_cosine(composed, part) for part in parts]
        if max(cosines) > SAME:
            unheeded = ("picture beside words", "text beside a picture")[int(np.argmax(cosines))]
            raise Broken(f"a {unheeded} changes nothing (cosine {max(cosines):.6f})")
        return f"both at once have a cosine of {cosines[0]:.3f} to the words, {cosines[1]:.3f} to the picture"
    try:
        subject.embed([both], "query")
    except CannotRead:
        return "refuses words and a picture at once, as its card says"
    raise Broken("reads words and a picture at once, though its card says that it is not joint")


def _refuses(subject: Subject) -> str:
    unread = [
        content
        for modality, content in (("text", Content(text="a dog")), ("image", Content(image=drawn(32, 32))))
        if modality not in subject.card.reads
    ]
    for content in unread:
        try:
            subject.embed([content], "query")
        except CannotRead:
            continue
        raise Broken(f"takes {content.modalities[0]}, which its card does not name")
    if not unread:
        return "reads text and pictures: there was nothing to refuse, and nothing was tried"
    return f"refuses {unread[0].modalities[0]}"


def _roles(subject: Subject) -> str:
    cosines = []
    for contents in subject.samples:
        asked, stored = subject.embed(contents[:1], "query")[0], subject.embed(contents[:1], "item")[0]
        cosines.append(_cosine(asked, stored))
    return "cosine of one content as query and as item: " + ", ".join(f"{c:.4f}" for c in cosines)


def _instruction(subject: Subject) -> str:
    content = subject.samples[0][0]
    told = Content(content.text, content.image, content.frames, instruction="Find what has the same colour: ")
    cosine = _cosine(subject.embed([told], "query")[0], subject.embed([content], "query")[0])
    return f"an instruction {'is not heeded' if cosine > SAME else f'turns a vector to a cosine of {cosine:.3f}'}"


def _differ(subject: Subject) -> str:
    contents = [c for group in subject.samples for c in group if c.text != ""]
    means = np.stack([bag.mean(axis=0) for bag in subject.embed(contents, "item")]).astype(np.float64)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    highest = float((means @ means.T - 2 * np.eye(len(means))).max())
    if highest > SAME:
        raise Broken(f"two different contents have a cosine of {highest:.6f}")
    return f"the two most alike of {len(contents)} contents have a cosine of {highest:.3f}"


def _threads(subject: Subject) -> str:
    contents = [c for group in subject.samples for c in group[:2]]
    expected = [subject.embed([c], "query")[0] for c in contents]
    found: dict[int, Bags] = {}
    errors: list[Exception] = []

    def ask(place: int) -> None:
        try:
            turned = contents[place:] + contents[:place]
            bags = [subject.embed([c], "query")[0] for c in turned]
            found[place] = bags[len(bags) - place :] + bags[: len(bags) - place]
        except Exception as error:  # told by the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(min(THREADS, len(contents)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    worst = max(_apart(expected, bags) for bags in found.values())
    return _within(worst, subject.tolerance, f"{len(threads)} threads at once and one alone differ by up to")


CHECKS: dict[str, Callable[[Subject], str]] = {
    "vectors": _vectors,
    "batch": _batch,
    "order": _order,
    "empty text": _empty,
    "odd pictures": _odd_pictures,
    "video": _video,
    "joint": _joint,
    "refusal": _refuses,
    "roles": _roles,
    "instruction": _instruction,
    "differences": _differ,
    "threads": _threads,
}


def _apart(left: Bags, right: Bags) -> float:
    """The largest difference of a coordinate; infinite where two bags have not the same number of rows."""
    if any(a.shape != b.shape for a, b in zip(left, right, strict=True)):
        return float("inf")
    return max(float(np.abs(a - b).max()) for a, b in zip(left, right, strict=True))


def _cosine(left: Array, right: Array) -> float:
    """Of the means of two bags of rows."""
    a, b = left.astype(np.float64).mean(axis=0), right.astype(np.float64).mean(axis=0)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _within(value: float, limit: float, what: str) -> str:
    if not value <= limit:
        raise Broken(f"{what} {value:.1e}, more than {limit:.0e}")
    return f"{what} {value:.1e}"


# --- rerankers -----------------------------------------------------------------------------------------------------

Score: TypeAlias = Callable[[Content, Sequence[Content]], npt.NDArray[np.floating]]


def check_reranker(card: Card, score: Score, close: float) -> list[Verdict]:
    """What a model that reads query and item together must keep: finite scores, in order, whatever the batch."""
    subject = Subject(card, lambda contents, _: _scored(card, score, contents), close, whole=True)
    return [_verdict(name, run, subject) for name, run in {"scores": _scores, "batch": _batch, "order": _order}.items()]


def _scored(card: Card, score: Score, contents: Sequence[Content]) -> Bags:
    """The scores of contents for one query, as bags of one number."""
    query = Content(text="a red apple") if "text" in card.reads else Content(image=drawn(320, 240))
    found = np.asarray(score(query, contents))
    if found.shape != (len(contents),):
        raise Broken(f"scores of the shape {found.shape} for {len(contents)} items")
    return [np.array([[value]], dtype=np.float32) for value in found]


def _scores(subject: Subject) -> str:
    found = [float(bag[0, 0]) for contents in subject.samples for bag in subject.embed(contents, "item")]
    if not np.isfinite(found).all():
        raise Broken("scores that are not finite")
    if len(set(found)) == 1:
        raise Broken("the same score for every item")
    return f"{len(found)} finite scores from {min(found):.3f} to {max(found):.3f}"
