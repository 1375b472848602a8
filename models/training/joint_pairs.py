"""Composed pairs: a picture and words of what to change -> the picture with that change, out of sets of drawings.

Every emoji is drawn in several styles, and many in several skin tones and genders, so a change of one of these alone
has an answer that is known. The words of a change come in several wordings, of which the last is never trained on.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from models.training.drawing import Drawing

STYLES = {
    "google": ("in Google's style", "as a Google emoji", "drawn by Google", "the way Google draws it"),
    "twitter": ("in Twitter's style", "as a Twitter emoji", "drawn by Twitter", "the way Twitter draws it"),
    "fluent": ("in Microsoft's style", "as a Microsoft emoji", "drawn by Microsoft", "the way Microsoft draws it"),
    "openmoji": ("in OpenMoji's style", "as an OpenMoji emoji", "drawn by OpenMoji", "the way OpenMoji draws it"),
}
TONES = {
    tone: (f"with {tone} skin", f"{tone} skin tone", f"make the skin {tone}", f"the same with a {tone} skin colour")
    for tone in ("light", "medium-light", "medium", "medium-dark", "dark")
} | {"": ("with yellow skin", "no skin tone", "make the skin yellow", "the same with a yellow skin colour")}
GENDERS = {
    "man": ("as a man", "make it male", "a man doing this", "with a man instead"),
    "woman": ("as a woman", "make it female", "a woman doing this", "with a woman instead"),
    "": ("as a person of any gender", "make it neither male nor female", "a person", "with just a person instead"),
}
INSTEAD = ("{} instead", "change it to {}", "the same style, but {}", "replace it by {}")
# Changes that are never trained on, only judged: of colour, of hair, and between an animal and its face.
COLOURED = {
    "heart": {
        "2764": "red", "1F9E1": "orange", "1F49B": "yellow", "1F49A": "green", "1F499": "blue", "1FA75": "light blue",
        "1F49C": "purple", "1F90E": "brown", "1F5A4": "black", "1FA76": "grey", "1F90D": "white", "1FA77": "pink",
    },
    "circle": {
        "1F534": "red", "1F7E0": "orange", "1F7E1": "yellow", "1F7E2": "green", "1F535": "blue", "1F7E3": "purple",
        "1F7E4": "brown", "26AB": "black", "26AA": "white",
    },
    "square": {
        "1F7E5": "red", "1F7E7": "orange", "1F7E8": "yellow", "1F7E9": "green", "1F7E6": "blue", "1F7EA": "purple",
        "1F7EB": "brown", "2B1B": "black", "2B1C": "white",
    },
    "book": {"1F4D5": "red", "1F4D7": "green", "1F4D8": "blue", "1F4D9": "orange"},
    "apple": {"1F34E": "red", "1F34F": "green"},
}  # fmt: skip
COLOUR = ("in {}", "make it {}", "the {} one", "change its colour to {}")
HAIR = {
    "1F9D1-200D-1F9B0": "red hair",
    "1F9D1-200D-1F9B1": "curly hair",
    "1F9D1-200D-1F9B3": "white hair",
    "1F9D1-200D-1F9B2": "no hair",
}
HAIRED = ("with {}", "the same person with {}")
FACES = {
    "1F436": "1F415", "1F431": "1F408", "1F42D": "1F401", "1F42E": "1F404", "1F437": "1F416", "1F434": "1F40E",
    "1F42F": "1F405", "1F430": "1F407", "1F435": "1F412", "1F432": "1F409",
}  # fmt: skip
FACE, WHOLE = ("only its face", "just the head"), ("the whole animal", "with its body and legs")
TRAINED = ("style", "tone", "gender", "instead", "keyword")
# So many others of its kind are named for each drawing: all pairs of names would be half a million.
PARTNERS = 4


@dataclass(frozen=True)
class Pair:
    """Places in a list: `query` changed by one of `wordings` is `target`; a pair and its inverse share the `cycle`."""

    query: int
    target: int
    relation: str
    wordings: tuple[str, ...]
    cycle: tuple[int, int]


def pair(query: int, target: int, relation: str, wordings: Sequence[str]) -> Pair:
    return Pair(query, target, relation, tuple(wordings), (min(query, target), max(query, target)))


def is_flag(drawing: Drawing) -> bool:
    """Flags differ by names alone; the lettered buttons of the same block of code points go with them."""
    return drawing.concept.startswith("1F1") or "E0067" in drawing.concept


def emoji(drawings: Iterable[Drawing]) -> list[tuple[int, Drawing]]:
    """The emoji among drawings that pairs are made of, each with its place."""
    return [(i, d) for i, d in enumerate(drawings) if d.source in STYLES and d.tone != "mixed" and not is_flag(d)]


def changes_of_one(
    drawings: Sequence[Drawing],
    relation: str,
    key: Callable[[Drawing], tuple[str, ...]],
    said: Callable[[Drawing], Sequence[str]],
) -> list[Pair]:
    """Ordered pairs of emoji that agree in `key`, which leaves out what changes; `said` words the target's state."""
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, drawing in emoji(drawings):
        alike[key(drawing)].append(place)
    return [
        pair(a, b, relation, said(drawings[b])) for group in alike.values() for a, b in itertools.permutations(group, 2)
    ]


