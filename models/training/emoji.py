"""Emoji drawings as records: the google, twitter and fluent sets to train on, openmoji to judge on.

Every drawing of one code point sequence, whatever its style, skin tone or gender, shares a concept: what is held out is
held out as a concept, in all styles at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.training.drawing import Drawing
from models.training.packages import unpacked

TONES = {
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}
FEMALE, MALE, JOINER, AS_PICTURE = "2640", "2642", "200D", "FE0F"
PERSONS = {"1F468": "man", "1F469": "woman", "1F9D1": ""}
# One figure drawn for a man and for a woman under separate code points -> (the concept they share, the gender).
PAIRS: dict[tuple[str, ...], tuple[str, str]] = {
    ("1F468",): ("1F9D1", "man"),
    ("1F469",): ("1F9D1", "woman"),
    ("1F466",): ("1F9D2", "man"),
    ("1F467",): ("1F9D2", "woman"),
    ("1F474",): ("1F9D3", "man"),
    ("1F475",): ("1F9D3", "woman"),
    ("1F934",): ("1FAC5", "man"),
    ("1F478",): ("1FAC5", "woman"),
    ("1F385",): ("1F9D1-200D-1F384", "man"),
    ("1F936",): ("1F9D1-200D-1F384", "woman"),
}
# What a joined sequence that holds any of these shows is a couple or a family, not one person at some work.
SEVERAL = {"1F466", "1F467", "1F9D2", "1F48B", "2764", "1F91D"}


def concept_of(code: str) -> tuple[str, str, str]:
    """The concept, skin tone and gender of a code point sequence "1F468-1F3FD-200D-2695-FE0F".

    The concept is the sequence without skin tones, gender signs and the variation selector, a man or a woman at some
    work written as a person. The tone is "" where none is said and "mixed" where two differ; the gender "", "man" or
    "woman".
    """
    points = [point for point in code.upper().split("-") if point != AS_PICTURE]
    tones = {TONES[point] for point in points if point in TONES}
    tone = "" if not tones else tones.pop() if len(tones) == 1 else "mixed"
    points = [point for point in points if point not in TONES]
    gender = ""
    for sign, word in ((FEMALE, "woman"), (MALE, "man")):
        for at in range(1, len(points)):
            if points[at - 1] == JOINER and points[at] == sign:
                points, gender = points[: at - 1] + points[at + 1 :], word
                break
    if tuple(points) in PAIRS:
        concept, gender = PAIRS[tuple(points)]
        return concept, tone, gender
    persons = [point for point in points if point in PERSONS]
    if len(points) > 1 and len(persons) == 1 and points[0] in PERSONS and not SEVERAL & set(points):
        gender = PERSONS[points[0]] or gender
        points = ["1F9D1", *points[1:]]
    return "-".join(points), tone, gender


def plain(code: str) -> str:
    """A code point sequence without variation selectors: packages differ in writing them."""
    return "-".join(point for point in code.upper().split("-") if point != AS_PICTURE)


def without_tone(code: str) -> str:
    """A plain sequence with its skin tones left out."""
    return "-".join(point for point in plain(code).split("-") if point not in TONES)


def toned(texts: Sequence[str], tone: str) -> tuple[str, ...]:
    """Texts of a drawing without a skin tone -> those of the same with one."""
    if not tone:
        return tuple(texts)
    words = "mixed skin tones" if tone == "mixed" else f"{tone} skin tone"
    return tuple(f"{text}, {words}" for text in texts)


def read_trained(cache: Path) -> list[Drawing]:
    """The drawings of the three sets that are trained on, in a fixed order."""
    google, fluent = unpacked(cache, "google") / "package", unpacked(cache, "fluent") / "package"
    table = json.loads((google / "emoji.json").read_text("utf-8"))
    chars: dict[str, str] = json.loads((fluent / "chars.json").read_text("utf-8"))
    icons = json.loads((fluent / "icons.json").read_text("utf-8"))["icons"]
    names = emoji_names(table, chars)
    kinds = {without_tone(row["unified"]): _kind(row) for row in table}
    found: list[Drawing] = []
    for source in ("google", "twitter"):
        folder = unpacked(cache, source) / "package" / "img" / source / "64"
        for row in table:
            for form in (row, *row.get("skin_variations", {}).values()):
                if form[f"has_img_{source}"] and (place := folder / form["image"]).is_file():
                    found.append(_drawing(source, form["unified"], place, "", names, kinds))
    found += [
        _drawing("fluent", code, fluent / "icons.json", name, names, kinds)
        for code, name in sorted(chars.items())
        if name in icons
    ]
    return found


def read_openmoji(cache: Path) -> list[Drawing]:
    """OpenMoji's colour drawings of emoji; its own extra pictures have a concept of their own."""
    folder = unpacked(cache, "openmoji") / "package"
    found = []
    for row in json.loads((folder / "data" / "openmoji.json").read_text("utf-8")):
        concept, tone, gender = concept_of(row["hexcode"])
        tags = dict.fromkeys(t.strip() for t in f"{row['tags']},{row['openmoji_tags']}".split(",") if t.strip())
        texts = (row["annotation"].replace(":", ",").replace("-", " "), *(", ".join(tags),) * bool(tags))
        place = folder / "color" / "svg" / f"{row['hexcode']}.svg"
        if place.is_file():
            key = f"openmoji/{row['hexcode']}"
            kind = row["subgroups"].replace("-", " ")
            found.append(Drawing(key, "openmoji", concept, concept, tone, gender, texts, kind, place))
    return found


def emoji_names(table: Sequence[Mapping[str, Any]], chars: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Plain code point sequence without skin tone -> its names in lower case, the fluent set's (CLDR's) first."""
    names: dict[str, list[str]] = {}
    for code, slug in chars.items():
        if plain(code) == without_tone(code):
            names.setdefault(without_tone(code), []).append(slug.replace("-", " "))
    for row in table:
        known = names.setdefault(without_tone(row["unified"]), [])
        short = [re.sub(r"[-_]+", " ", text) for text in row["short_names"]]
        known += [text.lower() for text in (row["name"] or "", *short) if text]
    return {code: tuple(dict.fromkeys(texts)) for code, texts in names.items()}


def _kind(row: Mapping[str, Any]) -> str:
    return str(row["subcategory"]).replace("-", " ")


def _drawing(
    source: str, code: str, place: Path, member: str, names: Mapping[str, tuple[str, ...]], kinds: Mapping[str, str]
) -> Drawing:
    concept, tone, gender = concept_of(code)
    base = without_tone(code)
    texts = toned(names.get(base) or (member.replace("-", " "),), tone)
    return Drawing(
        f"{source}/{plain(code)}", source, concept, concept, tone, gender, texts, kinds.get(base, ""), place, member
    )
