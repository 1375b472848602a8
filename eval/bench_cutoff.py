"""What a cut-off greys: hits of real queries, of made-up words, and of phrases that a library knows nothing of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval import judging
from eval.bench_made import Clock
from eval.reading import load
from eval.recipes import encoders_of
from mmretrieval.engine import Engine
from mmretrieval.provenance import versions
from mmretrieval.types import Content, Part, Query

if TYPE_CHECKING:
    from eval.dataset import Dataset
    from mmretrieval.library import Library

CHANCES = (0.05, 0.02, 0.01)
TOP = 20
# What syllables of made-up words begin and end with, and have between; some end with their vowel.
ONSETS = (
    "b",
    "br",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gr",
    "k",
    "kl",
    "m",
    "n",
    "p",
    "pl",
    "r",
    "s",
    "sk",
    "t",
    "tr",
    "v",
    "z",
)
VOWELS, ENDS = ("a", "e", "i", "o", "u"), ("", "n", "l", "r", "x", "rt", "mp")

# What no clip art, stock photograph or short text of a general library shows.
OFF_TOPIC = (
    "mitochondrial membrane potential assay",
    "deadline for quarterly corporate tax returns",
    "Kantian categorical imperative and moral duty",
    "subordinated convertible bond prospectus",
    "garbage collection pauses in the virtual machine",
    "Hilbert space of square-integrable functions",
    "burden of proof in civil litigation",
    "quantitative easing by the central bank",
    "etymology of Proto-Indo-European verb endings",
    "Kubernetes ingress controller misconfiguration",
    "serotonin reuptake inhibitor dosage",
    "amendment to the data protection regulation",
    "polymerase chain reaction primer design",
    "theory of optimal currency areas",
    "backpropagation through time with truncated gradients",
    "arbitration clause of the supply contract",
    "Gödel's second incompleteness theorem",
    "inflation-adjusted pension entitlement",
    "postcolonial critique of the modernist novel",
    "lattice-based key exchange protocol",
)


@dataclass(frozen=True)
class Kind:
    """Queries of one kind; `relevant` has, by query id, the items that answer it, where that is known."""

    name: str
    queries: tuple[Query, ...]
    relevant: Mapping[str, frozenset[str]]


def made_up(count: int, seed: int) -> tuple[str, ...]:
    """Phrases of one to four words that mean nothing in any language, drawn syllable by syllable."""
    chance = np.random.default_rng(seed)

    def syllable() -> str:
        return "".join(str(chance.choice(some)) for some in (ONSETS, VOWELS, ENDS))

    def word() -> str:
        return "".join(syllable() for _ in range(int(chance.integers(2, 4))))

    return tuple(" ".join(word() for _ in range(int(chance.integers(1, 5)))) for _ in range(count))


def in_words(name: str, phrases: Sequence[str]) -> Kind:
    """Phrases as queries that nothing answers."""
    return Kind(name, tuple(Query((Part(Content(text=p)),), id=f"{name} {i}") for i, p in enumerate(phrases)), {})


def greyed(library: Library, recipe: str, kind: Kind, top: int = TOP) -> dict[str, Any]:
    """Of the first `top` hits of some queries the share that each of CHANCES greys; of those that answer, too.

    `recipe` has no cut-off. Hits that cannot be judged do not count; None where none can. `mostly` is the share of
    queries of whose first hits most are greyed.
    """
    run = Engine(library, exact=True).rank(kind.queries, f"{recipe},cutoff", top)
    judged = [[(h.id, h.chance) for h in r.hits if h.chance is not None] for r in run.rankings]
    found = [np.array([chance for _, chance in hits]) for hits in judged if hits]
    answers = [
        chance
        for query, hits in zip(kind.queries, judged, strict=True)
        for ident, chance in hits
        if ident in kind.relevant.get(query.id, ())
    ]
    row: dict[str, Any] = {"recipe": recipe, "queries": kind.name, "count": len(kind.queries), "answers": len(answers)}
    for p in CHANCES:
        row[f"greyed@{p:g}"] = round(float(np.mean(np.concatenate(found) > p)), 4) if found else None
        row[f"mostly@{p:g}"] = round(float(np.mean([np.mean(c > p) > 0.5 for c in found])), 4) if found else None
        row[f"answers@{p:g}"] = round(float(np.mean(np.array(answers) > p)), 4) if answers else None
    return row


def cutoff(dataset: Path, out: Path, recipes: Sequence[str], count: int, seed: int) -> dict[str, Any]:
    """The table of `greyed` for each recipe: a dataset's queries, `count` made-up ones, and those off its topic."""
    clock, loaded = Clock(), load(dataset)
    folder = judging.library_folder(loaded, out)
    shelf, _ = judging.shelve(loaded, folder, encoders_of(list(recipes)), own=True, workers=2)
    with shelf.library:
        kinds = [*_of_dataset(loaded, shelf), in_words("made-up words", made_up(count, seed))]
        kinds.append(in_words("off topic", OFF_TOPIC))
        rows = [greyed(shelf.library, recipe, kind) for recipe in recipes for kind in kinds]
    return {"dataset": loaded.name, "top": TOP, "seed": seed, "rows": rows, "versions": versions()} | {
        "seconds": clock.seconds(1)
    }


def _of_dataset(dataset: Dataset, shelf: judging.Shelf) -> list[Kind]:
    kinds = []
    for name, form in (("words", "text"), ("composed", "composed")):
        asked = [q for q in dataset.queries if q.form == form]
        relevant = {q.id: frozenset(i for e in dataset.relevant(q.id) for i in shelf.items[e]) for q in asked}
        if asked:
            kinds.append(Kind(name, tuple(judging.as_queries(asked, dataset, shelf)), relevant))
    return kinds