def single_changes(drawings: Sequence[Drawing]) -> list[Pair]:
    """Another style, another skin tone, another gender: everything else stays."""
    return [
        *changes_of_one(drawings, "style", lambda d: (d.concept, d.tone, d.gender), lambda d: STYLES[d.source]),
        *changes_of_one(drawings, "tone", lambda d: (d.concept, d.source, d.gender), lambda d: TONES[d.tone]),
        *changes_of_one(drawings, "gender", lambda d: (d.concept, d.source, d.tone), lambda d: GENDERS[d.gender]),
    ]


def double_changes(drawings: Sequence[Drawing]) -> list[Pair]:
    """Another skin tone and another style at once."""
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, drawing in emoji(drawings):
        alike[drawing.concept, drawing.gender].append(place)
    found = []
    for group in alike.values():
        for a, b in itertools.permutations(group, 2):
            one, other = drawings[a], drawings[b]
            if one.tone != other.tone and one.source != other.source:
                wordings = [
                    f"{tone}, {style}" for tone, style in zip(TONES[other.tone], STYLES[other.source], strict=True)
                ]
                found.append(pair(a, b, "tone and style", wordings))
    return found


def _families() -> dict[str, str]:
    """Concept -> the family within which an untrained change leads from one to another."""
    named = {concept: kind for kind, colours in COLOURED.items() for concept in colours}
    named |= {concept: "hair" for concept in (*HAIR, "1F9D1")}
    return named | {concept: f"animal {face}" for face, body in FACES.items() for concept in (face, body)}


FAMILIES = _families()


def untrained_changes(drawings: Sequence[Drawing]) -> list[Pair]:
    """Another colour, other hair, the face for the whole animal and back: style, tone and gender stay."""
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, d in emoji(drawings):
        if d.concept in FAMILIES:
            alike[FAMILIES[d.concept], d.source, d.tone, d.gender].append(place)
    found = []
    for (family, *_), group in alike.items():
        for a, b in itertools.permutations(group, 2):
            concept = drawings[b].concept
            if family in COLOURED:
                found.append(pair(a, b, "colour", [w.format(COLOURED[family][concept]) for w in COLOUR]))
            elif family == "hair":
                if concept in HAIR:
                    found.append(pair(a, b, "hair", [w.format(HAIR[concept]) for w in HAIRED]))
            else:
                found.append(pair(a, b, "part", FACE if concept in FACES else WHOLE))
    return found


def exchanges(drawings: Sequence[Drawing], seed: int) -> list[Pair]:
    """Another thing of the same sort in the same style, by its name: "a tiger instead"; never within one family."""
    chance = random.Random(seed)
    by_kind: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, d in emoji(drawings):
        if not d.tone:
            by_kind[d.kind, d.source].append(place)
    found = []
    for group in by_kind.values():
        for a in group:
            for b in chance.sample(group, min(PARTNERS, len(group))):
                one, other = drawings[a], drawings[b]
                families = {FAMILIES.get(one.concept, one.concept), FAMILIES.get(other.concept, other.concept)}
                if len(families) > 1:
                    found.append(pair(a, b, "instead", [w.format(other.texts[0]) for w in INSTEAD]))
                    found.append(pair(b, a, "instead", [w.format(one.texts[0]) for w in INSTEAD]))
    return found


def keywords(drawing: Drawing) -> frozenset[str]:
    """The keywords of a piece of clip art."""
    return frozenset(k for text in drawing.texts[1:] for k in text.split(", "))


def clip_art(drawings: Sequence[Drawing], seed: int) -> list[Pair]:
    """A piece of clip art and a keyword that another one has besides one that both have -> that other one."""
    chance = random.Random(seed)
    known = {i: keywords(d) for i, d in enumerate(drawings) if d.source == "openclipart"}
    holders: dict[str, list[int]] = defaultdict(list)
    for place, words in known.items():
        for word in sorted(words):
            holders[word].append(place)
    found = []
    for place, words in known.items():
        shared = [w for w in sorted(words) if 2 <= len(holders[w]) <= 60]
        for word in chance.sample(shared, min(2, len(shared))):
            other = chance.choice(holders[word])
            new = sorted(w for w in known[other] - words if len(holders[w]) <= 60)
            if new and other != place:
                said = chance.choice(new)
                found.append(
                    pair(place, other, "keyword", (said, f"with {said}", f"and {said}", f"something with {said}"))
                )
    return found


def trained_pairs(drawings: Sequence[Drawing], seed: int) -> dict[str, list[Pair]]:
    """Pairs by relation, of the drawings given: the caller hands in either those to train on or those held out."""
    found: dict[str, list[Pair]] = {relation: [] for relation in TRAINED}
    for one in (*single_changes(drawings), *exchanges(drawings, seed), *clip_art(drawings, seed)):
        found[one.relation].append(one)
    return found
