"""An evaluation dataset as values: what is searched, what is asked, and which answers are right.

On disk it is a folder of `dataset.toml`, `corpus.jsonl`, `queries.jsonl`, `qrels.tsv` and, where there are
reference queries, `bank.jsonl`; `eval.reading` turns one into the other and says every breach of the format.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from mmretrieval.filters import Filter, matches

Form = Literal["text", "image", "composed"]
FORMS: tuple[Form, ...] = get_args(Form)
RELEVANT = 1  # the lowest grade that counts as relevant
FILES = ("dataset.toml", "corpus.jsonl", "queries.jsonl", "qrels.tsv", "bank.jsonl")


@dataclass(frozen=True)
class Entry:
    """One thing that can be the right answer: a file (`path`, `text` is its caption), or words alone."""

    id: str
    path: Path | None = None
    text: str = ""
    kind: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def payload(self) -> dict[str, Any]:
        """What a filter can know of the entry from the corpus file alone."""
        return {"meta": dict(self.meta)} | ({"kind": self.kind} if self.kind else {})


@dataclass(frozen=True)
class AskedPart:
    """Words or the file of a picture, with a weight; exactly one of the two is there.

    `instruction` is what an encoder that follows one is told of it; None leaves it to the encoder.
    """

    text: str | None = None
    image: Path | None = None
    weight: float = 1.0
    instruction: str | None = None


@dataclass(frozen=True)
class Asked:
    """One query of a dataset; `exclude` and `subset` are corpus ids."""

    id: str
    parts: tuple[AskedPart, ...]
    exclude: frozenset[str] = frozenset()
    subset: frozenset[str] | None = None
    filter: Filter | None = None

    @property
    def form(self) -> Form:
        """`text`, `image`, or `composed` where it has both."""
        kinds = {"text" if part.image is None else "image" for part in self.parts}
        return "composed" if len(kinds) == 2 else ("text" if "text" in kinds else "image")

    def only(self, modality: Literal["all", "text", "image"]) -> Asked | None:
        """The query with the parts of one modality alone, negative ones included; nothing where none is left."""
        if modality == "all":
            return self
        parts = tuple(p for p in self.parts if (p.image is None) == (modality == "text"))
        return replace(self, parts=parts) if parts else None

    def allows(self, entry: str) -> bool:
        """Whether `exclude` and `subset` let this corpus id be an answer."""
        return entry not in self.exclude and (self.subset is None or entry in self.subset)


@dataclass(frozen=True)
class Dataset:
    """A whole dataset; `qrels` is {query id: {corpus id: grade}}, grades from 0, relevant from 1.

    `bank` holds reference queries, which are never test queries; they are read and checked, and no metric sees them.
    """

    folder: Path
    name: str
    licence: str
    source: str
    task: str
    main_metric: str
    corpus: tuple[Entry, ...]
    queries: tuple[Asked, ...]
    qrels: Mapping[str, Mapping[str, int]]
    bank: tuple[Asked, ...] = ()

    def relevant(self, query: str) -> frozenset[str]:
        """The corpus ids judged relevant to a query."""
        return frozenset(c for c, grade in self.qrels.get(query, {}).items() if grade >= RELEVANT)

    @property
    def judged(self) -> tuple[Asked, ...]:
        """The queries that have at least one relevant entry; the others can tell good from bad by nothing."""
        return tuple(q for q in self.queries if self.relevant(q.id))

    def counts(self, kinds: Mapping[str, str]) -> dict[str, Any]:
        """How much there is of what: entries by kind ({id: kind}), queries by form, relevant ones a query."""
        relevant = sorted(len(self.relevant(q.id)) for q in self.judged)
        return {
            "corpus": len(self.corpus),
            "corpus_by_kind": dict(sorted(Counter(kinds[e.id] for e in self.corpus).items())),
            "queries": len(self.queries),
            "queries_by_form": {f: n for f in FORMS if (n := sum(q.form == f for q in self.queries))},
            "queries_judged": len(relevant),
            "judgements": sum(len(v) for v in self.qrels.values()),
            "relevant_per_query": {
                "min": relevant[0] if relevant else 0,
                "mean": sum(relevant) / len(relevant) if relevant else 0.0,
                "max": relevant[-1] if relevant else 0,
            },
            "bank": len(self.bank),
        }

    def candidates(self, query: Asked, payloads: Mapping[str, tuple[Mapping[str, Any], ...]] | None = None) -> set[str]:
        """The corpus ids that may answer a query: allowed by it, and passing its filter with any of their payloads.

        Without `payloads` ({corpus id: the payloads of its items}) a filter sees what the corpus file says.
        """
        allowed = [e for e in self.corpus if query.allows(e.id)]
        if query.filter is None:
            return {e.id for e in allowed}
        known = payloads if payloads is not None else {e.id: (e.payload,) for e in allowed}
        return {e.id for e in allowed if any(matches(query.filter, p) for p in known.get(e.id, ()))}


def text_hash(folder: Path, names: tuple[str, ...] = FILES) -> str:
    """The sha256 of those of the dataset's own files that are there, by name and bytes."""
    digest = hashlib.sha256()
    for name in names:
        path = folder / name
        if path.is_file():
            digest.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
