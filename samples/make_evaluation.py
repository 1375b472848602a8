"""Write the corpus of the sample evaluation set from the captions, and check the whole set.

The queries (`evaluation/queries.jsonl`) and their graded judgements (`evaluation/qrels.tsv`: 2 = just what is asked,
1 = partly) are written by hand, by looking at the pictures and before any encoder had seen them; they are data, not
made here. `python samples/make_evaluation.py` writes `corpus.jsonl` and exits 1 if anything does not fit together.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "evaluation"
MEDIA = ("pictures", "photos")
META = ("subject", "style", "author", "licence", "source")
SUFFIXES = {".webp", ".png", ".jpg"}
SMALL_WORDS = {
    "a",
    "an",
    "and",
    "at",
    "by",
    "for",
    "from",
    "in",
    "into",
    "it",
    "its",
    "of",
    "on",
    "or",
    "the",
    "to",
    "with",
}


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Give the objects of a JSON Lines file, in order."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def corpus_entries() -> list[dict[str, Any]]:
    """Give a corpus entry for every captioned picture; its id is the file's name without the suffix."""
    entries = []
    for folder in MEDIA:
        for row in read_jsonl(HERE / folder / "captions.jsonl"):
            entries.append(
                {
                    "id": Path(row["path"]).stem,
                    "path": f"../{folder}/{row['path']}",
                    "text": row["caption"],
                    "kind": "image",
                    "meta": {name: row[name] for name in META},
                }
            )
    return entries


def read_qrels(path: Path) -> list[tuple[str, str, int]]:
    """Give (query id, corpus id, score) of every judgement; the first line must be the header."""
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    if header != "query-id\tcorpus-id\tscore":
        raise ValueError(f"{path}: the header is {header!r}")
    return [(query, item, int(score)) for query, item, score in (line.split("\t") for line in lines)]


def twice(names: list[str], what: str) -> list[str]:
    """Name what occurs more than once."""
    return [f"{what} {name!r} occurs {n} times" for name, n in Counter(names).items() if n > 1]


def check_files(corpus: list[dict[str, Any]]) -> list[str]:
    """Name pictures without a file and files without a caption."""
    captioned = {(FOLDER / entry["path"]).resolve() for entry in corpus}
    there = {path for folder in MEDIA for path in (HERE / folder).rglob("*") if path.suffix in SUFFIXES}
    missing = [f"{path}: no such file" for path in sorted(captioned - there)]
    return missing + [f"{path}: no caption" for path in sorted(there - captioned)]


def check_query(query: dict[str, Any], by_path: dict[str, str]) -> list[str]:
    """Name what is wrong in one query: its parts, its weights, a reference picture that is not excluded."""
    name, parts = query["id"], query["parts"]
    images = [part["image"] for part in parts if "image" in part]
    wrong = [f"{name}: no such picture: {image}" for image in images if not (FOLDER / image).is_file()]
    wrong += [
        f"{name}: {image} is in the corpus but not excluded"
        for image in images
        if image in by_path and by_path[image] not in query.get("exclude", [])
    ]
    if any(("text" in part) == ("image" in part) for part in parts):
        wrong.append(f"{name}: a part is neither a text nor a picture, or both")
    if not any(part.get("weight", 1.0) > 0 for part in parts):
        wrong.append(f"{name}: no part with a positive weight")
    if name.startswith("t") == bool(images):
        wrong.append(f"{name}: ids of text queries begin with t, of composed ones with c")
    return wrong


def check(
    corpus: list[dict[str, Any]], queries: list[dict[str, Any]], judgements: list[tuple[str, str, int]]
) -> list[str]:
    """Give everything that does not fit together in the evaluation set, one sentence each; empty if it is sound."""
    items = {entry["id"] for entry in corpus}
    by_path = {entry["path"]: entry["id"] for entry in corpus}
    excluded = {query["id"]: set(query.get("exclude", [])) for query in queries}
    wrong = twice([entry["id"] for entry in corpus], "corpus id")
    wrong += twice([query["id"] for query in queries], "query id")
    wrong += twice([f"{query} {item}" for query, item, _ in judgements], "judgement")
    wrong += check_files(corpus)
    for query in queries:
        wrong += check_query(query, by_path)
        wrong += [f"{query['id']}: unknown excluded id {item!r}" for item in excluded[query["id"]] - items]
    for name, item, score in judgements:
        if name not in excluded:
            wrong.append(f"judgement of an unknown query {name!r}")
        elif item in excluded[name]:
            wrong.append(f"{name}: {item!r} is judged though it is excluded")
        if item not in items:
            wrong.append(f"{name}: unknown corpus id {item!r}")
        if score not in {1, 2}:
            wrong.append(f"{name}: score {score} of {item!r} is neither 1 nor 2")
    best = {name for name, _, score in judgements if score == 2}
    return wrong + [f"{name}: nothing is judged 2" for name in excluded if name not in best]


def words(text: str) -> set[str]:
    """Give the telling words of a text, lower case."""
    return set(re.findall(r"[a-z]+", text.lower())) - SMALL_WORDS


def shared_words(
    corpus: list[dict[str, Any]], queries: list[dict[str, Any]], judgements: list[tuple[str, str, int]]
) -> float:
    """Give the share of judgements 2 of text queries whose caption has at least one word of the query."""
    texts = {query["id"]: words(query["parts"][0]["text"]) for query in queries if query["id"].startswith("t")}
    captions = {entry["id"]: words(entry["text"]) for entry in corpus}
    found = [bool(texts[q] & captions[i]) for q, i, score in judgements if score == 2 and q in texts]
    return sum(found) / len(found)


def main() -> int:
    """Write corpus.jsonl, check the set, and say what is in it."""
    corpus = corpus_entries()
    lines = [json.dumps(entry, ensure_ascii=False) for entry in corpus]
    (FOLDER / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    queries, judgements = read_jsonl(FOLDER / "queries.jsonl"), read_qrels(FOLDER / "qrels.tsv")
    bank = read_jsonl(FOLDER / "bank.jsonl")
    texts = {part["text"] for query in queries for part in query["parts"] if "text" in part}
    wrong = check(corpus, queries, judgements) + twice([row["id"] for row in bank], "bank id")
    wrong += [f"bank {row['id']}: it is a test query too" for row in bank if row["parts"][0]["text"] in texts]
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    composed = sum(query["id"].startswith("c") for query in queries)
    negative = sum(any(part.get("weight", 1.0) < 0 for part in query["parts"]) for query in queries)
    print(
        f"{len(corpus)} pictures; {len(queries) - composed} text queries, {composed} composed ones, "
        f"{negative} with a negative part; {len(judgements)} judgements; {len(bank)} bank texts; "
        f"{shared_words(corpus, queries, judgements):.0%} of the best answers share a word with their text query",
        file=sys.stderr,
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
